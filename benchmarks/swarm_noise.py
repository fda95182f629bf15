"""How noisy small proxies are, and how alike they order mixtures: what `mixer.budget` takes as given, measured on a swarm.

    python benchmarks/swarm_noise.py RUN --output-dir FOLDER    (RUN: a run folder of launch.pipeline; 7 CPU-minutes)
    python benchmarks/swarm_noise.py --table examples/japanese_swarm       (seconds)

The same mixtures are trained at several sizes and token counts with two seeds each. Noise is what a seed does to differences
between mixtures (a seed's effect on all alike is taken off), over the metric's standard deviation over mixtures without
noise. The correlation of two cells (sizes, token counts) is that of their losses without noise: pairs of different seeds
alone are compared, and divided by how far two seeds of one cell agree. The constants of `mixer.expected_regret` are fitted
to these figures, and to what is published of larger models.

--table trains nothing: of swarms of the same mixtures at several sizes (ratios.csv, SIZE/metrics.csv, NAME/SIZE/metrics.csv at
other tokens, and beside these, where there are some, screen/SIZE with what launch.screen says at that size's tokens, or screen/
alone where all sizes of the folder had as many) it prints the noise of a run by its replicates beside the spread over mixtures,
how the sizes rank the mixtures, two by two, with intervals of 90 % (a bootstrap over mixtures), and what is lost at the largest
size with the mixture that a smaller one, the screen or nothing (the first row, token share) would have chosen of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from _run_folder import arguments, datasets, limits, parser, rows
from scipy.optimize import least_squares
from small_tasks import agreement as agreement_of

from haigo.formats.tables import by_run
from launch import proxies
from launch.proxies.train import load
from mixer import replicates
from mixer.arrays import Array
from mixer.design import propose
from mixer.expected_regret import Scale
from mixer.proxies import read
from mixer.report_card import rank_correlation
from neox_configs import shipped

Cell = tuple[float, float]
"""Parameters and tokens."""
HIDDEN = {24: (48_000, 120_000, 300_000), 64: (48_000, 120_000), 160: (48_000,)}
"""Width of two layers -> token counts."""
SEEDS = (1, 2)


def trained(run: Path, folder: Path, mixtures: int) -> dict[Cell, Array]:
    """Losses (seeds, mixtures, corpora) of every cell; what is trained is kept, and the same call goes on."""
    base, known = dict(load([shipped.find_model("0-1M")])), datasets(run)
    weights = propose(limits(run, 2.5), mixtures, 1, floor=0.01)
    table, made = rows(list(known.corpora), weights), {}
    for tokens in sorted({each for counts in HIDDEN.values() for each in counts}):
        for hidden, counts in HIDDEN.items():
            if tokens not in counts:
                continue
            config, losses = {**base, "hidden_size": hidden, "num_layers": 2}, []
            for seed in SEEDS:
                where = folder / f"h{hidden}-t{tokens}-s{seed}"
                how: dict[str, Any] = {"tokens": tokens, "seed": seed, "workers": 1, "eval_tokens": 6000, "show": False}
                done = proxies.run(table, known, config, where, checkpoints=False, **how)
                if done.failed:
                    raise SystemExit(f"proxies failed: {done.failed}")
                results = [done.results[name] for name in table]
                losses.append([[each["metrics"][f"{name}_bpb"] for name in known.corpora] for each in results])
            made[float(results[0]["size"]), float(results[0]["tokens"])] = np.array(losses)
            seconds = sum(each["cpu_seconds"] for each in results)
            print(f"hidden {hidden}, {tokens} tokens: {seconds:.0f} CPU-seconds a seed", flush=True)
    return made


def noise(losses: Array) -> tuple[Array, Array]:
    """(metrics,) noise of one run between mixtures, and the standard deviation over mixtures without it.

    Args:
        losses: (seeds, mixtures, metrics).
    """
    seeds, mixtures = losses.shape[:2]
    rest = losses - losses.mean(axis=0) - losses.mean(axis=1, keepdims=True) + losses.mean(axis=(0, 1))
    variance = (rest**2).sum(axis=(0, 1)) / ((seeds - 1) * (mixtures - 1))
    both = losses.mean(axis=0).var(axis=0, ddof=1) - variance / seeds
    return np.sqrt(variance), np.sqrt(np.maximum(both, 0.05 * variance))


def agreement(one: Array, other: Array) -> float:
    """Correlation of two cells' losses over mixtures without noise, mean over metrics (and seeds), at most 1.

    Args:
        one, other: (seeds, mixtures, metrics).
    """
    alone = [np.mean([_correlations(a, b) for a, b in combinations(cell, 2)], axis=0) for cell in (one, other)]
    across = np.mean([_correlations(a, b) for i, a in enumerate(one) for j, b in enumerate(other) if i != j], axis=0)
    return float(min(1.0, across.mean() / np.sqrt(alone[0].mean() * alone[1].mean())))


def _correlations(one: Array, other: Array) -> Array:
    return np.array([np.corrcoef(a, b)[0, 1] for a, b in zip(one.T, other.T, strict=True)])


OTHERS = (
    ((1182272, 38912), (1182272, 77824), 0.965, 0.02),
    ((1182272, 58368), (1182272, 77824), 0.992, 0.01),
    ((1e6, 1e9), (60e6, 1e9), 0.991, 0.003),
)
"""Correlations of single losses measured elsewhere, and how sure they are: `swarm_curves.py`, and RegMix's 256 mixtures."""


def fitted(cells: Mapping[Cell, Array]) -> None:
    """Print what `mixer.expected_regret.Scale` would be by single losses: order early in training, and the size's own part."""
    own = [(one, other, agreement(cells[one], cells[other]), 0.04) for one, other in combinations(cells, 2)]
    pairs = [*own, *OTHERS]

    def said(point: Array) -> Array:
        early, fall, gap = np.exp(point[[0, 1, 3]])
        roots = [[early * (n ** point[2] * d / 1e9) ** -fall for n, d in pair[:2]] for pair in pairs]
        sizes = [gap * abs(np.log10(one[0] / other[0])) ** Scale.size_power for one, other, *_ in pairs]
        return np.array([(1 + gap + (a - b) ** 2) ** -0.5 for gap, (a, b) in zip(sizes, roots, strict=True)])

    seen, sure = np.array([[pair[2], pair[3]] for pair in pairs]).T
    start = np.array([1.0, np.log(0.2), 1.0, np.log(0.0007)])
    answer = least_squares(lambda x: np.r_[(said(x) - seen) / sure, x[3] - start[3]], start, loss="soft_l1")
    early, fall, gap = np.exp(answer.x[[0, 1, 3]])
    print(f"early {early:.2f}, falls by {fall:.2f} of tokens x parameters^{answer.x[2]:.2f}; size_gap {gap:.4f}")
    for pair, value in zip(pairs, said(answer.x), strict=True):
        print(f"  {pair[0]} {pair[1]}: {pair[2]:.3f}, said {value:.3f}")
    ratio = [np.log((each[0] / each[1]) ** 2).mean() / 2 for each in map(noise, cells.values())]
    place = [np.log(size / tokens) for size, tokens in cells]
    print(f"noise grows by {np.polyfit(place, ratio, 1)[0]:+.2f} of parameters a token")


def tables(cells: Mapping[Cell, Array]) -> None:
    """Print noise a cell, and the correlation of every pair of cells."""
    for (size, tokens), losses in cells.items():
        each, mean = noise(losses), noise(losses.mean(axis=2, keepdims=True))
        ratio = each[0] / each[1]
        print(
            f"{size:9.0f} parameters {tokens:8.0f} tokens: noise {np.sqrt((ratio**2).mean()):.3f} of single losses "
            f"({' '.join(f'{one:.2f}' for one in ratio)}), {mean[0][0] / mean[1][0]:.3f} of their mean; "
            f"spread {' '.join(f'{one:.3f}' for one in each[1])}"
        )
    for one, other in combinations(cells, 2):
        single = agreement(cells[one], cells[other])
        both = agreement(*(cells[each].mean(axis=2, keepdims=True) for each in (one, other)))
        print(f"{one[0]:9.0f} {one[1]:8.0f}  {other[0]:9.0f} {other[1]:8.0f}   {single:.3f}, of the mean {both:.3f}")


def ranked(folder: Path) -> tuple[list[str], dict[str, Array], dict[str, Array]]:
    """Metrics, and bits per byte (mixtures, metrics) of each size, smallest first, and of the screens at their tokens."""
    paths = [path for path in folder.rglob("metrics.csv") if "screen" not in path.relative_to(folder).parts]
    known = {path.parent.relative_to(folder).as_posix(): read(folder / "ratios.csv", path, ["*_bpb"]) for path in paths}
    sizes = sorted(known, key=lambda name: trained_as(folder / name / "metrics.csv"))
    metrics, runs = known[sizes[0]].metrics, known[sizes[0]].runs
    places = {name: (folder / name).parent / "screen" for name in sizes}
    places = {
        name: place if (place / "metrics.csv").is_file() else place / Path(name).name for name, place in places.items()
    }
    counted = {
        place: read(place / "ratios.csv", place / "metrics.csv", metrics)
        for place in set(places.values())
        if (place / "metrics.csv").is_file()
    }
    losses = {place: said.losses[[said.runs.index(run) for run in runs]] for place, said in counted.items()}
    screens = {name: losses[place] for name, place in places.items() if place in losses}
    return metrics, {name: known[name].losses for name in sizes}, screens


def trained_as(path: Path) -> tuple[float, float]:
    """Parameters and tokens of the models of a metrics.csv."""
    size, tokens = by_run(path)[["size", "tokens"]].iloc[0].astype(float)
    return size, tokens


def noise_of_runs(path: Path, metrics: list[str], asked: Sequence[str]) -> str:
    """A sentence on what replicates in a metrics.csv say: noise between mixtures of one seed, in parts of the spread."""
    table = by_run(path)
    losses = table[metrics].to_numpy(dtype=float)
    losses = np.column_stack([losses, losses.mean(axis=1)])
    found = replicates.noise(list(table.index), list(table["seed"]), losses)
    if found is None or found.sd_between is None:
        return "no replicates"
    names = [*metrics, "mean"]
    over = np.array(list(replicates.spread(list(table.index), losses, names).values()))
    ratio = found.sd_between / over
    shown = ", ".join(f"{name} {ratio[names.index(name)]:.3f}" for name in asked)
    free = found.free_between
    return f"noise of a run / spread: {ratio[:-1].mean():.3f} (mean of losses one by one), {shown}; {free} degrees of freedom"


def sum_of(losses: Array, what: str, metrics: list[str]) -> Array:
    """Losses (mixtures,): of one metric, or the mean of all."""
    return losses.mean(axis=1) if what == "mean" else losses[:, metrics.index(what)]


def spearman(one: Array, other: Array, rng: np.random.Generator) -> str:
    """Spearman's rho over mixtures with the ends of a bootstrap's 90 %."""
    rho, low, high = agreement_of(one, other, rng)
    return f"{rho:.2f} ({low:.2f} to {high:.2f})"


def ranks(folder: Path) -> None:
    """Print what sizes and screens say of the same mixtures."""
    metrics, cells, screens = ranked(folder)
    rng, largest = np.random.default_rng(1), list(cells)[-1]
    asked = [name for name in ("news_bpb", "mean") if name == "mean" or name in metrics]
    for name in cells:
        print(f"{name}: {noise_of_runs(folder / name / 'metrics.csv', metrics, asked)}")
    pairs = [(one, cells[one], other, cells[other]) for one, other in combinations(cells, 2)]
    pairs += [(f"screen {name}", said, name, cells[name]) for name, said in screens.items()]
    pairs += [
        (f"screen {name}", said, largest, cells[largest])
        for name, said in screens.items()
        if said is not screens.get(largest)
    ]
    print(f"{'':30s} {'all losses':>12s}" + "".join(f"{name:>24s}" for name in asked))
    for one, ours, other, theirs in pairs:
        each = np.mean([rank_correlation(a, b) for a, b in zip(ours.T, theirs.T, strict=True)])
        shown = [spearman(sum_of(ours, name, metrics), sum_of(theirs, name, metrics), rng) for name in asked]
        print(f"{one:>16s} -> {other:10s} {each:12.2f}" + "".join(f"{text:>24s}" for text in shown))
    for name in asked:
        there = sum_of(cells[largest], name, metrics)
        chosen = {"token share": 0} | {
            label: int(sum_of(losses, name, metrics).argmin())
            for label, losses in [*cells.items(), *((f"screen {size}", said) for size, said in screens.items())]
        }
        lost = ", ".join(f"{label} {100 * (there[row] / there.min() - 1):.1f} %" for label, row in chosen.items())
        print(f"{name} at {largest} above the best of {len(there)}, chosen by: {lost}")


def main() -> int:
    words = parser(__doc__)
    words.add_argument("--table", type=Path, help="folder of swarms of one table: train nothing")
    words.add_argument("--output-dir", type=Path, default=Path(".cache/swarm_noise"))
    words.add_argument("--mixtures", type=int, default=8)
    table = words.parse_known_args()[0].table
    if table is not None:
        ranks(table)
        return 0
    args = arguments(words)
    cells = trained(args.run, args.output_dir, args.mixtures)
    tables(cells)
    fitted(cells)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
