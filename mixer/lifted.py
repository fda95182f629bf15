"""A table of proxies as it would be at the target's scale, with what is not known about that.

Two readings of runs of other scales are asked: the joint law over size, tokens and mixture (`mixer.scale_law`), and, where the
target's scale has runs of its own, a straight line a metric (`mixer.scales.lines`). Their mean, weighted by how they fare on
left-out runs of the target's scale (or of the largest one seen), is what the small runs would have lost there. Where
they predict the differences of those runs no better than a law with one order of mixtures for all scales, that law is used.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import numpy as np

from haigo.cli import HaigoError
from mixer import focus, scales
from mixer.answer import Recommendation, significant
from mixer.arrays import Array, Flags, Numbers
from mixer.curve_law import CurveLaw, folds
from mixer.laws_share import EffectiveShareLaw
from mixer.problem import Problem
from mixer.report_card import rank_correlation
from mixer.scale_law import ScaleLaw

BEYOND = 10.0
"""So many times the largest scale seen, levels are no longer said."""
_BETTER = 0.95  # the error on left-out runs must fall to this part before an order of mixtures is changed
_SAME = np.log(1.2)
_ALONE = 12  # runs of the target's scale up to which each is left out by itself
_CHANGE = 0.7  # of a predicted change of level is open where no third scale could judge it
_LEAST = 4  # runs that can judge
_RATE = 0.7  # a step beyond all scales rests on one scale more than that which is judged by leaving the largest out


class Runs(NamedTuple):
    """Proxies as they are fitted: weights (n, corpora), losses (n, metrics) to lower, and how much each counts, (n,) or
    (n, metrics), all alike when None."""

    weights: Array
    losses: Array
    counts: Array | None


@dataclass(frozen=True, kw_only=True)
class Others:
    """Runs of other scales than the proxies', and where the target lies; places are logarithms over the proxies' scale."""

    weights: Array
    """(m, corpora)."""
    losses: Array
    """(m, metrics), as measured."""
    at: Array
    """(m, axes): size, tokens, as far as the table has several."""
    aim: Array
    """(axes,) of the target."""
    beyond: float = 1.0
    """How many times the largest size or token count seen the target is; infinite where an axis that it needs never varies."""
    words: str = ""
    """The target in words."""
    held_out: bool = False
    """Whether the runs held out are of the target's scale; else they are of the proxies'."""

    def signed(self, sign: Array) -> Others:
        """The same with metrics that are better when higher turned round."""
        return replace(self, losses=self.losses * sign)

    def at_aim(self) -> Flags:
        return np.asarray(
            (np.abs(self.at - self.aim) < _SAME).all(axis=1) if self.aim.size else np.zeros(len(self.at), bool)
        )


def unnamed(weights: Array, losses: Array) -> Others:
    """Runs of the target's scale, whatever that is."""
    return Others(
        weights=weights,
        losses=losses,
        at=np.full((len(weights), 1), scales.UNNAMED),
        aim=np.array([scales.UNNAMED]),
        beyond=1.0,
    )


@dataclass(kw_only=True)
class Lifted:
    """What the search then works with; lower is better."""

    runs: Runs
    """The proxies at the target's scale, and after them the runs of other scales."""
    draws: Array
    """(draws, runs, metrics): what each draw of the step between the scales says beyond that."""
    noise: Array
    """(metrics,) standard deviation of a run there."""
    moved: bool
    """Whether the order of mixtures changes with the scale."""
    notes: list[str]


class _Readings(NamedTuple):
    """The readings of the proxies and some other runs."""

    law: ScaleLaw
    lines: scales.Lines | None


def _read(small: Runs, others: Others, base: CurveLaw, seed: int, keep: Flags, moving: bool = True) -> _Readings:
    """The readings of the proxies and of the other runs in `keep`; there are no lines where nothing is to move."""
    w, y, _ = small
    at = np.vstack([np.zeros((len(w), others.at.shape[1])), others.at[keep]])
    both = np.vstack([w, others.weights[keep]]), np.vstack([y, others.losses[keep]])
    law = ScaleLaw(seed, moving).fit(*both, at, np.r_[_single(small), _once(others)[keep]])
    there = others.at_aim() & keep
    lines = None
    if moving and there.sum() >= scales.MIN_RUNS:
        try:
            lines = scales.lines(base.predict(others.weights[there]), others.losses[there], y.std(axis=0))
        except HaigoError:
            if keep.all():  # a few of the runs may say the opposite, not all of them
                raise
    return _Readings(law, lines)


def _once(others: Others) -> Array:
    """How much each run counts, (m,): points of one mixture and size with several token counts are a learning curve, whose
    errors go together, and k of them count as (k + 1) / 2."""
    if others.at.shape[1] < 2:
        return np.ones(len(others.at))
    keys = [
        (row.round(6).tobytes(), round(float(place[0]), 3))
        for row, place in zip(others.weights, others.at, strict=True)
    ]
    many = np.array([keys.count(key) for key in keys], dtype=np.float64)
    return np.asarray((many + 1.0) / (2.0 * many))


@dataclass(frozen=True)
class _Verdict:
    """How the readings fared on runs that they had not seen."""

    share: float
    """Of the law beside the lines."""
    moved: bool
    notes: list[str]
    level: Array | None = None
    """(axes,) how far levels of left-out scales were off, relative, per factor e of size or tokens beyond what was left."""


def lift(small: Runs, others: Others, coefficients: Array, seed: int, draws: int, join: bool) -> Lifted:
    """Bring the proxies to the target's scale.

    Args:
        others: the runs of other scales, losses lower is better.
        coefficients: (metrics,) of the objective, at the proxies' scale.
        join: whether the other runs, brought to the target's scale, are fitted beside the proxies.

    Raises:
        HaigoError: runs of the target's scale order the mixtures the other way round.
    """
    w, y, _ = small
    n, m, there = len(w), len(others.at), others.at_aim()
    if not m:
        return Lifted(runs=small, draws=np.zeros((draws, n, y.shape[1])), noise=np.zeros(y.shape[1]), moved=False,
                      notes=_said(others, []))  # fmt: skip
    base = EffectiveShareLaw(seed=seed).fit(w, y, _single(small))
    verdict = _judge(small, others, base, coefficients, seed)
    law, lines = _read(small, others, base, seed, np.ones(m, dtype=bool), verdict.moved)
    law.bootstrap(draws)
    both, values = np.vstack([w, others.weights]), np.vstack([y, others.losses])
    at = np.vstack([np.zeros((n, len(others.aim))), others.at])
    grow = law.slope(others.aim[None]) / law.slope(at)
    made = law.predict(both, others.aim) + grow * (values - law.predict(both, at))
    rng = np.random.default_rng([seed, 7])
    each = law.predict_draws(both, others.aim) + grow * (values - law.predict_draws(both, at))
    each += _open(law, others, verdict, base, rng)[:, None]
    noise = law.noise_ * law.relative(others.aim[None])[0]
    if lines is not None:
        offset, slope = lines.draws(draws, seed)
        made[:n] = verdict.share * made[:n] + (1.0 - verdict.share) * lines.apply(y)
        straight = rng.random(draws) >= verdict.share
        each[straight, :n] = (offset[:, None] + slope[:, None] * y)[straight]
        noise = np.maximum(noise, lines.noise)
    made[n:][there] = others.losses[there]
    each[:, n:][:, there] = others.losses[there]
    if not join:
        made, each = made[:n], each[:, :n]
    counts = small.counts
    if join:
        worth = _worth(law, values - law.predict(both, at), at, n) * _once(others)
        own = np.ones(n) if counts is None else counts
        counts = np.r_[own, worth] if own.ndim == 1 else np.vstack([own, np.tile(worth[:, None], own.shape[1])])
    return Lifted(
        runs=Runs(both if join else w, made, counts), draws=each - made, noise=noise, moved=verdict.moved,
        notes=_said(others, verdict.notes),
    )  # fmt: skip


def _worth(law: ScaleLaw, rest: Array, at: Array, proxies: int) -> float:
    """How much a run of another scale tells of mixtures, 1 a proxy: by how far runs are off the law within their scales.

    What all runs of a scale are off alike is the law's error between scales, or their common seed: it blurs no comparison.

    Args:
        rest: (n, metrics) errors of the proxies and of the runs after them.
    """
    cells, squares, free = _cells(at), np.zeros((2, rest.shape[1])), np.zeros(2)
    unit = law.relative(at)[:, None]
    for cell in np.unique(cells):
        mine = cells == cell
        which = int(not mine[:proxies].any())
        each = rest[mine] / unit[mine]
        squares[which] += ((each - each.mean(axis=0)) ** 2).sum(axis=0)
        free[which] += mine.sum() - 1.0
    if free.min() < _LEAST:
        return 1.0
    own, other = squares / free[:, None]
    return float(np.clip(np.median(own / np.maximum(other, 1e-300)), 0.1, 1.0))


def _single(small: Runs) -> Array:
    """How much each proxy counts, (n,)."""
    if small.counts is None:
        return np.ones(len(small.weights))
    return small.counts if small.counts.ndim == 1 else np.asarray(small.counts.min(axis=1))


def _said(others: Others, judged: list[str]) -> list[str]:
    """What the notes say of the step."""
    there, notes = int(others.at_aim().sum()), []
    if there >= scales.MIN_RUNS:
        notes.append(f"Recalibrated to the target's scale with {there} runs; intervals include what that leaves open.")
    else:
        notes.append(f"The target ({others.words}) has too few runs of its own: ranking assumed to transfer.")
        if not len(others.at):
            notes.append("All proxies are of one scale: nothing is known of how ranks transfer.")
    return notes + judged


def value(task: Problem, made: Recommendation, small: Runs, others: Others, step: Lifted) -> None:
    """Say what moving the weights with the scale is worth: expected loss at the target's scale of the mixture that the small
    runs alone would choose, minus that of `made`."""
    made.scale = {
        "target": others.words,
        "times_largest_seen": None if np.isinf(others.beyond) else significant(others.beyond),
        "moved": step.moved,
    }
    if task.method not in ("auto", "law"):
        return  # what is apart between two methods is not what the scale does
    found = made.weights
    if step.moved:
        coefficients = task.objective.coefficients(task.names, small.losses.std(axis=0))
        # a ceiling in numbers is one of the target's level
        limits = {task.names.index(n): limit for n, limit in task.objective.ceilings.items() if "%" in str(limit)}
        given = small.weights, small.losses, coefficients, task.method == "auto", limits
        found = focus.optima(task.constraints, *given)[0]
    at = task.surface.predict(np.stack([found, made.weights])) @ task.coefficients * task.unit
    saved = at[:, 0] - at[:, 1]
    ends = [significant(float(end)) for end in np.quantile(saved, [0.05, 0.95])]
    made.scale |= {
        "small_scale_weights": dict(zip(made.corpora, [round(float(w), 4) for w in found], strict=True)),
        "worth": {"mean": significant(float(saved.mean())), "interval": ends, "unit": task.unit_name},
    }
    if step.moved:
        made.notes.append(
            f"Moving the weights with the scale is worth {saved.mean():.3g} ({ends[0]:.3g} to {ends[1]:.3g}) in "
            f"{task.unit_name} at the target's scale, against the mixture that the small runs alone would choose."
        )


def withhold(made: Recommendation, others: Others) -> None:
    """Take the levels out of an answer for a scale far beyond all runs, and say what scale its gain is of."""
    beyond = others.beyond
    made.gain["scale"] = "extrapolated to the target" if len(others.at) else "at the scale of the proxies"
    made.prediction, made.ceilings, made.curves, made.law = {}, {}, None, None
    levels = "objective", "metrics"
    made.compared = made.compared and [{k: v for k, v in row.items() if k not in levels} for row in made.compared]
    far = (
        "of a size or token count that no two runs tell apart"
        if np.isinf(beyond)
        else f"{beyond:.3g} times the largest seen"
    )
    made.notes.append(
        f"No level of a loss is said: the target is {far}. "
        "Its mixture is given, ranking assumed to transfer; --force says levels too."
    )


def _open(law: ScaleLaw, others: Others, verdict: _Verdict, base: CurveLaw, rng: np.random.Generator) -> Array:
    """What is not known of the level beyond the scales that have runs, (draws, metrics)."""
    assert law.draws_ is not None
    seen = np.vstack([others.at, np.zeros(len(others.aim))])
    nearest, shape = seen[np.abs(seen - others.aim).sum(axis=1).argmin()], law.draws_.shape[:2]
    far = np.abs(others.aim - nearest)
    if far.sum() < _SAME:
        return np.zeros(shape)
    middle = base.weights_.mean(axis=0, keepdims=True)
    level = law.predict(middle, others.aim)[0]
    if verdict.level is not None:
        size = float(np.sqrt(((verdict.level * far) ** 2).sum())) * np.abs(level)
    else:
        size = _CHANGE * np.abs(level - law.predict(middle, nearest)[0])
    common, own = rng.standard_normal((shape[0], 1)), rng.standard_normal(shape)
    return np.asarray(np.sqrt(0.5) * size * (common + own))


def _judge(small: Runs, others: Others, base: CurveLaw, coefficients: Array, seed: int) -> _Verdict:
    """Leave runs of the target's scale out one after the other, or all of the largest size or token count seen, and compare."""
    own, outs = int(others.at_aim().sum()) >= scales.MIN_RUNS, list[Flags]()
    if own:
        outs = _each(others.at_aim(), seed)
    else:
        outs = [out for x in range(len(others.aim)) if (out := _top(others.at[:, x])) is not None]
        outs = outs or _each(_most(others), seed)
    read, guess = partial(_read, small, others, base, seed), np.full((3, *others.losses.shape), np.nan)
    rates = []
    for number, out in enumerate(outs):
        w, some = others.weights[out], [read(~out), read(~out, moving=False)]
        made = [one.law.predict(w, others.at[out]) for one in some]
        if own or number == 0 or len(outs) > len(others.aim):
            guess[:2, out] = made
            if (lines := some[0].lines) is not None:
                guess[2, out] = lines.apply(base.predict(w))
        if not own and len(outs) <= len(others.aim):
            rates.append(_rates(made[0], others, out))
    judges = np.isfinite(guess[0]).all(axis=1)
    if judges.sum() < _LEAST:
        return _Verdict(0.5, own, [])
    cells = _cells(others.at[judges])
    y, alone, law, still, straight = (a[judges] for a in (others.losses, base.predict(others.weights), *guess))
    share, best = 1.0, law
    if np.isfinite(straight).all():
        errors = [float(((one - y) ** 2 / y.var(axis=0)).mean()) for one in (law, straight)]
        share = errors[1] ** 2 / (errors[0] ** 2 + errors[1] ** 2)
        best = share * law + (1.0 - share) * straight
    # single runs of the target say little of a sum; whether a step beyond all runs helps the sum is what is asked of it
    seen = np.diag(coefficients) if own else coefficients[:, None]
    before, after = (_error((one - y) @ seen, cells) for one in (still, best))
    rho = np.mean(
        [rank_correlation(alone[cells == c] @ coefficients, y[cells == c] @ coefficients) for c in np.unique(cells)]
    )
    said = f"{int(judges.sum())} runs of the {'target' if own else 'largest'} scale"
    notes = [f"The small runs alone rank {said} with Spearman {rho:.2f} for the objective."]
    if own:
        skill = 1.0 - ((best - y) ** 2).sum(0) / np.maximum(((y - y.mean(0)) ** 2).sum(0), 1e-300)
        ranks = np.mean([rank_correlation(best[:, j], y[:, j]) for j in range(y.shape[1])])
        notes.append(
            f"Left-out runs of the target's scale: mean Spearman {ranks:.2f}, median R2 {np.median(skill):.2f} over metrics."
        )
    # runs of the target speak for themselves unless they clearly say otherwise; a step beyond all runs must be supported
    moved = _BETTER * after <= before if own else after < _BETTER * before
    notes.append(
        f"Error of differences between mixtures on {said}, left out: {after:.3g} with weights that move with the scale, "
        f"{before:.3g} with one order at all scales: the weights {'move' if moved else 'do not move'} with the scale."
    )
    level = None
    if rates:
        known = np.array([np.sqrt((off**2).mean() * (1.0 + 2.0 / len(off))) for off in rates])
        level = np.full(len(others.aim), known.max())
        level[[x for x in range(len(level)) if _top(others.at[:, x]) is not None]] = known
        level *= _RATE
    return _Verdict(share, moved, notes, level)


def _rates(made: Array, others: Others, out: Flags) -> Array:
    """(cells, metrics) how far the levels of left-out scales are off, relative, per factor e beyond the nearest one left."""
    rest, cells, rows = np.vstack([others.at[~out], np.zeros((1, len(others.aim)))]), _cells(others.at[out]), []
    for cell in np.unique(cells):
        mine = cells == cell
        gap = float(np.abs(rest - others.at[out][mine][0]).sum(axis=1).min())
        y = others.losses[out][mine]
        rows.append((made[mine] - y).mean(axis=0) / np.abs(y).mean(axis=0) / max(gap, 0.5))
    return np.array(rows)


def _error(rest: Array, cells: Numbers) -> float:
    """Root mean square of errors (n, columns) of differences between mixtures of one scale, over the columns in use."""
    rest = rest[:, rest.any(axis=0)]
    for cell in np.unique(cells):
        rest[cells == cell] -= rest[cells == cell].mean(axis=0)
    return float(np.sqrt((rest**2).mean())) if rest.size else 0.0


def _cells(at: Array) -> Numbers:
    """The number of each run's scale, (n,)."""
    return np.unique(at.round(1), axis=0, return_inverse=True)[1].ravel().astype(np.int64)


def _top(values: Array) -> Flags | None:
    """The runs of the largest size (or token count); None where those left do not vary in it."""
    top = values > values.max() - _SAME
    rest = np.r_[values[~top], 0.0]
    return top if len(values) > top.sum() and np.ptp(rest) > _SAME else None


def _most(others: Others) -> Flags:
    """The runs of the scale, beside the proxies', that most have."""
    cells = _cells(others.at)
    return np.asarray(cells == np.bincount(cells).argmax())


def _each(runs: Flags, seed: int) -> list[Flags]:
    """Each of these runs by itself, or sixths of them where they are many."""
    numbers = np.flatnonzero(runs)
    place = np.arange(len(numbers)) if len(numbers) <= _ALONE else folds(len(numbers), 6, seed)
    return [np.isin(np.arange(len(runs)), numbers[place == part]) for part in np.unique(place)]
