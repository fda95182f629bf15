"""LightGBM as RegMix uses it (Liu et al. 2025), and with small leaves for few runs. For comparison.

Not convex and flat between runs: good at ranking known mixtures, poor at finding the best one.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mixer.arrays import Array, as_matrix
from mixer.frames import by_name, columns, pair

_REGMIX = {"n_estimators": 1000, "learning_rate": 1e-2, "num_leaves": 31, "min_child_samples": 20, "reg_alpha": 0.0}
_SMALL = {"n_estimators": 300, "learning_rate": 0.05, "num_leaves": 8, "min_child_samples": 3}


class Trees:
    """One boosted ensemble a target.

    Args:
        settings: "regmix" (leaf minimum 20: cannot split below 40 runs) or "small" (leaf minimum 3).
        seed: LightGBM's seed.
    """

    convex = False

    def __init__(self, settings: str = "small", seed: int = 0) -> None:
        self.settings, self.seed = settings, seed

    def fit(self, weights: Any, losses: Any) -> Trees:
        """Fit weights (n, corpora) to losses (n,) or (n, targets)."""
        import lightgbm

        weights, losses = pair(weights, losses)
        self.columns_ = columns(weights)
        w, y = as_matrix(weights, "weights"), as_matrix(losses, "losses")
        self.flat_ = np.ndim(losses) == 1
        options: dict[str, Any] = dict(_REGMIX if self.settings == "regmix" else _SMALL)
        self.models_ = []
        for column in y.T:
            model = lightgbm.LGBMRegressor(
                **options, random_state=self.seed, n_jobs=1, verbose=-1, deterministic=True, force_row_wise=True
            )
            self.models_.append(model.fit(w, column).booster_)
        return self

    def predict(self, weights: Any) -> Array:
        """Losses, shaped as `fit` was given them."""
        w = as_matrix(by_name(weights, self.columns_, "weights"), "weights")
        made = np.stack([np.asarray(model.predict(w)) for model in self.models_], axis=1)
        return made[:, 0] if self.flat_ else made
