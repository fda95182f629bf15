"""Japanese text for the benchmarks: real corpora where they are at hand, invented words where not."""

from __future__ import annotations

import argparse
import json
import os
import random
from collections.abc import Iterable, Iterator
from pathlib import Path

from _measure import ROOT

JAPANESE = ("news/wikinews-ja.jsonl.gz", "wiki_ja/kyoto.jsonl.zst", "diet/speech_pages")


def add_corpora(parser: argparse.ArgumentParser) -> None:
    """`--corpora`: HAIGO_CORPORA, or `../shared/corpora` beside the clone."""
    beside = ROOT.parent / "shared" / "corpora"
    parser.add_argument("--corpora", type=Path, default=Path(os.environ.get("HAIGO_CORPORA") or beside))


def texts(corpora: Path, sources: Iterable[str], megabytes: float, rng: random.Random) -> tuple[str, list[str]]:
    """ "real" and documents of each source in equal parts of the size, or "made-up" and invented ones.

    Args:
        corpora: folder of the sources; invented text where it is none.
        sources: files and folders below it.
        megabytes: UTF-8 of all documents together, about.
        rng: for invented text.
    """
    from preprocess import sources as raw

    each = list(sources)
    if not corpora.is_dir():
        return "made-up", list(up_to(invented(rng), megabytes))
    parts = ((document.text for document in raw.read([corpora / source])) for source in each)
    return "real", [text for part in parts for text in up_to(part, megabytes / len(each))]


def up_to(documents: Iterable[str], megabytes: float) -> Iterator[str]:
    """Documents until there are so many megabytes of UTF-8."""
    size = 0
    for text in documents:
        yield text
        size += len(text.encode())
        if size > megabytes * 1e6:
            return


def invented(rng: random.Random) -> Iterator[str]:
    """Documents without end: lines of invented words and common particles."""
    words = ["".join(chr(rng.randrange(0x4E00, 0x5200)) for _ in range(rng.randrange(1, 4))) for _ in range(3000)]
    words += ["は", "が", "を", "に", "の", "した。", "である。", "、"] * 200
    while True:
        yield "\n".join("".join(rng.choices(words, k=30)) for _ in range(rng.randrange(1, 40)))


def write_jsonl(path: Path, documents: Iterable[str]) -> int:
    """A file of `{"id", "text"}` lines; the number of documents."""
    number = 0
    with open(path, "wb") as handle:
        for number, text in enumerate(documents, 1):
            handle.write(json.dumps({"id": f"{number}", "text": text}, ensure_ascii=False).encode() + b"\n")
    return number


def tokenizer(given: Path | None, path: Path, documents: Iterable[str], pieces: int, characters: int = 600_000) -> Path:
    """The SentencePiece model that was given, or one trained on the first lines of the documents and put at `path`."""
    from preprocess import tokenizer_train

    if given is not None:
        return given.resolve()
    lines, size = [], 0
    for line in (line for text in documents for line in text.split("\n") if line):
        lines.append(line)
        size += len(line)
        if size > characters:
            break
    path.write_bytes(tokenizer_train.train_model(lines, tokenizer_train.trainer_options(pieces), 1))
    return path
