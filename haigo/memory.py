"""How much memory this process may still take: the machine's, cut by the limits of its control groups and its own. And that it
keeps what it frees, where the same sizes are wanted again and again."""

from __future__ import annotations

import contextlib
import ctypes
import resource
from collections.abc import Iterator
from pathlib import Path

from haigo import control_groups

_NO_LIMIT = 1 << 60
_FILES = {
    1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_"),
    2: ("memory.max", "memory.current", ""),
}
"""By version: the limit, what is taken, and what the names in memory.stat begin with."""

_KEPT = {-3: 32 << 20, -1: 512 << 20}
"""mallopt(3): M_MMAP_THRESHOLD, at its largest (a larger array is a mapping of its own), and M_TRIM_THRESHOLD."""


def available() -> int:
    """Bytes that can be taken without swapping; a very large number where nothing can be found out."""
    limits = [_NO_LIMIT, *_group_limits()]
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                limits.append(int(line.split()[1]) * 1024)
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    if soft != resource.RLIM_INFINITY:
        limits.append(soft)
    return min(limits)


def keep_freed() -> None:
    """Let this process keep up to 512 MB of what it frees for its next arrays, for good; nothing happens where the C library is
    not GNU's. By itself that library gives large arrays back at once, and a step of a small model spends a tenth of its time
    on the 8,000 to 40,000 new pages that the kernel then has to clear for it (`benchmarks/engine_speed.py`)."""
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        for setting, value in _KEPT.items():
            library.mallopt(setting, value)


def _group_limits() -> Iterator[int]:
    """Bytes to the limit of each control group. What its files fill of the system's cache is given up before anything is
    killed."""
    for place, version in control_groups.folders("memory"):
        limit, used, prefix = _FILES[version]
        with contextlib.suppress(OSError, ValueError):
            most = int((place / limit).read_text(encoding="ascii"))  # "max" is no number: no limit
            if most < _NO_LIMIT:
                taken = int((place / used).read_text(encoding="ascii"))
                yield max(0, most - max(0, taken - _cached(place, prefix)))


def _cached(place: Path, prefix: str) -> int:
    """Bytes of files in the system's cache that are counted to a group."""
    with contextlib.suppress(OSError, ValueError):
        rows = [line.split() for line in (place / "memory.stat").read_text(encoding="ascii").splitlines()]
        return sum(int(row[1]) for row in rows if row[0] in (f"{prefix}inactive_file", f"{prefix}active_file"))
    return 0
