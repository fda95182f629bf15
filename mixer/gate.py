"""Whether the proxies support advice at all: left-out runs are predicted better than by the mean of the others, and better
than luck lets a table of noise be.

A law of few runs predicts noise well now and then: by rank and variance alone, every eighth table of 8 runs of pure noise
would pass. So the losses are dealt to the mixtures anew, and each such table goes through the same fit and the same
left-out runs; what at most one of 20 of them reaches is luck's. As no order of the losses is special where mixtures do
not matter, at most 5 % of such tables pass, whatever the law and the number of runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from haigo.cli import Refused
from mixer.arrays import Array, Flags, Numbers
from mixer.objective import Objective
from mixer.options import RecommendOptions
from mixer.report_card import ReportCard, report_card

MIN_SKILL = 0.1
"""Least part of the objective's variance that left-out runs must confirm before any advice is given."""

_SHUFFLES, _LUCKY = 39, 1
"""Tables that are dealt, and how many may do as well as the real one: 2 of 40 are 5 %."""
_SURE = 1e-5
"""A rank correlation that independent runs would reach so seldom needs no test by dealing: luck's is not far above."""


class Evidence(NamedTuple):
    """What a gate looks at."""

    card: ReportCard
    losses: Array
    """(runs, metrics), lower is better."""
    coefficients: Array
    """(metrics,) of the minimised sum."""
    believed: Flags
    """(runs,) the runs that are judged."""
    left_out: Callable[[Numbers], Array]
    """Order of the runs (runs,) -> left-out predictions (runs, metrics) of their losses, dealt in this order."""


def check(
    evidence: Evidence, objective: Objective, options: RecommendOptions, diverged: Sequence[str], notes: list[str]
) -> None:
    """Refuse a table that supports no advice, or note that it was forced.

    Args:
        diverged: names of runs whose losses are far above all others.

    Raises:
        Refused: left-out runs do not confirm the fit.
    """
    card = evidence.card
    skill, rho = card.skill("objective"), card.spearman[-1]
    used = ", ".join(objective.weights)
    if not skill > MIN_SKILL:
        problem = (
            "the fit is no better than taking the mean of the proxies (left-out runs: R2 "
            f"{skill:.2f}, Spearman {rho:.2f} for {used})."
        )
    elif by_luck(evidence, options.seed):
        problem = (
            f"the fit may be no better than taking the mean of the proxies: with {card.runs} runs, a table whose losses were "
            f"dealt to the mixtures at random is fitted as well more than once in 20 times (left-out runs: R2 {skill:.2f}, "
            f"Spearman {rho:.2f} for {used})."
        )
    else:
        return
    if options.force:
        notes.append("Forced: " + problem)
        return
    fix = "train more or longer proxies, choose another metric, or go on anyway with --force"
    if diverged:
        shown = ", ".join(diverged[:5]) + (" ..." if len(diverged) > 5 else "")
        problem += f" {len(diverged)} run(s) are far above all others, as runs that diverged are: {shown}."
        fix = "leave those runs out or train them again with a lower learning rate; --force goes on anyway"
    raise Refused(problem, fix, option="force")


def by_luck(evidence: Evidence, seed: int) -> bool:
    """Whether tables whose losses were dealt to the mixtures at random are predicted as well."""
    if _chance(evidence.card) < _SURE:
        return False
    rng = np.random.default_rng([seed, 11])
    skill, as_good = evidence.card.skill("objective"), 0
    for _ in range(_SHUFFLES):
        order: Numbers = rng.permutation(len(evidence.losses))
        truth = (evidence.losses @ evidence.coefficients)[order]
        guess = evidence.left_out(order) @ evidence.coefficients
        keep = evidence.believed[order]
        as_good += report_card(truth[keep], guess[keep], ["objective"], "").r2[0] >= skill
        if as_good > _LUCKY:
            return True
    return False


def _chance(card: ReportCard) -> float:
    """How often the ranks of independent runs would agree so well, were left-out predictions independent too."""
    from scipy.special import stdtr

    rho, free = min(card.spearman[-1], 1.0 - 1e-12), card.runs - 2
    return float(stdtr(free, -rho * np.sqrt(free / (1.0 - rho**2)))) if rho > 0 and free > 0 else 1.0
