"""How many tables of pure noise pass the search's gate, and how many real ones, by the number of runs.

    python benchmarks/mixer_gate.py                 (8, 16, 32, 64 runs; 100 tables of noise, 20 real ones; 6 minutes)
    python benchmarks/mixer_gate.py --runs 8 --tables 400

Noise: losses that know nothing of the mixtures (four to eight corpora, one metric). Real: random runs of RegMix's public
table at 1M parameters (17 corpora), Pile-CC, Wikipedia and the mean of 13 in turn; without the data they are left out. A
table passes when `mixer.recommend` gives an answer; at most 5 % of noise should.
"""

from __future__ import annotations

from math import sqrt

import numpy as np
from _measure import parser
from _public_runs import chosen, table

from haigo.cli import Refused
from mixer.arrays import Array
from mixer.objective import Objective
from mixer.recommend import recommend
from mixer.supply import Constraints


def passes(weights: Array, losses: Array, used: list[int], seed: int) -> bool:
    corpora, metrics = [f"c{j}" for j in range(weights.shape[1])], [f"m{j}" for j in range(losses.shape[1])]
    objective = Objective(weights={metrics[j]: 1.0 for j in used})
    try:
        recommend(weights, losses, objective, Constraints(corpora=corpora), seed, 10, metrics=metrics)
    except Refused:
        return False
    return True


def noise(runs: int, seed: int) -> bool:
    rng = np.random.default_rng([runs, seed])
    weights = rng.dirichlet(np.ones(int(rng.integers(4, 9))), runs)
    return passes(weights, 2.0 + 0.1 * rng.standard_normal((runs, 1)), [0], seed)


def real(runs: int, seed: int) -> bool:
    public = table("train")
    which = chosen(public, runs, seed)
    names = [name.removeprefix("metric/the_pile_").removesuffix("_val_loss") for name in public.metrics]
    used = [[names.index("pile_cc")], [names.index("wikipedia_en")], list(range(len(names)))][seed % 3]
    return passes(public.weights[which], public.losses[which][:, used], list(range(len(used))), seed)


def main() -> int:
    words = parser(__doc__)
    words.add_argument("--runs", type=int, nargs="+", default=[8, 16, 32, 64])
    words.add_argument("--tables", type=int, default=100)
    words.add_argument("--real", type=int, default=20)
    args = words.parse_args()
    for runs in args.runs:
        part = np.mean([noise(runs, seed) for seed in range(args.tables)])
        more = sqrt(part * (1 - part) / args.tables)
        said = f"{runs:4d} runs: of {args.tables} tables of noise {part:.1%} (+-{more:.1%}) pass"
        print(said, flush=True)
        if args.real:
            print(
                f"{'':11}of {args.real} real ones {np.mean([real(runs, s) for s in range(args.real)]):.0%}", flush=True
            )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
