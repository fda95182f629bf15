"""launch.plan takes a model file at its word: its architecture, its attention and its batch, or says that it cannot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from haigo import cli, yamlfile
from launch.plan.__main__ import main as plan_main
from launch.plan.config import check_model
from launch.plan.options import PlanOptions
from launch.plan.planner import plan
from neox_configs import reader, shipped

GPT = reader.load(shipped.find("models", "1-3B"))


def written(folder: Path, without: tuple[str, ...] = (), **keys: Any) -> Path:
    path = folder / "own.yml"
    yamlfile.write(path, {key: value for key, value in (GPT | keys).items() if key not in without}, "")
    return path


def planned(path: Path, capsys: pytest.CaptureFixture[str], *more: str) -> tuple[int, str, str]:
    code = cli.run(plan_main, ["--model", str(path), "--cluster", "a100-40gb", *more])
    said = capsys.readouterr()
    return code, said.out, said.err


@pytest.mark.parametrize(
    ("keys", "named"),
    [
        ({"attention_config": [[["mamba"], "all"]]}, "attention_config mamba"),
        ({"attention_config": [[["rwkv"], 24]]}, "attention_config rwkv"),
        ({"attention_config": [[["gmlp"], "all"]]}, "attention_config gmlp"),
        ({"attention_config": [[["global", "amlp"], "all"]]}, "attention_config amlp"),
        ({"moe_num_experts": 8}, "moe_num_experts 8"),
        ({"activation": "swiglu"}, "activation swiglu"),
        ({"num_kv_heads": 5}, "num_kv_heads 5"),
    ],
)
@pytest.mark.parametrize("more", [[], ["--attention", "flash"], ["--stack", "fsdp-flash"]])
def test_other_architectures_are_refused_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], keys: dict[str, Any], named: str, more: list[str]
) -> None:
    code, out, err = planned(path := written(tmp_path, **keys), capsys, *more)
    assert (code, out) == (3, "")
    assert str(path) in err and named in err and "fix:" in err and len(err.splitlines()) == 2


def test_its_own_attention_is_planned(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, attention_config=[[["flash"], "all"]])
    own = json.loads(planned(path, capsys, "--json")[1])
    asked = json.loads(planned(path, capsys, "--json", "--attention", "flash")[1])
    assert own == asked and own["attention"] == "flash"
    # and what is asked for stands above it, in the plan and in the config
    options = PlanOptions(model=path, cluster="a100-40gb", attention="global")
    assert plan(options).attention == "global"
    assert check_model(options)["attention_config"] == [[["global"], 24]]
    assert check_model(PlanOptions(model=path, cluster="a100-40gb"))["attention_config"] == [[["flash"], 24]]
    assert plan(PlanOptions(model=written(tmp_path), cluster="a100-40gb")).attention == "global"


@pytest.mark.parametrize("kinds", [["local", "global"], ["sparse_fixed"], ["global", "flash"]])
def test_attention_without_a_formula_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kinds: list[str]
) -> None:
    path = written(tmp_path, attention_config=[[kinds, "all"]])
    code, _, err = planned(path, capsys)
    assert code == 3 and str(path) in err and " and ".join(kinds) in err and "--attention" in err
    assert planned(path, capsys, "--attention", "flash")[0] == 0


@pytest.mark.parametrize(
    ("keys", "nodes", "sequences"),
    [
        ({"train_micro_batch_size_per_gpu": 4, "gradient_accumulation_steps": 8}, 1, 4 * 8 * 4),
        ({"train_micro_batch_size_per_gpu": 4}, 2, 4 * 8),
        ({"train_micro_batch_size_per_gpu": 4, "gradient_accumulation_steps": 8, "model_parallel_size": 2}, 1, 64),
        ({}, 1, 512),
    ],
)
def test_its_own_batch_is_planned(tmp_path: Path, keys: dict[str, int], nodes: int, sequences: int) -> None:
    path = written(tmp_path, without=("train_batch_size",), **keys)
    assert plan(PlanOptions(model=path, cluster="a100-40gb", nodes=nodes)).best.train_batch_size == sequences


def test_half_a_batch_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, without=("train_batch_size",), gradient_accumulation_steps=8)
    code, _, err = planned(path, capsys)
    assert code == 2 and "accumulation 8" in err and "--global-batch-tokens" in err
    assert planned(path, capsys, "--global-batch-tokens", "1e6")[0] == 0
