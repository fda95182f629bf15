"""`mixer.search` killed at any moment: and the same command ends in the same bytes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from mixer_worlds import world

ROOT = Path(__file__).parents[2]


def started(folder: Path) -> subprocess.Popen[str]:
    words = ["--ratios", "../ratios.csv", "--metrics", "../metrics.csv", "--objective", "news_bpb", "--bootstrap", "10"]
    words += ["--output", "mixture.yml", "--figures", "drawn", "--ceiling", "wiki_bpb=+5%"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-m", "mixer.search", *words],
        cwd=folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def killed(folder: Path, when: Callable[[], bool]) -> bool:
    """Run it until then; whether it was still running."""
    running = started(folder)
    while not when() and running.poll() is None:
        time.sleep(0.005)
    running.send_signal(signal.SIGKILL)
    running.communicate()
    return running.returncode == -signal.SIGKILL


def written(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.slow
def test_a_killed_search_ends_in_the_same_bytes(tmp_path):
    world(tmp_path, 16).write()
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    for folder in (whole, cut):
        folder.mkdir()
    assert started(whole).wait(timeout=300) == 0
    assert killed(cut, lambda: True)  # while it begins; in the midst of it: tests/torture.py
    assert not (cut / "mixture.yml").exists()
    mixture, drawn = cut / "mixture.yml", cut / "drawn"
    points = [mixture.exists, lambda: any(drawn.glob("*.svg")), lambda: len(list(drawn.glob("*.*g"))) > 4]
    hit = [killed(cut, point) for point in points]
    assert any(hit)
    assert mixture.read_bytes() == (whole / "mixture.yml").read_bytes()
    assert started(cut).wait(timeout=300) == 0
    after, want = written(cut), written(whole)
    assert set(after) == set(want)  # no scratch is left lying about
    assert [name for name in want if after[name] != want[name] and Path(name).name != ".haigo"] == []
