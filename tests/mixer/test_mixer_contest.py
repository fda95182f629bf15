"""benchmarks/contest.py and promise.py: killed at any moment, the same command goes on; a table is read as a search does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from mixer_worlds import world

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
    before: dict[str, int] = {}
    for count in (1, 3, 8):
        killed = started(cut)
        while len(answers(cut)) < count and killed.poll() is None:
            time.sleep(0.05)
        killed.send_signal(signal.SIGKILL)
        killed.communicate()
        now = {path.name: path.stat().st_mtime_ns for path in answers(cut)}
        assert before.items() <= now.items()
        before = now
    assert 8 <= len(before) < 12
    assert started(cut).wait(timeout=300) == 0
    assert all(path.stat().st_mtime_ns == before[path.name] for path in answers(cut) if path.name in before)
    first, second = (next(keep.glob("made-up-*/contest.csv")).read_bytes() for keep in (whole, cut))
    assert first == second and len(first.splitlines()) == 13


def test_a_table_of_ones_own_keeps_its_limits_and_lowers_no_score(tmp_path):
    table = world(tmp_path, 32)
    table.metrics.append("qa_acc")
    table.losses = np.c_[table.losses, 1.0 / table.losses[:, 0]]
    table.write()
    caps = {name: 0.3 if name == table.corpora[0] else 1.0 for name in table.corpora}
    (tmp_path / "supply.csv").write_text("corpus,max\n" + "".join(f"{name},{top}\n" for name, top in caps.items()))
    words = [tmp_path, "--seeds", "1", "--runs", "16", "--methods", "explaw", "--keep", tmp_path / "keep"]
    command = [sys.executable, ROOT / "benchmarks" / "contest.py", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0 and "qa_acc left out: 'qa_acc' looks like a score" in done.stdout, done.stderr
    rows = [json.loads(path.read_text()) for path in (tmp_path / "keep").glob("*/*.json")]
    assert len(rows) == 8 and all(row["weights"][0] <= 0.3 + 1e-6 for row in rows)


def test_a_line_that_a_kill_cut_short_is_done_again(tmp_path):
    state = tmp_path / "promise.jsonl"
    state.write_text('["gp/arxiv/64/0", {"regret": 0.1}]\n["gp/arxiv/64/1", {"loss": [{"error": 0.1}]')
    read = f"import promise; from pathlib import Path; print(promise.noted(Path({str(state)!r})))"
    out = subprocess.run([sys.executable, "-c", read], cwd=ROOT / "benchmarks", capture_output=True, text=True)
    assert out.stdout == "{'gp/arxiv/64/0': {'regret': 0.1}}\n", out.stderr
    assert state.read_text().endswith("}]\n")
