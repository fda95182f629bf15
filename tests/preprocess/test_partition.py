"""Corpora parted into domains: every document in one part, the same parts on every run, a model that labels as it was made."""

import csv
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from corpora_folders import texts
from hypothesis import given, settings
from hypothesis import strategies as st

from haigo import cli, sealed
from haigo.formats import documents
from haigo.formats import partition as partitions
from preprocess import inspect, partition, topics
from preprocess.sources import Document

ROOT = Path(__file__).parent.parent.parent
WORLDS = {
    "sport": ["試合", "決勝", "選手", "監督", "優勝", "リーグ", "チーム", "ゴール", "得点", "球場"],
    "weather": ["台風", "気象庁", "暴風", "大雨", "警報", "上陸", "進路", "ヘクトパスカル", "洪水", "避難"],
    "code": ["def", "return", "import", "class", "self", "lambda", "yield", "assert", "raise", "tuple"],
}
SIZES = {"train": 120, "valid": 12, "test": 12}


def text(world, rng):
    words = rng.choices(WORLDS[world], k=rng.randint(25, 60))
    return "".join(f"{word}{rng.choice('のはがを、')}" if world != "code" else f"{word} " for word in words)


def corpus(folder, name, worlds, seed=1, sizes=SIZES, scores=True):
    """A cleaned corpus of invented documents; ids tell their world, and longer texts of a world have better scores."""
    rng, counts = random.Random(seed), {}
    for split, size in sizes.items():
        writer = documents.ShardWriter(folder / split, shard_bytes=30_000)
        made = [(world, number) for number in range(size) for world in worlds]
        rng.shuffle(made)
        for world, number in made:
            meta = {"license": f"{world}-licence"} | ({"scores": {"quality": rng.random()}} if scores else {})
            writer.add(Document(f"{world}-{split}-{number}", text(world, rng), meta))
        writer.flush()
        (folder / split).mkdir(parents=True, exist_ok=True)
        counts[split] = {"documents": writer.documents, "characters": writer.characters, "bytes": writer.bytes}
    (folder / "clean.json").write_text(json.dumps({"corpus": name, "rules": {}, "splits": counts}), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def mix(tmp_path_factory):
    return corpus(tmp_path_factory.mktemp("mix") / "mix", "mix", WORLDS)


def call(*words):
    return cli.run(partition.main, list(map(str, words)))


def content(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(".haigo")
    }


def test_topics_are_found_named_and_every_document_is_in_one(mix, tmp_path, capsys):
    out = tmp_path / "out"
    assert call(mix, "--topics", 3, "--output-dir", out) == 0
    said = capsys.readouterr()
    assert "3 domains" in said.out and "GB of memory" in said.err
    rows = partitions.read(out)["domains"]
    assert list(rows) == ["mix.t0", "mix.t1", "mix.t2"]
    whole, found = texts(mix), {split: {} for split in documents.SPLITS}
    for name, row in rows.items():
        own = texts(out / name)
        worlds = {each.partition("-")[0] for split in own.values() for each in split}
        assert len(worlds) == 1, f"{name}: {worlds}"
        world = worlds.pop()
        assert row["group"] == "mix" and row["licences"] == {f"{world}-licence": sum(SIZES.values())}
        assert set(row["terms"]) <= set(WORLDS[world]) and len(row["terms"]) >= 5
        assert all(word in row["label"] for word in row["terms"][:3])
        report = documents.report(out / name)
        assert report["corpus"] == name and report["splits"]["valid"]["documents"] == SIZES["valid"]
        for split, each in own.items():
            assert not found[split].keys() & each.keys()
            found[split] |= each
    assert found == whole
    assert next(documents.read(out / "mix.t0")).meta["scores"]["quality"] >= 0  # the meta goes along
    with open(out / "supply.csv", encoding="utf-8") as handle:
        assert [row["group"] for row in csv.DictReader(handle)] == ["mix"] * 3


def test_bands_have_equal_supply_and_rise(mix, tmp_path):
    out = tmp_path / "out"
    assert call(mix, "--topics", 3, "--bands", 2, "--output-dir", out) == 0
    rows = partitions.read(out)["domains"]
    assert list(rows) == [f"mix.t{topic}.q{band}" for topic in range(3) for band in range(2)]
    for topic in range(3):
        low, high = (rows[f"mix.t{topic}.q{band}"] for band in range(2))
        assert low["scores"][1] == high["scores"][0] and low["scores"][0] is None is high["scores"][1]
        share = low["splits"]["train"]["bytes"] / (low["splits"]["train"]["bytes"] + high["splits"]["train"]["bytes"])
        assert 0.47 < share < 0.53
        for name, least, most in ((f"mix.t{topic}.q0", 0, low["scores"][1]), (f"mix.t{topic}.q1", low["scores"][1], 1)):
            for split in documents.splits(out / name):
                assert all(least <= one.meta["scores"]["quality"] <= most for one in documents.read(out / name, split))
    alone = tmp_path / "alone"
    assert call(mix, "--bands", 3, "--by", "quality", "--output-dir", alone) == 0
    assert list(partitions.read(alone)["domains"]) == ["mix.q0", "mix.q1", "mix.q2"]


def test_a_model_labels_the_same_text_the_same_and_other_text_as_it_would_have(mix, tmp_path):
    out, again, other = (tmp_path / name for name in ("out", "again", "other"))
    assert call(mix, "--topics", 3, "--bands", 2, "--output-dir", out) == 0
    assert call(mix, "--model", out / "partition.json", "--output-dir", again) == 0
    for name in partitions.read(out)["domains"]:
        for path in (out / name).rglob("*.zst"):
            assert (again / path.relative_to(out)).read_bytes() == path.read_bytes()
    new = corpus(tmp_path / "new", "mix", ["code", "sport"], seed=9, sizes={"train": 30, "valid": 0, "test": 0})
    assert call(new, "--model", out / "partition.json", "--output-dir", other) == 0
    before, now = partitions.read(out)["domains"], partitions.read(other)["domains"]
    assert len(now) == 4  # there is no weather
    for name in now:
        worlds = {one.id.partition("-")[0] for folder in (out, other) for one in documents.read(folder / name)}
        assert len(worlds) == 1 and now[name]["label"] == before[name]["label"]


@given(st.lists(st.text(max_size=60), max_size=8), st.integers(1, 7))
@settings(max_examples=150, deadline=None)
def test_a_label_does_not_depend_on_what_is_labelled_beside_it(lot, at):
    rng = np.random.default_rng(3)
    model = topics.Topics(rng.integers(-30_000, 30_000, (4, topics.BUCKETS)).astype(np.int16))
    together = model.label(topics.count(lot)).tolist()
    apart = [model.label(topics.count([each])).tolist()[0] for each in lot]
    joined = model.label(topics.join([topics.count(lot[:at]), topics.count(lot[at:])])).tolist()
    assert together == apart == joined
    assert (topics.Topics.unpacked(model.packed(), "x").vectors == model.vectors).all()


def test_words_are_counted_as_they_read():
    counts = topics.count(["コンピュータ Hello, ＨＥＬＬＯ world 国会議員", "", "あのねえ 123 x", "国会"])
    assert np.diff(counts.ends, prepend=0).tolist() == [6, 0, 0, 1]
    assert sorted(counts.times[:6].tolist()) == [1, 1, 1, 1, 1, 2]
    assert topics.count(["台風" * 60_000]).buckets.tolist() == topics.count(["台風台"]).buckets.tolist()


@pytest.mark.slow
def test_any_number_of_workers_and_a_kill_give_the_same_bytes(mix, tmp_path):
    assert call(mix, "--topics", 3, "--bands", 2, "--workers", 2, "--output-dir", tmp_path / "two") == 0
    words = [str(mix), "--topics", "3", "--bands", "2", "--output-dir"]
    command = [sys.executable, "-m", "preprocess.partition", *words, str(tmp_path / "killed")]
    for mark in (".haigo.lock", ".partial/sample-*", ".partial/label-*", ".partial/mix-train.json"):
        child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while child.poll() is None and not list((tmp_path / "killed").glob(mark)):
            time.sleep(0.002)
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
    assert subprocess.run(command, cwd=ROOT, capture_output=True).returncode == 0
    assert content(tmp_path / "two") == content(tmp_path / "killed")


def test_notes_of_a_killed_run_that_were_changed_are_made_again(mix, tmp_path, monkeypatch):
    words = [mix, "--topics", 3, "--output-dir"]
    assert call(*words, tmp_path / "whole") == 0
    monkeypatch.setattr(partition.rewrite, "put", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    assert call(*words, tmp_path / "killed") == cli.INTERRUPTED
    monkeypatch.undo()
    notes = [
        each for each in (tmp_path / "killed" / ".partial").rglob("*") if each.is_file() and ".haigo" not in each.name
    ]
    for path in notes:
        path.write_bytes(path.read_bytes()[:-9])
    assert len(notes) > 10 and call(*words, tmp_path / "killed") == 0
    assert content(tmp_path / "whole") == content(tmp_path / "killed")


def test_another_partition_in_the_same_folder_leaves_nothing_of_the_first(mix, tmp_path):
    assert call(mix, "--topics", 3, "--output-dir", tmp_path / "out") == 0
    assert call(mix, "--bands", 2, "--output-dir", tmp_path / "out") == 0
    assert {each.name for each in (tmp_path / "out").iterdir() if each.is_dir()} == {"mix.q0", "mix.q1"}


def test_small_topics_are_joined_to_the_most_similar(tmp_path, capsys):
    folder = corpus(tmp_path / "mix", "mix", WORLDS, sizes={"train": 40, "valid": 3, "test": 3})
    assert call(folder, "--topics", 8, "--least", 30, "--output-dir", tmp_path / "out") == 0
    rows = partitions.read(tmp_path / "out")["domains"]
    assert 2 <= len(rows) <= 4 and all(row["splits"]["train"]["documents"] >= 30 for row in rows.values())
    assert "were joined to the most similar" in capsys.readouterr().out


def test_limits_and_tokens_of_the_corpus_are_handed_on(mix, tmp_path, capsys):
    supply = tmp_path / "supply.csv"
    supply.write_text("corpus,tokens,min,max,max_epochs\nmix,90000,0.1,0.5,3\nother,5,,,\n")
    assert call(mix, "--topics", 3, "--supply", supply, "--output-dir", tmp_path / "out") == 0
    with open(tmp_path / "out" / "supply.csv", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    assert abs(sum(int(row["tokens"]) for row in rows) - 90_000) <= 2
    assert {(row["min"], row["max"], row["max_epochs"], row["group"]) for row in rows} == {("", "0.5", "3", "mix")}
    assert partitions.read(tmp_path / "out")["groups"] == {"mix": {"min": 0.1, "max": 0.5, "max_epochs": 3.0}}
    assert "--group mix=0.1:0.5" in capsys.readouterr().out


def test_bad_input_is_one_sentence_and_nothing_is_lost(mix, tmp_path, capsys):
    plain = corpus(tmp_path / "plain", "plain", ["sport"], scores=False)
    out = tmp_path / "out"
    assert call(mix, "--topics", 3, "--output-dir", out) == 0
    before = content(out)
    (tmp_path / "same.csv").write_text("corpus,tokens,group\nmix,5,ja\n")
    (tmp_path / "none.csv").write_text("corpus,tokens\nmixed,5\n")
    damaged = json.loads((out / "partition.json").read_text())
    damaged["corpora"]["mix"]["topics"]["vectors"] = "AAAA"
    (tmp_path / "damaged.json").write_text(sealed.dumps(damaged))
    for words, message in (
        ([mix], "nothing says how to part"),
        ([mix, "--topics", 0], "--topics is 0"),
        ([mix, "--topics", 3, "--by", "spam"], "--by has no effect with no --bands"),
        ([mix, "--bands", 2, "--seed", 3], "--seed has no effect with no --topics"),
        ([mix, "--topics", 2, "--model", out / "partition.json"], "--topics has no effect with --model"),
        ([plain, "--bands", 2], "has no score 'quality'"),
        ([mix, "--bands", 2, "--by", "spam"], "has no score 'spam'"),
        ([plain, "--topics", 4, "--least", 200], "too few for 4 topics with 200 in each part"),
        ([mix, "--bands", 40], "too few for 40 bands"),
        ([plain, "--model", out / "partition.json"], "says nothing of the corpus 'plain'"),
        ([mix, "--model", tmp_path / "damaged.json"], "no model of topics"),
        ([mix, "--model", tmp_path / "absent.json"], "does not exist"),
        ([mix, "--topics", 3, "--supply", tmp_path / "same.csv"], "is in the group 'ja'"),
        ([mix, "--topics", 3, "--supply", tmp_path / "none.csv"], "has no tokens of the corpus 'mix'"),
        ([tmp_path / "absent", "--topics", 3], "holds no cleaned corpus"),
        ([mix, "--topics", 3, "--sample", 2], "too few for 3 topics"),
    ):
        target = out if "--by" in map(str, words) else tmp_path / "new"
        assert call(*words, "--output-dir", target) == cli.BAD_INPUT, words
        said = capsys.readouterr().err
        assert message in said and "Traceback" not in said, f"{words}: {said}"
    assert content(out) == before
    (tmp_path / "mine" / "mix.t1" / "train").mkdir(parents=True)
    (tmp_path / "mine" / "mix.t1" / "train" / "00000.jsonl.zst").write_text("my own")
    assert call(mix, "--topics", 3, "--output-dir", tmp_path / "mine") == cli.REFUSED
    assert call(mix, "--topics", 3, "--output-dir", mix) == cli.REFUSED


def test_documents_of_one_score_make_no_bands(tmp_path, capsys):
    folder = corpus(tmp_path / "c", "c", ["sport"], sizes={"train": 90, "valid": 1, "test": 1})
    shard = sorted((folder / "train").glob("*.zst"))
    same = [
        Document(one.id, one.text, {"scores": {"quality": 0.5}}) for path in shard for one in documents.read_shard(path)
    ]
    for path in shard:
        path.unlink()
    documents.write_shard(folder / "train" / "00000.jsonl.zst", [documents.line(each).packed for each in same])
    assert call(folder, "--bands", 2, "--output-dir", tmp_path / "out") == cli.BAD_INPUT
    assert "too many documents have the same score 'quality'" in capsys.readouterr().err


def test_inspect_shows_documents_and_words_and_lets_no_text_drive_the_terminal(mix, tmp_path, capsys):
    out = tmp_path / "out"
    assert call(mix, "--topics", 3, "--output-dir", out) == 0
    shard = out / "mix.t0" / "train" / "00000.jsonl.zst"
    read = list(documents.read_shard(shard))
    read[0] = Document("id\x1b[2J", f"\x1b]0;x\x07{read[0].text}", read[0].meta)
    documents.write_shard(shard, [documents.line(each).packed for each in read])
    capsys.readouterr()
    assert cli.run(inspect.main, [str(out), "--domains"]) == 0
    said = capsys.readouterr().out
    assert "\x1b" not in said and "\\u001b" in said and "licences: " in said
    assert all(said.count(f"{world}-train-") in (9, 10) for world in WORLDS)
    assert cli.run(inspect.main, [str(out), "--domains", "--sample", "2", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [len(row["samples"]) for row in told[0]["domains"].values()] == [2, 2, 2]
    assert cli.run(inspect.main, [str(mix), "--domains"]) == cli.BAD_INPUT
    assert cli.run(inspect.main, [str(out), "--domains", "--verify"]) == cli.BAD_INPUT
