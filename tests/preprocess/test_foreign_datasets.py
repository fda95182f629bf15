"""Datasets that GPT-NeoX or Megatron-LM made: no manifest, other types, a lost document index, modes, other ids."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest

from haigo import cli
from haigo.formats.dataset import ids
from haigo.formats.dataset.indexed import MMapReader
from preprocess import inspect
from tests.conftest import shared

CODES = {"uint8": 1, "int8": 2, "int16": 3, "int32": 4, "int64": 5, "float32": 6, "float64": 7, "uint16": 8}


def foreign(
    prefix: Path,
    rows: list[list[int]],
    kind: str = "uint16",
    *,
    version: int = 1,
    documents: list[int] | None = None,
    modes: bool = False,
    code: int | None = None,
) -> Path:
    """As other programs write it, byte by byte."""
    sizes = [len(row) for row in rows]
    width = np.dtype(kind).itemsize
    starts = [sum(sizes[:index]) * width for index in range(len(sizes))]
    ends = list(range(len(rows) + 1)) if documents is None else documents
    index = b"MMIDIDX\0\0" + struct.pack("<QBQQ", version, code or CODES[kind], len(sizes), len(ends))
    index += np.array(sizes, "<i4").tobytes() + np.array(starts, "<i8").tobytes() + np.array(ends, "<i8").tobytes()
    index += bytes(len(sizes)) if modes else b""
    Path(f"{prefix}.idx").write_bytes(index)
    Path(f"{prefix}.bin").write_bytes(np.array([token for row in rows for token in row], kind).tobytes())
    return prefix


def run(*words: object) -> int:
    return cli.run(inspect.main, [str(word) for word in words])


@pytest.mark.parametrize("kind", [kind for kind in CODES if not kind.startswith("float")])
def test_every_whole_number_type_is_read(tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    prefix = foreign(tmp_path / "x", [[1, 2, 99], [5, 0]], kind)
    assert run(prefix, "--verify", "--json") == 0
    (told,) = json.loads(capsys.readouterr().out)
    assert (told["tokens"], told["documents"], told["least_id"], told["most_id"]) == (5, 2, 0, 99)
    assert told["verified"] and told["dtype"] == kind


@pytest.mark.parametrize("documents", [[0], [], [0, 1], [0, 5]])
def test_a_lost_document_index_is_a_remark(
    tmp_path: Path, documents: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    prefix = foreign(tmp_path / "x", [[1, 2], [3]], documents=documents)
    assert run(prefix, "--verify", "--sample", "1") == 0
    said = capsys.readouterr().out
    assert "document index" in said and "2 documents" in said


def test_modes_and_another_version_are_read_and_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(foreign(tmp_path / "m", [[1, 2]], modes=True), "--verify") == 0
    assert run(foreign(tmp_path / "v", [[1, 2]], version=2), "--verify") == 0
    assert "GPT-NeoX reads version 1 only" in capsys.readouterr().out
    assert run(foreign(tmp_path / "w", [[1, 2]], version=3), "--verify") == cli.BAD_INPUT


def test_floating_point_values_are_no_tokens(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The codes of the two types are each other's in GPT-NeoX and Megatron-LM."""
    for kind, code in (("float32", 6), ("float32", 7), ("float64", 7), ("float64", 6)):
        prefix = foreign(tmp_path / f"{kind}{code}", [[1, 2, 3]], kind, code=code)
        assert run(prefix) == 0
        assert f"it holds {kind} values, no tokens" in capsys.readouterr().out
        with pytest.raises(cli.HaigoError, match="no tokens"):
            MMapReader(prefix).of_tokens()


def test_an_id_outside_is_named_with_its_place(tmp_path: Path) -> None:
    prefix = foreign(tmp_path / "x", [[1, 2, 3], [4, 300, 5], [301]], "int32")
    found = ids.outside(MMapReader(prefix), 300)
    assert found is not None and (found.value, found.position, found.sequence, found.offset) == (300, 4, 1, 1)
    assert ids.outside(MMapReader(prefix), 302) is None
    with pytest.raises(cli.Refused, match=r"x\.bin holds the id 300 \(token 1 of sequence 1\), and T has 300 pieces"):
        ids.require_inside(prefix, 300, "T")
    foreign(tmp_path / "x", [[1, 2, 3], [4, 100000, 5]], "int32")  # the same name, other tokens
    with pytest.raises(cli.Refused, match="holds the id 100,000"):
        ids.require_inside(prefix, 300, "T")


def test_a_number_below_0_is_refused_and_a_mask_is_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(foreign(tmp_path / "labels", [[-100, 7]], "int32"), "--verify") == 0
    assert run(foreign(tmp_path / "bad", [[1, -7]], "int32"), "--verify") == cli.REFUSED
    assert "holds the id -7 (token 1 of sequence 0)" in capsys.readouterr().err
    assert ids.outside(MMapReader(tmp_path / "labels"), 10, labels=True) is None
    assert ids.outside(MMapReader(tmp_path / "labels"), 10) is not None


@pytest.mark.parametrize("name", ["big", "modes", "v2"])
def test_the_tried_datasets(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    prefix = shared() / "cases" / "dataset" / name
    if not Path(f"{prefix}.idx").is_file():
        pytest.skip("no shared cases")
    assert run(prefix, "--verify") == 0
    assert f"ids 1 to {'50,256' if name == 'big' else '3,997'}" in capsys.readouterr().out
