"""The named ways to choose a mixture, so that anyone can compare them on their own table.

auto: exact search on the convex law, good proxies counting more (`mixer.focus`). law, explaw: the same on a law fitted to
all proxies alike. regmix: RegMix's recipe (Liu et al. 2025): LightGBM, 100,000 mixtures drawn from a Dirichlet distribution
whose parameters are the token shares themselves, the mean of the best 128. lightgbm, gp: the same with other regressions and
with mixtures drawn within the limits. quadratic, kernel_ridge: the best of those, moved on while it gets better.
token_share, temperature, unimax, uniform: no proxies needed.

RegMix's draws know no limits and are mostly mixtures of two or three corpora; their mean is brought within the limits at the
end. For one loss that is better than drawing within the limits, for the mean of many worse (docs/mixer.md).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import numpy as np

from haigo.cli import HaigoError
from mixer import mixture
from mixer.arrays import Array
from mixer.curve_law import CurveLaw
from mixer.design import candidates, inside
from mixer.laws import make
from mixer.limits import Limits
from mixer.supply import Constraints

CONVEX = ("law", "explaw")
EXACT = ("auto", *CONVEX)
SAMPLED = ("lightgbm", "gp", "regmix", "quadratic", "kernel_ridge")
FREE = ("token_share", "temperature", "unimax", "uniform")
MOVED = ("quadratic", "kernel_ridge")
ALL = (*EXACT, *SAMPLED, *FREE)

_SAMPLES = 100_000
_BEST = 128
_ROUNDS, _CHILDREN = 40, 250
_CHUNK = 100_000  # mixtures held at once: all of them, unless more are asked for


def convex(method: str, seed: int) -> CurveLaw:
    """The convex law of a method; the default one where it has none of its own."""
    return cast(CurveLaw, make(method if method in CONVEX else "law", seed))


def free(name: str, constraints: Constraints, limits: Limits) -> Array:
    """A baseline that needs no proxies, brought within the limits (nearest in least squares).

    Raises:
        HaigoError: the method needs token counts that are not given.
    """
    if name == "uniform":
        return limits.project(mixture.uniform(len(constraints.corpora)))
    if constraints.supply is None:
        raise HaigoError(f"the method '{name}' needs to know how many tokens each corpus has.", "give --supply")
    if name == "token_share":
        return limits.project(mixture.token_share(constraints.supply))
    if name == "temperature":
        return limits.project(mixture.temperature(constraints.supply, 2.0))
    total = constraints.target_tokens or float(constraints.supply.sum())
    epochs = float(np.asarray(constraints.max_epochs).max())
    return limits.project(mixture.unimax(constraints.supply, total, epochs))


def sampled(
    name: str,
    weights: Array,
    losses: Array,
    coefficients: Array,
    constraints: Constraints,
    ceilings: Array,
    seed: int,
    samples: int = _SAMPLES,
) -> Array:
    """The mean of the best random mixtures within the limits, by a law that is not convex; of `MOVED` the best, moved on.

    Args:
        losses: (n, targets), sign-adjusted.
        coefficients: (targets,) of the objective.
        ceilings: (targets,) largest allowed predictions, inf where there is none.
    """
    needed = np.flatnonzero((coefficients != 0) | np.isfinite(ceilings))
    law = make(name, seed).fit(weights, losses[:, needed])

    def value(pool: Array) -> Array:
        predicted = law.predict(pool)
        over = np.maximum(predicted - ceilings[needed], 0.0).sum(1)
        return np.asarray(predicted @ coefficients[needed] + 1e6 * np.where(np.isfinite(over), over, 0.0))

    return searched(value, constraints, seed, samples, name)


def searched(
    value: Callable[[Array], Array], constraints: Constraints, seed: int, samples: int = _SAMPLES, name: str = MOVED[0]
) -> Array:
    """The mixture that a method's search finds for a function of mixtures: weights (n, corpora) -> values (n,) to lower."""
    rng, count = np.random.default_rng([seed, 2]), min(_BEST, max(1, samples // 100))
    share = constraints.reference if constraints.token_share is None else constraints.token_share
    best, least = np.empty((0, len(share))), np.empty(0)
    for first in range(0, samples, _CHUNK):
        size = min(_CHUNK, samples - first)
        pool = rng.dirichlet(np.maximum(share, 1e-9), size) if name == "regmix" else candidates(constraints, size, rng)
        best, least = np.vstack([best, pool]), np.r_[least, value(pool)]
        keep = np.argsort(least, kind="stable")[:count]
        best, least = best[keep], least[keep]
    return _moved(value, best, constraints, rng) if name in MOVED else constraints.limits().project(best.mean(axis=0))


def _moved(value: Callable[[Array], Array], best: Array, constraints: Constraints, rng: np.random.Generator) -> Array:
    """The best mixture within the limits that random steps from the best draws come to."""
    limits = constraints.limits()
    best, least = best[:32], value(best[:32])
    for round_ in range(_ROUNDS):
        step = 10.0 ** rng.uniform(-3.0 - round_ / _ROUNDS, -0.5 - 1.5 * round_ / _ROUNDS, (_CHILDREN, 1))
        some = rng.random((_CHILDREN, best.shape[1])) < 0.3
        near = best[rng.integers(0, len(best), _CHILDREN)] + step * some * rng.standard_normal(some.shape)
        children = inside(near, limits, rng)
        both, values = np.vstack([best, children]), np.r_[least, value(children)]
        keep = np.argsort(values, kind="stable")[: len(best)]
        best, least = both[keep], values[keep]
    return limits.project(best[0])
