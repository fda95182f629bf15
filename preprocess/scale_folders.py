"""Decontamination and scores as steps of `preprocess.scale`: a shard of documents a piece, and one task that puts together
what is to be known of all.

`OUTPUT/decontaminate/00000` is, byte for byte, what `preprocess.decontaminate` makes of the folder before it, and
`OUTPUT/score/00000` what `preprocess.score` does. A shard is known by its note below `OUTPUT/STEP-work`, which holds what it
was made of and its digest, and never done again; the last task writes the reports of the folders, by which they are finished.
A folder of which a shard fails is left out of what follows, as a bad file is.
"""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from haigo import __version__, digests, files, sealed
from haigo.cli import HaigoError
from haigo.formats import documents
from haigo.formats.documents import Broken

from . import decontaminate, evaluation_items, rewrite, scale_tasks, score
from .options import DecontaminateOptions
from .rewrite import CorpusShard
from .scale_steps import PieceStep, folders
from .scale_tasks import Piece
from .score_options import ScoreOptions

_Noted = tuple[CorpusShard, dict[str, Any]]


@dataclasses.dataclass(frozen=True)
class FolderStep(PieceStep):
    """A step that makes a folder of documents of each of the step before, a shard a piece.

    Attributes:
        output: folder of the whole run.
        source: the step whose folders are read.
    """

    output: str
    source: str

    @property
    def skip_broken(self) -> int:
        """Rows of a shard that may be passed over."""
        return 0

    def pieces(self) -> list[Piece]:
        """The shards of all folders."""
        return [
            shard_piece(folder, shard, partial(self.work_shard, folder, number, shard))
            for folder in folders(self.output, self.source)
            for number, shard in enumerate(shards_of(folder, self.skip_broken))
        ]

    def target(self, folder: Path) -> Path:
        """What a folder becomes."""
        return Path(self.output) / self.name / folder.name

    def note(self, folder: Path, shard: CorpusShard) -> Path:
        """The note of a shard that was written."""
        return Path(self.output) / f"{self.name}-work" / f"{piece_name(folder, shard)}.json"

    def work_shard(self, folder: Path, number: int, shard: CorpusShard) -> None:
        """Write what becomes of a shard, which is the folder's `number`-th, in its place."""
        target = self.target(folder)
        recipe = files.digest([self.made_from(folder, shard), shard.name, digests.sha256(shard.path)])

        def make() -> Mapping[str, Any]:
            files.remove(target / documents.REPORT)  # it is not finished any more
            return self.make(shard, target, self.names(number, shard))

        rewrite.once(self.note(folder, shard), target, self.names(number, shard), recipe, make)

    def names(self, number: int, shard: CorpusShard) -> list[str]:
        """The shards that a shard becomes, by their places in the folder."""
        return [shard.name]

    def made_from(self, folder: Path, shard: CorpusShard) -> Any:
        """All that a shard's result depends on, beside the shard."""
        return self.settings

    @property
    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """The options on which the result depends, as reports state them."""

    @abstractmethod
    def make(self, shard: CorpusShard, target: Path, names: Sequence[str]) -> Mapping[str, Any]:
        """Write what becomes of a shard below `target`.

        Returns:
            What is noted: `read` (how many documents it had), and what `splits` reads.
        """

    def splits(self, shard: CorpusShard, note: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """What a shard gave to each split."""
        yield shard.split, note


@dataclasses.dataclass(frozen=True)
class ReportStep(PieceStep):
    """One task that finishes the folders of a step, and writes what is to be known of the corpus.

    Attributes:
        step: whose folders.
    """

    step: FolderStep

    @property
    def output(self) -> str:  # type: ignore[override]
        """Folder of the whole run."""
        return self.step.output

    def pieces(self) -> list[Piece]:
        """One."""
        return [Piece("report", str(Path(self.output) / self.step.name), 1, self._all)]

    def _all(self) -> None:
        there, failed = folders(self.output, self.step.source), scale_tasks.failed(self.output, self.step.name)
        self._retire({folder.name for folder in there})
        self.finish([folder for folder in there if folder.name not in failed])

    def finish(self, whole: Sequence[Path]) -> None:
        """Finish folders of which all shards are written."""
        for folder in whole:
            counts = dict.fromkeys(documents.SPLITS, 0)
            rows = list[tuple[str, Mapping[str, Any]]]()
            for shard, note in self._noted(folder):  # of a large file a thousand, with a score for every document
                counts[shard.split] += note["read"]
                rows += [
                    (split, {key: row[key] for key in rewrite.GATHERED}) for split, row in self.step.splits(shard, note)
                ]
            documents.tell_changed(folder, counts)
            rewrite.finish(folder, self.step.target(folder), rows, (self.step.name, self.step.settings))
        self.write(each for folder in whole for each in self._noted(folder))

    def _noted(self, folder: Path) -> Iterator[_Noted]:
        """The shards of a folder, and their notes.

        Raises:
            HaigoError: one is not finished.
        """
        for shard in shards_of(folder):
            path = self.step.note(folder, shard)
            if not path.is_file():
                raise HaigoError(f"{path} is missing.", f"run the step {self.step.name} again")
            yield shard, sealed.read(path, {**rewrite.NOTE, "read": int})[0]

    def _retire(self, there: set[str]) -> None:
        """Remove what is of folders that are no more."""
        place = Path(self.output) / self.step.name
        for folder in place.glob("[0-9]*"):
            if folder.name not in there:
                files.remove_tree(folder)
        for note in place.with_name(f"{place.name}-work").glob("[0-9]*.json"):
            if scale_tasks.folder_of(note.stem) not in there:
                files.remove(note)

    def write(self, notes: Iterator[_Noted]) -> None:
        """Write what is to be known of the corpus.

        Args:
            notes: the shards of all folders in order, and what was noted of each.
        """


def shards_of(folder: Path, skip_broken: int = 0) -> list[CorpusShard]:
    """The shards of a folder in order; their digests left out."""
    corpus = documents.report(folder)["corpus"]
    return [
        CorpusShard(corpus, split, str(path), "", skip_broken)
        for split in documents.splits(folder)
        for path in documents.shards(folder, split)
    ]


def shard_piece(folder: Path, shard: CorpusShard, work: Callable[[], Any]) -> Piece:
    """A shard of a folder as a piece of a step."""
    return Piece(piece_name(folder, shard), shard.path, Path(shard.path).stat().st_size, work)


def piece_name(folder: Path, shard: CorpusShard) -> str:
    """What a shard of a folder is called among the pieces of a step."""
    return f"{folder.name}-{shard.split}-{Path(shard.path).name.partition('.')[0]}"


def file_of(shard: CorpusShard) -> str:
    """A shard in the input of a report: which folder's it is, too."""
    return f"{Path(shard.path).parents[1].name}/{Path(shard.path).name}"


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

    @property
    def skip_broken(self) -> int:
        """Of the options."""
        return self.options.skip_broken

    @cached_property
    def paths(self) -> list[Path]:
        """The evaluation files."""
        return evaluation_items.find(self.against)

    def made_from(self, folder: Path, shard: CorpusShard) -> Any:
        """The evaluation files, and the options."""
        return [evaluation_items.labels(self.paths), evaluation_items.digest(self.paths), self.settings]

    @property
    def settings(self) -> dict[str, Any]:
        """The options."""
        return decontaminate.noted(self.options)

    def make(self, shard: CorpusShard, target: Path, names: Sequence[str]) -> Mapping[str, Any]:
        """Write a shard without what is found in it; `found` is noted, too."""
        shard = dataclasses.replace(shard, sha256=digests.sha256(shard.path))
        run = decontaminate.Decontamination([shard], self.paths, self.options.replaced(workers=1))
        found = run.search([shard.corpus])
        found["input"] = [{**row, "file": file_of(shard)} for row in found["input"]]
        made = rewrite.write_shard(shard, run.edits(run.hits[0]), target / shard.name)
        return {**made, "read": run.counts[0], "found": found}


@dataclasses.dataclass(frozen=True)
class DecontaminateReport(ReportStep):
    """Write, below the run's folder, what `preprocess.decontaminate` writes of all: report, and ids for the scorer."""

    step: Decontaminate
    name = "decontaminate-report"

    def write(self, notes: Iterator[_Noted]) -> None:
        """See above."""
        parts = (note["found"] for _, note in notes)
        summary = decontaminate.Summary(self.step.paths, self.step.options, parts)
        path = Path(self.output) / decontaminate.REPORT
        if not rewrite.says(path, summary.report()):
            summary.write(path.parent)


@dataclasses.dataclass(frozen=True)
class Score(FolderStep):
    """Score the documents of every folder."""

    options: ScoreOptions
    name = "score"

    @property
    def skip_broken(self) -> int:
        """Of the options."""
        return self.options.skip_broken

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The scores and their models."""
        return score.settings(self.options)

    def make(self, shard: CorpusShard, target: Path, names: Sequence[str]) -> Mapping[str, Any]:
        """Write a shard with scores, which are noted, too."""
        broken = documents.broken_rows([shard.path], self.options.skip_broken)
        made = score.score_shard(shard, self.options, target / shard.name)
        return {**made, "broken": [broken.count, broken.named], "input": digests.sha256(shard.path)}


@dataclasses.dataclass(frozen=True)
class ScoreReport(ReportStep):
    """Write `OUTPUT/score.json`: how the scores are spread in the corpus, as `preprocess.score` says it."""

    step: Score
    name = "score-report"

    def write(self, notes: Iterator[_Noted]) -> None:
        """See above."""
        broken, read = Broken(self.step.options.skip_broken), list[dict[str, str]]()

        def told() -> Iterator[_Noted]:
            for shard, note in notes:
                broken.take(*note["broken"])
                file = {"corpus": shard.corpus, "split": shard.split, "file": file_of(shard), "sha256": note["input"]}
                read.append(file)
                yield shard, note

        content = {
            "corpora": score.rows(self.step.options, told()),
            "options": self.step.settings,
            **broken.report(),
            "input": read,
            "tool": f"haigo {__version__}",
        }
        path = Path(self.output) / score.REPORT
        if not rewrite.says(path, content):
            files.write_json(path, content)
