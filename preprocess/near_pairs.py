"""Which texts repeat an earlier one: equal normal forms first, then MinHash candidates held against their true similarity.

Texts of a few words are alike by accident or by template, and one sign makes them different: below FEW shingles only equal
ones repeat each other, and below `minhash.SHORT` only those that name the same numbers.

Texts come in order of rank, the most wanted first. A text goes when it is equal or similar enough to one of lower rank
number that stays, so every removal has a witness among what is kept, and the answer does not depend on the number of workers.

Pages of a template, forms and sitemaps meet in crowded buckets without being near-duplicates: so that they cost as much each
whether there are a thousand or a million, a text is held against the MOST_KEPT texts of a bucket that were kept or met last,
and the true similarity is asked of the MOST_CHECKED that are most alike. What that leaves in is measured (`left_in`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from .minhash import SHORT, Hashes, Sketches

FEW = 40
MOST_KEPT, MOST_CHECKED = 64, 16
_SIGMAS = 5.0  # a pair whose estimate lies further below the threshold than this is not worth its true similarity
_GLANCE, _LARGE = np.uint64(1 << 61), 1 << 10  # of large sets an eighth tells most pairs apart
_LOOKED_AGAIN = 32  # texts of a cluster
_MOST_AGAIN = 1 << 16  # texts of a bucket that these are held against
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
    """What `near` finds: the removals, how many pairs were held against their true similarity, and the places of texts that
    stay though not all of their mates were looked at."""

    removals: list[Removal] = dataclasses.field(default_factory=list)
    checked: int = 0
    cut_short: list[int] = dataclasses.field(default_factory=list)


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
    crowded: set[int] = set()
    answer = Found()
    for place, row in enumerate(found.buckets):
        buckets = row[row >= 0].tolist()
        likely = _likely(sketches, found, place, {each for bucket in buckets for each in kept.get(bucket, ())}, least)
        twin = None
        for other in likely[:most_checked]:
            answer.checked += 1
            similarity = similar(shingles(place), shingles(other), threshold)
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


def _likely(sketches: Sketches, found: Candidates, place: int, mates: Iterable[int], least: float) -> list[int]:
    """Those of the mates that may be like a text, by the estimate; the most alike first."""
    met = np.array(sorted(mates), dtype=np.int64)
    if not len(met):
        return []
    number, others = found.numbers[place], found.numbers[met]
    alike = (sketches.bytes[others] == sketches.bytes[number]).mean(axis=1)
    same = sketches.numbers[others] == sketches.numbers[number]
    long = (sketches.sizes[others] >= SHORT) & (sketches.sizes[number] >= SHORT)
    order = np.argsort(-alike, kind="stable")
    hopeful: list[int] = met[order[(alike >= least)[order] & (same | long)[order]]].tolist()
    return hopeful


def left_in(
    sketches: Sketches,
    found: Candidates,
    answer: Found,
    clusters: Index,
    shingles: Callable[[int], Hashes],
    threshold: float,
) -> dict[str, int]:
    """How many near-duplicates the limits of `near` left in: of each cluster a few of the texts that were cut short are held
    against all of their mates, by estimate, and the MOST_KEPT likeliest by true similarity.

    Args:
        clusters: a number for every text of `sketches`: texts that share a bucket have the same.

    Returns:
        crowded (texts cut short), looked_again (those held against all), left_in (an estimate for all of them).
    """
    short = np.array(answer.cut_short, dtype=np.int64)
    gone = np.zeros(len(found.numbers), dtype=bool)
    gone[np.searchsorted(found.numbers, [each.number for each in answer.removals])] = True
    members = _members(found, gone) if len(short) else {}
    looked = 0
    estimate = 0.0
    of = clusters[found.numbers[short]]
    for cluster in np.unique(of).tolist():
        own = short[of == cluster]
        scattered = sketches.keys[found.numbers[own]].sum(axis=1)
        drawn = own[np.argsort(scattered, kind="stable")[:_LOOKED_AGAIN]].tolist()
        twins = 0
        for place in drawn:
            mates = set[int]()
            for bucket in found.buckets[place].tolist():
                each = members.get(bucket, short[:0])
                each = each[: np.searchsorted(each, place)]
                mates.update(each[:: 1 + len(each) // _MOST_AGAIN].tolist())
            likely = _likely(sketches, found, place, mates, floor(sketches, threshold))[:MOST_KEPT]
            twins += any(similar(shingles(place), shingles(other), threshold) >= threshold for other in likely)
        looked += len(drawn)
        estimate += twins * len(own) / len(drawn)
    return {"crowded": len(short), "looked_again": looked, "left_in": round(estimate)}


def _members(found: Candidates, gone: npt.NDArray[np.bool_]) -> dict[int, Index]:
    """Bucket -> places of its texts that stay, ascending."""
    places, bands = np.nonzero((found.buckets >= 0) & ~gone[:, None])
    buckets = found.buckets[places, bands]
    order = np.argsort(buckets, kind="stable")
    unique, starts = np.unique(buckets[order], return_index=True)
    return dict(zip(unique.tolist(), np.split(places[order], starts[1:]), strict=True)) if len(unique) else {}


def similar(one: Hashes, other: Hashes, threshold: float) -> float:
    """`jaccard` of two sorted sets where it may reach the threshold; else an estimate that lies below it."""
    if min(len(one), len(other)) >= _LARGE:
        parts = [each[: np.searchsorted(each, _GLANCE)] for each in (one, other)]
        glance = jaccard(*parts)
        if glance < threshold - _SIGMAS * (threshold * (1 - threshold) / max(1, *map(len, parts))) ** 0.5:
            return glance
    return jaccard(one, other)


def jaccard(one: Hashes, other: Hashes) -> float:
    """Similarity of two sets, given as arrays without repetition; two empty ones are equal."""
    both = np.sort(np.concatenate((one, other)))
    common = int(np.count_nonzero(both[1:] == both[:-1]))
    together = len(one) + len(other) - common
    return common / together if together else 1.0
