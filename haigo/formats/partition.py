"""partition.json: the domains that `preprocess.partition` made of corpora, and the model that labels new text as it did."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from haigo import sealed
from haigo.cli import HaigoError

NAME = "partition.json"
_SPLIT = {"documents": int, "characters": int, "bytes": int}
_DOMAIN = {
    **dict.fromkeys(("group", "label"), str),
    "topic": (int, None),
    "band": (int, None),
    "scores": ([(float, None), (float, None)], None),
    "terms": [str],
    "splits": {"train": _SPLIT, "valid": _SPLIT, "test": _SPLIT},
    "licences": {str: int},
}
_CORPUS = {
    "topics": ({"topics": int, "vectors": str}, None),
    "joined": [int],
    "terms": [[str]],
    "by": (str, None),
    "thresholds": [[float]],
}
_LIKE = {
    "format": int,
    "domains": {str: _DOMAIN},
    "corpora": {str: _CORPUS},
    "groups": {str: {str: float}},
    "tool": str,
}


def read(place: str | os.PathLike[str]) -> dict[str, Any]:
    """A partition.json, or that of a folder.

    Raises:
        HaigoError: there is none, or it is damaged or of another version.
    """
    path = Path(place) / NAME if Path(place).is_dir() else Path(place)
    if not path.is_file():
        raise HaigoError(f"{path} does not exist.", "name a folder that preprocess.partition wrote")
    content, _ = sealed.read(path, _LIKE)
    if content["format"] != 1:
        raise HaigoError(f"{path} is of another version of Haigo.", "make it again with preprocess.partition")
    return content
