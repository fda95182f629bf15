"""Mixing laws: weights -> losses. One name for each, the predictor that combines them, and the report card.

`Predictor` is what to use when a number is wanted for a mixture; the search uses the convex law behind it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from haigo.cli import HaigoError, nearest
from mixer.arrays import Array, as_matrix
from mixer.curve_law import MIN_RUNS, CurveLaw, folds, left_out_of
from mixer.ensemble import Predictor
from mixer.laws_exp import ExponentialLaw
from mixer.laws_gp import GaussianProcess
from mixer.laws_share import EffectiveShareLaw, SharePrior
from mixer.laws_trees import Trees

__all__ = [
    "EffectiveShareLaw", "ExponentialLaw", "GaussianProcess", "Predictor", "ReportCard", "SharePrior", "Trees",
    "cross_validate", "left_out_of", "make", "report_card",
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
    "auto": lambda seed: Predictor(seed=seed),
}


def make(name: str, seed: int = 0) -> Law:
    """A law by name: law, explaw, gp, lightgbm, regmix (LightGBM with RegMix's settings), auto (`Predictor`)."""
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


@dataclass(frozen=True, kw_only=True)
class ReportCard:
    """How well a law predicts runs it has not seen; one entry a metric."""

    metrics: list[str]
    spearman: list[float]
    r2: list[float]
    """1 - squared error / squared error of predicting the mean; at or below 0 the law knows nothing."""
    rmse: list[float]
    runs: int
    how: str
    """"leave-one-out", "10-fold" or "held-out runs"."""

    def skill(self, metric: str) -> float:
        return self.r2[self.metrics.index(metric)]

    def as_dict(self) -> dict[str, Any]:
        table = {
            m: {"spearman": round(s, 4), "r2": round(r, 4), "rmse": float(f"{e:.4g}")}
            for m, s, r, e in zip(self.metrics, self.spearman, self.r2, self.rmse, strict=True)
        }
        return {"how": self.how, "runs": self.runs, "metrics": table}


def rank_correlation(a: Array, b: Array) -> float:
    """Spearman's rho; 0 when either side is constant."""
    from scipy.stats import rankdata

    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return 0.0
    return float(np.corrcoef(rankdata(a), rankdata(b))[0, 1])


def report_card(truth: Any, predicted: Any, metrics: list[str], how: str, baseline: Any = None) -> ReportCard:
    """Compare predictions (n, targets) with the truth.

    Args:
        baseline: (targets,) or (n, targets), what a predictor that knows nothing says. When None, the mean of the
            *other* runs (so that leave-one-out predictions are compared with a leave-one-out mean).
    """
    y, p = as_matrix(truth, "losses"), as_matrix(predicted, "predictions")
    n = len(y)
    plain = (y.sum(0) - y) / max(n - 1, 1) if baseline is None else np.broadcast_to(np.asarray(baseline), y.shape)
    error, total = ((y - p) ** 2).sum(0), ((y - plain) ** 2).sum(0)
    return ReportCard(
        metrics=list(metrics),
        spearman=[rank_correlation(p[:, j], y[:, j]) for j in range(y.shape[1])],
        r2=[float(1 - e / t) if t > 0 else 0.0 for e, t in zip(error, total, strict=True)],
        rmse=[float(np.sqrt(e / n)) for e in error],
        runs=n,
        how=how,
    )


def check_runs(runs: int, source: str) -> None:
    """Refuse a table that no law can be fitted to."""
    if runs < MIN_RUNS:
        raise HaigoError(f"{source} has {runs} usable run(s).", f"at least {MIN_RUNS} are needed; 16 or more are wise")
