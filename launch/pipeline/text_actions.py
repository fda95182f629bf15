"""What the stages between cleaning and the tokenizer do: repeated documents and the texts of evaluation files go.

Like `launch.pipeline.actions`: plain arguments, work in the stage's folder, and the identity of what was made is returned.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from haigo import digests
from haigo.cli import HaigoError
from launch.pipeline import runfile
from launch.pipeline.actions import shard_digests


def dedup(folders: Sequence[str], folder: str, options: runfile.Dedup, seed: int, workers: int) -> Any:
    """All corpora without repeated documents in `folder`; the identity is the digest of every shard of every corpus."""
    from preprocess.dedup import dedup as run
    from preprocess.minhash import Shape

    run(
        folders,
        folder,
        priority=options.priority,
        method=options.method,
        threshold=options.threshold,
        shape=Shape(options.shingle, options.bands, options.rows, seed),
        workers=workers,
    )
    return {Path(each).name: _left(folder, Path(each).name, "dedup") for each in folders}


def decontaminate(
    folders: Sequence[str], against: Sequence[str], folder: str, options: runfile.Decontaminate, workers: int
) -> Any:
    """All corpora without the texts of evaluation files, and the ids that were found.

    Returns:
        `corpora` as `dedup` gives them, and the digest of contaminated.jsonl.
    """
    from preprocess.decontaminate import IDS
    from preprocess.decontaminate import decontaminate as run

    run(
        folders,
        against,
        folder,
        remove=options.remove,
        long=options.long,
        short=options.short,
        keys=options.keys,
        workers=workers,
    )
    corpora = {Path(each).name: _left(folder, Path(each).name, "decontamination") for each in folders}
    return {"corpora": corpora, "contaminated": digests.sha256(Path(folder) / IDS)}


def _left(folder: str, name: str, step: str) -> dict[str, list[str]]:
    """The digests of what is left of a corpus.

    Raises:
        HaigoError: nothing, in one of its splits.
    """
    from haigo.formats import documents

    corpus = Path(folder) / name
    splits = documents.report(corpus)["splits"]
    empty = [split for split in documents.SPLITS if not splits[split]["documents"]]
    if empty:
        raise HaigoError(
            f"after {step} corpus '{name}' has no document in its {empty[0]} split.",
            "give more text, or larger shares under `split:`",
        )
    return shard_digests(str(corpus))
