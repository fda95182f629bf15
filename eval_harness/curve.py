"""Scores over training: curves with intervals against tokens, from the results of a run's converted checkpoints.

    python -m eval_harness.curve scores/a --output-dir curves
    python -m eval_harness.curve scores/a models/a --against scores/b --output-dir curves

Scores nothing itself: `eval_harness.run` writes one result.json for every converted checkpoint, and folders are searched for
them. Step and tokens stand in the result, or in the model's `conversion.json`. Converted models in the folders that have no
result are named. Prints a table; --output-dir also gets curve.svg, curve.png and curve.csv. Intervals are of 95 %: Wilson's by
the number of documents, or from resamples of the samples. --against draws a second run beside the first and tests, at every
number of tokens that both have, whether it is better on the same documents (needs --log_samples).
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from eval_harness import leaderboard, milestones
from eval_harness.milestones import Run
from eval_harness.options import CurveOptions
from eval_harness.significance import Difference
from haigo import cli, figures, files, flags
from haigo.shown import line

NAMES = ("curve.svg", "curve.png", "curve.csv")
_HEADER = ("run", "step", "tokens", "task", "shots", "documents", "percent", "low", "high", "interval",
           "difference", "p", "test", "result")  # fmt: skip

Tests = dict[tuple[int, str], Difference | str]
"""(tokens, column) -> the second run against the first, or why there is no test."""


def tests(first: Run, other: Run) -> Tests:
    """Paired tests at every number of tokens that both runs have."""
    there = {point.tokens: point.row for point in first.points}
    return {
        (point.tokens, column): leaderboard.tested(there[point.tokens], point.row, column)
        for point in other.points
        if point.tokens in there
        for column in there[point.tokens].cells
        if column in point.row.cells
    }


def table(runs: Sequence[Run], found: Tests) -> str:
    """For a terminal: a line for every result, then the tests."""
    columns = list(dict.fromkeys(column for run in runs for column in run.columns))
    rows = [["run", "step", "tokens", *columns]]
    for run in runs:
        for point in run.points:
            cells = []
            for column in columns:
                cell = point.row.cells.get(column)
                sure = milestones.interval(point, column) if cell else None
                cells.append(
                    "-"
                    if cell is None
                    else f"{cell.percent:.2f}" + (f" [{sure.low:.2f}, {sure.high:.2f}]" if sure else "")
                )
            rows.append([run.name, "-" if point.step is None else f"{point.step:,}", f"{point.tokens:,}", *cells])
    base = _baselines(runs, columns)
    rows += (
        [["chance", "", "", *(f"{base[column]:.2f}" if column in base else "-" for column in columns)]] if base else []
    )
    widths = [max(len(line(row[at])) for row in rows) for at in range(len(rows[0]))]
    lines = [
        "  ".join(line(text).ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    return "\n".join([*lines, "Percent, with intervals of 95 %.", *_sentences(runs, found)])


def _sentences(runs: Sequence[Run], found: Tests) -> Iterator[str]:
    if len(runs) == 1:
        return
    first, other = (run.name for run in runs)
    for (tokens, column), gap in found.items():
        yield f"{line(other)} against {line(first)} at {tokens:,} tokens on {line(column)}: {line(gap)}"
    counted = sum(isinstance(gap, Difference) for gap in found.values())
    if counted > 1:
        yield f"{counted} tests: one that stands among so many has p below {0.05 / counted:.2g} (Bonferroni)."
    if not found:
        yield f"no test: {line(first)} and {line(other)} have no result of the same task at the same tokens"


def _baselines(runs: Sequence[Run], columns: Sequence[str]) -> dict[str, float]:
    """Column -> chance, in percent."""
    rows = [point.row for run in runs for point in run.points]
    known = {column: [row.baselines.get(column, {}).get("chance") for row in rows] for column in columns}
    return {column: 100 * share for column in columns for share in known[column][:1] if share is not None}


def write(folder: Path, runs: Sequence[Run], found: Tests) -> None:
    """Write curve.svg, curve.png and curve.csv."""
    columns = list(dict.fromkeys(column for run in runs for column in run.columns))
    panels: dict[str, dict[str, list[tuple[float, float, float, float]]]] = {column: {} for column in columns}
    with files.create(folder / "curve.csv", "w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(_HEADER)
        for number, run in enumerate(runs):
            for point in run.points:
                for column, cell in point.row.cells.items():
                    sure = milestones.interval(point, column)
                    low, high = (sure.low, sure.high) if sure else (cell.percent, cell.percent)
                    panels[column].setdefault(run.name, []).append((point.tokens, cell.percent, low, high))
                    gap = found.get((point.tokens, column)) if number else None
                    tested = (gap.points, gap.p, gap.test) if isinstance(gap, Difference) else ("", "", gap or "")
                    known = (sure.low, sure.high, sure.how) if sure else ("", "", "")
                    count = point.counts.get(column, "")
                    writer.writerow(
                        [
                            run.name,
                            point.step,
                            point.tokens,
                            cell.task,
                            cell.shots,
                            count,
                            cell.percent,
                            *known,
                            *tested,
                            point.path,
                        ]
                    )
    figures.write(folder, "curve", partial(figures.scores, panels, _baselines(runs, columns)))


def _named_apart(runs: list[Run], paths: Sequence[Sequence[Path]]) -> list[Run]:
    """Two runs of one name are called after what was named of them."""
    if len({run.name for run in runs}) == len(runs):
        return runs
    names = [str(each[0]) for each in paths]
    names = names if names[0] != names[1] else ["first", "second"]
    return [Run(name=name, points=run.points, unscored=run.unscored) for name, run in zip(names, runs, strict=True)]


def main(argv: Sequence[str] | None = None) -> int | None:
    """The command."""
    given = flags.parse("eval_harness.curve", __doc__, CurveOptions, argv)
    if given.output_dir:
        files.check_output(given.output_dir, [str(path) for path in (*given.results, *given.against)], names=NAMES)
    paths = [given.results, *([given.against] if given.against else [])]
    runs = [milestones.read(given.results, given.tokens)]
    runs += [milestones.read(given.against, given.against_tokens)] if given.against else []
    runs = _named_apart(runs, paths)
    for run in runs:
        for sentence in milestones.missing(run):
            print(f"haigo: {sentence}.", file=sys.stderr)
    found = tests(*runs) if len(runs) == 2 else {}
    if given.output_dir:
        write(given.output_dir, runs, found)
    print(table(runs, found))
    return None


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
