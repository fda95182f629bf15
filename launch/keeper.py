"""Keeps one training process and what it starts, whatever becomes of the one that watches.

Run as a program (by `launch.supervise`, in a session of its own) it starts the command with its output appended to a file,
sees it end, stops what it left behind, and writes how it ended to `exit.json`. It outlives a killed watcher, so that the
training goes on and the next watcher finds it. It needs the standard library only and runs with `python -I`, so that
nothing meant for the child's environment reaches it. SIGTERM, SIGINT and SIGHUP are the child's to obey.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

GOING_S = 3.0
"""Ranks that are just going are no orphans: so long they may take after their launcher has ended."""
GRACE_S = 15.0
"""Between SIGTERM and SIGKILL."""
BEAT_S = 2.0


def members(group: int) -> list[int]:
    """Processes of a group that still run. Zombies do not count: in a container nobody may ever reap them."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            # pid (name, which may hold blanks and brackets) state ppid pgrp
            fields = stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            if int(fields[2]) == group and fields[0] not in "ZX":
                found.append(int(stat.parent.name))
    return found


def start_time(pid: int) -> str:
    """When a process started (clock ticks since boot); empty when it does not run. A pid alone may be another's by now."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]


def stop(group: int, spare: Sequence[int] = (), going: float = GOING_S, grace: float = GRACE_S) -> bool:
    """Stop what is left of a process group.

    Args:
        group: its number.
        spare: processes of it that are left alone.
        going: seconds in which it may end by itself.
        grace: seconds between SIGTERM and SIGKILL.

    Returns:
        True when there was something that would not have ended by itself.
    """
    if _empty(group, spare, going):
        return False
    for number in (signal.SIGTERM, signal.SIGKILL):
        for pid in members(group):
            if pid not in spare:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, number)
        if _empty(group, spare, grace):
            break
    return True


def _empty(group: int, spare: Sequence[int], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while set(members(group)) - set(spare):
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def main() -> int:
    folder, log, command = Path(sys.argv[1]), sys.argv[2], sys.argv[3:]
    for kind in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
        # a handler, not SIG_IGN, which the child would inherit
        signal.signal(kind, lambda number, frame: None)
    with open(log, "ab", buffering=0) as output:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
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
    ending = {"code": 128 - code if code < 0 else code, "orphans": orphans, "at": time.time()}
    temporary = folder / f".exit.json.{os.getpid()}.tmp"
    temporary.write_text(json.dumps(ending) + "\n", encoding="utf-8")
    os.replace(temporary, folder / "exit.json")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
