"""What one worker does with one shard of a corpus while a sample is drawn: survey, examine, write.

Survey: the keyed hash and the length of every document. Examine: the lines of those with low hashes. Write: the documents
that were chosen. Each leaves one file that says what it was made from, so that a killed run does none of them twice.
"""

from __future__ import annotations

import array
import contextlib
import dataclasses
import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import zstandard

from haigo import digests, files, sealed
from haigo.cli import HaigoError
from haigo.formats import documents
from haigo.formats.documents import Document
from haigo.formats.documents.keyed import BITS, keyed_hash

LINE_CHARS = 2000  # longer lines are cut, not dropped; the trainer's own limit is set far above
REPEAT_CHARS = 20
_LEVEL = 3
_COUNTS = ("documents", "characters", "bytes")


@dataclasses.dataclass(frozen=True, slots=True)
class SampleShard:
    """One shard of a cleaned corpus, and where the sample's notes on it go."""

    path: str
    sha256: str
    seed: int
    notes: str
    """Path without suffix."""
    skip_broken: int = 0


def survey(shard: SampleShard) -> str:
    """Hash (uint64) and characters without line ends (int64) of every document, in `{notes}.survey.npz`."""
    target, recipe = f"{shard.notes}.survey.npz", files.digest(["survey", 1, shard.sha256, shard.seed])
    if not _is_made(target, recipe):
        hashes, characters = array.array("Q"), array.array("q")
        for document in _read(shard):
            hashes.append(keyed_hash(document, shard.seed, b"sample"))
            characters.append(len(document.text) - document.text.count("\n"))
        _save(target, recipe, hashes=np.array(hashes, np.uint64), characters=np.array(characters, np.int64))
    return target


def examine(shard: SampleShard, share: float, cap: int) -> str:
    """The lines of the documents whose hash lies in the lowest `share`, in `{notes}.lines.npz` (see `Candidates`)."""
    target = f"{shard.notes}.lines.npz"
    recipe = files.digest(["lines", 1, shard.sha256, shard.seed, share, cap])
    if _is_made(target, recipe):
        return target
    limit = int(share * 2**BITS)
    hashes = load(survey(shard))["hashes"]
    wanted = np.ones(len(hashes), bool) if share >= 1 else hashes < np.uint64(min(limit, 2**BITS - 1))
    short = array.array("q")
    of, line_hashes, line_characters = array.array("q"), array.array("Q"), array.array("i")
    if wanted.any():
        for number, document in enumerate(_read(shard)):
            if not wanted[number]:
                continue
            little = 0
            for line in lines(document, shard.seed, cap):
                if len(line) < REPEAT_CHARS:
                    little += len(line)
                else:
                    of.append(len(short))
                    line_hashes.append(_line_hash(line))
                    line_characters.append(len(line))
            short.append(little)
    _save(
        target,
        recipe,
        numbers=np.flatnonzero(wanted),
        hashes=hashes[wanted],
        short=np.array(short, np.int64),
        line_document=np.array(of, np.int64),
        line_hashes=np.array(line_hashes, np.uint64),
        line_characters=np.array(line_characters, np.int32),
    )
    return target


@dataclasses.dataclass(frozen=True, slots=True)
class Chosen:
    """What is to be written of one shard.

    Attributes:
        numbers: int64 [documents], which documents of the shard, ascending.
        characters: int64 [documents], how many characters each gives.
        dropped: a document's number and the place of a dropped line among its long ones, as int64 [dropped, 2], ascending.
    """

    numbers: np.ndarray
    characters: np.ndarray
    dropped: np.ndarray

    def digest(self) -> str:
        """Of everything in it."""
        made = hashlib.sha256()
        for part in (self.numbers, self.characters, self.dropped):
            made.update(np.ascontiguousarray(part, dtype=np.int64).tobytes() + b"|")
        return made.hexdigest()


def write(shard: SampleShard, chosen: Chosen, cap: int, target: str) -> dict[str, int]:
    """Write the chosen documents as one shard of the sample; its marker `{notes}.written.json` comes last.

    Returns:
        documents, characters (without line ends) and bytes (of the texts, line ends included).
    """
    marker = Path(f"{shard.notes}.written.json")
    recipe = files.digest(["written", 1, shard.sha256, shard.seed, cap, chosen.digest()])
    with contextlib.suppress(HaigoError, OSError):  # none yet, or a damaged one: made again
        known, _ = sealed.read(marker, {"recipe": str, "sha256": str, "counts": dict.fromkeys(_COUNTS, int)})
        if known["recipe"] == recipe and digests.sha256(target) == known["sha256"]:
            return dict(known["counts"])
    counts = dict.fromkeys(_COUNTS, 0)
    quota = dict(zip(chosen.numbers.tolist(), chosen.characters.tolist(), strict=True))
    dropped: dict[int, set[int]] = {}
    for number, place in chosen.dropped.tolist():
        dropped.setdefault(number, set()).add(place)
    packer = zstandard.ZstdCompressor(level=_LEVEL)
    with files.create(target) as handle:
        with packer.stream_writer(handle, closefd=False) as out:
            for number, document in enumerate(_read(shard)):
                if number not in quota:
                    continue
                kept = list(_kept(lines(document, shard.seed, cap), dropped.get(number, set()), quota[number]))
                text = "\n".join(kept)
                try:
                    counts["bytes"] += len(text.encode())
                except UnicodeEncodeError:
                    raise HaigoError(
                        f"{shard.path} has a document with half a surrogate pair ('{document.id}').",
                        "clean the corpus with preprocess.clean first",
                    ) from None
                out.write(documents.line(Document(document.id, text)).packed)
                counts["documents"] += 1
                counts["characters"] += sum(map(len, kept))
    sealed.write(marker, {"recipe": recipe, "counts": counts, "sha256": digests.sha256(target)})
    return counts


def lines(document: Document, seed: int, cap: int) -> Iterator[str]:
    """Training lines of a document, or of an excerpt when it is longer than `cap` characters."""
    return training_lines([excerpt(document, seed, cap)])


def excerpt(document: Document, seed: int, cap: int) -> Document:
    """The document, or a part of it when it is longer than `cap` characters: a few novels must not take a whole budget."""
    spare = len(document.text) - cap
    if spare <= 0:
        return document
    start = keyed_hash(document, seed, b"excerpt") % (spare + 1)
    return Document(document.id, document.text[start : start + cap])


def _kept(lines: Iterator[str], dropped: set[int], quota: int) -> Iterator[str]:
    place = 0
    for line in lines:
        if len(line) >= REPEAT_CHARS:
            place += 1
            if place - 1 in dropped:
                continue
        if quota <= 0:
            return
        yield line[:quota]
        quota -= len(line)


def load(path: str) -> dict[str, np.ndarray]:
    """The arrays of a note."""
    with np.load(path, allow_pickle=False) as held:
        return {name: held[name] for name in held.files}


def training_lines(sample: Iterable[Document]) -> Iterator[str]:
    """Lines of the documents without their ends; long ones cut at sentence ends where that is possible."""
    for document in sample:
        for line in document.text.split("\n"):
            while len(line) > LINE_CHARS:
                cut = max(line.rfind(mark, LINE_CHARS // 2, LINE_CHARS) for mark in "。．！？.!? ")
                at = cut + 1 if cut > 0 else LINE_CHARS
                yield line[:at]
                line = line[at:]
            if line:
                yield line


def _read(shard: SampleShard) -> Iterator[Document]:
    return documents.read_shard(shard.path, shard.skip_broken)


def _line_hash(line: str) -> int:
    digest = hashlib.blake2b(line.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def _is_made(path: str, recipe: str) -> bool:
    """Whether a note is there, whole by the sums in its archive, and made of just this."""
    try:
        return str(load(path)["recipe"]) == recipe
    except Exception:  # whatever numpy and zip say of a damaged one: it is made again
        return False


def _save(path: str, recipe: str, **arrays: np.ndarray) -> None:
    with files.create(path) as handle:
        np.savez(handle, allow_pickle=False, recipe=np.array(recipe), **arrays)
