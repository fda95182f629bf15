"""The exponential data-mixing law (Ye et al. 2024, arXiv 2403.16952; Olmix's "log-linear"), for comparison.

    L(w) = c + exp(b + sum_j t_j w_j)

Convex in w. Weak at few runs: it has no diminishing returns within a corpus.
"""

from __future__ import annotations

import numpy as np

from mixer.arrays import Array
from mixer.curve_law import CurveLaw

_EXTRA = 2
_UNIT = 5.0  # t_j is held in this unit: losses of rare corpora want t_j in the hundreds, and a step is at most 2


class ExponentialLaw(CurveLaw):
    """The law above for every target.

    Args:
        ridge: expected residual variance that sets the pull of t_j towards 0. When None, (corpora / runs)^6 and at most 1:
            next to nothing from about three runs a corpus on, and what keeps t_j finite below one. Chosen on random
            subsets of RegMix's 1M training runs, scored on the training runs left out.
    """

    def __init__(self, ridge: float | None = None, starts: int = 3, seed: int = 0, bootstrap: int = 50) -> None:
        super().__init__(starts, seed, bootstrap)
        self.ridge = ridge

    def prior(self, corpora: int, runs: int) -> tuple[Array, Array, float]:
        ridge = float(np.clip((corpora / runs) ** 6, 1e-8, 1.0)) if self.ridge is None else self.ridge
        return np.zeros(corpora + _EXTRA), np.array([1.0] * corpora + [1.0, 2.0]), ridge

    def features(self, weights: Array) -> Array:
        return np.asarray(_UNIT * weights)

    def _scales(self, losses: Array) -> Array:
        # An exponential flattens out sooner than losses do, so the floor that fits best lies above the best run. Held
        # below it, the law loses .02 of mean Spearman at 64 of RegMix's runs.
        scale = super()._scales(losses)
        scale[:, 1] = losses.mean(axis=0)
        return scale

    def _parts(self, theta: Array, features: Array, scale: Array) -> tuple[Array, Array, Array]:
        k = features.shape[1]
        exponent = theta[:, :k] @ features.T + theta[:, k, None]
        power = 0.5 * scale[:, 2:3] * np.exp(np.minimum(exponent, 50.0))
        s = 0.5 * (1.0 + np.tanh(0.5 * theta[:, k + 1]))
        return scale[:, 0] + (scale[:, 1] - scale[:, 0]) * s, power, s

    def named(self, theta: Array, scale: Array) -> dict[str, Array]:
        k = self.corpora_
        c, power, _ = self._parts(theta, np.zeros((1, k)), scale)
        return {"c": c, "b": power[:, 0], "t": _UNIT * theta[:, :k]}

    def curve(self, theta: Array, features: Array, scale: Array) -> tuple[Array, Array]:
        k = features.shape[1]
        c, power, s = self._parts(theta, features, scale)
        jacobian = np.empty((len(theta), len(features), k + _EXTRA))
        np.multiply(power[:, :, None], features[None], out=jacobian[:, :, :k])
        jacobian[:, :, k] = power
        jacobian[:, :, k + 1] = ((scale[:, 1] - scale[:, 0]) * s * (1 - s))[:, None]
        return c[:, None] + power, jacobian

    def values(self, theta: Array, features: Array, scale: Array) -> Array:
        c, power, _ = self._parts(theta, features, scale)
        return np.asarray(c[:, None] + power)

    def slopes(self, theta: Array, weights: Array, scale: Array) -> tuple[Array, Array]:
        c, power, _ = self._parts(theta, self.features(weights), scale)
        return c[:, None] + power, power[:, :, None] * (_UNIT * theta[:, None, : weights.shape[1]])

    def curvature(self, theta: Array, weights: Array, scale: Array) -> tuple[Array, Array]:
        _, power, _ = self._parts(theta, self.features(weights), scale)
        return np.zeros((len(theta), weights.shape[1])), 1.0 / power[:, 0]

    def transfer(self) -> Array:
        """How much each corpus lowers each loss against the least helpful one, (targets, corpora), rows summing to 1."""
        t = self.theta_[:, : self.corpora_]
        help_ = t.max(1, keepdims=True) - t
        return np.asarray(help_ / np.maximum(help_.sum(1, keepdims=True), 1e-12))
