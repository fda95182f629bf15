"""The exact search: a convex function of the mixture, linear limits, convex ceilings, and the price of what binds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np

from haigo.progress import Progress
from mixer import interior
from mixer.arrays import Array, Numbers
from mixer.curve_law import CurveLaw
from mixer.limits import MANY, Limits
from mixer.supply import Constraints

Function = Callable[[Array], tuple[float, Array]]
"""weights (corpora,) -> value, gradient (corpora,)."""
Functions = Callable[[Array], tuple[Array, Array]]
"""weights (corpora,) -> values (m,), gradients (m, corpora)."""

_CEILING_SLACK = 1e-7


@dataclass
class Surface:
    """Predicted (sign-adjusted) metrics as a function of the mixture, with gradients, repetition included.

    The search uses the law as fitted; the draws say how sure it is. (Averaging the search over draws was tried and
    loses: see docs/mixer.md.)
    """

    law: CurveLaw
    draws: Array
    """(draws, targets, p)."""
    constraints: Constraints

    def metrics(self, weights: Array, which: Any, draw: int | None = None) -> tuple[Array, Array]:
        """Metrics numbered `which`, by the law as fitted or by one draw: values (m,), gradients (m, corpora)."""
        return self.at(which, draw)(weights)

    def at(self, which: Any, draw: int | None = None) -> Functions:
        """The same as a function of the mixture alone."""
        theta = (self.law.theta_ if draw is None else self.draws[draw])[which]
        slopes = self.law.at(theta, self.law.scale_[which])

        def metrics(weights: Array) -> tuple[Array, Array]:
            effective, slope = self.constraints.effective(weights)
            value, gradient = slopes(effective[None])
            return value[:, 0], gradient[:, 0] * slope

        return metrics

    def curvature(self, weights: Array, which: Any, draw: int | None = None) -> tuple[Array, Array]:
        """Second derivatives of these metrics, as `CurveLaw.curvature` gives them: diagonals (m, corpora), ratios (m,).

        What fades with repetition bends the metric a little more than said here: a step towards the optimum is longer.
        """
        theta = (self.law.theta_ if draw is None else self.draws[draw])[which]
        effective, slope = self.constraints.effective(weights)
        diagonal, ratio = self.law.curvature(theta, effective[None], self.law.scale_[which])
        diagonal = diagonal * slope**2
        return diagonal, ratio

    def bends(self, weights: Array, which: Any, draw: int | None = None) -> Array:
        """What these have beside that, as `CurveLaw.bends` gives it, (m, corpora, r)."""
        theta = (self.law.theta_ if draw is None else self.draws[draw])[which]
        effective, slope = self.constraints.effective(weights)
        return np.asarray(self.law.bends(theta, effective[None], self.law.scale_[which]) * slope[:, None])

    def predict(self, weights: Array) -> Array:
        """Every draw's prediction of every metric, (draws, n, targets)."""
        effective, _ = self.constraints.effective(np.atleast_2d(weights))
        return self.law.predict_draws(effective)

    def mean(self, weights: Array) -> Array:
        """What the law as fitted predicts, (n, targets)."""
        effective, _ = self.constraints.effective(np.atleast_2d(weights))
        return np.asarray(self.law.values(self.law.theta_, self.law.features(effective), self.law.scale_).T)

    def weighted(self, coefficients: Array, kl: float, prior: Array, draw: int | None = None) -> Weighted:
        """sum_m coefficient_m metric_m + kl * KL(weights || prior)."""
        safe = np.maximum(prior, 1e-4)
        return Weighted(self, np.flatnonzero(coefficients), coefficients, kl, safe / safe.sum(), draw)


@dataclass(frozen=True)
class Weighted:
    """A weighted sum of metrics with a pull to a prior: weights (corpora,) -> value, gradient (corpora,)."""

    surface: Surface
    which: Numbers
    coefficients: Array
    kl: float
    prior: Array
    draw: int | None

    @cached_property
    def metrics(self) -> Functions:
        return self.surface.at(self.which, self.draw)

    def __call__(self, w: Array) -> tuple[float, Array]:
        inside = np.maximum(w, 0.0)
        share = self.coefficients[self.which]
        value, gradient = self.metrics(inside)
        near = inside + 1e-6
        ratio = np.log(near / self.prior)
        pull = self.kl * float((inside * ratio).sum())
        return float(share @ value) + pull, share @ gradient + self.kl * (ratio + inside / near)

    def bent(self, w: Array) -> tuple[Array, Array, Array]:
        """Gradient and curvature, for `mixer.interior`."""
        share = self.coefficients[self.which]
        _, slopes = self.metrics(w)
        diagonal, ratio = self.surface.curvature(w, self.which, self.draw)
        near = w + 1e-6
        pull = self.kl * (1.0 / near + 1e-6 / near**2)
        more = _columns(self.surface.bends(w, self.which, self.draw) * np.sqrt(share)[:, None, None])
        return self(w)[1], share @ diagonal + pull, np.hstack([(slopes * np.sqrt(share * ratio)[:, None]).T, more])


@dataclass(frozen=True)
class Below:
    """How far metrics are above their ceilings, relative to them: weights (corpora,) -> values, gradients (m, corpora)."""

    surface: Surface
    which: Numbers
    top: Array
    size: Array
    draw: int | None

    @cached_property
    def metrics(self) -> Functions:
        return self.surface.at(self.which, self.draw)

    def __call__(self, w: Array) -> tuple[Array, Array]:
        value, gradient = self.metrics(np.maximum(w, 0.0))
        return (value - self.top) / self.size, gradient / self.size[:, None]

    def bounded(self, w: Array) -> tuple[Array, Array, Array, Array, Numbers]:
        """Values, gradients and curvature, for `mixer.interior`."""
        value, gradient = self(w)
        diagonal, ratio = self.surface.curvature(w, self.which, self.draw)
        more = self.surface.bends(w, self.which, self.draw) / np.sqrt(self.size)[:, None, None]
        columns = np.hstack([(gradient * np.sqrt(ratio * self.size)[:, None]).T, _columns(more)])
        owner = np.r_[np.arange(len(value)), np.repeat(np.arange(len(value)), more.shape[2])]
        return value, gradient, diagonal / self.size[:, None], columns, owner


def _columns(bends: Array) -> Array:
    """(m, corpora, r) -> (corpora, m r)."""
    return np.asarray(bends.transpose(1, 0, 2).reshape(bends.shape[1], -1))


def minimise(
    function: Function, limits: Limits, starts: Sequence[Array], ceilings: Functions | None = None, effort: int = 150
) -> Array:
    """The mixture within the limits (exactly) and below the ceilings (values <= 0) where `function` is least."""
    from scipy.optimize import minimize

    if (
        len(limits.lower) > MANY
        and isinstance(function, Weighted)
        and (ceilings is None or isinstance(ceilings, Below))
    ):
        found = interior.solve(function.bent, limits, starts[0], None if ceilings is None else ceilings.bounded)
        return min([found, *map(limits.project, starts)], key=lambda point: _worth(function, ceilings, point))
    memory: dict[bytes, tuple[Array, Array]] = {}

    def ceiling(w: Array) -> tuple[Array, Array]:
        assert ceilings is not None
        key = w.tobytes()
        if key not in memory:
            memory.clear()
            memory[key] = ceilings(w)
        return memory[key]

    rules = limits.slsqp()
    if ceilings is not None:
        rules.append({"type": "ineq", "fun": lambda w: -ceiling(w)[0], "jac": lambda w: -ceiling(w)[1]})
    best: tuple[bool, float, Array] | None = None
    for start in starts:
        answer = minimize(
            function,
            start,
            jac=True,
            bounds=list(zip(limits.lower, limits.upper, strict=True)),
            constraints=rules,
            method="SLSQP",
            options={"maxiter": effort, "ftol": 1e-9},
        )
        for point in (answer.x, start):  # a start is a valid answer should the solver lose its way
            if not np.isfinite(point).all():
                continue
            made = limits.project(point)
            reached = (*_worth(function, ceilings, made), made)
            if best is None or reached[:2] < best[:2]:
                best = reached
    assert best is not None
    return best[2]


def _worth(function: Function, ceilings: Functions | None, point: Array) -> tuple[bool, float]:
    """What is compared between answers: first whether a ceiling is broken."""
    broken = ceilings is not None and bool((ceilings(point)[0] > 10 * _CEILING_SLACK).any())
    return broken, function(point)[0]


def least_excess(ceilings: Functions, limits: Limits, start: Array) -> tuple[Array, Array]:
    """The mixture whose worst ceiling is broken least, and by how much each ceiling is broken there, (m,)."""
    from scipy.optimize import minimize

    k = len(start)
    rules: list[dict[str, object]] = [
        {"type": "eq", "fun": lambda x: np.array([x[:k].sum() - 1.0]), "jac": lambda x: np.r_[np.ones(k), 0.0][None]},
        {
            "type": "ineq",
            "fun": lambda x: x[k] - ceilings(np.maximum(x[:k], 0.0))[0],
            "jac": lambda x: (lambda g: np.c_[-g, np.ones(len(g))])(ceilings(np.maximum(x[:k], 0.0))[1]),
        },
    ]
    if len(limits.rows):
        rules.append(
            {
                "type": "ineq",
                "fun": lambda x: limits.bounds - limits.rows @ x[:k],
                "jac": lambda x: np.c_[-limits.rows, np.zeros(len(limits.rows))],
            }
        )
    answer = minimize(
        lambda x: (float(x[k]), np.r_[np.zeros(k), 1.0]),
        np.r_[start, float(ceilings(start)[0].max())],
        jac=True,
        bounds=[*zip(limits.lower, limits.upper, strict=True), (None, None)],
        constraints=rules,
        method="SLSQP",
        options={"maxiter": 200, "ftol": 1e-10},
    )
    made = limits.project(answer.x[:k]) if np.isfinite(answer.x).all() else start
    return made, ceilings(made)[0]


def prices(
    weights: Array, gradient: Array, limits: Limits, ceiling_names: Sequence[str], ceilings: Functions | None
) -> list[tuple[str, str, str, float]]:
    """What each binding limit costs: Lagrange multipliers by non-negative least squares on the optimality conditions.

    Args:
        gradient: (corpora,) of the function that was minimised.

    Returns:
        (name, kind, corpus/group/metric, d best value / d limit) of the binding limits, dearest first.
    """
    from scipy.optimize import nnls

    near = 1e-6
    active: list[tuple[str, str, str, Array]] = []
    for item in limits.items:
        if item.row @ weights >= item.bound - near:
            active.append((item.name, item.kind, item.about, item.row))
    for j in np.flatnonzero(weights <= near):
        if limits.lower[j] <= 0:
            active.append(("", "zero", limits.corpora[int(j)], -np.eye(len(weights))[j]))
    if ceilings is not None:
        value, slope = ceilings(weights)
        for i in np.flatnonzero(value >= -1e-5):
            active.append((ceiling_names[int(i)], "ceiling", ceiling_names[int(i)], slope[i]))
    if not active:
        return []
    one = np.ones(len(weights))
    matrix = np.column_stack([*[row for *_, row in active], one, -one])
    solution, _ = nnls(matrix, -gradient, maxiter=50 * matrix.shape[1])
    found = [
        (n, kind, about, float(x)) for (n, kind, about, _), x in zip(active, solution, strict=False) if kind != "zero"
    ]
    return sorted(found, key=lambda item: -item[3])


def near_optimal(
    function: Function,
    limits: Limits,
    best: Array,
    allowed: float,
    ceilings: Functions | None,
    progress: Progress | None = None,
) -> tuple[Array, Array]:
    """Least and most of each corpus among all mixtures within `allowed` of the best value; two (corpora,) arrays.

    Args:
        progress: counts the ends found, two a corpus.
    """
    from scipy.optimize import minimize

    level = function(best)[0] + allowed
    bounds = list(zip(limits.lower, limits.upper, strict=True))

    def rules(w: Array) -> tuple[Array, Array]:
        value, gradient = function(np.maximum(w, 0.0))
        over, slope = np.array([(value - level) / allowed]), gradient[None] / allowed
        if ceilings is not None:
            more, slopes = ceilings(np.maximum(w, 0.0))
            over, slope = np.r_[over, more], np.vstack([slope, slopes])
        return over, slope

    constraints = [
        *limits.slsqp(),
        {"type": "ineq", "fun": lambda w: -rules(w)[0], "jac": lambda w: -rules(w)[1]},
    ]
    k = len(best)
    ends = np.empty((2, k))
    inside = _level_set(function, level, allowed, ceilings) if k > MANY else None
    for j in range(k):
        for side, sign in enumerate((1.0, -1.0)):
            row = sign * np.eye(k)[j]
            if progress is not None:
                progress.update(1, "ranges of the weights")
            if inside is not None:
                found = interior.solve(partial(_straight, row), limits, best, inside, exact=1e-7)
            else:
                found = minimize(
                    lambda w, row=row: (float(row @ w), row), best, jac=True, bounds=bounds, constraints=constraints,
                    method="SLSQP", options={"maxiter": 60, "ftol": 1e-7},
                ).x  # fmt: skip
            far = limits.project(found) if np.isfinite(found).all() else best
            reach = _reach(lambda t, step=far - best: bool((rules(best + t * step)[0] <= 1e-6).all()))  # type: ignore[misc]
            ends[side, j] = best[j] + reach * (far[j] - best[j])
    return np.minimum(ends[0], best), np.maximum(ends[1], best)


def _straight(row: Array, w: Array) -> tuple[Array, Array, Array]:
    """Gradient and curvature of `row @ w`."""
    return row, np.zeros(len(w)), np.zeros((len(w), 0))


def _level_set(function: Function, level: float, allowed: float, ceilings: Functions | None) -> interior.Bounded | None:
    """What makes a mixture near-optimal, with curvature; None where that is not known of the functions."""
    if not isinstance(function, Weighted) or not (ceilings is None or isinstance(ceilings, Below)):
        return None

    def bounded(w: Array) -> tuple[Array, Array, Array, Array, Numbers]:
        value = np.array([(function(w)[0] - level) / allowed])
        gradient, diagonal, columns = function.bent(w)
        gradient, diagonal, columns = gradient[None] / allowed, diagonal[None] / allowed, columns / np.sqrt(allowed)
        owner = np.zeros(columns.shape[1], dtype=np.int64)
        if ceilings is None:
            return value, gradient, diagonal, columns, owner
        values, gradients, diagonals, more, owners = ceilings.bounded(w)
        return (
            np.r_[value, values],
            np.vstack([gradient, gradients]),
            np.vstack([diagonal, diagonals]),
            np.hstack([columns, more]),
            np.r_[owner, owners + 1],
        )

    return bounded


def _reach(inside: Callable[[float], bool]) -> float:
    """How far along a line (0 to 1) a convex set goes: what a solver overshoots is taken back."""
    if inside(1.0):
        return 1.0
    low, high = 0.0, 1.0
    for _ in range(20):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if inside(middle) else (low, middle)
    return low
