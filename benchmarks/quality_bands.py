"""Do bands of quality mean something? Small models trained on each band of a pool, judged on text that nobody trained on.

    OMP_NUM_THREADS=1 python benchmarks/quality_bands.py [--corpora FOLDER] [--bands 4] [--seeds 1 2 3] [--tokens 48000]
           [--model 0-1M] [--pool kyoto countries techdoc] [--output-dir .cache/quality_bands]

Good text: the train splits of news, literature and Diet minutes; pool, and ordinary text: encyclopaedia (two) and technical
documents. The pool is parted into bands of equal size by the quality that preprocess.quality's model gives, by the documents'
lengths, and at random. One model a band and seed is trained by the embedded engine on as many tokens, and the bits per byte
of held-out news, literature and minutes are printed. Bands are monotone where each is better than the one below it.
Bands of lengths and random ones say how much of it size and chance alone do. What is trained is kept in --output-dir: the
same command goes on after a break. About 5 CPU-minutes.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from _measure import parser
from _texts import add_corpora

os.environ.setdefault("HAIGO_QUIET", "1")
GOOD = {
    "news": "news/wikinews-ja.jsonl.gz",
    "literature": "literature/aozora-sjis.tar.xz",
    "minutes": "diet/minutes-2025.jsonl.gz",
}
POOL = {
    "kyoto": "wiki_ja/kyoto.jsonl.zst",
    "countries": "wiki_ja/jawiki-country-pages-articles.xml.bz2",
    "techdoc": "techdoc/cpprefjp.parquet",
}
_PIECES = 8000


def cleaned(given: argparse.Namespace) -> dict[str, Path]:
    """Every corpus, cleaned, a tenth of it for validation."""
    from haigo.formats import documents
    from preprocess import clean

    folders = {}
    for name, source in {**GOOD, **POOL}.items():
        folders[name] = given.output_dir / "clean" / name
        if not (folders[name] / documents.REPORT).is_file():
            clean.clean_corpus(name, [given.corpora / source], folders[name], split_shares=[0.8, 0.1, 0.1])
    return folders


def bands(given: argparse.Namespace, folders: dict[str, Path]) -> dict[str, dict[str, float]]:
    """Corpora of the bands, `q0` (worst) and so on by quality, `l0` (shortest) by length, `r0` at random; what each holds."""
    from haigo import files
    from haigo.formats import documents
    from haigo.formats.documents.keyed import keyed_hash
    from preprocess import quality, quality_model, scores
    from preprocess.score_options import ScoreOptions

    model = given.output_dir / "quality"
    quality.train([folders[name] for name in GOOD], [folders[name] for name in given.pool], model)
    scorer = scores.Scorer(ScoreOptions(quality=str(model)))
    pool, values = [], []
    for name in given.pool:
        for lot in documents.batches(documents.read(folders[name]), quality_model.BATCH, lambda one: len(one.text)):
            pool += [(name, document) for document in lot]
            values += [row["quality"] for row in scorer.score([document.text for document in lot])]
    keys: dict[str, Callable[[int], Any]] = {
        "q": lambda at: values[at],
        "l": lambda at: len(pool[at][1].text),
        "r": lambda at: keyed_hash(pool[at][1], 1, b"bands"),
    }
    rows: dict[str, dict[str, float]] = {}
    total = sum(len(document.text) for _, document in pool)
    for kind, key in keys.items():
        at, order = 0, sorted(range(len(pool)), key=key)
        for band in range(given.bands):
            own: list[int] = []
            while at < len(order) and sum(len(pool[each][1].text) for each in own) < total / given.bands:
                own.append(order[at])
                at += 1
            folder, size = given.output_dir / "bands" / f"{kind}{band}", sum(len(pool[each][1].text) for each in own)
            shares = {name: sum(len(pool[e][1].text) for e in own if pool[e][0] == name) / size for name in given.pool}
            rows[f"{kind}{band}"] = {"quality": statistics.median(values[each] for each in own), **shares}
            if (folder / documents.REPORT).is_file():
                continue
            writer = documents.ShardWriter(folder / "train")
            for each in own:
                writer.add(pool[each][1])
            writer.flush()
            files.write_json(folder / documents.REPORT, {"corpus": f"{kind}{band}"})
    return rows


def catalogue(given: argparse.Namespace, folders: dict[str, Path], names: Sequence[str]) -> Any:
    """The tokenizer, the bands to train on, and good text to judge by."""
    from neox_configs import catalogue as catalogues
    from preprocess import index, tokenizer_train

    tokenizer = given.output_dir / "tokenizer"
    if not (tokenizer / "meta.json").is_file():
        tokenizer_train.train(folders, tokenizer, vocab_size=_PIECES, chars_per_corpus=400_000)
    corpora: dict[str, dict[str, Path]] = {}
    for name in [*GOOD, *names]:
        splits = ("train", "valid") if name in GOOD else ("train",)
        folder = folders[name] if name in GOOD else given.output_dir / "bands" / name
        for split in splits:
            prefix = given.output_dir / "data" / name / split
            index.index([folder / split], tokenizer, prefix)
            corpora.setdefault(name, {})[split] = index.dataset_prefix(prefix).absolute()
    return catalogues.Catalogue(tokenizer.absolute(), corpora)


def losses(given: argparse.Namespace, known: Any, names: Sequence[str], seed: int) -> dict[str, list[float]]:
    """Bits per byte of news, literature and minutes, and their mean, of a model for each band."""
    from launch import proxies
    from neox_configs import shipped

    table = {name: {each: float(each == name) for each in known.corpora} for name in names}
    done = proxies.run(
        table, known, shipped.find_model(given.model), given.output_dir / f"seed{seed}", seed=seed, tokens=given.tokens,
        eval_tokens=given.eval_tokens, workers=1,
    )  # fmt: skip
    if done.failed:
        raise SystemExit(f"models failed: {done.failed}")
    own = {name: [done.results[name]["metrics"][f"{each}_bpb"] for each in GOOD] for name in names}
    return {name: [*values, statistics.mean(values)] for name, values in own.items()}


def main() -> int:
    """Print a line a band and the verdict of each kind of band."""
    words = parser(__doc__)
    add_corpora(words)
    words.add_argument("--pool", nargs="+", default=list(POOL), choices=POOL, help="what is parted into bands")
    words.add_argument("--bands", type=int, default=4)
    words.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    words.add_argument("--tokens", type=int, default=48_000)
    words.add_argument("--eval-tokens", type=int, default=6_000)
    words.add_argument("--model", default="0-1M")
    words.add_argument("--output-dir", type=Path, default=Path(".cache/quality_bands"))
    given = words.parse_args()
    if not all((given.corpora / source).exists() for source in {**GOOD, **POOL}.values()):
        print("skipped: the corpora are not there (--corpora)")
        return 0
    folders = cleaned(given)
    made = bands(given, folders)
    known = catalogue(given, folders, list(made))
    trained = {seed: losses(given, known, list(made), seed) for seed in given.seeds}
    print(f"{'band':6}{'quality':>9}" + "".join(f"{name:>12}" for name in [*given.pool, *GOOD, "mean"]))
    for name, about in made.items():
        own = [statistics.mean(trained[seed][name][at] for seed in given.seeds) for at in range(len(GOOD) + 1)]
        print(
            f"{name:6}{about['quality']:9.3f}"
            + "".join(f"{about[each]:12.0%}" for each in given.pool)
            + "".join(f"{x:12.4f}" for x in own)
        )
    for kind, title in (("q", "quality"), ("l", "length"), ("r", "random")):
        names = [name for name in made if name.startswith(kind)]
        steps, spreads = [], []
        for seed in given.seeds:
            means = [trained[seed][name][-1] for name in names]
            steps.append(sum(low > high for low, high in itertools.pairwise(means)))
            spreads.append(f"{means[0] / means[-1] - 1:+.1%}")
        print(
            f"{title}: steps up that better the mean {steps} of {len(names) - 1} by seed;"
            f" first band's loss above the last's {', '.join(spreads)}"
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
