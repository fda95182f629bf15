"""How often good runs are named as bad ones, and how often bad ones are found, on subsets of RegMix's public runs.

    python benchmarks/mixer_outliers.py            (64 runs, 20 subsets; some minutes)
    python benchmarks/mixer_outliers.py --runs 16 32 128 --subsets 20
    python benchmarks/mixer_outliers.py --regret networks     (what bad runs cost in a simulated world)

Good: training runs at 1M parameters and the test mixtures at 60M, as published, with all 13 losses in use, and with one at
a time. Bad: in the 1M runs, the loss on Pile-CC or whole runs are changed as said; the run counts as found when it is named
with Pile-CC in use. Data: the folder `regmix` below HAIGO_SHARED (default: `shared` beside the repository).
"""

from __future__ import annotations

import numpy as np
from _measure import parser
from _public_runs import table
from mixer_worlds import World, world

from mixer import focus, outliers
from mixer.laws_share import EffectiveShareLaw
from mixer.optimise import Surface, minimise
from mixer.proxies import ProxyTable

PILE_CC = 8
SINGLE = ("pile_cc", "wikipedia_en", "stackexchange")
KINDS = ("0.5 too low", "0.5 too high", "9.9", "exchanged", "twice")
SHIFTS = {"1.5 sd too low": [-1.5], "1 sd too low": [-1.0], "3 sd too high": [3.0], "three, 1.5 sd": [-1.5] * 3}
WHOLE = ["diverged", "row of another run", "two columns exchanged", "mixture of another, 0.5 nats off"]
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
        if kind == "two columns exchanged":
            losses[rows[0], [PILE_CC, seed % PILE_CC]] = losses[rows[0], [seed % PILE_CC, PILE_CC]]
        if kind == "mixture of another, 0.5 nats off":
            weights[rows], losses[rows] = weights[(rows + 1) % runs], losses[(rows + 1) % runs] + 0.5
        hits += len(named(weights, losses, np.array([PILE_CC])) & set(rows.tolist()))
        bad += len(rows)
    return hits / bad


def spoiled(
    weights: np.ndarray, losses: np.ndarray, metric: int, kind: str, bad: int, rng: np.random.Generator
) -> None:
    """Spoil the losses of `bad` runs in one metric, in place."""
    middle = np.argsort(losses[:, metric])[len(losses) // 2 :][:bad]
    rows = middle if kind in ("0.5 too low", "0.5 too high") else rng.choice(len(losses), bad, replace=False)
    if kind == "9.9":
        losses[rows] = 9.9
    elif kind == "exchanged":
        both = np.array([metric, metric - 1])
        losses[rows[:, None], both] = losses[rows[:, None], both[::-1]]
    elif kind == "twice":
        other = (rows + 1) % len(losses)
        weights[rows], losses[rows] = weights[other], losses[other] + 0.5
    else:
        losses[rows, metric] += 0.5 if kind == "0.5 too high" else -0.5


def regrets(name: str, seeds: int) -> None:
    """Regret of single losses in a simulated world with bad runs among 64, beside that without them."""
    here = world(name)
    rows: dict[tuple[str, int], list[float]] = {}
    for seed in range(seeds):
        w, y = here.proxies(64, seed)
        for metric in (here.metrics.index(m) for m in SINGLE):
            c = np.eye(len(here.metrics))[metric]
            for kind in ("clean", *KINDS):
                for bad in (1, 3) if kind != "clean" else (0,):
                    weights, losses = w.copy(), y.copy()
                    if bad:
                        spoiled(weights, losses, metric, kind, bad, np.random.default_rng([seed, metric]))
                    seen = outliers.examine(EffectiveShareLaw(), weights, losses, used=np.array([metric]))
                    rows.setdefault((kind, bad), []).append(here.regret(_best(here, weights, seen, c), c))
    clean = np.mean(rows["clean", 0])
    for (kind, bad), values in rows.items():
        print(
            f"world {name}: {bad} bad of 64, {kind}: regret {np.mean(values):.3f}, {np.mean(values) / clean:.2f} x clean"
        )


def _best(here: World, weights: np.ndarray, seen: outliers.Examined, c: np.ndarray) -> np.ndarray:
    used = np.flatnonzero(c)
    near = focus.counts(seen.losses @ c)
    counts = near if seen.trust is None else near[:, None] * seen.trust[:, used]
    law = EffectiveShareLaw().fit(weights, seen.losses[:, used], counts)
    function = Surface(law, law.theta_[None], here.constraints).weighted(
        c[used], focus.KL * float((seen.losses @ c).std()), here.share
    )
    return minimise(function, here.constraints.limits(), [here.share])


def main() -> int:
    words = parser(__doc__)
    words.add_argument("--regret", help="the regret with bad runs in this world instead (networks, gp, ...)")
    words.add_argument("--runs", type=int, nargs="+", default=[64])
    words.add_argument("--subsets", type=int, default=20)
    args = words.parse_args()
    if args.regret:
        regrets(args.regret, min(args.subsets, 6))
        return 0
    small = table("train")
    for runs in args.runs:
        for name, public in (("1M", small), ("60M", table("test", "60m"))):
            together, single = good(public, runs, args.subsets)
            said = f"{runs} runs, {name}: good runs named {together:.2%} (13 metrics in use), {single:.2%} (one)"
            print(said, flush=True)
        for kind in [*SHIFTS, *WHOLE]:
            print(f"{runs} runs, 1M: {kind}: {found(small, runs, args.subsets, kind):.0%} found", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
