"""Our scores and the published ones in one table, with a mark on every figure that may not be compared, and why.

    python -m eval_harness.leaderboard RESULT.json... [--all] [--markdown FILE] [--html FILE]

The published rows are those of Stability AI's Japanese leaderboard (lm-evaluation-harness, branch jp-stable, 2023-11-21):
`published.csv` beside this file, with the task versions, shots and model arguments of each. Figures are percent with
their standard errors; the first result file given is what the others are compared with. Under the table stands what answering
without reading gives (the commonest answer, chance) and, for every further result file, a paired test against the first.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eval_harness import significance
from eval_harness.options import TableOptions
from eval_harness.result import samples_name
from eval_harness.table import Table
from eval_harness.tasks import TASKS, canonical, rules_of
from haigo import cli, digests, files, flags, shapes
from haigo.cli import HaigoError

PUBLISHED = Path(__file__).with_name("published.csv")
_COLUMNS = tuple(task.dataset for task in TASKS if task.on_leaderboard)


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """One figure."""

    percent: float
    error: float | None
    task: str
    shots: int | None
    notes: tuple[str, ...]
    """Why it may not be compared, apart from how it differs from the row it is compared with."""


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
    folder: Path | None = None
    hidden: tuple[str, ...] = ()
    """Tasks of the result that have no cell."""
    data: dict[str, str] = field(default_factory=dict)
    """Column -> what the data are."""
    metrics: dict[str, str] = field(default_factory=dict)
    """Column -> name of the main metric in the samples."""
    baselines: dict[str, dict[str, float]] = field(default_factory=dict)
    """Column -> what answering without reading gives, between 0 and 1."""
    samples: dict[str, str | None] = field(default_factory=dict)
    """Column -> digest of its samples, None where none were written; an earlier version noted nothing."""

    def has_samples(self, column: str) -> bool:
        """Whether the samples beside the result, if any, are its own, as far as that is known."""
        path = (self.folder or Path()) / samples_name(self.cells[column].task)
        stated = self.samples.get(column, "")
        return stated == "" or (stated is not None and path.is_file() and digests.sha256(path) == stated)


def ours(path: Path) -> Row:
    """A result.json that `eval_harness.run` wrote.

    Raises:
        HaigoError: not such a file.
    """
    content = files.read_json(path)
    if not isinstance(content, dict) or not {"results", "haigo", "config"} <= set(content):
        raise HaigoError(f"{path} is not a result of eval_harness.run.", "name its result.json")
    bad = shapes.unlike(content, _SHAPE, "")
    try:
        if bad is None:
            return _read(path, content)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        bad = f"{type(error).__name__} {error}"
    raise HaigoError(f"{path} is a damaged result: {bad.rstrip('.')}.", "score the model again")


def _read(path: Path, content: dict[str, Any]) -> Row:
    cells, names, base, kinds, hidden = {}, {}, {}, {}, []
    samples: dict[str, str | None] = {}
    for task, figures in content["results"].items():
        about = content["haigo"]["tasks"][task]
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
            notes=tuple(about["not_comparable"]),
        )
        kinds[column] = about["data"]
        samples |= {column: about["samples_sha256"]} if "samples_sha256" in about else {}
        names[column], base[column] = metric, {k: v for k, v in about["baseline"].items() if v is not None}
    words = dict(part.split("=", 1) for part in content["config"]["model_args"].split(",") if "=" in part)
    name = content["haigo"].get("model", {}).get("pretrained") or words.get("pretrained", path.parent.name)
    return Row(
        name=str(name),
        ours=True,
        cells=cells,
        folder=path.parent,
        data=kinds,
        hidden=tuple(hidden),
        metrics=names,
        baselines=base,
        samples=samples,
    )


def published(every: bool = False) -> list[Row]:
    """The published rows; `every` adds those that exist only as result files of the harness, not in its README."""
    found = []
    with open(PUBLISHED, encoding="utf-8", newline="") as handle:
        for line in csv.DictReader(handle):
            if line["source"] != "README" and not every:
                continue
            pairs = zip(line["task_versions"].split(), line["num_fewshot"].split(), strict=True)
            asked = {task.partition("-")[0]: (task, shots) for task, shots in pairs}
            cells = {}
            for column in _COLUMNS:
                if line[column] in ("", "-"):
                    continue
                task, shots = asked[column]
                cells[column] = Cell(
                    percent=float(line[column]),
                    error=_published_error(column, float(line[column])),
                    task=canonical(task),  # two figures of one row are of a task without a version
                    shots=_published_shots(column, shots),
                    notes=_published_notes(column, line),
                )
            found.append(Row(name=line["hf_id"] or line["model"], ours=False, cells=cells))
    return found


def _published_error(column: str, percent: float) -> float | None:
    """The standard error of a share of right answers among the documents of the published rows."""
    count, share = rules_of(column).published_documents, percent / 100
    return None if count is None else 100 * (share * (1 - share) / (count - 1)) ** 0.5


def _published_shots(column: str, word: str) -> int | None:
    if not rules_of(column).has_shots:
        return 0
    return int(word) if word.isdigit() else None


def _published_notes(column: str, line: dict[str, Any]) -> tuple[str, ...]:
    own, notes = rules_of(column).published_notes(line), []
    if line["harness_model_type"] == "hf-causal-experimental":
        notes.append("ran in the checkpoint's precision (hf-causal-experimental)")
    elif "torch_dtype=auto" in line["model_args"]:
        notes.append("ran in the checkpoint's precision (torch_dtype=auto)")
    return (*notes, *own)


def compare(results: Sequence[Row], others: Sequence[Row]) -> Table:
    """The table of the columns that `results` have; marks are relative to the first result with that column."""
    columns = [column for column in _COLUMNS if any(column in row.cells for row in results)]
    whole = len(columns) == len(_COLUMNS)
    # tasks that the leaderboard does not have stand last; no published row has a figure there
    columns += list(dict.fromkeys(column for row in results for column in row.cells if column not in _COLUMNS))
    if not columns:
        raise HaigoError("none of the results has a score of the leaderboard's tasks.", "score one of `--list`")
    others = [row for row in others if any(column in row.cells for column in columns)]
    ranked = sorted(others, key=lambda row: -row.cells[columns[0]].percent if columns[0] in row.cells else 1.0)
    table = Table(columns=[*columns, "average"] if whole else columns, rows=[])
    for row in [*results, *ranked]:
        texts = []
        for column in columns:
            cell = row.cells.get(column)
            if cell is None:
                texts.append("-")
                continue
            first = next(r.cells[column] for r in results if column in r.cells)
            text = f"{cell.percent:.2f}" + ("" if cell.error is None else f" ±{cell.error:.2f}")
            marks = "".join(sorted(table.mark(note) for note in differences(cell, first)))
            texts.append(f"{text} {marks}".strip())
        if whole:
            figures = [row.cells[column].percent for column in _COLUMNS if column in row.cells]
            texts.append(f"{sum(figures) / len(figures):.2f}" if len(figures) == len(_COLUMNS) else "-")
        table.rows.append((f"{row.name}{' (this run)' if row.ours else ''}", texts))
    for title, word in (("always the commonest answer", "majority"), ("chance", "chance")):
        shares = [next((r.baselines[c].get(word) for r in results if c in r.baselines), None) for c in columns]
        if any(share is not None for share in shares):
            texts = ["-" if share is None else f"{100 * share:.2f}" for share in shares]
            table.rows.append((title, texts + ["-"] * whole))
    table.tests = _tests(results, columns)
    return table


def _tests(results: Sequence[Row], columns: Sequence[str]) -> list[str]:
    """A sentence for every column that the first result and another have with the same task and documents."""
    found, first = [], results[0]
    for row in results:
        if row.hidden:
            found.append(
                f"not shown of {row.name}: {', '.join(row.hidden)} (a data set has one column, of its first task)"
            )
    for other in results[1:]:
        for column in columns:
            one, two = first.cells.get(column), other.cells.get(column)
            if not (one and two and first.folder and other.folder):
                continue
            what = f"{other.name} against {first.name} on {one.task}"
            if one.task != two.task or one.shots != two.shots:
                found.append(f"{what}: no test, the other ran {two.task} with {two.shots} shots")
                continue
            if first.data.get(column) != other.data.get(column):
                found.append(f"{what}: no test, the data are {first.data.get(column)} and {other.data.get(column)}")
                continue
            known = first.has_samples(column) and other.has_samples(column)
            gap = known and significance.between(first.folder, other.folder, one.task, first.metrics[column])
            none = "no test, the samples are missing, of another run, or of other documents (--log_samples)"
            found.append(f"{what}: {gap or none}")
    return found


def differences(cell: Cell, reference: Cell) -> list[str]:
    """Sentences on why `cell` may not be compared with `reference`."""
    found = list(cell.notes)
    (name, version, prompt), (_, wanted, own) = _parts(cell.task), _parts(reference.task)
    if not version:
        found.append("the task's version and prompt are not recorded")
    elif version != wanted:
        found.append(f"{name} {version}, not {wanted}")
    if version and prompt != own:  # one mark a prompt, not one a task and prompt
        found.append(f"prompt {prompt}, another than in the first row")
    if cell.shots is None:
        found.append("the number of shots is not recorded")
    elif cell.shots != reference.shots:
        found.append(f"{cell.shots} shots, not {reference.shots}")
    return list(dict.fromkeys(found))


def _parts(task: str) -> tuple[str, str, str]:
    """Data set, version and prompt of a task id; an old row has names alone."""
    name, version, prompt = [*task.split("-", 2), "", ""][:3]
    return name, version, prompt


def main(argv: Sequence[str] | None = None) -> int | None:
    """The command."""
    given = flags.parse("eval_harness.leaderboard", __doc__, TableOptions, argv)
    for output in filter(None, (given.markdown, given.html)):
        files.check_output(output, given.results)
    table = compare([ours(path) for path in given.results], published(given.all))
    if given.markdown:
        files.write_text(given.markdown, table.markdown())
    if given.html:
        files.write_text(given.html, table.html())
    if not (given.markdown or given.html):
        print(table.text())
    return None


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
