"""A contest of ways to choose a mixture: each is fitted to the same runs, and is judged by what it has not seen.

`mixer.search --compare` holds it on parts of a table, `benchmarks/contest.py` on whole tables, and with Olmix's own fit.

rank, level   Spearman and error (in standard deviations) of the objective on the runs it was not fitted to
regret        of its mixture: 0 the best there is, 1 the reference; by judges that know no mixing law and all the runs
promise       part of its mixtures whose gain over the reference lies in the 90 % interval it gives: ours as printed, the
              others' prediction +- 1.645 times the error of left-out runs at both ends
seconds       of one processor for fitting, choosing and the interval
against       its regret minus ours, mean and 90 % interval of paired bootstraps over all that both answered

Regressions that know one loss (RegMix, LightGBM, quadratic, kernel ridge, GP) are fitted to the objective itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np

from mixer import methods, repetition
from mixer.answer import Recommendation
from mixer.arrays import Array
from mixer.evidence import Evidence
from mixer.laws import cross_validate, make
from mixer.laws_exp import ExponentialLaw
from mixer.laws_repeat import RepeatedShareLaw
from mixer.objective import Objective
from mixer.optimise import Surface, minimise
from mixer.options import KL, RecommendOptions
from mixer.report_card import rank_correlation
from mixer.supply import Constraints

OURS = "auto"
_DRAWS = 50  # of the law, behind the interval of our own answers
_RESAMPLES = 2000
Cell = TypeVar("Cell", bound=Hashable)
"""What a method was asked, where all were asked the same."""
Choose = Callable[[Evidence, Objective, Constraints, RecommendOptions], Recommendation]
"""`mixer.recommend.choose`, which stands above this."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """What every method is given, and the runs that it is not."""

    weights: Array
    """(runs, corpora)."""
    losses: Array
    """(runs, metrics), lower is better."""
    goal: Array
    """(metrics,) of the sum that is lowered."""
    constraints: Constraints
    unseen: Array
    """(other runs, corpora)."""
    measured: Array
    """(other runs,) their objective."""
    seed: int
    passes: Array | None = None
    """(corpora,) as of `Evidence`, for methods that learn what repetition does."""

    @property
    def reference(self) -> Array:
        return self.constraints.limits().project(self.constraints.reference)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a method says."""

    weights: Array
    unseen: Array | None = None
    """Its prediction of the objective of the other runs; None of a method that predicts nothing."""
    gain: tuple[float, float] | None = None
    """Ends of the 90 % interval of what the mixture gains over the reference."""
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Judge:
    """Somebody who knows all the runs."""

    value: Callable[[Array], Array]
    """Mixtures (n, corpora) -> their objective (n,)."""
    least: float
    """The best within the limits."""


def answer(method: str, task: Task, choose: Choose) -> Answer:
    """What a method of `mixer.methods.ALL` answers, and the processor time it took."""
    begin = time.process_time()
    made = _answer(method, task, choose)
    return replace(made, seconds=time.process_time() - begin)


def _answer(method: str, task: Task, choose: Choose) -> Answer:
    constraints, used = task.constraints, np.flatnonzero(task.goal)
    if method in methods.FREE:
        return Answer(weights=methods.free(method, constraints, constraints.limits()))
    w, y, goal = task.weights, task.losses[:, used], task.goal[used]
    if method in repetition.METHODS:
        return _chosen(method, task, choose)
    if method == "explaw":
        law = ExponentialLaw(seed=task.seed)
        law.fit(w, y)
        pull = KL * float((y @ goal).std())
        function = Surface(law, law.theta_[None], constraints).weighted(goal, pull, constraints.reference)
        starts = [task.reference, constraints.limits().project(w[(y @ goal).argmin()])]
        return _promising(method, task, law, y, goal, minimise(function, constraints.limits(), starts))
    y, goal = (y @ goal)[:, None], np.ones(1)
    one = make(method, task.seed).fit(w, y)
    search = method if method in ("regmix", "lightgbm") else methods.MOVED[0]
    best = methods.searched(lambda pool: one.predict(pool)[:, 0], constraints, task.seed, name=search)
    return _promising(method, task, one, y, goal, best)


def _chosen(method: str, task: Task, choose: Choose) -> Answer:
    """What the search recommends, promises of it, and predicts of the other runs."""
    used = np.flatnonzero(task.goal)
    names = [f"metric {j}" for j in used]
    objective = Objective(
        weights=dict(zip(names, task.goal[used].tolist(), strict=True)),
        direction=dict.fromkeys(names, "min"),
        standardise=False,
    )
    runs = Evidence(weights=task.weights, losses=task.losses[:, used], metrics=names, passes=task.passes)
    options = RecommendOptions(seed=task.seed, bootstrap=_DRAWS, method=method, force=True, beyond_proxies=True)
    made = choose(runs, objective, task.constraints, options)
    # a single metric's gain is in its own units, and the sum in those of the goal
    unit = float(task.goal[used[0]]) if len(used) == 1 else 1.0
    low, high = made.gain["interval"]
    law = make(method, task.seed)
    if task.passes is not None and made.repetition is not None and made.repetition["used"] == "learnt":
        law = RepeatedShareLaw(task.passes, repetition.repeats(task.weights, task.passes), seed=task.seed)
    guess = law.fit(task.weights, task.losses[:, used]).predict(task.unseen) @ task.goal[used]
    return Answer(weights=made.weights, unseen=guess, gain=(low * unit, high * unit))


def _promising(method: str, task: Task, law: Any, y: Array, goal: Array, best: Array) -> Answer:
    """The answer `best` of a law that gives no interval: its left-out errors give one."""
    error = y @ goal - cross_validate(task.weights, y, method, task.seed) @ goal
    at = law.predict(np.stack([task.reference, best])) @ goal
    gain, width = float(at[0] - at[1]), 1.645 * np.sqrt(2.0) * float(np.sqrt((error**2).mean()))
    return Answer(weights=best, unseen=law.predict(task.unseen) @ goal, gain=(gain - width, gain + width))


def judged(made: Answer, task: Task, judges: Mapping[str, Judge]) -> dict[str, Any]:
    """The figures of one answer; `regret` and `kept` by judge, of those that know a mixture better than the reference."""
    row: dict[str, Any] = {"regret": {}, "kept": {}, "seconds": made.seconds}
    for name, judge in judges.items():
        base, at = map(float, judge.value(np.stack([task.reference, made.weights])))
        if base > judge.least:
            row["regret"][name] = (at - judge.least) / (base - judge.least)
            if made.gain is not None:
                row["kept"][name] = bool(made.gain[0] <= base - at <= made.gain[1])
    if made.unseen is not None and len(task.measured):
        error = float(np.sqrt(((made.unseen - task.measured) ** 2).mean()))
        row["rank"] = rank_correlation(made.unseen, task.measured)
        row["level"] = error / max(float(task.measured.std()), 1e-300)
    return row


@dataclass(frozen=True, kw_only=True)
class Standing:
    """A method's means; None where nobody can say."""

    method: str
    answers: int
    rank: float | None
    level: float | None
    regret: float | None
    promise: float | None
    seconds: float
    against: tuple[float, float, float] | None
    """Regret minus ours: mean, and the 90 % interval of paired bootstraps."""


def regret(row: Mapping[str, Any]) -> float | None:
    """The mean over the judges of one answer."""
    values = list(row["regret"].values())
    return float(np.mean(values)) if values else None


def standings(rows: Mapping[tuple[str, Cell], Mapping[str, Any]], ours: str = OURS) -> list[Standing]:
    """Every method's means, least regret first.

    Args:
        rows: (method, what was asked) -> its figures, as of `judged`. One that was asked less is compared with ours there.
    """
    return sorted(
        (_standing(method, rows, ours) for method in dict.fromkeys(method for method, _ in rows)),
        key=lambda each: np.inf if each.regret is None else each.regret,
    )


def _standing(method: str, rows: Mapping[tuple[str, Cell], Mapping[str, Any]], ours: str) -> Standing:
    asked = [cell for name, cell in rows if name == method]
    own = [rows[method, cell] for cell in asked]

    def mean(values: list[Any]) -> float | None:
        known = [value for value in values if value is not None]
        return float(np.mean(known)) if known else None

    regrets = [regret(row) for row in own]
    both = [
        (mine, theirs)
        for mine, theirs in zip(regrets, (regret(rows[ours, cell]) for cell in asked), strict=True)
        if mine is not None and theirs is not None
    ]
    return Standing(
        method=method,
        answers=len(own),
        rank=mean([row.get("rank") for row in own]),
        level=mean([row.get("level") for row in own]),
        regret=mean(regrets),
        promise=mean([kept for row in own for kept in row["kept"].values()]),
        seconds=float(np.mean([row["seconds"] for row in own])),
        against=_paired(np.array(both)) if both and method != ours else None,
    )


def _paired(both: Array) -> tuple[float, float, float]:
    apart = both[:, 0] - both[:, 1]
    draws = np.random.default_rng(0).integers(0, len(apart), (_RESAMPLES, len(apart)))
    low, high = np.quantile(apart[draws].mean(axis=1), [0.05, 0.95])
    return float(apart.mean()), float(low), float(high)
