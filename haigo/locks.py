"""One process at a time in a folder: the lock `.haigo.lock`, which goes with its process."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from haigo.cli import HaigoError
from haigo.ownership import LOCK, StrPath, open_notes

_LAST_BREATH = 5.0  # seconds that workers of a killed process may still live
HELD: set[str] = set()
"""Folders that this process holds."""


@contextlib.contextmanager
def owner(folder: StrPath) -> Iterator[None]:
    """Hold `folder` for this process alone; the lock goes with the process, also after kill -9.

    Raises:
        HaigoError: another process holds it.
    """
    place = Path(folder)
    with _held(place) as handle:
        with contextlib.suppress(OSError):  # on a full disk the lock holds all the same, only without a name
            handle.seek(0)
            handle.truncate()
            handle.write(f"pid {os.getpid()}".encode())
        HELD.add(str(place.absolute()))
        try:
            yield
        finally:
            HELD.discard(str(place.absolute()))


def _held(place: Path) -> IO[bytes]:
    """The lock file of a folder, locked."""
    for last in [False] * 100 + [True]:
        try:
            place.mkdir(parents=True, exist_ok=True)
            handle = open_notes(place / LOCK, os.O_RDWR | os.O_CREAT)
        except (FileNotFoundError, FileExistsError):  # its last owner took the folder away
            if last:
                raise
            continue
        try:
            _lock(handle, place)
            if os.fstat(handle.fileno()).st_nlink:
                return handle
        except BaseException:
            handle.close()
            raise
        handle.close()  # its last owner took the file away, and whoever comes next makes another
    raise HaigoError(f"{place} comes and goes.", "see what else works there, and run the same command again")


def _lock(handle: IO[bytes], place: Path) -> None:
    patience = time.monotonic() + _LAST_BREATH
    while True:
        try:
            return fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            handle.seek(0)
            who = handle.read().decode("utf-8", "replace").strip()
        # workers of an owner that was just killed hold its lock until they die with it
        if time.monotonic() > patience or not who or Path("/proc", who.removeprefix("pid ")).exists():
            raise HaigoError(
                f"{place} is in use by another process{f' ({who})' if who else ''}.",
                "wait for it to end, stop it, or choose another folder",
            )
        time.sleep(0.02)
