"""launch.pipeline.runfile: the run file is checked key by key, and its documentation is made from it."""

import os
from pathlib import Path

import pytest
import yaml
from shared_data import data_of

from haigo import digests, files
from haigo.cli import HaigoError
from launch.pipeline import ahead, first_run, inputs, run, runfile
from launch.pipeline.__main__ import main as pipeline_main

DATA = data_of(__file__)

ROOT = Path(__file__).parents[3]
SMALL = """
output: runs/x
corpora:
  news: {files: [a.jsonl]}
  wiki: {files: b.xml, max: 0.5}
objective: {metrics: {news_bpb: 1}}
"""


def read(tmp_path, text, overrides=()):
    path = tmp_path / "run.yml"
    path.write_text(text, encoding="utf-8")
    return runfile.read(path, overrides)


def test_a_probability_without_ceilings_is_named_before_the_first_stage(tmp_path):
    with pytest.raises(HaigoError, match=r"with probability 0\.9, and there is none"):
        ahead.check(read(tmp_path, SMALL, ["search.ceiling_probability=0.9"]), tmp_path / "run.yml")


def test_defaults_and_overrides(tmp_path):
    run = read(tmp_path, SMALL, ["train.tokens=1e6", "seed=3", "proxies.model=my.yml"])
    assert run.train.tokens == 1_000_000 and run.seed == 3 and run.proxies.model == "my.yml"
    assert run.corpora["wiki"].files == ["b.xml"] and run.corpora["wiki"].max == 0.5
    assert run.train.compare == ["token_share"] and run.split == [0.94, 0.03, 0.03]


@pytest.mark.parametrize(("change", "sentence"), DATA["bad_run_files_are_told_in_one_sentence"])
def test_bad_run_files_are_told_in_one_sentence(tmp_path, change, sentence):
    with pytest.raises(HaigoError) as caught:
        read(tmp_path, SMALL.replace(*change))
    assert sentence in caught.value.problem and "run.yml" in caught.value.problem


@pytest.mark.parametrize(
    ("given", "rounds"),
    [("{}", 2), ("{runs: 16}", 2), ("{runs: 15}", 1), ("{runs: 8, rounds: 2}", 2), ("{runs: 64, rounds: 1}", 1)],
)
def test_rounds_where_the_run_file_does_not_say(tmp_path, given, rounds):
    run = read(tmp_path, SMALL + f"proxies: {given}\n")
    assert run.proxies.in_rounds(2) == rounds
    if run.proxies.rounds is None:
        assert run.proxies.in_rounds(17) == 1
    names = ahead.stage_names(run)
    assert ("round-1/design" in names) == ("round-1/proxies" in names) == (rounds == 2)


def test_unset_variable_names_the_command():
    with pytest.raises(HaigoError, match="HAIGO_NOT_SET") as caught:
        inputs.expand("${HAIGO_NOT_SET}/a", {}, "x.yml")
    assert "HAIGO_NOT_SET=FOLDER python -m launch.pipeline x.yml" in caught.value.fix


def test_missing_corpus_file_is_named(tmp_path):
    with pytest.raises(HaigoError, match=r"corpus 'news': nowhere/\*.gz does not exist"):
        inputs.find_files(["nowhere/*.gz"], "news", tmp_path)


def test_digests_follow_the_bytes_though_size_and_time_stay(tmp_path):
    path = tmp_path / "a"
    path.write_text("1")
    before, stat = digests.sha256(path), path.stat()
    assert digests.sha256(path) == before == files.sha256_file(path)
    path.write_text("2")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert digests.sha256(path) == files.sha256_file(path) != before


def test_init_writes_a_run_file_that_is_read_back(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("news.jsonl.gz", "wiki.xml"):
        (tmp_path / name).write_text("x")
    assert pipeline_main(["--init", "my.yml", "news.jsonl.gz", "百科=wiki.xml".replace("百科", "wiki")]) == 0
    run = runfile.read("my.yml")
    assert list(run.corpora) == ["news", "wiki"] and run.objective.metrics == {"news_bpb": 1.0}
    assert (run.tokenizer.vocab_size, run.train.tokens) == (8000, 800_000)  # little text: a first answer soon
    with open("wiki.xml", "r+b") as large:
        large.truncate(first_run.FEW_BYTES)
    assert pipeline_main(["--init", "large.yml", "news.jsonl.gz", "wiki=wiki.xml"]) == 0
    assert runfile.read("large.yml").tokenizer.vocab_size == runfile.RunFile.tokenizer.vocab_size == 50_000
    with pytest.raises(HaigoError, match="exists already"):
        pipeline_main(["--init", "my.yml"])


def test_what_to_do_next_names_what_is_there(tmp_path):
    own, sample = read(tmp_path, SMALL), runfile.read(ROOT / "examples" / "mini.yml")
    assert "configs in r/configs" in run._next(own, Path("r"), Path("my.yml")) and sample.prepare
    assert "--init" in run._next(sample, Path("r"), Path("my.yml")) and "--init" not in run._next(
        own, Path("r"), Path("m")
    )
    none = read(tmp_path, SMALL, ["configs.models=[]"])
    assert "under `configs: models:` in my.yml" in run._next(none, Path("r"), Path("my.yml"))
    assert "r/configs" not in run._next(none, Path("r"), Path("my.yml"))


@pytest.mark.parametrize("name", ["mini.yml", "japanese.yml"])
def test_shipped_run_files_are_valid(name):
    runfile.read(ROOT / "examples" / name)


@pytest.mark.parametrize(("key", "sentence"), DATA["what_a_late_stage_would_say_is_said_before_the_first_one"])
def test_what_a_late_stage_would_say_is_said_before_the_first_one(tmp_path, key, sentence):
    text = SMALL.replace("a.jsonl", str(tmp_path / "a.jsonl")).replace("b.xml", str(tmp_path / "b.jsonl"))
    for name in ("a.jsonl", "b.jsonl"):
        (tmp_path / name).write_text('{"text": "x"}\n')
    path = tmp_path / "run.yml"
    path.write_text(text)
    words = ["corpora.wiki.min=0.5", f"output={tmp_path / 'out'}", key]
    with pytest.raises(HaigoError) as caught:
        run.execute(runfile.read(path, words), path)
    assert sentence in caught.value.problem
    assert not (tmp_path / "out" / "corpora").exists()


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("num_layers: 3.5", "num_layers"),
        ("learning_rate: 1", "does not know: 'learning_rate'"),
        ("rotary_pct: 7", "rotary_pct"),
    ],
)
def test_a_model_of_ones_own_is_judged_before_the_first_stage(tmp_path, line, sentence):
    own = yaml.safe_load((ROOT / "neox_configs" / "models" / "1-3B.yml").read_text())
    (tmp_path / "own.yml").write_text(yaml.safe_dump({**own, **yaml.safe_load(line)}))
    test_what_a_late_stage_would_say_is_said_before_the_first_one(
        tmp_path, f"configs.models=[{tmp_path / 'own.yml'}]", sentence
    )


@pytest.mark.parametrize("key", ["proxies", "train"])
@pytest.mark.parametrize(
    ("own", "sentence"),
    [
        ({"num_layer": 3}, "Did you mean 'num_layers'"),
        ({"train_batch_size": "x"}, "own.yml: "),
        ({"num_attention_heads": 7}, "is not a multiple of 7 heads"),
        ({"activation": "swiglu"}, "activation swiglu"),
        ({"expansion_factor": 1e-9}, "an MLP of 0 (expansion_factor 1e-09)"),
    ],
)
def test_a_model_that_is_trained_here_is_judged_before_the_first_stage(tmp_path, key, own, sentence):
    model = yaml.safe_load((ROOT / "neox_configs" / "proxies" / "0-3M.yml").read_text())
    (tmp_path / "own.yml").write_text(yaml.safe_dump({**model, **own}))
    test_what_a_late_stage_would_say_is_said_before_the_first_one(
        tmp_path, f"{key}.model={tmp_path / 'own.yml'}", sentence
    )


def test_a_proxy_in_a_precision_that_is_not_trained_in_here(tmp_path, monkeypatch):
    from launch.engine import device

    monkeypatch.setattr(device, "_DRIVER", tmp_path / "none")
    model = yaml.safe_load((ROOT / "neox_configs" / "proxies" / "0-3M.yml").read_text())
    (tmp_path / "own.yml").write_text(yaml.safe_dump({**model, "precision": "bfloat16"}))
    test_what_a_late_stage_would_say_is_said_before_the_first_one(
        tmp_path, f"proxies.model={tmp_path / 'own.yml'}", "own.yml: the config's precision is bfloat16"
    )
