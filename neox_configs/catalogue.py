"""The catalogue of datasets (`corpora.yml`): which tokenizer, and which indexed datasets each corpus has.

    tokenizer: tokenizer
    corpora:
      news: {train: data/news/train_text_document, valid: data/news/valid_text_document, test: ...}

A dataset is named by its prefix: the path of its `.bin`, `.idx` and `.json` without the ending. Paths in the file are
relative to the file, so that a run folder can be moved; in memory all are absolute.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from haigo import naming, yamlfile
from haigo.cli import HaigoError, nearest

SPLITS = ("train", "valid", "test")


@dataclass(frozen=True)
class Catalogue:
    """Datasets by corpus, and the tokenizer that made them."""

    tokenizer: Path
    """Tokenizer folder (holds `spm.model` and `meta.json`), absolute."""
    corpora: dict[str, dict[str, Path]]
    """corpus -> split (train, valid, test) -> absolute prefix, in the order of the file."""

    def prefix(self, corpus: str, split: str) -> Path:
        """The prefix of one dataset.

        Raises:
            HaigoError: the catalogue has no such corpus, or the corpus no such split.
        """
        if corpus not in self.corpora:
            raise HaigoError(
                f"the catalogue has no corpus '{corpus}'.{nearest(corpus, self.corpora)}",
                f"it has: {', '.join(self.corpora)}",
            )
        if split not in self.corpora[corpus]:
            raise HaigoError(f"the corpus '{corpus}' has no {split} dataset in the catalogue.", "index that split too")
        return self.corpora[corpus][split]

    def overlap(self) -> list[str]:
        """Sentences: a dataset that two corpora name, or one that is measured with and trained on."""
        from haigo.formats.dataset import overlap

        sets = {split: [each[split] for each in self.corpora.values() if split in each] for split in SPLITS}
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
    extra = [key for key in content if key not in ("tokenizer", "corpora")]
    if extra:
        raise HaigoError(f"{path} has an unknown key '{extra[0]}'.{nearest(extra[0], ('tokenizer', 'corpora'))}", form)
    if not isinstance(content.get("tokenizer"), str):
        raise HaigoError(f"{path} names no tokenizer folder.", form)
    here = Path(path).resolve().parent
    naming.check_all(content["corpora"], "corpus", str(path))
    corpora: dict[str, dict[str, Path]] = {}
    for name, splits in content["corpora"].items():
        if not isinstance(splits, dict) or "train" not in splits:
            raise HaigoError(f"{path}: the corpus '{name}' has no train dataset.", form)
        wrong = [split for split in splits if split not in SPLITS]
        if wrong:
            raise HaigoError(f"{path}: the corpus '{name}' has an unknown split '{wrong[0]}'.", form)
        if not all(isinstance(prefix, str) for prefix in splits.values()):
            raise HaigoError(f"{path}: a dataset of the corpus '{name}' is not a path.", form)
        corpora[str(name)] = {split: _absolute(here, splits[split]) for split in SPLITS if split in splits}
    return Catalogue(_absolute(here, content["tokenizer"]), corpora)


def write(
    path: str | os.PathLike[str],
    tokenizer: str | os.PathLike[str],
    corpora: Mapping[str, Mapping[str, str | os.PathLike[str]]],
) -> Catalogue:
    """Write a catalogue, atomically, with paths relative to the file.

    Args:
        path: where to write it.
        tokenizer: the tokenizer folder.
        corpora: corpus -> split -> prefix; relative paths are taken from the current folder.

    Returns:
        The catalogue as `read` gives it.
    """
    here = Path(path).resolve().parent

    def relative(target: str | os.PathLike[str]) -> str:
        return os.path.relpath(os.path.abspath(target), here)

    content = {
        "tokenizer": relative(tokenizer),
        "corpora": {
            name: {split: relative(splits[split]) for split in SPLITS if split in splits}
            for name, splits in corpora.items()
        },
    }
    yamlfile.write(path, content)
    return read(path)


def _absolute(here: Path, target: str) -> Path:
    return Path(os.path.normpath(here / target))
