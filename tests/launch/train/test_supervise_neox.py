"""Supervised runs of the real GPT-NeoX: what is killed or torn comes to the same losses as a run that nothing happened to."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from neox_world import REPO, World, make_world

from haigo import yamlfile
from launch.neox import checkpoints
from launch.plan.config import write_config
from launch.plan.options import ConfigOptions

pytestmark = [pytest.mark.neox, pytest.mark.slow]
STEPS, EVERY, PORT = 120, 25, 29621


@dataclass
class Runs:
    """Runs of one config with two ranks, each with a save folder of its own."""

    neox: Any
    world: World

    def config(self, name: str, **more: Any) -> Path:
        output = self.world.root / "run" / f"{name}.yml"
        made = write_config(
            ConfigOptions(
                output=output,
                model="0-1M",
                cluster="local-cpu",
                mixture=self.world.mixture,
                catalogue=self.world.catalogue,
                tokens=STEPS * 8 * 128,
            )
        )
        # two ranks that share the optimizer, so that a checkpoint has several files and a log has two writers
        changes = {"num_gpus": 2, "train_micro_batch_size_per_gpu": 4, "zero_optimization": {"stage": 1}}
        changes |= {"checkpoint_factor": EVERY, "log_interval": 1, "master_port": PORT}
        made["config"].pop("extra_save_iters", None)  # milestones have a test of their own
        yamlfile.write(output, {**made["config"], **changes, **more})
        return output

    def start(self, config: Path, *words: str) -> subprocess.Popen[str]:
        environment = {**self.neox.environment, "GPT_NEOX_DIR": str(self.neox.root), "FAKE_CUDA_COUNT": "2"}
        environment["GPT_NEOX_PYTHON"] = str(self.neox.python)
        environment["PYTHONPATH"] = os.pathsep.join([environment["PYTHONPATH"], str(REPO)])
        return subprocess.Popen(
            [
                sys.executable,
                "-m",
                "launch.deepy",
                "train.py",
                str(config),
                "--gpus",
                "2",
                "--restart-wait",
                "1",
                *words,
            ],
            env=environment,
            cwd=self.neox.root.parent,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def folder(self, config: Path) -> Path:
        return config.parent / "checkpoints" / config.stem

    def log(self, config: Path) -> str:
        path = self.folder(config) / "haigo" / "output.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def curve(self, config: Path) -> dict[int, str]:
        """Step -> loss as it is printed; of a step done twice the second, which is what the weights come from."""
        return {int(step): loss for step, loss in re.findall(r"iteration\s+(\d+)/.*?lm_loss: (\S+)", self.log(config))}

    def wait_for(self, config: Path, step: int) -> None:
        deadline = time.monotonic() + 400
        while time.monotonic() < deadline:
            if f"iteration {step:8d}/" in self.log(config):
                return
            time.sleep(0.02)
        raise AssertionError(self.log(config)[-3000:])


@pytest.fixture(scope="module")
def runs(neox: Any, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return Runs(neox, make_world(tmp_path_factory.mktemp("supervised")))


@pytest.fixture(scope="module")
def unbroken(runs: Runs) -> dict[int, str]:
    config = runs.config("unbroken")
    process = runs.start(config)
    said = process.communicate(timeout=400)[0]
    assert process.returncode == 0, said + runs.log(config)[-3000:]
    curve = runs.curve(config)
    assert sorted(curve) == list(range(1, STEPS + 1))
    # each rank has a log of its own, and the common one says who wrote what
    names = sorted(path.name.partition("_")[2] for path in (runs.folder(config) / "haigo" / "ranks").iterdir())
    assert names == ["rank0.log", "rank1.log"]
    assert "[rank 0] " in runs.log(config) and "[rank 1] " in runs.log(config)
    found = checkpoints.survey(runs.folder(config), checkpoints.layout(yamlfile.read(config), 2))
    assert [(one.step, one.problem) for one in found] == [(50, None), (75, None), (100, None), (120, None)]
    return curve


def rank_pids(folder: Path) -> list[int]:
    group = int(json.loads((folder / "haigo" / "child.json").read_text())["pid"])
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
            words = (stat.parent / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        own = b"train.py" in words and b"deepspeed.launcher.launch" not in words
        if own and int(fields[2]) == group and any(word.startswith(b"--local_rank") for word in words):
            found.append(int(stat.parent.name))
    return sorted(found)


def test_a_killed_rank(runs: Runs, unbroken: dict[int, str]) -> None:
    config = runs.config("killed")
    process = runs.start(config)
    runs.wait_for(config, 60)
    pids = rank_pids(runs.folder(config))
    assert len(pids) == 2
    os.kill(pids[1], signal.SIGKILL)
    said = process.communicate(timeout=400)[0]
    assert process.returncode == 0, said + runs.log(config)[-3000:]
    assert "ended with 247: a rank was killed" in said and "starting again from global_step50" in said
    assert runs.curve(config) == unbroken


def test_a_torn_checkpoint(runs: Runs, unbroken: dict[int, str]) -> None:
    config = runs.config("torn")
    process = runs.start(config)
    runs.wait_for(config, 55)
    process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=200)[0]
    last = re.search(r"since global_step(\d+) have to be done again", said)  # a fast machine goes on a while
    assert process.returncode == 143 and last is not None, said
    shard = runs.folder(config) / f"global_step{last[1]}" / "zero_pp_rank_1_mp_rank_00_optim_states.pt"
    shard.write_bytes(shard.read_bytes()[:-100])
    process = runs.start(config)
    said = process.communicate(timeout=400)[0]
    assert process.returncode == 0, said + runs.log(config)[-3000:]
    assert (
        "zero_pp_rank_1_mp_rank_00_optim_states.pt is cut short" in said
        and f"started from step {int(last[1]) - EVERY}" in said
    )
    assert runs.curve(config) == unbroken


def test_a_killed_watcher_and_the_same_command_again(runs: Runs, unbroken: dict[int, str]) -> None:
    config = runs.config("watched")
    process = runs.start(config)
    runs.wait_for(config, 10)
    process.kill()
    process.communicate(timeout=300)
    process = runs.start(config)
    said = process.communicate(timeout=400)[0]
    assert process.returncode == 0, said
    assert "this run still trains" in said
    assert runs.curve(config) == unbroken
    assert len(json.loads((runs.folder(config) / "haigo_run.json").read_text())["starts"]) == 1
    # and once more: nothing is trained, and no file is touched
    before = {path: path.stat().st_mtime_ns for path in runs.folder(config).rglob("*.pt")}
    process = runs.start(config)
    said = process.communicate(timeout=300)[0]
    assert process.returncode == 0 and "this run is finished" in said
    assert {path: path.stat().st_mtime_ns for path in runs.folder(config).rglob("*.pt")} == before
