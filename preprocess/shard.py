"""One shard of an indexed dataset: what a single process does, and all that it needs to know for it.

A shard's `.json` is written last and holds a digest of what the shard was made from: one that is there and fits is
never made again. Joining shards is in `preprocess.index`.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from haigo import files
from haigo.cli import HaigoError

from . import sources, tokenizer
from .documents import batches
from .indexed_dataset import MMapReader, MMapWriter, token_dtype
from .sources import Document, jsonl
from .sources.containers import Entry, entries

_BATCH_CHARS = 1_000_000


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
    text_key: str
    append_eod: bool
    documents: str
    prefix: str
    model_sha256: str

    def recipe(self) -> str:
        """Digest of everything that the shard depends on."""
        unit = [self.unit.sha256, self.unit.start, self.unit.end]
        return files.digest([unit, self.model_sha256, self.text_key, self.append_eod, self.documents])


_held: dict[str, tokenizer.Tokenizer] = {}


def hold(model: tokenizer.Tokenizer) -> None:
    """Use this loaded model for the shards that this process makes with its path: one load a process, not one a shard."""
    _held.clear()
    _held[str(model.path)] = model


def _model(path: str) -> tokenizer.Tokenizer:
    if path not in _held:
        hold(tokenizer.load(path))
    return _held[path]


def make_shard(work: Work) -> dict[str, int]:
    """Write `{work.prefix}.{bin,idx,json}` unless a finished one is there.

    Returns:
        documents, tokens, bytes (UTF-8, of the texts) and empty (texts left out).
    """
    marker = Path(f"{work.prefix}.json")
    recipe = work.recipe()
    if marker.is_file():
        try:
            done = files.read_json(marker)
            if done["recipe"] == recipe and len(MMapReader(work.prefix).tokens) == done["counts"]["tokens"]:
                return done["counts"]
        except (HaigoError, KeyError, TypeError):
            pass  # a shard of another run: made again
        marker.unlink()
    model = _model(work.model)
    dtype = token_dtype(model.vocab_size)
    counts = {"documents": 0, "tokens": 0, "bytes": 0, "empty": 0}
    with MMapWriter(work.prefix, dtype) as writer:
        for texts in batches(_texts(work, counts), _BATCH_CHARS, len):
            for ids in model.encode_batch(texts):
                if work.append_eod:
                    ids.append(model.eod_id)
                counts["tokens"] += writer.add_bytes(np.fromiter(ids, dtype, len(ids)).tobytes())
                writer.end_document()
            counts["documents"] += len(texts)
    files.write_json(marker, {"recipe": recipe, "counts": counts})
    return counts


def _texts(work: Work, counts: dict[str, int]) -> Iterator[str]:
    """The texts of a unit; empty ones are counted and left out, as GPT-NeoX does."""
    for document in _documents(work):
        text = document.text
        if not text:
            counts["empty"] += 1
            continue
        try:
            counts["bytes"] += len(text) if text.isascii() else len(text.encode())
        except UnicodeEncodeError:
            raise HaigoError(
                f"{work.unit.path} has a document with half a surrogate pair ('{document.id}').",
                "clean the corpus with preprocess.clean first",
            ) from None
        yield text


def _documents(work: Work) -> Iterator[Document]:
    unit = work.unit
    if unit.end is not None:
        with open(unit.path, "rb", buffering=1 << 20) as handle:
            yield from _range(handle, unit, work.text_key)
        return
    for entry in entries(Path(unit.path), unit.key):
        _require_documents(entry, work.text_key)
        yield from sources.read_entry(entry, "auto", work.text_key, work.documents)


def _require_documents(entry: Entry, text_key: str) -> None:
    """Refuse what could be read as text only by mistake: its markup, braces or commas would be trained on.

    Raises:
        HaigoError: neither jsonl nor parquet nor a txt file of text; names the file.
    """
    kind, ending = sources.detect_format(entry), sources.suffix(entry.key)
    head = entry.head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if kind in ("mediawiki", "kokkai"):
        what = {"mediawiki": "a MediaWiki dump", "kokkai": "a page of the Diet minutes API"}[kind]
        raise HaigoError(f"{entry.name} is {what}, not documents.", "clean it with preprocess.clean first")
    if kind == "jsonl" or kind == "parquet":
        return
    if head.startswith(b"{") and b'"' + text_key.encode() + b'"' in head:
        raise HaigoError(
            f"{entry.name} is named {ending or 'without an ending'} and holds JSON lines, which would be read as plain text.",
            "rename it to .jsonl",
        )
    if head.startswith(b"[") and ending == ".json":
        raise HaigoError(
            f"{entry.name} is one JSON array, not a JSON object a line.", "write it as jsonl (jq -c '.[]' does that)"
        )
    if ending not in (".txt", ".text", ".md", ""):
        raise HaigoError(
            f"{entry.name} is not jsonl, parquet or txt by its name and content.",
            "clean it with preprocess.clean first, or rename it to .txt if it is plain text",
        )


def _range(handle: BinaryIO, unit: Unit, text_key: str) -> Iterator[Document]:
    """Lines that begin inside the range; the one that reaches over its end belongs to it."""
    assert unit.end is not None
    skipped = 0
    if unit.start:
        handle.seek(unit.start - 1)
        handle.readline()  # the line before, unless it ended exactly here
    at = handle.tell()

    def lines() -> Iterator[bytes]:
        nonlocal at, skipped
        while at < cast(int, unit.end):
            line = handle.readline()
            if not line:
                return
            at += len(line)
            skipped += 1
            yield line

    stream = lines()
    try:
        yield from jsonl.lines(cast(BinaryIO, stream), unit.path, text_key)
    except HaigoError as error:
        if not unit.start:
            raise
        raise _with_true_line(error, unit, skipped) from None


def _with_true_line(error: HaigoError, unit: Unit, nth: int) -> HaigoError:
    """The message with the line's number in the whole file, which is counted only when it is needed."""
    before = 0
    with open(unit.path, "rb") as handle:
        for at in range(0, unit.start, 1 << 20):
            before += handle.read(min(1 << 20, unit.start - at)).count(b"\n")
        handle.seek(unit.start - 1)
        before += handle.read(1) != b"\n"  # the range begins inside a line
    return HaigoError(error.problem.replace(f"(line {nth})", f"(line {before + nth})"), error.fix)
