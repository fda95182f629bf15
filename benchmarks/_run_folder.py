"""The datasets of a run of `launch.pipeline`, for benchmarks of swarms: python -m launch.pipeline examples/japanese.yml"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from _measure import parser as plain_parser

from launch import proxies
from launch.local.train import train
from launch.proxies.proxy import proxy_config
from mixer.supply import Constraints, FullRepetition, read_supply
from neox_configs import catalogue, reader, shipped


def parser(doc: str | None) -> argparse.ArgumentParser:
    """A parser with the run folder in front."""
    made = plain_parser(doc)
    made.add_argument("run", nargs="?", type=Path, help="run folder of launch.pipeline, whose datasets are used")
    return made


def arguments(made: argparse.ArgumentParser, *needed: str) -> argparse.Namespace:
    """The arguments.

    Raises:
        SystemExit: the run folder, or another option that the benchmark needs, is not given; it says so and ends with 0.
    """
    args = made.parse_args()
    if any(getattr(args, name) is None for name in ("run", *needed)):
        print(
            f"skipped: give {', '.join(('the folder of a run of launch.pipeline', *(f'--{name}' for name in needed)))}"
        )
        raise SystemExit(0)
    return args


def datasets(run: Path) -> catalogue.Catalogue:
    """The run's tokenizer and datasets."""
    return catalogue.read(run / "corpora.yml")


def limits(run: Path, times: float) -> Constraints:
    """No corpus above so many times its token share, or the loss alone would ask for one corpus."""
    supply = read_supply(run / "supply.csv")
    tokens = np.array([row["tokens"] for row in supply.values()], dtype=float)
    return Constraints(
        corpora=list(supply),
        supply=tokens,
        target_tokens=float(tokens.sum()),
        max_epochs=times,
        repetition=FullRepetition(),  # the target run is short: nothing is really repeated
    )


@dataclass(frozen=True)
class Trainer:
    """Trains tables of small models on the run's datasets; what is trained is kept, and the same call goes on."""

    run: Path
    folder: Path
    workers: int | None

    def __call__(
        self, name: str, table: dict[str, dict[str, float]], model: str, tokens: int, **options: Any
    ) -> list[dict[str, Any]]:
        """The results of the runs, in the order of the table.

        Raises:
            SystemExit: a model failed.
        """
        config = shipped.find_model(model)
        done = proxies.run(
            table, datasets(self.run), config, self.folder / name, tokens=tokens, workers=self.workers, **options
        )
        if done.failed:
            raise SystemExit(f"proxies failed: {done.failed}")
        return [done.results[run] for run in table]


def rows(corpora: Sequence[str], weights: np.ndarray, names: str = "p{:03d}") -> dict[str, dict[str, float]]:
    """A table of runs from mixtures (n, corpora)."""
    return {names.format(n): dict(zip(corpora, map(float, row), strict=True)) for n, row in enumerate(weights)}


def curves(
    run: Path, folder: Path, mixtures: np.ndarray, model: str, tokens: int, points: int, **options: Any
) -> tuple[np.ndarray, float]:
    """Train a model a mixture (n, corpora) in this process, evaluated `points` times at even distances.

    Returns:
        Bits per byte (points, n, corpora), the last of the finished models, and CPU-seconds.
    """
    known = datasets(run)
    base, valid = (
        reader.load(shipped.find_model(model)),
        {name: str(sets["valid"]) for name, sets in known.corpora.items()},
    )
    step = int(base["train_batch_size"]) * int(base["seq_length"])
    every = tokens // step // points
    own: dict[str, Any] = {"tokenizer": str(known.tokenizer), "valid": valid, "export": False, "checkpoints": False}
    own |= {"tokens": every * points * step, "eval_every": every if points > 1 else None, "progress": lambda _: None}
    losses, seconds = np.empty((points, len(mixtures), len(valid))), 0.0
    for n, mixture in enumerate(mixtures.tolist()):
        place = folder / f"p{n:03d}"
        config = proxy_config(base, dict(zip(known.corpora, mixture, strict=True)), known)
        seconds += train(config, place, **{**own, **options})["cpu_seconds"]
        logged = [json.loads(line) for line in (place / "log.jsonl").read_text().splitlines()]
        scored = [entry for entry in logged if f"{next(iter(valid))}_bpb" in entry]
        losses[:, n] = [[entry[f"{name}_bpb"] for name in valid] for entry in scored]
    return losses, seconds
