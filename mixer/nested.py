"""Corpora in groups (the column `group` of supply.csv): weights of groups first, and of the parts within them.

A source that was parted into topics or quality bands gives many corpora that are much alike. A law that knows so
(`mixer.laws_nested`) is fitted beside the plain one, more and less sure of it, and left-out runs decide which is used: groups
that were named for their limits alone, whose corpora have nothing in common, keep the plain one. Runs of the time before a
source was parted stay useful: its weight stands for its parts as their supply has them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np

from haigo.cli import HaigoError
from haigo.formats.tables import Ratios
from mixer.answer import significant
from mixer.arrays import Array, Flags, Numbers
from mixer.curve_law import CurveLaw, left_out_of
from mixer.history import History
from mixer.laws_nested import NestedShareLaw
from mixer.proxies import ProxyTable
from mixer.screened import Screen
from mixer.supply import Constraints

METHODS = ("auto", "law")
_SPREADS = (0.3, 1.0)
"""Standard deviations of the logarithm of how good a part is for its group: nearly alike, and hardly."""
_GAIN = 0.05
"""Least part of the left-out error that the law of groups must take off."""


@dataclass(frozen=True, kw_only=True)
class Nest:
    """Which corpora belong together."""

    place: Numbers
    """(corpora,) number of the group of each; a corpus of no group has one of its own."""
    share: Array
    """(corpora,) its part of the group's supply."""


def nest(constraints: Constraints) -> Nest | None:
    """The groups of corpora; None where no group has two, or two groups share one."""
    place = np.full(len(constraints.corpora), -1)
    names = list(constraints.corpora)
    several = [members for members, *_ in constraints.groups.values() if len(members) > 1]
    for number, members in enumerate(several):
        inside = [names.index(name) for name in members]
        if (place[inside] >= 0).any():
            return None
        place[inside] = number
    alone = np.flatnonzero(place < 0)
    place[alone] = len(several) + np.arange(len(alone))
    if not several or len(several) + len(alone) < 2:
        return None
    size = np.ones(len(names)) if constraints.supply is None else constraints.supply
    return Nest(place=place, share=size / np.bincount(place, size)[place])


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """What left-out runs say of the laws."""

    errors: list[float]
    """Left-out error of the objective of the plain law and the best of groups, in its standard deviations, good runs counting
    more."""
    law: CurveLaw
    """The better one, fitted to all runs alike."""
    make: Callable[[int], CurveLaw] | None
    """Seed -> another one that is not fitted; None for the plain law."""

    def note(self) -> str:
        judged = (
            f"(left-out error {self.errors[1]:.3f} standard deviations of the objective, {self.errors[0]:.3f} without)"
        )
        if self.make is None and self.errors[1] < (1.0 - _GAIN) * self.errors[0]:
            return f"A law of groups first predicts a metric with a ceiling worse {judged}: the plain one is used."
        if self.make is None:
            return f"A law of groups first is not better {judged}: the plain one is used."
        return f"Weights of groups first: the parts of a group are taken to be alike as far as the runs say {judged}."


def choose(
    constraints: Constraints,
    plain: CurveLaw,
    goal: Array,
    near: Array,
    counts: Array | None = None,
    screen: Screen | None = None,
    believed: Flags | None = None,
    watched: Sequence[int] = (),
) -> Chosen | None:
    """Fit laws of groups to the runs of `plain` and let left-out runs decide; None where there are no groups.

    Args:
        plain: fitted to all runs alike.
        goal: (metrics,) coefficients of the objective.
        near: (runs,) how much each run counts as a judge.
        counts: (runs,) or (runs, metrics) how much each run tells, as in the fit of `plain`.
        believed: (runs,) those whose losses are believed, which alone judge; all when None.
        watched: metrics with ceilings, which must not be predicted worse.
    """
    known = nest(constraints)
    if known is None:
        return None
    w, y = plain.weights_, plain.losses_
    keep = np.ones(len(w), dtype=bool) if believed is None else believed
    judges, size, seed = near[keep], max(float((y @ goal).std()), 1e-300), plain.seed

    def maker(spread: float, counted: bool) -> Callable[[int], CurveLaw]:
        return lambda seed: NestedShareLaw(known.place, known.share, spread, counted=counted, seed=seed)

    def errors(law: CurveLaw) -> list[float]:
        rest = (left_out_of(law, seed)[0] - y)[keep]
        sums = np.c_[rest @ goal / size, rest[:, list(watched)]]
        return np.sqrt(judges @ sums**2 / judges.sum()).tolist()

    base, best = errors(plain), None
    for spread, counted in product(_SPREADS, (False, True) if screen is not None else (False,)):
        law = maker(spread, counted)(seed).fit(w, y, counts, screen)
        made = errors(law)
        if best is None or made[0] < best[0][0]:
            best = made, law, maker(spread, counted)
    assert best is not None
    (error, *others), law, make = best
    better = error < (1.0 - _GAIN) * base[0] and all(a <= b for a, b in zip(others, base[1:], strict=True))
    return Chosen(errors=[base[0], error], law=law if better else plain, make=make if better else None)


def sums(constraints: Constraints, weights: Array, optima: Array) -> dict[str, dict[str, Any]]:
    """What the answer says of each group: weight, 90 % interval (of the optima of the draws, (draws, corpora)), corpora."""
    if nest(constraints) is None:
        return {}
    names, made = list(constraints.corpora), {}
    for group, (members, *_) in constraints.groups.items():
        inside = [names.index(name) for name in members]
        ends = np.quantile(optima[:, inside].sum(axis=1), [0.05, 0.95])
        made[group] = {
            "weight": round(float(weights[inside].sum()), 6),
            "interval": [round(float(end), 4) for end in ends],
            "corpora": list(members),
        }
        if constraints.token_share is not None:
            made[group]["token_share"] = significant(float(constraints.token_share[inside].sum()))
    return made


def shares(supply: Mapping[str, Mapping[str, Any]], columns: Sequence[str], source: str) -> dict[str, dict[str, float]]:
    """Columns that are a group of corpora and no corpus -> the parts of its supply, by name.

    Raises:
        HaigoError: the parts have no tokens.
    """
    made: dict[str, dict[str, float]] = {}
    for column in columns:
        parts = {name: row for name, row in supply.items() if row.get("group") == column}
        if column in supply or not parts:
            continue
        if not all("tokens" in row for row in parts.values()):
            raise HaigoError(
                f"{source} has runs of '{column}' as a whole, and the supply table does not say how many tokens its "
                f"{len(parts)} corpora have.",
                "fill in the column `tokens`",
                option="supply",
            )
        total = sum(row["tokens"] for row in parts.values())
        made[column] = {name: row["tokens"] / total for name, row in parts.items()}
    return made


def parted(
    corpora: Sequence[str], weights: Array, wholes: Mapping[str, Mapping[str, float]]
) -> tuple[list[str], Array]:
    """The columns `corpora` and weights (n, corpora) with every whole of `wholes` as its parts."""
    parts = [part for whole in corpora for part in wholes.get(whole, ())]
    names = list(dict.fromkeys([*(name for name in corpora if name not in wholes), *parts]))
    made = np.zeros((len(weights), len(names)))
    for j, name in enumerate(corpora):
        for part, share in wholes.get(name, {name: 1.0}).items():
            made[:, names.index(part)] += share * weights[:, j]
    return names, made


def as_parts(table: ProxyTable, supply: Mapping[str, Mapping[str, Any]]) -> tuple[ProxyTable, list[str]]:
    """The table with runs of a group as a whole as runs of its corpora, each in proportion to its tokens; names of those runs.

    Raises:
        HaigoError: as of `shares`.
    """
    wholes = shares(supply, table.corpora, table.source)
    if not wholes:
        return table, []
    given = table.weights[:, [j for j, name in enumerate(table.corpora) if name in wholes]]
    runs = [table.runs[i] for i in np.flatnonzero((given > 0).any(axis=1))]
    names, weights = parted(table.corpora, table.weights, wholes)
    said = f"{len(runs)} run(s) of {table.source} have {', '.join(wholes)} as a whole"
    notes = [*table.notes, f"{said}, which stands for its parts by their tokens."]
    return replace(table, corpora=names, weights=weights, notes=notes), runs


def trained_on_wholes(
    ratios: Ratios, known: History, supply: Mapping[str, Mapping[str, Any]], source: str
) -> tuple[Ratios, History]:
    """The runs before a design with those of a group as a whole brought to its corpora.

    Raises:
        HaigoError: as of `shares`.
    """
    wholes = shares(supply, ratios.corpora, source)
    if not wholes:
        return ratios, known
    names, weights = parted(ratios.corpora, ratios.weights, wholes)
    made = replace(ratios, corpora=names, weights=weights, written=parted(ratios.corpora, ratios.written, wholes)[1])
    return made, replace(known, weights=parted(ratios.corpora, known.weights, wholes)[1])


def floors(constraints: Constraints, floor: float) -> Array:
    """The smallest weight of each corpus in a design, (corpora,): that of a source which was parted (GROUP is now GROUP.t0,
    GROUP.t1 ...) is shared by its parts."""
    made = np.full(len(constraints.corpora), floor)
    for group, (members, *_) in constraints.groups.items():
        if all(name.startswith(f"{group}.") for name in members):
            made[np.isin(np.asarray(constraints.corpora), list(members))] = floor / len(members)
    return made
