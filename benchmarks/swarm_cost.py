"""CPU-minutes to a good mixture: our design and law against RegMix's recipe, on the same engine and the same text.

    python -m launch.pipeline examples/japanese.yml            (or any run: its datasets are used)
    python benchmarks/swarm_cost.py runs/japanese --workers 2

Both sides train small proxies on mixtures within the same limits (no corpus above 2.5 times its token share, or the loss alone
would ask for one corpus) and choose a mixture for the least loss on that corpus. A larger target model is trained on every
mixture that was chosen, on token share and on equal weights, with the same seeds; "best" is the best of them all. RegMix's
recipe: random mixtures around token share, LightGBM with its settings, the mean of the best 128 of 100,000 sampled mixtures.
What is trained is kept in --output-dir: the same command goes on after a break.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from launch import proxies as swarm
from mixer import methods
from mixer import mixture as mixtures
from mixer.design import DIGITS, candidates, propose
from mixer.mixture import rounded
from mixer.objective import Objective
from mixer.recommend import recommend
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
    metric = f"{args.corpus}_bpb"
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
        chosen[f"haigo, {n} at once"] = _ours(own, first, n, metric, limits, args.seed)
    half = max(4, args.halves // 2)
    near = propose(limits, half, args.seed, (first[:half], own.losses(metric)[:half]), 0.01)
    more = _train(args, folder / "second", near, limits.corpora)
    both, joined = np.vstack([first[:half], near]), own.part(half).join(more)
    chosen[f"haigo, {half} and {half}"] = _ours(joined, both, 2 * half, metric, limits, args.seed)
    peer = _train(args, folder / "regmix", random, limits.corpora)
    for n in theirs:
        began = time.process_time()
        losses = peer.losses(metric)[:n, None]
        free = np.array([np.inf])
        found = methods.sampled("regmix", random[:n], losses, np.ones(1), limits, limits.limits(), free, args.seed)
        fit = time.process_time() - began
        chosen[f"RegMix's recipe, {n}"] = (n, peer.part(n).seconds + fit, found)
        chosen[f"best of {n} random"] = (n, peer.part(n).seconds, random[int(losses[:, 0].argmin())])
    _targets(args, folder, chosen, limits.corpora, metric)


class _Runs:
    """What the proxies of one table learnt, and what they cost."""

    def __init__(self, results: list[dict[str, Any]]) -> None:
        self.results = results

    def losses(self, metric: str) -> np.ndarray:
        return np.array([result["metrics"][metric] for result in self.results])

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


def _ours(
    runs: _Runs, weights: np.ndarray, n: int, metric: str, limits: Any, seed: int
) -> tuple[int, float, np.ndarray]:
    began = time.process_time()
    made = recommend(
        weights[:n],
        runs.losses(metric)[:n, None],
        Objective(weights={metric: 1.0}, standardise=False),
        limits,
        seed,
        bootstrap=0,
        method="law",
        metrics=[metric],
        force=True,
    )
    return n, runs.part(n).seconds + time.process_time() - began, made.weights


def _targets(
    args: argparse.Namespace,
    folder: Path,
    chosen: dict[str, tuple[int, float, Any]],
    corpora: Sequence[str],
    metric: str,
) -> None:
    names = list(chosen)
    table = {f"m{n:02d}": dict(zip(corpora, map(float, chosen[name][2]), strict=True)) for n, name in enumerate(names)}
    table = {run: {corpus: weight / sum(row.values()) for corpus, weight in row.items()} for run, row in table.items()}
    found = np.zeros(len(names))
    seeds = [args.seed + number for number in range(args.seeds)]
    for seed in seeds:
        done = swarm.run(
            table,
            catalogue.read(Path(args.run) / "corpora.yml"),
            shipped.find_model(args.target),
            folder / f"targets-{seed}",
            tokens=args.target_tokens,
            workers=args.workers,
            seed=seed,
            eval_tokens=60_000,
        )
        found += np.array([done.results[run]["metrics"][metric] for run in table]) / len(seeds)
    best = float(found.min())
    print(f"target {args.target}, {args.target_tokens:,} tokens, {len(seeds)} seeds")
    print(f"proxies {args.proxy}, {args.proxy_tokens:,} tokens")
    print(
        f"{'chosen by':<26}{'proxies':>8}{'CPU-min':>9}{metric:>11}{'over best':>11}   weights ({', '.join(corpora)})"
    )
    for name, value in zip(names, found, strict=True):
        n, seconds, weights = chosen[name]
        shown = " ".join(f"{weight:.2f}" for weight in weights)
        print(f"{name:<26}{n:>8}{seconds / 60:>9.1f}{value:>11.4f}{100 * (value / best - 1):>10.1f}%   {shown}")
    for side in ("haigo", "RegMix", "best of"):
        able = [
            (chosen[name][1], name)
            for name, value in zip(names, found, strict=True)
            if name.startswith(side) and value <= best * (1 + NEAR)
        ]
        print(f"{side}: " + (f"{min(able)[0] / 60:.1f} CPU-min ({min(able)[1]})" if able else "not within 2 %"))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("run", nargs="?", help="run folder of launch.pipeline, for its datasets and supply.csv")
    parser.add_argument(
        "--output-dir", default=".cache/swarm_cost", help="what is trained (default: .cache/swarm_cost)"
    )
    parser.add_argument("--corpus", default="news", help="whose held-out loss counts (default: news)")
    parser.add_argument("--proxy", default="0-1M")
    parser.add_argument("--proxy-tokens", type=int, default=80_000)
    parser.add_argument("--target", default="0-3M")
    parser.add_argument("--target-tokens", type=int, default=600_000)
    parser.add_argument("--times", type=float, default=2.5, help="largest weight over token share (default: 2.5)")
    parser.add_argument("--ours", default="8,12,16,24,32", help="proxies of our design")
    parser.add_argument("--halves", type=int, default=16, help="proxies in two rounds (default: 16)")
    parser.add_argument("--regmix", default="32,64,128", help="proxies of RegMix's recipe")
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
