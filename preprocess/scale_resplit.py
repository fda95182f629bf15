"""Splits dealt out anew as steps of `preprocess.scale`: over the whole corpus, after documents went, with shares of their own.

Cleaning deals out each input file for itself, and a small file gives valid and test a document all the same (`split`); after
thousands of these they hold far more than their shares. Here a document goes by the hash of its id and its text as it is now,
and only where the whole corpus has none is a split given one. Of text that cleaning left as it was, with cleaning's own seed,
these are the splits of one `preprocess.clean` over all files.

    resplit-count    a shard a piece: how many documents each split gets, and the lowest hashes
    resplit-plan     one piece: which documents go elsewhere, so that no split stays empty
    resplit          a shard a piece: the documents in their new splits, a shard in each
    resplit-report   one piece: the reports of the folders
"""

from __future__ import annotations

import contextlib
import dataclasses
import heapq
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from haigo import digests, files
from haigo.cli import HaigoError
from haigo.formats import documents
from haigo.formats.documents import Line

from . import scale_tasks, split
from .rewrite import CorpusShard
from .scale_folders import FolderStep, ReportStep, piece_name, shard_piece, shards_of
from .scale_steps import PieceStep, folders
from .scale_tasks import Piece

_COUNT = {
    "recipe": str,
    "counts": dict.fromkeys(documents.SPLITS, int),
    "lowest": {name: [[object]] for name in documents.SPLITS},
}


@dataclasses.dataclass(frozen=True)
class _Dealing(PieceStep):
    """What the steps are told.

    Attributes:
        output: folder of the whole run.
        source: the step whose folders are read.
        shares: of train, valid and test.
        seed: key of the hash.
    """

    output: str
    source: str
    shares: tuple[float, float, float]
    seed: int

    def file(self, name: str) -> Path:
        """The file of a note between the steps."""
        return Path(self.output) / "resplit-work" / "plan" / f"{name}.json"


class Count(_Dealing):
    """Count what each split gets of a shard."""

    name = "resplit-count"

    def pieces(self) -> list[Piece]:
        """The shards of all folders."""
        return [
            shard_piece(folder, shard, partial(self.count, folder, shard))
            for folder in folders(self.output, self.source)
            for shard in shards_of(folder)
        ]

    def count(self, folder: Path, shard: CorpusShard) -> None:
        """Count those of one shard."""
        path = self.file(piece_name(folder, shard))
        recipe = files.digest([self.shares, self.seed, digests.sha256(shard.path)])
        with contextlib.suppress(HaigoError, OSError):  # none yet, or a damaged one
            if files.read_record(path, _COUNT)["recipe"] == recipe:
                return
        counts = dict.fromkeys(documents.SPLITS, 0)
        lowest: dict[str, list[tuple[int, int]]] = {name: [] for name in documents.SPLITS}
        for place, document in enumerate(shard.read()):
            value = split.number(document, self.seed)
            name = split.choose(value, self.shares)
            counts[name] += 1
            heapq.heappush(lowest[name], (-value, -place))
            if len(lowest[name]) > split.SPARE:
                heapq.heappop(lowest[name])
        rows = {name: sorted([f"{-value:016x}", -place] for value, place in held) for name, held in lowest.items()}
        files.write_json(path, {"recipe": recipe, "counts": counts, "lowest": rows})


class Plan(_Dealing):
    """Which documents go to other splits than their hash says: none, but in a corpus of few."""

    name = "resplit-plan"

    def pieces(self) -> list[Piece]:
        """One."""
        return [Piece("plan", str(self.file("plan")), 1, self._plan)]

    def _plan(self) -> None:
        counts = dict.fromkeys(documents.SPLITS, 0)
        held: dict[str, list[tuple[Any, ...]]] = {name: [] for name in documents.SPLITS}
        failed = scale_tasks.failed(self.output, Count.name)
        there = [folder for folder in folders(self.output, self.source) if folder.name not in failed]
        for number, own in enumerate(piece_name(folder, shard) for folder in there for shard in shards_of(folder)):
            note = files.read_record(self.file(own), _COUNT)
            for name in documents.SPLITS:
                counts[name] += note["counts"][name]
                rows = [(value, (number, place), own) for value, place in note["lowest"][name]]
                held[name] = heapq.nsmallest(split.SPARE, [*held[name], *rows])
        moved = [[row[2], row[1][1], target] for _, target, row in split.moves(counts, held, self.shares)]
        files.write_json(self.file("plan"), {"moved": moved})


@dataclasses.dataclass(frozen=True)
class Resplit(_Dealing, FolderStep):
    """Deal out the documents of every shard, a shard in each split.

    Those of a split that come of later shards stand in later shards, so that the order of documents is as they were.
    """

    name = "resplit"

    @cached_property
    def _moved(self) -> list[list[Any]]:
        return list(files.read_record(self.file("plan"), {"moved": [[object]]})["moved"])

    def made_from(self, folder: Path, shard: CorpusShard) -> Any:
        """Options, and what the plan says of the shard."""
        return [self.settings, self._of(piece_name(folder, shard))]

    def _of(self, own: str) -> dict[int, str]:
        """Place of a document in a shard -> the split to which it goes, of those that the plan names."""
        return {place: target for name, place, target in self._moved if name == own}

    @property
    def settings(self) -> dict[str, Any]:
        """Shares and seed."""
        return {"split": list(self.shares), "seed": self.seed}

    def names(self, number: int, shard: CorpusShard) -> list[str]:
        """One in each split."""
        return [f"{name}/{number:05d}.jsonl.zst" for name in documents.SPLITS]

    def make(self, shard: CorpusShard, target: Path, names: Sequence[str]) -> Mapping[str, Any]:
        """Write the shards; `splits` is noted: what is in each."""
        moved = self._of(piece_name(Path(shard.path).parents[1], shard))
        lines: dict[str, list[Line]] = {name: [] for name in documents.SPLITS}
        for place, document in enumerate(shard.read()):
            name = moved.get(place) or split.choose(split.number(document, self.seed), self.shares)
            lines[name].append(documents.line(document))
        made = {
            each: documents.write_lines(target / file, lines[each])
            for each, file in zip(documents.SPLITS, names, strict=True)
        }
        return {"read": sum(map(len, lines.values())), "splits": made}

    def splits(self, shard: CorpusShard, note: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """What a shard gave to each split."""
        for name, counts in note["splits"].items():
            yield name, {"counts": counts, "rules": {}, "sums": note["sums"]}


class ResplitReport(ReportStep):
    """Write the reports of the folders."""

    name = "resplit-report"


def steps(
    output: str, source: str, shares: tuple[float, float, float], seed: int, tasks: int
) -> dict[str, tuple[PieceStep, int]]:
    """Step and number of tasks by name, in order."""
    told = (output, source, shares, seed)
    report = ResplitReport(Resplit(*told))
    return {Count.name: (Count(*told), tasks), Plan.name: (Plan(*told), 1), Resplit.name: (Resplit(*told), tasks),
            report.name: (report, 1)}  # fmt: skip
