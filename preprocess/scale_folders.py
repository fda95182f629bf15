"""Decontamination and scores as steps of `preprocess.scale`: a folder of documents a piece, and one task that puts together
what is to be known of all.

`OUTPUT/decontaminate/00000` is, byte for byte, what `preprocess.decontaminate` makes of the folder before it, and
`OUTPUT/score/00000` what `preprocess.score` does. A folder is known by its marker below `OUTPUT/STEP-work`, which holds what it
was made of and its bytes, and never done again; one that fails is left out of what follows, as a bad file is.
"""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from haigo import digests, files, sealed
from haigo.cli import HaigoError
from haigo.formats import documents

from . import decontaminate, evaluation_items, rewrite, scale_tasks, score
from .options import DecontaminateOptions
from .scale_steps import PieceStep, folders
from .scale_tasks import Piece
from .score_options import ScoreOptions


@dataclasses.dataclass(frozen=True)
class FolderStep(PieceStep):
    """A step that makes a folder of documents of each of the step before.

    Attributes:
        output: folder of the whole run.
        source: the step whose folders are read.
    """

    output: str
    source: str

    def pieces(self) -> list[Piece]:
        """The folders."""
        return [
            Piece(folder.name, str(folder), rewrite.packed_bytes(folder), partial(self._piece, folder))
            for folder in folders(self.output, self.source)
        ]

    def work_folder(self, folder: Path) -> Path:
        """Where a folder is written before it is moved into its place."""
        return Path(self.output) / f"{self.name}-work" / folder.name

    def marker(self, folder: Path) -> Path:
        """The note of a finished folder."""
        work = self.work_folder(folder)
        return work.with_name(f"{work.name}.json")

    def work(self, rank: int, world_size: int) -> None:
        """Do this task's pieces; the first task removes what is of folders that are no more."""
        if rank == 0:
            there = {folder.name for folder in folders(self.output, self.source)}
            for marker in sorted((Path(self.output) / f"{self.name}-work").glob("[0-9]*.json")):
                if marker.stem not in there:
                    files.remove_tree(Path(self.output) / self.name / marker.stem)
                    files.remove(marker)
        super().work(rank, world_size)

    def noted(self) -> list[dict[str, Any]]:
        """What the markers of the folders say that did not fail.

        Raises:
            HaigoError: one is not finished.
        """
        notes = []
        for folder in folders(self.output, self.source):
            if scale_tasks.failed(self.output, self.name, folder.name):
                continue
            if not self.marker(folder).is_file():
                raise HaigoError(f"{self.marker(folder)} is missing.", f"run the step {self.name} again")
            notes.append(sealed.read(self.marker(folder), {"recipe": str})[0])
        return notes

    def _piece(self, folder: Path) -> None:
        target, marker, work = (
            Path(self.output) / self.name / folder.name,
            self.marker(folder),
            self.work_folder(folder),
        )
        sums = {f"{split}/{path.name}": digests.sha256(path) for split in documents.splits(folder)
                for path in documents.shards(folder, split)}  # fmt: skip
        recipe = files.digest([self.made_from(), sums, digests.sha256(folder / documents.REPORT)])
        if scale_tasks.made(marker, target, recipe) is not None:
            return
        files.remove(marker)
        if sums:
            more, reports = self.make({folder.name: folder}, work)
        else:  # nothing stayed of that file
            empty = {each: rewrite.write_split([], str(work / rewrite.PARTIAL / folder.name / each))
                     for each in documents.SPLITS}  # fmt: skip
            more, reports = {}, {folder.name: rewrite.report(folder, empty, self.name, self.settings())}
        rewrite.put(work / rewrite.PARTIAL, target.parent, reports)
        files.remove_tree(work)
        scale_tasks.note_made(marker, target, recipe, **more)

    def made_from(self) -> Any:
        """All that a folder's result depends on, beside the folder."""
        return self.settings()

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """The options on which the result depends, as reports state them."""

    @abstractmethod
    def make(self, corpora: Mapping[str, Path], work: Path) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
        """Write a folder below `work / PARTIAL`; what the marker is to say, and the folder's report."""


@dataclasses.dataclass(frozen=True)
class Decontaminate(FolderStep):
    """Take evaluation texts out of every folder.

    Attributes:
        against: evaluation files, or folders of them.
        options: `workers` says nothing here.
    """

    against: tuple[str, ...]
    options: DecontaminateOptions
    name = "decontaminate"

    def paths(self) -> list[Path]:
        """The evaluation files."""
        return evaluation_items.find(self.against)

    def made_from(self) -> Any:
        """The evaluation files, and the options."""
        paths = self.paths()
        return [evaluation_items.labels(paths), evaluation_items.digest(paths), self.settings()]

    def settings(self) -> dict[str, Any]:
        """The options."""
        return decontaminate.noted(self.options)

    def make(self, corpora: Mapping[str, Path], work: Path) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
        """Write a folder without what is found in it."""
        run = decontaminate.Decontamination(corpora, self.paths(), self.options.replaced(workers=1))
        found = run.search()
        run.write(work / rewrite.PARTIAL)
        return {"found": _of_corpus(found, corpora)}, run.reports


def _of_corpus(found: Mapping[str, Any], corpora: Mapping[str, Path]) -> dict[str, Any]:
    """What was found in a folder, as of the corpus that it is a part of."""
    ((part, folder),) = corpora.items()
    corpus = documents.report(folder)["corpus"]
    return {
        **found,
        "corpora": {corpus: found["corpora"][part]},
        "samples": [{**row, "corpus": corpus} for row in found["samples"]],
        "input": [{**row, "corpus": corpus, "file": f"{part}/{row['file']}"} for row in found["input"]],
    }


@dataclasses.dataclass(frozen=True)
class DecontaminateReport(Decontaminate):
    """Write, below the run's folder, what `preprocess.decontaminate` writes of all: report, and ids for the scorer."""

    name = "decontaminate-report"

    def pieces(self) -> list[Piece]:
        """One."""
        return [Piece("report", str(Path(self.output) / decontaminate.REPORT), 1, self._write)]

    def _write(self) -> None:
        step = Decontaminate(self.output, self.source, self.against, self.options)
        parts = [note["found"] for note in step.noted() if "found" in note]
        summary = decontaminate.Summary(self.paths(), self.options, parts)
        path = Path(self.output) / decontaminate.REPORT
        if not path.is_file() or files.read_json(path) != summary.report():
            summary.write(path.parent)


@dataclasses.dataclass(frozen=True)
class Score(FolderStep):
    """Score the documents of every folder."""

    options: ScoreOptions
    name = "score"

    def settings(self) -> dict[str, Any]:
        """The scores and their models."""
        return score.settings(self.options)

    def make(self, corpora: Mapping[str, Path], work: Path) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
        """Write a folder with scores."""
        run = score.Scoring(corpora, work, self.options.replaced(workers=1))
        report = run.report()
        return {"scores": report["corpora"]}, run.reports


@dataclasses.dataclass(frozen=True)
class ScoreReport(Score):
    """Write `OUTPUT/score.json`: how the scores are spread in every folder."""

    name = "score-report"

    def pieces(self) -> list[Piece]:
        """One."""
        return [Piece("report", str(Path(self.output) / score.REPORT), 1, self._write)]

    def _write(self) -> None:
        step = Score(self.output, self.source, self.options)
        rows = {name: row for note in step.noted() for name, row in note.get("scores", {}).items()}
        content = {"folders": rows, "options": self.settings()}
        path = Path(self.output) / score.REPORT
        if not path.is_file() or files.read_json(path) != content:
            files.write_json(path, content)
