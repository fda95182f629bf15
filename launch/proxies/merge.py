"""Joins the tables of several machines by run, and refuses what cannot be compared.

Every folder is one of `launch.proxies` (metrics.csv and swarm.json suffice; the runs themselves may stay where they are).
Two folders belong together when everything their runs share is the same: base config, engine, tokenizer, data, budget,
evaluation, seeds. A run that several folders have must be the same run with the same numbers, and is kept once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from haigo import files
from haigo.cli import HaigoError, Refused
from haigo.formats.csvfile import write_rows
from launch.engine import checkpoint
from launch.proxies import metrics
from launch.proxies.metrics import Table
from launch.proxies.scores import both
from launch.proxies.table import write_ratios
from mixer.replicates import split

_SAME = 1e-5
"""Relative difference of two losses that is put down to other processors, which round otherwise."""
_NOT_COMPARED = ("run", "seconds")


@dataclass
class Merged:
    """What came of it."""

    metrics: Path
    runs: int
    twice: list[str] = field(default_factory=list)
    """Runs that several folders had, the same in all of them."""
    missing: list[str] = field(default_factory=list)
    """Runs of the tables that no folder has."""
    noise: dict[str, Any] | None = None


def merge(folders: Sequence[str | Path], output_dir: str | Path) -> Merged:
    """Write metrics.csv, ratios.csv, swarm.json and (with replicates) noise.json of all runs to `output_dir`.

    Raises:
        HaigoError: a folder that is none of launch.proxies.
        Refused: folders whose runs differ in more than the mixture (what differs is named), or one run with two results.
    """
    given = [Path(folder) for folder in folders]
    out = Path(output_dir)
    for number, folder in enumerate(given):
        if folder.resolve() == out.resolve():
            raise HaigoError(f"{folder} is both merged and written.", "name another --output-dir")
        if any(folder.resolve() == other.resolve() for other in given[:number]):
            raise HaigoError(f"--merge names {folder} twice.", "name it once")
    tables = [metrics.read(folder) for folder in given]
    for table in tables:
        metrics.check_own(table)
    first = tables[0]
    for other in tables[1:]:
        _check_common(first, other)
    header = first.header
    runs: dict[str, dict[str, Any]] = {}
    rows: dict[str, dict[str, str]] = {}
    owner: dict[str, Table] = {}
    scores: dict[str, dict[str, Any]] = {}
    merged = Merged(out / "metrics.csv", 0)
    for table in tables:
        for name, run in table.runs.items():
            if name in runs:
                _check_run(name, runs[name], run, owner[name], table)
            else:
                runs[name], owner[name] = run, table
        for name, cells in table.rows.items():
            if name in rows:
                _check_cells(name, rows[name], cells, owner[name], table)
                merged.twice.append(name)
            else:
                rows[name], owner[name] = cells, table
        scores = both(scores, table.scores)
    for table in tables:
        if table.rows and set(table.header) != set(header):
            if not first.rows:  # nothing finished there yet: it has no columns
                header = table.header
                continue
            odd = sorted(set(table.header) ^ set(header))
            raise Refused(
                f"{table.folder / 'metrics.csv'} and {first.folder / 'metrics.csv'} differ in the column '{odd[0]}'.",
                "run the command of the one that lacks it once more",
            )
    ordered = {name: rows[name] for name in runs if name in rows}
    merged.missing = [name for name in runs if name not in rows]
    merged.runs = len(ordered)
    if not ordered:
        raise HaigoError("none of the folders has a finished run.", "train some first")
    mixtures: dict[str, dict[str, float]] = {}
    for name, run in runs.items():  # replicates have no row of their own
        mixtures.setdefault(split(name)[0], run["weights"])
    with files.owner(out):
        metrics.write_facts(out, first.common, runs, scores)  # first: it says whose the table is
        write_rows(out / "metrics.csv", header, ordered)
        write_ratios(out / "ratios.csv", mixtures)  # mixer.search wants it beside metrics.csv
        merged.noise = metrics.write_noise(out, ordered, metrics.read(out).metrics)
    return merged


def _check_common(one: Table, other: Table) -> None:
    if differences := checkpoint.differences(one.common, other.common, " / "):
        raise Refused(
            f"the runs of {one.folder} and {other.folder} cannot be compared: they differ in {differences}.",
            "train them alike, or merge only folders that were",
        )


def _check_run(name: str, one: Mapping[str, Any], other: Mapping[str, Any], first: Table, second: Table) -> None:
    corpora = {*one["weights"], *other["weights"]}
    for corpus in sorted(corpora):
        weights = [float(run["weights"].get(corpus, 0.0)) for run in (one, other)]
        if not math.isclose(*weights, abs_tol=1e-9):
            raise Refused(
                f"{first.folder} and {second.folder} have different mixtures under the name '{name}': "
                f"{corpus} is {weights[0]:g} and {weights[1]:g}.",
                "rename the run in one of the tables, and run its command once more",
            )
    if one["seed"] != other["seed"]:
        raise Refused(
            f"'{name}' has the seed {one['seed']} in {first.folder} and {other['seed']} in {second.folder}.",
            "train them with the same --seed and --seeds",
        )


def _check_cells(name: str, one: Mapping[str, str], other: Mapping[str, str], first: Table, second: Table) -> None:
    for column in [column for column in one if column not in _NOT_COMPARED]:
        cells = one[column], other.get(column, "")
        if not _same(*cells):
            raise Refused(
                f"'{name}' has two results: {column} is {cells[0] or 'empty'} in {first.folder} and "
                f"{cells[1] or 'empty'} in {second.folder}.",
                f"delete runs/{name} in the folder that is wrong, and run its command once more",
            )


def _same(one: str, other: str) -> bool:
    if one == other:
        return True
    try:
        return math.isclose(float(one), float(other), rel_tol=_SAME, abs_tol=2e-6)
    except ValueError:
        return False
