"""Scores of one run at several tokens: result files of its converted checkpoints, each with its step and tokens.

`eval_harness.run` notes step and tokens of a converted model in result.json (block `haigo`, `model.training`); for results of
earlier versions the model's own `conversion.json` is read.
"""

from __future__ import annotations

import itertools
import math
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eval_harness import rows, significance
from eval_harness.result import samples_name
from eval_harness.rows import Cell, Row
from haigo import cli, files, shapes
from haigo.cli import HaigoError
from haigo.formats.exported import CONVERSION
from neox_configs import derive

_CONVERSION = {"step": int, "checkpoint": str, "config": {}, "data_ranks": (int, None)}
_TRAINING = {"step": (int, None), "tokens": int}
_RIGHT_OR_WRONG = ("acc", "exact_match")
_Z = 1.959964  # of 95 %
_DRAWS = 2000


@dataclass(frozen=True, kw_only=True, slots=True)
class Milestone:
    """One result."""

    path: Path
    step: int | None
    tokens: int
    row: Row
    counts: dict[str, int]
    """Column -> documents that were scored."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """The results of one run, by tokens."""

    name: str
    points: list[Milestone]
    unscored: list[tuple[Path, int, int]]
    """Converted models beside them that no result is of, with step and tokens."""

    @property
    def columns(self) -> list[str]:
        """Data sets that some result has a figure of."""
        return list(dict.fromkeys(column for point in self.points for column in point.row.cells))


def training(model: Path) -> dict[str, int]:
    """Step and tokens of a converted model, from its conversion.json.

    Raises:
        HaigoError: it is damaged, or holds no batch size.
    """
    path = model / CONVERSION
    record = files.read_record(path, _CONVERSION)
    length = record["config"].get("seq_length")
    try:
        batch = derive.batch_of(record["config"], record["data_ranks"]).train
        if not isinstance(length, int) or isinstance(length, bool) or length < 1 or record["step"] < 0:
            raise HaigoError("there is no step, or no seq_length.")
    except HaigoError as error:
        raise HaigoError(
            f"{path} does not say how many tokens a step is: {error.problem}", "convert it again"
        ) from None
    return {"step": record["step"], "tokens": record["step"] * batch * length}


def noted(pretrained: str) -> dict[str, dict[str, int]]:
    """What a result notes of its model's training: {"training": {"step", "tokens"}}, or nothing where no file tells."""
    if not pretrained or not (Path(pretrained) / CONVERSION).is_file():
        return {}
    try:
        return {"training": training(Path(pretrained))}
    except HaigoError as error:  # the score is none the worse for it
        print(f"haigo: {error.problem} The result does not say at how many tokens its model is.", file=sys.stderr)
        return {}


def read(paths: Sequence[Path], tokens: Sequence[float] = ()) -> Run:
    """A run's results.

    Args:
        paths: result.json files, or folders that are searched for them and for converted models.
        tokens: of each result in the order of `paths`, where no file tells; all paths are files then, or hold one each.

    Raises:
        HaigoError: no result, one without tokens, two at the same tokens, results that were scored in different ways.
    """
    listed, models = _listed(paths)
    if tokens and len(tokens) != len(listed):
        raise HaigoError(
            f"--tokens has {len(tokens)} numbers, and there are {len(listed)} results.",
            "give one a result",
            option="tokens",
        )
    points = [_point(path, tokens[at] if tokens else None) for at, path in enumerate(listed)]
    points.sort(key=lambda point: point.tokens)
    for one, other in itertools.pairwise(points):
        if one.tokens == other.tokens:
            raise HaigoError(
                f"{one.path} and {other.path} are both at {one.tokens:,} tokens.",
                "name the results of one run, each once; a second run goes behind --against",
            )
    _check_alike(points)
    names = {Path(point.row.name) for point in points}
    missed = [(model, training(model)) for model in models if not any(_same(model, name) for name in names)]
    unscored = sorted(((model, each["step"], each["tokens"]) for model, each in missed), key=lambda each: each[2])
    common = Path(os.path.commonpath([path.resolve().parent for path in listed]))
    return Run(name=common.name or "run", points=points, unscored=unscored)


def _same(model: Path, name: Path) -> bool:
    """Whether a result's model is this one; a relative name was written in whatever folder the scoring ran."""
    place, parts = model.resolve(), tuple(part for part in name.parts if part != "..")
    return place == name.resolve() or (not name.is_absolute() and bool(parts) and place.parts[-len(parts) :] == parts)


def _listed(paths: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """(results, converted models) of files and folders, each once."""
    found: dict[Path, Path] = {}
    models: dict[Path, Path] = {}
    for path in paths:
        here = sorted(path.rglob("result.json")) if path.is_dir() else [path]
        converted = sorted(path.rglob(CONVERSION)) if path.is_dir() else []
        if not here and not converted:
            raise HaigoError(
                f"{path} holds no result.json.", "name what eval_harness.run wrote for the run's checkpoints"
            )
        found |= {each.resolve(): each for each in here}
        models |= {each.parent.resolve(): each.parent for each in converted}
    if not found:
        raise HaigoError(
            f"{paths[0]} holds converted models and no result.json.",
            "score them with eval_harness.run (docs/guide-eval.md)",
        )
    return list(found.values()), list(models.values())


def _point(path: Path, tokens: float | None) -> Milestone:
    content = files.read_json(path)
    if not isinstance(content, dict) or not {"results", "haigo", "config"} <= set(content):
        raise HaigoError(f"{path} is not a result of eval_harness.run.", "name its result.json")
    row = rows.ours(path, content)
    told: dict[str, Any] = {"step": None, "tokens": round(tokens)} if tokens is not None else _told(path, content, row)
    counts = {
        column: count
        for column, cell in row.cells.items()
        if isinstance(count := content["haigo"]["tasks"].get(cell.task, {}).get("n"), int) and 0 < count <= cli.MOST
    }
    if not 0 <= told["tokens"] <= cli.MOST:
        raise HaigoError(f"{path} would be at {told['tokens']:.3g} tokens.", "score the model again")
    return Milestone(path=path, row=row, counts=counts, **told)


def _told(path: Path, content: dict[str, Any], row: Row) -> dict[str, Any]:
    model = content["haigo"].get("model")
    told = model.get("training") if isinstance(model, dict) else None
    if told is not None:
        if bad := shapes.unlike(told, _TRAINING, "haigo.model.training"):
            raise HaigoError(f"{path} is a damaged result: {bad.rstrip('.')}.", "score the model again")
        return dict(told)
    if not (Path(row.name) / CONVERSION).is_file():
        raise HaigoError(
            f"{path} does not say at how many tokens its model is, and {row.name} holds no {CONVERSION}.",
            "give --tokens, one number a result, in their order",
            option="tokens",
        )
    return training(Path(row.name))


def _check_alike(points: Sequence[Milestone]) -> None:
    """A curve of figures that were scored in different ways would show the difference of the ways."""
    first: dict[str, Milestone] = {}
    for point in points:
        for column, cell in point.row.cells.items():
            other = first.setdefault(column, point)
            for what, one, two in zip(
                ("task", "shots", "documents", "data"), _how(other, column), _how(point, column), strict=True
            ):
                if one != two:
                    raise HaigoError(
                        f"{cell.task}: {what} are {one} in {other.path} and {two} in {point.path}.",
                        "score all checkpoints of a run alike",
                    )


def _how(point: Milestone, column: str) -> tuple[str, int | None, int | None, str | None]:
    cell = point.row.cells[column]
    return cell.task, cell.shots, point.counts.get(column), point.row.data.get(column)


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """Of 95 %, in percent."""

    low: float
    high: float
    how: str


def interval(point: Milestone, column: str) -> Interval | None:
    """How sure a figure is: Wilson's interval (1927) by the number of documents where an answer is right or wrong, else
    from resamples of the samples, else from the standard error; None where there is none of these."""
    cell, metric, count = point.row.cells[column], point.row.metrics.get(column), point.counts.get(column)
    if metric in _RIGHT_OR_WRONG and count:
        return Interval(**_wilson(cell, count), how="Wilson")
    if metric is not None and point.row.folder and point.row.has_samples(column):
        path = point.row.folder / samples_name(cell.task)
        if path.is_file() and (values := list(significance.figures(path, metric).values())):
            return _resampled(cell, np.array(values))
    if cell.error is None:
        return None
    return Interval(low=cell.percent - _Z * cell.error, high=cell.percent + _Z * cell.error, how="standard error")


def _wilson(cell: Cell, count: int) -> dict[str, float]:
    share, z = min(max(cell.percent / 100, 0.0), 1.0), _Z**2 / count
    middle, half = (share + z / 2) / (1 + z), math.sqrt(z * share * (1 - share) + z**2 / 4) / (1 + z)
    return {"low": 100 * max(middle - half, 0.0), "high": 100 * min(middle + half, 1.0)}


def _resampled(cell: Cell, values: np.ndarray) -> Interval:
    """Around the figure as it is reported, which need not be the plain mean of the samples."""
    generator = np.random.default_rng(1234)
    means = np.array([values[generator.integers(len(values), size=len(values))].mean() for _ in range(_DRAWS)])
    scale = cell.percent / values.mean() if values.mean() else 1.0
    low, high = np.quantile(means, (0.025, 0.975)) * scale
    return Interval(low=float(min(low, cell.percent)), high=float(max(high, cell.percent)), how="bootstrap")


def missing(run: Run) -> Iterator[str]:
    """Sentences on what a curve lacks."""
    for model, step, tokens in run.unscored:
        yield f"{model} (step {step:,}, {tokens:,} tokens) is not scored"
    for point in run.points:
        if lacking := [column for column in run.columns if column not in point.row.cells]:
            yield f"{point.path} has no figure of {', '.join(lacking)}"
        if point.row.hidden:
            yield f"{point.path}: {', '.join(point.row.hidden)} not shown (a data set has one curve, of its first task)"
