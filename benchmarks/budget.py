"""Does `mixer.budget` split a budget well? Splits are tried in simulated worlds, and the planner's is compared with the best.

    python benchmarks/budget.py --state budget.jsonl    (twelve worlds; goes on where it was stopped)
    python benchmarks/budget.py --constants             (what the planner's constants are fitted to, and the fit)

A world says the target's loss of any mixture of 5 to 9 corpora: one of four kinds of random function (saturating sums with
products, the same with a hollow, waves, networks). A proxy of a size, trained on some tokens, sees this loss, another
function that orders mixtures otherwise (as much of it as `mixer.expected_regret` says of that size and so many tokens), and
noise (likewise). So what is judged is the split, given these two: how good they are for real models is another question.

A split is a size, a number of proxies, replicates and rounds; the tokens of each are what the budget pays for. The best split
of a budget is chosen by one half of the seeds and judged, like the planner's, by the other half, and the other way round: the
best of many noisy means looks better than it is. Splits that are clearly worse after two or six swarms are tried no
further. The constants are fitted (--constants) in worlds with other functions of these kinds than those that are reported.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from _measure import parser
from mixer_worlds import World

from mixer import expected_regret, focus
from mixer.arrays import Array
from mixer.design import candidates, propose
from mixer.options import enough_for_two
from mixer.rates import Rate
from mixer.splits import Aim, Split, splits
from mixer.supply import Constraints, FullRepetition

KINDS = ("sums", "waves", "network", "sums with a hollow")
FITTED, REPORTED = (0, 1, 2, 3), (10, 11, 12)
"""Seeds of the worlds' functions."""
SPLITS = (8, 16, 32, 64, 128)
FACED = ((0.05, 0.0), (0.15, 0.0), (0.3, 0.0), (0.15, 0.1), (0.15, 0.4), (0.15, 1.0))
"""Noise and disagreement that the constants are fitted to: what is expected of swarms from hours of a core to days of a GPU."""


@dataclass(frozen=True)
class Lab:
    """A world, and how much of each function a proxy sees."""

    world: World
    spread: float
    """Standard deviation of the target's loss over random mixtures."""

    def measured(self, weights: Array, noise: float, disagreement: float, seed: int) -> Array:
        """What proxies of these mixtures show, (n, 1)."""
        both = self.world.losses(weights)
        rng = np.random.default_rng([seed, len(weights)])
        wrong = np.sqrt(disagreement) * both[:, 1] + noise * rng.standard_normal(len(weights))
        return np.asarray(both[:, :1] + self.spread * wrong[:, None])

    def regret(self, runs: int, rounds: int, noise: float, disagreement: float, seed: int) -> float:
        """Of the mixture that a swarm chooses: 0 the best there is, 1 token share."""
        limits, one = self.world.constraints, np.ones(1)
        first = runs if rounds == 1 else runs // 2
        w = propose(limits, first, seed, floor=0.01)
        y = self.measured(w, noise, disagreement, seed)
        if rounds == 2:
            more = propose(limits, runs - first, seed, (w, y), 0.01, one)
            w, y = np.vstack([w, more]), np.vstack([y, self.measured(more, noise, disagreement, seed + 7000)])
        found = focus.optima(limits.with_floor(0.01), w, y, one)[0]
        return self.world.regret(found, np.array([1.0, 0.0]))


def lab(kind: str, corpora: int, seed: int) -> Lab:
    """A world of one kind; its second loss has no correlation with the first, and standard deviation 1."""
    rng = np.random.default_rng([seed, corpora, KINDS.index(kind)])
    share = rng.dirichlet(np.full(corpora, 2.0)) * 0.8 + 0.2 / corpora
    target, other = _function(kind, corpora, rng), _function(kind, corpora, rng)
    names = [f"c{j}" for j in range(corpora)]
    limits = Constraints(
        corpora=names, supply=share * 1e12, target_tokens=1e12, max_epochs=4.0, repetition=FullRepetition()
    )
    some = candidates(limits, 2000, np.random.default_rng(0))
    one, two = target(some), other(some)
    slope = np.cov(one, two)[0, 1] / one.var(ddof=1)
    rest = two - slope * one
    middle, unit = rest.mean(), rest.std()

    def losses(weights: Array, which: Any) -> Array:
        first = target(weights)
        return np.stack([first, (other(weights) - slope * first - middle) / unit], axis=1)[:, which]

    here = World(
        name=kind,
        corpora=names,
        metrics=["target", "other"],
        share=share,
        function=losses,
        noise=np.zeros(2),
        limits=limits,
    )
    return Lab(here, float(one.std()))


def _function(kind: str, k: int, rng: np.random.Generator) -> Callable[[Array], Array]:
    """A loss of mixtures, (n, corpora) -> (n,)."""
    use = rng.gamma(0.6, 1.0, k)  # few corpora matter much
    use /= use.sum()
    power, fall = rng.uniform(0.4, 0.9, k), rng.uniform(0.2, 0.6)
    pairs = rng.choice(k, (2, 2), replace=False) if k >= 4 else np.array([[0, 1], [1, 0]])
    bend = rng.uniform(0.1, 0.4, 2)

    def sums(w: Array) -> Array:
        base = (0.03 + (use * w**power).sum(1)) ** -fall
        return np.asarray(base - sum(b * np.sqrt(w[:, i] * w[:, j]) for b, (i, j) in zip(bend, pairs, strict=True)))

    if kind == "sums":
        return sums
    directions, phase = rng.normal(size=(k, 12)) * 2.5, rng.uniform(0, 2 * np.pi, 12)
    size = rng.normal(size=12) * 0.05
    if kind == "waves":
        return lambda w: -(use * np.log(w + 0.02)).sum(1) + np.cos(np.sqrt(w) @ directions + phase) @ size
    if kind == "network":
        out = rng.normal(size=12) * 0.1
        return lambda w: (
            -(use * np.log(w + 0.02)).sum(1) + np.tanh((3 * np.sqrt(w) - 1) @ directions / 2.5 + phase - np.pi) @ out
        )
    hollow = rng.dirichlet(np.full(k, 3.0))
    return lambda w: sums(w) - 0.3 * np.exp(-((np.sqrt(w) - np.sqrt(hollow)) ** 2).sum(1) / 0.08)


class Kept:
    """Regrets by their key, in a file."""

    def __init__(self, path: str | None) -> None:
        self.path, self.rows = path, {}
        if path and Path(path).is_file():
            for line in Path(path).read_text(encoding="utf-8").splitlines():
                *key, value = json.loads(line)
                self.rows[tuple(key)] = value

    def of(self, kind: str, corpora: int, seed: int, *how: Any) -> float:
        key = (kind, corpora, seed, *how)
        if key not in self.rows:
            self.rows[key] = _lab(kind, corpora, seed).regret(*how)
            if self.path:
                with Path(self.path).open("a", encoding="utf-8") as handle:
                    handle.write(json.dumps([*key, self.rows[key]]) + "\n")
        return float(self.rows[key])


_LABS: dict[Any, Lab] = {}


def _lab(*key: Any) -> Lab:
    if key not in _LABS:
        _LABS.clear()
        _LABS[key] = lab(*key)
    return _LABS[key]


def grid(kept: Kept) -> dict[tuple[int, int, int, float, float], float]:
    """(corpora, runs, rounds, noise, disagreement) -> mean regret over kinds of worlds, their seeds and draws."""
    made: dict[Any, list[float]] = {}
    for kind in KINDS:
        for corpora in (5, 9):
            for seed in FITTED:
                for runs in (8, 16, 32, 64):
                    for rounds in (1, 2) if enough_for_two(runs, corpora) else (1,):
                        for noise, other in FACED:
                            values = [kept.of(kind, corpora, seed, runs, rounds, noise, other, seed)]
                            made.setdefault((corpora, runs, rounds, noise, other), []).extend(values)
    return {key: float(np.mean(values)) for key, values in made.items()}


def fitted(means: dict[tuple[int, int, int, float, float], float]) -> dict[str, float]:
    """The constants of `mixer.expected_regret` for which it says these means best (least squares of logarithms)."""
    from scipy.optimize import least_squares

    names = ("FLOOR", "LAW", "NOISY", "FALL", "TRANSFER", "BEND", "NARROW")

    def said(values: Array) -> Array:
        for name, value in zip(names, values, strict=True):
            setattr(expected_regret, name, float(value))
        swarms = [
            expected_regret.Swarm(corpora=k, runs=n, rounds=r, noise=s, disagreement=d) for k, n, r, s, d in means
        ]
        return np.log(np.array([expected_regret.regret(each) for each in swarms]) + 0.01)

    start = np.array([getattr(expected_regret, name) for name in names])
    seen = np.log(np.array(list(means.values())) + 0.01)
    low, high = (
        np.array([0.0, 1e-3, 0.0, 0.1, 0.0, 0.3, 0.0]),
        np.array([1.0, 20.0, 100.0, 3.0, 20.0, 2.0, 4.0]),
    )
    answer = least_squares(lambda x: said(x) - seen, start, bounds=(low, high), x_scale=np.maximum(start, 0.1))
    for key, value, model in zip(means, means.values(), np.exp(said(answer.x)) - 0.01, strict=True):
        print(f"  {key}: {value:.3f}, said {model:.3f}")
    return dict(zip(names, np.round(answer.x, 3).tolist(), strict=True))


SIZES = (Rate(model="small", parameters=1e6, tokens_per_s=9000), Rate(model="middle", parameters=1e7, tokens_per_s=1800),
         Rate(model="large", parameters=1e8, tokens_per_s=300))  # fmt: skip
TARGET = 1e9
HOURS = (4.0, 40.0)


RACE = ((2, 2.0), (6, 1.4))
"""After so many swarms each, splits whose mean is this many times the least are tried no further."""


def judge(kept: Kept, seeds: int) -> None:
    """A line a world and budget: the planner's split, the best one, and their regrets."""
    close, ratios, excess, said = [], [], [], []
    worlds = [(kind, seed) for seed in REPORTED for kind in KINDS]
    for number, (kind, world_seed) in enumerate(worlds):
        corpora, hours = 5 + number % 5, HOURS[number % len(HOURS)]
        aim = Aim(corpora=corpora, size=TARGET, noise_known=True)
        tried = [each for each in splits(SIZES, hours, aim) if tried_out(each)]
        values, middle = raced(kept, kind, corpora, world_seed, tried, seeds)
        halves = slice(0, seeds // 2), slice(seeds // 2, None)
        picked = [(int(np.nanargmin(values[:, one].mean(1))), other) for one, other in (halves, halves[::-1])]
        ours, least = float(values[0].mean()), float(np.mean([values[k, other].mean() for k, other in picked]))
        apart = np.concatenate([values[0, other] - 1.1 * values[k, other] for k, other in picked])
        error = float(apart.std(ddof=1) / np.sqrt(seeds) / least)
        close.append(ours <= 1.1 * least)
        ratios.append(ours / least)
        excess.append(ours - least)
        said.append(tried[0].regret / ours)
        top = tried[int(np.nanargmin(values.mean(1)))]
        judged = f"{ours / least:.2f} times, error {error:.2f}   median of {len(tried)} {middle:.3f}"
        print(
            f"{kind:<20} {corpora} corpora, {hours:4.0f} h: {named(tried[0]):<24} {ours:.3f} (said {tried[0].regret:.3f})"
            f"   best {named(top):<24} {least:.3f}   {judged}",
            flush=True,
        )
    print(
        f"within 10 % of the best split: {np.mean(close):.0%} of {len(close)}; ratio: median {np.median(ratios):.2f}, mean "
        f"{np.mean(ratios):.2f}; excess: mean {np.mean(excess):+.4f}, largest {max(excess):+.3f}; regret said: "
        f"{min(said):.2f} to {max(said):.2f} times the actual one, median {np.median(said):.2f}"
    )


def raced(kept: Kept, kind: str, corpora: int, world_seed: int, tried: list[Split], seeds: int) -> tuple[Array, float]:
    """Regrets (splits, seeds), nan of those that were clearly worse after a few swarms, and the median split's after two.

    The planner's split, the first, is never left out.
    """
    values = np.full((len(tried), seeds), np.nan)
    left, done, middle = np.arange(len(tried)), 0, 0.0
    for until, times in (*RACE, (seeds, np.inf)):
        for k in left.tolist():
            values[k, done:until] = regrets(kept, kind, corpora, world_seed, tried[k], range(done, until))
        mean = values[left, :until].mean(axis=1)
        middle = middle or float(np.median(mean))
        left, done = left[(mean <= times * mean.min()) | (left == 0)], until
    return values, middle


def tried_out(split: Split) -> bool:
    """Splits that are simulated: of all that the planner weighs, those with these numbers of proxies."""
    return split.runs in SPLITS and (split.replicates == 1 or split.runs == 32)


def named(split: Split) -> str:
    times = f" x {split.replicates}" if split.replicates > 1 else ""
    return f"{split.runs}{times} {split.model}, {split.rounds} round{'s' * (split.rounds > 1)}"


def regrets(kept: Kept, kind: str, corpora: int, world_seed: int, split: Split, seeds: range) -> list[float]:
    noise = round(split.noise / split.replicates**0.5, 4)
    other = round(split.rank**-2 - 1, 4)
    how = (split.runs, split.rounds, noise, other)
    return [kept.of(kind, corpora, world_seed, *how, seed) for seed in seeds]


def main() -> int:
    words = parser(__doc__)
    words.add_argument("--constants", action="store_true", help="fit the planner's constants")
    words.add_argument("--seeds", type=int, default=18, help="swarms of every split that may be the best (18)")
    words.add_argument("--state", help="file that keeps what was simulated")
    args = words.parse_args()
    warnings.simplefilter("ignore")
    kept = Kept(args.state)
    if args.constants:
        print(fitted(grid(kept)))
    else:
        judge(kept, args.seeds)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
