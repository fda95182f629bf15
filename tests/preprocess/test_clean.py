"""Cleaning: splits that do not move, rules that are accounted for, files that are whole."""

import json
import math
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from haigo import cli
from haigo.cli import HaigoError, Refused
from haigo.formats import documents
from preprocess import clean, rules, split
from preprocess.account import Account
from preprocess.sources import Document

ROOT = Path(__file__).parent.parent.parent
OPTIONS = {"min_chars": 1, "split_shares": (0.6, 0.2, 0.2)}


def corpus(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return [path]


def rows(count, seed=0):
    rng = random.Random(seed)
    return [{"id": f"d{n}", "text": f"文書{n}。" + "".join(rng.choices("山川雨雪京都", k=60))} for n in range(count)]


def where(folder):
    return {
        one.id: name
        for name in documents.SPLITS
        if list((folder / name).iterdir())
        for one in documents.read(folder, name)
    }


def files_of(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.jsonl.zst")}


def test_a_document_keeps_its_split_whatever_comes_with_it(tmp_path):
    base = rows(200)
    clean.clean_corpus("a", corpus(tmp_path / "a.jsonl", base), tmp_path / "a", **OPTIONS)
    shuffled = base + rows(100, 5)[50:]
    for number, row in enumerate(shuffled[200:]):
        row["id"] = f"n{number}"
    random.Random(1).shuffle(shuffled)
    clean.clean_corpus("b", corpus(tmp_path / "b.jsonl", shuffled), tmp_path / "b", **OPTIONS)
    first, second = where(tmp_path / "a"), where(tmp_path / "b")
    assert len(first) == 200 and all(second[name] == place for name, place in first.items())
    share = sum(place == "train" for place in first.values()) / 200
    assert 0.5 < share < 0.7
    clean.clean_corpus("c", corpus(tmp_path / "a.jsonl", base), tmp_path / "c", **(OPTIONS | {"seed": 99}))
    assert where(tmp_path / "c") != first


def test_the_same_input_gives_the_same_bytes(tmp_path):
    paths = corpus(tmp_path / "a.jsonl", rows(50))
    reports = [clean.clean_corpus("a", paths, tmp_path / name, **OPTIONS) for name in ("x", "y", "x")]
    assert reports[0] == reports[1] == reports[2]
    assert files_of(tmp_path / "x") == files_of(tmp_path / "y")
    assert json.loads((tmp_path / "x" / "clean.json").read_text(encoding="utf-8")) == reports[0]


@pytest.mark.parametrize("count", [3, 4, 5, 20])
@pytest.mark.parametrize("seed", range(6))
def test_no_wanted_split_stays_empty(tmp_path, count, seed):
    paths = corpus(tmp_path / "a.jsonl", rows(count))
    report = clean.clean_corpus("a", paths, tmp_path / "o", min_chars=1, seed=seed)
    held = where(tmp_path / "o")
    assert len(held) == count and set(held.values()) == set(documents.SPLITS)
    for name in documents.SPLITS:
        found = list(documents.read(tmp_path / "o", name))
        row = report["splits"][name]
        assert row["documents"] == len(found) and row["characters"] == sum(len(one.text) for one in found)
    assert report["bytes_out"] == sum(row["bytes"] for row in report["splits"].values())


def test_a_split_that_is_not_wanted_stays_empty(tmp_path):
    clean.clean_corpus("a", corpus(tmp_path / "a.jsonl", rows(30)), tmp_path / "o", split_shares=(1, 0, 0))
    assert set(where(tmp_path / "o").values()) == {"train"}
    with pytest.raises(HaigoError, match="no document in its valid split"):
        list(documents.read(tmp_path / "o", "valid"))


@pytest.mark.parametrize(
    "shares", [(0.5, 0.5), (0.9, 0.2, 0.1), (0, 0.5, 0.5), (1.2, -0.1, -0.1), (math.nan, 0, 1), (1, 0, math.nan)]
)
def test_shares_that_make_no_sense(shares):
    with pytest.raises(HaigoError, match="three shares that sum to 1"):
        split.fractions(shares)


def test_every_rule_is_accounted_for(tmp_path):
    given = [
        {"id": "crlf", "text": "一行目\r\n二行目  \r\n\r\n\r\n\r\n三行目"},
        {"id": "bad", "text": "ハーフ\ud83dと▁と\x00と\ufeff印"},
        {"id": "short", "text": "短"},
        {"id": "one", "text": "同じ 文書である"},
        {"id": "two", "text": "同じ\n文書である"},
    ]
    report = clean.clean_corpus("a", corpus(tmp_path / "a.jsonl", given), tmp_path / "o", min_chars=3)
    texts = {one.id: one.text for name in documents.SPLITS for one in documents.read(tmp_path / "o", name)}
    assert texts == {
        "crlf": "一行目\n二行目\n\n三行目",
        "bad": "ハーフとととと印"[:3] + "とと" + "と印",
        "one": "同じ 文書である",
    }
    counted = {name: (row["documents"], row["characters"]) for name, row in report["rules"].items()}
    assert counted == {
        "line_ends": (1, 5), "blanks": (1, 4), "lone_surrogates": (1, 1), "control_characters": (1, 2),
        "u2581": (1, 1), "too_short": (1, 1), "duplicate": (1, 8),
    }  # fmt: skip
    gone = sum(row["characters"] for row in report["rules"].values())
    assert report["characters_in"] - gone == report["characters_out"]
    assert all(1 <= len(row["samples"]) <= 3 for row in report["rules"].values())


def test_profiles_follow_the_text():
    kinds = {
        "code": Document("lib/a.py", "x = 1"),
        "wikitext": Document("1", "[[a]]", {"markup": "wikitext"}),
        "minutes": Document("2", "○議長（配合太郎君）　開会します。"),
        "aozora": Document("3", "題\n著者\n\n雨［＃「雨」に傍点］\n\n底本：「書」\n入力：甲\n"),
        "plain": Document("4", "普通の文章。{{x}}"),
    }
    assert {rules.markup_of(document) for document in kinds.values()} == set(kinds)
    for kind, document in kinds.items():
        assert rules.markup_of(document) == kind


def test_code_keeps_its_blanks_and_minutes_lose_their_marks():
    account = Account()
    code = rules.apply(Document("a.py", "\n\ndef f():\n    pass   \n\n\n\n\tx\n"), rules.MARKUPS["code"], account)
    assert code.text == "def f():\n    pass   \n\n\n\n\tx"
    said = rules.apply(Document("m", "○議長　開会。\r\n　次に。"), rules.MARKUPS["minutes"], account)
    assert said.text == "○議長　開会。\n次に。"


def test_a_cap_draws_the_same_documents_in_any_order(tmp_path):
    given = rows(80)
    first = clean.clean_corpus("a", corpus(tmp_path / "a.jsonl", given), tmp_path / "a", max_chars=1500, **OPTIONS)
    clean.clean_corpus("a", corpus(tmp_path / "b.jsonl", given[::-1]), tmp_path / "b", max_chars=1500, **OPTIONS)
    assert where(tmp_path / "a") == where(tmp_path / "b")
    assert 1300 < first["characters_out"] <= 1500
    assert first["documents_in"] == 80 and first["rules"]["not_drawn"]["documents"] == 80 - first["documents_out"]
    few = clean.clean_corpus("a", corpus(tmp_path / "a.jsonl", given), tmp_path / "c", max_documents=7, **OPTIONS)
    assert few["documents_out"] == 7
    # a sample is not taken from one end of the split's hashes
    assert set(where(tmp_path / "a").values()) == set(documents.SPLITS)


def test_every_document_is_drawn_equally_often():
    population = [Document(str(number), "x" * 10) for number in range(40)]
    counts = dict.fromkeys(map(str, range(40)), 0)
    for seed in range(400):
        for one in documents.draw(population, 100, seed):
            counts[one.id] += 1
    chi = sum((count - 100) ** 2 / 75 for count in counts.values())  # 400 draws of 10 out of 40: mean 100, variance 75
    assert sum(counts.values()) == 4000 and chi < 80


def test_large_corpora_are_written_in_shards(tmp_path):
    writer = documents.ShardWriter(tmp_path / "train", shard_bytes=1000)
    for row in rows(20):
        writer.add(Document(row["id"], row["text"]))
    writer.flush()
    (tmp_path / "clean.json").write_text("{}", encoding="utf-8")
    assert len(documents.shards(tmp_path)) > 3
    assert [one.id for one in documents.read(tmp_path)] == [row["id"] for row in rows(20)]


def test_a_dry_run_writes_nothing(tmp_path, capsys):
    paths = corpus(tmp_path / "a.jsonl", rows(9))
    assert clean.main([str(paths[0]), "--corpus", "a", "--dry-run"]) == 0
    assert "9 documents" in capsys.readouterr().out and [path.name for path in tmp_path.iterdir()] == ["a.jsonl"]


@pytest.mark.parametrize("name", ["a/b", "..", "", "a,b", "a=b", "a b", "-a", "a\n", "run", "x" * 200])
def test_a_name_that_later_steps_would_refuse_is_told_at_once(tmp_path, capsys, name):
    """`a/b` gave a folder of which the next command said that it names no corpus; `a,b` cannot be weighted or scored."""
    paths = corpus(tmp_path / "a.jsonl", rows(9))
    words = [str(paths[0]), f"--corpus={name}", "--output-dir", str(tmp_path / "o")]
    assert cli.run(clean.main, words) == cli.BAD_INPUT
    said = capsys.readouterr().err
    assert "--corpus: " in said and "fix: " in said and not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("", {}, "corpus 'a' has no document"),
        ('{"text": "短"}\n', {}, "no document of the corpus 'a' is left after cleaning .1 came in."),
        ('{"text": "短"}\n', {"profile": "wep"}, "--profile is 'wep'. Did you mean 'web'"),
        ('{"text": "a"}\n{"text": \n', {}, r"broken JSON line \(line 2\)"),
        ('{"body": "a"}\n', {}, r"has no key 'text'; it has 'body'"),
    ],
)
def test_bad_input_leaves_no_finished_folder(tmp_path, text, options, message):
    (tmp_path / "a.jsonl").write_text(text, encoding="utf-8")
    with pytest.raises(HaigoError, match=message):
        clean.clean_corpus("a", [tmp_path / "a.jsonl"], tmp_path / "o", **options)
    assert not (tmp_path / "o" / "clean.json").exists()
    with pytest.raises(HaigoError, match="holds no cleaned corpus"):
        documents.shards(tmp_path / "o")


def test_a_failed_run_leaves_the_older_result(tmp_path):
    paths = corpus(tmp_path / "a.jsonl", rows(30))
    clean.clean_corpus("a", paths, tmp_path / "o", **OPTIONS)
    before = files_of(tmp_path / "o")
    paths[0].write_text("broken", encoding="utf-8")
    with pytest.raises(HaigoError):
        clean.clean_corpus("a", paths, tmp_path / "o", format="jsonl")
    assert files_of(tmp_path / "o") == before and (tmp_path / "o" / "clean.json").is_file()


def test_a_killed_run_is_made_good_by_the_next(tmp_path):
    paths = corpus(tmp_path / "a.jsonl", rows(4000))
    clean.clean_corpus("a", paths, tmp_path / "whole", **OPTIONS)
    command = [sys.executable, "-m", "preprocess.clean", str(paths[0]), "--corpus", "a", "--output-dir"]
    command += [str(tmp_path / "killed"), "--split", "0.6,0.2,0.2", "--min-chars", "1"]
    struck = 0
    for wait in (0, 0.03, 0.06, 0.1):
        child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while child.poll() is None and not (tmp_path / "killed" / ".haigo.lock").exists():
            time.sleep(0.005)
        time.sleep(wait)
        os.kill(child.pid, signal.SIGKILL)
        struck += child.wait() != 0
        if (tmp_path / "killed" / "clean.json").exists():
            assert files_of(tmp_path / "killed") == files_of(tmp_path / "whole")
        (tmp_path / "killed" / ".haigo.lock").unlink(missing_ok=True)
    assert struck
    assert subprocess.run(command, cwd=ROOT, capture_output=True).returncode == 0
    assert files_of(tmp_path / "killed") == files_of(tmp_path / "whole")
    assert not (tmp_path / "killed" / ".partial").exists()


def test_a_file_name_that_is_no_utf8(tmp_path):
    name = os.fsdecode("新聞.txt".encode("cp932"))
    (tmp_path / name).write_text(
        "一つの文書です。四十文字は必要なので、もう少し書いておきます。これで足りるはずです。" * 2
    )
    report = clean.clean_corpus("c", [tmp_path / name], tmp_path / "out", split_shares=(1, 0, 0))
    assert report["documents_out"] == 1
    assert documents.report(tmp_path / "out")["input"] == report["input"]
    assert [one.meta["file"] for one in documents.read(tmp_path / "out")] == ["\\x90V\\x95\\xb7.txt"]


def test_a_split_that_is_a_link_to_other_work_is_refused_before_anything_is_touched(tmp_path):
    clean.clean_corpus("a", corpus(tmp_path / "a.jsonl", rows(50)), tmp_path / "a", **OPTIONS)
    clean.clean_corpus("b", corpus(tmp_path / "b.jsonl", rows(50, 1)), tmp_path / "b", **OPTIONS)
    for name in ("elsewhere", "new"):
        (tmp_path / name).mkdir()
    (tmp_path / "b" / "train").rename(tmp_path / "elsewhere" / "train")
    (tmp_path / "b" / "train").symlink_to(tmp_path / "elsewhere" / "train")
    (tmp_path / "new" / "train").symlink_to(tmp_path / "a" / "train")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for output, said in (("b", "did not make them"), ("new", "holds the input")):
        with pytest.raises(Refused, match=said):
            clean.clean_corpus("c", [tmp_path / "a" / "train"], tmp_path / output, **OPTIONS)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
