"""Files as streams of bytes, whatever they are packed in: gz, zst, xz, bz2, tar, or nothing.

The packing is told by the first bytes, never by the name, so a misnamed file is read right. Members of a tar are read
as they come by and are never written to disk. A cut or damaged file ends in one sentence, never in a short read.
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
from typing import BinaryIO, cast

import zstandard

from haigo.cli import HaigoError

SUFFIXES = (".gz", ".zst", ".zstd", ".xz", ".bz2", ".tar", ".tgz", ".txz", ".tbz2", ".tzst")
_MAGIC: tuple[tuple[bytes, Callable[[BinaryIO], io.IOBase]], ...] = (
    (b"\x1f\x8b", lambda raw: gzip.GzipFile(fileobj=raw)),
    (b"\x28\xb5\x2f\xfd", lambda raw: _Zstd(raw)),
    (b"\xfd7zXZ\x00", lambda raw: lzma.LZMAFile(raw)),  # noqa: SIM115  (the caller closes it)
    (b"BZh", lambda raw: bz2.BZ2File(raw)),
)
_BUFFER = 1 << 18
HEAD_BYTES = 1 << 16
_CARD = "DATA_CARD.*"  # says of a fetched folder's documents what they are, and is none


class Entry:
    """One file of text-to-be: a file on disk or a member of a tar, unpacked.

    Attributes:
        name: what messages call it: the path, with `:member` for a tar's member.
        key: name relative to the file or folder given by the user, the same wherever that lies.
        stream: its bytes; may be read once.
        head: its first 64 kB, without consuming them.
        in_tar: it is a member of a tar.
        on_disk: the path, when the bytes lie there as they are and may be read in any order.
    """

    def __init__(
        self, name: str, key: str, stream: io.BufferedReader, in_tar: bool = False, on_disk: Path | None = None
    ) -> None:
        # names are bytes: one that is no UTF-8 (of an old Shift_JIS archive) is shown with its bytes written out
        self.name, self.key = (
            part.encode(errors="surrogateescape").decode(errors="backslashreplace") for part in (name, key)
        )
        self.stream, self.in_tar, self.on_disk = stream, in_tar, on_disk
        self.head = peek(stream)

    def read(self) -> bytes:
        """All of it."""
        with readable(self.name):
            return self.stream.read()


class _Zstd(io.RawIOBase):
    """zstd frames as a stream. zstandard's own reader takes a cut file for a whole one; this one does not."""

    def __init__(self, raw: BinaryIO) -> None:
        self._raw, self._left = raw, b""
        self._frame: zstandard.ZstdDecompressionObj | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self._left:
            chunk = self._frame.unused_data if self._frame is not None and self._frame.eof else b""
            chunk = chunk or self._raw.read(_BUFFER)
            if not chunk:
                if self._frame is not None and not self._frame.eof:
                    raise EOFError("the last zstd frame is not complete")
                return 0
            if self._frame is None or self._frame.eof:
                self._frame = zstandard.ZstdDecompressor().decompressobj()
            self._left = self._frame.decompress(chunk)
        size = min(len(buffer), len(self._left))
        buffer[:size] = self._left[:size]
        self._left = self._left[size:]
        return size


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


def peek(stream: io.BufferedReader) -> bytes:
    """Up to 64 kB ahead, as far as one read of the layers below gives them."""
    return stream.peek(HEAD_BYTES)[:HEAD_BYTES]


def unpack(raw: BinaryIO) -> io.BufferedReader:
    """The bytes inside however many layers of compression (a damaged layer raises its library's error when read)."""
    stream: io.BufferedReader = io.BufferedReader(cast(io.RawIOBase, raw), HEAD_BYTES)
    for _ in range(4):
        head = stream.peek(8)[:8]
        layer = next((opener for magic, opener in _MAGIC if head.startswith(magic)), None)
        if layer is None:
            break
        stream = io.BufferedReader(cast(io.RawIOBase, layer(stream)), HEAD_BYTES)
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
    for given in paths:
        place = Path(given)
        if place.is_dir():
            found = sorted((path for path in place.rglob("*") if path.is_file()), key=lambda path: natural(str(path)))
            shown = [path for path in found if not _named(path.relative_to(place).parts, unwanted)]
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
    with open(path, "rb") as raw, readable(str(path)):
        stream = unpack(cast(BinaryIO, raw))
        if stream.peek(512)[257:262] != b"ustar":
            yield Entry(str(path), key, stream, on_disk=path if stream.raw is raw else None)
            return
        with tarfile.open(fileobj=stream, mode="r|") as archive:
            for member in archive:
                if not member.isreg() or os.path.basename(member.name).startswith("."):
                    continue
                handle = archive.extractfile(member)
                if handle is not None:
                    # peeking at a member through tarfile's own buffer is enough for the format, not for 64 kB of head
                    yield Entry(f"{path}:{member.name}", member.name, unpack(cast(BinaryIO, handle)), in_tar=True)
