"""Cleaned documents on disk: `DIR/{train,valid,test}/00000.jsonl.zst`, one `{"id", "text", "meta"}` a line.

The contract between cleaning and everything that follows it. Reading raw corpora is `preprocess.sources`.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import orjson
import zstandard

from haigo import files
from haigo.cli import HaigoError, Refused

from . import jsonl
from .broken import Broken
from .containers import entries
from .document import Document
from .keyed import keyed_hash

SPLITS = ("train", "valid", "test")
REPORT = "clean.json"
SHARD_BYTES = 64 << 20
_LEVEL = 3
_COUNTS = {"documents": int, "characters": int}
_LIKE = {
    "corpus": str,
    "documents_in?": int,
    "documents_out?": int,
    "characters_in?": int,
    "characters_out?": int,
    "rules?": {str: {**_COUNTS, "samples?": [object]}},
    "splits?": {"train": {**_COUNTS, "bytes": int}, "valid": _COUNTS, "test": _COUNTS},
    "steps?": [object],
}
"""A report; that of a sample's corpus has its name and little more."""
T = TypeVar("T")


def shards(folder: str | os.PathLike[str], split: str = "train") -> list[Path]:
    """The shards of one split, in order.

    Raises:
        HaigoError: the folder is missing, cleaning did not finish, or the split has no document.
    """
    place = Path(folder)
    _require_report(place)
    paths = sorted(path for path in (place / split).glob("*.jsonl.zst") if re.fullmatch(r"\d+\.jsonl\.zst", path.name))
    if not paths:
        raise HaigoError(
            f"{place} has no document in its {split} split.", "give more documents or another --split", option="split"
        )
    return paths


def splits(folder: str | os.PathLike[str]) -> list[str]:
    """The splits of a corpus that hold documents."""
    return [split for split in SPLITS if any((Path(folder) / split).glob("*.jsonl.zst"))]


def report(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """The cleaning report of a folder (see `preprocess.clean`).

    Raises:
        HaigoError: there is none, it is damaged, or its corpus has a name that no folder can have.
    """
    path = Path(folder) / REPORT
    _require_report(Path(folder))
    content = files.read_record(path, _LIKE)
    if content["corpus"] in ("", ".", "..") or "/" in content["corpus"]:
        raise HaigoError(f"{path} names no corpus.", "clean the corpus again")
    return dict(content)


def tell_changed(folder: str | os.PathLike[str], there: Mapping[str, int]) -> None:
    """Say so where splits hold other numbers of documents than the report counts: some were lost, or put there, since.

    Args:
        there: split -> documents that were read.
    """
    try:
        stated = report(folder).get("splits", {})
    except HaigoError:  # whoever goes by the report names that; here it only counts nothing
        return
    for split, count in there.items():
        counted = stated.get(split, {}).get("documents", count)
        if counted != count:
            place = Path(folder) / split
            told = f"{place} holds {count:,} documents, and {REPORT} counts {counted:,}: it was changed since."
            print(f"haigo: {told}", file=sys.stderr)


def _require_report(folder: Path) -> None:
    if not (folder / REPORT).is_file():
        raise HaigoError(
            f"{folder} holds no cleaned corpus ({REPORT} is missing).",
            "run preprocess.clean with this --output-dir",
            option="output_dir",
        )


def corpora(folders: Sequence[str | os.PathLike[str]]) -> dict[str, Path]:
    """Name -> folder of every cleaned corpus, in the order given.

    Raises:
        HaigoError: no folder, not a cleaned corpus, or two of the same name.
    """
    if not folders:
        raise HaigoError("no folder is named.", "name folders that preprocess.clean wrote")
    folders_by_name: dict[str, Path] = {}
    for folder in map(Path, folders):
        name = report(folder)["corpus"]
        if name in folders_by_name:
            raise HaigoError(
                f"{folders_by_name[name]} and {folder} are both the corpus '{name}'.",
                "name each folder once, or clean one of them with another --corpus",
                option="corpus",
            )
        folders_by_name[name] = folder
    return folders_by_name


def read(folder: str | os.PathLike[str], split: str = "train") -> Iterator[Document]:
    """The documents of one split, in the order they were written.

    Raises:
        HaigoError: as `shards`, and for a damaged shard.
    """
    for shard in shards(folder, split):
        yield from read_shard(shard)


def read_shard(path: str | os.PathLike[str], skip_broken: int = 0) -> Iterator[Document]:
    """The documents of one shard, in order.

    Args:
        path: the shard.
        skip_broken: rows that cannot be read are passed over, up to so many (see `broken_rows`).
    """
    broken = Broken(skip_broken)
    for entry in entries(Path(path)):
        yield from jsonl.read(entry, broken=broken)


def broken_rows(paths: Iterable[str | os.PathLike[str]], skip_broken: int) -> Broken:
    """What is to be passed over in some shards, before anything is made of them: cleaned text that was edited by hand.

    Raises:
        HaigoError: more than `skip_broken` rows cannot be read.
    """
    broken = Broken(skip_broken)
    for path in paths if skip_broken else ():
        for entry in entries(Path(path)):
            for _ in jsonl.read(entry, broken=broken):
                pass
    return broken


def batches(items: Iterable[T], characters: int, size: Callable[[T], int]) -> Iterator[list[T]]:
    """Items in lots: each ends with the item by which it holds `characters` or more; `size` is an item's own number."""
    held: list[T] = []
    total = 0
    for item in items:
        held.append(item)
        total += size(item)
        if total >= characters:
            yield held
            held, total = [], 0
    if held:
        yield held


class Line(NamedTuple):
    """A document as it is written: a line of JSON, and the characters and UTF-8 bytes of its text."""

    packed: bytes
    characters: int
    bytes: int


def line(document: Document) -> Line:
    """One document as a line."""
    packed = orjson.dumps({"id": document.id, "text": document.text, "meta": document.meta}) + b"\n"
    return Line(packed, len(document.text), len(document.text.encode()))


def claim(folder: Path, inputs: Iterable[Path], recursive: Iterable[Path] = ()) -> None:
    """Ask whether a corpus may be written to `folder`: before the work, not after it.

    Args:
        inputs, recursive: what is read, as for `files.check_output`.

    Raises:
        Refused: `folder` is or holds an input or lies in one, or a split's folder there holds what Haigo did not make.
    """
    inputs, recursive = list(inputs), list(recursive)
    files.check_output(folder, inputs, recursive)
    places = [folder / split for split in SPLITS]
    shards = [shard for place in places for shard in place.glob("[0-9]*.jsonl.zst")]
    for like in ({"splits": {str: {"documents": int}}}, {"sample": {"budget": int, "granted": int}}):
        take_over(folder / REPORT, {"corpus": str, **like}, shards)
    files.check_output(folder / REPORT, trees=places)
    for place in places:
        files.check_output(place, inputs, recursive)
        if place.is_symlink() or not files.ours(place):
            raise Refused(
                f"{place} holds files, and Haigo did not make them.", "name another folder, or move them away"
            )


def take_over(note: Path, like: Any, made: Iterable[Path] = ()) -> None:
    """Enter what an earlier version, which kept no journal, made: a note of the right shape is the proof.

    Args:
        like: the note's shape, as for `files.read_record`.
        made: what it speaks of, beside itself.
    """
    if note.is_file() and not files.made(note):
        with contextlib.suppress(HaigoError):
            files.read_record(note, like)
            files.adopt([note, *made])


def take_over_partial(folder: Path, partial: Path) -> None:
    """Enter what an earlier version had in the making when it was killed: its lock stands beside, and the names are its own."""
    lock = folder / ".lock"
    if lock.is_file() and not lock.is_symlink() and re.fullmatch(rb"(pid \d+)?\s*", lock.read_bytes()[:40]):
        for place, kind in ((f"**/{split}", "[0-9]*.jsonl.zst") for split in SPLITS):
            files.adopt(partial.glob(f"{place}/{kind}"), below=partial)
        files.adopt(partial.glob("sketch-*-[0-9]*-*"), below=partial)


def write_shard(path: Path, lines: Iterable[bytes]) -> bytes:
    """Write lines as a packed shard; gives its bytes."""
    packed = zstandard.ZstdCompressor(level=_LEVEL).compress(b"".join(lines))
    with files.create(path) as handle:
        handle.write(packed)
    return packed


def write_lines(path: Path, lines: Iterable[Line]) -> dict[str, int]:
    """Write lines as one shard, packed again after every 64 MB (raw), which are held; none is left where there is no line.

    Returns:
        documents, characters and bytes (UTF-8, of texts alone).
    """
    counts = {"documents": 0, "characters": 0, "bytes": 0}
    lots = batches(lines, SHARD_BYTES, lambda each: len(each.packed))
    first = next(lots, None)
    if first is None:
        files.remove(path)
        return counts
    with files.create(path) as handle:
        for lot in itertools.chain([first], lots):
            handle.write(zstandard.ZstdCompressor(level=_LEVEL).compress(b"".join(each.packed for each in lot)))
            counts["documents"] += len(lot)
            counts["characters"] += sum(each.characters for each in lot)
            counts["bytes"] += sum(each.bytes for each in lot)
    return counts


class ShardWriter:
    """Writes lines into numbered shards of at most 64 MB (raw) each. Give it a folder that nobody reads yet.

    Attributes:
        documents, characters, bytes: what was written so far (characters and UTF-8 bytes of texts alone).
    """

    def __init__(self, folder: Path, shard_bytes: int = SHARD_BYTES) -> None:
        self.folder, self._limit = folder, shard_bytes
        self.documents = self.characters = self.bytes = 0
        self._lines: list[bytes] = []
        self._held = self._number = 0

    def add(self, document: Document) -> None:
        """Append one document."""
        self.add_line(line(document))

    def add_line(self, made: Line) -> None:
        """Append a document that is a line already."""
        packed = made.packed
        if self._held and self._held + len(packed) > self._limit:
            self.flush()
        self._lines.append(packed)
        self._held += len(packed)
        self.documents += 1
        self.characters += made.characters
        self.bytes += made.bytes

    def flush(self) -> None:
        """Write what is held as the next shard."""
        if not self._lines:
            return
        write_shard(self.folder / f"{self._number:05d}.jsonl.zst", self._lines)
        self._lines, self._held, self._number = [], 0, self._number + 1


def draw(
    documents: Iterable[Document], max_characters: int, seed: int, max_documents: int | None = None
) -> list[Document]:
    """A random sample without replacement that does not depend on the order of the documents.

    Every document gets a keyed hash; those with the lowest are taken as long as they fit the budget together. At
    least one document is taken. Memory is the budget's.

    Args:
        documents: the population, read once.
        max_characters: budget.
        seed: key of the hash.
        max_documents: a second budget, in documents.

    Returns:
        The sample in order of its hashes.
    """
    heap: list[tuple[int, int, Document]] = []
    total = 0
    for number, document in enumerate(documents):
        heapq.heappush(heap, (-keyed_hash(document, seed, b"sample"), -number, document))
        total += len(document.text)
        while len(heap) > 1 and (total > max_characters or (max_documents is not None and len(heap) > max_documents)):
            total -= len(heapq.heappop(heap)[2].text)
    return [document for _, _, document in sorted(heap, key=lambda item: (-item[0], -item[1]))]
