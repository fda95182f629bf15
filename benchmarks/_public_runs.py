"""RegMix's public runs: the folder `regmix` below HAIGO_SHARED (default: `shared` beside the repository)."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import numpy as np
from _measure import ROOT

from mixer.proxies import ProxyTable, read


def folder() -> Path:
    """Where the tables are.

    Raises:
        SystemExit: they are not there; it says so and ends with 0, since a benchmark without its data is no failure.
    """
    path = Path(os.environ.get("HAIGO_SHARED") or ROOT.parent / "shared") / "regmix"
    if not path.is_dir():
        print(f"skipped: {path} is not there (set HAIGO_SHARED to the folder that holds regmix/)")
        raise SystemExit(0)
    return path


@cache
def table(half: str, size: str = "1m", others: bool = False) -> ProxyTable:
    """The `train` or `test` half of the runs of a size, 13 losses on mixtures of 17 corpora; `others`: all they measured."""
    return read(folder() / f"{half}_mixture_{size}.csv", folder() / f"{half}_pile_loss_{size}.csv", others=others)


def chosen(runs: ProxyTable, count: int, seed: int) -> np.ndarray:
    """Which runs a seed draws, (count,)."""
    return np.random.default_rng(seed).permutation(len(runs.runs))[:count]
