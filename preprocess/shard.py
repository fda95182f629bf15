"""One shard of an indexed dataset: what a single process does, and all that it needs to know for it.

A shard's `.json` is written last and holds a digest of what the shard was made from and those of its bytes: one that is there
and fits is never made again. Joining shards is in `preprocess.index`.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np

from haigo import files, sealed
from haigo.cli import HaigoError
from haigo.formats import tokenizer
from haigo.formats.dataset import manifest
from haigo.formats.dataset.indexed import MMapWriter, token_dtype
from haigo.formats.documents import Broken, Document, batches, jsonl
from haigo.formats.documents.containers import MOST_BYTES, Entry, entries, lines

from . import sources
from .options import IndexOptions, ReadOptions

_BATCH_CHARS = 200_000
LOOKED_AT = 20
"""Documents of a shard that are decoded again."""
_COUNTS = ("documents", "tokens", "bytes", "empty")


@dataclasses.dataclass(frozen=True, slots=True)
class Unit:
    """A file, or the lines of a plain jsonl file that begin at `start` <= byte < `end`."""

    path: str
    key: str
    sha256: str
    start: int = 0
    end: int | None = None

    def size(self) -> int:
        """Bytes on disk."""
        return os.path.getsize(self.path) if self.end is None else self.end - self.start


@dataclasses.dataclass(frozen=True, slots=True)
class Work:
    """A unit and what to do with it."""

    unit: Unit
    model: str
    model_sha256: str
    prefix: str
    options: IndexOptions

    def recipe(self) -> str:
        """Digest of everything that the shard depends on."""
        unit = [self.unit.sha256, self.unit.start, self.unit.end]
        asked = [self.options.json_key, self.options.append_eod, self.options.txt_documents]
        return files.digest([unit, self.model_sha256, *asked])


_held: dict[str, tokenizer.Tokenizer] = {}


def hold(model: tokenizer.Tokenizer) -> None:
    """Use this loaded model for the shards that this process makes with its path: one load a process, not one a shard."""
    _held.clear()
    _held[str(model.path)] = model


def _model(path: str) -> tokenizer.Tokenizer:
    if path not in _held:
        hold(tokenizer.load(path))
    return _held[path]


def make_shard(work: Work) -> dict[str, Any]:
    """Write `{work.prefix}.{bin,idx,json}` unless a finished one is there.

    Returns:
        documents, tokens, bytes (UTF-8, of the texts), empty (texts left out), and where there were any broken_rows (passed
        over) and changed (of the first LOOKED_AT texts and those with U+2581, which are not what the tokenizer gives back) and
        spelled_ends (texts of which the tokenizer reads a part as the end of a document).
    """
    marker = Path(f"{work.prefix}.json")
    recipe = work.recipe()
    if marker.is_file():
        try:
            done, _ = sealed.read(marker, {"recipe": object, "sums": {str: str}, "counts": dict.fromkeys(_COUNTS, int)})
            if done["recipe"] == recipe and done["sums"] == manifest.sums(work.prefix):
                return dict(done["counts"])
        except (HaigoError, OSError):
            pass  # a shard of another run, or a damaged one: made again
        files.remove(marker)
    model = _model(work.model)
    dtype = token_dtype(model.vocab_size)
    counts: dict[str, Any] = dict.fromkeys(_COUNTS, 0)
    changed, spelled, broken = 0, 0, Broken(work.options.skip_broken)
    end = np.array([model.eod_id] if work.options.append_eod else [], dtype).tobytes()
    with MMapWriter(work.prefix, dtype) as writer:
        for texts in batches(_texts(work, counts, broken), _BATCH_CHARS, len):
            for text, ids in zip(texts, model.encode_arrays(texts), strict=True):
                if counts["documents"] < LOOKED_AT or "\u2581" in text:
                    changed += model.decode(ids.tolist()) != text
                if model.spells_end and model.eod_id in ids:
                    spelled += 1
                counts["tokens"] += writer.add_bytes(ids.astype(dtype).tobytes() + end)
                writer.end_document()
                counts["documents"] += 1
    counts |= broken.report() | ({"changed": changed} if changed else {})
    counts |= {"spelled_ends": spelled} if spelled else {}
    sealed.write(marker, {"recipe": recipe, "counts": counts, "sums": manifest.sums(work.prefix)})
    return counts


def _texts(work: Work, counts: dict[str, Any], broken: Broken) -> Iterator[str]:
    """The texts of a unit; empty ones are counted and left out, as GPT-NeoX does."""
    for document in _documents(work, broken):
        text = document.text
        if not text:
            counts["empty"] += 1
            continue
        try:
            counts["bytes"] += len(text) if text.isascii() else len(text.encode())
        except UnicodeEncodeError:
            broken.note(
                HaigoError(
                    f"{work.unit.path} has a document with half a surrogate pair ('{document.id}').",
                    "clean the corpus with preprocess.clean first",
                )
            )
            continue
        yield text


def _documents(work: Work, broken: Broken | None = None) -> Iterator[Document]:
    broken = broken or Broken()
    unit, key = work.unit, work.options.json_key
    if unit.end is not None:
        with open(unit.path, "rb", buffering=1 << 20) as handle:
            yield from _range(handle, unit, key, broken)
        return
    how = ReadOptions(text_key=key, txt_documents=work.options.txt_documents)
    for entry in entries(Path(unit.path), unit.key):
        _require_documents(entry, key)
        yield from sources.read_entry(entry, how, broken)


def _require_documents(entry: Entry, text_key: str) -> None:
    """Refuse what could be read as text only by mistake: its markup, braces or commas would be trained on.

    Raises:
        HaigoError: neither jsonl nor parquet nor a txt file of text; names the file.
    """
    ending = sources.suffix(entry.key)
    if ending not in (".txt", ".text", ".md", "", ".json", ".jsonl", ".ndjson", ".parquet", ".xml"):
        _require_rows(entry)
        return
    kind = sources.detect_format(entry)
    if kind in ("mediawiki", "kokkai"):
        what = {"mediawiki": "a MediaWiki dump", "kokkai": "a page of the Diet minutes API"}[kind]
        raise HaigoError(f"{entry.name} is {what}, not documents.", "clean it with preprocess.clean first")
    head = entry.head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if kind == "jsonl" and ending in (".txt", ".text", ".md") and b'"' + text_key.encode() + b'"' in head:
        raise HaigoError(
            f"{entry.name} is named {ending} and holds JSON lines, which would be read as plain text.",
            "rename it to .jsonl",
        )


def _require_rows(entry: Entry) -> None:
    """Of a name that says nothing of jsonl, parquet or txt only what is JSON lines or a table by its content."""
    try:
        kind = sources.detect_format(entry)
    except HaigoError:
        kind = ""
    if kind not in ("jsonl", "parquet", "mediawiki", "kokkai"):
        raise HaigoError(
            f"{entry.name} is not jsonl, parquet or txt by its name and content.",
            "clean it with preprocess.clean first, or rename it to .txt if it is plain text",
        )


def _range(handle: BinaryIO, unit: Unit, text_key: str, broken: Broken) -> Iterator[Document]:
    """Lines that begin inside the range; the one that reaches over its end belongs to it."""
    assert unit.end is not None
    if unit.start:
        handle.seek(unit.start - 1)
        _skip_line(handle)  # the line before, unless it ended exactly here
    own = Broken(broken.most)

    def until_the_end() -> Iterator[tuple[int, bytes]]:
        numbered = lines(handle, unit.path, own)
        while handle.tell() < cast(int, unit.end):
            line = next(numbered, None)
            if line is None:
                return
            yield line

    try:
        yield from jsonl.documents(until_the_end(), unit.path, text_key, own)
    except HaigoError as error:
        if not unit.start:
            raise
        raise HaigoError(_with_true_line(error.problem, unit), error.fix, option=error.options) from None
    if own.count:
        broken.take(own.count, [_with_true_line(problem, unit) for problem in own.named])


def _skip_line(handle: BinaryIO) -> None:
    while (part := handle.readline(MOST_BYTES)) and not part.endswith(b"\n"):
        pass


def _with_true_line(problem: str, unit: Unit) -> str:
    """A sentence about a line of a range with the line's number in the whole file, which is counted only when it is needed."""
    if not unit.start:
        return problem
    before = 0
    with open(unit.path, "rb") as handle:
        for at in range(0, unit.start, 1 << 20):
            before += handle.read(min(1 << 20, unit.start - at)).count(b"\n")
        handle.seek(unit.start - 1)
        before += handle.read(1) != b"\n"  # the range begins inside a line
    return re.sub(r"\(line (\d+)\)", lambda found: f"(line {before + int(found[1])})", problem, count=1)
