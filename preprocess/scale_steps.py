"""Cleaning and indexing cut into tasks that know nothing of each other: the steps of `preprocess.scale`.

A step is called as `step(data, rank, world_size)` and does every `world_size`-th piece of its work, beginning with `rank`.
That is what datatrove's executors call, so the very same objects run in a process pool here, under datatrove on one machine,
and as Slurm array jobs. A piece that is finished is known by its marker and never done again; what comes out does not depend
on the number of tasks, since every input file is a piece of its own.
"""

from __future__ import annotations

import dataclasses
import os
import sys
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from haigo import __version__, cli, digests, files, sealed
from haigo.cli import HaigoError
from haigo.formats import documents, tokenizer
from haigo.formats.dataset import manifest
from haigo.formats.dataset.indexed import bin_path, idx_path

from . import clean, index
from .options import IndexOptions
from .shard import make_shard
from .sources import input_files


class Step(ABC):
    """Its tasks, each in a process that may be somebody else's, such as datatrove's: what it makes is the command's."""

    def __call__(self, data: Any = None, rank: int = 0, world_size: int = 1) -> None:
        with cli.acting(cli.verb or "preprocess.scale"):
            self.work(rank, world_size)

    @abstractmethod
    def work(self, rank: int, world_size: int) -> None:
        """Do one task."""


@dataclasses.dataclass(frozen=True)
class Clean(Step):
    """Clean every input file into a folder of its own, `{output}/clean/{number:05d}`.

    Attributes:
        corpus: name of the corpus.
        inputs: files, folders or patterns.
        output: folder of the whole run.
        options: fields of `CleanOptions` by name.
    """

    corpus: str
    inputs: tuple[str, ...]
    output: str
    options: dict[str, Any] = dataclasses.field(default_factory=dict)

    def work(self, rank: int, world_size: int) -> None:
        """Do this task's files."""
        found = input_files(self.inputs)
        if rank == 0:
            _remove_surplus(Path(self.output) / "clean", len(found))
        for number, (path, _) in list(enumerate(found))[rank::world_size]:
            folder = Path(self.output) / "clean" / f"{number:05d}"
            marker = folder.with_suffix(".json")
            made_from = [digests.sha256(path), self.corpus, self.options, __version__]
            made_from += [
                digests.sha256(each) for key in ("keep_urls", "drop_urls") for each in self.options.get(key, ())
            ]
            recipe = files.digest(made_from)
            if _finished(marker, folder, recipe):
                continue
            files.remove(marker)
            clean.clean_corpus(self.corpus, [path], folder, **self.options)
            sealed.write(marker, {"recipe": recipe, "outputs": _sums(folder)})


def _remove_surplus(place: Path, count: int) -> None:
    """Take away what an earlier run cleaned of inputs that are no more: it would be indexed with the others."""
    for marker in sorted(place.glob("[0-9]*.json")):
        folder = marker.with_suffix("")
        if files.made(marker) and folder.name.isdigit() and int(folder.name) >= count:
            print(f"haigo: {folder} is of an input that is no more: it is removed.", file=sys.stderr)
            files.remove_tree(folder)
            files.remove(marker)


def _sums(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): digests.sha256(path) for path in digests.below(folder)}


def _finished(marker: Path, folder: Path, recipe: str) -> bool:
    """Whether a file was cleaned with these options, and what it gave is as it was left."""
    if not marker.is_file():
        return False
    known: dict[str, Any] = {}
    try:
        content = files.read_json(marker)
        if isinstance(content, str):  # of the first edition, which kept no digests
            return content == recipe and (folder / documents.REPORT).is_file()
        known, _ = sealed.read(marker, {"recipe": str, "outputs": {str: str}})
        changed = known["recipe"] == recipe and known["outputs"] != _sums(folder)
    except HaigoError:
        changed = True
    if changed:
        print(f"haigo: {folder} was changed since it was cleaned: it is cleaned again.", file=sys.stderr)
    return known.get("recipe") == recipe and not changed


@dataclasses.dataclass(frozen=True)
class Index(Step):
    """Tokenise what `Clean` wrote (or what was made of it since), a shard of documents a piece.

    Attributes:
        output: folder of the whole run.
        tokenizer: tokenizer folder or model.
        append_eod: as for `preprocess.index`.
    """

    output: str
    tokenizer: str
    append_eod: bool = True

    def work(self, rank: int, world_size: int) -> None:
        """Do this task's shards, in the very places where `Join` looks for them."""
        model = tokenizer.load(self.tokenizer)
        pieces = [
            (split, shard) for split in documents.SPLITS for shard in enumerate(cleaned_shards(self.output, split))
        ]
        for split, (number, path) in pieces[rank::world_size]:
            parts = index.parts_folder(index.dataset_prefix(Path(self.output) / split))
            parts.mkdir(parents=True, exist_ok=True)
            how = IndexOptions(append_eod=self.append_eod)
            (work,) = index.works([(path, path.name)], [digests.sha256(path)], model, parts, how, number)
            make_shard(work)


@dataclasses.dataclass(frozen=True)
class Join(Step):
    """Join the shards of every split to `{output}/{split}_text_document`; one task is enough.

    A shard that is missing is made here, so that nothing can be left out.
    """

    output: str
    tokenizer: str
    append_eod: bool = True

    def work(self, rank: int, world_size: int) -> None:
        """Do this task's splits."""
        for split in documents.SPLITS[rank::world_size]:
            shards = cleaned_shards(self.output, split)
            if shards:
                index.index(shards, self.tokenizer, Path(self.output) / split, append_eod=self.append_eod)
                continue
            for path in map(Path(self.output).joinpath, dataset_files(split)):  # of an earlier run that had some
                files.remove(path)


def dataset_files(split: str) -> list[str]:
    """The names of a split's dataset, its manifest first."""
    prefix = index.dataset_prefix(split)
    return [path.name for path in (manifest.path_of(prefix), bin_path(prefix), idx_path(prefix))]


def cleaned_shards(output: str | os.PathLike[str], split: str) -> list[Path]:
    """The shards of one split of all cleaned folders, in the order of the input files.

    Raises:
        HaigoError: cleaning is not finished.
    """
    place = Path(output) / "clean"
    folders = sorted(path for path in place.glob("[0-9]*") if path.is_dir())
    for folder in folders:
        if not (folder / documents.REPORT).is_file():
            raise HaigoError(f"{folder} is not finished: cleaning was stopped.", "run the cleaning step again")
    if not folders:
        raise HaigoError(f"{place} holds no cleaned folder.", "run the cleaning step first")
    return [shard for folder in folders for shard in sorted((folder / split).glob("*.jsonl.zst"))]
