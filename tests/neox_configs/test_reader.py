"""The reader of GPT-NeoX's dialect, its list of keys, and the YAML files that come with Haigo."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from shared_data import data_of

from haigo.cli import HaigoError, Refused
from neox_configs import derive, hardware, reader, shipped
from neox_configs.keys import KEYS

DATA = data_of(__file__)

MODELS = [("models", name) for name in shipped.names("models")] + [("proxies", n) for n in shipped.names("proxies")]


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_several_files_hyphens_and_numbers(tmp_path: Path) -> None:
    one = write(tmp_path, "a.yml", '# comment\n{\n "num-layers": 2, "optimizer": {"params": {"lr": 1e-4,}},\n}\n')
    two = write(tmp_path, "b.json", '{"hidden-size": 64, "min_lr": 1e-05}')
    config = reader.load([one, two])
    assert config == {"num_layers": 2, "optimizer": {"params": {"lr": 1e-4}}, "hidden_size": 64, "min_lr": 1e-5}
    assert isinstance(config["min_lr"], float)
    # what GPT-NeoX would have read
    assert isinstance(yaml.safe_load(one.read_text())["optimizer"]["params"]["lr"], str)
    assert reader.float_traps(one) == ["optimizer.params.lr"]
    assert reader.float_traps(two) == ["min_lr"]


@pytest.mark.parametrize(("first", "second", "said"), DATA["what_gpt_neox_refuses_is_told"])
def test_what_gpt_neox_refuses_is_told(tmp_path: Path, first: str, second: str, said: str) -> None:
    paths = [write(tmp_path, "a.yml", first)]
    if second:
        paths.append(write(tmp_path, "b.yml", second))
    with pytest.raises(HaigoError, match=said):
        reader.load(paths)


def test_same_base_name_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    paths = [write(tmp_path, "a.yml", "seed: 1\n"), write(tmp_path / "x", "a.yml", "num_layers: 1\n")]
    with pytest.raises(HaigoError, match="same file name"):
        reader.load(paths)


def test_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(HaigoError, match="does not exist"):
        reader.load([tmp_path / "none.yml"])


def test_unknown_keys_get_the_nearest_name() -> None:
    with pytest.raises(HaigoError, match=r"'num_layer'. Did you mean 'num_layers'\?.*'zzqq'"):
        reader.check_keys({"num_layer": 1, "zzqq": 2, "seed": 1})
    reader.check_keys({"anything": 1}, known=["anything"])
    with pytest.raises(HaigoError, match="lists the phases of a run"):
        reader.check_keys({"phases": ["a.yml", "b.yml"]}, name="run.yml")


@pytest.mark.parametrize(("config", "said"), DATA["types_are_strict"])
def test_types_are_strict(config: dict, said: str) -> None:
    (problem,) = reader.type_problems(config)
    assert said in problem


def test_types_that_gpt_neox_takes() -> None:
    assert reader.type_problems({"min_lr": 0, "optimizer_type": "Adam", "seed": None, "checkpoint_factor": 2.5}) == []


def test_defaults() -> None:
    assert reader.value({}, "pipe_parallel_size") == 0
    assert reader.value({"seed": None}, "seed") == 1234
    assert KEYS["data_impl"].choices == ["infer", "mmap", "cached"]
    assert len(KEYS) == 318


@pytest.mark.parametrize(("shelf", "name"), MODELS)
def test_shipped_models_are_gpt_neox(shelf: str, name: str) -> None:
    path = shipped.find(shelf, name)
    config = reader.load(path)
    reader.check_keys(config)
    assert reader.type_problems(config) == []
    assert reader.float_traps(path) == []
    assert config["hidden_size"] % config["num_attention_heads"] == 0
    assert yaml.safe_load(path.read_text()) == config


def test_shipped_recipes_are_gpt_neox() -> None:
    for name in shipped.names("recipes"):
        config = reader.load(shipped.find("recipes", name))
        reader.check_keys(config)
        assert reader.type_problems(config) == []


# GPT-NeoX's published counts at vocabulary 50,048 (its padded 50k)
@pytest.mark.parametrize(("name", "billions"), [("1-3B", 1.4136), ("2-7B", 2.7739), ("7B", 6.8542), ("13B", 13.0981)])
def test_parameter_counts(name: str, billions: float) -> None:
    config = reader.load(shipped.find("models", name))
    assert derive.padded_vocab(config, 50_000) == 50_048
    assert derive.parameters(config, 50_048)[1] == pytest.approx(billions * 1e9, rel=1e-4)


def test_proxies_have_the_parameters_of_their_names() -> None:
    for name, count in (("0-1M", 0.15e6), ("0-3M", 0.336e6), ("1M", 0.99e6), ("4M", 3.95e6)):
        config = reader.load(shipped.find("proxies", name))
        layer, _ = derive.parameters(config, 1024)
        assert layer * config["num_layers"] == pytest.approx(count, rel=0.02)
        assert derive.batch(config, 1).train == config["train_batch_size"]


@pytest.mark.parametrize(("tensor", "padded"), [(1, 50_048), (2, 50_176), (4, 50_176)])
def test_padded_vocabulary_depends_on_the_tensor_split(tensor: int, padded: int) -> None:
    assert derive.padded_vocab({"model_parallel_size": tensor}, 50_000) == padded


@pytest.mark.parametrize(("config", "gpus", "expected"), DATA["batch_arithmetic"])
def test_batch_arithmetic(config: dict, gpus: int, expected: list[int]) -> None:
    one = derive.batch(config, gpus)
    assert [one.data_parallel, one.micro, one.accumulation, one.train] == expected


@pytest.mark.parametrize(("config", "gpus", "said"), DATA["batch_arithmetic_that_fails"])
def test_batch_arithmetic_that_fails(config: dict, gpus: int, said: str) -> None:
    with pytest.raises(HaigoError, match=said):
        derive.batch(config, gpus)


def test_models_not_counted_here_are_refused() -> None:
    base = {"num_layers": 2, "hidden_size": 8, "num_attention_heads": 2}
    with pytest.raises(Refused, match="attention_config gmlp: no formula"):
        derive.parameters({**base, "attention_config": ["gmlp", "global"]}, 128)
    # two thirds of 36 halved, thrice; grouped heads
    layer, _ = derive.parameters({**base, "activation": "swiglu", "num_kv_heads": 1, "intermediate_size": 36}, 128)
    assert layer == (8 * 8 + 2 * 8 * 4 + 8 + 8) + (8 * 8 + 8) + (3 * 8 * 12 + 24 + 8) + 2 * 2 * 8
    with pytest.raises(Refused, match="attention_config mamba and moe_num_experts 8: no formula"):
        derive.parameters({**base, "attention_config": [[["global", "mamba"], 1]], "moe_num_experts": 8}, 128)
    assert derive.parameters({**base, "expansion_factor": 2}, 128) == derive.parameters(
        {**base, "intermediate_size": 16}, 128
    )
    with pytest.raises(HaigoError, match="no hidden_size"):
        derive.parameters({"num_layers": 2, "num_attention_heads": 2}, 128)


def test_names_and_the_nearest_of_them() -> None:
    assert shipped.find_model("0-3M").name == "0-3M.yml"
    assert shipped.find_model("1.3b").name == "1-3B.yml"
    with pytest.raises(HaigoError, match=r"no model '13BB'\. Did you mean '13B'"):
        shipped.find_model("13BB")
    with pytest.raises(HaigoError, match=r"no cluster 'a100-40g'\. Did you mean 'a100-40gb'"):
        hardware.cluster("a100-40g")
    with pytest.raises(HaigoError, match="does not exist"):
        shipped.find("models", "nowhere.yml")


def test_clusters(tmp_path: Path) -> None:
    for name in shipped.names("clusters"):
        assert hardware.cluster(name).name == name
    assert hardware.cluster("a100-40gb", gpus_per_node=8).gpus_per_node == 8
    text = shipped.find("clusters", "a100-40gb").read_text()
    with pytest.raises(HaigoError, match="unknown key 'memory'"):
        hardware.cluster(write(tmp_path, "c.yml", text.replace("memory_gb", "memory")))
    with pytest.raises(HaigoError, match="makes no sense"):
        hardware.cluster(write(tmp_path, "d.yml", text.replace("efficiency: 1.0", "efficiency: 0")))
    with pytest.raises(HaigoError, match="lacks the key 'peak_tflops'"):
        hardware.cluster(write(tmp_path, "e.yml", text.replace("peak_tflops: 312", "")))
