"""launch.pipeline: the whole chain on a small world, broken off, resumed, changed and misused. Nothing is stood in for."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from page_texts import english
from shared_data import data_of

from haigo import cli
from launch.pipeline import actions, runfile
from launch.pipeline.__main__ import main as pipeline_main
from launch.pipeline.page import report

DATA = data_of(__file__)

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[3]

RUN = """
output: {out}
title: small
corpora:
  encyclopedia: {{files: "{world}/encyclopedia/*.bz2", group: ja}}
  news: {{files: "{world}/news/*.gz", group: ja}}
  stories: {{files: "{world}/stories/*.xz", group: ja, max: 0.5}}
split: [0.8, 0.1, 0.1]
tokenizer: {{vocab_size: 1700, chars_per_corpus: 60000}}
objective: {{metrics: {{qa_bpb: 1.0, news_bpb: 1.0}}, ceilings: {{stories_bpb: "+10%"}}}}
pairs: {{qa: "{world}/qa/pairs_dev.jsonl"}}
test_pairs: {{qa: "{world}/qa/pairs_test.jsonl"}}
proxies: {{model: 0-1M, runs: 8, held_out: 2, tokens: 16000, eval_tokens: 2000, screen: 12}}
search: {{bootstrap: 20, force: true, max_epochs: 40}}
train: {{model: 0-1M, tokens: 16000, evaluations: 2, eval_tokens: 2000, test_tokens: 4000, compare: [token_share, uniform]}}
scores: {{tasks: [jcommonsenseqa-1.1-0.3], num_fewshot: [0], limit: 10, data_dir: "{world}/qa"}}
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    words = [sys.executable, "-m", "examples.world", "--output-dir", str(folder), "--seed", "3", "--size", "0.08"]
    subprocess.run(words, cwd=ROOT, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def run_file(world, tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "run.yml"
    path.write_text(RUN.format(world=world, out=path.parent / "out"), encoding="utf-8")
    return path


def start(run_file, *more):
    words = [sys.executable, "-m", "launch.pipeline", str(run_file), *more]
    return subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def wait_for(path, process, seconds=900):
    deadline = time.monotonic() + seconds
    while not path.exists():
        assert process.poll() is None, process.stdout.read()
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.05)


def call(*words):
    return cli.run(pipeline_main, list(map(str, words)))


@pytest.fixture(scope="module")
def finished(run_file):
    """A run that was killed twice, in the proxies and in the training, and then finished by the same command."""
    out = run_file.parent / "out"
    first = start(run_file)
    wait_for(out / "proxies" / "runs" / "p003" / "result.json", first)
    second = start(run_file)
    said, _ = second.communicate(timeout=300)
    assert second.returncode == 2 and "in use by another process" in said and "Traceback" not in said
    first.send_signal(signal.SIGKILL)
    first.wait()
    kept = (out / "proxies" / "runs" / "p001" / "result.json").stat().st_mtime_ns
    again = start(run_file)
    wait_for(out / "models" / "chosen" / "log.jsonl", again)
    again.send_signal(signal.SIGINT)
    said, _ = again.communicate(timeout=300)
    assert again.returncode == 130, said
    assert "The same command goes on from here" in said and "Traceback" not in said
    last = start(run_file)
    said, _ = last.communicate(timeout=900)
    assert last.returncode == 0, said
    assert (out / "proxies" / "runs" / "p001" / "result.json").stat().st_mtime_ns == kept
    return out


def markers(out):
    return {str(path.relative_to(out)): path.stat().st_mtime_ns for path in out.rglob(".done.json")}


def test_everything_is_there(finished):
    summary = json.loads((finished / "summary.json").read_text())
    assert set(summary["models"]) == {"chosen", "token_share", "uniform"}
    assert abs(sum(summary["weights"].values()) - 1) < 1e-6 and summary["weights"]["stories"] <= 0.5 + 1e-9
    for model in summary["models"].values():
        assert {"qa_bpb", "news_bpb", "stories_bpb", "encyclopedia_bpb"} == set(model["metrics"])
        assert model["tokens"] == summary["models"]["chosen"]["tokens"]
        assert 0 <= model["scores"]["jcommonsenseqa-1.1-0.3"]["acc"] <= 1
    for size in ("1-3B", "2-7B", "7B", "13B"):
        config = yaml.safe_load((finished / "configs" / f"{size}.yml").read_text())
        assert len(config["train_data_paths"]) == len(config["train_data_weights"]) >= 2
        assert config["data_impl"] == "mmap"
        told = json.loads((finished / "configs" / f"{size}.deepspeed.json").read_text())
        assert told["train_batch_size"] == config["train_batch_size"] and told["bf16"] == {"enabled": True}
    plan = json.loads((finished / "configs" / "plan.json").read_text())
    assert {row["model"]: row["nodes"] for row in plan["configs"]}["13B"] > 1
    assert any("13B does not fit" in note for note in plan["notes"])


def test_the_search_had_the_screen(finished):
    with open(finished / "screen" / "metrics.csv", newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert len(rows) == 8 + 2 + 12 and {row["size"] for row in rows} == {"2-gram"}
    answer = (finished / "search" / "answer.txt").read_text()
    # one or two of the twelve may be a proxy's mixture (token share), which is then no help
    assert re.search(r"Screen of 1[0-2] n-gram mixtures; its rank correlation with the proxies: .*news_bpb", answer)


def test_the_report_in_japanese_holds_no_english_sentence(finished, tmp_path):
    root = tmp_path / "moved"
    shutil.copytree(finished, root)
    run = runfile.read(root / "run.yml")
    sentences = english(report.write(root, run, "en"))
    assert len(sentences) > 60  # what is looked for is found
    assert english(report.write(root, run, "ja")) == []


def test_report_is_self_contained(finished):
    page = (finished / "report.html").read_text(encoding="utf-8")
    for word in (
        "The mixture",
        "The mixer",
        "What cleaning removed",
        "How good the evidence is",
        "Scores",
        "The real training",
        "<svg",
    ):
        assert word in page
    for outside in ("<script src", "src=", "@import", "<link", "url("):
        assert outside not in page
    assert "default-src 'none'" in page.replace("&#39;", "'")  # what the browser holds it to: test_report_page.py


def test_nothing_is_redone_when_nothing_changed(finished, run_file, capsys):
    before = markers(finished)
    assert call(run_file) == 0
    assert markers(finished) == before
    assert call(run_file, "--dry-run") == 0
    assert "changed" not in capsys.readouterr().out.replace("unchanged", "")


def test_a_changed_option_redoes_what_depends_on_it_and_no_more(finished, run_file):
    before = markers(finished)
    assert call(run_file, "--set", "scores.limit=5") == 0
    after = markers(finished)
    assert {name for name in before if after[name] != before[name]} == {
        f"scores/{model}/.done.json" for model in ("chosen", "token_share", "uniform")
    }


def test_a_changed_corpus_is_never_silently_reused(finished, run_file, world, tmp_path, capsys):
    copy = tmp_path / "run.yml"
    extra = tmp_path / "extra.jsonl"
    extra.write_text(
        json.dumps({"text": "新しい記事が一本だけ加わった。" * 8}, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    text = run_file.read_text(encoding="utf-8")
    copy.write_text(text.replace(f'"{world}/news/*.gz"', f'["{world}/news/*.gz", "{extra}"]'), encoding="utf-8")
    assert call(copy, "--dry-run") == 0
    said = capsys.readouterr().out
    assert "corpora/news: changed" in said and "corpora/stories: unchanged" in said


@pytest.mark.parametrize(("old", "new", "sentence"), DATA["bad_input_is_one_sentence"])
def test_bad_input_is_one_sentence(finished, run_file, world, tmp_path, capsys, old, new, sentence):
    place = world.parent
    (place / "broken.jsonl").write_text('{"text": "一行目です。"}\n{"text": "二行目\n', encoding="utf-8")
    (place / "empty.jsonl").write_text("")
    few = [{"text": f"とても短い記事の{number}本目です。" * 5} for number in range(12)]
    (place / "small.jsonl").write_text("".join(json.dumps(row) + "\n" for row in few), encoding="utf-8")
    (place / "key.jsonl").write_text('{"body": "本文です。"}\n' * 50, encoding="utf-8")
    copy = tmp_path / "run.yml"
    text = run_file.read_text(encoding="utf-8")
    old, new = (each.replace("{world}", str(world)) for each in (old, new))
    assert old in text
    copy.write_text(text.replace(old, new), encoding="utf-8")
    assert call(copy, "--output-dir", tmp_path / "out") == 2
    said = capsys.readouterr().err
    problem = next(line for line in said.splitlines() if line.startswith("haigo: "))
    assert sentence in problem
    assert "Traceback" not in said
    assert not (tmp_path / "out" / "proxies" / "runs").exists(), "told before anything is trained"
    if "/../broken" in new and "news" in old:
        assert "line 2" in problem


def test_a_search_without_held_out_runs(finished, tmp_path):
    for name in ("design", "proxies", "supply.csv"):
        source = finished / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, tmp_path / name)
    run = runfile.read(finished / "run.yml", ["proxies.held_out=0", "proxies.screen=0", "search.target_tokens=16000"])
    weights = actions.search(tmp_path, run)
    assert abs(sum(weights.values()) - 1) < 1e-6
    assert "--held-out" not in (tmp_path / "search" / "mixture.yml").read_text(encoding="utf-8")


def test_a_cut_dataset_is_noticed(finished, run_file):
    path = finished / "data" / "news" / "train_text_document.bin"
    whole = path.read_bytes()
    try:
        os.truncate(path, len(whole) // 2)
        assert call(run_file, "--set", "scores.limit=5") == 0
        assert path.read_bytes() == whole
    finally:
        path.write_bytes(whole)
