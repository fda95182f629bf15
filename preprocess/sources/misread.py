"""Bytes that every reader takes for a text and that are none: encodings of seven bits, which are ASCII by their bytes, and
text that was read in the wrong encoding and written again as UTF-8 (縺薙ｌ縺ｯ was これは)."""

from __future__ import annotations

import contextlib
import functools
import re
import unicodedata

from . import iso2022

MOST = 0.1
"""Share of a text in such signs from which on it is not to be read."""
_SIGNS = re.compile(
    "[縺繧繝].?"  # UTF-8 read as Shift_JIS: 縺 is the beginning of every hiragana
    "|ã[\x80-\xbf‚ƒ€]|[äåæçèé][\x80-\xbf…†‡ˆ‰Š‹Œ‘’“”•–—˜™š›œžŸ€‚„ƒ]"  # UTF-8 as Latin-1 or Windows-1252
    "|[\x82\x83‚ƒ][^\\s\x00-\x1f]"  # Shift_JIS as these
    "|[¤¥][¡-þ]"  # EUC-JP as these
)
_FIRST = re.compile("[縺繧繝ãäåæçèé\x82\x83‚ƒ¤¥]")  # what a sign begins with: most texts have none
_COMMAS, _HALF_WIDTH = 10, re.compile("[ｦ-ﾟ]")
_AS_EUC, _OF_DE = 0.2, "с"
"""Share of kanji that begin with E3 to E9 in EUC-JP, as those of UTF-8 do, and what で becomes; other bytes are lost."""
_JIS = re.compile(rb"\$B((?:[!-t][!-~]){2,})\(B")
_HZ = re.compile(rb"~\{(?:[!-w][!-~])+~\}")
_UTF7 = re.compile(rb"\+(?=[0-9/]*[A-Za-z])[A-Za-z0-9+/]{3,}(?![A-Za-z0-9+/])")
_RUNS = 3


def signs(text: str) -> int:
    """Characters of a text that are the bytes of another one, read in the wrong encoding."""
    if text.isascii():
        return 0
    count = sum(map(len, _SIGNS.findall(text))) if _FIRST.search(text) else 0
    commas = text.count("､")
    if commas >= _COMMAS:  # EUC-JP read as Shift_JIS: ､ begins every hiragana, and others have it after many
        kana = len(_HALF_WIDTH.findall(text))
        count += commas + kana if commas < kana < 4 * commas else 0
    if _OF_DE in text:
        kanji = len(_kanji_of_utf8().findall(text))
        count += kanji if kanji >= _COMMAS and kanji > _AS_EUC * len(text) else 0
    return count


@functools.cache
def _kanji_of_utf8() -> re.Pattern[str]:
    """Rare kanji that make up UTF-8 read as EUC-JP (日本語の文章です is ユ茯腴с); prose has one in a hundred."""
    pairs = (bytes((row, cell)) for row in range(0xE3, 0xEA) for cell in range(0xA1, 0xFF))
    return re.compile(f"[{''.join(pair.decode('euc_jp', 'ignore') for pair in pairs)}]")


def share(text: str) -> float:
    """The same, of all characters but blanks."""
    count = signs(text)
    return count / len("".join(text.split())) if count else 0.0


def suspicious(block: bytes) -> bool:
    """Whether ASCII may be one of the encodings of seven bits."""
    return any(pattern.search(block) is not None for pattern in (_UTF7, _HZ, _JIS))


def seven_bits(block: bytes) -> str | None:
    """Which encoding of seven bits a part of a file is in, all of whose bytes are ASCII; None for plain ASCII."""
    lines = block[: block.rfind(b"\n") + 1] or block
    with contextlib.suppress(UnicodeDecodeError):
        if _much(_HZ.findall(lines), lines) and not lines.decode("hz").isascii():
            return "HZ"
    with contextlib.suppress(UnicodeDecodeError):
        if len(_UTF7.findall(lines)) >= _RUNS and _is_text(lines.decode("utf-7")):
            return "UTF-7"
    runs = _JIS.findall(lines)
    with contextlib.suppress(UnicodeDecodeError):
        if _much(runs, lines) and re.search("[ぁ-ん]", iso2022.decode(b"\x1b$B" + b"".join(runs))):
            return "ISO-2022-JP without its escapes"
    return None


def _much(runs: list[bytes], lines: bytes) -> bool:
    return 5 * sum(map(len, runs)) > len(lines)


def _is_text(text: str) -> bool:
    return all(char.isascii() or unicodedata.category(char)[0] in "LMNPSZ" for char in text)
