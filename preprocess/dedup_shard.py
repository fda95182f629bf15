"""What a deduplication makes of one shard: its sketches, and the shingle sets of some of its documents.

Keys and digests are kept in their own order, so that the texts of a range of them are read without the others.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from haigo import files
from haigo.formats.documents import Broken, Document, batches, jsonl
from haigo.formats.documents.containers import entries

from . import arrays, near_pairs
from .minhash import Hashes, Shape, Sketcher, Sketches
from .rewrite import CorpusShard

_BATCH_CHARS = 100_000
Index = npt.NDArray[np.int64]


def sketch(shard: CorpusShard, shape: Shape, file: Path) -> None:
    """The sketches of one shard, and the rows of it that were passed over."""
    recipe = files.digest([2, shard.sha256, shape.shingle, shape.bands, shape.rows, shape.seed, shard.skip_broken])
    if arrays.made(file, recipe):
        return
    sketcher, broken = Sketcher(shape), Broken(shard.skip_broken)
    lots = [sketcher.sketch([])]
    lots += map(sketcher.sketch, batches((document.text for document in _read(shard, broken)), _BATCH_CHARS, len))
    made = near_pairs.join(lots)
    digests = np.lexsort((made.digests[:, 1], made.digests[:, 0]))
    long = np.flatnonzero(made.sizes >= near_pairs.FEW)
    keys = made.keys[long].T
    order = np.argsort(keys, axis=1, kind="stable")
    with arrays.create(file, recipe) as out:
        out.add(digests=made.digests[digests].T, digest_places=digests.astype(np.uint32))
        out.add(keys=np.take_along_axis(keys, order, axis=1), key_places=long[order].astype(np.uint32))
        out.add(bytes=made.bytes, sizes=made.sizes, numbers=made.numbers)
        passed = {"count": broken.count, "rows": broken.named}
        out.note |= {"documents": len(made.sizes), "sha256": shard.sha256, "broken": passed}


def _read(shard: CorpusShard, broken: Broken) -> Iterator[Document]:
    for entry in entries(Path(shard.path)):
        yield from jsonl.read(entry, broken=broken)


def chosen(file: Path, places: Index) -> Sketches:
    """The sketches of some texts of FEW shingles or more, from the file that `sketch` wrote; their digests are left out."""
    held = arrays.read(file)
    count, bands = len(held["sizes"]), len(held["keys"])
    keys = np.zeros((count, bands), dtype=np.uint64)
    for band in range(bands):
        keys[held["key_places"][band], band] = held["keys"][band]
    parts = (np.asarray(held[name][places]) for name in ("bytes", "sizes", "numbers"))
    low, sizes, numbers = parts
    return Sketches(keys[places], low, sizes, np.empty((len(places), 0), dtype=np.uint64), numbers)


def shingles(shard: CorpusShard, shape: Shape, places: Index, ends: list[int]) -> Iterator[Hashes]:
    """The shingle sets of some documents, one after the other.

    Args:
        ends: gets where each ends.
    """
    sketcher = Sketcher(shape)
    wanted: dict[int, None] = dict.fromkeys(places.tolist())
    texts = (document.text for place, document in enumerate(shard.read()) if place in wanted)
    for lot in batches(texts, _BATCH_CHARS, len):
        for own in sketcher.shingle_sets(lot):
            yield own
            ends.append(ends[-1] + len(own))
