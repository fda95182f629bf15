"""Arrays in one file, to be read in parts, with what they were made from and a digest of their bytes.

A file is an array after the other, a JSON note, and the note's length. It is written whole or not at all, so that one whose
note and bytes fit is never made again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from haigo import files
from haigo.cli import HaigoError

_ALIGNED, _LENGTH, _CHUNK = 64, 8, 1 << 20
Arrays = dict[str, npt.NDArray[Any]]


class Writer:
    """Puts arrays into a file.

    Attributes:
        note: what else the note is to hold, to be added to.
    """

    def __init__(self, handle: IO[bytes]) -> None:
        self._handle, self._sum, self._at = handle, hashlib.sha256(), 0
        self._arrays: dict[str, Any] = {}
        self.note: dict[str, Any] = {}

    def add(self, **arrays: npt.NDArray[Any]) -> None:
        """Arrays that are there."""
        for name, array in arrays.items():
            self._begin(name, array.dtype, list(array.shape))
            self._put(np.ascontiguousarray(array).data.cast("B") if array.size else b"")

    def stream(self, name: str, dtype: Any, parts: Iterable[npt.NDArray[Any]]) -> None:
        """One array of one dimension, part by part."""
        self._begin(name, np.dtype(dtype), [0])
        for part in parts:
            self._put(np.ascontiguousarray(part).data)
            self._arrays[name][1][0] += len(part)

    def close(self, recipe: str) -> None:
        """Write the note."""
        own = {"recipe": recipe, "sum": self._sum.hexdigest(), "bytes": self._at, "arrays": self._arrays}
        packed = json.dumps({**own, **self.note}, ensure_ascii=False).encode()
        self._handle.write(packed + len(packed).to_bytes(_LENGTH, "little"))

    def _begin(self, name: str, dtype: np.dtype[Any], shape: list[int]) -> None:
        self._put(b"\0" * (-self._at % _ALIGNED))
        self._arrays[name] = [dtype.str, shape, self._at]

    def _put(self, content: Any) -> None:
        self._handle.write(content)
        self._sum.update(content)
        self._at += memoryview(content).nbytes


@contextlib.contextmanager
def create(path: Path, recipe: str) -> Iterator[Writer]:
    """Write arrays to `path` when the block ends well.

    Args:
        recipe: digest of what they are made from.
    """
    with files.create(path) as handle:
        writer = Writer(handle)
        yield writer
        writer.close(recipe)


def note(path: Path) -> dict[str, Any]:
    """The note of a file.

    Raises:
        HaigoError: there is no such file, or its end is damaged.
    """
    try:
        with open(path, "rb") as handle:
            handle.seek(-_LENGTH, 2)
            length = int.from_bytes(handle.read(), "little")
            handle.seek(-_LENGTH - length, 2)
            content = json.loads(handle.read(length))
        if isinstance(content, dict) and {"recipe", "sum", "bytes", "arrays"} <= content.keys():
            return content
    except FileNotFoundError:
        raise HaigoError(f"{path} is missing: the step before is not finished.", "run it again") from None
    except (OSError, ValueError):
        pass
    raise HaigoError(f"{path} is damaged.", "delete it, and the same command makes it again")


def made(path: Path, recipe: str) -> bool:
    """Whether the arrays are there, of this recipe and as they were written."""
    try:
        known = note(path)
    except HaigoError:
        return False
    if known["recipe"] != recipe:
        return False
    digest = hashlib.sha256()
    left = known["bytes"]
    with open(path, "rb") as handle:
        while chunk := handle.read(min(_CHUNK, left)):
            digest.update(chunk)
            left -= len(chunk)
    return bool(digest.hexdigest() == known["sum"])


def read(path: Path) -> Arrays:
    """The arrays of a file by name; only what is used of them is read.

    A file is mapped once, not array by array: steps that read those of all shards of a corpus hold all of them at a time, and
    Linux gives a process 65,530 maps.

    Raises:
        HaigoError: as `note`.
    """
    known = note(path)
    whole = np.memmap(path, np.uint8, "r", shape=(known["bytes"],)) if known["bytes"] else np.empty(0, np.uint8)
    found = Arrays()
    for name, (dtype, shape, offset) in known["arrays"].items():
        size = math.prod(shape) * np.dtype(dtype).itemsize
        found[name] = whole[offset : offset + size].view(dtype).reshape(shape)
    return found
