"""launch.samples: text is shown only by the tokenizer that made the dataset."""

import json

import numpy as np
import pytest
from damage import flip
from shared_data import data_of

from haigo import cli, memory
from haigo.formats.dataset import manifest
from haigo.formats.dataset.indexed import MMapWriter
from launch import samples

DATA = data_of(__file__)


def made(folder, manifest):
    with MMapWriter(folder / "d", np.uint16) as writer:
        for number in range(40):
            writer.add(np.full(20, 60_000 + number))
            writer.end_document()
    if manifest:
        (folder / "d.json").write_text(json.dumps({"tokens": 800, "tokenizer_sha256": "0" * 64}))
    config = {
        **{f"{part}_data_paths": [str(folder / "d")] for part in ("train", "valid", "test")},
        **{f"{part}_data_weights": [1.0] for part in ("train", "valid", "test")},
        "seq_length": 8,
        "train_iters": 4,
        "train_micro_batch_size_per_gpu": 2,
        "gradient_accumulation_steps": 1,
        "data_impl": "mmap",
        "eval_interval": 4,
        "eval_iters": 1,
        "num_layers": 1,
        "hidden_size": 8,
    }
    (folder / "c.yml").write_text(json.dumps(config | {"num_attention_heads": 1, "max_position_embeddings": 8}))
    return folder / "c.yml"


def test_another_tokenizer_is_refused_with_and_without_a_manifest(tmp_path, capsys):
    import io

    import sentencepiece

    model = io.BytesIO()
    lines = [f"line {number} of some text" for number in range(200)]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_writer=model, vocab_size=30, eos_piece="<|endoftext|>", minloglevel=2
    )
    (tmp_path / "spm.model").write_bytes(model.getvalue())
    for stated, sentence in ((True, "was made with another tokenizer"), (False, "the samples hold the id 60,0")):
        folder = tmp_path / str(stated)
        folder.mkdir()
        words = [str(made(folder, stated)), "--first", "3"]
        assert cli.run(samples.main, words) == 0
        assert cli.run(samples.main, [*words, "--tokenizer", str(tmp_path / "spm.model")]) == 3
        assert sentence in capsys.readouterr().err


def test_a_changed_dataset_is_named(tmp_path, capsys):
    """Its samples are shown, since that is asked for, but nobody takes them for those of the run unwarned."""
    config = made(tmp_path, manifest=False)
    manifest.write(tmp_path / "d", {"tokens": 800, **manifest.sums(tmp_path / "d")})
    assert cli.run(samples.main, [str(config), "--first", "3"]) == 0 and not capsys.readouterr().err
    flip(tmp_path / "d.bin")
    assert cli.run(samples.main, [str(config), "--first", "3"]) == 0
    assert "d.bin was changed since the dataset was made" in capsys.readouterr().err


@pytest.mark.parametrize(("key", "value"), DATA["what_no_order_can_be_computed_of_is_named"])
def test_what_no_order_can_be_computed_of_is_named(tmp_path, capsys, key, value):
    config = made(tmp_path, True)
    config.write_text(json.dumps({**json.loads(config.read_text()), key: value}))
    assert cli.run(samples.main, [str(config), "--first", "3"]) == 2
    err = capsys.readouterr().err
    assert key in err and "fix:" in err and len(err) < 600


def test_more_samples_than_memory_holds(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(memory, "available", lambda: 10_000)
    assert cli.run(samples.main, [str(made(tmp_path, True)), "--first", "1000"]) == 2
    assert "--first" in capsys.readouterr().err
