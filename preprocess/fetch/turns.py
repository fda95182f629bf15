"""One request at a time to a host, with a pause after each, also across processes of one user on one machine.

Every host has a small file that is locked during a request and holds the time from which the next one is welcome.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import hashlib
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from haigo import files
from haigo.cli import HaigoError


class Clock:
    """The time of day in seconds and waiting for it; tests put one in its place that does not wait."""

    def time(self) -> float:
        """Seconds since 1970."""
        return time.time()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)


@dataclasses.dataclass
class Turn:
    """A request's time at its host. `pause_s` may be raised while it lasts (a server that asks for patience)."""

    pause_s: float


class Turns:
    """Hands out turns.

    Args:
        clock: what tells the time.
        folder: where the hosts' files lie; a private one in the system's temporary folder by default.
        longest_s: the longest wait believed; a clock that was set back must not stop everything for a year.
    """

    def __init__(self, clock: Clock, folder: Path | None = None, longest_s: float = 3600.0) -> None:
        self._clock, self._longest = clock, longest_s
        self._folder = folder or Path(tempfile.gettempdir()) / f"haigo-fetch-{os.getuid()}"

    @contextlib.contextmanager
    def turn(self, host: str, pause_s: float) -> Iterator[Turn]:
        """Wait until `host` may be asked, hold it while the block lasts, then keep it free for `pause_s` seconds."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if os.lstat(self._folder).st_uid != os.getuid():
            raise HaigoError(
                f"{self._folder} belongs to someone else.", "remove it, or set TMPDIR to a folder of yours"
            )
        # a host's name may come from a server: it is never used as a file name
        path = self._folder / hashlib.sha256(host.encode()).hexdigest()[:32]
        with files.append(path, "a+", anyones=True, encoding="ascii") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            handle.seek(0)
            try:
                wait = float(handle.read()) - self._clock.time()
            except ValueError:
                wait = 0.0
            if wait > 0:
                self._clock.sleep(min(wait, self._longest))
            turn = Turn(pause_s)
            try:
                yield turn
            finally:
                handle.truncate(0)
                handle.write(f"{self._clock.time() + turn.pause_s:.3f}")
