"""Datasets for `gpu.py` from the sample world: six corpora with a validation set each, and a tokenizer; seconds to make."""

from __future__ import annotations

import random
from pathlib import Path

from _texts import tokenizer, write_jsonl

from examples.world.build import build
from haigo import files
from neox_configs import catalogue
from preprocess import sources
from preprocess.index import index

RAW = {
    "encyclopedia": "encyclopedia/pages-articles.xml.bz2",
    "news": "news/news.jsonl.gz",
    "minutes": "minutes",
    "stories": "stories/aozora-sjis.tar.xz",
    "english": "english/english.jsonl.zst",
    "code": "code/code.jsonl.zst",
}
_HELD_OUT = 12
"""Of so many documents one is held out."""


def made(folder: Path, size: float, pieces: int) -> catalogue.Catalogue:
    """The datasets, those of an earlier call where they are whole.

    Args:
        size: of the sample world; 1 is about ten million characters.
        pieces: of the vocabulary.
    """
    there = folder / "corpora.yml"
    if there.is_file():  # written last
        return catalogue.read(there)
    build(folder / "raw", 7, size)
    texts = {name: [each.text for each in sources.read([folder / "raw" / path])] for name, path in RAW.items()}
    for documents in texts.values():
        random.Random(7).shuffle(documents)
    words = folder / "tokenizer"
    files.write_text(words / "meta.json", "{}")
    tokenizer(None, words / "spm.model", (each for some in zip(*texts.values(), strict=False) for each in some), pieces)
    sets: dict[str, dict[str, Path]] = {}
    for name, documents in texts.items():
        parts = {"valid": documents[::_HELD_OUT], "train": [d for n, d in enumerate(documents) if n % _HELD_OUT]}
        sets[name] = {}
        for split, some in parts.items():
            source = folder / "text" / f"{name}-{split}.jsonl"
            source.parent.mkdir(exist_ok=True)
            write_jsonl(source, some)
            index([source], words, folder / name / split)
            sets[name][split] = folder / name / f"{split}_text_document"
    return catalogue.write(there, words, sets)
