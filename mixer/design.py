"""Which proxy mixtures to train: spread over everything the limits allow, every corpus above a floor, seeded.

    python -m mixer.design --supply supply.csv --runs 32 --seed 0 --output ratios.csv
    python -m mixer.design --supply supply.csv --runs 24 --held-out 6 --target-tokens 20e9 --floor 0.02 --output ratios.csv
    python -m mixer.design --corpora news,wiki,code --runs 16 --output ratios.csv
    python -m mixer.design --supply supply.csv --runs 16 --history ratios.csv --history-metrics metrics.csv \\
        --objective news_bpb --output more.csv       (a second batch, around the optimum that the first one says)

supply.csv: corpus, and any of tokens, min, max, max_epochs, group. The first two runs are token share and uniform
where the limits allow them. Runs to fit are named p000, p001, ...; held-out runs, which only judge the fit, h000, ...
A corpus of weight 0 makes its own loss wildly noisy, so every corpus gets --floor (0.01) unless its limits say less.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from haigo import cli, files, flags, naming
from haigo.cli import HaigoError
from haigo.formats import csvfile
from mixer.arrays import Array, as_matrix
from mixer.limits import Limits, project_box
from mixer.mixture import DIGITS, rounded
from mixer.options import FLOOR, DesignOptions
from mixer.supply import Constraints, constraints_from, read_supply

if TYPE_CHECKING:
    import pandas as pd

# Dirichlet strengths around the reference: small ones give mixtures of a few corpora, large ones stay near it.
_STRENGTHS = (0.3, 1.0, 3.0, 10.0)
_POOL = 24  # candidates a run; more would push the choice into the corners of the simplex
# Among many corpora the corners are far from everything, greedy spreading would train little else, and mixtures of two
# or three corpora teach little about good ones: fewer and denser candidates (measured with 17 corpora: docs/mixer.md).
_MANY = 9
_DENSE_STRENGTHS, _DENSE_POOL = (1.0, 2.0, 4.0, 8.0), 4
_NEAR = 3.0
"""Dirichlet strength of a later batch around the optimum of the runs so far."""


_APART = 0.005
"""Total variation at which two mixtures are different runs."""


def candidates(
    constraints: Constraints, n: int, rng: np.random.Generator, strengths: Sequence[float] = _STRENGTHS
) -> Array:
    """`n` random mixtures within the limits, (n, corpora).

    Dirichlet draws of several strengths, around the reference and around uniform, brought inside the limits.
    """
    limits = constraints.limits()
    limits.check()
    k = len(constraints.corpora)
    uniform = np.full(k, 1.0 / k)
    centre = 0.5 * (constraints.reference + uniform)
    made = np.empty((n, k))
    for i, (around, strength) in enumerate((a, s) for s in strengths for a in (centre, uniform)):
        part = made[i :: 2 * len(strengths)]
        part[:] = rng.dirichlet(np.maximum(around * k * strength * 0.5, 0.02), size=len(part))
    return inside(made, limits, rng)


def inside(made: Array, limits: Limits, rng: np.random.Generator) -> Array:
    """Draws (n, corpora) brought within the limits."""
    n, k = made.shape
    made = project_box(np.nan_to_num(made, nan=1.0 / k), limits.lower, limits.upper)
    if not len(limits.rows):
        return made
    # groups: along the line to a mixture inside until they hold; where that line is too short (a group whose sum is
    # fixed has no inside) a random mean of the corners instead
    corners = limits.corners()
    inner = corners.mean(axis=0)
    along = (made - inner) @ limits.rows.T
    with np.errstate(divide="ignore", invalid="ignore"):
        reach = np.where(along > 1e-12, (limits.bounds - limits.rows @ inner) / along, np.inf).min(1)
    moved = inner + np.clip(reach, 0.0, 1.0)[:, None] * (made - inner)
    mixed = rng.dirichlet(np.full(len(corners), 0.3), size=n) @ corners
    return np.where((reach < 0.2)[:, None], mixed, moved)


def propose(
    constraints: Constraints,
    n: int,
    seed: int = 0,
    history: Any = None,
    floor: float = 0.0,
    objective: Any = None,
) -> Array:
    """Mixtures to train next, (n, corpora).

    Without losses they are spread: far from each other and from those already trained. With losses they are spent
    where the regret is decided: random mixtures around the optimum of the runs so far.

    Args:
        history: what was trained: weights (runs, corpora), or a pair (weights, losses (runs,) or (runs, metrics)), lower
            is better. Without it the first two are the reference (token share) and uniform, where the limits allow.
        floor: smallest weight of any corpus.
        objective: (metrics,) how much each loss counts; all alike, each divided by its spread, when None.

    Raises:
        HaigoError: the limits cannot hold together; names them.
    """
    if n < 1:
        raise HaigoError(f"{n} runs are no design.", "give --runs 16 or more", option="runs")
    limited = constraints.with_floor(floor) if floor > 0 else constraints
    limits = limited.limits()
    limits.check()
    rng = np.random.default_rng(seed)
    weights, losses = history if isinstance(history, tuple) else (history, None)
    old = np.empty((0, len(constraints.corpora))) if weights is None else as_matrix(weights, "history")
    if losses is not None:
        chosen = _near_optimum(limited, old, as_matrix(losses, "losses"), objective, n, rng)
    else:
        chosen = _spread(limited, old, n, rng, history is None)
    return np.array([rounded(c, DIGITS, limits.lower, limits.upper) for c in chosen])


def _spread(constraints: Constraints, old: Array, n: int, rng: np.random.Generator, first: bool) -> list[Array]:
    """Greedily the candidate farthest (between square roots) from all that were taken or trained."""
    limits, k = constraints.limits(), len(constraints.corpora)
    chosen: list[Array] = []
    for known in (constraints.reference, np.full(k, 1.0 / k)) if first else ():
        near = limits.project(known)
        # what a limit moves far away is not that mixture any more
        if len(chosen) < n and np.abs(near - known).sum() < 0.2 and all(np.abs(near - c).sum() > 1e-6 for c in chosen):
            chosen.append(near)
    strengths, size = (_DENSE_STRENGTHS, _DENSE_POOL) if k >= _MANY else (_STRENGTHS, _POOL)
    pool = candidates(constraints, max(size * n, 64), rng, strengths)
    root = np.sqrt(pool)
    gap = np.full(len(pool), np.inf)
    for point in np.sqrt(np.vstack([old, *[c[None] for c in chosen]])):
        gap = np.minimum(gap, ((root - point) ** 2).sum(1))
    while len(chosen) < n:
        best = int(gap.argmax())
        chosen.append(pool[best])
        gap = np.minimum(gap, ((root - root[best]) ** 2).sum(1))
        gap[best] = -1.0
    return chosen


def _near_optimum(
    constraints: Constraints, old: Array, losses: Array, objective: Any, n: int, rng: np.random.Generator
) -> list[Array]:
    """Dirichlet draws around the optimum that the runs so far say."""
    from mixer.focus import optimum

    spread = np.maximum(losses.std(axis=0), 1e-300)
    coefficients = 1.0 / spread if objective is None else np.asarray(objective, dtype=np.float64)
    if coefficients.shape != (losses.shape[1],):
        raise HaigoError(f"{coefficients.size} coefficients for {losses.shape[1]} losses.", "give one a loss")
    best = optimum(constraints, old, losses, coefficients)
    draws = rng.dirichlet(np.maximum(best * len(best) * _NEAR, 0.02), size=n)
    return list(inside(draws, constraints.limits(), rng))


def design(
    constraints: Constraints,
    n: int,
    seed: int = 0,
    floor: float = FLOOR,
    held_out: int = 0,
    history: Any = None,
    objective: Any = None,
) -> pd.DataFrame:
    """The table of proxy mixtures: column `run`, then one column a corpus; rows sum to 1 as printed.

    Args:
        n: runs to fit, named p000, p001, ... (numbered on from `history`).
        floor: smallest weight of any corpus, where its cap allows it.
        held_out: further runs, drawn at random and named h000, ..., that only judge the fit.
        history, objective: as in `propose`.
    """
    import pandas as pd

    if len(constraints.corpora) < 2:
        raise HaigoError("a mixture needs two corpora or more.", "name another corpus")
    if held_out < 0:
        raise HaigoError(f"{held_out} held-out runs are not possible.", "give 0 or more")
    if not 0 <= floor < 1:
        raise HaigoError(f"a floor of {floor} is not possible.", "give a small weight such as 0.01")
    made = propose(constraints, n, seed, history, floor, objective)
    first = 0 if history is None else len(history[0] if isinstance(history, tuple) else history)
    names = [f"p{i:03d}" for i in range(first, first + n)]
    if held_out > 0:
        limited = constraints.with_floor(floor) if floor > 0 else constraints
        limits = limited.limits()
        # more than are wanted: where floors cut much away, draws fall together, and a copy of a fitted run judges nothing
        for row in candidates(limited, 20 * held_out, np.random.default_rng([seed, 1])):
            made_row = rounded(row, DIGITS, limits.lower, limits.upper)
            if len(made) < n + held_out and np.abs(made - made_row).sum(1).min() > 2 * _APART:
                made = np.vstack([made, made_row])
        if len(made) < n + held_out:
            raise HaigoError(
                f"the limits leave room for {len(made) - n} held-out mixtures that differ from the others, not {held_out}.",
                "ask for fewer, or widen the limits",
            )
        names += [f"h{i:03d}" for i in range(held_out)]
    table = pd.DataFrame(made, columns=list(constraints.corpora))
    table.insert(0, "run", names)
    return table


def write_ratios(path: str, table: pd.DataFrame) -> None:
    """Write ratios.csv atomically; every number with as few digits as it has."""
    header = [str(column) for column in table.columns]
    cells = [
        [f"{value:.{DIGITS}f}".rstrip("0").rstrip(".") for value in row[1:]]
        for row in table.itertuples(index=False, name=None)
    ]
    rows = {str(run): dict(zip(header[1:], row, strict=True)) for run, row in zip(table["run"], cells, strict=True)}
    csvfile.write_rows(Path(path), header, rows)


def _trained(options: DesignOptions) -> tuple[list[str], Any, Any]:
    """Corpora, history and objective as `propose` takes them, from the files named on the command line."""
    from mixer import objective as objectives
    from mixer import outliers
    from mixer.laws_share import EffectiveShareLaw
    from mixer.proxies import read, read_ratios

    if not options.history_metrics:
        _, columns, weights, _ = read_ratios(options.history or "")
        return columns, weights, None
    goal = objectives.parse(options.objective, {}, options.maximise)
    table = read(options.history or "", options.history_metrics, list(goal.weights))
    goal = goal.resolve(table.metrics, options.history_metrics)
    sign = goal.signs(table.metrics)
    examined = outliers.examine(EffectiveShareLaw(), table.weights, table.losses * sign)
    for note in outliers.notes(examined, table.runs, table.metrics, sign, options.history_metrics):
        print(note, file=sys.stderr)
    losses = examined.losses
    return table.corpora, (table.weights, losses), goal.coefficients(table.metrics, losses.std(axis=0))


def main(argv: Sequence[str] | None = None) -> int | None:
    options = flags.parse("mixer.design", __doc__, DesignOptions, argv)
    cli.keeps_nothing()
    files.check_output(options.output, [options.supply, options.history, options.history_metrics])
    named = [name.strip() for name in options.corpora.split(",") if name.strip()] if options.corpora else None
    history = objective = None
    columns: list[str] = []
    together = bool(options.history_metrics), bool(options.objective)
    if together in ((True, False), (False, True)) or (options.history_metrics and not options.history):
        raise HaigoError("--history-metrics, --history and --objective belong together.", "give all three or none")
    if options.maximise and not options.objective:
        raise HaigoError("--maximise belongs to --objective.", "add --objective", option="maximise")
    if options.history:
        columns, history, objective = _trained(options)
        named = named or columns
    if options.supply is None and named is None:
        raise HaigoError("neither --supply nor --corpora is given.", "name the corpora")
    constraints = constraints_from(read_supply(options.supply) if options.supply else None, named, options)
    if history is not None and columns != list(constraints.corpora):
        raise HaigoError(f"{options.history} has other corpora.", "use the same corpora in the same order")
    if not options.history:  # names that a table has already may be somebody else's
        naming.check_all(constraints.corpora, "corpus", options.supply or "--corpora")
    table = design(constraints, options.runs, options.seed, options.floor, options.held_out, history, objective)
    write_ratios(options.output, table)
    if options.json:
        print(json.dumps({"output": options.output, "runs": list(table["run"]), "corpora": list(constraints.corpora)}))
        return cli.OK
    low, high = table.iloc[:, 1:].min(), table.iloc[:, 1:].max()
    print(f"{len(table)} proxy mixtures of {len(constraints.corpora)} corpora in {options.output}")
    for name in constraints.corpora:
        print(f"  {name:<24} {low[name]:.3f} to {high[name]:.3f}")
    return cli.OK


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
