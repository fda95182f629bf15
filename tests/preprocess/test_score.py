"""Models of quality and scores, through their commands: what is told apart, same bytes, what is missing or damaged is named."""

import json
import random
import sys
from collections import Counter

import numpy as np
import pytest
from corpora_folders import texts, write
from damage import flip
from hypothesis import given, settings
from hypothesis import strategies as st

from haigo import cli, files
from haigo.formats import documents
from preprocess import hashed, quality, quality_model, score
from preprocess.hashed import Shape

GOOD = [
    "市議会は予算案を可決した。",
    "研究者は新しい結果を報告した。",
    "春の祭りに多くの人が集まった。",
    "図書館は来月から夜も開く。",
]
PLAIN = [
    "クリックして今すぐ登録！",
    "送料無料の最安値はこちら。",
    "おすすめ人気ランキング一覧。",
    "会員限定の割引クーポン配布中。",
]


def sentences(rng, kinds, count):
    return "\n".join("".join(rng.choices(kinds, k=rng.randint(2, 4))) for _ in range(count))


@pytest.fixture
def house(tmp_path, monkeypatch):
    """Two cleaned corpora, a model of quality at `model`, and this folder as the current one."""
    rng = random.Random(3)
    monkeypatch.chdir(tmp_path)
    for name, kinds in (("good", GOOD), ("plain", PLAIN)):
        rows = [(f"{name}{number}", sentences(rng, kinds, 5)) for number in range(60)]
        write(tmp_path / "clean" / name, name, {"train": rows[:50], "valid": rows[50:55], "test": rows[55:]})
    assert train() == cli.OK
    return tmp_path


def train(*more, output="model"):
    words = ["--good", "clean/good", "--ordinary", "clean/plain", "--output-dir", output, *more]
    return cli.run(quality.main, words)


def run(*words, output="scored"):
    return cli.run(score.main, ["clean/good", "clean/plain", "--output-dir", output, *words])


def held(place):
    return {
        str(path.relative_to(place)): path.read_bytes()
        for path in sorted(place.rglob("*"))
        if path.is_file() and not path.name.startswith(".haigo")
    }


def scores_of(folder, split="valid"):
    return [document.meta["scores"] for document in documents.read(folder, split)]


@given(st.lists(st.text(max_size=12), max_size=5), st.integers(1, 4), st.integers(0, 2))
@settings(max_examples=200, deadline=None)
def test_buckets_are_those_of_each_text_alone(several, longest, less):
    shape = Shape(max(1, longest - less), longest, 12)
    together, starts = hashed.buckets(several, shape)
    weights = np.arange(shape.size, dtype=np.float32)
    means = hashed.means(several, shape, weights)
    for number, text in enumerate(several):
        alone, _ = hashed.buckets([text], shape)
        assert np.array_equal(alone, together[:, starts[number] : starts[number + 1]])
        assert alone.shape == (shape.orders, len(text))
        assert means[number] == pytest.approx(weights[alone].mean() if text else 0, rel=1e-5)


def test_equal_grams_fall_into_equal_buckets_wherever_they_stand():
    shape, text = Shape(1, 3, 18), "".join(chr(0x4E00 + n % 40) for n in range(40_000))  # more than a block
    for order, found in enumerate(hashed.buckets([text], shape)[0]):
        whole = found[: len(text) - order]
        assert len(set(whole.tolist())) == 40 and np.array_equal(whole[:-40], whole[40:])


def test_a_long_text_is_read_from_its_beginning_to_its_end():
    text = "".join(chr(0x4E00 + n) for n in range(1000))
    short = hashed.shortened(text, 100)
    assert short[:25] == text[:25] and short[-25:] == text[-25:] and len(short) == 103
    assert hashed.shortened(text, 1000) == text


def test_good_and_ordinary_text_are_told_apart_in_text_that_was_not_trained_on(house, capsys):
    report = files.read_json(house / "model" / "quality.json")
    assert report["told_apart"]["accuracy"] == 1 and report["good"]["documents"] == 50
    assert run("--quality", "model", "--perplexity", "model") == cli.OK
    said = capsys.readouterr()
    assert "MB of disk in scored" in said.err and "GB of memory" in said.err and "good: 60 documents" in said.out
    good, plain = scores_of(house / "scored/good"), scores_of(house / "scored/plain")
    assert min(row["quality"] for row in good) > 0.5 > max(row["quality"] for row in plain)
    assert max(row["perplexity"] for row in good) < min(row["perplexity"] for row in plain)
    assert texts(house / "scored/good") == texts(house / "clean/good")
    noted = files.read_json(house / "scored/score.json")
    spread = noted["corpora"]["plain"]["quality"]
    assert next(iter(spread)) == "0%" and spread["0%"] <= spread["50%"] <= spread["100%"] < 0.5
    assert documents.report(house / "scored/good")["steps"][-1]["step"] == "score"
    assert list(documents.corpora([house / "scored/good", house / "scored/plain"])) == ["good", "plain"]


def test_perplexity_is_that_of_the_formula(house):
    model = quality_model.read(house / "model")
    train_text = [hashed.shortened(text, 1000) for text in texts(house / "clean/good")["train"].values()]
    stream = "".join(f"\n\n{text}" for text in train_text) + "\n\n"
    counts = Counter(f"{stream}\n\n"[at : at + order] for order in (1, 2, 3) for at in range(len(stream)))
    counts = {gram: np.expm1(round(np.log1p(often) * 16) / 16) for gram, often in counts.items()}
    text, nats = "市議会は新しい予算", 0.0
    for at in range(2, len(text) + 2):
        p, stood = 1 / 65536, f"\n\n{text}"
        for order, strength in enumerate((1000, 100, 20)):
            seen = counts.get(stood[at - order : at], 0) if order else len(stream)
            p = (min(seen, counts.get(stood[at - order : at + 1], 0)) + strength * p) / (seen + strength)
        nats -= np.log(p)
    alone, empty, beside = model.perplexity([text, "", "別の文書"])
    assert alone == pytest.approx(np.exp(nats / len(text)), rel=1e-3)
    assert empty == 1 and [beside] == model.perplexity(["別の文書"])


def test_the_same_words_give_the_same_bytes_with_any_number_of_workers(house):
    assert train(output="again") == cli.OK
    assert held(house / "again") == held(house / "model")
    assert run("--quality", "model") == run("--quality", "model", "--workers", "2", output="two") == cli.OK
    assert held(house / "scored") == held(house / "two")
    assert train("--seed", "5", "--characters", "6000", output="again") == cli.OK
    assert held(house / "again") != held(house / "model")


def test_done_work_is_found_by_its_bytes_and_made_again_where_they_changed(house, capsys):
    assert run("--quality", "model") == cli.OK
    whole = held(house / "scored")
    stamp = (house / "scored/good/train/00000.jsonl.zst").stat().st_mtime_ns
    assert run("--quality", "model") == cli.OK
    assert (house / "scored/good/train/00000.jsonl.zst").stat().st_mtime_ns == stamp
    for name in ("good/train/00000.jsonl.zst", "score.json"):
        flip(house / "scored" / name)
        assert run("--quality", "model") == cli.OK
        assert held(house / "scored") == whole
    weights = (house / "model/weights.npy").read_bytes()
    flip(house / "model/weights.npy")
    capsys.readouterr()
    assert train() == cli.OK and "the model is trained again" in capsys.readouterr().err
    assert (house / "model/weights.npy").read_bytes() == weights


def test_a_run_that_was_stopped_goes_on_with_what_was_finished(house, monkeypatch):
    assert run("--quality", "model", output="whole") == cli.OK
    monkeypatch.setattr(score.rewrite, "put", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    assert run("--quality", "model") == cli.INTERRUPTED
    monkeypatch.undo()
    monkeypatch.chdir(house)
    done = house / "scored/.partial/good/train/00000.jsonl.zst"
    stamp = done.stat().st_mtime_ns
    flip(house / "scored/.partial/plain/train/00000.jsonl.zst")
    monkeypatch.setattr(score.rewrite, "put", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    assert run("--quality", "model") == cli.INTERRUPTED
    assert done.stat().st_mtime_ns == stamp
    monkeypatch.undo()
    monkeypatch.chdir(house)
    assert run("--quality", "model") == cli.OK
    assert held(house / "scored") == held(house / "whole")


def test_scores_are_added_to_those_that_are_there(house):
    assert run("--quality", "model") == cli.OK
    words = ["scored/good", "--perplexity", "model", "--output-dir", "both"]
    assert cli.run(score.main, words) == cli.OK
    assert set(scores_of(house / "both/good")[0]) == {"quality", "perplexity"}
    document = next(documents.read(house / "both/good", "valid"))
    assert document.meta["title"] == document.id  # what else the meta said stays: a licence, too


def test_language_and_lists_of_words(house, capsys):
    pytest.importorskip("pycld2")
    pytest.importorskip("hojichar")
    rows = {
        "ja": "市議会は予算案を可決した。図書館は来月から夜も開く。",
        "code": "関数の例である。値を足して返す。\n" + "def add(first, second):\n    return first + second\n",
        "en": "The council passed the budget, and the library will be open at night from next month on.",
        "ko": "시의회는 예산안을 통과시켰다. 도서관은 다음 달부터 밤에도 문을 연다.",
        "zh": "市议会通过了预算案，图书馆从下个月起晚上也开放，许多市民对此表示欢迎。",
        "none": "1234 5678 --- \x00\x01",
        "controls": "The council passed\x00 the budget, and the library will be open at night.",
        "ads": "お問い合わせください 営業時間 よくある質問",
    }
    write(house / "clean" / "mixed", "mixed", {"train": list(rows.items())})
    words = ["clean/mixed", "--language", "--spam", "--adult", "--output-dir", "scored"]
    assert cli.run(score.main, words) == cli.OK
    found = {one.id: one.meta["scores"] for one in documents.read(house / "scored/mixed", "train")}
    told = {name: row["language"] for name, row in found.items()}
    assert told == {
        "ja": "ja",
        "code": "ja",
        "en": "en",
        "ko": "ko",
        "zh": "zh",
        "none": "un",
        "ads": "ja",
        "controls": "en",
    }
    assert found["ads"]["spam"] > 50 and found["ja"]["spam"] == found["ja"]["adult"] == 0
    assert found["ja"]["language_probability"] > 0.9 and found["none"]["language_probability"] == 0
    assert files.read_json(house / "scored/score.json")["corpora"]["mixed"]["language"]["ja"] == 3
    assert "language: ja 3" in capsys.readouterr().out


@pytest.mark.parametrize("missing, flag", [("pycld2", "--language"), ("hojichar.filters", "--spam")])
def test_a_library_that_is_not_installed_is_named_before_the_work(house, monkeypatch, capsys, missing, flag):
    monkeypatch.setitem(sys.modules, missing, None)
    assert run(flag) == cli.BAD_INPUT
    assert missing.split(".")[0] in capsys.readouterr().err and not (house / "scored").exists()


def test_what_is_missing_or_damaged_is_named(house, capsys):
    def said(code, *words, output="scored"):
        assert run(*words, output=output) == code
        assert not (house / "scored").exists()
        return capsys.readouterr().err

    assert "no score is asked for" in said(cli.BAD_INPUT)
    assert "nowhere holds no model of quality" in said(cli.BAD_INPUT, "--quality", "nowhere")
    assert "is the input" in said(cli.REFUSED, "--quality", "model", output="model")
    raw = flip(house / "model/counts.npy")
    assert "counts.npy was changed since the model was made" in said(cli.BAD_INPUT, "--perplexity", "model")
    (house / "model/counts.npy").write_bytes(raw)
    flip(house / "model/quality.json", raw.index(b"0"))
    assert "train the model again" in said(cli.BAD_INPUT, "--quality", "model")
    assert train(output="other") == cli.OK
    shard = house / "clean/plain/train/00000.jsonl.zst"
    flip(shard)
    assert run("--quality", "other") == cli.BAD_INPUT
    assert str(shard.relative_to(house)) in capsys.readouterr().err
    flip(shard)
    assert run("--quality", "other") == cli.OK


def test_too_little_text_memory_or_disk_is_named(house, monkeypatch, capsys):
    (house / "few.jsonl").write_text(json.dumps({"text": "短い文書である。"}) + "\n", encoding="utf-8")
    words = ["--good", "few.jsonl", "--ordinary", "clean/plain", "--output-dir", "small"]
    assert cli.run(quality.main, words) == cli.BAD_INPUT
    assert "only 1 documents of good text" in capsys.readouterr().err
    for module, free in ((quality, 1000), (score, 1000)):
        monkeypatch.setattr(module.memory, "available", lambda free=free: free)
    assert train(output="small") == run("--quality", "model") == cli.BAD_INPUT
    assert capsys.readouterr().err.count("GB are free") == 2


def test_broken_rows_are_counted_where_so_many_are_allowed(house, capsys):
    path = house / "clean/plain/train/00000.jsonl.zst"
    lines = [documents.line(one).packed for one in documents.read_shard(path)]
    documents.write_shard(house / "broken.jsonl.zst", [*lines, b"{broken\n"])
    path.write_bytes((house / "broken.jsonl.zst").read_bytes())
    assert run("--quality", "model") == cli.BAD_INPUT
    assert run("--quality", "model", "--skip-broken", "1") == cli.OK
    assert "passed over: 1 broken rows" in capsys.readouterr().out


def test_limits_drop_what_is_beyond_them(house, capsys):
    assert run("--quality", "model", output="all") == cli.OK
    assert run("--quality", "model", "--perplexity", "model", "--least", "quality=0.5") == cli.OK
    assert "dropped: low_quality" in capsys.readouterr().out
    told, whole = (files.read_json(house / name / "score.json")["corpora"] for name in ("scored", "all"))
    for name in ("good", "plain"):
        for split in documents.SPLITS:
            stays = {
                one.id for one in documents.read(house / "all" / name, split) if one.meta["scores"]["quality"] >= 0.5
            }
            there = documents.splits(house / "scored" / name)
            assert (
                {one.id for one in documents.read(house / "scored" / name, split)} if split in there else set()
            ) == stays
        report = files.read_json(house / "scored" / name / "clean.json")
        gone = whole[name]["documents"] - told[name]["documents"]
        assert report["rules"].get("low_quality", {"documents": 0})["documents"] == gone
        assert report["documents_out"] == told[name]["documents"] and told[name]["quality"] == whole[name]["quality"]
    assert 40 < told["plain"]["dropped"]["low_quality"] <= 60
    before = held(house / "scored")
    assert run("--quality", "model", "--perplexity", "model", "--least", "quality=0.5") == cli.OK
    assert held(house / "scored") == before
    capsys.readouterr()
    assert run("--quality", "model", "--most", "spam=3") == cli.BAD_INPUT
    assert "--most names 'spam'" in capsys.readouterr().err
