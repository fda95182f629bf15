"""One training process under its keeper: started, found again after its watcher was killed, read, stopped."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from haigo import files
from haigo.cli import HaigoError
from launch.neox import log as neox_log
from launch.train import runner as keeper

_START_S = 30.0
_PIECE = 1 << 18
_KILL_S = 60.0


@dataclass(frozen=True)
class Ending:
    """How a child ended."""

    code: int
    """As a shell would say it."""
    orphans: bool = False
    """Its launcher was gone while ranks still ran; they were stopped."""
    escaped: int = 0
    """Processes with a session of their own that still ran; they were stopped too."""


@dataclass
class Child:
    """A training process, its keeper and all that they started: one process group."""

    folder: Path
    pid: int
    """Of the keeper, which is the group's number too."""
    started: str
    log: Path
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def ending(self) -> Ending | None:
        """How it ended; None while it runs."""
        if self.process is not None:
            self.process.poll()  # so that it does not stay a zombie
        told = self._told()
        if told is not None:
            return told
        if keeper.start_time(self.pid) == self.started:
            return None
        told = self._told()  # written between the two looks
        if told is not None:
            return told
        # the keeper was killed itself, so nobody else will look after the rest
        return Ending(137, orphans=keeper.stop(self.pid, folder=str(self.folder)), escaped=self._escaped())

    def _told(self) -> Ending | None:
        return ending_of(self.folder)

    def _escaped(self) -> int:
        return len(keeper.stop_escaped(str(self.folder), self.pid))

    def send(self, number: int) -> None:
        """Send a signal to every process of the group, and to those that left it for a session of their own."""
        if keeper.start_time(self.pid) == self.started:  # the number of a group that is gone may be another's by now
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, number)
        for pid, started in keeper.escaped(str(self.folder), self.pid):
            keeper.send(pid, started, number)

    def stop(self, number: int = signal.SIGTERM, grace: float = keeper.GRACE_S) -> Ending:
        """Stop all of it: the signal, then SIGKILL to what is still there after `grace` seconds."""
        before = self.ending()
        if before is not None:
            return before
        self.send(number)
        # GPT-NeoX's runner ends the ranks of other nodes itself, and needs the time for that
        end = time.monotonic() + grace
        while (found := self.ending()) is None and time.monotonic() < end:
            time.sleep(0.05)
        if found is None:
            self.send(signal.SIGKILL)
            end = time.monotonic() + _KILL_S
            while (found := self.ending()) is None and time.monotonic() < end:
                time.sleep(0.05)
        # what waits for a dead file server ends with it and no sooner; its keeper's lock lets nobody start beside it
        return found or Ending(137, orphans=True)


def ending_of(folder: Path) -> Ending | None:
    """How the run of a folder ended, as its keeper wrote it; None when it has not, or what is there is no such file."""
    with contextlib.suppress(HaigoError, OSError):
        content = files.read_record(folder / "exit.json", {"code": int, "orphans": bool, "escaped?": int})
        return Ending(content["code"], content["orphans"], content.get("escaped", 0))
    return None


def start(command: Sequence[str], cwd: Path, environment: Mapping[str, str], folder: Path, log: Path) -> Child:
    """Start a command under a keeper, in a session of its own, its output appended to `log`.

    Raises:
        HaigoError: another keeper holds the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files.reserve(folder, keeper.NAMES)
    with files.append(log, anyones=True) as output:
        process = subprocess.Popen(
            [sys.executable, "-I", str(Path(keeper.__file__).resolve()), str(folder), str(log), *command],
            cwd=cwd,
            env={**environment, keeper.MARK: str(folder)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    end = time.monotonic() + _START_S
    while time.monotonic() < end:
        own = _read(folder)
        if own is not None and own[0] == process.pid:
            return Child(folder, process.pid, own[1], log, process)
        if process.poll() is not None:
            break
        time.sleep(0.02)
    if process.poll() == keeper.BUSY:
        raise HaigoError(f"{folder} has a run that still trains.", "wait for it to end, or stop it")
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # a slow keeper may have started the command in this moment
    raise HaigoError(f"the training could not be started under {folder}.", f"see the end of {log}")


def running(folder: Path, tidy: bool = True) -> Child | None:
    """The training that a watcher of this folder left behind; None when there is none.

    Args:
        folder: the run's own.
        tidy: stop ranks whose keeper was killed; False only looks.

    Raises:
        HaigoError: it runs on another machine.
    """
    own = _read(folder)
    if own is None or (folder / "exit.json").exists():
        return None
    pid, started, host, log, place = own
    if place == keeper.place():
        if started and keeper.start_time(pid) == started:
            return Child(folder, pid, started, Path(log))
        if tidy:
            keeper.stop(pid, going=0.0, folder=str(folder))  # ranks whose keeper was killed
            keeper.stop_escaped(str(folder), pid, going=0.0)
        return None
    beat = folder / "alive"
    with contextlib.suppress(OSError):
        first = _beat(beat)
        # clocks of two machines need not agree, but an hour is no question of clocks
        if abs(time.time() - first) < 3600:
            end = time.monotonic() + 3 * keeper.BEAT_S
            while time.monotonic() < end:
                time.sleep(0.2)
                if _beat(beat) != first:
                    raise HaigoError(
                        f"{folder} has a run that trains on {host} (pid {pid}).",
                        "watch it there, or stop it there first",
                    )
    return None


def _beat(path: Path) -> float:
    # opening makes a network file system ask its server; a plain stat may be answered from memory for a minute
    with open(path, "rb") as handle:
        return os.fstat(handle.fileno()).st_mtime


def _read(folder: Path) -> tuple[int, str, str, str, str] | None:
    like = {"pid": int, "started": str, "host": str, "log": str, "place": str}
    with contextlib.suppress(HaigoError, OSError):
        content = files.read_record(folder / "child.json", like)
        return content["pid"], content["started"], content["host"], content["log"], content["place"]
    return None


class Follower:
    """Reads a growing file by lines, a bounded piece at a time: no output, however long and however broken, holds its reader
    up or fills its memory. A line ends with \\n or, as a progress bar's, with \\r; of an overlong one the ends are kept.

    Args:
        path: need not exist yet.
        offset: where to begin, in bytes.
    """

    def __init__(self, path: Path, offset: int = 0) -> None:
        self.path, self.offset = path, offset
        self.behind = False
        """Whether there is more to read already."""
        self._head = self._tail = b""
        self._cut = False

    def lines(self, end: bool = False) -> list[bytes]:
        """The lines that have come since the last call, empty ones left out; of much the first part (see `behind`).

        Args:
            end: nothing more will come, so that a last line without its end counts too.
        """
        self.behind = False
        try:
            with open(self.path, "rb") as handle:
                size = os.fstat(handle.fileno()).st_size
                if not 0 <= self.offset <= size:
                    self.offset = 0  # cut by logrotate or by hand: silence here would look like a hang
                    self._line()
                handle.seek(self.offset)
                data = handle.read(_PIECE)
        except OSError:
            return []
        self.offset += len(data)
        self.behind = len(data) == _PIECE and size > self.offset
        found = []
        for part in data.splitlines(keepends=True):
            text = part.rstrip(b"\r\n")
            self._add(text)
            if len(text) < len(part):
                found.append(self._line())
        if end and not self.behind:
            found.append(self._line())
        return [line for line in found if line]

    def within(self, seconds: float, end: bool = False) -> Iterator[bytes]:
        """As `lines`, piece after piece until all is read or the time is over."""
        until = time.monotonic() + seconds
        while True:
            yield from self.lines(end)
            if not self.behind or time.monotonic() > until:
                return

    def _add(self, text: bytes) -> None:
        half = neox_log.LONGEST // 2
        room = half - len(self._head)
        self._head += text[:room]
        if len(text) > room:
            rest = self._tail + text[room:]
            self._cut = self._cut or len(rest) > half
            self._tail = rest[-half:]

    def _line(self) -> bytes:
        line = self._head + (b" ... " if self._cut else b"") + self._tail
        self._head = self._tail = b""
        self._cut = False
        return line
