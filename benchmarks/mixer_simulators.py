"""How good are the mixtures that a search recommends? Regret in simulated worlds built from RegMix's public runs.

    python benchmarks/mixer_simulators.py                       (64 proxies, 5 seeds, three worlds; some minutes)
    python benchmarks/mixer_simulators.py --runs 16,32,64 --seeds 10 --worlds gp,networks,trees,gplog,ridge,boosted
    python benchmarks/mixer_simulators.py --sequential          (32 proxies, then 32 near the optimum, against 64 at once)

Regret 0 is the best mixture within the caps (four times token share), 1 is token share itself; means over seeds, and
over three losses for "single". Every method sees the same random proxies; "own design" trains `mixer.design`'s
mixtures instead. RegMix's recipe is LightGBM with its settings and the mean of the best 128 of 100,000 mixtures.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from _measure import parser
from mixer_worlds import CHOSEN_ON, NAMES, World, world

from mixer import focus, methods
from mixer.arrays import Array
from mixer.design import propose
from mixer.laws import EffectiveShareLaw, ExponentialLaw
from mixer.optimise import Surface, minimise

SINGLE = ("pile_cc", "wikipedia_en", "stackexchange")


def search(here: World, law: Any, w: Array, y: Array, coefficients: Array, near: bool) -> Array:
    """The exact search as `mixer.recommend` runs it, without the intervals around it."""
    limits, objective = here.constraints.limits(), y @ coefficients
    if isinstance(law, EffectiveShareLaw):
        found = focus.optima(here.constraints, w, y, coefficients, near)[0]
    else:
        law.fit(w, y)
        surface = Surface(law, law.theta_[None], here.constraints)
        function = surface.weighted(coefficients, focus.KL * float(objective.std()), here.share)
        found = minimise(function, limits, [here.share, limits.project(w[int(objective.argmin())])])
    assert limits.excess(found) <= 1e-6
    return found


def regmix(here: World, w: Array, y: Array, coefficients: Array, seed: int, samples: int) -> Array:
    """RegMix's recipe within the caps."""
    free = np.full(y.shape[1], np.inf)
    return methods.sampled("regmix", w, y, coefficients, here.constraints, free, seed, samples)


def objectives(here: World) -> dict[str, list[Array]]:
    one = np.eye(len(here.metrics))
    return {
        "single": [one[here.metrics.index(name)] for name in SINGLE],
        "mean of 13": [np.full(len(here.metrics), 1.0 / len(here.metrics))],
    }


def regrets(here: World, answers: Callable[[Array], dict[str, Array]]) -> dict[tuple[str, str], float]:
    """(method, objective) -> regret of what each method answers, mean over the objectives' sums of losses."""
    made: dict[tuple[str, str], float] = {}
    for title, sums in objectives(here).items():
        rows: dict[str, list[float]] = {}
        for coefficients in sums:
            for method, answer in answers(coefficients).items():
                rows.setdefault(method, []).append(here.regret(answer, coefficients))
        made |= {(method, title): float(np.mean(values)) for method, values in rows.items()}
    return made


def one_seed(here: World, n: int, seed: int, regmix_runs: list[int], samples: int) -> dict[tuple[str, str], float]:
    """Regrets of every method with one draw of proxies."""
    w, y = here.proxies(n, seed)
    own_w, own_y = here.proxies(n, seed, propose(here.constraints, n, seed))
    large = {m: (w, y) if m == n else here.proxies(m, seed + 1000) for m in regmix_runs}

    def answers(c: Array) -> dict[str, Array]:
        return {
            "haigo": search(here, EffectiveShareLaw(), w, y, c, True),
            "haigo, own design": search(here, EffectiveShareLaw(), own_w, own_y, c, True),
            "plain effective-share law": search(here, EffectiveShareLaw(), w, y, c, False),
            "exponential law": search(here, ExponentialLaw(), w, y, c, False),
            "best proxy": w[int((y @ c).argmin())],
            **{f"RegMix's recipe, {m} runs": regmix(here, *many, c, seed, samples) for m, many in large.items()},
        }

    return regrets(here, answers)


def sequential(here: World, n: int, seed: int) -> dict[tuple[str, str], float]:
    """n proxies of `mixer.design` at once against n/2 of them and n/2 around the optimum that those say."""
    half = n // 2
    once_w, once_y = here.proxies(n, seed, propose(here.constraints, n, seed))
    first_w, first_y = here.proxies(half, seed, propose(here.constraints, half, seed))

    def answers(c: Array) -> dict[str, Array]:
        later = propose(here.constraints, n - half, seed, (first_w, first_y), objective=c)
        near_w, near_y = here.proxies(n - half, seed + 7000, later)
        both_w, both_y = np.vstack([first_w, near_w]), np.vstack([first_y, near_y])
        return {
            "at once": search(here, EffectiveShareLaw(), once_w, once_y, c, True),
            "in two halves": search(here, EffectiveShareLaw(), both_w, both_y, c, True),
        }

    return regrets(here, answers)


def compare(here: World, n: int, seeds: int, one: Callable[[World, int, int], dict[tuple[str, str], float]]) -> None:
    """A line a method: mean and spread of its regrets over the seeds."""
    every: dict[tuple[str, str], list[float]] = {}
    for seed in range(seeds):
        for key, value in one(here, n, seed).items():
            every.setdefault(key, []).append(value)
    for method in dict.fromkeys(method for method, _ in every):
        cells = "   ".join(
            f"{title} {np.mean(every[method, title]):6.3f} (+-{np.std(every[method, title]):.3f})"
            for title in objectives(here)
        )
        print(f"  {n:4d} proxies  {method:<26} {cells}", flush=True)


def main() -> int:
    words = parser(__doc__)
    words.add_argument("--runs", default="64", help="numbers of proxies, separated by commas (64)")
    words.add_argument("--seeds", type=int, default=5)
    words.add_argument("--worlds", default=",".join(CHOSEN_ON), help=f"of {', '.join(NAMES)}")
    words.add_argument("--regmix-runs", default="64,512", help="runs RegMix's recipe gets ('' leaves it out)")
    words.add_argument("--samples", type=int, default=100_000, help="mixtures RegMix's recipe samples")
    words.add_argument("--sequential", action="store_true", help="two halves against all at once")
    args = words.parse_args()
    regmix_runs = [int(m) for m in args.regmix_runs.split(",") if m]
    one = sequential if args.sequential else partial(one_seed, regmix_runs=regmix_runs, samples=args.samples)
    for name in args.worlds.split(","):
        start, here = time.process_time(), world(name)
        print(f"world {name}{'' if name in CHOSEN_ON else ' (not looked at while choosing)'}", flush=True)
        for n in map(int, args.runs.split(",")):
            compare(here, n, args.seeds, one)
        print(f"  {time.process_time() - start:.0f} s of processor time", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
