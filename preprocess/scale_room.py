"""Disk and memory that a run of `preprocess.scale` takes, said before it begins; `scale_estimate` measures it instead."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from haigo import files, memory
from haigo.cli import HaigoError
from haigo.formats import documents
from haigo.formats.documents.containers import SUFFIXES

from . import dedup_plan, evaluation_items
from .options import DedupOptions, ScaleRun

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


class Text(NamedTuple):
    """How much there is of what memory grows with.

    Attributes:
        documents: after cleaning; of_file: of the largest file.
        largest: bytes of text of the largest file.
        clustered: documents that share a bucket with others.
    """

    documents: float
    of_file: float
    largest: float
    clustered: float


_WRITERS = ("clean", "gather", "dedup-drop", "decontaminate", "score", "resplit")
_HELD = 3.2  # of a shard that is written: its lines, these as one, and packed
_EXACT = 85  # of a document of a file, by which exact repeats are told
_SKETCH = 700  # of a document of a shard: sketches, joined and in order
_LINKED = 60  # of a document in a cluster, while clusters are made


def growing(run: ScaleRun, step: str, text: Text) -> float:
    """The part of a step's memory that grows with the text: bytes."""
    shard = min(float(documents.SHARD_BYTES), text.largest)
    more = _HELD * shard if step in _WRITERS else 0.0
    if step in ("clean", "gather"):
        more += _EXACT * text.of_file
    if step == "dedup-sketch":
        more += _SKETCH * text.of_file * shard / max(1.0, text.largest)
    if step.startswith("dedup"):
        allowed = (run.dedup or {}).get("memory_gb", DedupOptions().memory_gb) * 1e9
        ranges, lot = dedup_plan.cut_up(text.documents, allowed, run.tasks)
        more += {
            "dedup-buckets": dedup_plan.BYTES_OF_A_KEY * text.documents / ranges,
            "dedup-cluster": dedup_plan.BYTES_OF_A_LABEL * text.documents + _LINKED * text.clustered,
            "dedup-pairs": dedup_plan.BYTES_OF_A_ROW * min(lot, text.clustered),
        }.get(step, 0.0)
    return more
