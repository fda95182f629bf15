"""What one process of a partition does with one shard or split: count words of a sample, label documents, write the parts.

All of it goes to files whose names or notes tell what they were made from, so that a killed run does none of it twice.
"""

from __future__ import annotations

import array
import contextlib
import dataclasses
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from haigo import digests, files, sealed
from haigo.cli import HaigoError
from haigo.formats import documents
from haigo.formats.documents import Document
from haigo.formats.documents.keyed import BITS, keyed_hash

from . import topics
from .hashed import shortened
from .rewrite import CorpusShard
from .topics import Counts, Topics

_BATCH_CHARS = 100_000
_WORD = re.compile(r"[^\W\d_ぁ-ヿㇰ-ㇿ々〇㐀-鿿豈-﫿]{3,24}|[ァ-ヺー]{2,16}|[々〇㐀-鿿豈-﫿]+")
_LONGEST_KANJI = 6  # longer runs are names of bodies and laws: few documents share one
_MOST_WORDS = 1000
_LICENCES = ("licence", "license")
_COUNTS = {"documents": int, "characters": int, "bytes": int}
_LEAST_SHARD = 4 << 20
HASHES = 2**BITS


@dataclasses.dataclass(frozen=True, slots=True)
class Draw:
    """Which training documents topics are found on, as shares of all, and of these those whose words are kept to name them."""

    seed: int
    share: float
    worded: float


def sample(shard: CorpusShard, draw: Draw, file: str) -> None:
    """The words of some documents of a shard: hashed (a `Counts`), and of some of them as they are, kept in `file`."""
    if _is_whole(file, ("buckets", "times", "ends", "words")):
        return
    words: list[list[str] | None] = []

    def drawn() -> Any:
        for document in shard.read():
            hashed = keyed_hash(document, draw.seed, b"partition")
            if hashed < draw.share * HASHES:
                words.append(readable(document.text) if hashed < draw.worded * HASHES else None)
                yield document.text

    lots = [topics.count(lot) for lot in documents.batches(drawn(), _BATCH_CHARS, _size)]
    counts = topics.join(lots)
    with files.create(file) as handle:
        np.savez(
            handle,
            buckets=counts.buckets,
            times=counts.times,
            ends=counts.ends,
            words=np.frombuffer(orjson.dumps(words), np.uint8),
        )


def _size(text: str) -> int:
    return min(len(text), topics.LONGEST) + 64  # of many empty ones no lot is endless


def load_sample(paths: Sequence[str]) -> tuple[Counts, list[list[str] | None]]:
    """What `sample` left of the shards of a corpus."""
    lots, words = [], []
    for path in paths:
        with np.load(path, allow_pickle=False) as held:
            lots.append(Counts(held["buckets"], held["times"], held["ends"]))
            words += orjson.loads(held["words"].tobytes())
    return topics.join(lots), words


def readable(text: str) -> list[str]:
    """The words of a text that a label can be made of, each once: they are told by the script, without a segmenter."""
    found = dict.fromkeys(_WORD.findall(unicodedata.normalize("NFKC", shortened(text, topics.LONGEST)).lower()))
    shown = [
        word for word in found if not (word[0] >= "㐀" and not 2 <= len(word) <= _LONGEST_KANJI and word.isalpha())
    ]
    return shown[:_MOST_WORDS]


def label(shard: CorpusShard, model: Topics | None, by: str | None, file: str) -> None:
    """Topic, score and bytes of every document of a shard, kept in `file`."""
    if _is_whole(file, ("topics", "scores", "bytes")):
        return
    scores, sizes, found = array.array("d"), array.array("q"), [np.empty(0, np.uint8)]
    for lot in documents.batches(shard.read(), _BATCH_CHARS, lambda document: _size(document.text)):
        texts = [document.text for document in lot]
        found.append(model.label(topics.count(texts)) if model else np.zeros(len(lot), np.uint8))
        sizes.extend(len(text.encode("utf-8", "surrogatepass")) for text in texts)
        scores.extend(score(document, by, shard) if by else 0.0 for document in lot)
    with files.create(file) as handle:
        np.savez(handle, topics=np.concatenate(found), scores=np.array(scores), bytes=np.array(sizes, np.int64))


def score(document: Document, by: str, shard: CorpusShard) -> float:
    """A document's score of the name `by`.

    Raises:
        HaigoError: it has none, or one that is no number.
    """
    scores = document.meta.get("scores")
    value = scores.get(by) if isinstance(scores, dict) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        has = "no" if value is None else "no number as its"
        raise HaigoError(
            f"{shard.path}: the document '{document.id}' has {has} score '{by}' (meta.scores.{by}).",
            "run preprocess.score on the corpus first, or name another score with --by",
            option="by",
        )
    return float(value)


def load_labels(file: str) -> dict[str, np.ndarray]:
    """What `label` left."""
    with np.load(file, allow_pickle=False) as held:
        return {name: held[name] for name in ("topics", "scores", "bytes")}


@dataclasses.dataclass(frozen=True, slots=True)
class Cut:
    """How labels become parts: `joined`, topic -> topic after small ones were joined to others; `thresholds`, where the bands
    of each of these begin (empty without bands)."""

    joined: Sequence[int]
    thresholds: Sequence[Sequence[float]]

    @property
    def bands(self) -> int:
        """Of each topic; 1 where there are none."""
        return len(self.thresholds[0]) + 1

    def parts(self, labels: dict[str, np.ndarray]) -> np.ndarray:
        """The part of each document: topic x bands + band."""
        topic = np.asarray(self.joined)[labels["topics"]]
        band = np.zeros(len(topic), np.int64)
        for number, thresholds in enumerate(self.thresholds):
            own = topic == number
            band[own] = np.searchsorted(thresholds, labels["scores"][own], "right")
        return np.asarray(topic * self.bands + band)


@dataclasses.dataclass(frozen=True, slots=True)
class Piece:
    """One split of one corpus: its shards, their labels, and how these become parts, by name."""

    shards: Sequence[CorpusShard]
    labels: Sequence[str]
    cut: Cut
    names: Sequence[str]
    split: str
    work: str

    def write(self) -> dict[str, dict[str, Any]]:
        """Write the split of every part below `work`; part -> documents, characters, bytes and licences."""
        folders = [Path(self.work) / name / self.split for name in self.names]
        marker = Path(self.work) / f"{self.shards[0].corpus}-{self.split}.json" if self.shards else None
        recipe = files.digest([[each.sha256 for each in self.shards], *map(str, self.labels), self.names,
                               self.cut.joined, self.cut.thresholds])  # fmt: skip
        if marker is not None:
            with contextlib.suppress(HaigoError, OSError):  # none yet, or a damaged one: made again
                known, _ = sealed.read(marker, {"recipe": str, "sums": {str: str}, "made": {str: dict}})
                if known["recipe"] == recipe and known["sums"] == _sums(folders):
                    return dict(known["made"])
        for folder in folders:
            files.remove_tree(folder)
        made = self._written(folders)
        if marker is not None:
            sealed.write(marker, {"recipe": recipe, "sums": _sums(folders), "made": made})
        return made

    def _written(self, folders: Sequence[Path]) -> dict[str, dict[str, Any]]:
        room = max(_LEAST_SHARD, documents.SHARD_BYTES // len(folders))
        writers = [documents.ShardWriter(folder, room) for folder in folders]
        licences: list[Counter[str]] = [Counter() for _ in folders]
        for shard, file in zip(self.shards, self.labels, strict=True):
            parts = self.cut.parts(load_labels(file)).tolist()
            for part, document in zip(parts, shard.read(), strict=True):
                writers[part].add(document)
                licences[part][licence(document)] += 1
        made = {}
        for name, folder, writer, found in zip(self.names, folders, writers, licences, strict=True):
            writer.flush()
            folder.mkdir(parents=True, exist_ok=True)
            counts = {key: getattr(writer, key) for key in _COUNTS}
            made[name] = counts | {"licences": dict(sorted(found.items()))}
        return made


def licence(document: Document) -> str:
    """What the document's meta says of its licence; empty where it says nothing."""
    return next((str(document.meta[key]) for key in _LICENCES if document.meta.get(key)), "")


def _sums(folders: Sequence[Path]) -> dict[str, str]:
    return {
        f"{folder.parent.name}/{path.name}": digests.sha256(path)
        for folder in folders
        for path in sorted(folder.glob("*.jsonl.zst"))
    }


def _is_whole(file: str, names: Sequence[str]) -> bool:
    """Whether a note is there, and as it was written by the sums in its archive."""
    try:
        with np.load(file, allow_pickle=False) as held:
            return all(len(held[name]) >= 0 for name in names)
    except Exception:  # whatever numpy and zip say of damaged ones: it is made again
        return False
