"""Near-duplicates: found as often as the theory says, never without a witness, whatever the number of workers."""

import json
import os
import random
import signal
import subprocess
import sys
import time
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from corpora_folders import texts, write
from hypothesis import given, settings
from hypothesis import strategies as st
from shared_data import data_of

from haigo.cli import HaigoError
from haigo.formats import documents
from preprocess import dedup, near_pairs, normal_form
from preprocess.minhash import Shape, Sketcher

DATA = data_of(__file__)

ROOT = Path(__file__).parent.parent.parent
LETTERS = [chr(code) for code in range(0x4E00, 0x5400)]


def plainly(text):
    """The normal form by the standard library."""
    normal = unicodedata.normalize("NFKC", text)
    return "".join(char for char in normal if not normal_form.dropped(char))


def shingles(text, width=5):
    normal = plainly(text)
    return {normal[at : at + width] for at in range(max(1, len(normal) - width + 1))}


def similarity(one, other):
    one, other = shingles(one), shingles(other)
    return len(one & other) / len(one | other)


def invented(rng, size):
    return "".join(rng.choices(LETTERS, k=size))


def near(text, wanted, rng):
    """A copy with single characters replaced, of a true similarity just above `wanted`."""
    now, best = list(text), None
    for place in rng.sample(range(len(now)), len(now)):
        now[place] = rng.choice(LETTERS)
        found = similarity(text, "".join(now))
        if found < wanted:
            return best
        if found < wanted + 0.02:
            best = "".join(now)
    return best


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=30))
@settings(max_examples=300, deadline=None)
def test_the_normal_form_is_that_of_unicode(text):
    assert "".join(map(chr, normal_form.codes(text).tolist())) == plainly(text)


def test_joining_characters_are_joined_and_lots_are_as_single_texts():
    given_texts = [
        "ｶﾞ か\u3099 は\u309a",
        "㍿ ℃ ①½",
        "e\u0301 \u1112\u1161\u11ab",
        "。、「」 　\n",
        "",
        "ふつうの文。",
        "\ufdfa",
    ]
    codes, starts = normal_form.batch(given_texts)
    for number, text in enumerate(given_texts):
        part = "".join(map(chr, codes[starts[number] : starts[number + 1]].tolist()))
        assert part == plainly(text) == "".join(map(chr, normal_form.codes(text).tolist()))
    assert plainly("ｶﾞ") == "ガ" and plainly("か\u3099") == "が"


def test_shingle_sets_are_those_of_strings():
    rng = random.Random(1)
    sketcher = Sketcher(Shape())
    for _ in range(50):
        one, other = ("".join(rng.choices("あいうえ。 ", k=rng.randint(5, 80))) for _ in range(2))
        if len(plainly(one)) < 5 or len(plainly(other)) < 5:
            continue
        found = near_pairs.jaccard(sketcher.shingles(one), sketcher.shingles(other))
        assert found == pytest.approx(similarity(one, other))


@pytest.mark.parametrize("size", [30, 100, 400, 1500])
def test_bins_agree_as_often_as_texts_are_similar(size):
    """Unbiased at every length, and as quick to find as the formula says: empty bins are no weakness."""
    rng = random.Random(size)
    pairs = []
    while len(pairs) < 250:
        one = invented(rng, size)
        cut = rng.randrange(size // 12, size // 6)
        pairs.append((one, one[cut:] + invented(rng, cut)))
    true = np.array([similarity(*pair) for pair in pairs])
    sketcher = Sketcher(Shape())
    first, second = (sketcher.sketch([pair[side] for pair in pairs]) for side in (0, 1))
    agree = (first.bytes == second.bytes).mean(axis=1)
    error = (agree - true) / np.sqrt(true * (1 - true) / 112)
    assert abs(error.mean()) < 0.3 and error.std() < 1.25
    found = (first.keys == second.keys).any(axis=1).mean()
    assert found == pytest.approx((1 - (1 - true**8) ** 14).mean(), abs=0.08)


def planted(rng, count=150):
    """Documents, and pairs (original, copy) by similarity."""
    made = [(f"d{number}", invented(rng, rng.randint(120, 500))) for number in range(3 * count)]
    pairs = {0.8: [], 0.9: []}
    for number in range(2 * count):
        wanted = 0.8 if number % 2 else 0.9
        copy = near(made[number][1], wanted, rng)
        if copy is not None:
            pairs[wanted].append((f"d{number}", f"copy{number}"))
            made.append((f"copy{number}", copy))
    return made, pairs


def test_planted_near_duplicates_are_found_and_nothing_else(tmp_path):
    made, pairs = planted(random.Random(5))
    folder = write(tmp_path / "c", "c", {"train": made})
    report = dedup.dedup([folder], tmp_path / "out")
    left = texts(tmp_path / "out" / "c")["train"]
    for wanted, least in ((0.8, 0.9), (0.9, 0.99)):
        assert len(pairs[wanted]) > 80
        assert sum(copy not in left for _, copy in pairs[wanted]) / len(pairs[wanted]) >= least
    copies = {copy for of in pairs.values() for _, copy in of}
    assert not {own for own, _ in made} - set(left) - copies  # false: none of the 450
    assert report["documents_out"] == len(left) == report["documents_in"] - report["corpora"]["c"]["near_duplicate"]
    assert all(0.8 <= each["similarity"] <= 1 for each in report["samples"])
    clean = documents.report(tmp_path / "out" / "c")
    assert clean["documents_out"] == len(left) == clean["splits"]["train"]["documents"]
    assert clean["rules"]["near_duplicate"]["documents"] == len(made) - len(left)


def test_a_pair_just_below_the_threshold_stays(tmp_path):
    rng = random.Random(6)
    pairs = []
    while len(pairs) < 40:
        one = invented(rng, 300)
        copy = near(one, 0.76, rng)
        if copy is not None and similarity(one, copy) < 0.8:
            pairs += [(f"a{len(pairs)}", one), (f"b{len(pairs)}", copy)]
    folder = write(tmp_path / "c", "c", {"train": pairs})
    assert dedup.dedup([folder], None)["documents_out"] == len(pairs)
    found = dedup.dedup([folder], None, threshold=0.7)
    assert found["documents_out"] < 0.7 * len(pairs)


def test_what_stays_is_held_out_first_then_by_priority(tmp_path):
    rng = random.Random(7)
    shared = [invented(rng, 200) for _ in range(6)]
    other = [(f"x{number}", invented(rng, 200)) for number in range(3)]
    wide = "".join(chr(ord(char) + 0xFEE0) if "!" <= char <= "~" else char for char in "See the note 12 of this page.")
    narrow = "See the note 12 of this page. "
    train = [("w0", shared[0] + "。"), ("w1", shared[1]), ("w2", shared[2]), ("w3", shared[3]), ("w4", wide * 9)]
    web = {"train": [*train, *other], "test": [("w5", shared[4])]}
    train = [("n0", " " + shared[0]), ("n1", shared[1][:-1]), ("n4", narrow * 9), ("n5", shared[4])]
    news = {"train": train, "valid": [("n2", shared[2]), ("n3", shared[3][1:])]}
    folders = [write(tmp_path / "web", "web", web), write(tmp_path / "news", "news", news)]
    dedup.dedup(folders, tmp_path / "a")
    assert set(texts(tmp_path / "a/web")["train"]) == {"w0", "w1", "w4", "x0", "x1", "x2"}
    assert texts(tmp_path / "a/web")["test"].keys() == {"w5"} and texts(tmp_path / "a/news")["valid"].keys() == {
        "n2",
        "n3",
    }
    assert not texts(tmp_path / "a/news")["train"]
    report = dedup.dedup(folders, tmp_path / "b", priority=["news"])
    assert set(texts(tmp_path / "b/news")["train"]) == {"n0", "n1", "n4"}
    assert set(texts(tmp_path / "b/web")["train"]) == {"x0", "x1", "x2"}
    assert report["corpora"]["web"]["repeats_of"] == {"news": 5} and report["corpora"]["news"]["repeats_of"] == {
        "web": 1
    }
    exact = dedup.dedup(folders, None, method="exact")
    assert exact["corpora"]["news"] | {"repeats_of": 0} == {
        "documents_in": 6, "exact_duplicate": 3, "near_duplicate": 0, "repeats_of": 0,
    }  # fmt: skip


def test_chains_do_not_take_what_no_kept_text_is_like():
    """a ~ b ~ c, but a and c are not alike: only b goes."""
    rng = random.Random(8)
    a = invented(rng, 400)
    b, c = a[30:] + invented(rng, 30), a[60:] + invented(rng, 60)
    assert similarity(a, b) > 0.8 and similarity(a, c) < 0.8
    c = b[30:] + invented(rng, 30)
    assert similarity(b, c) > 0.8 and similarity(a, c) < 0.8
    sketcher = Sketcher(Shape(bands=50, rows=2))
    sketches = sketcher.sketch([a, b, c])
    found = near_pairs.candidates(sketches, 0.8)
    sets = sketcher.shingle_sets([a, b, c])
    removed = near_pairs.near(sketches, found, lambda place: sets[found.numbers[place]], 0.8).removals
    assert [(each.number, each.kept) for each in removed] == [(1, 0)]


def test_texts_without_a_normal_form_and_short_ones(tmp_path):
    rows = [("a", "。。。"), ("b", "。。。"), ("c", "！！"), ("d", "ab"), ("e", "a b"), ("f", "abc"), ("g", "ab")]
    folder = write(tmp_path / "c", "c", {"train": rows})
    dedup.dedup([folder], tmp_path / "out")
    assert set(texts(tmp_path / "out/c")["train"]) == {"a", "c", "d", "f"}


def test_workers_and_runs_give_the_same_bytes_and_seeds_others(tmp_path):
    made, _ = planted(random.Random(9), 60)
    folders = [
        write(tmp_path / name, name, {"train": made[at::2], "valid": made[at:9]}) for at, name in enumerate("ab")
    ]
    found = {}
    for run, workers in (("one", 1), ("two", 2), ("again", 1)):
        report = dedup.dedup(folders, tmp_path / run, workers=workers)
        found[run] = (
            report,
            {str(p.relative_to(tmp_path / run)): p.read_bytes() for p in (tmp_path / run).rglob("*.zst")},
        )
        assert not (tmp_path / run / ".partial").exists()
    assert found["one"] == found["two"] == found["again"]
    keys = [Sketcher(Shape(seed=seed)).sketch([made[0][1]]).keys.tolist() for seed in (1, 1, 2)]
    assert keys[0] == keys[1] != keys[2]


def test_a_killed_run_is_finished_by_the_same_command(tmp_path):
    made, _ = planted(random.Random(10), 60)
    folders = [write(tmp_path / name, name, {"train": made[at::2]}) for at, name in enumerate("ab")]
    dedup.dedup(folders, tmp_path / "whole")
    command = [sys.executable, "-m", "preprocess.dedup", *map(str, folders), "--output-dir", str(tmp_path / "killed")]
    for wait in (0, 0.1, 0.3):
        child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while child.poll() is None and not (tmp_path / "killed" / ".haigo.lock").exists():
            time.sleep(0.005)
        time.sleep(wait)
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        if (tmp_path / "killed" / dedup.REPORT).exists():
            break
    assert subprocess.run(command, cwd=ROOT, capture_output=True).returncode == 0
    whole, killed = (
        {
            str(path.relative_to(tmp_path / run)): path.read_bytes()
            for path in (tmp_path / run).rglob("*")
            if path.is_file() and not path.name.startswith(".haigo")
        }
        for run in ("whole", "killed")
    )
    assert whole == killed and "dedup.json" in whole


def test_bad_input_is_one_sentence(tmp_path):
    folder = write(tmp_path / "c", "c", {"train": [("a", "文書" * 30)]})
    write(tmp_path / "same", "c", {"train": [("a", "文書" * 30)]})
    for change, message in (
        ({"folders": [tmp_path / "none"]}, "holds no cleaned corpus"),
        ({"folders": [folder, tmp_path / "same"]}, "are both the corpus 'c'"),
        ({"priority": ["d"]}, "--priority names 'd', which is no corpus here"),
        ({"priority": ["c", "c"]}, "names a corpus twice"),
        ({"threshold": 1.5}, "--threshold is 1.5"),
        ({"method": "simhash"}, "--method is 'simhash'"),
        ({"bands": 0}, "--bands is 0"),
        ({"output_dir": tmp_path}, "holds the input"),
    ):
        arguments = {"folders": [folder], "output_dir": tmp_path / "out"} | change
        with pytest.raises(HaigoError, match=message):
            dedup.dedup(arguments.pop("folders"), arguments.pop("output_dir"), **arguments)
    assert set(texts(folder)["train"]) == {"a"}


def test_what_the_help_says_of_memory_is_what_the_report_says(tmp_path):
    folder = write(tmp_path / "c", "c", {"train": [("a", "文書" * 30)]})
    assert 100 < dedup.dedup([folder], None)["memory_mb_per_million_documents"] < 115
    assert "0.11 GB for a million" in dedup.__doc__


def test_the_command_prints_and_a_dry_run_writes_nothing(tmp_path, capsys):
    folder = write(tmp_path / "c", "c", {"train": [("a", "文書" * 30), ("b", "文書 " * 30)]})
    assert dedup.main([str(folder), "--dry-run"]) == 0
    assert "2 documents in, 1 out" in capsys.readouterr().out
    assert dedup.main([str(folder), "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["corpora"]["c"]["exact_duplicate"] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


DIFFERENT = DATA["different"]  # fmt: skip


@pytest.mark.parametrize("method", ["minhash", "exact"])
@pytest.mark.parametrize("pair", DIFFERENT)
def test_texts_that_mean_different_things_stay(tmp_path, pair, method):
    folder = write(tmp_path / "c", "c", {"train": [("a", pair[0]), ("b", pair[1])]})
    assert dedup.dedup([folder], None, method=method)["documents_out"] == 2


@pytest.mark.parametrize("pair", DATA["texts_that_are_equal_do_not"])
def test_texts_that_are_equal_do_not(tmp_path, pair):
    folder = write(tmp_path / "c", "c", {"train": [("a", pair[0]), ("b", pair[1])]})
    assert dedup.dedup([folder], None, method="exact")["documents_out"] == 1


def test_long_code_is_not_equal_for_one_operator(tmp_path):
    code = "".join(f"total{n} = price{n} - discount{n} * amount{n}\n" for n in range(20))
    folder = write(tmp_path / "c", "c", {"train": [("a", code), ("b", code.replace("price7 -", "price7 +"))]})
    assert dedup.dedup([folder], None, method="exact")["documents_out"] == 2


def test_equal_texts_are_equal_in_any_lot():
    rng = random.Random(2)
    lot = [
        "".join(rng.choice("12 a \n-あe\u0301") for _ in range(rng.randrange(6))) * rng.choice((1, 40))
        for _ in range(900)
    ]
    sketcher = Sketcher(Shape())
    alone = np.concatenate([sketcher.sketch([text]).digests for text in lot])
    for size in (2, 7, 900):
        parts = [sketcher.sketch(lot[at : at + size]).digests for at in range(0, len(lot), size)]
        assert (np.concatenate(parts) == alone).all()
