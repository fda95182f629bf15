"""How well predictions fit what was measured: rank correlation, R2 and error of every metric."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mixer.arrays import Array, as_matrix


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
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return 0.0
    return float(np.corrcoef(_ranks(a), _ranks(b))[0, 1])


def _ranks(values: Array) -> Array:
    """1 for the least value; equal ones share the mean of their ranks."""
    _, which, times = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(times) - 0.5 * (times - 1))[which])


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


_WORDS = ((0.95, "very well"), (0.8, "well"), (0.5, "fairly"), (0.2, "roughly"), (0.0, "hardly"))


def in_words(r2: float) -> str:
    """How well runs are predicted that the fit never saw, by the part of their variance that is."""
    return next((word for least, word in _WORDS if r2 > least), "not at all")
