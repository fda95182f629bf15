"""Scores over training: step and tokens of converted checkpoints, curves with intervals, two runs tested."""

from __future__ import annotations

import csv
import json
import shutil

import pytest

from eval_harness import curve, run
from haigo import cli

TASKS = "jcommonsenseqa-1.1-0.3,jnli-1.1-0.3"
PER_STEP = 2 * 3 * 64  # micro batch x copies x length


@pytest.fixture(scope="module")
def world(model_folder, jglue, tmp_path_factory):
    """Two runs of three converted checkpoints, the last of run a unscored; all scored by the command."""
    import torch
    from safetensors.torch import load_file, save_file

    root = tmp_path_factory.mktemp("curve")
    for seed, (name, step) in enumerate([("a", 100), ("a", 200), ("a", 300), ("b", 100), ("b", 200)]):
        model = root / "models" / name / f"step{step}"
        shutil.copytree(model_folder("spm"), model)
        generator = torch.Generator().manual_seed(seed)
        weights = load_file(model / "model.safetensors")
        moved = {key: value + 0.3 * torch.randn(value.shape, generator=generator) for key, value in weights.items()}
        save_file(moved, model / "model.safetensors", {"format": "pt"})
        config = {"train_micro_batch_size_per_gpu": 2, "seq_length": 64}
        record = {"step": step, "checkpoint": f"/gone/{name}/global_step{step}", "config": config, "data_ranks": 3}
        (model / "conversion.json").write_text(json.dumps(record), encoding="utf-8")
        if (name, step) != ("a", 300):
            argv = f"--model_args pretrained={model} --tasks {TASKS} --num_fewshot 1 --limit 12 --log_samples".split()
            place = ["--data_dir", str(jglue), "--output_path", str(root / "scores" / name / f"step{step}")]
            assert cli.run(run.main, [*argv, *place]) == 0
    return root


def table_of(path):
    with open(path, encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


def test_a_run_as_curves(world, tmp_path, capsys):
    out = tmp_path / "out"
    words = [str(world / "scores" / "a"), str(world / "models" / "a"), "--output-dir", str(out)]
    assert cli.run(curve.main, words) == 0
    said = capsys.readouterr()
    assert f"step300 (step 300, {300 * PER_STEP:,} tokens) is not scored" in said.err
    assert f"{100 * PER_STEP:,}" in said.out and "chance" in said.out
    rows = table_of(out / "curve.csv")
    assert {row["run"] for row in rows} == {"a"}
    assert [(row["step"], row["tokens"]) for row in rows[::2]] == [(str(s), str(s * PER_STEP)) for s in (100, 200)]
    for row in rows:
        result = json.loads((world / "scores" / "a" / f"step{row['step']}" / "result.json").read_text(encoding="utf-8"))
        assert float(row["percent"]) == 100 * result["results"][row["task"]]["acc"]
        assert 0 <= float(row["low"]) < float(row["percent"]) < float(row["high"]) <= 100
        assert (row["documents"], row["interval"], row["shots"]) == ("12", "Wilson", "1")
    assert "million tokens" in (out / "curve.svg").read_text(encoding="utf-8")
    assert (out / "curve.png").read_bytes().startswith(b"\x89PNG")
    before = {path.name: path.read_bytes() for path in out.iterdir() if path.suffix in (".svg", ".csv", ".png")}
    assert cli.run(curve.main, words) == 0
    assert before == {name: (out / name).read_bytes() for name in before} and len(before) == 3


def test_the_result_says_it_where_the_model_is_gone(world, tmp_path, capsys):
    result = json.loads((world / "scores" / "a" / "step200" / "result.json").read_text(encoding="utf-8"))
    assert result["haigo"]["model"]["training"] == {"step": 200, "tokens": 200 * PER_STEP}
    result["haigo"]["model"]["pretrained"] = "/gone"
    (tmp_path / "result.json").write_text(json.dumps(result), encoding="utf-8")
    assert cli.run(curve.main, [str(tmp_path / "result.json")]) == 0
    assert f"{200 * PER_STEP:,}" in capsys.readouterr().out
    del result["haigo"]["model"]["training"]
    (tmp_path / "result.json").write_text(json.dumps(result), encoding="utf-8")
    assert cli.run(curve.main, [str(tmp_path / "result.json")]) == 2
    assert "does not say at how many tokens its model is" in capsys.readouterr().err
    assert cli.run(curve.main, [str(tmp_path / "result.json"), "--tokens", "5e6"]) == 0
    assert "5,000,000" in capsys.readouterr().out


def test_a_model_is_known_by_the_relative_name_of_another_folder(world, tmp_path, capsys):
    result = json.loads((world / "scores" / "a" / "step200" / "result.json").read_text(encoding="utf-8"))
    result["haigo"]["model"]["pretrained"] = "../models/a/step200"
    (tmp_path / "result.json").write_text(json.dumps(result), encoding="utf-8")
    assert cli.run(curve.main, [str(tmp_path), str(world / "models" / "a")]) == 0
    said = capsys.readouterr().err
    assert "step200" not in said and "step100" in said and "step300" in said


def test_two_runs_are_tested_on_the_same_documents(world, tmp_path, capsys):
    scores = world / "scores"
    words = [str(scores / "a"), "--against", str(scores / "b"), "--output-dir", str(tmp_path / "out")]
    assert cli.run(curve.main, words) == 0
    said = capsys.readouterr().out
    assert said.count("exact McNemar test, 12 documents") == 4 and "4 tests" in said
    rows = {
        (row["run"], row["step"], row["task"].split("-")[0]): row for row in table_of(tmp_path / "out" / "curve.csv")
    }
    for step in ("100", "200"):
        one, two = rows["a", step, "jnli"], rows["b", step, "jnli"]
        assert one["p"] == "" and 0 <= float(two["p"]) <= 1
        assert float(two["difference"]) == pytest.approx(float(two["percent"]) - float(one["percent"]))
    shutil.copytree(scores / "b" / "step100", tmp_path / "b")
    (tmp_path / "b" / "samples_jnli-1.1-0.3.jsonl").unlink()
    assert cli.run(curve.main, [str(scores / "a"), "--against", str(tmp_path / "b")]) == 0
    assert "on jnli: no test, the samples are missing" in capsys.readouterr().out


def test_what_makes_no_curve_is_named(world, tmp_path, capsys):
    scores = world / "scores"
    result = json.loads((scores / "a" / "step200" / "result.json").read_text(encoding="utf-8"))
    result["haigo"]["tasks"]["jnli-1.1-0.3"]["num_fewshot"] = 3
    other = tmp_path / "other"
    other.mkdir()
    (other / "result.json").write_text(json.dumps(result), encoding="utf-8")
    empty = tmp_path / "empty"
    empty.mkdir()
    first = str(scores / "a" / "step100" / "result.json")
    for words, problem in [
        ([first, str(other)], "jnli-1.1-0.3: shots are 1 in"),
        ([str(scores)], "are both at 38,400 tokens"),
        ([str(empty)], "holds no result.json"),
        ([str(world / "models")], "holds converted models and no result.json"),
        ([first, "--tokens", "1,2"], "--tokens has 2 numbers, and there are 1 results"),
        ([str(world / "models" / "a" / "step100" / "config.json")], "is not a result of eval_harness.run"),
    ]:
        assert cli.run(curve.main, words) == 2
        assert problem in capsys.readouterr().err


def test_a_record_that_tells_no_tokens_hinders_no_score(world, jglue, tmp_path, capsys):
    model = tmp_path / "model"
    shutil.copytree(world / "models" / "a" / "step100", model)
    record = json.loads((model / "conversion.json").read_text(encoding="utf-8"))
    del record["config"]["train_micro_batch_size_per_gpu"]
    (model / "conversion.json").write_text(json.dumps(record), encoding="utf-8")
    argv = f"--model_args pretrained={model} --tasks jnli-1.1-0.3 --num_fewshot 0 --limit 5".split()
    place = ["--data_dir", str(jglue), "--output_path", str(tmp_path / "scores")]
    assert cli.run(run.main, [*argv, *place]) == 0
    assert "does not say how many tokens a step is" in capsys.readouterr().err
    assert cli.run(curve.main, [str(tmp_path / "scores")]) == 2
    assert "the config gives no batch size" in capsys.readouterr().err


def test_intervals_of_other_figures(tmp_path):
    from eval_harness.milestones import Milestone, interval
    from eval_harness.rows import Cell, Row

    cell = Cell(percent=20.0, error=2.0, task="xlsum_ja-1.0-0.0", shots=1, notes=())
    values = [0.1, 0.2, 0.3] * 30
    name = "samples_xlsum_ja-1.0-0.0.jsonl"
    lines = [json.dumps({"doc_id": n, "id": str(n), "rouge2": value}) + "\n" for n, value in enumerate(values)]
    (tmp_path / name).write_text("".join(lines), encoding="utf-8")
    row = Row(name="m", ours=True, cells={"xlsum_ja": cell}, folder=tmp_path, metrics={"xlsum_ja": "rouge2"})
    point = Milestone(path=tmp_path, step=1, tokens=1, row=row, counts={"xlsum_ja": 90})
    drawn = interval(point, "xlsum_ja")
    assert drawn.how == "bootstrap"
    assert drawn.high - drawn.low == pytest.approx(2 * 1.96 * 8.165 / 90**0.5, rel=0.1)
    (tmp_path / name).unlink()
    plain = interval(point, "xlsum_ja")
    assert (plain.how, plain.low, plain.high) == (
        "standard error",
        pytest.approx(16.08, abs=0.01),
        pytest.approx(23.92, abs=0.01),
    )


def test_wilson_is_the_published_one():
    """Newcombe 1998, table I: 81 of 263, 15 of 148 and 0 of 20."""
    from eval_harness.milestones import _wilson
    from eval_harness.rows import Cell

    for right, of, low, high in [(81, 263, 25.53, 36.62), (15, 148, 6.24, 16.05), (0, 20, 0.0, 16.11)]:
        found = _wilson(Cell(percent=100 * right / of, error=None, task="t", shots=0, notes=()), of)
        assert (found["low"], found["high"]) == (pytest.approx(low, abs=0.01), pytest.approx(high, abs=0.01))
