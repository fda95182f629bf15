"""Linear limits on a mixture: are they possible together, which ones fight, and the nearest mixture that meets them.

The sum of the weights is 1 and no weight is negative; those two hold without being listed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from haigo.cli import HaigoError
from mixer.arrays import Array, Numbers

TOLERANCE = 1e-9

_REMEMBERED = 64

MANY = 40
"""Above so many corpora quick solvers are used (here, and `mixer.interior` for the search); below, the general ones do."""


@dataclass(frozen=True)
class Limit:
    """`row @ weights <= bound`, with its name as a person would say it."""

    name: str
    row: Array
    bound: float
    kind: str
    """min, max, epochs, group min or group max."""
    about: str
    """The corpus or group."""


class Limits:
    """A set of limits over named corpora."""

    def __init__(self, corpora: list[str], items: list[Limit]) -> None:
        self.corpora, self.items = corpora, items
        k = len(corpora)
        self.lower, self.upper = np.zeros(k), np.ones(k)
        for item in items:
            if not item.kind.startswith("group"):
                j = int(np.flatnonzero(item.row)[0])
                if item.kind == "min":
                    self.lower[j] = max(self.lower[j], -item.bound)
                else:
                    self.upper[j] = min(self.upper[j], item.bound)
        self.groups = [item for item in items if item.kind.startswith("group")]
        self.rows = np.array([item.row for item in self.groups]).reshape(-1, k)
        self.bounds = np.array([item.bound for item in self.groups])
        self._projected: dict[bytes, Array] = {}  # one start serves the searches of all draws

    def excess(self, weights: Array) -> float:
        """By how much the worst limit is broken; <= 0 when all hold."""
        worst = max(float((self.lower - weights).max()), float((weights - self.upper).max()))
        worst = max(worst, abs(float(weights.sum()) - 1.0))
        return max(worst, float((self.rows @ weights - self.bounds).max())) if len(self.rows) else worst

    def check(self) -> None:
        """Raise a HaigoError that names a smallest set of limits which cannot hold together."""
        if _possible(self.items, len(self.corpora)):
            return
        conflict = list(self.items)
        for item in list(self.items):  # deletion filter: what can go while it stays impossible, goes
            without = [other for other in conflict if other is not item]
            if not _possible(without, len(self.corpora)):
                conflict = without
        named = "; ".join(item.name for item in conflict[:12])
        more = f"; and {len(conflict) - 12} more" if len(conflict) > 12 else ""
        kinds = {item.kind for item in conflict}
        raise HaigoError(
            f"no mixture can meet these limits together: {named}{more} (weights sum to 1).",
            "the tokens do not suffice: lower --target-tokens or raise --max-epochs"
            if kinds <= {"epochs", "max"} and "epochs" in kinds
            else "loosen one of them",
            option=("target_tokens", "max_epochs"),
        )

    def project(self, weights: Array) -> Array:
        """The mixture nearest to `weights` (least squares) that meets every limit."""
        wanted = np.asarray(weights, dtype=np.float64)
        key = wanted.tobytes()
        if key not in self._projected:
            if len(self._projected) >= _REMEMBERED:
                self._projected.clear()
            self._projected[key] = self._project(wanted)
        return self._projected[key].copy()

    def _project(self, wanted: Array) -> Array:
        made = project_box(wanted, self.lower, self.upper)
        if not len(self.rows) or (self.rows @ made <= self.bounds + 1e-12).all():
            return made
        # among few corpora the general solver is quick enough, and answers stay what they were to the last digit
        if len(wanted) > MANY and self._apart:
            exact = self._project_apart(wanted)
            if self.excess(exact) <= TOLERANCE:
                return exact
        return self._project_groups(wanted)

    @cached_property
    def _apart(self) -> list[tuple[Numbers, float, float]]:
        """Members of each group, least and greatest sum; empty where groups overlap."""
        sums: dict[bytes, tuple[Numbers, float, float]] = {}
        for row, bound in zip(self.rows, self.bounds, strict=True):
            inside = np.flatnonzero(row)
            _, low, high = sums.get(inside.tobytes(), (inside, -np.inf, np.inf))
            at_least = bool(row[inside[0]] < 0)
            bounds = (max(low, -bound), high) if at_least else (low, min(high, bound))
            sums[inside.tobytes()] = (inside, *bounds)
        made = list(sums.values())
        return (
            made
            if sum(len(inside) for inside, *_ in made) == len(np.unique(np.concatenate([m for m, *_ in made])))
            else []
        )

    def _project_apart(self, wanted: Array) -> Array:
        """The nearest mixture where no corpus is in two groups: all are moved by the same amount, and so much further the
        members of a group whose sum is at its bound."""
        free = np.ones(len(wanted), dtype=bool)
        for inside, *_ in self._apart:
            free[inside] = False

        def moved(inside: Any, by: float) -> Array:
            return np.clip(wanted[inside] - by, self.lower[inside], self.upper[inside])

        def total(by: float) -> float:
            sums = [min(max(float(moved(m, by).sum()), low), high) for m, low, high in self._apart]
            return float(moved(free, by).sum()) + sum(sums)

        by = _root(total, 1.0, float((wanted - self.upper).min()), float((wanted - self.lower).max()))
        made = np.clip(wanted - by, self.lower, self.upper)
        for inside, low, high in self._apart:
            bound = min(max(float(made[inside].sum()), low), high)
            ends = float((wanted - self.upper)[inside].min()), float((wanted - self.lower)[inside].max())
            made[inside] = moved(inside, _root(lambda t, m=inside: float(moved(m, t).sum()), bound, *ends))  # type: ignore[misc]
        return made

    def _project_groups(self, wanted: Array) -> Array:
        from scipy.optimize import linprog, minimize

        k = len(wanted)
        start = self.inner_point()
        answer = minimize(
            lambda w: (float(((w - wanted) ** 2).sum()), 2 * (w - wanted)),
            start,
            jac=True,
            bounds=list(zip(self.lower, self.upper, strict=True)),
            constraints=self.slsqp(),
            method="SLSQP",
            options={"maxiter": 200, "ftol": 1e-14},
        )
        # SLSQP leaves violations near 1e-8; the nearest vertex-exact mixture in the 1-norm cleans them away
        near = np.clip(answer.x, self.lower, self.upper)
        eye = np.eye(k)
        rows = np.block([[eye, -eye], [-eye, -eye]])
        made = linprog(
            np.r_[np.zeros(k), np.ones(k)],
            A_ub=np.vstack([rows, np.hstack([self.rows, np.zeros((len(self.rows), k))])]),
            b_ub=np.r_[near, -near, self.bounds],
            A_eq=np.r_[np.ones(k), np.zeros(k)][None],
            b_eq=[1.0],
            bounds=[*zip(self.lower, self.upper, strict=True), *[(0, None)] * k],
        )
        exact = np.clip(made.x[:k], self.lower, self.upper) if made.status == 0 else start
        return exact if self.excess(exact) <= TOLERANCE else start

    @cached_property
    def _corners(self) -> Array:
        from scipy.optimize import linprog

        self.check()
        k = len(self.corpora)
        made = []
        for way in np.vstack([np.eye(k), -np.eye(k), self.rows, -self.rows]):
            answer = linprog(
                way,
                A_ub=self.rows if len(self.rows) else None,
                b_ub=self.bounds if len(self.rows) else None,
                A_eq=np.ones((1, k)),
                b_eq=[1.0],
                bounds=list(zip(self.lower, self.upper, strict=True)),
            )
            made.append(np.clip(answer.x, self.lower, self.upper))
        return np.array(made)

    def corners(self) -> Array:
        """Extreme mixtures: the least and the most of every corpus and group that the limits allow, (m, corpora).

        Raises:
            HaigoError: there is none; names the conflicting limits.
        """
        return self._corners

    def inner_point(self) -> Array:
        """A mixture inside the limits: the mean of the corners touches a limit only when every mixture must."""
        return np.asarray(self.corners().mean(axis=0))

    def slsqp(self) -> list[dict[str, object]]:
        """The sum and the groups in scipy's form; bounds are passed separately."""
        k = len(self.corpora)
        made: list[dict[str, object]] = [
            {"type": "eq", "fun": lambda w: np.array([w.sum() - 1.0]), "jac": lambda w: np.ones((1, k))}
        ]
        if len(self.rows):
            made.append({"type": "ineq", "fun": lambda w: self.bounds - self.rows @ w, "jac": lambda w: -self.rows})
        return made


def _possible(items: list[Limit], k: int) -> bool:
    from scipy.optimize import linprog

    # a dropped limit must not come back through the box, so bounds are rebuilt from `items`
    rows = np.array([item.row for item in items]).reshape(-1, k)
    bound = np.array([item.bound for item in items])
    made = linprog(
        np.zeros(k),
        A_ub=rows if len(rows) else None,
        b_ub=bound if len(rows) else None,
        A_eq=np.ones((1, k)),
        b_eq=[1.0],
        bounds=[(0, None)] * k,
    )
    return bool(made.status == 0)


def _root(falling: Callable[[float], float], value: float, low: float, high: float) -> float:
    """Where a falling function has a value, by bisection."""
    for _ in range(70):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if falling(middle) > value else (low, middle)
    return 0.5 * (low + high)


def project_box(weights: Array, lower: Array, upper: Array) -> Array:
    """Euclidean projection on {sum = 1, lower <= w <= upper}: clip(w - t) with t by bisection; (k,) or (n, k)."""
    points = np.atleast_2d(weights)
    low, high = (points - upper).min(1), (points - lower).max(1)
    for _ in range(60):
        middle = 0.5 * (low + high)
        over = np.clip(points - middle[:, None], lower, upper).sum(1) > 1.0
        low, high = np.where(over, middle, low), np.where(over, high, middle)
    made = np.clip(points - (0.5 * (low + high))[:, None], lower, upper)
    # what bisection leaves (1e-16s) goes to a weight with room
    room = np.minimum(made - lower, upper - made)
    rows, place = np.arange(len(made)), room.argmax(1)
    made[rows, place] += np.where(room[rows, place] > 1e-9, 1.0 - made.sum(1), 0.0)
    return made[0] if weights.ndim == 1 else made
