"""Task scores of proxies, and one number from two programs: the engine's validation loss and lm-eval's rolling likelihood."""

from __future__ import annotations

import csv
import importlib.util
import json
import math
import statistics
import sys
from pathlib import Path

import numpy as np
import pytest

from haigo import files, sealed
from haigo.cli import HaigoError
from haigo.formats.dataset.indexed import MMapWriter, token_dtype
from launch import proxies
from launch.local.train import train
from launch.proxies import scores
from launch.proxies.options import TaskOptions
from mixer.objective import parse
from neox_configs import catalogue as catalogues

TASK = "jcommonsenseqa-1.1-0.3"
COLUMN = f"{TASK}_acc"


@pytest.fixture(scope="module")
def jglue(tmp_path_factory):
    spec = importlib.util.spec_from_file_location(
        "made_jglue", Path(__file__).parents[2] / "eval_harness" / "synthetic_jglue.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.write(tmp_path_factory.mktemp("jglue"))


def test_finished_proxies_are_scored(world, jglue, tmp_path, monkeypatch):
    sets = {name: {split: world.prefix(name, split) for split in ("train", "valid")} for name in ("plain", "rhyme")}
    known = catalogues.write(tmp_path / "corpora.yml", world.tokenizer, sets)
    base = {key: value for key, value in world.config(train_iters=None).items() if "_data_" not in key}
    table = {"a": {"plain": 0.8, "rhyme": 0.2}, "b": {"plain": 0.1, "rhyme": 0.9}}
    words = TaskOptions(tasks=[TASK], data_dir=str(jglue), num_fewshot=[0], limit=[12])
    options = {"tokens": 650, "workers": 1, "show": False}
    made = proxies.run(table, known, base, tmp_path / "out", tasks=words, **options)
    with open(tmp_path / "out" / "metrics.csv", encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert list(rows[0]) == ["run", "plain_bpb", "rhyme_bpb", COLUMN, "size", "tokens", "seed", "seconds"]
    from eval_harness.run import evaluate

    for row in rows:
        place = tmp_path / "out" / "runs" / row["run"]
        truth = evaluate(place / "model", TASK, 0, 12, jglue)["results"][TASK]["acc"]
        assert float(row[COLUMN]) == pytest.approx(truth, abs=1e-6)
    # what is told is what mixer.search reads
    assert made.scores == {COLUMN: {"items": 12, "chance": pytest.approx(0.2)}}
    assert scores.advice(made.scores) == f"--score {COLUMN}=12:0.2"
    goal = parse([COLUMN], [], scores=[f"{COLUMN}=12:0.2"]).resolve(["plain_bpb", COLUMN], "m")
    assert goal.items == {COLUMN: 12} and goal.direction[COLUMN] == "max"
    # once is enough; other items are scored again, and nothing is trained for that
    stamps = [(tmp_path / "out" / "runs" / name / scores.FILE).stat().st_mtime_ns for name in table]
    assert proxies.run(table, known, base, tmp_path / "out", tasks=words, **options).trained == []
    assert stamps == [(tmp_path / "out" / "runs" / name / scores.FILE).stat().st_mtime_ns for name in table]
    trained = [(tmp_path / "out" / "runs" / name / "result.json").stat().st_mtime_ns for name in table]
    more = words.replaced(limit=[15])
    again = proxies.run(table, known, base, tmp_path / "out", tasks=more, **options)
    assert again.scores[COLUMN]["items"] == 15
    assert trained == [(tmp_path / "out" / "runs" / name / "result.json").stat().st_mtime_ns for name in table]


def test_likelihoods_of_right_answers_are_columns(world, jglue, tmp_path):
    sets = {name: {split: world.prefix(name, split) for split in ("train", "valid")} for name in ("plain", "rhyme")}
    known = catalogues.write(tmp_path / "corpora.yml", world.tokenizer, sets)
    base = {key: value for key, value in world.config(train_iters=None).items() if "_data_" not in key}
    words = TaskOptions(tasks=[TASK], data_dir=str(jglue), num_fewshot=[0], limit=[12], likelihoods=True)
    table = {"a": {"plain": 0.8, "rhyme": 0.2}}
    made = proxies.run(table, known, base, tmp_path / "out", tokens=650, workers=1, show=False, tasks=words)
    with open(tmp_path / "out" / "metrics.csv", encoding="utf-8", newline="") as handle:
        (row,) = csv.DictReader(handle)
    from eval_harness.run import evaluate

    place = tmp_path / "out" / "runs" / "a" / "model"
    evaluate(place, TASK, 0, 12, jglue, tmp_path / "by_hand")
    lines = (tmp_path / "by_hand" / f"samples_{TASK}.jsonl").read_text(encoding="utf-8").splitlines()
    # by hand, from the log-likelihoods in the samples
    right, choice, margin = [], [], []
    for sample in map(json.loads, lines):
        bits = [-c["loglikelihood"] / math.log(2) / len(c["text"].encode()) for c in sample["choices"]]
        gold = bits.pop(sample["target"])
        right.append(gold)
        margin.append(sum(bits) / len(bits) - gold)
        choice.append(2**-gold / (2**-gold + sum(2**-each for each in bits)))
    wanted = {
        "answer_nll": right,
        "choice_nll": [-math.log2(each) for each in choice],
        "margin_score": margin,
        "probability_score": choice,
    }
    for figure, values in wanted.items():
        assert float(row[f"{TASK}_{figure}"]) == pytest.approx(statistics.mean(values), abs=2e-6)
        noise = statistics.stdev(values) / math.sqrt(12)
        assert made.scores[f"{TASK}_{figure}"] == {"items": 12, "noise": pytest.approx(noise, rel=1e-3)}
        kept = sealed.read(tmp_path / "out" / "runs" / "a" / scores.FILE)[0]["each"][f"{TASK}_{figure}"]
        assert kept == pytest.approx(values, abs=1e-5)
    assert not list((tmp_path / "out").rglob("samples_*"))
    best = [f"{TASK}_margin_score", f"{TASK}_probability_score"]
    assert scores.advice(made.scores) == f"--score {COLUMN}=12:0.2 --maximise {best[0]} --maximise {best[1]}"
    # mixer.search takes them: losses as they are, scores with their direction said
    goal = parse([f"{TASK}_choice_nll", best[0]], maximise=[best[0]]).resolve(list(row)[1:], "m")
    assert goal.signs([f"{TASK}_choice_nll", best[0]]).tolist() == [1.0, -1.0]
    with pytest.raises(HaigoError, match="looks like a score"):
        parse([best[0]]).resolve(list(row)[1:], "m")


def test_lm_evals_rolling_likelihood_is_the_engines_validation_loss(world, tmp_path):
    """lm-eval predicts a text's first token from the end piece, then goes on in windows of the model's length: as the
    engine reads a stream that begins with that piece. A text of whole windows makes the last one the same too."""
    length = 32
    text = "\n".join(world.texts["rhyme"][-10:])
    ids = world.words.encode(text)
    while len(ids) % length:
        text = text[:-1]
        ids = world.words.encode(text)
    assert len(ids) >= 4 * length
    prefix = tmp_path / "text_document"
    with MMapWriter(prefix, token_dtype(world.words.vocab_size)) as writer:
        for sequence in ([world.words.eod_id], ids):
            writer.add(sequence)
            writer.end_document()
    result = train(world.config(train_iters=60), tmp_path / "run", tokenizer=world.tokenizer, eval_tokens=None,
                   valid={"text": prefix}, progress=lambda tick: None)  # fmt: skip
    assert result["valid"]["text"]["tokens"] == len(ids)
    from lm_eval.api.instance import Instance

    from eval_harness.model import load

    model = load(f"pretrained={tmp_path / 'run' / 'model'},dtype=float32", device="cpu", show_progress=False)
    assert model.max_length == length
    request = Instance(request_type="loglikelihood_rolling", doc={}, arguments=(text,), idx=0)
    (found,) = model.loglikelihood_rolling([request], disable_tqdm=True)
    nats = -float(found if isinstance(found, float) else found[0])
    assert nats / len(ids) == pytest.approx(result["valid"]["text"]["loss"], abs=1e-4)
    bits = nats / math.log(2) / len(text.encode())
    assert bits == pytest.approx(result["metrics"]["text_bpb"], abs=1e-4)
    assert result["valid"]["text"]["loss"] < 0.95 * math.log(world.words.vocab_size)  # it has learnt something


def test_scores_belong_to_one_training(tmp_path):
    result = {"metrics": {"a_bpb": 1.0}, "tokens": 5, "seed": 1, "loss": 2.0}
    files.write_json(tmp_path / scores.FILE, {"key": "k", "model": scores._model(result), "metrics": {"x_acc": 0.5}})
    assert scores.finished(tmp_path, "k", result)["metrics"] == {"x_acc": 0.5}
    assert scores.finished(tmp_path, "other", result) is None
    assert scores.finished(tmp_path, "k", {**result, "loss": 2.5}) is None


def test_what_eval_harness_says_of_a_task_is_said_before_anything_is_trained(jglue, monkeypatch, capsys):
    scores.check(TaskOptions(tasks=["jcommonsenseqa-1.1-0.2"], data_dir=str(jglue), num_fewshot=[0]))
    assert "0.2.1 or 0.3" in capsys.readouterr().err
    for wrong, told in (
        ({"limit": [0.001]}, "documents is none"),
        ({"limit": [-1]}, "leaves no document"),
        ({"num_fewshot": [-1]}, "below 0"),
    ):
        with pytest.raises(HaigoError, match=told):
            scores.check(TaskOptions(tasks=[TASK], data_dir=str(jglue), **wrong))
    pytest.importorskip("emoji")
    monkeypatch.setitem(sys.modules, "neologdn", None)
    with pytest.raises(HaigoError, match="needs the package neologdn"):
        scores.check(TaskOptions(tasks=["jsquad-1.1-0.3"], data_dir=str(jglue), num_fewshot=[0]))


def test_what_items_do_to_all_runs_alike_is_no_noise_between_them():
    rng = np.random.default_rng(3)
    hard, run = rng.normal(size=400), np.array([0.0, 0.1, -0.2, 0.3])
    values = run[:, None] + hard + rng.normal(scale=0.2, size=(4, 400))
    assert scores.paired_noise(values) == pytest.approx(0.2 / 20, rel=0.1)
    # two runs: the error of their difference, over root 2
    pair = np.std(values[0] - values[1], ddof=1) / 20 / math.sqrt(2)
    assert scores.paired_noise(values[:2]) == pytest.approx(pair, rel=1e-9)
    assert scores.paired_noise(values[:1]) is None and scores.paired_noise([[1.0, 2.0], [1.0]]) is None
    column = "t-1.0-0.1_choice_nll"
    results = [{"items": {column: 400}, "each": {column: each}, "noise": {column: 0.05 + number}} for number, each in
               enumerate(values)]  # fmt: skip
    facts = scores.columns(results)[column]
    assert facts == {"items": 400, "noise": 3.05, "paired_noise": pytest.approx(0.01, rel=0.1)}
    parts = scores.both(scores.columns(results[:2]), scores.columns(results[2:]))
    assert parts[column]["noise"] == 3.05 and parts[column]["items"] == 400
