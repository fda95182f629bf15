"""The order in which GPT-NeoX reads its training data, from `.bin`/`.idx` alone: which tokens sample k holds.

Follows what GPT-NeoX does (seen at commit ea7aefd) number for number, its oddities included, so that a proxy trained
here reads the same tokens in the same order as a run there:

- every sequence of the `.idx` is one document; all epochs are shuffled together as ONE array with the legacy
  `RandomState(seed)`, then the samples with the same generator;
- samples are windows of seq_length + 1 tokens over the shuffled documents laid end to end, stride seq_length;
- a weighted list asks each dataset for ceil(samples * weight * 1.005) samples and blends them greedily: the dataset
  that lags most behind its weight comes next, the first of the list wins ties;
- a dataset's length is one less than its samples (the last is never counted), and indices past an end wrap around.

Nothing is written: GPT-NeoX's own `*_indexmap_*.npy` caches carry no digest of the data and go stale silently.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from haigo import memory
from haigo.cli import HaigoError
from haigo.formats.dataset.indexed import MMapReader
from neox_configs import reader
from neox_configs.keys import KEYS

Int64 = npt.NDArray[np.int64]
_SPARE = 1.005  # GPT-NeoX asks each dataset of a blend for half a percent more than its share
_ORDERING = ("pack_impl", "data_impl", "dataset_impl", "train_impl", "train_epochs", "weight_by_num_documents")
"""The keys that change the order, which is computed for the values that the embedded engine is held to."""


class Dataset:
    """One indexed dataset in GPT-NeoX's packed order.

    Args:
        prefix: path without `.bin`/`.idx`.
        samples: how many samples are asked of it (N); decides the number of epochs.
        seq_length: tokens a sample, without the one more that serves as last label.
        seed: GPT-NeoX's `seed` (default there: 1234).
        documents: (first, last + 1) sequences to use; all when None.

    Attributes:
        epochs: how often every document occurs.
        count: windows that exist.  `len()` is one less, as in GPT-NeoX.
        tokens_per_epoch: tokens in one epoch.

    Raises:
        HaigoError: the dataset is missing, truncated, or too small for one sample.
    """

    def __init__(
        self, prefix: str | Path, samples: int, seq_length: int, seed: int, documents: tuple[int, int] | None = None
    ) -> None:
        self.prefix, self.seq_length, self.seed = str(prefix), seq_length, seed
        self.reader = MMapReader(self.prefix).of_tokens()
        self._tokens = self.reader.tokens
        first, last = documents if documents is not None else (0, len(self.reader.sizes))
        ids = np.arange(first, last, dtype=np.int32)
        sizes = np.asarray(self.reader.sizes, dtype=np.int64)
        self.tokens_per_epoch = int(sizes[first:last].sum())
        if self.tokens_per_epoch < 2:
            raise HaigoError(
                f"{self.prefix} holds {self.tokens_per_epoch} tokens: nothing to train on.",
                "index more text, or give the corpus weight 0",
            )
        self.epochs = epochs_needed(self.tokens_per_epoch, seq_length, samples)
        self.count = (self.epochs * self.tokens_per_epoch - 1) // seq_length
        if self.count < 2:
            raise HaigoError(
                f"{self.prefix} holds {self.tokens_per_epoch} tokens, too few for two samples of {seq_length}.",
                "index more text, give the corpus weight 0, or use a smaller seq_length",
            )
        # int32 and int64 of every document and epoch, int64 of every sample, and one sample
        need = len(ids) * self.epochs * 12 + self.count * 8 + seq_length * 8
        if need > memory.available():
            raise HaigoError(
                f"the order of {samples:,} samples of {seq_length:,} tokens from {self.prefix} takes at least "
                f"{need / 1e9:,.0f} GB of memory, and {memory.available() / 1e9:,.1f} GB can be had.",
                "check seq_length, train_iters and the batch size",
            )
        order, self.shuffle = shuffles(np.tile(ids, self.epochs), self.count, seed)
        self.order = order
        self._starts: Int64 = np.asarray(self.reader.offsets, dtype=np.int64) // self.reader.dtype.itemsize
        self._sizes = sizes
        self._ends: Int64 = np.cumsum(sizes[order])

    def __len__(self) -> int:
        return self.count - 1

    def window(self, index: int) -> int:
        """Which window sample `index` is, in the order of the shuffled documents."""
        while index >= self.count:  # GPT-NeoX: an IndexError, then the index modulo the (one too small) length
            index %= len(self)
        return int(self.shuffle[index])

    def pieces(self, index: int) -> list[tuple[int, int, int]]:
        """Where sample `index` comes from: (document, offset in it, tokens), in order; the tokens sum to seq_length + 1."""
        start = self.window(index) * self.seq_length
        left = self.seq_length + 1
        at = int(np.searchsorted(self._ends, start, side="right"))
        parts = []
        while left:
            document = int(self.order[at])
            size = int(self._sizes[document])
            offset = start - (int(self._ends[at]) - size)
            taken = min(left, size - offset)
            if taken:
                parts.append((document, offset, taken))
            start += taken
            left -= taken
            at += 1
        return parts

    def find(self, index: int) -> tuple[Dataset, int]:
        """The dataset that sample `index` is of, and its number there."""
        return self, index

    def fill(self, index: int, out: Int64) -> None:
        """Write sample `index` into `out`, int64[seq_length + 1]."""
        at = 0
        for document, offset, taken in self.pieces(index):
            begin = int(self._starts[document]) + offset
            out[at : at + taken] = self._tokens[begin : begin + taken]
            at += taken

    def __getitem__(self, index: int) -> Int64:
        out = np.empty(self.seq_length + 1, dtype=np.int64)
        self.fill(index, out)
        return out


class Blend:
    """Several datasets blended by weight, in GPT-NeoX's greedy order, computed as far as it is asked for.

    Args:
        datasets: fewer than 255 of them.
        weights: their weights, as `normalised` gives them.
    """

    def __init__(self, datasets: Sequence[Dataset], weights: Sequence[float]) -> None:
        if len(datasets) >= 255:
            raise HaigoError(f"{len(datasets)} datasets are too many: GPT-NeoX blends fewer than 255.", "merge some")
        self.datasets = list(datasets)
        self.weights = blend_weights(weights)
        self._taken = [0] * len(self.datasets)
        self._which: list[int] = []
        self._index: list[int] = []
        self._size = sum(len(dataset) for dataset in self.datasets)

    def __len__(self) -> int:
        return self._size

    def _extend(self, upto: int) -> None:
        weights, taken, which, indices = self.weights, self._taken, self._which, self._index
        for step in range(len(which), upto):
            chosen = next_dataset(weights, taken, step)
            which.append(chosen)
            indices.append(taken[chosen])
            taken[chosen] += 1

    def locate(self, index: int) -> tuple[int, int]:
        """(dataset, its sample) that sample `index` of the blend is."""
        index %= self._size
        if index >= len(self._which):
            self._extend(min(self._size, max(index + 1, 2 * len(self._which), 1024)))
        return self._which[index], self._index[index]

    def find(self, index: int) -> tuple[Dataset, int]:
        """The dataset that sample `index` is of, and its number there."""
        which, sample = self.locate(index)
        return self.datasets[which], sample

    def fill(self, index: int, out: Int64) -> None:
        """Write sample `index` into `out`, int64[seq_length + 1]."""
        dataset, sample = self.find(index)
        dataset.fill(sample, out)

    def __getitem__(self, index: int) -> Int64:
        dataset, sample = self.find(index)
        return dataset[sample]


def shuffles(ids: npt.NDArray[Any], count: int, seed: int) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """The order of the documents (`ids`, shuffled in place) and of the windows, drawn from one generator."""
    random = np.random.RandomState(seed)
    random.shuffle(ids)
    # uint32 as there; the numbers drawn do not depend on it, the memory does
    windows: npt.NDArray[Any] = np.arange(count, dtype=np.uint32 if count < np.iinfo(np.uint32).max - 1 else np.int64)
    random.shuffle(windows)
    return ids, windows


def blend_weights(weights: Sequence[float]) -> list[float]:
    """Weights as the blend scales them once more."""
    array = np.array(weights, dtype=np.float64)
    scaled: list[float] = (array / np.sum(array)).tolist()
    return scaled


def next_dataset(weights: Sequence[float], taken: Sequence[int], step: int) -> int:
    """Which dataset sample `step` of a blend is of, after `taken` samples of each."""
    # Python floats are the doubles of GPT-NeoX's C++ helper: the same products, differences and ties
    position = float(max(step, 1))
    errors = [weight * position - count for weight, count in zip(weights, taken, strict=False)]
    return errors.index(max(errors))


def epochs_needed(tokens: int, seq_length: int, samples: int) -> int:
    """The smallest E with (E * tokens - 1) // seq_length >= samples; at least 1."""
    return max(1, -(-(samples * seq_length + 1) // tokens))


def normalised(weights: Sequence[float], samples: int) -> tuple[list[float], list[int]]:
    """Weights that sum to 1 and how many samples each dataset is asked for, with GPT-NeoX's spare half percent."""
    total = sum(weights)
    if not total > 0 or any(not weight >= 0 for weight in weights) or not math.isfinite(total):
        raise HaigoError(f"data weights {list(weights)} must be 0 or more and not all 0.", "mend the weights")
    shares = [weight / total for weight in weights]
    return shares, [math.ceil(samples * share * _SPARE) for share in shares]


def split_bounds(split: str, documents: int) -> list[int]:
    """First and last document of train, valid and test for GPT-NeoX's `split` ("969, 30, 1"): four bounds."""
    words = split.split(",") if "," in split else split.split("/")
    try:
        parts = [float(word) for word in words]
    except ValueError:
        raise HaigoError(f"split: '{split}' is not a list of numbers.", 'write it like "969, 30, 1"') from None
    parts = [*parts, 0.0, 0.0, 0.0][:3]
    if not sum(parts) > 0:
        raise HaigoError(f"split: '{split}' sums to 0.", 'write it like "969, 30, 1"')
    shares = [part / sum(parts) for part in parts]
    bounds = [0]
    for share in shares:
        bounds.append(bounds[-1] + round(share * float(documents)))
    excess = bounds[-1] - documents
    return [0] + [bound - excess for bound in bounds[1:]]


@dataclass(frozen=True, kw_only=True)
class Source:
    """What a config says about one split's data."""

    prefixes: list[str]
    weights: list[float]
    samples: int
    """Samples the whole split is asked for: iterations x global batch."""
    seq_length: int
    seed: int
    split: str | None = None
    """GPT-NeoX's `split`, with a plain `data_path`."""
    part: int = 0
    """0 train, 1 valid, 2 test."""

    def open(self) -> Dataset | Blend:
        """Build the order.

        Raises:
            HaigoError: a dataset is missing, truncated or too small; weights that make no sense.
        """
        if self.split is not None:
            documents = len(MMapReader(self.prefixes[0]).sizes)
            bounds = split_bounds(self.split, documents)
            where = (bounds[self.part], bounds[self.part + 1])
            return Dataset(self.prefixes[0], self.samples, self.seq_length, self.seed, where)
        shares, counts = normalised(self.weights, self.samples)
        datasets = [
            Dataset(prefix, count, self.seq_length, self.seed)
            for prefix, count in zip(self.prefixes, counts, strict=True)
        ]
        return Blend(datasets, shares)


def _known(config: Mapping[str, Any]) -> None:
    """See that the config asks for the order that this page computes.

    Raises:
        HaigoError: for another.
    """
    for name in _ORDERING:
        allowed = KEYS[name].held
        if reader.value(config, name) not in allowed:
            raise HaigoError(
                f"{name}: {config.get(name)!r:.60}: the order of its samples is not known here.",
                f"write {name}: {allowed[0]}" if allowed[0] else f"leave {name} out",
            )


def _whole(config: Mapping[str, Any], name: str, least: int, most: int = (1 << 31) - 1) -> int:
    """A number of the config, or GPT-NeoX's default for it.

    Raises:
        HaigoError: no whole number, or out of range.
    """
    value = reader.value(config, name)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise HaigoError(f"{name} {value!r:.40} is not a whole number from {least} to {most}.", "write another number")
    return value


def source(config: Mapping[str, Any], batch: int, part: str = "train") -> Source:
    """Read one split's data keys from a GPT-NeoX config.

    Args:
        config: normalised keys, as `neox_configs.reader.load` gives them; needs train_iters and seq_length.
        batch: the global batch, in samples.
        part: train, valid or test.

    Raises:
        HaigoError: no data is named, or both ways of naming it are used; a number out of range, or an order not known here.
    """
    _known(config)
    for name in ("train_iters", "seq_length"):
        if config.get(name) is None:
            raise HaigoError(f"the config gives no {name}, which decides the order of the samples.", f"add {name}")
    iters = _whole(config, "train_iters", 0)
    evaluations, between = _whole(config, "eval_iters", 0), _whole(config, "eval_interval", 1)
    asked = {
        "train": iters * batch,
        "valid": (iters // between + 1) * evaluations * batch,
        "test": evaluations * batch,
    }
    common: dict[str, Any] = {
        "samples": asked[part],
        "seq_length": _whole(config, "seq_length", 1),
        "seed": _whole(config, "seed", 0, (1 << 32) - 1),
    }
    listed, plain = config.get("train_data_paths"), config.get("data_path")
    if listed and plain:
        raise HaigoError("the config gives both data_path and train_data_paths.", "keep one of them")
    if plain:
        split = str(config.get("split", "969, 30, 1"))
        where = ("train", "valid", "test").index(part)
        return Source(prefixes=[str(plain)], weights=[1.0], split=split, part=where, **common)
    paths = config.get(f"{part}_data_paths")
    if not paths:
        raise HaigoError(f"the config names no {part} data.", f"add {part}_data_paths and {part}_data_weights")
    weights = config.get(f"{part}_data_weights") or [1.0] * len(paths)
    if len(weights) != len(paths):
        raise HaigoError(
            f"the config has {len(paths)} {part}_data_paths and {len(weights)} {part}_data_weights.",
            "give one weight for each path",
        )
    for name in paths:
        if not isinstance(name, str | os.PathLike):
            raise HaigoError(f"{part}_data_paths: {name!r} is not a path.", "write the datasets' prefixes")
    for weight in weights:
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight < math.inf:
            raise HaigoError(f"{part}_data_weights: {weight!r} is not a number from 0.", "mend it")
    return Source(prefixes=[str(path) for path in paths], weights=[float(weight) for weight in weights], **common)
