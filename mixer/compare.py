"""The mixtures that the named methods would choose, and how each method fares on runs it has not seen."""

from __future__ import annotations

from typing import Any, cast

import numpy as np

from haigo.cli import Refused
from mixer import gate, methods
from mixer.answer import Recommendation, decimals, significant
from mixer.arrays import Array
from mixer.curve_law import CurveLaw
from mixer.laws import GaussianProcess, cross_validate, make
from mixer.mixture import rounded
from mixer.optimise import Surface, least_excess, minimise
from mixer.problem import Problem
from mixer.report_card import rank_correlation, report_card

_JUDGED = 20_000  # mixtures that the judge's own best is searched among
_STEPS = 8.0  # of a search's progress, a method


def starting_points(task: Problem) -> list[Array]:
    """Where the search starts: the reference and the best proxy; below all ceilings when there are any.

    Raises:
        Refused: no mixture is; names the ceilings and by how much they are missed.
    """
    starts = [task.reference, task.limits.project(task.w[int((task.y @ task.coefficients).argmin())])]
    if task.ceilings is None:
        return starts
    good = [start for start in starts if (task.ceilings(start)[0] <= 0).all()]
    if good:
        return good
    point, over = least_excess(task.ceilings, task.limits, starts[0])
    if (over > 1e-6).any():
        missed = [f"{task.ceiling_names[int(i)]} (by {over[i]:.2%} at best)" for i in np.flatnonzero(over > 1e-6)]
        raise Refused(
            f"no mixture within the limits is predicted to meet these ceilings together{task.certainty}: {', '.join(missed)}.",
            f"loosen these ceilings or the limits on the corpora{', or ask for less' if task.certainty else ''}",
        )
    return [point]


def other(task: Problem, method: str) -> Array:
    """The mixture of a method that is not the search already set up."""
    if method in methods.FREE:
        return methods.free(method, task.constraints, task.limits)
    if method in methods.SAMPLED:
        return methods.sampled(method, task.w, task.y, task.coefficients, task.constraints, task.tops, task.seed)
    law = cast(CurveLaw, make("law" if method == "auto" else method, task.seed)).fit(task.w, task.y)
    function = Surface(law, law.theta_[None], task.constraints).weighted(
        task.coefficients, task.pull, task.constraints.reference
    )
    return minimise(function, task.limits, starting_points(task), task.ceilings)


def compared(task: Problem, made: Recommendation) -> list[dict[str, Any]]:
    """Every method's mixture, judged by two judges, and every method judged on left-out runs; best first.

    `gain` is by the law the recommendation was made with, which favours it; `gain_gp` by a Gaussian process that knows no
    law, and `regret` is 0 where that is least within the limits and 1 at the reference (left out where that process does
    not predict left-out runs). Of left-out predictions of the objective, `spearman` is the rank correlation, `level` the
    error in standard deviations, and `picked` how much worse than the best proxy the one is that the method would have
    picked: no law judges there.
    """
    used = np.flatnonzero(task.coefficients)
    coefficients = task.coefficients[used]
    judge = GaussianProcess().fit(task.w, task.y @ task.coefficients)
    objective = task.y @ task.coefficients

    def judged(points: Array) -> Array:
        return np.asarray(judge.predict(task.constraints.effective(points)[0]))

    def by_judge(point: Array) -> float:
        return float(judged(point[None])[0])

    rows = []
    base, base_gp = float(task.surface.mean(task.reference)[0] @ task.coefficients), by_judge(task.reference)
    # a judge that does not know the left-out runs either has nothing to say of regret
    left_out = cross_validate(task.w, objective[:, None], "gp", task.seed)
    knows = report_card(objective, left_out[:, 0], ["objective"], "").r2[0] > gate.MIN_SKILL
    least = by_judge(methods.searched(judged, task.constraints, task.seed, _JUDGED)) if knows else base_gp
    task.progress.total = (task.progress.total or 0.0) + _STEPS * len(methods.ALL)
    for name in methods.ALL:
        if name in methods.FREE and name != "uniform" and task.constraints.supply is None:
            continue
        task.progress.update(_STEPS, f"comparing with {name}")
        point = made.weights if name == made.method else other(task, name)
        drawn = task.surface.mean(point)[0]
        value, by_gp = float(drawn @ task.coefficients), by_judge(point)
        row: dict[str, Any] = {
            "method": name,
            "objective": significant(value * task.unit),
            "gain": significant((base - value) * task.unit),
            "gain_gp": significant((base_gp - by_gp) * task.unit),
        }
        if base_gp > least:
            row["regret"] = round((by_gp - least) / (base_gp - least), 4)
        if name not in methods.FREE:
            left_out = cross_validate(task.w, task.y[:, used], "law" if name == "auto" else name, task.seed)
            guess = left_out @ coefficients
            row["spearman"] = round(rank_correlation(guess, objective), 4)
            row["level"] = round(float(np.sqrt(((guess - objective) ** 2).mean()) / objective.std()), 4)
            row["picked"] = significant(float(objective[guess.argmin()] - objective.min()) * task.unit)
        row |= {
            "metrics": dict(zip(made.metrics, map(significant, drawn * task.sign), strict=True)),
            "weights": dict(zip(made.corpora, decimals(rounded(point)), strict=True)),
            "ceilings_met": bool(task.ceilings is None or (task.ceilings(point)[0] <= 1e-5).all()),
        }
        rows.append(row)
    return sorted(rows, key=lambda row: float(row["objective"]))
