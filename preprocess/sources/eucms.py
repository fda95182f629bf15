"""EUC-JP as Windows and MySQL write it (cp51932, eucJP-ms): with the signs of NEC and IBM, 髙 and 﨑 among them.

Python's euc_jp refuses these, and the encoding of 2004 has other characters in their places (髙橋 would become 郄橋). What
Python's euc_jp knows is decoded as it does.
"""

from __future__ import annotations

import codecs
import functools
import re
from typing import Any

from . import iso2022

NAME = "cp51932"
_ALSO = {"cp51932", "eucjp_ms", "euc_jp_ms", "eucjpms"}
_UNIT = re.compile(rb"[\x00-\x7f]+|\x8f[\xa1-\xfe]{2}|\x8e[\xa1-\xdf]|[\xa1-\xfe]{2}")
_BEGUN = re.compile(rb"\x8f[\xa1-\xfe]?|[\x8e\xa1-\xfe]")
_FIRST = 82 * 94 + 82  # where the signs of IBM begin in the supplement: row 83, cell 83


def decode(data: bytes) -> str:
    """The text of whole characters.

    Raises:
        UnicodeDecodeError: bytes that are no character.
    """
    parts: list[str] = []
    at = 0
    while at < len(data):
        unit = _UNIT.match(data, at)
        if unit is None:
            raise UnicodeDecodeError(NAME, data, at, at + 1, "no character")
        try:
            parts.append(_character(unit[0]))
        except (UnicodeDecodeError, LookupError):
            raise UnicodeDecodeError(NAME, data, at, unit.end(), "no character") from None
        at = unit.end()
    return "".join(parts)


def _character(unit: bytes) -> str:
    try:
        return unit.decode("euc_jp")
    except UnicodeDecodeError:
        if unit[0] != 0x8F:
            return iso2022.windows_sign(unit[0] - 0xA1, unit[1] - 0xA1)
        at = (unit[1] - 0xA1) * 94 + unit[2] - 0xA1 - _FIRST
        if at < 0:
            raise
        return _of_ibm()[at]


@functools.lru_cache(maxsize=1)
def _of_ibm() -> str:
    """The signs of IBM that JIS has no place for, in the order of Shift_JIS."""
    cells = [*range(0x40, 0x7F), *range(0x80, 0xFD)]
    pairs = [bytes((lead, cell)) for lead in (0xFA, 0xFB, 0xFC) for cell in cells]
    signs = b"".join(pairs[: pairs.index(b"\xfc\x4b") + 1]).decode("cp932")
    return "".join(
        sign for sign in signs if sign == "№" or (sign not in "￢￤" and not sign.encode("euc_jp", "ignore"))
    )


@functools.lru_cache(maxsize=1)
def _bytes() -> dict[str, bytes]:
    rows = [0xAD, *range(0xF9, 0xFD)]
    pairs = [bytes((row, cell)) for row in rows for cell in range(0xA1, 0xFF)]
    bytes_of: dict[str, bytes] = {}
    for pair in pairs:
        try:
            bytes_of.setdefault(_character(pair), pair)
        except UnicodeDecodeError:
            continue
    return bytes_of


def encode(text: str, errors: str = "strict") -> tuple[bytes, int]:
    """The bytes of a text, as a codec gives them."""
    if text.isascii():
        return text.encode(), len(text)
    own = _bytes()
    packed = b"".join(own.get(char) or char.encode("euc_jp", errors) for char in text)
    return packed, len(text)


class Decoder(codecs.BufferedIncrementalDecoder):
    """The same for bytes that come in blocks."""

    def _buffer_decode(self, data: Any, errors: str, final: bool) -> tuple[str, int]:
        whole = bytes(data)
        try:
            return decode(whole), len(whole)
        except UnicodeDecodeError as error:
            if not final and _BEGUN.fullmatch(whole, error.start):
                return decode(whole[: error.start]), error.start
            raise


def _find(name: str) -> codecs.CodecInfo | None:
    if name.replace("-", "_") not in _ALSO:
        return None
    return codecs.CodecInfo(
        name=NAME,
        encode=encode,
        decode=lambda data, errors="strict": (decode(bytes(data)), len(data)),
        incrementaldecoder=Decoder,
    )


codecs.register(_find)
