"""What one command made is not replaced by another: its journal line says which command that was."""

import json
from pathlib import Path

import pytest

from haigo import cli
from mixer import design
from preprocess import clean, dedup, sample


def _texts(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file() and ".haigo" not in path.name}


def test_an_output_of_another_command_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [json.dumps({"id": str(n), "text": f"文書の番号は{n}である。" * 9}, ensure_ascii=False) for n in range(30)]
    Path("raw.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
    cleaned = ["raw.jsonl", "--corpus", "news", "--min-chars", "1", "--output-dir", "clean/news"]
    deduped = ["clean/news", "--method", "exact", "--output-dir", "dedup"]
    assert cli.run(clean.main, cleaned) == cli.run(dedup.main, deduped) == cli.OK
    before = _texts(tmp_path)
    for command, words in (
        (sample.main, "dedup/news --characters 500 --output-dir clean"),
        (clean.main, "raw.jsonl --corpus news --min-chars 1 --output-dir dedup/news"),
        (design.main, "--corpora news,talk --runs 8 --output clean/news/clean.json"),
    ):
        assert cli.run(command, words.split()) == cli.REFUSED
        assert "clean.json was made by preprocess." in capsys.readouterr().err
        assert _texts(tmp_path) == before
    # the same command goes on replacing its own, with other options too
    assert cli.run(clean.main, [*cleaned, "--seed", "5"]) == cli.run(dedup.main, [*deduped, "--seed", "5"]) == cli.OK
    assert cli.verb is None
