"""The tables between design, proxies and search: ratios.csv and metrics.csv, a row a run, and supply.csv, a row a corpus.

ratios.csv has one column a corpus, metrics.csv one a metric; `run` joins them. RegMix's names (`index`, `train_the_pile_*`,
`metric/the_pile_*_val_loss`) and Olmix's (`run`, `name`, `eval/...`) are read too. swarm.json, beside the metrics.csv of
`launch.proxies`, says what each run was trained on.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from haigo import files, naming, shapes
from haigo.cli import HaigoError, nearest

from . import blend, csvfile

Array = npt.NDArray[np.float64]

LARGEST = 1e100
"""Nothing in a table is as large as this; sums of squares of larger numbers overflow."""
RENORMALISE_WITHIN = 0.01
"""Rows of ratios.csv whose sum is off by no more than this are scaled to 1; others are refused."""
ABOUT_A_RUN = (
    "size", "tokens", "seed", "seconds", "bytes", "name", "run_id", "index", "run", "group", "step", "epochs_matched",
    "schedule_tokens", "Name", "_step", "_runtime", "_timestamp", "_wandb",
)  # fmt: skip
"""Columns that are no corpora and no metrics."""
WANDB = ("ID", "State", "Notes", "User", "Tags", "Created", "Updated", "End Time", "Hostname", "Runtime", "Sweep", "Step",
         "Group", "Job Type", "Commit", "GPU Type", "GPU Count", "state", "user", "created_at", "runtime", "sweep", "id",
         "project", "entity")  # fmt: skip
"""Further columns of a metrics table exported from Weights & Biases that are no metrics; its `config.*` are none either."""
SUPPLY = ("corpus", "tokens", "min", "max", "max_epochs", "group")
"""Columns of supply.csv."""

SECOND, SHARE = "@2", "second_phase"
"""Of ratios.csv: the ending of a corpus' weight in the last part of runs that changed their mixture, and that part's share of
the tokens."""

SWARM_FORMAT = 1
_SWARM = {"format": int, "common": {}, "runs": {str: {"weights": {str: float}, "seed": int}}, "scores?": {}}

_RUN_COLUMNS = ("run", "index", "run_id", "name", "Name")
_EXACT = 1e-9
_GROUPED = re.compile(r"\d{1,3}(,\d{3})+")


@dataclass(frozen=True, kw_only=True)
class Ratios:
    """ratios.csv."""

    runs: list[str]
    corpora: list[str]
    written: Array
    """(runs, corpora) weights as the file gives them."""
    weights: Array
    """The same, each row scaled to sum to exactly 1."""
    scaled: list[str]
    """Runs whose sum was off by more than rounding."""
    second: Array | None = None
    """(runs, corpora) of the last part of runs that changed their mixture (columns CORPUS@2), `first` of the part before and
    `share` of the tokens (column second_phase); `weights` are then the means over the tokens."""
    first: Array | None = None
    share: float | None = None


def read_ratios(path: str | os.PathLike[str]) -> Ratios:
    """Read ratios.csv.

    Raises:
        HaigoError: no such table, a corpus whose name cannot be one, a weight that is none, or a row whose sum is more than 1 %
            away from 1; the line or the run is named.
    """
    table = by_run(path)
    corpora = [name for name in table.columns if name not in ABOUT_A_RUN]
    later = [name for name in corpora if name.endswith(SECOND)]
    corpora = [name for name in corpora if name not in (*later, SHARE)]
    if not corpora:
        raise HaigoError(f"{path} has no corpus column.", "it needs `run` and one column a corpus")
    for name in corpora:
        naming.column(name, "corpus", str(path))
    written = numbers(table, path, corpora, "corpus")
    runs = [str(name) for name in table.index]
    weights, scaled = check_weights(written, corpora, runs, str(path))
    if not later:
        return Ratios(runs=runs, corpora=corpora, written=written, weights=weights, scaled=scaled)
    second, share = _second(table, path, corpora, later)
    mean = (1 - share) * weights + share * second
    return Ratios(
        runs=runs, corpora=corpora, written=mean, weights=mean, scaled=scaled, first=weights, second=second, share=share
    )


def _second(
    table: Any, path: str | os.PathLike[str], corpora: Sequence[str], later: Sequence[str]
) -> tuple[Array, float]:
    """The mixtures of the last part of runs, and its share of the tokens.

    Raises:
        HaigoError: a second mixture of an unknown corpus, or a share that is none or not the same in all runs.
    """
    for name in later:
        if (base := name.removesuffix(SECOND)) not in corpora:
            raise HaigoError(f"{path} has a column '{name}' and none '{base}'.", "add it; 0 leaves a corpus out")
    if SHARE not in table.columns:
        raise HaigoError(f"{path} has second mixtures and no column '{SHARE}'.", "add the share of the tokens they had")
    shares = numbers(table, path, [SHARE], "share")[:, 0]
    if not 0 < shares[0] < 1 or (shares != shares[0]).any():
        raise HaigoError(
            f"{path}: '{SHARE}' is not the same number between 0 and 1 in all runs.", "make a table for each"
        )
    given = dict(zip(later, numbers(table, path, later, "corpus").T, strict=True))
    columns = [given.get(f"{name}{SECOND}", np.zeros(len(table))) for name in corpora]
    names = [str(name) for name in table.index]
    return check_weights(np.stack(columns, axis=1), corpora, names, f"{path} (second mixtures)")[0], float(shares[0])


def check_weights(
    weights: Any, corpora: Sequence[str], names: Sequence[str] | None = None, source: str = "the weights"
) -> tuple[Array, list[str]]:
    """Weights as (n, corpora), each row scaled to sum to exactly 1.

    Args:
        weights: (n, corpora) or (corpora,).
        corpora: column names, for messages.
        names: row names, for messages; row numbers when None.
        source: the file, for messages.

    Returns:
        the weights and the names of the rows that had to be scaled by more than rounding.

    Raises:
        HaigoError: NaN, a negative weight, or a row whose sum is more than 1 % away from 1; names the row.
    """
    made = np.atleast_2d(np.asarray(weights, dtype=np.float64)).copy()
    labels = [str(name) for name in names] if names is not None else [f"row {i}" for i in range(len(made))]
    if made.shape[1] != len(corpora):
        raise HaigoError(f"{source} has {made.shape[1]} weights a row for {len(corpora)} corpora.", "give one each")
    for i, j in np.argwhere(~np.isfinite(made)):
        raise HaigoError(f"{source}: run {labels[i]} has no number for '{corpora[j]}'.", "fill it in or drop the run")
    for i, j in np.argwhere(made < -_EXACT):
        raise HaigoError(
            f"{source}: run {labels[i]} gives '{corpora[j]}' the negative weight {made[i, j]:g}.", "weights are >= 0"
        )
    made = np.maximum(made, 0.0)
    sums = made.sum(axis=1)
    far = np.flatnonzero(np.abs(sums - 1) > RENORMALISE_WITHIN)
    if len(far):
        shown = ", ".join(f"{labels[i]} ({sums[i]:.4g})" for i in far[:5])
        more = f" and {len(far) - 5} more" if len(far) > 5 else ""
        raise HaigoError(
            f"{source}: the weights of {len(far)} run(s) do not sum to 1: {shown}{more}.",
            "make each row sum to 1 (within 1 % it is scaled for you)",
        )
    scaled = [labels[i] for i in np.flatnonzero(np.abs(sums - 1) > 1e-6)]
    return made / sums[:, None], scaled


def metrics_of(columns: Sequence[str]) -> list[str]:
    """The columns of a metrics table that are metrics."""
    about = {*ABOUT_A_RUN, *WANDB}
    return [name for name in columns if name not in about and not name.startswith(("config.", "config/", "_wandb"))]


def by_run(path: str | os.PathLike[str]) -> Any:
    """A table with one row a run as a DataFrame of text, indexed by run; `attrs["lines"]` says where each row stands.

    Raises:
        HaigoError: as `csvfile.read`; no column that names the runs, a run without a name, or one given twice.
    """
    table = csvfile.read(path)
    if not len(table):
        raise HaigoError(f"{path} has no rows.", "it needs one row a run")
    key = next((name for name in _RUN_COLUMNS if name in table.columns), None)
    if key is None:
        unnamed = [c for c in table.columns if c == "" or c.startswith("Unnamed")]
        if not unnamed:
            raise HaigoError(f"{path} has no column 'run'.", "name the column that identifies a run `run` (or `index`)")
        key = unnamed[0]
    names = table[key].str.strip()
    empty = np.flatnonzero(names == "")
    if len(empty):
        line = table.attrs["lines"][empty[0]]
        raise HaigoError(f"{path}, line {line}: the run has no name.", f"fill in the column '{key}'")
    double = names[names.duplicated()]
    if len(double):
        which = [table.attrs["lines"][i] for i in np.flatnonzero(names == double.iloc[0])]
        raise HaigoError(
            f"{path} has the run '{double.iloc[0]}' more than once (lines {', '.join(map(str, which[:5]))}).",
            "keep one row a run",
        )
    made = table.drop(columns=[key]).set_axis(names, axis=0)
    made.attrs["lines"] = table.attrs["lines"]
    return made


def numbers(
    table: Any, path: str | os.PathLike[str], columns: Sequence[str], what: str, only: set[str] | None = None
) -> Array:
    """Columns as numbers, (rows, columns), in the file's order; rows whose run is not in `only` are passed over."""
    import pandas as pd

    rows = np.array([only is None or str(name) in only for name in table.index])
    made = np.empty((int(rows.sum()), len(columns)))
    for j, column in enumerate(columns):
        values = pd.to_numeric(table[column].str.strip(), errors="coerce").to_numpy(dtype=float)
        bad = np.flatnonzero(~(np.abs(values) < LARGEST) & rows)
        if len(bad):
            given = table[column].iloc[bad[0]]
            raise HaigoError(
                f"{path}, line {table.attrs['lines'][bad[0]]}: run '{table.index[bad[0]]}' has {given!r:.60} for the {what} "
                f"'{column}'.",
                csvfile.why_no_number(given),
            )
        made[:, j] = values[rows]
    return made


def read_supply(path: str | os.PathLike[str]) -> dict[str, dict[str, Any]]:
    """Read supply.csv as corpus -> {"tokens": float, "min", "max", "max_epochs", "group"}; empty cells are left out. Of a blend
    in a shell script the tokens.

    Raises:
        HaigoError: missing column, unknown column, a cell that is no number, a corpus given twice, 0 tokens; a script
            with shares alone.
    """
    if blend.is_blend(path):
        script = blend.read(path)
        if script.shares:
            raise HaigoError(f"{path} gives shares, which say nothing of tokens.", "write a supply.csv (corpus,tokens)")
        return {name: {"tokens": tokens} for name, tokens in script.tokens().items()}
    table = csvfile.read(path)
    for column in table.columns:
        if column not in SUPPLY:
            raise HaigoError(f"{path} has the unknown column '{column}'.{nearest(column, SUPPLY)}",
                             f"known columns: {', '.join(SUPPLY)}")  # fmt: skip
    if "corpus" not in table.columns:
        raise HaigoError(f"{path} has no column 'corpus'.", f"it needs: {', '.join(SUPPLY)}")
    made: dict[str, dict[str, Any]] = {}
    for line, row in zip(table.attrs["lines"], table.to_dict("records"), strict=True):
        name = str(row["corpus"]).strip()
        if not name or name in made:
            raise HaigoError(f"{path}, line {line}: the corpus '{name}' is {'given twice' if name else 'unnamed'}.",
                             "one named row a corpus")  # fmt: skip
        naming.column(name, "corpus", f"{path}, line {line}")
        entry: dict[str, Any] = {}
        for column in table.columns:
            cell = str(row[column]).strip()
            if column == "corpus" or not cell:
                continue
            if column == "group":
                entry["group"] = naming.column(cell, "group", f"{path}, line {line}")
                continue
            # 1,234,567 tokens are many, and a weight of 0,5 is no five
            plain = cell.replace(",", "") if column == "tokens" and _GROUPED.fullmatch(cell) else cell
            try:
                value = float(plain)
            except ValueError:
                value = float("nan")
            if not 0 <= value < LARGEST:
                fix = "give a number >= 0" if value == value else csvfile.why_no_number(cell)
                raise HaigoError(f"{path}, line {line}: {column} of '{name}' is {cell!r}.", fix)
            entry[column] = value
        if entry.get("tokens") == 0:
            raise HaigoError(f"{path}, line {line}: '{name}' has 0 tokens.", "drop that corpus from all tables")
        made[name] = entry
    if not made:
        raise HaigoError(f"{path} has no rows.", "it needs one row a corpus")
    return made


def write_supply(path: Path, tokens: Mapping[str, float]) -> None:
    """Write a supply.csv that says tokens alone."""
    csvfile.write_rows(path, ["corpus", "tokens"], {name: {"tokens": f"{count:.0f}"} for name, count in tokens.items()})


def read_swarm(folder: Path) -> dict[str, Any]:
    """swarm.json: what the runs of a table have in common, and the weights and the seed of each.

    Raises:
        HaigoError: it is not there, or has not that form.
    """
    path, again = (
        folder / "swarm.json",
        "run launch.proxies with its own options there once more: finished proxies are kept",
    )
    if not path.is_file():
        raise HaigoError(f"{folder} has no swarm.json, which says what its runs are made from.", again)
    content = files.read_json(path)
    if shapes.unlike(content, _SWARM) is not None or content["format"] != SWARM_FORMAT:
        raise HaigoError(f"{path} has not the form of this version.", again)
    return dict(content)


def noted_weights(metrics: str | os.PathLike[str]) -> tuple[str, dict[str, dict[str, float]]]:
    """What Haigo's own metrics.csv has beside it on the mixtures of its runs: the swarm's notes, or the ratios.csv of a screen.

    Returns:
        that file and run -> corpus -> weight; nothing where the table is somebody else's.
    """
    folder = Path(metrics).parent
    if Path(metrics).name == "metrics.csv" and (folder / "swarm.json").is_file():
        runs = read_swarm(folder)["runs"]
        return str(folder / "swarm.json"), {name: dict(run["weights"]) for name, run in runs.items()}
    if files.made(metrics) and files.made(folder / "ratios.csv") and (folder / "ratios.csv").is_file():
        known = read_ratios(folder / "ratios.csv")
        rows = (dict(zip(known.corpora, row, strict=True)) for row in known.weights.tolist())
        return str(folder / "ratios.csv"), dict(zip(known.runs, rows, strict=True))
    return "", {}


def noted_scores(metrics: str | os.PathLike[str]) -> dict[str, dict[str, float | None]]:
    """Column of a task's score -> what the swarm beside metrics.csv notes of it: `items`, `chance` (None: guessing has none),
    `noise` and `paired_noise`, as far as they are known; empty where no swarm is.

    Raises:
        HaigoError: swarm.json has not its form, or a figure is no number.
    """
    folder = Path(metrics).parent
    if Path(metrics).name != "metrics.csv" or not (folder / "swarm.json").is_file():
        return {}
    made: dict[str, dict[str, float | None]] = {}
    for column, facts in read_swarm(folder).get("scores", {}).items():
        made[column] = {}
        for name in ("items", "chance", "noise", "paired_noise"):
            if not isinstance(facts, dict) or name not in facts:
                continue
            value = facts[name]
            whole = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < LARGEST
            if not (whole and (name != "items" or value >= 1)) and not (name == "chance" and value is None):
                raise HaigoError(
                    f"{folder / 'swarm.json'}: {name} of '{column}' is {value!r:.60}.", "give a number of 0 or more"
                )
            made[column][name] = value
    return made


def noted_supply(metrics: str | os.PathLike[str]) -> dict[str, float]:
    """Corpus -> tokens that the target run has of it, as the swarm beside metrics.csv was matched to; empty where none was.

    Raises:
        HaigoError: swarm.json has not its form.
    """
    folder = Path(metrics).parent
    if Path(metrics).name != "metrics.csv" or not (folder / "swarm.json").is_file():
        return {}
    common, mark = read_swarm(folder)["common"], "supply."
    made = {name.removeprefix(mark): value for name, value in common.items() if name.startswith(mark)}
    for name, value in made.items():
        if not isinstance(value, int | float) or not 0 < value < LARGEST:
            raise HaigoError(
                f"{folder / 'swarm.json'}: {mark}{name} is {value!r:.60}.", "give its tokens, a number above 0"
            )
    return {name: float(value) for name, value in made.items()}
