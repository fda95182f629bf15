"""launch.configs: one flat GPT-NeoX YAML from a mixture, a catalogue and a plan."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from neox_world import World, sentences, train_tokenizer, write_dataset
from shared_data import data_of

from haigo import cli, files, yamlfile
from haigo.cli import HaigoError, Refused
from launch import configs
from launch.plan.config import make_config, write_config
from launch.plan.options import ConfigOptions
from neox_configs import catalogue, derive, neox_args, reader, shipped

DATA = data_of(__file__)

GOLDEN = json.loads((Path(__file__).parents[1] / "golden_configs.json").read_text())


def make(world: World, **changes: Any) -> configs.Written:
    arguments = {
        "model": "1-3B",
        "cluster": "a100-40gb",
        "mixture": world.mixture,
        "catalogue": world.catalogue,
        "output": world.root / "run" / "x.yml",
        "seq_length": 512,  # the corpora are small
        **changes,
    }
    return make_config(ConfigOptions(**arguments))


@pytest.mark.parametrize(("name", "nodes"), [("1-3B", 1), ("2-7B", 1), ("7B", 2), ("13B", 2)])
def test_the_four_sizes(shared_world: World, tmp_path: Path, name: str, nodes: int) -> None:
    made = make(shared_world, model=name, nodes=nodes)
    config = made.config
    reader.check_keys(config)
    assert reader.type_problems(config) == []
    batch = derive.batch(config, nodes * 4)
    assert batch.train == config["train_batch_size"] == made.layout.train_batch_size
    # written with PyYAML's reading of numbers, and read back the same by both
    path = tmp_path / "c.yml"
    yamlfile.write(path, config, made.header)
    assert yaml.safe_load(path.read_text()) == config == reader.load(path)
    assert reader.float_traps(path) == []
    for key in ("train", "valid", "test"):
        assert config[f"{key}_data_paths"] == [str(shared_world.prefix(c, key)) for c in ("news", "code")]
        assert config[f"{key}_data_weights"] == [0.75, 0.25]
    assert config["data_impl"] == "mmap" and config["tokenizer_type"] == "SPMTokenizer"
    assert config["vocab_file"] == str(shared_world.root / "tokenizer" / "spm.model")
    assert config["precision"] == "bfloat16"
    assert config["data_types"] == {"grad_accum_dtype": "fp32"}
    assert config["zero_optimization"]["stage"] == made.layout.zero
    assert (config["eval_iters"] == 0) == (config["pipe_parallel_size"] > 0)
    assert config["train_iters"] % config["checkpoint_factor"] != 0
    tokens = config["train_iters"] * config["train_batch_size"] * 512
    assert 20e9 <= tokens < 20e9 + config["train_batch_size"] * 512
    assert config["lr_decay_iters"] == config["train_iters"]
    assert config["min_lr"] == pytest.approx(config["optimizer"]["params"]["lr"] / 10)


def _named(entry: dict[str, Any]) -> str:
    return "-".join(str(entry[key]) for key in ("cluster", "attention", "model", "nodes"))


@pytest.mark.parametrize("entry", GOLDEN["configs"], ids=_named)
def test_golden(shared_world: World, entry: dict[str, Any]) -> None:
    """What GPT-NeoX's own NeoXArgs made of these configs when the golden file was written (see test_real_neox)."""
    made = make(shared_world, **{key: entry[key] for key in ("model", "cluster", "nodes", "attention")})
    keys = [key for key in GOLDEN["keys"][entry["attention"]] if key not in entry.get("lacks", ())]
    assert sorted(made.config) == keys
    batch = derive.batch(made.config, entry["gpus"])
    told = entry["neox"]
    assert (batch.train, batch.micro, batch.accumulation) == (
        told["train_batch_size"],
        told["micro"],
        told["accumulation"],
    )
    assert made.config["precision"] == told["precision"]
    assert made.config["zero_optimization"]["stage"] == told["zero_stage"]
    assert made.config["optimizer"]["params"]["lr"] == told["lr"]
    derived = neox_args.deepspeed_config(neox_args.values(made.config, entry["gpus"]))
    assert files.digest(json.loads(json.dumps(derived))) == told["deepspeed"]


def test_the_golden_configs_are_all_that_fit() -> None:
    """Every size on 1 to 16 nodes of each kind, with both kinds of attention; 13B on one node of 40 GB cards fits nowhere."""
    there = {_named(entry) for entry in GOLDEN["configs"]}
    clusters, sizes = ("a100-40gb", "a100-80gb", "h100-80gb"), ("1-3B", "2-7B", "7B", "13B")
    wanted = {
        f"{cluster}-{attention}-{size}-{nodes}"
        for cluster in clusters for attention in ("global", "flash") for size in sizes for nodes in (1, 2, 4, 8, 16)
    }  # fmt: skip
    assert wanted - there == {"a100-40gb-global-13B-1", "a100-40gb-flash-13B-1"} and there <= wanted


def test_header_and_summary(shared_world: World, tmp_path: Path) -> None:
    output = tmp_path / "1-3B.yml"
    told = write_config(
        ConfigOptions(
            output=output,
            model="1-3B",
            cluster="a100-40gb",
            mixture=shared_world.mixture,
            catalogue=shared_world.catalogue,
            seq_length=512,
        ),
        "python -m launch.configs ...",
    )
    head = output.read_text().split("\nlr_", 1)[0]
    assert str(shared_world.mixture) in head and "plan: TP1" in head and "python -m launch.configs ..." in head
    assert "news 0.75" in head and "note" not in head
    assert told["epochs"]["news"] == pytest.approx(0.75 * 20e9 / _tokens(shared_world, "news"), rel=1e-3)
    assert told["config"] == reader.load(output)
    json.dumps(told)
    beside = json.loads((tmp_path / "1-3B.deepspeed.json").read_text())
    assert beside == neox_args.deepspeed_config(neox_args.values(neox_args.raw([output]), told["gpus"]))
    # as GPT-NeoX leaves out what is its own default, it says the clipping a second time, where DeepSpeed hears it
    assert beside["gradient_clipping"] == 1.0 and beside["bf16"] == {"enabled": True}
    assert reader.load(output)["save"] == str(tmp_path / "checkpoints" / "1-3B")


def _tokens(world: World, corpus: str) -> int:
    return json.loads(Path(f"{world.prefix(corpus)}.json").read_text())["tokens"]


def test_local_cpu(shared_world: World) -> None:
    config = make(shared_world, model="0-1M", cluster="local-cpu", tokens=20_480, seq_length=None).config
    assert config["train_iters"] == 20 and config["checkpoint_factor"] == 21
    expected = {
        "precision": "fp32",
        "zero_optimization": {"stage": 0},
        "pipe_parallel_size": 0,
        "model_parallel_size": 1,
        "num_workers": 0,
        "num_gpus": 1,
        "distributed_backend": "gloo",
        "checkpoint_activations": False,
        "train_batch_size": 8,
        "gradient_accumulation_steps": 1,
    }
    assert {key: config[key] for key in expected} == expected
    assert "data_types" not in config


def test_a_corpus_without_weight_is_left_out(shared_world: World) -> None:
    config = make(shared_world, mixture={"news": 1.0, "code": 0.0}).config
    assert config["train_data_paths"] == [str(shared_world.prefix("news"))]
    assert config["train_data_weights"] == [1.0]


def test_order_is_the_catalogues(shared_world: World) -> None:
    forwards = make(shared_world, mixture={"code": 0.25, "news": 0.75}).config
    backwards = make(shared_world, mixture={"news": 0.75, "code": 0.25}).config
    assert forwards == backwards


def test_cadence_of_checkpoints(shared_world: World) -> None:
    often = make(shared_world, checkpoint_minutes=5).config["checkpoint_factor"]
    seldom = make(shared_world, checkpoint_minutes=60).config["checkpoint_factor"]
    assert 8 * often < seldom < 16 * often
    assert make(shared_world, checkpoint_minutes=1e9).config["checkpoint_factor"] > 1


def test_any_gpt_neox_yaml_as_the_model(shared_world: World, tmp_path: Path) -> None:
    model = tmp_path / "mine.yml"
    model.write_text(
        '{"num-layers": 12, "hidden-size": 768, "num-attention-heads": 12, "seq-length": 256,\n'
        ' "max-position-embeddings": 256, "pos-emb": "rotary", "no-weight-tying": true,\n'
        ' "optimizer": {"type": "Adam", "params": {"lr": 6e-4}}, "fp16": {"enabled": true}, "data-path": "x"}\n'
    )
    config = make(shared_world, model=model, seq_length=None).config
    reader.check_keys(config)
    assert "fp16" not in config and "data_path" not in config
    assert config["optimizer"]["params"]["lr"] == 6e-4 and config["num_layers"] == 12
    model.write_text("num_layers: 12\nhiden_size: 768\n")
    with pytest.raises(HaigoError, match="Did you mean 'hidden_size'"):
        make(shared_world, model=model)


def test_flash_attention_is_written_out(shared_world: World) -> None:
    assert make(shared_world, attention="flash").config["attention_config"] == [[["flash"], 24]]
    assert "attention_config" not in make(shared_world).config


@pytest.mark.parametrize(("changes", "said"), DATA["bad_input"])
def test_bad_input(shared_world: World, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(HaigoError, match=said):
        make(shared_world, **changes)


def test_13b_on_one_node_is_refused(shared_world: World) -> None:
    with pytest.raises(Refused, match="does not fit on 1 node") as caught:
        make(shared_world, model="13B", nodes=1, seq_length=512)
    assert "use 2 nodes" in caught.value.fix


def test_truncated_bin(world: World) -> None:
    path = Path(f"{world.prefix('code')}.bin")
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(HaigoError, match=r"train_text_document.bin has .* cut short"):
        make(world)


def test_missing_dataset(world: World) -> None:
    Path(f"{world.prefix('code', 'valid')}.idx").unlink()
    with pytest.raises(HaigoError, match=r"code/valid_text_document.idx does not exist"):
        make(world)


def test_datasets_of_another_tokenizer(world: World) -> None:
    train_tokenizer(world.root / "tokenizer", sentences(3, 400))
    with pytest.raises(Refused, match="made with another tokenizer"):
        make(world)


def test_datasets_of_another_vocabulary_without_a_manifest(world: World) -> None:
    from haigo.formats.dataset import belongs
    from haigo.formats.tokenizer import load

    model = world.root / "tokenizer" / "spm.model"
    prefix = world.root / "data" / "foreign"
    write_dataset(prefix, sentences(1, 50), model, manifest=False)
    belongs.require(prefix, load(model))
    with pytest.raises(Refused, match="holds uint16, and a vocabulary of 70,000 is stored as int32"):
        belongs.require(prefix, belongs.Pieces(model, 70_000))


def test_manifest_of_other_tokens(world: World) -> None:
    path = Path(f"{world.prefix('news')}.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), "tokens": 7}))
    with pytest.raises(Refused, match="speaks of 7 tokens"):
        make(world)


def test_tokenizer_without_the_eod_piece(world: World) -> None:
    train_tokenizer(world.root / "tokenizer", sentences(1, 400), eod="</s>")
    with pytest.raises(Refused, match=r"has no piece <\|endoftext\|>"):
        make(world)
    (world.root / "tokenizer" / "spm.model").write_bytes(b"\x00not a model")
    with pytest.raises(HaigoError, match="not a SentencePiece model"):
        make(world)
    (world.root / "tokenizer" / "spm.model").unlink()
    with pytest.raises(HaigoError, match=r"spm.model does not exist"):
        make(world)


def test_a_validation_set_too_short_is_left_out_and_said(world: World) -> None:
    write_dataset(world.prefix("code", "valid"), sentences(2, 3), world.root / "tokenizer" / "spm.model")
    made = make(world)
    assert made.config["valid_data_paths"] == [str(world.prefix("news", "valid"))]
    assert made.config["valid_data_weights"] == [1.0]
    assert len(made.config["test_data_paths"]) == 2
    assert "code is left out of the valid set" in made.header


def test_the_command(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    output = world.root / "configs" / "7B.yml"
    words = ["--model", "7B", "--cluster", "a100-40gb", "--nodes", "2", "--mixture", str(world.mixture)]
    words += ["--catalogue", str(world.catalogue), "--seq-length", "512", "--output", str(output)]
    assert cli.run(configs.main, [*words, "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert not output.parent.exists()
    assert cli.run(configs.main, words) == 0
    written = capsys.readouterr().out
    assert "launch.deepy train.py" in written and written.endswith(" -H hostfile\n")
    same, printed = (yaml.safe_load(text) for text in (output.read_text(), shown))
    assert same == printed == catalogued(world, same)
    assert cli.run(configs.main, [*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["gpus"] == 8
    assert cli.run(configs.main, [*words, "--nodes", "1", "--model", "13B"]) == 3
    assert "use 2 nodes" in capsys.readouterr().err


def catalogued(world: World, config: dict[str, Any]) -> dict[str, Any]:
    datasets = catalogue.read(world.catalogue)
    paths = [str(datasets.prefix(corpus, "train")) for corpus in ("news", "code")]
    return {**config, "train_data_paths": paths}


@pytest.mark.parametrize(("changes", "said"), DATA["what_preflight_would_refuse_is_not_written"])
def test_what_preflight_would_refuse_is_not_written(
    shared_world: World, tmp_path: Path, changes: dict[str, Any], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    yamlfile.write(tmp_path / "own.yml", {**reader.load(shipped.find_model("1-3B")), **changes})
    words = ["--model", str(tmp_path / "own.yml"), "--cluster", "a100-40gb", "--seq-length", "512", "--tokens", "1e9"]
    words += ["--mixture", str(shared_world.mixture), "--catalogue", str(shared_world.catalogue)]
    assert cli.run(configs.main, [*words, "--output", str(tmp_path / "x.yml")]) == cli.REFUSED
    assert said in capsys.readouterr().err and not (tmp_path / "x.yml").exists()
