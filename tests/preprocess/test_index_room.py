"""The disk that preprocess.index says it takes, against what it took; and what is refused for want of it."""

import gzip
import json
import os
import random

import pytest
import zstandard

from haigo import cli
from preprocess import index, index_room


def text(rng):
    return "".join(rng.choices("日本の山は雨である質問。", k=rng.randrange(60, 2000)))


def body(count, seed=1):
    rng = random.Random(seed)
    return "".join(json.dumps({"id": "x", "text": text(rng)}, ensure_ascii=False) + "\n" for _ in range(count)).encode()


@pytest.mark.parametrize("kind", ["plain", "gz", "zst", "txt", "many"])
def test_what_is_said_is_what_it_takes(kind, model_dir, tmp_path, capfd, monkeypatch):
    content = body(1500)
    pack = {"gz": gzip.compress, "zst": zstandard.ZstdCompressor().compress}.get(kind, bytes)
    (tmp_path / "raw").mkdir()
    for number in range(20 if kind == "many" else 1):
        name = "a.txt" if kind == "txt" else f"{number}.jsonl{'' if kind in ('plain', 'many') else '.' + kind}"
        part = body(70, seed=number) if kind == "many" else content
        if kind == "txt":
            part = "\n\n\n".join(json.loads(line)["text"] for line in content.splitlines()).encode()
        (tmp_path / "raw" / name).write_bytes(pack(part))
    said = []
    real = index_room.require
    monkeypatch.setattr(index_room, "require", lambda *given: said.append(real(*given)) or said[-1])
    index.index([tmp_path / "raw"], model_dir, tmp_path / "out" / "d")
    took = 2 * sum(os.path.getsize(tmp_path / "out" / f"d_text_document.{end}") for end in ("bin", "idx"))
    assert 0.85 * took < said[0] < 1.2 * took
    assert "index d_text_document: up to about " in capfd.readouterr().err


def test_no_room_is_said_before_anything_is_written(model_dir, tmp_path, monkeypatch, capsys):
    (tmp_path / "a.jsonl").write_bytes(body(50))
    monkeypatch.setattr(index_room, "_INDEX_BYTES", 1 << 50)
    words = [str(tmp_path / "a.jsonl"), "--tokenizer", str(model_dir), "--output-prefix", str(tmp_path / "out" / "d")]
    assert cli.run(index.main, words) == cli.BAD_INPUT
    said = capsys.readouterr().err
    assert "the dataset d_text_document with its shards needs about" in said and "fix: free some space" in said
    assert not list(tmp_path.glob("out/*.bin")) and not list(tmp_path.glob("out/.*parts/*.bin"))


def test_a_damaged_beginning_is_left_to_the_reader(model_dir, tmp_path, capsys):
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(body(5))[:40])
    words = [
        str(tmp_path / "a.jsonl.gz"),
        "--tokenizer",
        str(model_dir),
        "--output-prefix",
        str(tmp_path / "out" / "d"),
    ]
    assert cli.run(index.main, words) == cli.BAD_INPUT
    assert "a.jsonl.gz is cut short or damaged" in capsys.readouterr().err
