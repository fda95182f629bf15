"""Which of train, valid and test a document belongs to: a keyed hash of its id and raw text, nothing else.

So the answer does not change with the order of files, with other documents, or with a cleaning rule. Only where a split
that was asked for would stay empty (small corpora) is the lowest hash of the largest split moved into it.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from haigo import files
from haigo.cli import HaigoError
from haigo.formats.documents import SPLITS, Document, Line, ShardWriter
from haigo.formats.documents.containers import entries
from haigo.formats.documents.keyed import BITS, keyed_hash

SPARE = len(SPLITS)


def fractions(value: Sequence[float]) -> tuple[float, float, float]:
    """Check three shares of train, valid and test.

    Raises:
        HaigoError: not three numbers from 0 to 1 that sum to 1, or no training documents.
    """
    shares = [float(share) for share in value]
    if len(shares) != 3 or min(shares) < 0 or not abs(sum(shares) - 1) <= 1e-6 or shares[0] == 0:  # nan is no share
        raise HaigoError(
            f"the split {','.join(f'{share:g}' for share in shares)} is not three shares that sum to 1.",
            "give train,valid,test such as 0.96,0.02,0.02",
        )
    return shares[0], shares[1], shares[2]


def number(document: Document, seed: int) -> int:
    """The hash that decides, 64 bits."""
    return keyed_hash(document, seed, b"split")


def choose(value: int, shares: tuple[float, float, float]) -> str:
    """The split of a hash: the lowest values are test, the next valid."""
    place = value / 2**BITS
    if place < shares[2]:
        return "test"
    return "valid" if place < shares[2] + shares[1] else "train"


class SplitWriter:
    """Writes documents below `folder`/{train,valid,test} and keeps wanted splits from staying empty."""

    def __init__(self, folder: Path, shares: tuple[float, float, float], seed: int) -> None:
        self.folder, self.shares, self.seed = folder, shares, seed
        self.writers = {name: ShardWriter(folder / name) for name in SPLITS}
        self._lowest: dict[str, list[tuple[int, int, Line]]] = {name: [] for name in SPLITS}
        self._count = 0

    def add(self, document: Line, value: int) -> None:
        """Write a cleaned document; `value` is `number` of the raw one."""
        name = choose(value, self.shares)
        self.writers[name].add_line(document)
        self._count += 1
        keep = self._lowest[name]
        heapq.heappush(keep, (-value, -self._count, document))
        if len(keep) > SPARE:
            heapq.heappop(keep)

    def close(self) -> dict[str, dict[str, int]]:
        """Write what is left and fill empty splits (from 3 documents on); returns what each split holds."""
        counts = {name: writer.documents for name, writer in self.writers.items()}
        held = {name: [(-value, -order, line) for value, order, line in rows] for name, rows in self._lowest.items()}
        for donor, target, (_, _, line) in moves(counts, held, self.shares):
            self._move(donor, target, line)
        return {name: written(writer) for name, writer in self.writers.items()}

    def _move(self, donor: str, target: str, document: Line) -> None:
        self.writers[donor].flush()
        fresh = ShardWriter(self.folder / f"{donor}.moved")
        gone = False
        for shard in sorted((self.folder / donor).glob("*.jsonl.zst")):
            for entry in entries(shard):
                for packed in entry.stream:
                    if not gone and packed == document.packed:
                        gone = True
                    else:
                        fresh.add_line(Line(packed, 0, 0))
            files.remove(shard)
        fresh.flush()
        if fresh.folder.is_dir():
            files.move(fresh.folder, self.folder / donor)
        writer = self.writers[donor]
        fresh.folder = writer.folder
        fresh.documents, fresh.characters, fresh.bytes = (
            writer.documents - 1,
            writer.characters - document.characters,
            writer.bytes - document.bytes,
        )
        self.writers[donor] = fresh
        self.writers[target].add_line(document)


def moves(
    counts: Mapping[str, int], lowest: Mapping[str, Sequence[tuple[Any, ...]]], shares: Sequence[float]
) -> Iterator[tuple[str, str, tuple[Any, ...]]]:
    """What goes from where to where so that no split that was asked for stays empty, from 3 documents on.

    Args:
        counts: documents of each split.
        lowest: (hash, place among documents of that hash, ...) of the `SPARE` documents of each split that have the lowest.
    """
    there, held = dict(counts), {name: sorted(rows, key=lambda row: row[:2]) for name, rows in lowest.items()}
    wanted = [name for name, share in zip(SPLITS, shares, strict=True) if share > 0]
    for target in wanted if sum(there.values()) >= 3 else ():
        if not there[target]:
            donor = max(SPLITS, key=lambda name: there[name])
            moved = held[donor].pop(0)
            there[donor], there[target] = there[donor] - 1, 1
            held[target].append(moved)
            yield donor, target, moved


def written(writer: ShardWriter) -> dict[str, int]:
    """Write what is left of a split; what it holds."""
    writer.flush()
    writer.folder.mkdir(parents=True, exist_ok=True)
    return {"documents": writer.documents, "characters": writer.characters, "bytes": writer.bytes}
