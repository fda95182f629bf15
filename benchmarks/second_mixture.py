"""A second mixture for the end of a run (`mixer.search --phases`), in worlds whose truth is known.

    python benchmarks/second_mixture.py [--worlds 30]

Each world has four corpora, two of them scarce, and 48 runs whose last fifth had a mixture of its own. In half of the worlds
the last fifth counts for its share (nothing should be offered), in the other half for three times as much. Printed: how
often something is offered, what it is truly worth against the best single mixture, and how often the 90 % interval holds it.
"""

from __future__ import annotations

import argparse

import numpy as np
from scipy.optimize import minimize

from haigo.formats.tables import Ratios
from mixer import phased
from mixer.supply import Constraints

SHARE, RUNS, NOISE = 0.2, 48, 0.004
CAPS = np.array([0.05, 0.1, 1.0, 1.0])


def world(seed: int, late: float) -> tuple[phased.Offer, float]:
    """What is offered, and what it is truly worth (0 where nothing is)."""
    random = np.random.default_rng(seed)
    one, two = (random.dirichlet(np.ones(4), RUNS) for _ in range(2))
    same = random.random(RUNS) < 0.25
    two[same] = one[same]
    helps = random.uniform(0.05, 0.4, (2, 4))
    clean = 2 + 0.3 * (((1 - late) * one + late * two) @ helps.T + 0.02) ** -0.3
    losses = clean + NOISE * random.normal(size=clean.shape)
    scale = losses.std(axis=0)
    limits = Constraints(corpora=list("abcd"), supply=CAPS * 1e9, target_tokens=1e9, max_epochs=1).limits()
    mean = (1 - SHARE) * one + SHARE * two
    known = Ratios(runs=[f"r{n}" for n in range(RUNS)], corpora=list("abcd"), written=mean, weights=mean, scaled=[],
                   first=one, second=two, share=SHARE)  # fmt: skip
    made = phased.offer(known, losses, 1 / scale, limits, seed)

    def truth(mixture: np.ndarray) -> float:
        return float(((2 + 0.3 * (helps @ mixture + 0.02) ** -0.3) / scale).sum())

    if made.first is None or made.second is None:
        return made, 0.0
    summed = {"type": "eq", "fun": lambda x: x.sum() - 1}
    best = minimize(
        truth, [0.02, 0.08, 0.4, 0.5], bounds=[(0, cap) for cap in CAPS], constraints=[summed], method="SLSQP"
    )
    return made, float(best.fun) - truth((1 - late) * made.first + late * made.second)


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--worlds", type=int, default=30)
    worlds = options.parse_args().worlds
    for late in (SHARE, 3 * SHARE):
        found = [world(seed, late) for seed in range(worlds)]
        offered = [(made, true) for made, true in found if made.worth is not None]
        held = sum(
            made.worth["interval"][0] <= true <= made.worth["interval"][1] for made, true in offered if made.worth
        )
        true = np.array([true for _, true in offered] or [0.0])
        print(
            f"the last {SHARE:.0%} counts for {late:.0%}: offered in {len(offered)} of {worlds} worlds; truly worth "
            f"{np.median(true):.2f} standard deviations (least {true.min():.2f}); interval right in {held} of {len(offered)}"
        )


if __name__ == "__main__":
    main()
