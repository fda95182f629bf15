"""What more would be worth: what not knowing the law costs, how many more proxies would halve that, and the price of
every limit that binds."""

from __future__ import annotations

from typing import Any

import numpy as np

from mixer.answer import significant
from mixer.arrays import Array
from mixer.optimise import minimise, prices
from mixer.problem import Problem

DRAWS = 24
"""Draws behind the number of proxies that would halve the regret."""
MANY = 16
"""Above this many times the proxies there are, more of the same kind is no plan."""


def draw_optima(task: Problem, best: Array) -> tuple[Array, float]:
    """The optimum of each draw (draws, corpora), and what `best` loses against them on average (minimised units)."""
    optima, lost = [], []
    start = task.limits.project(best)
    for draw in range(len(task.surface.draws)):
        # by the draw's own ceilings: what is not known about them is not known about the answer either
        task.progress.update(1, "optima of the draws")
        ceilings = task.ceilings_by(draw)
        found = minimise(task.function(draw), task.limits, [start], ceilings, effort=40)
        if ceilings is not None and (ceilings(found)[0] > 1e-3).any():
            found = start  # this draw's ceilings cannot be met: it says nothing about the optimum
        plain = task.function(draw, pull=0.0)
        optima.append(found)
        lost.append(max(0.0, plain(start)[0] - plain(found)[0]))
    return np.array(optima), float(np.mean(lost))


def proxies_to_halve(task: Problem, regret: float) -> int | None:
    """How many more proxies, spread like those there are, would halve the expected regret; None when 16 times as many
    would not.

    Fits the same law as if every proxy had been trained twice and reads the rate off the two expected regrets.
    """
    if regret <= 0:
        return 0
    few = task.with_draws(task.surface.draws[:DRAWS])
    best = minimise(few.function(), few.limits, [few.reference], few.ceilings)
    _, now = draw_optima(few, best)
    repeated = task.law.as_if_repeated(2.0)
    _, then = draw_optima(few.with_draws(repeated.bootstrap(len(few.surface.draws))), best)
    if not 0 < then < now:
        return None
    rate = np.log2(now / then)
    factor = 2.0 ** (1.0 / rate)
    return int(np.ceil(task.law.runs_ * (factor - 1.0))) if factor <= MANY + 1 else None


def binding(task: Problem, best: Array) -> list[dict[str, Any]]:
    """Binding limits with what loosening each by one natural step would gain."""
    point, constraints = task.limits.project(best), task.constraints
    slope = task.function()(point)[1]
    made = []
    for name, kind, about, price in prices(point, slope, task.limits, task.ceiling_names, task.ceilings):
        step, per = 0.01, "0.01 of weight"
        if kind == "ceiling":
            name, per = f"ceiling on {about}", "1 % of the ceiling"
        elif kind == "epochs" and constraints.supply is not None and constraints.target_tokens:
            j = list(constraints.corpora).index(about)
            step, per = float(constraints.supply[j] / constraints.target_tokens), f"one more epoch of {about}"
        made.append(
            {"constraint": name, "price": significant(price * step * task.unit), "per": per, "unit": task.unit_name}
        )
    return made
