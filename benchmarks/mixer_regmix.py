"""How well losses of unseen mixtures are predicted from few proxies, on RegMix's public runs; and how fast.

    python benchmarks/mixer_regmix.py            (16, 32, 64 runs; about a minute)
    python benchmarks/mixer_regmix.py --full     (also 128 and 512 runs)

Mean over the 13 validation losses, on RegMix's 256 test mixtures at 1M parameters: Spearman, R2, coverage of the 90 %
intervals, side by side for `mixer.laws.Predictor`, LightGBM with RegMix's settings and the exponential mixing law, each
fitted to the same random training runs. Nothing is tuned on the test mixtures. Data: the folder `regmix` below
HAIGO_SHARED (default: `shared` beside the repository); without it this says so and ends.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from mixer import laws  # noqa: E402
from mixer.objective import Objective  # noqa: E402
from mixer.proxies import read  # noqa: E402
from mixer.recommend import recommend  # noqa: E402
from mixer.supply import Constraints  # noqa: E402

GOALS = {16: 0.950, 32: 0.980, 64: 0.987, 512: 0.992}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="also 128 and 512 runs")
    parser.add_argument("--seeds", type=int, default=3, help="random subsets for each number of runs (3)")
    args = parser.parse_args()
    folder = Path(os.environ.get("HAIGO_SHARED", ROOT.parent / "shared")) / "regmix"
    if not folder.is_dir():
        print(f"skipped: {folder} is not there (set HAIGO_SHARED to the folder that holds regmix/)")
        return 0
    train = read(folder / "train_mixture_1m.csv", folder / "train_pile_loss_1m.csv")
    test = read(folder / "test_mixture_1m.csv", folder / "test_pile_loss_1m.csv")
    print("  runs  predictor        Spearman (min..max of subsets)     R2     covered  in 85-95 %   fit s   goal")
    for n in (16, 32, 64, *((128, 512) if args.full else ())):
        seeds = range(args.seeds if n < 512 else 1)
        for name in ("auto", "regmix", "explaw"):
            rows: list[list[float]] = []
            every: list[float] = []
            for seed in seeds:
                chosen = np.random.default_rng(seed).permutation(len(train.runs))[:n]
                start = time.process_time()
                law = laws.make(name).fit(train.weights[chosen], train.losses[chosen])
                predicted = law.predict(test.weights)
                spent = time.process_time() - start
                card = laws.report_card(test.losses, predicted, test.metrics, "test runs")
                every.append(float(np.mean(card.spearman)))
                covered, good = np.nan, np.nan
                if isinstance(law, laws.Predictor):
                    hit = np.abs(test.losses - predicted) <= 1.6448536 * law.predict_std(test.weights)
                    covered, good = hit.mean(), ((hit.mean(0) >= 0.85) & (hit.mean(0) <= 0.95)).sum()
                rows.append([float(np.mean(card.r2)), float(covered), float(good), spent])
            r2, covered, good, spent = np.mean(rows, axis=0)
            title = {"auto": "haigo", "regmix": "LightGBM (RegMix)", "explaw": "exponential law"}[name]
            extra = f"{covered:7.1%}  {good:5.1f} of 13" if np.isfinite(covered) else " " * 20
            goal = f"{GOALS[n]:.3f}" if name == "auto" and n in GOALS else ""
            print(
                f"  {n:4d}  {title:<17}  {np.mean(every):.4f} ({min(every):.4f}..{max(every):.4f})  {r2:8.3f}  {extra}"
                f"  {spent:6.2f}   {goal}",
                flush=True,
            )
    chosen = np.random.default_rng(0).permutation(len(train.runs))[:64]
    start = time.process_time()
    recommend(
        train.weights[chosen],
        train.losses[chosen],
        Objective(weights=dict.fromkeys(train.metrics, 1.0)),
        Constraints(corpora=train.corpora),
        bootstrap=200,
        metrics=train.metrics,
    )
    spent = time.process_time() - start
    print(
        f"  law, 200 bootstraps and search, 17 corpora x 13 losses x 64 runs: {spent:.1f} s of processor time (goal 20)"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
