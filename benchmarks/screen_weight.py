"""How much n-gram screens should count beside proxies: errors of the law, fitted to a few proxies, on many others.

    python benchmarks/swarm_cost.py runs/japanese --workers 2       (trains the proxies of both folders)
    python benchmarks/screen_weight.py runs/japanese --fit .cache/swarm_cost/ours --judge .cache/swarm_cost/regmix

Prints the root mean square error in standard deviations over the judging mixtures, mean over losses and over random choices
of n of the proxies to fit, for several counts (`mixer.screened.COUNT`; 0: no screen).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from launch.swarm import metrics, ngram
from mixer import screened
from mixer.design import propose
from mixer.laws import make
from mixer.supply import Constraints
from neox_configs import catalogue


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?", help="run folder of launch.pipeline, for its datasets")
    parser.add_argument("--fit", help="folder of launch.proxies whose runs are fitted")
    parser.add_argument("--judge", help="folder of launch.proxies whose runs are predicted")
    parser.add_argument("--runs", default="4,8,12,16")
    parser.add_argument("--counts", default="0,1,2,4,8,64")
    parser.add_argument("--choices", type=int, default=8)
    args = parser.parse_args()
    if not (args.run and args.fit and args.judge):
        print("skipped: give a run folder, --fit and --judge (see the top of this file)")
        return 0
    known = catalogue.read(Path(args.run) / "corpora.yml")
    corpora, names = list(known.corpora), [f"{name}_bpb" for name in known.corpora]
    tables = [metrics.read(Path(folder)) for folder in (args.fit, args.judge)]
    weights, measured = (
        [
            np.array([[table.runs[run]["weights"].get(c, 0.0) for c in corpora] for run in table.rows])
            for table in tables
        ],
        [np.array([[float(row[name]) for name in names] for row in table.rows.values()]) for table in tables],
    )
    tokens = float(next(iter(tables[0].rows.values()))["tokens"])
    counted = ngram.Counted(known, eval_tokens=8_000)
    columns = [counted.metrics.index(name) for name in names]
    spread = propose(Constraints(corpora=corpora, upper=weights[0].max(axis=0)), 64, 1, floor=0.01)
    at, rest = (counted.losses(rows, tokens)[:, columns] for rows in (weights[0], spread))
    counts = [float(word) for word in args.counts.split(",")]
    print(f"{len(weights[1])} mixtures judge; n, then the error for all screened mixtures counting {args.counts} runs")
    for n in (int(word) for word in args.runs.split(",")):
        rng, errors = np.random.default_rng(0), np.zeros(len(counts))
        for _ in range(args.choices):
            chosen = rng.choice(len(weights[0]), n, replace=False)
            for number, count in enumerate(counts):
                screened.COUNT = count
                screen = screened.Screen(weights=spread, losses=rest, at_runs=at[chosen])
                law = make("law", 0).fit(
                    weights[0][chosen], measured[0][chosen], **({"screen": screen} if count else {})
                )
                error = ((law.predict(weights[1]) - measured[1]) ** 2).mean(axis=0) / measured[1].var(axis=0)
                errors[number] += np.sqrt(error).mean() / args.choices
        print(f"{n:>3}  " + "  ".join(f"{error:.3f}" for error in errors))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
