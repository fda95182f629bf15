"""Documents of data files that come from servers: the readers of `preprocess.sources`, with limits around them.

A line that is broken is counted and passed over, since nobody here can repair it; a file in which no line is good is an
error. What unpacks to more than a text could be is refused before it fills memory or disk.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, cast

from haigo.cli import HaigoError
from haigo.formats.documents.containers import MOST_BYTES, Entry, entries, readable, unpack
from haigo.formats.documents.containers import lines as numbered

from .. import sources
from ..options import ReadOptions
from ..sources import Document, jsonl
from .source import Source
from .state import Skipped, Store

# text packs to a tenth, hardly ever to a hundredth
_RATIO, _SMALL = 200, 100 << 20
_LINE = MOST_BYTES
_BLOCK = 1 << 20
_BATCH = 1000
STATE = {"rows?": int, "done?": (bool, str)}
"""What is remembered of one file: how many rows were taken, or that all were."""


class _Counted(io.RawIOBase):
    """A stream that counts the bytes that are read of it, and has `check` look at their number."""

    def __init__(self, inner: BinaryIO, check: Callable[[int], None] = lambda count: None) -> None:
        super().__init__()
        self._read: Callable[[memoryview], int | None] = getattr(inner, "readinto1", None) or inner.readinto  # type: ignore[attr-defined]
        self._check, self.count = check, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        size = self._read(buffer) or 0
        self.count += size
        self._check(self.count)
        return size


def unpacked(raw: BinaryIO, name: str) -> io.BufferedReader:
    """The bytes inside the packing of a stream, with a limit on how much comes out of how little."""
    packed = _Counted(raw)

    def check(count: int) -> None:
        if count > max(_SMALL, _RATIO * packed.count):
            raise HaigoError(
                f"{name} unpacks to more than {_RATIO} times its size.", "it is no text; leave this file out"
            )

    return io.BufferedReader(_Counted(unpack(cast(BinaryIO, packed)), check), _BLOCK)


def take(
    source: Source,
    store: Store,
    unit: str,
    rows: Iterator[Document | None],
    sign: Callable[[Document], Document],
    *,
    done: str,
    show: Callable[[int], None] = lambda count: None,
) -> bool:
    """Commit the rows of a file, a batch at a time, after those that earlier runs took.

    Args:
        unit: name of the file's state.
        rows: all of them, None for one that was passed over and noted in the store's `left_out`.
        sign: gives them licence and origin.
        done: is remembered when all were taken.
        show: is called with how many documents came.

    Returns:
        Whether the file's end was reached; a limit may come first.
    """
    taken = (store.get(unit, STATE) or {}).get("rows", 0)
    for _ in itertools.islice(rows, taken):
        pass
    store.left_out.clear()  # it was counted when those rows were taken
    while not source.reached(store):
        most = _BATCH if source.max_documents is None else min(_BATCH, source.max_documents - store.documents)
        batch = list(itertools.islice(rows, most))
        taken += len(batch)
        ended = len(batch) < most
        signed = [sign(row) for row in batch if row is not None]
        store.commit(signed, {unit: {"done": done} if ended else {"rows": taken}})
        show(len(signed))
        if ended:
            return True
    return False


def lines(raw: BinaryIO, name: str, key: str, text_key: str, skipped: Skipped) -> Iterator[Document | None]:
    """The rows of a packed or plain jsonl stream, in order: a document each, or None for one that was passed over.

    Ids are `key:line`; an id of the row's own is kept as `source_id` in meta.

    Raises:
        HaigoError: no row is good (the first one's problem is raised), or the packing is damaged.
    """
    good = False
    first: HaigoError | None = None
    with readable(name):
        stream = unpacked(raw, name)
        for number, line in numbered(stream, name, most=_LINE):
            if not line.strip():
                continue
            try:
                row = jsonl.parse(line, name, number)
                document = jsonl.from_row(row, text_key, f"{name} (line {number})")
            except HaigoError as error:
                first = first or error
                if not good and number >= 100:
                    raise first from None
                skipped.note("not a row with text", f"line {number}: {error.problem}")
                yield None
                continue
            good = True
            if "id" in row and not isinstance(row.get("meta"), dict):
                document.meta = document.meta | {"source_id": document.id}
            document.id = f"{key}:{number}"
            yield document
    if first is not None and not good:
        raise first


def rows(path: Path, name: str, key: str, text_key: str, skipped: Skipped) -> Iterator[Document | None]:
    """The same for a file on disk of any format that `preprocess.sources` reads (parquet, txt, dumps, tars of them)."""
    require_bounded(path, name)
    for entry in entries(path, key):
        called = f"{name}:{entry.key}" if entry.in_tar else name
        entry.name = called
        kind = sources.detect_format(entry)
        if kind == "jsonl":
            yield from lines(
                cast(BinaryIO, entry.stream), called, entry.key if entry.in_tar else key, text_key, skipped
            )
            continue
        yield from _numbered(entry, key, kind, text_key, skipped)


def _numbered(entry: Entry, key: str, kind: str, text_key: str, skipped: Skipped) -> Iterator[Document | None]:
    prefix = f"{key}:{entry.key}" if entry.in_tar else key
    number = 0
    for document in sources.read_entry(entry, ReadOptions(format=kind, text_key=text_key)):
        number += 1
        if not document.text.strip():
            skipped.note("empty", f"{prefix}:{number}")
            yield None
            continue
        if kind == "parquet":
            document.meta = document.meta | {"source_id": document.id}
            document.id = f"{prefix}:{number}"
        elif document.id in (entry.key, key):  # a whole text file: where it lies is its id
            document.id = prefix
        else:
            document.id = f"{prefix}:{document.id}"
        yield document


def require_bounded(path: Path, name: str) -> None:
    """Refuse a packed file that unpacks to more than a text could be, before a reader takes it into memory."""
    with open(path, "rb") as raw, readable(name):
        stream = unpacked(cast(BinaryIO, raw), name)
        if stream.peek(4)[:4] == b"PAR1" or stream.peek(1) == b"":
            return
        while stream.read(_BLOCK):
            pass
