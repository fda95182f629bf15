"""Ridge regressions for comparison: on squares and products of the weights, and with a Gaussian kernel over sqrt(w).

Both are what DSP and others compare with (docs/mixer.md). Strength, and length of the kernel, are chosen for each target by the
closed-form leave-one-out error.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mixer.arrays import Array, as_matrix
from mixer.frames import by_name, columns, pair

_RIDGES = 10.0 ** np.arange(-5.0, 2.0)
_LENGTHS = (0.1, 0.2, 0.4, 0.8, 1.6)


class Ridge:
    """One regression a target.

    Args:
        kind: "quadratic" or "kernel".
    """

    convex = False

    def __init__(self, kind: str = "kernel") -> None:
        self.kind = kind

    def _kernel(self, a: Array, b: Array, length: float) -> Array:
        if self.kind == "kernel":
            square = (a**2).sum(1)[:, None] + (b**2).sum(1)[None] - 2.0 * a @ b.T
            return np.asarray(np.exp(-np.maximum(square, 0.0) / (2.0 * length**2)))
        inner = a @ b.T  # of (w, all w_i w_j): a linear and a quadratic part, without writing the products down
        return np.asarray(inner + inner**2)

    def _features(self, weights: Any) -> Array:
        w = as_matrix(by_name(weights, self.columns_, "weights"), "weights")
        return np.sqrt(w) if self.kind == "kernel" else w - self.centre_

    def fit(self, weights: Any, losses: Any) -> Ridge:
        """Fit weights (n, corpora) to losses (n,) or (n, targets)."""
        weights, losses = pair(weights, losses)
        self.columns_, self.flat_ = columns(weights), np.ndim(losses) == 1
        w, y = as_matrix(weights, "weights"), as_matrix(losses, "losses")
        self.centre_, self.mean_ = w.mean(axis=0), y.mean(axis=0)
        self.points_ = self._features(w)
        best = np.full(y.shape[1], np.inf)
        self.lengths_, self.dual_ = np.zeros(y.shape[1]), np.zeros_like(y)
        for length in _LENGTHS if self.kind == "kernel" else (1.0,):
            kernel = self._kernel(self.points_, self.points_, length)
            values, vectors = np.linalg.eigh(kernel)
            turned = vectors.T @ (y - self.mean_)
            size = float(np.trace(kernel)) / len(w)
            for ridge in _RIDGES:
                inverse = 1.0 / (np.maximum(values, 0.0) + ridge * size)
                dual = vectors @ (inverse[:, None] * turned)
                error = ((dual / ((vectors**2) @ inverse)[:, None]) ** 2).mean(axis=0)
                better = error < best
                best[better], self.lengths_[better], self.dual_[:, better] = error[better], length, dual[:, better]
        return self

    def predict(self, weights: Any) -> Array:
        """Losses, shaped as `fit` was given them."""
        points = self._features(weights)
        made = np.empty((len(points), len(self.mean_)))
        for length in np.unique(self.lengths_):
            those = self.lengths_ == length
            made[:, those] = self._kernel(points, self.points_, float(length)) @ self.dual_[:, those]
        made += self.mean_
        return made[:, 0] if self.flat_ else made
