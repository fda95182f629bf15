"""Text from where it is published when it is not on disk yet: one file a source, and the polite client they share.

What belongs here is asking servers for text, so that every document arrives once, with its origin, licence and date.
What does not: cleaning it (`preprocess.clean`), and reading formats, which is `preprocess.sources`' alone: a source here
hands what it received to the reader there. The command is `preprocess.fetch` (`__main__`).
"""

from __future__ import annotations

import collections
import os
from pathlib import Path
from typing import Any

from haigo.cli import Failed, HaigoError

from . import card, state
from .client import Client
from .source import Source, today


def fetch_corpus(
    source: Source, output_dir: str | os.PathLike[str], client: Client, name: str | None = None
) -> dict[str, Any]:
    """Fetch everything that `source` offers and that is not in the folder yet.

    Args:
        source: what to fetch; its class is in a file of its own here.
        output_dir: folder of the corpus; one that was begun is continued.
        client: whom to ask through.
        name: of the corpus, for the card; the folder's own by default.

    Returns:
        The data card.

    Raises:
        HaigoError: as the source says; what was fetched until then is kept.
        Failed: something could not be had; the card is written and says so.
    """
    folder = Path(output_dir)
    with state.opened(folder, source.identity(), source.unique) as store:
        card.remove(folder)
        before = store.get("runs", card.RUNS) or {"requests": 0, "repeats": {}, "first": today(client).isoformat()}

        def runs() -> dict[str, Any]:
            repeats = collections.Counter(before["repeats"]) + collections.Counter(client.repeats)
            counted = {"requests": before["requests"] + client.requests, "repeats": dict(repeats)}
            return {"runs": before | counted | {"last": today(client).isoformat()}}

        store.also = runs
        try:
            source.fetch(client, store)
        finally:
            store.left_out.clear()  # of an answer that was not taken in
            store.commit()
        store.cut(everything=True)
        if not store.documents and not source.trouble:
            raise HaigoError(f"{folder}: the source has no document for these conditions.", "ask for more")
        complete = not source.trouble and not source.reached(store)
        corpus = name or folder.resolve().name
        written = card.write(store, corpus, source.about(store), source.identity(), runs()["runs"], complete)
    if source.trouble:
        raise Failed(
            f"{len(source.trouble)} of what was asked for could not be had: {'; '.join(source.trouble[:3])}",
            f"the rest is in {folder}; run the same command again to try once more",
        )
    return written
