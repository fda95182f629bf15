"""What a user changed in a file that Haigo wrote is kept when the command writes it again."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from haigo import cli, files, ownership
from mixer import design
from preprocess import clean

WORDS = ["--corpora", "news,code", "--runs", "4", "--output"]


def test_an_edited_table_is_put_aside(tmp_path, capsys):
    path = tmp_path / "ratios.csv"
    assert cli.run(design.main, [*WORDS, str(path)]) == 0
    whole = path.read_bytes()
    assert cli.run(design.main, [*WORDS, str(path)]) == 0 and "kept as" not in capsys.readouterr().err
    path.write_bytes(whole + b"mine,0.5,0.5\n")
    assert cli.run(design.main, [*WORDS, str(path)]) == 0
    assert path.read_bytes() == whole and (tmp_path / "ratios.csv.edited").read_bytes() == whole + b"mine,0.5,0.5\n"
    assert "was changed since it was written: that is kept as ratios.csv.edited" in capsys.readouterr().err
    path.write_bytes(b"other")
    assert cli.run(design.main, [*WORDS, str(path)]) == 0
    assert (tmp_path / "ratios.csv.edited.2").read_bytes() == b"other"


def test_what_was_written_again_by_hand_as_it_is_now_is_no_edit(tmp_path):
    path = tmp_path / "a.yml"
    files.write_text(path, "a: 1\n")
    path.write_text("a: 2\n")
    files.write_text(path, "a: 2\n")
    files.write_text(path, "a: 3\n")
    assert sorted(os.listdir(tmp_path)) == [".haigo", "a.yml"]


def test_a_kill_between_a_note_and_its_file_is_no_edit(tmp_path, capsys):
    path = tmp_path / "a.yml"
    files.write_text(path, "a: 1\n")
    ownership.note(path, hashlib.sha256(b"a: 2\n").hexdigest())
    files.write_text(path, "a: 2\n")
    assert path.read_text() == "a: 2\n" and not list(tmp_path.glob("*.edited*")) and not capsys.readouterr().err


def test_a_journal_without_digests_is_read(tmp_path):
    path = tmp_path / "a.yml"
    files.write_text(path, "a: 1\n")
    journal = tmp_path / ".haigo"
    journal.write_bytes(b"".join(line for line in journal.read_bytes().splitlines(True) if not line.startswith(b"#")))
    path.write_text("a: 2\n")
    files.write_text(path, "a: 3\n")
    assert path.read_text() == "a: 3\n" and files.made(path)


HOLDER = """
import os, signal, sys, time
from haigo import files
with files.owner(sys.argv[1]):
    if os.fork() == 0:
        time.sleep(float(sys.argv[2]))
        os._exit(0)
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize(("lives", "code"), [("1", 0), ("20", 2)])
def test_a_lock_of_a_killed_owner_is_waited_for(tmp_path, capsys, monkeypatch, lives, code):
    """Its workers hold it a moment longer; one that lives on is told."""
    out = tmp_path / "out"
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(out), lives], stdout=subprocess.PIPE)
    assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
    (tmp_path / "a.jsonl").write_text(
        "".join(f'{{"text": "これは{n}番目の文章です。長さは十分にあります。"}}\n' for n in range(99))
    )
    words = [str(tmp_path / "a.jsonl"), "--corpus", "a", "--output-dir", str(out), "--min-chars", "1"]
    began = time.monotonic()
    assert cli.run(clean.main, words) == 2 and "in use" in capsys.readouterr().err
    assert time.monotonic() - began < 20  # an owner that is alive is told at once, whatever the machine's load
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert cli.run(clean.main, words) == code
    assert (Path(out) / "clean.json").is_file() == (code == 0)
    if code == 0:
        assert cli.run(clean.main, words) == 0  # the lock is left as the next command can read it
