"""Which documents and lines a sample takes: arithmetic on hashes and lengths alone, no files.

A corpus' documents stand in the order of a keyed hash. The sample is the start of that order, up to the budget, with the
last document cut so that the budget is met to the character. Of lines that repeat exactly, those in the documents with
the lowest hashes are kept. Nothing here depends on the order of files or on the number of workers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from haigo.cli import HaigoError, nearest

BINS = 64
LEAST_EXCERPT = 2048
_DOCUMENTS_AT_LEAST = 1000
_SPARE = 1.2


def shares(
    available: Mapping[str, int], weights: Mapping[str, float] | None, temperature: float, source: str = "the weights"
) -> dict[str, float]:
    """The share of every corpus, summing to 1.

    Args:
        available: corpus -> characters it has.
        weights: corpus -> weight, of a mixture.yml; None takes `available ** (1 / temperature)`.
        temperature: 1 is the corpora's own shares, large values approach equal shares.
        source: the file of the weights, for messages.

    Raises:
        HaigoError: weights for other corpora than these, negative ones, or none above 0.
    """
    if weights is None:
        if not temperature > 0:
            raise HaigoError(f"a temperature of {temperature:g} is not possible.", "give a number above 0")
        most = max(available.values())
        raw = {name: (count / most) ** (1 / temperature) if count else 0.0 for name, count in available.items()}
    else:
        for name in available:
            if name not in weights:
                raise HaigoError(
                    f"{source} has no weight for the corpus '{name}'.{nearest(name, weights)}",
                    "give the corpora that the mixture names, by the names it uses",
                )
        absent = [name for name, weight in weights.items() if weight > 0 and name not in available]
        if absent:
            raise HaigoError(
                f"{source} gives '{absent[0]}' a weight, and no such corpus is given.{nearest(absent[0], available)}",
                "name the folder of every corpus with a weight",
            )
        raw = {name: float(weights[name]) for name in available}
    total = sum(raw.values())
    if not all(np.isfinite(value) and value >= 0 for value in raw.values()) or total <= 0:
        raise HaigoError(f"{source} are not numbers of 0 or more with a sum above 0.", "mend the weights")
    return {name: value / total for name, value in raw.items()}


def budgets(total: int, part: Mapping[str, float], fixed: Mapping[str, int] | None = None) -> dict[str, int]:
    """Characters of every corpus: `total` by largest remainders, where `fixed` corpora keep what they have."""
    held = dict(fixed or {})
    rest = max(0, total - sum(held.values()))
    free = {name: value for name, value in part.items() if name not in held}
    scale = sum(free.values())
    if scale <= 0:
        return {name: held.get(name, 0) for name in part}
    exact = {name: rest * value / scale for name, value in free.items()}
    whole = {name: int(value) for name, value in exact.items()}
    for name in sorted(exact, key=lambda one: (whole[one] - exact[one], one))[: rest - sum(whole.values())]:
        whole[name] += 1
    return {name: held[name] if name in held else whole[name] for name in part}


def length_bins(characters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Documents and characters [BINS] by the number of binary digits of a document's length."""
    digits = np.zeros(len(characters), dtype=np.int64)
    positive = characters > 0
    digits[positive] = np.floor(np.log2(characters[positive])).astype(np.int64) + 1
    return (
        np.bincount(digits, minlength=BINS),
        np.bincount(digits, weights=characters.astype(np.float64), minlength=BINS).astype(np.int64),
    )


def first_cap(documents: np.ndarray, characters: np.ndarray, budget: int) -> int:
    """The longest excerpt of a document, a power of two: about a thousandth of the budget, more where text is scarce."""
    digits = (max(LEAST_EXCERPT, budget // _DOCUMENTS_AT_LEAST) - 1).bit_length()
    while digits < BINS - 2 and capped(documents, characters, 1 << digits) < budget and documents[digits + 1 :].any():
        digits += 1
    return 1 << digits


def capped(documents: np.ndarray, characters: np.ndarray, cap: int) -> int:
    """Characters that are left when no document gives more than `cap` (a power of two)."""
    digits = cap.bit_length() - 1
    return int(characters[: digits + 1].sum() + documents[digits + 1 :].sum() * cap)


def threshold(budget: int, there: int, documents: int) -> float:
    """The part of all hashes that will surely hold the budget, repeats apart: the budget's share and some to spare."""
    if not there or not documents:
        return 1.0
    share = budget / there
    return min(1.0, share * _SPARE + 4 * (share / documents) ** 0.5 + 4 / documents)


@dataclasses.dataclass(slots=True)
class Candidates:
    """Documents of the lowest hashes, in any order, and their lines that are long enough to count as repeats.

    Attributes:
        hashes: uint64 [documents].
        places: int64 [documents], where each stands in the corpus: tells equal hashes apart.
        short: int64 [documents], characters in lines too short to count as repeats.
        line_document: int64 [lines], row of the line's document in the arrays above; lines stand in the documents' order.
        line_hashes: uint64 [lines].
        line_characters: int64 [lines].
    """

    hashes: np.ndarray
    places: np.ndarray
    short: np.ndarray
    line_document: np.ndarray
    line_hashes: np.ndarray
    line_characters: np.ndarray


@dataclasses.dataclass(slots=True)
class Choice:
    """What is taken.

    Attributes:
        taken: int64 [documents taken], characters each gives.
        rows: int64 [documents taken], their rows in the candidates.
        dropped: bool [lines], lines that repeat more often than allowed.
        characters: the sum, at most the budget.
    """

    rows: np.ndarray
    taken: np.ndarray
    dropped: np.ndarray
    characters: int


def choose(candidates: Candidates, budget: int, repeats: int) -> Choice:
    """Take documents in the order of their hashes until the budget is met; the last one gives only what is missing."""
    order = np.lexsort((candidates.places, candidates.hashes))
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    dropped = _too_many(candidates.line_hashes, rank[candidates.line_document], repeats)
    kept = np.where(dropped, 0, candidates.line_characters)
    lines = np.bincount(candidates.line_document, weights=kept, minlength=len(order)).astype(np.int64)
    ordered = (candidates.short + lines)[order]
    ends = np.cumsum(ordered)
    take = int(np.searchsorted(ends, budget, side="left")) + 1  # the first that reaches the budget is in
    ordered, rows = ordered[:take].copy(), order[:take]
    over = int(ends[min(take, len(ends)) - 1]) - budget if len(ends) else 0
    if over > 0:
        ordered[-1] -= over
    some = ordered > 0
    return Choice(rows[some], ordered[some], dropped, int(ordered.sum()))


def _too_many(hashes: np.ndarray, rank: np.ndarray, repeats: int) -> np.ndarray:
    """True for a line that `repeats` equal lines come before, in the order of their documents and inside one document."""
    dropped = np.zeros(len(hashes), dtype=bool)
    if not len(hashes):
        return dropped
    order = np.lexsort((rank, hashes))  # stable: lines of one document keep their order
    ordered = hashes[order]
    starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    lengths = np.diff(np.append(starts, len(ordered)))
    nth = np.arange(len(ordered)) - np.repeat(starts, lengths)
    dropped[order[nth >= repeats]] = True
    return dropped
