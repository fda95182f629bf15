"""Splits dealt out anew as steps of `preprocess.scale`: over the whole corpus, after documents went, with shares of their own.

Cleaning deals out each input file for itself, and a small file gives valid and test a document all the same (`split`); after
thousands of these they hold far more than their shares. Here a document goes by the hash of its id and its text as it is now,
and only where the whole corpus has none is a split given one. Of text that cleaning left as it was, with cleaning's own seed,
these are the splits of one `preprocess.clean` over all files.

    resplit-count   a folder a piece: how many documents each split gets, and the lowest hashes
    resplit-plan    one piece: which documents go elsewhere, so that no split stays empty
    resplit         a folder a piece: the documents in their new splits
"""

from __future__ import annotations

import contextlib
import dataclasses
import heapq
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from haigo import digests, files
from haigo.cli import HaigoError
from haigo.formats import documents
from haigo.formats.documents import Document

from . import rewrite, scale_tasks, split
from .scale_folders import FolderStep
from .scale_steps import PieceStep, folders
from .scale_tasks import Piece

_COUNT = {
    "recipe": str,
    "counts": dict.fromkeys(documents.SPLITS, int),
    "lowest": {name: [[object]] for name in documents.SPLITS},
}


@dataclasses.dataclass(frozen=True)
class _Dealing:
    """What the three steps are told.

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

    def note(self, name: str) -> Path:
        """The file of a note between the steps."""
        return Path(self.output) / "resplit-work" / name

    def dealt(self, folder: Path) -> Iterator[tuple[Document, int]]:
        """The documents of a folder and their hashes, in order."""
        for each in documents.splits(folder):
            for document in documents.read(folder, each):
                yield document, split.number(document, self.seed)


class Count(_Dealing, PieceStep):
    """Count what each split of a folder would get."""

    name = "resplit-count"

    def pieces(self) -> list[Piece]:
        """The folders."""
        return [
            Piece(folder.name, str(folder), rewrite.packed_bytes(folder), partial(self._count, folder))
            for folder in folders(self.output, self.source)
        ]

    def _count(self, folder: Path) -> None:
        path = self.note(f"count-{folder.name}.json")
        recipe = files.digest([self.shares, self.seed, digests.sums(folder)])
        with contextlib.suppress(HaigoError, OSError):  # none yet, or a damaged one
            if files.read_record(path, _COUNT)["recipe"] == recipe:
                return
        counts = dict.fromkeys(documents.SPLITS, 0)
        lowest: dict[str, list[tuple[int, int]]] = {name: [] for name in documents.SPLITS}
        for place, (_, value) in enumerate(self.dealt(folder)):
            name = split.choose(value, self.shares)
            counts[name] += 1
            heapq.heappush(lowest[name], (-value, -place))
            if len(lowest[name]) > split.SPARE:
                heapq.heappop(lowest[name])
        rows = {name: sorted([f"{-value:016x}", -place] for value, place in held) for name, held in lowest.items()}
        files.write_json(path, {"recipe": recipe, "counts": counts, "lowest": rows})


class Plan(_Dealing, PieceStep):
    """Which documents go to other splits than their hash says: none, but in a corpus of few."""

    name = "resplit-plan"

    def pieces(self) -> list[Piece]:
        """One."""
        return [Piece("plan", str(self.note("plan.json")), 1, self._plan)]

    def _plan(self) -> None:
        counts = dict.fromkeys(documents.SPLITS, 0)
        held: dict[str, list[tuple[Any, ...]]] = {name: [] for name in documents.SPLITS}
        for number, folder in enumerate(folders(self.output, self.source)):
            if scale_tasks.failed(self.output, Count.name, folder.name):
                continue
            note = files.read_record(self.note(f"count-{folder.name}.json"), _COUNT)
            for name in documents.SPLITS:
                counts[name] += note["counts"][name]
                rows = [(value, (number, place), folder.name) for value, place in note["lowest"][name]]
                held[name] = heapq.nsmallest(split.SPARE, [*held[name], *rows])
        moved = [[row[2], row[1][1], target] for _, target, row in split.moves(counts, held, self.shares)]
        files.write_json(self.note("plan.json"), {"moved": moved})


@dataclasses.dataclass(frozen=True)
class Resplit(_Dealing, FolderStep):
    """Deal out the documents of every folder."""

    name = "resplit"

    def _moved(self) -> list[list[Any]]:
        return list(files.read_record(self.note("plan.json"), {"moved": [[object]]})["moved"])

    def made_from(self) -> Any:
        """Options, and the plan."""
        return [self.settings(), self._moved()]

    def settings(self) -> dict[str, Any]:
        """Shares and seed."""
        return {"split": list(self.shares), "seed": self.seed}

    def make(self, corpora: Mapping[str, Path], work: Path) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
        """Write a folder in its new splits."""
        ((name, folder),) = corpora.items()
        moved = {place: target for own, place, target in self._moved() if own == name}
        target = work / rewrite.PARTIAL / name
        files.remove_tree(target)
        writers = {each: documents.ShardWriter(target / each) for each in documents.SPLITS}
        for place, (document, value) in enumerate(self.dealt(folder)):
            writers[moved.get(place) or split.choose(value, self.shares)].add(document)
        made = {each: {**split.written(writer), "rules": {}} for each, writer in writers.items()}
        return {}, {name: rewrite.report(folder, made, self.name, self.settings())}


def deal_one(folder: Path, output: Path, shares: tuple[float, float, float], seed: int) -> None:
    """Deal out one folder by itself, all steps of it, as it is measured on a sample; it is left below `output / PARTIAL`."""
    told = (str(output), "", shares, seed)
    Count(*told)._count(folder)
    files.write_json(Plan(*told).note("plan.json"), {"moved": []})
    Resplit(*told).make({folder.name: folder}, output)


def steps(
    output: str, source: str, shares: tuple[float, float, float], seed: int, tasks: int
) -> dict[str, tuple[PieceStep, int]]:
    """Step and number of tasks by name, in order."""
    told = (output, source, shares, seed)
    return {Count.name: (Count(*told), tasks), Plan.name: (Plan(*told), 1), Resplit.name: (Resplit(*told), tasks)}
