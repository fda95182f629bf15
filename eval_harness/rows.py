"""Rows of the leaderboard's table: a model's figures, and the result file of `eval_harness.run` that holds them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eval_harness.result import CHAT, samples_name
from eval_harness.tasks import TASKS
from haigo import digests, shapes
from haigo.cli import HaigoError


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """One figure."""

    percent: float
    error: float | None
    task: str
    shots: int | None
    notes: tuple[str, ...]
    """Why it may not be compared, apart from how it differs from the row it is compared with."""
    rules: str = ""
    """Whose rules gave it, where they are not the leaderboard's."""


_NUMBER = (float, None)
_SHAPE = {
    "results": {str: {str: _NUMBER}},
    "config": {"model_args": str},
    "haigo": {
        "tasks": {
            str: {
                "main_metric": str,
                "main_scale": float,
                "num_fewshot": int,
                "not_comparable": [str],
                "data": str,
                "baseline": {str: _NUMBER},
                "samples_sha256?": (str, None),
                "rules?": str,
            }
        }
    },
}
"""What is read of a result.json."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One model."""

    name: str
    ours: bool
    cells: dict[str, Cell]
    program: str = ""
    """What scored it, where that was another program."""
    folder: Path | None = None
    hidden: tuple[str, ...] = ()
    """Tasks of the result that have no cell."""
    failed: tuple[str, ...] = ()
    """Tasks that have no figure, with the reason."""
    data: dict[str, str] = field(default_factory=dict)
    """Column -> what the data are."""
    metrics: dict[str, str] = field(default_factory=dict)
    """Column -> name of the main metric in the samples."""
    baselines: dict[str, dict[str, float]] = field(default_factory=dict)
    """Column -> what answering without reading gives, between 0 and 1."""
    samples: dict[str, str | None] = field(default_factory=dict)
    """Column -> digest of its samples, None where none were written; an earlier version noted nothing."""

    @property
    def title(self) -> str:
        """The name as the table shows it."""
        own = "this run" if self.ours else self.program
        return f"{self.name} ({own})" if own else self.name

    def has_samples(self, column: str) -> bool:
        """Whether the samples beside the result, if any, are its own, as far as that is known."""
        path = (self.folder or Path()) / samples_name(self.cells[column].task)
        stated = self.samples.get(column, "")
        return stated == "" or (stated is not None and path.is_file() and digests.sha256(path) == stated)


def ours(path: Path, content: Any) -> Row:
    """A result.json that `eval_harness.run` wrote.

    Raises:
        HaigoError: it is damaged.
    """
    return shaped(path, content, _SHAPE, _read, "score the model again")


def shaped(path: Path, content: Any, shape: Any, reader: Callable[[Path, Any], Row], fix: str) -> Row:
    """What a reader makes of a result of a known shape.

    Raises:
        HaigoError: it has another shape, or values that the reader cannot take; `fix` says what to do.
    """
    bad = shapes.unlike(content, shape, "")
    try:
        if bad is None:
            return reader(path, content)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        bad = f"{type(error).__name__} {error}"
    raise HaigoError(f"{path} is a damaged result: {bad.rstrip('.')}.", fix)


def _read(path: Path, content: dict[str, Any]) -> Row:
    cells: dict[str, Cell] = {}
    names: dict[str, str] = {}
    base: dict[str, dict[str, float]] = {}
    samples: dict[str, str | None] = {}
    kinds, hidden = {}, []
    for task, figures in content["results"].items():
        about = content["haigo"]["tasks"][task]
        if "rules" in about:
            for metric, cell in _generated(task, figures, about):
                column = generated_column(task, metric)
                cells[column], kinds[column], base[column] = cell, about["data"], {}
                samples |= {column: about["samples_sha256"]} if "samples_sha256" in about else {}
                names |= {} if cell.error is None else {column: metric}  # of each document by itself
            continue
        metric, scale = about["main_metric"], about["main_scale"]
        error, column = figures.get(f"{metric}_stderr"), task.split("-")[0]
        percent = None if error is None else error * scale
        if error is None and about.get("main_stderr") is not None:
            percent = 100 * float(about["main_stderr"])
        if column in cells:
            hidden.append(task)  # the table has one column a data set; the first prompt stands for it
            continue
        cells[column] = Cell(
            percent=figures[metric] * scale,
            error=percent,
            task=task,
            shots=about["num_fewshot"],
            notes=(*about["not_comparable"], *same_answer(about.get("same_answer"))),
        )
        kinds[column] = about["data"]
        samples |= {column: about["samples_sha256"]} if "samples_sha256" in about else {}
        names[column], base[column] = metric, {k: v for k, v in about["baseline"].items() if v is not None}
    theirs = content.get("lm_eval", {})
    for column, cell in lm_eval_cells(theirs, f"lm-eval {_version(content)}").items():
        cells.setdefault(column if column not in cells else cell.task.split()[0], cell)
    words = dict(part.split("=", 1) for part in content["config"]["model_args"].split(",") if "=" in part)
    name = content["haigo"].get("model", {}).get("pretrained") or words.get("pretrained", path.parent.name)
    return Row(
        name=str(name),
        ours=True,
        cells=cells,
        folder=path.parent,
        data=kinds,
        hidden=tuple(hidden),
        failed=tuple(f"{task} ({why})" for task, why in theirs.get("failed", {}).items()),
        metrics=names,
        baselines=base,
        samples=samples,
    )


def _generated(task: str, figures: Mapping[str, Any], about: Mapping[str, Any]) -> Iterator[tuple[str, Cell]]:
    """Metric and figure of a task by llm-jp-eval's rules; each has a column of its own."""
    for metric, value in figures.items():
        if metric.endswith("_stderr"):
            continue
        error = figures.get(f"{metric}_stderr")
        yield (
            metric,
            Cell(
                percent=100 * value,
                error=None if error is None else 100 * error,
                task=task,
                shots=about["num_fewshot"],
                notes=(*about["not_comparable"], *same_answer(about.get("same_answer"))),
                rules=generated_rules(about["rules"], metric),
            ),
        )


def generated_rules(program: str, metric: str) -> str:
    """What the table says of a figure by llm-jp-eval's rules."""
    return f"{program}, {metric} of a generated answer"


def generated_column(task: str, metric: str) -> str:
    """The column of a figure by llm-jp-eval's rules."""
    return f"{task.split('-')[0].removeprefix('llmjp_')} {metric}"


def _version(content: Mapping[str, Any]) -> str:
    return str(content["haigo"].get("software", {}).get("lm_eval", "0.4"))


_MAIN = ("acc", "exact_match", "f1", "mcc", "rouge2", "bleu", "chrf")
_SHARES = {"acc", "acc_norm", "acc_bytes", "exact_match", "f1", "mcc", "em", "rouge1", "rouge2", "rougeL", "rougeLsum"}
"""Figures between 0 and 1; the table shows percent."""
_OURS = {f"ja_leaderboard_{task.lm_eval_name}": task.dataset for task in TASKS if task.lm_eval_name}


def lm_eval_cells(block: Mapping[str, Any], rules: str) -> dict[str, Cell]:
    """Column -> figure of lm-eval's results, those of `eval_harness.run`'s block `lm_eval` and those of lm-eval itself.

    A group that has a figure stands for its tasks; of one that has none, and of a tag, every task has a column. lm-eval's
    `ja_leaderboard_*` stand in the column of their data set.
    """
    results: dict[str, Any] = block.get("results", {})
    groups: Mapping[str, Any] = block.get("asked") or block.get("group_subtasks") or {}
    inner = {leaf for name in groups if _main(results.get(name, {})) for leaf in _leaves(name, groups)}
    cells = {}
    for name, figures in results.items():
        key = None if name in inner else _main(figures)
        if key is None:
            continue
        metric, _, kind = key.partition(",")
        scale = 100.0 if metric in _SHARES else 1.0
        error, shots = figures.get(f"{metric}_stderr,{kind}"), block.get("n-shot", {}).get(name)
        notes = list(same_answer(block.get("same_answer", {}).get(name)))
        if any(_is_partial(each, block) for each in (name, *_leaves(name, groups))):
            notes.append("only a part of the documents was scored (--limit)")
        if block.get("chat_template"):
            notes.append(CHAT)
        named = f"{name} {block.get('versions', {}).get(name, '')}".strip()
        cells[_OURS.get(name) or (name if metric == "acc" else f"{name} {metric}")] = Cell(
            percent=float(figures[key]) * scale,
            error=float(error) * scale if is_number(error) else None,
            task=f"{named} in {block['dtype']}" if block.get("dtype") else named,
            shots=shots if type(shots) is int else None,
            notes=tuple(notes),
            rules=f"{rules}'s own task {name}" if name in _OURS else rules,
        )
    return cells


def _leaves(name: str, groups: Mapping[str, Any]) -> set[str]:
    """All that a group holds, also by way of groups in it."""
    found: set[str] = set()
    left = [name]
    while left:
        new = {leaf for leaf in groups.get(left.pop(), ()) if leaf != name} - found
        found |= new
        left += new
    return found


def _is_partial(name: str, block: Mapping[str, Any]) -> bool:
    counted = block.get("n-samples", {}).get(name)
    limited = block.get("limits", {}).get(name) is not None
    return bool(counted["effective"] < counted["original"]) if counted else limited


def _main(figures: Mapping[str, Any]) -> str | None:
    """The key of a task's main figure (`acc,none`)."""
    there = [k for k, each in figures.items() if "," in k and "_stderr" not in k and is_number(each)]
    return next((key for main in _MAIN for key in there if key.split(",")[0] == main), next(iter(there), None))


def is_number(value: Any) -> bool:
    """Whether a value of a result file is a figure."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def same_answer(answer: Any) -> Sequence[str]:
    """The note on a score whose answers never differ."""
    return [f"one answer to all documents: {answer}"] if isinstance(answer, str) else []
