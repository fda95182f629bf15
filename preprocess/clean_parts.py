"""Cleaned lots on disk: what a killed run has done already of a large file, and what tasks elsewhere did of its pieces.

A part is `NUMBER.jsonl.zst`, the documents that were kept, `NUMBER.npy`, by what they are compared and dealt to splits, and
`NUMBER.json`, the account, which is written last and sealed: it holds the digests of both, and of what the part was made from.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import zstandard

from haigo import digests, files, sealed
from haigo.cli import HaigoError
from haigo.formats import documents

from .account import Account
from .cleaner import Kept, Lot

PART_LOTS = 16
"""That a part is made of: some eight million characters of raw text, seconds of work."""
_ROW = np.dtype([("key", "S16"), ("value", "<u8"), ("characters", "<i8"), ("bytes", "<i8"), ("packed", "<i8")])
_LIKE = {"recipe": str, "lots": int, "sums": {str: str}, "rules": {str: dict}, "profiles": {str: int}}
_LEVEL = 1


class Parts:
    """The parts of one stream of lots, in a folder of their own.

    Args:
        folder: theirs alone.
        recipe: digest of all that the lots depend on; parts of another are made again.

    Attributes:
        count: parts that were found or written so far.
    """

    def __init__(self, folder: Path, recipe: str) -> None:
        self.folder, self.recipe = folder, recipe
        self.count = 0
        self._held: list[Lot] = []

    def done(self) -> Iterator[tuple[int, Lot]]:
        """What is there already, in order: how many lots each part was, and all that came of them as one."""
        with contextlib.suppress(HaigoError, OSError):
            while True:
                part = self._read(self.count)
                self.count += 1
                yield part

    def _paths(self, number: int) -> tuple[Path, Path, Path]:
        lines, rows, note = (self.folder / f"{number:05d}{end}" for end in (".jsonl.zst", ".npy", ".json"))
        return lines, rows, note

    def _read(self, number: int) -> tuple[int, Lot]:
        """
        Raises:
            HaigoError, OSError: it is not there, or not as it was left.
        """
        lines, rows, marker = self._paths(number)
        note, _ = sealed.read(marker, _LIKE)
        if note["recipe"] != self.recipe or note["sums"] != {path.name: digests.sha256(path) for path in (lines, rows)}:
            raise HaigoError(f"{marker} is of another run.")
        packed = zstandard.ZstdDecompressor().decompress(lines.read_bytes())
        kept, at = [], 0
        for row in np.load(rows):
            line = documents.Line(packed[at : at + row["packed"]], int(row["characters"]), int(row["bytes"]))
            at += row["packed"]
            kept.append(Kept(bytes(row["key"]).ljust(16, b"\0"), int(row["value"]), line))
        return note["lots"], Lot(kept, note["rules"], note["profiles"])

    def keep(self, lots: Iterable[Lot]) -> Iterator[Lot]:
        """Hand lots on, and write them down as they make parts."""
        for lot in lots:
            self._held.append(lot)
            yield lot
            if len(self._held) == PART_LOTS:
                self._flush()
        self._flush()

    def _flush(self) -> None:
        """Write what is held as the next part."""
        if not self._held:
            return
        lines, rows, marker = self._paths(self.count)
        files.remove(marker)
        kept = [each for lot in self._held for each in lot.kept]
        table = np.array(
            [(each.key, each.value, each.line.characters, each.line.bytes, len(each.line.packed)) for each in kept],
            dtype=_ROW,
        )
        with files.create(lines) as handle:
            handle.write(zstandard.ZstdCompressor(level=_LEVEL).compress(b"".join(each.line.packed for each in kept)))
        with files.create(rows) as handle:
            np.save(handle, table)
        account, profiles = Account(), Counter[str]()
        for lot in self._held:
            account.merge(lot.account)
            profiles.update(lot.profiles)
        note = {"recipe": self.recipe, "lots": len(self._held), "rules": account.rules, "profiles": dict(profiles)}
        sealed.write(marker, note | {"sums": {path.name: digests.sha256(path) for path in (lines, rows)}})
        self._held, self.count = [], self.count + 1
