"""Text as dedup and decontamination compare it: NFKC, then everything that is blank, punctuation or control dropped.

Punctuation may be kept: 1.5 and 15, C and C++ and C#, -5 and 5 are equal without it and mean different things; so may the
blanks that part numbers (1 2 is not 12). The normal form is an array of code points. Per character the work is a
look-up in a table; texts in which characters join or grow under NFKC (combining marks, ℃, ㍿) go through `unicodedata`, with
the same result as for any other text.
"""

from __future__ import annotations

import functools
import sys
import unicodedata
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Codes = npt.NDArray[np.uint32]
Starts = npt.NDArray[np.int64]

SHORT = 100
_MARK = 1 << 24  # in a code point: it is punctuation
_GAP = 1 << 25  # in place of a blank
_SLOW = 0xFFFFFFFF
_PUNCTUATION = frozenset({"Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po"})
_BLANK = frozenset({"Zs", "Zl", "Zp", "Cc", "Cf"})
_TABLE_END = 0x30000  # beyond lie tags, variation selectors (dropped or joined) and private use
_HANGUL_JOINING = [*range(0x1161, 0x1176), *range(0x11A8, 0x11C3)]


def dropped(char: str) -> bool:
    """True for what the normal form leaves out: blanks, punctuation, control and format characters."""
    return unicodedata.category(char) in _PUNCTUATION | _BLANK


@functools.lru_cache(maxsize=1)
def _table() -> Codes:
    """Code point -> code point of its normal form (with _MARK in punctuation), _GAP for blanks, 0 for controls, _SLOW where
    that is not enough.

    Signs that are several of punctuation under NFKC (… ‥ ⁉) stay as they are: they are common, and one sign or three are
    the same to whoever drops them."""
    joining = set(map(chr, _HANGUL_JOINING))
    for code in range(0xC0, _TABLE_END):
        parts = unicodedata.decomposition(chr(code)).split()
        if len(parts) == 2 and not parts[0].startswith("<"):
            joining.add(chr(int(parts[1], 16)))
    table = np.arange(sys.maxunicode + 1, dtype=np.uint32)
    for code in range(_TABLE_END):
        char = chr(code)
        if 0xD800 <= code < 0xE000:
            continue
        normal = unicodedata.normalize("NFKC", char)
        if any(each in joining or unicodedata.combining(each) for each in normal):
            table[code] = _SLOW
            continue
        kept = [each for each in normal if unicodedata.category(each) not in _BLANK]
        if len(kept) > 1:
            letters = sum(unicodedata.category(each) not in _PUNCTUATION for each in kept)
            table[code] = _SLOW if letters or unicodedata.category(char) not in _PUNCTUATION else code
        else:
            table[code] = ord(kept[0]) if kept else _GAP * char.isspace()
    table[0xE0000:0xE0200] = _SLOW
    marks = np.zeros(len(table), dtype=np.uint32)
    marks[[code for code in range(_TABLE_END) if unicodedata.category(chr(code)) in _PUNCTUATION]] = _MARK
    signs = (table != _SLOW) & (table != _GAP)
    table[signs] |= marks[table[signs]]
    return table


def codes(text: str) -> Codes:
    """The normal form of one text (shape: characters kept)."""
    return batch([text])[0]


def batch(texts: Sequence[str]) -> tuple[Codes, Starts]:
    """The normal forms of many texts, one after the other.

    Returns:
        The code points of all, and where each text begins (shape: texts + 1; the last is the end).
    """
    return without_marks(*batch_with_marks(texts))


def without_marks(codes: Codes, starts: Starts) -> tuple[Codes, Starts]:
    """The same of what `batch_with_marks` gave."""
    return _kept(codes, starts, codes < _MARK)


def exact(codes: Codes, starts: Starts) -> tuple[Codes, Starts]:
    """What two texts must share to be equal: all punctuation in texts of fewer than SHORT characters, in longer ones that of
    ASCII, where a full stop more makes no other text and an operator does; and one blank between two numbers."""
    gaps = np.flatnonzero(codes == _GAP)
    lengths = np.diff(starts) - np.diff(np.searchsorted(gaps, starts))
    plain = codes >= _MARK + 0x80
    if lengths.size and lengths.min() < SHORT:
        plain &= np.repeat(lengths >= SHORT, np.diff(starts))
        plain[gaps] = True
    plain[_parting(codes, starts, gaps)] = False
    return _kept(codes, starts, ~plain)


def _parting(codes: Codes, starts: Starts, gaps: Starts) -> Starts:
    """Which of the blanks part two numbers of one text; of several in a row the first."""
    after = codes[np.minimum(gaps + 1, len(codes) - 1)]
    first = gaps[_digit(codes[np.maximum(gaps - 1, 0)]) & (_digit(after) | (after == _GAP)) & (gaps > 0)]
    parting = []
    for place in first.tolist():  # few: blanks behind a digit
        end = place
        while end < len(codes) and codes[end] == _GAP:
            end += 1
        if end < len(codes) and _digit(codes[end]):
            parting.append((place, end))
    places = np.array(parting, dtype=np.int64).reshape(-1, 2)
    # no text begins between the two
    return places[np.searchsorted(starts, places[:, 0], "left") == np.searchsorted(starts, places[:, 1], "right"), 0]


def _digit(codes: Codes) -> npt.NDArray[np.bool_]:
    return (codes >= 48) & (codes <= 57)


def _kept(found: Codes, ends: Starts, kept: npt.NDArray[np.bool_]) -> tuple[Codes, Starts]:
    before = np.zeros(len(found) + 1, dtype=np.int64)
    np.cumsum(kept, out=before[1:])
    return found[kept], before[ends]


def batch_with_marks(texts: Sequence[str]) -> tuple[Codes, Starts]:
    """The normal forms with their punctuation, which tell what is equal from what is only alike."""
    found = _table()[code_points("".join(texts))]
    ends = np.cumsum([0, *map(len, texts)], dtype=np.int64)
    if found.size and found.max() == _SLOW:
        found, ends = _mended(texts, found, ends)
    return _kept(found, ends, found != 0)


def _mended(texts: Sequence[str], found: Codes, ends: Starts) -> tuple[Codes, Starts]:
    """The same with those texts made anew of which some character could not be looked up."""
    marked = np.unique(np.searchsorted(ends, np.flatnonzero(found == _SLOW), "right") - 1)
    pieces, at = [], 0
    lengths = np.diff(ends)
    for number in marked.tolist():
        pieces += [found[at : ends[number]], _slowly(texts[number])]
        lengths[number] = len(pieces[-1])
        at = ends[number + 1]
    return np.concatenate([*pieces, found[at:]]), np.concatenate(([0], np.cumsum(lengths)))


def _slowly(text: str) -> Codes:
    """As the table would have it, by `unicodedata`: dropped characters are 0."""
    normal = unicodedata.normalize("NFKC", text)
    codes = _table()[code_points(normal)]
    # what is still marked could not be looked up, but is its own normal form now
    marked = np.flatnonzero(codes == _SLOW)
    for place in marked.tolist():
        kind = unicodedata.category(normal[place])
        blank = _GAP * normal[place].isspace()
        codes[place] = blank if kind in _BLANK else ord(normal[place]) + _MARK * (kind in _PUNCTUATION)
    return codes


def code_points(text: str) -> Codes:
    """The characters of a text as they are (shape: characters)."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
