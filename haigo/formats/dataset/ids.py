"""Which token ids an indexed dataset holds: their range, and the first one that a vocabulary does not have.

GPT-NeoX looks such an id up outside its embedding, which on a GPU ends in a device-side assertion hours into a run. A dataset
with Haigo's manifest was checked when it was made; one of another origin is read whole, as fast as the disk gives it.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np

from haigo.cli import Refused
from haigo.progress import Progress

from .indexed import MMapReader, bin_path

MASKED = -100
"""Label of a token whose loss does not count."""
_CHUNK = 1 << 24


@dataclass(frozen=True)
class Outside:
    """An id outside a vocabulary, and where it stands."""

    value: int
    position: int
    """Token of the dataset, from 0."""
    sequence: int
    offset: int
    """Token of that sequence, from 0."""


@dataclass(frozen=True)
class Range:
    """The ids of a dataset."""

    least: int
    most: int
    """Both 0 where there is no token."""


def _parts(reader: MMapReader) -> Iterator[tuple[int, np.ndarray]]:
    """(first token, tokens), a chunk at a time; with a progress line where there are several."""
    total = len(reader.tokens)
    with Progress(f"ids of {reader.prefix.name}", total, "tokens") if total > _CHUNK else nullcontext() as progress:
        for at in range(0, total, _CHUNK):
            part = np.asarray(reader.tokens[at : at + _CHUNK])
            yield at, part
            if progress is not None:
                progress.update(len(part))


def span(reader: MMapReader, labels: bool = False) -> Range:
    """The smallest and the largest id.

    Args:
        reader: the dataset.
        labels: pass over -100.
    """
    least, most = None, None
    for _, part in _parts(reader):
        kept = part[part != MASKED] if labels else part
        if len(kept):
            low, high = int(kept.min()), int(kept.max())
            least, most = low if least is None else min(least, low), high if most is None else max(most, high)
    return Range(least or 0, most or 0)


def outside(reader: MMapReader, vocab_size: int, labels: bool = False) -> Outside | None:
    """The first id below 0 or not below `vocab_size`; None when all are inside.

    Args:
        reader: the dataset, of whole numbers.
        vocab_size: pieces of the tokenizer.
        labels: -100 is allowed.
    """
    if reader.dtype.kind == "u" and np.iinfo(reader.dtype).max < vocab_size:
        return None
    for at, part in _parts(reader):
        wrong = part >= vocab_size
        if reader.dtype.kind == "i":
            wrong |= (part < 0) & (part != MASKED) if labels else part < 0
        if wrong.any():
            return _where(reader, at + int(wrong.argmax()))
    return None


def _where(reader: MMapReader, position: int) -> Outside:
    ends = np.cumsum(np.asarray(reader.sizes, dtype=np.int64))
    sequence = int(np.searchsorted(ends, position, side="right"))
    offset = position - int(ends[sequence] - reader.sizes[sequence])
    return Outside(int(reader.tokens[position]), position, sequence, offset)


def require_inside(prefix: str | os.PathLike[str], vocab_size: int, name: str, labels: bool = False) -> None:
    """Refuse a dataset with an id that the vocabulary does not have. Asked again for the same files, it does not read them.

    Args:
        prefix: path without extension.
        vocab_size: pieces of the tokenizer.
        name: what to call the tokenizer.
        labels: -100 is allowed.

    Raises:
        HaigoError: the dataset cannot be read.
        Refused: names the dataset, the id and its place.
    """
    data = bin_path(prefix)
    stamp = (data.stat().st_size, data.stat().st_mtime_ns) if data.is_file() else (0, 0)
    wrong = _outside(os.fspath(prefix), vocab_size, labels, stamp)
    if wrong is not None:
        raise Refused(
            f"{data} holds the id {wrong.value:,} (token {wrong.offset:,} of sequence {wrong.sequence:,}), and {name} has "
            f"{vocab_size:,} pieces.",
            "name the tokenizer that made the dataset, or make it again with preprocess.index",
        )


def require_labels(text: str | os.PathLike[str], label: str | os.PathLike[str]) -> None:
    """Refuse labels that are not those of their tokens. Asked again for the same files, it does not read them.

    Args:
        text, label: paths without extension; a label is its token, or -100 where the loss does not count.

    Raises:
        HaigoError: a dataset cannot be read.
        Refused: other lengths, a label that is another token, or none that counts.
    """
    one, marks, again = MMapReader(text).of_tokens(), MMapReader(label).of_tokens(), "make both with preprocess.pairs"
    if (len(one.tokens), len(one)) != (len(marks.tokens), len(marks)) or not np.array_equal(one.sizes, marks.sizes):
        sizes = f"{len(marks.tokens):,} labels in {len(marks):,} rows, {len(one.tokens):,} tokens in {len(one):,}"
        raise Refused(
            f"{bin_path(label)} does not belong to {bin_path(text)}: {sizes}, or rows of other lengths.", again
        )
    if marks.dtype.kind == "u":
        raise Refused(f"{bin_path(label)} holds {marks.dtype}, which cannot say -100: nothing would be masked.", again)
    stamp = tuple((file.stat().st_size, file.stat().st_mtime_ns) for file in (bin_path(text), bin_path(label)))
    other, counted = _labels(os.fspath(text), os.fspath(label), stamp)
    if other is not None:
        raise Refused(
            f"{bin_path(label)} does not belong to {bin_path(text)}: the label {other.value:,} (token {other.offset:,} of "
            f"sequence {other.sequence:,}) is not the token there, nor -100.",
            again,
        )
    if not counted:
        raise Refused(
            f"{bin_path(label)} is -100 throughout: no token would be learnt, and the loss is no number.", again
        )


@functools.lru_cache(maxsize=1024)
def _labels(text: str, label: str, stamp: tuple[tuple[int, int], ...]) -> tuple[Outside | None, int]:
    """The first label that is not its token, and how many count up to there."""
    one, marks = MMapReader(text), MMapReader(label)
    counted = 0
    for at, part in _parts(marks):
        learnt = part != MASKED
        wrong = learnt & (part != one.tokens[at : at + len(part)])
        if wrong.any():
            return _where(marks, at + int(wrong.argmax())), counted
        counted += int(learnt.sum())
    return None, counted


@functools.lru_cache(maxsize=1024)
def _outside(prefix: str, vocab_size: int, labels: bool, stamp: tuple[int, int]) -> Outside | None:
    return outside(MMapReader(prefix).of_tokens(), vocab_size, labels)
