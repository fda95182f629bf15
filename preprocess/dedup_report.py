"""What a deduplication says of itself: counts by corpus, samples of what went, and its options."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from haigo import __version__

from . import arrays, rewrite
from .account import opening
from .dedup_plan import MEMORY_PER_DOCUMENT, Job, Plan

EXACT, NEAR = "exact_duplicate", "near_duplicate"
_SAMPLES = 5
_Sample = tuple[float, int, int]


def report(job: Job, plan: Plan) -> dict[str, Any]:
    """The report, after all steps but `Drop`."""
    names = list(dict.fromkeys(name for name, _, _ in job.corpora))
    of_shard = np.array([names.index(shard.corpus) for shard in plan.shards])
    repeats = np.zeros((2, len(names), len(names)), dtype=np.int64)
    samples: tuple[list[_Sample], list[_Sample]] = ([], [])
    for held in plan.removals():
        exact = int(held["exact"].all())
        pair = [of_shard[np.searchsorted(plan.starts, held[side], side="right") - 1] for side in ("number", "kept")]
        np.add.at(repeats[exact], tuple(pair), 1)
        rows = np.lexsort((held["number"], held["similarity"]))[:_SAMPLES]
        some = [(float(held["similarity"][row]), int(held["number"][row]), int(held["kept"][row])) for row in rows]
        samples[exact][:] = sorted([*samples[exact], *some])[:_SAMPLES]
    count = int(plan.starts[-1])
    notes = [arrays.note(plan.pairs(lot)) for lot in range(plan.lots())]
    left_in = {
        key: round(math.fsum(note["left_in"][key] for note in notes)) for key in ("documents", "for_crowds", "crowded")
    }
    wanted = [(EXACT, each) for each in samples[1]] + [(NEAR, each) for each in samples[0]]
    shown = _openings(plan, {number for _, each in wanted for number in each[1:]})
    return {
        "documents_in": count,
        "documents_out": count - int(repeats.sum()),
        "corpora": {name: _corpus(plan, of_shard, repeats, names, each) for each, name in enumerate(names)},
        "samples": [
            {"rule": rule, "similarity": round(similarity, 4), "removed": shown[number], "kept": shown[kept]}
            for rule, (similarity, number, kept) in wanted
        ],
        "candidates": sum(note["candidates"] for note in notes),
        "pairs_checked": sum(note["pairs_checked"] for note in notes),
        **({"left_in": left_in} if job.options.method == "minhash" else {}),
        "memory_mb_per_million_documents": MEMORY_PER_DOCUMENT,
        "options": options(job),
        **plan.known["broken"],
        "input": rewrite.named(plan.shards),
        "tool": f"haigo {__version__}",
    }


def options(job: Job) -> dict[str, Any]:
    """What the result depends on, beside the documents."""
    named = ["threshold", "shingle", "bands", "rows", "seed"] if job.options.method == "minhash" else []
    given = {"method": job.options.method, "priority": [name for name, _, _ in job.corpora]}
    return given | {name: getattr(job.options, name) for name in named}


def _corpus(plan: Plan, of_shard: Any, repeats: Any, names: list[str], number: int) -> dict[str, Any]:
    own = repeats[:, number]
    return {
        "documents_in": int(np.diff(plan.starts)[of_shard == number].sum()),
        EXACT: int(own[1].sum()),
        NEAR: int(own[0].sum()),
        "repeats_of": {name: int(count) for name, count in zip(names, own.sum(axis=0), strict=True) if count},
    }


def _openings(plan: Plan, numbers: set[int]) -> dict[int, dict[str, str]]:
    shown = {}
    wanted: dict[int, set[int]] = {}
    for number in numbers:
        at = int(np.searchsorted(plan.starts, number, side="right")) - 1
        wanted.setdefault(at, set()).add(number - int(plan.starts[at]))
    for each, places in wanted.items():
        shard = plan.shards[each]
        for place, document in enumerate(shard.read()):
            if place in places:
                about = {"corpus": shard.corpus, "split": shard.split, "id": document.id}
                shown[int(plan.starts[each]) + place] = about | {"text": opening(document.text)}
                if place == max(places):
                    break
    return shown
