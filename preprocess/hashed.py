"""Hashed character n-grams of many texts at once: what models of text read here, Japanese without a segmenter.

Texts stand between line ends, as many as the longest n-gram needs to reach over none of its own text's ends into another.
The hash is multilinear (Thorup 2015): a sum of the characters, each times a fixed odd number, of which the highest bits are
taken; so the n-grams that begin at one character share their sums.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from . import normal_form
from .normal_form import Codes, Starts

Buckets = npt.NDArray[np.intp]
_BLOCK = 1 << 14  # characters hashed at a time: their arrays stay in the cache
_LETTERS = np.array(
    [0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D, 0x27D4EB2F, 0x165667B1, 0xD6E8FEB9, 0xCA5A8263, 0x94D049BB], dtype=np.uint32
)


@dataclasses.dataclass(frozen=True, slots=True)
class Shape:
    """Which n-grams are hashed, and into how many buckets: n of `shortest` to `longest` (at most 8), 2 ** `bits` buckets."""

    shortest: int = 1
    longest: int = 3
    bits: int = 18

    @property
    def size(self) -> int:
        return 1 << self.bits

    @property
    def orders(self) -> int:
        """How many n there are."""
        return self.longest - self.shortest + 1


def joined(texts: Sequence[str], shape: Shape) -> tuple[Codes, Starts]:
    """The characters of texts with line ends before, between and behind them, and where each text begins.

    Args:
        texts: a hundred thousand characters at a time are best.
    """
    apart = "\n" * (shape.longest - 1)
    codes = normal_form.code_points(f"{apart}{apart.join(texts)}{apart}")
    lengths = np.array([0, *map(len, texts)], dtype=np.int64) + len(apart)
    return codes, np.cumsum(lengths)[:-1]


def each_block(codes: Codes, shape: Shape, work: Callable[[int, int, Buckets], None]) -> None:
    """Call `work(n - shortest, place, buckets)` for the n-grams that begin at each character from `place` on, block by block.

    The buckets are lent for the call. Behind the last character line ends are read on.
    """
    size, shift = len(codes), np.uint32(32 - shape.bits)
    codes = np.append(codes, np.full(shape.longest, ord("\n"), dtype=np.uint32))
    sums, spare = (np.empty(_BLOCK, dtype=np.uint32) for _ in range(2))
    lent = np.empty(_BLOCK, dtype=np.intp)
    for start in range(0, size, _BLOCK):
        many = min(_BLOCK, size - start)
        own, other = sums[:many], spare[:many]
        np.multiply(codes[start : start + many], _LETTERS[0], out=own)
        for order in range(shape.longest):
            if order:
                np.multiply(codes[start + order : start + order + many], _LETTERS[order], out=other)
                np.add(own, other, out=own)
            if order + 1 >= shape.shortest:
                np.right_shift(own, shift, out=other)
                lent[:many] = other
                work(order + 1 - shape.shortest, start, lent[:many])


def all_buckets(codes: Codes, shape: Shape) -> npt.NDArray[np.int32]:
    """The buckets of the n-grams that begin at each character of `joined` texts (shape: orders, characters)."""
    found = np.empty((shape.orders, len(codes)), dtype=np.int32)

    def keep(order: int, place: int, lent: Buckets) -> None:
        found[order, place : place + len(lent)] = lent

    each_block(codes, shape, keep)
    return found


def buckets(texts: Sequence[str], shape: Shape) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """The buckets of all n-grams of some texts.

    Returns:
        int32 (orders, characters of all texts): in a row for each n the bucket of the n-gram that begins at each character,
        which may reach over line ends behind its text; and where each text begins (shape: texts + 1; the last is the end).
    """
    codes, starts = joined(texts, shape)
    found = all_buckets(codes, shape)
    lengths = np.array(list(map(len, texts)), dtype=np.int64)
    ends = np.concatenate(([0], np.cumsum(lengths)))
    return found[:, np.repeat(starts - ends[:-1], lengths) + np.arange(ends[-1])], ends


def means(texts: Sequence[str], shape: Shape, weights: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """The mean over a text's n-grams of their buckets' weights (shape: texts); 0 of an empty one.

    Args:
        weights: float32 [shape.size].
    """
    codes, starts = joined(texts, shape)
    total = np.empty(len(codes), dtype=np.float32)
    part = np.empty(_BLOCK, dtype=np.float32)

    def add(order: int, place: int, lent: Buckets) -> None:
        many = len(lent)
        if order:
            np.take(weights, lent, out=part[:many], mode="clip")
            total[place : place + many] += part[:many]
        else:
            np.take(weights, lent, out=total[place : place + many], mode="clip")

    each_block(codes, shape, add)
    return text_means(total, starts, list(map(len, texts))) / shape.orders


def text_means(values: npt.NDArray[np.float32], starts: Starts, lengths: Sequence[int]) -> npt.NDArray[np.float64]:
    """The mean of each text's own values, of which there is one a character of `joined`; 0 of an empty one."""
    sizes = np.array(lengths, dtype=np.int64)
    filled = np.flatnonzero(sizes)
    means_of = np.zeros(len(sizes))
    if filled.size:
        bounds = np.stack((starts[filled], starts[filled] + sizes[filled]), axis=1).ravel()
        # behind the last text there may be nothing: its end is the array's
        sums = np.add.reduceat(np.append(values, np.float32(0)), bounds)[::2]
        means_of[filled] = sums / sizes[filled]
    return means_of


def shortened(text: str, most: int, pieces: int = 4) -> str:
    """The text, or, of more than `most` characters, `pieces` spread from its beginning to its end, a line each."""
    if len(text) <= most:
        return text
    size = max(1, most // pieces)
    step = (len(text) - size) / max(1, pieces - 1)
    return "\n".join([text[at : at + size] for at in [round(number * step) for number in range(pieces)]])
