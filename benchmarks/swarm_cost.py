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

from launch import proxies as swarm
from launch.swarm import ngram
from mixer import methods
from mixer import mixture as mixtures
from mixer.design import DIGITS, candidates, propose
from mixer.mixture import rounded
from mixer.objective import Objective
from mixer.recommend import recommend
from mixer.screened import Screen
from mixer.supply import Constraints, FullRepetition, read_supply
from neox_configs import catalogue, shipped

NEAR = 0.02
"""A target model this much above the best is as good."""


def main() -> None:
    args = _arguments()
    ours, theirs = ([int(word) for word in text.split(",")] for text in (args.ours, args.regmix))
    folder = Path(args.output_dir)
    supply = read_supply(Path(args.run) / "supply.csv")
    share = np.array([row["tokens"] for row in supply.values()], dtype=float)
    limits = Constraints(
        corpora=list(supply),
        supply=share,
        target_tokens=float(share.sum()),
        max_epochs=args.times,
        repetition=FullRepetition(),  # the target run is short: nothing is really repeated
    )
    metrics = [f"{corpus}_bpb" for corpus in args.corpus.split(",")]
    rng = np.random.default_rng([args.seed, 5])
    random = np.array(
        [rounded(w, DIGITS, limits.limits().lower, limits.limits().upper) for w in candidates(limits, max(theirs), rng)]
    )
    first = propose(limits, max(ours), args.seed, floor=0.01)
    chosen: dict[str, tuple[int, float, Any]] = {}
    chosen["token share"] = (0, 0.0, mixtures.rounded(share / share.sum()))
    chosen["equal weights"] = (0, 0.0, mixtures.rounded(mixtures.uniform(len(share))))
    own = _train(args, folder / "ours", first, limits.corpora)
    for n in ours:
        chosen[f"haigo, {n} at once"] = _ours(own, first, n, metrics, limits, args.seed)
    counted = _counted(args, first, limits, metrics)
    chosen["haigo, screen alone"] = _alone(counted, metrics, limits, args.seed)
    for n in ours:
        chosen[f"haigo, {n} + screen"] = _ours(own, first, n, metrics, limits, args.seed, counted)
    half = max(4, args.halves // 2)
    if args.halves:
        near = propose(limits, half, args.seed, (first[:half], own.losses(metrics)[:half].mean(1)), 0.01)
        more = _train(args, folder / "second", near, limits.corpora)
        both, joined = np.vstack([first[:half], near]), own.part(half).join(more)
        chosen[f"haigo, {half} and {half}"] = _ours(joined, both, 2 * half, metrics, limits, args.seed)
    peer = _train(args, folder / "regmix", random, limits.corpora)
    for n in theirs:
        began = time.process_time()
        losses = peer.losses(metrics)[:n].mean(axis=1, keepdims=True)
        free = np.array([np.inf])
        found = methods.sampled("regmix", random[:n], losses, np.ones(1), limits, free, args.seed)
        fit = time.process_time() - began
        chosen[f"RegMix's recipe, {n}"] = (n, peer.part(n).seconds + fit, found)
        chosen[f"best of {n} random"] = (n, peer.part(n).seconds, random[int(losses[:, 0].argmin())])
    _targets(args, folder, chosen, limits.corpora, metrics)


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


def _train(args: argparse.Namespace, folder: Path, weights: np.ndarray, corpora: Sequence[str]) -> _Runs:
    table = {f"p{n:03d}": dict(zip(corpora, map(float, row), strict=True)) for n, row in enumerate(weights)}
    done = swarm.run(
        table,
        catalogue.read(Path(args.run) / "corpora.yml"),
        shipped.find_model(args.proxy),
        folder,
        tokens=args.proxy_tokens,
        workers=args.workers,
        seed=args.seed,
        eval_tokens=8_000,
    )
    if done.failed:
        raise SystemExit(f"proxies failed: {done.failed}")
    return _Runs(list(done.results.values()))


@dataclass(frozen=True)
class _Screened:
    """n-gram losses of the proxies' mixtures, in their order, and of others; the CPU-seconds they cost."""

    at_runs: np.ndarray
    weights: np.ndarray
    losses: np.ndarray
    seconds: float


def _counted(args: argparse.Namespace, first: np.ndarray, limits: Any, metrics: Sequence[str]) -> _Screened:
    began = time.process_time()
    counted = ngram.Counted(catalogue.read(Path(args.run) / "corpora.yml"), eval_tokens=8_000, seed=args.seed)
    spread = propose(limits, 64, args.seed, floor=0.01)
    columns = [counted.metrics.index(metric) for metric in metrics]
    at, rest = (counted.losses(rows, args.proxy_tokens)[:, columns] for rows in (first, spread))
    return _Screened(at, spread, rest, time.process_time() - began)


def _objective(metrics: Sequence[str]) -> Objective:
    return Objective(weights=dict.fromkeys(metrics, 1.0 / len(metrics)), standardise=False)


def _recommended(
    weights: np.ndarray,
    losses: np.ndarray,
    metrics: Sequence[str],
    limits: Any,
    seed: int,
    screen: Screen | None = None,
) -> np.ndarray:
    made = recommend(
        weights,
        losses,
        _objective(metrics),
        limits,
        seed,
        bootstrap=0,
        method="law",
        metrics=metrics,
        force=True,
        screen=screen,
    )
    return made.weights


def _alone(counted: _Screened, metrics: Sequence[str], limits: Any, seed: int) -> tuple[int, float, np.ndarray]:
    began = time.process_time()
    made = _recommended(counted.weights, counted.losses, metrics, limits, seed)
    return 0, counted.seconds + time.process_time() - began, made


def _ours(
    runs: _Runs,
    weights: np.ndarray,
    n: int,
    metrics: Sequence[str],
    limits: Any,
    seed: int,
    counted: _Screened | None = None,
) -> tuple[int, float, np.ndarray]:
    began = time.process_time()
    screen = None
    if counted is not None:
        screen = Screen(weights=counted.weights, losses=counted.losses, at_runs=counted.at_runs[:n])
    made = _recommended(weights[:n], runs.losses(metrics)[:n], metrics, limits, seed, screen)
    spent = runs.part(n).seconds + time.process_time() - began
    return n, spent + (counted.seconds if counted is not None else 0.0), made


def _targets(
    args: argparse.Namespace,
    folder: Path,
    chosen: dict[str, tuple[int, float, Any]],
    corpora: Sequence[str],
    metrics: Sequence[str],
) -> None:
    names = list(chosen)
    table = {f"m{n:02d}": dict(zip(corpora, map(float, chosen[name][2]), strict=True)) for n, name in enumerate(names)}
    table = {run: {corpus: weight / sum(row.values()) for corpus, weight in row.items()} for run, row in table.items()}
    # the same mixture chosen twice is trained once
    digits = {run: tuple(round(weight, 3) for weight in row.values()) for run, row in table.items()}
    twin = {run: next(other for other in table if digits[other] == digits[run]) for run in table}
    table = {run: row for run, row in table.items() if twin[run] == run}
    found = np.zeros(len(names))
    seeds = [args.seed + number for number in range(args.seeds)]
    for seed in seeds:
        done = swarm.run(
            table,
            catalogue.read(Path(args.run) / "corpora.yml"),
            shipped.find_model(args.target),
            folder / f"targets-{args.corpus}-{seed}",
            tokens=args.target_tokens,
            workers=args.workers,
            seed=seed,
            eval_tokens=60_000,
        )
        values = {run: float(np.mean([done.results[run]["metrics"][metric] for metric in metrics])) for run in table}
        found += np.array([values[twin[f"m{n:02d}"]] for n in range(len(names))]) / len(seeds)
    best = float(found.min())
    shown_metric = metrics[0] if len(metrics) == 1 else "mean bpb"
    print(f"target {args.target}, {args.target_tokens:,} tokens, {len(seeds)} seeds")
    print(f"proxies {args.proxy}, {args.proxy_tokens:,} tokens")
    print(
        f"{'chosen by':<26}{'proxies':>8}{'CPU-min':>9}{shown_metric:>11}{'over best':>11}   weights ({', '.join(corpora)})"
    )
    for name, value in zip(names, found, strict=True):
        n, seconds, weights = chosen[name]
        shown = " ".join(f"{weight:.2f}" for weight in weights)
        print(f"{name:<26}{n:>8}{seconds / 60:>9.2f}{value:>11.4f}{100 * (value / best - 1):>10.1f}%   {shown}")
    for side in ("haigo", "RegMix", "best of"):
        able = [
            (chosen[name][1], name)
            for name, value in zip(names, found, strict=True)
            if name.startswith(side) and value <= best * (1 + NEAR)
        ]
        print(f"{side}: " + (f"{min(able)[0] / 60:.2f} CPU-min ({min(able)[1]})" if able else "not within 2 %"))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("run", nargs="?", help="run folder of launch.pipeline, for its datasets and supply.csv")
    parser.add_argument(
        "--output-dir", default=".cache/swarm_cost", help="what is trained (default: .cache/swarm_cost)"
    )
    parser.add_argument(
        "--corpus", default="news", help="whose held-out loss counts, several for their mean (default: news)"
    )
    parser.add_argument("--proxy", default="0-1M")
    parser.add_argument("--proxy-tokens", type=int, default=80_000)
    parser.add_argument("--target", default="0-3M")
    parser.add_argument("--target-tokens", type=int, default=600_000)
    parser.add_argument("--times", type=float, default=2.5, help="largest weight over token share (default: 2.5)")
    parser.add_argument("--ours", default="4,8,16", help="proxies of our design")
    parser.add_argument("--halves", type=int, default=16, help="proxies in two rounds (default: 16; 0: none)")
    parser.add_argument("--regmix", default="32,64", help="proxies of RegMix's recipe")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=1, help="target models a mixture (default: 1)")
    parser.add_argument("--workers", type=int, default=None)
    args = parser.parse_args()
    if args.run is None:
        print("skipped: give the folder of a run of launch.pipeline (see the top of this file)")
        raise SystemExit(0)
    return args


if __name__ == "__main__":
    main()
