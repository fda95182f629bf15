"""JGLUE's files: where they lie, what version their bytes are, and what stands in them.

Two layouts are read: the official one (`jcommonsenseqa-v1.1/train-v1.1.json` in the data folder or in its `datasets/`) and
flat names (`jcommonsenseqa-train-v1.1.json`). A file is told apart by its content: bytes that are not one of JGLUE's own
files are "custom", whatever they are called, so that a score on them can never pass for a leaderboard number.
"""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval_harness import hub
from eval_harness.origins import ORIGINS, places
from haigo.cli import HaigoError
from haigo.reading import require_file

REPOSITORY = "https://github.com/yahoojapan/JGLUE"
VERSIONS = ("v1.1", "v1.2", "v1.3")
SPLITS = ("train", "valid", "test")
# git's blob id of each published file and the JGLUE releases it is in
_PUBLISHED: dict[tuple[str, str], list[tuple[str, tuple[str, ...]]]] = {
    ("jcommonsenseqa", "train"): [("4d11d31788cb22850b0a88d41a1ffdd13e8a180b", VERSIONS)],
    ("jcommonsenseqa", "valid"): [("1099679e5bc9a4d70f9ae6a6e7b41dca84897f99", VERSIONS)],
    ("jcommonsenseqa", "test"): [("d4f935a1cf75da0c53849fb6f69c2dee63a23b0d", ("v1.3",))],
    ("jnli", "train"): [("14d9948a80dc585cfd53eb358594b0722b937802", VERSIONS)],
    ("jnli", "valid"): [
        ("fee97af8f0b9325441b35186fcb04b3e0415800d", ("v1.1",)),
        ("bd1cf766540d75fb189a87a9a7c8e1a31e1565e0", ("v1.2", "v1.3")),
    ],
    ("jnli", "test"): [("feee1a6643ca0ee2a888958db72aaeb5e0e1c845", ("v1.3",))],
    ("jsquad", "train"): [
        ("20ce716ee531e3e23088f5840a3b0751ae803424", ("v1.1", "v1.2")),
        ("87b42821ac5487246164483d625b928bf8904344", ("v1.3",)),
    ],
    ("jsquad", "valid"): [("bcde414e0b7131607bb1fa2c4542dd888f68771a", VERSIONS)],
    ("jsquad", "test"): [("d767ef7eb4785f733eb46614980905b0bcbd3111", ("v1.3",))],
}


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
        found = {
            "file": self.path.name,
            "split": self.split,
            "sha256": self.sha256,
            "jglue_releases": list(self.releases),
        }
        return found | ({"source": self.source} if self.source else {})


def candidates(folder: Path, dataset: str, split: str, version: str) -> list[Path]:
    """Where a file may lie, the official layout first."""
    official = Path(f"{dataset}-{version}") / f"{split}-{version}.json"
    return [folder / official, folder / "datasets" / official, folder / f"{dataset}-{split}-{version}.json"]


def find(folder: Path, dataset: str, split: str, version: str, from_hub: bool = False) -> DataFile:
    """The file of a split.

    Args:
        from_hub: what the folder lacks comes from the Hugging Face hub, where a plain file is published there.

    Raises:
        HaigoError: it is not there; names it and says where it is published.
    """
    if not folder.is_dir():
        raise HaigoError(f"--data_dir {folder} is not a folder.", f"name the folder with JGLUE's files ({REPOSITORY})")
    if dataset in ORIGINS:
        return _find_other(folder, dataset, split, from_hub)
    wanted = candidates(folder, dataset, split, version)
    for place in wanted:
        if place.is_file():
            return _describe(place, dataset, split)
    others = [v for v in VERSIONS if v != version and any(p.is_file() for p in candidates(folder, dataset, split, v))]
    raise HaigoError(
        f"{wanted[0]} does not exist (nor {wanted[-1].name} in {folder}).",
        f"get datasets/{dataset}-{version}/{split}-{version}.json from {REPOSITORY} (CC BY-SA 4.0)"
        + (f", or use --data_version {others[0]}, which is there" if others else ""),
    )


def _find_other(folder: Path, dataset: str, split: str, from_hub: bool) -> DataFile:
    wanted = places(folder, dataset, split)
    for place in wanted:
        if place.is_file():
            return _describe(place, dataset, split)
    origin = ORIGINS[dataset]
    if from_hub and hub.has(dataset, split):
        fetched = hub.fetch(dataset, split)
        file = _describe(fetched.path, dataset, split)
        published = (origin.title,) if fetched.official else file.releases
        return dataclasses.replace(file, source=fetched.source, releases=published)
    if not wanted:
        raise HaigoError(f"{origin.title} has no {split} file.", f"use one of {', '.join(origin.places)}")
    raise HaigoError(
        f"{wanted[0]} does not exist (nor {' nor '.join(str(place.relative_to(folder)) for place in wanted[1:])} in {folder}).",
        f"{origin.where}, or let --hub fetch it" if hub.has(dataset, split) else origin.where,
    )


def find_test_pool(folder: Path, dataset: str, scored: str, from_hub: bool = False) -> DataFile:
    """The file that stands in for a missing train file (`--fewshot_pool test`): of JGLUE the newest test file present, of
    other data sets a split that is neither train nor the one that is scored."""
    if dataset in ORIGINS:
        others = [split for split in ORIGINS[dataset].places if split not in ("train", scored)]
        if not others:
            raise HaigoError(
                f"{ORIGINS[dataset].title} has no other file that shots could come from.",
                f"{ORIGINS[dataset].where}, or use --num_fewshot 0",
            )
        return _find_other(folder, dataset, others[-1], from_hub)
    for version in reversed(VERSIONS):
        if any(place.is_file() for place in candidates(folder, dataset, "test", version)):
            return find(folder, dataset, "test", version)
    return find(folder, dataset, "test", "v1.3")


def _describe(path: Path, dataset: str, split: str) -> DataFile:
    content = path.read_bytes()
    blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    releases = dict(_PUBLISHED.get((dataset, split), [])).get(blob, ())
    if dataset in ORIGINS and ORIGINS[dataset].blobs.get(split) == blob:
        releases = (ORIGINS[dataset].title,)
    return DataFile(path=path, split=split, sha256=hashlib.sha256(content).hexdigest(), releases=releases)


def label(files: list[DataFile], version: str, dataset: str = "", documents: int = 0) -> str:
    """What the files are: `JGLUE v1.1` when every one is JGLUE's own of that release (test pools of any), `JGLUE v1.1 with
    shots from v1.3` when its train file is of others alone, the data set's name when all are the published ones of another,
    `unverified (N documents)` when their bytes are not known here but there are as many documents as in published rows,
    else `custom`."""
    origin = ORIGINS.get(dataset)
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


def text(path: Path) -> str:
    """A text file with its line ends as they are.

    Raises:
        HaigoError: not UTF-8.
    """
    try:
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise HaigoError(
            f"{path} is not UTF-8: {error.reason} at byte {error.start:,}.", "get the file again"
        ) from None


def parse(content: bytes, where: str, fix: str) -> Any:
    """What JSON text says.

    Raises:
        HaigoError: it is not JSON; begins with `where`.
    """
    try:
        return json.loads(content)
    except RecursionError:
        raise HaigoError(f"{where} is not valid JSON: it is nested too deeply.", fix) from None
    except ValueError as error:
        raise HaigoError(f"{where} is not valid JSON: {error}.", fix) from None


def table(content: str, path: Path, delimiter: str = ",") -> Iterator[list[str]]:
    """The rows of separated values; line ends in texts stay.

    Raises:
        HaigoError: not such a file (a quotation mark that is never closed, for example).
    """
    csv.field_size_limit(1 << 27)
    try:
        yield from csv.reader(io.StringIO(content, newline=""), delimiter=delimiter)
    except csv.Error as error:
        raise HaigoError(f"{path} can not be read as a table: {error}.", "get the file again") from None


def rows(path: Path, fields: dict[str, type | tuple[type, ...]]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line number and object of every line of a JSON-lines file, with `fields` there and of the right type.

    Raises:
        HaigoError: broken line, missing field, wrong type or no line at all; names the file and the line.
    """
    found = False
    require_file(path)
    with open(path, "rb") as handle:
        for number, line in enumerate(handle, start=1):
            if not line.strip():
                continue
            found = True
            where = f"{path} line {number}"
            yield number, check(parse(line, where, "mend that line"), fields, where)
    if not found:
        raise HaigoError(f"{path} is empty.", "get the file again")


def json_rows(path: Path, fields: dict[str, type | tuple[type, ...]]) -> Iterator[tuple[int, dict[str, Any]]]:
    """As `rows`, for a file that is either JSON lines or one JSON list."""
    if not text(path).lstrip().startswith("["):
        yield from rows(path, fields)
        return
    whole = parse(path.read_bytes(), str(path), "get the file again")
    if not whole:
        raise HaigoError(f"{path} is empty.", "get the file again")
    for number, row in enumerate(whole, start=1):
        yield number, check(row, fields, f"{path} row {number}")


def check(row: Any, fields: dict[str, type | tuple[type, ...]], where: str) -> dict[str, Any]:
    """`row` when it is an object that has `fields`."""
    if not isinstance(row, dict):
        raise HaigoError(f"{where} is not a JSON object.", "use the data set's published format")
    for name, kind in fields.items():
        if name not in row:
            raise HaigoError(f"{where} has no field '{name}'.", "use the data set's published format")
        if not isinstance(row[name], kind) or (isinstance(row[name], bool) and kind is not bool):
            raise HaigoError(f"{where}: '{name}' is {type(row[name]).__name__}.", "use the data set's published format")
    return row


def label_number(label: Any, labels: Sequence[str], where: str) -> int:
    """The number of a label that a row gives by name or by number.

    Raises:
        HaigoError: neither.
    """
    if label in labels:
        return list(labels).index(label)
    if type(label) is int and 0 <= label < len(labels):
        return label
    raise HaigoError(f"{where}: label {label!r} is unknown.", f"use one of {', '.join(labels)}")
