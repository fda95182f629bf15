"""Megabytes a CPU-second of scoring: each score of preprocess.score against reading and decompressing the same file.

    OMP_NUM_THREADS=1 python benchmarks/score_speed.py [--corpora FOLDER] [--megabytes 8] [--repeats 5]

Input is a shard as preprocess.clean writes it (zstd of JSON lines) of real Japanese, English and code (HAIGO_CORPORA, or
`../shared/corpora` beside the clone; made-up text where there is none). Reading is decompressing and parsing to documents,
as every step does it; scoring is that and the scores. Rates are of the unpacked lines. Goal: a hashed score (quality,
perplexity) at half the speed of reading, or better. The command also packs and writes what it read, which is told apart.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from _measure import in_turn, load, parser
from _texts import JAPANESE, add_corpora, texts, write_jsonl

GOAL = 0.5
KINDS = {"japanese": JAPANESE, "code": ["code/python.jsonl.zst"], "english": ["english/kyoto-en.txt.gz"]}
SCORES: dict[str, dict[str, bool]] = {
    "quality": {"quality": True},
    "perplexity": {"perplexity": True},
    "quality + perplexity": {"quality": True, "perplexity": True},
    "language": {"language": True},
    "spam": {"spam": True},
    "adult": {"adult": True},
}


def reading(shard: Path) -> int:
    """All documents of a shard."""
    from haigo.formats import documents

    return sum(1 for _ in documents.read_shard(shard))


def scoring(model: Path, asked: dict[str, bool]) -> Callable[[Path], int]:
    """The same with scores, which are not written."""
    from haigo.formats import documents
    from preprocess import scores
    from preprocess.score_options import ScoreOptions

    given: dict[str, Any] = {name: str(model) if name in ("quality", "perplexity") else True for name in asked}
    scorer = scores.Scorer(ScoreOptions(**given))

    def work(shard: Path) -> int:
        lots = scores.lots(documents.read_shard(shard))
        return sum(len(scorer.score([document.text for document in lot])) for lot in lots)

    return work


def command(model: Path) -> Callable[[Path], int]:
    """The command's work, files and all."""
    from preprocess import score

    def work(shard: Path) -> int:
        with tempfile.TemporaryDirectory() as folder:
            return len(score.score([shard.parents[1]], folder, quality=str(model)))

    return work


def main() -> int:
    """Print a table for each kind of text."""
    words = parser(__doc__)
    add_corpora(words)
    words.add_argument("--megabytes", type=float, default=8)
    words.add_argument("--repeats", type=int, default=5)
    given = words.parse_args()
    from haigo import files
    from haigo.formats import documents
    from haigo.formats.documents import Document
    from preprocess import quality

    worst = 1.0
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        halves: tuple[list[str], list[str]] = ([], [])
        for number, text in enumerate(texts(given.corpora, JAPANESE, 2, Random(1))[1]):
            halves[number % 2].append(text)
        for name, half in zip(("good", "ordinary"), halves, strict=True):
            write_jsonl(place / f"{name}.jsonl", half)
        model = place / "model"
        quality.train([place / "good.jsonl"], [place / "ordinary.jsonl"], model)
        print(load())
        for kind, names in KINDS.items():
            source, found = texts(given.corpora, names, given.megabytes, Random(1))
            corpus = place / kind
            writer = documents.ShardWriter(corpus / "train")
            for number, text in enumerate(found):
                writer.add(Document(str(number), text, {"title": str(number)}))
            writer.flush()
            files.write_json(corpus / documents.REPORT, {"corpus": kind})
            shard = documents.shards(corpus)[0]
            size = sum(len(documents.line(each).packed) for each in documents.read_shard(shard)) / 1e6
            contenders = {"reading": reading} | {name: scoring(model, asked) for name, asked in SCORES.items()}
            contenders["command, quality alone"] = command(model)
            spent, _ = in_turn({name: partial(work, shard) for name, work in contenders.items()}, given.repeats)
            rates = {name: size / min(times) for name, times in spent.items()}
            print(f"{kind} ({source}): {writer.documents:,} documents, {size:.1f} MB of lines; best of {given.repeats}")
            for name, rate in rates.items():
                print(f"  {name:24} {rate:7.1f} MB/CPU-s   {rate / rates['reading']:.2f} of reading")
            worst = min(worst, *(rates[name] / rates["reading"] for name in ("quality", "perplexity")))
    print(f"goal {GOAL} of reading for hashed scores: {worst:.2f}, {'reached' if worst >= GOAL else 'NOT reached'}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
