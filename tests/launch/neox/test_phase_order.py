"""Datasets of the phases of a run: GPT-NeoX's own order (`data_order`) reads from them exactly the samples that are due."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from haigo.cli import HaigoError
from haigo.formats.dataset import manifest
from haigo.formats.dataset.indexed import MMapReader, MMapWriter, bin_path, idx_path, write_view
from launch.neox import data_order, phase_order


def dataset(prefix: Path, seed: int, documents: int, longest: int) -> Path:
    random = np.random.RandomState(seed)
    with MMapWriter(prefix, np.uint16) as writer:
        for _ in range(documents):
            writer.add(random.randint(2, 60000, size=random.randint(1, longest)))
            writer.end_document()
    return prefix


def laid_out(prefix: Path, length: int, seed: int, samples: int) -> list[tuple[int, ...]]:
    """The corpus' samples of the whole run, by the definition: documents end to end, shuffled once an epoch."""
    reader = MMapReader(prefix)
    tokens: list[int] = []
    epoch = 0
    while len(tokens) < samples * length + 1:
        for document in np.random.RandomState([seed, epoch]).permutation(len(reader)):
            tokens += reader[document].tolist()
        epoch += 1
    return [tuple(tokens[number * length : number * length + length + 1]) for number in range(samples)]


@pytest.mark.parametrize("seed", range(6))
def test_every_phase_reads_the_next_samples_and_no_other(tmp_path: Path, seed: int) -> None:
    random = np.random.RandomState(seed)
    length, batch = int(random.randint(8, 40)), int(random.randint(1, 9))
    corpora = [dataset(tmp_path / f"c{k}" / "train", seed * 9 + k, random.randint(20, 200), 90) for k in range(4)]
    bounds = [0, *np.cumsum(random.randint(1, 60, size=3)).tolist()]
    read = [0] * len(corpora)
    for phase in range(3):
        first, last = bounds[phase] * batch, bounds[phase + 1] * batch
        weights = random.dirichlet([1.0] * len(corpora)).tolist()
        counts = phase_order.shares(weights, last - first)
        kept = [number for number, count in enumerate(counts) if count]
        blend = phase_order.blend([weights[number] for number in kept], first, last)
        exact = np.array([weights[number] for number in kept])
        assert np.abs(exact / exact.sum() * (last - first) - blend.samples).max() <= 1 + 1e-9
        shares, asked = data_order.normalised(blend.weights, last)
        sets, due = [], []
        for at, number in enumerate(kept):
            source = MMapReader(corpora[number])
            t, u, tokens = blend.before[at], blend.after[at], len(source.tokens)
            wanted = phase_order.stream(
                np.asarray(source.offsets) // 2, np.asarray(source.sizes, dtype=np.int64), 1234,
                read[number] * length, (read[number] + u - t) * length + 1,
            )  # fmt: skip
            view = phase_order.view(wanted, t, u, max(asked[at], u + 1) + 1, length, 1234, tokens)
            prefix = tmp_path / f"p{phase}" / f"c{number}" / "train"
            write_view(prefix, corpora[number], view.starts, view.sizes.astype(np.int32))
            manifest.write(prefix, {"tokens": tokens, "view": VIEW})
            sets.append(data_order.Dataset(prefix, asked[at], length, 1234))
            assert sets[-1].epochs == 1 and MMapReader(prefix).view and not MMapReader(prefix).problems()
            due.append(laid_out(corpora[number], length, 1234, read[number] + u - t)[read[number] :])
            read[number] += u - t
        found: list[list[tuple[int, ...]]] = [[] for _ in kept]
        stream = data_order.Blend(sets, shares)
        assert len(stream) >= last  # GPT-NeoX takes the place modulo the length
        for sample in range(first, last):
            found[stream.locate(sample)[0]].append(tuple(stream[sample].tolist()))
        assert [Counter(each) for each in found] == [Counter(each) for each in due]


VIEW = {"of": "", "steps": [0, 1], "chain": [], "begins_at": 0, "samples": [0, 1], "seq_length": 8, "seed": 1, "batch": 1,
        "weight": 1.0}  # fmt: skip


def test_shares_are_met_to_within_a_sample_wherever_a_phase_begins() -> None:
    random = np.random.RandomState(5)
    for number in range(400):
        weights = random.dirichlet([1.0] * random.randint(2, 9))
        weights = (weights if number % 2 else np.round(weights + 0.01, 2)).tolist()
        first, samples = int(random.randint(0, 3000)), int(random.randint(20, 800))
        first = first if number % 3 else first // samples * samples
        weights = [weight for weight, n in zip(weights, phase_order.shares(weights, samples), strict=True) if n]
        blend = phase_order.blend(weights, first, first + samples)
        exact = np.array(weights) / sum(weights) * samples
        assert sum(blend.samples) == samples and np.abs(exact - blend.samples).max() <= 1 + 1e-9
        whole = data_order.Blend.__new__(data_order.Blend)
        whole.weights = data_order.blend_weights(data_order.normalised(blend.weights, first + samples)[0])
        whole._taken, whole._which, whole._index, whole._size = [0] * len(weights), [], [], 10**9
        whole._extend(first)
        assert whole._taken == blend.before
        whole._extend(first + samples)
        assert whole._taken == blend.after


def test_a_million_samples_are_counted_quickly_however_late_they_begin() -> None:
    begin = time.process_time()
    blend = phase_order.blend([0.3, 0.2, 0.2, 0.1, 0.1, 0.1], 50_000_000, 50_200_000)
    assert sum(blend.samples) == 200_000 and time.process_time() - begin < 5


def test_a_view_costs_no_tokens_and_must_lie_within_them(tmp_path: Path) -> None:
    source = dataset(tmp_path / "a", 1, 30, 40)
    tokens = len(MMapReader(source).tokens)
    write_view(tmp_path / "v", source, np.array([5, 0, 5]), np.array([10, tokens, 3], dtype=np.int32))
    assert bin_path(tmp_path / "v").stat().st_ino == bin_path(source).stat().st_ino
    with pytest.raises(HaigoError, match=r"too long|cut short"):  # no manifest says that it is a view
        MMapReader(tmp_path / "v")
    manifest.write(tmp_path / "v", {"tokens": tokens, "view": VIEW})
    view = MMapReader(tmp_path / "v")
    assert view[0].tolist() == MMapReader(source).tokens[5:15].tolist() and len(view[2]) == 3
    raw = bytearray(idx_path(tmp_path / "v").read_bytes())
    raw[34 + 12 : 34 + 20] = (tokens * 2 - 8).to_bytes(8, "little")  # the first now ends behind the last token
    idx_path(tmp_path / "v").write_bytes(raw)
    with pytest.raises(HaigoError, match="lies outside"):
        MMapReader(tmp_path / "v")


def test_documents_too_short_to_be_laid_out_are_named() -> None:
    ones = phase_order.Ranges(np.arange(41), np.ones(41, dtype=np.int64))
    with pytest.raises(HaigoError, match="too short"):
        phase_order.view(ones, 0, 10, 12, 4, 1, 100)
