"""Which bytes a file holds: its sha256, read at most once in a process while the file stays as it is.

A mark is what is noted of a file: {"sha256", "size", "inode", "ctime_ns"}. Whoever keeps marks compares bytes with them, not
names or sizes. Only a file above 4 GiB counts as unchanged without being read, when inode, size and the time of its last
change (ctime, which no program can set back) are those of its mark; `believed` says which files that were.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from haigo.progress import Progress
from haigo.reading import require_file

BIG_BYTES = 4 << 30
_SHOWN_BYTES = 2 << 30  # from here on hashing takes long enough to be shown
_CHUNK = 1 << 20
_SETTLED_NS = 50_000_000  # a change within the same tick of the clock would leave ctime as it is
_Key = tuple[int, int, int, int]

_known: dict[_Key, str] = {}
_believed: dict[str, None] = {}


def sha256(path: str | os.PathLike[str], on_bytes: Callable[[int], None] | None = None) -> str:
    """Hexadecimal sha256 of a file's bytes; a file that this process has read is read again only when it was touched."""
    key = _key(os.stat(path))
    known = _known.get(key)
    if known is not None:
        return known
    require_file(path)
    digest = hashlib.sha256()
    with open(path, "rb") as handle:
        while chunk := handle.read(_CHUNK):
            digest.update(chunk)
            if on_bytes is not None:
                on_bytes(len(chunk))
    known = digest.hexdigest()
    if _key(os.stat(path)) == key and time.time_ns() - key[3] > _SETTLED_NS:
        _known[key] = known
    return known


def mark(
    path: str | os.PathLike[str],
    before: Mapping[str, Any] | None = None,
    *,
    full: bool = False,
    on_bytes: Callable[[int], None] | None = None,
) -> dict[str, Any]:
    """What is to be noted of a file as it is now.

    Args:
        before: its mark of an earlier time, by which a file above 4 GiB need not be read.
        full: read it all the same.
        on_bytes: called with the number of bytes read, as they are read.
    """
    stat = os.stat(path)
    now = {"size": stat.st_size, "inode": stat.st_ino, "ctime_ns": stat.st_ctime_ns}
    if before and not full and stat.st_size > BIG_BYTES and all(before.get(key) == now[key] for key in now):
        _believed[str(path)] = None
        return {"sha256": str(before["sha256"]), **now}
    return {"sha256": sha256(path, on_bytes), **now}


def marks(
    folder: Path, names: Iterable[str], before: Mapping[str, Any] | None = None, *, full: bool = False
) -> dict[str, dict[str, Any]]:
    """Name -> mark of files, in order; with a progress line when there is much to read.

    Args:
        folder: where names that are no absolute paths start.
        before: as of `mark`, by name.
        full: as of `mark`.
    """
    paths = {name: folder / name for name in names}
    total, known = sum(os.stat(path).st_size for path in paths.values()), before or {}
    with Progress(f"{folder.name}: digests", total, "bytes", quiet=total < _SHOWN_BYTES) as bar:
        return {name: mark(path, known.get(name), full=full, on_bytes=bar.update) for name, path in paths.items()}


def changed(
    folder: Path, noted: Mapping[str, Any], *, full: bool = False, since: str = "it was made"
) -> tuple[dict[str, str], dict[str, dict[str, Any]]]:
    """Files against what was noted of them.

    Args:
        folder: where names that are no absolute paths start.
        noted: name -> its mark, with a second digest that it may have as "or"; or only its size in bytes.
        full: as of `mark`.

    Returns:
        what is wrong, name -> a few words; and name -> mark of every file that is there.
    """
    wrong, there = {}, []
    for name, row in noted.items():
        path = folder / name
        if not path.is_file():
            wrong[name] = "is missing"
        elif type(row) is int and path.stat().st_size != row:
            wrong[name] = f"has {path.stat().st_size:,} bytes, and was left with {row:,}"
        else:
            there.append(name)
    marked = {name: row for name, row in noted.items() if type(row) is not int}
    now = marks(folder, there, marked, full=full)
    for name in now.keys() & marked.keys():
        if now[name]["sha256"] not in (marked[name]["sha256"], marked[name].get("or")):
            wrong[name] = f"was changed since {since}"
    return {name: wrong[name] for name in noted if name in wrong}, now


def believed() -> list[str]:
    """The files above 4 GiB that this process took as unchanged without reading them."""
    return list(_believed)


def known() -> dict[_Key, str]:
    """What this process has read, for another one to `learn`: a worker need not read again what its parent has."""
    return dict(_known)


def learn(more: Mapping[_Key, str]) -> None:
    """Take over what another process of this machine has read; files touched since are told by their ctime."""
    _known.update(more)


def is_mark(value: Any) -> bool:
    """Whether a JSON value has the form of a mark."""
    return isinstance(value, dict) and isinstance(value.get("sha256"), str) and isinstance(value.get("size"), int)


def below(folder: Path) -> list[Path]:
    """The files below a folder that are content: no part of their path begins with a dot."""
    paths = []
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(each for each in folders if not each.startswith("."))
        paths += [Path(place) / name for name in sorted(names) if not name.startswith(".")]
    return sorted(path for path in paths if path.is_file())


def sums(folder: Path) -> dict[str, str]:
    """Path relative to a folder -> digest of every file below it."""
    return {str(path.relative_to(folder)): sha256(path) for path in below(folder)}


def _key(stat: os.stat_result) -> _Key:
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_ctime_ns
