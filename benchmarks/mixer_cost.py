"""What the mixer costs in processor seconds, against the number of proxies, corpora and metrics.

    OMP_NUM_THREADS=1 python benchmarks/mixer_cost.py            (some minutes)
    OMP_NUM_THREADS=1 python benchmarks/mixer_cost.py --quick    (without the three largest)

One number is varied, the other two stay at 64 proxies, 17 corpora and 13 metrics. Columns: the fit of the law; its
left-out predictions (leave-one-out up to 64 proxies, ten folds above); 200 bootstrap draws; one exact search for the sum
of all metrics under caps; all of `mixer.recommend` with 200 draws (both fits, left-out runs, draws, the optimum of every
draw, near-optimal ranges, prices); `mixer.laws.Predictor` with its Gaussian process. Simulated losses of a form that is
none of the laws, noise 0.01.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from _measure import in_turn, parser

from mixer import laws
from mixer.arrays import Array
from mixer.laws import EffectiveShareLaw, Predictor
from mixer.objective import Objective
from mixer.optimise import Surface, minimise
from mixer.recommend import recommend
from mixer.supply import Constraints

DRAWS = 200
RUNS, CORPORA, METRICS = (16, 32, 64, 128, 256, 512), (5, 10, 17, 32, 64), (1, 5, 13, 25, 50)
MIDDLE = (64, 17, 13)
COLUMNS = ("fit", "left-out", f"{DRAWS} draws", "search", "recommend", "Predictor")


def swarm(runs: int, corpora: int, metrics: int) -> tuple[Array, Array, Constraints]:
    """Weights, losses, and caps of four times token share."""
    rng = np.random.default_rng(runs + 1000 * corpora + 100_000 * metrics)
    share = rng.dirichlet(np.full(corpora, 2.0))
    w = rng.dirichlet(share * corpora, runs)
    helps = rng.gamma(0.3, 0.5, (metrics, corpora))
    clean = 2.0 + 1.5 / (1.0 + 6.0 * w @ helps.T) + 0.3 * np.exp(-3.0 * np.sqrt(w) @ helps.T)
    y = clean + 0.01 * rng.standard_normal(clean.shape)
    limits = Constraints(corpora=[f"c{j}" for j in range(corpora)], supply=share * 1e9, target_tokens=1e9)
    return w, y, limits


def least(task: Callable[[], Any], repeats: int) -> float:
    """The least of several times, in processor seconds."""
    return min(in_turn({"": task}, repeats)[0][""])


def row(runs: int, corpora: int, metrics: int) -> list[float]:
    w, y, constraints = swarm(runs, corpora, metrics)
    names = [f"m{j}" for j in range(metrics)]
    law, limits = EffectiveShareLaw().fit(w, y), constraints.limits()
    surface = Surface(law, law.theta_[None], constraints)
    function = surface.weighted(1.0 / y.std(axis=0), 0.003, constraints.reference)
    starts = [limits.project(constraints.reference), limits.project(w[int(y.sum(1).argmin())])]
    objective = Objective(weights=dict.fromkeys(names, 1.0))
    return [
        least(lambda: EffectiveShareLaw().fit(w, y), 2),
        least(lambda: laws.left_out_of(law), 2),
        least(lambda: law.bootstrap(DRAWS), 1),
        least(lambda: minimise(function, limits, starts), 2),
        least(
            lambda: recommend(w, y, objective, constraints, bootstrap=DRAWS, metrics=names, force=True),
            1,
        ),
        least(lambda: Predictor().fit(w, y), 1),
    ]


def main() -> int:
    words = parser(__doc__)
    words.add_argument("--quick", action="store_true", help="without 512 proxies, 64 corpora and 50 metrics")
    args = words.parse_args()
    cases = [(n, *MIDDLE[1:]) for n in RUNS]
    cases += [(MIDDLE[0], k, MIDDLE[2]) for k in CORPORA] + [(*MIDDLE[:2], t) for t in METRICS]
    largest = [(RUNS[-1], *MIDDLE[1:]), (MIDDLE[0], CORPORA[-1], MIDDLE[2]), (*MIDDLE[:2], METRICS[-1])]
    row(16, 5, 2)  # imports and caches, not counted
    print(
        "| proxies | corpora | metrics | " + " | ".join(COLUMNS) + " |\n|" + " --- |" * (3 + len(COLUMNS)), flush=True
    )
    for case in dict.fromkeys(cases):
        if args.quick and case in largest:
            continue
        print("| " + " | ".join([*map(str, case), *(f"{s:.2f}" for s in row(*case))]) + " |", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
