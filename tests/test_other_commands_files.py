"""What one command made is not replaced by another: its journal line says which command that was."""

import json
from pathlib import Path

import pytest

from haigo import cli, files
from launch import deepspeed_env, hostfile
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


def test_a_folder_that_is_emptied_holds_nothing_of_another_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`clean/train`, `model`, the folder of --force: what lies there under any name would go with it."""
    monkeypatch.chdir(tmp_path)
    with cli.acting("preprocess.fetch"):
        for name in ("00000.jsonl.zst", "DATA_CARD.json"):
            files.write_text(tmp_path / "wiki" / "train" / name, "fetched")
    Path("raw.jsonl").write_text(json.dumps({"text": "文書の番号である。" * 9}) + "\n", encoding="utf-8")
    words = ["raw.jsonl", "--corpus", "wiki", "--min-chars", "1", "--output-dir", "wiki"]
    before = _texts(tmp_path)
    assert cli.run(clean.main, words) == cli.REFUSED
    assert "was made by preprocess.fetch" in capsys.readouterr().err and _texts(tmp_path) == before


def test_lists_and_settings_of_the_launcher_replace_no_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.run(design.main, ["--corpora", "news,talk", "--runs", "4", "--output", "ratios.csv"]) == cli.OK
    before = _texts(tmp_path)
    words = ["ratios.csv", "--from", "node[1-2]", "--gpus-per-node", "4"]
    for command, given in ((hostfile.main, words), (deepspeed_env.main, ["ratios.csv", "--names", "HOME"])):
        assert cli.run(command, given) == cli.REFUSED
        assert "ratios.csv was made by mixer.design" in capsys.readouterr().err and _texts(tmp_path) == before
