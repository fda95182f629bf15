"""Whoever reads along may go: `2>&1 | head`, a terminal that is closed. The work and its exit code are not about that."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


def call(words, cwd, **streams):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-B", "-m", *words], cwd=cwd, env=environment, timeout=120, **streams
    ).returncode


@pytest.fixture(params=["pipe", "terminal"])
def deserted(request):
    """Something to write to that nobody reads any more."""
    reader, writer = os.pipe() if request.param == "pipe" else pty.openpty()
    os.close(reader)
    yield writer
    os.close(writer)


@pytest.mark.parametrize("which", ["stdout", "stderr", "both"])
def test_the_work_is_done(deserted, tmp_path, which):
    text = "国会の議事を伝える文が続く。" * 20
    rows = [json.dumps({"id": str(number), "text": f"{number}番。{text}"}) for number in range(20)]
    (tmp_path / "news.jsonl").write_text("\n".join(rows) + "\n")
    streams = dict.fromkeys(["stdout", "stderr"] if which == "both" else [which], deserted)
    words = ["preprocess.clean", "news.jsonl", "--corpus", "news", "--workers", "2", "--output-dir", "out"]
    assert call(words, tmp_path, **streams) == 0
    assert (tmp_path / "out" / "clean.json").is_file() and list((tmp_path / "out").glob("*/*.jsonl.zst"))


@pytest.mark.parametrize("which", ["stdout", "stderr", "both"])
def test_a_refusal_stays_one(deserted, tmp_path, which):
    (tmp_path / "c.yml").write_text("{num_layers: 2}")
    streams = dict.fromkeys(["stdout", "stderr"] if which == "both" else [which], deserted)
    assert call(["launch.preflight", "c.yml", "--gpus", "1"], tmp_path, **streams) == 3


def test_an_answer_that_does_not_fit_on_the_disk_is_no_success(tmp_path):
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    words = ["launch.plan", "--model", "1-3B", "--cluster", "a100-40gb", "--nodes", "1", "--tokens", "20e9"]
    with open("/dev/full", "w") as full:
        assert call(words, tmp_path, stdout=full, stderr=subprocess.DEVNULL) == 2
