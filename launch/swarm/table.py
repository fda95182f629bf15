"""Which models a swarm has: the rows of ratios.csv, their replicates, their seeds, and which of them are this machine's."""

from __future__ import annotations

import csv
import hashlib
import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from haigo import files, naming
from haigo.cli import HaigoError, nearest

PathLike = str | os.PathLike[str]
SEEDS = ("common", "per-proxy")
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

    Args:
        corpora: the names allowed; any when None.

    Raises:
        HaigoError: not such a table; the line or the column is named.
    """
    try:
        files.require_file(path)
        with open(path, encoding="utf-8-sig", newline="") as handle:
            rows = list(csv.reader(handle))
    except FileNotFoundError:
        raise HaigoError(f"{path} does not exist.", "write it with mixer.design") from None
    except UnicodeDecodeError:
        raise HaigoError(f"{path} is not UTF-8 text.", "save it as UTF-8 CSV") from None
    except csv.Error as error:
        raise HaigoError(f"{path} is not a table: {error}.", "write it with mixer.design") from None
    header = [name.strip() for name in rows[0]] if rows else []
    if len(header) < 2 or header[0] != "run":
        raise HaigoError(f"{path} does not begin with a column `run` and corpora.", "write it with mixer.design")
    names = header[1:]
    for name in names:
        if corpora is not None and name not in corpora:
            raise HaigoError(
                f"{path} names the corpus '{name}', which the catalogue does not have.{nearest(name, corpora)}",
                f"the catalogue has: {', '.join(corpora)}",
            )
        if names.count(name) > 1:
            raise HaigoError(f"{path} has the column '{name}' twice.", "keep one of them")
    table: dict[str, dict[str, float]] = {}
    for number, row in enumerate(rows[1:], start=2):
        if not any(cell.strip() for cell in row):
            continue
        run = row[0].strip()
        naming.check(run, "run", f"{path} (line {number})", reserved=())
        if run in table:
            raise HaigoError(f"{path} (line {number}): the run '{run}' is there twice.", "rename one of them")
        try:
            weights = [float(cell) for cell in row[1:]]
        except ValueError:
            weights = []
        if len(weights) != len(names) or any(not (0 <= weight <= 1) for weight in weights):
            raise HaigoError(f"{path} (line {number}): not {len(names)} weights from 0 to 1.", "mend that line")
        if not math.isclose(sum(weights), 1.0, abs_tol=1e-3):
            raise HaigoError(f"{path} (line {number}): the weights sum to {sum(weights):.4f}, not to 1.", "mend it")
        table[run] = dict(zip(names, weights, strict=True))
    naming.check_all(table, "run", str(path), reserved=())
    if not table:
        raise HaigoError(f"{path} has no runs.", "write it with mixer.design")
    return table


def units(
    table: Mapping[str, Mapping[str, float]],
    seed: int,
    seeds: str = "common",
    replicates: int = 1,
    replicate_runs: Sequence[str] | None = None,
) -> list[Unit]:
    """The models of a table, replicates after their row.

    Args:
        seed: of the first replicate of every row; the next ones have seed + 1, seed + 2, ..., the same for all rows
            (common random numbers: what a seed does to all mixtures alike cancels between them).
        seeds: "common", or "per-proxy": every model a seed of its own, drawn from `seed` and its name.
        replicates: models of each row, or of each of `replicate_runs`.

    Raises:
        HaigoError: an unknown run, or numbers that make no sense.
    """
    if seeds not in SEEDS:
        raise HaigoError(f"--seeds {seeds} is unknown.{nearest(seeds, SEEDS)}", f"use one of {', '.join(SEEDS)}")
    if replicates < 1:
        raise HaigoError(f"--replicates {replicates} trains nothing.", "give 2 or more, or leave it out")
    if not 0 <= seed < 1 << 31:
        raise HaigoError(f"the seed {seed} is not from 0 to {(1 << 31) - 1}.", "give another --seed")
    if replicate_runs is not None and not replicate_runs:
        raise HaigoError("--replicate-runs names no run.", "name runs of ratios.csv, or leave it out for all of them")
    if replicate_runs is not None and replicates < 2:
        raise HaigoError("--replicate-runs names runs and --replicates gives no number.", "add --replicates 3")
    for name in replicate_runs or []:
        if name not in table:
            raise HaigoError(f"--replicate-runs names '{name}', which the table does not have.{nearest(name, table)}",
                             "name runs of ratios.csv")  # fmt: skip
    made = []
    for run, weights in table.items():
        times = replicates if replicate_runs is None or run in replicate_runs else 1
        for number in range(1, times + 1):
            name = run if number == 1 else f"{run}@{number}"
            own = (seed + number - 1) % (1 << 31) if seeds == "common" else _drawn(seed, name)
            made.append(Unit(name, run, number, dict(weights), own))
    return made


def _drawn(seed: int, name: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:4], "big") % (1 << 31)


def parse_shard(word: str) -> tuple[int, int]:
    """`2/4` -> (2, 4).

    Raises:
        HaigoError: anything else.
    """
    match = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", word.strip())
    part, parts = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= part <= parts:
        raise HaigoError(f"--shard {word} is not PART/PARTS with PART from 1.", "write e.g. --shard 2/4")
    return part, parts


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
