"""How well losses of unseen mixtures are predicted from few proxies, on RegMix's public runs; and how fast.

    python benchmarks/mixer_regmix.py            (16, 32, 64 runs; about a minute)
    python benchmarks/mixer_regmix.py --full     (also 128 and 512 runs)
    python benchmarks/mixer_regmix.py --intervals     (of how many losses 85 to 95 % lie in the 90 % intervals; a minute)

Mean over the 13 validation losses, on RegMix's 256 test mixtures at 1M parameters: Spearman, R2, coverage of the 90 %
intervals, and what picking by the predictions loses at 60M parameters (the loss there of the mixture that is predicted
to be the best of the 256, minus the least, in nats), side by side for `mixer.laws.Predictor`, LightGBM with RegMix's
settings and the exponential mixing law, each fitted to the same random training runs. Nothing is tuned on the test
mixtures. With --intervals, 64 runs and six subsets: training runs left out and test runs at 1M, test runs left out at 60M;
beside them, for how many losses that would be so with intervals that are right but for chance: of a width, over the printed
one, that 90 % of all these errors have, judged by as many drawn from them; and of one that 64 of them say.
Data: the folder `regmix` below HAIGO_SHARED (default: `shared` beside the repository); without it this says so and ends.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from _measure import parser, seconds
from _public_runs import chosen, table

from mixer import laws
from mixer.arrays import Array, Flags
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


def within(hit: Flags) -> float:
    """Losses (last axis but one: of runs) of which 85 to 95 % are held."""
    part = hit.mean(axis=-2)
    return float(((part >= 0.85) & (part <= 0.95)).sum(axis=-1).mean())


def right(far: Array, rng: np.random.Generator, draws: int = 400) -> tuple[float, float]:
    """Losses within 85 to 95 % of intervals that are right but for chance: of the width that holds 90 % of these errors, in
    printed widths (runs, metrics), and of the width (times one number for all losses) that 64 of them say by their size."""
    runs = len(far)
    judged = np.stack([far[rng.integers(runs, size=runs)] for _ in range(draws)])
    size = np.sqrt(np.stack([(far[rng.integers(runs, size=64)] ** 2).mean(axis=0) for _ in range(draws)]))[:, None]
    times = min(np.arange(1.3, 2.0, 0.02), key=lambda t: abs(float((judged <= t * size).mean()) - 0.9))
    return within(judged <= np.quantile(far, 0.9, axis=0)), within(judged <= times * size)


def intervals(subsets: int) -> None:
    train, test, large = table("train"), table("test"), table("test", "60m")
    for size, public in (("1M", train), ("60M", large)):
        rows: dict[str, list[list[float]]] = {}
        for seed in range(subsets):
            order = np.random.default_rng([seed, 64]).permutation(len(public.runs))
            law = laws.Predictor().fit(public.weights[order[:64]], public.losses[order[:64]])
            judges = {"left out": (public.weights[order[64:]], public.losses[order[64:]])}
            if size == "1M":
                judges["test runs"] = test.weights, test.losses
            for title, (w, y) in judges.items():
                far = np.abs(y - law.predict(w)) / law.predict_std(w)
                hit = far <= 1.6448536
                rows.setdefault(title, []).append(
                    [float(hit.mean()), within(hit), *right(far, np.random.default_rng(seed))]
                )
        for title, made in rows.items():
            held, good, sure, said = np.mean(made, axis=0)
            print(
                f"{size} {title}: held {held:.1%}, {good:.1f} of 13 losses within 85-95 %; right ones: {sure:.1f}, "
                f"with a width that 64 errors say {said:.1f}",
                flush=True,
            )


def main() -> int:
    words = parser(__doc__)
    words.add_argument("--intervals", action="store_true", help="only the 90 %% intervals of 64 runs")
    words.add_argument("--full", action="store_true", help="also 128 and 512 runs")
    words.add_argument("--seeds", type=int, default=3, help="random subsets for each number of runs (3)")
    args = words.parse_args()
    if args.intervals:
        intervals(6)
        return 0
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
