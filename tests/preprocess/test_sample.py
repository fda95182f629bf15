"""Samples: budgets to the character, the same for any number of workers and shards, fair, and none the worse for kill -9."""

import hashlib
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
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from shared_data import data_of

from haigo import cli, files
from haigo.cli import HaigoError
from haigo.formats import documents
from haigo.formats.documents.keyed import BITS, keyed_hash
from preprocess import sample, sample_choose, sample_shards
from preprocess.sources import Document

DATA = data_of(__file__)

WORDS = [
    "国会",
    "会議",
    "質問",
    "京都",
    "東京",
    "山",
    "川",
    "雨",
    "雪",
    "歩く",
    "見る",
    "静かな",
    "人々",
    "歴史",
    "する",
    "また",
    "もし",
]


def text_of(rng, lines):
    return "\n".join(f"{''.join(rng.choices(WORDS, k=12))}{rng.random()}。" for _ in range(lines))


def cleaned(folder, name, texts, shard_bytes=1 << 20):
    writer = documents.ShardWriter(folder / "train", shard_bytes)
    for number, text in enumerate(texts):
        writer.add(Document(f"{name}{number}", text))
    writer.flush()
    (folder / "clean.json").write_text(json.dumps({"corpus": name}), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def corpora(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpora")
    rng = random.Random(3)
    for name, count in (("a", 900), ("b", 300), ("c", 40)):
        cleaned(folder / name, name, [text_of(rng, rng.randrange(1, 20)) for _ in range(count)], 60_000)
    return {name: folder / name for name in "abc"}


def state(folder):
    found = [path for path in sorted(Path(folder).rglob("*")) if path.is_file() and path.name != files.JOURNAL]
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def taken(folder, name):
    return [one.text for one in documents.read(folder / name)]


def without_ends(texts):
    return sum(len(text) - text.count("\n") for text in texts)


def test_budgets_are_met_to_the_character(corpora, tmp_path):
    mixture = tmp_path / "mixture.yml"
    mixture.write_text("weights: {a: 0.5, b: 0.3, c: 0.2, unused: 0.0}\n", encoding="utf-8")
    made = sample.sample(corpora, tmp_path / "s", characters=50_001, mixture=mixture)
    assert [row["budget"] for row in made["corpora"].values()] == [25_000, 15_001, 10_000] or made[
        "characters"
    ] == 50_001
    for name, row in made["corpora"].items():
        assert without_ends(taken(tmp_path / "s", name)) == row["characters"] == row["granted"] == row["budget"]
    assert {path.name for path in (tmp_path / "s").glob(".*")} == {files.JOURNAL}


def test_every_line_is_one_of_the_corpus_and_nothing_comes_twice(corpora, tmp_path):
    sample.sample(corpora, tmp_path, characters=60_000)
    for name, folder in corpora.items():
        there = {line for one in documents.read(folder) for line in one.text.split("\n")}
        lines = [line for text in taken(tmp_path, name) for line in text.split("\n")]
        assert len(set(lines)) == len(lines)
        assert sum(line not in there for line in lines) <= 1  # the one that is cut to meet the budget
        ids = [one.id for one in documents.read(tmp_path / name)]
        assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("how", ["workers", "shards", "order"])
def test_the_sample_does_not_depend_on(corpora, tmp_path, how):
    one = sample.sample(corpora, tmp_path / "one", characters=30_000)
    other, options = dict(corpora), {}
    if how == "workers":
        options = {"workers": 2}
    else:
        other = {}
        for name, folder in corpora.items():
            found = list(documents.read(folder))
            if how == "order":
                found.reverse()
            writer = documents.ShardWriter(tmp_path / name / "train", 200_000)
            for document in found:
                writer.add(document)
            writer.flush()
            (tmp_path / name / "clean.json").write_text(json.dumps({"corpus": name}), encoding="utf-8")
            other[name] = tmp_path / name
    two = sample.sample(other, tmp_path / "two", characters=30_000, **options)
    if how == "workers":
        assert one == two and state(tmp_path / "one") == state(tmp_path / "two")
    for name in corpora:
        assert sorted(taken(tmp_path / "one", name)) == sorted(taken(tmp_path / "two", name))


def test_seeds_and_inclusion_counts():
    """Chi-square over seeds: every document has the same chance (hypergeometric counts, hence the correction)."""
    population = [Document(f"doc{number}", "x" * 50) for number in range(150)]
    seeds, budget, counts = 400, 50 * 40, np.zeros(150)
    none = np.zeros(0)
    for seed in range(seeds):
        hashes = np.array([keyed_hash(one, seed, b"sample") for one in population], np.uint64)
        held = sample_choose.Candidates(
            hashes, np.arange(150), np.full(150, 50), none.astype(int), none.astype(np.uint64), none.astype(int)
        )
        choice = sample_choose.choose(held, budget, 1)
        assert choice.characters == budget and len(choice.rows) == 40
        counts[choice.rows] += 1
    share = 40 / 150
    statistic = ((counts - seeds * share) ** 2).sum() / (seeds * share * (1 - share)) * (149 / 150)
    from scipy.stats import chi2

    assert chi2.sf(statistic, 149) > 1e-3
    assert chi2.sf(statistic, 149) < 1 - 1e-6  # too even would be wrong too


def test_inclusion_counts_of_the_whole_command(tmp_path):
    """The same through files, with documents of unequal lengths: long ones are drawn no more often than short ones."""
    rng = random.Random(5)
    texts = [text_of(rng, 1 + 9 * (number % 2)) for number in range(60)]
    folder = cleaned(tmp_path / "x", "x", texts)
    counts = dict.fromkeys((f"x{number}" for number in range(60)), 0)
    seeds = 60
    for seed in range(seeds):
        sample.sample({"x": folder}, tmp_path / "o", characters=without_ends(texts) // 3, seed=seed)
        for one in documents.read(tmp_path / "o" / "x"):
            counts[one.id] += 1
    short, long = (np.array([counts[f"x{n}"] for n in range(60) if n % 2 == odd]).mean() / seeds for odd in (0, 1))
    assert abs(short - long) < 0.06 and 0.25 < short < 0.45


def test_another_seed_is_another_sample(corpora, tmp_path):
    samples = []
    for seed in (1, 2):
        sample.sample(corpora, tmp_path / "o", characters=20_000, seed=seed)
        samples.append(taken(tmp_path / "o", "a"))
    assert samples[0] != samples[1] and samples[0]


def test_a_larger_sample_holds_the_smaller_one(corpora, tmp_path):
    for size in (10_000, 20_000):
        sample.sample({"a": corpora["a"]}, tmp_path / str(size), characters=size)
    small, large = ({one.id for one in documents.read(tmp_path / str(size) / "a")} for size in (10_000, 20_000))
    assert small < large


def test_repeated_lines_are_bounded(tmp_path):
    rng = random.Random(0)
    head = "これより会議を開きます。本日の議事日程は、お手元に配付のとおりであります。"
    folder = cleaned(tmp_path / "m", "m", [f"{head}\n短い\n{text_of(rng, 3)}" for _ in range(200)])
    for repeats in (1, 3):
        made = sample.sample({"m": folder}, tmp_path / "o", characters=9_000, repeats=repeats)
        texts = taken(tmp_path / "o", "m")
        assert sum(text.split("\n").count(head) for text in texts) == repeats
        assert without_ends(texts) == 9_000 and sum(text.split("\n").count("短い") for text in texts) > 20
        assert made["corpora"]["m"]["repeated_characters_left_out"] > 20 * len(head)


def test_long_lines_are_cut_and_not_dropped(tmp_path):
    text = "".join(f"{number:06d}番目の文である。" for number in range(1500))
    folder = cleaned(tmp_path / "x", "x", [text])
    made = sample.sample({"x": folder}, tmp_path / "o", characters=10**6)
    (back,) = taken(tmp_path / "o", "x")
    assert back.replace("\n", "") == text and max(map(len, back.split("\n"))) <= 2000
    assert made["corpora"]["x"]["characters"] == len(text)


def test_one_long_document_does_not_take_the_budget(tmp_path):
    rng = random.Random(1)
    texts = [text_of(rng, 4000), *(text_of(rng, 8) for _ in range(300))]
    folder = cleaned(tmp_path / "x", "x", texts)
    for seed in range(5):
        sample.sample({"x": folder}, tmp_path / "o", characters=30_000, seed=seed)
        assert max(without_ends([text]) for text in taken(tmp_path / "o", "x")) <= sample_choose.LEAST_EXCERPT
    # when the short ones are not enough, excerpts grow until the budget is met
    made = sample.sample({"x": folder}, tmp_path / "o", characters=without_ends(texts))
    assert made["corpora"]["x"]["characters"] == without_ends(texts)


def test_a_corpus_that_is_short(corpora, tmp_path, capsys):
    there = {name: without_ends([one.text for one in documents.read(folder)]) for name, folder in corpora.items()}
    asked = {"a": 20_000, "b": 10_000, "c": there["c"] + 5_000}
    made = sample.sample(corpora, tmp_path, budgets=asked)
    assert {name: row["characters"] for name, row in made["corpora"].items()} == asked | {"c": there["c"]}
    made = sample.sample(corpora, tmp_path, budgets=asked, fill=True)
    assert made["characters"] == sum(asked.values())
    assert made["corpora"]["a"]["characters"] == pytest.approx(20_000 + 5_000 * 2 / 3, abs=1)
    everything = sample.sample(corpora, tmp_path, characters=10**9, fill=True)
    assert everything["characters"] == sum(there.values())
    words = [str(folder) for folder in corpora.values()]
    words += [word for name, budget in asked.items() for word in ("--budget", f"{name}={budget}")]
    assert cli.run(sample.main, [*words, "--output-dir", str(tmp_path / "p")]) == 0
    assert "c: " in (said := capsys.readouterr().out) and "5,000 short of its budget: it has no more" in said


def test_temperature(corpora, tmp_path):
    there = {name: without_ends([one.text for one in documents.read(folder)]) for name, folder in corpora.items()}
    for temperature in (1.0, 3.0):
        made = sample.sample(corpora, tmp_path, characters=12_000, temperature=temperature)
        raw = {name: count ** (1 / temperature) for name, count in there.items()}
        for name, row in made["corpora"].items():
            assert row["characters"] == pytest.approx(12_000 * raw[name] / sum(raw.values()), abs=1)


def test_a_finished_sample_is_left_as_it_is(corpora, tmp_path):
    made = sample.sample(corpora, tmp_path, characters=9_000)
    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.zst")}
    assert sample.sample(corpora, tmp_path, characters=9_000) == made
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.zst")} == stamps
    broken = next(iter(stamps))
    broken.write_bytes(broken.read_bytes()[:-3])
    assert sample.sample(corpora, tmp_path, characters=9_000) == made
    assert len(taken(tmp_path, "a")) == made["corpora"]["a"]["documents"]


def test_kill_9_leaves_the_same_sample(corpora, tmp_path):
    words = [sys.executable, "-m", "preprocess.sample", *map(str, corpora.values()), "--characters", "40000"]
    rng = random.Random(7)
    whole = sample.sample(corpora, tmp_path / "whole", characters=40_000)
    root = Path(__file__).parent.parent.parent
    for _ in range(4):
        started = subprocess.Popen(
            [*words, "--output-dir", str(tmp_path / "o")],
            cwd=root,
            stderr=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        time.sleep(rng.uniform(0.25, 0.7))
        os.kill(started.pid, signal.SIGKILL)
        started.wait()
    assert sample.sample(corpora, tmp_path / "o", characters=40_000) == whole
    assert state(tmp_path / "o") == state(tmp_path / "whole")


def test_notes_left_by_a_kill_after_the_end_are_taken_away(corpora, tmp_path):
    made = sample.sample(corpora, tmp_path, characters=9_000)
    before = state(tmp_path)
    files.write_text(tmp_path / ".notes" / "a" / "00000.lines.npz", "left")
    assert sample.sample(corpora, tmp_path, characters=9_000) == made
    assert state(tmp_path) == before


def test_notes_of_a_stopped_run_are_used(corpora, tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(sample_shards, "write", stop)
        sample.sample(corpora, tmp_path, characters=9_000)
    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npz")}
    assert stamps
    seen = {}
    real = sample_shards.write
    monkeypatch.setattr(
        sample_shards, "write", lambda *a: seen.update({p: p.stat().st_mtime_ns for p in stamps}) or real(*a)
    )
    sample.sample(corpora, tmp_path, characters=9_000)
    assert seen == stamps


def test_the_command(corpora, tmp_path, capsys):
    mixture = tmp_path / "mixture.yml"
    mixture.write_text("weights: {a: 0.25, b: 0.75}\n", encoding="utf-8")
    words = [str(corpora["a"]), str(corpora["b"]), "--output-dir", str(tmp_path / "o"), "--json"]
    assert sample.main([*words, "--characters", "8e3", "--mixture", str(mixture)]) == 0
    made = json.loads(capsys.readouterr().out)
    assert [row["characters"] for row in made["corpora"].values()] == [2000, 6000]
    assert made == sample.read(tmp_path / "o")


@pytest.mark.parametrize(("words", "message"), DATA["what_cannot_be_asked_for"])
def test_what_cannot_be_asked_for(corpora, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    for name, body in {
        "one": "weights: {a: 1}",
        "more": "weights: {a: 0.5, b: 0.25, zz: 0.25}",
        "zero": "weights: {a: 0, b: 0}",
        "text": "weights: {a: 0.5, b: half}",
        "none": "",
    }.items():
        Path(f"{name}.yml").write_text(body, encoding="utf-8")
    with pytest.raises(HaigoError, match=message):
        sample.main([str(corpora["a"]), str(corpora["b"]), "--output-dir", "o", *words])


def test_a_corpus_without_text(tmp_path):
    folder = cleaned(tmp_path / "x", "x", ["\n\n"])
    with pytest.raises(HaigoError, match="the corpus 'x' has no text"):
        sample.sample({"x": folder}, tmp_path / "o", characters=5)


def test_half_a_surrogate_pair_is_named(tmp_path):
    (tmp_path / "x" / "train").mkdir(parents=True)
    (tmp_path / "x" / "clean.json").write_text('{"corpus": "x"}', encoding="utf-8")
    raw = rb'{"id": "bad", "text": "\ud800 is half of a pair of surrogates"}'
    (tmp_path / "x" / "train" / "00000.jsonl.zst").write_bytes(zstandard.ZstdCompressor().compress(raw))
    with pytest.raises(HaigoError, match=r"00000\.jsonl\.zst has a document with half a surrogate pair \('bad'\)"):
        sample.sample({"x": tmp_path / "x"}, tmp_path / "o", characters=20)


@settings(max_examples=60, deadline=None)
@given(
    lines=st.lists(st.tuples(st.integers(0, 11), st.integers(0, 5), st.integers(20, 99)), max_size=60),
    short=st.lists(st.integers(0, 200), min_size=12, max_size=12),
    budget=st.integers(1, 4000),
    repeats=st.integers(1, 3),
)
def test_choosing_against_the_plain_way(lines, short, budget, repeats):
    """The arrays against a loop over documents in the order of their hashes."""
    lines = sorted(lines, key=lambda line: line[0])
    hashes = np.array([int.from_bytes(hashlib.sha256(bytes([n])).digest()[:8], "big") for n in range(12)], np.uint64)
    hashes[3] = hashes[4]  # a tie
    of, kind, size = (np.array([line[k] for line in lines], np.int64) for k in range(3))
    size = 20 + kind  # equal hashes are equal lines
    held = sample_choose.Candidates(hashes, np.arange(12), np.array(short), of, kind.astype(np.uint64), size)
    choice = sample_choose.choose(held, budget, repeats)
    left, seen, expected = budget, {}, {}
    for row in sorted(range(12), key=lambda n: (int(hashes[n]), n)):
        mine = short[row]
        for document, each, length in zip(of, kind, size, strict=True):
            if document == row:
                seen[each] = seen.get(each, 0) + 1
                mine += length if seen[each] <= repeats else 0
        if left > 0 and mine:
            expected[row] = min(mine, left)
            left -= expected[row]
    assert dict(zip(choice.rows.tolist(), choice.taken.tolist(), strict=True)) == expected
    assert choice.characters == budget - left


@settings(max_examples=60, deadline=None)
@given(lengths=st.lists(st.integers(0, 10**6), min_size=1, max_size=50), digits=st.integers(1, 21))
def test_what_a_cap_leaves(lengths, digits):
    bins = sample_choose.length_bins(np.array(lengths))
    assert sample_choose.capped(*bins, 1 << digits) == sum(min(length, 1 << digits) for length in lengths)


def test_the_hash_is_uniform():
    values = (
        np.array([keyed_hash(Document(str(n), "x"), 1, b"sample") for n in range(2000)], dtype=np.float64) / 2**BITS
    )
    assert np.abs(np.sort(values) - np.arange(2000) / 2000).max() < 0.04
