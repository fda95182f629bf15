"""What is promised of the recommended mixture: its losses, the gain over the reference and what it loses, with the law's
own error in them.

A law that ranks runs well can still be wrong where it sends you: beyond the best runs, on mixtures chosen because it
thinks well of them. The draws of the law know nothing of that. What does is how far off it is for every run that it has
not seen, and how far from all tested mixtures it is asked: in all simulated worlds (benchmarks/promise.py) its error
grew with the distance to the nearest of them, whatever the number of runs and of corpora. So the errors of left-out
runs, good ones counting more, times how much farther the mixture is from its neighbours than these runs are from
theirs, are in the interval; and a part of that is expected to the better, because in the mean of every world the mixtures
found were better than a convex law said.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from mixer import focus
from mixer.answer import significant, sure
from mixer.arrays import Array, Flags
from mixer.curve_law import CurveLaw
from mixer.problem import Problem
from mixer.proxies import SAME_MIXTURE

_NEIGHBOURS = 4
_APART = 0.1  # total variation between two mixtures from which on the errors there have nothing in common
_Z90 = 1.6448536


@dataclass(frozen=True, kw_only=True)
class Rule:
    """What was set by measurement in simulated worlds: benchmarks/promise.py sets it for each world by the others."""

    wider: float = 0.75
    """The law's error at a mixture over that of left-out runs, as far from their neighbours as it is from them."""
    better: float = 0.3
    """Standard deviations of that error by which the recommended mixture is expected to be better than the law says."""
    drawn: float = 0.5
    """Part of the draws' spread that counts beside: what left-out runs are off contains most of what the draws know."""
    known: float = 6.0
    """Degrees of freedom of the error over its expected size: the same table is too confident in one world and too careful in
    another, whatever the number of runs."""
    regret: float = 3.1
    """What a mixture loses is so many times the geometric mean of what the draws say, who differ in what the law leaves open,
    and of the law's error, which they do not know."""
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
    gain_spread: float
    """Standard deviation of the draws' sum at the recommended mixture minus that at the reference."""
    choice: bool = True
    """Whether the limits leave one."""

    @property
    def far(self) -> float:
        return _far(self.apart)


@dataclass(frozen=True, kw_only=True)
class Promise:
    """How far off the law is expected to be at one mixture."""

    rests: Array
    """(runs, metrics), measured minus predicted without them, as much larger as the mixture is farther; lower is better."""
    weights: Array
    """(runs,) how much each tells, summing to 1."""
    objective: Array
    """(metrics,) coefficients of the minimised sum."""
    noise: Array
    """(metrics,) standard deviation of one run around the truth, where it is known; 0 elsewhere."""
    seeds: Array | None = None
    """(metrics,) the part of it that is taken off where the truth without it is promised: that of seeds (None: all). What items
    leave is not: mixtures that are alike do well on the same items, and a law follows them there."""
    rule: Rule = Rule()

    def shift(self, coefficients: Array) -> Array:
        """What the sums `coefficients` (metrics, sums) of metrics are above the law's prediction, (sums,).

        The objective is below it by a part of its error, and each metric as far as it went with the objective before.
        """
        rest, along = self.rests @ self.objective, self.rests @ coefficients
        size = float(np.sqrt(self.weights @ rest**2))
        return np.asarray(-self.rule.better * self.rule.wider * (self.weights * rest) @ along / max(size, 1e-300))

    def spread(self, coefficients: Array) -> Array:
        """Standard deviation of what a run is off in these sums, (sums,)."""
        return np.asarray(np.sqrt(np.maximum(self._size(coefficients), self.noise**2 @ coefficients**2)))

    def error(self, coefficients: Array) -> Array:
        """The same for the truth without the noise of a run, as far as that is known."""
        size, seeds = self._size(coefficients), self.noise if self.seeds is None else self.seeds
        return np.asarray(np.sqrt(np.maximum(size - seeds**2 @ coefficients**2, 0.1 * size)))

    def _size(self, coefficients: Array) -> Array:
        return np.asarray(self.rule.wider**2 * (self.weights @ (self.rests @ coefficients) ** 2))

    def quantile(self, part: float) -> float:
        """Of an error over its expected size."""
        from scipy.special import stdtrit  # scipy.stats takes half a second to import

        return float(stdtrit(self.rule.known, part))

    def probability(self, value: Array) -> Array:
        """That an error over its expected size is below `value`."""
        from scipy.special import stdtr

        return np.asarray(stdtr(self.rule.known, value))

    def draws(self, far: float) -> float:
        """Part of the draws' spread that counts beside."""
        return 1.0 - far * (1.0 - self.rule.drawn)

    def run(self, pair: Pair) -> tuple[Array, Array]:
        """What a new run at both mixtures is predicted to show, and half the 90 % interval, (2, metrics) each."""
        one, far = np.eye(len(pair.noise)), pair.far
        noise = np.stack([(1.0 - far) * pair.noise**2 + far * self.spread(one) ** 2, pair.noise**2])
        times = np.array([[_Z90 + far * (self.quantile(0.95) - _Z90)], [_Z90]])
        return pair.centre + np.stack([far * self.shift(one), 0.0 * pair.noise]), times * np.sqrt(
            (np.array([[self.draws(far)], [1.0]]) * pair.spread) ** 2 + noise
        )

    def gain(self, pair: Pair) -> tuple[float, float]:
        """What the recommended mixture gains over the reference, and its standard deviation (minimised units)."""
        c = pair.coefficients
        value = (pair.centre[1] - pair.centre[0]) @ c - pair.far * self.shift(c)
        return float(value), float(np.hypot(self.draws(pair.far) * pair.gain_spread, pair.far * self.error(c)))

    def regret(self, pair: Pair, drawn: float) -> float:
        """What the recommended mixture loses against the best one there is, on average (minimised units).

        Args:
            drawn: what it loses by the draws of the law.
        """
        wrong = float(self.error(pair.coefficients))
        return max(self.rule.regret * np.sqrt(drawn * wrong), self.rule.least * wrong) * pair.choice


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """How the law fared on every run that it had not seen, and how far from the others these are."""

    rests: Array
    """(runs, metrics), measured minus predicted; lower is better."""
    weights: Array
    """(runs,) how much each tells, summing to 1."""
    mixtures: Array
    """(runs, corpora)"""
    apart: float
    """Total variation between a run and its nearest others, on average."""
    objective: Array
    """As of `Promise`."""
    noise: Array
    """As of `Promise`."""
    seeds: Array
    """As of `Promise`."""

    def at(self, mixture: Array) -> Promise:
        """What is promised at a mixture, (corpora,)."""
        away = float(_to_nearest(mixture[None], self.mixtures)[0])
        farther = away / self.apart if self.apart > 0 else 1.0
        return self._times(farther)

    def _times(self, farther: float) -> Promise:
        return Promise(
            rests=self.rests * farther,
            weights=self.weights,
            objective=self.objective,
            noise=self.noise,
            seeds=self.seeds,
        )

    def at_one(self) -> dict[str, Array]:
        """Of a mixture as far from its neighbours as the runs are from theirs, (metrics,) each: standard deviation of the error
        of `left_out` runs, `shift` of what the mixture found shows, and the `floor` below which no error is."""
        promise, one = self._times(1.0), np.eye(len(self.objective))
        return {"left_out": np.sqrt(promise._size(one)), "shift": promise.shift(one), "floor": self.noise}


def constants() -> dict[str, float]:
    """What a program of another language needs to promise the same (`mixer.law_file`)."""
    from scipy.special import stdtrit  # see `quantile`

    rule = Rule()
    return {
        "neighbours": _NEIGHBOURS,
        "apart": _APART,
        "drawn": rule.drawn,
        "z": _Z90,
        "t": float(stdtrit(rule.known, 0.95)),
    }


def examine(task: Problem, left_out: Array, believed: Flags, noise: Array, seeds: Array) -> LeftOut:
    """Look at what left-out predictions (runs, metrics) were off.

    Args:
        believed: (runs,) those whose losses are believed.
        noise: (metrics,) standard deviation of one run, as far as it is known.
        seeds: (metrics,) the part of it that a seed makes.
    """
    weights = focus.counts(task.y @ task.coefficients) * (believed if believed.any() else 1.0)
    weights = weights / weights.sum()
    apart = float(weights @ _to_nearest(task.w, task.w, but_same=True))
    return LeftOut(
        rests=task.y - left_out,
        weights=weights,
        mixtures=task.w,
        apart=apart,
        objective=task.coefficients,
        noise=noise,
        seeds=seeds,
    )


def _to_nearest(mixtures: Array, runs: Array, but_same: bool = False) -> Array:
    """Mean total variation between each of some mixtures (n, corpora) and the nearest runs, (n,).

    Args:
        but_same: runs of the same mixture are none of these.
    """
    from scipy.spatial.distance import cdist

    away = 0.5 * cdist(mixtures, runs, "cityblock")
    if but_same:
        away[away < SAME_MIXTURE] = np.inf
    nearest = np.sort(away, axis=1)[:, :_NEIGHBOURS]
    there = np.isfinite(nearest)
    return np.asarray(np.where(there, nearest, 0.0).sum(axis=1) / np.maximum(there.sum(axis=1), 1))


def compare(task: Problem, best: Array, law: CurveLaw) -> Pair:
    """What is said of the mixture `best` and of the reference; one that only rounding tells from `best` is `best`.

    Args:
        law: fitted to all runs alike. It knows the reference, which is no good mixture, better than the law that is searched:
            in the simulated worlds with an error of .13 instead of .15 standard deviations.
    """
    apart = _apart(task, best)
    both = np.stack([best, task.reference if apart else best])
    at, c = task.surface.predict(both), task.coefficients
    centre = task.surface.mean(both)
    centre[1] += _far(apart) * (replace(task.surface, law=law).mean(both[1:])[0] - centre[1])
    return Pair(
        apart=apart,
        centre=centre,
        spread=at.std(axis=0),
        noise=task.noise,
        coefficients=c,
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


def certain(task: Problem, left_out: LeftOut, best: Array) -> Array:
    """The probability that a run at `best` is below each ceiling, (ceilings,)."""
    promise = left_out.at(best)
    over, size = _above(task, promise, best)
    return promise.probability(-over / size)


def ceilings(task: Problem, left_out: LeftOut, best: Array) -> dict[str, dict[str, float]]:
    """Metric -> its ceiling, and the probability that a run at the recommended mixture is below it."""
    if not task.ceiling_names:
        return {}
    limits = (task.sign * task.tops)[task.limited]
    each = zip(task.ceiling_names, limits, certain(task, left_out, best), strict=True)
    return {name: {"limit": significant(limit), "probability": round(float(sure), 3)} for name, limit, sure in each}


def unmet(ceilings: Mapping[str, Mapping[str, float]], wanted: float) -> list[str]:
    """A sentence on each of these (as of `ceilings`) that holds less surely than wanted: not every method keeps to them."""
    return [
        f"The ceiling of {name} holds with probability {sure(item['probability'])}, and {wanted:g} is wanted."
        for name, item in ceilings.items()
        if item["probability"] < wanted - 0.02
    ]


def margin(task: Problem, left_out: LeftOut, best: Array, probability: float) -> Array:
    """How far below each ceiling the law must be at `best` for the ceiling to hold with this probability, (ceilings,)."""
    promise = left_out.at(best)
    over, size = _above(task, promise, best)
    return np.asarray(over - task.over(best, None) + promise.quantile(probability) * size)


def _above(task: Problem, promise: Promise, best: Array) -> tuple[Array, Array]:
    """How far a run at `best` is expected to be above each ceiling, and how well that is known, (ceilings,) each."""
    one, far = np.eye(len(task.names))[:, task.limited], _far(_apart(task, best))
    drawn = np.array([task.over(best, draw) for draw in range(len(task.surface.draws))])
    run = (1.0 - far) * task.noise[task.limited] ** 2 + far * promise.spread(one) ** 2
    return task.over(best, None) + far * promise.shift(one), np.sqrt(promise.draws(far) ** 2 * drawn.var(axis=0) + run)
