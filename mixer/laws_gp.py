"""A Gaussian process over mixtures, alone or on what a parametric law leaves over. For many runs (above about 100).

Matern-5/2 over sqrt(w) (close to the Fisher distance between mixtures), each corpus scaled by how much it matters for
the target. Length, noise and scaling are chosen per target by the closed-form leave-one-out error, so there is no
optimiser to get lost.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mixer.arrays import Array, as_matrix
from mixer.frames import by_name, columns, pair

_LENGTHS = (0.15, 0.3, 0.6, 1.2, 2.4)
_NOISES = (0.003, 0.01, 0.03, 0.1, 0.3)
_SCALINGS = (0.0, 0.25, 0.5)


def _matern(a: Array, b: Array) -> Array:
    square = (a**2).sum(1)[:, None] + (b**2).sum(1)[None] - 2.0 * a @ b.T
    r = np.sqrt(5.0 * np.maximum(square, 0.0))
    return np.asarray((1.0 + r + r * r / 3.0) * np.exp(-r))


class GaussianProcess:
    """One process a target.

    Args:
        importance: (targets, corpora), how much each corpus matters for each target (a transfer matrix); all the same
            when None.
    """

    convex = False

    def __init__(self, importance: Array | None = None) -> None:
        self.importance = importance

    def fit(self, weights: Any, losses: Any) -> GaussianProcess:
        """Choose the kernel and solve it for weights (n, corpora) and losses (n,) or (n, targets)."""
        weights, losses = pair(weights, losses)
        self.columns_ = columns(weights)
        w, y = as_matrix(weights, "weights"), as_matrix(losses, "losses")
        self.flat_ = np.ndim(losses) == 1
        self.root_ = np.sqrt(w)
        self.mean_ = y.mean(0)
        spread = y.std(0)
        self.unit_ = np.where(spread > 0, spread, 1.0)
        z = (y - self.mean_) / self.unit_
        t, k = y.shape[1], w.shape[1]
        importance = np.full((t, k), 1.0 / k) if self.importance is None else np.asarray(self.importance)
        scalings = (0.0,) if self.importance is None else _SCALINGS
        left_out = np.empty_like(z)
        self.kernels_: list[tuple[Array, float, Array, Array]] = []
        for j in range(t):
            best = np.inf
            chosen: tuple[Array, float, Array, Array] | None = None
            for power in scalings:
                stretch = np.maximum(importance[j] * k, 1e-4) ** power
                stretch = stretch / np.sqrt((stretch**2).mean())
                for length in _LENGTHS:
                    kernel = _matern(self.root_ * stretch / length, self.root_ * stretch / length)
                    values, vectors = np.linalg.eigh(kernel)
                    turned = vectors.T @ z[:, j]
                    for noise in _NOISES:
                        inverse = 1.0 / (np.maximum(values, 0.0) + noise)
                        alpha = vectors @ (inverse * turned)
                        error = alpha / ((vectors**2) @ inverse)  # y - prediction without that run, closed form
                        score = float((error**2).mean())
                        if score < best:
                            best, left_out[:, j] = score, z[:, j] - error
                            chosen = (stretch / length, noise, alpha, (vectors * inverse) @ vectors.T)
            assert chosen is not None
            self.kernels_.append(chosen)
        self.left_out_ = left_out * self.unit_ + self.mean_
        self.amplitude_ = np.sqrt(np.mean(z**2, axis=0))
        return self

    def predict(self, weights: Any) -> Array:
        """Losses, shaped as `fit` was given them."""
        root = np.sqrt(as_matrix(by_name(weights, self.columns_, "weights"), "weights"))
        each = [_matern(root * s, self.root_ * s) @ alpha for s, _, alpha, _ in self.kernels_]
        made = np.stack(each, axis=1) * self.unit_ + self.mean_
        return made[:, 0] if self.flat_ else made

    def predict_std(self, weights: Any) -> Array:
        """Posterior standard deviation of a new run."""
        root = np.sqrt(as_matrix(by_name(weights, self.columns_, "weights"), "weights"))
        each = []
        for j, (s, noise, _, inverse) in enumerate(self.kernels_):
            cross = _matern(root * s, self.root_ * s)
            each.append(
                self.amplitude_[j]
                * np.sqrt(np.maximum(1.0 + noise - np.einsum("ij,jk,ik->i", cross, inverse, cross), 0.0))
            )
        made = np.stack(each, axis=1) * self.unit_
        return made[:, 0] if self.flat_ else made
