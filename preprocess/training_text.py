"""The text that a tokenizer is trained on: a finished sample, or a random part of every corpus."""

from __future__ import annotations

import dataclasses
import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from haigo import files
from haigo.formats import documents
from haigo.progress import Progress

from . import sample as samples
from .sample_shards import REPEAT_CHARS, excerpt, training_lines

_DOCUMENTS_AT_LEAST = 30
_LEAST_EXCERPT = 2000
Folder = str | os.PathLike[str]
Rows = dict[str, dict[str, int]]
"""Corpus -> documents and characters."""


@dataclasses.dataclass(frozen=True)
class TrainingText:
    """What is to be read.

    Attributes:
        recipe: digest of what it is made from.
        characters: about how many there are.
        asked: characters of each corpus, or "sample", for the record.
        read: gives the lines and what they come to; lines of a sample are read while they are handed on.
    """

    recipe: str
    characters: int
    asked: dict[str, int] | str
    read: Callable[[], tuple[Iterable[str], Rows]]


def of_sample(folder: Folder) -> TrainingText:
    """The text of a folder that preprocess.sample wrote.

    Raises:
        HaigoError: it is none, or not finished.
    """
    drawn = samples.read(folder)
    rows = {name: {key: row[key] for key in ("documents", "characters")} for name, row in drawn["corpora"].items()}
    return TrainingText(str(drawn["recipe"]), int(drawn["characters"]), "sample", lambda: (sampled(folder), rows))


def sampled(folder: Folder) -> Iterator[str]:
    """Lines of a sample."""
    for name in samples.read(folder)["corpora"]:
        if "train" in documents.splits(Path(folder) / name):
            yield from training_lines(documents.read(Path(folder) / name))


def of_corpora(corpora: Mapping[str, Folder], characters: int, seed: int) -> TrainingText:
    """A random part of every corpus' train split, `characters` of each."""
    shards = {name: [files.sha256_file(path) for path in documents.shards(place)] for name, place in corpora.items()}
    amount = sum(min(characters, _there(place)) for place in corpora.values())
    asked = dict.fromkeys(corpora, characters)
    return TrainingText(files.digest(shards), amount, asked, lambda: _drawn(corpora, characters, seed))


def _there(folder: Folder) -> int:
    """Characters of a corpus' train split, as its report has them; very many where it has none."""
    split: dict[str, Any] = documents.report(folder).get("splits", {}).get("train", {})
    return int(split.get("characters", 1 << 62))


def _drawn(corpora: Mapping[str, Folder], characters: int, seed: int) -> tuple[list[str], Rows]:
    used: Rows = {}
    with Progress("training text", len(corpora), "corpora") as progress, progress.beating():
        sentences: list[str] = []
        seen: set[int] = set()
        for name, place in corpora.items():
            sample = draw(documents.read(place), characters, seed)
            mine = list(_fresh(training_lines(sample), seen))
            used[name] = {"documents": len(sample), "characters": sum(map(len, mine))}
            sentences += mine
            progress.update(1, name)
    return sentences, used


def draw(population: Iterable[documents.Document], characters: int, seed: int) -> list[documents.Document]:
    """A random part of some documents, of which the long ones give an excerpt."""
    cap = max(_LEAST_EXCERPT, characters // _DOCUMENTS_AT_LEAST)
    return documents.draw((excerpt(one, seed, cap) for one in population), characters, seed)


def _fresh(lines: Iterable[str], seen: set[int]) -> Iterator[str]:
    """Lines without exact repeats of long ones (committee openings, licence headers), which count once."""
    for line in lines:
        if len(line) >= REPEAT_CHARS:
            packed = line.encode()
            # Python's own hash() differs from run to run; two checksums make a chance collision negligible
            key = zlib.crc32(packed) << 32 | zlib.adler32(packed)
            if key in seen:
                continue
            seen.add(key)
        yield line
