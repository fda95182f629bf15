"""How much memory this process may still take: the machine's, cut by the container's and the process' own limits."""

from __future__ import annotations

import contextlib
import resource
from pathlib import Path

_NO_LIMIT = 1 << 60
_CGROUPS = (
    (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")),
    (Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"), Path("/sys/fs/cgroup/memory/memory.usage_in_bytes")),
)


def available() -> int:
    """Bytes that can be taken without swapping; a very large number where nothing can be found out."""
    limits = [_NO_LIMIT]
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                limits.append(int(line.split()[1]) * 1024)
    for limit, used in _CGROUPS:
        with contextlib.suppress(OSError, ValueError):
            most = int(limit.read_text(encoding="ascii"))  # "max" is no number: no limit
            if most < _NO_LIMIT:
                limits.append(max(0, most - int(used.read_text(encoding="ascii"))))
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    if soft != resource.RLIM_INFINITY:
        limits.append(soft)
    return min(limits)
