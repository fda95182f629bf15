"""bz2 and xz as streams that end where the file ends.

Python's own readers take what is no stream after the first for the end of the file: one damaged block in the middle of a
dump of many streams, and the rest of it is missing without a word. Zeros after a stream are padding.
"""

from __future__ import annotations

import bz2
import io
import lzma
from collections.abc import Callable
from typing import BinaryIO

_BLOCK = 1 << 16


class Streams(io.RawIOBase):
    """Streams one after the other as one.

    Args:
        raw: the packed bytes.
        opener: makes what unpacks one stream.
    """

    def __init__(self, raw: BinaryIO, opener: Callable[[], bz2.BZ2Decompressor | lzma.LZMADecompressor]) -> None:
        super().__init__()
        self._raw, self._opener = raw, opener
        self._stream = opener()
        self._more = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while True:
            if self._stream.eof and not self._next():
                return 0
            data = b""
            if self._stream.needs_input:
                data, self._more = self._more or self._raw.read(_BLOCK), b""
                if not data:
                    raise EOFError("the last stream is not complete")
            made = self._stream.decompress(data, len(buffer))
            if made:
                buffer[: len(made)] = made
                return len(made)

    def _next(self) -> bool:
        """Go on to the next stream; False where nothing or only padding follows."""
        rest = self._stream.unused_data
        while not (rest := rest.lstrip(b"\0")):
            rest = self._raw.read(_BLOCK)
            if not rest:
                return False
        self._stream, self._more = self._opener(), rest
        return True
