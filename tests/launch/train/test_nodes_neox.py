"""The real GPT-NeoX with its nodes started one by one, without ssh: the losses of its usual launch, also when killed."""

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
from launch.neox import ports
from launch.plan.config import write_config
from launch.plan.options import ConfigOptions

pytestmark = [pytest.mark.neox, pytest.mark.slow]
STEPS, EVERY = 60, 20


@dataclass
class Nodes:
    """Runs of one config on two nodes of one GPU each, all of them this machine."""

    neox: Any
    world: World

    def config(self, name: str, **more: Any) -> Path:
        output = self.world.root / "run" / f"{name}.yml"
        given = {
            "model": "0-1M",
            "cluster": "local-cpu",
            "mixture": self.world.mixture,
            "catalogue": self.world.catalogue,
        }
        made = write_config(ConfigOptions(output=output, tokens=STEPS * 8 * 128, **given))["config"]
        changes = {"train_micro_batch_size_per_gpu": 4, "zero_optimization": {"stage": 1}, "log_interval": 1}
        changes |= {"checkpoint_factor": EVERY + 1, "eval_iters": 0, **more}
        made.pop("num_gpus", None)
        yamlfile.write(output, {**made, **changes})
        return output

    def environment(self, cards: int, **more: str) -> dict[str, str]:
        made = {**self.neox.environment, "GPT_NEOX_DIR": str(self.neox.root), "FAKE_CUDA_COUNT": str(cards), **more}
        made["GPT_NEOX_PYTHON"] = str(self.neox.python)
        made["PYTHONPATH"] = os.pathsep.join([made["PYTHONPATH"], str(REPO)])
        return made

    def usual(self, config: Path) -> dict[int, str]:
        """By DeepSpeed's own launcher, both ranks on one node."""
        words = [sys.executable, "-m", "launch.deepy", "train.py", str(config), "--gpus", "2"]
        done = subprocess.run(words, env=self.environment(2), capture_output=True, text=True, timeout=600, check=False)
        assert done.returncode == 0, done.stderr + self.log(config)[-3000:]
        return self.curve(config)

    def node(self, config: Path, rank: int, port: int, *words: str) -> subprocess.Popen[str]:
        told = {"NNODES": "2", "NODE_RANK": str(rank), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        argv = [sys.executable, "-m", "launch.deepy", "train.py", str(config), "--every-node", "--nproc-per-node", "1"]
        return subprocess.Popen(
            [*argv, "--restart-wait", "1", *words],
            env=self.environment(1, **told), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    def folder(self, config: Path) -> Path:
        return config.parent / "checkpoints" / config.stem / "haigo"

    def log(self, config: Path) -> str:
        path = self.folder(config) / "output.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def curve(self, config: Path) -> dict[int, str]:
        return losses(self.log(config))

    def wait_for(self, config: Path, step: int) -> None:
        deadline = time.monotonic() + 400
        while f"iteration {step:8d}/" not in self.log(config):
            assert time.monotonic() < deadline, self.log(config)[-3000:]
            time.sleep(0.05)

    def finished(self, config: Path, *started: subprocess.Popen[str]) -> str:
        said = [one.communicate(timeout=600)[0] for one in started]
        assert [one.returncode for one in started] == [0] * len(started), "\n".join(said) + self.log(config)[-3000:]
        return "\n".join(said)


def losses(log: str) -> dict[int, str]:
    """Step -> loss as it is printed; of a step done twice the second."""
    return {int(step): loss for step, loss in re.findall(r"iteration\s+(\d+)/.*?lm_loss: (\S+)", log)}


@pytest.fixture(scope="module")
def nodes(neox: Any, tmp_path_factory: pytest.TempPathFactory) -> Nodes:
    return Nodes(neox, make_world(tmp_path_factory.mktemp("nodes")))


@pytest.fixture(scope="module")
def usual(nodes: Nodes) -> dict[int, str]:
    curve = nodes.usual(nodes.config("usual", num_gpus=2))
    assert sorted(curve) == list(range(1, STEPS + 1))
    return curve


def test_two_nodes_learn_what_one_does(nodes: Nodes, usual: dict[int, str]) -> None:
    config, port = nodes.config("plain"), ports.free()
    later = nodes.node(config, 1, port)  # before the first one: it waits
    said = nodes.finished(config, nodes.node(config, 0, port), later)
    assert nodes.curve(config) == usual
    assert "node 1 of 2 the first node ended with 0" in said and "finished: step 60" in said
    again = nodes.finished(config, nodes.node(config, 0, port), nodes.node(config, 1, port))
    assert "Nothing was started" in again and nodes.curve(config) == usual


@pytest.mark.parametrize("victim", [0, 1])
def test_a_node_that_is_killed(nodes: Nodes, usual: dict[int, str], victim: int) -> None:
    """All of a node, as when its pod is gone: the rest goes on from the last checkpoint once it is started again."""
    config, port = nodes.config(f"killed-{victim}"), ports.free()
    started = [nodes.node(config, rank, port) for rank in (0, 1)]
    nodes.wait_for(config, EVERY + 8)
    own = nodes.folder(config) / ("" if victim == 0 else "nodes/1")
    group = int(json.loads((own / "child.json").read_text())["pid"])
    started[victim].send_signal(signal.SIGKILL)
    os.killpg(group, signal.SIGKILL)
    started[victim].communicate(timeout=60)
    started[victim] = nodes.node(config, victim, port)
    nodes.finished(config, *started)
    assert nodes.curve(config) == usual
    steps = re.findall(r"iteration\s+(\d+)/", nodes.log(config))
    assert (
        steps.count(str(EVERY + 2)) == 2 and steps.count(str(EVERY)) == 1
    )  # from the checkpoint, not from the beginning


def test_all_are_stopped_with_the_first(nodes: Nodes, usual: dict[int, str]) -> None:
    config, port = nodes.config("stopped"), ports.free()
    started = [nodes.node(config, rank, port) for rank in (0, 1)]
    nodes.wait_for(config, EVERY + 8)
    started[0].terminate()
    said = [one.communicate(timeout=120)[0] for one in started]
    assert [one.returncode for one in started] == [143, 143], said
    nodes.finished(config, *(nodes.node(config, rank, port) for rank in (0, 1)))
    assert nodes.curve(config) == usual


def test_torchrun_runs_what_the_dry_run_shows(nodes: Nodes, usual: dict[int, str], tmp_path: Path) -> None:
    config, port = nodes.config("torchrun"), ports.free()
    shown = nodes.node(config, 0, port, "--dry-run", "--json").communicate(timeout=120)[0]
    plan = json.loads(shown[shown.index("{") :])
    torchrun = str(Path(nodes.neox.python).with_name("torchrun"))
    logs = [tmp_path / f"{rank}.log" for rank in (0, 1)]
    running = []
    for rank, log in enumerate(logs):
        with open(log, "wb") as output:
            words = [str(nodes.neox.python), torchrun, *plan["torchrun"][rank][1:]]
            running.append(
                subprocess.Popen(words, cwd=plan["folder"], env=nodes.environment(1), stdout=output, stderr=output)
            )
    assert [one.wait(timeout=600) for one in running] == [0, 0], logs[0].read_text()[-3000:]
    assert losses(logs[0].read_text(errors="replace")) == usual


def test_a_pbs_job(nodes: Nodes, usual: dict[int, str], tmp_path: Path) -> None:
    """The script of launch.pbs, with a pbsdsh that starts its task without an environment, as PBS' own does."""
    config, script = nodes.config("pbs"), tmp_path / "job.pbs"
    environment = nodes.environment(1, PBS_JOBID="4711.head", PBS_NODEFILE=str(tmp_path / "nodes"))
    environment["PATH"] = f"{tmp_path}:{environment['PATH']}"
    (tmp_path / "pbsdsh").write_text('#!/bin/bash\nshift 3\nexec env -i PATH=/usr/bin:/bin "$@"\n')
    (tmp_path / "pbsdsh").chmod(0o755)
    (tmp_path / "nodes").write_text("127.0.0.1\nlocalhost\n")
    words = [str(config), "--nodes", "2", "--gpus-per-node", "1", "--time", "1:00:00", "--output", str(script)]
    written = subprocess.run([sys.executable, "-m", "launch.pbs", *words], env=environment, timeout=120, check=False)
    assert written.returncode == 0
    done = subprocess.run(["bash", str(script)], env=environment, timeout=600, check=False)
    log = (tmp_path / "pbs-4711.log").read_text()
    assert done.returncode == 0, log + nodes.log(config)[-2000:]
    assert losses((tmp_path / "pbs-4711" / "train.log").read_text()) == usual and "start 1" in log
