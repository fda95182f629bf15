"""Which proxy mixtures to train: spread over everything the limits allow, every corpus above a floor, seeded.

    python -m mixer.design --supply supply.csv --runs 32 --seed 0 --output ratios.csv
    python -m mixer.design --supply supply.csv --runs 24 --held-out 6 --target-tokens 20e9 --floor 0.02 --output ratios.csv
    python -m mixer.design --corpora news,wiki,code --runs 16 --output ratios.csv
    python -m mixer.design --supply supply.csv --runs 16 --history ratios.csv --history-metrics metrics.csv \\
        --objective news_bpb --append --output both.csv    (a second round, around the optimum that the first one says)

supply.csv: corpus, and any of tokens, min, max, max_epochs, group. The first two runs are token share and uniform
where the limits allow them. Runs to fit are named p000, p001, ...; held-out runs, which only judge the fit, h000, ...
A corpus of weight 0 makes its own loss wildly noisy, so every corpus gets --floor (0.01) unless its limits say less.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from haigo import cli, files, flags, naming
from haigo.cli import HaigoError
from haigo.formats import csvfile
from haigo.formats.tables import Ratios
from mixer import history as histories
from mixer import nested
from mixer.arrays import Array
from mixer.history import History
from mixer.limits import Limits, project_box
from mixer.mixture import DIGITS, rounded
from mixer.nested import floors
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
_CLOSE = 10.0
"""Dirichlet strength of a second round around the optima of the law's draws."""
_MOST_DRAWS, _TRIES = 64, 6
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

    Without losses they are spread: far from each other and from those already trained. With losses half of them are spent
    where the regret is decided: around the optimum of the runs so far.

    Args:
        history: what was trained: weights (runs, corpora), a pair (weights, losses (runs,) or (runs, metrics)), lower
            is better, or a `History`. Without it the first two are the reference (token share) and uniform, where the
            limits allow.
        floor: smallest weight of any corpus (`mixer.nested.floors`).
        objective: (metrics,) how much each loss counts; all alike, each divided by its spread, when None.

    Raises:
        HaigoError: the limits cannot hold together; names them.
    """
    if n < 1:
        raise HaigoError(f"{n} runs are no design.", "give --runs 16 or more", option="runs")
    limited = constraints.with_floor(floors(constraints, floor)) if floor > 0 else constraints
    limits = limited.limits()
    if floor > 0 and limits.lower.sum() > 1.0 + 1e-9:
        constraints.limits().check()  # what cannot hold together without the floor says so itself
        raise HaigoError(
            f"no mixture can meet a floor of {floor:g} for each of {len(constraints.corpora)} corpora: "
            f"that is {limits.lower.sum():.3g} in all, and weights sum to 1.",
            f"give a --floor below {1.0 / len(constraints.corpora):.2g}",
            option="floor",
        )
    limits.check()
    rng = np.random.default_rng(seed)
    known = histories.plain(history, objective)
    if known is not None and known.losses is not None:
        chosen = _second_round(limited, known, n, seed, rng)
    else:
        old = np.empty((0, len(constraints.corpora))) if known is None else known.weights
        chosen = _spread(limited, old, n, rng, known is None)
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


def _second_round(constraints: Constraints, known: History, n: int, seed: int, rng: np.random.Generator) -> list[Array]:
    """Half of the mixtures close around the optima of as many draws of the law, which lie apart as far as the optimum is not
    known; the others spread away from all there are, for the law may be wrong where it sends the first half."""
    from mixer.focus import optima

    assert known.losses is not None
    draws, limits = min((n + 1) // 2, _MOST_DRAWS), constraints.limits()
    given = constraints, known.weights, known.losses, known.coefficients
    found = optima(*given, ceilings=known.ceilings, draws=draws, seed=seed)[1:]
    chosen: list[Array] = []
    for i in range((n + 1) // 2):
        centre = found[i % draws]
        for halved in range(_TRIES):  # wider where a corner of the limits would be trained twice
            around = np.maximum(centre * len(centre) * _CLOSE / 2.0**halved, 0.02)
            made = inside(rng.dirichlet(around, size=1), limits, rng)[0]
            if all(np.abs(made - other).sum() > 2 * _APART for other in (*chosen, *known.weights)):
                break
        chosen.append(made)
    return [*chosen, *_spread(constraints, np.vstack([known.weights, *chosen]), n - len(chosen), rng, False)]


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
    known = histories.plain(history, objective)
    made = propose(constraints, n, seed, known, floor)
    first = 0 if known is None else len(known.weights) if known.first is None else known.first
    names = [f"p{i:03d}" for i in range(first, first + n)]
    if held_out > 0:
        limited = constraints.with_floor(floors(constraints, floor)) if floor > 0 else constraints
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


def write_ratios(path: str, table: pd.DataFrame, before: Ratios | None = None) -> None:
    """Write ratios.csv atomically; every number with as few digits as it has.

    Args:
        before: runs that stand first in it, as their own file gives them.
    """
    corpora = [str(column) for column in table.columns][1:]
    rows: dict[str, dict[str, str]] = {}
    if before is not None:
        for run, row in zip(before.runs, before.written.tolist(), strict=True):
            rows[run] = {name: repr(row[before.corpora.index(name)]) for name in corpora}
    for row in table.itertuples(index=False, name=None):
        cells = [f"{value:.{DIGITS}f}".rstrip("0").rstrip(".") for value in row[1:]]
        rows[str(row[0])] = dict(zip(corpora, cells, strict=True))
    csvfile.write_rows(Path(path), ["run", *corpora], rows)


def make(options: DesignOptions, kl: float | None = None) -> pd.DataFrame:
    """Design as the command does, and write the table; what is returned holds the new runs alone.

    Args:
        kl: pull of the optimum that a second batch goes around, as of `mixer.search`.
    """
    named = [name.strip() for name in options.corpora.split(",") if name.strip()] if options.corpora else None
    ratios, known = histories.read(options) if options.history else (None, None)
    if ratios is not None:
        named = named or ratios.corpora
    if options.supply is None and named is None:
        raise HaigoError("neither --supply nor --corpora is given.", "name the corpora")
    supply = read_supply(options.supply) if options.supply else None
    if ratios is not None and known is not None and supply is not None:
        ratios, known = nested.trained_on_wholes(ratios, known, supply, options.history or "")
        named = ratios.corpora if options.corpora is None else named
    constraints = constraints_from(supply, named, options, kl=kl)
    if ratios is not None and ratios.corpora != list(constraints.corpora):
        raise HaigoError(f"{options.history} has other corpora.", "use the same corpora in the same order")
    if ratios is None:  # names that a table has already may be somebody else's
        naming.check_all(constraints.corpora, "corpus", options.supply or "--corpora")
    table = design(constraints, options.runs, options.seed, options.floor, options.held_out, known)
    twice = [run for run in table["run"] if ratios is not None and options.append and run in ratios.runs]
    if twice:
        raise HaigoError(f"{options.history} has a run '{twice[0]}' already.", "leave out --append, or --held-out")
    write_ratios(options.output, table, ratios if options.append else None)
    return table


def main(argv: Sequence[str] | None = None) -> int | None:
    options = flags.parse("mixer.design", __doc__, DesignOptions, argv)
    cli.keeps_nothing()
    files.check_output(options.output, [options.supply, options.history, options.history_metrics])
    together = bool(options.history_metrics), bool(options.objective)
    if together in ((True, False), (False, True)) or (options.history_metrics and not options.history):
        raise HaigoError("--history-metrics, --history and --objective belong together.", "give all three or none")
    for name in options.given("maximise", "minimise", "ceilings", "standardise") if not options.objective else ():
        word = {"ceilings": "ceiling", "standardise": "no-standardise"}.get(name, name)
        raise HaigoError(f"--{word} belongs to --objective.", "add --objective", option=name)
    if options.append and not options.history:
        raise HaigoError("--append belongs to --history.", "add --history", option="append")
    table = make(options)
    corpora = [str(name) for name in table.columns][1:]
    if options.json:
        print(json.dumps({"output": options.output, "runs": list(table["run"]), "corpora": corpora}))
        return cli.OK
    low, high = table.iloc[:, 1:].min(), table.iloc[:, 1:].max()
    print(f"{len(table)} proxy mixtures of {len(corpora)} corpora in {options.output}")
    for name in corpora:
        print(f"  {name:<24} {low[name]:.3f} to {high[name]:.3f}")
    return cli.OK


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
