"""Proxies of several sizes and token counts in one table: telling scales apart, and the simplest step between two of them.

The order of mixtures carries over from small to large runs far better than the size of the differences does: every
loss shrinks (or grows) by a factor of its own. So each target gets a straight line from what the small runs predict to
what the large runs measured,

    large_i(w) = a_i + b_i small_i(w) + noise,       b_i > 0,

fitted by Bayesian regression. The prior says that all targets vary about equally much at the large scale (b_i in
inverse proportion to the spread of the small losses), by a factor that all targets share and the large runs decide.
A line with b > 0 keeps a convex law convex.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from haigo.cli import HaigoError, nearest
from mixer.arrays import Array, Numbers, as_matrix

MIN_RUNS = 3
"""Fewer runs of the target's scale than this cannot move a line."""

UNNAMED = 3.0
"""How far a target whose size nobody said is from the proxies, on a logarithmic scale: about twenty times."""
_AIM = "\0"  # the name of a target that the table has no runs of
_LOG_SD = 0.5  # how far a target's own factor may be from the shared one, relative
_SAME_TOKENS = 1.2  # token counts within this factor are one scale
_UNITS = {"": 1.0, "k": 1e3, "m": 1e6, "b": 1e9, "g": 1e9, "t": 1e12}


class _Law(Protocol):
    def predict(self, weights: Any) -> Array: ...

    def predict_std(self, weights: Any) -> Array: ...


@dataclass(frozen=True, kw_only=True)
class Lines:
    """One line a target, with what is not known about it. Arrays are (targets,) unless said otherwise."""

    slope: Array
    offset: Array
    """At `middle`: large = offset + slope (small - middle)."""
    middle: Array
    slope_sd: Array
    offset_sd: Array
    noise: Array
    """Standard deviation of a large run around its line."""
    runs: int

    def apply(self, small: Array) -> Array:
        """Small-scale predictions (..., targets) as large-scale ones."""
        return np.asarray(self.offset + self.slope * (small - self.middle))

    def std(self, small: Array, small_sd: Array) -> Array:
        """Standard deviation of a new large run where the small scale is predicted with `small_sd`."""
        own = self.offset_sd**2 + ((small - self.middle) * self.slope_sd) ** 2
        return np.asarray(np.sqrt(own + (self.slope * small_sd) ** 2 + self.noise**2))

    def draws(self, count: int, seed: int) -> tuple[Array, Array]:
        """Random offsets at 0 and slopes, (count, targets) each; slopes stay positive."""
        rng = np.random.default_rng([seed, 5])
        slope = self.slope + self.slope_sd * rng.standard_normal((count, len(self.slope)))
        slope = np.maximum(slope, 0.05 * self.slope)
        offset = self.offset + self.offset_sd * rng.standard_normal(slope.shape)
        return offset - slope * self.middle, slope


def lines(small: Any, large: Any, spread: Any) -> Lines:
    """Fit the lines.

    Args:
        small: (m, targets) what the law of the small runs predicts for the mixtures of the large runs.
        large: (m, targets) what the large runs measured.
        spread: (targets,) standard deviation of the losses over the small runs.

    Raises:
        HaigoError: fewer than 3 large runs.
    """
    p, y = as_matrix(small, "predictions"), as_matrix(large, "losses of the target's scale")
    if len(y) < MIN_RUNS:
        raise HaigoError(
            f"{len(y)} run(s) of the target's scale cannot recalibrate anything.", f"give at least {MIN_RUNS}, better 8"
        )
    m, unit = len(y), np.maximum(np.asarray(spread, dtype=np.float64), 1e-12)
    middle, mean = p.mean(0), y.mean(0)
    z, r = (p - middle) / unit, y - mean
    power = (z**2).sum(0)
    shared = float((z * r).sum() / max(power.sum(), 1e-12))
    if shared <= 0:
        raise HaigoError(
            "runs of the target's scale order the mixtures the other way round than the small runs do.",
            "check that both have the same mixtures and metrics, or search on the target's runs alone",
        )
    # the noise is pooled over targets (in units of their own spread at the large scale) because m is small
    factor = np.full(len(unit), shared)
    size = np.maximum(r.std(0), 1e-12)
    noise = 0.3 * size
    for _ in range(20):
        prior = (_LOG_SD * shared) ** 2
        factor = (shared / prior + (z * r).sum(0) / noise**2) / (1.0 / prior + power / noise**2)
        factor = np.maximum(factor, 0.05 * shared)
        rest = ((r - factor * z) ** 2).sum(0) / max(m - 1.5, 1.0)
        pooled = np.median(rest / size**2) * size**2
        noise = np.sqrt(np.maximum((m * rest + 6.0 * pooled) / (m + 6.0), (1e-4 * size) ** 2))
        shared = float(np.exp(np.log(factor).mean()))
    factor_sd = np.sqrt(1.0 / (1.0 / prior + power / noise**2))
    return Lines(
        slope=factor / unit,
        offset=mean,
        middle=middle,
        slope_sd=factor_sd / unit,
        offset_sd=noise / np.sqrt(m),
        noise=noise,
        runs=m,
    )


class Recalibrated:
    """A law of small runs, read at the scale of a few large ones; scikit-learn's habit.

    Args:
        law: fitted to the small runs (`predict` and `predict_std` for (n, targets)).
        spread: (targets,) standard deviation of the small runs' losses.
    """

    def __init__(self, law: _Law, spread: Any) -> None:
        self.law, self.spread = law, spread

    def fit(self, weights: Any, losses: Any) -> Recalibrated:
        """Weights (m, corpora) and losses (m, targets) of the large runs; m >= 3."""
        self.lines_ = lines(self.law.predict(weights), losses, self.spread)
        return self

    def predict(self, weights: Any) -> Array:
        """Losses at the large scale, (n, targets)."""
        return self.lines_.apply(self.law.predict(weights))

    def predict_std(self, weights: Any) -> Array:
        """Standard deviation of a new large run, the line's own uncertainty included."""
        return self.lines_.std(self.law.predict(weights), self.law.predict_std(weights))


def label(size: str, tokens: float | None) -> str:
    """A scale in words: `60M, 1e+09 tokens`."""
    parts = [size] if size else []
    return ", ".join([*parts, *([f"{tokens:.3g} tokens"] if tokens else [])])


def scales(sizes: Sequence[str], tokens: Sequence[float | None]) -> list[str]:
    """The scale of each run, in words; token counts within 20 % of each other are the same."""
    steps: dict[float, float] = {}
    for count in sorted({t for t in tokens if t}):
        last = next(reversed(steps.values()), None)
        steps[count] = last if last is not None and count <= last * _SAME_TOKENS else count
    return [label(size, steps[count] if count else None) for size, count in zip(sizes, tokens, strict=True)]


def choose(names: Sequence[str], wanted: str | None, source: str) -> tuple[str, str]:
    """The scale most runs have (to fit) and the scale of the target.

    Args:
        names: the scale of each run.
        wanted: the target's scale as the user says it (whole or the size alone); the largest when None.

    Raises:
        HaigoError: unknown, or not to be ordered by size.
    """
    known = list(dict.fromkeys(names))
    if wanted is not None:
        hits = [k for k in known if wanted in (k, k.split(", ")[0])]
        if len(hits) != 1:
            what = "has no runs of the size" if not hits else "has several token counts of the size"
            raise HaigoError(f"{source} {what} '{wanted}'.{nearest(wanted, known)}", f"it has: {'; '.join(known)}")
        target = hits[0]
    else:
        ranks = [_rank(k) for k in known]
        if any(rank is None for rank in ranks):
            raise HaigoError(
                f"{source} holds runs of several scales: {'; '.join(known)}.", "say which is the target: --target-size"
            )
        target = known[max(range(len(known)), key=lambda i: ranks[i] or (0.0, 0.0))]
    counts = {k: sum(1 for name in names if name == k) for k in known}
    base = max(known, key=lambda k: (counts[k], k == target))
    return base, target


def _rank(name: str) -> tuple[float, float] | None:
    size, _, tokens = name.partition(", ")
    if size.endswith(" tokens"):
        size, tokens = "0", size
    if re.fullmatch(r"\d-gram", size):  # of launch.screen: below every model
        return 0.0, float(tokens.removesuffix(" tokens")) if tokens else 0.0
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)\s*([kKmMbBgGtT]?)\w*\s*", size)
    if match is None:
        return None
    count = float(tokens.removesuffix(" tokens")) if tokens else 0.0
    return float(match[1]) * _UNITS[match[2].lower()], count


@dataclass(frozen=True, kw_only=True)
class Sorted:
    """A table of runs of several scales: which are the proxies, where the others and the target are."""

    fit: Numbers
    """(n,) the runs of the base scale, which most have."""
    other: Numbers
    """(m,) those of other scales."""
    at: Array
    """(m, axes) logarithms of their size and tokens over the base scale's, as far as the table has several."""
    aim: Array
    """(axes,) the same of the target."""
    beyond: float
    """How many times the largest size or token count seen the target is; infinite where one it needs never varies."""
    words: str
    notes: list[str]


def sort(
    names: Sequence[str], wanted: str | None, source: str, target: Any = None, tokens: float | None = None
) -> Sorted:
    """Tell the runs of the base scale (the most frequent) from others, and say where those and the target are.

    Args:
        names: (runs,) the scale of each run.
        wanted: the target's scale, of the table or beyond it; the largest of the table when None.
        target: (runs,) true for the runs of the target's scale; overrides `wanted`.
        tokens: of the target run, where they are given and the table has several token counts.

    Raises:
        HaigoError: scales that cannot be ordered, or a wanted one that is neither in the table nor a number.
    """
    named = np.array([str(name) for name in names])
    ranks = {name: _rank(name) for name in dict.fromkeys(named.tolist())}
    new = None if wanted is None else _rank(wanted)
    if new is not None and not 0 < max(new) < math.inf:
        new = None
    if target is not None:
        mine, rest = set(named[target].tolist()), named[~target]
        base = max(dict.fromkeys(rest), key=lambda k: int((rest == k).sum()))
        if len(mine) > 1 or base in mine or ranks[next(iter(mine))] is None:
            named = np.where(target, "target", named)
            ranks = {**{name: ranks[name] for name in dict.fromkeys(rest.tolist())}, "target": None}
        aim = str(named[target][0])
    elif (
        new is not None
        and (tokens or not _seen(str(wanted), ranks))
        and not _one_token_count(str(wanted), ranks, tokens)
    ):
        base, aim = max(ranks, key=lambda k: int((named == k).sum())), _AIM
        known = ranks[base] or (0.0, 0.0)
        ranks[_AIM] = new[0] or known[0], tokens or new[1] or known[1]
    else:
        base, aim = choose(list(named), wanted, source)
    table = {name: rank for name, rank in ranks.items() if rank is not None}
    axes = [x for x in (0, 1) if len(table) == len(ranks) and _varies([table[n][x] for n in ranks if n != _AIM])]
    at_base = np.flatnonzero(named == base)
    other = np.flatnonzero(named != base)
    notes = [f"{source}: the law is fitted to {len(at_base)} runs{f' of {base}' if base else ''}."]
    words = str(aim) if aim != _AIM else label(str(wanted).split(", ")[0], table[_AIM][1])
    if not axes:
        other = np.flatnonzero(named == aim) if aim != base else other[:0]
        for name in dict.fromkeys(named[(named != base) & (named != aim)].tolist()):
            notes.append(
                f"{source}: {int((named == name).sum())} run(s) of {name} cannot be ordered by size and were left out."
            )
        width = 1 if len(other) else 0
        beyond = _beyond(table, aim, axes) if len(table) == len(ranks) else (math.inf if aim == _AIM else 1.0)
        return Sorted(fit=at_base, other=other, at=np.full((len(other), width), UNNAMED), aim=np.full(width, UNNAMED),
                      beyond=beyond, words=words, notes=notes)  # fmt: skip
    rest = list(dict.fromkeys(named[other].tolist()))
    for name in rest if len(rest) <= 3 else []:
        notes.append(f"{source}: {int((named == name).sum())} runs of {name} are used too.")
    if len(rest) > 3:
        notes.append(f"{source}: {len(other)} runs of {len(rest)} other scales are used too.")
    place = {name: np.log([table[name][x] / table[base][x] for x in axes]) for name in table}
    return Sorted(fit=at_base, other=other, at=np.array([place[str(name)] for name in named[other]]).reshape(-1, len(axes)),
                  aim=place[aim], beyond=_beyond(table, aim, axes), words=words, notes=notes)  # fmt: skip


def _seen(wanted: str, names: Iterable[str]) -> bool:
    return any(wanted in (name, name.split(", ")[0]) for name in names)


def _one_token_count(wanted: str, ranks: Mapping[str, tuple[float, float] | None], tokens: float | None) -> bool:
    """Whether the table has the wanted size, and tokens never vary, so that those of the target run say nothing."""
    return bool(tokens) and _seen(wanted, ranks) and not _varies([rank[1] for rank in ranks.values() if rank])


def _varies(values: Sequence[float]) -> bool:
    return min(values) > 0 and max(values) > _SAME_TOKENS * min(values)


def _beyond(table: Mapping[str, tuple[float, float]], aim: str, axes: Sequence[int]) -> float:
    """How many times the largest size or token count of the runs the target is."""
    far = 1.0
    for x in (0, 1):
        top = max(rank[x] for name, rank in table.items() if name != _AIM)
        if top > 0 and table[aim][x] > _SAME_TOKENS * top:
            far = max(far, table[aim][x] / top if x in axes else math.inf)
    return far
