"""The manifest `PREFIX.json` beside an indexed dataset; datasets that GPT-NeoX or Megatron-LM made have none."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from haigo import files
from haigo.cli import HaigoError


def find(prefix: str | os.PathLike[str]) -> dict[str, Any] | None:
    """The manifest of a dataset; None when there is none, that is for a dataset of other origin.

    Raises:
        HaigoError: the file is damaged, or is no manifest.
    """
    path = Path(f"{os.fspath(prefix)}.json")
    if not path.is_file():
        return None
    found = files.read_json(path)
    if not isinstance(found, dict) or not isinstance(found.get("tokens"), int):
        raise HaigoError(f"{path} is not the manifest of a dataset.", "make the dataset with preprocess.index")
    return found


def checked(found: dict[str, Any] | None) -> bool:
    """Whether the ids of the dataset were held against a vocabulary when it was made."""
    return bool(found and found.get("vocab_size") and found.get("tokenizer_sha256"))
