"""Are the epochs that `mixer.search` chooses the best ones, when it learns from proxies what repetition does?

    python benchmarks/repetition.py                              (simulated worlds; 3 minutes)
    python benchmarks/repetition.py runs/my --case news:wiki:code --case code:wiki:news --seeds 3

Simulated: six corpora, two of which are repeated up to 32 times, 24 proxies of our design. In `fresh` a repeated token is
as good as a new one, in `fades` its worth fades (R* drawn around 10), in `overfits` passes beyond the fifth cost besides,
by their number to the power .7, in `epochs` the loss is a sum of benefits 1 - exp(-rate x epochs) and of softplus costs.
None but `fades` is a law's form.

Trained: of the first corpus of a case there is so little that 40 passes are the weight 1. Proxies with 1 to 32 passes over it
are trained on cuts that match them, the two other corpora varying too; then a grid of longer runs with the same passes, the
third corpus at .15. Chosen is along the grid: "own" for the loss on the scarce corpus, "mean" for the mean of all three.
Regret: the grid's loss at the chosen passes, between its points on a straight line in log passes, above its least one.
"plain": the search without knowledge of passes, which is what proxies that match had before. What is trained is kept in
--output-dir: the same command goes on after a break, and prints what is there (--trained: trains nothing).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from _run_folder import datasets, parser, rows

from haigo.cli import Refused
from launch import proxies
from launch.proxies.epochs import Matching
from mixer.design import propose
from mixer.objective import Objective
from mixer.recommend import recommend
from mixer.supply import Constraints, FullRepetition
from neox_configs import catalogue, shipped

WORLDS = ("fresh", "fades", "overfits", "epochs")
PASSES, THIRD, TARGET = 40.0, 0.15, 1e9
GRID = np.array([1, 2, 4, 5.7, 8, 11.3, 16, 22.6, 32])
CLOSE = 1.5
Losses = Callable[[np.ndarray], np.ndarray]


def chosen(
    w: np.ndarray,
    y: np.ndarray,
    passes: np.ndarray | None,
    metrics: list[str],
    objective: list[str],
    limits: Constraints,
) -> tuple[np.ndarray, bool]:
    """What a search recommends, and whether it learnt what repetition does."""
    goal = Objective(weights=dict.fromkeys(objective, 1.0), standardise=False)
    more: dict[str, Any] = {"metrics": metrics, "passes": passes, "force": True, "bootstrap": 10}
    made = recommend(w, y, goal, limits, **more)
    return made.weights, bool(made.repetition and made.repetition["used"] == "learnt")


# --- simulated -----------------------------------------------------------------------------------------------------------
def world(kind: str, seed: int, k: int = 6, t: int = 4) -> tuple[Losses, np.ndarray]:
    """Losses (n, t) of mixtures (n, k), and the passes over each corpus at the weight 1."""
    r = np.random.default_rng([seed, 3])
    passes = np.r_[40.0, 16.0, np.exp(r.uniform(np.log(0.5), np.log(3), k - 2))]
    own = np.eye(t, k)
    a = np.exp(r.normal(-1.5, 0.8, (t, k))) + own * np.exp(r.normal(0.6, 0.3, (t, k)))
    g, c = r.uniform(0.4, 0.8, (t, k)), r.uniform(1.5, 2.5, t)
    b, alpha = r.uniform(1, 1.6, t), r.uniform(0.2, 0.5, t)
    r_star = np.exp(r.normal(np.log(10), 0.6, k))
    harm, rate = np.exp(r.normal(0, 0.5, (t, k))) * (own + 0.15), np.exp(r.normal(0, 0.5, (t, k)))
    scarce = passes > 4

    def losses(w: np.ndarray) -> np.ndarray:
        e = w * passes
        if kind == "epochs":
            benefit = 1 - np.exp(-rate * (e / np.where(scarce, 4, passes / 3))[:, None, :])
            cost = 0.02 * harm * (np.logaddexp(0, (e - 8) / 3) * scarce)[:, None, :]
            return np.asarray(c + (0.25 * a / a.mean() * (1 - benefit) + cost).sum(2))
        more = np.maximum(e - 1, 0)
        faded = np.where(e > 1, (1 + r_star * (1 - np.exp(-more / r_star))) / passes, w)
        u = w if kind == "fresh" else faded
        made = c + b * (0.05 + (a * u[:, None, :] ** g).sum(2)) ** -alpha
        if kind == "overfits":
            made = made + 0.02 * (harm * (np.maximum(e - 5, 0) ** 0.7)[:, None, :]).sum(2)
        return np.asarray(made)

    return losses, passes


def least(losses: Losses, coefficients: np.ndarray, limits: Constraints, starts: np.ndarray) -> np.ndarray:
    """The best mixture that several searches find."""
    from scipy.optimize import minimize

    room = limits.limits()
    bounds, rules = list(zip(room.lower, room.upper, strict=True)), room.slsqp()
    value = lambda w: float(losses(w[None])[0] @ coefficients)  # noqa: E731
    options = {"maxiter": 300, "ftol": 1e-11}
    found = [minimize(value, w, bounds=bounds, constraints=rules, method="SLSQP", options=options) for w in starts]
    return np.asarray(min(found, key=lambda each: each.fun).x)


def simulated(args: argparse.Namespace) -> None:
    print(f"{'world':<10}{'learnt':>8}{'regret, plain':>15}{'learnt':>8}{'within x1.5, plain':>20}{'learnt':>8}")
    for kind in WORLDS:
        rest = []
        for seed in range(args.first, args.first + args.worlds):
            losses, passes = world(kind, seed)
            names, metrics = [f"c{j}" for j in range(len(passes))], [f"m{i}_bpb" for i in range(4)]
            limits = Constraints(
                corpora=names, supply=TARGET / passes, target_tokens=TARGET, max_epochs=32, repetition=FullRepetition()
            )
            w = propose(limits, args.runs, seed, floor=0.005)
            y = losses(w)
            y += 0.003 * np.random.default_rng([seed, 9]).standard_normal(y.shape)
            for objective in (metrics[:1], metrics[1:2], metrics):
                shares = np.isin(metrics, objective) / len(objective)
                near = w[np.argsort(y @ shares)[:3]]
                best = least(losses, shares, limits, np.vstack([limits.reference, near]))
                at = float(losses(best[None])[0] @ shares)
                j = metrics.index(objective[0])
                one = []
                for known in (None, passes):
                    found, used = chosen(w, y, known, metrics, objective, limits)
                    off = abs(np.log(max(found[j] * passes[j], 0.5) / max(best[j] * passes[j], 0.5)))
                    one += [100 * (float(losses(found[None])[0] @ shares) / at - 1), off <= np.log(CLOSE)]
                rest.append([used, *one])
        used, plain, near_plain, learnt, near_learnt = np.mean(rest, axis=0)
        print(f"{kind:<10}{used:>8.0%}{plain:>14.2f}%{learnt:>7.2f}%{near_plain:>20.0%}{near_learnt:>8.0%}", flush=True)


# --- trained -------------------------------------------------------------------------------------------------------------
def design(runs: int, seed: int) -> np.ndarray:
    """Mixtures (runs, 3) with 1 to 32 passes over the first corpus, one in every part of that range."""
    rng = np.random.default_rng([seed, 17])
    first = 32 ** ((np.arange(runs) + rng.uniform(size=runs)) / runs) / PASSES
    third = (0.08 + 0.52 * rng.permutation((np.arange(runs) + rng.uniform(size=runs)) / runs)) * (1 - first)
    return np.stack([first, 1 - first - third, third], 1).round(6)


def grid() -> np.ndarray:
    first = GRID / PASSES
    return np.stack([first, 1 - first - THIRD, np.full(len(first), THIRD)], 1).round(6)


def losses_of(args: argparse.Namespace, case: list[str], seed: int) -> Iterator[np.ndarray]:
    """Losses (n, 3) of the proxies and of the grid, trained where they are not there."""
    known = datasets(args.run)
    own = catalogue.Catalogue(known.tokenizer, {name: known.corpora[name] for name in case})
    matching = Matching(TARGET, {name: TARGET / (PASSES if name == case[0] else 1.0) for name in case})
    for kind, mixtures, tokens, label in (
        ("proxies", design(args.runs, seed), args.tokens, "p{:03d}"),
        ("grid", grid(), args.grid_tokens, "g{:02d}"),
    ):
        table, folder = rows(case, mixtures, label), args.output_dir / f"{kind}-{case[0]}-{seed}"
        if args.trained and not (folder / "metrics.csv").is_file():
            raise Refused(f"{folder} is not trained.", "leave --trained out")
        done = proxies.run(
            table, own, shipped.find_model(args.model), folder, tokens=tokens, workers=1, seed=seed,
            eval_tokens=12_000, matching=matching, show=False, checkpoints=False,
        )  # fmt: skip
        if done.failed:
            raise SystemExit(f"proxies failed: {done.failed}")
        yield np.array([[done.results[run]["metrics"][f"{name}_bpb"] for name in case] for run in table])


def trained(args: argparse.Namespace) -> None:
    print(f"{'scarce':<12}{'seed':>5} {'loss':<6}{'best':>6}{'plain':>8}{'regret':>8}{'learnt':>8}{'regret':>8}")
    rest = []
    for seed in range(1, args.seeds + 1):
        for case in (word.split(":") for word in args.case):
            try:
                y, on_grid = losses_of(args, case, seed)
            except Refused:
                continue
            limits = Constraints(
                corpora=case,
                lower=np.array([1 / PASSES, 0, THIRD]),
                upper=np.array([32 / PASSES, 1, THIRD]),
                supply=TARGET / np.array([PASSES, 1, 1]),
                target_tokens=TARGET,
                max_epochs=99,
                repetition=FullRepetition(),
            )
            metrics = [f"{name}_bpb" for name in case]
            for name, objective in (("own", metrics[:1]), ("mean", metrics)):
                values = on_grid[:, : len(objective)].mean(axis=1)
                best = GRID[values.argmin()]
                line, used = f"{case[0]:<12}{seed:>5} {name:<6}{best:>6.1f}", False
                for passes in (None, np.array([PASSES, 1, 1])):
                    w, used = chosen(design(args.runs, seed), y, passes, metrics, objective, limits)
                    epochs = w[0] * PASSES
                    lost = 100 * (float(np.interp(np.log(epochs), np.log(GRID), values)) / values.min() - 1)
                    near = best / CLOSE <= epochs <= best * CLOSE
                    rest.append([name == "own", passes is not None, lost, lost <= 0.3, near])
                    line += f"{epochs:>8.1f}{lost:>7.2f}%"
                print(line + ("" if used else "   (the plain law was kept)"), flush=True)
    table = np.array(rest)
    for i, name in ((1, "own"), (0, "mean")):
        for j, how in enumerate(("plain", "learnt")):
            part = table[(table[:, 0] == i) & (table[:, 1] == j)]
            print(
                f"{name}, {how}: regret {part[:, 2].mean():.2f} %, at most .3 % in {part[:, 3].sum():.0f} of {len(part)}, "
                f"within x1.5 of the grid's best in {part[:, 4].sum():.0f}"
            )


def main() -> int:
    words = parser(__doc__)
    words.add_argument("--worlds", type=int, default=8, help="simulated worlds of each kind (default: 8)")
    words.add_argument("--first", type=int, default=100, help="seed of the first (default: 100)")
    words.add_argument("--runs", type=int, help="proxies (default: 24 simulated, 12 trained)")
    words.add_argument("--case", action="append", help="SCARCE:MOST:LITTLE, three corpora of the run; repeatable")
    words.add_argument("--seeds", type=int, default=3, help="of each case (default: 3)")
    words.add_argument("--model", default="0-1M", help="shipped proxy, or a config (default: 0-1M)")
    words.add_argument("--tokens", type=int, default=80_000, help="of a proxy (default: 80,000)")
    words.add_argument("--grid-tokens", type=int, default=128_000, help="of a run of the grid (default: 128,000)")
    words.add_argument(
        "--output-dir", type=Path, default=Path(".cache/repetition"), help="(default: .cache/repetition)"
    )
    words.add_argument("--trained", action="store_true", help="only the cases that are trained already")
    args = words.parse_args()
    if args.run is None:
        args.runs = args.runs or 24
        simulated(args)
        return 0
    if not args.case:
        words.error("name --case SCARCE:MOST:LITTLE")
    args.runs = args.runs or 12
    trained(args)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
