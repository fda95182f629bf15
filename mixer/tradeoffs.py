"""What the figures of a search show beyond mixture.yml: left-out runs, what one metric costs another, what ceilings cost."""

from __future__ import annotations

from typing import Any

import numpy as np

from mixer import interior
from mixer.answer import Recommendation, significant
from mixer.arrays import Array
from mixer.curve_law import CurveLaw, left_out_of
from mixer.optimise import Below, least_excess, minimise
from mixer.problem import Problem

_POINTS = 13  # of the curve between two metrics
_PANELS = 12
_LINES = 5
_LEVELS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0)  # times the ceiling asked for, where that is above 0
_STEPS = (-1.0, -0.5, -0.25, 0.0, 0.5, 1.0, 2.0)  # per cent added to it where it is not


def curves(task: Problem, chosen: Recommendation, law: CurveLaw) -> dict[str, Any]:
    """Plain data for `mixer.figures`: "fit", "trade_off" (two metrics or more) and "ceilings" (where there are any).

    Args:
        law: fitted to all proxies alike.
    """
    used = [name for name in task.names if name in task.objective.weights or name in task.objective.ceilings]
    data: dict[str, Any] = {}
    left_out = left_out_of(law, task.seed)[0] * task.sign
    held = (chosen.held_out_predictions or {}).get("metrics", {})
    data["fit"] = {}
    for name in used[:_PANELS]:
        j = task.names.index(name)
        data["fit"][name] = {
            "measured": _plain(task.y[:, j] * task.sign[j]),
            "predicted": _plain(left_out[:, j]),
            **({f"held_{key}": _plain(np.asarray(held[name][key])) for key in held[name]} if name in held else {}),
        }
    if len(task.names) > 1:
        data["trade_off"] = _trade_off(task, chosen, used)
    if task.ceiling_names:
        data["ceilings"] = _ceilings(task, chosen)
    return data


def _plain(values: Array) -> list[float]:
    return [significant(value) for value in values.tolist()]


def _trade_off(task: Problem, chosen: Recommendation, used: list[str]) -> dict[str, Any]:
    """The best mixtures from the heaviest metric of the objective alone to the one that suffers most under it."""
    first = int(np.argmax(task.coefficients * task.y.std(axis=0)))
    others = [task.names.index(name) for name in used if task.names.index(name) != first]
    others = others or [j for j in range(len(task.names)) if j != first]
    spread = np.maximum(task.y.std(axis=0), 1e-12)

    def best(share: float, second: int, start: Array) -> Array:
        coefficients = np.zeros(len(task.names))
        coefficients[first], coefficients[second] = share / spread[first], (1.0 - share) / spread[second]
        function = task.surface.weighted(coefficients, 1e-4, task.constraints.reference)
        return minimise(function, task.limits, [start, task.reference], effort=60)

    alone = best(1.0, others[0], task.reference)
    suffers = (task.surface.mean(alone)[0] - task.y.min(axis=0)) / spread
    second = max(others, key=lambda j: suffers[j])
    mixtures = [alone]
    for share in np.linspace(1.0, 0.0, _POINTS)[1:]:
        mixtures.append(best(float(share), second, mixtures[-1]))
    pair = [first, second]
    predicted = task.surface.mean(np.array([*mixtures, chosen.weights, task.reference]))[:, pair] * task.sign[pair]
    return {
        "metrics": [task.names[j] for j in pair],
        "curve": [_plain(row) for row in predicted[:-2]],
        "marks": {"chosen": _plain(predicted[-2]), chosen.reference_name: _plain(predicted[-1])},
        "runs": [_plain(row) for row in task.y[:, pair] * task.sign[pair]],
    }


def _ceilings(task: Problem, chosen: Recommendation) -> dict[str, Any]:
    """For each ceiling what the objective loses at several levels of it, the others as they are."""
    which = np.array([task.names.index(name) for name in task.ceiling_names])
    at, tops = task.surface.mean(task.reference)[0][which], task.tops[which]
    given = 100.0 * (tops - at) / np.maximum(np.abs(at), 1e-12)
    lines, asked = {}, {}
    for i, name in enumerate(task.ceiling_names[:_LINES]):
        level = float(given[i])
        levels = [level * factor for factor in _LEVELS] if level > 0 else [level + step for step in _STEPS]
        without = _least(task, chosen, np.delete(which, i), np.delete(tops - task.margin, i))
        points = []
        for percent in levels:
            changed = tops.copy()
            changed[i] = at[i] + abs(at[i]) * percent / 100.0
            value = _least(task, chosen, which, changed - task.margin)
            lost = None if value is None or without is None else significant(max(0.0, value - without) * task.unit)
            points.append([significant(percent), lost])
        if any(lost is not None for _, lost in points):
            lines[name], asked[name] = points, significant(level)
    return {"unit": task.unit_name, "lines": lines, "given": asked}


def _least(task: Problem, chosen: Recommendation, which: Array, tops: Array) -> float | None:
    """The least objective below these ceilings; None where they cannot be met."""
    function = task.surface.weighted(task.coefficients, 0.0, task.constraints.reference)
    start = task.limits.project(chosen.weights)
    if not len(which):
        return float(function(minimise(function, task.limits, [start], effort=60))[0])
    below = Below(task.surface, which.astype(np.int64), tops, np.maximum(np.abs(tops), 1e-9), None)
    if (below(start)[0] > 0).any():
        start, over = least_excess(below, task.limits, start)
        if (over > 1e-6).any():
            return None
    # SLSQP stays where it is when it starts on a ceiling: the interior-point method does not mind
    points = [interior.solve(function.bent, task.limits, start, below.bounded), start]
    points.append(minimise(function, task.limits, points, below, effort=60))
    return min(float(function(point)[0]) for point in points if (below(point)[0] <= 1e-5).all())
