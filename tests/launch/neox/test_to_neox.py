"""launch.convert --to-neox: models of Hugging Face as checkpoints of GPT-NeoX, and back."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import convert_world
import published_world
import pytest
import torch
from damage import flip
from neox_world import LOSSLESS, REPO, World, make_world
from published_world import GOLDEN, SETUPS
from safetensors.torch import load_file, save_file

from haigo import cli, files
from haigo.cli import Failed, HaigoError
from launch import configs, convert, preflight
from launch.neox.conversion import published, to_neox
from neox_configs import reader

KNOWN: dict[str, Any] = files.read_json(GOLDEN)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Name -> folder; each is made once."""
    root, made = tmp_path_factory.mktemp("models"), {}

    def get(name: str) -> Path:
        if name not in made:
            made[name] = root / str(len(made))
            published_world.model(name, made[name])
        return made[name]

    return get


@pytest.fixture
def model(models: Any, tmp_path: Path) -> Path:
    """A folder of its own, to be damaged."""
    shutil.copytree(models("llama grouped mp2 pp1"), tmp_path / "model")
    return tmp_path / "model"


def run(place: Path, out: Path, *words: str) -> int:
    return cli.run(convert.main, ["--to-neox", str(place), "--out", str(out), *words])


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    return {key: value for path in folder.glob("*.safetensors") for key, value in load_file(path).items()}


def change(folder: Path, **changes: Any) -> None:
    content = {**files.read_json(folder / "config.json"), **changes}
    (folder / "config.json").write_text(json.dumps(content))


@pytest.mark.parametrize("name", SETUPS)
def test_a_model_goes_to_gpt_neox_and_back(name, models, shared_world, tmp_path, monkeypatch):
    """The checkpoint is bit for bit the one that the real GPT-NeoX computed the golden loss with."""
    hf, save, back = models(name), tmp_path / "save", tmp_path / "back"
    record = published_world.checkpoint(name, hf, save, check=True)
    assert published_world.digest(save) == KNOWN[name]["digest"]
    data = published_world.dataset(tmp_path)
    config = published_world.run(save, data, tmp_path, SETUPS[name])
    ours = published_world.transformers_loss(hf, config, record["rows"] - record["vocab_size"])
    assert abs(ours - KNOWN[name]["loss"]) < 1e-5 * ours
    made = convert_world.converted(save, back, tokenizer=shared_world.root / "tokenizer")
    wanted, found = tensors(hf), tensors(back)
    assert {key: (one.dtype, one.shape) for key, one in found.items()} == {
        key: (one.dtype, one.shape) for key, one in wanted.items()
    }
    assert not [
        key for key, one in wanted.items() if not torch.equal(one.view(torch.uint8), found[key].view(torch.uint8))
    ]
    assert {check["status"] for check in made["checks"]} <= {"ok", "skip"}
    config, before = files.read_json(back / "config.json"), files.read_json(hf / "config.json")
    same = before.keys() & made["model"].keys()
    assert {key: config[key] for key in same if key != "hidden_act"} == {
        key: before[key] for key in same if key != "hidden_act"
    }


@pytest.mark.parametrize("pipe", [0, 1])
def test_shards_and_the_same_bytes_after_a_kill(models, tmp_path, pipe):
    name = "llama grouped mp2 pp1"
    published_world.model(name, tmp_path / "sharded", "20KB")
    assert len(list((tmp_path / "sharded").glob("*.safetensors"))) > 3
    words = ["--tensor-parallel", "2", "--pipe-parallel", str(pipe)]
    for place, out in ((models(name), "whole"), (tmp_path / "sharded", "parts")):
        assert run(place, tmp_path / out, *words) == cli.OK
    killed = f"""
import os, signal, sys
from haigo import cli
from launch import convert
from launch.neox.conversion import to_neox
real, count = to_neox._parts, []
def parts(*given):
    count.append(1)
    if len(count) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*given)
to_neox._parts = parts
cli.run(convert.main, {["--to-neox", str(tmp_path / "sharded"), "--out", str(tmp_path / "killed"), *words]!r})
"""
    done = subprocess.run([sys.executable, "-c", killed], env={**os.environ, "PYTHONPATH": str(REPO)}, cwd=REPO)
    assert done.returncode == -9 and not (tmp_path / "killed").exists() and (tmp_path / ".killed.partial").exists()
    assert run(tmp_path / "sharded", tmp_path / "killed", *words) == cli.OK
    assert not (tmp_path / ".killed.partial").exists()
    names = {path.relative_to(tmp_path / "whole") for path in (tmp_path / "whole").rglob("*.pt")}
    assert len(names) == (2 + 2 * 5 if pipe else 2)
    for name in names:
        bytes_of = [(tmp_path / out / name).read_bytes() for out in ("whole", "parts", "killed")]
        assert bytes_of[0] == bytes_of[1] == bytes_of[2]


def test_what_is_there_stays(models, tmp_path, capsys):
    out = tmp_path / "save"
    assert run(models("llama"), out, "--dry-run") == cli.OK and not out.exists()
    assert run(models("llama"), out) == cli.OK
    told = capsys.readouterr()
    assert "MB" in told.err and "--recipe continued --from" in told.out
    assert run(models("gpt"), out) == cli.REFUSED and "exists" in capsys.readouterr().err
    assert run(models("gpt"), out, "--force", "--json") == cli.OK
    assert json.loads(capsys.readouterr().out)["architecture"] == "gpt_neox"
    (out / "global_step10").mkdir()
    (out / "global_step10" / "mp_rank_00_model_states.pt").write_bytes(b"trained since")
    assert run(models("llama"), out, "--force") == cli.REFUSED
    assert (out / "global_step10" / "mp_rank_00_model_states.pt").read_bytes() == b"trained since"
    inside = models("llama") / "save"
    assert run(models("llama"), inside) == cli.BAD_INPUT and not inside.exists()


def test_an_option_of_the_other_way_is_refused(models, tmp_path, capsys):
    assert run(models("llama"), tmp_path / "x", "--log", "train.log") == cli.BAD_INPUT
    assert "--log has no effect with --to-neox" in capsys.readouterr().err
    assert run(models("llama"), tmp_path / "x", "--tensor-parallel", "3") == cli.BAD_INPUT
    assert "3 tensor ranks do not divide num_attention_heads 4" in capsys.readouterr().err
    assert run(models("llama"), tmp_path / "x", "--pipe-parallel", "3") == cli.BAD_INPUT
    assert run(models("llama grouped bfloat16"), tmp_path / "x", "--tensor-parallel", "2") == cli.BAD_INPUT
    assert "num_key_value_heads 1" in capsys.readouterr().err
    code = cli.run(convert.main, [str(tmp_path), "--out", str(tmp_path / "x"), "--tensor-parallel", "2"])
    assert code == cli.BAD_INPUT and "--to-neox" in capsys.readouterr().err
    assert cli.run(convert.main, ["--to-neox", str(models("llama"))]) == cli.BAD_INPUT


REFUSED = {
    "qwen2": ({"model_type": "qwen2"}, "of the type 'qwen2', which GPT-NeoX has not"),
    "scaled": ({"rope_parameters": {"rope_type": "llama3", "factor": 8.0, "rope_theta": 5e5, "low_freq_factor": 1.0,
               "high_freq_factor": 4.0, "original_max_position_embeddings": 32}}, "scaled (llama3)"),
    "scaled, as before": ({"rope_parameters": None, "rope_scaling": {"type": "linear", "factor": 2.0}}, "scaled (linear)"),
    "head_dim": ({"head_dim": 16}, "head_dim is 16"),
    "activation": ({"hidden_act": "gelu"}, "hidden_act is gelu"),
    "theta": ({"rope_parameters": {"rope_type": "default", "rope_theta": 10000.5}}, "rotary base is 10000.5"),
    "quantised": ({"quantization_config": {"bits": 4}}, "quantization_config"),
    "no number": ({"hidden_size": "many"}, "config.json is no model's"),
    "heads": ({"num_key_value_heads": 3}, "do not fit together"),
    "biases": ({"attention_bias": True}, "no file holds model.layers.0.self_attn.q_proj.bias"),
    "layers": ({"num_hidden_layers": 1}, "holds model.layers.1."),
    "shape": ({"intermediate_size": 64}, "has the shape (48, 32), and config.json asks for (64, 32)"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_model_that_gpt_neox_cannot_hold_is_named(name, model, tmp_path, capsys):
    changes, says = REFUSED[name]
    change(model, **changes)
    assert run(model, tmp_path / "save") == cli.BAD_INPUT
    told = capsys.readouterr().err
    assert says in told and str(model) in told and "fix: " in told and not (tmp_path / "save").exists()


ODD: list[Any] = [None, -1, 0, 10**12, 1.5, "x", [], {}, True, 1e400]


def test_no_value_of_a_config_is_an_internal_error(model, tmp_path, capsys):
    whole = files.read_json(model / "config.json")
    for key in whole:
        for value in ODD:
            change(model, **{key: value})
            code = run(model, tmp_path / "save", "--dry-run")
            assert code in (cli.OK, cli.BAD_INPUT), (key, value, capsys.readouterr().err)
        change(model, **whole)


def pointer(folder: Path) -> None:
    (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")


def cut_short(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def shard_missing(folder: Path) -> None:
    kept = tensors(folder)
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    places = {key: names["lm_head" in key] for key in kept}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))


def not_a_number(folder: Path) -> None:
    kept = tensors(folder)
    kept["model.norm.weight"][3] = float("nan")
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})


def eight_bits(folder: Path) -> None:
    kept = {key: value.to(torch.float8_e4m3fn) for key, value in tensors(folder).items()}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})


def two_types(folder: Path) -> None:
    kept = tensors(folder)
    kept["model.norm.weight"] = kept["model.norm.weight"].bfloat16()
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})


def older_format(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def an_adapter(folder: Path) -> None:
    (folder / "config.json").rename(folder / "adapter_config.json")


def nothing_there(folder: Path) -> None:
    shutil.rmtree(folder)


DAMAGED = {
    pointer: "is a pointer of Git LFS", cut_short: "is damaged or cut short",
    shard_missing: "model-00002-of-00002.safetensors is missing",
    not_a_number: "model.norm.weight holds values that are no numbers",
    eight_bits: "are of the type F8_E4M3", two_types: "are of the type BF16, F32", older_format: "torch's older format",
    an_adapter: "an adapter (LoRA)", nothing_there: "no config.json",
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGED, ids=lambda one: one.__name__)
def test_a_folder_that_is_not_whole_is_named(damage, model, tmp_path, capsys):
    damage(model)
    assert run(model, tmp_path / "save") == cli.BAD_INPUT
    told = capsys.readouterr().err
    assert DAMAGED[damage] in told and "fix: " in told
    assert not (tmp_path / "save").exists() and not (tmp_path / ".save.partial").exists()


def test_older_buffers_and_a_tied_output_layer_are_passed_over(models, tmp_path):
    folder = tmp_path / "old"
    shutil.copytree(models("llama pp2 tied"), folder)
    kept = tensors(folder)
    kept |= {"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(4)}
    kept |= {"lm_head.weight": kept["model.embed_tokens.weight"].clone()}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    published_world.checkpoint("llama pp2 tied", folder, tmp_path / "save")
    assert published_world.digest(tmp_path / "save") == KNOWN["llama pp2 tied"]["digest"]


def test_reading_back_finds_a_changed_bit(models, tmp_path):
    save = tmp_path / "save"
    published_world.checkpoint("llama", models("llama"), save)
    source, folder = published.load(models("llama")), save / to_neox.TAG
    to_neox._compare(source, folder, "float32")
    path = folder / "mp_rank_00_model_states.pt"
    where = path.read_bytes().index(tensors(models("llama"))["model.norm.weight"].numpy().tobytes())
    flip(path, where)
    with pytest.raises(HaigoError, match=r"mp_rank_00_model_states\.pt is torn or damaged"):
        to_neox._compare(source, folder, "float32")
    held = torch.load(path, weights_only=False)
    torch.save(held, path)  # the flipped bit, under a CRC of its own
    with pytest.raises(Failed, match=r"model\.norm\.weight was not written as it was read"):
        to_neox._compare(source, folder, "float32")


def test_a_disk_that_is_too_small_is_said_before_anything_is_written(models, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(os, "statvfs", lambda place: type("Usage", (), {"f_bavail": 1, "f_frsize": 4096}))
    assert run(models("llama"), tmp_path / "save") == cli.BAD_INPUT
    assert "needs about" in capsys.readouterr().err and not (tmp_path / "save").exists()


@pytest.mark.parametrize("pipe", ["0", "1"])
def test_a_disk_that_is_full_in_the_middle_is_named(models, tmp_path, pipe):
    words = ["--to-neox", str(models("llama")), "--out", str(tmp_path / "save"), "--pipe-parallel", pipe]
    done = subprocess.run(
        [sys.executable, "-m", "launch.convert", *words], env={**os.environ, "PYTHONPATH": str(REPO)}, cwd=tmp_path,
        capture_output=True, text=True, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000)),
    )  # fmt: skip
    assert done.returncode == cli.BAD_INPUT and "the weights cannot be written" in done.stderr, done.stderr
    assert not list(tmp_path.iterdir())
    assert cli.run(convert.main, words) == cli.OK


MEMORY = """
import sys, threading, time
from pathlib import Path
from haigo import cli
from launch import convert
from launch.neox.conversion import weights
import torch, transformers, safetensors.torch, huggingface_hub
weights.SHARD_BYTES = 30_000_000
def anonymous():
    return int(next(line for line in open("/proc/self/status") if line.startswith("RssAnon")).split()[1]) * 1024
cli.run(convert.main, eval(sys.argv[1]))  # a small one: what is imported late
before, most, done = anonymous(), 0, threading.Event()
def look():
    global most
    while not done.is_set():
        most = max(most, anonymous())
        time.sleep(0.002)
watcher = threading.Thread(target=look)
watcher.start()
code = cli.run(convert.main, eval(sys.argv[2]))
done.set()
watcher.join()
print("grown", code, most - before)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_model(models, tmp_path, shared_world):
    """152 MB of weights, 12.6 MB a layer. What is freed goes back at once, or the growth would be malloc's."""
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = {"hidden_size": 512, "intermediate_size": 1376, "num_hidden_layers": 12, "num_attention_heads": 8}
    made = LlamaForCausalLM(LlamaConfig(vocab_size=512, **sizes))
    made.save_pretrained(tmp_path / "large")
    size = 4 * made.num_parameters()
    del made
    shutil.copytree(models("llama"), tmp_path / "small")
    tokenizer = ["--tokenizer", str(shared_world.root / "tokenizer")]
    for way, target, *words in (
        ("", "-whole", "--to-neox", "--tensor-parallel", "2"),
        ("", "-layers", "--to-neox", "--pipe-parallel", "1"),
        ("-whole", "-back", *tokenizer),
    ):
        asked = [[f"{tmp_path / one}{way}", "--out", f"{tmp_path / one}{target}", *words] for one in ("small", "large")]
        argv = [sys.executable, "-c", MEMORY, *map(repr, asked)]
        variables = {**os.environ, "PYTHONPATH": str(REPO), "MALLOC_MMAP_THRESHOLD_": "65536"}
        done = subprocess.run(argv, env=variables, cwd=REPO, capture_output=True, text=True, check=True)
        code, grown = map(int, done.stdout.rpartition("grown ")[2].split())
        assert code == cli.OK and grown < 0.5 * size, (words, grown / size, done.stderr)


@pytest.fixture(scope="module")
def lossless(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("lossless"), **LOSSLESS)


def test_a_config_that_goes_on_from_published_weights(models, lossless, tmp_path, capsys):
    save, out = tmp_path / "save", tmp_path / "more.yml"
    assert run(models("gpt"), save) == cli.OK
    shape = save / to_neox.TAG / "configs" / to_neox.MODEL
    asked = ["--recipe", "continued", "--from", str(save), "--model", str(shape), "--cluster", "local-cpu"]
    asked += ["--mixture", str(lossless.mixture), "--catalogue", str(lossless.catalogue), "--tokens", "20000"]
    assert cli.run(configs.main, [*asked, "--seq-length", "64", "--output", str(out)]) == cli.OK, (
        capsys.readouterr().err
    )
    config = reader.load(out)
    assert config["finetune"] is True and config["load"] == str(save) and config["max_position_embeddings"] == 64
    # 300 pieces give the 512 rows that the model has
    assert config["make_vocab_size_divisible_by"] == 512 and config["model_parallel_size"] == 1
    assert cli.run(preflight.main, [str(out), "--gpus", "1"]) == cli.OK, capsys.readouterr().out
    longer = ["--seq-length", "128", "--output", str(tmp_path / "longer.yml")]
    assert cli.run(configs.main, [*asked, *longer]) == cli.REFUSED
    assert "max_position_embeddings 64" in capsys.readouterr().err


def test_a_tokenizer_of_another_size_is_refused(models, lossless, tmp_path, capsys):
    small = tmp_path / "model"
    published_world.model("gpt", small)
    kept = {key: value[:256].clone() if value.shape[:1] == (512,) else value for key, value in tensors(small).items()}
    save_file(kept, small / "model.safetensors", metadata={"format": "pt"})
    change(small, vocab_size=256)
    assert run(small, tmp_path / "save") == cli.OK
    shape = tmp_path / "save" / to_neox.TAG / "configs" / to_neox.MODEL
    asked = ["--recipe", "continued", "--from", str(tmp_path / "save"), "--model", str(shape), "--cluster", "local-cpu"]
    asked += ["--mixture", str(lossless.mixture), "--catalogue", str(lossless.catalogue), "--tokens", "20000"]
    assert cli.run(configs.main, [*asked, "--output", str(tmp_path / "x.yml")]) == cli.REFUSED
    told = capsys.readouterr().err
    assert "300 pieces give 512 rows" in told and "has 256" in told and not (tmp_path / "x.yml").exists()
