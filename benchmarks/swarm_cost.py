"""CPU-minutes to a good mixture: our design and law against RegMix's recipe, on the same engine and the same text.

    python -m launch.pipeline examples/japanese.yml            (or any run: its datasets are used)
    python benchmarks/swarm_cost.py runs/japanese --workers 2

Both sides train small proxies on mixtures within the same limits (no corpus above 2.5 times its token share, or the loss alone
would ask for one corpus) and choose a mixture for the least loss on that corpus. A larger target model is trained on every
mixture that was chosen, on token share and on equal weights, with the same seeds; "best" is the best of them all. RegMix's
recipe: random mixtures around token share, LightGBM with its settings, the mean of the best 128 of 100,000 sampled mixtures.
"+ screen": with the losses of n-gram models (launch.screen), their counting being part of the CPU time; "screen alone"
trains nothing.
What is trained is kept in --output-dir: the same command goes on after a break.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from _run_folder import Trainer, arguments, datasets, limits, parser, rows

from launch.proxies import ngram
from launch.proxies.options import CountOptions
from mixer import methods
from mixer import mixture as mixtures
from mixer.design import DIGITS, candidates, propose
from mixer.objective import Objective
from mixer.recommend import recommend
from mixer.screened import Screen

NEAR = 0.02
"""A target model this much above the best is as good."""


Chosen = tuple[int, float, np.ndarray]  # proxies, CPU-seconds, weights


class _Runs:
    """What the proxies of one table learnt, and what they cost."""

    def __init__(self, results: list[dict[str, Any]]) -> None:
        self.results = results

    def losses(self, metrics: Sequence[str]) -> np.ndarray:
        return np.array([[result["metrics"][metric] for metric in metrics] for result in self.results])

    def part(self, n: int) -> _Runs:
        return _Runs(self.results[:n])

    def join(self, other: _Runs) -> _Runs:
        return _Runs(self.results + other.results)

    @property
    def seconds(self) -> float:
        """CPU-seconds of all of them, evaluation included."""
        return float(sum(result["cpu_seconds"] for result in self.results))


@dataclass(frozen=True)
class _Screened:
    """n-gram losses of the proxies' mixtures, in their order, and of others; the CPU-seconds they cost."""

    at_runs: np.ndarray
    weights: np.ndarray
    losses: np.ndarray
    seconds: float


class Contest:
    """Both sides, with one set of limits and metrics."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.limits = limits(args.run, args.times)
        self.metrics = [f"{corpus}_bpb" for corpus in args.corpus.split(",")]
        self.train = Trainer(args.run, args.output_dir, args.workers)

    def proxies(self, name: str, weights: np.ndarray) -> _Runs:
        """The proxies of a table of mixtures."""
        args, table = self.args, rows(self.limits.corpora, weights)
        return _Runs(self.train(name, table, args.proxy, args.proxy_tokens, seed=args.seed, eval_tokens=8_000))

    def screened(self, first: np.ndarray) -> _Screened:
        """n-gram models of the proxies' mixtures and of 64 others."""
        began, args = time.process_time(), self.args
        counted = ngram.Counted(datasets(args.run), CountOptions(eval_tokens=8_000, seed=args.seed))
        spread = propose(self.limits, 64, args.seed, floor=0.01)
        columns = [counted.metrics.index(metric) for metric in self.metrics]
        at, rest = (counted.losses(mixes, args.proxy_tokens)[:, columns] for mixes in (first, spread))
        return _Screened(at, spread, rest, time.process_time() - began)

    def recommended(self, weights: np.ndarray, losses: np.ndarray, screen: Screen | None = None) -> np.ndarray:
        """The mixture of least loss that the law says."""
        objective = Objective(weights=dict.fromkeys(self.metrics, 1.0 / len(self.metrics)), standardise=False)
        options: dict[str, Any] = {"bootstrap": 0, "method": "law", "metrics": self.metrics, "force": True}
        found = recommend(weights, losses, objective, self.limits, self.args.seed, screen=screen, **options)
        return found.weights

    def ours(self, runs: _Runs, weights: np.ndarray, n: int, counted: _Screened | None = None) -> Chosen:
        """What our design and law choose from the first n proxies, with a screen or without."""
        began, screen = time.process_time(), None
        if counted is not None:
            screen = Screen(weights=counted.weights, losses=counted.losses, at_runs=counted.at_runs[:n])
        found = self.recommended(weights[:n], runs.losses(self.metrics)[:n], screen)
        spent = runs.part(n).seconds + time.process_time() - began
        return n, spent + (counted.seconds if counted is not None else 0.0), found

    def alone(self, counted: _Screened) -> Chosen:
        """What the screen chooses without any proxy."""
        began = time.process_time()
        found = self.recommended(counted.weights, counted.losses)
        return 0, counted.seconds + time.process_time() - began, found

    def regmix(self, counts: list[int]) -> dict[str, Chosen]:
        """What RegMix's recipe chooses from its first n random proxies, and the best of these."""
        bounds, chosen = self.limits.limits(), {}
        drawn = candidates(self.limits, max(counts), np.random.default_rng([self.args.seed, 5]))
        random = np.array([mixtures.rounded(w, DIGITS, bounds.lower, bounds.upper) for w in drawn])
        peer = self.proxies("regmix", random)
        for n in counts:
            began, free = time.process_time(), np.array([np.inf])
            losses = peer.losses(self.metrics)[:n].mean(axis=1, keepdims=True)
            found = methods.sampled("regmix", random[:n], losses, np.ones(1), self.limits, free, self.args.seed)
            fit = time.process_time() - began
            chosen[f"RegMix's recipe, {n}"] = n, peer.part(n).seconds + fit, found
            chosen[f"best of {n} random"] = n, peer.part(n).seconds, random[int(losses[:, 0].argmin())]
        return chosen

    def chosen(self, ours: list[int], theirs: list[int], halves: int) -> dict[str, Chosen]:
        """Every mixture that takes part."""
        share, seed = np.asarray(self.limits.supply), self.args.seed
        first = propose(self.limits, max(ours), seed, floor=0.01)
        chosen: dict[str, Chosen] = {}
        chosen["token share"] = 0, 0.0, mixtures.rounded(share / share.sum())
        chosen["equal weights"] = 0, 0.0, mixtures.rounded(mixtures.uniform(len(share)))
        own = self.proxies("ours", first)
        chosen |= {f"haigo, {n} at once": self.ours(own, first, n) for n in ours}
        counted = self.screened(first)
        chosen["haigo, screen alone"] = self.alone(counted)
        chosen |= {f"haigo, {n} + screen": self.ours(own, first, n, counted) for n in ours}
        if halves:
            half = max(4, halves // 2)
            near = propose(self.limits, half, seed, (first[:half], own.losses(self.metrics)[:half].mean(1)), 0.01)
            joined = own.part(half).join(self.proxies("second", near))
            chosen[f"haigo, {half} and {half}"] = self.ours(joined, np.vstack([first[:half], near]), 2 * half)
        return chosen | self.regmix(theirs)

    def targets(self, chosen: dict[str, Chosen]) -> np.ndarray:
        """The target model's loss with each mixture, mean over seeds; the same mixture chosen twice is trained once."""
        args = self.args
        weights = np.array([one[2] / np.sum(one[2]) for one in chosen.values()])
        table = rows(self.limits.corpora, weights, "m{:02d}")
        digits = {run: tuple(round(weight, 3) for weight in row.values()) for run, row in table.items()}
        twin = {run: next(other for other in table if digits[other] == digits[run]) for run in table}
        trained = {run: row for run, row in table.items() if twin[run] == run}
        losses = []
        for seed in range(args.seed, args.seed + args.seeds):
            folder = f"targets-{args.corpus}-{seed}"
            runs = _Runs(self.train(folder, trained, args.target, args.target_tokens, seed=seed, eval_tokens=60_000))
            values = dict(zip(trained, runs.losses(self.metrics).mean(axis=1), strict=True))
            losses.append([values[twin[run]] for run in table])
        return np.mean(losses, axis=0)


def show(contest: Contest, chosen: dict[str, Chosen], losses: np.ndarray) -> None:
    """The table, and the cheapest way of each side to a mixture that is as good as the best."""
    args, best = contest.args, float(losses.min())
    metric = contest.metrics[0] if len(contest.metrics) == 1 else "mean bpb"
    print(f"target {args.target}, {args.target_tokens:,} tokens, {args.seeds} seeds")
    print(f"proxies {args.proxy}, {args.proxy_tokens:,} tokens")
    corpora = ", ".join(contest.limits.corpora)
    print(f"{'chosen by':<26}{'proxies':>8}{'CPU-min':>9}{metric:>11}{'over best':>11}   weights ({corpora})")
    for (name, (n, seconds, weights)), value in zip(chosen.items(), losses, strict=True):
        shown = " ".join(f"{weight:.2f}" for weight in weights)
        print(f"{name:<26}{n:>8}{seconds / 60:>9.2f}{value:>11.4f}{100 * (value / best - 1):>10.1f}%   {shown}")
    good = [
        (seconds, name)
        for (name, (_, seconds, _)), value in zip(chosen.items(), losses, strict=True)
        if value <= best * (1 + NEAR)
    ]
    for side in ("haigo", "RegMix", "best of"):
        able = [one for one in good if one[1].startswith(side)]
        print(f"{side}: " + (f"{min(able)[0] / 60:.2f} CPU-min ({min(able)[1]})" if able else "not within 2 %"))


def main() -> int:
    words = parser(__doc__)
    words.add_argument(
        "--output-dir", type=Path, default=Path(".cache/swarm_cost"), help="(default: .cache/swarm_cost)"
    )
    words.add_argument("--corpus", default="news", help="whose held-out loss counts, several for their mean (news)")
    words.add_argument("--proxy", default="0-1M")
    words.add_argument("--proxy-tokens", type=int, default=80_000)
    words.add_argument("--target", default="0-3M")
    words.add_argument("--target-tokens", type=int, default=600_000)
    words.add_argument("--times", type=float, default=2.5, help="largest weight over token share (default: 2.5)")
    words.add_argument("--ours", default="4,8,16", help="proxies of our design")
    words.add_argument("--halves", type=int, default=16, help="proxies in two rounds (default: 16; 0: none)")
    words.add_argument("--regmix", default="32,64", help="proxies of RegMix's recipe")
    words.add_argument("--seed", type=int, default=1)
    words.add_argument("--seeds", type=int, default=1, help="target models a mixture (default: 1)")
    words.add_argument("--workers", type=int)
    args = arguments(words)
    contest = Contest(args)
    ours, theirs = ([int(word) for word in text.split(",")] for text in (args.ours, args.regmix))
    chosen = contest.chosen(ours, theirs, args.halves)
    show(contest, chosen, contest.targets(chosen))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
