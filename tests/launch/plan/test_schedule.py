"""What follows from a run's length and speed: rate, checkpoints, milestones, log; and what the header says of them."""

from __future__ import annotations

import stat
import sys
from pathlib import Path
from typing import Any

import pytest
from neox_world import World

from haigo.cli import HaigoError, Refused
from launch.neox import checkout
from launch.plan import schedule
from launch.plan.checks import machine
from launch.plan.config import Written, check_model, make_config
from launch.plan.options import ConfigOptions, PlanOptions
from launch.plan.planner import plan
from neox_configs import derive, reader


def make(world: World, **changes: Any) -> Written:
    given = {"model": "1-3B", "cluster": "a100-40gb", "mixture": world.mixture, "catalogue": world.catalogue}
    return make_config(ConfigOptions(**{"output": world.root / "run" / "x.yml", "seq_length": 512, **given, **changes}))


@pytest.mark.parametrize(
    ("parameters", "iterations", "steps"),
    [
        (1e8, 100_000, 1000),  # 1 %
        (1e8, 20_000, 500),  # the floor
        (1e8, 2_000, 200),  # a tenth
        (2.8e9, 20_000, 837),
        (7e9, 20_000, 1323),
        (70e9, 20_000, 2000),
        (7e9, 400_000, 4000),
    ],
)
def test_warmup(parameters: float, iterations: int, steps: int) -> None:
    share = schedule.warmup(iterations, int(parameters))
    assert share * iterations == pytest.approx(steps, abs=1 + iterations * 1e-6) and share <= 0.1


def test_a_models_own_file_decides_its_warmup(shared_world: World, tmp_path: Path) -> None:
    assert make(shared_world).config["warmup"] > 0.01
    own = tmp_path / "own.yml"
    own.write_text("num_layers: 12\nhidden_size: 768\nnum_attention_heads: 12\npos_emb: rotary\nwarmup: 0.002\n"
                   "optimizer: {type: Adam, params: {lr: 6.0e-4}}\nlr_decay_style: linear\n")  # fmt: skip
    config = make(shared_world, model=own).config
    assert (config["warmup"], config["lr_decay_style"]) == (0.002, "linear")
    assert make(shared_world, model=own, schedule="cosine").config["lr_decay_style"] == "cosine"
    # the embedded engine's models are as they were
    assert (
        make(shared_world, model="0-1M", cluster="local-cpu", seq_length=None, tokens=20_480).config["warmup"] == 0.05
    )


def test_wsd_stays_at_the_peak_and_keeps_where_a_decay_ends_with_the_run(shared_world: World) -> None:
    made = make(shared_world, schedule="wsd", milestones=0)
    config = made.config
    steps = config["train_iters"]
    assert config["lr_decay_style"] == "constant" and config["extra_save_iters"] == [steps - round(0.1 * steps)]
    assert "launch.configs --recipe decay --from CHECKPOINT" in made.header and "no ramp" in made.header


@pytest.mark.parametrize(
    ("iterations", "factor", "percent", "decay", "wanted"),
    [
        (1000, 7, 10, None, [100, 200, 300, 400, 500, 600, 700, 800, 900]),
        (1000, 7, 0, None, []),
        (1000, 7, 30, None, [300, 600, 900]),
        (1000, 250, 10, None, [300, 600, 900]),  # not more often than checkpoints
        (1000, 1001, 10, None, []),
        (1000, 7, 50, 0.2, [500, 800]),
        (10, 3, 10, 0.1, [3, 6]),  # the ninth of ten proves the last
        (1000, 7, 33.3, None, [333, 666]),
    ],
)
def test_milestones(iterations: int, factor: int, percent: float, decay: float | None, wanted: list[int]) -> None:
    assert [step for step in schedule.milestones(iterations, factor, percent, decay) if step < 950] == wanted


def test_the_cadence_follows_the_disk(shared_world: World, tmp_path: Path) -> None:
    usual = make(shared_world)
    assert " s of writing" not in usual.header
    config = usual.config
    size = machine.checkpoint_bytes(config, usual.plan.parameters if usual.plan else 0)
    quick, slow = make(shared_world, disk_gbps=100.0), make(shared_world, disk_gbps=0.05)
    assert quick.config["checkpoint_factor"] == config["checkpoint_factor"] and "s of writing (0.0%" in quick.header
    # half a minute of writing every half hour is fine, five minutes are not
    seconds = size / 0.05e9
    assert "of writing (2.0% of the time)" in slow.header and seconds > 300
    ratio = slow.config["checkpoint_factor"] / config["checkpoint_factor"]
    assert ratio == pytest.approx(seconds / 0.02 / 1800, rel=0.02)
    log = tmp_path / "train.log"
    line = "[2026-01-01 00:{}:00,000] [INFO] [x.py:1:f] [Torch] Checkpoint global_step{} is {}!\n"
    log.write_text(
        line.format("10", 5, "about to be saved") + "noise\n" + line.format("13", 5, "ready now")
        + line.format("14", 5, "ready now") + line.format("20", 9, "about to be saved") + line.format("21", 9, "ready now")
        + line.format("30", 12, "about to be saved")
    )  # fmt: skip
    assert schedule.seconds_of_writing(log) == 240  # until the last rank was done
    assert "240 s of writing (2.0% of the time)" in make(shared_world, checkpoint_log=log).header
    log.write_text("nothing\n")
    with pytest.raises(HaigoError, match="does not tell how long a checkpoint took") as caught:
        make(shared_world, checkpoint_log=log)
    assert "--disk-gbps" in caught.value.fix


def test_every_step_is_logged_where_steps_are_slow(shared_world: World) -> None:
    assert make(shared_world).config["log_interval"] == 1  # some thirty seconds
    quick = make(shared_world, cluster="h100-80gb", nodes=16, global_batch_tokens=500_000)
    assert quick.config["log_interval"] == 10 and quick.config["eval_iters"] == 10


def test_the_last_weights_can_be_proved(shared_world: World, tmp_path: Path) -> None:
    made = make(shared_world, model="13B", nodes=2, attention="global")
    config, steps = made.config, made.config["train_iters"]
    assert config["pipe_parallel_size"] and config["eval_iters"] == 0
    assert config["extra_save_iters"][-1] == steps - 1 and config["log_interval"] == 1
    assert f"launch.convert --iteration {steps - 1} --log" in made.header
    assert steps - 1 not in make(shared_world).config["extra_save_iters"]  # its validation proves them


def test_where_curves_go(shared_world: World, tmp_path: Path) -> None:
    assert make(shared_world).config["use_wandb"] is False
    asked = {"tensorboard_dir": tmp_path / "tb", "wandb_project": "p", "wandb_name": "n", "wandb_team": "t"}
    config = make(shared_world, **asked).config
    assert config["tensorboard_dir"] == str(tmp_path / "tb")
    names = ("use_wandb", "wandb_project", "wandb_group", "wandb_run_name", "wandb_team")
    assert [config[name] for name in names] == [True, "p", "x", "n", "t"]
    with pytest.raises(HaigoError, match="--wandb-name has no effect with no --wandb-project"):
        make(shared_world, wandb_name="n")


def test_the_reason_for_the_layout(shared_world: World) -> None:
    assert "layout: whole layers on each GPU (TP2" in make(shared_world, attention="flash", nodes=2).header
    split = make(
        shared_world, model="13B", cluster="a100-80gb", nodes=2, attention="flash", seq_length=None, tokens=1e12
    )
    assert (
        "layers split over 2 GPUs of a node" in split.header
        and "ZeRO 1 shares Adam's state over 8 copies" in split.header
    )
    piped = make(shared_world, model="13B", nodes=8, attention="global", seq_length=None, tokens=1e12)
    assert "a pipeline, with which GPT-NeoX cannot evaluate, would be 1." in piped.header


def test_another_layout_than_the_best(shared_world: World) -> None:
    made = make(shared_world, nodes=2, layout="TP2 PP2 ZeRO1 micro 2")
    assert (made.config["model_parallel_size"], made.config["pipe_parallel_size"]) == (2, 2)
    assert "layout: asked for with --layout" in made.header and made.config["eval_iters"] == 0
    with pytest.raises(Refused, match=r"TP1 PP0 DP8 ZeRO1 micro 64 needs .* the nearest that fits: TP"):
        make(shared_world, nodes=2, layout="TP1 PP0 ZeRO1 micro 64", seq_length=None, tokens=1e12)


# -- flash attention


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """GPT-NeoX's environment with or without flash-attn: a Python that sees a made-up one."""
    site = tmp_path / "site"

    def with_flash(*modules: str) -> str:
        python = tmp_path / f"python{len(modules)}"
        for name in modules:
            (site / "flash_attn").mkdir(parents=True, exist_ok=True)
            (site / "flash_attn" / f"{name}.py").write_text("raise SystemExit('imported')")
            info = site / "flash_attn-2.5.6.dist-info"
            info.mkdir(exist_ok=True)
            (info / "METADATA").write_text("Metadata-Version: 2.1\nName: flash-attn\nVersion: 2.5.6\n")
        python.write_text(f'#!/bin/sh\nPYTHONPATH={site} exec {sys.executable} "$@"\n')
        python.chmod(python.stat().st_mode | stat.S_IXUSR)
        checkout.flash_attention.cache_clear()
        monkeypatch.setenv("GPT_NEOX_PYTHON", str(python))
        return str(python)

    return with_flash


WHOLE = ("__init__", "flash_attn_interface", "flash_attn_triton")


def test_flash_attention_where_it_is(shared_world: World, environment: Any) -> None:
    environment()
    plain = make(shared_world).config
    assert "attention_config" not in plain and plain["scaled_upper_triang_masked_softmax_fusion"] is True
    environment(*WHOLE)
    made = make(shared_world)
    assert made.config["attention_config"] == [[["flash"], 24]]
    assert "scaled_upper_triang_masked_softmax_fusion" not in made.config
    assert plan(PlanOptions(model="1-3B", cluster="a100-40gb")).attention == "flash"
    assert make(shared_world, attention="global").config.get("attention_config") is None
    cpu = make(shared_world, model="0-1M", cluster="local-cpu", seq_length=None, tokens=20_480)
    assert "attention_config" not in cpu.config


def test_flash_attention_without_what_gpt_neox_imports(shared_world: World, environment: Any) -> None:
    environment(*WHOLE[:2])
    assert "attention_config" not in make(shared_world).config


@pytest.mark.parametrize(("length", "fused"), [(2048, True), (4096, None)])
def test_the_fused_softmax_takes_short_samples_only(
    monkeypatch: pytest.MonkeyPatch, length: int, fused: bool | None
) -> None:
    monkeypatch.delenv("GPT_NEOX_PYTHON", raising=False)
    config = check_model(PlanOptions(model="1-3B", cluster="h100-80gb", seq_length=length))
    assert config.get("scaled_upper_triang_masked_softmax_fusion") is fused


def test_preflight_here_looks_for_flash_attention(shared_world: World, environment: Any, tmp_path: Path) -> None:
    plain, flash = make(shared_world, attention="global").config, make(shared_world, attention="flash").config
    root = tmp_path / "neox"
    (root / "requirements").mkdir(parents=True)
    (root / "requirements" / "requirements-flashattention.txt").write_text("flash-attn==2.5.6\n")
    around = {"GPT_NEOX_DIR": str(root)}

    def told(config: dict[str, Any], python: str) -> Any:
        return (machine._flash(config, python, around) or [None])[0]

    pinned = str(root / "requirements" / "requirements-flashattention.txt")
    python = environment()
    assert told(flash, python).status == "fail" and pinned in told(flash, python).fix
    assert told(plain, python).status == "warn" and pinned in told(plain, python).fix
    assert told({**plain, "precision": "fp32"}, python) is None
    python = environment(*WHOLE[:2])
    assert told(flash, python).status == "fail" and "has no flash_attn_triton" in told(flash, python).found
    (Path(python).parent / "site" / "flash_attn" / "flash_attn_triton.py").write_text("")
    checkout.flash_attention.cache_clear()
    assert told(flash, python).status == "ok" and "2.5.6" in told(flash, python).found
    assert told(plain, python).status == "warn" and "does not use it" in told(plain, python).found


def test_preflight_here_looks_for_a_compiler(
    shared_world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make(shared_world, attention="global").config
    (absent,) = machine._compiler(config, {"PATH": "", "CUDA_HOME": str(tmp_path)})
    assert absent.status == "warn" and f"{tmp_path}/bin/nvcc is not here" in absent.found
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "nvcc").write_text("#!/bin/sh\n")
    (tmp_path / "bin" / "nvcc").chmod(0o755)
    for around in ({"PATH": "", "CUDA_HOME": str(tmp_path)}, {"PATH": str(tmp_path / "bin")}):
        assert machine._compiler(config, around)[0].status == "ok"
    assert machine._compiler(make(shared_world, attention="flash").config, {"PATH": ""}) == []


@pytest.mark.neox
def test_neox_args_takes_all_of_it(neox: Any, shared_world: World, tmp_path: Path) -> None:
    """Every new key and every schedule, by the real NeoXArgs."""
    from test_real_neox import probe

    from haigo import yamlfile
    from launch.neox import hostfile

    curves = {"tensorboard_dir": tmp_path / "tb", "wandb_project": "p", "wandb_team": "t"}
    jobs = []
    for number, changes in enumerate(
        (
            {"schedule": "wsd", **curves},
            {"schedule": "cosine", "milestones": 5, "disk_gbps": 0.1},
            {"model": "13B", "nodes": 2, "attention": "global"},
            {"model": "7B", "nodes": 4, "attention": "flash", "schedule": "wsd", "decay": 0.2},
            {"nodes": 2, "layout": "TP2 PP2 ZeRO1 micro 2"},
        )
    ):
        made = make(shared_world, **changes)
        path, hosts = tmp_path / f"{number}.yml", tmp_path / f"hosts{number}"
        yamlfile.write(path, made.config, made.header)
        assert reader.type_problems(made.config) == [] and derive.batch(made.config, made.gpus).train
        hostfile.write(hosts, {f"node{each}": 4 for each in range(made.gpus // 4)})
        jobs.append([str(path), str(hosts)])
    for told in probe(neox, jobs, tmp_path)["configs"]:
        assert "error" not in told, told


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"decay": 0.3}, "--decay has no effect with no --schedule wsd"),
        ({"epochs": 3.0}, "--epochs has no effect with --recipe pretrain"),
        ({"train_pairs": "x"}, "--train-pairs has no effect with --recipe pretrain"),
        ({"recipe": "reward", "mixture": "m.yml"}, "--mixture has no effect with --recipe reward"),
        ({"recipe": "dpo", "tokens": 1e6}, "--tokens has no effect with --recipe dpo"),
    ],
)
def test_options_without_effect_are_named(given: dict[str, Any], said: str) -> None:
    with pytest.raises(HaigoError, match=said):
        ConfigOptions(output="x.yml", **given)


def test_a_log_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(HaigoError, match="does not exist"):
        schedule.seconds_of_writing(tmp_path / "no.log")
