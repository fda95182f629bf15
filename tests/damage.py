"""Bytes of files changed as a bad disk or a careless hand changes them."""

from __future__ import annotations

import os
from pathlib import Path


def put(path: str | Path, raw: bytes, stat: os.stat_result | None = None) -> None:
    """Other bytes in the same file (its inode stays), with the times of `stat`, as a program can set them."""
    with open(path, "r+b") as handle:
        handle.write(raw)
        handle.truncate()
    if stat is not None:
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def flip(path: str | Path, at: int | None = None) -> bytes:
    """Change one byte in place, the middle one if not told which; size and time of change stay. Gives what was there."""
    path = Path(path)
    raw, stat = path.read_bytes(), path.stat()
    byte = len(raw) // 2 if at is None else at % max(1, len(raw))
    put(path, raw[:byte] + bytes([raw[byte] ^ 1 if raw else 0]) + raw[byte + 1 :], stat)  # an empty file gets one
    return raw
