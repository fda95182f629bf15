"""What a recommendation rests on: proxy runs, and what is known about them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from haigo.cli import HaigoError
from mixer import frames
from mixer.arrays import Array, as_matrix
from mixer.lifted import Others, unnamed
from mixer.mixture import check_weights
from mixer.screened import Screen


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Proxy runs, and what is known about them."""

    weights: Any
    """(runs, corpora) array in the order of the constraints' corpora, or DataFrame with their names."""
    losses: Any
    """(runs, metrics) array in the order of the runs, or DataFrame with the same index as `weights`."""
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
    """Weights and losses of a few runs of the target's scale (at least 3). Predictions are then of that scale, lifted
    (`mixer.lifted`), and so are intervals, gains and prices."""
    others: Others | None = None
    """The same where sizes and tokens are known: runs of other scales, and where the target is."""
    screen: Screen | None = None
    """n-gram losses of these and other mixtures (`mixer.screened`); only for methods that fit the law."""
    passes: Any = None
    """(corpora,) how often the runs pass over each corpus at the weight 1, where their corpora were cut to repeat as the target
    run will: what repetition does is then learnt from them (`mixer.repetition`)."""
    held_out: tuple[Any, Any] | None = None
    """Weights and losses of runs that only judge the fit."""
    held_out_names: Sequence[str] | None = None
    source: str = "the proxy table"

    def plain(self, corpora: list[str]) -> Evidence:
        """The same without DataFrames: runs joined by their index, corpora and metrics by their names.

        Raises:
            HaigoError: tables of other runs, corpora or metrics.
        """
        rows, names = frames.index(self.weights), frames.columns(self.losses) or self.metrics
        weights, losses = frames.pair(self.weights, self.losses, metrics=names)
        given = frames.columns(weights)
        if given is not None and set(given) != set(corpora):
            raise HaigoError(f"{self.source} and the constraints name different corpora.", "use the same names in both")
        runs = self.runs
        if runs is None and rows is not None and rows.dtype == object:
            runs = [str(name) for name in rows]
        both = [each and frames.pair(*each, corpora, names) for each in (self.target, self.held_out)]
        others = self.others
        if both[0] is not None:
            others = unnamed(
                *(
                    as_matrix(each, f"{kind} of the target's scale")
                    for each, kind in zip(both[0], ("weights", "losses"), strict=True)
                )
            )
        if others is not None and len(others.weights):
            others = replace(others, weights=check_weights(others.weights, corpora)[0])
        held_rows = None if self.held_out is None else frames.index(self.held_out[0])
        return replace(
            self,
            weights=as_matrix(frames.by_name(weights, corpora, "weights"), "weights"),
            losses=as_matrix(losses, "losses"),
            metrics=names,
            runs=runs,
            counts=frames.by_run(self.counts, rows, "counts"),
            repeats=frames.by_run(self.repeats, rows, "repeats"),
            target=None,
            others=others,
            held_out=both[1],
            held_out_names=held_rows if self.held_out_names is None else self.held_out_names,
        )

    def matrices(self, corpora: list[str]) -> tuple[Array, Array, list[str]]:
        """Weights (runs, corpora), losses (runs, metrics) as they were measured, and the metrics' names; of what `plain` gives.

        Raises:
            HaigoError: bad tables, or other corpora.
        """
        names, losses = [str(name) for name in self.metrics or []], self.losses
        if len(names) != losses.shape[1]:
            raise HaigoError(f"{len(names)} metric names for {losses.shape[1]} columns of losses.", "pass `metrics`")
        return check_weights(self.weights, corpora, source=self.source)[0], losses, names
