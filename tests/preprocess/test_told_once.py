"""What a step does as asked, and says in a line because nobody may have meant it."""

import json
import shutil
from pathlib import Path

import pytest
import zstandard

from haigo import cli
from haigo.formats import tokenizer
from preprocess import clean, decontaminate, dedup, index, pairs, sample, tokenizer_folder
from preprocess import tokenizer as token


def rows(count: int) -> str:
    return "".join(
        json.dumps({"text": f"文書の番号は{n}である。" * 9}, ensure_ascii=False) + "\n" for n in range(count)
    )


def test_inputs_that_hold_the_same_bytes(model_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "one.jsonl").write_text(rows(5), encoding="utf-8")
    (tmp_path / "a" / "none.jsonl").touch()
    words = ["--tokenizer", str(model_dir), "--output-prefix", str(tmp_path / "out" / "x")]
    assert cli.run(index.main, [str(tmp_path / "a"), *words]) == 0 and "same bytes" not in capsys.readouterr().err
    shutil.copy(tmp_path / "a" / "one.jsonl", tmp_path / "a" / "two.jsonl")
    shutil.copy(tmp_path / "a" / "none.jsonl", tmp_path / "a" / "nothing.jsonl")
    for given in ([str(tmp_path / "a")], [str(tmp_path / "a" / "one.jsonl")] * 2):
        assert cli.run(index.main, [*given, *words]) == 0
        assert "one.jsonl hold the same bytes" in capsys.readouterr().err.replace("two.jsonl", "one.jsonl")
    (tmp_path / "chat.jsonl").write_text('{"prompt": "問い", "response": "答え"}\n', encoding="utf-8")
    words[-1] = str(tmp_path / "out" / "y")
    assert cli.run(pairs.main, [str(tmp_path / "chat.jsonl")] * 2 + words) == 0
    assert "chat.jsonl hold the same bytes: their documents count twice" in capsys.readouterr().err


def test_a_cleaned_corpus_that_lost_documents(
    model_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "raw.jsonl").write_text(rows(60), encoding="utf-8")
    corpus = tmp_path / "clean" / "news"
    words = [str(tmp_path / "raw.jsonl"), "--corpus", "news", "--min-chars", "1", "--output-dir", str(corpus)]
    assert cli.run(clean.main, words) == 0
    (tmp_path / "qa.jsonl").write_text(rows(1), encoding="utf-8")
    commands = {
        "dedup": (dedup.main, ["--method", "exact"]),
        "decontaminate": (decontaminate.main, ["--against", str(tmp_path / "qa.jsonl")]),
        "sample": (sample.main, ["--characters", "500"]),
    }
    for name, (main, more) in commands.items():
        assert cli.run(main, [str(corpus), *more, "--output-dir", str(tmp_path / "whole" / name)]) == 0
        assert "was changed since" not in capsys.readouterr().err
    (shard,) = (corpus / "train").glob("*.zst")
    whole = zstandard.ZstdDecompressor().stream_reader(shard.read_bytes()).read().splitlines(True)
    shard.write_bytes(zstandard.ZstdCompressor().compress(b"".join(whole[:9])))
    for name, (main, more) in commands.items():
        assert cli.run(main, [str(corpus), *more, "--output-dir", str(tmp_path / "torn" / name)]) == 0
        told = f"news/train holds 9 documents, and clean.json counts {len(whole)}: it was changed since."
        assert told in capsys.readouterr().err
    for main, more in (commands["dedup"], commands["decontaminate"]):
        assert cli.run(main, [str(corpus), *more, "--dry-run"]) == 0
        assert told in capsys.readouterr().err
    tokenizer_folder.check(tokenizer.load(model_dir), corpus, "news", strict=False)
    assert capsys.readouterr().err.count(told) == 1


@pytest.mark.parametrize(
    ("main", "words", "option"),
    [
        (dedup.main, "c --dry-run --method exact --threshold 0.5", "--threshold"),
        (pairs.main, "p.jsonl --tokenizer t --output-prefix o --format chat --prompt-key q", "--prompt-key"),
        (pairs.main, "p.jsonl --tokenizer t --output-prefix o --format pairs --only-last", "--only-last"),
        (token.main, "c --output-dir o --adopt m --vocab-size 300", "--vocab-size"),
        (token.main, "c --output-dir o --adopt m --model-type bpe", "--model-type"),
        (token.main, "c --output-dir o --sample s --chars-per-corpus 5e5", "--chars-per-corpus"),
    ],
)
def test_options_without_effect_are_named(main, words, option, capsys):
    assert cli.run(main, words.split()) == cli.BAD_INPUT
    assert f"{option} has no effect with --" in capsys.readouterr().err
