"""launch.preflight: every trap has a name and a fix, and a sound config passes."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from neox_world import World, sentences, train_tokenizer

from haigo import cli, yamlfile
from haigo.cli import HaigoError
from launch import configs, hostfile, preflight


def sound(world: World, **changes: Any) -> Path:
    """A config for one process here, with some keys changed (None takes a key away)."""
    made = configs.make_config(
        model="0-1M",
        cluster="local-cpu",
        mixture=world.mixture,
        catalogue=world.catalogue,
        output=world.root / "run" / "tiny.yml",
        tokens=20_480,
    )
    config = {key: value for key, value in {**made.config, **changes}.items() if value is not None}
    path = world.root / "run" / "tiny.yml"
    yamlfile.write(path, config)
    return path


def test_a_sound_config_passes(shared_world: World) -> None:
    report = preflight.preflight([sound(shared_world)])
    assert [check.status for check in report.checks] == ["ok"] * len(report.checks)
    names = [check.name for check in report.checks]
    assert {"keys", "types", "world size", "batch", "model", "tokenizer", "data", "epochs"} <= set(names)
    report.refuse("x")


TRAPS: list[tuple[dict[str, Any], str, str]] = [
    ({"num_layer": 3}, "keys", "Did you mean 'num_layers'"),
    ({"train_iters": 20.0}, "types", "must be int"),
    ({"gradient_accumulation_steps": 3}, "batch", "accumulation 3"),
    ({"data_impl": None}, "data_impl", "infer"),
    ({"weight_by_num_documents": True}, "weights", "document counts"),
    ({"train_data_weights": [1.0]}, "weights", "1 train weights for 2 paths"),
    ({"valid_data_paths": None}, "data", "only train and test"),
    ({"data_path": "x"}, "data", "both given"),
    ({"train_data_paths": None, "valid_data_paths": None, "test_data_paths": None}, "data", "no training data"),
    ({"pipe_parallel_size": 1, "eval_iters": 5}, "evaluation", "crashes at"),
    ({"zero_optimization": {"stage": 2}, "pipe_parallel_size": 1}, "zero stage", "ends with exit code 0"),
    ({"zero_optimization": {"stage": 3}, "model_parallel_size": 2, "num_gpus": 2}, "zero stage", "ends with exit"),
    ({"precision": "bfloat16", "zero_optimization": None}, "precision", "without a zero_optimization"),
    ({"launcher": "slurm"}, "slurm", "only one"),
    ({"deepspeed_slurm": True}, "slurm", "only one"),
    ({"num_attention_heads": 5}, "model", "not a multiple of 5 heads"),
    ({"model_parallel_size": 8, "num_gpus": 8}, "model", "cannot be split"),
    ({"seq_length": 256}, "model", "above max_position"),
    ({"hidden_size": None}, "model", "hidden_size is not given"),
    ({"min_lr": 0.1}, "schedule", "above lr"),
    ({"train_iters": None}, "schedule", "exactly one"),
    ({"checkpoint_factor": None}, "checkpoints", "without checkpoint_factor"),
    ({"vocab_file": None}, "tokenizer", "without vocab_file"),
    ({"vocab_file": "/nowhere.model"}, "tokenizer", "does not exist"),
    ({"global_num_gpus": 3}, "batch", "is not micro batch"),
    ({"hostfile": "/nowhere"}, "world size", "/nowhere does not exist"),
]


@pytest.mark.parametrize(("changes", "name", "said"), TRAPS)
def test_traps(shared_world: World, changes: dict[str, Any], name: str, said: str) -> None:
    report = preflight.preflight([sound(shared_world, **changes)])
    failed = {check.name: check for check in report.failed}
    assert name in failed, report.checks
    assert said in " ".join(check.found for check in report.failed)
    assert all(check.fix for check in report.failed)


def test_warnings_do_not_stop_anything(shared_world: World) -> None:
    for changes, name in (
        ({"checkpoint_factor": 10}, "checkpoints"),
        ({"train_iters": 2000, "lr_decay_iters": 2000}, "epochs"),
        ({"save": None}, "checkpoints"),
        ({"train_data_weights": None}, "weights"),
    ):
        report = preflight.preflight([sound(shared_world, **changes)])
        assert not report.failed
        assert [check.name for check in report.checks if check.status == "warn"] == [name]


def test_numbers_that_gpt_neox_reads_as_text(shared_world: World) -> None:
    path = sound(shared_world)
    path.write_text(path.read_text().replace("eps: 1.0e-08", "eps: 1e-8"))
    (check,) = preflight.preflight([path]).failed
    assert check.name == "numbers read as text" and "optimizer.params.eps" in check.found


def test_world_size_from_a_hostfile(shared_world: World, tmp_path: Path) -> None:
    hosts = tmp_path / "hosts"
    hostfile.write(hosts, {"a": 2, "b": 2})
    path = sound(shared_world, num_gpus=None, train_batch_size=None)
    report = preflight.preflight([path], hostfile=hosts)
    assert "4 GPUs" in next(check.found for check in report.checks if check.name == "world size")
    assert preflight.world_size({"hostfile": str(hosts), "num_nodes": 1}) == (2, f"{hosts}, 1 hosts")
    assert preflight.world_size({}, gpus=6) == (6, "--gpus")


def test_truncated_and_missing_data(world: World) -> None:
    path = sound(world)
    data = Path(f"{world.prefix('news')}.bin")
    data.write_bytes(data.read_bytes()[:-10])
    Path(f"{world.prefix('code', 'test')}.bin").unlink()
    found = " ".join(check.found for check in preflight.preflight([path]).failed)
    assert "cut short" in found and "code/test_text_document.bin does not exist" in found


def test_data_of_another_tokenizer_and_no_eod(world: World) -> None:
    path = sound(world)
    train_tokenizer(world.root / "tokenizer", sentences(3, 400))
    failed = preflight.preflight([path]).failed
    assert len(failed) == 6 and all("another tokenizer" in check.found for check in failed)
    train_tokenizer(world.root / "tokenizer", sentences(1, 400), eod="</s>")
    (check,) = preflight.preflight([path]).failed
    assert check.name == "tokenizer" and "no piece <|endoftext|>" in check.found


def test_stale_index_caches(world: World) -> None:
    path = sound(world)
    data = world.prefix("news")
    cache = Path(f"{data}_train_0_indexmap_121ns_128sl_1234s_packedpi_ac_doc_idx.npy")
    cache.write_bytes(b"x")
    assert not preflight.preflight([path]).failed
    old = time.time() - 1000
    os.utime(cache, (old, old))
    (check,) = preflight.preflight([path]).failed
    assert check.name == "index caches" and "older than its tokens" in check.found and "delete" in check.fix


def test_resuming(world: World) -> None:
    path = sound(world)
    folder = world.root / "run" / "checkpoints" / "tiny"
    for step in (9, 10):
        (folder / f"global_step{step}").mkdir(parents=True)
    (check,) = preflight.preflight([path]).failed
    assert check.name == "resume" and "start from step 0" in check.found and "global_step10" in check.fix
    (folder / "latest").write_text("global_step10")
    assert "goes on from global_step10" in preflight.text(preflight.preflight([path]))
    (folder / "latest").write_text("global_step11")
    (check,) = preflight.preflight([path]).failed
    assert "names global_step11" in check.found


def test_the_command(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    path = sound(world)
    assert cli.run(preflight.main, [str(path)]) == 0
    assert "ok   batch: 8 = micro 8" in capsys.readouterr().out
    path = sound(world, data_impl="infer")
    assert cli.run(preflight.main, [str(path), "--json"]) == 3
    taken = capsys.readouterr()
    assert any(check["status"] == "fail" for check in json.loads(taken.out))
    assert "data_impl" in taken.err and "fix: write data_impl: mmap" in taken.err
    assert cli.run(preflight.main, [str(world.root / "none.yml")]) == 2


def test_what_cannot_be_one_config_is_told(tmp_path: Path) -> None:
    with pytest.raises(HaigoError, match="does not exist"):
        preflight.preflight([tmp_path / "none.yml"])
