"""The control groups of Linux that limit this process: its own, and all that it lies in (a Slurm job, a systemd unit, a
container)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

_MINE = Path("/proc/self/cgroup")
_ROOT = Path("/sys/fs/cgroup")


def folders(controller: str) -> Iterator[tuple[Path, int]]:
    """Folder and version (1 or 2) of every group that may hold limits of a controller such as `memory`, innermost first."""
    try:
        lines = _MINE.read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = ["0::/", f"1:{controller}:/"]
    for line in lines:
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if not controllers:
            root, version = _ROOT, 2
        elif controller in controllers.split(","):
            root, version = _ROOT / controller, 1
        else:
            continue
        parts = [part for part in path.split("/") if part]
        for depth in range(0 if ".." in parts else len(parts), -1, -1):  # a container may not see where it lies
            yield root.joinpath(*parts[:depth]), version
