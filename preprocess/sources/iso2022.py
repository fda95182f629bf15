"""ISO-2022-JP as it is met: JIS X 0208 with the signs of NEC and IBM in it, half-width kana, JIS X 0212.

Python's own codecs refuse NEC's row 13 (①, ㈱, Ⅱ), which Windows writes into such files (cp50221). What they do know is
decoded as they do.
"""

from __future__ import annotations

import codecs
import re
from typing import Any

_ESCAPE = re.compile(rb"\x1b(?:\([BJIH]|\$[@B]|\$\([@BD])")
_TWO_BYTES, _SUPPLEMENT, _KANA = (b"\x1b$@", b"\x1b$B", b"\x1b$(@", b"\x1b$(B"), b"\x1b$(D", b"\x1b(I"
_UNKNOWN = re.compile(rb"[\x1b\x80-\xff]")


def decode(data: bytes) -> str:
    """The text of whole lines.

    Raises:
        UnicodeDecodeError: an escape sequence of another encoding, a byte beyond seven bits, or a sign that is none.
    """
    parts, at, state = [], 0, b"\x1b(B"
    for match in [*_ESCAPE.finditer(data), None]:
        end = len(data) if match is None else match.start()
        # a line ends in ASCII, also where the escape sequence back to it is missing
        for number, line in enumerate(data[at:end].split(b"\n")):
            if number:
                state = b"\x1b(B"
                parts.append("\n")
            parts.append(_segment(data, at, line, state))
            at += len(line) + 1
        at, state = (end, state) if match is None else (match.end(), match[0])
    return "".join(parts)


def _segment(data: bytes, at: int, part: bytes, state: bytes) -> str:
    alien = _UNKNOWN.search(part)
    if alien:
        raise UnicodeDecodeError("iso2022_jp", data, at + alien.start(), at + alien.end(), "no such sequence")
    bare = part.rstrip(b"\r")
    tail = "\r" * (len(part) - len(bare))
    try:
        if state in _TWO_BYTES:
            return _two_bytes(bare) + tail
        if state == _SUPPLEMENT:
            pairs = [b"\x8f" + _high(bare[place : place + 2]) for place in range(0, len(bare), 2)]
            return b"".join(pairs).decode("euc_jp") + tail
        if state == _KANA:
            return _high(bare).decode("cp932") + tail
    except UnicodeDecodeError as error:
        raise UnicodeDecodeError("iso2022_jp", data, at, at + max(1, len(part)), error.reason) from None
    return bare.decode("ascii") + tail


def _two_bytes(part: bytes) -> str:
    try:
        return _high(part).decode("euc_jp")
    except UnicodeDecodeError:
        return "".join(_sign(part[place : place + 2]) for place in range(0, len(part), 2))


def _sign(pair: bytes) -> str:
    try:
        return _high(pair).decode("euc_jp")
    except UnicodeDecodeError:
        return windows_sign(pair[0] - 0x21, pair[-1] - 0x21)


def windows_sign(row: int, cell: int) -> str:
    """What Windows has in a place of the table (from 0) where EUC-JP has nothing: the same place in Shift_JIS.

    Raises:
        UnicodeDecodeError: it has nothing there either.
    """
    lead = (row >> 1) + (0x81 if row < 62 else 0xC1)
    trail = cell + (0x9F if row & 1 else 0x40 + (cell >= 63))
    return bytes((lead, trail)).decode("cp932")


def _high(part: bytes) -> bytes:
    return bytes(byte | 0x80 for byte in part)


class Decoder(codecs.BufferedIncrementalDecoder):
    """The same for bytes that come in blocks: whole lines are decoded as they are complete."""

    def _buffer_decode(self, data: Any, errors: str, final: bool) -> tuple[str, int]:
        end = len(data) if final else data.rfind(b"\n") + 1
        try:
            return decode(data[:end]), end
        except UnicodeDecodeError as error:
            raise UnicodeDecodeError(error.encoding, data, error.start, error.end, error.reason) from None
