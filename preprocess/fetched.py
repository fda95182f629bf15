"""Folders that preprocess.fetch wrote: is one whole, and does it hold what its data card says?

A fetched folder is told by its state (`.fetch/`) or its card. The card is written last and taken away when a later fetch
begins to change the folder, so one without it was broken off, or is being fetched right now.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from haigo import digests, files
from haigo.cli import HaigoError

from .fetchers.card import JSON
from .fetchers.state import FOLDER

FIX = "run the same preprocess.fetch to its end, or clean what is there all the same with --unfinished"
_LIKE = {"documents": int, "shards": [{"name": str, "bytes": int, "sha256?": str}]}
_SHARD = re.compile(r"\d{5,}\.jsonl\.zst")


def problem(paths: Sequence[str | os.PathLike[str]], found: Sequence[tuple[Path, str]]) -> str | None:
    """What is wrong with the fetched folders among the input, in one sentence.

    Args:
        paths: the input as it was given; of a folder in it every shard has to be there.
        found: the files of it, see `sources.input_files`.
    """
    whole = {Path(path).resolve() for path in paths if Path(path).is_dir()}
    for folder in dict.fromkeys(path.parent for path, _ in found if _SHARD.fullmatch(path.name)):
        if not is_fetched(folder):
            continue
        if not (folder / JSON).is_file():
            return f"{folder} was not fetched to its end ({JSON}, which comes last, is missing)."
        card = _card(folder)
        if card is None:
            return f"{folder / JSON} is no data card."
        sizes = {str(row["name"]): int(row["bytes"]) for row in card["shards"]}
        sums = {str(row["name"]): row.get("sha256") for row in card["shards"]}
        read = [path for path, _ in found if path.parent == folder and _SHARD.fullmatch(path.name)]
        for path in read:
            if path.name not in sizes:
                return f"{path} is not on the folder's data card ({folder / JSON})."
            if path.stat().st_size != sizes[path.name]:
                return f"{path} has {path.stat().st_size:,} bytes, and its data card says {sizes[path.name]:,}."
            if sums[path.name] not in (None, digests.sha256(path)):
                return f"{path} was changed since it was fetched (its sha256 is not that of the data card, {folder / JSON})."
        gone = sorted(set(sizes) - {path.name for path in read})
        if gone and folder.resolve() in whole:
            return f"{folder / gone[0]} is missing, and the data card ({folder / JSON}) names it."
    return None


def documents(paths: Sequence[str | os.PathLike[str]]) -> int | None:
    """How many documents the cards promise; None where any of the input is no fetched folder."""
    cards = [_card(Path(path)) for path in paths]
    return sum(int(card["documents"]) for card in cards if card) if all(cards) else None


def is_fetched(folder: Path) -> bool:
    """Whether preprocess.fetch wrote, or is writing, this folder."""
    return (folder / FOLDER).is_dir() or (folder / JSON).is_file()


def _card(folder: Path) -> dict[str, Any] | None:
    try:
        return dict(files.read_record(folder / JSON, _LIKE))
    except (HaigoError, OSError):
        return None
