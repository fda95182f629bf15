"""Checkpoints that are kept for good: hard links beside the newest ones, whole, and of the run that went on."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from neox_world import REPO, make_world
from test_supervise import Run, run  # noqa: F401

from haigo import cli, yamlfile
from launch import checkpoints as command
from launch.neox import checkpoints, milestones
from launch.plan.config import write_config
from launch.plan.options import ConfigOptions
from neox_configs import reader


def marked(run: Run, *steps: int, **more: Any) -> dict[str, Any]:  # noqa: F811
    config = {**yamlfile.read(run.config), "extra_save_iters": [*steps, 19], **more}
    yamlfile.write(run.config, config)
    return config


def test_a_milestone_outlives_its_checkpoint(run: Run, capsys: pytest.CaptureFixture[str]) -> None:  # noqa: F811
    marked(run, 6)
    run.plan(pause=0.1)
    assert run.go() == 0
    assert "global_step6 is kept for good" in capsys.readouterr().err
    assert milestones.kept(run.save) == [6]
    one, other = run.save / "global_step6", run.save / "milestones" / "global_step6"
    for path in (one / "mp_rank_00_model_states.pt", one / "configs" / "tiny.yml"):
        assert os.path.samefile(path, other / path.relative_to(one))
    weights = (one / "mp_rank_00_model_states.pt").read_bytes()
    shutil.rmtree(one)  # as keep_last_n_checkpoints does
    assert (other / "mp_rank_00_model_states.pt").read_bytes() == weights
    assert checkpoints.find(other) == other and reader.load(checkpoints.kept_configs(other))["hidden_size"] == 64
    assert checkpoints.steps(run.save) == [12, 18, 20]  # and no run goes on from it by itself


def test_what_no_watcher_saw_is_kept_at_the_end(run: Run) -> None:  # noqa: F811
    marked(run, 6, 12)
    run.plan({"kind": "none", "late": True}, pause=0.0)  # all of its output comes when it has ended
    assert run.go() == 0
    assert milestones.kept(run.save) == [6, 12]


def test_a_milestone_of_an_abandoned_future_is_put_aside(run: Run, capsys: pytest.CaptureFixture[str]) -> None:  # noqa: F811
    marked(run, 12)
    run.plan({"kind": "nan", "at": 11, "late": True}, pause=0.0)
    assert run.go() == 4
    assert run.latest() == "global_step6" and milestones.kept(run.save) == []
    poisoned = run.save / "milestones" / "aside-global_step12" / "mp_rank_00_model_states.pt"
    before = poisoned.read_bytes()
    run.plan({}, {})
    assert run.go() == 0
    assert milestones.kept(run.save) == [12] and poisoned.read_bytes() == before
    assert not os.path.samefile(poisoned, run.save / "milestones" / "global_step12" / poisoned.name)
    assert "milestone 12 was moved to" in capsys.readouterr().err


def test_only_whole_ones(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    config = marked(run, 6, 12)
    run.plan(pause=0.0)
    assert run.go() == 0
    shutil.rmtree(run.save / "milestones")
    torn = run.save / "global_step12" / "mp_rank_00_model_states.pt"
    torn.write_bytes(torn.read_bytes()[:100])
    shutil.rmtree(run.save / "global_step6" / "configs")
    assert milestones.keep(run.save, config) == [] and not (run.save / "milestones").exists()

    def refused(*_: Any) -> None:
        raise OSError(95, "Operation not supported")

    shutil.copytree(run.save / "global_step12" / "configs", run.save / "global_step6" / "configs")
    monkeypatch.setattr(os, "link", refused)
    (said,) = milestones.keep(run.save, config)
    assert said.startswith("global_step6 cannot be kept for good (Operation not supported): copy it")
    assert milestones.kept(run.save) == []


def test_the_command_keeps_them_too(run: Run, capsys: pytest.CaptureFixture[str]) -> None:  # noqa: F811
    marked(run, 6)
    run.plan(pause=0.0)
    assert run.go() == 0
    shutil.rmtree(run.save / "milestones")
    capsys.readouterr()
    assert cli.run(command.main, [str(run.save), "--keep"]) == 0
    said = capsys.readouterr().out
    assert f"kept for good in {run.save / 'milestones'}: 6" in said and "global_step6 is kept for good" in said
    assert cli.run(command.main, [str(run.save), "--json"]) == 0
    assert '"milestones": [\n    6\n  ]' in capsys.readouterr().out


@pytest.mark.neox
@pytest.mark.slow
def test_gpt_neox_removes_the_others_and_decays_from_one(neox: Any, tmp_path: Path) -> None:
    """keep_last_n_checkpoints takes all but the newest two; the milestone is what a decay goes on from."""
    place = make_world(tmp_path / "world")
    environment = {**neox.environment, "GPT_NEOX_DIR": str(neox.root), "GPT_NEOX_PYTHON": str(neox.python)}
    environment["PYTHONPATH"] = os.pathsep.join([environment["PYTHONPATH"], str(REPO)])

    def train(path: Path) -> list[float]:
        log = path.with_suffix(".log")
        words = [sys.executable, "-m", "launch.deepy", "train.py", str(path), "--log", str(log)]
        done = subprocess.run(
            words, env=environment, capture_output=True, text=True, check=False, timeout=500, cwd=tmp_path
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return [float(loss) for loss in re.findall(r"lm_loss: (\S+)", log.read_text())]

    first = tmp_path / "run" / "stable.yml"
    given = {"model": "0-1M", "cluster": "local-cpu", "mixture": place.mixture, "catalogue": place.catalogue}
    made = write_config(ConfigOptions(output=first, tokens=40 * 8 * 128, schedule="wsd", **given))["config"]
    marks = {"extra_save_iters": [12, 39], "checkpoint_factor": 7, "keep_last_n_checkpoints": 2, "log_interval": 1}
    yamlfile.write(first, {**made, **marks})
    losses = train(first)
    save = Path(made["save"])
    assert checkpoints.steps(save) == [39, 40] and milestones.kept(save) == [12]
    second = tmp_path / "run" / "decay.yml"
    start = save / "milestones" / "global_step12"
    config = write_config(ConfigOptions(output=second, recipe="decay", start=start, decay=0.4))["config"]
    assert config["load"] == str(save / "milestones") and config["lr_decay_iters"] == 20
    assert train(second)[:2] == losses[12:14] and checkpoints.latest(config["save"]) == "global_step20"
