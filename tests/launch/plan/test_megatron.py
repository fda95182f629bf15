"""launch.configs --format megatron: arguments that Megatron-LM knows, with the values that GPT-NeoX's keys mean."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import megatron_probe
import pytest
from neox_world import World
from shared_data import data_of

from haigo import cli
from haigo.cli import Refused
from haigo.formats import blend
from launch import configs
from launch.plan import megatron
from launch.plan.config import make_config
from launch.plan.options import ConfigOptions
from neox_configs import derive, reader

DATA = data_of(__file__)
KNOWN = json.loads(megatron_probe.TABLE.read_text())
SETUPS = [tuple(each) for each in DATA["setups"]]


def made(world: World, model: str, cluster: str, nodes: int, **more: Any) -> dict[str, Any]:
    options = {"catalogue": world.catalogue, "mixture": world.mixture, "output": world.root / "run" / "x.sh"}
    options |= {"model": model, "cluster": cluster, "nodes": nodes, "seq_length": 512, "format": "megatron", **more}
    return make_config(ConfigOptions(**options)).config


def values(words: list[str]) -> dict[str, list[str]]:
    """Argument -> what stands behind it."""
    found: dict[str, list[str]] = {}
    for word in words:
        if word.startswith("--"):
            assert word not in found, word
            last = found[word] = []
        else:
            last.append(word)
    return found


@pytest.mark.parametrize(("model", "cluster", "nodes", "attention"), SETUPS)
def test_megatron_knows_every_argument(
    shared_world: World, model: str, cluster: str, nodes: int, attention: str
) -> None:
    given = values(megatron.arguments(made(shared_world, model, cluster, nodes, attention=attention)).flat())
    for name, words in given.items():
        argument = KNOWN[name]
        if argument["nargs"] == 0:
            assert words == []
            continue
        assert len(words) == 1 or argument["nargs"] == "*"
        for word in words if argument["nargs"] != "*" else []:
            {"int": int, "float": float, "str": str}[argument["kind"]](word)
            assert not argument["choices"] or word in argument["choices"]


@pytest.mark.parametrize("name", DATA["meant"])
def test_values_mean_the_same(shared_world: World, name: str) -> None:
    model, cluster, nodes, attention = DATA["meant"][name]["setup"]
    given = values(megatron.arguments(made(shared_world, model, cluster, nodes, attention=attention)).flat())
    for argument, wanted in DATA["meant"][name]["has"].items():
        assert given.get(f"--{argument}") == ([] if wanted is True else [str(wanted)]), argument
    assert not {f"--{argument}" for argument in DATA["meant"][name]["has_not"]} & set(given)


def test_the_same_run_as_the_yaml(shared_world: World) -> None:
    config = made(shared_world, "llama-1-3B", "a100-40gb", 2, tokens=1e9)
    given = values(megatron.arguments(config).flat())
    one = {name: words[0] for name, words in given.items() if len(words) == 1}
    assert int(one["--train-iters"]) == config["train_iters"] == int(one["--lr-decay-iters"])
    assert int(one["--global-batch-size"]) == config["train_batch_size"]
    assert float(one["--lr"]) == config["optimizer"]["params"]["lr"]
    assert float(one["--min-lr"]) == config["min_lr"] and float(one["--clip-grad"]) == config["gradient_clipping"]
    assert float(one["--lr-warmup-fraction"]) == config["warmup"]
    for split in ("train", "valid", "test"):
        words = given[f"--{split}-data-path"]
        assert words[1::2] == config[f"{split}_data_paths"]
        assert [float(word) for word in words[::2]] == pytest.approx(config[f"{split}_data_weights"])


@pytest.mark.parametrize(("changes", "said"), [(each["changes"], each["said"]) for each in DATA["refused"]])
def test_what_has_no_argument_is_named(shared_world: World, changes: Mapping[str, Any], said: list[str]) -> None:
    config = made(shared_world, "1-3B", "a100-40gb", 1)
    with pytest.raises(Refused) as refused:
        megatron.arguments({**config, **changes})
    assert all(word in refused.value.problem for word in said), refused.value.problem


def test_bash_reads_the_file(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    output = world.root / "run folder" / "x.sh"
    words = ["--model", "llama-1-3B", "--cluster", "a100-40gb", "--mixture", str(world.mixture), "--catalogue"]
    words += [str(world.catalogue), "--seq-length", "512", "--format", "megatron", "--output", str(output)]
    assert cli.run(configs.main, words) == 0
    said = capsys.readouterr().out
    assert "pretrain_gpt.py" in said and "deepy" not in said
    assert [path.name for path in output.parent.iterdir() if not path.name.startswith(".")] == ["x.sh"]
    shown = subprocess.run(
        ["bash", "-c", 'source "$0" && printf "%s\\0" "${MEGATRON_ARGS[@]}"', str(output)],
        capture_output=True, text=True, check=True, timeout=60,
    ).stdout.split("\0")[:-1]  # fmt: skip
    given = values(shown)
    assert given["--save"] == [str(output.parent.resolve() / "checkpoints" / "x")]
    assert blend.read(output).weights() == pytest.approx({"news_train": 0.75, "code_train": 0.25})
    head = output.read_text().partition("MEGATRON_ARGS")[0]
    assert "export CUDA" not in output.read_text()  # of one tensor part
    split = {**made(world, "1-3B", "a100-40gb", 1), "model_parallel_size": 2}
    assert "export CUDA_DEVICE_MAX_CONNECTIONS=1" in megatron.text(megatron.arguments(split), "")
    assert "draws other samples in another order" in head and "wang_init" in head and "mixture:" in head
    assert cli.run(configs.main, [*words, "--dry-run"]) == 0
    assert (
        capsys.readouterr().out == output.read_text().replace("written by haigo", "written by haigo")
        or "MEGATRON_ARGS=(" in output.read_text()
    )


def test_a_rate_that_stays(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--model", "1-3B", "--cluster", "a100-40gb", "--mixture", str(world.mixture), "--catalogue"]
    words += [str(world.catalogue), "--seq-length", "512", "--format", "megatron", "--output", str(world.root / "w.sh")]
    assert cli.run(configs.main, [*words, "--schedule", "wsd", "--wandb-project", "p", "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "--lr-decay-style constant" in said and "--lr-wsd-decay-iters" in said and "--recipe decay" not in said
    assert "--wandb-exp-name w" in said and "gets no group (w)" in said


def test_a_blend_of_megatron_is_a_mixture(world: World) -> None:
    script = world.root / "train_data.sh"
    script.write_text("DATA_PATH=(\n 30 /d/news_0000_text_document\n 10 /d/code_0000_text_document\n)\n")
    config = made(world, "1-3B", "a100-40gb", 1, mixture=script, format="neox")
    assert config["train_data_weights"] == [0.75, 0.25]


def test_only_what_megatron_can_start(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--model", "1-3B", "--cluster", "a100-40gb", "--catalogue", str(world.catalogue), "--format", "megatron"]
    output = ["--output", str(world.root / "y.sh")]
    assert cli.run(configs.main, [*words, *output, "--recipe", "continued", "--from", str(world.root)]) == 3
    assert "Megatron-LM cannot read" in capsys.readouterr().err


def probed(verb: str, asked: Any) -> Any:
    python = os.environ.get("MEGATRON_PYTHON", sys.executable)
    done = subprocess.run(
        [python, str(Path(megatron_probe.__file__)), verb],
        input=json.dumps(asked), capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.skipif(not os.environ.get("MEGATRON_LM_DIR"), reason="needs a Megatron-LM checkout (MEGATRON_LM_DIR)")
def test_the_real_parser_accepts_all(shared_world: World) -> None:
    asked = ["data_parallel_size", "ffn_hidden_size", "num_query_groups", "accumulate_allreduce_grads_in_fp32"]
    calls, layouts = [], []
    for model, cluster, nodes, attention in SETUPS:
        config = made(shared_world, model, cluster, nodes, attention=attention)
        gpus = nodes * (4 if cluster == "a100-40gb" else 8)
        calls.append({"gpus": gpus, "words": megatron.arguments(config).flat(), "ask": asked})
        layouts.append((config, gpus))
    for (config, gpus), answer in zip(layouts, probed("check", calls), strict=True):
        assert "error" not in answer, answer
        copies = gpus // config["model_parallel_size"] // max(1, config["pipe_parallel_size"])
        assert answer["values"]["data_parallel_size"] == str(copies)
        assert answer["values"]["accumulate_allreduce_grads_in_fp32"] == "True"


@pytest.mark.skipif(not os.environ.get("MEGATRON_LM_DIR"), reason="needs a Megatron-LM checkout (MEGATRON_LM_DIR)")
@pytest.mark.parametrize("model", ["1-3B", "llama-7B"])
def test_the_real_model_has_our_shape(shared_world: World, model: str) -> None:
    config = made(shared_world, model, "h100-80gb", 2, attention="flash")
    weights = probed("build", megatron.arguments(config).flat())
    hidden, wide = config["hidden_size"], derive.mlp(config)
    layer = {name.partition("layers.0.")[2]: each for name, each in weights.items() if "layers.0." in name}
    assert layer["mlp.linear_fc1.weight"][0] == [wide.outer, hidden]
    assert layer["mlp.linear_fc2.weight"][0] == [hidden, wide.inner]
    groups = config.get("num_kv_heads") or config["num_attention_heads"]
    assert layer["self_attention.linear_qkv.weight"][0] == [
        hidden + 2 * groups * hidden // config["num_attention_heads"],
        hidden,
    ]
    assert ("mlp.linear_fc1.bias" in layer) == reader.value(config, "use_bias_in_mlp")
    assert "output_layer.weight" in weights
    std = math.sqrt(2 / (5 * hidden))
    assert layer["mlp.linear_fc1.weight"][1] == pytest.approx(std, rel=0.01)
    assert layer["mlp.linear_fc2.weight"][1] == pytest.approx(std / math.sqrt(2), rel=0.01)  # of one layer
