"""Runs one training process and what it starts, whatever becomes of the one that watches.

Run as a program (by the supervisor, in a session of its own) it starts the command with its output appended to a file,
sees it end, stops what it left behind, and writes how it ended to `exit.json`. It outlives a killed watcher, so that the
training goes on and the next watcher finds it. It needs the standard library only and runs with `python -I`, so that
nothing meant for the child's environment reaches it. SIGTERM, SIGINT and SIGHUP are the child's to obey.

It holds a lock on its folder as long as it lives, taken before the command is started: whatever becomes of the watchers, one
run is never trained twice at a time.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

GOING_S = 3.0
"""Ranks that are just going are no orphans: so long they may take after their launcher has ended."""
GRACE_S = 15.0
"""Between SIGTERM and SIGKILL."""
BEAT_S = 2.0
BUSY = 75
"""Exit code when another runner holds the folder."""
BUSY_S = 3.0
NOT_STARTED = 127
"""Exit code that is told for a command that could not be started."""
_ENDING_BYTES = 256


MARK = "HAIGO_RUN"
"""Environment variable of everything that a runner starts: its folder."""


def members(group: int, folder: str | None = None) -> list[tuple[int, str]]:
    """Processes of a group that still run. Zombies do not count: in a container nobody may ever reap them.

    Args:
        group: its number.
        folder: only those that the runner of this folder started; the number of a group long gone may be another's by now.

    Returns:
        (number, `start_time`) of each.
    """
    return [(pid, since) for pid, own, since in _running() if own == group and (folder is None or _marked(pid, folder))]


def escaped(folder: str, group: int) -> list[tuple[int, str]]:
    """Processes that the runner of a folder started and that have left its group for a session of their own (`setsid`, a
    daemon's double fork): found by their mark, which is handed on to whatever they start.

    Args:
        folder: the runner's.
        group: its number.

    Returns:
        As `members`.
    """
    return [
        (pid, since) for pid, own, since in _running() if own != group and pid != os.getpid() and _marked(pid, folder)
    ]


def _running() -> list[tuple[int, int, str]]:
    """(number, group, start) of all processes but zombies."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            # pid (name, which may hold blanks and brackets) state ppid pgrp ... starttime
            fields = stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            if fields[0] not in "ZX":
                found.append((int(stat.parent.name), int(fields[2]), fields[19]))
    return found


def _marked(pid: int, folder: str) -> bool:
    with contextlib.suppress(OSError):
        words = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        return f"{MARK}={folder}".encode(errors="surrogateescape") in words
    return False


def send(pid: int, started: str, number: int) -> None:
    """Send a signal to a process, unless its number is another's by now."""
    try:
        handle = os.pidfd_open(pid)  # holds the process: what is sent through it reaches no other
    except ProcessLookupError:
        return
    except OSError:  # an old kernel
        handle = -1
    try:
        if start_time(pid) == started:
            os.kill(pid, number) if handle < 0 else signal.pidfd_send_signal(handle, number)
    except (ProcessLookupError, PermissionError):
        pass
    finally:
        if handle >= 0:
            os.close(handle)


def start_time(pid: int) -> str:
    """When a process started (clock ticks since boot); empty when it does not run. A pid alone may be another's by now."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]


def machine() -> str:
    """Where a pid means the same process: this boot of this machine, and this container."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return socket.gethostname()


def stop(
    group: int, spare: Sequence[int] = (), going: float = GOING_S, grace: float = GRACE_S, folder: str | None = None
) -> bool:
    """Stop what is left of a process group.

    Args:
        group: its number.
        spare: processes of it that are left alone.
        going: seconds in which it may end by itself.
        grace: seconds between SIGTERM and SIGKILL.
        folder: as in `members`.

    Returns:
        True when there was something that would not have ended by itself.
    """
    return bool(_stop(lambda: [one for one in members(group, folder) if one[0] not in spare], going, grace))


def stop_escaped(folder: str, group: int, going: float = GOING_S, grace: float = GRACE_S) -> list[int]:
    """Stop what `escaped` finds; the numbers of those that would not have ended by themselves."""
    return [pid for pid, _ in _stop(lambda: escaped(folder, group), going, grace)]


def _stop(left: Callable[[], list[tuple[int, str]]], going: float, grace: float) -> list[tuple[int, str]]:
    def still(seconds: float) -> list[tuple[int, str]]:
        end = time.monotonic() + seconds
        while alive := left():
            if time.monotonic() > end:
                return alive
            time.sleep(0.05)
        return []

    stopped = still(going)
    if not stopped:
        return []
    for number in (signal.SIGTERM, signal.SIGKILL):
        for pid, started in left():
            send(pid, started, number)
        if not still(grace):
            break
    return stopped


NAMES = ("running.lock", "child.json", "exit.json", ".exit.reserved", ".child.json.tmp", "alive")
"""What a runner writes in its folder."""


def main() -> int:
    folder, log, command = Path(sys.argv[1]), sys.argv[2], sys.argv[3:]
    for kind in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
        # a handler, not SIG_IGN, which the child would inherit
        signal.signal(kind, lambda number, frame: None)
    lock = open(folder / "running.lock", "a", encoding="utf-8")  # noqa: SIM115 - held to the end of this process
    end = time.monotonic() + BUSY_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if time.monotonic() > end:
                return BUSY
            time.sleep(0.05)  # the runner of the start before may just be going
    with contextlib.suppress(FileNotFoundError):
        (folder / "exit.json").unlink()  # of the run before
    reserved = folder / ".exit.reserved"
    reserved.write_text(" " * _ENDING_BYTES, encoding="utf-8")
    own = {
        "pid": os.getpid(),
        "started": start_time(os.getpid()),
        "host": socket.gethostname(),
        "log": log,
        "place": machine(),
    }
    _write(folder / "child.json", own)
    try:
        with open(log, "ab", buffering=0) as output:
            child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
    except OSError as error:
        print(f"{error.filename or command[0]}: {error.strerror or error}", file=sys.stderr, flush=True)
        _end(reserved, {"code": NOT_STARTED, "orphans": False, "at": time.time()})
        return 0
    beat = folder / "alive"
    while True:
        with contextlib.suppress(OSError):  # a full disk must not end the training
            beat.touch()
        try:
            code = child.wait(timeout=BEAT_S)
            break
        except subprocess.TimeoutExpired:
            continue
    orphans = stop(os.getpgid(0), spare=[os.getpid()])
    escaped_ones = stop_escaped(os.environ.get(MARK, str(folder)), os.getpgid(0))
    ending = {"code": 128 - code if code < 0 else code, "orphans": orphans, "at": time.time()}
    _end(reserved, {**ending, "escaped": len(escaped_ones)})
    return 0


def _end(reserved: Path, ending: Mapping[str, object]) -> None:
    """Write how it ended, into room that was taken at the start: a full disk is what many runs end by."""
    with open(reserved, "r+", encoding="utf-8") as handle:
        handle.write(json.dumps(ending).ljust(_ENDING_BYTES))
        handle.flush()
    os.replace(reserved, reserved.with_name("exit.json"))


def _write(path: Path, content: Mapping[str, object]) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(json.dumps(content) + "\n", encoding="utf-8")
    os.replace(temporary, path)


if __name__ == "__main__":
    raise SystemExit(main())
