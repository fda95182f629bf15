"""The runs that were trained before a design: what the next ones keep away from, or go around."""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from haigo.cli import HaigoError
from haigo.formats import tables
from haigo.formats.tables import Ratios
from mixer.arrays import Array, as_matrix
from mixer.objective import limit_value
from mixer.options import DesignOptions

_HELD_OUT = re.compile(r"h\d{3,}")
_FITTED = re.compile(r"p(\d+)")


@dataclass(frozen=True, kw_only=True)
class History:
    """Runs that were trained already."""

    weights: Array
    """(runs, corpora)."""
    losses: Array | None = None
    """(runs, metrics), lower is better; None where only the mixtures are known."""
    objective: Array | None = None
    """(metrics,) how much each loss counts; all alike, each divided by its spread, when None."""
    ceilings: Mapping[int, float | str] = field(default_factory=dict)
    """Number of a loss -> what it may be predicted at: a number, or "+5%" against the reference mixture."""
    first: int | None = None
    """Number of the next run's name; as many as there are when None."""

    @property
    def coefficients(self) -> Array:
        """`objective`, or what stands for it.

        Raises:
            HaigoError: it has another length than there are losses.
        """
        assert self.losses is not None
        if self.objective is None:
            return np.asarray(1.0 / np.maximum(self.losses.std(axis=0), 1e-300))
        made = np.asarray(self.objective, dtype=np.float64)
        if made.shape != (self.losses.shape[1],):
            raise HaigoError(f"{made.size} coefficients for {self.losses.shape[1]} losses.", "give one a loss")
        return made


def plain(history: Any, objective: Any = None) -> History | None:
    """`History` as `mixer.design.propose` takes it: weights, or (weights, losses), or None."""
    if history is None or isinstance(history, History):
        return history
    weights, losses = history if isinstance(history, tuple) else (history, None)
    return History(
        weights=as_matrix(weights, "history"),
        losses=None if losses is None else as_matrix(losses, "losses"),
        objective=objective,
    )


def read(options: DesignOptions) -> tuple[Ratios, History]:
    """The tables that `--history` and `--history-metrics` name: ratios.csv as it is, and what the next runs go by.

    Runs named as `mixer.design` names held-out ones (h000, ...) are there to judge the fit: with losses they are left out.

    Raises:
        HaigoError: as `mixer.proxies.read`.
    """
    from mixer.proxies import read_ratios

    read_ratios(options.history or "")
    ratios = tables.read_ratios(options.history or "")
    numbers = [int(match[1]) + 1 for name in ratios.runs if (match := _FITTED.fullmatch(name))]
    first = max(numbers, default=len(ratios.runs))
    if not options.history_metrics:
        return ratios, History(weights=ratios.weights, first=first)
    return ratios, replace(_measured(options), first=first)


def _measured(options: DesignOptions) -> History:
    from mixer import objective as objectives
    from mixer import outliers
    from mixer.laws_share import EffectiveShareLaw
    from mixer.proxies import read as read_runs

    goal = objectives.parse(
        options.objective, options.ceilings, options.maximise, options.minimise, options.standardise
    )
    source = options.history_metrics or ""
    table = read_runs(options.history or "", source, [*goal.weights, *goal.ceilings])
    judges = [name for name in table.runs if _HELD_OUT.fullmatch(name)]
    if judges and len(judges) < len(table.runs):
        print(f"{len(judges)} held-out run(s), {judges[0]} and on, are left to judge the fit.", file=sys.stderr)
        table = table.take(np.array([name not in judges for name in table.runs]))
    base, count = Counter(table.scales).most_common(1)[0] if table.scales else ("", len(table.runs))
    if count < len(table.runs):
        print(f"{source}: the next runs go by the {count} of {base}; others are left out.", file=sys.stderr)
        table = table.take(np.array(table.scales) == base)
    goal = goal.resolve(table.metrics, source)
    sign = goal.signs(table.metrics)
    examined = outliers.examine(EffectiveShareLaw(), table.weights, table.losses * sign)
    for note in outliers.notes(examined, table.runs, table.metrics, sign, source):
        print(note, file=sys.stderr)
    return History(
        weights=table.weights,
        losses=examined.losses,
        objective=goal.coefficients(table.metrics, examined.losses.std(axis=0)),
        ceilings={
            table.metrics.index(name): limit if "%" in str(limit) else limit_value(limit, 0.0, float(way), name)
            for (name, limit), way in zip(goal.ceilings.items(), goal.signs(list(goal.ceilings)), strict=True)
        },
    )
