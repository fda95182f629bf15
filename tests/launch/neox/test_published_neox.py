"""The real GPT-NeoX starts from published weights: the loss of its first step is transformers' on the same samples."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import convert_world
import published_world
import pytest
from neox_world import LOSSLESS, REPO, make_world
from published_world import GOLDEN

from haigo import cli, files
from launch import configs
from launch.neox.conversion import to_neox
from neox_configs import reader

pytestmark = [pytest.mark.neox, pytest.mark.slow]


def test_the_first_loss_is_transformers_in_every_set_up(neox: Any, tmp_path: Path) -> None:
    known = files.read_json(GOLDEN)
    found = published_world.train(tmp_path, neox.root, neox.python, neox.environment)
    assert found.keys() == known.keys() and len(found) >= 13
    for name, one in found.items():
        print(f"{name}: GPT-NeoX {one['loss']:.6f}, transformers {one['ours']:.6f}")
        assert abs(one["loss"] - one["ours"]) < 1e-6 * one["ours"], name
        assert abs(one["loss"] - known[name]["loss"]) < 1e-6 * one["ours"], name
        assert one["digest"] == known[name]["digest"], name


@pytest.mark.parametrize("name", ["gpt", "llama"])
def test_the_recipe_s_config_trains_on(name: str, neox: Any, tmp_path: Path) -> None:
    """`launch.configs --recipe continued --from` of a converted model, started by launch.deepy, and back with its log."""
    place = make_world(tmp_path / "world", **LOSSLESS)
    hf, save, out = tmp_path / "hf", tmp_path / "base", tmp_path / "run" / "more.yml"
    published_world.model(name, hf)
    published_world.checkpoint(name, hf, save)
    asked = [
        "--recipe",
        "continued",
        "--from",
        str(save),
        "--model",
        str(save / to_neox.TAG / "configs" / to_neox.MODEL),
    ]
    asked += ["--mixture", str(place.mixture), "--catalogue", str(place.catalogue), "--cluster", "local-cpu"]
    asked += ["--tokens", str(4 * 6 * 32), "--seq-length", "32", "--global-batch-tokens", str(4 * 32)]
    assert cli.run(configs.main, [*asked, "--output", str(out)]) == cli.OK
    environment = {**neox.environment, "GPT_NEOX_DIR": str(neox.root), "GPT_NEOX_PYTHON": str(neox.python)}
    environment["PYTHONPATH"] = os.pathsep.join([environment.get("PYTHONPATH", ""), str(REPO)])
    done = subprocess.run(
        [sys.executable, "-m", "launch.deepy", "train.py", str(out), "--log", str(tmp_path / "log")],
        env=environment, capture_output=True, text=True, check=False, timeout=400, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    losses = re.findall(r"lm_loss: (\S+)", (tmp_path / "log").read_text())
    config = reader.load(out)
    assert config["train_batch_size"] == published_world.BATCH and len(losses) == config["train_iters"]
    ours = published_world.transformers_loss(hf, config)
    assert abs(float(losses[0]) - ours) < 1e-5 * ours
    made = convert_world.converted(Path(config["save"]), tmp_path / "trained", log=tmp_path / "log", vocab="cut")
    assert {one["status"] for one in made["checks"]} == {"ok"} and any("loss" in one["name"] for one in made["checks"])
    assert made["model"]["model_type"] == published_world.SETUPS[name]["config"]["model_type"]
