"""A mixing law that is right where it is used: near the best mixtures.

No law is exactly true, and one fitted to all proxies alike spends its freedom on mixtures nobody would train with. So
the law that is searched counts good proxies more. It stays a convex law, and its optimum a global one. Chosen on
simulated worlds (benchmarks/mixer_simulators.py): it pays where the objective sums several metrics, and costs nothing
where it is one.
"""

from __future__ import annotations

import numpy as np

from mixer.arrays import Array
from mixer.laws_share import EffectiveShareLaw
from mixer.optimise import Surface, minimise
from mixer.options import KL
from mixer.supply import Constraints

REACH = 1.0
"""A proxy worse than the best one by this many standard deviations of the objective counts 1/e as much."""


def counts(objective: Array) -> Array:
    """How much each proxy counts, (n,), mean 1, from its measured objective (lower is better)."""
    spread = float(objective.std())
    if spread <= 0:
        return np.ones(len(objective))
    made = np.exp(-(objective - objective.min()) / (REACH * spread))
    return np.asarray(made / made.mean())


def optimum(constraints: Constraints, weights: Array, losses: Array, coefficients: Array, near: bool = True) -> Array:
    """The best mixture within the limits, (corpora,): the bare search of `mixer.recommend`, for choosing the next runs.

    Args:
        weights: (runs, corpora).
        losses: (runs, metrics), lower is better.
        coefficients: (metrics,) of the minimised sum.
        near: good proxies count more.
    """
    limits, objective = constraints.limits(), losses @ coefficients
    used = np.flatnonzero(coefficients)
    law = EffectiveShareLaw().fit(weights, losses[:, used], counts(objective) if near else None)
    pull = (KL if constraints.kl is None else float(constraints.kl)) * float(objective.std())
    surface = Surface(law, law.theta_[None], constraints)
    function = surface.weighted(coefficients[used], pull, constraints.reference)
    starts = [limits.project(constraints.reference), limits.project(weights[int(objective.argmin())])]
    return minimise(function, limits, starts)
