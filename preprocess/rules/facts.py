"""What quality rules ask about a text: how many characters of which class, how its lines end, how much is repeated.

Counts are shares from 0 to 1. Characters are classed by one look-up of all code points at once; everything is worked out
when it is first asked for, so a profile pays only for its own rules.
"""

from __future__ import annotations

import functools
import math
import re
import sys
import unicodedata

import numpy as np
import numpy.typing as npt

BLANK, LATIN, HIRAGANA, KATAKANA, KANJI, LETTER, DIGIT, PUNCTUATION, SYMBOL, BROKEN = range(10)
_CLASSES = 10
_SENTENCE_END = re.compile(r"[。．！？!?][」』）)】\]\"'”’]*$|[.:;][)\]\"'”’]*$")
_STOP = re.compile(r"[。．！？!?]")
_ELLIPSIS_END = re.compile(r"(?:…|\.\.\.|・・・|。。。)[」』）)]*$")
_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


@functools.lru_cache(maxsize=1)
def _classes() -> npt.NDArray[np.uint8]:
    table = np.full(sys.maxunicode + 1, SYMBOL, dtype=np.uint8)
    of_category = {"L": LETTER, "M": LETTER, "N": DIGIT, "P": PUNCTUATION, "S": SYMBOL, "Z": BLANK, "C": SYMBOL}
    for code in range(0x30000):
        table[code] = of_category[unicodedata.category(chr(code))[0]]
    for first, last, kind in (
        (0x09, 0x0D, BLANK), (0x41, 0x5A, LATIN), (0x61, 0x7A, LATIN), (0xC0, 0x24F, LATIN), (0xFF21, 0xFF3A, LATIN),
        (0xFF41, 0xFF5A, LATIN), (0x3041, 0x309F, HIRAGANA), (0x30A1, 0x30FA, KATAKANA), (0x30FC, 0x30FF, KATAKANA),
        (0x31F0, 0x31FF, KATAKANA), (0xFF66, 0xFF9F, KATAKANA), (0x3005, 0x3007, KANJI), (0x3400, 0x4DBF, KANJI),
        (0x4E00, 0x9FFF, KANJI), (0xF900, 0xFAFF, KANJI), (0x20000, 0x323AF, KANJI), (0xFFFD, 0xFFFD, BROKEN),
    ):  # fmt: skip
        table[first : last + 1] = kind
    table[[0xD7, 0xF7]] = SYMBOL
    return table


def _windows(points: npt.NDArray[np.uint32], width: int) -> npt.NDArray[np.uint64]:
    """A hash of every window of so many characters, put together of windows of 1, 2, 4, ... of them."""
    part, size = points.astype(np.uint64), 1
    whole, covered = np.zeros(len(points), dtype=np.uint64), 0
    while True:
        if width & size:
            whole, covered = _joined(whole, part[covered:]), covered + size
        if 2 * size > width:
            return whole[: len(points) - width + 1]
        part, size = _joined(part, part[size:]), 2 * size


def _joined(first: npt.NDArray[np.uint64], second: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    made = first[: len(second)] * _MULTIPLIER
    made += second[: len(made)]
    made ^= made >> np.uint64(29)
    return made


class Facts:
    """Of one text."""

    def __init__(self, text: str) -> None:
        self.text = text

    @functools.cached_property
    def _points(self) -> npt.NDArray[np.uint32]:
        return np.frombuffer(self.text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)

    @functools.cached_property
    def counts(self) -> list[int]:
        """Characters of each class."""
        return np.bincount(_classes()[self._points], minlength=_CLASSES).tolist()

    def share(self, *classes: int) -> float:
        """Of all characters but blanks."""
        shown = len(self.text) - self.counts[BLANK]
        return sum(self.counts[each] for each in classes) / shown if shown else 0.0

    def of_letters(self, *classes: int) -> float:
        """Of all letters."""
        letters = sum(self.counts[each] for each in (LATIN, HIRAGANA, KATAKANA, KANJI, LETTER))
        return sum(self.counts[each] for each in classes) / letters if letters else 0.0

    @functools.cached_property
    def lines(self) -> list[str]:
        """Lines that are not blank, without blanks around them."""
        return [line for line in map(str.strip, self.text.split("\n")) if line]

    @functools.cached_property
    def prose(self) -> float:
        """Share of characters in lines that hold the end of a sentence."""
        total = sum(map(len, self.lines))
        within = sum(len(line) for line in self.lines if _STOP.search(line) or _SENTENCE_END.search(line))
        return within / total if total else 0.0

    @functools.cached_property
    def sentence_length(self) -> float:
        """Characters to one end of a sentence; infinite without any."""
        stops = len(_STOP.findall(self.text))
        return len(self.text) / stops if stops else math.inf

    @functools.cached_property
    def ellipsis_lines(self) -> float:
        """Share of lines that break off with an ellipsis."""
        return sum(bool(_ELLIPSIS_END.search(line)) for line in self.lines) / max(1, len(self.lines))

    @functools.cached_property
    def repeated_lines(self) -> float:
        """Share of characters in lines that stood before in the same text."""
        total = sum(map(len, self.lines))
        return 1 - sum(map(len, set(self.lines))) / total if total else 0.0

    def repeated(self, width: int) -> float:
        """Share of the windows of `width` characters that stood before in the same text."""
        points = self._points
        if len(points) <= width:
            return 0.0
        hashes = _windows(points, width)
        hashes.sort()
        return float(np.count_nonzero(hashes[1:] == hashes[:-1]) / len(hashes))

    @functools.cached_property
    def longest_line(self) -> int:
        """Characters."""
        return max(map(len, self.lines), default=0)

    @functools.cached_property
    def mean_line(self) -> float:
        """Characters."""
        return sum(map(len, self.lines)) / max(1, len(self.lines))

    @functools.cached_property
    def words(self) -> list[str]:
        """Runs of letters, in small letters."""
        return [word.lower() for word in _WORD.findall(self.text)]
