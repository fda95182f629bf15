"""The files of the tasks that a run names: found, read, and checked before torch is loaded."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval_harness import datasets, fewshot, metrics, tasks
from eval_harness.options import Limit
from eval_harness.tasks.base import Rules
from haigo.cli import HaigoError


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """The files of one task, read."""

    rules: Rules
    scored: datasets.DataFile
    pool: datasets.DataFile | None
    docs: list[dict[str, Any]]
    pool_docs: list[dict[str, Any]]
    shots: int
    limit: Limit


def read_sources(
    names: Sequence[str],
    shots: Sequence[int | None],
    limits: Sequence[Limit],
    folder: Path,
    fewshot_pool: str,
    data_version: str,
    from_hub: bool = False,
) -> list[Source]:
    """Find and read the data files of the tasks, without torch; what the user should know of a score is said on stderr.

    Args:
        from_hub: files that `folder` lacks come from the Hugging Face hub where it has them as plain files.
    """
    sources = []
    for name, number, limit in zip(names, shots, limits, strict=True):
        rules = tasks.make(name)
        wanted = rules.leaderboard_shots if number is None else number
        scored, pool = datasets.find(folder, rules.dataset, rules.scored_split, data_version, from_hub), None
        if wanted and not rules.has_shots:
            raise HaigoError(f"{name} takes no shots.", "give it --num_fewshot 0", option="num_fewshot")
        if wanted and fewshot_pool == "test":
            pool = datasets.find_test_pool(folder, rules.dataset, rules.scored_split, from_hub)
        elif wanted:
            try:
                pool = datasets.find(folder, rules.dataset, "train", data_version, from_hub)
            except HaigoError as error:
                raise HaigoError(
                    f"{error.problem} The shots of {name} come from it.",
                    f"{error.fix}; --fewshot_pool test draws from the test file instead and says so in the result",
                    option="fewshot_pool",
                ) from None
        docs = rules.read_split(scored.path, scored.split)
        if not scored.releases:  # published files are scored as they are
            _check_ids(scored.path, docs)
        pool_docs = rules.read_split(pool.path, pool.split) if pool else []
        if wanted > len(pool_docs):
            raise HaigoError(
                f"{name}: {wanted} shots are asked for, and {pool.path if pool else folder} has {len(pool_docs)} examples.",
                "lower --num_fewshot or use the whole file",
                option="num_fewshot",
            )
        # drawn later; what cannot be drawn is said now: proxies are trained for hours in between
        fewshot.take(docs, limit)
        fewshot.strata(pool_docs, wanted, rules.target if rules.stratified else None)
        sources.append(
            Source(rules=rules, scored=scored, pool=pool, docs=docs, pool_docs=pool_docs, shots=wanted, limit=limit)
        )
    if any(source.rules.japanese_metric for source in sources):
        metrics.need_japanese()
    for source in sources:
        for warning in source.rules.warnings(source.shots):
            print(f"haigo: {warning}", file=sys.stderr)
    return sources


_ID_KEYS = "id|q_id|qid|sentence_pair_id|review_id"


def _check_ids(path: Path, docs: Sequence[Mapping[str, Any]]) -> None:
    """Raise where two documents have one id: a file that was joined twice gives the same score with too small an error."""
    seen: dict[str, int] = {}
    for number, doc in enumerate(docs, start=1):
        name = str(doc["id"])
        if name not in seen:
            seen[name] = number
            continue
        lines = _lines_of(path, name)
        first, second = (
            (f"line {line}" for line in lines[:2])
            if len(lines) > 1
            else (f"document {n}" for n in (seen[name], number))
        )
        again = len(docs) - len({str(each["id"]) for each in docs})
        raise HaigoError(
            f"{path} {second} has the id {name} of {first}; {again:,} of {len(docs):,} documents have the id of another.",
            "leave each document in once, or give each an id of its own",
        )


def _lines_of(path: Path, name: str) -> list[int]:
    """The lines of a file that give a document this id, where documents stand on lines of their own."""
    spelled = "|".join({re.escape(json.dumps(name)), re.escape(json.dumps(name, ensure_ascii=False)), re.escape(name)})
    given = re.compile(rf'"(?:{_ID_KEYS})"\s*:\s*(?:{spelled})\s*[,}}]')
    with open(path, encoding="utf-8", errors="replace") as handle:
        return [number for number, line in enumerate(handle, start=1) if given.search(line)]


def spread(value: Any, names: Sequence[str], option: str) -> list[Any]:
    """One value for all tasks, or one for each."""
    values = list(value) if isinstance(value, (list, tuple)) else [value]
    if len(values) == 1:
        return values * len(names)
    if len(values) != len(names):
        raise HaigoError(
            f"--{option} has {len(values)} values for {len(names)} tasks ({', '.join(names)}).",
            "give one value, or one for each task in the order of --tasks",
            option="tasks",
        )
    return values
