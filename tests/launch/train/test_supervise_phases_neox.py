"""A run in phases by the real GPT-NeoX: every sample that it reads, and its losses, whatever is killed around the switch."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from neox_world import REPO, make_world

from haigo import cli, yamlfile
from launch import configs
from launch.neox import phase_order, samples
from neox_configs import phases, reader

pytestmark = [pytest.mark.neox, pytest.mark.slow]
STEPS, SWITCH, EVERY, PORT = 60, 40, 15, 29671
RECORDED = Path(__file__).parents[1] / "neox" / "recorded"
MIXTURE = """
phases:
  - {tokens: 40960, weights: {news: 0.75, code: 0.25}}
  - {tokens: 20480, weights: {news: 0.3, code: 0.7}, schedule: decay}
"""


class Runs:
    """Runs of one list of phases, each with a save folder of its own."""

    def __init__(self, neox: Any, root: Path) -> None:
        self.neox, self.world = neox, make_world(root)
        (root / "phases.yml").write_text(MIXTURE)

    def config(self, name: str) -> Path:
        output = self.world.root / "run" / f"{name}.yml"
        words = ["--model", "0-1M", "--cluster", "local-cpu", "--catalogue", self.world.catalogue, "--output", output]
        assert cli.run(configs.main, list(map(str, [*words, "--mixture", self.world.root / "phases.yml"]))) == 0
        for (path,) in phases.expand([output]):
            yamlfile.write(path, {**yamlfile.read(path), "checkpoint_factor": EVERY, "master_port": PORT})
        return output

    def start(self, config: Path) -> subprocess.Popen[str]:
        environment = {**self.neox.environment, "GPT_NEOX_DIR": str(self.neox.root)}
        environment["GPT_NEOX_PYTHON"] = str(self.neox.python)
        environment["RECORD_SAMPLES"] = str(self.samples(config))
        environment["PYTHONPATH"] = os.pathsep.join([str(RECORDED), environment.get("PYTHONPATH", ""), str(REPO)])
        words = ["-m", "launch.deepy", "train.py", str(config), "--gpus", "1", "--restart-wait", "1"]
        return subprocess.Popen(
            [sys.executable, *words], env=environment, cwd=self.neox.root.parent, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    def to_the_end(self, config: Path) -> None:
        process = self.start(config)
        said = process.communicate(timeout=600)[0]
        assert process.returncode == 0, said + self.log(config)[-3000:]

    def samples(self, config: Path) -> Path:
        return config.with_suffix(".samples")

    def folder(self, config: Path) -> Path:
        return config.parent / "checkpoints" / config.stem / "haigo"

    def log(self, config: Path) -> str:
        path = self.folder(config) / "output.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def curve(self, config: Path) -> dict[int, str]:
        """Step -> loss as it is printed; of a step done twice the second, which is what the weights come from."""
        return {int(step): loss for step, loss in re.findall(r"iteration\s+(\d+)/.*?lm_loss: (\S+)", self.log(config))}

    def read(self, config: Path) -> dict[int, str]:
        """Number of a sample -> its tokens' digest, of what was read last under that number, and no number with two digests."""
        rows = [line.split() for line in self.samples(config).read_text().splitlines()]
        found = {int(row[1]): row[4] for row in rows}
        assert {(int(row[1]), row[4]) for row in rows} == set(found.items())  # what is done twice reads the same again
        return found

    def kill_all(self, config: Path, process: subprocess.Popen[str]) -> None:
        process.kill()
        process.communicate()
        child = json.loads((self.folder(config) / "child.json").read_text())
        for pid in {int(child["pid"]), *_ranks(int(child["pid"]))}:
            with contextlib.suppress(ProcessLookupError):  # its end has come
                os.kill(pid, signal.SIGKILL)

    def wait(self, config: Path, text: str) -> None:
        deadline = time.monotonic() + 500
        while time.monotonic() < deadline:
            if text in self.log(config):
                return
            time.sleep(0.02)
        raise AssertionError(self.log(config)[-3000:])


def _ranks(group: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if group in (int(fields[2]), int(fields[3])):  # its group, its session
            found.append(int(stat.parent.name))
    return found


@pytest.fixture(scope="module")
def runs(neox: Any, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return Runs(neox, tmp_path_factory.mktemp("phases"))


def test_what_is_read_is_what_is_due_and_no_kill_changes_it(runs: Runs) -> None:
    plain = runs.config("unbroken")
    runs.to_the_end(plain)
    due = {}
    for paths in phases.expand([plain]):
        config = reader.load(paths)
        first, last = phase_order.phase_of(config)["steps"]
        for sample in samples.first_samples(config, (last - first) * config["train_batch_size"]):
            due[sample["sample"]] = sample["sha256"]
    assert runs.read(plain) == due and sorted(due) == list(range(STEPS * 8))
    curve = runs.curve(plain)
    assert sorted(curve) == list(range(1, STEPS + 1))

    broken = runs.config("broken")
    for step in (SWITCH - 3, SWITCH, SWITCH + 1, 52):
        process = runs.start(broken)
        if step == SWITCH:
            deadline = time.monotonic() + 500  # the first phase is done, and the second has just been started
            while json.loads((runs.folder(broken) / "start.json").read_text())["step"] != SWITCH:
                assert time.monotonic() < deadline and process.poll() is None
                time.sleep(0.01)
        else:
            runs.wait(broken, f"iteration {step:8d}/")
        runs.kill_all(broken, process)
    runs.to_the_end(broken)
    assert runs.read(broken) == due
    assert runs.curve(broken) == curve
