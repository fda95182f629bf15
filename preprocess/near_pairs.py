"""Which texts repeat an earlier one: equal normal forms first, then MinHash candidates held against their true similarity.

Texts of a few words are alike by accident or by template, and one sign makes them different: below FEW shingles only equal
ones repeat each other, and below `minhash.SHORT` only those that name the same numbers.

Texts come in order of rank, the most wanted first. A text goes when it is equal or similar enough to one of lower rank
number that stays, so every removal has a witness among what is kept, and the answer does not depend on the number of workers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt

from .minhash import SHORT, Hashes, Sketches

FEW = 40
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
    """Texts that share a bucket with another: `numbers`, ascending, and for each the buckets it lies in."""

    numbers: Index
    buckets: list[list[int]]


def join(parts: Iterable[Sketches]) -> Sketches:
    """The sketches of several lots, one after the other."""
    lots = list(parts)
    return Sketches(
        *(np.concatenate([getattr(lot, each.name) for lot in lots]) for each in dataclasses.fields(Sketches))
    )


def exact(digests: Hashes) -> list[Removal]:
    """Texts whose normal form equals that of an earlier one."""
    order = np.lexsort((digests[:, 1], digests[:, 0]))  # stable: equal ones stay in order of rank
    ordered = digests[order]
    same = np.zeros(len(order), dtype=bool)
    same[1:] = (ordered[1:] == ordered[:-1]).all(axis=1)
    first = order[np.maximum.accumulate(np.where(same, 0, np.arange(len(order))))]
    pairs = zip(order[same].tolist(), first[same].tolist(), strict=True)
    return [Removal(number, kept, 1.0, True) for number, kept in sorted(pairs)]


def candidates(sketches: Sketches, gone: Iterable[int], threshold: float) -> Candidates:
    """Texts that share a band with another one.

    Args:
        sketches: of all texts, in order of rank.
        gone: numbers of the exact duplicates, which take no part.
        threshold: similarity from which on a text is a duplicate.
    """
    taking_part = np.ones(len(sketches.sizes), dtype=bool)
    taking_part[list(gone)] = False
    taking_part[sketches.sizes < FEW] = False
    alive = np.flatnonzero(taking_part)
    found: list[tuple[Index, Index]] = []
    buckets = 0
    for band in range(sketches.keys.shape[1]):
        keys = sketches.keys[alive, band]
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
        new = np.ones(len(keys), dtype=bool)
        new[1:] = keys[1:] != keys[:-1]
        bucket = np.cumsum(new) - 1
        shared = np.bincount(bucket, minlength=1)[bucket] > 1 if len(bucket) else new
        numbers, bucket = alive[order[shared]], bucket[shared]
        numbers, bucket = _without_hopeless_twos(sketches, numbers, bucket, threshold)
        found.append((numbers, bucket + buckets))
        buckets += int(new.sum())
    numbers = np.concatenate([each for each, _ in found])
    places = np.concatenate([each for _, each in found])
    order = np.argsort(numbers, kind="stable")
    unique, starts = np.unique(numbers[order], return_index=True)
    return Candidates(unique, [part.tolist() for part in np.split(places[order], starts[1:])] if len(unique) else [])


def _without_hopeless_twos(sketches: Sketches, numbers: Index, bucket: Index, threshold: float) -> tuple[Index, Index]:
    """Most buckets hold two texts that met by chance: they are told by the estimate alone, and many at once."""
    sizes = np.bincount(bucket, minlength=1)[bucket] if len(bucket) else bucket
    twos = np.flatnonzero(sizes == 2)
    pairs = numbers[twos].reshape(-1, 2)
    stay = np.ones(len(numbers), dtype=bool)
    step = 1 << 16
    for start in range(0, len(pairs), step):
        part = pairs[start : start + step]
        alike = (sketches.bytes[part[:, 0]] == sketches.bytes[part[:, 1]]).mean(axis=1)
        stay[twos[2 * start : 2 * start + 2 * len(part)]] = np.repeat(alike >= floor(sketches, threshold), 2)
    return numbers[stay], bucket[stay]


def floor(sketches: Sketches, threshold: float) -> float:
    """The estimate below which a pair at the threshold would be a five-sigma accident."""
    return threshold - _SIGMAS * float(np.sqrt(threshold * (1 - threshold) / sketches.bytes.shape[1])) - 1e-9


def near(
    sketches: Sketches,
    found: Candidates,
    shingles: Callable[[int], Hashes],
    threshold: float,
    on_step: Callable[[], None] = lambda: None,
) -> tuple[list[Removal], int]:
    """Texts whose true similarity with one that stays is at least `threshold`.

    Args:
        sketches: of all texts, in order of rank.
        found: from `candidates`.
        shingles: gives the sorted set of shingle hashes of a text by its place in `found.numbers`.
        threshold: Jaccard similarity of shingle sets, above 0 and at most 1.
        on_step: called for every candidate.

    Returns:
        The removals, and how many pairs were held against their true similarity.
    """
    least = floor(sketches, threshold)
    kept: dict[int, list[int]] = {}
    removals: list[Removal] = []
    checked = 0
    for place, (number, buckets) in enumerate(zip(found.numbers.tolist(), found.buckets, strict=True)):
        on_step()
        met = sorted(set().union(*(kept.get(bucket, ()) for bucket in buckets)))
        twin = None
        if met:
            others = found.numbers[met]
            same = sketches.numbers[others] == sketches.numbers[number]
            long = (sketches.sizes[others] >= SHORT) & (sketches.sizes[number] >= SHORT)
            met = np.array(met)[same | long].tolist()
        if met:
            others = found.numbers[met]
            alike = (sketches.bytes[others] == sketches.bytes[number]).mean(axis=1)
            hopeful = np.argsort(-alike, kind="stable")
            own = shingles(place)
            for at in hopeful[alike[hopeful] >= least].tolist():
                checked += 1
                similarity = jaccard(own, shingles(met[at]))
                if similarity >= threshold:
                    twin = Removal(number, int(others[at]), similarity, False)
                    break
        if twin is not None:
            removals.append(twin)
            continue
        for bucket in buckets:
            kept.setdefault(bucket, []).append(place)
    return removals, checked


def jaccard(one: Hashes, other: Hashes) -> float:
    """Similarity of two sets, given as arrays without repetition; two empty ones are equal."""
    both = np.sort(np.concatenate((one, other)))
    common = int(np.count_nonzero(both[1:] == both[:-1]))
    together = len(one) + len(other) - common
    return common / together if together else 1.0
