"""Corpora that the runs never vary apart: no law can tell what each of them does, only what they do together.

Corpora whose weights keep one ratio in all runs become one corpus for the fit and the search; its weight is then split
in a neutral way (by their tokens, or in the ratio of the runs) and the ranges say that any other split is as good.
Further ties (one corpus is the sum of two others, say) and corpora of one weight in all runs are named.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from haigo.cli import HaigoError
from mixer.answer import Recommendation
from mixer.arrays import Array, Numbers
from mixer.mixture import DIGITS, rounded
from mixer.screened import Screen
from mixer.supply import Constraints

_RATIO = 0.02  # part of a corpus' weights by which a ratio may vary and still say nothing
_TIED = 0.03  # standard deviations of a weight that are left when the others are known
_SPARE = 4  # runs more than corpora that it takes to see a tie of several


@dataclass(frozen=True, kw_only=True)
class Together:
    """Which corpora were joined, and how what is found for them is taken apart."""

    corpora: list[str]
    """All, as the tables name them."""
    place: Numbers
    """(corpora,) number of the joined corpus each belongs to."""
    share: Array
    """(corpora,) its part of that."""
    constraints: Constraints
    """Over the joined corpora."""

    def fold(self, weights: Array) -> Array:
        """(n, corpora) -> (n, joined corpora)."""
        made = np.zeros((len(weights), len(self.constraints.corpora)))
        np.add.at(made.T, self.place, np.asarray(weights).T)
        return made

    def fold_screen(self, screen: Screen | None) -> Screen | None:
        return None if screen is None else replace(screen, weights=self.fold(screen.weights))

    def fold_passes(self, passes: Array | None) -> Array | None:
        """How often the runs pass over each joined corpus, the tokens of all its corpora, at the weight 1."""
        with np.errstate(divide="ignore"):
            return None if passes is None else np.asarray(1.0 / self.fold(1.0 / passes[None])[0])

    def groups(self) -> list[list[int]]:
        """Numbers of the corpora that were joined, two or more each."""
        found = [np.flatnonzero(self.place == number).tolist() for number in range(len(self.constraints.corpora))]
        return [members for members in found if len(members) > 1]


def joined(weights: Array, constraints: Constraints, notes: list[str]) -> Together | None:
    """Join what never varies apart; None where there is no such thing, or the limits forbid the neutral split.

    Args:
        weights: (runs, corpora) of the runs that the law is fitted to.
        notes: what was tied but not joined is added here.
    """
    names = list(constraints.corpora)
    clusters = _clusters(weights)
    made = _join(weights, constraints, clusters) if clusters else None
    if clusters and made is None:
        for members in clusters:
            notes.append(
                f"{_and([names[j] for j in members])} never vary apart in the runs, and their limits differ too much for "
                "one split: what the answer gives each of them is a guess, only their sum is known."
            )
    if made is not None and len(made.constraints.corpora) < 2:
        raise HaigoError(
            f"{_and(names)} never vary apart in the runs.", "train proxies with different mixtures of them"
        )
    rest = weights if made is None else made.fold(weights)
    known = names if made is None else list(made.constraints.corpora)
    for tied in _ties(rest):
        notes.append(
            f"The runs vary {_and([known[j] for j in tied])} only together (the weights of some decide the others): what "
            "the answer gives each of them is a guess, only what they do together is known."
        )
    return made


def _and(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0]


def _clusters(weights: Array) -> list[list[int]]:
    """Numbers of corpora that keep one ratio in all runs."""
    size = np.sqrt((weights**2).sum(0))
    varied = np.flatnonzero(np.ptp(weights, axis=0) > 1e-9)
    unit = weights[:, varied] / size[varied]
    found: list[list[int]] = []
    free = list(range(len(varied)))
    while free:
        first = free.pop(0)
        like = [j for j in free if np.sqrt(((unit[:, j] - unit[:, first]) ** 2).sum()) < _RATIO]
        free = [j for j in free if j not in like]
        if like:
            found.append([int(varied[j]) for j in [first, *like]])
    return found


def _ties(weights: Array) -> list[list[int]]:
    """Numbers of corpora of which some are sums of others (beyond that all sum to 1)."""
    varied = np.flatnonzero(np.ptp(weights, axis=0) > 1e-9)
    if len(weights) < len(varied) + _SPARE or len(varied) < 3:
        return []
    centred = weights[:, varied] - weights[:, varied].mean(axis=0)
    spread = centred.std(axis=0)
    _, size, rows = np.linalg.svd(centred / spread, full_matrices=False)
    loose = rows[size / np.sqrt(len(weights)) < _TIED] / spread
    if len(loose) < 2:  # one is the sum of all
        return []
    # what no tie concerns has the same coefficient in all of them, that of the sum of all
    loose = loose / np.abs(loose).max(axis=1, keepdims=True)
    off = np.abs(loose - np.median(loose, axis=1, keepdims=True)).max(axis=0)
    return [[int(varied[j]) for j in np.flatnonzero(off > 0.05)]]


def _join(weights: Array, constraints: Constraints, clusters: list[list[int]]) -> Together | None:
    names, k = list(constraints.corpora), len(constraints.corpora)
    place, share = np.full(k, -1), np.ones(k)
    labels: list[str] = []
    first = {members[0]: members for members in clusters}
    for j in range(k):
        if place[j] >= 0:
            continue
        members = first.get(j, [j])
        place[members] = len(labels)
        labels.append(" + ".join(names[m] for m in members))
        if len(members) > 1:
            part = weights.mean(axis=0) if constraints.supply is None else constraints.supply
            share[members] = part[members] / part[members].sum()
    groups = {}
    for group, (of, low, high) in constraints.groups.items():
        inside = {int(place[names.index(name)]) for name in of}
        if sum(int((place == number).sum()) for number in inside) != len(of):
            if low <= 0 and high >= 1:
                continue
            return None  # a group with a part of a pair: no split is neutral there
        groups[group] = ([labels[number] for number in sorted(inside)], low, high)

    def each(values: Array, how: np.ufunc) -> Array:
        made = np.full(len(labels), np.nan)
        for j, value in enumerate(values):
            made[place[j]] = value if np.isnan(made[place[j]]) else how(made[place[j]], value)
        return made

    def total(values: Array | None) -> Array | None:
        return None if values is None else each(values, np.add)

    lower = np.zeros(k) if constraints.lower is None else constraints.lower
    upper = np.ones(k) if constraints.upper is None else constraints.upper
    made = replace(
        constraints,
        corpora=labels,
        lower=each(lower / share, np.maximum),
        upper=np.minimum(each(upper / share, np.minimum), 1.0),
        groups=groups,
        supply=total(constraints.supply),
        max_epochs=each(np.broadcast_to(np.asarray(constraints.max_epochs, dtype=np.float64), (k,)), np.minimum),
        prior=total(constraints.reference if constraints.supply is None else constraints.prior),
        tested=total(constraints.tested),
    )
    try:
        made.limits().check()
    except HaigoError:
        return None
    return Together(corpora=names, place=place, share=share, constraints=made)


def apart(made: Recommendation, together: Together, constraints: Constraints) -> Recommendation:
    """The answer over all corpora, with a note on each that was joined."""
    place, share, names = together.place, together.share, together.corpora
    limits = constraints.limits()
    weights = rounded(made.weights[place] * share, DIGITS, limits.lower, limits.upper, limits.rows, limits.bounds)
    notes = list(made.notes)
    interval, near = made.interval[place], made.near_optimal[place]
    single = np.bincount(place)[place] == 1
    how = "in the ratio of the runs" if constraints.supply is None else "by their tokens"
    for members in together.groups():
        number = int(place[members[0]])
        low, high = made.interval[number]
        notes.append(
            f"{_and([names[j] for j in members])} never vary apart in the runs, so that nothing can tell them apart: "
            f"together they get {made.weights[number]:.1%} ({low:.1%} to {high:.1%}), split {how}; any other split is as good "
            "as far as the runs say, and the ranges of each say so."
        )
        for table in (interval, near):
            table[members, 0] = np.minimum(limits.lower[members], weights[members])
            table[members, 1] = np.maximum(np.minimum(table[members, 1], limits.upper[members]), weights[members])

    def parts(values: Array) -> Array:
        return np.asarray(values[place] * share)

    return replace(
        made,
        corpora=names,
        weights=weights,
        interval=np.where(single[:, None], made.interval[place], interval),
        near_optimal=near,
        reference=parts(made.reference),
        reference_name=constraints.reference_name,
        token_share=None if constraints.supply is None else constraints.token_share,
        epochs=constraints.epochs(weights),
        transfer=made.transfer[:, place] * share,
        notes=notes,
        groups={name: {**said, "corpora": list(constraints.groups[name][0])} for name, said in made.groups.items()},
        scale=_scale_apart(made.scale, together),
        compared=made.compared
        and [
            {
                **row,
                "weights": {
                    name: round(float(row["weights"][_label(together, j)] * share[j]), 4)
                    for j, name in enumerate(names)
                },
            }
            for row in made.compared
        ],
    )


def _scale_apart(scale: dict[str, Any] | None, together: Together) -> dict[str, Any] | None:
    if not scale or "small_scale_weights" not in scale:
        return scale
    each = enumerate(together.corpora)
    found = {n: round(float(scale["small_scale_weights"][_label(together, j)] * together.share[j]), 4) for j, n in each}
    return {**scale, "small_scale_weights": found}


def _label(together: Together, corpus: int) -> str:
    return str(together.constraints.corpora[int(together.place[corpus])])
