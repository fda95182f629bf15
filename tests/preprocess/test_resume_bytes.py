"""Text verbs that skip finished work skip it by its bytes: a changed one is named, and what is made again is as it was."""

import json
import shutil

import pytest
from damage import flip

from haigo import cli, files
from preprocess import clean, dedup, index, sample, scale_steps, tokenizer
from preprocess.fetch import card


def texts(path, count, first=0):
    rows = [
        {"id": str(n), "text": f"第{n}の文書には、{n}番目の話が書いてある。" * 6} for n in range(first, first + count)
    ]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def cleaned(tmp_path):
    source = texts(tmp_path / "raw.jsonl", 60)
    words = [
        str(source),
        "--corpus",
        "news",
        "--output-dir",
        str(tmp_path / "news"),
        "--profile",
        "plain",
        "--min-chars",
        "5",
    ]
    assert cli.run(clean.main, words) == 0
    return tmp_path / "news"


@pytest.mark.parametrize("ending", ["bin", "idx", "json"])
def test_a_changed_dataset_is_named_and_made_again(model_dir, tmp_path, capsys, ending):
    words = [
        str(texts(tmp_path / "a.jsonl", 20)),
        "--tokenizer",
        str(model_dir),
        "--output-prefix",
        str(tmp_path / "o"),
    ]
    assert cli.run(index.main, words) == 0
    path = tmp_path / f"o_text_document.{ending}"
    whole, stamp = path.read_bytes(), path.stat().st_mtime_ns
    assert cli.run(index.main, words) == 0 and path.stat().st_mtime_ns == stamp
    flip(path)
    capsys.readouterr()
    assert cli.run(index.main, words) == 0
    assert str(path) in capsys.readouterr().err and path.read_bytes() == whole


@pytest.mark.parametrize("ending", ["bin", "idx", "json"])
def test_a_changed_shard_of_a_killed_run_is_made_again(model_dir, tmp_path, monkeypatch, ending):
    big = texts(tmp_path / "a.jsonl", 400)
    whole = index.index([big], model_dir, tmp_path / "whole", split_bytes=20_000)
    merge = index.MMapWriter.merge
    monkeypatch.setattr(index.MMapWriter, "merge", lambda self, prefix: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        index.index([big], model_dir, tmp_path / "killed", split_bytes=20_000)
    monkeypatch.setattr(index.MMapWriter, "merge", merge)
    parts = index.parts_folder(index.dataset_prefix(tmp_path / "killed"))
    flip(parts / f"00001.{ending}")
    again = index.index([big], model_dir, tmp_path / "killed", split_bytes=20_000)
    assert (again["bin_sha256"], again["idx_sha256"]) == (whole["bin_sha256"], whole["idx_sha256"])


@pytest.mark.parametrize("name", ["sample.json", "news/train/00000.jsonl.zst", "news/clean.json"])
def test_a_changed_sample_is_named_and_drawn_again(cleaned, tmp_path, capsys, name):
    words = [str(cleaned), "--output-dir", str(tmp_path / "s"), "--characters", "2000"]
    assert cli.run(sample.main, words) == 0
    path = tmp_path / "s" / name
    whole, stamp = path.read_bytes(), (tmp_path / "s" / "sample.json").stat().st_mtime_ns
    assert cli.run(sample.main, words) == 0 and (tmp_path / "s" / "sample.json").stat().st_mtime_ns == stamp
    for harm in (
        lambda: flip(path, whole.index(b"0") if name.endswith("json") else None),
        lambda: path.write_bytes(b"{"),
    ):
        harm()
        capsys.readouterr()
        assert cli.run(sample.main, words) == 0
        assert "the sample is drawn again" in capsys.readouterr().err and path.read_bytes() == whole


def test_changed_sketches_of_a_killed_dedup_are_made_again(cleaned, tmp_path, monkeypatch):
    words = [str(cleaned), "--output-dir"]
    assert cli.run(dedup.main, [*words, str(tmp_path / "whole")]) == 0
    monkeypatch.setattr(dedup.rewrite, "finish", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    assert cli.run(dedup.main, [*words, str(tmp_path / "killed")]) == cli.INTERRUPTED
    monkeypatch.undo()
    sketches = sorted((tmp_path / "killed" / ".partial").glob("sketch-*"))
    assert sketches
    for sketch in sketches:
        flip(sketch)
    assert cli.run(dedup.main, [*words, str(tmp_path / "killed")]) == 0
    for made in (tmp_path / "whole").rglob("*.jsonl.zst"):
        assert made.read_bytes() == (tmp_path / "killed" / made.relative_to(tmp_path / "whole")).read_bytes()


@pytest.mark.parametrize("name", ["00000/train/00000.jsonl.zst", "00000/clean.json", "00000.json"])
def test_a_changed_piece_of_a_scaled_cleaning_is_cleaned_again(tmp_path, capsys, name):
    texts(tmp_path / "a.jsonl", 30)
    step = scale_steps.Clean(
        "news", (str(tmp_path / "a.jsonl"),), str(tmp_path / "out"), {"profile": "plain", "min_chars": 5}
    )
    step()
    path = tmp_path / "out" / "clean" / name
    whole = path.read_bytes()
    step()
    assert "again" not in capsys.readouterr().err
    flip(path)
    step()
    assert "was changed since it was cleaned" in capsys.readouterr().err and path.read_bytes() == whole


def test_a_changed_tokenizer_is_named_by_whoever_uses_it(model_dir, tmp_path, capsys):
    folder = tmp_path / "tokenizer"
    shutil.copytree(model_dir, folder)
    sha256 = files.sha256_file(folder / "spm.model")
    (folder / "meta.json").write_text(json.dumps({"eod_piece": "<|endoftext|>", "sha256": sha256}))
    words = [str(texts(tmp_path / "a.jsonl", 5)), "--tokenizer", str(folder), "--output-prefix", str(tmp_path / "o")]
    assert cli.run(index.main, words) == 0
    (folder / "meta.json").write_text(json.dumps({"eod_piece": "<|endoftext|>", "sha256": "0" * 64}))
    assert cli.run(index.main, words) == cli.REFUSED
    assert f"{folder / 'spm.model'} was changed since the tokenizer was made" in capsys.readouterr().err
    assert tokenizer.load(model_dir).sha256 == sha256


@pytest.mark.parametrize(("key", "value"), [("vocab_size", 50_000), ("eod_id", 7), ("vocab_size", None)])
def test_a_meta_json_of_another_model_is_named(model_dir, tmp_path, capsys, key, value):
    folder = tmp_path / "tokenizer"
    shutil.copytree(model_dir, folder)
    meta = json.loads((folder / "meta.json").read_text()) if (folder / "meta.json").is_file() else {}
    (folder / "meta.json").write_text(json.dumps(meta | {"eod_piece": "<|endoftext|>", key: value}))
    words = [str(texts(tmp_path / "a.jsonl", 5)), "--tokenizer", str(folder), "--output-prefix", str(tmp_path / "o")]
    assert cli.run(index.main, words) == cli.REFUSED
    assert f"{folder / 'meta.json'} says {key} {value}, and spm.model" in capsys.readouterr().err


def test_a_changed_shard_of_a_fetched_folder_is_named(cleaned, tmp_path, capsys):
    folder = tmp_path / "fetched"
    folder.mkdir()
    shutil.copy(cleaned / "train" / "00000.jsonl.zst", folder)
    shard = folder / "00000.jsonl.zst"
    row = {"name": shard.name, "bytes": shard.stat().st_size, "sha256": files.sha256_file(shard)}
    (folder / card.JSON).write_text(json.dumps({"documents": 1, "shards": [row]}))
    assert card.problem([folder], [(shard, shard.name)]) is None
    flip(shard)
    words = [str(folder), "--corpus", "n", "--output-dir", str(tmp_path / "out")]
    assert cli.run(clean.main, words) == cli.BAD_INPUT
    assert f"{shard} was changed since it was fetched" in capsys.readouterr().err
