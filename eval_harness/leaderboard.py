"""Our scores and the published ones in one table, with a mark on every figure that may not be compared, and why.

    python -m eval_harness.leaderboard RESULT.json... [--all] [--sort COLUMN] [--markdown FILE] [--html FILE]

Results of jp-stable, of lm-eval itself (0.4) and of llm-jp-eval are read too. The published rows are those of Stability AI's
Japanese leaderboard (lm-evaluation-harness, branch jp-stable, 2023-11-21), and those of a paper that ran it later (Rakuten,
2024-03-21): `published.csv` beside this file, with the task versions, shots and model arguments of each. Figures are percent
with their standard errors; the first result file given is what the others are compared with. Under the table stands what
answering without reading gives (the commonest answer, chance) and, for every further result file, a paired test against the
first.
"""

from __future__ import annotations

import csv
import dataclasses
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eval_harness import others, significance
from eval_harness.options import TableOptions
from eval_harness.rows import Cell, Row
from eval_harness.table import Table
from eval_harness.tasks import TASKS, canonical, rules_of
from haigo import cli, files, flags
from haigo.cli import HaigoError, nearest

__all__ = ["Cell", "Row", "compare", "differences", "main", "ours", "published"]

PUBLISHED = Path(__file__).with_name("published.csv")
_COLUMNS = tuple(task.dataset for task in TASKS if task.on_leaderboard)


def ours(path: Path) -> Row:
    """A result.json that `eval_harness.run` wrote, or a result file of jp-stable, lm-eval or llm-jp-eval.

    Raises:
        HaigoError: not such a file.
    """
    return others.read(path)


def published(every: bool = False) -> list[Row]:
    """The published rows: those of the leaderboard's README and later ones of papers, which the harness made as well.

    Args:
        every: also those that exist only as result files of the harness.
    """
    found = []
    with open(PUBLISHED, encoding="utf-8", newline="") as handle:
        for line in csv.DictReader(handle):
            if line["source"] == "result.json only" and not every:
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
            program = "" if line["source"] in ("README", "result.json only") else line["source"]
            found.append(Row(name=line["hf_id"] or line["model"], ours=False, program=program, cells=cells))
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
    notes = others.precision_notes(line["harness_model_type"], line["model_args"])
    if line["source"].startswith("arXiv:"):
        notes = [f"published by its authors ({line['source']}), who do not say the precision"]
    return (*notes, *rules_of(column).published_notes(line))


def compare(results: Sequence[Row], others: Sequence[Row], sort: str | None = None) -> Table:
    """The table of the columns that `results` have; marks are relative to the first result with that column.

    Args:
        sort: a column, `average` or `name`: all rows in its order. Without it the results come first, as they are given.

    Raises:
        HaigoError: no column at all, or none of that name to sort by.
    """
    results = _aligned(results)
    columns = [column for column in _COLUMNS if any(column in row.cells for row in results)]
    whole = len(columns) == len(_COLUMNS)
    # tasks that the leaderboard does not have stand last; no published row has a figure there
    columns += list(dict.fromkeys(column for row in results for column in row.cells if column not in _COLUMNS))
    if not columns:
        raise HaigoError("none of the results has a score of the leaderboard's tasks.", "score one of `--list`")
    others = [row for row in others if any(column in row.cells for column in columns)]
    table = Table(columns=[*columns, "average"] if whole else columns, rows=[])
    for row in _ranked(results, others, columns, sort, whole):
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
            mean = _average(row)
            texts.append("-" if mean is None else f"{mean:.2f}")
        table.rows.append((row.title, texts))
    for title, word in (("always the commonest answer", "majority"), ("chance", "chance")):
        shares = [next((r.baselines[c].get(word) for r in results if c in r.baselines), None) for c in columns]
        if any(share is not None for share in shares):
            texts = ["-" if share is None else f"{100 * share:.2f}" for share in shares]
            table.rows.append((title, texts + ["-"] * whole))
    table.tests = _tests(results, columns)
    return table


def _aligned(results: Sequence[Row]) -> list[Row]:
    """The rows with llm-jp-eval's own figures in the columns of ours by its rules, where there are any."""
    ours = {(column.partition(" ")[0], cell.rules): column for row in results for column, cell in row.cells.items()
            if cell.rules.endswith(f", {column.partition(' ')[2]} of a generated answer")}  # fmt: skip
    return [
        dataclasses.replace(row, cells={ours.get((c, cell.rules), c): cell for c, cell in row.cells.items()})
        for row in results
    ]


def _average(row: Row) -> float | None:
    """The mean of the leaderboard's eight figures, where all of them are there by one set of rules."""
    cells = [row.cells[column] for column in _COLUMNS if column in row.cells]
    if len(cells) < len(_COLUMNS) or len({cell.rules.split("'s own")[0] for cell in cells}) > 1:
        return None
    return sum(cell.percent for cell in cells) / len(cells)


def _ranked(
    results: Sequence[Row], others: Sequence[Row], columns: Sequence[str], sort: str | None, whole: bool
) -> list[Row]:
    """All rows in the order that is asked for; what has no figure there stands last."""

    def figure(row: Row, column: str) -> float:
        mean = _average(row) if column == "average" else None
        shown = row.cells[column].percent if column in row.cells else mean
        return 1.0 if shown is None else -shown

    if sort is None:
        return [*results, *sorted(others, key=lambda row: figure(row, columns[0]))]
    known = [*columns, *(["average"] if whole else []), "name"]
    if sort not in known:
        raise HaigoError(
            f"--sort {sort}: there is no such column.{nearest(sort, known)}", f"use {', '.join(known)}", option="sort"
        )
    rows = [*results, *others]
    return (
        sorted(rows, key=lambda row: row.name.lower())
        if sort == "name"
        else sorted(rows, key=lambda r: figure(r, sort))
    )


def _tests(results: Sequence[Row], columns: Sequence[str]) -> list[str]:
    """A sentence for every column that the first result and another have with the same task and documents."""
    found, first = [], results[0]
    for row in results:
        found += [f"{row.name} has no figure of {task}" for task in row.failed]
        if row.hidden:
            found.append(
                f"not shown of {row.name}: {', '.join(row.hidden)} (a data set has one column, of its first task)"
            )
    for other in results[1:]:
        for column in columns:
            one, two = first.cells.get(column), other.cells.get(column)
            if not (one and two and first.folder and other.folder):
                continue
            if any(row.cells[column].rules and column not in row.metrics for row in (first, other)):
                continue
            found.append(f"{other.name} against {first.name} on {one.task}: {tested(first, other, column)}")
    return found


def tested(first: Row, other: Row, column: str) -> significance.Difference | str:
    """The paired test of two results of `eval_harness.run` on one data set, which both have; or why there is none."""
    one, two = first.cells[column], other.cells[column]
    if one.task != two.task or one.shots != two.shots:
        return f"no test, the other ran {two.task} with {two.shots} shots"
    if first.data.get(column) != other.data.get(column):
        return f"no test, the data are {first.data.get(column)} and {other.data.get(column)}"
    gap, metric = None, first.metrics.get(column)
    sampled = first.has_samples(column) and other.has_samples(column)
    if metric and first.folder and other.folder and sampled:
        gap = significance.between(first.folder, other.folder, one.task, metric)
    return gap or "no test, the samples are missing, of another run, or of other documents (--log_samples)"


def differences(cell: Cell, reference: Cell) -> list[str]:
    """Sentences on why `cell` may not be compared with `reference`."""
    found = list(cell.notes)
    if cell.rules != reference.rules:
        return list(dict.fromkeys([*found, f"by {_rules(cell)}, not {_rules(reference)}"]))
    if cell.rules:
        different = [] if cell.task == reference.task else [f"{cell.task}, not {reference.task}"]
        return list(dict.fromkeys([*found, *different, *_other_shots(cell, reference)]))
    (name, version, prompt), (_, wanted, own) = _parts(cell.task), _parts(reference.task)
    if not version:
        found.append("the task's version and prompt are not recorded")
    elif not wanted:
        found.append("the first row's version and prompt are not recorded")
    elif version != wanted:
        found.append(f"{name} {version}, not {wanted}")
    if prompt == "?":
        found.append("the prompt is not recorded")
    elif version and own and prompt != own:  # one mark a prompt, not one a task and prompt
        found.append(f"prompt {prompt}, another than in the first row")
    return list(dict.fromkeys([*found, *_other_shots(cell, reference)]))


def _other_shots(cell: Cell, reference: Cell) -> list[str]:
    if cell.shots is None:
        return ["the number of shots is not recorded"]
    if reference.shots is None:
        return ["the first row's number of shots is not recorded"]
    return [] if cell.shots == reference.shots else [f"{cell.shots} shots, not {reference.shots}"]


def _rules(cell: Cell) -> str:
    """Whose prompts, draws and tokens gave a figure."""
    return cell.rules or "the leaderboard's rules"


def _parts(task: str) -> tuple[str, str, str]:
    """Data set, version and prompt of a task id; an old row has names alone."""
    name, version, prompt = [*task.split("-", 2), "", ""][:3]
    return name, version, prompt


def main(argv: Sequence[str] | None = None) -> int | None:
    """The command."""
    given = flags.parse("eval_harness.leaderboard", __doc__, TableOptions, argv)
    for output in filter(None, (given.markdown, given.html)):
        files.check_output(output, given.results)
    table = compare([ours(path) for path in given.results], published(given.all), given.sort)
    if given.markdown:
        files.write_text(given.markdown, table.markdown())
    if given.html:
        files.write_text(given.html, table.html(given.language))
    if not (given.markdown or given.html):
        print(table.text(shutil.get_terminal_size().columns if sys.stdout.isatty() else None))
    return None


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
