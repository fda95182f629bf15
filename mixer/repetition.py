"""Whether the runs themselves say what repeating a corpus does, in place of a fixed discount (`mixer.laws_repeat`).

Runs whose corpora were cut so far that they repeat as the target run will (`launch.proxies --match-epochs`) hold what
repetition costs in their losses. A law that knows of passes is then fitted beside the plain one; the search uses it where
left-out runs are predicted better by it, and clearly so.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from haigo.cli import HaigoError
from mixer import focus
from mixer.answer import significant
from mixer.arrays import Array, Flags, as_matrix
from mixer.curve_law import CurveLaw, left_out_of
from mixer.laws_repeat import R_STAR, RepeatedShareLaw
from mixer.problem import Problem
from mixer.screened import Screen
from mixer.supply import FullRepetition

METHODS = ("auto", "law")
_REPEATED, _RUNS = 2.0, 3
"""A corpus is repeated where at least _RUNS runs pass over it more than _REPEATED times: fewer tell nothing of it."""
_GAIN = 0.05
"""Least part of the squared left-out error that the law of repetition must take off."""
_SURE = 1.0
"""And how many standard errors that must be: a law with more freedom wins on noise now and then."""


@dataclass(frozen=True, kw_only=True)
class Learnt:
    """What became of it."""

    passes: Array
    """(corpora,) how often the runs pass over each corpus at the weight 1."""
    most: Array
    """(corpora,) epochs of the run that has most."""
    repeated: Flags
    """(corpora,) of which something could be learnt."""
    error: Array | None
    """Left-out error of the objective without and with repetition, in its standard deviations, good runs counting more; None
    where nothing is repeated."""
    used: bool
    law: CurveLaw
    """The law that is used, fitted to all runs alike."""


def learn(
    task: Problem, plain: CurveLaw, given: Any, counts: Array | None, screen: Screen | None, believed: Flags
) -> Learnt:
    """Fit the law of repetition and let left-out runs decide between it and the plain one; `task` knows the answer then.

    Args:
        plain: fitted to all runs alike.
        given: (corpora,) how often the runs pass over each corpus at the weight 1.
        counts: (runs,) or (runs, metrics) how much each run tells, as in the fit.
        believed: (runs,) those whose losses are believed: only they judge.

    Raises:
        HaigoError: `given` is not a finite number >= 0 for each corpus.
    """
    passes = as_matrix(given, "passes")[:, 0]
    if len(passes) != task.w.shape[1] or (passes < 0).any():
        raise HaigoError(f"`passes` is {given} for {task.w.shape[1]} corpora.", "give one number >= 0 a corpus")
    task.constraints = replace(task.constraints, repetition=FullRepetition())  # what it costs is in the losses
    task.passes, epochs, repeated = passes, task.w * passes, repeats(task.w, passes)
    made = Learnt(passes=passes, most=epochs.max(axis=0), repeated=repeated, error=None, used=False, law=plain)
    if not repeated.any() or task.method not in METHODS:
        return made
    law = RepeatedShareLaw(passes, repeated, seed=task.seed).fit(task.w, task.y, counts, screen)
    # (2, runs, metrics)
    errors = np.stack([left_out_of(each, task.seed)[0][believed] - task.y[believed] for each in (plain, law)])
    near = focus.counts(task.y @ task.coefficients)[believed]  # it is chosen for where the search will end
    limited = [task.names.index(name) for name in task.objective.ceilings]
    squared = (errors @ task.coefficients) ** 2
    better = _better(near, *squared) and not any(_better(near, *errors[::-1, :, j] ** 2) for j in limited)
    error = np.sqrt(squared @ near / near.sum()) / max(float((task.y @ task.coefficients).std()), 1e-300)
    if not better:
        return replace(made, error=error)
    task.new_law = lambda seed: RepeatedShareLaw(passes, repeated, seed=seed)
    return replace(made, error=error, used=True, law=law)


def repeats(weights: Array, passes: Array) -> Flags:
    """(corpora,) of which runs (n, corpora) that pass so often over each corpus at the weight 1 could tell something."""
    return np.asarray((weights * passes > _REPEATED).sum(axis=0) >= _RUNS)


def _better(counts: Array, before: Array, after: Array) -> bool:
    """Whether squared errors (runs,) fell enough, and more than by luck, where runs count so much (runs,)."""
    gain = before - after
    share = counts / counts.sum()
    mean = float(share @ gain)
    luck = float(np.sqrt((share**2 * (gain - mean) ** 2).sum()))
    return mean > max(_GAIN * float(share @ before), _SURE * luck)


def said(task: Problem, learnt: Learnt, notes: list[str]) -> dict[str, Any]:
    """What mixture.yml holds of it, after the draws; sentences are added to `notes`."""
    names = task.constraints.corpora
    never = [name for name, some in zip(names, learnt.repeated, strict=True) if not some]
    made: dict[str, Any] = {"used": "learnt" if learnt.used else "none", "never_repeated": never}
    if task.method not in METHODS:
        notes.append(f"The method {task.method} learns nothing of repetition.")
        return made
    if learnt.error is None:
        notes.append(f"No corpus has more than {_REPEATED:g} epochs in {_RUNS} runs: nothing is learnt of repetition.")
        return made
    before, after = map(float, learnt.error)
    made["left_out_error"] = {"without": significant(before), "learnt": significant(after)}
    judged = f"(left-out error {after:.3f} standard deviations of the objective, {before:.3f} without)"
    if not learnt.used:
        notes.append(f"A law that knows epochs is not clearly better {judged}: the plain one is used.")
        return made
    notes.append(f"What repetition does is learnt from the runs {judged}.")
    law = task.surface.law
    assert isinstance(law, RepeatedShareLaw)
    each = [_for_objective(task, law, theta) for theta in (law.theta_, *task.surface.draws)]
    worth, cost = (np.array([one[i] for one in each]) for i in range(2))
    made["corpora"] = {}
    for j in map(int, np.flatnonzero(learnt.repeated)):
        made["corpora"][names[j]] = {
            "most_epochs": significant(learnt.most[j]),
            "r_star": significant(worth[0, j]),
            "r_star_interval": _interval(worth[1:, j]),
            "cost_of_16_epochs": significant(cost[0, j] * task.unit),
            "cost_interval": _interval(cost[1:, j] * task.unit),
        }
        (r_low, r_high), (low, high) = _interval(worth[1:, j]), _interval(cost[1:, j] * task.unit)
        notes.append(
            f"Repeating {names[j]} (up to {learnt.most[j]:.3g} epochs in the runs): R* {worth[0, j]:.3g} ({r_low:.3g} to "
            f"{r_high:.3g}; {R_STAR:g} where nothing says otherwise), and 16 epochs cost {cost[0, j] * task.unit:.3g} "
            f"({low:.3g} to {high:.3g}) {task.unit_name}."
        )
    if never:
        notes.append(f"Hardly repeated by any run, so that R* {R_STAR:g} stands for it: {', '.join(never)}.")
    return made


def _for_objective(task: Problem, law: RepeatedShareLaw, theta: Array) -> tuple[Array, Array]:
    """R* of each corpus, a mean over the objective's metrics by how much they need the corpus, and what 16 epochs of it
    cost the objective, (corpora,) each.

    Args:
        theta: (metrics, p).
    """
    r_star, cost = law.learnt(theta)
    share = (task.coefficients * law.unit_)[:, None] * (law.transfer() + 1e-9)
    mean = (share * np.log(r_star)).sum(axis=0) / share.sum(axis=0)
    return np.exp(mean), task.coefficients * law.unit_ @ cost


def _interval(values: Array) -> list[float]:
    return [significant(value) for value in np.quantile(values, [0.05, 0.95])]
