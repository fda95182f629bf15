"""A mixing law that is right where it is used: near the best mixtures.

No law is exactly true, and one fitted to all proxies alike spends its freedom on mixtures nobody would train with. So
the law that is searched counts good proxies more. It stays a convex law, and its optimum a global one. Chosen on
simulated worlds (benchmarks/mixer_simulators.py): it pays where the objective sums several metrics, and costs nothing
where it is one.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from haigo.progress import Progress
from mixer import nested
from mixer.arrays import Array
from mixer.curve_law import CurveLaw
from mixer.laws_share import EffectiveShareLaw
from mixer.objective import limit_value
from mixer.optimise import Below, Surface, least_excess, minimise
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


def optima(
    constraints: Constraints,
    weights: Array,
    losses: Array,
    coefficients: Array,
    near: bool = True,
    ceilings: Mapping[int, float | str] = MappingProxyType({}),
    draws: int = 0,
    seed: int = 0,
) -> Array:
    """The best mixture by the law as fitted, and by each of its draws, (1 + draws, corpora).

    The bare search of `mixer.recommend`, for choosing the next runs.

    Args:
        weights: (runs, corpora).
        losses: (runs, metrics), lower is better.
        coefficients: (metrics,) of the minimised sum.
        near: good proxies count more.
        ceilings: number of a loss -> what it may be predicted at: a number, or "+5%" against the reference. Where they
            cannot be met together, the mixture that breaks the worst of them least.
        draws: of the law, each fitted to perturbed losses.
    """
    limits, objective = constraints.limits(), losses @ coefficients
    limited = np.array(sorted(ceilings), dtype=np.int64)
    used = np.union1d(np.flatnonzero(coefficients), limited)
    progress = Progress("searching", 1.0 + 2.0 * draws, "steps", after=5.0)
    much = counts(objective)
    law: CurveLaw = EffectiveShareLaw()
    law.tick = lambda part: progress.show("fitting the law")
    if nested.nest(constraints) is not None:
        plain = EffectiveShareLaw().fit(weights, losses[:, used])
        groups = nested.choose(constraints, plain, coefficients[used], much)
        law = law if groups is None or groups.make is None else groups.make(0)
    law.fit(weights, losses[:, used], much if near else None)
    law.tick = lambda part: progress.update(part * draws, "draws of the law")
    pull = (KL if constraints.kl is None else float(constraints.kl)) * float(objective.std())
    surface = Surface(law, law.bootstrap(draws, seed) if draws else law.theta_[None], constraints)
    reference = limits.project(constraints.reference)
    which, given = np.searchsorted(used, limited), [ceilings[int(j)] for j in limited]

    def best(starts: list[Array], draw: int | None, effort: int) -> Array:
        function = surface.weighted(coefficients[used], pull, constraints.reference, draw)
        if not given:
            return minimise(function, limits, starts, effort=effort)
        at = surface.metrics(reference, which, draw)[0].tolist()
        top = np.array([limit_value(limit, value, 1.0, "") for limit, value in zip(given, at, strict=True)])
        below = Below(surface, which, top, np.maximum(np.abs(top), 1e-9), draw)
        good = [start for start in starts if (below(start)[0] <= 0).all()]
        if good:
            return minimise(function, limits, good, below, effort)
        least, over = least_excess(below, limits, reference)
        return least if (over > 1e-6).any() else minimise(function, limits, [least], below, effort)

    first = best([reference, limits.project(weights[int(objective.argmin())])], None, 150)
    found = [first]
    for draw in range(draws):
        found.append(best([first], draw, 40))
        progress.update(1, "optima of the draws")
    return np.array(found)
