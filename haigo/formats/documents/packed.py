"""bz2, xz and zstd as streams that end where the file ends.

Python's own readers take what is no stream after the first for the end of the file: one damaged block in the middle of a
dump of many streams, and the rest of it is missing without a word. zstandard's takes a cut file for a whole one. Zeros after a
stream of bz2 or xz are padding.
"""

from __future__ import annotations

import bz2
import io
import lzma
from collections.abc import Callable
from typing import BinaryIO

import zstandard

_BLOCK = 1 << 16
_MUCH = 1 << 20  # bytes out of one step


class Zstd:
    """One frame (a skippable one is empty), in the words of Python's own decompressors. It is fed in steps that give about a
    megabyte each, so that a bomb does not get far."""

    def __init__(self) -> None:
        self._frame, self._held, self._step = zstandard.ZstdDecompressor().decompressobj(), b"", 1 << 8
        self.needs_input = True

    @property
    def eof(self) -> bool:
        """The frame is complete."""
        return self._frame.eof

    @property
    def unused_data(self) -> bytes:
        """What follows the frame."""
        return self._frame.unused_data + self._held

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        """What a step of the data holds."""
        held = self._held + data
        unpacked = self._frame.decompress(held[: self._step])
        self._held = held[self._step :]
        self._step = min(_BLOCK, 2 * self._step) if len(unpacked) < _MUCH else max(16, self._step // 2)
        self.needs_input = not self._held
        return unpacked


class Streams(io.RawIOBase):
    """Streams one after the other as one.

    Args:
        raw: the packed bytes.
        opener: makes what unpacks one stream.
    """

    def __init__(self, raw: BinaryIO, opener: Callable[[], bz2.BZ2Decompressor | lzma.LZMADecompressor | Zstd]) -> None:
        super().__init__()
        self._raw, self._opener = raw, opener
        self._stream = opener()
        self._more = self._made = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self._made:
            if self._stream.eof and not self._next():
                return 0
            data = b""
            if self._stream.needs_input:
                data, self._more = self._more or self._raw.read(_BLOCK), b""
                if not data:
                    raise EOFError("the last stream is not complete")
            self._made = self._stream.decompress(data, len(buffer))
        size = min(len(buffer), len(self._made))
        buffer[:size], self._made = self._made[:size], self._made[size:]
        return size

    def _next(self) -> bool:
        """Go on to the next stream; False where nothing or only padding follows."""
        padding = b"" if isinstance(self._stream, Zstd) else b"\0"
        rest = self._stream.unused_data
        while not (rest := rest.lstrip(padding)):
            rest = self._raw.read(_BLOCK)
            if not rest:
                return False
        self._stream, self._more = self._opener(), rest
        return True


def is_skippable(magic: bytes) -> bool:
    """True for the first bytes of a zstd (or lz4) frame that holds no data."""
    return magic[1:4] == b"\x2a\x4d\x18" and magic[0] & 0xF0 == 0x50
