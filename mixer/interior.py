"""Least value of a convex function over a mixture's limits, for many corpora: a primal-dual interior-point method.

A mixing law bends along each weight by itself and along its own slope, so its second derivative is a diagonal and a few
columns. With that, a Newton step for 200 corpora costs as much as reading the law, and an answer takes some thirty of them
(Boyd and Vandenberghe, Convex Optimization, chapter 11; the inverse by Woodbury's formula). SLSQP, which the search uses for
fewer corpora, keeps a dense matrix and needs seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mixer.arrays import Array, Flags, Numbers
from mixer.limits import Limits

Bent = Callable[[Array], tuple[Array, Array, Array]]
"""weights (corpora,) -> gradient (corpora,), and its curvature: diagonal (corpora,) and columns (corpora, r); the second
derivative is diag(diagonal) + columns columns'."""
Bounded = Callable[[Array], tuple[Array, Array, Array, Array, Numbers]]
"""weights (corpora,) -> values (m,) that must be <= 0, gradients (m, corpora), and curvature: diagonals (m, corpora), columns
(corpora, r) and which of the m each column belongs to (r,)."""

_CENTRE = 0.15  # part of the mean complementarity that a step aims at
_STEPS = 60
_LEAST = 1e-15  # a slack is never nearer to 0 than rounding lets it be told
_NEARLY = 0.995  # part of the way to the boundary that a step may go


@dataclass
class _Point:
    """Where the method stands: weights between their limits, slacks of rows, and a price for every limit."""

    x: Array
    slack: Array
    low: Array
    high: Array
    row: Array
    total: float


def solve(bent: Bent, limits: Limits, start: Array, bounded: Bounded | None = None, exact: float = 1e-9) -> Array:
    """The mixture within the limits where a convex function is least, (corpora,).

    Args:
        bent: the function's gradient and curvature.
        start: any mixture near.
        bounded: further convex functions that must be at most 0.
        exact: mean product of a limit's slack and price at which to stop.
    """
    room = limits.upper - limits.lower
    free = room > 1e-12
    left = 1.0 - float(limits.lower.sum())
    if not free.any() or not 1e-12 < left < float(room[free].sum()) - 1e-12:
        return limits.project(start)
    inner = limits.lower + room * left / float(room[free].sum())
    w = 0.9 * limits.project(start) + 0.1 * inner
    system = _System(bent, bounded, limits, free, w)
    at = system.begin()
    residual = system.read(at)
    for _ in range(_STEPS):
        # rounding in a level set that is a hundredth wide leaves some 1e-7 of the conditions open
        if system.gap(at) < exact * (1.0 if residual < 1e-6 else 1e-2):
            break
        step = system.step(at)
        for _ in range(6):
            trial = _moved(at, step)
            found = system.read(trial)
            if np.isfinite(found) and found <= 2.0 * residual + 1e-6:
                break
            step = _Point(*(0.4 * part for part in vars(step).values()))
        at, residual = trial, found
        if not np.isfinite(residual):
            return limits.project(start)
    return limits.project(system.whole(at.x))


def _moved(at: _Point, step: _Point) -> _Point:
    return _Point(*(old + change for old, change in zip(vars(at).values(), vars(step).values(), strict=True)))


class _System:
    """The optimality conditions, and Newton's step for them."""

    def __init__(self, bent: Bent, bounded: Bounded | None, limits: Limits, free: Flags, w: Array) -> None:
        self.bent, self.bounded, self.free, self.w = bent, bounded, free, w
        self.lower, self.upper = limits.lower[free], limits.upper[free]
        self.rows = limits.rows[:, free]
        self.bounds = limits.bounds - limits.rows[:, ~free] @ limits.lower[~free]
        self.left = 1.0 - float(limits.lower[~free].sum())

    def whole(self, x: Array) -> Array:
        made = self.w.copy()
        made[self.free] = x
        return made

    def begin(self) -> _Point:
        x = self.w[self.free]
        self._evaluate(x)
        slack = np.maximum(np.concatenate([self.bounds - self.rows @ x, -self.values]), 1e-2)
        one = 0.1 * max(float(np.abs(self.gradient - np.median(self.gradient)).mean()), 1e-6)
        narrow = np.mean(np.minimum(x - self.lower, self.upper - x))
        return _Point(
            x, slack, one * narrow / (x - self.lower), one * narrow / (self.upper - x), one * narrow / slack, 0.0
        )

    def _evaluate(self, x: Array) -> None:
        w = self.whole(x)
        gradient, diagonal, columns = self.bent(w)
        self.gradient, self.diagonal, self.columns = gradient[self.free], diagonal[self.free], columns[self.free]
        k = len(x)
        self.values, self.slopes, self.bends = np.empty(0), np.empty((0, k)), np.empty((0, k))
        self.more = np.empty((k, 0))
        self.owner: Numbers = np.empty(0, dtype=np.int64)
        if self.bounded is not None:
            self.values, slopes, bends, more, self.owner = self.bounded(w)
            self.slopes, self.bends, self.more = slopes[:, self.free], bends[:, self.free], more[self.free]

    def read(self, at: _Point) -> float:
        """Evaluate everything at a point; by how much the conditions are missed there."""
        self._evaluate(at.x)
        self.all_rows = np.vstack([self.rows, self.slopes])
        self.missed = np.concatenate([self.rows @ at.x - self.bounds, self.values]) + at.slack
        self.off = float(at.x.sum()) - self.left
        dual = self.gradient + self.all_rows.T @ at.row + at.total - at.low + at.high
        size = 1.0 + float(np.abs(self.gradient).max(initial=0.0))
        return float(np.abs(dual).max() / size + np.abs(self.missed).max(initial=0.0) + abs(self.off))

    def gap(self, at: _Point) -> float:
        """Sum of the products of slacks and prices, which the optimum has at 0."""
        pairs = at.low @ (at.x - self.lower) + at.high @ (self.upper - at.x) + at.row @ at.slack
        return float(pairs) / (2 * len(at.x) + len(at.slack))

    def step(self, at: _Point) -> _Point:
        """Newton's step, shortened to stay inside; `read` must have been called at this point."""
        aim = _CENTRE * self.gap(at)
        below, above = np.maximum(at.x - self.lower, _LEAST), np.maximum(self.upper - at.x, _LEAST)
        prices = at.row[len(self.rows) :]
        diagonal = self.diagonal + at.low / below + at.high / above + prices @ self.bends
        bent = self.more * np.sqrt(prices[self.owner])
        columns = np.hstack([self.columns, bent, self.all_rows.T * np.sqrt(at.row / at.slack)])
        push = self.gradient + at.total - aim / below + aim / above
        push = push + self.all_rows.T @ (aim / at.slack + at.row / at.slack * self.missed)
        scaled = columns / diagonal[:, None]
        small = np.eye(columns.shape[1]) + columns.T @ scaled

        def inverse(vector: Array) -> Array:
            return np.asarray(vector / diagonal - scaled @ np.linalg.solve(small, scaled.T @ vector))

        by_push, by_one = inverse(push), inverse(np.ones(len(at.x)))
        total = (self.off - by_push.sum()) / by_one.sum()
        x = -by_push - total * by_one
        slack = -self.missed - self.all_rows @ x
        low = aim / below - at.low - at.low / below * x
        high = aim / above - at.high + at.high / above * x
        row = aim / at.slack - at.row - at.row / at.slack * slack
        reach = 1.0
        for value, change in (
            (below, x),
            (above, -x),
            (at.slack, slack),
            (at.low, low),
            (at.high, high),
            (at.row, row),
        ):
            falls = change < 0
            if falls.any():
                reach = min(reach, _NEARLY * float((-value[falls] / change[falls]).min()))
        return _Point(*(reach * part for part in (x, slack, low, high, row, total)))
