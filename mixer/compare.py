"""The mixtures that the named methods would choose, and how each method fares on runs it has not seen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import numpy as np

from haigo.cli import Refused
from mixer import contest, gate, methods, repetition
from mixer.answer import Recommendation, decimals, significant
from mixer.arrays import Array, Flags, Numbers
from mixer.curve_law import CurveLaw, left_out_of
from mixer.laws import GaussianProcess, Predictor, cross_validate, make
from mixer.mixture import rounded
from mixer.optimise import Surface, least_excess, minimise
from mixer.problem import Problem
from mixer.report_card import rank_correlation, report_card

_JUDGED = 20_000  # mixtures that the judge's own best is searched among
_STEPS = 8.0  # of a search's progress, an answer of a method
PARTS, _PART, _FEWEST = 6, 0.75, 8
"""Random parts of the runs that methods are compared on, how much of the runs, and how many a part needs."""


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
    law = _law(task, method).fit(task.w, task.y)
    function = Surface(law, law.theta_[None], task.constraints).weighted(
        task.coefficients, task.pull, task.constraints.reference
    )
    return minimise(function, task.limits, starting_points(task), task.ceilings)


def _law(task: Problem, method: str) -> CurveLaw:
    """The law, not fitted, that a method searches; with learnt repetition where the search of this task has it."""
    if method in repetition.METHODS and task.new_law is not None:
        return task.new_law(task.seed)
    return cast(CurveLaw, make("law" if method == "auto" else method, task.seed))


def compared(task: Problem, made: Recommendation, believed: Flags, choose: contest.Choose) -> list[dict[str, Any]]:
    """Every method's mixture, judged by two judges, and every method judged on left-out runs; best first.

    `gain` is by the law the recommendation was made with, which favours it; `gain_gp` by a Gaussian process that knows no
    law, and `regret` is 0 where that is least within the limits and 1 at the reference (left out where that process does
    not predict left-out runs). Of left-out predictions of the objective, `spearman` is the rank correlation, `level` the
    error in standard deviations, and `picked` how much worse than the best proxy the one is that the method would have
    picked: no law judges there. `contest` are the figures of `mixer.contest` on random parts of the runs.

    Args:
        believed: (runs,) those whose losses are believed.
        choose: `mixer.recommend.choose`.
    """
    objective = task.y @ task.coefficients
    players = [
        name
        for name in methods.ALL
        if name not in methods.FREE or name == "uniform" or task.constraints.supply is not None
    ]
    task.progress.total = (task.progress.total or 0.0) + _STEPS * len(players) * (1 + PARTS)
    judges = _judges(task, objective)
    judge = judges["process"]
    guesses: dict[str, Array] = {}
    standings = _contest(task, players, judges, np.flatnonzero(believed), choose)
    rows = []
    base, base_gp = (
        (task.surface.mean(task.reference)[0] @ task.coefficients),
        float(judge.value(task.reference[None])[0]),
    )
    for name in players:
        task.progress.update(_STEPS, f"comparing with {name}")
        point = made.weights if name == made.method else other(task, name)
        drawn = task.surface.mean(point)[0]
        value, by_gp = float(drawn @ task.coefficients), float(judge.value(point[None])[0])
        row: dict[str, Any] = {
            "method": name,
            "objective": significant(value * task.unit),
            "gain": significant((float(base) - value) * task.unit),
            "gain_gp": significant((base_gp - by_gp) * task.unit),
        }
        if base_gp > judge.least:
            row["regret"] = round((by_gp - judge.least) / (base_gp - judge.least), 4)
        if name not in methods.FREE:
            law = "law" if name == "auto" else name
            if law not in guesses:
                guesses[law] = _left_out(task, law)
            guess = guesses[law]
            row["spearman"] = round(rank_correlation(guess, objective), 4)
            row["level"] = round(float(np.sqrt(((guess - objective) ** 2).mean()) / objective.std()), 4)
            row["picked"] = significant(float(objective[guess.argmin()] - objective.min()) * task.unit)
        if name in standings:
            row["contest"] = _figures(standings[name])
        row |= {
            "metrics": dict(zip(made.metrics, map(significant, drawn * task.sign), strict=True)),
            "weights": dict(zip(made.corpora, decimals(rounded(point)), strict=True)),
            "ceilings_met": bool(task.ceilings is None or (task.ceilings(point)[0] <= 1e-5).all()),
        }
        rows.append(row)
    if standings:
        made.notes.append(
            f"Methods were compared on {PARTS} random parts of {round(_PART * int(believed.sum()))} runs, without ceilings; "
            "their regret and promise are judged by a Gaussian process of all runs, which favours methods like it (gp, "
            "kernel_ridge), and by the law of all runs, which favours auto and law."
        )
    return sorted(rows, key=lambda row: float(row["objective"]))


def _left_out(task: Problem, law: str) -> Array:
    """The objective of every run as a law says that does not know it, (runs,)."""
    used = np.flatnonzero(task.coefficients)
    if law == "law":
        return np.asarray(
            left_out_of(_law(task, law).fit(task.w, task.y[:, used]), task.seed)[0] @ task.coefficients[used]
        )
    return np.asarray(cross_validate(task.w, task.y[:, used], law, task.seed) @ task.coefficients[used])


def _judges(task: Problem, objective: Array) -> dict[str, contest.Judge]:
    """Two who know all runs; to one that does not know left-out runs nothing is better than the reference."""
    used = np.flatnonzero(task.coefficients)
    goal = task.coefficients[used]
    law = (Predictor(task.seed) if task.new_law is None else _law(task, "law")).fit(task.w, task.y[:, used])
    process = GaussianProcess().fit(task.w, objective)
    left_out = {
        "process": cross_validate(task.w, objective[:, None], "gp", task.seed)[:, 0],
        "law": (law.left_out_ if isinstance(law, Predictor) else left_out_of(law, task.seed)[0]) @ goal,
    }
    values: dict[str, Callable[[Array], Array]] = {
        "process": lambda points: process.predict(task.constraints.effective(points)[0]),
        "law": lambda points: law.predict(task.constraints.effective(points)[0]) @ goal,
    }
    judges = {}
    for name, value in values.items():
        knows = report_card(objective, left_out[name], ["objective"], "").r2[0] > gate.MIN_SKILL
        best = methods.searched(value, task.constraints, task.seed, _JUDGED) if knows else task.reference
        judges[name] = contest.Judge(value=value, least=float(value(best[None])[0]))
    return judges


def _contest(
    task: Problem, players: list[str], judges: Mapping[str, contest.Judge], runs: Numbers, choose: contest.Choose
) -> dict[str, contest.Standing]:
    """Every method on the same random parts of these runs; nothing where they are too few to be parted."""
    size = round(_PART * len(runs))
    if size < _FEWEST:
        return {}
    rows: dict[tuple[str, int], dict[str, Any]] = {}
    for part in range(PARTS):
        order = np.random.default_rng([task.seed, 13, part]).permutation(runs)
        fit, rest = np.sort(order[:size]), np.sort(order[size:])
        asked = contest.Task(
            weights=task.w[fit],
            losses=task.y[fit],
            goal=task.coefficients,
            constraints=task.constraints,
            unseen=task.w[rest],
            measured=task.y[rest] @ task.coefficients,
            seed=task.seed,
            passes=task.passes,
        )
        for name in players:
            task.progress.update(_STEPS, f"comparing with {name}, part {part + 1} of {PARTS}")
            rows[name, part] = contest.judged(contest.answer(name, asked, choose), asked, judges)
    return {each.method: each for each in contest.standings(rows)}


def _figures(standing: contest.Standing) -> dict[str, Any]:
    """What stands in the document, as far as anybody can say."""
    known = {name: getattr(standing, name) for name in ("rank", "level", "regret", "promise")}
    made: dict[str, Any] = {name: round(value, 4) for name, value in known.items() if value is not None}
    made["seconds"] = round(standing.seconds, 2)
    if standing.against is not None:
        mean, low, high = (round(value, 4) for value in standing.against)
        made["against"] = {"mean": mean, "interval": [low, high]}
    return made
