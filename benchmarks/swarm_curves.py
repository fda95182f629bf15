"""What a swarm's mixtures are ordered by before its runs have ended: rank against tokens trained.

    python benchmarks/swarm_curves.py runs/japanese

Proxies are evaluated four times on the way. A law is fitted to what they say when they are stopped on the way of their
schedule, to shorter runs with a schedule of their own, and to tables of which a part of the runs went to the end: stopped
ones are brought to the end by what the whole ones did between that point and theirs (`extended`), or the law of all at
that point by a line to the whole ones (`mixer.scales.lines`). Judged on other mixtures' losses at the whole budget.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from _run_folder import arguments
from _swarm_world import DESIGN, World, judged, words

from mixer import scales
from mixer.laws_share import EffectiveShareLaw

Array = np.ndarray
Predict = Callable[[Array], Array]

PLANS = (
    "16+0:1,12+0:1,10+0:1,8+0:1,7+0:1,6+0:1,5+0:1,0+16:.75,0+16:.5,0+12:.5,0+10:.75,0+8:.75,0+16:.25,8+8:.5,6+10:.5,4+12:.5,3+13:.5,"
    "8+8:.25,4+12:.25,4+8:.5,5+6:.5,6+4:.5,3+6:.5,4+4:.5,4+5:.75,2+14:.5,2+8:.5"
)


@dataclass(frozen=True)
class Plan:
    """How many runs go to the end, and how many are stopped at which evaluation."""

    whole: int
    stopped: int
    point: int


def law(weights: Array, losses: Array) -> Predict:
    """The law's predictions."""
    return EffectiveShareLaw().fit(weights, losses).predict


def extended(early: Array, before: Array | None, end: Array, whole: Array, ridge: float = 0.1) -> Array:
    """Losses at the end of runs that were stopped, from those that were not.

    Every metric's further fall is regressed on the loss at the stop and on the fall before it, both in spreads over the runs;
    the slopes are common to all metrics but for what a metric's own runs say against it.

    Args:
        early, before: (runs, metrics) at the stop, and at a point before it.
        end: (runs, metrics), of the runs in `whole` (runs,) alone.

    Returns:
        Losses at the end (runs, metrics).
    """
    unit = early.std(axis=0)
    parts = [early - early[whole].mean(axis=0)]
    if before is not None:
        fall = before - early
        parts.append((fall - fall[whole].mean(axis=0)) * unit / fall.std(axis=0))
    x = np.stack(parts, axis=-1) / unit[:, None]
    drop = (end - early) / unit
    middle = drop[whole].mean(axis=0)
    y, inside = drop[whole] - middle, x[whole]
    width = x.shape[-1]
    flat = inside.reshape(-1, width)
    common = np.linalg.solve(flat.T @ flat + ridge * len(y) * np.eye(width), flat.T @ y.reshape(-1))
    rest = y - inside @ common
    made = end.copy()
    for i in range(early.shape[1]):
        own = inside[:, i]
        slope = np.linalg.solve(own.T @ own + 0.5 * len(y) * np.eye(width), own.T @ rest[:, i])
        made[~whole, i] = early[~whole, i] + unit[i] * (middle[i] + x[~whole, i] @ (common + slope))
    return made


def ways(weights: Array, curve: Array, shorter: Array | None, order: Array, plan: Plan) -> dict[str, Predict]:
    """Way -> predictions from the first runs of `order`: `plan.whole` to the end, `plan.stopped` more up to a point."""
    few, n, point = plan.whole, plan.whole + plan.stopped, plan.point
    used = order[:n]
    mixes, whole = weights[used], np.arange(n) < few
    early, end = curve[point][used], np.where(whole[:, None], curve[-1][used], np.nan)
    if not plan.stopped:
        return {"whole": law(mixes, end)}
    if not few:
        made = {"stopped": law(mixes, early)}
        return made if shorter is None else {**made, "shorter": law(mixes, shorter[used])}
    before = curve[point - 1][used] if point else None
    made = {"extended": law(mixes, extended(early, before, end, whole))}
    if few >= scales.MIN_RUNS:
        base = law(mixes, early)
        line = scales.lines(base(mixes[whole]), end[whole], early.std(axis=0))
        made["law and line"] = lambda w: line.apply(base(w))
    return made


def main() -> int:
    made = words(__doc__)
    made.add_argument("--design", type=int, default=DESIGN)
    made.add_argument("--plans", default=PLANS, help="whole+stopped:part of the tokens of the stopped ones, ...")
    made.add_argument("--choices", type=int, default=6, help="random choices of the design's mixtures")
    made.add_argument("--shorter", type=float, default=0.5, help="budget of the shorter runs (0: none)")
    made.add_argument("--seed", type=int, default=1)
    args = arguments(made)
    world = World(args)
    design = world.design(args.seed)[: args.design]
    curve, _ = world.proxies(design, args.seed)
    judges = world.measured()
    at, shorter = args.shorter, None
    if at:
        tokens = round(at * args.proxy_tokens)
        shorter = world.proxies(design, args.seed, tokens, points=1)[0][-1]
        print(f"correlation with the whole runs' losses: shorter, {at:g}: {correlations(shorter, curve[-1])}")
    for point, losses in enumerate(curve[:-1], 1):
        print(f"stopped at {point / len(curve):g}: {correlations(losses, curve[-1])}")
    found: dict[tuple[float, str], list[list[float]]] = {}
    for word in args.plans.split(","):
        whole, stopped, part = re.fullmatch(r"(\d+)\+(\d+):([.\d]+)", word).groups()  # type: ignore[union-attr]
        plan = Plan(int(whole), int(stopped), round(float(part) * len(curve)) - 1)
        for choice in range(
            args.choices if int(whole) + int(stopped) < len(design) or int(whole) * int(stopped) else 1
        ):
            order = np.random.default_rng([choice, 3]).permutation(len(design))
            own = shorter if float(part) == at else None
            for name, predict in ways(design, curve, own, order, plan).items():
                spent = plan.whole + plan.stopped * float(part)
                key = spent, f"{plan.whole} whole, {plan.stopped} of {part}, {name}"
                figures = [cell for mixes, losses in judges.values() for cell in scored(predict(mixes), losses)]
                found.setdefault(key, []).append(figures)
    for (spent, name), rows in sorted(found.items(), reverse=True):
        mean = np.mean(rows, axis=0).reshape(-1, 5)
        cells = "   ".join(f"{a:.3f} {b:5.2f}%  {c:.3f} {d:5.2f}%  {e:.3f}" for a, b, c, d, e in mean)
        print(f"{name:<44}{spent:6.2f}  {cells}")
    return 0


def correlations(losses: Array, end: Array) -> str:
    """With the losses at the end, metric by metric."""
    return " ".join(f"{np.corrcoef(a, b)[0, 1]:.3f}" for a, b in zip(losses.T, end.T, strict=True))


def scored(guess: Array, truth: Array) -> list[float]:
    """Rank and regret as `judged`, and the error in standard deviations of the losses."""
    error = np.sqrt(((guess - truth) ** 2).mean(axis=0) / truth.var(axis=0))
    return [*judged(guess, truth), float(error.mean())]


if __name__ == "__main__":
    raise SystemExit(main())
