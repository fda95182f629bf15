"""One search, set up: the proxies, the objective, the limits and the predicted surface that all its steps share."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from haigo.progress import Progress
from mixer.arrays import Array, Numbers
from mixer.curve_law import CurveLaw
from mixer.limits import Limits
from mixer.objective import Objective, limit_value
from mixer.optimise import Below, Function, Functions, Surface
from mixer.supply import Constraints


@dataclass(kw_only=True)
class Problem:
    """Everything the steps below share. Metrics are sign-adjusted: lower is better."""

    w: Array
    """(runs, corpora) of the proxies."""
    y: Array
    """(runs, metrics)."""
    names: list[str]
    sign: Array
    coefficients: Array
    """(metrics,) of the minimised sum."""
    objective: Objective
    constraints: Constraints
    limits: Limits
    reference: Array
    method: str
    seed: int
    pull: float
    """Strength of the KL term in units of the minimised sum."""
    progress: Progress
    """Counts what is solved: draws, their optima, ranges."""
    new_law: Callable[[int], CurveLaw] | None = None
    """Seed -> a law that is not fitted, where the method's own one is not what is searched (`mixer.repetition`)."""
    passes: Array | None = None
    """(corpora,) how often the runs pass over each corpus at the weight 1, where repetition is to be learnt from them."""

    def __post_init__(self) -> None:
        used = np.flatnonzero(self.coefficients)
        # what one unit of the minimised sum is for a reader: the metric itself when there is only one
        self.unit, self.unit_name = 1.0, "standard deviations over the proxies" if self.objective.standardise else "sum"
        if len(used) == 1:
            self.unit, self.unit_name = 1.0 / float(self.coefficients[used[0]]), self.names[int(used[0])]

    def set_surface(self, surface: Surface, noise: Array) -> None:
        """Fix the predicted surface and with it the ceilings, which are relative to it.

        Args:
            noise: (metrics,) standard deviation of one run of the target's scale.
        """
        self.law, self.surface, self.noise = surface.law, surface, noise
        self.tops = np.full(len(self.names), np.inf)
        self.limited: Numbers = np.array([self.names.index(m) for m in self.objective.ceilings], dtype=np.int64)
        self.ceiling_names = [self.names[j] for j in self.limited]
        self.keep_below(np.zeros(len(self.limited)))

    def keep_below(self, margin: Array, certainty: str = "") -> None:
        """Let the search stay so far below each ceiling.

        Args:
            margin: (ceilings,) in units of the metrics.
            certainty: why, in words.
        """
        self.margin, self.certainty = margin, certainty
        if len(self.limited):
            self.tops[self.limited] = self._tops(None)
        self.ceilings: Functions | None = self.ceilings_by(None)

    def over(self, point: Array, draw: int | None) -> Array:
        """How far each limited metric is above its ceiling at `point`, by the law as fitted or by one draw, (ceilings,)."""
        return np.asarray(self.surface.metrics(point, self.limited, draw)[0] - self._tops(draw))

    def with_draws(self, draws: Array) -> Problem:
        """The same problem with other draws of the law, (draws, targets, p)."""
        made = copy.copy(self)
        made.surface = replace(self.surface, draws=draws)
        return made

    def _tops(self, draw: int | None) -> Array:
        """The ceilings as numbers: those relative to the reference are taken from the law as fitted, or from one draw."""
        at, _ = self.surface.metrics(self.reference, self.limited, draw)
        limits = [self.objective.ceilings[name] for name in self.ceiling_names]
        signs = [float(self.sign[j]) for j in self.limited]
        return np.array(
            [limit_value(*each) for each in zip(limits, at.tolist(), signs, self.ceiling_names, strict=True)]
        )

    def ceilings_by(self, draw: int | None) -> Functions | None:
        """How far each limited metric is above its ceiling, relative to it, by the law as fitted or by one draw."""
        if not self.ceiling_names:
            return None
        top = self._tops(draw) - self.margin
        size = np.maximum(np.abs(top), 1e-9)

        return Below(self.surface, self.limited, top, size, draw)

    def function(self, draw: int | None = None, pull: float | None = None) -> Function:
        """What is minimised, by the law as fitted or by one bootstrap draw."""
        strength = self.pull if pull is None else pull
        return self.surface.weighted(self.coefficients, strength, self.constraints.reference, draw)
