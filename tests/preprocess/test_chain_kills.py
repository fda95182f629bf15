"""The text chain by its commands, killed with -9 at random moments and called again: the bytes are the unbroken run's.

A moment is a file being opened, renamed or removed (whatever the machine's speed), drawn by a seed from all of them.
"""

import importlib
import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from haigo import cli

ROOT = Path(__file__).parent.parent.parent
LETTERS = [chr(code) for code in range(0x4E00, 0x4E60)] + list("のにはをがとでもからしていたこと、。")
STEPS = [
    "preprocess.fetch.__main__ mediawiki-dump --file dump.xml --workers 1 --output-dir raw/wiki",
    "preprocess.clean raw/wiki --corpus wiki --output-dir clean/wiki",
    "preprocess.clean news.jsonl --corpus news --profile news --output-dir clean/news",
    "preprocess.dedup clean/wiki clean/news --output-dir dedup",
    "preprocess.decontaminate dedup/wiki dedup/news --against items.json --output-dir final",
    "preprocess.quality --good final/news --ordinary final/wiki --output-dir quality",
    "preprocess.score final/wiki final/news --quality quality --perplexity quality --output-dir scored",
    "preprocess.sample final/wiki final/news --characters 15000 --output-dir sample",
    "preprocess.tokenizer final/wiki final/news --sample sample --vocab-size 500 --output-dir tokenizer",
    "preprocess.index final/wiki/train final/news/train --tokenizer tokenizer --output-prefix data/all",
]
_DIE = """
import os, signal, sys
from importlib import import_module
from haigo import cli
module, left = sys.argv[1], int(sys.argv[2])
main = import_module(module).main
def hook(event, arguments):
    global left
    if event in ("os.rename", "os.remove", "os.rmdir", "os.mkdir") or event == "open" and watched(arguments[0]):
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
def watched(path):
    path = os.path.abspath(os.fsdecode(path)) if isinstance(path, (str, bytes)) else ""
    return path.startswith(os.getcwd()) and not path.endswith(".pyc")
if left:
    sys.addaudithook(hook)
code = cli.run(main, sys.argv[3:])
print("left", left, file=sys.stderr)
raise SystemExit(code)
"""
_MANY = 1_000_000


def invented(rng, size):
    return "".join(rng.choices(LETTERS, k=size)) + "。"


def write_raw(place):
    """A dump, a jsonl with repeats of it, and evaluation items of which some stand in both."""
    rng = random.Random(5)
    place.mkdir()
    texts = ["\n".join(invented(rng, rng.randint(30, 90)) for _ in range(6)) for _ in range(70)]
    asked = [invented(rng, 40) for _ in range(6)]
    pages = "".join(
        f"<page><title>題{number}</title><ns>0</ns><id>{number}</id><revision><id>{number}</id>"
        f'<text xml:space="preserve">{text}</text></revision></page>'
        for number, text in enumerate([*texts, *(f"問い{text}{invented(rng, 200)}" for text in asked[:2])], start=1)
    )
    (place / "dump.xml").write_text(f"<mediawiki><siteinfo></siteinfo>{pages}</mediawiki>", encoding="utf-8")
    news = ["\n".join(invented(rng, rng.randint(30, 90)) for _ in range(6)) for _ in range(60)]
    news += [f"{text}\n追記。" for text in texts[:10]] + [f"{text}\n{invented(rng, 200)}" for text in asked[2:4]]
    rows = [{"id": f"n{number}", "text": text} for number, text in enumerate(news)]
    lines(place / "news.jsonl", rows)
    items = [
        {"q_id": number, "question": text, "label": 0, "choice0": "一", "choice1": "二"}
        for number, text in enumerate(asked)
    ]
    lines(place / "items.json", items)


def lines(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def die(step, moment, cwd):
    """Run a step that is killed at the moment; its exit code and how many moments it had."""
    module, *words = step.split()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HAIGO_QUIET": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-B", "-c", _DIE, module, str(moment), *words],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode, moment - int(done.stderr.split()[-1]) if done.returncode == 0 else 0


def call(step):
    """Run a step here, as a user would who repeats the command."""
    module, *words = step.split()
    assert cli.run(importlib.import_module(module).main, words) == 0


def held(place):
    """Path -> bytes of all that a chain left, without locks and the state that fetching goes on from."""
    found = {}
    for path in sorted(place.rglob("*")):
        name = path.relative_to(place)
        if path.is_file() and not path.name.startswith(".haigo") and ".fetch" not in name.parts:
            found[str(name)] = path.read_bytes()
    return found


def broken_and_whole(tmp_path, monkeypatch, kills, seed):
    """Two chains over the same text, one of them killed; what each holds, and how many kills struck."""
    for name in ("whole", "killed"):
        write_raw(tmp_path / name)
    monkeypatch.chdir(tmp_path / "whole")
    if kills > len(STEPS):
        moments = [die(step, _MANY, tmp_path / "whole")[1] for step in STEPS]
    else:
        for step in STEPS:
            call(step)
        moments = [8] * len(STEPS)
    starts = [sum(moments[:number]) for number in range(len(STEPS))]
    drawn = sorted(random.Random(seed).sample(range(sum(moments)), kills))
    monkeypatch.chdir(tmp_path / "killed")
    struck = 0
    for step, start, size in zip(STEPS, starts, moments, strict=True):
        for moment in [each - start + 1 for each in drawn if start <= each < start + size]:
            struck += die(step, moment, tmp_path / "killed")[0] != 0
        call(step)
    return held(tmp_path / "whole"), held(tmp_path / "killed"), struck


def check(whole, killed, struck, kills):
    assert whole.keys() == killed.keys(), whole.keys() ^ killed.keys()
    assert [name for name in whole if whole[name] != killed[name]] == []
    assert not [name for name in whole if any(part.startswith(".") for part in Path(name).parts)]
    for wanted in (
        "raw/wiki/DATA_CARD.json",
        "final/contaminated.jsonl",
        "tokenizer/meta.json",
        "data/all_text_document.idx",
    ):
        assert whole[wanted], wanted
    assert 1 <= len(whole["final/contaminated.jsonl"].splitlines()) <= 4
    assert json.loads(whole["dedup/dedup.json"])["corpora"]["news"]["near_duplicate"] >= 8
    assert struck >= kills * 2 // 3  # a step that goes on from where it was has fewer moments left than at first


def test_kills_at_a_few_moments_leave_the_same_bytes(tmp_path, monkeypatch):
    check(*broken_and_whole(tmp_path, monkeypatch, 4, seed=1), 4)


@pytest.mark.slow
def test_kills_at_twenty_moments_leave_the_same_bytes(tmp_path, monkeypatch):
    check(*broken_and_whole(tmp_path, monkeypatch, 20, seed=2), 20)
