"""Which models a swarm has: the rows of ratios.csv, their replicates, their seeds, and which of them are this machine's."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from haigo import naming
from haigo.cli import HaigoError, nearest
from haigo.formats import csvfile, tables
from launch.proxies.options import SwarmOptions

PathLike = str | os.PathLike[str]
_ROUNDING = 1e-3
_NUMBERED = re.compile(r"[A-Za-z]*(\d+)")


@dataclass(frozen=True)
class Unit:
    """One model to train."""

    name: str
    """The row's name; `ROW@2`, `ROW@3`, ... for its replicates (a row's name holds no @)."""
    run: str
    replicate: int
    """From 1."""
    weights: dict[str, float]
    seed: int


def read_ratios(path: PathLike, corpora: Sequence[str] | None = None) -> dict[str, dict[str, float]]:
    """Read ratios.csv: run -> corpus -> weight, in the order of the file.

    Weights that sum to 1 but for rounding stay as they are written (a run is known by them); others are scaled, as far as
    `haigo.formats.tables` allows.

    Args:
        corpora: the names allowed; any when None.

    Raises:
        HaigoError: not such a table; the line or the column is named.
    """
    import numpy as np

    ratios = tables.read_ratios(path)
    for name in ratios.corpora:
        if corpora is not None and name not in corpora:
            raise HaigoError(
                f"{path} names the corpus '{name}', which the catalogue does not have.{nearest(name, corpora)}",
                f"the catalogue has: {', '.join(corpora)}",
            )
    naming.check_all(ratios.runs, "run", str(path), reserved=())
    rounded = abs(ratios.written.sum(axis=1) - 1) <= _ROUNDING
    weights = np.where(rounded[:, None], ratios.written, ratios.weights)
    return {
        run: dict(zip(ratios.corpora, row, strict=True)) for run, row in zip(ratios.runs, weights.tolist(), strict=True)
    }


def write_ratios(path: Path, rows: Mapping[str, Mapping[str, float]]) -> None:
    """Write ratios.csv; a corpus that a run lacks has the weight 0 there."""
    corpora = list(dict.fromkeys(corpus for row in rows.values() for corpus in row))
    cells = {run: {corpus: repr(float(row.get(corpus, 0.0))) for corpus in corpora} for run, row in rows.items()}
    csvfile.write_rows(path, ["run", *corpora], cells)


def units(table: Mapping[str, Mapping[str, float]], seed: int, options: SwarmOptions) -> list[Unit]:
    """The models of a table, replicates after their row.

    Args:
        seed: of the first replicate of every row; the next ones have seed + 1, seed + 2, ..., the same for all rows
            (common random numbers: what a seed does to all mixtures alike cancels between them). With `per-proxy` seeds
            every model has one of its own, drawn from `seed` and its name.
        options: replicates of each row, or of each of `replicate_runs`, and the kind of their seeds.

    Raises:
        HaigoError: an unknown run, or numbers that make no sense.
    """
    replicates, replicate_runs = options.replicates, options.replicate_runs
    if not 0 <= seed < 1 << 31:
        raise HaigoError(f"the seed {seed} is not from 0 to {(1 << 31) - 1}.", "give another --seed", option="seed")
    if replicate_runs is not None and not replicate_runs:
        raise HaigoError("--replicate-runs names no run.", "name runs of ratios.csv, or leave it out for all of them")
    if replicate_runs is not None and replicates < 2:
        raise HaigoError("--replicate-runs names runs and --replicates gives no number.", "add --replicates 3")
    for name in replicate_runs or []:
        if name not in table:
            raise HaigoError(f"--replicate-runs names '{name}', which the table does not have.{nearest(name, table)}",
                             "name runs of ratios.csv")  # fmt: skip
    models = []
    for run, weights in table.items():
        times = replicates if replicate_runs is None or run in replicate_runs else 1
        for number in range(1, times + 1):
            name = run if number == 1 else f"{run}@{number}"
            own = (seed + number - 1) % (1 << 31) if options.seeds == "common" else _drawn(seed, name)
            models.append(Unit(name, run, number, dict(weights), own))
    return models


def _drawn(seed: int, name: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:4], "big") % (1 << 31)


def shard_of(unit: Unit, parts: int) -> int:
    """Which of `parts` shards trains a model, from 1: decided by its name alone, so that rows added later move nothing.

    Names as mixer.design gives them (p000, p001, ..., h000) are dealt out in turn; other names are spread by their hash.
    """
    match = _NUMBERED.fullmatch(unit.run)
    number = int(match[1]) if match else int(hashlib.sha256(unit.run.encode()).hexdigest()[:12], 16)
    return (number + unit.replicate - 1) % parts + 1


def in_shard(made: Iterable[Unit], shard: tuple[int, int] | None) -> list[Unit]:
    """The models of one shard; all when it is None.

    Raises:
        HaigoError: the shard is empty.
    """
    everything = list(made)
    if shard is None:
        return everything
    part, parts = shard
    mine = [unit for unit in everything if shard_of(unit, parts) == part]
    if not mine:
        raise HaigoError(
            f"--shard {part}/{parts} holds none of the {len(everything)} models of the table.", "use fewer parts"
        )
    return mine
