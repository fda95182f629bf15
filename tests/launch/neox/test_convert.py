"""launch.convert on checkpoints that the tests write in GPT-NeoX's layout."""

from __future__ import annotations

import errno
import json
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import convert_world
import numpy as np
import pytest
import torch
from convert_world import BATCH, SEQ
from damage import flip
from neox_world import REPO, World, sentences, train_tokenizer
from safetensors.torch import load_file, save_file

from eval_harness import milestones
from haigo import cli, files, yamlfile
from haigo.cli import HaigoError, Refused
from haigo.formats import tokenizer
from haigo.formats.dataset.indexed import MMapWriter
from launch import convert
from launch.neox.conversion import check as convert_check
from launch.neox.conversion import checkpoint as convert_checkpoint
from launch.neox.conversion import convert as convert_model
from launch.neox.conversion import loss as convert_loss
from launch.neox.conversion import model_folder, weights
from neox_configs import derive


class Case:
    """A checkpoint and its right model."""

    def __init__(self, world: World, root: Path, **changes: Any) -> None:
        self.world, self.root = world, root
        dtype = changes.pop("weights_in", torch.float32)
        self.save, self.out = root / "save", root / "hf"
        self.config = convert_world.config(world, self.save, **changes)
        self.words = tokenizer.load(world.root / "tokenizer")
        self.rows = convert_world.padded(self.words.vocab_size, self.config)
        tied = not self.config["no_weight_tying"]
        model = convert_world.weights(self.rows, tied=tied)
        self.model = {name: value.to(dtype).float() for name, value in model.items()}
        self.folder = convert_world.write_checkpoint(self.save, self.config, self.model, dtype=dtype)

    def convert(self, **options: Any) -> dict[str, Any]:
        return convert_world.converted(options.pop("place", self.save), self.out, **options)

    def run(self, *words: str) -> int:
        return cli.run(convert.main, [str(self.save), "--out", str(self.out), *words])

    def configure(self, **changes: Any) -> None:
        yamlfile.write(self.folder / "configs" / "run.yml", {**self.config, **changes})

    def loss(self, part: str, first: int, count: int) -> float:
        """Of the right model, by transformers' own loss."""
        from transformers import GPTNeoXForCausalLM

        inputs, labels = convert_loss.rows(self.config, BATCH, part, first, count, self.words.eod_id, Path())
        model = GPTNeoXForCausalLM.from_pretrained(self.out).eval()
        with torch.no_grad():
            logits = model(torch.from_numpy(np.ascontiguousarray(inputs))).logits
        return float(torch.nn.functional.cross_entropy(logits.flatten(0, 1), torch.from_numpy(labels).flatten()))


@pytest.fixture
def case(shared_world: World, tmp_path: Path):
    def make(**changes: Any) -> Case:
        return Case(shared_world, tmp_path / "case", **changes)

    return make


def log_of(path: Path, train: dict[int, float], valid: dict[int, float] | None = None) -> Path:
    lines = ["setting training data start iteration to 0", "setting validation data start iteration to 0"]
    for step in range(1, 7):
        lines.append(
            f" samples/sec: 20.161 | iteration {step:8d}/       6 | elapsed time per iteration (ms): 198.4 | learning rate: "
            f"2.000E-02 | lm_loss: {train.get(step, 9.0):.6E} | number of skipped iterations:   0 |"
        )
        if step % 2 == 0:
            value = (valid or {}).get(step, 9.0)
            lines.append(
                f" validation results at iteration {step} | lm_loss value: {value:.6E} | lm_loss_ppl value: 1.0E+01 | "
            )
    path.write_text("\n".join(lines))
    return path


@pytest.mark.parametrize(
    ("ranks", "pipe", "residual", "tying"),
    [
        (1, 0, False, True),
        (1, 1, False, False),
        (2, 0, False, True),
        (2, 1, True, True),
        (4, 2, False, False),
        (4, 0, True, True),
    ],
)
def test_the_model_comes_out_bit_for_bit(case, ranks, pipe, residual, tying):
    one = case(model_parallel_size=ranks, pipe_parallel_size=pipe, gpt_j_residual=residual, no_weight_tying=tying)
    made = one.convert()
    found = load_file(one.out / "model.safetensors")
    assert found.keys() == one.model.keys()
    assert not [name for name, value in one.model.items() if not torch.equal(value, found[name])]
    assert {check["status"] for check in made["checks"]} == {"ok"}
    assert not [path for path in one.root.iterdir() if path.name.startswith(".")]


def test_half_precision_biases_and_norms_are_exact(case):
    one = case(model_parallel_size=8, weights_in=torch.bfloat16, precision="bfloat16")
    name = "gpt_neox.layers.0.mlp.dense_4h_to_h.bias"
    made = one.convert()
    found = load_file(one.out / "model.safetensors")
    assert found[name].dtype == torch.bfloat16 and made["dtype"] == "bfloat16"
    assert not [key for key, value in one.model.items() if not torch.equal(value, found[key].float())]
    assert files.read_json(one.out / "config.json")["torch_dtype"] == "bfloat16"


def test_ids_tokenizer_and_activation(case):
    one = case(bias_gelu_fusion=True)
    one.convert()
    for name in ("config.json", "generation_config.json"):
        content = files.read_json(one.out / name)
        assert (content["bos_token_id"], content["eos_token_id"], content["pad_token_id"]) == (1, 1, 2)
    assert files.read_json(one.out / "config.json")["hidden_act"] == "gelu_pytorch_tanh"
    assert files.sha256_file(one.out / "spm.model") == one.words.sha256
    text = "kaio  tes\n新 <|endoftext|>"
    assert tokenizer.hf_adapter(one.out).encode(text, add_special_tokens=False) == one.words.encode(text)
    assert (one.out / "tokenizer.json").is_file() and os.access(one.out / "model.safetensors", os.R_OK)
    from transformers import AutoModelForCausalLM, AutoTokenizer

    assert AutoTokenizer.from_pretrained(one.out).eos_token_id == 1
    model = AutoModelForCausalLM.from_pretrained(one.out)
    assert model.config.hidden_act == "gelu_pytorch_tanh" and model.generation_config.eos_token_id == 1


def test_cut_and_rounded(case):
    one = case(model_parallel_size=2)
    one.convert(vocab="cut", dtype="float16")
    found = load_file(one.out / "model.safetensors")
    size = one.words.vocab_size
    assert size < one.rows and files.read_json(one.out / "config.json")["vocab_size"] == size
    for name in ("gpt_neox.embed_in.weight", "embed_out.weight"):
        assert torch.equal(found[name], one.model[name][:size].half())
    assert {one["status"] for one in convert_model.check_folder(one.out)} == {"ok"}


def test_shards(case, monkeypatch):
    one = case(model_parallel_size=2)
    monkeypatch.setattr(weights, "SHARD_BYTES", 30_000)
    one.convert(dtype="bfloat16", vocab="cut")
    index = files.read_json(one.out / model_folder.INDEX)
    parts = sorted(path.name for path in one.out.glob("*.safetensors"))
    assert len(parts) > 2 and parts[0] == f"model-00001-of-{len(parts):05d}.safetensors"
    found = {name: value for file in parts for name, value in load_file(one.out / file).items()}
    size = one.words.vocab_size
    assert found.keys() == one.model.keys() == index["weight_map"].keys()
    for name, value in found.items():
        right = one.model[name][:size] if "embed" in name else one.model[name]
        assert torch.equal(value, right.bfloat16())
    assert index["metadata"]["total_size"] == sum(2 * value.numel() for value in found.values())
    (one.out / parts[1]).unlink()
    with pytest.raises(HaigoError, match=parts[1]):
        convert_model.check_folder(one.out)


def test_copies_that_differ_are_refused_unless_a_log_proves_the_model(case, tmp_path, capsys):
    one = case(model_parallel_size=2)
    one.convert()
    weights = load_file(one.out / "model.safetensors")
    name = "gpt_neox.layers.0.attention.dense.bias"
    weights[name] += 0.125
    save_file(weights, one.out / "model.safetensors", metadata={"format": "pt"})
    right = log_of(tmp_path / "log", {5: one.loss("train", 16, BATCH)}, {4: one.loss("valid", 2 * BATCH, 2 * BATCH)})
    path = one.folder / "mp_rank_01_model_states.pt"
    state = convert_checkpoint.read(path, one.folder)
    moved = {name: value.clone() for name, value in state["module"].items()}
    moved["sequential.2.attention.dense.bias"] += 0.25
    torch.save({"module": moved, "dp_world_size": 1}, path)
    one.out.rename(tmp_path / "before")
    assert one.run() == cli.REFUSED and not one.out.exists()
    told = capsys.readouterr().err
    assert "1 tensors differ between the 2 tensor ranks, gpt_neox.layers.0.attention.dense.bias most, by 0.25" in told
    assert "was not put in place" in told and "--log" in told
    assert one.run("--log", str(right)) == cli.OK
    assert "warn copies: 1 tensors differ" in capsys.readouterr().err
    assert torch.allclose(load_file(one.out / "model.safetensors")[name], one.model[name] + 0.125)
    assert cli.run(convert.main, [str(one.out), "--check"]) == cli.OK


def test_a_log_that_cannot_be_compared_is_no_proof(case, tmp_path, capsys):
    """The data of the run are elsewhere, or fewer samples are looked at than the logged loss is of."""
    one = case()
    one.convert()
    log = log_of(tmp_path / "log", {5: one.loss("train", 16, BATCH)})
    one.out.rename(tmp_path / "before")
    assert one.run("--log", str(log), "--samples", "1") == cli.REFUSED and not one.out.exists()
    assert "no loss could be compared" in capsys.readouterr().err
    one.configure(**{f"{split}_data_paths": ["/nowhere/text_document"] * 2 for split in ("train", "valid", "test")})
    assert one.run("--log", str(log)) == cli.REFUSED and not one.out.exists()
    assert "no loss could be compared" in capsys.readouterr().err
    assert one.run() == cli.OK
    capsys.readouterr()
    assert cli.run(convert.main, [str(one.out), "--check", "--log", str(log)]) == cli.REFUSED
    assert "no loss could be compared" in capsys.readouterr().out


class Bomb:
    def __reduce__(self):
        return os.mkdir, (os.environ["BOMB"],)


def test_a_checkpoint_cannot_run_code(case, monkeypatch, tmp_path):
    one = case()
    monkeypatch.setenv("BOMB", str(tmp_path / "exploded"))
    path = one.folder / "mp_rank_00_model_states.pt"
    state = convert_checkpoint.read(path, one.folder)
    torch.save({"module": {k: v.clone() for k, v in state["module"].items()}, "bomb": Bomb()}, path)
    with pytest.raises(Refused, match=r"mp_rank_00_model_states.pt names (posix|os)\.mkdir"):
        convert_checkpoint.read(path, one.folder)
    assert not (tmp_path / "exploded").exists()
    with pytest.raises(HaigoError, match="torn or damaged"):
        path.write_bytes(pickle.dumps(Bomb()))
        convert_checkpoint.read(path, one.folder)
    assert not (tmp_path / "exploded").exists()


def no_latest(one):
    (one.save / "latest").unlink()


def latest_elsewhere(one):
    (one.save / "latest").write_text("global_step9\n")


def torn(one):
    path = one.folder / "mp_rank_00_model_states.pt"
    path.write_bytes(path.read_bytes()[:-2000])


def empty_file(one):
    (one.folder / "mp_rank_00_model_states.pt").write_bytes(b"")


def no_config(one):
    (one.folder / "configs" / "run.yml").unlink()


def another_tokenizer(one):
    train_tokenizer(one.root / "tokenizer", sentences(3, 500) + sentences(4, 500), size=400)
    one.configure(vocab_file=str(one.root / "tokenizer" / "spm.model"))


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (no_latest, "has no file `latest`"),
        (latest_elsewhere, "names 'global_step9', which is not there"),
        (torn, "mp_rank_00_model_states.pt is torn or damaged"),
        (empty_file, "mp_rank_00_model_states.pt is torn or damaged"),
        (no_config, "has no configs/"),
        (another_tokenizer, "word_embeddings.weight has the shape (320, 32), and the config asks for (448, 32)"),
        (lambda one: one.configure(model_parallel_size=2), "holds 1 tensor ranks, and the config says model_parallel_size 2"),
        (lambda one: one.configure(pipe_parallel_size=1), "says pipe_parallel_size 1, and"),
        (lambda one: one.configure(num_layers=3), "layer 4 input_layernorm.weight is missing"),
        (lambda one: one.configure(hidden_size=64), "and the config asks for"),
        (lambda one: one.configure(norm="rmsnorm"), "norm: 'rmsnorm' cannot be converted"),
        (lambda one: one.configure(pos_emb="learned"), "pos_emb: 'learned' cannot be converted"),
        (lambda one: one.configure(num_kv_heads=2), "num_kv_heads: 2 cannot be converted"),
        (lambda one: one.configure(activation="swiglu"), "activation: 'swiglu'"),
        (lambda one: one.configure(gpt_j_tied=True), "gpt_j_tied: True cannot be converted"),
        (lambda one: one.configure(attention_config=[[["sparse_fixed"], 2]]), "attention_config: 'sparse_fixed'"),
        (lambda one: one.configure(zero_optimization={"stage": 3}), "ZeRO stage 3"),
        (lambda one: one.configure(tokenizer_type="GPT2BPETokenizer"), "only models with a SentencePiece tokenizer"),
        (lambda one: one.configure(tokenizer_type=None), "names no tokenizer"),
        (
            lambda one: one.configure(tokenizer_type="HFTokenizer", vocab_file=str(one.words.path)),
            "spm.model is of SPMTokenizer",
        ),
        (lambda one: one.configure(vocab_file="/nowhere/spm.model"), "is not on this machine"),
        (lambda one: (one.folder / "mp_rank_00_model_states.pt").unlink(), "holds no weights of GPT-NeoX"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_checkpoint_is_said(case, harm, says, capsys):
    one = case()
    harm(one)
    assert one.run() == cli.BAD_INPUT
    told = capsys.readouterr().err
    assert says in told and "\n  fix: " in told and "Traceback" not in told
    assert not one.out.exists() and not (one.root / ".hf.partial").exists()


def test_a_missing_layer_is_named_with_another_step(case, capsys):
    one = case(pipe_parallel_size=1)
    convert_world.write_checkpoint(one.save, one.config, one.model, step=2)
    (one.folder / "layer_03-model_00-model_states.pt").unlink()
    (one.save / "latest").write_text("global_step4")
    assert one.run() == cli.BAD_INPUT
    told = capsys.readouterr().err
    assert "layer_03-model_00-model_states.pt is missing" in told and "--iteration 2" in told
    assert one.run("--iteration", "2") == cli.OK
    record = files.read_json(one.out / "conversion.json")
    assert record["step"] == 2
    per_step = record["config"]["train_micro_batch_size_per_gpu"] * record["config"]["seq_length"]
    assert milestones.training(one.out) == {"step": 2, "tokens": 2 * per_step * (record["data_ranks"] or 1)}
    assert one.run("--iteration", "3", "--force") == cli.BAD_INPUT
    assert "has no global_step3" in capsys.readouterr().err


def test_places_that_are_no_checkpoint(case, tmp_path, capsys):
    one = case()
    for place, says in ((tmp_path / "no", "is no folder"), (tmp_path / "world", "holds no global_stepN")):
        (tmp_path / "world").mkdir(exist_ok=True)
        assert cli.run(convert.main, [str(place), "--out", str(one.out)]) == cli.BAD_INPUT
        assert says in capsys.readouterr().err
    assert cli.run(convert.main, [str(one.save), "--out", str(one.folder / "hf")]) == cli.BAD_INPUT
    assert cli.run(convert.main, [str(one.save), "--out", str(one.save), "--force"]) == cli.BAD_INPUT
    assert cli.run(convert.main, [str(one.save)]) == cli.BAD_INPUT
    assert (one.folder / "mp_rank_00_model_states.pt").is_file()


def test_nothing_is_replaced_without_force(case, capsys):
    one = case()
    one.out.mkdir(parents=True)
    (one.out / "diary.txt").write_text("mine")
    assert one.run() == cli.REFUSED
    assert one.run("--force") == cli.REFUSED and "something else than a model" in capsys.readouterr().err
    assert (one.out / "diary.txt").read_text() == "mine"
    (one.out / "diary.txt").rename(one.out / "config.json")
    assert one.run("--force") == cli.REFUSED and (one.out / "config.json").read_text() == "mine"
    (one.out / "config.json").unlink()
    assert one.run() == cli.OK
    (one.out / "diary.txt").write_text("mine")
    assert one.run("--force") == cli.OK and (one.out / "diary.txt").read_text() == "mine"
    assert files.read_json(one.out / "config.json")["model_type"] == "gpt_neox"
    # an earlier version was killed between its two renames of --force: the old model is put back
    os.replace(one.out, one.root / ".hf.replaced")
    assert one.run() == cli.REFUSED and (one.out / "config.json").is_file()


def test_a_dry_run_starts_nothing(case, capsys):
    one = case()
    assert one.run("--dry-run") == cli.OK
    assert f"hf: would be made of {one.folder}: step 4, float32, {one.rows} rows" in capsys.readouterr().out
    assert not one.out.exists() and not list(one.root.glob(".hf*"))


def test_a_conversion_that_fails_leaves_nothing(case, monkeypatch, capsys):
    one = case()
    leftover = one.root / ".hf.partial" / files.SCRATCH / "0123456789abcdef"
    leftover.mkdir(parents=True)
    (leftover / "half").write_text("of a killed process")

    def full(*given: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(weights, "write", full)
        assert one.run() == cli.BAD_INPUT
    assert "no space left" in capsys.readouterr().err
    assert not one.out.exists() and not (one.root / ".hf.partial").exists()
    assert one.run() == cli.OK


WAITS = """
import sys, time
from launch import convert
from launch.neox.conversion import weights
from haigo import cli
real = weights.write
def write(*args):
    real(*args)
    open(sys.argv[1], "w").close()
    time.sleep(300)
weights.write = write
raise SystemExit(cli.run(convert.main, sys.argv[2:]))
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, cli.TERMINATED), (signal.SIGKILL, -signal.SIGKILL)])
def test_a_signal_in_the_middle_leaves_no_half_model(case, tmp_path, number, code):
    one = case()
    started = tmp_path / "started"
    child = subprocess.Popen(
        [sys.executable, "-c", WAITS, str(started), str(one.save), "--out", str(one.out)],
        env={**os.environ, "PYTHONPATH": f"{REPO}"},
        cwd=REPO,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        end = time.monotonic() + 120
        while not started.is_file() and time.monotonic() < end and child.poll() is None:
            time.sleep(0.1)
        child.send_signal(number)
        _, told = child.communicate(timeout=300)
    finally:
        child.kill()
    assert started.is_file() and child.returncode == code, told
    assert not one.out.exists()
    assert (one.root / ".hf.partial").exists() == (number == signal.SIGKILL)
    assert one.run() == cli.OK  # the same command finishes the work
    assert not (one.root / ".hf.partial").exists()


def test_the_loss_is_compared_with_the_log(case, tmp_path, capsys):
    one = case(model_parallel_size=2)
    one.convert()
    right = log_of(tmp_path / "log", {5: one.loss("train", 16, BATCH)}, {4: one.loss("valid", 2 * BATCH, 2 * BATCH)})
    assert one.run("--force", "--log", str(right)) == cli.OK
    told = capsys.readouterr().err
    assert "ok   training loss at step 5" in told and "ok   validation loss at step 4" in told
    assert cli.run(convert.main, [str(one.out), "--check", "--log", str(right)]) == cli.OK
    before = files.sha256_file(one.out / "model.safetensors")
    value = one.loss("train", 16, BATCH)
    wrong = log_of(tmp_path / "wrong", {5: value * 1.0001}, {4: one.loss("valid", 2 * BATCH, 2 * BATCH)})
    assert one.run("--force", "--log", str(wrong)) == cli.REFUSED
    assert "was not put in place" in capsys.readouterr().err
    assert files.sha256_file(one.out / "model.safetensors") == before
    assert cli.run(convert.main, [str(one.out), "--check", "--log", str(wrong)]) == cli.REFUSED
    assert "fail training loss at step 5" in capsys.readouterr().out


def test_biases_added_up_would_be_found_by_the_loss(case, tmp_path, monkeypatch):
    """As GPT-NeoX's own converter has them."""
    one = case(model_parallel_size=2)
    one.convert()
    log = log_of(tmp_path / "log", {5: one.loss("train", 16, BATCH)}, {4: one.loss("valid", 2 * BATCH, 2 * BATCH)})
    real = weights.tensors

    def summed(*given: Any) -> Iterator[tuple[str, torch.Tensor]]:
        for name, value in real(*given):
            yield name, value * 2 if name.endswith(("attention.dense.bias", "dense_4h_to_h.bias")) else value

    monkeypatch.setattr(weights, "tensors", summed)
    with pytest.raises(Refused, match="not put in place"):
        one.convert(log=log, force=True)


def test_a_cut_model_is_compared_before_the_cut(case, tmp_path):
    one = case()
    one.convert()
    log = log_of(tmp_path / "log", {5: one.loss("train", 16, BATCH)}, {4: one.loss("valid", 2 * BATCH, 2 * BATCH)})
    made = one.convert(log=log, force=True, vocab="cut")
    assert [check["status"] for check in made["checks"] if "loss" in check["name"]] == ["ok", "ok"]


def test_without_a_log_the_loss_is_measured_where_data_are(case):
    one = case()
    one.convert(check=True)
    row = convert_model.check_folder(one.out)[-1]
    assert row["status"] == "ok" and row["text"].startswith(f"{one.loss('train', 16, BATCH):.5f}"[:6])
    record = files.read_json(one.out / "conversion.json")
    record["config"]["train_data_paths"] = ["/nowhere/text_document"] * 2
    files.write_json(one.out / "conversion.json", record)
    row = convert_model.check_folder(one.out)[-1]
    assert row["status"] == "skip" and "/nowhere/text_document.idx does not exist" in row["text"]


def test_the_log_is_read_with_resumes_and_means(tmp_path, shared_world):
    config = convert_world.config(shared_world, tmp_path, gradient_accumulation_steps=2, train_batch_size=8)
    log = log_of(tmp_path / "log", {3: 1.5, 5: 2.5}, {2: 1.25, 4: 2.25})
    train, valid = sorted(convert_loss.logged(log, 4, config, 8), key=lambda one: one.part)
    assert (train.value, train.first, train.samples) == (2.5, 32, 8)
    assert (valid.value, valid.first, valid.samples) == (2.25, 16, 16)
    resumed = tmp_path / "resumed"
    resumed.write_text(
        log.read_text()
        + "\nsetting validation data start iteration to 6\n"
        + " x | iteration        4/       6 | lm_loss: 7.0E+00 |\n"
        + " validation results at iteration 4 | lm_loss value: 3.5E+00 | \n"
        + " x | iteration        5/       6 | lm_loss: 2.75E+00 |\n"
        + " x | iteration        6/       6 | lm_loss: 2.5E+00 |\n"
        + " validation results at the end of training for val data | lm_loss value: 1.0E+00 | \n"
    )
    train, valid = sorted(convert_loss.logged(resumed, 4, config, 8), key=lambda one: one.part)
    assert (train.value, valid.value, valid.first) == (2.75, 3.5, 24)
    (last,) = [one for one in convert_loss.logged(resumed, 6, config, 8) if one.part == "valid"]
    assert (last.value, last.first) == (1.0, 40)
    sparse = tmp_path / "sparse"
    sparse.write_text(
        " x | iteration       10/      60 | lm_loss: 7.0E+00 |\n x | iteration       20/      60 | lm_loss: 6.0E+00 |"
    )
    with pytest.raises(HaigoError, match="is a mean over several steps"):
        convert_loss.logged(sparse, 19, {**config, "log_interval": 10}, 8)
    with pytest.raises(HaigoError, match="neither step 31 nor"):
        convert_loss.logged(sparse, 30, config, 8)
    with pytest.raises(HaigoError, match="cannot be read"):
        convert_loss.logged(tmp_path / "no", 30, config, 8)


def test_labels_and_ends_of_documents_are_left_out(shared_world, tmp_path):
    """Masked targets follow the label dataset through the same order; eod_mask_loss masks by the input token."""
    random = np.random.RandomState(3)
    text, label = tmp_path / "text", tmp_path / "label"
    with MMapWriter(text, np.uint16) as one, MMapWriter(label, np.int32) as other:
        for _ in range(40):
            ids = random.randint(3, 300, size=random.randint(5, 60))
            ids[-1] = 1
            one.add(ids)
            one.end_document()
            other.add(np.where(np.arange(len(ids)) < 3, -100, ids))
            other.end_document()
    config = convert_world.config(
        shared_world,
        tmp_path,
        train_data_paths=[str(text)],
        train_data_weights=[1.0],
        train_label_data_paths=[str(label)],
    )
    inputs, labels = convert_loss.rows(config, BATCH, "train", 3, 9, 1, Path())
    config.pop("train_label_data_paths")
    same, plain = convert_loss.rows(config, BATCH, "train", 3, 9, 1, Path())
    assert (inputs == same).all() and inputs.shape == labels.shape == (9, SEQ)
    hidden = labels == -100
    assert 0.05 < hidden.mean() < 0.6 and (labels[~hidden] == plain[~hidden]).all()
    starts = inputs == 1  # what follows the end of a document is its first token, which is masked
    assert hidden[starts].all()
    config["eod_mask_loss"] = True
    _, masked = convert_loss.rows(config, BATCH, "train", 3, 9, 1, Path())
    assert (masked[starts] == -100).all() and (masked[~starts] == plain[~starts]).all()
    with pytest.raises(HaigoError, match="pack_impl: 'unpacked'"):
        convert_loss.rows({**config, "pack_impl": "unpacked"}, BATCH, "train", 0, 1, 1, Path())


def whole(config, copies):
    one = derive.batch_of(config, copies)
    return one.micro, one.train


def test_the_size_of_the_batch(shared_world, tmp_path):
    config = convert_world.config(shared_world, tmp_path, gradient_accumulation_steps=3)
    assert whole(config, 2) == (BATCH, 24)
    assert whole(config, None) == (BATCH, 12)
    assert whole({**config, "train_batch_size": 24}, 5) == (BATCH, 24)


def change_weights(folder: Path, **changes: Any) -> None:
    held = load_file(folder / "model.safetensors")
    for name, value in changes.items():
        held[name] = value(held[name])
    save_file({name: value for name, value in held.items() if value is not None}, folder / "model.safetensors")


def change_json(folder: Path, file: str, **changes: Any) -> None:
    files.write_json(folder / file, {**files.read_json(folder / file), **changes})


def poison(value: torch.Tensor) -> torch.Tensor:
    value[0] = float("nan")
    return value


BIAS = "gpt_neox.layers.1.attention.dense.bias"


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (lambda to: change_weights(to, **{BIAS: poison}), f"fail numbers: {BIAS} holds values that are no numbers"),
        (lambda to: change_weights(to, **{BIAS: lambda value: None}), f"fail weights: {BIAS} has the shape none"),
        (lambda to: change_weights(to, **{BIAS: lambda value: value[:5].clone()}), "has the shape (5,), config.json asks for"),
        (lambda to: change_weights(to, **{BIAS: lambda value: value.half()}), "of several types (F16, F32)"),
        (lambda to: change_json(to, "config.json", eos_token_id=2), "fail ids in config.json: eos_token_id is 2 and not 1"),
        (lambda to: change_json(to, "generation_config.json", pad_token_id=0), "fail ids in generation_config.json"),
        (lambda to: change_json(to, "config.json", layer_norm_eps=1e-3), "layer_norm_eps is 0.001 and not 1e-05"),
        (lambda to: change_json(to, "config.json", use_parallel_residual=True), "use_parallel_residual is True and not False"),
        (lambda to: (to / "spm.model").unlink(), "fail tokenizer: "),
        (lambda to: train_tokenizer(to, [f"ab{i}" for i in range(600)], size=290), "spm.model is not the one"),
        (lambda to: train_tokenizer(to, [f"ab{i}cde{i}" for i in range(900)], size=350), "and the model 320 rows"),
        (lambda to: (to / "generation_config.json").unlink(), "generation_config.json: the file is missing"),
    ],
)  # fmt: skip
def test_a_harmed_folder_is_found(case, harm, says, capsys):
    one = case()
    one.convert()
    assert cli.run(convert.main, [str(one.out), "--check"]) == cli.OK
    capsys.readouterr()
    harm(one.out)
    assert cli.run(convert.main, [str(one.out), "--check"]) == cli.REFUSED
    assert says in capsys.readouterr().out


def test_a_flipped_byte_is_found(case, capsys):
    one = case()
    one.convert()
    path = one.out / "model.safetensors"
    flip(path, path.stat().st_size - 90)
    assert cli.run(convert.main, [str(one.out), "--check"]) == cli.REFUSED
    assert "fail bytes: model.safetensors: changed since it was written" in capsys.readouterr().out
    assert one.run("--force") == cli.OK and cli.run(convert.main, [str(one.out), "--check"]) == cli.OK
    assert "ok   bytes: config and weights are as they were written" in capsys.readouterr().out
    change_json(one.out, "config.json", note="mine")
    assert cli.run(convert.main, [str(one.out), "--check"]) == cli.OK
    assert "warn bytes: config.json: changed" in capsys.readouterr().out


def test_a_truncated_model_file_is_named(case, capsys):
    one = case()
    one.convert()
    path = one.out / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-9])
    assert cli.run(convert.main, [str(one.out), "--check"]) == cli.BAD_INPUT
    assert "model.safetensors is damaged" in capsys.readouterr().err


def test_folders_of_other_origin(case, tmp_path, capsys):
    one = case()
    one.convert()
    (one.out / "conversion.json").unlink()
    told = convert_model.check_folder(one.out)
    assert {row["status"] for row in told} == {"ok", "skip"}
    with pytest.raises(HaigoError, match=r"has no conversion.json"):
        convert_model.check_folder(one.out, log=tmp_path / "log")
    change_json(one.out, "config.json", model_type="llama")
    assert cli.run(convert.main, [str(one.out), "--check"]) == cli.REFUSED  # of other tensors
    change_json(one.out, "config.json", model_type="qwen2")
    assert cli.run(convert.main, [str(one.out), "--check"]) == cli.BAD_INPUT


def test_the_embedded_engine_starts_from_a_converted_checkpoint(case):
    from launch.engine import model as engine
    from launch.engine import settings

    one = case(model_parallel_size=2)
    one.convert()
    config = {**one.config, "num_gpus": None, "master_port": None, "distributed_backend": None}
    made = engine.build(settings.resolve({key: value for key, value in config.items() if value is not None}), 300, 1, 2)
    engine.load_weights(made, str(one.out))
    assert torch.equal(made.lm_head.weight, one.model["embed_out.weight"])
    assert torch.equal(made.gpt_neox.embed_in.weight, one.model["gpt_neox.embed_in.weight"])


def test_json_and_record_hold_the_same(case, capsys):
    one = case()
    assert one.run("--json") == cli.OK
    told = json.loads(capsys.readouterr().out)
    record = files.read_json(one.out / convert_check.RECORD)
    assert {key: told[key] for key in record} == record
    assert record["config"]["train_data_weights"] == [0.7, 0.3] and record["step"] == 4


def test_force_takes_over_a_model_of_an_earlier_version_and_no_other_file(tmp_path):
    out = tmp_path / "model"
    out.mkdir()
    ours = ("conversion.json", "config.json", "model.safetensors", "tokenizer.json", "spm.model")
    for name in (*ours, "results.json", "adapter.safetensors", "my.model"):
        (out / name).write_text("{}")
    convert_model.free(out, tmp_path / "save", force=True)
    assert {path.name for path in files.remove_tree(out)} == {"results.json", "adapter.safetensors", "my.model"}
