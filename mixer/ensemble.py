"""The predictor to use when a number is wanted for a mixture: several laws, combined by what left-out runs say of them.

Members are the effective-share law, that law with a Gaussian process on what it leaves over, a Gaussian process alone,
the exponential law and boosted trees. The first is the default; weight moves to the others, metric by metric, only as
far as left-out predictions get better, those of the best runs too. On RegMix's runs that is little: the law and its
process keep nearly all of it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mixer.arrays import Array
from mixer.curve_law import folds, left_out_of
from mixer.frames import Estimator
from mixer.laws_exp import ExponentialLaw
from mixer.laws_gp import GaussianProcess
from mixer.laws_share import EffectiveShareLaw
from mixer.laws_trees import Trees

MEMBERS = ("law", "law+gp", "gp", "explaw", "lightgbm")

_FROM = {"law+gp": 48, "gp": 48, "explaw": 48, "lightgbm": 48}
"""Runs below which a member is not asked: too few to be fitted, or for its left-out errors to mean anything."""
_GP_GAIN = 0.02  # part of the residual variance the process on residuals must explain on left-out runs
_GAIN = 0.05  # part of the left-out error that a combination must take away, or the law stays alone
_BEST = 0.25
"""Part of the runs, the best by left-out predictions, of whose error a combination must take as much away. A process or trees
go back to the mean where runs are few, and so they are where the best mixtures lie: of 24 combinations at 64 of RegMix's
training runs 14 picked a worse one of the others than the law, and 5 a better one. The part was chosen there too."""
_HOPELESS = 1.5  # times the law's left-out error: a member worse than this is not asked
_WIDER = 1.02
"""Intervals of few runs are too narrow by about this factor; chosen on RegMix training runs left out of 64."""


class Predictor(Estimator):
    """Mixtures to losses, with calibrated uncertainty; scikit-learn's habits, DataFrames joined by name and index.

    Args:
        seed: decides starts, folds and bootstrap; same seed, same numbers.
        bootstrap: draws behind the uncertainty.

    Attributes:
        shares_: (members, targets) how much each of `MEMBERS` counts; columns sum to 1.
        left_out_: (n, targets) left-out predictions of the combination.
    """

    def __init__(self, seed: int = 0, bootstrap: int = 50) -> None:
        self.seed, self.bootstrap = seed, bootstrap

    def fit(self, weights: Any, losses: Any) -> Predictor:
        """Fit weights (n, corpora) to losses (n,) or (n, targets); n may be smaller than the number of corpora.

        Raises:
            HaigoError: fewer than 4 runs, or values that are not finite.
        """
        w, y = self.taken(weights, losses)
        self.law_: EffectiveShareLaw = EffectiveShareLaw(seed=self.seed, bootstrap=self.bootstrap)
        self.law_.fit(w, y)
        left_out: dict[str, Array] = {"law": left_out_of(self.law_, self.seed)[0]}
        self.fitted_: dict[str, Any] = {}
        for name in MEMBERS[1:]:
            if len(w) >= _FROM[name]:
                self.fitted_[name], left_out[name] = getattr(self, "_" + name.replace("+", "_"))(w, y, left_out["law"])
        self.shares_ = np.zeros((len(MEMBERS), y.shape[1]))
        self.left_out_ = np.empty_like(y)
        for j in range(y.shape[1]):
            share = combine(y[:, j], {name: made[:, j] for name, made in left_out.items()})
            self.shares_[:, j] = [share.get(name, 0.0) for name in MEMBERS]
            self.left_out_[:, j] = sum(part * left_out[name][:, j] for name, part in share.items())
        self._calibrate(y)
        return self

    def _law_gp(self, w: Array, y: Array, law: Array) -> tuple[GaussianProcess, Array]:
        rest = y - self.law_.predict(w)
        process = GaussianProcess(self.law_.transfer()).fit(w, rest)
        gain = 1.0 - ((rest - process.left_out_) ** 2).mean(0) / np.maximum((rest**2).mean(0), 1e-300)
        # a process that explains nothing left out only adds noise
        return process, law + process.left_out_ * (gain > _GP_GAIN)

    def _gp(self, w: Array, y: Array, law: Array) -> tuple[GaussianProcess, Array]:
        process = GaussianProcess(self.law_.transfer()).fit(w, y)
        return process, process.left_out_

    def _explaw(self, w: Array, y: Array, law: Array) -> tuple[ExponentialLaw, Array]:
        made = ExponentialLaw(seed=self.seed)
        made.fit(w, y)
        return made, left_out_of(made, self.seed)[0]

    def _lightgbm(self, w: Array, y: Array, law: Array) -> tuple[Trees, Array]:
        place, out = folds(len(w), 5, self.seed), np.empty_like(y)
        for fold in range(5):
            keep = place != fold
            out[~keep] = Trees("small", self.seed).fit(w[keep], y[keep]).predict(w[~keep])
        return Trees("small", self.seed).fit(w, y), out

    def _calibrate(self, losses: Array) -> None:
        # Left-out errors against the spread that theory gives a left-out run, noise / sqrt(1 - leverage). Mostly pooled
        # over targets, and shrunk to 1 when runs are few, because one target's few errors are themselves noisy.
        noise = self.law_.noise_**2
        leverage = np.clip(self.law_.predict_draws(self.law_.weights_).var(axis=0) / noise, 0.0, 0.9)
        error = (losses - self.left_out_) ** 2 * (1.0 - leverage) / noise
        own = np.sqrt(error.mean(axis=0))
        trust = len(losses) ** 2 / (len(losses) ** 2 + 100.0**2)
        pooled = 0.25 * own + 0.75 * np.median(own)
        self.stretch_ = _WIDER * np.clip(1.0 - trust + trust * pooled, 0.5, 1.6)

    def predict(self, weights: Any) -> Any:
        """Losses, (n,) or (n, targets); a DataFrame for a DataFrame."""
        w = self.asked(weights)
        law = self.law_.predict(w)
        made = law * self.shares_[0]
        for i, name in enumerate(MEMBERS[1:], start=1):
            if self.shares_[i].any():
                part = self.fitted_[name].predict(w)
                made = made + self.shares_[i] * (part + law if name == "law+gp" else part)
        return self.shaped(made, weights)

    def predict_std(self, weights: Any) -> Any:
        """Calibrated standard deviation of a new run's loss: `predict` +- 1.645 of it is meant to hold 90 %."""
        w = self.asked(weights)
        spread = np.sqrt(self.law_.predict_draws(w).var(axis=0) + self.law_.noise_**2)
        return self.shaped(spread * self.stretch_, weights)


def combine(truth: Array, left_out: dict[str, Array]) -> dict[str, float]:
    """How much each member counts for one metric, summing to 1, from left-out predictions (n,) of each.

    The law alone, or with its process, whichever left-out runs prefer; and a convex combination with the others where
    it takes at least 5 % off the error of that, over all runs and over the best quarter of them.
    """
    error = {name: float(((made - truth) ** 2).mean()) for name, made in left_out.items()}
    base = "law+gp" if "law+gp" in error and error["law+gp"] < error["law"] * (1.0 - _GP_GAIN) else "law"
    others = [name for name in left_out if name != base and error[name] < _HOPELESS * error[base]]
    if not others or error[base] <= 0:
        return {base: 1.0}
    share = _least_squares(truth - left_out[base], np.stack([left_out[name] - left_out[base] for name in others], 1))
    made = {base: 1.0 - float(share.sum()), **dict(zip(others, share.tolist(), strict=True))}
    mixed = sum(part * left_out[name] for name, part in made.items())
    best = np.argsort(left_out[base], kind="stable")[: max(1, round(_BEST * len(truth)))]
    before, after = (left_out[base] - truth) ** 2, (mixed - truth) ** 2
    better = all(after[runs].mean() < (1.0 - _GAIN) * before[runs].mean() for runs in (slice(None), best))
    return made if better else {base: 1.0}


def _least_squares(rest: Array, columns: Array) -> Array:
    """Non-negative coefficients with a sum of at most 1 that explain `rest`, drawn towards 0."""
    from scipy.optimize import nnls

    size = float((rest**2).mean())
    ridge = np.sqrt(0.1 * size * len(rest)) * np.eye(columns.shape[1])
    found, _ = nnls(np.vstack([columns, ridge]), np.r_[rest, np.zeros(columns.shape[1])])
    return np.asarray(found / max(1.0, float(found.sum())))
