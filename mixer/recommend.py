"""From proxy runs to weights: fit, check the fit, search exactly, and say how sure the answer is. Arrays in, a plain
object out; no files. `mixer.search` is the command around it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np

from haigo.cli import HaigoError, Refused, nearest
from mixer import methods
from mixer.answer import Recommendation, decimals, significant
from mixer.arrays import Array, as_matrix
from mixer.curve_law import CurveLaw
from mixer.laws import ReportCard, cross_validate, left_out_of, make, report_card
from mixer.mixture import check_weights, rounded
from mixer.objective import Objective
from mixer.optimise import Surface, least_excess, minimise, near_optimal, prices
from mixer.problem import Problem
from mixer.supply import Constraints

DIGITS = 6
KL = 0.003
"""Default pull to the prior, in standard deviations of the objective over the proxies per nat of divergence."""

MIN_SKILL = 0.1
"""Least part of the objective's variance that left-out runs must confirm before any advice is given."""

_Z90 = 1.6448536


def recommend(
    weights: Any,
    losses: Any,
    objective: Objective,
    constraints: Constraints,
    seed: int = 0,
    bootstrap: int = 100,
    method: str = "law",
    *,
    metrics: Sequence[str] | None = None,
    held_out: tuple[Any, Any] | None = None,
    held_out_names: Sequence[str] | None = None,
    force: bool = False,
    compare: bool = False,
    beyond_proxies: bool = False,
    source: str = "the proxy table",
) -> Recommendation:
    """Choose the mixture.

    Args:
        weights: (runs, corpora) array or DataFrame in the order of `constraints.corpora`.
        losses: (runs, metrics) array or DataFrame.
        metrics: names of the columns of `losses`; a DataFrame brings its own.
        held_out: weights and losses of runs that only judge the fit.
        force: go on when the fit knows no more than the mean of the proxies.
        compare: also evaluate every other method.
        beyond_proxies: allow a corpus less than the least weight it had in any proxy. What the law says there is
            extrapolation, and losses of corpora near weight 0 move fast.

    Raises:
        HaigoError: bad tables, unknown metrics, limits that cannot hold together.
        Refused: left-out runs do not confirm the fit, or the ceilings cannot be met.
    """
    if method not in methods.ALL:
        raise HaigoError(
            f"there is no method '{method}'.{nearest(method, methods.ALL)}", f"known: {', '.join(methods.ALL)}"
        )
    names = [str(c) for c in getattr(losses, "columns", metrics or [])]
    corpora = list(constraints.corpora)
    given = getattr(weights, "columns", None)
    if given is not None and list(given) != corpora:
        if set(given) != set(corpora):
            raise HaigoError(f"{source} and the constraints name different corpora.", "use the same names in both")
        weights = weights[corpora]
    y_raw = as_matrix(losses, "losses")
    if len(names) != y_raw.shape[1]:
        raise HaigoError(f"{len(names)} metric names for {y_raw.shape[1]} columns of losses.", "pass `metrics`")
    w, _ = check_weights(as_matrix(weights, "weights"), corpora, source=source)
    objective = objective.resolve(names, source)
    constraints.limits().check()
    notes: list[str] = []
    if not beyond_proxies:
        constraints = _within_tested(constraints, w, notes)
    limits = constraints.limits()

    sign = objective.signs(names)
    y = y_raw * sign
    coefficients = objective.coefficients(names, y.std(axis=0))
    kl = KL if constraints.kl is None else float(constraints.kl)
    task = Problem(
        w=w,
        y=y,
        names=names,
        sign=sign,
        coefficients=coefficients,
        objective=objective,
        constraints=constraints,
        limits=limits,
        reference=limits.project(constraints.reference),
        method=method,
        seed=seed,
        pull=kl * float(np.std(y @ coefficients)),
    )
    law = cast(CurveLaw, make(method if method in methods.CONVEX else "law", seed))
    law.fit(w, y)
    card = _card(task, law)
    _gate(card, objective, method, force, notes)
    task.set_surface(law, law.bootstrap(max(bootstrap, 10)))
    for metric in task.ceiling_names:
        if card.skill(metric) < MIN_SKILL:
            notes.append(f"The ceiling on {metric} rests on a law that left-out runs do not confirm.")

    starts = [task.reference, limits.project(w[int((y @ coefficients).argmin())])]
    if task.ceilings is not None:
        starts = _meet(task, starts)
    exact = method in methods.CONVEX
    best = minimise(task.function(), limits, starts, task.ceilings) if exact else _other(task, method)
    best = rounded(best, DIGITS, limits.lower, limits.upper)

    optima, regret = _draw_optima(task, best)
    within = max(regret, 1e-6)
    low, high = near_optimal(task.function(), limits, limits.project(best), within, task.ceilings)
    at = task.surface.predict(np.stack([best, task.reference]))
    made = Recommendation(
        corpora=corpora,
        metrics=names,
        weights=best,
        interval=np.quantile(optima, [0.05, 0.95], axis=0).T,
        near_optimal=np.stack([low, high], axis=1),
        near_optimal_within=significant(within * task.unit),
        reference=task.reference,
        reference_name=constraints.reference_name,
        token_share=constraints.token_share,
        epochs=constraints.epochs(best),
        prediction=_prediction(task, at),
        gain=_gain(task, at),
        expected_regret=regret * task.unit,
        binding=_binding(task, best),
        transfer=cast(Any, law).transfer(),
        card=card,
        held_out=None,
        objective=objective,
        method=method,
        seed=seed,
        bootstrap=bootstrap,
        kl=kl,
        notes=notes,
    )
    if held_out is not None:
        _judge(task, made, held_out, held_out_names)
    if compare:
        made.compared = _compare(task, made)
    return made


def _within_tested(constraints: Constraints, w: Array, notes: list[str]) -> Constraints:
    """The constraints with the least weights of the proxies as limits, unless the caller's own limits forbid that."""
    least = np.floor(w.min(axis=0) * 10**DIGITS) / 10**DIGITS
    if not (least > 0).any():
        return constraints
    made = replace(constraints, tested=least)
    try:
        made.limits().check()
    except HaigoError:
        notes.append("The limits ask for less of a corpus than any proxy had: the prediction there is extrapolation.")
        return constraints
    return made


def _other(task: Problem, method: str) -> Array:
    """The mixture of a method that is not the exact search on the fitted law."""
    if method in methods.FREE:
        return methods.free(method, task.constraints, task.limits)
    if method in methods.SAMPLED:
        return methods.sampled(
            method, task.w, task.y, task.coefficients, task.constraints, task.limits, task.tops, task.seed
        )
    law = cast(CurveLaw, make(method, task.seed)).fit(task.w, task.y)
    function = Surface(law, law.theta_[None], task.constraints).weighted(
        task.coefficients, task.pull, task.constraints.reference
    )
    starts = [task.reference] if task.ceilings is None else _meet(task, [task.reference])
    return minimise(function, task.limits, starts, task.ceilings)


def _card(task: Problem, law: CurveLaw) -> ReportCard:
    left_out, how = left_out_of(law, task.seed)
    if task.method in methods.SAMPLED:
        left_out, how = cross_validate(task.w, task.y, task.method, task.seed), "5-fold"
    truth, guess = np.c_[task.y, task.y @ task.coefficients], np.c_[left_out, left_out @ task.coefficients]
    return report_card(truth, guess, [*task.names, "objective"], how)


def _gate(card: ReportCard, objective: Objective, method: str, force: bool, notes: list[str]) -> None:
    skill, rho = card.skill("objective"), card.spearman[-1]
    # a rank correlation that chance alone reaches in one of twenty tables of this size proves nothing either
    chance = _Z90 / np.sqrt(max(card.runs - 1, 1))
    if method in methods.FREE or (skill > MIN_SKILL and rho > chance):
        return
    problem = (
        f"the fit is no better than taking the mean of the proxies (left-out runs: R2 {skill:.2f}, "
        f"Spearman {rho:.2f} for {', '.join(objective.weights)})."
    )
    if not force:
        raise Refused(problem, "train more or longer proxies, choose another metric, or go on anyway with --force")
    notes.append("Forced: " + problem)


def _meet(task: Problem, starts: list[Array]) -> list[Array]:
    """Starting points below all ceilings.

    Raises:
        Refused: there is none; names the ceilings and by how much they are missed.
    """
    assert task.ceilings is not None
    good = [start for start in starts if (task.ceilings(start)[0] <= 0).all()]
    if good:
        return good
    point, over = least_excess(task.ceilings, task.limits, starts[0])
    if (over > 1e-6).any():
        missed = [f"{task.ceiling_names[int(i)]} (by {over[i]:.2%} at best)" for i in np.flatnonzero(over > 1e-6)]
        raise Refused(
            f"no mixture within the limits is predicted to meet these ceilings together: {', '.join(missed)}.",
            "loosen these ceilings or the limits on the corpora",
        )
    return [point]


def _draw_optima(task: Problem, best: Array) -> tuple[Array, float]:
    """The optimum of each draw (draws, corpora), and what `best` loses against them on average (minimised units)."""
    optima, lost = [], []
    start = task.limits.project(best)
    for draw in range(len(task.surface.draws)):
        one = task.surface.draws[draw : draw + 1]
        found = minimise(task.function(one), task.limits, [start], task.ceilings, effort=40)
        plain = task.function(one, pull=0.0)
        optima.append(found)
        lost.append(max(0.0, plain(start)[0] - plain(found)[0]))
    return np.array(optima), float(np.mean(lost))


def _prediction(task: Problem, at: Array) -> dict[str, dict[str, Any]]:
    mean, spread = at.mean(0) * task.sign, _Z90 * np.sqrt(at.var(0) + task.law.noise_**2)
    made = {}
    for j, name in enumerate(task.names):
        ends = [[significant(mean[i, j] - spread[i, j]), significant(mean[i, j] + spread[i, j])] for i in range(2)]
        made[name] = {
            "mean": significant(mean[0, j]),
            "interval": ends[0],
            "token_share": significant(mean[1, j]),
            "token_share_interval": ends[1],
        }
    return made


def _gain(task: Problem, at: Array) -> dict[str, Any]:
    gained = (at[:, 1] - at[:, 0]) @ task.coefficients * task.unit
    low, high = np.quantile(gained, [0.05, 0.95])
    return {
        "mean": significant(gained.mean()),
        "interval": [significant(low), significant(high)],
        "probability": round(float((gained > 0).mean()), 3),
        "unit": task.unit_name,
    }


def _binding(task: Problem, best: Array) -> list[dict[str, Any]]:
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


def _judge(task: Problem, made: Recommendation, held_out: tuple[Any, Any], names: Sequence[str] | None) -> None:
    """Fill in how the law does on the held-out runs."""
    w_held, _ = check_weights(as_matrix(held_out[0], "held-out weights"), made.corpora)
    y_held = as_matrix(held_out[1], "held-out losses") * task.sign
    guess = task.law.predict(w_held)
    truth, both = np.c_[y_held, y_held @ task.coefficients], np.c_[guess, guess @ task.coefficients]
    plain = np.r_[task.y.mean(0), (task.y @ task.coefficients).mean()]
    made.held_out = report_card(truth, both, [*made.metrics, "objective"], "held-out runs", plain)
    made.held_out_predictions = {
        "runs": [str(name) for name in names] if names is not None else [str(i) for i in range(len(w_held))],
        "metrics": {
            m: {"measured": (y_held[:, j] * task.sign[j]).tolist(), "predicted": (guess[:, j] * task.sign[j]).tolist()}
            for j, m in enumerate(made.metrics)
        },
    }


def _compare(task: Problem, made: Recommendation) -> list[dict[str, Any]]:
    """Every method's mixture, all judged by the same law; best first."""
    rows = []
    base = float((task.surface.predict(task.reference)[:, 0] @ task.coefficients).mean() * task.unit)
    for name in methods.ALL:
        if name in methods.FREE and name != "uniform" and task.constraints.supply is None:
            continue
        point = made.weights if name == made.method else _other(task, name)
        drawn = task.surface.predict(point)[:, 0]
        rows.append(
            {
                "method": name,
                "objective": significant(value := float((drawn @ task.coefficients).mean() * task.unit)),
                "gain": significant(base - value),
                "metrics": dict(zip(made.metrics, map(significant, drawn.mean(0) * task.sign), strict=True)),
                "weights": dict(zip(made.corpora, decimals(rounded(point)), strict=True)),
                "ceilings_met": bool(task.ceilings is None or (task.ceilings(point)[0] <= 1e-5).all()),
            }
        )
    return sorted(rows, key=lambda row: float(row["objective"]))
