"""What is promised of the recommended mixture: its losses, the gain over the reference and what it loses, with the law's
own error in them.

A law that ranks runs well can still be wrong where it sends you: beyond the best runs, on mixtures chosen because it
thinks well of them. The draws of the law know nothing of that. What does is how the law fared there before: the fifth
of the runs that left-out predictions call the best is held out together, the law is fitted to the others, and what
these runs are above or below its predictions is the error it makes when it is asked beyond what it has seen. Its size is
in the interval. Where these runs are better than predicted, so is the promise, by the mean; where they are worse it is
not moved: in simulated worlds the mixtures found were then as good as predicted (benchmarks/promise.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mixer import focus
from mixer.answer import significant
from mixer.arrays import Array, Flags
from mixer.curve_law import CurveLaw
from mixer.problem import Problem
from mixer.proxies import SAME_MIXTURE
from mixer.screened import Screen

_BEST = 0.2  # of the runs are held out together
_WIDER = 1.25
"""The recommended mixture lies beyond these runs, and the law errs more there. This and what follows was set in the
worlds gp, networks and ridge of benchmarks/promise.py; the others only confirm."""
_LEAST = 4  # runs held out; with fewer than _RUNS in all, single left-out runs have to do
_RUNS = 12
_APART = 0.1  # total variation between two mixtures from which on the errors there have nothing in common
_Z90 = 1.6448536
_REGRET, _MOST = 3.0, 5.0
"""What a mixture loses is so many times what the draws say, times how much wider the promise is than they are (at most
_MOST): they differ in what the law leaves open, and not in what it cannot say. Measured in simulated worlds."""


@dataclass(frozen=True, kw_only=True)
class Promise:
    """How the law fared on the best runs when it had not seen them."""

    rests: Array
    """(runs held out, metrics), measured minus predicted; lower is better."""
    better: bool
    """Whether they were better than predicted, as the objective counts."""
    noise: Array
    """(metrics,) standard deviation of one run around the truth, where it is known; 0 elsewhere."""

    def shift(self, coefficients: Array) -> Array:
        """What the sums `coefficients` (metrics, sums) of metrics are above the law's prediction, (sums,)."""
        return np.asarray((self.rests @ coefficients).mean(axis=0) * self.better)

    def spread(self, coefficients: Array) -> Array:
        """Standard deviation of what a run is off in these sums, (sums,)."""
        return np.asarray(np.sqrt(np.maximum(self._size(coefficients), self.noise**2 @ coefficients**2)))

    def error(self, coefficients: Array) -> Array:
        """The same for the truth without the noise of a run, as far as that is known."""
        size = self._size(coefficients)
        return np.asarray(np.sqrt(np.maximum(size - self.noise**2 @ coefficients**2, 0.1 * size)))

    def _size(self, coefficients: Array) -> Array:
        return np.asarray(_WIDER**2 * ((self.rests @ coefficients) ** 2).mean(axis=0))

    def quantile(self, part: float) -> float:
        """Of a standardised error, which is known from so few runs."""
        from scipy.stats import t

        return float(t.ppf(part, len(self.rests)))

    def probability(self, value: Array) -> Array:
        """That a standardised error is below `value`."""
        from scipy.stats import t

        return np.asarray(t.cdf(value, len(self.rests)))


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
        return Promise(rests=rests if len(rests) else task.y - left_out, better=False, noise=noise)
    best, keep = order[:held], np.sort(order[held:])
    near = focus.counts(task.y[keep] @ task.coefficients) if task.method == "auto" else np.ones(len(keep))
    if counts is not None:
        near = near * counts[keep] if counts.ndim == 1 else near[:, None] * counts[keep]
    if screen is not None:
        screen = replace(screen, at_runs=screen.at_runs[keep])
    law.fit(task.w[keep], task.y[keep], near, screen)
    rests = task.y[best] - law.predict(task.w[best])
    return Promise(rests=rests, better=bool((rests @ task.coefficients).mean() < 0), noise=noise)


def compared(best: Array, reference: Array) -> Array:
    """The mixtures that are compared, (2, corpora): a reference that only rounding tells from `best` is `best`."""
    return np.stack([best, best if _apart(best, reference) < SAME_MIXTURE else reference])


def _apart(best: Array, reference: Array) -> float:
    return 0.5 * float(np.abs(best - reference).sum())


def _far(both: Array) -> float:
    """How much of the law's error at the one mixture it does not make at the other too, 0 to 1."""
    return min(1.0, _apart(*both) / _APART)


def prediction(task: Problem, promise: Promise, both: Array, at: Array, centre: Array) -> dict[str, dict[str, Any]]:
    """Metric -> what a new run at the recommended mixture and at the reference is predicted to show.

    Args:
        both: (2, corpora) these mixtures, as of `compared`.
        at: (draws, 2, metrics) of the draws at both.
        centre: (2, metrics) of the law as fitted.
    """
    one, far = np.eye(len(task.names)), _far(both)
    mean = (centre + np.stack([far * promise.shift(one), np.zeros(len(one))])) * task.sign
    run = np.stack([(1.0 - far) * task.noise**2 + far * promise.spread(one) ** 2, task.noise**2])
    size = np.sqrt(at.var(0) + run) * np.array([[_Z90 + far * (promise.quantile(0.95) - _Z90)], [_Z90]])
    ends = np.stack([mean, mean - size, mean + size]).clip(*task.objective.bounds(task.names, task.y * task.sign).T)
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


def gain(task: Problem, promise: Promise, both: Array, at: Array, centre: Array) -> dict[str, Any]:
    """What the recommended mixture gains over the reference; arguments as of `prediction`, from whose means it follows."""
    far = _far(both)
    value = float((centre[1] - centre[0]) @ task.coefficients - far * promise.shift(task.coefficients))
    size = np.sqrt(((at[:, 1] - at[:, 0]) @ task.coefficients).var() + (far * promise.error(task.coefficients)) ** 2)
    ends = value + promise.quantile(0.95) * float(size) * np.array([-1.0, 1.0])
    sure = promise.probability(value / size) if size > 0 else np.float64(value > 0)
    return {
        "mean": significant(value * task.unit),
        "interval": [significant(end * task.unit) for end in ends],
        "probability": round(float(sure), 3),
        "unit": task.unit_name,
    }


def regret(task: Problem, promise: Promise, at: Array, drawn: float) -> float:
    """What the recommended mixture loses against the best one there is, on average (minimised units).

    Args:
        drawn: what it loses by the draws of the law.
    """
    known = float((at[:, 0] @ task.coefficients).var())
    wrong = float(promise.error(task.coefficients)) ** 2
    return _REGRET * drawn * min(np.sqrt(1.0 + wrong / max(known, 1e-300)), _MOST)


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
    one, far = np.eye(len(task.names))[:, task.limited], _far(compared(best, task.reference))
    drawn = np.array([task.over(best, draw) for draw in range(len(task.surface.draws))])
    run = (1.0 - far) * task.noise[task.limited] ** 2 + far * promise.spread(one) ** 2
    return task.over(best, None) + far * promise.shift(one), np.sqrt(drawn.var(axis=0) + run)
