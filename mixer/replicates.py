"""Runs trained several times: what the noise of one run is, and how they enter a fit.

A run called `p003@2` is the run p003 trained again with another seed (`launch.proxies --replicates`). In a fit the
replicates of a mixture are one run, their mean. Their spread is the noise that no law can predict.

Where the same seeds were used for several mixtures (common random numbers), a seed's effect on all mixtures alike is
taken off: y = mixture + seed + rest, and the rest is what blurs comparisons between mixtures of one seed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mixer.arrays import Array, Numbers

MIN_FREE = 4
"""Fewer degrees of freedom than this say too little of a variance to be relied on: they are shown only."""

_NAME = re.compile(r"(.+)@([1-9]\d*)")


def split(name: str) -> tuple[str, int]:
    """`p003@2` -> ("p003", 2), `p003` -> ("p003", 1)."""
    match = _NAME.fullmatch(name)
    return (match[1], int(match[2])) if match else (name, 1)


@dataclass(frozen=True, kw_only=True)
class Noise:
    """Standard deviations of one run by its seed; arrays are (metrics,)."""

    sd: Array
    """Between trainings of one mixture, whatever the seed."""
    free: int
    """Degrees of freedom behind `sd`."""
    sd_between: Array | None
    """What blurs a comparison of mixtures trained with the same seed; None where no seed was used for two replicated
    mixtures."""
    free_between: int
    mixtures: int
    """How many mixtures were trained more than once."""

    @property
    def known(self) -> Array | None:
        """The noise for comparing mixtures, where enough is known of it; None otherwise."""
        if self.sd_between is not None and self.free_between >= MIN_FREE:
            return self.sd_between
        return self.sd if self.sd_between is None and self.free >= MIN_FREE else None

    def as_dict(self, metrics: Sequence[str]) -> dict[str, Any]:
        """For noise.json."""

        def table(values: Array) -> dict[str, float]:
            return {name: float(f"{value:.4g}") for name, value in zip(metrics, values, strict=True)}

        made: dict[str, Any] = {
            "mixtures": self.mixtures,
            "degrees_of_freedom": self.free,
            "sd": table(self.sd),
        }
        if self.sd_between is not None:
            made |= {
                "degrees_of_freedom_common_seed": self.free_between,
                "sd_common_seed": table(self.sd_between),
            }
        return made


def noise(names: Sequence[str], seeds: Sequence[str], values: Array) -> Noise | None:
    """The noise that replicates show; None without replicates.

    Args:
        names: (runs,) with their `@2`.
        seeds: (runs,) the seed of each; empty words where unknown.
        values: (runs, metrics).
    """
    bases = [split(name)[0] for name in names]
    keep = [i for i, base in enumerate(bases) if bases.count(base) > 1]
    if not keep or values.shape[1] == 0:
        return None
    y = values[keep]
    group: Numbers = np.unique([bases[i] for i in keep], return_inverse=True)[1]
    mixtures = int(group.max()) + 1
    free = len(y) - mixtures
    rest = y - means(y, group)[group]
    own = [seeds[i] for i in keep]
    between, free_between = None, 0
    if all(own):
        seed: Numbers = np.unique(own, return_inverse=True)[1]
        design = np.c_[np.eye(mixtures)[group], np.eye(int(seed.max()) + 1)[seed]]
        fitted, _, rank, _ = np.linalg.lstsq(design, y, rcond=None)
        # a seed that one mixture alone was trained with takes its run out of the comparison
        if rank < len(y):
            free_between = len(y) - int(rank)
            between = np.sqrt(((y - design @ fitted) ** 2).sum(0) / free_between)
    return Noise(
        sd=np.sqrt((rest**2).sum(0) / free),
        free=free,
        sd_between=between,
        free_between=free_between,
        mixtures=mixtures,
    )


def means(y: Array, group: Numbers) -> Array:
    """Means of the rows (n, metrics) of each group, (groups, metrics); `group` (n,) numbers them from 0."""
    times = np.bincount(group)
    return np.stack([np.bincount(group, weights=column) / times for column in y.T], axis=1)


def spread(names: Sequence[str], values: Array, metrics: Sequence[str]) -> dict[str, float]:
    """Standard deviation of each metric over mixtures (means of their replicates): what the noise is to be seen beside."""
    group: Numbers = np.unique([split(name)[0] for name in names], return_inverse=True)[1]
    deviation = means(values, group).std(axis=0) if len(values) else np.zeros(len(metrics))
    return {name: float(f"{value:.4g}") for name, value in zip(metrics, deviation, strict=True)}


def counts(repeats: Array, known: Array, residual: Array) -> Array:
    """How much each run tells, (runs,), 1 for one trained once.

    A run's squared distance from the law is the law's own error plus the noise over its trainings; only the latter
    shrinks with more of them.

    Args:
        repeats: (runs,) trainings behind each run.
        known: (metrics,) standard deviation of the noise of one training.
        residual: (metrics,) standard deviation of the runs around the law.
    """
    mean = float((1.0 / repeats).mean())
    law = np.maximum(residual**2 - known**2 * mean, 0.0)
    single = np.maximum(law + known**2, 1e-300)
    each = single[None, :] / np.maximum(law[None, :] + known[None, :] ** 2 / repeats[:, None], 1e-300)
    return np.asarray(np.median(each, axis=1))
