"""Finding evaluation texts in documents: every window of a fixed length is hashed at once and held against a table.

A text of `long` characters of normal form or more is found by any `long` of them in a row; a shorter one as a whole. Only
short anchors of the texts are in the table, one in every `long`-window of a text: what they hit is then compared
character by character, so nothing is found that is not there and nothing that is there is missed.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from . import normal_form
from .evaluation_items import Item
from .normal_form import Codes

_BASE = 0x9E3779B97F4A7C15  # odd, so that it has an inverse modulo 2**64
_LETTER = np.uint64(0xD6E8FEB86659FD93)
_32 = np.uint64(32)
_SMALLER_ANCHORS = (8, 3)  # for items whose texts are all short, which only count when all their parts are together
_PARTS_APART = 200  # characters that may stand among the parts of an item, over their own lengths


@dataclasses.dataclass(frozen=True, slots=True)
class Needle:
    """A text that is looked for, and the items (by number) that it gives away.

    `parts` are what else has to stand close by; empty for a text that says enough by itself.
    """

    codes: Codes
    items: list[int]
    parts: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Hit:
    """A needle in a document: where it begins and ends, in characters of the document's normal form."""

    needle: int
    start: int
    end: int


class ItemIndex:
    """All texts of all items.

    Args:
        items: what to look for.
        long: length from which on a part of a text is enough.
        short: least length at which a text counts by itself.
    """

    def __init__(self, items: Sequence[Item], long: int = 50, short: int = 20) -> None:
        self.long, self.short = long, short
        self.too_short: list[int] = []
        self.needles: list[Needle] = []
        known: dict[tuple[bytes, tuple[str, ...]], int] = {}
        for number, item in enumerate(items):
            texts = [codes for codes in map(normal_form.codes, item.texts) if len(codes) >= short]
            wanted: list[tuple[Codes, tuple[str, ...]]] = [(codes, ()) for codes in texts]
            if not texts:
                parts = sorted(
                    {_string(normal_form.codes(part)) for part in item.parts} - {""}, key=lambda p: (-len(p), p)
                )
                if not parts or len(parts[0]) < _SMALLER_ANCHORS[-1] or len("".join(parts)) < short // 2:
                    self.too_short.append(number)
                    continue
                wanted = [(normal_form.codes(parts[0]), tuple(parts))]
            for codes, parts_of_it in wanted:
                key = (codes.tobytes(), parts_of_it)
                if key not in known:
                    known[key] = len(self.needles)
                    self.needles.append(Needle(codes, [], parts_of_it))
                if number not in self.needles[known[key]].items[-1:]:
                    self.needles[known[key]].items.append(number)
        self._powers = np.ones(1, dtype=np.uint64)
        self._inverse = np.ones(1, dtype=np.uint64)
        self._tables = [_Table(self, anchor) for anchor in (short, *_SMALLER_ANCHORS) if anchor <= short]

    def anchors(self, needle: Needle, length: int) -> range:
        """Where the anchors of a needle begin, if it has any of this length."""
        size = len(needle.codes)
        mine = next((each for each in (self.short, *_SMALLER_ANCHORS) if each <= min(size, self.short)), 0)
        if mine != length:
            return range(0)
        if size < self.long or needle.parts:
            return range(1)
        return range(0, size - length + 1, self.long - length + 1)

    def search(self, texts: Sequence[str]) -> list[list[Hit]]:
        """The hits in each text, in order of their needles' numbers and then of place; one a run of equal characters."""
        codes, starts = normal_form.batch(texts)
        prefix = self._prefix(codes)
        by_needle: list[dict[int, list[Hit]]] = [{} for _ in texts]
        whole: dict[int, str] = {}
        hopeless: set[tuple[int, int]] = set()
        for table in self._tables:
            for place, text, needle, offset in table.hits(self, codes, prefix, starts):
                if (text, needle) in hopeless:
                    continue
                before = by_needle[text].setdefault(needle, [])
                at = place - int(starts[text])
                if before and before[-1].start <= at < before[-1].end:
                    continue
                own = codes[starts[text] : starts[text + 1]]
                parts = self.needles[needle].parts
                if parts:  # small anchors are common words: most texts are told by what they lack
                    if text not in whole:
                        whole[text] = _string(own)
                    if not all(part in whole[text] for part in parts):
                        hopeless.add((text, needle))
                        continue
                hit = self._verified(own, at, needle, offset)
                if hit is not None:
                    before.append(hit)
        return [[hit for needle in sorted(of) for hit in of[needle]] for of in by_needle]

    def _verified(self, codes: Codes, at: int, number: int, offset: int) -> Hit | None:
        """The hit, if the characters around the anchor are those of the needle."""
        needle = self.needles[number]
        wanted = needle.codes
        left = min(at, offset)
        right = min(len(codes) - at, len(wanted) - offset)
        back = codes[at - left : at][::-1] == wanted[offset - left : offset][::-1]
        ahead = codes[at : at + right] == wanted[offset : offset + right]
        run_back = left if back.all() else int(np.argmin(back))
        run_ahead = right if ahead.all() else int(np.argmin(ahead))
        if run_back + run_ahead < (len(wanted) if needle.parts else min(self.long, len(wanted))):
            return None
        hit = Hit(number, at - run_back, at + run_ahead)
        if needle.parts:
            reach = sum(map(len, needle.parts)) + _PARTS_APART
            first = max(0, hit.start - reach)
            around, middle = _string(codes[first : hit.end + reach]), hit.start - first
            low, high = middle, hit.end - first
            for part in needle.parts:
                places = [at for at in (around.rfind(part, 0, middle), around.find(part, middle)) if at >= 0]
                if not places:
                    return None
                nearest = min(places, key=lambda at: abs(at - middle))
                low, high = min(low, nearest), max(high, nearest + len(part))
            hit = Hit(number, first + low, first + high)
        return hit

    def _prefix(self, codes: Codes) -> npt.NDArray[np.uint64]:
        """Sums of letters times powers of the base, from which the hash of any window follows."""
        size = len(codes) + 1
        if size > len(self._powers):
            self._powers = _powers(_BASE, size)
            self._inverse = _powers(pow(_BASE, -1, 1 << 64), size)
        letters = codes.astype(np.uint64)
        letters *= _LETTER
        letters ^= letters >> _32
        letters *= self._powers[: len(codes)]
        prefix = np.zeros(size, dtype=np.uint64)
        np.cumsum(letters, out=prefix[1:])
        return prefix

    def windows(self, prefix: npt.NDArray[np.uint64], length: int) -> npt.NDArray[np.uint64]:
        """The hash of every window of this length (shape: characters - length + 1)."""
        count = max(0, len(prefix) - length)
        return (prefix[length : length + count] - prefix[:count]) * self._inverse[:count]


class _Table:
    """The anchors of one length."""

    def __init__(self, index: ItemIndex, length: int) -> None:
        self.length = length
        rows = [
            (number, offset) for number, needle in enumerate(index.needles) for offset in index.anchors(needle, length)
        ]
        hashes = np.empty(len(rows), dtype=np.uint64)
        at = 0
        for number, group in itertools.groupby(rows, key=lambda row: row[0]):
            offsets = [offset for _, offset in group]
            hashes[at : at + len(offsets)] = index.windows(index._prefix(index.needles[number].codes), length)[offsets]
            at += len(offsets)
        order = np.argsort(hashes, kind="stable")
        self.hashes = hashes[order]
        self.rows = [rows[each] for each in order.tolist()]
        bits = min(24, max(16, (64 * max(1, len(rows))).bit_length()))
        self._shift = np.uint64(64 - bits)
        self._there = np.zeros(1 << bits, dtype=bool)
        self._there[(self.hashes >> self._shift).astype(np.int64)] = True

    def hits(
        self, index: ItemIndex, codes: Codes, prefix: npt.NDArray[np.uint64], starts: normal_form.Starts
    ) -> list[tuple[int, int, int, int]]:
        """(place, text, needle, offset in it) of every anchor that occurs within one text, in order of place."""
        if not self.rows:
            return []
        windows = index.windows(prefix, self.length)
        places = np.flatnonzero(self._there[(windows >> self._shift).astype(np.int64)])
        first = np.searchsorted(self.hashes, windows[places], "left")
        last = np.searchsorted(self.hashes, windows[places], "right")
        after = np.searchsorted(starts, places, "right")
        real = (last > first) & (places + self.length <= starts[np.minimum(after, len(starts) - 1)])
        hits_there = []
        columns = (each[real].tolist() for each in (places, after - 1, first, last))
        for place, text, low, high in zip(*columns, strict=True):
            hits_there += [(place, text, *self.rows[row]) for row in range(low, high)]
        return hits_there


def _powers(base: int, size: int) -> npt.NDArray[np.uint64]:
    powers = np.full(size, base, dtype=np.uint64)
    powers[0] = 1
    return np.cumprod(powers, dtype=np.uint64)


def _string(codes: Codes) -> str:
    return codes.astype("<u4").tobytes().decode("utf-32-le", "surrogatepass")
