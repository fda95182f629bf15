"""The bytes of a Hugging Face model folder of ours: noted in its journal when it is written, looked at when it is read.

A weight with a flipped bit is a number like any other: nothing else would tell. The journal goes where the folder goes.
"""

from __future__ import annotations

import sys
from pathlib import Path

from haigo import digests, ownership
from haigo.cli import Refused

CONFIG = "config.json"
CONVERSION = "conversion.json"
"""What a converted model's folder says of its checkpoint."""


def note(folder: Path) -> None:
    """Note the bytes of config and weights, of a folder that was just written."""
    for name in _names(folder):
        ownership.note(folder / name, digests.sha256(folder / name))


def changed(folder: Path) -> list[str] | None:
    """Those of config and weights that are not as they were written; None where nobody noted how that was."""
    noted = {name: known for name in _names(folder) if (known := ownership.noted(folder / name))}
    now = digests.marks(folder, noted)
    return [name for name, row in now.items() if row["sha256"] not in noted[name]] if noted else None


def check(folder: Path) -> None:
    """Say so where config.json, which people edit, is not as it was written.

    Raises:
        Refused: weights are not.
    """
    for name in changed(folder) or ():
        problem = f"{folder / name} was changed since it was written"
        if name != CONFIG:
            raise Refused(
                f"{problem} (its sha256 is not the one noted beside it).",
                "export the model again; if the change is meant, move the model's files to a folder of their own",
            )
        print(f"haigo: {problem}.", file=sys.stderr)


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / CONFIG, *folder.glob("*.safetensors")) if path.is_file())
