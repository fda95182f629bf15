"""Losses that do not belong to their mixture: a run that diverged, was logged wrongly, or stands in the wrong row.

One such run among 64 can move the answer for a single loss by a third of the weights, with every interval narrow. So a
law is fitted that counts a run the less the farther it is off (iterated reweighting, as in robust regression), and each
loss is compared with what this law says without its run. How far off a good run may be is taken from the table itself:
from all runs, from those of like predicted losses and from those of like mixtures, whichever is widest, because no law
is exact and is least so at the ends. A loss far beyond that counts next to nothing, and for all that needs a number
(spreads, best runs) what the others expect takes its place. The limits were chosen on subsets of RegMix's runs: see
docs/mixer.md for how often good runs are named and bad ones found.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mixer.arrays import Array, Flags, Numbers
from mixer.curve_law import CurveLaw, left_out_of
from mixer.laws_gp import GaussianProcess
from mixer.screened import Screen

TRUST = 1e-3
"""How much a loss that is not believed counts, in runs."""

_FAR, _FAR_MORE = 4.0, 2.2
"""Widths of a good run at which one metric's loss is not believed, and what each e-fold of metrics in use adds: who
looks at 13 metrics of a run sees a strange one more often."""
_CONFIRMED = 0.2
"""Part of a loss's distance from the law that a second opinion must find too."""
_SCALED, _SCALED_MORE = 0.3, 0.4
"""The same for one that knows which corpora matter, and what each e-fold of metrics in use adds."""
_EXCHANGED, _IN_ORDER = 4.0, 4.0
"""Two losses of one run stand in each other's column when that is so much more likely (in logarithms; more with more metrics
in use), and exchanged neither is more than so many widths off."""
_TAILS = 4.0  # degrees of freedom of the errors of good runs, measured in their widths
_UNUSED = 2.0  # times as far for metrics that the answer does not rest on
_LEAST_RUNS = 8  # with fewer runs a law bends to each of them
_ENOUGH = (
    24  # with fewer runs than this the width of a good run is not well known, and only what is farther off is named
)
_MATERIAL = 0.3  # standard deviations over the runs: nearer than this no loss is worth a word
_MANY = 0.25  # a run that is off in more than this part of the metrics is not believed in the others either
_AT_MOST = 0.2  # of the runs: where more are off, it is the law that is wrong
_DIVERGED = 10.0  # standard deviations above the middle: among RegMix's runs none is above 5
_WILD = 6.0  # standard deviations of the losses themselves: the robust fit does not begin with such a loss
_GOOD = 3.5  # widths within which a run counts in full in the robust fit
_ROUNDS = 6
_SECOND = 400  # runs that a second opinion is asked of


@dataclass(frozen=True, kw_only=True)
class Doubt:
    """One loss that is not believed."""

    run: int
    metric: int
    measured: float
    expected: float
    far: float
    """How many widths of a good run lie between."""


@dataclass(frozen=True, kw_only=True)
class Examined:
    """A table of losses (runs, metrics) after the examination."""

    losses: Array
    """(runs, metrics), what the others expect in place of what is not believed."""
    trust: Array | None
    """(runs, metrics), 1 or `TRUST`; None when all are believed."""
    doubts: list[Doubt]

    def counts(self, given: Array | None) -> Array | None:
        """How much each loss tells, (runs, metrics) or as given, when each run tells `given` (runs,)."""
        if self.trust is None:
            return given
        return self.trust if given is None else given[:, None] * self.trust

    def believed(self, which: Numbers) -> Flags:
        """Runs whose losses in the metrics `which` are all believed, (runs,)."""
        bad = np.zeros(len(self.losses), dtype=bool)
        bad[[doubt.run for doubt in self.doubts if doubt.metric in which]] = True
        return ~bad


def examine(
    law: CurveLaw,
    weights: Array,
    losses: Array,
    counts: Array | None = None,
    screen: Screen | None = None,
    used: Numbers | None = None,
) -> Examined:
    """Find the losses that are not believed.

    Args:
        law: a law of the kind to compare with; it is fitted here.
        weights: (runs, corpora).
        losses: (runs, metrics), lower is better.
        counts: (runs,) how much each run tells; all the same when None.
        used: numbers of the metrics that the answer rests on; all when None.
    """
    given = np.ones(len(weights)) if counts is None else np.asarray(counts, dtype=np.float64)
    bad = np.zeros(losses.shape, dtype=bool)
    expected = losses
    if len(weights) >= _LEAST_RUNS:
        _robust(law, weights, losses, given, screen)
        expected, _ = left_out_of(law, law.seed)
        width = _widths(law, expected, losses, given)
        far = np.abs(losses - expected) / width
        used = np.arange(losses.shape[1]) if used is None else used
        limit = _limits(len(losses), losses.shape[1], used)
        strange = (far > limit) & (np.abs(losses - expected) > _MATERIAL * _spread(losses))
        strange &= _confirmed(law.transfer(), weights, losses, expected, strange, len(used))
        bad = _not_believed(strange | _exchanged(losses, expected, width, used), diverged(losses))
    if not bad.any():
        return Examined(losses=losses, trust=None, doubts=[])
    doubts = [
        Doubt(run=int(i), metric=int(j), measured=losses[i, j], expected=expected[i, j], far=float(far[i, j]))
        for i, j in np.argwhere(bad)
    ]
    return Examined(losses=np.where(bad, expected, losses), trust=np.where(bad, TRUST, 1.0), doubts=doubts)


def _robust(law: CurveLaw, weights: Array, losses: Array, given: Array, screen: Screen | None) -> None:
    """Fit the law so that runs count the less the farther they are off it."""
    middle, spread = np.median(losses, axis=0), _spread(losses)
    reach = _WILD * spread
    wild = np.where(np.abs(losses - middle) > reach, TRUST, 1.0)
    near = np.where(reach > 0, np.clip(losses, middle - reach, middle + reach), losses)
    law.fit(weights, near, given[:, None] * np.where(reach > 0, wild, 1.0), screen)
    for _ in range(_ROUNDS):
        rest = np.abs(losses - law.predict(weights)) / np.sqrt(
            np.clip(1.0 - law.leverage(), 0.05, 1.0) / given[:, None]
        )
        width = np.maximum(_width(rest, 0.6, 0), 1e-300)
        trust = np.clip(np.minimum(_GOOD * width / np.maximum(rest, 1e-300), 1.0) ** 3, TRUST, 1.0)
        if law.recount(given[:, None] * trust) < 0.05:
            break


def _spread(values: Array) -> Array:
    """Standard deviation of the bulk of each column."""
    return np.asarray(1.4826 * np.median(np.abs(values - np.median(values, axis=0)), axis=0))


def _width(rest: Array, part: float, axis: int) -> Array:
    """The standard deviation for which normal errors `rest` would lie within this quantile as often."""
    from scipy.special import ndtri

    return np.asarray(np.quantile(rest, part, axis=axis) / ndtri(0.5 + part / 2))


def _widths(law: CurveLaw, expected: Array, losses: Array, counts: Array) -> Array:
    """How far a good run may be from what left-out runs expect, (runs, metrics)."""
    # the more a run itself had held the law, the farther off is what the others expect there
    size = np.clip(1.0 - law.leverage(), 0.05, 1.0) ** 0.25 * np.sqrt(counts)[:, None]
    rest = np.abs(losses - expected) * size
    near = max(5, len(rest) // 5)
    width = np.tile(np.maximum(_width(rest, 0.5, 0), _width(rest, 0.85, 0)), (len(rest), 1))
    for j in range(rest.shape[1]):
        like = _width(rest[:, j][_nearest(expected[:, j : j + 1], near)], 0.7, 1)
        width[:, j] = np.maximum(width[:, j], like)
    width = np.maximum(width, _width(rest[_nearest(np.sqrt(law.weights_), near)], 0.7, 1))
    return np.asarray(np.maximum(width, 1e-300) / size)


def _exchanged(losses: Array, expected: Array, width: Array, used: Numbers) -> Flags:
    """Losses that stand in each other's column, (runs, metrics): exchanged, both would be far more likely, and in order.

    One of the two is of a metric in `used`: the answer rests on no others.
    """
    own = _unlikely(np.abs(losses - expected) / width)
    crossed = np.abs(losses[:, None, :] - expected[:, :, None]) / width[:, :, None]  # (runs, where, of which metric)
    other = _unlikely(crossed)
    gain = own[:, :, None] + own[:, None, :] - other - other.transpose(0, 2, 1)
    limit = (_EXCHANGED + np.log(max(len(used), 1))) * max(1.0, _ENOUGH / len(losses))
    matters = np.isin(np.arange(losses.shape[1]), used)
    off = (gain > limit) & (np.maximum(crossed, crossed.transpose(0, 2, 1)) < _IN_ORDER)
    return np.asarray((off & (matters[:, None] | matters[None, :])).any(axis=2))


def _unlikely(far: Array) -> Array:
    """Minus the logarithm of the likelihood of an error of so many widths, up to a constant (Student's)."""
    return np.asarray(0.5 * (_TAILS + 1.0) * np.log1p(far**2 / _TAILS))


def _nearest(points: Array, count: int) -> Numbers:
    """The `count` other rows nearest to each row of `points` (n, d): row numbers (n, count)."""
    square = (points**2).sum(1)
    apart = square[:, None] + square[None] - 2.0 * points @ points.T
    np.fill_diagonal(apart, np.inf)
    return np.argpartition(apart, count - 1, axis=1)[:, :count]


def _limits(runs: int, metrics: int, used: Numbers) -> Array:
    made = np.full(metrics, _UNUSED * (_FAR + _FAR_MORE * np.log(metrics)))
    made[used] = _FAR + _FAR_MORE * np.log(max(len(used), 1))
    return made * max(1.0, _ENOUGH / runs)


def _confirmed(transfer: Array, weights: Array, losses: Array, expected: Array, strange: Flags, used: int) -> Flags:
    """Whether a second opinion finds strange losses as far off as the law does, about, (runs, metrics).

    Gaussian processes of the other runs know no law: where they find a loss in order, the law is wrong, not the run. One takes
    all corpora alike, one those for more that the law says matter; either will do.
    """
    made = np.ones(losses.shape, dtype=bool)
    parts = _CONFIRMED, _SCALED + _SCALED_MORE * np.log(max(used, 1))
    for j in np.flatnonzero(strange.any(axis=0)):
        odd, others = np.flatnonzero(strange[:, j]), np.flatnonzero(~strange[:, j])
        if len(others) < _LEAST_RUNS:
            continue
        others = others[:: max(1, len(others) // _SECOND)]
        off = losses[odd, j] - expected[odd, j]
        made[odd, j] = False
        for part, matters in zip(parts, (None, transfer[j : j + 1]), strict=True):
            process = GaussianProcess(matters).fit(weights[others], losses[others, j : j + 1])
            made[odd, j] |= (losses[odd, j] - process.predict(weights[odd])[:, 0]) / off >= part
    return made


def diverged(losses: Array) -> Flags:
    """Losses so far above the middle of their metric that no mixture explains them, (runs, metrics)."""
    spread = _spread(losses)
    return np.asarray((losses > np.median(losses, axis=0) + _DIVERGED * spread) & (spread > 0))


def _not_believed(bad: Flags, lost: Flags) -> Flags:
    """The same where single metrics are concerned; whole runs where many are, and of a fifth of the table only what
    diverged."""
    runs, metrics = bad.shape
    made = bad.copy()
    made[:, bad.sum(0) > _AT_MOST * runs] = False
    made |= lost
    made[made.sum(1) > max(1.0, _MANY * metrics)] = True
    return np.asarray(made)


def notes(examined: Examined, runs: Sequence[str], metrics: Sequence[str], sign: Array, source: str) -> list[str]:
    """One sentence a run that is not believed: which metrics, how far off, and that it counts next to nothing.

    Args:
        sign: (metrics,) what the losses were multiplied by.
    """
    made = []
    for run in dict.fromkeys(doubt.run for doubt in examined.doubts):
        mine = sorted((doubt for doubt in examined.doubts if doubt.run == run), key=lambda doubt: -doubt.far)
        said = [
            f"{metrics[d.metric]} {sign[d.metric] * d.measured:.4g} where the other runs expect "
            f"{sign[d.metric] * d.expected:.4g}, {d.far:.{1 if d.far < 10 else 0}f} times as far off as good runs are"
            for d in mine[:2]
        ]
        more = f"; and {len(mine) - 2} more metric(s)" if len(mine) > 2 else ""
        made.append(
            f"{source}: the run '{runs[run]}' does not fit the others ({'; '.join(said)}{more}) and counts next to "
            "nothing there: look at its log, and drop or repeat it."
        )
    return made
