"""Whether a dataset belongs to a tokenizer, and what it is known by: one rule for every command."""

from __future__ import annotations

import numpy as np
import pytest

from haigo import files
from haigo.cli import HaigoError, Refused
from haigo.formats.dataset import belongs, manifest
from haigo.formats.dataset.belongs import Pieces
from haigo.formats.dataset.indexed import MMapWriter, bin_path, idx_path
from haigo.formats.tokenizer import load
from tests.preprocess import hand_model


@pytest.fixture
def model(tmp_path):
    (tmp_path / "spm.model").write_bytes(hand_model.model())
    return load(tmp_path / "spm.model")


def dataset(prefix, rows, dtype=np.uint16, **about):
    with MMapWriter(prefix, dtype) as writer:
        for row in rows:
            writer.add(row)
            writer.end_document()
    if about:
        manifest.write(prefix, {"tokens": sum(map(len, rows)), **manifest.sums(prefix), **about})
    return prefix


def test_what_the_manifest_says_counts(model, tmp_path):
    own = {"tokenizer_sha256": model.sha256, "vocab_size": model.vocab_size}
    belongs.require(dataset(tmp_path / "own", [[1, 2]], **own), model)
    with pytest.raises(Refused, match=r"other\.bin was made with another tokenizer \(000000000000\)"):
        belongs.require(dataset(tmp_path / "other", [[1, 2]], **{**own, "tokenizer_sha256": "0" * 64}), model)
    with pytest.raises(Refused, match=rf"size\.bin has a vocabulary of 7, and .* has {model.vocab_size}"):
        belongs.require(dataset(tmp_path / "size", [[1, 2]], **{**own, "vocab_size": 7}), model)


@pytest.mark.parametrize("about", [{}, {"tool": "x"}, {"tokenizer_sha256": None, "vocab_size": None}])
def test_what_nobody_checked_is_read(model, tmp_path, about):
    size = model.vocab_size
    belongs.require(dataset(tmp_path / "inside", [[1, 2], [size - 1]], **about), model)
    with pytest.raises(Refused, match=rf"holds the id {size} \(token 1 of sequence 1\)"):
        belongs.require(dataset(tmp_path / "beyond", [[1, 2], [5, size]], **about), model)


def test_a_type_that_is_too_narrow_and_labels(tmp_path):
    prefix = dataset(tmp_path / "narrow", [[1, 2]])
    with pytest.raises(Refused, match="holds uint16, and a vocabulary of 70,000 is stored as int32"):
        belongs.require(prefix, Pieces("some tokenizer", 70_000))
    labels = dataset(tmp_path / "labels", [[-100, 2]], np.int32)
    belongs.require(labels, Pieces("some tokenizer", 70_000), labels=True)
    with pytest.raises(Refused, match="holds the id -100"):
        belongs.require(labels, Pieces("some tokenizer", 70_000))
    with pytest.raises(HaigoError, match="does not exist"):
        belongs.require(tmp_path / "none", Pieces("some tokenizer", 70_000))


def test_what_a_dataset_is_known_by(tmp_path):
    """Run records and what may be used again hold these: they are as earlier versions wrote them."""
    noted, bare = dataset(tmp_path / "noted", [[1, 2]], tool="x"), dataset(tmp_path / "bare", [[1, 2]])
    digest = files.sha256_file(bin_path(noted))
    assert manifest.brief(noted) == digest and manifest.fingerprint(noted) == files.digest([digest, 4])
    assert manifest.brief(bare) == f"{files.sha256_file(idx_path(bare))}+4"
    tokens = bin_path(bare).read_bytes().hex()
    assert manifest.fingerprint(bare) == files.digest([files.sha256_file(idx_path(bare)), 4, tokens, tokens])
    bin_path(noted).write_bytes(b"\1\0\3\0")
    for known_by in (manifest.brief, manifest.fingerprint):
        with pytest.raises(Refused, match="was changed since the dataset was made"):
            known_by(noted)
    with pytest.raises(HaigoError, match=r"bare\.json does not exist"):
        manifest.read(bare)
