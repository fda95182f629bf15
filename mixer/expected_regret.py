"""What a swarm of proxies is expected to leave of the way from token share (1) to the best mixture (0).

Three parts, each measured by `benchmarks/budget.py` in simulated worlds, docs/mixer.md says how well:

* **learning**: few runs do not tell a law, and the noise of each blurs it; falls with the number of runs a corpus;
* **the second round**, which spends half of the runs where the optimum lies;
* **transfer**: a small model, trained on few tokens, orders mixtures otherwise than the target, and no number of runs helps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

FLOOR, LAW, NOISY, FALL = 0.17, 0.39, 1.3, 1.67
"""Learning: FLOOR + (LAW + NOISY x noise^2) x (max(corpora, MANY) / runs)^FALL, noise in standard deviations of the metric over
mixtures; the floor is the law's own error, which runs do not lower."""
MANY = 9
"""With 5 corpora as many runs were needed as with 9; beyond, they are taken to grow with the corpora."""
SECOND = -0.05, 0.1
"""The part of learning that a second round takes away with up to MANY corpora, and with more: the first in these worlds (its
error is .08), the second with 64 proxies in those of RegMix's 17 corpora."""
TRANSFER, BEND, NARROW = 0.45, 0.84, 1.7
"""Transfer: TRANSFER x (1 / rho^2 - 1)^BEND x (MANY / corpora)^NARROW, the last below MANY corpora: the gain over token
share, which is the unit, is smaller there."""


@dataclass(frozen=True, kw_only=True)
class Scale:
    """What is known of models of a size, trained on so many tokens.

    Measured by `benchmarks/swarm_noise.py` on 64,000 to 1,200,000 parameters and 39,000 to 300,000 tokens, with RegMix's runs
    (1M and 60M parameters, 10^9 tokens) and Olmix's figures at the other end.
    """

    noise: float = 0.13
    """Standard deviation of a run by its seed, over the metric's standard deviation over mixtures, at `tokens_a_parameter`."""
    tokens_a_parameter: float = 20.0
    noise_fall: float = 0.07
    """Power of the tokens a parameter by which noise falls."""
    size_gap: float = 0.0035
    size_power: float = 5.0
    """1 / rho^2 - 1 between two sizes is size_gap x log10(ratio)^size_power. Means of several losses: RegMix's 1M and 60M agree
    with rho .966, 1M and 1B with .73 (Olmix); 15M and 1B with more than .89."""
    early: float = 2.8
    """Root of 1 / rho^2 - 1 between a model whose parameters times tokens are 10^9 and one that is trained for long."""
    early_fall: float = 0.2
    """Power of parameters times tokens by which that falls: what a model learns first follows the computation spent."""
    least: float = 0.04
    """Tokens a parameter: with fewer, nothing was measured, and a larger model counts as one that has so many."""


def noise(scale: Scale, parameters: float, tokens: float) -> float:
    """Noise of one run, in standard deviations of the metric over mixtures."""
    return scale.noise * (scale.tokens_a_parameter * parameters / tokens) ** scale.noise_fall


def early(scale: Scale, parameters: float, tokens: float) -> float:
    """How far a model's order of mixtures is from that of one trained for long, as the root of 1 / rho^2 - 1."""
    return scale.early * (min(parameters, tokens / scale.least) * tokens / 1e9) ** -scale.early_fall


def disagreement(
    scale: Scale, parameters: float, tokens: float, target: float, target_tokens: float | None = None
) -> float:
    """1 / rho^2 - 1, where rho is the correlation of a proxy's losses, without noise, with those of the target.

    Args:
        target: parameters of the target.
        target_tokens: `tokens_a_parameter` each when None.
    """
    apart = abs(math.log10(target / parameters))
    late = early(scale, target, target_tokens or scale.tokens_a_parameter * target)
    return scale.size_gap * apart**scale.size_power + (early(scale, parameters, tokens) - late) ** 2


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
    learning = level * (FLOOR + (LAW + NOISY * swarm.noise**2) * (max(swarm.corpora, MANY) / swarm.runs) ** FALL)
    if swarm.rounds == 2:
        learning *= 1.0 - SECOND[swarm.corpora > MANY]
    return learning + TRANSFER * swarm.disagreement**BEND * (MANY / min(swarm.corpora, MANY)) ** NARROW


def level(measured: float, swarm: Swarm) -> float:
    """`level` that lets `regret` say what a pilot of the target's own size was expected to leave."""
    said = regret(replace(swarm, disagreement=0.0))
    return min(10.0, max(0.1, measured / said)) if said > 0 else 1.0
