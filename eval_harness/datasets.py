"""JGLUE's files: where they lie, what version their bytes are, and what stands in them.

Two layouts are read: the official one (`jcommonsenseqa-v1.1/train-v1.1.json` in the data folder or in its `datasets/`) and
flat names (`jcommonsenseqa-train-v1.1.json`). A file is told apart by its content: bytes that are not one of JGLUE's own
files are "custom", whatever they are called, so that a score on them can never pass for a leaderboard number.
"""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval_harness import hub, tasks
from eval_harness.origins import REPOSITORY, VERSIONS, Origin
from haigo.cli import HaigoError


def _origin(dataset: str) -> Origin:
    return tasks.rules_of(dataset).origin()


@dataclass(frozen=True, kw_only=True, slots=True)
class DataFile:
    """One file of a data set, as it is recorded in the result."""

    path: Path
    split: str
    sha256: str
    releases: tuple[str, ...]
    """The JGLUE releases that hold these very bytes; empty when they are not JGLUE's."""
    source: str = ""
    """Where it was fetched from, when it does not come from the data folder."""

    def record(self) -> dict[str, Any]:
        """For result.json: the file's name, split, digest, releases and source."""
        record = {
            "file": self.path.name,
            "split": self.split,
            "sha256": self.sha256,
            "jglue_releases": list(self.releases),
        }
        return record | ({"source": self.source} if self.source else {})


def find(folder: Path, dataset: str, split: str, version: str, from_hub: bool = False) -> DataFile:
    """The file of a split.

    Args:
        version: of JGLUE's release; other data sets have none.
        from_hub: what the folder lacks comes from the Hugging Face hub, where a plain file is published there.

    Raises:
        HaigoError: it is not there; names it and says where it is published.
    """
    if not folder.is_dir():
        raise HaigoError(f"--data_dir {folder} is not a folder.", f"name the folder with JGLUE's files ({REPOSITORY})")
    origin = _origin(dataset)
    wanted = origin.paths(folder, split, version)
    for path in wanted:
        if path.is_file():
            return _describe(path, dataset, split)
    if not wanted:
        raise HaigoError(f"{origin.title} has no {split} file.", f"use one of {', '.join(origin.places)}")
    fix = origin.where
    if hub.has(origin, split):
        if from_hub:
            fetched = hub.fetch(origin, split)
            file = _describe(fetched.path, dataset, split)
            published = (origin.title,) if fetched.official else file.releases
            return dataclasses.replace(file, source=fetched.source, releases=published)
        fix += ", or let --hub fetch it"
    if origin.released:
        fix = fix.format(split=split, version=version)
        there = [other for other in VERSIONS if any(path.is_file() for path in origin.paths(folder, split, other))]
        fix += f", or use --data_version {there[0]}, which is there" if there else ""
    raise HaigoError(
        f"{wanted[0]} does not exist (nor {' nor '.join(str(path.relative_to(folder)) for path in wanted[1:])} in {folder}).",
        fix,
    )


def find_test_pool(folder: Path, dataset: str, scored: str, from_hub: bool = False) -> DataFile:
    """The file that stands in for a missing train file (`--fewshot_pool test`): of JGLUE the newest test file present, of
    other data sets a split that is neither train nor the one that is scored."""
    origin = _origin(dataset)
    if not origin.released:
        others = [split for split in origin.places if split not in ("train", scored)]
        if not others:
            raise HaigoError(
                f"{origin.title} has no other file that shots could come from.",
                f"{origin.where}, or use --num_fewshot 0",
            )
        return find(folder, dataset, others[-1], "", from_hub)
    there = [other for other in VERSIONS if any(path.is_file() for path in origin.paths(folder, "test", other))]
    return find(folder, dataset, "test", there[-1] if there else VERSIONS[-1])


def _describe(path: Path, dataset: str, split: str) -> DataFile:
    content = path.read_bytes()
    blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    releases = _origin(dataset).releases(split, blob)
    return DataFile(path=path, split=split, sha256=hashlib.sha256(content).hexdigest(), releases=releases)


def label(files: list[DataFile], version: str, dataset: str = "", documents: int = 0) -> str:
    """What the files are: `JGLUE v1.1` when every one is JGLUE's own of that release (test pools of any), `JGLUE v1.1 with
    shots from v1.3` when its train file is of others alone, the data set's name when all are the published ones of another,
    `unverified (N documents)` when their bytes are not known here but there are as many documents as in published rows,
    else `custom`."""
    origin = _origin(dataset) if dataset else None
    if origin and origin.released:
        origin = None
    if origin and all(file.releases for file in files):
        return origin.title
    if origin and documents in origin.sizes and not origin.blobs:
        return f"unverified ({documents} documents)"
    if not all(file.releases for file in files):
        return "custom"
    scored = files[0].releases
    shots = next((file.releases for file in files[1:] if file.split == "train"), scored)
    both = [release for release in scored if release in shots]
    if both:
        return f"JGLUE {version if version in both else both[0]}"
    return f"JGLUE {version if version in scored else scored[0]} with shots from {shots[0]}"
