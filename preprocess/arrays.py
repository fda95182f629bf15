"""Arrays in a file, to be read in parts, and beside it a sealed note: what they were made from, and the sums of the bytes.

The note (`FILE.json`) is written last: a file whose note fits is never made again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from haigo import digests, files, sealed
from haigo.cli import HaigoError

_ALIGNED = 64
Arrays = dict[str, npt.NDArray[Any]]


def write(
    path: Path, recipe: str, arrays: Mapping[str, npt.NDArray[Any]], beside: Sequence[str] = (), **more: Any
) -> None:
    """Write arrays to `path`, and the note.

    Args:
        recipe: digest of what they were made from.
        beside: names of further files in the folder that belong to them.
        **more: what else the note is to hold.
    """
    table: dict[str, Any] = {}
    files.remove(_note(path))
    with files.create(path) as handle:
        for name, array in arrays.items():
            handle.write(b"\0" * (-handle.tell() % _ALIGNED))
            table[name] = [array.dtype.str, list(array.shape), handle.tell()]
            handle.write(np.ascontiguousarray(array).data.cast("B") if array.size else b"")
    sums = {name: digests.sha256(path.with_name(name)) for name in (path.name, *beside)}
    sealed.write(_note(path), {"recipe": recipe, "arrays": table, "sums": sums, **more})


def note(path: Path) -> dict[str, Any]:
    """The note of a file.

    Raises:
        HaigoError: there is none, or it is damaged.
    """
    return sealed.read(_note(path), {"recipe": str, "arrays": dict, "sums": {str: str}})[0]


def made(path: Path, recipe: str) -> bool:
    """Whether the arrays are there, of this recipe and as they were written."""
    try:
        known = note(path)
        return known["recipe"] == recipe and all(
            digests.sha256(path.with_name(name)) == value for name, value in known["sums"].items()
        )
    except (HaigoError, OSError):
        return False


def read(path: Path) -> Arrays:
    """The arrays of a file by name; only what is used of them is read."""
    return {
        name: np.memmap(path, dtype=dtype, mode="r", offset=offset, shape=tuple(shape))
        if np.prod(shape)
        else np.empty(shape, dtype=dtype)
        for name, (dtype, shape, offset) in note(path)["arrays"].items()
    }


def remove(path: Path, beside: Sequence[str] = ()) -> None:
    """Remove a file with its note, and what belongs to it."""
    for name in (f"{path.name}.json", path.name, *beside):
        files.remove(path.with_name(name))


def _note(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")
