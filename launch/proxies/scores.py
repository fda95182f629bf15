"""Task scores of proxies: each finished model goes through eval_harness, and metrics.csv gets a column a task.

A column is TASK_METRIC (`jcommonsenseqa-1.1-0.3_acc`), as a share from 0 to 1. How many items stand behind it, and what
guessing gives, is kept beside it: `mixer.search --score TASK_METRIC=ITEMS:CHANCE` reads the score with its noise.
With `likelihoods` tasks with choices have four more columns, which tell models apart that are all at chance
(`eval_harness.likelihoods`); every item's figures are kept with each run, and what noise so many items leave in a column beside
items and chance in swarm.json.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eval_harness.likelihoods import FIGURES, HIGHER_IS_BETTER, of_document
from eval_harness.metrics import mean, mean_stderr
from eval_harness.result import samples_name
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
    more = ["likelihoods of items"] if tasks.likelihoods else []
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
        key, model, metrics {column: value}, items {column: n}, chance {column: share}; with likelihoods, for columns of tasks
        with choices, each {column: its value of every item, in scoring order} and noise {column: standard error over items}.

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
            log_samples=tasks.likelihoods,
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
        "each": {},
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
        if tasks.likelihoods:
            _add_items(content, name, metric, folder / "scores" / samples_name(name))
    sealed.write(folder / FILE, content)
    return content


def _add_items(content: dict[str, Any], task: str, metric: str, samples: Path) -> None:
    """The figures of every item of a task with choices; the samples, which repeat the texts for every proxy, go."""
    with open(samples, encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    files.remove(samples)
    if not all("choices" in row for row in rows):
        return
    figures = [{metric: row[metric], **of_document(row)} for row in rows]
    for figure in figures[0]:
        values = [each[figure] for each in figures]
        content["metrics"].setdefault(f"{task}_{figure}", mean(values))
        content["items"][f"{task}_{figure}"] = len(values)
        content["each"][f"{task}_{figure}"] = [round(value, 6) for value in values]
        content["noise"][f"{task}_{figure}"] = mean_stderr(values)


def _model(result: Mapping[str, Any]) -> str:
    """Which training a score belongs to: one that was done again has another time and the same folder."""
    return files.digest([result["metrics"], result["tokens"], result["seed"], result["loss"]])


def columns(results: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Column -> what its noise is, from the scores of several runs.

    Returns:
        `items`, and of shares of right items `chance` (None where guessing has none). With likelihoods also `noise`, the
        standard error of the mean over items (the largest of the runs), and of two runs or more `paired_noise`: the standard
        error of a difference between runs on the same items, over root 2, so that it stands for one run as `noise` does.
    """
    known: dict[str, dict[str, Any]] = {}
    for result in results:
        for column, items in result.get("items", {}).items():
            facts = known.setdefault(column, {"items": items})
            if not column.endswith(FIGURES):
                facts.setdefault("chance", result.get("chance", {}).get(column))
        for column, noise in result.get("noise", {}).items():
            if noise is not None:
                known[column]["noise"] = max(noise, known[column].get("noise", 0.0))
    for column, facts in known.items():
        paired = paired_noise([result["each"][column] for result in results if column in result.get("each", {})])
        if paired is not None:
            facts["paired_noise"] = paired
    return known


def paired_noise(values: Sequence[Sequence[float]]) -> float | None:
    """The standard error of one run's mean over items, without what every run finds easy or hard: items are the same for all,
    so that only how runs differ on them makes noise in a comparison (Miller, 2024). Mixtures are compared by this one.

    Args:
        values: (runs, items).

    Returns:
        None of less than two runs or items, or where runs were scored on different numbers of items.
    """
    if len({len(each) for each in values}) != 1 or len(values) < 2 or len(values[0]) < 2:
        return None
    table = np.asarray(values, dtype=float)
    rest = table - table.mean(0) - table.mean(1)[:, None] + table.mean()
    runs, items = table.shape
    return float(np.sqrt((rest**2).sum() / ((runs - 1) * (items - 1)) / items))


def both(one: Mapping[str, Mapping[str, Any]], other: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """What `columns` says of two parts of a table together: the larger noise of both."""
    merged = {column: dict(facts) for column, facts in {**other, **one}.items()}
    for column in one.keys() & other.keys():
        for name in ("noise", "paired_noise"):
            known = [facts[name] for facts in (one[column], other[column]) if name in facts]
            merged[column].update({name: max(known)} if known else {})
    return merged


def advice(known: Mapping[str, Mapping[str, Any]]) -> str:
    """The options for mixer.search."""
    flags = []
    for column, facts in known.items():
        if column.endswith(FIGURES):
            if column.endswith(HIGHER_IS_BETTER):
                flags.append(f"--maximise {column}")
            continue
        chance = f":{facts['chance']:.4g}" if facts.get("chance") is not None else ""
        flags.append(f"--score {column}={facts['items']}{chance}")
    return " ".join(flags)


def as_facts(tasks: TaskOptions, key: str) -> dict[str, Any]:
    """For swarm.json: what runs with scores must have in common."""
    return {"tasks": ",".join(tasks.tasks), "tasks.digest": key}
