"""Which documents may be near-duplicates of each other, by way of others: the parts into which a deduplication falls.

Texts that share a bucket are in one cluster, so that what happens in one has no bearing on another.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Labels = npt.NDArray[np.unsignedinteger]
Index = npt.NDArray[np.int64]
_BLOCK = 1 << 22


def labels(count: int) -> Labels:
    """Every text in a cluster of its own; a cluster is called by its lowest number."""
    return np.arange(count, dtype=np.uint32 if count < 1 << 32 else np.uint64)


def merge(known: Labels, one: npt.NDArray[np.integer], other: npt.NDArray[np.integer]) -> None:
    """Put the clusters of each pair together, in place."""
    while len(one):
        first, second = _roots(known, one), _roots(known, other)
        apart = first != second
        one, other = np.maximum(first, second)[apart], np.minimum(first, second)[apart]
        np.minimum.at(known, one, other)


def _roots(known: Labels, numbers: npt.NDArray[np.integer]) -> Labels:
    roots = known[numbers]
    while True:
        above = known[roots]
        if np.array_equal(above, roots):
            known[numbers] = roots
            return roots
        roots = above


def flatten(known: Labels) -> None:
    """Let every label be that of its cluster."""
    for start in range(0, len(known), _BLOCK):  # labels go down: what is before is flat already
        block = known[start : start + _BLOCK]
        while not np.array_equal(above := known[block], block):
            block[:] = above


def dealt(known: Labels, taking_part: Index, most: int) -> tuple[Index, Index, Index]:
    """Clusters of two texts or more, dealt out to lots.

    Args:
        known: after `flatten`.
        taking_part: numbers of texts, ascending.
        most: texts of a lot, before the last cluster of it.

    Returns:
        The numbers of the texts in them, ascending, and of each its cluster and its lot.
    """
    _, place, sizes = np.unique(known[taking_part], return_inverse=True, return_counts=True)
    sizes[sizes < 2] = 0
    before = np.cumsum(sizes) - sizes
    lot = np.unique(before // most, return_inverse=True)[1]
    stay = sizes[place] > 0
    numbers = taking_part[stay]
    return numbers, known[numbers].astype(np.int64), lot[place[stay]]
