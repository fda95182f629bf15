"""The recipe `decay`: what it writes, and that GPT-NeoX then goes on with optimizer, step and samples at the wanted rate."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from neox_world import REPO, World, make_world, write_weights

from haigo import cli, yamlfile
from haigo.cli import HaigoError, Refused
from launch import configs, convert
from launch.engine import settings
from launch.engine.optimizer import learning_rate
from launch.neox import checkpoints
from launch.plan import preflight
from launch.plan.config import make_config, write_config
from launch.plan.options import ConfigOptions
from launch.train import record, resume
from neox_configs import reader

STEPS, FROM, PEAK = 60, 40, 4.0e-3


def first_run(world: World, output: Path, steps: int = STEPS, **changes: Any) -> dict[str, Any]:
    """The config of a run at a constant rate that saves in mid-run, written."""
    asked = {"model": "0-1M", "cluster": "local-cpu", "mixture": world.mixture, "catalogue": world.catalogue}
    made = write_config(ConfigOptions(output=output, tokens=steps * 8 * 128, schedule="wsd", **asked))
    config = {**made["config"], "extra_save_iters": [FROM], "log_interval": 1, **changes}
    yamlfile.write(output, config)
    return config


@pytest.fixture
def stable(world: World, tmp_path: Path) -> tuple[dict[str, Any], Path]:
    """(config, save folder) of such a run as GPT-NeoX leaves it, as far as a recipe looks at it."""
    config = first_run(world, tmp_path / "run" / "stable.yml")
    folder = Path(config["save"])
    for step in (1, FROM, STEPS):
        write_weights(folder / f"global_step{step}")
        yamlfile.write(folder / f"global_step{step}" / "configs" / "stable.yml", config)
    (folder / "latest").write_text(f"global_step{STEPS}")
    record.note_start(folder, record.stream(config, ".", 8), 0, 1, ["x"])
    return config, folder


def options(tmp_path: Path, start: Path, **more: Any) -> ConfigOptions:
    return ConfigOptions(output=tmp_path / "run" / "decay.yml", recipe="decay", start=start, **more)


def test_the_schedule_and_nothing_else_changes(stable: tuple[dict[str, Any], Path], tmp_path: Path) -> None:
    config, folder = stable
    made = make_config(options(tmp_path, folder / f"global_step{FROM}", decay=1 / 3))
    changed = {key for key in {*config, *made.config} if config.get(key) != made.config.get(key)}
    schedule = {"lr_decay_style", "warmup", "min_lr", "override_lr_scheduler"}  # lr_decay_iters is 60 in both
    assert changed == schedule | {"save", "iteration", "finetune", "extra_save_iters"}
    assert made.config["iteration"] == FROM and made.config["load"] == str(folder)
    assert made.config["train_iters"] == STEPS and made.config["extra_save_iters"] == [STEPS - 1]  # no validation there
    reader.check_keys(made.config)
    rates = settings.resolve({**made.config, "load": None, "iteration": None, "override_lr_scheduler": False})
    assert learning_rate(FROM, rates) == pytest.approx(PEAK, rel=1e-12)
    for step in range(FROM, STEPS + 1):
        assert learning_rate(step, rates) == pytest.approx(PEAK * (STEPS - step) / (STEPS - FROM), rel=1e-9, abs=1e-15)
    assert f"decay from {folder}, step {FROM}" in made.header and "linearly to 0 at step 60" in made.header


def test_epochs_that_would_change_keep_train_iters(stable: tuple[dict[str, Any], Path], tmp_path: Path) -> None:
    _, folder = stable
    config = make_config(options(tmp_path, folder / f"global_step{FROM}", decay=0.02)).config
    last = 41
    assert (config["train_iters"], config["exit_interval"], config["lr_decay_iters"]) == (STEPS, last, last)
    assert last in config["extra_save_iters"] and config["checkpoint_factor"] > last
    assert checkpoints.last_step(config) == last and checkpoints.milestones(config) == []
    with pytest.raises(Refused, match=r"the samples would come in another order: .* shuffles it anew") as caught:
        make_config(options(tmp_path, folder, decay=0.8))
    assert f"ends by step {STEPS}" in caught.value.fix


def test_milestones_are_checkpoints_to_start_from(stable: tuple[dict[str, Any], Path], tmp_path: Path) -> None:
    _, folder = stable
    (folder / "milestones").mkdir()
    (folder / f"global_step{FROM}").rename(folder / "milestones" / f"global_step{FROM}")
    asked = options(tmp_path, folder / "milestones" / f"global_step{FROM}", decay=1 / 3)
    config = write_config(asked)["config"]
    assert (config["load"], config["iteration"]) == (str(folder / "milestones"), FROM)
    report = preflight.preflight([asked.output], gpus=1)
    assert not report.failed, report.failed  # no `latest` is needed there
    assert any(check.found == f"goes on from global_step{FROM}" for check in report.checks)
    with pytest.raises(Refused, match="where it starts from"):
        make_config(options(tmp_path, folder / "milestones" / f"global_step{FROM}", save=folder))


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"mixture": "m.yml"}, "--mixture has no effect with --recipe decay"),
        ({"seed": 7}, "--seed has no effect with --recipe decay"),
        ({"lr": 0.1}, "--lr has no effect"),
        ({"wandb_group": "x"}, "--wandb-group has no effect with no --wandb-project"),
    ],
)
def test_what_the_checkpoint_decides(
    stable: tuple[dict[str, Any], Path], tmp_path: Path, more: dict[str, Any], said: str
) -> None:
    with pytest.raises(HaigoError, match=said):
        make_config(options(tmp_path, stable[1] / f"global_step{FROM}", **more))


def test_checkpoints_that_cannot_decay(stable: tuple[dict[str, Any], Path], tmp_path: Path) -> None:
    config, folder = stable
    with pytest.raises(Refused, match=r"step 1 of .* is in the warmup, which ends at step 3"):
        make_config(options(tmp_path, folder / "global_step1"))
    path = folder / f"global_step{FROM}" / "configs" / "stable.yml"
    yamlfile.write(path, {**config, "lr_decay_style": "cosine"})
    with pytest.raises(Refused, match=r"falls already \(lr_decay_style cosine\)"):
        make_config(options(tmp_path, folder / f"global_step{FROM}"))
    yamlfile.write(path, {key: value for key, value in config.items() if key != "train_iters"})
    with pytest.raises(HaigoError, match="gives no train_iters"):
        make_config(options(tmp_path, folder / f"global_step{FROM}"))
    yamlfile.write(path, {key: value for key, value in config.items() if key != "optimizer"})
    with pytest.raises(Refused, match="there is no optimizer"):
        make_config(options(tmp_path, folder / f"global_step{FROM}"))
    yamlfile.write(path, {**config, "optimizer": {"type": "Adam", "params": {"betas": [0.9, 0.95]}}})
    assert "rate: 0.001 up to step 40" in make_config(options(tmp_path, folder / f"global_step{FROM}")).header
    yamlfile.write(path, {**config, "train_data_weights": [0.5, 0.5]})
    with pytest.raises(Refused, match="on another stream of data"):
        make_config(options(tmp_path, folder / f"global_step{FROM}"))
    with pytest.raises(HaigoError, match="needs a checkpoint to start from"):
        make_config(ConfigOptions(output=tmp_path / "x.yml", recipe="decay"))


def test_the_command(stable: tuple[dict[str, Any], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "run" / "decay.yml"
    words = ["--recipe", "decay", "--from", str(stable[1] / f"global_step{FROM}"), "--output", str(output)]
    assert cli.run(configs.main, [*words, "--json"]) == 0
    assert '"gpus": 1' in capsys.readouterr().out
    config, again = reader.load(output), reader.load(output.with_name("decay-resume.yml"))
    assert {key for key in {*config, *again} if config.get(key) != again.get(key)} == {"load", "iteration"}
    assert again["load"] == config["save"]


def test_after_a_break_it_goes_on_from_its_own_checkpoints(stable: tuple[dict[str, Any], Path], tmp_path: Path) -> None:
    """Not from the step of the run that it came from, which its own save folder does not have."""
    config = make_config(options(tmp_path, stable[1] / f"global_step{FROM}", decay=0.02)).config
    save = Path(config["save"])
    write_weights(save / "global_step41")
    yamlfile.write(save / "global_step41" / "configs" / "decay.yml", config)
    (save / "latest").write_text("global_step41")
    record.note_start(save, record.stream(config, ".", 8), FROM, 1, ["x"])
    found = resume.choose(config, Path())
    made = resume.with_changes(config, found.changes)
    assert made["load"] == str(save) and "iteration" not in made and made["override_lr_scheduler"] is True
    assert found.finished(config)  # where exit_interval ends it


@pytest.mark.neox
@pytest.mark.slow
@pytest.mark.parametrize(("share", "ranks", "pipe"), [(1 / 3, 1, 0), (0.09, 1, 0), (0.09, 2, 0), (0.09, 1, 1)])
def test_gpt_neox_decays(neox: Any, tmp_path: Path, share: float, ranks: int, pipe: int) -> None:
    """From step 40 of 60 to the planned end, and to step 44, where the epochs of a corpus would be others: the rates that
    GPT-NeoX logs are those that were meant; the samples are those of the first run, told by its losses as long as the rate
    is the same."""
    place = make_world(tmp_path / "world")
    several = (
        {"num_gpus": 2, "train_micro_batch_size_per_gpu": 4, "zero_optimization": {"stage": 1}} if ranks > 1 else {}
    )

    def train(path: Path) -> tuple[list[float], list[float]]:
        environment = {**neox.environment, "GPT_NEOX_DIR": str(neox.root), "GPT_NEOX_PYTHON": str(neox.python)}
        environment |= {"PYTHONPATH": os.pathsep.join([environment["PYTHONPATH"], str(REPO)])}
        environment |= {"FAKE_CUDA_COUNT": str(ranks)}
        log = path.with_suffix(".log")
        words = ["launch.deepy", "train.py", str(path), "--log", str(log)]
        done = subprocess.run(
            [sys.executable, "-m", *words],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=500,
            cwd=tmp_path,
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        told = log.read_text()
        rates = [float(rate) for rate in re.findall(r"learning rate: (\S+)", told)]
        return rates, [float(loss) for loss in re.findall(r"lm_loss: (\S+)", told)]

    first = tmp_path / "run" / "stable.yml"
    config = first_run(place, first, **several, pipe_parallel_size=pipe)
    rates, losses = train(first)
    assert len(losses) == STEPS and set(rates[FROM:]) == {PEAK}
    output = tmp_path / "run" / "decay.yml"
    start = Path(config["save"]) / f"global_step{FROM}"
    made = write_config(ConfigOptions(output=output, recipe="decay", start=start, decay=share))["config"]
    last = made["lr_decay_iters"]
    assert ("exit_interval" in made) == (last != STEPS)
    rates, decayed = train(output)
    wanted = [PEAK * (last - step) / (last - FROM) for step in range(FROM + 1, last + 1)]
    assert rates == pytest.approx(wanted, rel=1e-3, abs=1e-9)  # four digits are printed
    # the weights of step 40, and of one more at the old rate, on the samples that follow
    assert decayed[:2] == losses[FROM : FROM + 2] and decayed[2:] != losses[FROM + 2 : last]
    assert checkpoints.latest(made["save"]) == f"global_step{last}"
    if ranks == 1:  # no validation tells of the last weights: those of a step before are proved by the log
        words = [str(made["save"]), "--iteration", str(last - 1), "--log", str(output.with_suffix(".log"))]
        assert cli.run(convert.main, [*words, "--out", str(tmp_path / "model")]) == 0
        (proof,) = json.loads((tmp_path / "model" / "conversion.json").read_text())["losses"]
        assert proof["status"] == "ok" and f"training loss at step {last}" in json.dumps(proof)
    again = tmp_path / "run" / "same.yml"
    yamlfile.write(again, {**made, "lr_decay_style": "constant", "save": str(tmp_path / "same")})
    assert train(again)[1] == losses[FROM:last]
