"""The sample orders that GPT-NeoX keeps beside a dataset (`PREFIX_train_0_indexmap_...npy`): whether they are of this dataset.

Their names hold no digest, and GPT-NeoX uses what it finds: orders of earlier tokens under the same name give samples that
begin anywhere, and added documents are never read. It also loads a pickle under such a name, which runs what is in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from haigo.formats.dataset.indexed import MMapReader, sample_orders
from launch.plan.checks.check import Check

_NAME = re.compile(
    r"_(?P<split>[a-z]+)(?P<listed>_[0-9]+)?_indexmap_[0-9]+ns_(?P<length>[0-9]+)sl_[0-9]+s_(?P<kind>\w+?)pi"
)
_PARTS = ("doc_idx", "sample_idx", "shuffle_idx")
_PROBES = 10_000
_CHUNK = 1 << 24


def checks(prefix: Path) -> Iterator[Check]:
    """A check that says no where an order is not of this dataset.

    Args:
        prefix: of the dataset, which has been read already.
    """
    paths = sample_orders(prefix)
    written = Path(f"{prefix}.bin").stat().st_mtime
    stale = [file for file in paths if file.stat().st_mtime < written]
    if stale:
        sentence = f"{len(stale)} sample indices of {prefix} are older than its tokens, and GPT-NeoX would use them."
        yield Check("index caches", "fail", sentence, f"delete {prefix}_*indexmap_*.npy")
        return
    sizes = MMapReader(prefix).sizes
    for stem in sorted(
        {str(file)[: -len(f"_{part}.npy")] for file in paths for part in _PARTS if file.stem.endswith(part)}
    ):
        trouble = _trouble(stem, str(prefix), sizes)
        if trouble:
            sentence = f"{stem}_*.npy {trouble}, and GPT-NeoX would use it."
            yield Check("index caches", "fail", sentence, f"delete {stem}_*.npy")


def _trouble(stem: str, prefix: str, sizes: np.ndarray) -> str | None:
    """What is wrong with an order of three files; None where nothing is, or GPT-NeoX would make it anew."""
    if not all(Path(f"{stem}_{part}.npy").is_file() for part in _PARTS):
        return None  # GPT-NeoX makes all three again where one is missing
    try:
        documents, samples, shuffle = (
            np.load(f"{stem}_{part}.npy", mmap_mode="r", allow_pickle=False) for part in _PARTS
        )
    except (OSError, ValueError, EOFError):
        return "is no sample order, or cut short"
    name = _NAME.match(stem[len(prefix) :])
    if any(one.dtype.kind not in "iu" or not one.size for one in (documents, samples, shuffle)) or (
        documents.ndim != 1 or samples.ndim != 2 or samples.shape[1] != 2 or shuffle.ndim != 1
    ):
        return "is no sample order"
    if name is None or name["kind"] != "packed":
        return None
    if int(documents.min()) < 0 or int(documents.max()) >= len(sizes):
        return f"names document {int(documents.max()):,} of {len(sizes):,}: it is of other data"
    # with data_path an order is of one part of the documents
    if name["listed"] and (len(documents) % len(sizes) or int(documents.max()) != len(sizes) - 1):
        return f"does not read all {len(sizes):,} documents: it is of other data"
    last, length = len(samples) - 1, int(name["length"])
    probes = np.unique(np.linspace(0, last, min(_PROBES, last + 1)).astype(np.int64))
    at, offsets = (np.asarray(samples[probes, column], dtype=np.int64) for column in (0, 1))
    before, total = _summed(documents, sizes, at)
    if length < 1 or (total - 1) // length != last or not np.array_equal(before + offsets, probes * length):
        return "counts other documents than there are: it is of other data"
    return None


def _summed(documents: np.ndarray, sizes: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, int]:
    """Tokens before some places of the order, int64 [places], and of all of it."""
    before = np.full(len(places), -1, dtype=np.int64)
    total = 0
    for start in range(0, len(documents), _CHUNK):
        ends = np.cumsum(sizes[documents[start : start + _CHUNK]], dtype=np.int64)
        inside = (places >= start) & (places < start + len(ends))
        before[inside] = total + np.concatenate([[0], ends])[places[inside] - start]
        total += int(ends[-1])
    before[places == len(documents)] = total
    return before, total
