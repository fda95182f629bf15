"""A large file that is cleaned, killed and cleaned again: finished parts are not cleaned again, and the bytes are the same."""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from haigo import digests, files
from preprocess import clean, clean_parts, cleaner, cleaning

ROOT = Path(__file__).resolve().parents[2]


def rows(count, seed=3):
    rng = random.Random(seed)
    for number in range(count):
        text = "".join(rng.choices("日本の山は雨である質問。\n", k=rng.randrange(60, 200)))
        yield {
            "id": number % 701,
            "text": text if number % 13 else "前に見た文章である。" * 9,
            "url": f"https://a{number % 3}.jp/{number}",
        }


@pytest.fixture
def large(tmp_path, monkeypatch):
    path = tmp_path / "large.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows(900)))
    monkeypatch.setattr(cleaning, "KEPT_FROM", 1)
    monkeypatch.setattr(cleaner.lots, "__defaults__", (2000,))
    return path


def content(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in digests.below(folder)
    }


@pytest.mark.parametrize("more", [{}, {"profile": "web"}, {"max_documents": 500}, {"workers": 2}])
def test_a_stopped_run_goes_on_and_gives_the_same_bytes(large, tmp_path, monkeypatch, capsys, more):
    if more.get("workers"):
        more |= {"profile": "news"}
    clean.clean_corpus("x", [large], tmp_path / "whole", min_chars=5, **more)
    cleaned = []
    real = cleaner.clean_lot

    def counted(options, lot):
        if len(cleaned) == 25:
            raise KeyboardInterrupt
        cleaned.append(len(lot))
        return real(options, lot)

    if "workers" in more:  # a pickled function is looked up by its name: what stops is the writing of a part
        kept = clean_parts.sealed.write

        def stops(path, value):
            if path.name == "00003.json" and not (tmp_path / "stopped").exists():
                (tmp_path / "stopped").touch()
                raise KeyboardInterrupt
            return kept(path, value)

        monkeypatch.setattr(clean_parts.sealed, "write", stops)
    else:
        monkeypatch.setattr(cleaner, "clean_lot", counted)
    with pytest.raises(KeyboardInterrupt):
        clean.clean_corpus("x", [large], tmp_path / "out", min_chars=5, **more)
    assert len(list((tmp_path / "out").rglob("parts/*.json"))) == (3 if "workers" in more else 1)
    cleaned.append(0)
    clean.clean_corpus("x", [large], tmp_path / "out", min_chars=5, **more)
    assert "goes on after" in capsys.readouterr().err
    assert content(tmp_path / "out") == content(tmp_path / "whole") and not (tmp_path / "out" / ".partial").exists()


def test_parts_of_other_options_or_damaged_ones_are_not_believed(large, tmp_path, monkeypatch, capsys):
    clean.clean_corpus("x", [large], tmp_path / "whole", min_chars=70)

    def stop(*_):
        raise KeyboardInterrupt

    for change in ("options", "damage"):
        with monkeypatch.context() as patched:
            patched.setattr(cleaning.split.SplitWriter, "close", stop)
            with pytest.raises(KeyboardInterrupt):
                clean.clean_corpus("x", [large], tmp_path / "out", min_chars=5 if change == "options" else 70)
        capsys.readouterr()
        if change == "damage":
            part = sorted((tmp_path / "out").rglob("parts/*.jsonl.zst"))[0]
            part.write_bytes(part.read_bytes()[:-1])
        clean.clean_corpus("x", [large], tmp_path / "out", min_chars=70)
        assert "goes on after" not in capsys.readouterr().err
        assert content(tmp_path / "out") == content(tmp_path / "whole")


def test_a_small_corpus_leaves_no_parts_while_it_is_cleaned(tmp_path, monkeypatch):
    path = tmp_path / "small.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows(30)))
    monkeypatch.setattr(clean_parts.Parts, "_flush", lambda self: pytest.fail("written"))
    assert clean.clean_corpus("x", [path], tmp_path / "out", min_chars=5)["documents_in"] == 30


@pytest.mark.slow
def test_kill_9_in_the_middle_of_a_big_file(tmp_path):
    """The command as users give it, on a file that is large enough to be kept in parts."""
    path = tmp_path / "big.jsonl"
    with open(path, "w") as handle:
        for number in range(10):
            for row in rows(9000, seed=number):
                handle.write(json.dumps(row, ensure_ascii=False) + "\n")
    assert path.stat().st_size > cleaning.KEPT_FROM
    words = [sys.executable, "-m", "preprocess.clean", str(path), "--corpus", "x", "--output-dir"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    subprocess.run([*words, str(tmp_path / "whole")], check=True, env=environment, cwd=tmp_path, capture_output=True)
    child = subprocess.Popen([*words, str(tmp_path / "out")], env=environment, cwd=tmp_path, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 120
    while not list((tmp_path / "out").rglob("parts/00000.json")) and time.monotonic() < end and child.poll() is None:
        time.sleep(0.02)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    done = subprocess.run(
        [*words, str(tmp_path / "out")], env=environment, cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0 and "goes on after" in done.stderr
    assert content(tmp_path / "out") == content(tmp_path / "whole")
    assert files.ours(tmp_path / "out")
