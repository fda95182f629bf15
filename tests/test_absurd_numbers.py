"""Numbers that nothing has, given to commands: a sentence and exit 2, at once, before anything is built for them."""

import contextlib
import importlib
import time

import pytest
import tiny_house
import yaml

from haigo import cli
from launch.pipeline.__main__ import main as pipeline_main

HUGE = ("1000000000000000", "1" * 30, "9" * 5000, "1e400")
OF = [
    ("preprocess.tokenizer", "x --output-dir out --vocab-size", HUGE),
    ("preprocess.tokenizer", "x --output-dir out --threads", HUGE),
    ("preprocess.sample", "x --output-dir out --characters", ("1" * 30, "1e400", "nan")),
    ("preprocess.clean", "x --output-dir out --workers", HUGE),
    ("preprocess.scale", "scale.yml --tasks", HUGE),
    ("mixer.design", "--corpora a,b --output out.csv --runs", ("1000000000", "1" * 30, "-1", "0")),
    ("mixer.design", "--corpora a,b --output out.csv --held-out", ("1000000000", "1" * 30, "-1")),
    ("mixer.budget", "--rates x.csv --corpora a,b --hours", ("nan", "inf", "1e400", "-1", "0", "9" * 30)),
    ("mixer.budget", "--rates x.csv --corpora a,b --hours 1 --target-size", ("nan", "inf", "1e400", "-1", "0")),
    ("launch.plan", "--model 1-3B --cluster a100-40gb --global-batch-tokens", ("nan", "inf", "1e400", "-1", "0", "9" * 30)),
    ("launch.plan", "--model 1-3B --cluster a100-40gb --tokens", ("nan", "inf", "1e400", "-1", "0", "9" * 30)),
    ("launch.samples", "tiny.yml --first", ("0", "-1", *HUGE)),
    ("launch.local", "tiny.yml --output-dir out --threads", ("0", "-1", *HUGE)),
    ("preprocess.inspect", "x --sample", ("-1", *HUGE[1:])),
]  # fmt: skip


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tiny_house.build(tmp_path)
    return tmp_path


@pytest.mark.parametrize(("verb", "words", "value"), [(verb, words, one) for verb, words, many in OF for one in many],
                         ids=lambda each: each[:24])  # fmt: skip
def test_absurd_numbers_are_named(folder, capsys, verb, words, value):
    main = importlib.import_module(tiny_house.module(verb)).main
    start = time.monotonic()
    assert cli.run(main, [*words.split(), value]) == cli.BAD_INPUT
    said = capsys.readouterr().err
    assert said.startswith("haigo: ") and "fix: " in said and len(said) < 1000
    assert time.monotonic() - start < 30, "something was built for it"


@pytest.mark.parametrize(
    "change",
    [
        {"proxies": {"runs": 10**12}}, {"proxies": {"held_out": 10**30}}, {"proxies": {"tokens": 10**400}},
        {"tokenizer": {"vocab_size": 10**15}}, {"train": {"tokens": 10**30}}, {"proxies": {"floor": 10**400}},
        {"search": {"max_epochs": 10**400}},
    ],
    ids=str,
)  # fmt: skip
def test_absurd_numbers_in_a_run_file(folder, capsys, change):

    content = yaml.safe_load((folder / "run.yml").read_text())
    for section, keys in change.items():
        content[section] = {**content[section], **keys}
    (folder / "run.yml").write_text(yaml.safe_dump(content))
    assert cli.run(pipeline_main, ["run.yml", "--dry-run"]) == cli.BAD_INPUT
    said = capsys.readouterr().err
    assert "run.yml" in said and "fix: " in said and len(said) < 1000


@pytest.fixture(scope="module")
def indexed(tmp_path_factory):
    """A folder with datasets, as far as a config needs them."""
    root = tmp_path_factory.mktemp("indexed")
    tiny_house.build(root)
    with contextlib.chdir(root):
        for step in tiny_house.STEPS:
            if step.verb in ("preprocess.pairs", "preprocess.inspect"):
                break
            if step.verb not in ("preprocess.fetch", "preprocess.sample"):
                assert tiny_house.call(step, step.out) == cli.OK
    return root


@pytest.mark.parametrize(
    "change",
    [
        {"hidden_size": 10**6}, {"num_layers": 10**9}, {"num_layers": 10**12},
        {"train_iters": 10**15, "lr_decay_iters": 10**15},
        {"seq_length": 10**12, "max_position_embeddings": 10**12}, {"train_micro_batch_size_per_gpu": 10**9},
        {"make_vocab_size_divisible_by": 2 * 10**9}, {"train_micro_batch_size_per_gpu": 10**30},
    ],
    ids=str,
)  # fmt: skip
def test_a_model_too_large_for_memory(indexed, monkeypatch, capsys, change):
    from launch.local import __main__ as local

    config = {**yaml.safe_load((indexed / "tiny.yml").read_text()), **change}
    (indexed / "large.yml").write_text(yaml.safe_dump(config))
    monkeypatch.chdir(indexed)
    start = time.monotonic()
    assert cli.run(local.main, ["large.yml", "--output-dir", "out"]) == cli.BAD_INPUT
    said = capsys.readouterr().err
    assert "fix: " in said and "Traceback" not in said and time.monotonic() - start < 60
