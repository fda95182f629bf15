"""The catalogue of datasets (`corpora.yml`): which tokenizer, and which indexed datasets each corpus has.

    tokenizer: tokenizer
    corpora:
      news: {train: data/news/train_text_document, valid: data/news/valid_text_document, test: ...}

A corpus that is a part of another (`preprocess.partition`) may have its train dataset alone, and be measured on the whole:

    corpora:
      news.t0: {train: data/news.t0/train_text_document, part_of: news}
      news.t1: {train: data/news.t1/train_text_document, part_of: news}
    whole:
      news: {valid: data/news/valid_text_document, test: ...}

A dataset is named by its prefix: the path of its `.bin`, `.idx` and `.json` without the ending. Paths in the file are
relative to the file, so that a run folder can be moved; in memory all are absolute.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from haigo import naming, yamlfile
from haigo.cli import HaigoError, nearest

SPLITS = ("train", "valid", "test")
_KEYS = ("tokenizer", "corpora", "whole")


@dataclass(frozen=True)
class Catalogue:
    """Datasets by corpus, and the tokenizer that made them."""

    tokenizer: Path
    """Tokenizer folder (holds `spm.model` and `meta.json`), absolute."""
    corpora: dict[str, dict[str, Path]]
    """corpus -> split (train, valid, test) -> absolute prefix, in the order of the file."""
    part_of: dict[str, str] = field(default_factory=dict)
    """Of corpora that are parts: what they are measured on, a name in `whole`."""
    whole: dict[str, dict[str, Path]] = field(default_factory=dict)
    """name -> split (valid, test) -> absolute prefix."""

    def prefix(self, corpus: str, split: str) -> Path:
        """The prefix of one dataset; of a part that has none of its own to measure on, that of the whole.

        Raises:
            HaigoError: the catalogue has no such corpus, or the corpus no such split.
        """
        if corpus not in self.corpora:
            raise HaigoError(
                f"the catalogue has no corpus '{corpus}'.{nearest(corpus, self.corpora)}",
                f"it has: {', '.join(self.corpora)}",
            )
        sets = {**self.whole.get(self.part_of.get(corpus, ""), {}), **self.corpora[corpus]}
        if split not in sets:
            raise HaigoError(f"the corpus '{corpus}' has no {split} dataset in the catalogue.", "index that split too")
        return sets[split]

    def measured(self, split: str) -> dict[str, Path]:
        """Name -> prefix of what models are measured on: each corpus' own dataset, of parts without one that of the whole."""
        made: dict[str, Path] = {}
        for corpus, sets in self.corpora.items():
            whole = self.part_of.get(corpus, "")
            if split in sets:
                made[corpus] = sets[split]
            elif split in self.whole.get(whole, {}):
                made[whole] = self.whole[whole][split]
        return made

    def overlap(self) -> list[str]:
        """Sentences: a dataset that two corpora name, or one that is measured with and trained on."""
        from haigo.formats.dataset import overlap

        each_of = [*self.corpora.values(), *self.whole.values()]
        sets = {split: [each[split] for each in each_of if split in each] for split in SPLITS}
        return [told for told, _ in overlap.found(sets)]


def read(path: str | os.PathLike[str]) -> Catalogue:
    """Read a catalogue. That the datasets exist is not checked here.

    Raises:
        HaigoError: the file is missing or has another form.
    """
    content = yamlfile.read(path)
    form = "write `tokenizer: FOLDER` and `corpora: {NAME: {train: PREFIX, valid: PREFIX, test: PREFIX}}`"
    if not isinstance(content, dict) or not isinstance(content.get("corpora"), dict) or not content["corpora"]:
        raise HaigoError(f"{path} is not a catalogue of datasets: it names no corpora.", form)
    extra = [key for key in content if key not in _KEYS]
    if extra:
        raise HaigoError(f"{path} has an unknown key '{extra[0]}'.{nearest(extra[0], _KEYS)}", form)
    if not isinstance(content.get("tokenizer"), str):
        raise HaigoError(f"{path} names no tokenizer folder.", form)
    here = Path(path).resolve().parent
    naming.check_all(content["corpora"], "corpus", str(path))
    rows = {str(name): row for name, row in content["corpora"].items()}
    part_of = {name: row["part_of"] for name, row in rows.items() if isinstance(row, dict) and "part_of" in row}
    corpora = {
        name: _sets(row, (str(path), f"the corpus '{name}'"), here, form, SPLITS, ("part_of",))
        for name, row in rows.items()
    }
    given = content.get("whole") or {}
    if not isinstance(given, dict):
        raise HaigoError(f"{path}: `whole` is no map of names.", form)
    naming.check_all([*corpora, *map(str, given)], "corpus", str(path))
    for name in given:
        if name in corpora:
            raise HaigoError(f"{path}: '{name}' is a corpus, and stands in `whole` too.", "rename one of them")
    whole = {str(name): _sets(row, (str(path), f"'{name}'"), here, form, SPLITS[1:]) for name, row in given.items()}
    for name, of in part_of.items():
        if of not in whole:
            raise HaigoError(
                f"{path}: '{name}' is part of '{of}', which `whole` does not have.{nearest(str(of), whole)}", "add it"
            )
    return Catalogue(_absolute(here, content["tokenizer"]), corpora, part_of, whole)


def _sets(
    row: Any, what: tuple[str, str], here: Path, form: str, splits: tuple[str, ...], more: tuple[str, ...] = ()
) -> dict[str, Path]:
    """Split -> prefix of one row; `what` is the file and whose row it is, `more` are keys that it may have beside splits."""
    path, whose = what
    if not isinstance(row, dict) or ("train" in splits and "train" not in row):
        raise HaigoError(f"{path}: {whose} has no train dataset.", form)
    wrong = [split for split in row if split not in (*splits, *more)]
    if wrong:
        raise HaigoError(f"{path}: {whose} has an unknown split '{wrong[0]}'.", form)
    if not all(isinstance(prefix, str) for prefix in row.values()):
        raise HaigoError(f"{path}: a dataset of {whose} is not a path.", form)
    return {split: _absolute(here, row[split]) for split in splits if split in row}


def write(
    path: str | os.PathLike[str],
    tokenizer: str | os.PathLike[str],
    corpora: Mapping[str, Mapping[str, str | os.PathLike[str]]],
    part_of: Mapping[str, str] | None = None,
    whole: Mapping[str, Mapping[str, str | os.PathLike[str]]] | None = None,
) -> Catalogue:
    """Write a catalogue, atomically, with paths relative to the file.

    Args:
        path: where to write it.
        tokenizer: the tokenizer folder.
        corpora: corpus -> split -> prefix; relative paths are taken from the current folder.
        part_of, whole: as of `Catalogue`.

    Returns:
        The catalogue as `read` gives it.
    """
    here = Path(path).resolve().parent

    def relative(target: str | os.PathLike[str]) -> str:
        return os.path.relpath(os.path.abspath(target), here)

    def rows(given: Mapping[str, Mapping[str, str | os.PathLike[str]]]) -> dict[str, dict[str, str]]:
        return {
            name: {split: relative(sets[split]) for split in SPLITS if split in sets} for name, sets in given.items()
        }

    listed = rows(corpora)
    for name, of in (part_of or {}).items():
        listed[name]["part_of"] = of
    content = {"tokenizer": relative(tokenizer), "corpora": listed, **({"whole": rows(whole)} if whole else {})}
    yamlfile.write(path, content)
    return read(path)


def _absolute(here: Path, target: str) -> Path:
    return Path(os.path.normpath(here / target))
