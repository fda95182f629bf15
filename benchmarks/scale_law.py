"""Losses and ranks at a scale that has few runs or none, from runs of other scales (`mixer.lifted`).

    python benchmarks/scale_law.py                                  (RegMix's public runs: 60M parameters from 1M)
    python benchmarks/scale_law.py --make runs/japanese FOLDER      (trains a swarm of 4 sizes on a run's datasets)
    python benchmarks/scale_law.py --swarm FOLDER ...               (each with factors of intervals set on the others)

Of RegMix's runs, 128 random ones at 1M and a few at 60M are fitted, the other 60M runs judge: rank of the mean of 13 losses,
mean rank of the 13, level error. Beside it: the small runs alone, straight lines a metric (what was done before), the few 60M
runs alone, and the lines on the true 1M losses of the same mixtures, a ceiling. Of a swarm the largest size is left out: levels
at twice the largest size fitted (2x), and at four times the size and five times the tokens (4x 5x), with
the coverage of 90 % intervals and the mean rank of the losses at that size against that of the small runs alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from _measure import parser

from mixer import lifted, scales
from mixer.laws_share import EffectiveShareLaw
from mixer.report_card import rank_correlation

Array = np.ndarray
BATCH = {"train_micro_batch_size_per_gpu": 4, "train_batch_size": 4}  # many steps from few tokens
HIDDEN = (24, 40, 64, 104)  # about twice the parameters from one to the next, with 1,024 pieces
TOKENS = {48_000: (12, 8, 6, 6), 108_000: (6, 5, 5, 5), 540_000: (0, 0, 0, 2), 240_000: (5, 4, 4, 4)}  # models a size

FACTORS = {"_RATE": (0.35, 0.5, 0.7, 1.0, 1.4), "_CHANGE": (0.2, 0.3, 0.4, 0.6, 0.8)}
"""Constants of `mixer.lifted` that say how unsure levels beyond all scales are, and what is tried for them."""


def at_target(
    small: lifted.Runs, others: lifted.Others, draws: int, seed: int = 0
) -> tuple[EffectiveShareLaw, lifted.Lifted]:
    """The law that a search would use, with its draws."""
    one = np.ones(small.losses.shape[1]) / small.losses.std(axis=0)
    step = lifted.lift(small, others, one, seed, draws, True)
    law = EffectiveShareLaw(seed=seed)
    law.fit(*step.runs)
    law.moved = step.draws
    law.bootstrap(draws)
    return law, step


def judged(guess: Array, truth: Array) -> tuple[float, float, float]:
    """Rank of the mean loss, mean rank, mean relative error."""
    each = [rank_correlation(a, b) for a, b in zip(guess.T, truth.T, strict=True)]
    return (
        rank_correlation(guess.mean(1), truth.mean(1)),
        float(np.mean(each)),
        float(np.mean(np.abs(guess - truth) / truth)),
    )


def regmix(splits: Iterable[int], small: int, large: int) -> None:
    """Print the study on RegMix's runs."""
    from _public_runs import table

    train, same, big = table("train"), table("test"), table("test", "60m")
    made: dict[str, list[tuple[float, ...]]] = {}
    moved = []
    for split in splits:
        rng = np.random.default_rng(split)
        fit, order = rng.permutation(len(train.runs))[:small], rng.permutation(len(big.runs))
        few, rest = order[:large], order[large:]
        runs = lifted.Runs(train.weights[fit], train.losses[fit], None)
        law = EffectiveShareLaw().fit(*runs)
        guess, spread = law.predict(big.weights), runs.losses.std(axis=0)
        place = np.full((large, 1), np.log(60.0))
        others = lifted.Others(weights=big.weights[few], losses=big.losses[few], at=place, aim=place[0])
        joint, step = at_target(runs, others, 20)
        draws = joint.predict_draws(big.weights[rest])
        sd = np.sqrt(draws.var(axis=0) + step.noise**2)
        moved.append(step.moved)
        answers = {
            "small runs alone": guess[rest],
            "straight lines": scales.lines(guess[few], big.losses[few], spread).apply(guess[rest]),
            "law and lines": joint.predict(big.weights[rest]),
            "60M runs alone": EffectiveShareLaw().fit(big.weights[few], big.losses[few]).predict(big.weights[rest]),
            "true 1M losses, lines": scales.lines(same.losses[few], big.losses[few], spread).apply(same.losses[rest]),
        }
        truth = big.losses[rest]
        inside = float(np.mean(np.abs(answers["law and lines"] - truth) < 1.645 * sd))
        for name, answer in answers.items():
            made.setdefault(name, []).append((*judged(answer, truth), inside if name == "law and lines" else np.nan))
    print(f"{small} runs at 1M, {large} at 60M, {len(moved)} splits; weights moved in {np.mean(moved):.0%}")
    print(f"{'':22}   mean of 13 (least)   mean rank   level error   coverage   better than lines")
    lines = np.array(made["straight lines"])[:, 0]
    for name, rows in made.items():
        values = np.array(rows)
        wins = float(np.mean(values[:, 0] > lines))
        rank, each, level, covered = values.mean(axis=0)
        print(
            f"{name:22}   {rank:.4f} ({values[:, 0].min():.4f})   {each:.4f}   {level:.2%}   {covered:.1%}   {wins:.0%}"
        )


def read(folder: Path) -> tuple[Array, Array, list[str], list[tuple[float, float]], list[str]]:
    """Weights, losses, scales in words and as numbers (size, tokens), and metrics of every run below a folder."""
    from launch.proxies import metrics

    weights, losses, named, numbers, names = [], [], [], [], list[str]()
    for path in sorted(folder.glob("*/metrics.csv")):
        known = metrics.read(path.parent)
        for run, row in known.rows.items():
            names = names or [name for name in row if name.endswith("_bpb")]
            mixture: dict[str, Any] = known.runs[run]["weights"]
            weights.append([mixture[name.removesuffix("_bpb")] for name in names])
            losses.append([float(row[name]) for name in names])
            numbers.append((float(row["size"]), float(row["tokens"])))
            named.append(scales.label(str(row["size"]), float(row["tokens"])))
    return np.array(weights), np.array(losses), named, numbers, names


@dataclass(frozen=True)
class Case:
    """What was fitted of a swarm, and what it is judged by."""

    name: str
    tokens: float
    small: lifted.Runs
    others: lifted.Others
    weights: Array
    losses: Array


def cases(folder: Path) -> list[Case]:
    """A swarm with its largest size left out."""
    weights, losses, named, numbers, metrics = read(folder)
    place = np.array(numbers)
    sizes, budgets = (np.unique(place[:, x]) for x in (0, 1))
    print(
        f"{folder.name}: {len(losses)} runs, {len(metrics)} losses; sizes {sizes.astype(int).tolist()}, "
        f"tokens {budgets.astype(int).tolist()}"
    )
    top = place[:, 0] == sizes[-1]
    asked = [("2x", place[:, 0] < sizes[-1], sizes[-1], tokens) for tokens in budgets]
    few = (place[:, 0] <= sizes[1]) & (place[:, 1] <= budgets[1])
    asked += [("4x 5x", few, sizes[-1], budgets[-1]), ("4x", few, sizes[-1], budgets[1])]
    made = []
    for name, fit, size, tokens in asked:
        out = top & (place[:, 1] == tokens)
        if not out.any():
            continue
        fitted = np.flatnonzero(fit)
        parts = scales.sort([named[i] for i in fitted], f"{size:.0f}", "the swarm", None, float(tokens))
        small, rest = fitted[parts.fit], fitted[parts.other]
        others = lifted.Others(
            weights=weights[rest],
            losses=losses[rest],
            at=parts.at,
            aim=parts.aim,
            beyond=parts.beyond,
            words=parts.words,
        )
        made.append(
            Case(
                name, float(tokens), lifted.Runs(weights[small], losses[small], None), others, weights[out], losses[out]
            )
        )
    return made


def answered(case: Case, draws: int) -> tuple[Array, Array, bool]:
    """Predicted losses (n, metrics), their standard deviations, and whether weights move with the scale."""
    law, step = at_target(case.small, case.others, draws)
    sd = np.sqrt(law.predict_draws(case.weights).var(axis=0) + step.noise**2)
    return law.predict(case.weights), sd, step.moved


def interval_scores(case: Case, draws: int) -> dict[str, list[float]]:
    """Mean relative interval score (width, and 20 times what lies outside) by each factor of an unknown level."""
    made: dict[str, list[float]] = {}
    kept = {name: getattr(lifted, name) for name in FACTORS}
    for name, values in FACTORS.items():
        made[name] = []
        for value in values:
            setattr(lifted, name, value)
            guess, sd, _ = answered(case, draws)
            off, half = np.abs(guess - case.losses), 1.645 * sd
            made[name].append(float(((2.0 * half + 20.0 * np.maximum(off - half, 0.0)) / case.losses).mean()))
        setattr(lifted, name, kept[name])
    return made


def swarms(folders: Sequence[Path], draws: int) -> None:
    """Print the study on swarms; of several, each with the factors of its intervals set on the others."""
    every = {folder.name: cases(folder) for folder in folders}
    scored = {name: [interval_scores(case, draws) for case in own] for name, own in every.items() if len(folders) > 1}
    for name, own in every.items():
        said = []
        for factor, values in FACTORS.items() if scored else ():
            others = np.array([row[factor] for other, rows in scored.items() if other != name for row in rows])
            best = values[int(others.sum(axis=0).argmin())]
            setattr(lifted, factor, best)
            said.append(f"{factor} {best:g}")
        print(f"{name}: {', '.join(said) or 'the factors in use'}")
        for case in own:
            guess, sd, moved = answered(case, draws)
            y, plain = case.losses, EffectiveShareLaw().fit(case.small.weights, case.small.losses).predict(case.weights)
            inside, half = np.abs(guess - y) < 1.645 * sd, np.mean(1.645 * sd / y)
            ranks = [np.mean([rank_correlation(a, b) for a, b in zip(p.T, y.T, strict=True)]) for p in (guess, plain)]
            print(
                f"{case.name:6} {case.tokens:8.0f} tokens, {len(y)} runs: level {np.mean(np.abs(guess - y) / y):.2%} (bias "
                f"{np.mean((guess - y) / y):+.2%}), interval holds {inside.mean():.0%} (half width {half:.1%}), "
                f"rank {ranks[0]:.3f} (small runs {ranks[1]:.3f}), moved: {moved}",
                flush=True,
            )


def make(run: Path, folder: Path) -> None:
    """Train the swarm; the same call goes on where it stopped."""
    from _run_folder import datasets, rows

    from launch import proxies
    from launch.proxies.train import load
    from neox_configs import shipped

    base, known = dict(load([shipped.find_model("0-1M")])), datasets(run)
    corpora = list(known.corpora)
    drawn = np.random.default_rng(7).dirichlet(np.ones(len(corpora)), 28) * (1.0 - 0.02 * len(corpora)) + 0.02
    pool = drawn.round(5) / drawn.round(5).sum(1, keepdims=True)
    for number, (tokens, counts) in enumerate(TOKENS.items()):
        for place, (hidden, count) in enumerate(zip(HIDDEN, counts, strict=True)):
            if count:
                pick = [(5 * place + 9 * number + i) % len(pool) for i in range(count)]
                config = {**base, "hidden_size": hidden, "num_layers": 2, **BATCH}
                table = {f"p{i:03d}": row for i, row in zip(pick, rows(corpora, pool[pick]).values(), strict=True)}
                where = folder / f"h{hidden}-t{tokens}"
                proxies.run(table, known, config, where, tokens=tokens, workers=1, seed=1, eval_tokens=6000, show=False)


def main() -> int:
    words = parser(__doc__)
    words.add_argument("--swarm", type=Path, nargs="+", help="folders of --make: judge the largest size of each")
    words.add_argument(
        "--make", type=Path, nargs=2, metavar=("RUN", "FOLDER"), help="train such a swarm on a run's datasets"
    )
    words.add_argument("--splits", type=int, default=24)
    words.add_argument("--small", type=int, default=128)
    words.add_argument("--large", type=int, default=8)
    words.add_argument("--draws", type=int, default=60)
    args = words.parse_args()
    if args.make:
        make(*args.make)
    elif args.swarm:
        swarms(args.swarm, args.draws)
    else:
        regmix(range(args.splits), args.small, args.large)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
