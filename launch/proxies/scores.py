"""Task scores of proxies: each finished model goes through eval_harness, and metrics.csv gets a column a task.

A column is TASK_METRIC (`jcommonsenseqa-1.1-0.3_acc`), as a share from 0 to 1. How many items stand behind it, and what
guessing gives, is kept beside it: `mixer.search --score TASK_METRIC=ITEMS:CHANCE` reads the score with its noise.
With `likelihoods` tasks with choices have four more columns, which tell models apart that are all at chance
(`eval_harness.likelihoods`); the noise that so many documents leave in each is kept beside it.
"""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from eval_harness.likelihoods import HIGHER_IS_BETTER
from haigo import files, sealed
from haigo.cli import HaigoError
from launch.engine import device
from launch.proxies.options import TaskOptions

FILE = "scores.json"
_SHARES = ("acc", "acc_norm", "exact_match", "em")
"""Metrics that are shares of right items: for them the noise of ITEMS items is sqrt(p (1 - p) / ITEMS)."""


def check(tasks: TaskOptions) -> str:
    """See that tasks and data are there; gives the digest of everything that scores depend on besides the model.

    Raises:
        HaigoError: as eval_harness.run says it.
    """
    from eval_harness import stock
    from eval_harness import tasks as known
    from eval_harness.sources import read_sources, spread

    _, theirs = stock.split(list(tasks.tasks))
    if theirs:
        raise known.unknown(theirs[0], lm_eval=False)
    names = known.select(list(tasks.tasks))
    shots = spread(tasks.num_fewshot or [None], names, "num-fewshot")
    limits = spread(tasks.limit or [None], names, "limit")
    sources = read_sources(names, shots, limits, Path(tasks.data_dir or "."), tasks.fewshot_pool, tasks.data_version)
    used = [[file.sha256 for file in (source.scored, source.pool) if file is not None] for source in sources]
    more = ["likelihoods"] if tasks.likelihoods else []
    return files.digest([names, [source.shots for source in sources], limits, used, *more])


def finished(folder: Path, key: str, result: Mapping[str, Any]) -> dict[str, Any] | None:
    """The scores of a run's model, if they were made with just this; None otherwise."""
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        content, _ = sealed.read(path)
    except HaigoError as error:
        print(f"haigo: {error.problem.removesuffix('.')}: the model is scored again.", file=sys.stderr)
        return None
    return content if content.get("key") == key and content.get("model") == _model(result) else None


def score(folder: Path, tasks: TaskOptions, key: str, result: Mapping[str, Any]) -> dict[str, Any]:
    """Score the model of a finished run (in a worker); `folder/scores.json` is written last.

    Returns:
        key, model, metrics {column: value}, items {column: n}, chance {column: share}, noise {column: standard error over
        the documents} of likelihoods.

    Raises:
        HaigoError: the run has no model, or eval_harness refuses.
    """
    known = finished(folder, key, result)
    if known is not None:
        return known
    if not (folder / "model").is_dir():
        raise HaigoError(f"{folder} holds no model to score.", "delete that folder, and it is trained again")
    from eval_harness.run import evaluate

    # what it says on the way would be said once a proxy, in the middle of the table
    with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        answered = evaluate(
            folder / "model",
            tasks.tasks,
            tasks.num_fewshot or [None],
            tasks.limit or [None],
            tasks.data_dir or ".",
            folder / "scores",
            log_samples=False,
            fewshot_pool=tasks.fewshot_pool,
            data_version=tasks.data_version,
            device=device.resolve("auto"),
        )
    content: dict[str, Any] = {
        "key": key,
        "model": _model(result),
        "metrics": {},
        "items": {},
        "chance": {},
        "noise": {},
    }
    for name, figures in answered["results"].items():
        about = answered["haigo"]["tasks"][name]
        metric = about["main_metric"]
        column = f"{name}_{metric}"
        content["metrics"][column] = float(figures[metric]) * float(about["main_scale"]) / 100.0
        if metric in _SHARES:
            content["items"][column] = about["n"]
            if about["baseline"].get("chance") is not None:
                content["chance"][column] = about["baseline"]["chance"]
        for figure, of_figure in ((about["likelihoods"] or {}) if tasks.likelihoods else {}).items():
            content["metrics"][f"{name}_{figure}"] = of_figure["value"]
            content["noise"][f"{name}_{figure}"] = of_figure["stderr"]
    sealed.write(folder / FILE, content)
    return content


def _model(result: Mapping[str, Any]) -> str:
    """Which training a score belongs to: one that was done again has another time and the same folder."""
    return files.digest([result["metrics"], result["tokens"], result["seed"], result["loss"]])


def columns(results: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Column -> {"items", "chance"}, of likelihoods {"noise"} (the largest of all), from the scores of several runs."""
    known: dict[str, dict[str, Any]] = {}
    for result in results:
        for column, items in result.get("items", {}).items():
            known.setdefault(column, {"items": items, "chance": result.get("chance", {}).get(column)})
        for column, noise in result.get("noise", {}).items():
            worst = max(noise or 0.0, known.get(column, {}).get("noise", 0.0))
            known[column] = {"noise": worst}
    return known


def advice(known: Mapping[str, Mapping[str, Any]]) -> str:
    """The options for mixer.search."""
    flags = []
    for column, facts in known.items():
        if "items" not in facts:
            if column.endswith(HIGHER_IS_BETTER):
                flags.append(f"--maximise {column}")
            continue
        chance = f":{facts['chance']:.4g}" if facts.get("chance") is not None else ""
        flags.append(f"--score {column}={facts['items']}{chance}")
    return " ".join(flags)


def as_facts(tasks: TaskOptions, key: str) -> dict[str, Any]:
    """For swarm.json: what runs with scores must have in common."""
    return {"tasks": ",".join(tasks.tasks), "tasks.digest": key}
