"""How much memory this process may still take: the machine's, cut by the limits of its control groups and its own."""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Iterator
from pathlib import Path

_NO_LIMIT = 1 << 60
_GROUP_OF_MINE = Path("/proc/self/cgroup")
_GROUPS = Path("/sys/fs/cgroup")


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


def _group_limits() -> Iterator[int]:
    """Of the process' control group and all that it lies in (a Slurm job, a systemd unit, a container), of either version:
    bytes to the limit. What the group's files fill of the system's cache is given up before anything is killed."""
    try:
        lines = _GROUP_OF_MINE.read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = ["0::/", "1:memory:/"]
    for line in lines:
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if not controllers:
            root, limit, used, prefix = _GROUPS, "memory.max", "memory.current", ""
        elif "memory" in controllers.split(","):
            root, limit, used, prefix = _GROUPS / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_"
        else:
            continue
        parts = [part for part in path.split("/") if part]
        for depth in range(0 if ".." in parts else len(parts), -1, -1):  # a container may not see where it lies
            place = root.joinpath(*parts[:depth])
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
