"""The files that a swarm leaves beside its runs: metrics.csv, swarm.json (what all runs share) and noise.json.

metrics.csv is for the mixer, swarm.json for joining the tables of several machines: it holds everything that two runs
must have in common to be compared, under names that a user knows, and every run's weights and seed.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from haigo import __version__, files, sealed
from haigo.cli import HaigoError, Refused
from haigo.formats import csvfile, tables
from launch.engine import checkpoint
from mixer import replicates

ABOUT = ("size", "tokens", "seed", "seconds", "epochs_matched", "schedule_tokens")
"""Columns of metrics.csv that are no metrics, in their order; the last two only where they say something."""


@dataclass
class Table:
    """metrics.csv and swarm.json of one folder."""

    folder: Path
    header: list[str]
    rows: dict[str, dict[str, str]]
    """run -> column -> cell, as the file has them."""
    common: dict[str, Any]
    runs: dict[str, dict[str, Any]]
    """run -> {"weights", "seed"}, also of those that are not trained yet; in the order of the table."""
    scores: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Column of a task's score -> {"items", "chance"}."""

    @property
    def metrics(self) -> list[str]:
        return [name for name in self.header if name != "run" and name not in ABOUT]


def require_place(folder: Path, kind: str) -> None:
    """See that metrics.csv of `folder` would not replace another kind of table that took its time.

    Args:
        kind: "screen", "merged" (`launch.proxies --merge`) or "swarm", which goes on in a merged table's folder, too.

    Raises:
        Refused: another kind is there.
    """
    if (folder / "runs").is_dir():
        there, what = "swarm", "the proxies of a swarm"
    elif (folder / "swarm.json").exists():
        there, what = "merged", "a merged table of proxies"
    elif (folder / "metrics.csv").exists():
        there, what = "screen", "a screen or another table"
    else:
        return
    if kind != there and (kind, there) != ("swarm", "merged"):
        raise Refused(f"{folder} holds {what}, and its metrics.csv would be replaced.", "name another --output-dir")


def write(folder: Path, results: Mapping[str, Mapping[str, Any]], order: Sequence[str]) -> None:
    """Write metrics.csv: one row a finished run of `order`, one column a metric."""
    header, rows = table_of(results, order)
    csvfile.write_rows(folder / "metrics.csv", header, rows)


def table_of(
    results: Mapping[str, Mapping[str, Any]], order: Sequence[str]
) -> tuple[list[str], dict[str, dict[str, str]]]:
    """Header and rows (run -> column -> cell) of metrics.csv from the runs' results."""
    rows = [(name, results[name]) for name in order if name in results]
    metrics = list(dict.fromkeys(metric for _, result in rows for metric in _values(result)))
    about = [column for column in ABOUT if column in ABOUT[:4] or any(result.get(column) for _, result in rows)]
    cells_by_run = {}
    for name, result in rows:
        values = _values(result)
        cells = {metric: f"{values[metric]:.6f}" if metric in values else "" for metric in metrics}
        cells |= {column: str(result.get(column, "")) for column in about if column != "epochs_matched"}
        if "epochs_matched" in about:
            target = (result.get("epochs_matched") or {}).get("target_tokens")
            cells["epochs_matched"] = "" if target is None else f"{target:g}"
        cells_by_run[name] = cells
    return ["run", *metrics, *about], cells_by_run


def own_results(folder: Path, names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Run -> its own result.json with the scores of its tasks, for those runs in the folder that are as they were left."""
    results = {}
    for name in names:
        place = folder / "runs" / name
        result = checkpoint.finished(place)
        if result is not None:
            scored = place / "scores.json"
            more = {"scores": sealed.read(scored)[0]["metrics"]} if scored.is_file() else {}
            results[name] = {**result, **more}
    return results


def rebuild(folder: Path) -> None:
    """Write metrics.csv of a swarm anew from the runs' own results, where it does not say what they say."""
    known = read(folder)
    header, rows = table_of(own_results(folder, known.runs), list(known.runs))
    if (known.header, known.rows) != (header, rows):
        print(
            f"haigo: {folder / 'metrics.csv'} did not say what its runs' results say: it is written anew.",
            file=sys.stderr,
        )
        csvfile.write_rows(folder / "metrics.csv", header, rows)


def check_own(table: Table) -> None:
    """See that the rows of a table are what those of its runs that lie beside it say.

    Raises:
        Refused: one is not, or the mixture that is noted of a run is not the one that it was trained on.
    """
    again = "run launch.proxies with its own options there once more: metrics.csv is then written anew from the runs' results"
    own = own_results(table.folder, table.rows)
    _, rows = table_of(own, list(own))
    for name, cells in rows.items():
        for column, cell in cells.items():
            if table.rows[name].get(column) != cell:
                raise Refused(
                    f"{table.folder / 'metrics.csv'} says {column} {table.rows[name].get(column) or 'nothing'} of '{name}', "
                    f"and the run's own result says {cell or 'nothing'}.",
                    again,
                )
        weights = checkpoint.read(table.folder / "runs" / name / checkpoint.IDENTITY)["identity"].get(
            "train_data_weights"
        )
        if weights is not None and weights != [each for each in table.runs[name]["weights"].values() if each > 0]:
            raise Refused(
                f"{table.folder / 'swarm.json'} notes another mixture of '{name}' than it was trained on.", again
            )


def _values(result: Mapping[str, Any]) -> dict[str, float]:
    return {**result["metrics"], **result.get("scores", {})}


def write_facts(
    folder: Path, common: Mapping[str, Any], runs: Mapping[str, Mapping[str, Any]], scores: Mapping[str, Any]
) -> None:
    """Write swarm.json."""
    content = {
        "format": tables.SWARM_FORMAT,
        "tool": f"haigo {__version__}",
        "common": common,
        "runs": runs,
        "scores": scores,
    }
    files.write_json(folder / "swarm.json", content)


def read(folder: Path) -> Table:
    """Read one folder of `launch.proxies`.

    Raises:
        HaigoError: not such a folder, or files that do not belong together.
    """
    again = "run launch.proxies with its own options there once more: finished proxies are kept"
    if not folder.is_dir():
        raise HaigoError(f"{folder} is not a folder.", "name the --output-dir of a swarm", option="output_dir")
    path = folder / "metrics.csv"
    if not path.is_file():
        raise HaigoError(f"{folder} has no metrics.csv.", "name the --output-dir of a swarm", option="output_dir")
    content = tables.read_swarm(folder)
    try:
        (_, header), lines = csvfile.rows(path)
    except HaigoError as error:
        raise HaigoError(error.problem, again) from None
    if header[:1] != ["run"] or len(set(header)) != len(header) or any(len(row) != len(header) for _, row in lines):
        raise HaigoError(f"{path} is not a table that launch.proxies wrote.", again)
    rows = {row[0]: dict(zip(header[1:], row[1:], strict=True)) for _, row in lines}
    if len(rows) != len(lines):
        raise HaigoError(f"{path} has a run twice.", again)
    for name in rows:
        if name not in content["runs"]:
            raise HaigoError(f"{path} has the run '{name}', and swarm.json does not.", again)
    return Table(folder, header, rows, content["common"], content["runs"], content.get("scores", {}))


def write_noise(folder: Path, rows: Mapping[str, Mapping[str, str]], metrics: Sequence[str]) -> dict[str, Any] | None:
    """Write noise.json, what replicates say of the noise of a run; without replicates there is none (None)."""
    import numpy as np

    names = list(rows)
    path = folder / "noise.json"
    complete = [name for name in metrics if all(rows[run].get(name) for run in names)]
    values = np.array([[float(rows[run][name]) for name in complete] for run in names]).reshape(
        len(names), len(complete)
    )
    noise = replicates.noise(names, [rows[run].get("seed", "") for run in names], values)
    if noise is None or not complete:
        files.remove(path)
        return None
    content = {**noise.as_dict(complete), "spread": replicates.spread(names, values, complete)}
    files.write_json(path, content)
    return content
