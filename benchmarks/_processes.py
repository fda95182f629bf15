"""What a process and all its descendants take, as /proc tells: CPU time and memory."""

from __future__ import annotations

import os
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")


def tree(root: int) -> dict[int, float]:
    """Process -> CPU-seconds, of a process and its descendants."""
    parents, spent = {}, {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                words = (
                    Path(entry.path, "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
                )
            except OSError:
                continue
            parents[int(entry.name)] = int(words[1])
            spent[int(entry.name)] = sum(map(int, words[11:13])) / TICK
    found = [root]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return {pid: spent[pid] for pid in found if pid in spent}


def memory(pid: int) -> tuple[float, float]:
    """Resident and proportional memory of a process in MB."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0, 0.0
    sizes = {line.split()[0]: int(line.split()[1]) / 1024 for line in lines[1:] if line.endswith("kB")}
    return sizes.get("Rss:", 0.0), sizes.get("Pss:", 0.0)
