"""The effective-share law of runs that repeat their corpora: what a repeated token is worth, and what too many passes cost.

    L(w) = c + b (e + sum_j a_j u_j^g_j)^-alpha + s sum_j h_j (E_j / 16)^2.5        E_j = w_j p_j, the passes over corpus j
    u_j = w_j up to one pass, then (1 + R_j (1 - exp(-(E_j - 1) / R_j))) / p_j        (Muennighoff et al. 2023)

`R_j` says how soon more of the same text stops helping, `h_j` what it costs: the standard deviations s of the loss that 16
passes add. (Small models of real text bore some 16 passes and then got worse fast; an exponent of its own, learnt, was no
better and ran away where the run with most passes was left out.) Few runs leave R_j near what was found for large models,
15.39, and h_j near 0. u_j is concave in w_j and the cost convex, so the law is convex in w, as without repetition: the
search stays exact.
"""

from __future__ import annotations

import numpy as np

from mixer.arrays import Array, Flags
from mixer.curve_law import CurveLaw
from mixer.laws_share import _W_SLOPE, EffectiveShareLaw, SharePrior
from mixer.supply import SoftRepetition

R_STAR = SoftRepetition.r_star
_SD_R = 0.8
_LOG_H, _SD_H = -3.0, 1.5
"""A cost of a twentieth of a standard deviation at 16 passes, give or take a factor of 4.5."""
_AT, _POWER = 16.0, 2.5


class RepeatedShareLaw(EffectiveShareLaw):
    """The law above for every target.

    Args:
        passes: (corpora,) how often a run passes over each corpus at the weight 1.
        repeated: (corpora,) those of which something is learnt; the others have R_j = 15.39 and h_j = 0.
        prior, starts, seed, bootstrap: as of the law without repetition.
    """

    def __init__(
        self,
        passes: Array,
        repeated: Flags,
        prior: SharePrior | None = None,
        starts: int = 3,
        seed: int = 0,
        bootstrap: int = 50,
    ) -> None:
        super().__init__(prior, starts, seed, bootstrap)
        self.passes, self.repeated = passes, repeated

    def prior(self, corpora: int, runs: int) -> tuple[Array, Array, float]:
        centre, spread, noise = super().prior(corpora, runs)
        more = np.repeat([0.0, _LOG_H], corpora), np.repeat([_SD_R, _SD_H], corpora)
        return np.r_[centre, more[0]], np.r_[spread, more[1]], noise

    def _scales(self, losses: Array) -> Array:
        return np.c_[super()._scales(losses), self.unit_]

    def learnt(self, theta: Array) -> tuple[Array, Array]:
        """R_j and h_j, (problems, k) each."""
        k = len(self.passes)
        r_star = R_STAR * np.exp(np.where(self.repeated, theta[:, -2 * k : -k], 0.0))
        return r_star, np.where(self.repeated, np.exp(theta[:, -k:]), 0.0)

    def _worth(self, theta: Array, weights: Array) -> tuple[Array, Array, Array]:
        """u_j / w_j, part of the last token that still helps, (problems, n, k) each, and R_j (problems, 1, k)."""
        r_star = self.learnt(theta)[0][:, None, :]
        passes = weights * self.passes
        more = np.maximum(passes - 1.0, 0.0)
        fade = np.exp(-more / r_star)
        return np.where(more > 0, (1.0 + r_star * (1.0 - fade)) / np.maximum(passes, 1.0), 1.0), fade, r_star

    def _log_weights(self, theta: Array, log_w: Array) -> Array:
        return np.asarray(log_w + np.log(self._worth(theta, np.exp(log_w))[0]))

    def _cost(self, theta: Array, weights: Array, scale: Array) -> tuple[Array, Array]:
        """s h_j (E_j / 16)^2.5 and its slope in w_j, (problems, n, k) each."""
        times = weights * self.passes / _AT
        much = (scale[:, 3:4] * self.learnt(theta)[1])[:, None, :]
        return much * times**_POWER, much * _POWER * times ** (_POWER - 1) * self.passes / _AT

    def named(self, theta: Array, scale: Array) -> dict[str, Array]:
        r_star, much = self.learnt(theta)
        cost = scale[:, 3:4] * much * (self.passes / _AT) ** _POWER  # of w_j ^ 2.5
        return {**super().named(theta, scale), "r_star": r_star, "h": cost}

    def curve(self, theta: Array, features: Array, scale: Array) -> tuple[Array, Array]:
        k, weights = features.shape[1], np.exp(features)
        value, jacobian = super().curve(theta, features, scale)
        made, fade, r_star = self._worth(theta, weights)
        passes, cost = weights * self.passes, self._cost(theta, weights, scale)[0]
        more = np.maximum(passes - 1.0, 0.0)
        # d log u / d log R, and what a log weight moves: by its factor a_j as by u_j^g_j
        by_r = r_star * (1.0 - fade) - more * fade
        by_r = by_r / (np.maximum(passes, 1.0) * made) * self._exponents(theta, k)[:, None, :] * self.repeated
        return value + cost.sum(2), np.concatenate([jacobian, jacobian[:, :, :k] * by_r, cost], axis=2)

    def values(self, theta: Array, features: Array, scale: Array) -> Array:
        return np.asarray(super().values(theta, features, scale) + self._cost(theta, np.exp(features), scale)[0].sum(2))

    at = CurveLaw.at

    def slopes(self, theta: Array, weights: Array, scale: Array) -> tuple[Array, Array]:
        value, slope = super().slopes(theta, weights, scale)
        made, fade, _ = self._worth(theta, weights)
        cost, more = self._cost(theta, weights, scale)
        return value + cost.sum(2), slope * fade / made + more

    def curvature(self, theta: Array, weights: Array, scale: Array) -> tuple[Array, Array]:
        _, slope = super().slopes(theta, weights, scale)
        made, fade, r_star = self._worth(theta, weights)
        passes, g = weights * self.passes, self._exponents(theta, weights.shape[1])
        # of the logarithm of a slope: by u_j^(g_j - 1), and by the fading of u_j's own slope
        bend = (g - 1.0) * (fade / np.maximum(made * weights, _W_SLOPE))[:, 0] - np.where(
            passes > 1.0, self.passes / r_star[:, 0], 0.0
        )
        cost = self._cost(theta, weights, scale)[1][:, 0] * (_POWER - 1) / np.maximum(weights, _W_SLOPE)
        diagonal = np.where(weights > _W_SLOPE, (slope * fade / made)[:, 0] * bend, 0.0) + cost
        return diagonal, super().curvature(theta, weights, scale)[1]
