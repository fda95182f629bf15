"""Does a recommendation keep what it promises when it is trained? Small swarms of the embedded engine on a run's datasets.

    python -m launch.pipeline examples/japanese.yml            (or any run: its datasets are used)
    python benchmarks/promise_trained.py runs/japanese         (3 swarms, 41 recommendations; some 6 CPU-minutes)

Every swarm trains 12 to 14 proxies on mixtures of some of the corpora (no corpus above 2.5 times its token share). Then
mixtures are asked for: for the loss on each corpus, on each two and on all; and the same small model is trained,
with the proxies' seed, on each of these and on token share. Lines as of benchmarks/promise.py; "regret": the recommended model
against the best of its swarm that was trained, a lower bound of the actual one. Recommendations of one swarm share its proxies
and are not independent. What is trained is kept in --output-dir: the same command goes on after a break.
"""

from __future__ import annotations

import argparse
import itertools
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from _run_folder import arguments, datasets, limits, parser, rows
from promise import Record, line

import mixer.recommend as search
from launch import proxies
from mixer import value_of_information
from mixer.design import candidates, propose
from mixer.objective import Objective
from mixer.supply import Constraints, FullRepetition
from neox_configs import catalogue, shipped


class Swarm(NamedTuple):
    """One swarm: which of the run's corpora, how many proxies, of a design or random."""

    corpora: tuple[int, ...]
    proxies: int
    seed: int
    designed: bool


SWARMS = (
    Swarm((0, 1, 2, 3, 4, 5, 6), 14, 1, True),
    Swarm((0, 1, 2, 3, 5), 12, 2, True),
    Swarm((1, 4, 5, 6), 12, 3, False),
)


def objectives(corpora: Sequence[str]) -> list[list[str]]:
    """Every corpus' loss, those of each two (of many corpora only of neighbours), and all."""
    metrics = [f"{name}_bpb" for name in corpora]
    pairs = itertools.pairwise(metrics) if len(metrics) > 5 else itertools.combinations(metrics, 2)
    return [*([name] for name in metrics), *map(list, pairs), metrics]


def part(whole: Constraints, which: Sequence[int], times: float) -> Constraints:
    """The same limits for some of the corpora."""
    tokens = np.asarray(whole.supply)[list(which)]
    names = [whole.corpora[j] for j in which]
    total = float(tokens.sum())
    return Constraints(corpora=names, supply=tokens, target_tokens=total, max_epochs=times, repetition=FullRepetition())


def judged(args: argparse.Namespace, number: int, swarm: Swarm) -> list[Record]:
    """What the swarm's recommendations promised, beside what was trained."""
    known = datasets(args.run)
    bounds = part(limits(args.run, args.times), swarm.corpora, args.times)
    names = list(bounds.corpora)
    known = catalogue.Catalogue(known.tokenizer, {name: known.corpora[name] for name in names})
    metrics = [f"{name}_bpb" for name in names]

    def trained(title: str, weights: np.ndarray) -> np.ndarray:
        options: dict[str, Any] = {"tokens": args.tokens, "eval_tokens": 2_000, "workers": args.workers}
        config, folder = shipped.find_model(args.model), args.output_dir / f"swarm{number}-{title}"
        done = proxies.run(rows(names, weights), known, config, folder, seed=swarm.seed, **options)
        if done.failed:
            raise SystemExit(f"proxies failed: {done.failed}")
        return np.array([[done.results[run]["metrics"][m] for m in metrics] for run in rows(names, weights)])

    if swarm.designed:
        w = propose(bounds, swarm.proxies, swarm.seed, floor=0.01)
    else:
        w = candidates(bounds.with_floor(0.01), swarm.proxies, np.random.default_rng([swarm.seed, 77]))
    y = trained("proxies", w)
    sums = objectives(names)
    answers = []
    for chosen in sums:
        which = [metrics.index(name) for name in chosen]
        objective = Objective(weights=dict.fromkeys(chosen, 1.0))
        answers.append(search.recommend(w, y[:, which], objective, bounds, swarm.seed, 60, metrics=chosen, force=True))
    losses = trained("answers", np.vstack([answers[0].reference, *[answer.weights for answer in answers]]))
    return [
        record(answer, chosen, [metrics.index(name) for name in chosen], y, losses, 1 + i)
        for i, (answer, chosen) in enumerate(zip(answers, sums, strict=True))
    ]


def record(answer: Any, chosen: list[str], which: list[int], y: np.ndarray, losses: np.ndarray, row: int) -> Record:
    """One recommendation beside what was trained; row 0 of `losses` is token share's; in standard deviations of the proxies."""
    spread = y[:, which].std(axis=0)
    shares = 1.0 / len(which) / spread
    unit = float(1.0 / shares[0]) if len(which) == 1 else 1.0
    value, everything = losses[:, which] @ shares, np.vstack([y, losses])[:, which] @ shares
    told = [answer.prediction[name] for name in chosen]
    return {
        "loss": [
            {"error": (a - t["mean"]) / s, "half": (t["interval"][1] - t["interval"][0]) / 2 / s}
            for a, t, s in zip(losses[row, which].tolist(), told, spread.tolist(), strict=True)
        ],
        "gain": [
            {
                "error": float(value[0] - value[row]) - answer.gain["mean"] / unit,
                "half": (answer.gain["interval"][1] - answer.gain["interval"][0]) / 2 / unit,
            }
        ],
        "regret": float(value[row] - everything.min()),
        "printed": answer.expected_regret / unit,
    }


def main() -> int:
    words = parser(__doc__)
    words.add_argument("--output-dir", type=Path, default=Path(".cache/promise_trained"))
    words.add_argument("--model", default="0-1M")
    words.add_argument("--tokens", type=int, default=24_000)
    words.add_argument("--times", type=float, default=2.5, help="largest weight over token share (default: 2.5)")
    words.add_argument("--swarms", type=int, default=len(SWARMS))
    words.add_argument("--workers", type=int)
    args = arguments(words)
    warnings.filterwarnings("ignore")
    search.near_optimal = lambda *given: (given[2], given[2])
    value_of_information.proxies_to_halve = lambda *given: None
    everything: list[Record] = []
    print(f"{'':31}loss at the mixture: {'':9}gain: {'':24}regret (against the best that was trained):")
    for number, swarm in enumerate(SWARMS[: args.swarms]):
        made = judged(args, number, swarm)
        print(line(f"{len(swarm.corpora)} corpora, {swarm.proxies} proxies", made), flush=True)
        everything += made
    print(line("all", everything))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
