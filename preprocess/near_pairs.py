"""Which texts repeat an earlier one: equal normal forms first, then MinHash candidates held against their true similarity.

Texts of a few words are alike by accident or by template, and one sign makes them different: below FEW shingles only equal
ones repeat each other, and below `minhash.SHORT` only those that name the same numbers.

Texts come in order of rank, the most wanted first. A text goes when it is equal or similar enough to one of lower rank
number that stays, so every removal has a witness among what is kept, and the answer does not depend on the number of workers.

Pages of a template, forms and sitemaps meet in crowded buckets without being near-duplicates: so that they cost as much each
whether there are a thousand or a million, a text is held against the MOST_KEPT texts of a bucket that were kept or met last,
and the true similarity is asked of the MOST_CHECKED that are most alike. How many repeats that leaves in, with
those that share no bucket, is worked out from the pairs that were found (`left_in`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from .minhash import SHORT, Hashes, Sketches

FEW = 40
MOST_KEPT, MOST_CHECKED = 32, 16
_SIGMAS = 5.0  # a pair whose estimate lies further below the threshold than this is not worth its true similarity
Index = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True, slots=True)
class Removal:
    """One text that goes: its number, the number of the one that stays for it, and their true Jaccard similarity."""

    number: int
    kept: int
    similarity: float
    exact: bool


@dataclasses.dataclass(frozen=True, slots=True)
class Candidates:
    """Texts that share a bucket with another: `numbers` (n), ascending, and `buckets` (n, bands), -1 where a text is alone."""

    numbers: Index
    buckets: Index


def join(parts: Iterable[Sketches]) -> Sketches:
    """The sketches of several lots, one after the other."""
    lots = list(parts)
    return Sketches(
        *(np.concatenate([getattr(lot, each.name) for lot in lots]) for each in dataclasses.fields(Sketches))
    )


def repeats(*keys: npt.NDArray[Any]) -> tuple[Index, Index]:
    """Which rows have the same keys as an earlier one: those rows, and the first that has them.

    Args:
        keys: one or more arrays of a row each; the first is the most significant.
    """
    order = np.lexsort(keys[::-1])  # stable: equal ones stay in order
    same = np.zeros(len(order), dtype=bool)
    same[1:] = True
    for each in keys:
        same[1:] &= each[order[1:]] == each[order[:-1]]
    first = order[np.maximum.accumulate(np.where(same, 0, np.arange(len(order))))]
    return order[same], first[same]


def candidates(sketches: Sketches, threshold: float) -> Candidates:
    """Texts that share a bucket with another one, apart from those that are alone with one they are not like.

    Args:
        sketches: of texts in order of rank that may be near-duplicates: of FEW shingles or more, none equal to another.
        threshold: similarity from which on a text is a duplicate.
    """
    count, bands = sketches.keys.shape
    buckets = np.full((count, bands), -1, dtype=np.int64)
    total = 0
    for band in range(bands):
        keys = sketches.keys[:, band]
        order = np.argsort(keys, kind="stable")
        new = np.ones(count, dtype=bool)
        new[1:] = keys[order[1:]] != keys[order[:-1]]
        bucket = np.cumsum(new) - 1
        sizes = np.bincount(bucket, minlength=1)[bucket] if count else bucket
        shared = sizes > 1
        shared[_hopeless_twos(sketches, order, sizes, threshold)] = False
        buckets[order[shared], band] = bucket[shared] + total
        total += count
    numbers = np.flatnonzero((buckets >= 0).any(axis=1))
    return Candidates(numbers, buckets[numbers])


def _hopeless_twos(sketches: Sketches, order: Index, sizes: Index, threshold: float) -> Index:
    """Most buckets hold two texts that met by chance: the estimate alone tells them, and many at once. Places in `order`."""
    twos = np.flatnonzero(sizes == 2)
    pairs = order[twos].reshape(-1, 2)
    hopeless = np.zeros(len(twos), dtype=bool)
    step = 1 << 16
    for start in range(0, len(pairs), step):
        part = pairs[start : start + step]
        alike = (sketches.bytes[part[:, 0]] == sketches.bytes[part[:, 1]]).mean(axis=1)
        hopeless[2 * start : 2 * start + 2 * len(part)] = np.repeat(alike < floor(sketches, threshold), 2)
    return twos[hopeless]


def floor(sketches: Sketches, threshold: float) -> float:
    """The estimate below which a pair at the threshold would be a five-sigma accident."""
    return threshold - _SIGMAS * float(np.sqrt(threshold * (1 - threshold) / sketches.bytes.shape[1])) - 1e-9


@dataclasses.dataclass(slots=True)
class Found:
    """What `near` finds.

    Attributes:
        removals: in order. checked: pairs that were held against their true similarity.
        cut_short: places of texts that stay though not all of their mates were looked at.
        crowded: buckets of which not all texts were held against each other.
    """

    removals: list[Removal] = dataclasses.field(default_factory=list)
    checked: int = 0
    cut_short: list[int] = dataclasses.field(default_factory=list)
    crowded: set[int] = dataclasses.field(default_factory=set)


def near(
    sketches: Sketches,
    found: Candidates,
    shingles: Callable[[int], Hashes],
    threshold: float,
    most: tuple[int, int] = (MOST_KEPT, MOST_CHECKED),
) -> Found:
    """Texts whose true similarity with one that stays is at least `threshold`.

    Args:
        sketches: of all texts, in order of rank.
        found: from `candidates`.
        shingles: gives the sorted set of shingle hashes of a text by its place in `found.numbers`.
        threshold: Jaccard similarity of shingle sets, above 0 and at most 1.
        most: texts of a bucket that one is held against, and those whose true similarity is asked.
    """
    least, (most_kept, most_checked) = floor(sketches, threshold), most
    kept: dict[int, list[int]] = {}
    answer = Found()
    crowded = answer.crowded
    for place, row in enumerate(found.buckets):
        buckets = row[row >= 0].tolist()
        met = np.array(sorted({each for bucket in buckets for each in kept.get(bucket, ())}), dtype=np.int64)
        likely = _likely(sketches, found, place, met, least)
        twin = None
        for other in likely[:most_checked]:
            answer.checked += 1
            similarity = jaccard(shingles(place), shingles(other))
            if similarity >= threshold:
                twin = other
                break
        if twin is not None:
            answer.removals.append(Removal(int(found.numbers[place]), int(found.numbers[twin]), similarity, False))
            for bucket in buckets:
                if bucket in crowded and twin in kept[bucket]:
                    kept[bucket].remove(twin)
                    kept[bucket].append(twin)
            continue
        if len(likely) > most_checked or not crowded.isdisjoint(buckets):
            answer.cut_short.append(place)
        for bucket in buckets:
            held = kept.setdefault(bucket, [])
            held.append(place)
            if len(held) > most_kept:
                crowded.add(bucket)
                del held[0]
    return answer


def _likely(sketches: Sketches, found: Candidates, place: int, met: Index, least: float) -> list[int]:
    """Those of some texts that may be like one, by the estimate; the most alike first."""
    if not len(met):
        return []
    number, others = found.numbers[place], found.numbers[met]
    alike = (sketches.bytes[others] == sketches.bytes[number]).mean(axis=1)
    same = sketches.numbers[others] == sketches.numbers[number]
    long = (sketches.sizes[others] >= SHORT) & (sketches.sizes[number] >= SHORT)
    order = np.argsort(-alike, kind="stable")
    hopeful: list[int] = met[order[(alike >= least)[order] & (same | long)[order]]].tolist()
    return hopeful


def left_in(sketches: Sketches, found: Candidates, answer: Found, clusters: Index) -> dict[str, float]:
    """How many near-duplicates of texts that stay are likely left in.

    Two texts of similarity s share a bucket of a band with probability s^rows, and one that is not crowded with so much less as
    the pairs of their cluster say that other bands found. A pair that a share p of its like is found of stands for (1 - p) / p
    that are not (Horvitz and Thompson 1952); what crowded buckets found all the same is taken off. A text that could go for
    several that stay counts as if it had one, so that the number is rather too high there; a cluster of which no pair was found
    gives none.

    Args:
        clusters: a number for every text of `sketches`: texts that share a bucket have the same.

    Returns:
        documents: that are likely left in. for_crowds: how many of them because buckets are crowded. crowded: texts that stay
        and were held against some of their mates only.
    """
    crowded = float(len(answer.cut_short))
    if not answer.removals:
        return {"documents": 0.0, "for_crowds": 0.0, "crowded": crowded}
    numbers, others = (np.array([getattr(each, side) for each in answer.removals]) for side in ("number", "kept"))
    own, theirs = (found.buckets[np.searchsorted(found.numbers, each)] for each in (numbers, others))
    same, crowd = (own == theirs) & (own >= 0), np.isin(own, np.array(sorted(answer.crowded), dtype=np.int64))
    shared, bands = same & ~crowd, sketches.keys.shape[1]
    similarity = np.array([each.similarity for each in answer.removals])
    rows = sketches.bytes.shape[1] // bands
    likely = np.repeat(similarity[:, None] ** rows, bands, axis=1)
    template = np.repeat(((1 + similarity[:, None]) / 2) ** rows, bands, axis=1)
    alone, total = _missed(likely), 0.0
    _, cluster = np.unique(clusters[numbers], return_inverse=True)
    for each in np.unique(cluster[(same & crowd).any(axis=1)]).tolist():
        mine, by_any = cluster == each, shared.any(axis=1)
        less = _less_likely(*(each[mine & by_any] for each in (likely, template, shared)))
        total += max(0.0, float(_missed(less).sum() - (mine & ~by_any).sum() - alone[mine].sum()))
    return {"documents": float(alone.sum()) + total, "for_crowds": total, "crowded": crowded}


def _missed(likely: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Pairs that share no bucket, for each that does, by the probability that they share that of a band (pairs, bands)."""
    none: npt.NDArray[np.float64] = np.prod(1 - likely, axis=1)
    return none / (1 - none)


def _less_likely(
    likely: npt.NDArray[np.float64], template: npt.NDArray[np.float64], shared: npt.NDArray[np.bool_]
) -> npt.NDArray[np.float64]:
    """The probability that pairs share a bucket that counts: of each band less by what it gives of the pairs that other bands
    found.

    What crowds a bucket is common to very many texts. A share t of a text is t(1+s)/2 of what either of two has, so the
    probability that a bucket comes from it grows with their similarity s as `template`, ((1+s)/2)^rows. One pair more, of which
    nothing is lost, keeps a few pairs from saying that a band gives nothing.
    """
    elsewhere = shared.sum(axis=1, keepdims=True) > shared
    lost = ((likely - shared) * elsewhere).sum(axis=0) / (1 + (template * elsewhere).sum(axis=0))
    return np.maximum(likely - np.maximum(lost, 0) * template, likely / 100)


def jaccard(one: Hashes, other: Hashes) -> float:
    """Similarity of two sets, given as arrays without repetition; two empty ones are equal."""
    both = np.sort(
        np.concatenate((one, other)), kind="stable"
    )  # which merges two sorted runs: a tenth of a quick sort's time
    common = int(np.count_nonzero(both[1:] == both[:-1]))
    together = len(one) + len(other) - common
    return common / together if together else 1.0
