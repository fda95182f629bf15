"""The classes of characters that rules count."""

from __future__ import annotations

import functools
import sys
import unicodedata

import numpy as np
import numpy.typing as npt

_NAMES = "BLANK LATIN HIRAGANA KATAKANA KANJI LETTER DIGIT PUNCTUATION SYMBOL BROKEN"
CLASSES = {name: number for number, name in enumerate(_NAMES.split())}
BLANK, LATIN, HIRAGANA, KATAKANA, KANJI, LETTER, DIGIT, PUNCTUATION, SYMBOL, BROKEN = CLASSES.values()


@functools.lru_cache(maxsize=1)
def classes() -> npt.NDArray[np.uint8]:
    """The class of every code point."""
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
