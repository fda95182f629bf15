"""The one owner of writing, replacing and removing: files are whole or not there, and nothing of the user's is touched.

Every folder that Haigo writes to holds a journal, `.haigo`, with the names it made there. What the journal does not list was
made by somebody else: it is never replaced (exit 3 names it) and never removed. What is being written lies in `.haigo.tmp`, in
a folder with a random name that only its writer knows, until it is flushed and renamed; so a kill -9 or a full disk never
leaves half a file under its real name and never harms the file that stood there before. `owner` gives a folder to one process
at a time. A test walks the source: nobody else removes, renames or opens for writing.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import secrets
import shutil
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from haigo import cli
from haigo.cli import Refused
from haigo.locks import HELD, owner
from haigo.ownership import (
    JOURNAL,
    LOCK,
    NOTES,
    SCRATCH,
    StrPath,
    adopt,
    adopt_tree,
    check_output,
    claim,
    enter,
    give_back,
    made,
    names_in,
    note,
    noted,
    ours,
    require_ours,
    reserve,
)
from haigo.reading import parse_json, read_json, read_record, read_text, require_file
from haigo.space import require_space

__all__ = [
    "JOURNAL", "LOCK", "SCRATCH",
    "adopt", "adopt_tree", "append", "atomic", "check_output", "claim", "copy", "create", "digest", "link", "link_tree", "made",
    "move", "ours", "owner", "parse_json", "put_aside", "read_json", "read_record", "read_text", "remove", "remove_leftovers",
    "remove_tree", "require_file", "require_space", "reserve", "scratch", "sha256_file", "symlink", "write_json", "write_text",
]  # fmt: skip

_RANDOM = re.compile(r"[0-9a-f]{16}")
_CHUNK = 1 << 20
_EDITED = frozenset({".yml", ".yaml", ".sbatch", ".sh", ".csv", ""})
"""Endings of files that people go on to edit: configs, mixtures, job scripts, tables, hostfiles."""


# -- writing -----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def atomic(path: StrPath) -> Iterator[Path]:
    """Yield the path of an empty file that only the caller knows; when the block ends well it is flushed and renamed to `path`.

    When the block raises, that file is removed and what stood at `path` is untouched.

    Raises:
        Refused: at `path` stands something that Haigo did not make.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    require_ours(target)
    try:
        with scratch(target.parent) as place:
            temporary = place / target.name
            os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666))
            yield temporary
            with open(temporary, "rb+") as handle:
                os.fsync(handle.fileno())
            require_ours(target)
            if target.suffix in _EDITED:
                _keep_edits(target, temporary)
            enter(target)
            os.replace(temporary, target)
    except OSError as error:
        if error.filename is None or SCRATCH in str(error.filename):
            error.filename = str(target)  # the user knows the real name only
        raise


def _keep_edits(target: Path, new: Path) -> None:
    """Put a small file aside that was changed since it was written here; what is written now is noted for the next time."""
    if new.stat().st_size > _CHUNK:
        return
    digest, before = sha256_file(new), noted(target)
    # all that was ever noted counts: a kill, or another process, may come between a note and its file
    edited = (
        bool(before) and target.is_file() and not target.is_symlink() and sha256_file(target) not in (*before, digest)
    )
    if (
        edited and cli.verb != "launch.pipeline"
    ):  # which says itself what was changed in its run folder, and makes it anew
        kept = put_aside(target, target.with_name(f"{target.name}.edited"))
        print(f"haigo: {target} was changed since it was written: that is kept as {kept.name}.", file=sys.stderr)
    if before[-1:] != [digest]:
        note(target, digest)


@contextlib.contextmanager
def create(path: StrPath, mode: str = "wb", **options: Any) -> Iterator[IO[Any]]:
    """`atomic`, as a file that is open for writing; `mode` and `options` as for `open`."""
    with atomic(path) as temporary, open(temporary, mode, **options) as handle:
        yield handle


def append(path: StrPath, mode: str = "ab", *, anyones: bool = False, **options: Any) -> IO[Any]:
    """Open a log or a partial file of ours that grows in place; it is made where it does not exist. Close it.

    Args:
        anyones: somebody else's file grows too: a log that the user named.

    Raises:
        Refused: at `path` stands something that Haigo did not make.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    if not (anyones and target.exists()):
        require_ours(target)
        enter(target)
    no_link = 0 if anyones else os.O_NOFOLLOW
    return open(target, mode, opener=lambda name, flags: os.open(name, flags | no_link, 0o666), **options)


def write_text(path: StrPath, text: str) -> None:
    """Write `text` as UTF-8, atomically."""
    # a file name that is no UTF-8 holds lone surrogates; written as \\udc83 they come back from JSON as they were
    with create(path, "w", encoding="utf-8", errors="backslashreplace", newline="") as handle:
        handle.write(text)


def write_json(path: StrPath, value: Any) -> None:
    """Write `value` as indented JSON (non-ASCII kept readable), atomically. NaN is refused: it is not JSON."""
    write_text(path, json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False) + "\n")


def copy(source: StrPath, target: StrPath) -> None:
    """Copy a file's bytes, atomically."""
    with open(source, "rb") as old, create(target) as new:
        shutil.copyfileobj(old, new, _CHUNK)


def link(path: StrPath, target: StrPath) -> None:
    """Make `path` another name of the file `target`, whose bytes it keeps whatever becomes of the first; a symbolic link where
    the disk is another one or has no such names."""
    name = Path(path)
    name.parent.mkdir(parents=True, exist_ok=True)
    require_ours(name)
    with scratch(name.parent) as place:
        try:
            os.link(os.path.realpath(target), place / name.name)
        except OSError:
            (place / name.name).symlink_to(os.path.realpath(target))
        enter(name)
        os.replace(place / name.name, name)


def symlink(path: StrPath, target: StrPath) -> None:
    """Make `path` a link to `target`; a link of ours that stood there is replaced."""
    link = Path(path)
    link.parent.mkdir(parents=True, exist_ok=True)
    require_ours(link)
    with scratch(link.parent) as place:
        (place / link.name).symlink_to(target)
        enter(link)
        os.replace(place / link.name, link)


def link_tree(source: StrPath, target: StrPath) -> None:
    """Make the folder `target` of hard links to all files below `source`: their bytes at no cost, which stay when `source`
    goes. It appears whole.

    Raises:
        OSError: another disk, or one without hard links.
    """
    new = Path(target)
    with scratch(new.parent) as place:
        shutil.copytree(source, place / new.name, copy_function=os.link)
        move(place / new.name, new)


@contextlib.contextmanager
def scratch(folder: StrPath) -> Iterator[Path]:
    """A new, empty folder of the caller's own on the disk of `folder`; whatever it holds at the end is removed."""
    base = Path(folder) / SCRATCH
    for last in [False] * 100 + [True]:
        try:
            Path(folder).mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError):
                os.mkdir(base)
            if not stat.S_ISDIR(os.lstat(base).st_mode):
                raise Refused(f"{base} is not the folder that Haigo works in.", "move it away")
            place = base / secrets.token_hex(8)
            place.mkdir(mode=0o777)
            alive = _hold(place, fcntl.LOCK_SH)
            _remove_scratch(Path(folder), sure=True)  # of writers that were killed here
            break
        except (FileNotFoundError, BlockingIOError):  # another process was done, or tidies up
            if last:
                raise
    try:
        yield place
    finally:
        shutil.rmtree(
            place, ignore_errors=True
        )  # a read-only disk says no here too; the first error is the one to tell
        os.close(alive)
        with contextlib.suppress(OSError):
            base.rmdir()


def _hold(place: Path, how: int, *, sure: bool = False) -> int:
    """A lock on a scratch folder, as an open file: who has it is alive, and what it writes there is no leftover.

    Args:
        sure: raise where the disk has no locks on folders; else the lock of the output has to do there.

    Raises:
        FileNotFoundError: the folder is gone. BlockingIOError: another holds it.
    """
    number = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(number, how | fcntl.LOCK_NB)
        os.stat(place)
    except OSError as error:
        if sure or isinstance(error, BlockingIOError | FileNotFoundError):
            os.close(number)
            raise
    return number


# -- removing and moving -----------------------------------------------------------------------------------------------


def remove(path: StrPath) -> None:
    """Remove a file or link of ours; nothing happens where there is none.

    Raises:
        Refused: Haigo did not make it.
    """
    target = Path(path)
    if not os.path.lexists(target):
        return
    if not made(target):
        raise Refused(f"{target} would be removed, and Haigo did not make it.", "move it away")
    with contextlib.suppress(FileNotFoundError):
        target.unlink()
    enter(target, "-")


def remove_tree(folder: StrPath) -> list[Path]:
    """Remove everything below `folder` that Haigo made, links without what they lead to, and the folders left empty.

    Returns:
        what stayed because somebody else made it; `folder` itself is gone where there is nothing.

    Raises:
        HaigoError: another process owns a folder below.
    """
    root = Path(folder)
    if root.is_symlink() or (os.path.lexists(root) and not root.is_dir()):
        if not made(root):
            return [root]
        remove(root)
        return []
    remove_leftovers(root)
    stayed: list[Path] = []
    for name, _, _ in os.walk(root, topdown=False):
        if SCRATCH not in Path(name).relative_to(root).parts[:-1]:  # what is left there is somebody's at work
            stayed += _empty(Path(name))
    return stayed


def _empty(place: Path) -> list[Path]:
    """Remove our files of one folder, and the folder if that empties it; its files that stayed."""
    locked = (place / LOCK).exists() and str(place.absolute()) not in HELD
    with owner(place) if locked else contextlib.nullcontext():
        listed, gone, foreign, below = sorted(names_in(place)), set(), [], False
        for name in set(os.listdir(place)) - NOTES:
            path = place / name
            if path.is_dir() and not path.is_symlink():
                below = True
            elif name in listed:
                path.unlink(missing_ok=True)
                gone.add(name)
            else:
                foreign.append(path)
        if foreign or below or not give_back(place, held=str(place.absolute()) in HELD):
            busy = (place / SCRATCH).exists()  # a writer enters its name before its file is there
            for name in listed:
                if not os.path.lexists(place / name) and (name in gone or not busy):
                    enter(place / name, "-")
        return foreign


def move(source: StrPath, target: StrPath) -> None:
    """Put a file or folder of ours at `target`; a folder that stands there is joined, and its files of the same name, if they
    are ours, replaced.

    Everything in a folder of `scratch` counts as ours, whatever program wrote it.

    Raises:
        Refused: at the place of a file stands something that Haigo did not make.
    """
    old, new = Path(source), Path(target)
    if SCRATCH in old.absolute().parts and old.is_dir():
        adopt_tree(old)
    if old.is_symlink() or not old.is_dir():
        new.parent.mkdir(parents=True, exist_ok=True)
        require_ours(new)
        enter(new)
        for known in noted(old)[-1:]:  # before the file, as in `_keep_edits`
            note(new, known)
        os.replace(old, new)
        enter(old, "-")
        return
    if not os.path.lexists(new):
        new.parent.mkdir(parents=True, exist_ok=True)
        if all(set(names) <= names_in(Path(place)) | NOTES for place, _, names in os.walk(old)):
            os.rename(old, new)
            return
        new.mkdir()  # somebody else's files stay behind
    if new.is_symlink() or not new.is_dir():
        raise Refused(f"{new} exists, and a folder is wanted there.", "move it away")
    ends = [(old / name, new / name) for name in sorted(names_in(old)) if os.path.lexists(old / name)]
    ends += [(each, new / each.name) for each in sorted(old.iterdir()) if each.is_dir() and not each.is_symlink()
             and each.name not in NOTES]  # fmt: skip
    for _, end in ends:
        if not end.is_dir():
            require_ours(end)  # all are looked at before the first is moved
    for each, end in ends:
        move(each, end)
    _empty(old)


def put_aside(path: StrPath, target: StrPath | None = None) -> Path:
    """Rename what stands at `path`, whoever made it, to `target` (`NAME.aside` where none is given), or to that name with the
    next free number; nothing is replaced. Its new path."""
    old = Path(path)
    wish = Path(target) if target is not None else old.with_name(f"{old.name}.aside")
    wish.parent.mkdir(parents=True, exist_ok=True)
    number, new = 1, wish
    while os.path.lexists(new):
        number += 1
        new = wish.with_name(f"{wish.name}.{number}")
    os.rename(old, new)
    return new


def remove_leftovers(folder: StrPath, *, below: bool = True) -> None:
    """Remove what killed processes left in the scratch folders of `folder`, and `below` it too. Hold its lock while calling."""
    for name, folders, _ in os.walk(folder):
        if SCRATCH in folders:
            folders.remove(SCRATCH)
            _remove_scratch(Path(name))
        if not below:
            return


def _remove_scratch(folder: Path, *, sure: bool = False) -> None:
    base = folder / SCRATCH
    if base.is_symlink() or not base.is_dir():
        return
    try:
        folders = list(base.iterdir())
    except FileNotFoundError:  # its last user took it away
        return
    for each in folders:
        if _RANDOM.fullmatch(each.name) and not each.is_symlink():
            with contextlib.suppress(OSError):  # of a process that is alive, or gone meanwhile
                held = _hold(each, fcntl.LOCK_EX, sure=sure)
                shutil.rmtree(each, ignore_errors=True)
                os.close(held)
    with contextlib.suppress(OSError):
        base.rmdir()


# -- digests ---------------------------------------------------------------------------------------------------------


def sha256_file(path: StrPath) -> str:
    """Hexadecimal sha256 of a file's bytes."""
    require_file(path)
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def digest(value: Any) -> str:
    """Hexadecimal sha256 of a JSON value, independent of the order of its keys."""
    packed = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str)
    return hashlib.sha256(packed.encode(errors="surrogatepass")).hexdigest()
