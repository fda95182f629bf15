"""Whole runs of the embedded engine: learning, evaluation, export, resuming after a kill, and bad input."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from haigo import cli, files, yamlfile
from haigo.cli import Failed, HaigoError, Refused
from haigo.formats import tokenizer as tokenizers
from launch.engine import evaluate, log
from launch.local import __main__ as command
from launch.local.train import train

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def trained(world, tmp_path_factory):
    """One run with everything on."""
    folder = tmp_path_factory.mktemp("run")
    pairs = folder / "qa.jsonl"
    pairs.write_text('{"context": "新聞 ", "target": "記事"}\n{"context": "", "target": "新聞 記事"}\n', "utf-8")
    ticks = []
    result = train(
        world.config(train_iters=60),
        folder / "out",
        tokenizer=world.tokenizer,
        pairs={"qa": pairs},
        eval_every=20,
        test={"plain": world.prefix("plain", "valid")},
        progress=ticks.append,
    )
    return folder, result, ticks


def test_result_and_log(trained):
    folder, result, ticks = trained
    assert result["steps"] == 60 and result["tokens"] == 60 * 4 * 32 and len(ticks) == 60
    assert set(result["metrics"]) == {"plain_bpb", "rhyme_bpb", "qa_bpb"}
    assert result["metrics_test"]["plain_bpb"] == result["metrics"]["plain_bpb"]
    assert 0 < result["metrics_stderr"]["plain_bpb"] < result["metrics"]["plain_bpb"]
    assert files.read_json(folder / "out" / "result.json") == result
    entries = log.read(folder / "out" / "log.jsonl")
    steps = [entry for entry in entries if "final" not in entry]
    assert [entry["step"] for entry in steps] == list(range(1, 61))
    assert steps[-1]["loss"] < steps[0]["loss"] - 1
    assert [entry["step"] for entry in steps if "plain_bpb" in entry] == [20, 40]
    assert entries[-1]["qa_bpb"] == result["metrics"]["qa_bpb"]
    assert log.tokens_seen(folder / "out" / "log.jsonl") == result["tokens"]
    assert not (folder / "out" / "checkpoint.pt").exists()
    assert result["seconds"] > 0 and result["tokens_per_cpu_s"] > 0


def test_a_finished_run_is_not_trained_again(world, trained):
    folder, result, _ = trained

    def never(tick):
        raise AssertionError("trained again")

    again = train(
        world.config(train_iters=60),
        folder / "out",
        tokenizer=world.tokenizer,
        pairs={"qa": folder / "qa.jsonl"},
        eval_every=20,
        test={"plain": world.prefix("plain", "valid")},
        progress=never,
    )
    assert again == result


def test_another_run_in_the_same_folder_is_refused_by_key(world, trained):
    folder, _, _ = trained
    with pytest.raises(Refused, match=r"differs in .*lr \(0.004 -> 0.002\)"):
        train(
            world.config(train_iters=60, optimizer={"type": "Adam", "params": {"lr": 0.002}}),
            folder / "out",
            tokenizer=world.tokenizer,
        )


def test_exported_model_gives_the_engine_s_bits_per_byte(world, trained):
    import torch
    from transformers import AutoModelForCausalLM

    folder, result, _ = trained
    place = folder / "out" / "model"
    assert {"model.safetensors", "config.json", "spm.model", "meta.json"} <= {path.name for path in place.iterdir()}
    config = json.loads((place / "config.json").read_text())
    assert (config["eos_token_id"], config["bos_token_id"]) == (world.words.eod_id,) * 2
    assert config["pad_token_id"] == world.words.pad_id and config["vocab_size"] == 384
    model = AutoModelForCausalLM.from_pretrained(place, dtype="float32")
    words = tokenizers.load(world.tokenizer)
    # by hand, with transformers' own logits: every window of the validation set, text tokens only
    stream = evaluate.MMapReader(world.prefix("rhyme", "valid")).tokens.astype("int64")
    nats = tokens = 0.0
    for start in range(0, len(stream) - 1, 32):
        piece = torch.tensor(stream[start : start + 33])
        with torch.no_grad():
            logits = model(input_ids=piece[None, :-1]).logits[0].log_softmax(-1)
        for target, row in zip(piece[1:].tolist(), logits, strict=True):
            tokens += 1
            nats -= row[target].item() if target != words.eod_id else 0.0
    size = sum(len(text.encode()) for text in world.texts["rhyme"][-10:]) - len(words.decode([int(stream[0])]).encode())
    assert nats / math.log(2) / size == pytest.approx(result["metrics"]["rhyme_bpb"], abs=1e-5)
    assert result["valid"]["rhyme"]["tokens"] == tokens and result["valid"]["rhyme"]["bytes"] == size


def test_pairs_are_scored_as_context_then_target(world, trained):
    import torch
    from transformers import AutoModelForCausalLM

    folder, result, _ = trained
    model = AutoModelForCausalLM.from_pretrained(folder / "out" / "model", dtype="float32")
    words = tokenizers.load(world.tokenizer)
    nats = 0.0
    for context, target in (("新聞 ", "記事"), ("", "新聞 記事")):
        before = words.encode(context) or [words.eod_id]
        asked = words.encode(target)
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([before + asked])).logits[0].log_softmax(-1)
        nats -= sum(logits[len(before) - 1 + at, token].item() for at, token in enumerate(asked))
    size = len("記事新聞 記事".encode())
    assert nats / math.log(2) / size == pytest.approx(result["metrics"]["qa_bpb"], abs=1e-5)


def test_evaluation_windows_are_spread_and_the_same_for_every_run(world):
    words = tokenizers.load(world.tokenizer)
    whole = evaluate.corpus_task(world.prefix("plain"), words, 32, None)
    some = evaluate.corpus_task(world.prefix("plain"), words, 32, 32 * 5)
    assert len(some.inputs) == 5
    rows = [row.tolist() for row in whole.inputs]
    where = [rows.index(row.tolist()) for row in some.inputs]
    assert where == sorted(where) and where[-1] > len(rows) // 2
    assert whole.text_bytes > some.text_bytes


def test_gradient_accumulation_changes_nothing(world, tmp_path):
    made = {}
    for micro, count in ((8, 1), (2, 4)):
        config = world.config(train_micro_batch_size_per_gpu=micro, gradient_accumulation_steps=count, train_iters=10)
        train(config, tmp_path / str(micro), tokenizer=world.tokenizer, export=False, checkpoints=False)
        made[micro] = [entry["loss"] for entry in log.read(tmp_path / str(micro) / "log.jsonl") if "loss" in entry]
    assert made[8] == pytest.approx(made[2], abs=2e-5)


def test_eod_mask_leaves_out_what_follows_a_document(world, tmp_path):
    losses = {}
    for masked in (False, True):
        place = tmp_path / str(masked)
        train(
            world.config(train_iters=1, eod_mask_loss=masked),
            place,
            tokenizer=world.tokenizer,
            export=False,
            checkpoints=False,
        )
        losses[masked] = log.read(place / "log.jsonl")[0]["loss"]
    assert losses[True] != losses[False]


def test_clipping_takes_hold(world, tmp_path):
    finals = {}
    for clip in (1.0, 0.001):
        config = world.config(
            train_iters=3, gradient_clipping=clip, optimizer={"type": "Adam", "params": {"lr": 0.004}}
        )
        place = tmp_path / str(clip)
        result = train(config, place, tokenizer=world.tokenizer, export=False, checkpoints=False)
        finals[clip] = result["loss"]
        assert result["clipped_at"] == (0.0 if clip == 1.0 else clip)
    assert finals[1.0] != finals[0.001]


def test_killed_run_goes_on_to_the_same_bytes(world, tmp_path):
    config = world.config(train_iters=300, checkpoint_factor=10)
    yamlfile.write(tmp_path / "run.yml", config)
    words = [sys.executable, "-m", "launch.local", str(tmp_path / "run.yml"), "--tokenizer", str(world.tokenizer)]
    words += ["--output-dir", str(tmp_path / "killed"), "--eval-every", "70"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    running = subprocess.Popen(words, cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    try:
        while log.tokens_seen(tmp_path / "killed" / "log.jsonl") < 100 * 4 * 32:
            assert running.poll() is None and time.monotonic() < deadline
            time.sleep(0.005)
    finally:
        running.send_signal(signal.SIGKILL)
        running.wait()
    assert (tmp_path / "killed" / "checkpoint.pt").is_file()
    assert not (tmp_path / "killed" / "result.json").exists()
    subprocess.run(words, cwd=tmp_path, env=environment, check=True, capture_output=True, timeout=120)
    broken = files.read_json(tmp_path / "killed" / "result.json")
    whole = train(config, tmp_path / "whole", tokenizer=world.tokenizer, eval_every=70)
    for name in ("metrics", "valid", "loss", "steps", "tokens", "epochs"):
        assert broken[name] == whole[name]
    for name in ("model.safetensors", "config.json"):
        assert files.sha256_file(tmp_path / "killed/model" / name) == files.sha256_file(tmp_path / "whole/model" / name)
    curves = [
        [{**entry, "time_s": 0} for entry in log.read(tmp_path / name / "log.jsonl")] for name in ("killed", "whole")
    ]
    assert curves[0] == curves[1]


def test_a_checkpoint_that_the_disk_does_not_take(world, tmp_path):
    yamlfile.write(tmp_path / "c.yml", world.config(train_iters=6))
    words = [sys.executable, "-m", "launch.local", "c.yml", "--output-dir", "out", "--tokenizer", str(world.tokenizer)]
    how = {"cwd": tmp_path, "env": {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}, "text": True}
    full = subprocess.run(["sh", "-c", 'ulimit -f 6; exec "$@"', "sh", *words], **how, capture_output=True)
    assert full.returncode == cli.BAD_INPUT and "out/checkpoint.pt could not be written whole" in full.stderr, (
        full.stderr
    )
    assert subprocess.run(words, **how, capture_output=True).returncode == cli.OK


def test_a_damaged_checkpoint_is_told(world, tmp_path):
    config = world.config(train_iters=4)

    def stop(tick):
        if tick.step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path, tokenizer=world.tokenizer, checkpoint_every_s=0, progress=stop)
    blob = (tmp_path / "checkpoint.pt").read_bytes()
    (tmp_path / "checkpoint.pt").write_bytes(blob[: len(blob) // 2])
    with pytest.raises(HaigoError, match=r"checkpoint\.pt is damaged"):
        train(config, tmp_path, tokenizer=world.tokenizer)
    train(config, tmp_path, tokenizer=world.tokenizer, overwrite=True, export=False)


def test_a_time_budget_is_turned_into_steps_once(world, tmp_path):
    config = world.config(train_iters=None)
    result = train(config, tmp_path, tokenizer=world.tokenizer, seconds=1.0, export=False)
    assert result["steps"] == files.read_json(tmp_path / "run.json")["steps"] > 1
    assert log.read(tmp_path / "log.jsonl")[result["steps"] - 1]["lr"] < 0.001  # the schedule ends with the budget


def test_a_loss_that_is_not_a_number_stops_the_run(world, tmp_path):
    config = world.config(optimizer={"type": "Adam", "params": {"lr": 1e30}}, warmup=0.0)
    with pytest.raises(Failed, match=r"the loss became (nan|inf) at step \d+"):
        train(config, tmp_path, tokenizer=world.tokenizer)
    assert not (tmp_path / "result.json").exists()


def test_weights_that_the_last_step_ruined_are_no_result(world, tmp_path, capsys):
    config = world.config(optimizer={"type": "Adam", "params": {"lr": 1e30}}, warmup=0.0, train_iters=1)
    yamlfile.write(tmp_path / "c.yml", config)
    words = [str(tmp_path / "c.yml"), "--output-dir", str(tmp_path / "out"), "--tokenizer", str(world.tokenizer)]
    assert cli.run(command.main, words) == cli.FAILED
    assert "after step 1 the model's" in capsys.readouterr().err
    assert not (tmp_path / "out" / "result.json").exists() and not (tmp_path / "out" / "model").exists()


def test_bad_input_is_told(world, tmp_path, capsys):
    def says(*words: str, config: dict | None = None, code: int = cli.BAD_INPUT) -> str:
        yamlfile.write(tmp_path / "c.yml", config or world.config())
        given = [str(tmp_path / "c.yml"), "--output-dir", str(tmp_path / "out"), *words]
        if "--tokenizer" not in words:
            given += ["--tokenizer", str(world.tokenizer)]
        assert cli.run(command.main, given) == code
        return capsys.readouterr().err

    assert "prefix" not in says("--tokens", "5") and "less than one step" in says("--tokens", "5")
    assert "Did you mean '--output-dir'" in says("--output-dirs", "x")
    assert "does not exist" in says("--tokenizer", str(tmp_path / "none"))
    assert "add --tokenizer" in str(_raised(lambda: train(world.config(), tmp_path / "x")))
    assert "is not NAME=VALUE" in says("--pairs", "qa.jsonl")
    (tmp_path / "qa.jsonl").write_text('{"context": "a", "target": "b"}\n{"context": "a"}\n')
    assert "qa.jsonl (line 2)" in says("--pairs", f"qa={tmp_path / 'qa.jsonl'}")
    missing = world.config(train_data_paths=[str(tmp_path / "gone"), world.prefix("rhyme")])
    assert "gone.idx does not exist" in says(config=missing)
    # what launch.preflight names is no number to train with here either
    for key, value in (("init_method_std", 0), ("layernorm_epsilon", 0), ("warmup", 1.0), ("eval_interval", 0)):
        assert f"{key} is {value}" in says(config=world.config(**{key: value}))
    for name in ("lr", "eps"):
        optimizer = {"type": "Adam", "params": {"lr": 0.001, name: 0}}
        assert f"optimizer.params.{name} is 0" in says(config=world.config(optimizer=optimizer, min_lr=0))
    assert "missing or damaged" in says("--init-from", str(_empty_model(tmp_path)))
    assert "bfloat16" in says(config=world.config(precision="bfloat16"), code=cli.REFUSED)


def test_a_dataset_of_another_tokenizer_is_refused(world, tmp_path):
    for ending in ("bin", "idx"):
        (tmp_path / f"x.{ending}").write_bytes(Path(f"{world.prefix('plain')}.{ending}").read_bytes())
    (tmp_path / "x.json").write_text(json.dumps({"tokenizer_sha256": "another", "tokens": 1}))
    config = world.config(train_data_paths=[str(tmp_path / "x")], train_data_weights=[1.0])
    with pytest.raises(Refused, match="made with another tokenizer"):
        train(config, tmp_path / "out", tokenizer=world.tokenizer)


def test_two_processes_do_not_share_a_folder(world, tmp_path):
    with files.owner(tmp_path):
        code = "import sys; from launch.local import __main__ as m; from haigo import cli; sys.exit(cli.run(m.main))"
        yamlfile.write(tmp_path.parent / "c.yml", world.config())
        done = subprocess.run(
            [
                sys.executable,
                "-c",
                code,
                str(tmp_path.parent / "c.yml"),
                "--output-dir",
                ".",
                "--tokenizer",
                str(world.tokenizer),
            ],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
        )
    assert done.returncode == cli.BAD_INPUT and "in use by another process" in done.stderr


def test_weights_of_another_shape_are_told(world, trained, tmp_path):
    folder, _, _ = trained
    with pytest.raises(HaigoError, match="a model of another shape"):
        train(
            world.config(hidden_size=64),
            tmp_path,
            tokenizer=world.tokenizer,
            init_from=folder / "out" / "model",
        )


@pytest.mark.parametrize("kind", ["another spm.model", "a tokenizer.json", "none", "the same"])
def test_weights_that_know_other_tokens_are_refused(world, trained, tmp_path, capsys, kind):
    start = tmp_path / "start"
    shutil.copytree(trained[0] / "out" / "model", start)
    for name in ("spm.model", "meta.json", "tokenizer.json") if kind != "the same" else ():
        (start / name).unlink(missing_ok=True)
    golden = ROOT / "tests" / "eval_harness" / "golden"
    if kind == "another spm.model":
        shutil.copy(golden / "spm" / "spm.model", start)
    if kind == "a tokenizer.json":
        shutil.copy(golden / "bpe" / "tokenizer.json", start)
    yamlfile.write(tmp_path / "c.yml", world.config(train_iters=1))
    given = [str(tmp_path / "c.yml"), "--output-dir", str(tmp_path / "out"), "--tokenizer", str(world.tokenizer)]
    code = cli.run(command.main, [*given, "--init-from", str(start)])
    told = capsys.readouterr().err
    if kind in ("none", "the same"):
        assert code == 0 and ("has no tokenizer" in told) == (kind == "none")
    else:
        assert code == cli.REFUSED and str(start) in told and "other ids" in told and not (tmp_path / "out").exists()


def test_leftovers_of_a_killed_export_are_removed(world, tmp_path):
    (tmp_path / ".haigo.tmp" / "0123456789abcdef").mkdir(parents=True)
    (tmp_path / ".haigo.tmp" / "0123456789abcdef" / "model.safetensors").write_bytes(b"half")
    train(world.config(train_iters=2), tmp_path, tokenizer=world.tokenizer, valid={}, progress=lambda tick: None)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        ".haigo",
        ".haigo.lock",
        "log.jsonl",
        "model",
        "result.json",
        "run.json",
    ]


def _empty_model(folder: Path) -> Path:
    (folder / "start").mkdir()
    (folder / "start" / "model.safetensors").write_bytes(b"nothing")
    return folder / "start"


def _raised(call):
    with pytest.raises(HaigoError) as error:
        call()
    return error.value
