"""How well losses of unseen mixtures are predicted from few proxies, on RegMix's public runs; and how fast.

    python benchmarks/mixer_regmix.py            (16, 32, 64 runs; about a minute)
    python benchmarks/mixer_regmix.py --full     (also 128 and 512 runs)

Mean over the 13 validation losses, on RegMix's 256 test mixtures at 1M parameters: Spearman, R2, coverage of the 90 %
intervals, and what picking by the predictions loses at 60M parameters (the loss there of the mixture that is predicted
to be the best of the 256, minus the least, in nats), side by side for `mixer.laws.Predictor`, LightGBM with RegMix's
settings and the exponential mixing law, each fitted to the same random training runs. Nothing is tuned on the test
mixtures. Data: the folder `regmix` below
HAIGO_SHARED (default: `shared` beside the repository); without it this says so and ends.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from _measure import parser, seconds
from _public_runs import chosen, table

from mixer import laws
from mixer.objective import Objective
from mixer.recommend import recommend
from mixer.supply import Constraints

GOALS = {16: 0.950, 32: 0.980, 64: 0.987, 512: 0.992}


TITLES = {"auto": "haigo", "regmix": "LightGBM (RegMix)", "explaw": "exponential law"}


def judged(name: str, n: int, seeds: int) -> str:
    """A row: how well a law that is fitted to n training runs says the test mixtures, over random subsets."""
    train, test, large = table("train"), table("test"), table("test", "60m")
    rows: list[list[float]] = []
    for seed in range(seeds):
        which = chosen(train, n, seed)
        spent, law = seconds(partial(laws.make(name).fit, train.weights[which], train.losses[which]))
        more, predicted = seconds(partial(law.predict, test.weights))
        card = laws.report_card(test.losses, predicted, test.metrics, "test runs")
        covered, good = np.nan, np.nan
        if isinstance(law, laws.Predictor):
            hit = np.abs(test.losses - predicted) <= 1.6448536 * law.predict_std(test.weights)
            covered, good = hit.mean(), ((hit.mean(0) >= 0.85) & (hit.mean(0) <= 0.95)).sum()
        picked = float(
            (large.losses[predicted.argmin(axis=0), np.arange(len(test.metrics))] - large.losses.min(0)).mean()
        )
        figures: list[Any] = [np.mean(card.spearman), np.mean(card.r2), covered, good, picked, spent + more]
        rows.append([float(value) for value in figures])
    every = [row[0] for row in rows]
    rho, r2, covered, good, picked, spent = np.mean(rows, axis=0)
    extra = f"{covered:7.1%}  {good:5.1f} of 13" if np.isfinite(covered) else " " * 20
    goal = f"{GOALS[n]:.3f}" if name == "auto" and n in GOALS else ""
    return (
        f"  {n:4d}  {TITLES[name]:<17}  {rho:.4f} ({min(every):.4f}..{max(every):.4f})  {r2:8.3f}  {extra}"
        f"  {picked:8.4f}  {spent:6.2f}   {goal}"
    )


def main() -> int:
    words = parser(__doc__)
    words.add_argument("--full", action="store_true", help="also 128 and 512 runs")
    words.add_argument("--seeds", type=int, default=3, help="random subsets for each number of runs (3)")
    args = words.parse_args()
    train = table("train")
    print(
        "  runs  predictor        Spearman (min..max of subsets)     R2     covered  in 85-95 %  picked 60M  fit s   goal"
    )
    for n in (16, 32, 64, *((128, 512) if args.full else ())):
        for name in TITLES:
            print(judged(name, n, args.seeds if n < 512 else 1), flush=True)
    which = chosen(train, 64, 0)
    objective = Objective(weights=dict.fromkeys(train.metrics, 1.0))
    limits = Constraints(corpora=train.corpora)
    swarm = train.weights[which], train.losses[which]
    spent, _ = seconds(lambda: recommend(*swarm, objective, limits, bootstrap=200, metrics=train.metrics))
    print(
        f"  law, 200 bootstraps and search, 17 corpora x 13 losses x 64 runs: {spent:.1f} s of processor time (goal 20)"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
