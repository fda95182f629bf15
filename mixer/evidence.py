"""What a recommendation rests on: proxy runs, and what is known about them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from haigo.cli import HaigoError
from mixer.arrays import Array, as_matrix
from mixer.mixture import check_weights
from mixer.screened import Screen


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Proxy runs, and what is known about them."""

    weights: Any
    """(runs, corpora) array or DataFrame in the order of the constraints' corpora."""
    losses: Any
    """(runs, metrics) array or DataFrame."""
    metrics: Sequence[str] | None = None
    """Names of the columns of `losses`; a DataFrame brings its own."""
    runs: Sequence[str] | None = None
    """Names of the runs, for messages; numbers from 1 when None."""
    counts: Any = None
    """(runs,) how much each run tells; all the same when None."""
    repeats: Any = None
    """(runs,) how many trainings each row is the mean of."""
    run_noise: Any = None
    """(metrics,) known standard deviation of one training."""
    target: tuple[Any, Any] | None = None
    """Weights and losses of a few runs of the target's scale (at least 3). Predictions are then of that scale, recalibrated
    per metric (`mixer.scales`), and so are intervals, gains and prices."""
    screen: Screen | None = None
    """n-gram losses of these and other mixtures (`mixer.screened`); only for methods that fit the law."""
    held_out: tuple[Any, Any] | None = None
    """Weights and losses of runs that only judge the fit."""
    held_out_names: Sequence[str] | None = None
    source: str = "the proxy table"

    def matrices(self, corpora: list[str]) -> tuple[Array, Array, list[str]]:
        """Weights (runs, corpora), losses (runs, metrics) as they were measured, and the metrics' names.

        Raises:
            HaigoError: bad tables, or other corpora.
        """
        names = [str(c) for c in getattr(self.losses, "columns", self.metrics or [])]
        weights, given = self.weights, getattr(self.weights, "columns", None)
        if given is not None and list(given) != corpora:
            if set(given) != set(corpora):
                raise HaigoError(
                    f"{self.source} and the constraints name different corpora.", "use the same names in both"
                )
            weights = weights[corpora]
        losses = as_matrix(self.losses, "losses")
        if len(names) != losses.shape[1]:
            raise HaigoError(f"{len(names)} metric names for {losses.shape[1]} columns of losses.", "pass `metrics`")
        return check_weights(as_matrix(weights, "weights"), corpora, source=self.source)[0], losses, names
