"""launch.pipeline with proxies in two rounds: the second half is designed around what the first one says. Nothing is stood in
for: small models of a tiny world are trained."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from haigo import cli, files
from launch.pipeline import runfile
from launch.pipeline.__main__ import main as pipeline_main

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[3]

RUN = """
output: {out}
corpora:
  encyclopedia: {{files: "{world}/encyclopedia/*.bz2"}}
  news: {{files: "{world}/news/*.gz", max: 0.6}}
  stories: {{files: "{world}/stories/*.xz"}}
split: [0.8, 0.1, 0.1]
tokenizer: {{vocab_size: 1700, chars_per_corpus: 30000}}
objective: {{metrics: {{news_bpb: 1.0}}, ceilings: {{stories_bpb: "+20%"}}}}
proxies: {{model: 0-1M, runs: 9, held_out: 1, tokens: 8400, eval_tokens: 1000, screen: 4, rounds: 2}}
search: {{bootstrap: 4, force: true, max_epochs: 400}}
train: {{model: 0-1M, tokens: 2100, evaluations: 1, eval_tokens: 500, test_tokens: 500, compare: [token_share]}}
configs: {{models: [1-3B]}}
"""


def call(*words):
    return cli.run(pipeline_main, list(map(str, words)))


@pytest.fixture(scope="module")
def run_file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rounds")
    words = [
        sys.executable,
        "-m",
        "examples.world",
        "--output-dir",
        str(folder / "world"),
        "--seed",
        "3",
        "--size",
        "0.08",
    ]
    subprocess.run(words, cwd=ROOT, check=True, capture_output=True)
    path = folder / "run.yml"
    path.write_text(RUN.format(world=folder / "world", out=folder / "out"), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def finished(run_file):
    """A run that was killed in its second round, and then finished by the same command."""
    out = run_file.parent / "out"
    words = [sys.executable, "-m", "launch.pipeline", str(run_file)]
    first = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    deadline = time.monotonic() + 900
    while not (out / "proxies" / "runs" / "p005" / "result.json").exists():
        assert first.poll() is None, first.stdout.read()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    first.send_signal(signal.SIGKILL)
    first.wait()
    kept = (out / "round-1" / "proxies" / "runs" / "p001" / "result.json").stat().st_mtime_ns
    assert call(run_file) == 0
    assert (out / "round-1" / "proxies" / "runs" / "p001" / "result.json").stat().st_mtime_ns == kept
    return out


def rows(path):
    with open(path, newline="") as handle:
        return list(csv.DictReader(handle))


def test_the_second_round_goes_on_from_the_first(finished):
    first, both = rows(finished / "round-1" / "design" / "ratios.csv"), rows(finished / "design" / "ratios.csv")
    assert [row["run"] for row in first] == ["p000", "p001", "p002", "p003", "p004", "h000"]
    assert both[:6] == first and [row["run"] for row in both[6:]] == ["p005", "p006", "p007", "p008"]
    assert all(float(row["news"]) <= 0.6 and min(map(float, list(row.values())[1:])) >= 0.01 for row in both)
    learnt = {row["run"]: row for row in rows(finished / "proxies" / "metrics.csv")}
    assert set(learnt) == {row["run"] for row in both}
    # what the first round trained is copied, not trained again: even the seconds are the same
    assert all(learnt[row["run"]] == row for row in rows(finished / "round-1" / "proxies" / "metrics.csv"))
    for name in ("result.json", "log.jsonl"):
        each = Path("proxies", "runs", "p002", name)
        assert (finished / each).read_bytes() == (finished / "round-1" / each).read_bytes()
    answer = " ".join((finished / "search" / "mixture.yml").read_text(encoding="utf-8").split())
    assert "--ratios design/ratios.csv --metrics proxies/metrics.csv" in answer and "--held-out h" in answer


def test_summary_and_report_say_the_rounds(finished):
    summary = json.loads((finished / "summary.json").read_text())
    assert summary["proxies"] == {"rounds": 2, "first": 5, "second": 4, "held_out": 1}
    page = " ".join((finished / "report.html").read_text(encoding="utf-8").split())
    assert (
        "10 small models" in page and "in two rounds: 5 spread over the limits (1 more were held out), then 4" in page
    )


def test_nothing_is_done_again_and_a_moved_folder_goes_on(finished, run_file, capsys):
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("result.json")}
    assert call(run_file) == 0 and call("--verify", run_file) == 0
    capsys.readouterr()
    assert call(run_file, "--dry-run") == 0
    said = capsys.readouterr().out
    assert (
        "round-1/proxies: unchanged" in said and "to do" not in said and "changed" not in said.replace("unchanged", "")
    )
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("result.json")} == before
    away = finished.parent / "away"
    shutil.copytree(finished, away, symlinks=True)
    for path in finished.rglob("*"):
        if path.is_file():
            stat = path.stat()
            os.utime(away / path.relative_to(finished), ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert call(run_file, "--output-dir", away) == 0
    said = capsys.readouterr().err
    assert "round-1/design: unchanged" in said and "proxies: unchanged" in said and "trained" not in said


def test_another_objective_keeps_the_first_round(finished, run_file, capsys):
    assert (
        call(run_file, "--dry-run", "--set", "objective.metrics={stories_bpb: 1.0}", "--set", "objective.ceilings={}")
        == 0
    )
    said = capsys.readouterr().out
    assert "round-1/proxies: unchanged" in said and "  design: changed" in said


def test_a_damaged_run_of_the_first_round_is_named_and_trained_anew(finished, run_file, capsys):
    path = finished / "round-1" / "proxies" / "runs" / "p001" / "result.json"
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b'"tokens"', b'"tokenz"'))
    assert call("--verify", run_file) == cli.REFUSED
    assert str(path) in capsys.readouterr().err
    assert call(run_file) == 0
    assert json.loads(path.read_bytes())["metrics"] == json.loads(whole)["metrics"]
    assert "  design: unchanged" in capsys.readouterr().err


def test_one_round_that_is_there_stays_one(run_file, tmp_path, capsys):
    words = ["--output-dir", tmp_path / "out", "--set", "proxies.runs=16", "--set", "proxies.tokens=2100"]
    text = run_file.read_text(encoding="utf-8")
    once, left_open = tmp_path / "once.yml", tmp_path / "open.yml"
    once.write_text(text.replace("rounds: 2", "rounds: 1"), encoding="utf-8")
    left_open.write_text(text.replace(", rounds: 2", ""), encoding="utf-8")
    assert call(once, *words) == 0
    assert not (tmp_path / "out" / "round-1").exists()
    capsys.readouterr()
    assert call(left_open, *words) == 0
    said = capsys.readouterr().err
    assert "design: designed at once by an earlier run, and stays so" in said and "proxies: unchanged" in said
    assert call(run_file, "--dry-run", *words) == 0
    said = capsys.readouterr().out
    assert "round-1/design: to do" in said and "  design: changed" in said
    # a new folder has two rounds from 16 runs on
    assert call(left_open, "--dry-run", *words, "--output-dir", tmp_path / "new") == 0
    capsys.readouterr()


def test_a_summary_of_before_there_were_rounds_is_still_shown(finished, monkeypatch):
    from launch.pipeline import summary
    from launch.pipeline.page import report

    page = finished / "report.html"
    whole = page.read_bytes()
    said = summary.read(finished)
    run = runfile.read(finished / "run.yml")
    monkeypatch.setattr(summary, "read", lambda root: {key: value for key, value in said.items() if key != "proxies"})
    try:
        report.write(finished, run)
        assert "in two rounds" not in page.read_text(encoding="utf-8")
    finally:
        files.write_text(page, whole.decode())
