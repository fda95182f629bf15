"""What the parts of `preprocess.partition` hold: the words that tell each from the others, and some of its documents."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from haigo import shown
from haigo.formats import documents
from haigo.formats import partition as partitions

from .account import opening

USUAL = 10
"""Documents that are shown of each part."""


def describe(folder: str | os.PathLike[str], samples: int = USUAL) -> dict[str, Any]:
    """The domains of a partition, each as partition.json tells it, with the openings of some training documents.

    Args:
        folder: that preprocess.partition wrote.
        samples: documents to show of each, spread over the shard in the middle of it.

    Raises:
        HaigoError: no such folder, or a part that is missing in it.
    """
    rows = partitions.read(folder)["domains"]
    return {
        "folder": str(folder),
        "domains": {name: _domain(Path(folder) / name, rows[name], samples) for name in rows},
    }


def _domain(folder: Path, row: Mapping[str, Any], samples: int) -> dict[str, Any]:
    if not row["splits"]["train"]["documents"]:
        return {**row, "samples": []}
    shards = documents.shards(folder)
    shard = shards[len(shards) // 2]
    count = sum(1 for _ in documents.read_shard(shard))
    picked = {int(place) for place in np.linspace(0, count - 1, min(samples, count))}
    read = itertools.compress(documents.read_shard(shard), (place in picked for place in range(count)))
    return {**row, "samples": [{"id": one.id, "text": " ".join(opening(one.text).split())} for one in read]}


def table(answers: Sequence[Mapping[str, Any]]) -> str:
    """The same as lines to read."""
    lines = []
    for answer in answers:
        for name, row in answer["domains"].items():
            train, licences = row["splits"]["train"], ", ".join(each or "not stated" for each in row["licences"])
            lines.append(f"{name}: {shown.line(row['label'])}")
            lines.append(
                f"  part of {row['group']}; {train['documents']:,} documents, {train['characters']:,} characters"
            )
            lines.append(f"  licences: {shown.line(licences)}")
            if row["terms"]:
                lines.append(f"  words: {shown.line(', '.join(row['terms']))}")
            lines += [f"    {shown.line(one['id'])}: {shown.line(one['text'])}" for one in row["samples"]]
    return "\n".join(lines)
