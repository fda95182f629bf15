"""One training process: under its runner started, found again after its watcher was killed, stopped; or in the foreground."""

from __future__ import annotations

import codecs
import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from haigo import files, redact, shown
from haigo.cli import HaigoError
from launch.neox import log as neox_log
from launch.train import runner, signals

_START_S = 30.0
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
    """A training process, its runner and all that they started: one process group."""

    folder: Path
    pid: int
    """Of the runner, which is the group's number too."""
    started: str
    log: Path
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def ending(self) -> Ending | None:
        """How it ended; None while it runs."""
        if self.process is not None:
            self.process.poll()  # so that it does not stay a zombie
        ending = ending_of(self.folder)
        if ending is not None or runner.start_time(self.pid) == self.started:
            return ending
        ending = ending_of(self.folder)  # written between the two looks
        if ending is not None:
            return ending
        # the runner was killed itself, so nobody else will look after the rest
        orphans = runner.stop(self.pid, folder=str(self.folder))
        return Ending(137, orphans, escaped=len(runner.stop_escaped(str(self.folder), self.pid)))

    def send(self, number: int) -> None:
        """Send a signal to every process of the group, and to those that left it for a session of their own."""
        if runner.start_time(self.pid) == self.started:  # the number of a group that is gone may be another's by now
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, number)
        for pid, started in runner.escaped(str(self.folder), self.pid):
            runner.send(pid, started, number)

    def stop(self, number: int = signal.SIGTERM, grace: float = runner.GRACE_S) -> Ending:
        """Stop all of it: the signal, then SIGKILL to what is still there after `grace` seconds."""
        before = self.ending()
        if before is not None:
            return before
        # GPT-NeoX's runner ends the ranks of other nodes itself, and needs the time for that
        ending = None
        for kind, seconds in ((number, grace), (signal.SIGKILL, _KILL_S)):
            self.send(kind)
            end = time.monotonic() + seconds
            while (ending := self.ending()) is None and time.monotonic() < end:
                time.sleep(0.05)
            if ending is not None:
                break
        # what waits for a dead file server ends with it and no sooner; its runner's lock lets nobody start beside it
        return ending or Ending(137, orphans=True)


def ending_of(folder: Path) -> Ending | None:
    """How the run of a folder ended, as its runner wrote it; None when it has not, or what is there is no such file."""
    with contextlib.suppress(HaigoError, OSError):
        content = files.read_record(folder / "exit.json", {"code": int, "orphans": bool, "escaped?": int})
        return Ending(content["code"], content["orphans"], content.get("escaped", 0))
    return None


def start(command: Sequence[str], cwd: Path, environment: Mapping[str, str], folder: Path, log: Path) -> Child:
    """Start a command under a runner, in a session of its own, its output appended to `log`.

    Raises:
        HaigoError: another runner holds the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files.reserve(folder, runner.NAMES)
    with files.append(log, anyones=True) as output:
        process = subprocess.Popen(
            [sys.executable, "-I", str(Path(runner.__file__).resolve()), str(folder), str(log), *command],
            cwd=cwd,
            env={**environment, runner.MARK: str(folder)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    end = time.monotonic() + _START_S
    while time.monotonic() < end:
        own = _read(folder)
        if own is not None and own["pid"] == process.pid:
            return Child(folder, process.pid, own["started"], log, process)
        if process.poll() is not None:
            break
        time.sleep(0.02)
    if process.poll() == runner.BUSY:
        raise HaigoError(f"{folder} has a run that still trains.", "wait for it to end, or stop it")
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # a slow runner may have started the command in this moment
    raise HaigoError(f"the training could not be started under {folder}.", f"see the end of {log}")


def running(folder: Path, tidy: bool = True) -> Child | None:
    """The training that a watcher of this folder left behind; None when there is none.

    Args:
        folder: the run's own.
        tidy: stop ranks whose runner was killed; False only looks.

    Raises:
        HaigoError: it runs on another machine.
    """
    own = _read(folder)
    if own is None or (folder / "exit.json").exists():
        return None
    pid, started = own["pid"], own["started"]
    if own["place"] == runner.machine():
        if started and runner.start_time(pid) == started:
            return Child(folder, pid, started, Path(own["log"]))
        if tidy:
            runner.stop(pid, going=0.0, folder=str(folder))  # ranks whose runner was killed
            runner.stop_escaped(str(folder), pid, going=0.0)
        return None
    beat = folder / "alive"
    with contextlib.suppress(OSError):
        first = _beat(beat)
        # clocks of two machines need not agree, but an hour is no question of clocks
        if abs(time.time() - first) < 3600:
            end = time.monotonic() + 3 * runner.BEAT_S
            while time.monotonic() < end:
                time.sleep(0.2)
                if _beat(beat) != first:
                    raise HaigoError(
                        f"{folder} has a run that trains on {own['host']} (pid {pid}).",
                        "watch it there, or stop it there first",
                    )
    return None


def _beat(path: Path) -> float:
    # opening makes a network file system ask its server; a plain stat may be answered from memory for a minute
    with open(path, "rb") as handle:
        return os.fstat(handle.fileno()).st_mtime


def _read(folder: Path) -> dict[str, Any] | None:
    like = {"pid": int, "started": str, "host": str, "log": str, "place": str}
    with contextlib.suppress(HaigoError, OSError):
        return dict(files.read_record(folder / "child.json", like))
    return None


def foreground(
    command: Sequence[str],
    cwd: Path,
    environment: Mapping[str, str],
    log: str | os.PathLike[str] | None,
    take: Callable[[str], object],
) -> Ending:
    """Run a command in a session of its own and wait for all of it to end, its output on the terminal.

    SIGINT, SIGTERM and SIGHUP go on to the whole group: a signal to deepy.py alone would leave its ranks training.
    What is still running when deepy.py has ended is stopped.

    Args:
        environment: all of its variables.
        log: a file that gets a copy of its output.
        take: gets every line.
    """
    mark = f"{os.getpid()}.{time.monotonic_ns()}"
    with contextlib.ExitStack() as stack:
        copy = stack.enter_context(files.append(log, anyones=True, buffering=0)) if log is not None else None
        child = subprocess.Popen(
            list(command),
            cwd=cwd,
            env={**environment, runner.MARK: mark},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

        def pass_on(number: int, frame: object) -> None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, number)

        # a caller in another thread than the main one stops the group itself
        stack.enter_context(signals.handled(pass_on))
        # a thread, because orphans keep the pipe open after the child has gone
        reading = threading.Thread(target=_hand_on, args=(child, copy, take), daemon=True)
        reading.start()
        code = child.wait()
        orphans = runner.stop(child.pid)
        escaped = len(runner.stop_escaped(mark, child.pid))
        reading.join(timeout=runner.GRACE_S)
    return Ending(128 - code if code < 0 else code, orphans, escaped)


def _hand_on(child: subprocess.Popen[bytes], copy: IO[bytes] | None, take: Callable[[str], object]) -> None:
    assert child.stdout is not None
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    # no more than so much of a line at a time: a child that writes no line end must neither fill the memory nor wait here
    for piece in iter(lambda: child.stdout.readline(neox_log.LONGEST), b""):  # type: ignore[union-attr]
        text = redact.text(decoder.decode(piece))  # DeepSpeed tells every variable that it hands on
        with contextlib.suppress(OSError, ValueError):  # nobody reads on, and the training must
            shown.raw(sys.stdout).write(shown.log(text))
            sys.stdout.flush()
        if copy is not None:
            with contextlib.suppress(OSError, ValueError):  # a full disk; closed, while orphans still print
                copy.write(text.encode())
        take(neox_log.readable(text.encode()))
