"""Several datasets of one prefix that go row by row: tokens with their labels, chosen with rejected answers."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from haigo import files
from haigo.formats.dataset.indexed import MMapWriter, put_sample_orders_aside, take_over

from .index import dataset_prefix, parts_folder

_Path = str | os.PathLike[str]


@contextlib.contextmanager
def claimed(inputs: Sequence[_Path], output_prefix: _Path, keys: Sequence[str]) -> Iterator[None]:
    """Own `PREFIX_KEY_document` of all keys: two commands at once would put one's labels beside the other's tokens.

    Args:
        inputs: what is read; none of it may be an output.
        output_prefix: PREFIX.
        keys: the first names the lock.

    Raises:
        Refused: an output is an input, or somebody else's.
    """
    for key in keys:
        take_over(dataset_prefix(output_prefix, key))
        for ending in ("bin", "idx", "json"):
            output = f"{dataset_prefix(output_prefix, key)}.{ending}"
            files.check_output(output, inputs, [each for each in inputs if os.path.isdir(each)])
    parts = parts_folder(dataset_prefix(output_prefix, keys[0]))
    with files.owner(parts):
        try:
            files.remove_leftovers(dataset_prefix(output_prefix, keys[0]).parent, below=False)
            yield
        finally:
            files.remove_tree(parts)


def write(rows: Iterable[Sequence[np.ndarray]], datasets: Sequence[tuple[Path, np.dtype | type]]) -> list[int]:
    """Write every row's arrays into their datasets, a document each. Gives the values written into each dataset, and last the
    rows. Manifests and GPT-NeoX's sample orders of an earlier dataset go once the rows are known to be sound.

    Args:
        rows: one array a dataset, in its order.
        datasets: prefix and type on disk of each.
    """
    total = [0] * (len(datasets) + 1)
    with contextlib.ExitStack() as stack:
        writers = [stack.enter_context(MMapWriter(prefix, np.dtype(kind))) for prefix, kind in datasets]
        for row in rows:
            for number, (writer, values) in enumerate(zip(writers, row, strict=True)):
                writer.add(values)
                writer.end_document()
                total[number] += len(values)
            total[-1] += 1
        for prefix, _ in datasets:  # not before: a line that is no example leaves what is there as it is
            files.remove(f"{prefix}.json")
            put_sample_orders_aside(prefix)
    return total
