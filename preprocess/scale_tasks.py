"""One task of a step of `preprocess.scale`: its pieces one after the other, what is bad is noted, and how far it is.

A piece that raises is noted below `OUTPUT/failed/STEP` and the others go on; the same command does it again, and takes the note
away where it ends well. Every task notes where it stands below `OUTPUT/logs/tasks/STEP`, and touches that note while it lives:
`scale_status` reads both.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from haigo import files, sealed
from haigo.cli import HaigoError, foreseen, internal, os_problem

from .scale_keys import key_of

FAILED, TASKS = "failed", "logs/tasks"
ALIVE_S = 60.0
"""A task whose note is older than this has died."""
_BEAT_S = 10.0
_FAILURE = {"step": str, "piece": str, "file": str, "problem": str, "fix": str}
_TASK = {"step": str, "rank": int, "world": int, "pieces": int, "bytes": int, "done": int, "done_bytes": int,
         "failed": [str], "now": str, "host": str, "began": float, "state": str}  # fmt: skip


@dataclass(frozen=True)
class Piece:
    """A piece of a step's work.

    Attributes:
        name: of the piece, unique in its step: what its note is called.
        file: what the user knows it by.
        bytes: how large it is, to reckon the time that is left.
        work: does it; knows by itself what is finished already.
    """

    name: str
    file: str
    bytes: int
    work: Callable[[], Any]


@dataclass(frozen=True)
class Failure:
    """A piece that did not end well, and why."""

    step: str
    piece: str
    file: str
    problem: str
    fix: str

    @property
    def folder(self) -> str:
        """The folder whose piece it is, in steps by folders."""
        return folder_of(self.piece)


def folder_of(piece: str) -> str:
    """The name of the folder that a piece is (a shard) of; that of a piece begins with it."""
    return piece.partition("-")[0]


def run(output: str | os.PathLike[str], step: str, pieces: Sequence[Piece], rank: int, world: int) -> list[Failure]:
    """Do every `world`-th piece, beginning with `rank`; those that failed."""
    mine = pieces[rank::world]
    failures = []
    if rank == 0:
        names = {piece.name for piece in pieces}
        for path in (Path(output) / FAILED / step).glob("*.json"):
            if path.stem not in names:  # of an input that is no more, or is cut otherwise now
                files.remove(path)
    with _Note(Path(output), step, rank, world, mine) as note:
        for piece in mine:
            note.begins(piece)
            failure = _tried(Path(output), step, piece)
            failures += [failure] if failure else []
            note.ends(piece, failure is not None)
    return failures


def _tried(output: Path, step: str, piece: Piece) -> Failure | None:
    path = output / FAILED / step / f"{piece.name}.json"
    try:
        piece.work()
    except Exception as error:
        if os.environ.get("HAIGO_DEBUG"):
            traceback.print_exc()
        failure = Failure(step, piece.name, piece.file, *_sentences(error, step))
        sealed.write(path, asdict(failure))
        print(f"haigo: {step}: {failure.problem}", file=sys.stderr, flush=True)
        return failure
    files.remove(path)
    return None


def _sentences(raised: Exception, step: str) -> tuple[str, str]:
    """What is wrong, and what to do about it, in the words of the run file."""
    error = raised if isinstance(raised, HaigoError) else foreseen(raised)
    if error is not None:
        error = error.spelled(partial(key_of, step))
        return error.problem, error.fix
    if isinstance(raised, OSError):
        return os_problem(raised).splitlines()[0], ""
    if isinstance(raised, MemoryError):
        return "the memory did not suffice.", "take fewer workers, or a larger machine"
    return internal(raised).splitlines()[0], "please report it"


def failures(output: str | os.PathLike[str], step: str | None = None) -> list[Failure]:
    """What failed and was not done again since, of one step or of all."""
    found = []
    for path in sorted((Path(output) / FAILED).glob(f"{step or '*'}/*.json")):
        with contextlib.suppress(HaigoError):
            note, _ = sealed.read(path, _FAILURE)
            found.append(Failure(**{key: note[key] for key in _FAILURE}))
    return found


def failed(output: str | os.PathLike[str], *steps: str) -> set[str]:
    """The folders of which a piece failed in one of the steps, and was not done again since."""
    return {each.folder for step in steps for each in failures(output, step)}


def forget(output: str | os.PathLike[str], asked: Sequence[str]) -> None:
    """Take away what failed in steps that the run file does not ask for any more: nothing would ever do it again, and what came
    of that input would be left out for good."""
    for step in {each.step for each in failures(output)} - set(asked):
        files.remove_tree(Path(output) / FAILED / step)


def wait(output: str | os.PathLike[str], step: str, ranks: Iterable[int]) -> None:
    """Take away where these tasks of a step stood in earlier calls: they begin to wait."""
    for rank in ranks:
        files.remove(_file(Path(output), step, rank))


def notes(output: str | os.PathLike[str], step: str) -> Iterator[tuple[dict[str, Any], float]]:
    """Where the tasks of a step stand, and how many seconds ago each showed that it lives."""
    for path in sorted((Path(output) / TASKS / step).glob("*.json")):
        with contextlib.suppress(HaigoError, OSError):
            yield files.read_record(path, _TASK), max(0.0, time.time() - path.stat().st_mtime)


def _file(output: Path, step: str, rank: int) -> Path:
    return output / TASKS / step / f"{rank:05d}.json"


class _Note:
    """Where one task stands, on disk."""

    def __init__(self, output: Path, step: str, rank: int, world: int, pieces: Sequence[Piece]) -> None:
        self._path = _file(output, step, rank)
        self._content: dict[str, Any] = {
            "step": step, "rank": rank, "world": world, "state": "running", "pieces": len(pieces),
            "bytes": sum(piece.bytes for piece in pieces), "done": 0, "done_bytes": 0, "failed": [], "now": "",
            "host": socket.gethostname(), "pid": os.getpid(), "began": time.time(), "ended": None,
        }  # fmt: skip
        self._over = threading.Event()
        self._written = 0.0

    def __enter__(self) -> _Note:
        self._write()
        threading.Thread(target=self._beat, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self._over.set()
        self._content |= {"state": "done" if kind is None else "stopped", "ended": time.time(), "now": ""}
        with contextlib.suppress(OSError) if kind else contextlib.nullcontext():
            self._write()

    def begins(self, piece: Piece) -> None:
        self._content["now"] = piece.file
        if time.time() - self._written > 1:
            self._write()

    def ends(self, piece: Piece, failed: bool) -> None:
        self._content["done"] += 1
        self._content["done_bytes"] += piece.bytes
        self._content["failed"] += [piece.name] if failed else []

    def _write(self) -> None:
        files.write_json(self._path, self._content)
        self._written = time.time()

    def _beat(self) -> None:
        while not self._over.wait(_BEAT_S):
            with contextlib.suppress(OSError):
                os.utime(self._path)
