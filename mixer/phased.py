"""Whether a second mixture, for the last part of a run, would be worth something -- by runs that had two.

A law of two mixtures has too many coefficients for the runs that anybody trains. Here one number is learnt: how much the last
part of a run counts. With `late` the run is taken for one on the mixture (1 - late) * first + late * second, whatever the
share of its tokens was. Where `late` is that share, the order does not matter, and nothing is offered; where it is more, a
corpus that runs short is best kept for the end. Runs support it only if left-out runs are predicted better with such a number
than without, the number chosen without the runs that it is judged by.

No public study has found a surrogate that picks two mixtures reliably: what comes out is an offer, with an interval.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from haigo.cli import HaigoError
from haigo.formats.tables import Ratios
from mixer.arrays import Array
from mixer.curve_law import CurveLaw, folds, left_out_of
from mixer.laws_share import EffectiveShareLaw
from mixer.limits import Limits
from mixer.mixture import rounded

LEAST_RUNS = 16
"""Runs with two different mixtures below which nothing is asked."""
_LATE = np.array([0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9])
_BETTER = 0.05  # part of the squared left-out error that the number must take away
_RESAMPLED = 2000
_STARTS = 4
_DRAWS = 60  # refits behind the interval, at most


@dataclass(frozen=True)
class Offer:
    """A second mixture, or why there is none."""

    reason: str
    """What the runs say, a sentence."""
    late: float | None = None
    """How much the last part counts; its share of the tokens where that says no more."""
    first: Array | None = None
    second: Array | None = None
    """(corpora,); None where nothing is offered."""
    worth: dict[str, Any] | None = None
    """By how much the objective is lower than with the best single mixture, by the same law: mean, interval (90 %)."""

    def document(self, corpora: list[str], share: float, target_tokens: float, unit: str) -> dict[str, Any]:
        """What a mixture.yml with phases holds."""
        assert self.first is not None and self.second is not None and self.worth is not None
        parts = ((1 - share, self.first), (share, self.second))
        return {
            "phases": [
                {"tokens": round(part * target_tokens), "weights": dict(zip(corpora, weights.tolist(), strict=True))}
                for part, weights in parts
            ],
            "worth": {**self.worth, "unit": unit},
            "late": self.late,
            "notes": [self.reason],
        }


def none_has_two() -> HaigoError:
    """What is wrong with a table of single mixtures."""
    return HaigoError(
        "no run has a second mixture.", "add columns CORPUS@2 and second_phase to ratios.csv", option="phases"
    )


def offer(known: Ratios, losses: Array, coefficients: Array, limits: Limits, seed: int = 0, draws: int = 100) -> Offer:
    """Look for a second mixture.

    Args:
        known: runs with two mixtures (`Ratios.second`), and any with one.
        losses: (runs, metrics) in their order, lower is better.
        coefficients: (metrics,) of the objective, which is lowered.
        limits: on the mean of both over the tokens.
        draws: bootstrap refits behind the interval.

    Raises:
        HaigoError: the table has no second mixtures.
    """
    if known.second is None or known.first is None or known.share is None:
        raise none_has_two()
    share, one, two = known.share, known.first, known.second
    apart = int((np.abs(one - two).sum(axis=1) > 0.02).sum())
    if apart < LEAST_RUNS:
        return Offer(f"{apart} runs have two different mixtures, and {LEAST_RUNS} are the least that say anything.")
    used = np.flatnonzero(coefficients)
    y, coefficients = losses[:, used], coefficients[used]
    grid = np.unique(np.r_[share, _LATE])
    errors = np.array([_left_out((1 - late) * one + late * two, y, coefficients, seed) for late in grid])
    plain = errors[int(np.flatnonzero(grid == share)[0])]
    place = folds(len(y), min(5, len(y)), seed)
    chosen = np.empty(len(y))
    for fold in range(int(place.max()) + 1):
        inside = place == fold
        chosen[inside] = errors[int(errors[:, ~inside].mean(axis=1).argmin())][inside]
    gains = plain - chosen
    drawn = np.random.default_rng(seed).integers(len(gains), size=(_RESAMPLED, len(gains)))
    low = float(np.quantile(gains[drawn].mean(axis=1), 0.05))
    late, part = float(grid[int(errors.mean(axis=1).argmin())]), float(gains.mean() / max(plain.mean(), 1e-300))
    if low <= 0 or part < _BETTER or late <= share:
        return Offer(
            f"Left-out runs are predicted no better when the last {share:.0%} of the tokens counts for more than its share "
            f"({part:+.0%} of the squared error): one mixture will do.",
            share,
        )
    left = f"left-out runs: {part:.0%} of the squared error less"
    said = f"the last {share:.0%} of the tokens counts for about {late:.0%} ({left})"
    runs = _Runs(one, two, share, y, coefficients, grid, errors)
    first, second, worth = _pair(runs, late, limits, seed, min(draws, _DRAWS))
    if worth["interval"][0] <= 0:
        return Offer(f"{said}, but no pair of mixtures within the limits is surely better than one mixture.", late)
    return Offer(
        f"{said}; what that is worth is the law's own word, and no run has shown it.", late, first, second, worth
    )


@dataclass(frozen=True)
class _Runs:
    """Runs with two mixtures, and how well each of `grid` predicts them when they are left out, (grid, runs)."""

    one: Array
    two: Array
    share: float
    y: Array
    coefficients: Array
    grid: Array
    errors: Array


def _pair(runs: _Runs, late: float, limits: Limits, seed: int, draws: int) -> tuple[Array, Array, dict[str, Any]]:
    """The two mixtures that the law likes best, within the weights that runs have had, and what they are worth against the best
    single one: by refits to runs drawn anew, which choose how much the last part counts anew too."""
    law = EffectiveShareLaw(seed=seed)
    law.fit((1 - late) * runs.one + late * runs.two, runs.y)
    k = len(limits.corpora)
    single = _search(law, runs.coefficients, limits, np.eye(k), np.eye(k))
    mean, felt = (np.hstack([(1 - each) * np.eye(k), each * np.eye(k)]) for each in (runs.share, late))
    both = np.hstack([runs.one, runs.two])
    seen = list(zip(both.min(axis=0).tolist(), both.max(axis=0).tolist(), strict=True))
    pair = _search(law, runs.coefficients, limits, mean, felt, np.r_[single, single], seen)
    first, second = rounded(pair[:k]), rounded(pair[k:])
    random, lower = np.random.default_rng(seed), np.empty(draws)
    for draw in range(draws):
        rows = random.integers(len(runs.y), size=len(runs.y))
        own = float(runs.grid[int(runs.errors[:, rows].mean(axis=1).argmin())])
        again = EffectiveShareLaw(seed=seed)
        again.fit((1 - own) * runs.one[rows] + own * runs.two[rows], runs.y[rows])
        at = again.predict(np.stack([single, (1 - own) * first + own * second])) @ runs.coefficients
        # what two further runs would differ by: the law is wrong at each as it is at runs that it has not seen
        wrong = np.sqrt(2 * runs.errors[:, rows].mean(axis=1).min())
        lower[draw] = at[0] - at[1] + random.normal() * wrong
    interval = [float(each) for each in np.quantile(lower, [0.05, 0.95])]
    return first, second, {"mean": float(lower.mean()), "interval": interval}


def _left_out(weights: Array, y: Array, coefficients: Array, seed: int) -> Array:
    """(runs,) squared left-out error of the objective."""
    law = EffectiveShareLaw(seed=seed)
    law.fit(weights, y)
    return np.asarray(((left_out_of(law, seed)[0] - y) @ coefficients) ** 2)


def _search(
    law: CurveLaw,
    coefficients: Array,
    limits: Limits,
    mean: Array,
    felt: Array,
    start: Array | None = None,
    seen: list[tuple[float, float]] | None = None,
) -> Array:
    """The point whose mixture `felt @ x` the law likes best: each part of it is a mixture within what was `seen`, and
    `mean @ x` is within the limits."""
    from scipy.optimize import minimize

    k, size = len(limits.corpora), mean.shape[1]

    def value(x: Array) -> float:
        return float(law.predict(np.maximum(felt @ x, 0.0)[None])[0] @ coefficients)

    def slope(x: Array) -> Array:
        point, step = np.maximum(felt @ x, 0.0), 1e-6
        moved = law.predict(np.vstack([point + step * np.eye(k), point[None]])) @ coefficients
        return np.asarray(felt.T @ ((moved[:-1] - moved[-1]) / step))

    rows = [limits.rows @ mean, mean, -mean] if len(limits.rows) else [mean, -mean]
    bounds = np.concatenate([*([limits.bounds] if len(limits.rows) else []), limits.upper, -limits.lower])
    sums = np.kron(np.eye(size // k), np.ones(k))
    rules: list[dict[str, Any]] = [
        {"type": "eq", "fun": lambda x: sums @ x - 1, "jac": lambda x: sums},
        {"type": "ineq", "fun": lambda x: bounds - np.vstack(rows) @ x, "jac": lambda x: -np.vstack(rows)},
    ]
    random = np.random.default_rng(0)
    middle = limits.project(np.full(k, 1.0 / k))
    starts = [np.tile(middle, size // k) if start is None else start]
    starts += [np.tile(limits.project(random.dirichlet(np.ones(k))), size // k) for _ in range(_STARTS)]
    best: Array | None = None
    for each in starts:
        made = minimize(value, each, jac=slope, bounds=seen or [(0, 1)] * size, constraints=rules, method="SLSQP")
        point = np.clip(np.asarray(made.x), 0, 1)
        off = max(float((np.vstack(rows) @ point - bounds).max()), float(np.abs(sums @ point - 1).max()))
        if off < 1e-6 and (best is None or value(point) < value(best)):
            best = point
    return starts[0] if best is None else best
