"""Every way to split a budget between the number of proxies, their size, tokens, replicates and rounds."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mixer import expected_regret
from mixer.expected_regret import Scale, Swarm
from mixer.options import enough_for_two
from mixer.rates import Rate
from mixer.replicates import MIN_FREE

RUNS = (8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
LEAST_TOKENS, MOST_A_PARAMETER = 10_000, 100.0
"""Shorter runs learn next to nothing; longer ones nothing more about mixtures that was measured."""
TWICE = MIN_FREE + 1
"""Rows trained twice tell the noise of a run (common seeds: one degree of freedom less than rows)."""
_TWICE_FROM = 48
TELLS = 0.9
"""A rank correlation that still chooses mixtures."""


@dataclass(frozen=True, kw_only=True)
class Split:
    """One way to spend the budget."""

    model: str
    parameters: float
    runs: int
    rounds: int
    replicates: int
    """How often every row is trained."""
    twice: int
    """How many rows are trained twice only to know the noise."""
    held_out: int
    tokens: int
    """Of each training."""
    hours: float
    noise: float
    """Of one training, over the metric's standard deviation over mixtures."""
    rank: float
    """Correlation of the proxies' losses, without noise, with the target's."""
    regret: float


@dataclass(frozen=True, kw_only=True)
class Aim:
    """What the proxies are for, and what is known of them.

    Attributes:
        corpora: how many.
        size: parameters of the target; None: as large as the proxies.
        tokens: of the target; no proxy gets more.
        level: see `expected_regret.regret`.
        noise_known: a pilot said it.
    """

    corpora: int
    size: float | None = None
    tokens: float | None = None
    held_out: int = 0
    scale: Scale = Scale()
    level: float = 1.0
    noise_known: bool = False


def splits(given: Sequence[Rate], hours: float, aim: Aim) -> list[Split]:
    """Every way to spend `hours`, best first."""
    made = [split for rate in given for split in _of_size(rate, hours, aim)]
    return sorted(made, key=lambda split: split.regret)


def _of_size(rate: Rate, hours: float, aim: Aim) -> Iterator[Split]:
    most = min(MOST_A_PARAMETER * rate.parameters, aim.tokens or math.inf)
    for runs in RUNS:
        for replicates in (1, 2):
            twice = TWICE if replicates == 1 and runs >= _TWICE_FROM and not aim.noise_known else 0
            trained = runs * replicates + twice + aim.held_out
            tokens = _rounded(min(most, hours * 3600 * rate.tokens_per_s / trained))
            if tokens < LEAST_TOKENS:
                continue
            noise = expected_regret.noise(aim.scale, rate.parameters, tokens)
            size = aim.size or rate.parameters
            other = expected_regret.disagreement(aim.scale, rate.parameters, tokens, size, aim.tokens)
            for rounds in (1, 2) if enough_for_two(runs, aim.corpora) else (1,):
                swarm = Swarm(
                    runs=runs,
                    corpora=aim.corpora,
                    rounds=rounds,
                    noise=noise / math.sqrt(replicates),
                    disagreement=other,
                )
                yield Split(
                    model=rate.model,
                    parameters=rate.parameters,
                    runs=runs,
                    rounds=rounds,
                    replicates=replicates,
                    twice=twice,
                    held_out=aim.held_out,
                    tokens=tokens,
                    hours=trained * tokens / rate.tokens_per_s / 3600,
                    noise=noise,
                    rank=1.0 / math.sqrt(1.0 + other),
                    regret=expected_regret.regret(swarm, aim.level),
                )


def _rounded(tokens: float) -> int:
    """Down to two figures."""
    step = 10 ** max(0, math.floor(math.log10(max(tokens, 1.0))) - 1)
    return int(tokens // step * step)


def needed(aim: Aim, rank: float = TELLS) -> float | None:
    """Parameters from which a proxy, trained on enough tokens, orders mixtures as the target does but for 1 - `rank`; None
    without a target."""
    if aim.size is None:
        return None
    sizes = aim.size / np.logspace(0, 6, 601)
    enough = [
        size
        for size in sizes.tolist()
        if expected_regret.disagreement(aim.scale, size, 1e3 * size, aim.size, aim.tokens) <= rank**-2 - 1
    ]
    return min(enough)
