"""What counting says before anything is trained: losses of n-gram models of many mixtures, as a help to the law.

An n-gram model of a mixture is the weighted sum of its corpora's counts, so `launch.screen` knows its loss on any mixture
in a millisecond. Its losses are not those of a neural model, but they order mixtures nearly as trained proxies do. Each
metric gets a line from the one to the other (`mixer.scales.lines`), fitted to the proxies, whose mixtures are in the
screen too. The screened mixtures then join the fit of the law with that line's losses; all of them together count as
two runs at most, so that with few proxies they say what shape the law has, and with many nothing any more.
The weight was chosen by predictions of other mixtures (docs/mixer.md).
"""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from haigo.cli import HaigoError
from mixer import scales
from mixer.arrays import Array, Flags
from mixer.report_card import rank_correlation

COUNT = 2.0
"""What all screened mixtures together count, in runs."""


@dataclass(frozen=True, kw_only=True)
class Screen:
    """n-gram losses; arrays over metrics are in the order of the proxies' table, NaN where a metric was not screened."""

    weights: Array
    """(mixtures, corpora)."""
    losses: Array
    """(mixtures, metrics)."""
    at_runs: Array
    """(runs, metrics), of the proxies' own mixtures; NaN for a run whose mixture was not screened."""

    def signed(self, sign: Array) -> Screen:
        """The same with metrics that are better when higher turned round, sign (metrics,) being -1 for those."""
        return replace(self, losses=self.losses * sign, at_runs=self.at_runs * sign)

    def anchors(self, measured: Array, keep: Array | None = None) -> tuple[Array, Array]:
        """The screened mixtures as the proxies' losses would be there.

        Args:
            measured: (runs, metrics) of the proxies, lower is better.
            keep: (runs,) true for those to use; all when None.

        Returns:
            Losses (mixtures, metrics) and counts (mixtures, metrics): 0 for a metric that was not screened, and less the
            less the proxies follow the screen. All 0 with fewer than 3 proxies, or when those contradict it.
        """
        used: Flags = np.ones(len(measured), dtype=bool) if keep is None else np.asarray(keep, dtype=bool)
        made = np.tile(measured[used].mean(axis=0), (len(self.weights), 1))
        counts, there = np.zeros_like(made), self._there
        used = used & there
        known = np.isfinite(self.losses).all(axis=0) & np.isfinite(self.at_runs[there]).all(axis=0)
        known &= (self.at_runs[used].std(axis=0) > 0) & (measured[used].std(axis=0) > 0)
        if used.sum() < scales.MIN_RUNS or not known.any():
            return made, counts
        small, large = self.at_runs[used][:, known], measured[used][:, known]
        try:
            line = scales.lines(small, large, self.losses[:, known].std(axis=0))
        except HaigoError:  # the other way round: nothing to learn from it
            return made, counts
        made[:, known] = line.apply(self.losses[:, known])
        agree = [np.corrcoef(a, b)[0, 1] for a, b in zip(small.T, large.T, strict=True)]
        counts[:, known] = COUNT / len(made) * np.maximum(agree, 0.0) ** 2
        return made, counts

    @property
    def _there(self) -> Flags:
        """(runs,) whose mixtures were screened."""
        return np.asarray(np.isfinite(self.at_runs).any(axis=1))

    def agreement(self, measured: Array) -> Array:
        """Rank correlation of the screen with the proxies, (metrics,); NaN where a metric was not screened."""
        pairs = zip(self.at_runs[self._there].T, measured[self._there].T, strict=True)
        return np.array([rank_correlation(a, b) if np.isfinite(a).all() else np.nan for a, b in pairs])

    def note(self, measured: Array, names: Sequence[str]) -> str:
        """How well it agrees with the proxies, in words."""
        agree = self.agreement(measured)
        known = np.isfinite(agree)
        told = ", ".join(f"{name} {value:.2f}" for name, value in zip(names, agree, strict=True) if np.isfinite(value))
        rest = f"; {int((~known).sum())} metric(s) were not screened" if not known.all() else ""
        return f"Screen of {len(self.weights)} n-gram mixtures; its rank correlation with the proxies: {told}{rest}."


def read(
    folder: str | os.PathLike[str],
    runs: Sequence[str],
    weights: Array,
    corpora: Sequence[str],
    metrics: Sequence[str],
    held_out: Array | None = None,
    spared: Collection[str] = (),
) -> Screen:
    """Read what `launch.screen` wrote, for the proxies of a table.

    Args:
        runs, weights: names and mixtures (runs, corpora) of the proxies.
        metrics: the metrics of their table.
        held_out: mixtures (n, corpora) of runs that only judge the fit: the screen does not speak of them.
        spared: runs whose mixture the screen may lack.

    Raises:
        HaigoError: the tables are missing or malformed, have other corpora, share no metric with the proxies, or lack the
            mixture of a proxy.
    """
    from mixer import proxies

    ratios, table = Path(folder) / "ratios.csv", Path(folder) / "metrics.csv"
    known = proxies.read(str(ratios), str(table))
    if list(known.corpora) != list(corpora):
        if set(known.corpora) != set(corpora):
            raise HaigoError(f"{ratios} has other corpora than the proxies.", "run launch.screen with their ratios.csv")
        order = [list(known.corpora).index(name) for name in corpora]
        screened = known.weights[:, order]
    else:
        screened = known.weights
    shared = [name for name in metrics if name in known.metrics]
    if not shared:
        raise HaigoError(
            f"{table} and the proxies have no metric in common.", "screen the same validation sets and pairs files"
        )
    losses = np.full((len(screened), len(metrics)), np.nan)
    for j, name in enumerate(metrics):
        if name in known.metrics:
            losses[:, j] = known.losses[:, list(known.metrics).index(name)]
    distance = 0.5 * np.abs(weights[:, None, :] - screened[None]).sum(axis=2)
    nearest = distance.argmin(axis=1)
    far = distance.min(axis=1) > proxies.SAME_MIXTURE
    for run, away in zip(runs, far, strict=True):
        if away and run not in spared:
            raise HaigoError(
                f"{ratios} does not have the mixture of the run {run}.",
                "run launch.screen with the proxies' ratios.csv",
            )
    rest = np.setdiff1d(np.arange(len(screened)), nearest[~far])
    if held_out is not None:
        apart = 0.5 * np.abs(screened[rest][:, None, :] - held_out[None]).sum(axis=2).min(axis=1)
        rest = rest[apart > proxies.SAME_MIXTURE]
    if not len(rest):
        raise HaigoError(f"{ratios} has the proxies' mixtures only.", "run launch.screen with --mixtures 64")
    at_runs = np.where(far[:, None], np.nan, losses[nearest])
    return Screen(weights=screened[rest], losses=losses[rest], at_runs=at_runs)
