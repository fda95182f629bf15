"""benchmarks/gpu.py: its parts run on a CPU as they would on a card, and without a card it says so."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def run(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "benchmarks" / "gpu.py"), *map(str, words)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


@pytest.mark.skipif(os.path.exists("/dev/nvidiactl"), reason="there is an NVIDIA device")
def test_without_a_card_it_says_so(tmp_path: Path) -> None:
    done = run("--output-dir", tmp_path)
    assert done.returncode == 0 and done.stdout.startswith("skipped: this process sees no CUDA device")
    assert done.stdout.count("\n") == 1 and not list(tmp_path.iterdir())


@pytest.mark.slow
def test_every_part_runs(tmp_path: Path) -> None:
    done = run("--device", "cpu", "--small", "--output-dir", tmp_path, "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said == json.loads((tmp_path / "gpu.json").read_text())
    assert said["speed"]["tiny"]["trainer_tokens_per_s"] > 0 < said["speed"]["tiny"]["mfu_of_product"]
    assert said["memory"]["tiny"]["ratio"] > 0
    (only,) = (value for name, value in said["curve"].items() if name != "seconds")
    assert only["largest difference of a loss from the CPU"] == 0
    assert said["sharing"]["2 at a time"]["tokens_per_s"] > 0
    assert len(said["screen"]["spearman"]) == 7 and said["compiled"]["tokens_per_s"] > 0
