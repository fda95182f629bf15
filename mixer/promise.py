"""What is promised of the recommended mixture: its losses, the gain over the reference and what it loses, with the law's
own error in them.

A law that ranks runs well can still be wrong where it sends you: beyond the best runs, on mixtures chosen because it
thinks well of them. The draws of the law know nothing of that. What does is how the law fared there before: the fifth
of the runs that left-out predictions call the best is held out together, the law is fitted to the others, and what
these runs are above or below its predictions is the error it makes when it is asked beyond what it has seen. Its size is
in the interval, and a part of its size is expected to the better: in all simulated worlds (benchmarks/promise.py) the
mixtures found were better than a convex law said, by about the same part, whether the runs held out had been so or not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from mixer import focus
from mixer.answer import significant
from mixer.arrays import Array, Flags
from mixer.curve_law import CurveLaw
from mixer.problem import Problem
from mixer.proxies import SAME_MIXTURE
from mixer.screened import Screen

_BEST = 0.2  # of the runs are held out together
_LEAST = 4  # runs held out; with fewer than _RUNS in all, single left-out runs have to do
_RUNS = 12
_APART = 0.1  # total variation between two mixtures from which on the errors there have nothing in common
_Z90 = 1.6448536


@dataclass(frozen=True, kw_only=True)
class Rule:
    """What was set by measurement in simulated worlds: benchmarks/promise.py sets it for each world by the others."""

    wider: float = 1.25
    """The recommended mixture lies beyond the runs held out, and the law errs more there."""
    better: float = 0.4
    """Standard deviations of that error by which the recommended mixture is expected to be better than the law says."""
    regret: float = 3.0
    """What a mixture loses is so many times what the draws say, times how much wider the promise is than they are: they
    differ in what the law leaves open, and not in what it cannot say."""
    most: float = 5.0
    """The most that the promise counts as wider than the draws."""
    least: float = 0.1
    """Standard deviations of the promise's error that are lost also where all draws agree, as in a corner of the limits: within
    limits so narrow that they nearly did, the actual loss was rarely less."""


def _apart(task: Problem, best: Array) -> float:
    """Total variation between `best` and the reference; 0 where only rounding tells them apart."""
    apart = 0.5 * float(np.abs(best - task.reference).sum())
    return apart if apart >= SAME_MIXTURE else 0.0


def _far(apart: float) -> float:
    """How much of the law's error at the one mixture it does not make at the other too, 0 to 1."""
    return min(1.0, apart / _APART)


class Pair(NamedTuple):
    """What the law and its draws say of the recommended mixture and of the reference, in this order."""

    apart: float
    """Total variation between the two."""
    centre: Array
    """(2, metrics) of the law as fitted."""
    spread: Array
    """(2, metrics) standard deviation of the draws."""
    noise: Array
    """(metrics,) of runs around the law."""
    coefficients: Array
    """(metrics,) of the minimised sum."""
    sum_spread: float
    """Standard deviation of the draws' sum at the recommended mixture."""
    gain_spread: float
    """The same of their difference between the two."""
    choice: bool = True
    """Whether the limits leave one."""

    @property
    def far(self) -> float:
        return _far(self.apart)


@dataclass(frozen=True, kw_only=True)
class Promise:
    """How the law fared on the best runs when it had not seen them."""

    rests: Array
    """(runs held out, metrics), measured minus predicted; lower is better."""
    objective: Array
    """(metrics,) coefficients of the minimised sum."""
    together: bool
    """Whether they were held out together; else each by itself, which says nothing of what lies beyond all runs."""
    noise: Array
    """(metrics,) standard deviation of one run around the truth, where it is known; 0 elsewhere."""
    rule: Rule = Rule()

    def shift(self, coefficients: Array) -> Array:
        """What the sums `coefficients` (metrics, sums) of metrics are above the law's prediction, (sums,).

        The objective is below it by a part of its error, and each metric as far as it went with the objective before.
        """
        rest, along = self.rests @ self.objective, self.rests @ coefficients
        size = float(np.sqrt((rest**2).mean()))
        part = self.rule.better * self.rule.wider * self.together
        return np.asarray(-part * (along.T @ rest) / len(rest) / max(size, 1e-300))

    def spread(self, coefficients: Array) -> Array:
        """Standard deviation of what a run is off in these sums, (sums,)."""
        return np.asarray(np.sqrt(np.maximum(self._size(coefficients), self.noise**2 @ coefficients**2)))

    def error(self, coefficients: Array) -> Array:
        """The same for the truth without the noise of a run, as far as that is known."""
        size = self._size(coefficients)
        return np.asarray(np.sqrt(np.maximum(size - self.noise**2 @ coefficients**2, 0.1 * size)))

    def _size(self, coefficients: Array) -> Array:
        return np.asarray(self.rule.wider**2 * ((self.rests @ coefficients) ** 2).mean(axis=0))

    def quantile(self, part: float) -> float:
        """Of a standardised error, which is known from so few runs."""
        from scipy.stats import t

        return float(t.ppf(part, len(self.rests)))

    def probability(self, value: Array) -> Array:
        """That a standardised error is below `value`."""
        from scipy.stats import t

        return np.asarray(t.cdf(value, len(self.rests)))

    def run(self, pair: Pair) -> tuple[Array, Array]:
        """What a new run at both mixtures is predicted to show, and half the 90 % interval, (2, metrics) each."""
        one, far = np.eye(len(pair.noise)), pair.far
        noise = np.stack([(1.0 - far) * pair.noise**2 + far * self.spread(one) ** 2, pair.noise**2])
        times = np.array([[_Z90 + far * (self.quantile(0.95) - _Z90)], [_Z90]])
        return pair.centre + np.stack([far * self.shift(one), 0.0 * pair.noise]), times * np.sqrt(
            pair.spread**2 + noise
        )

    def gain(self, pair: Pair) -> tuple[float, float]:
        """What the recommended mixture gains over the reference, and its standard deviation (minimised units)."""
        c = pair.coefficients
        value = (pair.centre[1] - pair.centre[0]) @ c - pair.far * self.shift(c)
        return float(value), float(np.hypot(pair.gain_spread, pair.far * self.error(c)))

    def regret(self, pair: Pair, drawn: float) -> float:
        """What the recommended mixture loses against the best one there is, on average (minimised units).

        Args:
            drawn: what it loses by the draws of the law.
        """
        wrong = float(self.error(pair.coefficients))
        wider = np.hypot(1.0, wrong / max(pair.sum_spread, 1e-300))
        lost = max(self.rule.regret * drawn * min(wider, self.rule.most), self.rule.least * wrong)
        return float(lost * pair.choice)


def examine(
    task: Problem,
    law: CurveLaw,
    left_out: Array,
    believed: Flags,
    counts: Array | None,
    screen: Screen | None,
    noise: Array,
) -> Promise:
    """Hold out the best runs together.

    Args:
        law: a law of the kind that is searched, not fitted.
        left_out: (runs, metrics) predictions of each run without it.
        believed: (runs,) those whose losses are believed.
        counts: (runs,) or (runs, metrics) how much each run tells, as in the fit.
        noise: (metrics,) standard deviation of one run, as far as it is known.
    """
    held = max(_LEAST, round(_BEST * len(task.y)))
    order = np.argsort(np.where(believed, left_out @ task.coefficients, np.inf), kind="stable")
    if len(task.y) < _RUNS or believed.sum() < held + _LEAST:
        rests = (task.y - left_out)[believed]
        rests = rests if len(rests) else task.y - left_out
        return Promise(rests=rests, objective=task.coefficients, together=False, noise=noise)
    best, keep = order[:held], np.sort(order[held:])
    near = focus.counts(task.y[keep] @ task.coefficients) if task.method == "auto" else np.ones(len(keep))
    if counts is not None:
        near = near * counts[keep] if counts.ndim == 1 else near[:, None] * counts[keep]
    if screen is not None:
        screen = replace(screen, at_runs=screen.at_runs[keep])
    law.fit(task.w[keep], task.y[keep], near, screen)
    rests = task.y[best] - law.predict(task.w[best])
    return Promise(rests=rests, objective=task.coefficients, together=True, noise=noise)


def compare(task: Problem, best: Array) -> Pair:
    """What is said of the mixture `best` and of the reference; one that only rounding tells from `best` is `best`."""
    apart = _apart(task, best)
    both = np.stack([best, task.reference if apart else best])
    at, c = task.surface.predict(both), task.coefficients
    return Pair(
        apart=apart,
        centre=task.surface.mean(both),
        spread=at.std(axis=0),
        noise=task.noise,
        coefficients=c,
        sum_spread=float((at[:, 0] @ c).std()),
        gain_spread=float(((at[:, 1] - at[:, 0]) @ c).std()),
        choice=bool((task.limits.upper - task.limits.lower > SAME_MIXTURE).sum() > 1),
    )


def prediction(task: Problem, promise: Promise, pair: Pair) -> dict[str, dict[str, Any]]:
    """Metric -> what a new run at the recommended mixture and at the reference is predicted to show."""
    mean, half = promise.run(pair)
    mean = mean * task.sign
    ends = np.stack([mean, mean - half, mean + half]).clip(*task.objective.bounds(task.names, task.y * task.sign).T)
    said = {}
    for j, name in enumerate(task.names):
        (middle, share), low, high = ends[:, :, j]
        said[name] = {
            "mean": significant(middle),
            "interval": [significant(low[0]), significant(high[0])],
            "token_share": significant(share),
            "token_share_interval": [significant(low[1]), significant(high[1])],
        }
    return said


def gain(task: Problem, promise: Promise, pair: Pair) -> dict[str, Any]:
    """What the recommended mixture gains over the reference: the difference of the means of `prediction`."""
    value, size = promise.gain(pair)
    ends = value + promise.quantile(0.95) * size * np.array([-1.0, 1.0])
    sure = float(promise.probability(np.array(value / size))) if size > 0 else float(value > 0)
    return {
        "mean": significant(value * task.unit),
        "interval": [significant(end * task.unit) for end in ends],
        "probability": round(sure, 3),
        "unit": task.unit_name,
    }


def certain(task: Problem, promise: Promise, best: Array) -> Array:
    """The probability that a run at `best` is below each ceiling, (ceilings,)."""
    over, size = _above(task, promise, best)
    return promise.probability(-over / size)


def ceilings(task: Problem, promise: Promise, best: Array) -> dict[str, dict[str, float]]:
    """Metric -> its ceiling, and the probability that a run at the recommended mixture is below it."""
    if not task.ceiling_names:
        return {}
    limits = (task.sign * task.tops)[task.limited]
    each = zip(task.ceiling_names, limits, certain(task, promise, best), strict=True)
    return {name: {"limit": significant(limit), "probability": round(float(sure), 3)} for name, limit, sure in each}


def unmet(ceilings: Mapping[str, Mapping[str, float]], wanted: float) -> list[str]:
    """A sentence on each of these (as of `ceilings`) that holds less surely than wanted: not every method keeps to them."""
    return [
        f"The ceiling of {name} holds with probability {item['probability']:.2f}, and {wanted:g} is wanted."
        for name, item in ceilings.items()
        if item["probability"] < wanted - 0.02
    ]


def margin(task: Problem, promise: Promise, best: Array, probability: float) -> Array:
    """How far below each ceiling the law must be at `best` for the ceiling to hold with this probability, (ceilings,)."""
    over, size = _above(task, promise, best)
    return np.asarray(over - task.over(best, None) + promise.quantile(probability) * size)


def _above(task: Problem, promise: Promise, best: Array) -> tuple[Array, Array]:
    """How far a run at `best` is expected to be above each ceiling, and how well that is known, (ceilings,) each."""
    one, far = np.eye(len(task.names))[:, task.limited], _far(_apart(task, best))
    drawn = np.array([task.over(best, draw) for draw in range(len(task.surface.draws))])
    run = (1.0 - far) * task.noise[task.limited] ** 2 + far * promise.spread(one) ** 2
    return task.over(best, None) + far * promise.shift(one), np.sqrt(drawn.var(axis=0) + run)
