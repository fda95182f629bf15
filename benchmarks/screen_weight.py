"""How much n-gram screens should count beside proxies: errors of the law, fitted to a few proxies, on many others.

    python benchmarks/swarm_cost.py runs/japanese --workers 2       (trains the proxies of both folders)
    python benchmarks/screen_weight.py runs/japanese --fit .cache/swarm_cost/ours --judge .cache/swarm_cost/regmix

Prints the root mean square error in standard deviations over the judging mixtures, mean over losses and over random choices
of n of the proxies to fit, for several counts (`mixer.screened.COUNT`; 0: no screen).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from _run_folder import arguments, datasets, parser

from launch.proxies import metrics, ngram
from launch.proxies.options import CountOptions
from mixer import screened
from mixer.design import propose
from mixer.laws import make
from mixer.supply import Constraints


def measured(folder: Path, corpora: list[str], names: list[str]) -> tuple[np.ndarray, np.ndarray, float]:
    """Weights (runs, corpora), losses (runs, names) and tokens of a run of the proxies in a folder."""
    table = metrics.read(folder)
    weights = [[table.runs[run]["weights"].get(corpus, 0.0) for corpus in corpora] for run in table.rows]
    losses = [[float(row[name]) for name in names] for row in table.rows.values()]
    return np.array(weights), np.array(losses), float(next(iter(table.rows.values()))["tokens"])


def main() -> int:
    words = parser(__doc__)
    words.add_argument("--fit", type=Path, help="folder of launch.proxies whose runs are fitted")
    words.add_argument("--judge", type=Path, help="folder of launch.proxies whose runs are predicted")
    words.add_argument("--runs", default="4,8,12,16")
    words.add_argument("--counts", default="0,1,2,4,8,64")
    words.add_argument("--choices", type=int, default=8)
    args = arguments(words, "fit", "judge")
    known = datasets(args.run)
    corpora, names = list(known.corpora), [f"{name}_bpb" for name in known.corpora]
    weights, losses, tokens = measured(args.fit, corpora, names)
    unseen, truth, _ = measured(args.judge, corpora, names)
    counted = ngram.Counted(known, CountOptions(eval_tokens=8_000))
    columns = [counted.metrics.index(name) for name in names]
    spread = propose(Constraints(corpora=corpora, upper=weights.max(axis=0)), 64, 1, floor=0.01)
    at, rest = (counted.losses(rows, tokens)[:, columns] for rows in (weights, spread))
    counts = [float(word) for word in args.counts.split(",")]
    print(f"{len(unseen)} mixtures judge; n, then the error for all screened mixtures counting {args.counts} runs")
    for n in (int(word) for word in args.runs.split(",")):
        rng, errors = np.random.default_rng(0), np.zeros(len(counts))
        for _ in range(args.choices):
            chosen = rng.choice(len(weights), n, replace=False)
            for number, count in enumerate(counts):
                screened.COUNT = count
                screen = screened.Screen(weights=spread, losses=rest, at_runs=at[chosen])
                law = make("law", 0).fit(weights[chosen], losses[chosen], **({"screen": screen} if count else {}))
                error = ((law.predict(unseen) - truth) ** 2).mean(axis=0) / truth.var(axis=0)
                errors[number] += np.sqrt(error).mean() / args.choices
        print(f"{n:>3}  " + "  ".join(f"{error:.3f}" for error in errors))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
