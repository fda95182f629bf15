"""Seven corpora, small proxies and larger models that judge them: what `swarm_curves.py` and `swarm_experts.py` share."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from _run_folder import curves, datasets, limits, parser
from scipy.stats import spearmanr

from mixer.design import candidates, propose

Array = np.ndarray

DESIGN = 16

EVAL_TOKENS = 4_000
"""Held-out tokens a corpus, the same windows for every model."""


def words(doc: str | None) -> argparse.ArgumentParser:
    """A parser with what both need."""
    made = parser(doc)
    made.add_argument("--output-dir", type=Path, default=Path(".cache/swarm_world"))
    made.add_argument("--proxy", default="0-1M")
    made.add_argument("--proxy-tokens", type=int, default=76 * 1024)
    made.add_argument("--judges", type=int, default=24, help="other mixtures, trained as the proxies are")
    made.add_argument("--target", default="0-3M")
    made.add_argument("--target-tokens", type=int, default=120 * 1024)
    made.add_argument("--targets", type=int, default=0, help="of the judges' mixtures, larger models (0: none)")
    made.add_argument("--times", type=float, default=2.5, help="largest weight over token share (default: 2.5)")
    return made


class World:
    """Mixtures and the models trained on them; the judges are the same for every seed of the proxies."""

    points = 4

    def __init__(self, args: argparse.Namespace) -> None:
        self.args, self.known = args, datasets(args.run)
        self.limits = limits(args.run, args.times)
        supply = np.asarray(self.limits.supply, dtype=np.float64)
        self.share = supply / supply.sum()
        drawn = candidates(self.limits.with_floor(0.01), 64, np.random.default_rng([1, 77]))
        self.judges = drawn[: args.judges]

    def design(self, seed: int) -> Array:
        """The mixtures of the proxies, of which the first n are used."""
        return propose(self.limits, DESIGN, seed, floor=0.01)

    def proxies(
        self, mixtures: Array, seed: int, tokens: int | None = None, points: int = 4, name: str | None = None
    ) -> tuple[Array, float]:
        """Bits per byte (points, n, corpora) of proxies, evaluated `points` times on the way, and CPU-seconds."""
        args, spent = self.args, tokens or self.args.proxy_tokens
        place = args.output_dir / (name or f"proxies{seed}-{spent}")
        own = {"seed": seed, "eval_tokens": EVAL_TOKENS}
        return curves(args.run, place, mixtures, args.proxy, spent, points, **own)

    def measured(self) -> dict[str, tuple[Array, Array]]:
        """Mixtures and losses (n, corpora) of those that judge: proxies of other mixtures, and larger models."""
        args = self.args
        made = {"proxies": (self.judges, self.proxies(self.judges, 1, points=2, name="judges")[0][-1])}
        if args.targets:
            few, own = self.judges[: args.targets], {"seed": 1, "eval_tokens": EVAL_TOKENS}
            place = args.output_dir / f"targets{args.target_tokens}"
            losses, _ = curves(args.run, place, few, args.target, args.target_tokens, 1, **own)
            made["larger"] = few, losses[-1]
        return made


def judged(predicted: Array, measured: Array) -> list[float]:
    """Rank correlation, mean over metrics, and of the mean of all; regret in percent of both."""
    figures = []
    for guess, truth in ((predicted, measured), (predicted.mean(1, keepdims=True), measured.mean(1, keepdims=True))):
        columns = list(zip(guess.T, truth.T, strict=True))
        figures.append(float(np.mean([spearmanr(a, b)[0] for a, b in columns])))
        figures.append(float(np.mean([100 * (b[a.argmin()] / b.min() - 1) for a, b in columns])))
    return figures
