"""What a swarm of proxies is expected to leave of the way from token share (1) to the best mixture (0).

Three parts, each measured by `benchmarks/budget.py` in simulated worlds, docs/mixer.md says how well:

* **learning**: few runs do not tell a law, and the noise of each blurs it; falls with the number of runs a corpus;
* **the second round**, which spends half of the runs where the optimum lies;
* **transfer**: a small model, trained on few tokens, orders mixtures otherwise than the target, and no number of runs helps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

FLOOR, LAW, NOISY, FALL = 0.21, 0.58, 1.9, 1.3
"""Learning: FLOOR + (LAW + NOISY x noise^2) x (corpora / runs)^FALL, noise in standard deviations of the metric over mixtures;
the floor is the law's own error, which runs do not lower."""
SECOND = 0.07
"""The part of learning that a second round takes away."""
TRANSFER = 1.35
"""Regret of one part of variance that the target's order does not share."""


@dataclass(frozen=True, kw_only=True)
class Scale:
    """What is known of models of a size, trained on so many tokens."""

    noise: float = 0.06
    """Standard deviation of a run by its seed, over the metric's standard deviation over mixtures, at `tokens_a_parameter`."""
    tokens_a_parameter: float = 20.0
    noise_fall: float = 0.25
    """Power of the tokens a parameter by which noise falls."""
    size_gap: float = 0.0045
    size_power: float = 4.8
    """1 / rho^2 - 1 between two sizes is size_gap x log10(ratio)^size_power. Means of several losses: RegMix's 1M and 60M agree
    with rho .966, 1M and 1B with .73 (Olmix); 15M and 1B with more than .89."""
    token_gap: float = 0.05
    token_power: float = 2.0
    """The same for too few tokens a parameter, in powers of ten below `tokens_a_parameter`."""


def noise(scale: Scale, parameters: float, tokens: float) -> float:
    """Noise of one run, in standard deviations of the metric over mixtures."""
    return scale.noise * (scale.tokens_a_parameter * parameters / tokens) ** scale.noise_fall


def disagreement(scale: Scale, parameters: float, tokens: float, target: float) -> float:
    """1 / rho^2 - 1, where rho is the correlation of a proxy's losses, without noise, with those of the target's size."""
    apart = abs(math.log10(target / parameters))
    short = max(0.0, math.log10(scale.tokens_a_parameter * parameters / tokens))
    return scale.size_gap * apart**scale.size_power + scale.token_gap * short**scale.token_power


@dataclass(frozen=True, kw_only=True)
class Swarm:
    """A number of proxies, and how each is trained."""

    runs: int
    corpora: int
    rounds: int = 1
    noise: float = 0.0
    """Of one mixture's mean over its replicates."""
    disagreement: float = 0.0


def regret(swarm: Swarm, level: float = 1.0) -> float:
    """Expected regret: 0 the best mixture, 1 token share.

    Args:
        level: what a pilot's learning was, over what this says of it.
    """
    each = swarm.runs / swarm.corpora
    learning = level * (FLOOR + (LAW + NOISY * swarm.noise**2) * each**-FALL)
    if swarm.rounds == 2:
        learning *= 1.0 - SECOND
    return learning + TRANSFER * swarm.disagreement


def level(measured: float, swarm: Swarm) -> float:
    """`level` that lets `regret` say what a pilot of the target's own size was expected to leave."""
    said = regret(replace(swarm, disagreement=0.0))
    return min(10.0, max(0.1, measured / said)) if said > 0 else 1.0
