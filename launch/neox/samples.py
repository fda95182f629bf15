"""The first samples that a config reads, in GPT-NeoX's order (`data_order`)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from haigo import memory
from haigo.cli import HaigoError
from haigo.formats.dataset import manifest
from haigo.formats.dataset.indexed import MMapReader
from launch.neox import data_order, phase_order
from neox_configs import derive

_BYTES = 40  # of a token in a list


def first_samples(config: Mapping[str, Any], first: int = 100, split: str = "train") -> list[dict[str, Any]]:
    """The first samples of a split, in the order in which they are trained on.

    Args:
        config: GPT-NeoX keys, as `neox_configs.reader.load` gives them.
        first: how many.
        split: train, valid or test.

    Returns:
        One dict a sample: sample (its number), step (from 0), corpus (the prefix's folder), prefix, index (its number
        within the dataset), documents [[document, offset, tokens], ...], sha256 (of the tokens as little-endian int64)
        and tokens (seq_length + 1 ids). Of a phase of a run they begin where it does, and documents are the corpus' own.

    Raises:
        HaigoError: as `data_order.source` and `derive.batch_of`.
    """
    batch = derive.batch_of(config).train
    source = data_order.source(config, batch, split)
    held = first * source.seq_length * _BYTES
    if held > memory.available():
        raise HaigoError(
            f"{first:,} samples of {source.seq_length:,} tokens take at least {held / 1e9:,.0f} GB of memory.",
            "show fewer with --first",
        )
    phase = phase_order.phase_of(config) if split == "train" else None
    begin = phase["steps"][0] * batch if phase else 0
    data = source.open()
    samples = []
    for number in range(begin, begin + first):
        dataset, index = data.find(number)
        tokens = dataset[index]
        samples.append(
            {
                "sample": number,
                "step": number // batch,
                "corpus": Path(dataset.prefix).resolve().parent.name,
                "prefix": dataset.prefix,
                "index": index,
                "documents": [list(piece) for piece in _pieces(dataset, index)],
                "sha256": digest([tokens]),
                "tokens": tokens.tolist(),
            }
        )
    return samples


def of_phase(config: Mapping[str, Any]) -> int | None:
    """How many samples the phase of a run is long that a config is of; None where it is of none."""
    phase = phase_order.phase_of(config)
    return None if phase is None else int(phase["steps"][1] - phase["steps"][0]) * derive.batch_of(config).train


def _pieces(dataset: data_order.Dataset, index: int) -> list[tuple[int, int, int]]:
    """`Dataset.pieces`, a view's by the documents of the dataset that it is of."""
    found = dataset.pieces(index)
    view = (manifest.find(dataset.prefix) or {}).get("view")
    if view is None:
        return found
    starts, size = MMapReader(view["of"]).offsets, dataset.reader.dtype.itemsize
    pieces = []
    for number, offset, taken in found:
        at = int(dataset.reader.offsets[number]) + offset * size
        document = int(np.searchsorted(starts, at, side="right")) - 1
        pieces.append((document, (at - int(starts[document])) // size, taken))
    return pieces


def digest(samples: Sequence[Sequence[int] | np.ndarray]) -> str:
    """sha256 of samples' tokens, as little-endian int64 one after the other."""
    return hashlib.sha256(np.asarray(samples, dtype="<i8").tobytes()).hexdigest()
