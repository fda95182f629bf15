"""Cleaned corpora for tests, written without cleaning."""

import json

from haigo.formats import documents
from preprocess.sources import Document


def write(folder, name, splits):
    """A folder as preprocess.clean leaves it; `splits` is split -> list of (id, text)."""
    counts = {}
    for split in documents.SPLITS:
        writer = documents.ShardWriter(folder / split, shard_bytes=200_000)
        for own, text in splits.get(split, ()):
            writer.add(Document(own, text, {"title": own}))
        writer.flush()
        (folder / split).mkdir(parents=True, exist_ok=True)
        counts[split] = {"documents": writer.documents, "characters": writer.characters, "bytes": writer.bytes}
    totals = {f"{key}_out": sum(row[key] for row in counts.values()) for key in ("documents", "characters", "bytes")}
    report = {"corpus": name, "rules": {}, "splits": counts, **totals}
    (folder / documents.REPORT).write_text(json.dumps(report), encoding="utf-8")
    return folder


def texts(folder):
    """Split -> {id: text} of a folder."""
    return {
        split: {one.id: one.text for one in documents.read(folder, split)}
        if list((folder / split).glob("*.zst"))
        else {}
        for split in documents.SPLITS
    }
