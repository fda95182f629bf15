"""About one percent of the input of `preprocess.scale`, to measure a run on: whole files where there are many, else places
that are spread evenly over large ones."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

import numpy as np
import numpy.typing as npt

from haigo import files
from haigo.formats.documents.containers import unpack

from . import cleaner, documents_aside, sources
from .options import CleanOptions, ScaleRun
from .sources import input_files, pieces

SHARE, LEAST_BYTES, MOST_BYTES = 0.01, 32_000_000, 1_000_000_000
"""Of the input that is looked at, and limits of it in bytes of raw text: copies are too few in less."""
_PLACES = 64
"""That are looked at where files are cut."""
_FIRST = 8  # of these every so manieth is what the steps start up on
_MANY = 16  # files of a sample that are not cut
_HEAD, _LEAST_PIECE = 4 << 20, 1 << 14
_LOOK = 1 << 16  # bytes at a file's beginning, middle and end, by which one that stands there twice is told
READ_ROWS: dict[str, Any] = {"format": "jsonl", "text_key": "text"}
"""Options of cleaning that read the documents of places."""


class Input(NamedTuple):
    """What a run reads.

    Attributes:
        files: paths and keys, without those that are the same bytes as another.
        raw: bytes of text of these, and of all.
        largest: bytes of text of the largest file.
        twins: files that are left out of `files`.
        split: whether most of it is of files that the run cuts.
    """

    files: list[tuple[Path, str]]
    raw: float
    all_raw: float
    largest: float
    twins: int
    split: bool


class Rows(NamedTuple):
    """Documents of places: where each stands (`place`), and `text`, equal for texts that are; ids are their numbers."""

    place: npt.NDArray[np.int64]
    text: npt.NDArray[np.int64]


class Sample(NamedTuple):
    """What is measured.

    Attributes:
        first, whole: files of some of it, and of all of it.
        share: of the input, its twins left out.
        rows: where they hold documents of places of larger files; READ_ROWS are the options of cleaning that read them.
    """

    first: list[str]
    whole: list[str]
    share: float
    rows: Rows | None


def look(run: ScaleRun) -> Input:
    """What a run reads.

    Raises:
        HaigoError: no file.
    """
    found = [(path, key) for path, key in input_files(run.inputs) if path.stat().st_size]
    raw = {path: raw_bytes(path) for path, _ in found}
    twins = _twins([path for path, _ in found])
    own = [(path, key) for path, key in found if path not in twins]
    total = sum(raw[path] for path, _ in own)
    large = sum(size for path, size in raw.items() if 0 < run.split_bytes < path.stat().st_size)
    every = sum(raw.values())
    return Input(own, total, every, max(raw.values(), default=0.0), len(twins), 2 * large > every)


def raw_bytes(path: Path) -> float:
    """About how much text a file holds."""
    return path.stat().st_size * _unpacked(path)


def _unpacked(path: Path) -> float:
    """Bytes that a byte on the disk holds, by the beginning of a file."""
    with open(path, "rb") as raw:
        stream = unpack(cast(BinaryIO, raw))  # which closes the file when it goes
        try:
            head = stream.read(_HEAD)
        except Exception:  # a damaged one: cleaning names it
            return 1.0
        size = path.stat().st_size
        return len(head) / max(1, size if len(head) < _HEAD else min(size, raw.tell()))


def _twins(paths: Sequence[Path]) -> set[Path]:
    """Files of the same size and the same bytes at three places as an earlier one."""
    by_size = defaultdict(list)
    for path in paths:
        by_size[path.stat().st_size].append(path)
    again = set()
    for size, those in by_size.items():
        known = set()
        for path in those if len(those) > 1 else ():
            digest = hashlib.sha256()
            with open(path, "rb") as handle:
                for at in (0, size // 2, max(0, size - _LOOK)):
                    handle.seek(at)
                    digest.update(handle.read(_LOOK))
            if digest.digest() in known:
                again.add(path)
            known.add(digest.digest())
    return again


def draw(found: Input, run: ScaleRun, place: Path) -> Sample:
    """Choose files, or write documents of places into files in `place`, as large as the input's where these are smaller."""
    raw = max(1.0, found.raw)
    size = min(raw, MOST_BYTES, max(LEAST_BYTES, SHARE * raw))
    share, count = size / raw, len(found.files)
    sizes = sum(path.stat().st_size for path, _ in found.files)
    if count * share >= _MANY:
        chosen = [found.files[int(at / share)][0] for at in range(int(count * share))]
        names = [str(path) for path in chosen]
        return Sample(names[: _MANY // 4], names, sum(path.stat().st_size for path in chosen) / sizes, None)
    number, seen, where, texts = 0, 0.0, list[int](), list[int]()
    names = [str(place / f"{at:04d}.jsonl") for at in range(min(count, math.ceil(share * count)))]
    with contextlib.ExitStack() as stack:
        handles = [stack.enter_context(files.create(Path(name))) for name in names]
        first = stack.enter_context(files.create(place / "first.jsonl"))
        for stream, taken in _places(found.files, CleanOptions(**run.clean), share):
            seen += taken
            for document in stream:
                row = documents_aside.row(dataclasses.replace(document, id=str(len(where))))
                handles[number % len(names)].write(row)
                if number % _FIRST == 0:
                    first.write(row)
                where.append(number)
                texts.append(int.from_bytes(cleaner.text_key(document.text)[:8], "little", signed=True))
            number += 1
    rows = Rows(np.array(where, dtype=np.int64), np.array(texts, dtype=np.int64))
    return Sample([str(place / "first.jsonl")], names, min(1.0, seen / max(1, sizes)), rows)


def _places(
    found: Sequence[tuple[Path, str]], how: CleanOptions, share: float
) -> Iterator[tuple[Iterator[sources.Document], float]]:
    """Documents of each place, and the bytes as they lie on the disk that these are."""
    chosen = [found[at * len(found) // _PLACES] for at in range(_PLACES)] if len(found) > _PLACES else list(found)
    those = sum(path.stat().st_size for path, _ in chosen)
    each = share * sum(path.stat().st_size for path, _ in found) / max(1, those)  # of every file that is chosen
    for path, key in chosen:
        size = path.stat().st_size
        count = max(1, round(_PLACES * size / those))
        cuts = [] if each >= 1 else pieces.cut(path, key, how, max(_LEAST_PIECE, int(size * each / count)))
        if len(cuts) > 2 * count:
            for cut in (cuts[int((at + 0.5) * len(cuts) / count)] for at in range(count)):
                yield cut.documents(how), cut.end - cut.start
        else:
            yield _head(sources.read([path], how), raw_bytes(path) * each), size * min(1.0, each)


def _head(stream: Iterator[sources.Document], most: float) -> Iterator[sources.Document]:
    size = 0
    for document in stream:
        yield document
        size += len(document.text.encode(errors="surrogatepass"))
        if size >= most:
            return
