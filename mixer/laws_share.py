"""The effective-share power law: how a loss falls with the weights of all corpora.

    L(w) = c + b (e + sum_j a_j w_j^g_j)^-alpha        c, b, e, a_j, alpha >= 0,  0 < g_j < 1

`a_j` says how much corpus j helps the loss (its row over losses is the transfer matrix), `g_j` how fast more of it
stops helping, `e` what is learned from nothing in particular, `c` the floor. With g_j < 1 the inner sum is concave and
(.)^-alpha convex and decreasing, so L is convex in w: any local optimum over linear limits is the global one, and so is
that of any average of such laws. The prior ties the g_j of a loss to a common g, so that few runs learn one exponent
and many runs learn them all; on RegMix's training runs this is better than one exponent from 32 runs on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mixer.arrays import Array
from mixer.curve_law import CurveLaw, Sloped

# Layout of a parameter vector: log a_1..k, logit g_1..k - logit g, then these.
_LOG_E, _LOGIT_G, _LOG_ALPHA, _LOG_B, _LOGIT_C = range(5)
_EXTRA = 5
_LOG_ZERO = -1e4  # log of a weight of 0: far enough down for exp(g log w) to be exactly 0
_W_SLOPE = 1e-5  # the slope w^(g-1) is infinite at 0; below this weight it is held, which keeps L convex


@dataclass(frozen=True, kw_only=True)
class SharePrior:
    """Centres and spreads of the normal priors on the transformed parameters.

    Chosen on random subsets of RegMix's 1M training runs (scored on the training runs left out). A small alpha makes
    the law nearly logarithmic in the effective share, which is what few runs can support.
    """

    log_a: float = -3.0
    sd_a: float = 2.0
    log_e: float = -2.0
    sd_e: float = 1.2
    logit_g: float = 0.25
    sd_g: float = 0.6
    sd_g_own: float = 0.7
    """How far the exponent of one corpus may be from the common one."""
    log_alpha: float = -2.2
    sd_alpha: float = 0.3
    sd_b: float = 0.8
    logit_c: float = 0.5
    sd_c: float = 0.6
    noise: float = 0.03
    """Expected residual variance as a part of the variance of the losses; sets how strongly the prior pulls."""

    def centre(self, corpora: int) -> Array:
        own = [self.log_a] * corpora + [0.0] * corpora
        return np.array([*own, self.log_e, self.logit_g, self.log_alpha, 0.0, self.logit_c])

    def spread(self, corpora: int) -> Array:
        own = [self.sd_a] * corpora + [self.sd_g_own] * corpora
        return np.array([*own, self.sd_e, self.sd_g, self.sd_alpha, self.sd_b, self.sd_c])


def _sigmoid(x: Array) -> Array:
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * x)))


class EffectiveShareLaw(CurveLaw):
    """The law above for every target; see `CurveLaw` for the arguments it shares with the other laws.

    Args:
        prior: what is believed before any run.
    """

    own_parameters = 2

    def __init__(self, prior: SharePrior | None = None, starts: int = 3, seed: int = 0, bootstrap: int = 50) -> None:
        super().__init__(starts, seed, bootstrap)
        self.share_prior = prior or SharePrior()

    def prior(self, corpora: int, runs: int) -> tuple[Array, Array, float]:
        return self.share_prior.centre(corpora), self.share_prior.spread(corpora), self.share_prior.noise

    def features(self, weights: Array) -> Array:
        return np.where(weights > 0, np.log(np.maximum(weights, 1e-300)), _LOG_ZERO)

    def _exponents(self, theta: Array, k: int) -> Array:
        """g_j, (problems, k)."""
        return _sigmoid(theta[:, k : 2 * k] + theta[:, 2 * k + _LOGIT_G, None])

    def _log_weights(self, theta: Array, log_w: Array) -> Array:
        """What the exponents are put on: log weights, (problems or 1, n, k)."""
        return log_w[None]

    def _inner(self, theta: Array, log_w: Array) -> tuple[Array, Array, Array]:
        """a_j w_j^g_j (problems, n, k), its sum with e (problems, n), and g_j (problems, k)."""
        k = log_w.shape[1]
        g = self._exponents(theta, k)
        share = g[:, None, :] * self._log_weights(theta, log_w)
        share += theta[:, None, :k]
        np.exp(share, out=share)  # in place: a stack of problems just fits the processor's cache
        return share, np.exp(theta[:, 2 * k + _LOG_E])[:, None] + share.sum(2), g

    def _power(self, theta: Array, inner: Array, scale: Array, k: int) -> tuple[Array, Array, Array, Array]:
        """c (problems,), b inner^-alpha (problems, n), alpha (problems,), log inner."""
        rest = theta[:, 2 * k :]
        alpha, log_inner = np.exp(rest[:, _LOG_ALPHA]), np.log(inner)
        power = scale[:, 2:3] * np.exp(rest[:, _LOG_B, None] - alpha[:, None] * log_inner)
        c = scale[:, 0] + (scale[:, 1] - scale[:, 0]) * _sigmoid(rest[:, _LOGIT_C])
        return c, power, alpha, log_inner

    def named(self, theta: Array, scale: Array) -> dict[str, Array]:
        k, one = self.corpora_, np.ones((len(theta), 1))
        c, b, alpha, _ = self._power(theta, one, scale, k)
        own = {"a": np.exp(theta[:, :k]), "g": self._exponents(theta, k)}
        return {"c": c, "b": b[:, 0], "e": np.exp(theta[:, 2 * k + _LOG_E]), "alpha": alpha, **own}

    def curve(self, theta: Array, features: Array, scale: Array) -> tuple[Array, Array]:
        k = features.shape[1]
        share, inner, g = self._inner(theta, features)
        c, power, alpha, log_inner = self._power(theta, inner, scale, k)
        slope = -alpha[:, None] * power / inner  # dL / d inner
        s = _sigmoid(theta[:, 2 * k + _LOGIT_C])
        jacobian = np.empty((len(theta), features.shape[0], 2 * k + _EXTRA))
        by_a, by_g, rest = jacobian[:, :, :k], jacobian[:, :, k : 2 * k], jacobian[:, :, 2 * k :]
        share *= slope[:, :, None]
        by_a[:] = share
        share *= self._log_weights(theta, features)
        np.multiply(share, (g * (1 - g))[:, None, :], out=by_g)
        rest[:, :, _LOG_E] = slope * np.exp(theta[:, 2 * k + _LOG_E])[:, None]
        rest[:, :, _LOGIT_G] = by_g.sum(2)
        rest[:, :, _LOG_ALPHA] = -power * alpha[:, None] * log_inner
        rest[:, :, _LOG_B] = power
        rest[:, :, _LOGIT_C] = ((scale[:, 1] - scale[:, 0]) * s * (1 - s))[:, None]
        return c[:, None] + power, jacobian

    def values(self, theta: Array, features: Array, scale: Array) -> Array:
        _, inner, _ = self._inner(theta, features)
        c, power, _, _ = self._power(theta, inner, scale, features.shape[1])
        return np.asarray(c[:, None] + power)

    def slopes(self, theta: Array, weights: Array, scale: Array) -> tuple[Array, Array]:
        return EffectiveShareLaw.at(self, theta, scale)(weights)

    def at(self, theta: Array, scale: Array) -> Sloped:
        k = self.corpora_
        g, log_a, rest = self._exponents(theta, k)[:, None, :], theta[:, None, :k], theta[:, 2 * k :]
        e, alpha = np.exp(rest[:, _LOG_E])[:, None], np.exp(rest[:, _LOG_ALPHA])[:, None]
        c = (scale[:, 0] + (scale[:, 1] - scale[:, 0]) * _sigmoid(rest[:, _LOGIT_C]))[:, None]
        b, log_b = scale[:, 2:3], rest[:, _LOG_B, None]
        held = np.exp(g * np.log(_W_SLOPE) + log_a)

        def slopes(weights: Array) -> tuple[Array, Array]:
            share = np.exp(g * self._log_weights(theta, self.features(weights)) + log_a)
            inner = e + share.sum(2)
            power = b * np.exp(log_b - alpha * np.log(inner))
            by_weight = np.where(weights > _W_SLOPE, share, held) / np.maximum(weights, _W_SLOPE)
            return c + power, (-alpha * power / inner)[:, :, None] * g * by_weight

        return slopes

    def curvature(self, theta: Array, weights: Array, scale: Array) -> tuple[Array, Array]:
        k = weights.shape[1]
        _, inner, g = self._inner(theta, self.features(weights))
        _, power, alpha, _ = self._power(theta, inner, scale, k)
        slope = self.slopes(theta, weights, scale)[1][:, 0]
        diagonal = np.where(weights > _W_SLOPE, slope * (g - 1.0) / np.maximum(weights, _W_SLOPE), 0.0)
        return diagonal, (alpha + 1.0) / (alpha * power[:, 0])

    def transfer(self) -> Array:
        """How much each corpus helps each loss, (targets, corpora), rows summing to 1.

        The part of the effective share that corpus j gives when all corpora weigh the same.
        """
        k = self.corpora_
        part = np.exp(self.theta_[:, :k] - self._exponents(self.theta_, k) * np.log(k))
        return np.asarray(part / part.sum(1, keepdims=True))
