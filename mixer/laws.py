"""Mixing laws: weights -> losses. One name for each, and predictions of every run by a law fitted without it.

`Predictor` is what to use when a number is wanted for a mixture; the search uses the convex law behind it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from haigo.cli import HaigoError, nearest
from mixer.arrays import Array, as_matrix
from mixer.curve_law import CurveLaw, folds, left_out_of
from mixer.ensemble import Predictor
from mixer.laws_exp import ExponentialLaw
from mixer.laws_gp import GaussianProcess
from mixer.laws_ridge import Ridge
from mixer.laws_share import EffectiveShareLaw, SharePrior
from mixer.laws_trees import Trees
from mixer.report_card import ReportCard, rank_correlation, report_card

__all__ = [
    "EffectiveShareLaw", "ExponentialLaw", "GaussianProcess", "Predictor", "ReportCard", "SharePrior", "Trees",
    "cross_validate", "left_out_of", "make", "rank_correlation", "report_card",
]  # fmt: skip


class Law(Protocol):
    """What all laws share."""

    def fit(self, weights: Any, losses: Any) -> Any: ...

    def predict(self, weights: Any) -> Array: ...


_MAKERS: dict[str, Callable[[int], Law]] = {
    "law": lambda seed: EffectiveShareLaw(seed=seed),
    "explaw": lambda seed: ExponentialLaw(seed=seed),
    "gp": lambda seed: GaussianProcess(),
    "lightgbm": lambda seed: Trees("small", seed),
    "regmix": lambda seed: Trees("regmix", seed),
    "quadratic": lambda seed: Ridge("quadratic"),
    "kernel_ridge": lambda seed: Ridge("kernel"),
    "auto": lambda seed: Predictor(seed=seed),
}


def make(name: str, seed: int = 0) -> Law:
    """A law by name: law, explaw, gp, lightgbm, regmix (LightGBM with RegMix's settings), quadratic,
    kernel_ridge, auto (`Predictor`)."""
    if name not in _MAKERS:
        raise HaigoError(f"there is no law called '{name}'.{nearest(name, _MAKERS)}", f"known: {', '.join(_MAKERS)}")
    return _MAKERS[name](seed)


def cross_validate(weights: Any, losses: Any, name: str = "law", seed: int = 0) -> Array:
    """Predictions of every run by a law fitted without it, (n, targets).

    Leave-one-out up to 64 runs, ten folds above (five for the slow laws).
    """
    w, y = as_matrix(weights, "weights"), as_matrix(losses, "losses")
    law = make(name, seed)
    if isinstance(law, CurveLaw):
        return left_out_of(law.fit(w, y), seed)[0]
    place = folds(len(w), min(5, len(w)), seed)
    out = np.empty_like(y)
    for fold in range(int(place.max()) + 1):
        keep = place != fold
        out[~keep] = make(name, seed).fit(w[keep], y[keep]).predict(w[~keep])
    return out
