"""What parting sources into domains gains: the same search over sources and over their parts, with the same CPU time.

    python -m launch.pipeline examples/japanese.yml            (or any run: its corpora, tokenizer and datasets are used)
    python benchmarks/partition_gain.py runs/japanese --topics 8

Both arms choose for the least loss on held-out news, every other source at most 5 % worse than at token share: proxies,
a 2-gram screen, the search of mixer.search. The arm of the parts pays for scores (--bands: a classifier with news as
good text), for parting and for indexing the parts, and has so many proxies less. Its proxies are runs on whole sources,
which stand for their parts; both arms share them, and each is charged for those that it uses. The search reads the
sources' validation sets; the target models, one a mixture and seed, are judged on their test sets. The noise is that
between training seeds of what the parts gain. What is done is kept in --output-dir: the same command goes on after a
break.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from _run_folder import arguments, datasets, parser

from haigo import files
from haigo.formats import documents
from haigo.formats.dataset.indexed import MMapReader
from launch.local.train import train
from launch.proxies import ngram
from launch.proxies.options import CountOptions
from launch.proxies.proxy import proxy_config
from mixer.design import propose
from mixer.objective import Objective
from mixer.options import LimitOptions
from mixer.recommend import recommend
from mixer.screened import Screen
from mixer.supply import Constraints, constraints_from
from neox_configs import reader, shipped
from neox_configs.catalogue import Catalogue

Weights = dict[str, float]
TARGET, GOAL, CEILING = "news", 2.0, 1.05
EVAL_TOKENS, LEAST_PROXIES, LEAST_DOCUMENTS = 4_000, 4, 5


def spent(work: Callable[[], Any]) -> float:
    """CPU-seconds of this process and its children for `work`."""
    before = os.times()
    work()
    after = os.times()
    return sum(
        getattr(after, of) - getattr(before, of) for of in ("user", "system", "children_user", "children_system")
    )


class World:
    """The sources of a run folder, their parts, models of their mixtures, and what each cost."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args, self.out = args, args.output_dir
        self.known = datasets(args.run)
        self.sources = list(self.known.corpora)
        self.metrics = [f"{name}_bpb" for name in self.sources]
        self.train = {name: Path(sets["train"]) for name, sets in self.known.corpora.items()}
        self.source_of = {name: name for name in self.sources}
        self.costs = self.kept("parts-cost", self._part)
        self.parts = [path.parent.name for path in sorted((self.out / "parts").glob(f"*/{documents.REPORT}"))]
        self.train |= {name: self.out / "data" / name / "train_text_document" for name in self.parts}
        self.source_of |= {name: name.split(".")[0] for name in self.parts}

    def kept(self, name: str, work: Callable[[], Any]) -> Any:
        """What `work` gave, from its file where it was done before."""
        path = self.out / f"{name}.json"
        if not path.exists():
            self.out.mkdir(parents=True, exist_ok=True)
            files.write_json(path, work())
        return files.read_json(path)

    def _part(self) -> dict[str, float]:
        """Score, part and index; CPU-seconds of each."""
        from preprocess.index import index
        from preprocess.partition import partition

        args, folders = self.args, [self.args.run / "corpora" / name for name in self.sources]
        cost: dict[str, float] = {}
        how: dict[str, Any] = {"least": LEAST_DOCUMENTS, "workers": 1}
        if args.topics:
            how |= {"topics": args.topics, "seed": args.partition_seed}
        if args.bands:
            how["bands"] = args.bands
            cost["score"] = spent(lambda: self._score(folders))
            folders = [self.out / "scored" / name for name in self.sources]
        cost["partition"] = spent(lambda: partition(folders, self.out / "parts", **how))

        def indexed() -> None:
            for report in sorted((self.out / "parts").glob(f"*/{documents.REPORT}")):
                place, prefix = report.parent, self.out / "data" / report.parent.name / "train"
                index(documents.shards(place, "train"), self.known.tokenizer, prefix, workers=1)

        cost["index"] = spent(indexed)
        return cost

    def _score(self, folders: list[Path]) -> None:
        from preprocess import quality
        from preprocess.score import score

        good = [folder for folder in folders if folder.name == TARGET]
        quality.train(good, [each for each in folders if each not in good], self.out / "quality")
        score(folders, self.out / "scored", quality=str(self.out / "quality"), workers=1)

    def limits(self, names: list[str]) -> Constraints:
        """Supply and groups of sources or of parts."""
        supply: dict[str, dict[str, Any]] = {
            name: {"tokens": float(len(MMapReader(self.train[name]).tokens))} for name in names
        }
        if names != self.sources:
            supply = {name: {**row, "group": self.source_of[name]} for name, row in supply.items()}
        return constraints_from(supply, names, LimitOptions(target_tokens=self.args.target_tokens))

    def model(self, mixture: Weights, model: str, tokens: int, seed: int, folder: str) -> dict[str, Any]:
        """A trained model: CPU-seconds, and bits per byte of the sources' validation and test sets."""
        sets = {
            split: {name: str(self.known.corpora[name][split]) for name in self.sources} for split in ("valid", "test")
        }
        used = {name: weight for name, weight in mixture.items() if weight > 0}
        every = Catalogue(self.known.tokenizer, {name: {"train": prefix} for name, prefix in self.train.items()})
        config = proxy_config(reader.load(shipped.find_model(model)), used, every, seed)
        test = {} if folder.startswith("proxies") else sets["test"]
        asked: dict[str, Any] = {
            "tokens": tokens,
            "seed": seed,
            "eval_tokens": EVAL_TOKENS,
            "test_tokens": self.args.test_tokens,
            "test": test,
        }
        own: dict[str, Any] = {
            "tokenizer": str(self.known.tokenizer),
            "valid": sets["valid"],
            "progress": lambda _: None,
        }
        return train(config, self.out / folder, export=False, checkpoints=False, **asked, **own)

    def proxies(self, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Mixtures of sources (n, sources), losses (n, metrics) and CPU-seconds (n,)."""
        args = self.args
        mixtures = propose(self.limits(self.sources), args.proxies, seed, floor=0.01)
        made = [
            self.model(
                dict(zip(self.sources, row, strict=True)),
                args.proxy,
                args.proxy_tokens,
                seed,
                f"proxies{seed}/p{n:03d}",
            )
            for n, row in enumerate(mixtures.tolist())
        ]
        losses = [[one["metrics"][metric] for metric in self.metrics] for one in made]
        return mixtures, np.array(losses), np.array([one["cpu_seconds"] for one in made])

    def counted(self, names: list[str], seed: int) -> Callable[[np.ndarray], np.ndarray]:
        """Mixtures (n, names) -> losses (n, metrics) of 2-gram models after a proxy's tokens."""
        corpora: dict[str, dict[str, Path]] = {}
        asked: dict[str, str] = {}
        for name in names:  # the first part of a source asks for the loss on the whole source
            corpora[name] = {"train": self.train[name]}
            if asked.setdefault(self.source_of[name], name) == name:
                corpora[name]["valid"] = Path(self.known.corpora[self.source_of[name]]["valid"])
        options = CountOptions(eval_tokens=self.args.screen_tokens, seed=seed)
        counts = ngram.Counted(Catalogue(self.known.tokenizer, corpora), options)
        columns = [counts.metrics.index(f"{asked[source]}_bpb") for source in self.sources]
        return lambda mixtures: counts.losses(mixtures, self.args.proxy_tokens)[:, columns]

    def chosen(self, names: list[str], mixtures: np.ndarray, losses: np.ndarray, seed: int) -> dict[str, Any]:
        """The mixture of sources or parts that the search chooses, and CPU-seconds of screen and search.

        Args:
            mixtures: (n, sources) of the proxies.
            losses: (n, metrics).
        """
        args = self.args
        answer: dict[str, Any] = {}

        def work() -> None:
            limits = self.limits(names)
            inside = np.array([[source == self.source_of[name] for name in names] for source in self.sources])
            supply = inside * np.asarray(limits.supply)
            wholes = mixtures @ (supply / supply.sum(axis=1, keepdims=True))
            wholes /= wholes.sum(axis=1, keepdims=True)
            spread = propose(limits, args.mixtures, seed, floor=0.01 * len(self.sources) / len(names))
            counted = self.counted(names, seed)
            screen = Screen(weights=spread, losses=counted(spread), at_runs=counted(wholes))
            allowed = f"{100 * (CEILING - 1):+.0f}%"
            others: dict[str, float | str] = {name: allowed for name in self.metrics if name != f"{TARGET}_bpb"}
            objective = Objective(weights={f"{TARGET}_bpb": 1.0}, ceilings=others, standardise=False)
            more: dict[str, Any] = {"metrics": self.metrics, "screen": screen, "force": True}
            found = recommend(wholes, losses, objective, limits, seed, args.draws, **more)
            answer.update(weights=dict(zip(names, found.weights.tolist(), strict=True)), notes=found.notes)

        answer["seconds"] = spent(work)
        return answer


def arms(world: World, seed: int) -> dict[str, tuple[int, float, Weights]]:
    """Proxies, CPU-seconds and mixture of each arm."""
    mixtures, losses, seconds = world.proxies(seed)
    names, n = world.parts, len(mixtures)
    plain = world.kept(f"sources-{seed}", lambda: world.chosen(world.sources, mixtures, losses, seed))
    ready, budget = sum(world.costs.values()), float(seconds.sum()) + plain["seconds"]
    # the search over parts costs more than that over sources: it is made with ever fewer proxies until all fits
    parted = {"seconds": 2 * plain["seconds"]}
    for _ in range(3):
        fits = int((np.cumsum(seconds) + ready + parted["seconds"] <= budget).sum())
        if n == max(fits, LEAST_PROXIES):
            break
        n = max(fits, LEAST_PROXIES)
        parted = world.kept(f"parts-{seed}-{n}", partial(world.chosen, names, mixtures[:n], losses[:n], seed))
    supply = world.limits(world.sources).token_share
    assert supply is not None
    return {
        "token share": (0, 0.0, dict(zip(world.sources, supply.tolist(), strict=True))),
        "sources": (len(mixtures), budget, plain["weights"]),
        "parts": (n, ready + float(seconds[:n].sum()) + parted["seconds"], parted["weights"]),
    }


def report(world: World, seed: int) -> tuple[float, list[float]]:
    """Print a seed's rows; what the parts gain over the sources in percent: with this training seed, and with all."""
    args, mixed, gains = world.args, arms(world, seed), []
    print(f"seed {seed}: news bpb on test text, worst other source over token share, proxies, CPU-s, source weights")
    for again in range(args.replicates):
        tested = {}
        for name, (_, _, mixture) in mixed.items():
            folder = f"targets{seed}-{seed + 100 * again}/{name.replace(' ', '_')}"
            done = world.model(mixture, args.model, args.target_tokens, seed + 100 * again, folder)
            tested[name] = np.array([done["metrics_test"][metric] for metric in world.metrics])
        at = world.sources.index(TARGET)
        for name, (n, cost, mixture) in mixed.items():
            over = np.delete(tested[name] / tested["token share"], at)
            worst = np.delete(world.sources, at)[over.argmax()]
            weights = [
                sum(w for part, w in mixture.items() if world.source_of[part] == source) for source in world.sources
            ]
            print(
                f"  {name:12} {tested[name][at]:.4f}  {worst} {100 * (over.max() - 1):+.1f} %"
                f"{'' if over.max() <= CEILING else ' (above the ceiling)'}  {n} proxies {cost:.0f} s  "
                + " ".join(f"{source} {weight:.3f}" for source, weight in zip(world.sources, weights, strict=True)),
                flush=True,
            )
        gains.append(100 * (1 - tested["parts"][at] / tested["sources"][at]))
        print(f"  training seed {seed + 100 * again}: the parts gain {gains[-1]:+.2f} %", flush=True)
    return gains[0], gains


def main() -> int:
    words = parser(__doc__)
    words.add_argument("--output-dir", type=Path, default=Path(".cache/partition_gain"))
    words.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    words.add_argument("--topics", type=int, default=4)
    words.add_argument("--bands", type=int, default=0)
    words.add_argument("--partition-seed", type=int, default=1234)
    words.add_argument("--proxies", type=int, default=12, help="of the arm of the sources (default: 12)")
    words.add_argument("--proxy", default="0-1M")
    words.add_argument("--proxy-tokens", type=int, default=40_960)
    words.add_argument("--mixtures", type=int, default=64, help="of the screen (default: 64)")
    words.add_argument(
        "--screen-tokens", type=int, default=16_384, help="held-out tokens a source that the screen reads"
    )
    words.add_argument("--draws", type=int, default=20, help="of the law, for intervals (default: 20)")
    words.add_argument("--model", default="0-3M", help="the target")
    words.add_argument("--target-tokens", type=int, default=245_760)
    words.add_argument("--test-tokens", type=int, default=24_000)
    words.add_argument("--replicates", type=int, default=1, help="training seeds of each target (default: 1)")
    args = arguments(words)
    world = World(args)
    print(f"{len(world.parts)} parts; " + ", ".join(f"{name} {cost:.0f} CPU-s" for name, cost in world.costs.items()))
    everything = [report(world, seed) for seed in args.seeds]
    first = [gain for gain, _ in everything]
    reached = sum(gain >= GOAL for gain in first)
    print(f"gain {', '.join(f'{gain:+.2f} %' for gain in first)}: {reached} of {len(first)} reach {GOAL:g} %")
    if args.replicates > 1:
        within = [np.var(gains, ddof=1) for _, gains in everything]
        every = [gain for _, gains in everything for gain in gains]
        print(
            f"mean of all {np.mean(every):+.2f} %; between training seeds of the same mixtures {np.sqrt(np.mean(within)):.2f}"
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
