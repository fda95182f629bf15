"""The .bin/.idx format: byte for byte, and every way in which a file can be wrong."""

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from haigo import files
from haigo.cli import HaigoError
from haigo.formats.dataset.indexed import MMapReader, MMapWriter, bin_path, idx_path, merge, token_dtype


def write(prefix, documents, dtype=np.uint16):
    with MMapWriter(prefix, dtype) as writer:
        for document in documents:
            writer.add(document)
            writer.end_document()


def test_the_bytes_of_a_small_dataset(tmp_path):
    write(tmp_path / "x", [[1, 2, 3], [], [65535]])
    assert bin_path(tmp_path / "x").read_bytes() == struct.pack("<4H", 1, 2, 3, 65535)
    expected = b"MMIDIDX\0\0" + struct.pack("<QBQQ", 1, 8, 2, 4)
    expected += struct.pack("<2i", 3, 1) + struct.pack("<2q", 0, 6) + struct.pack("<4q", 0, 1, 1, 2)
    assert idx_path(tmp_path / "x").read_bytes() == expected


@settings(max_examples=60, deadline=None)
@given(
    documents=st.lists(st.lists(st.integers(0, 2**31 - 1), max_size=30), max_size=30),
    wide=st.booleans(),
)
def test_what_is_written_is_read_back(tmp_path_factory, documents, wide):
    dtype = np.int32 if wide else np.uint16
    documents = [[token if wide else token % 65500 for token in document] for document in documents]
    prefix = tmp_path_factory.mktemp("idx") / "a.b"
    write(prefix, documents, dtype)
    reader = MMapReader(prefix)
    assert reader.dtype == dtype and reader.documents == len(documents) and not reader.problems()
    full = [document for document in documents if document]
    assert [list(sequence) for sequence in reader] == full and len(reader) == len(full)
    assert list(reader.tokens) == [token for document in full for token in document]
    for number, document in enumerate(full):
        assert list(reader.get(number, 1, 2)) == document[1:3]


@settings(max_examples=30, deadline=None)
@given(parts=st.lists(st.lists(st.lists(st.integers(0, 99), max_size=5), max_size=6), min_size=1, max_size=4))
def test_merging_is_the_same_as_writing_at_once(tmp_path_factory, parts):
    folder = tmp_path_factory.mktemp("merge")
    for number, part in enumerate(parts):
        write(folder / str(number), part)
    merge([folder / str(number) for number in range(len(parts))], folder / "merged")
    write(folder / "whole", [document for part in parts for document in part])
    for path in (bin_path, idx_path):
        assert path(folder / "merged").read_bytes() == path(folder / "whole").read_bytes()
    assert MMapReader(folder / "merged").doc_idx[-1] == sum(bool(document) for part in parts for document in part)


def test_dtypes_must_agree_to_be_merged(tmp_path):
    write(tmp_path / "a", [[1]])
    write(tmp_path / "b", [[1]], np.int32)
    with pytest.raises(HaigoError, match="int32"):
        merge([tmp_path / "a", tmp_path / "b"], tmp_path / "c")
    assert not bin_path(tmp_path / "c").exists() and not (tmp_path / files.SCRATCH).exists()


@pytest.mark.parametrize(("pieces", "dtype"), [(65499, np.uint16), (65500, np.int32), (50000, np.uint16)])
def test_the_token_type_changes_where_gpt_neox_changes_it(pieces, dtype):
    assert token_dtype(pieces) == dtype


def test_a_failed_write_leaves_the_old_dataset(tmp_path):
    write(tmp_path / "x", [[1, 2]])
    before = idx_path(tmp_path / "x").read_bytes()
    with pytest.raises(RuntimeError), MMapWriter(tmp_path / "x", np.uint16) as writer:
        writer.add([9])
        raise RuntimeError
    assert idx_path(tmp_path / "x").read_bytes() == before and list(MMapReader(tmp_path / "x")[0]) == [1, 2]
    assert {path.name for path in tmp_path.iterdir()} == {"x.bin", "x.idx", files.JOURNAL}


@pytest.mark.parametrize("change", [-1, -2, 2])
def test_a_bin_of_the_wrong_size_is_refused(tmp_path, change):
    write(tmp_path / "x", [[1, 2, 3]])
    raw = bin_path(tmp_path / "x").read_bytes()
    bin_path(tmp_path / "x").write_bytes(raw[:change] if change < 0 else raw + b"\0" * change)
    with pytest.raises(HaigoError, match=r"x\.bin has .* its index asks for 6: it is (cut short|too long)"):
        MMapReader(tmp_path / "x")


@pytest.mark.parametrize("keep", [0, 5, 20, 34, 40, -1])
def test_a_cut_index_is_refused(tmp_path, keep):
    write(tmp_path / "x", [[1, 2, 3], [4]])
    raw = idx_path(tmp_path / "x").read_bytes()
    idx_path(tmp_path / "x").write_bytes(raw[:keep])
    with pytest.raises(HaigoError, match=r"x\.idx"):
        MMapReader(tmp_path / "x")


def test_a_foreign_file_is_refused(tmp_path):
    write(tmp_path / "x", [[1]])
    idx_path(tmp_path / "x").write_bytes(b"TNTIDX\0\0" + bytes(100))
    with pytest.raises(HaigoError, match="is not an index of GPT-NeoX's mmap format"):
        MMapReader(tmp_path / "x")
    with pytest.raises(HaigoError, match="does not exist") as caught:
        MMapReader(tmp_path / "x.bin")
    assert "without .bin" in caught.value.fix


def test_a_lost_document_index_is_found(tmp_path):
    """What GPT-NeoX's own merge tool leaves behind."""
    write(tmp_path / "x", [[1], [2]])
    raw = idx_path(tmp_path / "x").read_bytes()
    lost = raw[:26] + struct.pack("<Q", 1) + raw[34 : 34 + 24] + struct.pack("<q", 0)
    idx_path(tmp_path / "x").write_bytes(lost)
    assert MMapReader(tmp_path / "x").problems() == ["the document index ends at 0, not at 2 sequences"]
