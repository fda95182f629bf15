"""What an earlier version made, which kept no journal, is taken over; a user's file under our name is told before the work."""

import importlib
import json
import random

import pytest

from haigo import cli, files

CLEAN = "--min-chars 1 --split 0.6,0.2,0.2"
STEPS = {
    "clean/news": f"preprocess.clean news.jsonl --corpus news {CLEAN} --output-dir clean/news",
    "clean/talk": f"preprocess.clean talk.jsonl --corpus talk {CLEAN} --output-dir clean/talk",
    "dedup": "preprocess.dedup clean/news clean/talk --method exact --output-dir dedup",
    "final": "preprocess.decontaminate clean/news clean/talk --against qa.jsonl --output-dir final",
    "sample": "preprocess.sample clean/news clean/talk --characters 2000 --output-dir sample",
    "tok": "preprocess.tokenizer clean/news clean/talk --vocab-size 300 --output-dir tok",
    "data": "preprocess.index clean/news/train --tokenizer tok --output-prefix data/train",
    "chat": "preprocess.pairs chat.jsonl --tokenizer tok --output-prefix chat/chat",
}
NAMES = {
    "dedup": ["dedup.json"], "final": ["decontaminate.json", "contaminated.jsonl", "contaminated/qa.jsonl"],
    "sample": ["sample.json", "news/clean.json"], "data": ["train_text_document.idx"],
    "chat": ["chat_text_label_document.json"],
}  # fmt: skip


def call(words):
    verb, *rest = words.split()
    return cli.run(importlib.import_module(verb).main, rest)


def look(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in (files.JOURNAL, files.LOCK)
    }


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    root, rng = tmp_path_factory.mktemp("house"), random.Random(2)

    def text():
        return "".join(
            "".join(rng.choices("あいうえおかきくけこ日本国会議新聞記事東西南北", k=20)) + "。" for _ in range(5)
        )

    for name in ("news", "talk", "qa"):
        rows = [{"id": f"{name}{n}", "text": text()} for n in range(60)]
        (root / f"{name}.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    (root / "chat.jsonl").write_text(
        "".join(json.dumps({"prompt": text(), "response": text()}) + "\n" for _ in range(9))
    )
    return root


def test_outputs_without_a_journal_are_taken_over(house, monkeypatch, capsys):
    monkeypatch.chdir(house)
    for words in STEPS.values():
        assert call(words) == 0, capsys.readouterr().err
    before = look(house)
    for out, words in STEPS.items():
        (house / out / "mine.txt").write_text("mine")
        for name in (files.JOURNAL, files.LOCK):
            for note in sorted((house / out).rglob(name)):
                note.unlink()
        assert call(words) == 0, f"{out}: {capsys.readouterr().err}"
        assert not files.made(house / out / "mine.txt")
        (house / out / "mine.txt").unlink()
    assert look(house) == before


@pytest.mark.parametrize(("out", "name"), [(out, name) for out, names in NAMES.items() for name in names])
def test_a_users_file_under_a_name_of_ours_is_told_before_anything_is_written(house, monkeypatch, capsys, out, name):
    monkeypatch.chdir(house)
    if not (house / "tok").exists():
        test_outputs_without_a_journal_are_taken_over(house, monkeypatch, capsys)
    mine = house / "mine" / out / name
    mine.parent.mkdir(parents=True, exist_ok=True)
    mine.write_text('{"tool": "mine"}')
    before = look(house)
    words = STEPS[out].rsplit(out, 1) if out != "chat" else STEPS[out].rsplit("chat/", 1)
    assert call(f"mine/{out}".join(words) if out != "chat" else f"mine/{out}/".join(words)) == cli.REFUSED
    assert name in capsys.readouterr().err and look(house) == before
    mine.unlink()


@pytest.mark.parametrize("step", ["clean/news", "dedup", "final"])
def test_what_an_earlier_version_had_in_the_making_does_not_stand_in_the_way(house, monkeypatch, capsys, step):
    monkeypatch.chdir(house)
    if not (house / "tok").exists():
        test_outputs_without_a_journal_are_taken_over(house, monkeypatch, capsys)
    out = house / "killed" / step
    for name in ("train/00000.jsonl.zst", "news/train/00000.jsonl.zst", "news/train/mine.txt", "train/mine.txt"):
        (out / ".partial" / name).parent.mkdir(parents=True, exist_ok=True)
        (out / ".partial" / name).write_text("half")
    words = f"killed/{step}".join(STEPS[step].rsplit(step, 1))
    # no lock of ours: no proof; deduplication writes its shards in their own places, and what lies there does not concern it
    assert call(words) == (cli.OK if step == "dedup" else cli.REFUSED)
    (out / ".lock").write_text("pid 12345")
    assert call(words) == 0, capsys.readouterr().err
    assert sorted(path.name for path in (out / ".partial").rglob("*") if path.is_file() and path.name != files.JOURNAL) == [
        "mine.txt", "mine.txt"]  # fmt: skip
