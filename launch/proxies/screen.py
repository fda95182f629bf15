"""Screens: the losses of n-gram models for the rows of a table, and for more mixtures between them, as tables of their own."""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from haigo import files, naming
from haigo.formats import csvfile
from launch.proxies import ngram, table
from launch.proxies.options import ScreenOptions
from mixer.design import propose
from mixer.options import FLOOR
from mixer.supply import Constraints
from neox_configs import catalogue as catalogues


def screen(
    ratios: str | Path, catalogue: Any, output_dir: str | Path, options: ScreenOptions | None = None, **given: Any
) -> Path:
    """Write ratios.csv and metrics.csv of a screen; give the path of the latter.

    Args:
        ratios: ratios.csv of the proxies.
        catalogue: corpora.yml, or what `neox_configs.catalogue.read` gave.
        options: how to count; or its fields one by one (`given`).

    Raises:
        HaigoError: as of launch.proxies.
    """
    options = ScreenOptions(**given) if options is None else options
    known = catalogue if isinstance(catalogue, catalogues.Catalogue) else catalogues.read(catalogue)
    for sentence in known.overlap():
        print(f"haigo: warning: {sentence}", file=sys.stderr)
    corpora = list(known.corpora)
    naming.check_all([*corpora, *known.whole, *options.pairs], "corpus or pairs file", "catalogue and pairs")
    rows = table.read_ratios(ratios, corpora)
    weights = np.array([[row.get(corpus, 0.0) for corpus in corpora] for row in rows.values()])
    if options.mixtures:
        weights = np.vstack([weights, _between(corpora, weights, options)])
    names = [*rows, *_names(rows, len(weights) - len(rows))]
    counted = ngram.Counted(known, options)
    losses = counted.losses(weights, options.tokens)
    about = {"size": f"{options.order}-gram", "tokens": str(options.tokens)}
    cells = [[f"{value:.6f}" for value in row] for row in losses]
    scores = [{**dict(zip(counted.metrics, row, strict=True)), **about} for row in cells]
    folder = Path(output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    with files.owner(folder):
        mixtures = [dict(zip(corpora, row, strict=True)) for row in weights.tolist()]
        table.write_ratios(folder / "ratios.csv", dict(zip(names, mixtures, strict=True)))
        header, path = ["run", *counted.metrics, *about], folder / "metrics.csv"
        csvfile.write_rows(path, header, dict(zip(names, scores, strict=True)))
    return path


def _between(corpora: Sequence[str], weights: np.ndarray, options: ScreenOptions) -> np.ndarray:
    """Mixtures spread over what lies between the least and the largest weights of a table, (mixtures, corpora)."""
    low, high = weights.min(axis=0), weights.max(axis=0)
    if len(weights) < 2 or np.allclose(low, high):
        limits, floor = Constraints(corpora=corpora), FLOOR
    else:
        limits, floor = Constraints(corpora=corpora, lower=low, upper=high), 0.0
    return np.asarray(propose(limits, options.mixtures, options.seed, floor=floor))


def _names(taken: Collection[str], number: int) -> list[str]:
    letter = "s"
    while any(name.startswith(letter) for name in taken):
        letter += "s"
    return [f"{letter}{n:03d}" for n in range(number)]
