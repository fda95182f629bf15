"""A contest of ways to choose a mixture, on anybody's table of proxy runs: who ranks best, chooses best, and keeps its promise?

    python benchmarks/contest.py                       (RegMix's 768 public runs at 1M parameters; a made-up world without them)
    python benchmarks/contest.py FOLDER ...            (each with ratios.csv, metrics.csv and, where there is one, supply.csv,
                                                       whose limits hold; scores, which are to be raised, are left out)
    python benchmarks/contest.py --seeds 8 --runs 32
    OLMIX_DIR=... OLMIX_PYTHON=... python benchmarks/contest.py    (Olmix's own fit too; ... --starts 10: for every answer)

Every method is fitted to the same random subsets of the runs, for single losses and the mean of many, and answers a mixture.
`mixer.contest` holds the contest and says what its columns are; judges are a Gaussian process and a local ridge regression of
all the runs, in the made-up world the truth. Mixtures far from every run are as uncertain for the judges as for anybody.

Olmix's log-linear fit with all its 300 starting points takes about 6 CPU-minutes a loss, so that it answers as many as
--olmix-fits allows (single losses first), and stands in the table compared with ours on these. With --starts 10 it
answers all. Its mixture is that of its own exact convex proposer, with its pull to the prior (0.05, or --olmix-pull); it
gives no interval.

What is done is kept (--keep) and not done again: after Ctrl-C or kill -9 the same command goes on, to the same
contest.csv. With other code in mixer/ it begins anew.
RegMix's recipe is that of `mixer.methods`; smooth regressions take the best of 100,000 mixtures and move it on while it gets
better.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from _measure import code, parser
from _public_runs import table as public
from mixer_peers import PULL, STARTS, Olmix, peer
from mixer_worlds import _SHARE, World, _local_ridge, _process, least

from haigo import cli, files
from haigo.formats import csvfile
from haigo.progress import Progress
from mixer.arrays import Array
from mixer.contest import OURS, Answer, Judge, Task, answer, judged, regret, standings
from mixer.design import candidates
from mixer.objective import Objective
from mixer.options import LimitOptions
from mixer.proxies import ProxyTable, read
from mixer.recommend import choose
from mixer.supply import Constraints, FullRepetition, constraints_from, read_supply

OLMIX = "olmix"
Rows = dict[tuple[str, tuple[str, int]], dict[str, Any]]
"""(method, (objective, subset)) -> the figures of its answer."""
RIVALS = ("explaw", "regmix", "lightgbm", "quadratic", "kernel_ridge", "gp")
FREE = ("token_share", "unimax", "uniform")
TITLES = {OURS: "haigo", OLMIX: "Olmix's log-linear fit", "explaw": "exponential law", "regmix": "RegMix's recipe",
          "lightgbm": "LightGBM", "quadratic": "quadratic", "kernel_ridge": "kernel ridge", "gp": "Gaussian process",
          "token_share": "token share", "unimax": "UniMax"}  # fmt: skip
MANY = "mean"


@dataclass(kw_only=True)
class Field:
    """A table, its objectives, its limits and its judges."""

    name: str
    weights: Array
    losses: Array
    metrics: list[str]
    constraints: Constraints
    objectives: dict[str, Array]
    """Title -> (metrics,) coefficients that sum to 1."""
    make_judges: Callable[[], dict[str, World]]
    digest: str = ""
    judges: dict[str, World] = field(default_factory=dict)

    def __post_init__(self) -> None:
        limits = self.constraints.limits()
        parts = (self.weights, self.losses, self.constraints.reference, limits.lower, limits.upper, limits.rows)
        parts += (limits.bounds, *self.objectives.values())
        content = b"".join(np.ascontiguousarray(part).tobytes() for part in parts)
        self.digest = hashlib.sha256(content + code("mixer").encode()).hexdigest()[:12]

    def judge(self) -> dict[str, World]:
        self.judges = self.judges or self.make_judges()
        return self.judges


def of_table(folder: Path | None) -> Field:
    """RegMix's runs (None), or a folder's."""
    if folder is None:
        halves = [public(half, others=True) for half in ("train", "test")]
        corpora = [name.removeprefix("train_the_pile_") for name in halves[0].corpora]
        metrics = [name.removeprefix("metric/the_pile_").removesuffix("_val_loss") for name in halves[0].metrics]
        w, y = np.vstack([h.weights for h in halves]), np.vstack([h.losses for h in halves])
        tokens = np.array([_SHARE[name] for name in corpora]) * 1e12
        limits: dict[str, Any] = {"supply": tokens, "target_tokens": float(tokens.sum()), "max_epochs": 4.0}
        constraints = Constraints(corpora=corpora, repetition=FullRepetition(), **limits)
        single = ["pile_cc", "wikipedia_en", "stackexchange"]
    else:
        table = read(folder / "ratios.csv", folder / "metrics.csv", others=True)
        lowered = _lowered(table)
        corpora, metrics, w, y = (
            table.corpora,
            [table.metrics[j] for j in lowered],
            table.weights,
            table.losses[:, lowered],
        )
        supply, single = folder / "supply.csv", metrics[:3]
        known = read_supply(supply) if supply.is_file() else None
        constraints = constraints_from(known, corpora, LimitOptions(supply=str(supply)), repetition=FullRepetition())
    goals = {name: np.eye(len(metrics))[metrics.index(name)] for name in single}
    if len(metrics) > 1:
        per = np.ones(len(metrics)) if folder is None else 1.0 / y.std(axis=0)
        goals[MANY] = per / per.sum()

    def judges() -> dict[str, World]:
        made = {"process": _process(w, y, np.sqrt, 2.5)}
        if len(w) >= 250:
            made["ridge"] = _local_ridge(w, y)
        return {name: _world(name, corpora, metrics, constraints, function) for name, function in made.items()}

    name = folder.name if folder else "regmix-1m"
    return Field(
        name=name, weights=w, losses=y, metrics=metrics, constraints=constraints, objectives=goals, make_judges=judges
    )


def _lowered(table: ProxyTable) -> list[int]:
    """Numbers of the metrics that a search lowers without being asked to; the others are named.

    Raises:
        HaigoError: there is none.
    """
    kept, why = [], ""
    for j, name in enumerate(table.metrics):
        try:
            objective = Objective(weights={name: 1.0}).resolve(table.metrics, table.source)
            objective.check_values(table.metrics, table.losses, table.runs, table.source)
            kept.append(j)
        except cli.HaigoError as error:
            why = str(error).partition("\n")[0]
            print(f"{name} left out: {why}")
    if not kept:
        raise cli.HaigoError(f"{table.source}: no metric is left. {why}", "give a table with losses")
    return kept


def made_up() -> Field:
    """200 runs of a world whose truth is none of the laws: saturating sums, a product of two corpora, noise."""
    corpora, metrics, rng = [f"c{j}" for j in range(8)], [f"m{j}_bpb" for j in range(4)], np.random.default_rng(20)
    share, helps = rng.dirichlet(np.full(8, 2.0)), rng.gamma(0.6, 1.0, (4, 8))
    both = rng.permutation(8)[:2]

    def truth(weights: Array, which: Any) -> Array:
        inner = (1.0 - np.exp(-6.0 * weights)) @ helps[which].T
        return np.asarray(1.0 + 0.9 / (0.4 + inner + 3.0 * np.sqrt(weights[:, both].prod(axis=1))[:, None]))

    constraints = Constraints(
        corpora=corpora, supply=share * 1e12, target_tokens=1e12, max_epochs=4.0, repetition=FullRepetition()
    )
    w = candidates(constraints, 200, rng)
    y = truth(w, np.arange(4)) + 0.004 * rng.standard_normal((200, 4))
    goals = {metrics[0]: np.eye(4)[0], metrics[1]: np.eye(4)[1], MANY: np.full(4, 0.25)}
    return Field(
        name="made-up", weights=w, losses=y, metrics=metrics, constraints=constraints, objectives=goals,
        make_judges=lambda: {"truth": _world("truth", corpora, metrics, constraints, truth)},
    )  # fmt: skip


def _world(name: str, corpora: list[str], metrics: list[str], constraints: Constraints, function: Any) -> World:
    noise = np.zeros(len(metrics))
    here = World(
        name=name, corpora=corpora, metrics=metrics, share=constraints.reference, function=function, noise=noise
    )
    here.limits = constraints  # the caps of a table are its own
    return here


def task_of(here: Field, title: str, seed: int, runs: int) -> Task:
    """What every method is asked: an objective on a random subset."""
    order = np.random.default_rng([seed, 9]).permutation(len(here.weights))
    fit, rest = order[:runs], order[runs:]
    goal = here.objectives[title]
    return Task(
        weights=here.weights[fit],
        losses=here.losses[fit],
        goal=goal,
        constraints=here.constraints,
        unseen=here.weights[rest],
        measured=here.losses[rest] @ goal,
        seed=seed,
    )


def by_olmix(olmix: Olmix, task: Task) -> Answer:
    """Olmix's log-linear fit of every loss of the objective, and the mixture of its exact proposer."""
    made = olmix.mixture(task.weights, task.losses, task.unseen, task.goal, task.constraints)
    guess = made.predicted @ task.goal[np.flatnonzero(task.goal)]
    return Answer(weights=task.constraints.limits().project(made.weights), unseen=guess, seconds=made.seconds)


def unit(here: Field, method: str, title: str, seed: int, runs: int, olmix: Olmix | None) -> dict[str, Any]:
    """One method on one subset for one objective."""
    task = task_of(here, title, seed, runs)
    made = by_olmix(olmix, task) if method == OLMIX and olmix else answer(method, task, choose)
    judges: dict[str, Judge] = {}
    for name, judge in here.judge().items():
        key = task.goal.tobytes().hex()
        if key not in judge.best:
            judge.best[key] = least(judge, task.goal)
        judges[name] = Judge(value=partial(judge.value, coefficients=task.goal), least=judge.best[key])
    return judged(made, task, judges) | {"weights": np.round(made.weights, 6).tolist()}


def table_of(here: Field, rows: Rows, asked: int) -> list[str]:
    """The table, and who beats us where, as lines."""
    lines = [f"  {'method':<24}  rank    level   regret  promise  CPU s   against ours (90 %)"]
    for each in standings(rows):
        cells = [each.rank, each.level, each.regret, each.promise]
        shown = "  ".join("     -" if value is None else f"{value:6.3f}" for value in cells)
        against = f"{each.against[0]:+.3f} ({each.against[1]:+.3f} to {each.against[2]:+.3f})" if each.against else ""
        part = f"  {each.answers} of {asked} answers" if each.answers < asked else ""
        lines.append(f"  {TITLES.get(each.method, each.method):<24}  {shown}   {each.seconds:5.1f}   {against}{part}")
    lost = []
    for title in here.objectives:
        own = standings({key: row for key, row in rows.items() if key[1][0] == title})
        ours = next(each.regret for each in own if each.method == OURS)
        better = [each for each in own if each.against and each.against[0] < 0 and each.method in TITLES]
        said = [f"{TITLES[each.method]} {each.against[0]:+.3f}" for each in better if each.against]
        lost.append(f"{title}: ours {ours:.3f}" + (f", better: {', '.join(said)}" if said else ", none is better"))
    return [*lines, "  regret by objective: " + "; ".join(lost)]


def contest(here: Field, seeds: int, runs: int, keep: Path, olmix: Olmix | None, only: Sequence[str]) -> None:
    """All units of one table, those that are kept not again; contest.csv and the table."""
    runs = min(runs, len(here.weights) // 2)
    players = [OURS, *RIVALS, *(FREE if here.constraints.supply is not None else ("uniform",))]
    players = [name for name in players if not only or name in (OURS, *only)]
    folder = keep / f"{here.name}-{here.digest}-{runs}"
    asked = [(title, seed) for seed in range(seeds) for title in here.objectives]
    every = [(method, cell) for cell in asked for method in players]
    if olmix and (not only or OLMIX in only):
        some = olmix.affordable([(cell, np.flatnonzero(here.objectives[cell[0]])) for cell in asked])
        print(f"Olmix: {olmix.starts} starting points a loss, {len(some)} of {len(asked)} answers")
        every += [(OLMIX, cell) for cell in some]
    path = {(m, cell): folder / f"{m}-{cell[0].replace('/', '_')}-{cell[1]}.json" for m, cell in every}
    path |= {
        key: each.with_stem(f"{each.stem}-{olmix.starts}-{olmix.pull:g}")
        for key, each in path.items()
        if olmix and key[0] == OLMIX
    }
    todo = [each for each in every if not path[each].is_file()]
    with Progress(f"contest on {here.name}", len(every), "answers", after=5.0) as progress:
        progress.done = progress.before = len(every) - len(todo)
        for method, cell in todo:
            files.write_json(path[method, cell], unit(here, method, *cell, runs, olmix))
            progress.update(1, f"{method}, {cell[0]}")
    rows = {each: json.loads(path[each].read_text(encoding="utf-8")) for each in every}
    written: dict[str, dict[str, str]] = {}
    columns = ["rank", "level", "regret", "promise"]
    for (method, cell), row in rows.items():
        values = [row.get("rank"), row.get("level"), regret(row)]
        values.append(np.mean(list(row["kept"].values())) if row["kept"] else None)
        shown = ["" if value is None else f"{value:.6f}" for value in values]
        written[f"{method}/{cell[0]}/{cell[1]}"] = dict(zip(columns, shown, strict=True))
    csvfile.write_rows(folder / "contest.csv", ["answer", *columns], written)
    judges = ", ".join(rows[every[0]]["regret"])
    print(f"{here.name}: {len(here.weights)} runs, fitted to {runs}, {seeds} subsets, judges: {judges}")
    print("\n".join(table_of(here, rows, len(asked))))
    print(f"  every answer: {folder / 'contest.csv'}")


def main(argv: Sequence[str] | None = None) -> int:
    words = parser(__doc__)
    words.add_argument(
        "tables", nargs="*", type=Path, metavar="FOLDER", help="with ratios.csv and metrics.csv (RegMix's runs)"
    )
    words.add_argument("--seeds", type=int, default=4, help="random subsets (4)")
    words.add_argument("--runs", type=int, default=64, help="runs of a subset, at most half of the table (64)")
    words.add_argument("--made-up", action="store_true", help="the made-up world, although RegMix's runs are there")
    words.add_argument(
        "--keep", type=Path, default=Path(".cache/contest"), help="where what is done is kept (.cache/contest)"
    )
    words.add_argument("--starts", type=int, default=STARTS, help=f"how many of Olmix's {STARTS} starting points (all)")
    words.add_argument("--olmix-fits", type=int, default=600, help="starting points in all: 1.1 CPU-seconds each (600)")
    words.add_argument("--olmix-pull", type=float, default=PULL, help=f"to the prior, of its exact proposer ({PULL:g})")
    words.add_argument("--methods", default="", help="only these beside ours, separated by commas")
    args = words.parse_args(argv)
    args.keep.mkdir(parents=True, exist_ok=True)
    if not 1 <= args.starts <= STARTS:
        words.error(f"--starts {args.starts}: Olmix has {STARTS}")
    olmix = peer(args.starts, args.keep, args.olmix_fits, args.olmix_pull)
    fields = [of_table(folder) for folder in args.tables]
    if not fields:
        try:
            fields = [made_up() if args.made_up else of_table(None)]
        except SystemExit:  # RegMix's runs are not here
            fields = [made_up()]
    for here in fields:
        contest(here, args.seeds, args.runs, args.keep, olmix, [name for name in args.methods.split(",") if name])
    return 0


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
