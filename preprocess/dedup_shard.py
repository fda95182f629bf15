"""What one process of a deduplication does with one shard: its sketches, and the shingle sets of some of its documents.

Both go to files, so that a killed run goes on with what was finished and nothing large passes between processes.
"""

from __future__ import annotations

import numpy as np

from haigo import files
from haigo.formats.documents import batches

from . import near_pairs
from .minhash import Shape, Sketcher
from .rewrite import CorpusShard

ARRAYS = ("keys", "bytes", "sizes", "digests", "numbers")
"""Of a `Sketches`, by which they stand in the file."""
_BATCH_CHARS = 100_000


def sketch(shard: CorpusShard, shape: Shape, file: str) -> None:
    """The sketches of one shard, kept in `file`, of which the name tells what it was made from."""
    if _is_whole(file):
        return
    sketcher = Sketcher(shape)
    lots = [sketcher.sketch([])]
    lots += map(sketcher.sketch, batches((document.text for document in shard.read()), _BATCH_CHARS, len))
    joined = near_pairs.join(lots)
    with files.create(file) as handle:
        np.savez(handle, **{name: getattr(joined, name) for name in ARRAYS})


def _is_whole(file: str) -> bool:
    """Whether the sketches are there, and as they were written by the sums in their archive."""
    try:
        with np.load(file, allow_pickle=False) as held:
            return all(len(held[name]) >= 0 for name in ARRAYS)
    except Exception:  # whatever numpy and zip say of damaged ones: they are made again
        return False


def shingles(shard: CorpusShard, shape: Shape, places: list[int], file: str) -> None:
    """The shingle sets of some documents of a shard, one after the other, and where each ends."""
    sketcher = Sketcher(shape)
    wanted = set(places)
    ends = [0]
    with files.create(f"{file}.raw") as handle:
        for texts in batches(
            (document.text for place, document in enumerate(shard.read()) if place in wanted), _BATCH_CHARS, len
        ):
            for own in sketcher.shingle_sets(texts):
                handle.write(own.data)
                ends.append(ends[-1] + len(own))
    hashes = np.memmap(f"{file}.raw", dtype=np.uint64, mode="r") if ends[-1] else np.empty(0, dtype=np.uint64)
    for kind, array in (("npy", hashes), ("ends.npy", np.array(ends))):
        with files.create(f"{file}.{kind}") as handle:
            np.save(handle, array)
    files.remove(f"{file}.raw")
