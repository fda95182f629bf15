"""How often good runs are named as bad ones, and how often bad ones are found, on subsets of RegMix's public runs.

    python benchmarks/mixer_outliers.py            (64 runs, 20 subsets; some minutes)
    python benchmarks/mixer_outliers.py --runs 16 32 128 --subsets 20

Good: training runs at 1M parameters and the test mixtures at 60M, as published, with all 13 losses in use, and with one at
a time. Bad: in the 1M runs, the loss on Pile-CC or whole runs are changed as said; the run counts as found when it is named
with Pile-CC in use. Data: the folder `regmix` below HAIGO_SHARED (default: `shared` beside the repository).
"""

from __future__ import annotations

import numpy as np
from _measure import parser
from _public_runs import table

from mixer import outliers
from mixer.laws_share import EffectiveShareLaw
from mixer.proxies import ProxyTable

PILE_CC = 8
SHIFTS = {"1.5 sd too low": [-1.5], "1 sd too low": [-1.0], "3 sd too high": [3.0], "three, 1.5 sd": [-1.5] * 3}
SHIFTS["three: 10, -1.5, 3 sd"] = [10.0, -1.5, 3.0]


def named(weights: np.ndarray, losses: np.ndarray, used: np.ndarray | None = None) -> set[int]:
    return {doubt.run for doubt in outliers.examine(EffectiveShareLaw(), weights, losses, used=used).doubts}


def subset(public: ProxyTable, runs: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.random.Generator]:
    rng = np.random.default_rng([seed, runs])
    chosen = rng.choice(len(public.runs), runs, replace=False)
    return public.weights[chosen], public.losses[chosen].copy(), rng


def good(public: ProxyTable, runs: int, subsets: int) -> tuple[float, float]:
    """Part of the runs named: all metrics in use, and one (four metrics of each subset in turn)."""
    together = single = 0
    for seed in range(subsets):
        weights, losses, _ = subset(public, runs, seed)
        together += len(named(weights, losses))
        for metric in range(4):
            number = np.array([(4 * seed + metric) % losses.shape[1]])
            single += len(named(weights, losses, number))
    return together / runs / subsets, single / runs / subsets / 4


def found(public: ProxyTable, runs: int, subsets: int, kind: str) -> float:
    """Part of the bad runs that is named."""
    hits = bad = 0
    for seed in range(subsets):
        weights, losses, rng = subset(public, runs, 1000 + seed)
        shifts = SHIFTS.get(kind, [0.0])
        rows = rng.choice(runs, len(shifts), replace=False)
        losses[rows, PILE_CC] += np.array(shifts) * losses[:, PILE_CC].std()
        if kind == "diverged":
            losses[rows] = 11.0
        if kind == "row of another run":
            losses[rows] = losses[(rows + 1) % runs]
        hits += len(named(weights, losses, np.array([PILE_CC])) & set(rows.tolist()))
        bad += len(rows)
    return hits / bad


def main() -> int:
    words = parser(__doc__)
    words.add_argument("--runs", type=int, nargs="+", default=[64])
    words.add_argument("--subsets", type=int, default=20)
    args = words.parse_args()
    small = table("train")
    for runs in args.runs:
        for name, public in (("1M", small), ("60M", table("test", "60m"))):
            together, single = good(public, runs, args.subsets)
            said = f"{runs} runs, {name}: good runs named {together:.2%} (13 metrics in use), {single:.2%} (one)"
            print(said, flush=True)
        for kind in [*SHIFTS, "diverged", "row of another run"]:
            print(f"{runs} runs, 1M: {kind}: {found(small, runs, args.subsets, kind):.0%} found", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
