"""From proxy runs to weights: fit, check the fit, search exactly, and say how sure the answer is. Arrays in, a plain
object out; no files. `mixer.search` is the command around it.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any, cast

import numpy as np

from haigo.progress import Progress
from mixer import (
    focus,
    gate,
    law_file,
    lifted,
    measured,
    methods,
    nested,
    promise,
    repetition,
    replicates,
    tradeoffs,
    value_of_information,
)
from mixer.answer import Recommendation, significant
from mixer.arrays import Array, Flags, Numbers, as_matrix
from mixer.compare import compared, other, starting_points
from mixer.curve_law import CurveLaw
from mixer.evidence import Evidence
from mixer.laws import cross_validate, left_out_of
from mixer.mixture import DIGITS, check_weights, rounded
from mixer.objective import Objective
from mixer.optimise import Surface, minimise, near_optimal
from mixer.options import KL, RecommendOptions
from mixer.problem import Problem
from mixer.promise import LeftOut
from mixer.report_card import ReportCard, report_card
from mixer.screened import Screen
from mixer.supply import Constraints

_MARGINS = 6  # searches until ceilings hold with the probability asked for: the error depends on the mixture


def recommend(
    weights: Any,
    losses: Any,
    objective: Objective,
    constraints: Constraints,
    seed: int = 0,
    bootstrap: int = 100,
    method: str = "auto",
    **more: Any,
) -> Recommendation:
    """Choose the mixture from arrays.

    Args:
        weights: (runs, corpora) array in the order of `constraints.corpora`, or DataFrame with their names.
        losses: (runs, metrics) array, or DataFrame; two DataFrames are joined by their index.
        more: fields of `Evidence` (metrics, runs, held_out ...), of `RecommendOptions` (force, compare, beyond_proxies) and
            `progress`, which shows how far the search is.

    Raises:
        HaigoError: bad tables, unknown metrics, limits that cannot hold together.
        Refused: left-out runs do not confirm the fit, or the ceilings cannot be met.
    """
    progress = more.pop("progress", None)
    how = {name: more.pop(name) for name in ("force", "compare", "beyond_proxies") if name in more}
    options = RecommendOptions(seed=seed, bootstrap=max(bootstrap, 1), method=method, **how)
    return choose(Evidence(weights=weights, losses=losses, **more), objective, constraints, options, progress)


def choose(
    evidence: Evidence,
    objective: Objective,
    constraints: Constraints,
    options: RecommendOptions,
    progress: Progress | None = None,
) -> Recommendation:
    """Choose the mixture; arguments and errors as of `recommend`."""
    notes: list[str] = []
    read = measured.read(evidence, objective, constraints, options, notes)
    evidence, w, y, names = read.evidence, read.weights, read.losses, read.names
    objective, constraints = read.objective, read.constraints
    labels, sign, screen, examined = read.labels, read.sign, read.screen, read.examined
    counts = examined.counts(read.counts)
    proxies, step, others = lifted.Runs(w, y, counts), None, evidence.others
    if others is not None:
        if progress is not None:
            progress.show("other scales")
        scores = objective.coefficients(names, y.std(axis=0))
        join = screen is None and evidence.passes is None  # both speak of the proxies alone
        step = lifted.lift(proxies, others.signed(sign), scores, options.seed, max(options.bootstrap, 10), join)
        w, y, counts = step.runs
        notes += step.notes
    more = len(w) - len(labels)
    task = _problem(w, y, names, objective, constraints, options, progress)
    law = _law(task)
    if screen is not None:
        notes.append(screen.note(y, names))
    law.fit(w, y, counts, screen)
    times = np.ones(len(w) - more) if evidence.repeats is None else np.asarray(evidence.repeats, dtype=np.float64)
    times = np.r_[times, np.ones(more)]
    noise = evidence.run_noise if others is None else None  # of the small scale
    known = None if noise is None else np.asarray(noise, dtype=np.float64)
    if known is not None and times.max() > times.min():
        counts = _times(replicates.counts(times, known, law.noise_), counts)
        law.fit(w, y, counts, screen)
    believed = np.r_[examined.believed(np.arange(len(names))), np.ones(more, dtype=bool)]
    law, learnt = _chosen(task, law, evidence, counts, screen, believed, notes)
    card = _card(task, law, believed)
    if options.method not in methods.FREE:
        dealt = partial(_dealt, task, counts, screen)
        far = [labels[i] for i in np.flatnonzero(read.diverged[:, task.coefficients > 0].any(axis=1))]
        gate.check(gate.Evidence(card, task.y, task.coefficients, believed, dealt), objective, options, far, notes)
    floor = _floor(known, objective.paired_noise(names) if others is None else None, times)
    _surface(task, law, counts, step, max(options.bootstrap, 10), floor, screen)
    seeds = np.zeros(len(names))
    for size in (known, None if step is None else step.noise):
        seeds = seeds if size is None else np.maximum(seeds, size)
    least = np.maximum(objective.item_noise(names, y), seeds)
    asked_for = np.union1d(np.flatnonzero(task.coefficients), task.limited)
    good = np.r_[examined.believed(asked_for), np.ones(more, dtype=bool)]
    kept = promise.examine(task, left_out_of(law, task.seed)[0], good, least, seeds)
    notes += objective.doubts(names, read.losses * sign, evidence.source)
    for metric in task.ceiling_names:
        if card.skill(metric) < gate.MIN_SKILL:
            notes.append(f"The ceiling on {metric} rests on a law that left-out runs do not confirm.")
    made = _answer(task, _best(task, kept, options.ceiling_probability), kept, law, card, options, notes)
    made.notes += promise.unmet(made.ceilings, options.ceiling_probability)
    if learnt is not None:
        made.repetition = repetition.said(task, learnt, made.notes)
    if others is not None and step is not None:
        lifted.value(task, made, proxies, others, step)
    if evidence.held_out is not None:
        own = (
            others is not None and not others.held_out
        )  # runs of the small scale say nothing of levels at the target's
        asked = _law(task).fit(*proxies, screen) if own else task.law
        _judge(task, made, asked, proxies.losses, evidence)
    given = [str(name) for name in labels], examined, made.held_out_predictions, made.ceilings
    made.law = law_file.content(task, made.weights, kept, law, *given)
    if options.compare:
        made.compared = compared(task, made, believed, choose)
    if options.figures:
        made.curves = tradeoffs.curves(task, made, law)
    if others is not None and others.beyond > lifted.BEYOND and not options.force:
        lifted.withhold(made, others)
    return made


def _chosen(
    task: Problem,
    law: CurveLaw,
    evidence: Evidence,
    counts: Array | None,
    screen: Screen | None,
    believed: Flags,
    notes: list[str],
) -> tuple[CurveLaw, repetition.Learnt | None]:
    """The law that left-out runs prefer, which may know groups or repetition, and what was learnt of the latter."""
    groups = learnt = None
    if task.method in nested.METHODS:
        watched = [task.names.index(name) for name in task.objective.ceilings]
        near = focus.counts(task.y @ task.coefficients)
        groups = nested.choose(task.constraints, law, task.coefficients, near, counts, screen, believed, watched)
    if groups is not None:
        law, task.new_law = groups.law, groups.make
    if evidence.passes is not None:
        learnt = repetition.learn(task, law, evidence.passes, counts, screen, believed)
        law = learnt.law
    if groups is not None and not (learnt is not None and learnt.used):
        notes.append(groups.note())
    return law, learnt


def _problem(
    w: Array,
    y: Array,
    names: list[str],
    objective: Objective,
    constraints: Constraints,
    options: RecommendOptions,
    progress: Progress | None,
) -> Problem:
    limits, coefficients = constraints.limits(), objective.coefficients(names, y.std(axis=0))
    shown = progress or Progress("", None, quiet=True)
    draws = max(options.bootstrap, 10)
    shown.total = 2.0 * (draws + len(constraints.corpora) + min(draws, value_of_information.DRAWS))
    kl = KL if constraints.kl is None else float(constraints.kl)
    return Problem(
        w=w,
        y=y,
        names=names,
        sign=objective.signs(names),
        coefficients=coefficients,
        objective=objective,
        constraints=constraints,
        limits=limits,
        reference=limits.project(constraints.reference),
        method=options.method,
        seed=options.seed,
        pull=kl * float(np.std(y @ coefficients)),
        progress=shown,
    )


def _best(task: Problem, kept: LeftOut, sure: float) -> Array:
    """The mixture that the method chooses, (corpora,), rounded within the limits.

    Args:
        sure: the probability with which a run is to be below each ceiling.
    """
    limits = task.limits
    for left in reversed(range(_MARGINS)):
        if task.method in methods.EXACT:
            best = minimise(task.function(), limits, starting_points(task), task.ceilings)
        else:
            if task.ceilings is not None:
                starting_points(task)  # says so when the ceilings cannot be met
            best = other(task, task.method)
        best = rounded(best, DIGITS, limits.lower, limits.upper, limits.rows, limits.bounds)
        first = left == _MARGINS - 1 and len(task.limited) > 0  # by the law alone: the promise may be better than that
        if not left or (not first and (promise.certain(task, kept, best) >= sure - 5e-4).all()):
            break
        if sure > 0.5:
            task.keep_below(promise.margin(task, kept, best, sure + 0.1 * (1.0 - sure)), f" with probability {sure:g}")
        elif task.method in methods.EXACT:  # near the reference the law's error is that of a difference
            task.keep_below(promise.margin(task, kept, best, 0.5))
        else:
            break
    return best


def _answer(
    task: Problem,
    best: Array,
    kept: LeftOut,
    law: CurveLaw,
    card: ReportCard,
    options: RecommendOptions,
    notes: list[str],
) -> Recommendation:
    """Everything that is said about the mixture `best`."""
    constraints = task.constraints
    optima, drawn = value_of_information.draw_optima(task, best)
    within = max(drawn, 1e-6)
    start = task.limits.project(best)
    low, high = near_optimal(task.function(), task.limits, start, within, task.ceilings, task.progress)
    pair, here = promise.compare(task, best, law), kept.at(best)
    exact = task.method in methods.EXACT
    return Recommendation(
        corpora=list(constraints.corpora),
        metrics=task.names,
        weights=best,
        interval=np.quantile(optima, [0.05, 0.95], axis=0).T,
        near_optimal=np.stack([low, high], axis=1),
        near_optimal_within=significant(within * task.unit),
        reference=task.reference,
        reference_name=constraints.reference_name,
        token_share=constraints.token_share,
        epochs=constraints.epochs(best),
        prediction=promise.prediction(task, here, pair),
        gain=promise.gain(task, here, pair),
        expected_regret=(here.regret(pair, drawn) if exact else drawn) * task.unit,
        more_proxies=value_of_information.proxies_to_halve(task, drawn) if exact else None,
        binding=value_of_information.binding(task, best),
        transfer=cast(Any, law).transfer(),
        card=card,
        held_out=None,
        objective=task.objective,
        method=task.method,
        seed=task.seed,
        groups=nested.sums(constraints, best, optima),
        bootstrap=options.bootstrap,
        kl=KL if constraints.kl is None else float(constraints.kl),
        ceilings=promise.ceilings(task, kept, best),
        notes=notes,
    )


def _floor(known: Array | None, items: Array | None, times: Array) -> tuple[Array, Array] | None:
    """The least noise, (metrics,) each, of one training and of a run of the table.

    Args:
        known: (metrics,) noise by seeds; None where it is not known.
        items: (metrics,) noise by items; more trainings of a run do not average it out.
        times: (runs,) trainings behind each run.
    """
    if known is None:
        return None if items is None or not items.any() else (items, items)
    beside = 0.0 if items is None else items**2
    return np.sqrt(known**2 + beside), np.sqrt(known**2 * (1.0 / times).mean() + beside)


def _law(task: Problem) -> CurveLaw:
    """The law that is searched, not yet fitted."""
    law = methods.convex(task.method, task.seed) if task.new_law is None else task.new_law(task.seed)
    law.tick = lambda part: task.progress.show("fitting the law")
    return law


def _times(more: Array, counts: Array | None) -> Array:
    """`more` (runs,) times `counts` (runs,) or (runs, metrics)."""
    if counts is None:
        return more
    return np.asarray(more * counts if counts.ndim == 1 else more[:, None] * counts)


def _card(task: Problem, law: CurveLaw, keep: Flags) -> ReportCard:
    left_out, how = left_out_of(law, task.seed)
    if task.method in methods.SAMPLED:
        left_out, how = cross_validate(task.w, task.y, task.method, task.seed), "5-fold"
    truth, guess = np.c_[task.y, task.y @ task.coefficients], np.c_[left_out, left_out @ task.coefficients]
    return report_card(truth[keep], guess[keep], [*task.names, "objective"], how)


def _dealt(task: Problem, counts: Array | None, screen: Screen | None, order: Numbers) -> Array:
    """Left-out predictions (runs, metrics) of the losses dealt to the mixtures in another order; 0 for unused metrics."""
    used = np.flatnonzero(task.coefficients)
    y, made = task.y[order][:, used], np.zeros_like(task.y)
    if task.method in methods.SAMPLED:
        made[:, used] = cross_validate(task.w, y, task.method, task.seed)
        return made
    if screen is not None:
        screen = replace(screen, losses=screen.losses[:, used], at_runs=screen.at_runs[:, used])
    if counts is not None:
        counts = counts[order] if counts.ndim == 1 else counts[order][:, used]
    made[:, used] = left_out_of(_law(task).fit(task.w, y, counts, screen), task.seed)[0]
    return made


def _surface(
    task: Problem,
    law: CurveLaw,
    counts: Array | None,
    step: lifted.Lifted | None,
    bootstrap: int,
    floor: tuple[Array, Array] | None,
    screen: Screen | None,
) -> None:
    """Fit what is searched, for "auto" the law near the best proxies, and draw from it.

    Args:
        floor: known noise of one training and of a run of the table, (metrics,) each.
    """
    if task.method == "auto":
        near = _times(focus.counts(task.y @ task.coefficients), counts)
        law = _law(task).fit(task.w, task.y, near, screen)
    if floor is not None:
        # a law of few runs bends towards their noise, and its residuals then say too little of it
        law.noise_ = np.maximum(law.noise_, floor[1])
    law.moved = None if step is None else step.draws
    law.tick = lambda part: task.progress.update(part * bootstrap, "draws of the law")
    draws, noise = law.bootstrap(bootstrap), law.noise_
    law.tick = None
    if floor is not None:
        noise = np.maximum(noise, floor[0])
    if step is not None:
        noise = np.maximum(noise, step.noise)
    noise = np.maximum(noise, task.objective.item_noise(task.names, task.y))
    task.set_surface(Surface(law, draws, task.constraints), noise)


def _judge(task: Problem, made: Recommendation, law: CurveLaw, losses: Array, evidence: Evidence) -> None:
    """Fill in how a law of runs with these `losses` (runs, metrics) does on the held-out runs of the same scale."""
    assert evidence.held_out is not None
    held_out, names = evidence.held_out, evidence.held_out_names
    w_held, _ = check_weights(as_matrix(held_out[0], "held-out weights"), made.corpora)
    y_held = as_matrix(held_out[1], "held-out losses") * task.sign
    guess = law.predict(w_held)
    truth, both = np.c_[y_held, y_held @ task.coefficients], np.c_[guess, guess @ task.coefficients]
    plain = np.r_[losses.mean(0), (losses @ task.coefficients).mean()]
    made.held_out = report_card(truth, both, [*made.metrics, "objective"], "held-out runs", plain)
    made.held_out_predictions = {
        "runs": [str(name) for name in names] if names is not None else [str(i) for i in range(len(w_held))],
        "metrics": {
            m: {"measured": (y_held[:, j] * task.sign[j]).tolist(), "predicted": (guess[:, j] * task.sign[j]).tolist()}
            for j, m in enumerate(made.metrics)
        },
    }
