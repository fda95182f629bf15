"""Fewer CPU-seconds for the same mixture: each idea with the same budget, judged on larger models that were trained anyway.

    python -m launch.pipeline examples/japanese.yml            (or any run: its datasets are used)
    python benchmarks/swarm_ideas.py runs/japanese --workers 2

A pool of target models is trained on mixtures of every kind. Every idea spends about the CPU-seconds of --proxies proxies of
--proxy-tokens tokens, fits the law to what they say and predicts the pool: rank correlation with what the target models
measured, mean over corpora and for the mean of all losses, and regret: how much worse than the best of the pool is the
model that is predicted best, for each corpus' loss (mean over corpora) and for their mean. Ideas: n-gram screens; more
and shorter runs; fewer and longer ones; seeds of their own instead of common random numbers; a vocabulary cut to its
most frequent pieces, the rest hashed together; runs of a few tokens extended to the full budget by the differences that
a few full runs show (`mixer.scales`). What is trained is kept in --output-dir.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from _measure import show
from _run_folder import Trainer, arguments, datasets, limits, parser, rows
from _swarm_world import judged

from haigo import files, pool
from launch.proxies import ngram
from launch.proxies.options import CountOptions
from mixer import scales
from mixer.design import candidates, propose
from mixer.laws import make
from mixer.screened import Screen
from neox_configs import reader, shipped

Array = np.ndarray
Predict = Callable[[Array], Array]


class Ideas:
    """The proxies of one benchmark, trained when they are asked for."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args, self.folder = args, args.output_dir
        self.known, self.limits = datasets(args.run), limits(args.run, args.times)
        self.metrics = [f"{name}_bpb" for name in self.limits.corpora]
        self.train = Trainer(args.run, args.output_dir, args.workers)

    def trained(self, name: str, weights: Array, model: str, tokens: int, seeds: str = "common") -> tuple[Array, float]:
        """Losses (runs, metrics) and CPU-seconds."""
        options = {"seed": self.args.seed, "eval_tokens": 8_000, "seeds": seeds}
        results = self.train(name, rows(self.limits.corpora, weights), model, tokens, **options)
        values = np.array([[result["metrics"][metric] for metric in self.metrics] for result in results])
        return values, float(sum(result["cpu_seconds"] for result in results))

    def counted(self) -> tuple[ngram.Counted, float]:
        began = time.process_time()
        made = ngram.Counted(self.known, CountOptions(eval_tokens=8_000, seed=self.args.seed))
        return made, time.process_time() - began


def ideas(own: Ideas) -> dict[str, tuple[Predict, float]]:
    """Idea -> what predicts losses (n, metrics) from mixtures, and CPU-seconds."""
    args = own.args
    n, tokens = args.proxies, args.proxy_tokens
    design = propose(own.limits, 4 * n, args.seed, floor=0.01)
    made: dict[str, tuple[Predict, float]] = {}

    def law(name: str, weights: Array, losses: Array, seconds: float, screen: Screen | None = None) -> None:
        began = time.process_time()
        fitted = make("law", args.seed).fit(weights, losses, **({"screen": screen} if screen else {}))
        made[name] = (fitted.predict, seconds + time.process_time() - began)

    base, seconds = own.trained("base", design[:n], args.proxy, tokens)
    law(f"{n} proxies", design[:n], base, seconds)
    half, spent = own.trained("base", design[: n // 2], args.proxy, tokens)
    law(f"{n // 2} proxies", design[: n // 2], half, spent)
    twice, double = own.trained("base", design[: 2 * n], args.proxy, tokens)
    law(f"{2 * n} proxies (twice the budget)", design[: 2 * n], twice, double)
    counted, cost = own.counted()
    made["screen alone"] = (lambda w: counted.losses(w, tokens), cost)
    spread = propose(own.limits, 64, args.seed, floor=0.01)
    for number, losses, paid in ((n // 2, half, spent), (n, base, seconds)):
        at = counted.losses(design[:number], tokens)
        screen = Screen(weights=spread, losses=counted.losses(spread, tokens), at_runs=at)
        law(f"{number} proxies + screen", design[:number], losses, paid + cost, screen)
    for factor in (2, 4):
        short, paid = own.trained(f"short{factor}", design[: factor * n], args.proxy, tokens // factor)
        law(f"{factor * n} of 1/{factor} of the tokens", design[: factor * n], short, paid)
    long, paid = own.trained("long", design[: n // 2], args.proxy, 2 * tokens)
    law(f"{n // 2} of twice the tokens", design[: n // 2], long, paid)
    single, paid = own.trained("seeds", design[:n], args.proxy, tokens, "per-proxy")
    law(f"{n} with seeds of their own", design[:n], single, paid)
    short, paid = own.trained("short4", design[: 2 * n], args.proxy, tokens // 4)
    few, more = own.trained("base", design[: n // 2], args.proxy, tokens)
    small = make("law", args.seed).fit(design[: 2 * n], short)
    line = scales.Recalibrated(small, short.std(axis=0)).fit(design[: n // 2], few)
    made[f"{2 * n} of 1/4, {n // 2} whole ones"] = (line.predict, paid + more)
    cut, paid = reduced(own, design[: 2 * n], args.proxy, tokens, args.vocabulary)
    law(f"{2 * n} with {args.vocabulary} pieces", design[: 2 * n], cut, paid)
    return made


# --- a smaller vocabulary ------------------------------------------------------------------------------------------------


def reduced(own: Ideas, weights: Array, model: str, tokens: int, size: int) -> tuple[Array, float]:
    """Losses in nats a token over a vocabulary of the most frequent pieces and 256 buckets for the rest."""
    from haigo.formats import tokenizer as tokenizers
    from haigo.formats.dataset import manifest
    from haigo.formats.dataset.indexed import MMapReader, MMapWriter

    folder = own.folder / f"vocabulary{size}"
    words = tokenizers.load(own.known.tokenizer)
    began = time.process_time()
    counts = np.zeros(words.vocab_size)
    for splits in own.known.corpora.values():
        counts += np.bincount(MMapReader(splits["train"]).tokens[:500_000], minlength=words.vocab_size)
    kept = np.argsort(-counts, kind="stable")[: size - 256]
    ids = size - 256 + np.random.default_rng(0).integers(256, size=words.vocab_size)
    ids[kept] = np.arange(len(kept))
    end = int(ids[words.eod_id])
    sets: dict[str, dict[str, str]] = {}
    for corpus, splits in own.known.corpora.items():
        sets[corpus] = {}
        for split in ("train", "valid"):
            prefix = folder / "data" / corpus / f"{split}_text_document"
            sets[corpus][split] = str(prefix)
            if Path(f"{prefix}.json").is_file():
                continue
            prefix.parent.mkdir(parents=True, exist_ok=True)
            with MMapWriter(prefix, np.dtype(np.uint16)) as writer:
                for document in MMapReader(splits[split]):
                    writer.add(ids[document])
                    writer.end_document()
            about = manifest.find(splits[split]) or {}
            manifest.write(prefix, {**about, **manifest.sums(prefix)})
    paid = time.process_time() - began
    base = reader.load(shipped.find_model(model))
    work = {}
    for number, row in enumerate(weights):
        used = [(corpus, w) for corpus, w in zip(own.limits.corpora, row.tolist(), strict=True) if w > 0]
        config = {
            **base,
            "seed": own.args.seed,
            "train_data_paths": [sets[corpus]["train"] for corpus, _ in used],
            "train_data_weights": [w for _, w in used],
        }
        valid = {corpus: sets[corpus]["valid"] for corpus in own.limits.corpora}
        out = str(folder / f"p{number:03d}")
        work[str(number)] = partial(_train, config, out, str(own.known.tokenizer), size, end, valid, tokens)
    done = pool.run(work, own.args.workers)
    values = np.array(
        [[done[str(n)]["valid"][corpus]["loss"] for corpus in own.limits.corpora] for n in range(len(weights))]
    )
    return values, paid + float(sum(result["cpu_seconds"] for result in done.values()))


def _train(
    config: dict[str, Any], out: str, tokenizer: str, size: int, end: int, valid: dict[str, str], tokens: int
) -> Any:
    from haigo.formats import tokenizer as tokenizers
    from launch.local.train import train

    if (Path(out) / "result.json").is_file():
        return files.read_json(Path(out) / "result.json")
    whole = tokenizers.load(tokenizer)
    words = tokenizers.Tokenizer(whole.path, whole.processor, whole.sha256)
    words.vocab_size, words.eod_id, words.pad_id = size, end, None
    words.piece_bytes = np.ones(size, dtype=np.int32)
    made = train(
        config,
        out,
        tokenizer=words,
        tokens=tokens,
        valid=valid,
        eval_tokens=8_000,
        export=False,
        progress=lambda _: None,
    )
    return files.read_json(Path(out) / "result.json") if made is None else made


# --- the judgement -------------------------------------------------------------------------------------------------------


def main() -> int:
    words = parser(__doc__)
    words.add_argument("--output-dir", type=Path, default=Path(".cache/swarm_ideas"))
    words.add_argument("--proxy", default="0-1M")
    words.add_argument("--proxies", type=int, default=8)
    words.add_argument("--proxy-tokens", type=int, default=80_000)
    words.add_argument("--target", default="0-3M")
    words.add_argument("--target-tokens", type=int, default=600_000)
    words.add_argument("--targets", type=int, default=24)
    words.add_argument("--times", type=float, default=2.5, help="largest weight over token share (default: 2.5)")
    words.add_argument("--vocabulary", type=int, default=2048)
    words.add_argument("--seed", type=int, default=1)
    words.add_argument("--workers", type=int, default=pool.cores())
    words.add_argument("--table", help="ratios.csv of target models to use instead of new ones, with --measured")
    words.add_argument("--measured", help="their metrics.csv")
    words.add_argument("--json", action="store_true")
    args = arguments(words)
    own = Ideas(args)
    if args.table:
        from mixer.proxies import read

        table = read(args.table, args.measured)
        order = [list(table.corpora).index(name) for name in own.limits.corpora]
        columns = [table.metrics.index(metric) for metric in own.metrics]
        mixtures, measured = table.weights[:, order], table.losses[:, columns]
    else:
        rng = np.random.default_rng([args.seed, 77])
        mixtures = candidates(own.limits.with_floor(0.01), args.targets, rng)
        measured, _ = own.trained("targets", mixtures, args.target, args.target_tokens)
    found = {name: [paid, *judged(predict(mixtures), measured)] for name, (predict, paid) in ideas(own).items()}
    if args.json:
        show(found, True)
        return 0
    print(f"{len(mixtures)} target models; proxies {args.proxy} of {args.proxy_tokens:,} tokens, seed {args.seed}")
    print(f"{'idea':<34}{'CPU-min':>8}{'rank corr.':>12}{'regret':>9}{'of the mean':>14}{'regret':>9}")
    for name, (paid, rho, regret, rho_mean, regret_mean) in found.items():
        print(f"{name:<34}{paid / 60:>8.2f}{rho:>12.3f}{regret:>8.2f}%{rho_mean:>14.3f}{regret_mean:>8.2f}%")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
