"""Disk and memory that a run of `preprocess.scale` takes, said before it begins; `scale_estimate` measures it instead."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from haigo import files, memory
from haigo.cli import HaigoError
from haigo.formats.documents.containers import SUFFIXES

from . import dedup_plan, evaluation_items
from .options import ScaleRun

WORKER_BYTES = 500_000_000
"""Of a process that cleans or indexes: what its libraries take, the largest shard, and its lots."""
_ITEM_BYTES = 10  # of memory for each byte of an evaluation file
_UNPACKED = 3.5
_DOCUMENT = 2_000  # bytes of raw text, where nothing is known of it
_CLEANED, _INDEXED = 0.4, 1.0  # of the raw text: packed documents; shards of tokens and what they are joined to


def raw_bytes(paths: Sequence[Path]) -> float:
    """About how much raw text files hold."""
    sizes = [(path.stat().st_size, path.suffix in SUFFIXES) for path in paths if path.is_file()]
    return sum(size * (_UNPACKED if packed else 1.0) for size, packed in sizes)


def require(run: ScaleRun, paths: Sequence[Path]) -> None:
    """Say what a run takes, and refuse one for which there is no room.

    Raises:
        HaigoError: the disk of the output, or this machine's memory (of a pool), has less.
    """
    raw, workers = raw_bytes(paths), min(run.workers, run.tasks)
    worker = WORKER_BYTES + (_ITEM_BYTES * _evaluation_bytes(run) if run.decontaminate is not None else 0)
    disk = raw * (_CLEANED + _INDEXED)
    if run.dedup is not None:
        disk += dedup_plan.disk(raw / _DOCUMENT, raw)
    further = [each for each in (run.decontaminate, run.score, run.resplit) if each is not None]
    disk += len(further) * raw * _CLEANED
    cut = [path for path in paths if path.is_file() and 0 < run.split_bytes < path.stat().st_size]
    disk += raw_bytes(cut) * _CLEANED
    print(
        f"haigo: scale: {len(paths):,} files, about {raw / 1e6:,.0f} MB of raw text; about {disk / 1e6:,.0f} MB of disk in"
        f" {run.output}, and {worker / 1e9:.1f} GB of memory for each of {workers} workers.",
        file=sys.stderr,
    )
    free = memory.available()
    if run.executor not in ("slurm", "ray") and workers * worker > free:
        need = workers * worker / 1e9
        raise HaigoError(
            f"{workers} workers need about {need:,.1f} GB of memory, and {free / 1e9:,.1f} GB are free.",
            "use fewer --workers",
            option="workers",
        )
    files.require_space(run.output, int(max(0.0, disk - _there(run.output))), "the rest of the run")


def _evaluation_bytes(run: ScaleRun) -> int:
    against = (run.decontaminate or {}).get("against", [])
    return sum(path.stat().st_size for path in evaluation_items.find(against))


def _there(folder: str) -> int:
    """Bytes that a run has written already."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(place, name)).st_size
            except FileNotFoundError:
                continue
    return total
