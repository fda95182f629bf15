"""Cleaning and indexing cut into tasks that know nothing of each other: the steps of `preprocess.scale`.

A step is called as `step(data, rank, world_size)` and does every `world_size`-th piece of its work, beginning with `rank`.
That is what datatrove's executors call, so the very same objects run in a process pool here, under datatrove on one machine,
and as Slurm array jobs. A piece that is finished is known by its marker and never done again; what comes out does not depend
on the number of tasks. A piece that fails is noted, and the others go on (`scale_tasks`).
"""

from __future__ import annotations

import dataclasses
import os
import sys
from abc import ABC, abstractmethod
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from haigo import cli, digests, files
from haigo.cli import Failed, HaigoError
from haigo.formats import documents, tokenizer
from haigo.formats.dataset import manifest
from haigo.formats.dataset.indexed import bin_path, idx_path
from haigo.formats.tokenizer import Tokenizer

from . import index, scale_files, scale_tasks
from .options import IndexOptions
from .scale_files import File
from .scale_tasks import Piece
from .shard import hold, make_shard


class Step(ABC):
    """Its tasks, each in a process that may be somebody else's, such as datatrove's: what it makes is the command's."""

    def __call__(self, data: Any = None, rank: int = 0, world_size: int = 1) -> None:
        with cli.acting(cli.verb or "preprocess.scale"):
            self.work(rank, world_size)

    @abstractmethod
    def work(self, rank: int, world_size: int) -> None:
        """Do one task."""


class PieceStep(Step):
    """A step of pieces, any of which may fail while the others go on.

    Attributes:
        name: of the step, in `OUTPUT/logs/tasks` and `OUTPUT/failed`.
        output: folder of the whole run.
    """

    name: ClassVar[str]
    output: str

    @abstractmethod
    def pieces(self) -> list[Piece]:
        """All pieces, in an order that every task sees alike."""

    def work(self, rank: int, world_size: int) -> None:
        """Do this task's pieces."""
        scale_tasks.run(self.output, self.name, self.pieces(), rank, world_size)


@dataclasses.dataclass(frozen=True)
class _OfInputs(PieceStep):
    """What the steps up to cleaned documents are told.

    Attributes:
        corpus: name of the corpus.
        inputs: files, folders or patterns.
        output: folder of the whole run.
        options: fields of `CleanOptions` by name.
        split_bytes: files above this are cut into pieces of about this size; 0: none is.
    """

    corpus: str
    inputs: tuple[str, ...]
    output: str
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    split_bytes: int = 0

    def files(self) -> list[File]:
        """The input files, in order."""
        how = scale_files.How(self.corpus, self.output, self.options, self.split_bytes)
        return scale_files.found(self.inputs, how)


class Split(_OfInputs):
    """Find out where every large file can be cut; one that cannot be sought is read through once, and its documents are laid
    aside in pieces."""

    name = "split"

    def pieces(self) -> list[Piece]:
        """The large files."""
        return [Piece(each.name, str(each.path), each.size, each.split) for each in self.files() if each.large]


class Clean(_OfInputs):
    """Clean every input file into a folder of its own, `{output}/clean/{number:05d}`; of one that was cut its pieces, which
    `Gather` puts together."""

    name = "clean"

    def work(self, rank: int, world_size: int) -> None:
        """Do this task's pieces; the first task removes what is of inputs that are no more."""
        if rank == 0:
            _remove_surplus(Path(self.output), len(self.files()))
        super().work(rank, world_size)

    def pieces(self) -> list[Piece]:
        """The small files, and the pieces of large ones."""
        return [piece for each in self.files() if not each.failed("split") for piece in each.pieces()]


class Gather(_OfInputs):
    """Put the pieces of every file that was cut together: equal documents in different ones are found, splits dealt out. The
    folder is, byte for byte, what cleaning the file as a whole gives."""

    name = "gather"

    def pieces(self) -> list[Piece]:
        """The files that were cut."""
        fine = [each for each in self.files() if each.large and not each.failed("split", "clean")]
        return [Piece(each.name, str(each.path), each.size, each.gather) for each in fine]


def _remove_surplus(output: Path, count: int) -> None:
    """Take away what earlier runs made of inputs that are no more, finished or not: it would be indexed with the others, or
    waited for."""
    for place in (output / "clean", output / "split", output / "parts"):
        for path in sorted(place.glob("[0-9]*")):
            name = path.name.removesuffix(".json")
            if not name.isdigit() or int(name) < count:
                continue
            if path.is_dir():
                files.remove_tree(path)
                if not path.exists():
                    print(f"haigo: {path} is of an input that is no more: it is removed.", file=sys.stderr)
            elif files.made(path):
                files.remove(path)


@dataclasses.dataclass(frozen=True)
class Index(PieceStep):
    """Tokenise what `Clean` wrote (or what was made of it since), a shard of documents a piece.

    Attributes:
        output: folder of the whole run.
        tokenizer: tokenizer folder or model.
        append_eod: as for `preprocess.index`.
        source: the step whose documents are tokenised.
    """

    output: str
    tokenizer: str
    append_eod: bool = True
    source: str = "clean"
    name = "index"

    def pieces(self) -> list[Piece]:
        """The shards of all splits, to be written in the very places where `Join` looks for them."""
        found = []
        model = tokenizer.load(self.tokenizer)
        hold(model)
        for split in documents.SPLITS:
            for number, path in enumerate(shards(self.output, split, self.source)):
                work = partial(self._shard, model, split, number, path)
                found.append(Piece(f"{split}-{number:05d}", str(path), path.stat().st_size, work))
        return found

    def _shard(self, model: Tokenizer, split: str, number: int, path: Path) -> None:
        parts = index.parts_folder(index.dataset_prefix(Path(self.output) / split))
        parts.mkdir(parents=True, exist_ok=True)
        how = IndexOptions(append_eod=self.append_eod)
        (work,) = index.works([(path, path.name)], [digests.sha256(path)], model, parts, how, number)
        make_shard(work)


@dataclasses.dataclass(frozen=True)
class Join(PieceStep):
    """Join the shards of every split to `{output}/{split}_text_document`; one task is enough.

    A shard that is missing is made here, so that nothing can be left out.
    """

    output: str
    tokenizer: str
    append_eod: bool = True
    source: str = "clean"
    name = "join"

    def pieces(self) -> list[Piece]:
        """The splits."""
        found = []
        for split in documents.SPLITS:
            there = shards(self.output, split, self.source)
            size = sum(path.stat().st_size for path in there)
            found.append(Piece(split, str(Path(self.output) / split), size, partial(self._join, split, there)))
        return found

    def work(self, rank: int, world_size: int) -> None:
        """Do this task's splits.

        Raises:
            Failed: a split, or a piece of any step before: the datasets lack it.
            HaigoError: there is no document.
        """
        super().work(rank, world_size)
        if found := scale_tasks.failures(self.output):
            raise Failed(*summary(found))
        if not any(shards(self.output, split, self.source) for split in documents.SPLITS):
            raise HaigoError(
                f"no document is left: the folders in {Path(self.output) / self.source} hold none.",
                f"look at 'rules' in their {documents.REPORT}, which name what took the documents, and loosen that",
            )

    def _join(self, split: str, there: list[Path]) -> None:
        if there:
            index.index(there, self.tokenizer, Path(self.output) / split, append_eod=self.append_eod)
            return
        for path in map(Path(self.output).joinpath, dataset_files(split)):  # of an earlier run that had some
            files.remove(path)


def summary(found: list[scale_tasks.Failure]) -> tuple[str, str]:
    """What is said of failures: a sentence, and what to do."""
    first = found[0]
    names = [each.file for each in found[:5]]
    listed = f"{', '.join(names)}{' ...' if len(found) > 5 else ''}"
    problem = f"{len(found):,} piece(s) of work failed, and what was made lacks them: {listed}. The first, in the step"
    problem += f" {first.step}: {first.problem}"
    return problem, f"{first.fix or 'mend that'}; the same command then does these alone (--status names all)"


def dataset_files(split: str) -> list[str]:
    """The names of a split's dataset, its manifest first."""
    prefix = index.dataset_prefix(split)
    return [path.name for path in (manifest.path_of(prefix), bin_path(prefix), idx_path(prefix))]


def cleaned_folders(output: str | os.PathLike[str]) -> list[Path]:
    """The folders that `Clean` and `Gather` wrote, in the order of the input files; those of files that failed apart.

    Raises:
        HaigoError: cleaning is not finished.
    """
    place = Path(output) / "clean"
    bad = [each for each in scale_tasks.failures(output) if each.step in ("split", "clean", "gather")]
    failed = {each.folder for each in bad}
    found = (path for path in place.glob("[0-9]*") if path.is_dir() and path.name not in failed)
    folders = sorted(
        found, key=lambda path: (len(path.name), path.name)
    )  # of more than 99,999 files some have six digits
    for folder in folders:
        if not (folder / documents.REPORT).is_file():
            raise HaigoError(f"{folder} is not finished: cleaning was stopped.", "run the cleaning step again")
    if not folders and bad:
        raise Failed(*summary(bad))
    if not folders:
        raise HaigoError(f"{place} holds no cleaned folder.", "run the cleaning step first")
    return folders


def shards(output: str | os.PathLike[str], split: str, source: str = "clean") -> list[Path]:
    """The shards of one split that a step left, in the order of the input files.

    Raises:
        HaigoError: the step is not finished.
    """
    return [shard for folder in folders(output, source) for shard in sorted((folder / split).glob("*.jsonl.zst"))]


def folders(output: str | os.PathLike[str], source: str = "clean") -> list[Path]:
    """The folders of documents that a step left, in the order of the input files; those that failed apart.

    Raises:
        HaigoError: the step is not finished.
    """
    if source == "clean":
        return cleaned_folders(output)
    order = ("decontaminate", "score", "resplit")
    steps = order[: order.index(source) + 1] if source in order else ()
    failed = scale_tasks.failed(output, *steps)
    found = [Path(output) / source / each.name for each in cleaned_folders(output) if each.name not in failed]
    for folder in found:
        if not (folder / documents.REPORT).is_file():
            raise HaigoError(f"{folder} is not finished: {source} was stopped.", f"run the step {source} again")
    return found
