"""A contest of ways to choose a mixture, on anybody's table of proxy runs: who ranks best, chooses best, and keeps its promise?

    python benchmarks/contest.py                       (RegMix's 768 public runs at 1M parameters; a made-up world without them)
    python benchmarks/contest.py FOLDER ...            (each with ratios.csv, metrics.csv and, where there is one, supply.csv,
                                                       whose limits hold; scores, which are to be raised, are left out)
    python benchmarks/contest.py --seeds 8 --runs 32
    OLMIX_DIR=... OLMIX_PYTHON=... python benchmarks/contest.py    (Olmix's own fit too, all its starts)

Every method is fitted to the same random subsets of the runs, for single losses and the mean of many, and answers a mixture.

rank, level   Spearman and error (in standard deviations) of the objective on the runs it was not fitted to
regret        of its mixture: 0 the best there is, 1 token share; by judges that know no mixing law and are fitted to all runs
              (a Gaussian process, a local ridge regression; in the made-up world the truth). Mixtures far from every run are as
              uncertain for the judges as for anybody.
promise       part of its mixtures whose gain over token share lies in the 90 % interval it gives: ours as printed, the others'
              prediction +- 1.645 times the error of left-out runs at both ends
CPU s         of fitting, choosing and its interval
against ours  its regret minus ours, mean and 90 % interval of paired bootstraps over subsets and objectives

What is done is kept (--keep) and not done again: after Ctrl-C or kill -9 the same command goes on, to the same
contest.csv. With other code in mixer/ it begins anew.
Regressions that know one loss (RegMix, LightGBM, quadratic, kernel ridge, GP) are fitted to the objective itself. RegMix's
recipe is that of `mixer.methods`; smooth regressions take the best of 100,000 mixtures and move it on while it gets better.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from _measure import code, parser, seconds
from _public_runs import table as public
from mixer_peers import STARTS, peer
from mixer_worlds import _SHARE, World, _local_ridge, _process, least

from haigo import cli, files
from haigo.formats import csvfile
from haigo.progress import Progress
from mixer import methods
from mixer.arrays import Array
from mixer.design import candidates
from mixer.laws import cross_validate, make, rank_correlation
from mixer.laws_exp import ExponentialLaw
from mixer.objective import Objective
from mixer.optimise import Surface, minimise
from mixer.options import LimitOptions
from mixer.proxies import ProxyTable, read
from mixer.recommend import recommend
from mixer.supply import Constraints, FullRepetition, constraints_from, read_supply

OURS, OLMIX = "haigo", "olmix"
RIVALS = ("explaw", "regmix", "lightgbm", "quadratic", "kernel_ridge", "gp")
FREE = ("token_share", "unimax", "uniform")
TITLES = {"explaw": "exponential law", "regmix": "RegMix's recipe", "lightgbm": "LightGBM", "quadratic": "quadratic",
          "kernel_ridge": "kernel ridge", "gp": "Gaussian process", "token_share": "token share", "unimax": "UniMax",
          OLMIX: "Olmix's log-linear fit"}  # fmt: skip
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


def answer(here: Field, method: str, w: Array, y: Array, unseen: Array, goal: Array, seed: int) -> dict[str, Any]:
    """What a method answers: weights; and where it predicts, the objective of `unseen` and the gain with its interval."""
    constraints, used = here.constraints, np.flatnonzero(goal)
    reference = constraints.limits().project(constraints.reference)
    if method in FREE:
        return {"weights": methods.free(method, constraints, constraints.limits())}
    if method == OURS:
        names = [here.metrics[j] for j in used]
        objective = Objective(
            weights={here.metrics[j]: float(goal[j]) for j in used},
            direction=dict.fromkeys(names, "min"),
            standardise=False,
        )
        made = recommend(
            w,
            y[:, used],
            objective,
            constraints,
            seed,
            metrics=names,
            bootstrap=50,
            force=True,
            beyond_proxies=True,
        )
        guess = make("auto", seed).fit(w, y[:, used]).predict(unseen) @ goal[used]
        return {"weights": made.weights, "unseen": guess, "gain": made.gain["mean"], "interval": made.gain["interval"]}
    if method == "explaw":
        law, losses, goal = ExponentialLaw(seed=seed), y[:, used], goal[used]
        law.fit(w, losses)
        pull = 0.003 * float((losses @ goal).std())
        function = Surface(law, law.theta_[None], constraints).weighted(goal, pull, constraints.reference)
        best = minimise(
            function, constraints.limits(), [reference, constraints.limits().project(w[(losses @ goal).argmin()])]
        )
    else:
        losses, goal = (y @ goal)[:, None], np.ones(1)
        law = make(method, seed).fit(w, losses)
        search = "regmix" if method == "regmix" else "lightgbm" if method == "lightgbm" else methods.MOVED[0]
        best = methods.searched(lambda pool: law.predict(pool)[:, 0], constraints, seed, name=search)
    error = losses @ goal - cross_validate(w, losses, method, seed) @ goal
    at = law.predict(np.stack([reference, best])) @ goal
    gain, width = float(at[0] - at[1]), 1.645 * np.sqrt(2.0) * float(np.sqrt((error**2).mean()))
    return {
        "weights": best,
        "unseen": law.predict(unseen) @ goal,
        "gain": gain,
        "interval": [gain - width, gain + width],
    }


def by_olmix(here: Field, olmix: Any, w: Array, y: Array, unseen: Array, goal: Array, seed: int) -> dict[str, Any]:
    """Olmix's own log-linear fit; it is convex, so that the mean of the best draws is near its optimum."""
    used = np.flatnonzero(goal)
    pool = candidates(here.constraints, 20_000, np.random.default_rng([seed, 3]))
    predicted, _ = olmix("log_linear", w, y[:, used], np.vstack([unseen, pool]))
    value = predicted @ goal[used]
    best = pool[np.argsort(value[len(unseen) :], kind="stable")[:16]].mean(axis=0)
    return {"weights": here.constraints.limits().project(best), "unseen": value[: len(unseen)]}


def judged(here: Field, made: dict[str, Any], measured: Array, goal: Array) -> dict[str, Any]:
    """The figures of one answer."""
    row: dict[str, Any] = {"regret": {}, "kept": {}}
    reference = here.constraints.limits().project(here.constraints.reference)
    for name, judge in here.judge().items():
        key = goal.tobytes().hex()
        if key not in judge.best:
            judge.best[key] = least(judge, goal)
        base, at = (float(judge.value(point[None], goal)[0]) for point in (reference, made["weights"]))
        row["regret"][name] = (at - judge.best[key]) / (base - judge.best[key])
        if "interval" in made:
            row["kept"][name] = bool(made["interval"][0] <= base - at <= made["interval"][1])
    if "unseen" in made:
        error = float(np.sqrt(((made["unseen"] - measured) ** 2).mean()))
        row |= {"rank": rank_correlation(made["unseen"], measured), "level": error / float(measured.std())}
    return row


def unit(here: Field, method: str, title: str, seed: int, runs: int, olmix: Any) -> dict[str, Any]:
    """One method on one subset for one objective."""
    order = np.random.default_rng([seed, 9]).permutation(len(here.weights))
    fit, rest = order[:runs], order[runs:]
    goal, data = here.objectives[title], (here.weights[fit], here.losses[fit], here.weights[rest])
    work = (
        (lambda: by_olmix(here, olmix, *data, goal, seed))
        if method == OLMIX
        else (lambda: answer(here, method, *data, goal, seed))
    )
    spent, made = seconds(work)
    return judged(here, made, here.losses[rest] @ goal, goal) | {
        "seconds": spent,
        "weights": np.round(made["weights"], 6).tolist(),
    }


def table_of(here: Field, rows: dict[tuple[str, str, int], dict[str, Any]], players: Sequence[str]) -> list[str]:
    """The table, who beats us where, as lines."""
    cells = list(dict.fromkeys((title, seed) for _, title, seed in rows))
    draws = np.random.default_rng(0).integers(0, len(cells), (2000, len(cells)))

    def regrets(method: str) -> Array:
        return np.array([np.mean(list(rows[method, *cell]["regret"].values())) for cell in cells])

    def mean(method: str, key: str) -> str:
        values: list[Any] = [rows[method, *cell].get(key) for cell in cells]
        if key == "kept":
            values = [kept for each in values for kept in each.values()]
        return f"{np.mean(values):6.3f}" if values and values[0] is not None else "     -"

    lines = [f"  {'method':<24}  rank    level   regret  promise  CPU s   against ours (90 %)"]
    order = sorted(players, key=lambda method: float(regrets(method).mean()))
    for method in order:
        apart = regrets(method) - regrets(OURS)
        low, high = np.quantile(apart[draws].mean(axis=1), [0.05, 0.95])
        against = f"{apart.mean():+.3f} ({low:+.3f} to {high:+.3f})" if method != OURS else ""
        spent = np.mean([rows[method, *cell]["seconds"] for cell in cells])
        cells_of = [mean(method, "rank"), mean(method, "level"), f"{regrets(method).mean():6.3f}", mean(method, "kept")]
        lines.append(f"  {TITLES.get(method, method):<24}  {'  '.join(cells_of)}   {spent:5.1f}   {against}")
    lost = []
    for title in here.objectives:
        own = [i for i, cell in enumerate(cells) if cell[0] == title]
        ours = float(regrets(OURS)[own].mean())
        better = [
            f"{TITLES[m]} {regrets(m)[own].mean():.3f}"
            for m in order
            if m != OURS and m in TITLES and regrets(m)[own].mean() < ours
        ]
        lost.append(f"{title}: ours {ours:.3f}" + (f", better: {', '.join(better)}" if better else ", none is better"))
    return [*lines, "  regret by objective: " + "; ".join(lost)]


def contest(here: Field, seeds: int, runs: int, keep: Path, olmix: Any, only: Sequence[str]) -> None:
    """All units of one table, those that are kept not again; contest.csv and the table."""
    runs = min(runs, len(here.weights) // 2)
    players = [
        OURS,
        *RIVALS,
        *(FREE if here.constraints.supply is not None else ("uniform",)),
        *([OLMIX] if olmix else []),
    ]
    players = [name for name in players if not only or name in (OURS, *only)]
    folder = keep / f"{here.name}-{here.digest}-{runs}"
    every = [(method, title, seed) for seed in range(seeds) for title in here.objectives for method in players]
    path = {(m, title, seed): folder / f"{m}-{title.replace('/', '_')}-{seed}.json" for m, title, seed in every}
    todo = [each for each in every if not path[each].is_file()]
    with Progress(f"contest on {here.name}", len(every), "answers", after=5.0) as progress:
        progress.done = progress.before = len(every) - len(todo)
        for method, title, seed in todo:
            files.write_json(path[method, title, seed], unit(here, method, title, seed, runs, olmix))
            progress.update(1, f"{method}, {title}")
    rows = {each: json.loads(path[each].read_text(encoding="utf-8")) for each in every}
    written: dict[str, dict[str, str]] = {}
    columns = ["rank", "level", "regret", "promise"]
    for (method, title, seed), row in rows.items():
        values = [row.get("rank"), row.get("level"), np.mean(list(row["regret"].values()))]
        values.append(np.mean(list(row["kept"].values())) if row["kept"] else None)
        shown = ["" if value is None else f"{value:.6f}" for value in values]
        written[f"{method}/{title}/{seed}"] = dict(zip(columns, shown, strict=True))
    csvfile.write_rows(folder / "contest.csv", ["answer", *columns], written)
    judges = ", ".join(rows[every[0]]["regret"])
    print(f"{here.name}: {len(here.weights)} runs, fitted to {runs}, {seeds} subsets, judges: {judges}")
    print("\n".join(table_of(here, rows, players)))
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
    words.add_argument("--methods", default="", help="only these beside ours, separated by commas")
    args = words.parse_args(argv)
    args.keep.mkdir(parents=True, exist_ok=True)
    olmix = peer(STARTS, args.keep)
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
