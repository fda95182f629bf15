"""Many small regularised least-squares problems of one shape, solved side by side (Levenberg-Marquardt in numpy).

Every target, start, bootstrap draw and left-out run of a mixing law is one problem here. Solving them as one stack
is what makes hundreds of bootstraps cost seconds. Knows nothing about mixtures.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from mixer.arrays import Array

Curve = Callable[[Array, Array], tuple[Array, Array]]
"""(theta (problems, p), scale (problems, s)) -> values (problems, n), Jacobian (problems, n, p)."""

_WIDE = 3  # times as many parameters as runs: then the equations are solved in the runs (Woodbury's formula)
_CHUNK = 200_000  # doubles of Jacobian held at once: larger stacks fall out of the processor's cache


@dataclass(frozen=True, slots=True)
class Problems:
    """A stack of problems: minimise sum_n precision (curve - target)^2 + sum_p pull (theta - centre)^2.

    Shapes: target, precision (problems, n); scale (problems, s); centre, pull (problems, p).
    """

    target: Array
    precision: Array
    scale: Array
    centre: Array
    pull: Array

    def __getitem__(self, part: slice) -> Problems:
        return Problems(self.target[part], self.precision[part], self.scale[part], self.centre[part], self.pull[part])


def solve(
    curve: Curve,
    theta: Array,
    problems: Problems,
    iterations: int = 60,
    tolerance: float = 1e-6,
    tick: Callable[[float], None] | None = None,
) -> tuple[Array, Array]:
    """Minimise every problem from its row of `theta` (problems, p).

    Args:
        tick: told, as a part of all problems, how many were solved since the last time.

    Returns:
        the solutions (problems, p) and the objective values (problems,).
    """
    out, score = theta.copy(), np.empty(len(theta))
    step = max(1, _CHUNK // (problems.target.shape[1] * theta.shape[1]))
    for first in range(0, len(theta), step):
        part = slice(first, first + step)
        out[part], score[part] = _stack(curve, theta[part], problems[part], iterations, tolerance)
        if tick is not None:
            tick(len(theta[part]) / len(theta))
    return out, score


def _stack(curve: Curve, start: Array, problems: Problems, iterations: int, tolerance: float) -> tuple[Array, Array]:
    theta = start.copy()
    count, size = theta.shape
    damping = np.full(count, 1e-2)
    quiet = np.zeros(count, dtype=np.int64)

    def objective(point: Array, at: Any, value: Array) -> Array:
        misfit = ((value - problems.target[at]) ** 2 * problems.precision[at]).sum(1)
        return np.asarray(misfit + ((point - problems.centre[at]) ** 2 * problems.pull[at]).sum(1))

    live = np.arange(count)
    value, jacobian = curve(theta, problems.scale)
    best = objective(theta, live, value)
    for _ in range(iterations):
        weighted = jacobian * problems.precision[live][:, :, None]
        gradient = np.matmul((value - problems.target[live])[:, None, :], weighted)[:, 0]
        gradient += problems.pull[live] * (theta[live] - problems.centre[live])
        if size > _WIDE * jacobian.shape[1]:
            move = _wide_step(jacobian, weighted, gradient, problems.pull[live], damping[live])
        else:
            hessian = np.matmul(weighted.transpose(0, 2, 1), jacobian)
            diagonal = hessian.reshape(len(live), -1)[:, :: size + 1]
            diagonal += problems.pull[live]
            diagonal *= 1.0 + damping[live][:, None]
            move = -np.linalg.solve(hessian, gradient[:, :, None])[:, :, 0]
        # parameters live on a log or logit scale: a step beyond 2 is never to be trusted
        move *= np.minimum(1.0, 2.0 / np.maximum(np.abs(move).max(1, keepdims=True), 1e-12))
        trial = theta[live] + move
        trial_value, trial_jacobian = curve(trial, problems.scale[live])
        trial_best = objective(trial, live, trial_value)
        better = trial_best < best[live]
        gain = (best[live] - trial_best) / np.maximum(best[live], 1e-300)
        moved = live[better]
        theta[moved], best[moved] = trial[better], trial_best[better]
        if better.all():
            value, jacobian = trial_value, trial_jacobian
        else:
            value[better], jacobian[better] = trial_value[better], trial_jacobian[better]
        damping[live] = np.clip(np.where(better, damping[live] * 0.3, damping[live] * 4.0), 1e-7, 1e7)
        quiet[live] = np.where(better & (gain < tolerance), quiet[live] + 1, np.where(better, 0, quiet[live]))
        keep = (quiet[live] < 2) & (damping[live] < 1e6)
        if not keep.all():
            live, value, jacobian = live[keep], value[keep], jacobian[keep]
            if not len(live):
                break
    return theta, best


def _wide_step(jacobian: Array, weighted: Array, gradient: Array, pull: Array, damping: Array) -> Array:
    """The same step where a problem has far more parameters than runs: (runs, runs) equations instead of (p, p)."""
    diagonal = pull + damping[:, None] * (np.einsum("tnp,tnp->tp", weighted, jacobian) + pull)
    scaled = jacobian / diagonal[:, None, :]
    # (D + J'PJ)^-1 = D^-1 - D^-1 J' (I + P J D^-1 J')^-1 P J D^-1
    small = np.matmul(weighted, scaled.transpose(0, 2, 1))
    small[:, np.arange(small.shape[1]), np.arange(small.shape[1])] += 1.0
    first = gradient / diagonal
    inner = np.linalg.solve(small, np.matmul(weighted, first[:, :, None]))
    return np.asarray(np.matmul(scaled.transpose(0, 2, 1), inner)[:, :, 0] - first)
