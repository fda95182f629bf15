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
from mixer.curve_law import MIN_RUNS, CurveLaw
from mixer.laws_exp import ExponentialLaw
from mixer.laws_gp import GaussianProcess
from mixer.laws_share import EffectiveShareLaw, SharePrior
from mixer.laws_trees import Trees

__all__ = [
    "EffectiveShareLaw", "ExponentialLaw", "GaussianProcess", "Predictor", "ReportCard", "SharePrior", "Trees",
    "cross_validate", "left_out_of", "make", "report_card",
]  # fmt: skip

_GP_FROM = 48  # runs; below it the residuals of a 22-parameter law say too little
_GP_GAIN = 0.02  # part of the residual variance the process must explain on left-out runs
_LEAVE_ONE_OUT_UP_TO = 64


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


class Predictor:
    """The effective-share law, with a Gaussian process on what it leaves over where left-out runs show a gain.

    Args:
        seed: decides starts and bootstrap; same seed, same numbers.
        bootstrap: draws behind the uncertainty.
    """

    def __init__(self, seed: int = 0, bootstrap: int = 50) -> None:
        self.seed, self.bootstrap = seed, bootstrap

    def fit(self, weights: Any, losses: Any) -> Predictor:
        """Fit weights (n, corpora) to losses (n,) or (n, targets); n may be smaller than the number of corpora.

        Raises:
            HaigoError: fewer than 4 runs, or values that are not finite.
        """
        w, y = as_matrix(weights, "weights"), as_matrix(losses, "losses")
        self.flat_ = np.ndim(losses) == 1
        self.law_: EffectiveShareLaw = EffectiveShareLaw(seed=self.seed, bootstrap=self.bootstrap)
        self.law_.fit(w, y)
        left_out, _ = left_out_of(self.law_, self.seed)
        self.gp_: GaussianProcess | None = None
        self.use_gp_ = np.zeros(y.shape[1])
        if len(w) >= _GP_FROM:
            rest = y - self.law_.predict(w)
            self.gp_ = GaussianProcess(self.law_.transfer()).fit(w, rest)
            error = ((rest - self.gp_.left_out_) ** 2).mean(0)
            gain = 1.0 - error / np.maximum((rest**2).mean(0), 1e-300)
            self.use_gp_ = (gain > _GP_GAIN).astype(float)
            left_out = left_out + self.gp_.left_out_ * self.use_gp_
        self.left_out_ = left_out
        self._calibrate(y)
        return self

    def _calibrate(self, losses: Array) -> None:
        # Left-out errors against the spread that theory gives a left-out run, noise / sqrt(1 - leverage). Half pooled
        # over targets, and shrunk to 1 when runs are few, because one target's few errors are themselves noisy.
        noise = self.law_.noise_**2
        leverage = np.clip(self.law_.predict_draws(self.law_.weights_).var(axis=0) / noise, 0.0, 0.9)
        error = (losses - self.left_out_) ** 2 * (1.0 - leverage) / noise
        own = np.sqrt(error.mean(axis=0))
        trust = len(losses) / (len(losses) + 48.0)
        self.stretch_ = np.clip(1.0 - trust + 0.5 * trust * (own + np.median(own)), 0.5, 1.6)

    def _raw_std(self, weights: Array) -> Array:
        spread = self.law_.predict_draws(weights).var(axis=0)
        return np.asarray(np.sqrt(spread + self.law_.noise_**2))

    def predict(self, weights: Any) -> Array:
        """Losses, (n,) or (n, targets)."""
        w = as_matrix(weights, "weights")
        made = self.law_.predict(w)
        if self.gp_ is not None and self.use_gp_.any():
            made = made + self.gp_.predict(w) * self.use_gp_
        return made[:, 0] if self.flat_ else made

    def predict_std(self, weights: Any) -> Array:
        """Calibrated standard deviation of a new run's loss: `predict` +- 1.645 of it is meant to hold 90 %."""
        made = self._raw_std(as_matrix(weights, "weights")) * self.stretch_
        return made[:, 0] if self.flat_ else made


def _folds(runs: int, folds: int, seed: int) -> Array:
    return np.asarray(np.random.default_rng(seed).permutation(runs) % folds, dtype=np.float64)


def left_out_of(law: CurveLaw, seed: int = 0) -> tuple[Array, str]:
    """Left-out predictions of a fitted law, (n, targets), and how: leave-one-out up to 64 runs, else ten folds."""
    if law.runs_ <= _LEAVE_ONE_OUT_UP_TO:
        return law.left_out(), "leave-one-out"
    return law.left_out(_folds(law.runs_, 10, seed)), "10-fold"


def cross_validate(weights: Any, losses: Any, name: str = "law", seed: int = 0) -> Array:
    """Predictions of every run by a law fitted without it, (n, targets).

    Leave-one-out up to 64 runs, ten folds above (five for the slow laws).
    """
    w, y = as_matrix(weights, "weights"), as_matrix(losses, "losses")
    law = make(name, seed)
    if isinstance(law, CurveLaw):
        return left_out_of(law.fit(w, y), seed)[0]
    place = _folds(len(w), min(5, len(w)), seed)
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
