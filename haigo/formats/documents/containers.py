"""Files as streams of bytes, whatever they are packed in: gz, zst, xz, bz2, tar, or nothing.

The packing is told by the first bytes, never by the name, so a misnamed file is read right. Members of a tar are read
as they come by and are never written to disk. A cut or damaged file ends in one sentence, never in a short read. What
unpacks to a line or document larger than any text is named before it fills memory.
"""

from __future__ import annotations

import bz2
import contextlib
import fnmatch
import gzip
import io
import lzma
import os
import re
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from glob import glob, has_magic
from pathlib import Path
from typing import BinaryIO, Self, cast

import zstandard

from haigo.cli import HaigoError
from haigo.reading import require_file

from . import packed
from .broken import Broken

SUFFIXES = (".gz", ".zst", ".zstd", ".xz", ".bz2", ".tar", ".tgz", ".txz", ".tbz2", ".tzst")
_MAGIC: tuple[tuple[bytes, Callable[[BinaryIO], io.IOBase]], ...] = (
    (b"\x1f\x8b", lambda raw: gzip.GzipFile(fileobj=raw, mode="rb")),  # else it asks the layer below for its mode
    (b"\x28\xb5\x2f\xfd", lambda raw: packed.Streams(raw, packed.Zstd)),
    (b"\xfd7zXZ\x00", lambda raw: packed.Streams(raw, lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ))),
    (b"BZh", lambda raw: packed.Streams(raw, bz2.BZ2Decompressor)),
)
_BUFFER = 1 << 18
HEAD_BYTES = 1 << 16
MOST_BYTES = 64 << 20
"""Of one line, or of one document of plain text."""
_MOST_HELD = 1 << 30  # of a packed table, which must be held as a whole
_RECORDS = re.compile(r"\.(?:warc|wet)(?:\.|$)")  # web archives: a cut one holds what stands before the cut
_CARD = "DATA_CARD.*"  # says of a fetched folder's documents what they are, and is none


class Entry:
    """One file of text-to-be: a file on disk or a member of a tar, unpacked.

    Attributes:
        name: what messages call it: the path, with `:member` for a tar's member.
        key: name relative to the file or folder given by the user, the same wherever that lies.
        stream: its bytes; may be read once.
        head: its first 64 kB, without consuming them.
        whole: the head is all of it.
        in_tar: it is a member of a tar.
        path: the file, when it is no member of a tar: it can be opened again.
        on_disk: the path, when the bytes lie there as they are and may be read in any order.
        cut: of a web archive that ends inside a packed record, once it was read: how that showed; else empty.
    """

    def __init__(
        self, name: str, key: str, stream: io.BufferedReader, in_tar: bool = False, path: Path | None = None
    ) -> None:
        # names are bytes: one that is no UTF-8 (of an old Shift_JIS archive) is shown with its bytes written out
        self.name, self.key = (
            part.encode(errors="surrogateescape").decode(errors="backslashreplace") for part in (name, key)
        )
        self.in_tar, self.path = in_tar, path
        plain = path is not None and isinstance(stream.raw, io.BufferedReader | io.FileIO)
        self.on_disk = path if plain else None
        self._until = stream.raw if isinstance(stream.raw, _UntilCut) else None
        self.head = stream.read(HEAD_BYTES)
        self.whole = len(self.head) < HEAD_BYTES
        self.stream = io.BufferedReader(_Chained(self.head, stream), HEAD_BYTES)

    @property
    def cut(self) -> str:
        return self._until.reason if self._until else ""

    def read(self, most: int = _MOST_HELD) -> bytes:
        """All of it.

        Raises:
            HaigoError: it is damaged, or larger than `most` bytes.
        """
        blocks, size = [], 0
        with readable(self.name):
            while size <= most and (block := self.stream.read(_BUFFER)):
                blocks.append(block)
                size += len(block)
        if size > most:
            raise HaigoError(
                f"{self.name} holds more than {most >> 20:,} MB in one piece.",
                "part it into documents (blank lines, or JSON lines), unpack it first, or leave it out",
            )
        return b"".join(blocks)

    def again(self) -> Iterator[bytes]:
        """All of its bytes once more, in blocks, for a file that is no member of a tar; `stream` stays where it is."""
        if self.whole:
            yield self.head
            return
        assert self.path is not None
        with open(self.path, "rb") as raw, readable(self.name):
            stream = unpack(cast(BinaryIO, raw))
            while block := stream.read(_BUFFER):
                yield block


class _Chained(io.RawIOBase):
    """Bytes that were read already, and what follows them."""

    def __init__(self, head: bytes, rest: io.BufferedReader) -> None:
        super().__init__()
        self._head, self._rest = head, rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        if not self._head:
            return self._rest.readinto1(buffer)
        size = min(len(buffer), len(self._head))
        buffer[:size] = self._head[:size]
        self._head = self._head[size:]
        return size


class _UntilCut(io.RawIOBase):
    """The bytes of a stream of records up to where it is cut: what stands before is whole in itself."""

    def __init__(self, layer: io.IOBase) -> None:
        super().__init__()
        self._layer, self.reason = cast(gzip.GzipFile, layer), ""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        if self.reason:
            return 0
        try:
            data = self._layer.read1(len(buffer))  # what it has: asked for more, it would lose that at the cut
        except (EOFError, zlib.error, zstandard.ZstdError, gzip.BadGzipFile) as error:
            self.reason = str(error)
            return 0
        buffer[: len(data)] = data
        return len(data)


@contextlib.contextmanager
def readable(name: str) -> Iterator[None]:
    """Turn what a damaged file raises while it is read into one sentence."""
    try:
        yield
    except (EOFError, zlib.error, lzma.LZMAError, zstandard.ZstdError, tarfile.TarError, gzip.BadGzipFile) as error:
        raise HaigoError(f"{name} is cut short or damaged ({error}).", "fetch or copy it again") from None
    except OSError as error:
        if error.errno is None:  # bz2 and gzip complain about their data this way
            raise HaigoError(f"{name} is cut short or damaged ({error}).", "fetch or copy it again") from None
        raise


def unpack(raw: BinaryIO, until_cut: bool = False) -> io.BufferedReader:
    """The bytes inside however many layers of compression (a damaged layer raises its library's error when read).

    Args:
        until_cut: of gz, what stands before a cut is given, and the cut is noted.
    """
    stream: io.BufferedReader = io.BufferedReader(cast(io.RawIOBase, raw), HEAD_BYTES)
    for _ in range(4):
        head = stream.peek(8)[:8]
        layer = next((opener for magic, opener in _MAGIC if head.startswith(magic)), None)
        if layer is None and packed.is_skippable(head):
            layer = _MAGIC[1][1]
        if layer is None:
            break
        inside: io.IOBase = layer(stream)
        inside = _UntilCut(inside) if until_cut and isinstance(inside, gzip.GzipFile) else inside
        stream = io.BufferedReader(cast(io.RawIOBase, inside), HEAD_BYTES)
    return stream


def expand(
    paths: Iterable[str | os.PathLike[str]], patterns: Iterable[str] = (), exclude: Iterable[str] = ()
) -> Iterator[tuple[Path, str]]:
    """Files named by `paths` (files, folders, glob patterns), each with its name relative to what was given.

    Args:
        paths: files, folders (all files below, hidden ones apart, in natural order) and patterns such as `a/**/*.py`.
        patterns: of a folder's files only those that match one of these (`*.py`, `json/*.py`), if any are given.
        exclude: of a folder's files none of which the name, or the name of a folder on the way, matches one of these
            (`site-packages`, `test*`).

    Raises:
        HaigoError: a path does not exist or a pattern matches nothing.
    """
    wanted, unwanted = list(patterns), [*exclude, ".*", _CARD]
    if not all(pattern.strip("/.") for pattern in wanted):
        raise HaigoError("a pattern for files is empty.", "write one such as '*.py', or leave it out")
    for given in paths:
        place = Path(given)
        if place.is_dir():
            paths_below = sorted(
                (path for path in place.rglob("*") if path.is_file()), key=lambda path: natural(str(path))
            )
            shown = [path for path in paths_below if not _named(path.relative_to(place).parts, unwanted)]
            shown = [path for path in shown if not wanted or any(path.match(pattern) for pattern in wanted)]
            if not shown:
                of_kind = f" that matches {', '.join(wanted)}" if wanted else ""
                raise HaigoError(f"the folder {place} holds no file{of_kind}.", "name another folder or pattern")
            yield from ((path, path.relative_to(place).as_posix()) for path in shown)
        elif place.exists():
            yield place, place.name
        elif has_magic(str(given)):
            matches = sorted((m for m in glob(str(given), recursive=True) if os.path.isfile(m)), key=natural)
            if not matches:
                raise HaigoError(f"no file matches {given}.", "check the pattern")
            root = _fixed_part(str(given))
            yield from ((Path(match), os.path.relpath(match, root)) for match in matches)
        else:
            raise HaigoError(f"{place} does not exist.", "check the path")


def natural(name: str) -> list[tuple[int, int, str]]:
    """Sorting key that puts page_2 before page_10."""
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", name) if part]


def _named(parts: tuple[str, ...], patterns: list[str]) -> bool:
    return any(fnmatch.fnmatchcase(part, pattern) for part in parts for pattern in patterns)


def _fixed_part(pattern: str) -> str:
    parts: list[str] = []
    for part in Path(pattern).parts[:-1]:
        if has_magic(part):
            break
        parts.append(part)
    return os.path.join(*parts) if parts else "."


def entries(path: Path, key: str | None = None) -> Iterator[Entry]:
    """The file, or the regular members of the tar that it holds, in their order.

    Raises:
        HaigoError: the file or a layer of it is damaged.
    """
    key = key or path.name
    require_file(path)
    with open(path, "rb") as raw, readable(str(path)):
        stream = unpack(cast(BinaryIO, raw), until_cut=_RECORDS.search(key) is not None)
        if stream.peek(512)[257:262] != b"ustar":
            yield Entry(str(path), key, stream, path=path)
            return
        with tarfile.open(fileobj=stream, mode="r|", tarinfo=_Member) as archive:
            for member in archive:
                if not member.isreg() or os.path.basename(member.name).startswith("."):
                    continue
                handle = archive.extractfile(member)
                if handle is not None:
                    yield Entry(f"{path}:{member.name}", member.name, unpack(cast(BinaryIO, handle)), in_tar=True)
            while block := archive.fileobj.read(_BUFFER):
                if block.strip(b"\0"):
                    raise tarfile.ReadError("something follows the end of the archive: two archives in one file?")


class _Member(tarfile.TarInfo):
    """A member, where tarfile takes a broken header, or none at all, for the end of the archive."""

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> Self:
        try:
            return super().fromtarfile(archive)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            raise  # its own end
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(f"after {archive.offset:,} bytes: {error}") from None


def lines(
    stream: BinaryIO, name: str, broken: Broken | None = None, most: int | None = None
) -> Iterator[tuple[int, bytes]]:
    """The lines of a stream with their numbers, from 1.

    Raises:
        HaigoError: one is larger than `most` bytes (MOST_BYTES), and `broken` does not allow it.
    """
    most = MOST_BYTES if most is None else most
    number = 0
    while line := stream.readline(most + 1):
        number += 1
        if len(line) <= most:
            yield number, line
            continue
        (broken or Broken()).note(too_long(name, number))
        while line and not line.endswith(b"\n"):
            line = stream.readline(most)


def too_long(name: str, number: int) -> HaigoError:
    """What is said of a line larger than MOST_BYTES."""
    return HaigoError(
        f"{name} has a line of more than {MOST_BYTES >> 20} MB (line {number}).", "part it, or leave it or the file out"
    )
