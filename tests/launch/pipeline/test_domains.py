"""Corpora of a run that are parted into domains: what is mixed are the parts, what is measured is the whole."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from haigo import cli
from haigo.cli import HaigoError
from haigo.formats import documents
from launch.pipeline import actions, domains, runfile
from launch.pipeline.__main__ import main as pipeline_main
from launch.pipeline.stages import Chain
from neox_configs import catalogue

ROOT = Path(__file__).parents[3]
WORDS = {
    "sport": ["試合", "決勝", "選手", "監督", "優勝", "リーグ", "チーム", "ゴール", "得点", "球場"],
    "weather": ["台風", "気象庁", "暴風", "大雨", "警報", "上陸", "進路", "ヘクトパスカル", "洪水", "避難"],
}
RUN = """
output: {place}/out
corpora:
  news: {{files: "{place}/news.jsonl", min_chars: 1, min: 0.2, max: 0.8, max_epochs: 30, partition: {partition}}}
  talk: {{files: "{place}/talk.jsonl", min_chars: 1}}
split: [0.8, 0.1, 0.1]
tokenizer: {{vocab_size: 500, chars_per_corpus: 60000}}
objective: {{metrics: {{news_bpb: 1.0}}, ceilings: {{talk_bpb: "+30%"}}}}
proxies: {{model: 0-1M, runs: 6, held_out: 2, tokens: 16000, eval_tokens: 2000, screen: 4}}
search: {{bootstrap: 10, force: true, max_epochs: 40}}
train: {{model: 0-1M, tokens: 16000, evaluations: 2, eval_tokens: 2000, test_tokens: 4000, compare: [token_share]}}
configs: {{models: [1-3B]}}
workers: 1
"""


def text(rng, world):
    words = rng.choices(WORDS[world], k=rng.randint(40, 90))
    return "".join(f"{word}{rng.choice('のはがを、')}" for word in words)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("run"), random.Random(4)
    news = [{"id": f"{world}{n}", "text": text(rng, world)} for n in range(180) for world in WORDS]
    talk = [{"id": f"talk{n}", "text": text(rng, "sport") + "ですよね。" * 40} for n in range(150)]
    for name, rows in (("news", news), ("talk", talk)):
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(lines, encoding="utf-8")
    (folder / "run.yml").write_text(RUN.format(place=folder, partition="{topics: 2}"), encoding="utf-8")
    return folder


def call(*words):
    return cli.run(pipeline_main, list(map(str, words)))


@pytest.fixture(scope="module")
def finished(place):
    """A run that was killed while it parted the news, and then finished by the same command."""
    words = [sys.executable, "-m", "launch.pipeline", str(place / "run.yml")]
    child = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while not list((place / "out" / "partition" / "news").glob(".partial/label-*")):
        assert child.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert call(place / "run.yml") == cli.OK
    return place / "out"


@pytest.mark.slow
def test_parts_are_mixed_and_the_whole_is_measured(finished):
    summary = json.loads((finished / "summary.json").read_text())
    weights = summary["weights"]
    assert (
        list(weights) == ["news.t0", "news.t1", "talk"] and 0.2 <= weights["news.t0"] + weights["news.t1"] <= 0.8 + 1e-6
    )
    for model in summary["models"].values():
        assert set(model["metrics"]) == {"news_bpb", "talk_bpb"} and set(model["weights"]) == set(weights)
    worlds = [{one.id.rstrip("0123456789") for one in documents.read(finished / "partition/news" / part)} for part in weights
              if part != "talk"]  # fmt: skip
    assert sorted(map(sorted, worlds)) == [["sport"], ["weather"]]
    rows = (finished / "supply.csv").read_text().splitlines()
    assert [row.split(",")[::5] for row in rows] == [
        ["corpus", "group"],
        ["news.t0", "news"],
        ["news.t1", "news"],
        ["talk", ""],
    ]
    assert {row.split(",")[4] for row in rows[1:3]} == {"30.0"}
    known = catalogue.read(finished / "corpora.yml")
    assert (
        list(known.measured("valid")) == ["news", "talk"]
        and known.prefix("news.t1", "test") == known.whole["news"]["test"]
    )
    config = yaml.safe_load((finished / "configs" / "1-3B.yml").read_text())
    assert [Path(each).parent.name for each in config["train_data_paths"]] == ["news.t0", "news.t1", "talk"]
    config = yaml.safe_load((finished / "models" / "chosen" / "config.yml").read_text())
    assert [Path(each).parent.name for each in config["valid_data_paths"]] == ["news", "talk"]
    assert abs(config["valid_data_weights"][0] - weights["news.t0"] - weights["news.t1"]) < 1e-5
    assert "--group news=0.2:0.8" in (finished / "search" / "mixture.yml").read_text()
    ratios = (finished / "design" / "ratios.csv").read_text().splitlines()
    assert ratios[0] == "run,news.t0,news.t1,talk" and len(ratios) == 9
    page = (finished / "report.html").read_text()
    plain = re.sub(r"\s+", " ", re.sub("<[^>]+>", " ", page))
    assert "The domains" in plain and re.search(r"news.t0 \d", plain) and "not stated" in plain
    assert sum(plain.count(word) for word in WORDS["weather"]) > 10


@pytest.mark.slow
def test_a_second_run_does_nothing_and_another_partition_redoes_what_follows_from_it(place, finished, capsys):
    markers = {path: path.stat().st_mtime_ns for path in finished.rglob(".done.json")}
    assert call(place / "run.yml") == cli.OK
    assert {path: path.stat().st_mtime_ns for path in finished.rglob(".done.json")} == markers
    assert call(place / "run.yml", "--verify") == cli.OK
    capsys.readouterr()
    assert call(place / "run.yml", "--dry-run", "--set", "corpora.news.partition.topics=3") == cli.OK
    said = capsys.readouterr().out
    assert (
        "corpora/news: unchanged" in said and "partition/news: changed" in said and "everything after it: to do" in said
    )
    (finished / "partition" / "news" / "news.t0" / "train" / "00000.jsonl.zst").write_bytes(b"")
    assert call(place / "run.yml") == cli.OK  # the same bytes again: nothing after it is redone
    redone = {str(path.relative_to(finished)) for path in markers if path.stat().st_mtime_ns != markers[path]}
    assert redone == {"partition/news/.done.json"}


@pytest.mark.slow
@pytest.mark.parametrize("good", ["[talk]", "model"])
def test_bands_of_quality_by_good_corpora_or_by_a_model(place, tmp_path, good):
    from preprocess import quality

    if good == "model":
        quality.train([place / "talk.jsonl"], [place / "news.jsonl"], tmp_path / "model")
        good = str(tmp_path / "model")
    asked = f"{{topics: 2, quality: 2, good: {good}}}"
    (tmp_path / "run.yml").write_text(RUN.format(place=place, partition=asked), encoding="utf-8")
    run = runfile.read(tmp_path / "run.yml")
    chain = Chain(run, tmp_path / "run.yml", tmp_path / "out")
    made = chain._partition(chain._clean())
    names = [f"news.t{topic}.q{band}" for topic in range(2) for band in range(2)]
    assert list(made["news"]) == names and list(domains.parts(tmp_path / "out", run)) == [*names, "talk"]
    scores = {name: [one.meta["scores"]["quality"] for one in documents.read(tmp_path / "out/partition/news" / name)]
              for name in names}  # fmt: skip
    assert all(max(scores[names[at]]) < min(scores[names[at + 1]]) for at in (0, 2))
    again = Chain(run, tmp_path / "run.yml", tmp_path / "out")
    assert again._partition(again._clean()) == made and {state for state, _ in again.stages.states} == {"unchanged"}


def test_a_run_without_partitions_has_the_stages_and_inputs_that_it_had(tmp_path):
    (tmp_path / "run.yml").write_text(RUN.format(place=tmp_path, partition="{}"), encoding="utf-8")
    chain = Chain(runfile.read(tmp_path / "run.yml"), tmp_path / "run.yml", tmp_path / "out")
    assert chain._partition({"corpora/news": 1}) == {} and chain.stages.states == [] and "parted" not in chain._limits()
    assert domains.groups(chain.run) == {} and list(domains.parts(tmp_path, chain.run)) == ["news", "talk"]
    stage = chain._indexed("news", {"train": ["a"]}, "t", "news", actions.SPLITS)
    assert (stage.name, stage.inputs) == ("data/news", [{"train": ["a"]}, "t"])


@pytest.mark.parametrize(
    ("partition", "more", "sentence"),
    [
        ("{topics: 1}", "", "'corpora.news.partition.topics' is 1"),
        ("{topic: 2}", "", "unknown key 'corpora.news.partition.topic'. Did you mean 'topics'"),
        ("{quality: 3}", "", "'corpora.news.partition.quality' is set, and nothing says which text is good"),
        ("{topics: 2, good: [talk]}", "", "'corpora.news.partition.good' has no effect with no 'quality'"),
        ("{least: 3}", "", "'corpora.news.partition.least' has no effect with no 'topics'"),
        ("{quality: 3, good: [tlak]}", "", "names 'tlak', which is no corpus here. Did you mean 'talk'"),
        ("{quality: 3, good: [news]}", "", "'corpora.news.partition.good' names the corpus itself"),
        ("{topics: 2}, group: ja", "", "'corpora.news.group' is 'ja' beside 'corpora.news.partition'"),
        ("{topics: 2}", "search: {groups: {news: [0.1, 0.5]}}", "'search.groups.news' is a corpus that is parted"),
    ],
)
def test_bad_keys_are_named(tmp_path, partition, more, sentence):
    lines = RUN.format(place=tmp_path, partition=partition)
    lines = re.sub("^search: .*$", more, lines, flags=re.MULTILINE) if more else lines
    (tmp_path / "run.yml").write_text(lines, encoding="utf-8")
    with pytest.raises(HaigoError) as caught:
        runfile.read(tmp_path / "run.yml")
    assert sentence in str(caught.value)


def test_a_folder_that_is_no_model_is_named_before_the_run(place, tmp_path, capsys):
    run = tmp_path / "run.yml"
    run.write_text(RUN.format(place=place, partition=f"{{quality: 2, good: [{tmp_path}]}}"), encoding="utf-8")
    assert call(run, "--output-dir", tmp_path / "out", "--dry-run") == cli.BAD_INPUT
    assert f"{tmp_path} holds no model of quality" in capsys.readouterr().err


def test_a_corpus_too_small_for_its_parts_is_named_by_the_key(place, tmp_path):
    asked = "{topics: 100}"
    (tmp_path / "run.yml").write_text(RUN.format(place=place, partition=asked), encoding="utf-8")
    lines = (place / "news.jsonl").read_text(encoding="utf-8").splitlines()[:30]
    (tmp_path / "few.jsonl").write_text("\n".join(lines), encoding="utf-8")
    run = runfile.read(tmp_path / "run.yml", [f"corpora.news.files={tmp_path / 'few.jsonl'}"])
    chain = Chain(run, tmp_path / "run.yml", tmp_path / "out")
    with pytest.raises(HaigoError, match=r"'corpora.news.partition.topics'"):
        chain._partition(chain._clean())
    lines = RUN.format(place=tmp_path, partition="{topics: 2, least: 40}").replace("talk.jsonl", "few.jsonl")
    (tmp_path / "run.yml").write_text(lines.replace("news.jsonl", "few.jsonl"), encoding="utf-8")
    chain = Chain(runfile.read(tmp_path / "run.yml"), tmp_path / "run.yml", tmp_path / "other")
    with pytest.raises(HaigoError, match=r"lower 'corpora.news.partition.least'"):
        chain._partition(chain._clean())
