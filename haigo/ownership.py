"""Whose a file is: the journal `.haigo` in every folder that Haigo writes to lists the names it made there.

What the journal does not list was made by somebody else. `haigo.files`, which writes, replaces and removes, asks here; commands
ask `check_output` before they begin.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import re
import zlib
from collections.abc import Iterable, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from haigo import cli
from haigo.cli import Refused

StrPath = str | os.PathLike[str]

JOURNAL, SCRATCH, LOCK = ".haigo", ".haigo.tmp", ".haigo.lock"
NOTES = frozenset({JOURNAL, SCRATCH, LOCK})  # names that are no content of a folder
HEADER = b"Names that Haigo made in this folder: it may replace or remove these, and nothing else.\n"
_NOTE = re.compile(rb'([#@])([\w.-]+) ([0-9a-f]{8}) (".*")')


@dataclass
class Journal:
    """What the lines of a journal say: `+"NAME"` made, `-"NAME"` gone; `#SHA256 CRC "NAME"` what was written, of each name all
    in order; `@COMMAND CRC "NAME"` by whom, the last."""

    names: set[str] = field(default_factory=set)
    digests: dict[str, list[str]] = field(default_factory=dict)
    makers: dict[str, str] = field(default_factory=dict)
    damaged: bool = False

    def read(self, lines: bytes) -> Journal:
        """Take in further lines; one that says nothing (a full disk tore it) is passed over."""
        for line in filter(None, lines.split(b"\n")):
            sealed = _NOTE.fullmatch(line)
            name = _name(sealed[4] if sealed else line[1:])
            if sealed and name is not None and _sealed(sealed[1] + sealed[2], sealed[4]) == line:
                if sealed[1] == b"#":
                    self.digests.setdefault(name, []).append(sealed[2].decode("ascii"))
                else:
                    self.makers[name] = sealed[2].decode("ascii")
            elif not sealed and name is not None and line[:1] in (b"+", b"-"):
                (self.names.add if line[:1] == b"+" else self.names.discard)(name)
                self.makers.pop(name, None)
            else:
                self.damaged = True
        return self


def _sealed(note: bytes, text: bytes) -> bytes:
    """A note on a name, with a checksum of both."""
    return b"%s %08x %s" % (note, zlib.crc32(note + text), text)


_seen: dict[str, tuple[tuple[int, int, int], bytes, Journal]] = {}  # journal -> how it looked, what it said


def made(path: StrPath) -> bool:
    """Whether Haigo made the file at `path` (or the link; a link's target does not count)."""
    target = Path(path)
    return target.name in names_in(target.parent)


def ours(folder: StrPath) -> bool:
    """Whether `folder` may be filled: it does not exist, is empty, or Haigo wrote to it before."""
    place = Path(folder)
    if not os.path.lexists(place):
        return True
    return place.is_dir() and ((place / JOURNAL).is_file() or set(os.listdir(place)) <= NOTES)


def claim(folder: StrPath) -> None:
    """Take a folder for Haigo; it is made where it does not exist.

    Raises:
        Refused: it holds files, and Haigo never wrote to it.
    """
    if not ours(folder):
        raise Refused(f"{folder} holds files, and Haigo did not make it.", "name another folder, or move them away")
    Path(folder).mkdir(parents=True, exist_ok=True)
    _note(Path(folder), b"")


def adopt(paths: Iterable[StrPath], below: StrPath | None = None) -> None:
    """Enter files that exist into their folders' journals. The caller has proof that Haigo made them: a note of an older
    version that lists them, or a program of ours that wrote them to a folder that was empty before.

    Args:
        below: the folder that a note speaks of; what it lists elsewhere (`../a`, `/a`, through a link) stays somebody else's.
    """
    root = None if below is None else Path(os.path.realpath(below))
    for path in map(Path, paths):
        real = Path(os.path.realpath(path.parent)) if root else None
        if os.path.lexists(path) and (real is None or root in (real, *real.parents)):
            enter(path, by=None)


def adopt_tree(folder: StrPath) -> None:
    """`adopt` every file below `folder`."""
    for place, _, names in os.walk(folder):
        adopt(Path(place) / name for name in names if name not in NOTES)


def reserve(folder: StrPath, names: Iterable[str]) -> None:
    """Enter names that a program of ours, which has no Haigo to ask, will write in `folder`.

    Raises:
        Refused: there is a file of that name that is not ours.
    """
    for name in names:
        require_ours(Path(folder) / name)
        enter(Path(folder) / name)


def check_output(
    output: StrPath,
    inputs: Iterable[StrPath | None] = (),
    recursive: Iterable[StrPath] = (),
    names: Iterable[str] = (),
    *,
    trees: Iterable[StrPath] = (),
    grows: bool = False,
) -> None:
    """Refuse, before any work is done, an output that would harm an input or something that Haigo did not make.

    Args:
        output: the file or folder that will be written.
        inputs: files and folders that are read; None and what does not exist is passed over.
        recursive: folders that are read with everything below them; nothing may be written inside.
        names: files that will be written in the folder `output`.
        trees: folders that are emptied before they are filled.
        grows: `output` is a log that is added to (`files.append`, `anyones`): whose it is does not matter.

    Raises:
        Refused: `output` is an input, holds one, lies inside a folder of `recursive`, or a file to be written, or removed with
            its folder, is there and not ours, or another command's.
    """
    where, deep = Path(os.path.realpath(output)), list(recursive)
    for each in (*inputs, *deep):
        if not each or not os.path.exists(each):
            continue
        source = Path(os.path.realpath(each))
        if _same(where, source):
            raise Refused(f"the output {output} is the input {each} itself.", "name another output")
        if any(_same(where, above) for above in source.parents):
            raise Refused(f"the output {output} holds the input {each}.", "name a folder that no input lies in")
        if each in deep and any(_same(source, above) for above in where.parents):
            raise Refused(
                f"the output {output} lies inside {each}, which is read with everything below it.",
                "name a folder outside it",
            )
    if not os.path.isdir(output) and not grows:
        require_own(Path(output))
    for name in names:
        require_own(Path(output) / name)
    for place in [Path(place) for tree in trees for place, _, _ in os.walk(tree)]:
        for name in names_in(place):
            require_own(place / name)


def _same(one: Path, other: Path) -> bool:
    """Whether two paths are one place: also where a disk is mounted twice, or takes no notice of capitals."""
    try:
        return one == other or os.path.samefile(one, other)
    except OSError:  # one of them is not there
        return False


def names_in(folder: Path) -> Set[str]:
    """The names that Haigo made in `folder`; what this set holds may grow with the next name."""
    return _journal(folder).names


def _journal(folder: Path) -> Journal:
    path = folder / JOURNAL
    try:
        with open_notes(path, os.O_RDONLY) as handle:
            stat = os.fstat(handle.fileno())
            now = (stat.st_ino, stat.st_size, stat.st_mtime_ns)
            before, known, journal = _seen.get(str(path), ((0, 0, 0), HEADER, Journal()))
            if before == now:
                return journal
            content = handle.read()
    except (FileNotFoundError, NotADirectoryError):
        return Journal()
    content = content[: content.rfind(b"\n") + 1]
    if not content.startswith(known):
        known, journal = HEADER, Journal()
    journal.read(content[len(known) :])  # a journal only grows: each line is read once
    _seen[str(path)] = (now, content, journal)
    return journal


def read_journal(folder: Path) -> Journal:
    """A folder's journal, read now and whole: the others are remembered by their size and time."""
    path = folder / JOURNAL
    content = path.read_bytes() if path.is_file() else HEADER
    journal = Journal(damaged=not (content.startswith(HEADER) and content.endswith(b"\n")))
    return journal.read(content[len(HEADER) :])


def _name(text: bytes) -> str | None:
    """The name in a line of a journal; None where a full disk tore it, or where it leads out of the folder or is none: somebody
    else wrote it."""
    try:
        name = json.loads(text)
    except (ValueError, RecursionError):
        return None
    plain = isinstance(name, str) and name not in ("", ".", "..", *NOTES) and not {"/", "\0"} & set(name)
    return name if plain else None


def open_notes(path: Path, flags: int) -> IO[bytes]:
    """A journal or lock file of ours, as an unbuffered binary file.

    Raises:
        Refused: something else stands at its place.
    """
    try:
        number = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.EISDIR, errno.ENXIO):
            raise
        raise Refused(f"{path} is not the file that Haigo keeps its notes in.", "move it away") from None
    handle = os.fdopen(number, "r+b" if flags & os.O_RDWR else "rb", 0)
    head = os.pread(handle.fileno(), len(HEADER), 0)
    if not (HEADER.startswith(head) if path.name == JOURNAL else re.fullmatch(rb"(pid \d*)?", head)):
        handle.close()
        raise Refused(f"{path} is not the file that Haigo keeps its notes in.", "move it away")
    return handle


def enter(path: Path, sign: str = "+", by: str | None = "") -> None:
    """Add a name to its folder's journal, or (`-`) take it out; and which command made it (`by`: None for not known)."""
    if (path.name in names_in(path.parent)) != (sign == "+"):
        _note(path.parent, f"\n{sign}{json.dumps(path.name)}\n".encode())
    by = cli.verb if by == "" else by
    if sign == "+" and by and maker(path) != by:
        _remark(path, b"@" + by.encode())


def maker(path: Path) -> str | None:
    """The command that made the file at `path` last, where it is known."""
    journal = _journal(path.parent)
    return journal.makers.get(path.name) if path.name in journal.names else None


def note(path: Path, digest: str) -> None:
    """Enter the digest of what is written at `path` now, for files that people edit."""
    _remark(path, b"#" + digest.encode())


def noted(path: Path) -> list[str]:
    """The digests that `note` entered for `path`, the last one last."""
    return _journal(path.parent).digests.get(path.name, [])


def _remark(path: Path, remark: bytes) -> None:
    _note(path.parent, b"\n%s\n" % _sealed(remark, json.dumps(path.name).encode()))


def _note(folder: Path, line: bytes) -> None:
    """One short write at the journal's end, so that processes may do it side by side.

    Raises:
        OSError: the disk took less than all of it; what it took says nothing.
    """
    while True:
        with open_notes(folder / JOURNAL, os.O_RDWR | os.O_CREAT | os.O_APPEND) as handle:
            _hold(handle)
            if not os.fstat(
                handle.fileno()
            ).st_nlink:  # another process gave the folder back: there is a new one, or will be
                continue
            if os.fstat(handle.fileno()).st_size < len(HEADER):
                handle.truncate(0)
                line = HEADER + line
            if handle.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder / JOURNAL))
            return


def _hold(journal: IO[bytes]) -> None:
    with contextlib.suppress(OSError):  # a disk without locks: only two that begin, or end, one journal at once need it
        fcntl.flock(journal, fcntl.LOCK_EX)


def give_back(folder: Path, *, held: bool) -> bool:
    """Remove a folder that holds nothing but our notes, and say whether they are gone.

    A writer at work there has its scratch folder in it, and has entered its name before its file stands there: then the journal
    stays, without which that file would be nobody's.

    Args:
        held: this process holds the folder's lock, whose file goes too.
    """
    try:
        with open_notes(folder / JOURNAL, os.O_RDWR) as journal:
            _hold(journal)
            if not set(os.listdir(folder)) <= {JOURNAL, LOCK} - (set() if held else {LOCK}):
                return False
            for name in (LOCK, JOURNAL) if held else (JOURNAL,):
                with contextlib.suppress(FileNotFoundError):
                    (folder / name).unlink()
    except FileNotFoundError:  # there is none
        if held:
            with contextlib.suppress(FileNotFoundError):
                (folder / LOCK).unlink()
    with contextlib.suppress(OSError):  # something was put there meanwhile
        folder.rmdir()
    return True


def require_ours(path: Path) -> None:
    """Raises Refused where something stands at `path` that Haigo did not make or that was write-protected since,
    IsADirectoryError where it is a folder."""
    if os.path.lexists(path) and not made(path):
        if path.is_dir() and not path.is_symlink():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        raise Refused(f"{path} exists, and Haigo did not make it.", "name another output, or move that file away")
    if path.is_file() and not path.is_symlink() and not path.stat().st_mode & 0o222:  # a rename would not ask
        raise Refused(f"{path} is write-protected.", "name another output, or allow writing: chmod u+w")


def require_own(path: Path) -> None:
    """`require_ours`, for what a command is asked to write: what another command made is wanted by somebody too.

    Raises:
        Refused: it was made by another command; launch.pipeline does the work of all, and is no other.
    """
    require_ours(path)
    other = maker(path) if os.path.lexists(path) else None
    if cli.verb and other and "launch.pipeline" not in (other, cli.verb) and other != cli.verb:
        problem = f"{path} was made by {other}, and {cli.verb} would replace it."
        raise Refused(problem, "name another output, or remove what that command made first")
