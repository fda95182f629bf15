"""Do likelihoods on small tasks order mixtures sooner than accuracy does? Correlations of small proxies with larger ones.

    python benchmarks/small_tasks.py SWARM 0-1M 0-3M 1M 4M --data-dir DATA [--tasks TASK ...] [--limit N ...] [--trained]

SWARM holds a folder of `launch.proxies --export` for each size named, the same rows in all; the last is the target. Every model
is scored on the tasks once (`launch.proxies.scores`; kept beside it, the same call goes on; --trained: none are). Columns are
means over the items of all tasks of a kind (`news_cloze_who`, `_where` and `_when` are one). Printed is Spearman's correlation
over mixtures of each column with the target's accuracy, choice_nll and mean bits per byte, with intervals of 90 % (a bootstrap
over mixtures). `alone` is the part of a column's variance between mixtures that is no noise of the items, the square of the
most that it can agree with anything; how far seeds agree is printed where --seeds names swarms of other seeds.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from _measure import parser
from scipy.stats import rankdata

from haigo import sealed
from launch.engine import checkpoint
from launch.proxies import scores
from launch.proxies.options import TaskOptions
from mixer.arrays import Array
from mixer.replicates import split
from mixer.report_card import rank_correlation

TASKS = ("news_cloze_who-1.0-0.1", "news_cloze_where-1.0-0.1", "news_cloze_when-1.0-0.1", "news_headline-1.0-0.3",
         "jcommonsenseqa-1.1-0.2.1")  # fmt: skip
FIGURES = ("acc", "probability_score", "margin_score", "choice_nll", "answer_nll")
LOWER = ("choice_nll", "answer_nll", "bpb")
DRAWS = 2000
Columns = dict[str, Array]
"""Family and figure -> (runs, items); of bits per byte (runs, 1). Higher is better."""


def score(folder: Path, tasks: TaskOptions) -> None:
    """Score every finished model of a swarm that has not been."""
    key = scores.check(tasks)
    for place in sorted((folder / "runs").iterdir()):
        result = checkpoint.finished(place)
        if result is not None and (place / "model").is_dir() and scores.finished(place, key, result) is None:
            scores.score(place, tasks, key, result)
            print(f"{place}: scored", file=sys.stderr, flush=True)


def columns(folder: Path, corpora: Sequence[str]) -> tuple[list[str], Columns]:
    """Names of the runs, and what their items say."""
    runs = [place for place in sorted((folder / "runs").iterdir()) if (place / scores.FILE).is_file()]
    each = [sealed.read(place / scores.FILE)[0]["each"] for place in runs]
    found: dict[str, list[Array]] = {}
    for column in each[0]:
        task, figure = re.fullmatch(rf"(.*)_({'|'.join(FIGURES)})", column).groups()  # type: ignore[union-attr]
        family = re.sub(r"_(who|where|when)$", "", task.partition("-")[0])
        values = np.array([one[column] for one in each], dtype=np.float64)
        found.setdefault(f"{family} {figure}", []).append(-values if figure in LOWER else values)
    made = {name: np.hstack(parts) for name, parts in found.items()}
    results = [checkpoint.read(place / checkpoint.RESULT)["metrics"] for place in runs]
    for name, few in (("news bpb", ["news"]), ("mean bpb", list(corpora))):
        made[name] = -np.array([[np.mean([one[f"{corpus}_bpb"] for corpus in few])] for one in results])
    return [place.name for place in runs], made


def first(names: Sequence[str], made: Columns) -> tuple[list[str], Columns]:
    """Without replicates."""
    keep = [i for i, name in enumerate(names) if split(name)[1] == 1]
    return [names[i] for i in keep], {name: values[keep] for name, values in made.items()}


def alone(values: Array) -> float:
    """Part of the variance between runs (runs, items) that is not noise of the items; 1 where there are no items."""
    if values.shape[1] < 2:
        return 1.0
    noise = scores.paired_noise(values.tolist()) or 0.0
    return max(0.0, 1.0 - noise**2 / max(float(values.mean(axis=1).var(ddof=1)), 1e-300))


def agreement(one: Array, other: Array, rng: np.random.Generator) -> tuple[float, float, float]:
    """Spearman over runs of two columns (runs,), and the ends of 90 % of a bootstrap over runs."""
    rows = rng.integers(len(one), size=(DRAWS, len(one)))
    ranks = [rankdata(each[rows], axis=1) for each in (one, other)]
    a, b = (each - each.mean(axis=1, keepdims=True) for each in ranks)
    drawn = (a * b).sum(axis=1) / np.maximum(np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1)), 1e-300)
    low, high = np.quantile(drawn, [0.05, 0.95])
    return rank_correlation(one, other), float(low), float(high)


def table(swarms: Mapping[str, tuple[list[str], Columns]]) -> None:
    """Print the correlations of every size's columns with the last one's."""
    (target, (rows, goal)), rng = list(swarms.items())[-1], np.random.default_rng(1)
    goals = [name for name in goal if name.endswith((" acc", " choice_nll", "mean bpb"))]
    print(f"Spearman with the order of {len(rows)} mixtures at {target} (90 %):")
    print(f"{'size':6s} {'column':34s} {'alone':>6s}  " + "  ".join(f"{name:>34s}" for name in goals))
    for size, (names, made) in swarms.items():
        place = [names.index(name) for name in rows]
        for name, values in made.items():
            cells = []
            for other in goals:
                ours = values[place].mean(axis=1)
                if size == target and name == other:
                    cells.append(f"{'-':>34s}")
                    continue
                rho, low, high = agreement(ours, goal[other].mean(axis=1), rng)
                cells.append(f"{f'{rho:.2f} ({low:.2f} to {high:.2f})':>34s}")
            print(f"{size:6s} {name:34s} {alone(values[place]):6.2f}  " + "  ".join(cells))


def seeds(swarms: Sequence[tuple[list[str], Columns]]) -> None:
    """Print how far seeds agree on each column: mean Spearman of all pairs."""
    rows = [name for name in swarms[0][0] if all(name in names for names, _ in swarms)]
    for name in swarms[0][1]:
        ours = [made[name][[names.index(row) for row in rows]].mean(axis=1) for names, made in swarms]
        pairs = [rank_correlation(a, b) for i, a in enumerate(ours) for b in ours[:i]]
        span = f"{np.mean(pairs):.2f} ({min(pairs):.2f} to {max(pairs):.2f})"
        print(f"{len(swarms)} seeds of {len(rows)} mixtures  {name:34s} {span}")


def main() -> int:
    words = parser(__doc__)
    words.add_argument("swarm", nargs="?", type=Path)
    words.add_argument("sizes", nargs="*")
    words.add_argument("--tasks", nargs="+", default=list(TASKS))
    words.add_argument("--limit", nargs="+", type=int, default=[300], help="items of each task, or of all")
    words.add_argument("--data-dir", help="news_cloze/, news_headline/ and JGLUE's files")
    words.add_argument("--seeds", nargs="+", type=Path, default=[], help="swarms of the same size with other seeds")
    words.add_argument("--trained", action="store_true", help="print what was scored before")
    args = words.parse_args()
    if args.swarm is None or not args.sizes or (args.data_dir is None and not args.trained):
        print("skipped: give the folder of a swarm, its sizes and --data-dir")
        return 0
    folders = [*(args.swarm / size for size in args.sizes), *args.seeds]
    if not args.trained:
        limit: list[Any] = list(args.limit)
        tasks = TaskOptions(tasks=args.tasks, data_dir=args.data_dir, num_fewshot=[0], limit=limit, likelihoods=True)
        for folder in folders:
            score(folder, tasks)
    corpora = [name.removeprefix("train.") for name in json.loads((folders[0] / "swarm.json").read_text())["common"]
               if name.startswith("train.")]  # fmt: skip
    seen = [first(*columns(folder, corpora)) for folder in folders]
    table(dict(zip(args.sizes, seen, strict=False)))
    if args.seeds:
        seeds(seen[len(args.sizes) :])
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
