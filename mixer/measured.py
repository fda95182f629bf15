"""The runs as a search takes them: tables, objective and limits checked against each other, and runs that do not fit the
others found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from haigo.cli import HaigoError, nearest
from mixer import methods, outliers
from mixer.arrays import Array, Flags
from mixer.evidence import Evidence
from mixer.objective import Objective
from mixer.options import RecommendOptions
from mixer.screened import Screen
from mixer.supply import Constraints, within_tested


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The runs of one scale, lower losses better, with what is not believed replaced by what the other runs expect."""

    evidence: Evidence
    """Without DataFrames."""
    weights: Array
    losses: Array
    names: list[str]
    """Of the metrics."""
    labels: list[str]
    """Of the runs."""
    sign: Array
    counts: Array | None
    """As given, before bad runs count less."""
    screen: Screen | None
    examined: outliers.Examined
    diverged: Flags
    """(runs, metrics)"""
    objective: Objective
    constraints: Constraints


def read(
    evidence: Evidence, objective: Objective, constraints: Constraints, options: RecommendOptions, notes: list[str]
) -> Measured:
    """Check tables, objective and limits against each other and look for runs that do not fit the others; adds to `notes`."""
    if options.method not in methods.ALL:
        near = nearest(options.method, methods.ALL)
        raise HaigoError(
            f"there is no method '{options.method}'.{near}", f"known: {', '.join(methods.ALL)}", option="method"
        )
    evidence = evidence.plain(list(constraints.corpora))
    w, y, names = evidence.matrices(list(constraints.corpora))
    objective = objective.resolve(names, evidence.source)
    constraints.limits().check()
    if not options.beyond_proxies:
        constraints = within_tested(constraints, w, notes)
    labels = [str(name) for name in evidence.runs or range(1, len(w) + 1)]
    objective.check_values(names, y, labels, evidence.source)
    sign = objective.signs(names)
    given = None if evidence.counts is None else np.asarray(evidence.counts, dtype=np.float64)
    screen = None if evidence.screen is None else evidence.screen.signed(sign)
    examined = _examine(w, y * sign, objective, names, given, screen, options)
    diverged = outliers.diverged(y * sign)
    notes += outliers.notes(examined, labels, names, sign, evidence.source)
    notes += objective.wrong_way(names, examined.losses, list(constraints.corpora), w, evidence.source)
    return Measured(
        evidence=evidence,
        weights=w,
        losses=examined.losses,
        names=names,
        labels=labels,
        sign=sign,
        counts=given,
        screen=screen,
        examined=examined,
        diverged=diverged,
        objective=objective,
        constraints=constraints,
    )


def _examine(
    w: Array,
    y: Array,
    objective: Objective,
    names: Sequence[str],
    counts: Array | None,
    screen: Screen | None,
    options: RecommendOptions,
) -> outliers.Examined:
    """The losses that are believed; how sure one must be to say otherwise depends on how many metrics are in use."""
    used = np.array([j for j, name in enumerate(names) if name in objective.weights or name in objective.ceilings])
    law = methods.convex(options.method, options.seed)
    return outliers.examine(law, w, y, counts, screen, used)
