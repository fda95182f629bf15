"""The effective-share law of corpora that come in groups: sources, and the topics and quality bands that each was parted into.

    L(w) = c + b (e + sum_g A_g u_g^G_g)^-alpha        u_g = (sum_j s_j q_j (w_j / s_j)^r_g)^(1 / r_g)        G_g <= r_g < 1

`s_j` is the supply share of corpus j in its group, so that u_g is the group's weight where the group is mixed as it comes.
The parts of a group stand in for each other (r near 1) more than groups do, and each is as good as its group (`q_j` = 1), as
far as runs do not say otherwise. With r = G_g this is the law of `mixer.laws_share`, the a_j tied to those of their group. A
power mean is concave and so is a power of it, so L is convex in w as there, and the search exact.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mixer.arrays import MIN_RUNS, Array, Numbers
from mixer.curve_law import CurveLaw
from mixer.laws_share import _EXTRA, _LOG_E, _LOGIT_C, _LOGIT_G, _W_SLOPE, EffectiveShareLaw, SharePrior, _sigmoid

_TINY = 1e-300
_ALIKE = -0.5
"""Where the logit of (r - G) / (1 - G) is believed to be."""
_COUNTED = 1.0
"""Spread of log q_j among n-gram losses, which have no noise."""


class _Parts(NamedTuple):
    """What the law makes of weights (n, k), for each of some parameter vectors."""

    exponent: Array
    """G_g, (problems, groups)."""
    alike: Array
    """r, (problems, groups)."""
    share: Array
    """s_j q_j (w_j / s_j)^r, (problems, n, k)."""
    total: Array
    """Its sum over each group, (problems, n, groups)."""
    groups: Array
    """A_g u_g^G_g, (problems, n, groups)."""
    inner: Array
    """Their sum with e, (problems, n)."""


class NestedShareLaw(EffectiveShareLaw):
    """The law above for every target.

    Args:
        place: (corpora,) number of the group of each corpus.
        share: (corpora,) its part of the group's supply.
        spread: standard deviation of log q_j; smaller is more alike.
        counted: whether log q_j is believed to be what a screen says of it, where the fit has one, rather than 0.
        prior, seed: as of the law without groups.
    """

    def __init__(
        self,
        place: Numbers,
        share: Array,
        spread: float = 0.5,
        counted: bool = False,
        prior: SharePrior | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(prior, seed=seed)
        self.place, self.share, self.spread, self.counted = place, share, spread, counted
        self.groups = int(place.max()) + 1
        self.member = np.eye(self.groups)[place]
        """(corpora, groups)"""
        self.several = self.member.sum(axis=0)[place] > 1

    def own(self) -> int:
        return 2 * self.groups + self.corpora_

    def prior(self, corpora: int, runs: int) -> tuple[Array, Array, float]:
        centre, spread, noise = super().prior(self.groups, runs)
        g = 2 * self.groups
        more = np.zeros(corpora), np.full(corpora, self.spread)
        return (
            np.r_[centre[:g], more[0], centre[g:], _ALIKE],
            np.r_[spread[:g], more[1], spread[g:], 1.0],
            noise,
        )

    def _scales(self, losses: Array) -> Array:
        """Beside those of the law without groups, where log q_j is believed to be."""
        believed = np.zeros((self.targets_, self.corpora_))
        known = (self._anchor_counts > 0).all(axis=0)
        if self.counted and self.screen_ is not None and len(self._anchors) >= MIN_RUNS and known.any():
            law = NestedShareLaw(self.place, self.share, _COUNTED, prior=self.share_prior, seed=self.seed)
            law.fit(self.screen_.weights, self._anchors[:, known])
            believed[known] = law.quality()
        return np.c_[super()._scales(losses), believed]

    def _rest(self, theta: Array) -> Array:
        return theta[:, self.own() :]

    def _parts(self, theta: Array, log_w: Array, scale: Array) -> _Parts:
        g, k = self.groups, len(self.place)
        rest = self._rest(theta)
        exponent = _sigmoid(theta[:, g : 2 * g] + rest[:, _LOGIT_G, None])
        alike = exponent + (1.0 - exponent) * _sigmoid(rest[:, _EXTRA, None])
        quality = np.where(self.several, theta[:, 2 * g : 2 * g + k] + scale[:, 3:], 0.0)
        power = alike[:, self.place][:, None, :] * (log_w - np.log(self.share))
        share = self.share * np.exp(power + quality[:, None, :])
        total = share @ self.member
        power = (exponent / alike)[:, None, :] * np.log(np.maximum(total, _TINY))
        groups = np.exp(theta[:, None, :g] + power)
        return _Parts(exponent, alike, share, total, groups, np.exp(rest[:, _LOG_E])[:, None] + groups.sum(2))

    def named(self, theta: Array, scale: Array) -> dict[str, Array]:
        g, rest = self.groups, self._rest(theta)
        c, b, alpha, _ = self._power(rest, np.ones((len(theta), 1)), scale, 0)
        exponent = _sigmoid(theta[:, g : 2 * g] + rest[:, _LOGIT_G, None])
        alike = exponent + (1.0 - exponent) * _sigmoid(rest[:, _EXTRA, None])
        quality = np.where(self.several, theta[:, 2 * g : self.own()] + scale[:, 3:], 0.0)
        own = {"a": np.exp(theta[:, :g]), "g": exponent, "r": alike, "q": np.exp(quality)}
        return {"c": c, "b": b[:, 0], "e": np.exp(rest[:, _LOG_E]), "alpha": alpha, **own}

    def curve(self, theta: Array, features: Array, scale: Array) -> tuple[Array, Array]:
        g, own = self.groups, self.own()
        at = self._parts(theta, features, scale)
        rest = self._rest(theta)
        c, power, alpha, log_inner = self._power(rest, at.inner, scale, 0)
        slope = (-alpha[:, None] * power / at.inner)[:, :, None]  # dL / d inner
        made = np.empty((len(theta), len(features), theta.shape[1]))
        np.multiply(at.groups, slope, out=made[:, :, :g])
        by_group = made[:, :, :g]
        total = np.maximum(at.total, _TINY)
        part = at.share / total[:, :, self.place]
        ratio = (at.exponent / at.alike)[:, None, :]
        log_total = np.log(total)
        # d log total / d r: the mean over a group of the logarithms of w_j / s_j
        mean = (part * np.maximum(features - np.log(self.share), -700.0)) @ self.member
        by_r = ratio * (mean - log_total / at.alike[:, None, :])
        mix = _sigmoid(rest[:, _EXTRA, None])[:, None, :]
        g_ = at.exponent[:, None, :]
        by_g = log_total / at.alike[:, None, :] + by_r * (1.0 - mix)
        np.multiply(by_group, by_g * g_ * (1.0 - g_), out=made[:, :, g : 2 * g])
        np.multiply((by_group * ratio)[:, :, self.place], part * self.several, out=made[:, :, 2 * g : own])
        s = _sigmoid(rest[:, _LOGIT_C])
        more = made[:, :, own:]
        more[:, :, _LOG_E] = slope[:, :, 0] * np.exp(rest[:, _LOG_E])[:, None]
        more[:, :, _LOGIT_G] = made[:, :, g : 2 * g].sum(2)
        more[:, :, 2] = -power * alpha[:, None] * log_inner
        more[:, :, 3] = power
        more[:, :, _LOGIT_C] = ((scale[:, 1] - scale[:, 0]) * s * (1 - s))[:, None]
        more[:, :, _EXTRA] = (by_group * by_r * (1.0 - g_) * mix * (1.0 - mix)).sum(2)
        return c[:, None] + power, made

    def values(self, theta: Array, features: Array, scale: Array) -> Array:
        c, power, _, _ = self._power(self._rest(theta), self._parts(theta, features, scale).inner, scale, 0)
        return np.asarray(c[:, None] + power)

    def _by_weight(self, theta: Array, weights: Array, scale: Array) -> tuple[_Parts, Array]:
        """The parts, and d A_g u_g^G_g / d w_j (problems, n, k), held below a weight at which it would be infinite."""
        held = np.maximum(weights, _W_SLOPE)
        at = self._parts(theta, np.log(held), scale)
        slope = (at.exponent[:, None, :] * at.groups / np.maximum(at.total, _TINY))[:, :, self.place]
        return at, slope * at.share / held

    def slopes(self, theta: Array, weights: Array, scale: Array) -> tuple[Array, Array]:
        inner = self._parts(theta, self.features(weights), scale).inner
        c, power, alpha, _ = self._power(self._rest(theta), inner, scale, 0)
        by_weight = self._by_weight(theta, weights, scale)[1]
        return c[:, None] + power, (-alpha[:, None] * power / inner)[:, :, None] * by_weight

    at = CurveLaw.at

    def curvature(self, theta: Array, weights: Array, scale: Array) -> tuple[Array, Array]:
        at, _ = self._by_weight(theta, weights, scale)
        _, power, alpha, _ = self._power(self._rest(theta), at.inner, scale, 0)
        slope = self.slopes(theta, weights, scale)[1][:, 0]
        bend = slope * (at.alike[:, self.place] - 1.0) / np.maximum(weights, _W_SLOPE)
        return np.where(weights > _W_SLOPE, bend, 0.0), (alpha + 1.0) / (alpha * power[:, 0])

    def bends(self, theta: Array, weights: Array, scale: Array) -> Array:
        at, by_weight = self._by_weight(theta, weights, scale)
        _, power, alpha, _ = self._power(self._rest(theta), at.inner, scale, 0)
        ratio = at.exponent / at.alike
        size = (
            (alpha * power[:, 0] / at.inner[:, 0])[:, None]
            * (1.0 - ratio)
            / (ratio * np.maximum(at.groups[:, 0], _TINY))
        )
        return np.asarray(by_weight[:, 0, :, None] * self.member * np.sqrt(size)[:, None, :])

    def quality(self) -> Array:
        """log q_j, (targets, corpora)."""
        g = 2 * self.groups
        return np.where(self.several, self.theta_[:, g : g + self.corpora_] + self.scale_[:, 3:], 0.0)

    def transfer(self) -> Array:
        """As of the law without groups, where all corpora weigh the same."""
        even = np.full((1, len(self.place)), 1.0 / len(self.place))
        part = self._by_weight(self.theta_, even, self.scale_)[1][:, 0]
        return np.asarray(part / part.sum(1, keepdims=True))
