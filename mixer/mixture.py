"""A mixture: one weight a corpus, not negative, summing to 1. Checks, mixture.yml (read by `haigo.formats.mixture`), and
baselines.

Weights are shares of sampled training tokens. The baselines here (token share, temperature, UniMax, uniform) know only
how many tokens each corpus has.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from haigo import yamlfile
from haigo.cli import HaigoError
from haigo.formats.mixture import read
from haigo.formats.tables import check_weights
from mixer.arrays import Array

__all__ = ["check_weights", "read", "rounded", "temperature", "token_share", "uniform", "unimax", "write"]

DIGITS = 6
"""Decimals of weights that are written: in mixtures and in tables of proxies."""


def token_share(tokens: Any) -> Array:
    """Weights in proportion to the tokens of each corpus, (corpora,)."""
    return temperature(tokens, 1.0)


def temperature(tokens: Any, t: float = 2.0) -> Array:
    """w_j ~ tokens_j^(1/t): t = 1 is token share, large t approaches uniform.

    Raises:
        HaigoError: t is not positive or no corpus has tokens.
    """
    counts = np.asarray(tokens, dtype=np.float64)
    if not t > 0:
        raise HaigoError(f"a temperature of {t} is not possible.", "give a number above 0")
    if not np.isfinite(counts).all() or (counts < 0).any() or counts.sum() <= 0:
        raise HaigoError("token counts must be finite, not negative and not all 0.", "check the supply table")
    # relative to the largest, so that counts of 1e13 and small t do not overflow
    powered = np.where(counts > 0, (counts / counts.max()) ** (1.0 / t), 0.0)
    return powered / powered.sum()


def uniform(corpora: int) -> Array:
    """The same weight for every corpus."""
    return np.full(corpora, 1.0 / corpora)


def unimax(tokens: Any, target_tokens: float, max_epochs: float = 4.0) -> Array:
    """As uniform as the tokens allow: no corpus is repeated more than `max_epochs` times (Chung et al. 2023).

    Small corpora get their cap, smallest first, and what they cannot use is shared evenly by the larger ones. When even
    all caps together do not reach `target_tokens`, the weights are in proportion to the caps.
    """
    counts = np.asarray(tokens, dtype=np.float64)
    budget, made = float(target_tokens), np.zeros(len(counts))
    order = np.argsort(counts, kind="stable")
    for place, j in enumerate(order):
        made[j] = min(budget / (len(counts) - place), counts[j] * max_epochs)
        budget -= made[j]
    if made.sum() <= 0:
        raise HaigoError("token counts must not all be 0.", "check the supply table")
    return made / made.sum()


def rounded(
    weights: Any, digits: int = DIGITS, lower: Any = None, upper: Any = None, rows: Any = None, bounds: Any = None
) -> Array:
    """Weights rounded to `digits` decimals so that the printed numbers sum to exactly 1 (largest remainders).

    Args:
        lower, upper: (corpora,) limits that the rounded numbers keep too, wherever the sum allows it.
        rows, bounds: (m, corpora) of 0, 1 and -1 and (m,): `rows @ weights <= bounds` (groups) is kept as well, unless
            the bounds themselves are finer than the digits.
    """
    made = np.asarray(weights, dtype=np.float64)
    unit = 10**digits
    low = np.zeros(len(made)) if lower is None else np.asarray(lower)
    high = np.ones(len(made)) if upper is None else np.asarray(upper)
    floor = np.maximum(np.ceil(low * unit - 1e-6), 0).astype(np.int64)
    ceiling = np.maximum(np.floor(high * unit + 1e-6).astype(np.int64), floor)
    scaled = made * unit
    whole = np.clip(np.floor(scaled + 1e-6).astype(np.int64), floor, ceiling)
    while (missing := int(unit - whole.sum())) != 0:
        way = 1 if missing > 0 else -1
        room = (whole < ceiling) if missing > 0 else (whole > floor)
        if not room.any():  # limits finer than the digits: the sum comes first
            room = (whole < unit) if missing > 0 else (whole > 0)
        order = np.flatnonzero(room)
        order = order[np.argsort(-way * (scaled - whole)[order], kind="stable")]
        whole[order[: abs(missing)]] += way
    if rows is not None and len(rows):
        whole = _within_rows(whole, scaled, floor, ceiling, np.asarray(rows), np.asarray(bounds) * unit)
    return np.asarray(whole / unit)


def _within_rows(whole: Any, scaled: Array, floor: Any, ceiling: Any, rows: Array, bounds: Array) -> Any:
    """Move single units between weights until no row is above its bound (or none can be lowered further)."""
    k, made = len(whole), whole.copy()
    change = rows[:, None, :] - rows[:, :, None]  # of each row when one unit goes from i to j, (m, i, j)
    for _ in range(20 * k):
        over = rows @ made - bounds
        total = np.maximum(over, 0.0).sum()
        if total <= 1e-3:
            break
        after = np.maximum(over[:, None, None] + change, 0.0).sum(axis=0)
        after[(made <= floor)[:, None] | (made >= ceiling)[None, :]] = np.inf
        off = made - scaled
        best = after + 1e-6 * (off[None, :] - off[:, None])  # of equal moves the one that stays nearest
        i, j = np.unravel_index(int(best.argmin()), best.shape)
        if not after[i, j] < total - 1e-9:
            break
        made[i] -= 1
        made[j] += 1
    return made


def write(path: str | os.PathLike[str], document: Mapping[str, Any]) -> None:
    """Write mixture.yml (atomically). `document` is `Recommendation.document()` or anything with `weights`."""
    yamlfile.write(path, dict(document), header="A corpus mixture: weights are shares of sampled training tokens.")
