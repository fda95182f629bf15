"""Pieces of one large file, each read by itself: of plain files ranges of bytes, of packed ones runs of their members.

A record (a line of JSON, a page of a MediaWiki dump) belongs to the piece in which it begins: what comes before the first is
the piece's before, and the last is read to its end, wherever that lies. So all pieces together give the documents of the file,
whatever their number. Cut are plain jsonl and dumps, bz2 of several streams (multistream dumps, pbzip2) and zst of several
frames (pzstd, zstd -B, or files joined by cat). A file of one packed stream cannot be sought, and gives one piece.
"""

from __future__ import annotations

import io
import mmap
from collections import Counter
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO, cast

import zstandard

from haigo.formats.documents.broken import Broken
from haigo.formats.documents.containers import Entry, entries, readable, unpack
from haigo.formats.documents.document import Document
from haigo.formats.documents.packed import is_skippable

from ..options import ReadOptions
from . import detect_format, read_entry

_BLOCK = 1 << 18
_BEGINS = {"jsonl": b"\n", "mediawiki": b"<page>"}
"""What parts records: a line follows the one, a page begins with the other."""
_END = b"</mediawiki>"
_BZ2, _ZSTD = b"BZh", b"\x28\xb5\x2f\xfd"
_BZ2_BLOCK = b"\x31\x41\x59\x26\x53\x59"


@dataclass(frozen=True, slots=True)
class Piece:
    """The records that begin in `start` <= byte < `end` of a file as it lies on the disk.

    Attributes:
        path, key: of the file.
        kind: jsonl or mediawiki.
    """

    path: str
    key: str
    kind: str
    start: int
    end: int

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"{self.path} (from byte {self.start:,})" if self.start else self.path

    def documents(
        self, how: ReadOptions, broken: Broken | None = None, passed_over: Counter[str] | None = None
    ) -> Iterator[Document]:
        """Its documents in order; arguments and errors as of `sources.read`, lines counted from where the piece begins."""
        with open(self.path, "rb") as own, open(self.path, "rb") as after, readable(self.name):
            blocks = self._blocks(own, after)
            entry = Entry(self.name, self.key, io.BufferedReader(_Blocks(blocks), _BLOCK))
            yield from read_entry(entry, how.replaced(format=self.kind), broken, passed_over)

    def _blocks(self, own: BinaryIO, after: BinaryIO) -> Iterator[bytes]:
        token = _BEGINS[self.kind]
        if self.kind == "mediawiki" and self.start:
            with open(self.path, "rb") as head:
                yield from _until(_read(head, 0, None), token)
        blocks, rest = _read(own, self.start, self.end), _read(after, self.end, None)
        to_the_end = yield from _records(blocks, rest, token, self.start == 0)
        if self.kind == "mediawiki" and not to_the_end:  # a dump that is cut has no end of its own, which is an error
            yield _END


class _Blocks(io.RawIOBase):
    """Blocks of bytes as a stream."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        super().__init__()
        self._blocks, self._held = blocks, b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self._held:
            block = next(self._blocks, None)
            if block is None:
                return 0
            self._held = block
        size = min(len(buffer), len(self._held))
        buffer[:size], self._held = self._held[:size], self._held[size:]
        return size


class _Part(io.RawIOBase):
    """The bytes of a file from `start` to `end`, as if they were all of it."""

    def __init__(self, raw: BinaryIO, start: int, end: int | None) -> None:
        super().__init__()
        self._raw, self._left = raw, None if end is None else end - start
        raw.seek(start)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        size = len(buffer) if self._left is None else min(len(buffer), self._left)
        count = self._raw.readinto(buffer[:size])  # type: ignore[attr-defined]
        if self._left is not None:
            self._left -= count
        return int(count)


def _read(raw: BinaryIO, start: int, end: int | None) -> Iterator[bytes]:
    """What a part of a file holds, unpacked."""
    stream = unpack(cast(BinaryIO, _Part(raw, start, end)))
    while block := stream.read(_BLOCK):
        yield block


def _until(blocks: Iterator[bytes], token: bytes) -> Generator[bytes, None, bool]:
    """What stands before the first token; with it, where it is the end of a line. Returns whether there is none."""
    held, more = b"", token == b"\n"
    for block in blocks:
        data = held + block
        at = data.find(token)
        if at >= 0:
            yield data[: at + more]
            return False
        keep = max(0, len(data) - len(token) + 1)
        yield data[:keep]
        held = data[keep:]
    yield held
    return True


def _records(own: Iterator[bytes], after: Iterator[bytes], token: bytes, begun: bool) -> Generator[bytes, None, bool]:
    """What is between the first token that begins in `own` (or its start, if `begun`) and the first that begins in `after`.
    Returns whether there is something, and it goes on to the end of the file."""
    skip, held = token == b"\n", b""
    for block in own:
        if begun:
            yield block
            continue
        data = held + block
        at = data.find(token)
        begun = at >= 0
        if begun:
            yield data[at + skip :]
        held = b"" if begun else data[max(0, len(data) - len(token) + 1) :]
    if not begun and held:  # a token over the end begins in `own` still
        some = b""
        while len(some) < len(token) and (block := next(after, b"")):
            some += block
        at = (held + some).find(token)
        if not 0 <= at < len(held):
            return False
        begun = True
        yield (held + some)[at : len(held)]
        after = _chained(some, after)
    return (yield from _until(after, token)) if begun else False


def _chained(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


# --- where a file is cut ------------------------------------------------------------------------------------------------


def cut(path: Path, key: str, how: ReadOptions, piece_bytes: int) -> list[Piece]:
    """The pieces of a file, each of about `piece_bytes` as they lie on the disk; none where it cannot be cut.

    The same for the same file and `piece_bytes`.

    Raises:
        HaigoError: it is of no known format, or its first bytes are damaged.
    """
    entry = next(entries(path, key), None)
    if entry is None or entry.in_tar:
        return []
    kind = detect_format(entry) if how.format == "auto" else how.format
    if kind not in _BEGINS:
        return []
    size = path.stat().st_size
    edges = [0]
    for start in _starts(path, size, piece_bytes):
        if start - edges[-1] >= piece_bytes:
            edges.append(start)
    ends = pairwise([*edges, size])
    return [Piece(str(path), key, kind, start, end) for start, end in ends] if len(edges) > 1 else []


def _starts(path: Path, size: int, piece_bytes: int) -> Iterator[int]:
    """Where something begins that can be read by itself."""
    with open(path, "rb") as handle:
        head = handle.read(18)
        if head.startswith(_BZ2):
            with mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as content:
                yield from _bz2_streams(content)
        elif head.startswith(_ZSTD) or is_skippable(head[:4]):
            yield from _zstd_frames(handle, size)
        elif unpack(cast(BinaryIO, _Part(handle, 0, None))).peek(18)[:18] == head:
            yield from range(piece_bytes, size, piece_bytes)


def _bz2_streams(content: mmap.mmap) -> Iterator[int]:
    """Ten bytes that no data has by chance: where a stream begins, with its first block. One that has them all the same ends
    in an error, never in other text: the stream that they stand in would be cut short."""
    at = 0
    while (at := content.find(_BZ2_BLOCK, at + 1)) >= 0:
        if at > 4 and content[at - 4 : at - 1] == _BZ2 and content[at - 1 : at] in b"123456789":
            yield at - 4


def _zstd_frames(handle: BinaryIO, size: int) -> Iterator[int]:
    """Walk from frame to frame, over the lengths of their blocks; ends where there is no frame, which reading names."""
    at = 0
    while at < size:
        handle.seek(at)
        head = handle.read(18)
        if at:
            yield at
        if is_skippable(head[:4]):
            at += 8 + int.from_bytes(head[4:8], "little")
            continue
        try:
            about = zstandard.get_frame_parameters(head)
            at += zstandard.frame_header_size(head)
        except zstandard.ZstdError:
            return
        last = False
        while not last:
            handle.seek(at)
            block = int.from_bytes(head := handle.read(3), "little")
            if len(head) < 3:
                return
            last = bool(block & 1)
            at += 3 + (1 if block >> 1 & 3 == 1 else block >> 3)
        at += 4 * about.has_checksum
