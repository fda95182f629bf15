"""Lines that stand on many pages of one site: menus, notices and footers that no rule knows by their words.

Pages are laid aside on disk as they are read, and every line of every page is counted by its host; then they are read again,
and each is told which of its lines stand on at least `least` pages and a fifth of the pages of its host. Counted are hashes of
64 bits: up to four million in memory, the others in sorted files, merged a part at a time. Memory is that, and 16 bytes for
each line that is repeated somewhere; the answer depends on the pages alone, not on their order or on workers.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import orjson
import zstandard

from haigo import files
from haigo.formats.documents import Document, read_shard

from .sources import address, url_lists

_SHARE = 0.2
"""Of a host's pages: on fewer a line is what people say, not what the site prints."""
_HELD = 4_000_000
_PARTS = 64
Hashes = npt.NDArray[np.uint64]


@dataclasses.dataclass(slots=True)
class Page(Document):
    """A page, and which of its lines (from 0) the site repeats."""

    repeated: tuple[int, ...] = ()

    def own_lines(self) -> str:
        """The text without them."""
        gone = set(self.repeated)
        return "\n".join(line for number, line in enumerate(self.text.split("\n")) if number not in gone)


def marked(stream: Iterable[Document], folder: Path, least: int) -> Iterator[Document]:
    """The documents, in order; those with an address as `Page`s that know their repeated lines.

    Args:
        stream: read once. What comes before the first document with an address goes through as it is.
        folder: where pages are laid aside; the caller removes it.
        least: pages that a line must stand on; below 2 nothing is looked for.
    """
    rest = iter(stream)
    if least < 2:
        yield from rest
        return
    for document in rest:
        if address(document):
            break
        yield document
    else:
        return
    counts, aside = _Counts(folder), folder / "pages.jsonl.zst"
    with files.create(aside) as raw:
        # the stream's end must be written before the file is closed
        with zstandard.ZstdCompressor(level=1).stream_writer(raw, closefd=False) as packed:
            for each in itertools.chain([document], rest):
                packed.write(_line(each))
                counts.add(np.unique(_hashes(each)))
    known, times = counts.often(least)
    for each in read_shard(aside):
        yield Page(each.id, each.text, each.meta, _repeated(each, known, times, least))


def _line(document: Document) -> bytes:
    row = {"id": document.id, "text": document.text, "meta": document.meta}
    try:
        return orjson.dumps(row) + b"\n"
    except TypeError:  # half a surrogate pair
        return json.dumps(row).encode() + b"\n"


def _hashes(document: Document) -> Hashes:
    """Of the host, and of each line with the host; of a document without an address none."""
    url = address(document)
    if not url:
        return np.zeros(0, np.uint64)
    host = hashlib.blake2b(url_lists.host(url).encode(), digest_size=32).digest()
    lines = ("", *(line.strip() for line in document.text.split("\n")))
    digests = (
        hashlib.blake2b(line.encode("utf-8", "surrogatepass"), digest_size=8, key=host).digest() for line in lines
    )
    return np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64)


def _repeated(document: Document, known: Hashes, times: npt.NDArray[np.int64], least: int) -> tuple[int, ...]:
    hashes = _hashes(document)
    if not len(hashes) or not len(known):
        return ()
    place = np.minimum(np.searchsorted(known, hashes), len(known) - 1)
    found = np.where(known[place] == hashes, times[place], 0)
    enough = max(least, _SHARE * found[0])  # the first is the host itself; a blank line has its hash
    lines = document.text.split("\n")
    return tuple(int(number) for number in np.flatnonzero(found[1:] >= enough) if lines[number].strip())


class _Counts:
    """How often each hash came, in little memory."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: list[Hashes] = []
        self._size = 0
        self._runs: list[Path] = []

    def add(self, hashes: Hashes) -> None:
        """Count the hashes of one page."""
        self._held.append(hashes)
        self._size += len(hashes)
        if self._size >= _HELD:
            self._put_aside()

    def _put_aside(self) -> None:
        path = self._folder / f"lines-{len(self._runs):05d}.npy"
        with files.create(path) as handle:
            _save(handle, *self._counted())
        self._runs.append(path)

    def _counted(self) -> tuple[Hashes, npt.NDArray[np.int64]]:
        values, times = np.unique(np.concatenate([np.zeros(0, np.uint64), *self._held]), return_counts=True)
        self._held, self._size = [], 0
        return values, times.astype(np.int64)

    def often(self, least: int) -> tuple[Hashes, npt.NDArray[np.int64]]:
        """The hashes that came `least` times or more, sorted, and how often each came."""
        runs = [np.load(path, mmap_mode="r") for path in self._runs]
        last = self._counted()
        kept, times = [], []
        for part in range(_PARTS):
            low, high = (np.uint64(edge * (1 << 58)) for edge in (part, min(part + 1, _PARTS - 1)))
            pieces = [_between(run[0], run[1], low, high, part) for run in [*runs, last]]
            values, where = np.unique(np.concatenate([piece[0] for piece in pieces]), return_inverse=True)
            sums = np.bincount(where, np.concatenate([piece[1] for piece in pieces]), minlength=len(values))
            kept.append(values[sums >= least])
            times.append(sums[sums >= least].astype(np.int64))
        return np.concatenate(kept), np.concatenate(times)


def _save(handle: IO[Any], values: Hashes, times: npt.NDArray[np.int64]) -> None:
    np.save(handle, np.stack([values, times.astype(np.uint64)]))


def _between(
    values: Hashes, times: npt.NDArray[Any], low: np.uint64, high: np.uint64, part: int
) -> tuple[Hashes, npt.NDArray[np.int64]]:
    """Those of one part; the last has no upper edge, which 64 bits could not hold."""
    start = int(np.searchsorted(values, low))
    end = len(values) if part == _PARTS - 1 else int(np.searchsorted(values, high))
    return np.asarray(values[start:end]), np.asarray(times[start:end]).astype(np.int64)
