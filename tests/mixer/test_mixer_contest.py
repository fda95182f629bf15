"""benchmarks/contest.py: killed at any moment, the same command goes on to the same bytes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def started(keep: Path) -> subprocess.Popen[str]:
    words = ["--made-up", "--seeds", "1", "--runs", "16", "--methods", "explaw,token_share,unimax", "--keep", str(keep)]
    command = [sys.executable, str(ROOT / "benchmarks" / "contest.py"), *words]
    without = {name: value for name, value in os.environ.items() if not name.startswith("OLMIX")}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=without)


def answers(keep: Path) -> list[Path]:
    return list(keep.glob("made-up-*/*.json"))


@pytest.mark.slow
def test_a_killed_contest_goes_on_to_the_same_bytes(tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    out, said = started(whole).communicate(timeout=300)
    assert "Olmix left out: OLMIX_DIR" in out and "regret by objective" in out, said
    killed = started(cut)
    while len(answers(cut)) < 3 and killed.poll() is None:
        time.sleep(0.05)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    before = {path.name: path.stat().st_mtime_ns for path in answers(cut)}
    assert 3 <= len(before) < 12
    assert started(cut).wait(timeout=300) == 0
    assert all(path.stat().st_mtime_ns == before[path.name] for path in answers(cut) if path.name in before)
    first, second = (next(keep.glob("made-up-*/contest.csv")).read_bytes() for keep in (whole, cut))
    assert first == second and len(first.splitlines()) == 13
