"""Datasets described and verified; another vocabulary is refused."""

import json

import hand_model
import numpy as np
import pytest

from haigo import cli
from haigo.cli import HaigoError, Refused
from haigo.formats.dataset import belongs
from preprocess import index, inspect, tokenizer


@pytest.fixture
def dataset(model_dir, tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in hand_model.TEXTS), encoding="utf-8")
    index.index([path], model_dir, tmp_path / "o")
    return tmp_path / "o_text_document"


def run(*words):
    return cli.run(inspect.main, [str(word) for word in words])


def test_a_sound_dataset(dataset, model_dir, capsys):
    assert inspect.verify(dataset) == []
    assert run(dataset, "--verify", "--sample", "2", "--tokenizer", model_dir, "--json") == 0
    (about,) = json.loads(capsys.readouterr().out)
    assert about["documents"] == len(hand_model.TEXTS) and about["verified"] and about["dtype"] == "uint16"
    assert [row["sequence"] for row in about["samples"]] == [0, len(hand_model.TEXTS) - 1]
    assert about["samples"][0]["text"] == hand_model.TEXTS[0] and about["samples"][0]["ends_with_eod"]
    assert run(f"{dataset}.bin") == 0  # forgiven
    assert "verified" not in capsys.readouterr().out


def test_a_changed_token_is_found(dataset, capsys):
    raw = np.memmap(f"{dataset}.bin", dtype=np.uint16, mode="r+")
    raw[3] += 1
    raw.flush()
    assert run(dataset) == 0 and run(dataset, "--verify") == cli.REFUSED
    assert ".bin is not the file that the manifest describes" in capsys.readouterr().err
    raw[3] = 60000
    raw.flush()
    assert any("outside the vocabulary" in problem for problem in inspect.verify(dataset))


def test_a_cut_file_and_a_missing_manifest(dataset, capsys):
    raw = dataset.with_name(dataset.name + ".bin").read_bytes()
    dataset.with_name(dataset.name + ".bin").write_bytes(raw[:-2])
    assert run(dataset, "--verify") == cli.BAD_INPUT
    assert "it is cut short" in capsys.readouterr().err
    dataset.with_name(dataset.name + ".bin").write_bytes(raw)
    dataset.with_name(dataset.name + ".json").unlink()
    assert run(dataset) == 0 and run(dataset, "--verify") == 0
    assert "no manifest: made by another program" in capsys.readouterr().out
    dataset.with_name(dataset.name + ".json").write_text("[]", encoding="utf-8")
    with pytest.raises(HaigoError, match="is not the manifest of a dataset"):
        inspect.verify(dataset)


def test_another_vocabulary_is_refused(dataset, tmp_path, capsys):
    hand_model_two = hand_model.model() + hand_model.piece("国", -3.0, 1)
    (tmp_path / "other.model").write_bytes(hand_model_two)
    assert run(dataset, "--tokenizer", tmp_path / "other.model") == cli.REFUSED
    assert "was made with another tokenizer" in capsys.readouterr().err
    with pytest.raises(Refused):
        belongs.require(dataset, tokenizer.load(tmp_path / "other.model"))
