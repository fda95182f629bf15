"""The embedded engine on models in Llama shape: what it builds, trains, resumes, exports and scores."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from haigo import files, yamlfile
from haigo.cli import HaigoError, Refused
from launch import proxies
from launch.engine import init, log, settings
from launch.local.train import train
from neox_configs import reader, shipped

ROOT = Path(__file__).resolve().parents[3]
LLAMA: dict[str, Any] = {
    "norm": "rmsnorm", "rms_norm_epsilon": 1e-5, "activation": "swiglu", "num_attention_heads": 4, "num_kv_heads": 2,
    "intermediate_size": 3 * 88, "use_bias_in_norms": False, "use_bias_in_attn_linear": False, "use_bias_in_mlp": False,
}  # fmt: skip


def built(world, **changes: Any) -> Any:
    from launch.engine import model

    return model.build(settings.resolve(world.config(**LLAMA | changes)), 340, 1, 2)


def test_model_follows_the_config(world):
    made = built(world, rotary_emb_base=500000)
    assert type(made).__name__ == "LlamaForCausalLM" and made.config._attn_implementation == "sdpa"
    assert (made.config.num_key_value_heads, made.config.intermediate_size, made.config.rms_norm_eps) == (2, 88, 1e-5)
    assert made.config.rope_parameters["rope_theta"] == 500000 and made.config.vocab_size == 384
    assert (made.config.eos_token_id, made.config.bos_token_id, made.config.pad_token_id) == (1, 1, 2)
    assert not any(name.endswith("bias") for name, _ in made.named_parameters())
    biased = built(world, use_bias_in_attn_linear=True, use_bias_in_mlp=True)
    assert sum(name.endswith("bias") for name, _ in biased.named_parameters()) == 2 * 7
    tied = built(world, no_weight_tying=None)
    assert tied.lm_head.weight is tied.model.embed_tokens.weight
    slides = built(world, attention_config=[[["flash"], 2]], sliding_window_width=7)
    assert (type(slides).__name__, slides.config.sliding_window) == ("MistralForCausalLM", 8)


def test_matrices_are_counted_before_anything_is_built(world):
    plan = settings.resolve(world.config(**LLAMA))
    made = built(world)
    assert plan.weights(384) == sum(weight.numel() for weight in made.parameters() if weight.dim() == 2)


@pytest.mark.parametrize("name", init.INITS)
def test_every_init_has_the_width_of_neox_matrices(world, name):
    made = built(world, init_method=name, hidden_size=64, intermediate_size=3 * 128, init_method_std=0.03)
    layer = made.model.layers[0]
    # query, key and value are one matrix there, and so are value and gate
    for part, rows in ((layer.self_attn.q_proj, 64 + 2 * 32), (layer.mlp.gate_proj, 2 * 128), (layer.mlp.up_proj, 256)):
        wide = init.std(name, (rows, 64), hidden=64, layers=2, sigma=0.03)
        assert part.weight.std().item() == pytest.approx(wide, rel=0.04)
    for part in (layer.self_attn.o_proj, layer.mlp.down_proj):
        assert part.weight.std().item() == pytest.approx(2 / 2 / math.sqrt(64), rel=0.04)
    assert all(bool((norm.weight == 1).all()) for norm in (layer.input_layernorm, made.model.norm))


def test_norms_and_biases_are_not_decayed(world):
    from launch.engine import optimizer

    made = built(world, use_bias_in_mlp=True)
    decayed, plain = optimizer.groups(made, 0.1)
    assert {value.dim() for value in decayed["params"]} == {2} and {value.dim() for value in plain["params"]} == {1}
    assert len(decayed["params"]) + len(plain["params"]) == len(list(made.parameters()))


@pytest.mark.parametrize("named", ["num_key_value_heads", "rms_norm_eps", "mlp_bias"])
def test_another_llama_in_the_same_folder_is_refused_by_name(world, tmp_path, named):
    other = {"num_key_value_heads": {"num_kv_heads": 1}, "rms_norm_eps": {"rms_norm_epsilon": 1e-6}}
    config = world.config(**LLAMA, train_iters=1)
    train(config, tmp_path / "out", tokenizer=world.tokenizer, valid={}, export=False, progress=lambda tick: None)
    config |= other.get(named, {"use_bias_in_mlp": True})
    with pytest.raises(Refused, match=named):
        train(config, tmp_path / "out", tokenizer=world.tokenizer, valid={}, export=False)


def test_a_gpt_is_identified_as_it_always_was(world):
    plain = settings.resolve(world.config()).as_dict()
    assert not {"model", "model_type", "num_key_value_heads", "rms_norm_eps"} & plain.keys()
    llama = settings.resolve(world.config(**LLAMA)).as_dict()
    assert llama.keys() - plain.keys() == {"model_type", "num_key_value_heads", "rms_norm_eps", "mlp_bias"}


def test_killed_run_goes_on_to_the_same_bytes_and_is_a_llama_to_everyone(world, tmp_path):
    import torch
    from transformers import AutoModelForCausalLM

    config = world.config(**LLAMA, train_iters=200, checkpoint_factor=10)
    yamlfile.write(tmp_path / "run.yml", config)
    words = [sys.executable, "-m", "launch.local", str(tmp_path / "run.yml"), "--tokenizer", str(world.tokenizer)]
    words += ["--output-dir", str(tmp_path / "killed")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    running = subprocess.Popen(words, cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    try:
        while log.tokens_seen(tmp_path / "killed" / "log.jsonl") < 60 * 4 * 32:
            assert running.poll() is None and time.monotonic() < deadline
            time.sleep(0.005)
    finally:
        running.send_signal(signal.SIGKILL)
        running.wait()
    assert (tmp_path / "killed" / "checkpoint.pt").is_file()
    subprocess.run(words, cwd=tmp_path, env=environment, check=True, capture_output=True, timeout=120)
    broken = files.read_json(tmp_path / "killed" / "result.json")
    whole = train(config, tmp_path / "whole", tokenizer=world.tokenizer, progress=lambda tick: None)
    for name in ("metrics", "valid", "loss", "steps", "tokens"):
        assert broken[name] == whole[name]
    for name in ("model.safetensors", "config.json"):
        assert files.sha256_file(tmp_path / "killed/model" / name) == files.sha256_file(tmp_path / "whole/model" / name)
    first, *_, last = (one["loss"] for one in log.read(tmp_path / "whole" / "log.jsonl") if "loss" in one)
    assert last < first - 1
    # the folder is a Llama to transformers, with the engine's own loss
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "whole" / "model", dtype="float32")
    assert type(model).__name__ == "LlamaForCausalLM"
    assert sum(weight.numel() for weight in model.parameters()) == whole["size"]
    from launch.engine import evaluate

    task = evaluate.corpus_task(world.prefix("rhyme", "valid"), world.words, 32, None)
    labels = torch.from_numpy(task.labels)
    with torch.no_grad():
        logits = model(input_ids=torch.from_numpy(task.inputs)).logits
    found = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-100)
    assert found.item() == pytest.approx(whole["valid"]["rhyme"]["loss"], abs=1e-5)
    # and a start for the next run, of the same shape alone
    more = {"tokenizer": world.tokenizer, "init_from": tmp_path / "whole" / "model", "valid": {}, "export": False}
    started = train(world.config(**LLAMA, train_iters=1), tmp_path / "more", **more, progress=lambda tick: None)
    assert started["loss"] < first - 1
    with pytest.raises(HaigoError, match="another shape"):
        train(world.config(**LLAMA | {"num_kv_heads": 1}, train_iters=1), tmp_path / "other", **more)


def test_proxies_in_llama_shape(world, catalogue, tmp_path):
    base = reader.load(shipped.find_model("llama-0-3m"))
    base |= {"seq_length": 32, "max_position_embeddings": 32, "num_layers": 1}
    table = {"a": {"plain": 0.8, "rhyme": 0.2}, "b": {"plain": 0.1, "rhyme": 0.9}}
    made = proxies.run(table, catalogue, base, tmp_path, tokens=16 * 32 * 10, workers=2, show=False)
    assert sorted(made.trained) == ["a", "b"]
    assert made.results["b"]["metrics"]["rhyme_bpb"] < made.results["a"]["metrics"]["rhyme_bpb"]
    assert made.results["a"]["size"] == made.results["b"]["size"]


@pytest.mark.parametrize("name", [name for name in shipped.names("proxies") if name.startswith("llama")])
def test_a_llama_proxy_is_as_large_as_the_gpt_of_its_name(name):
    from neox_configs import derive

    counts = []
    for one in (name, name.removeprefix("llama-")):
        config = reader.load(shipped.find("proxies", one))
        counts.append(derive.parameters(config, 1024)[0] * config["num_layers"])
    assert counts[0] == pytest.approx(counts[1], rel=0.01)
