"""The script of launch.pbs, run by bash as PBS would: with a PBS_NODEFILE, and pbsdsh and qsub that are played."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from neox_world import World
from shared_data import data_of

from haigo import cli, yamlfile
from launch import pbs
from launch.plan.config import write_config
from launch.plan.options import ConfigOptions

DATA = data_of(__file__)

# stands in for Haigo: says what it was called with and where, and ends as it is told
PYTHON = """#!/bin/bash
words="$*"
echo "$words" >> "$PLAY/calls"
echo "$MASTER_ADDR $MASTER_PORT ${SECRET:-none} $PWD" >> "$PLAY/seen"
case "$words" in *"--node-rank 0"*) ;; *) exit 0 ;; esac
trap 'echo USR1 >> "$PLAY/signals"; exit 143' USR1
trap 'echo TERM >> "$PLAY/signals"; exit 143' TERM
if [ -e "$PLAY/stay" ]; then for i in $(seq 600); do sleep 0.1; done; fi
exit "$(cat "$PLAY/code" 2> /dev/null || echo 0)"
"""
# a task of PBS has hardly any environment
PBSDSH = '#!/bin/bash\necho "$1 $2" >> "$PLAY/tasks"\nshift 3\nexec env -i PLAY="$PLAY" PATH=/usr/bin:/bin "$@"\n'
QSUB = '#!/bin/bash\necho "$*" >> "$PLAY/submitted"\n[ ! -e "$PLAY/no-qsub" ] && echo 4712.head\n'


class Job:
    """A job script, and a PBS that is played."""

    def __init__(self, root: Path, config: Path) -> None:
        self.root, self.config, self.play = root, config, root / "play"
        self.play.mkdir()
        self.script = root / "jobs of mine" / "job.pbs"
        for name, text in (("python", PYTHON), ("pbsdsh", PBSDSH), ("qsub", QSUB)):
            (self.play / name).write_text(text)
            (self.play / name).chmod(0o755)

    def write(self, *words: str) -> str:
        given = [
            str(self.config),
            "--nodes",
            "2",
            "--gpus-per-node",
            "2",
            "--time",
            "1:00:00",
            "--output",
            str(self.script),
        ]
        assert cli.run(pbs.main, [*given, *words]) == 0
        text = self.script.read_text()
        self.script.write_text(text.replace(f"python={sys.executable}", f"python={self.play / 'python'}"))
        return text

    def start(self, hosts: str = "node1 node1 node2 node2", **more: str) -> subprocess.Popen[str]:
        nodefile = self.root / "nodefile"
        nodefile.write_text("".join(f"{host}.cluster\n" for host in hosts.split()))
        environment = {
            "PATH": f"{self.play}:{os.environ['PATH']}",
            "PLAY": str(self.play),
            "PBS_NODEFILE": str(nodefile),
        }
        environment |= {"PBS_JOBID": "4711.head", "SECRET": "a b'c", **more}
        return subprocess.Popen(["bash", str(self.script)], env=environment, text=True, start_new_session=True)

    def said(self, name: str) -> list[str]:
        return (self.play / name).read_text().splitlines() if (self.play / name).exists() else []

    @property
    def log(self) -> str:
        return (self.script.parent / "tiny-4711.log").read_text()

    def wait_for(self, name: str) -> None:
        end = time.monotonic() + 60
        while not self.said(name):
            assert time.monotonic() < end, self.log
            time.sleep(0.05)


@pytest.fixture
def job(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Job:
    monkeypatch.setenv("GPT_NEOX_DIR", "/somewhere/gpt neox")
    config = world.root / "run" / "tiny.yml"
    given: dict[str, Any] = {"mixture": world.mixture, "catalogue": world.catalogue, "tokens": 40_960}
    write_config(ConfigOptions(output=config, model="0-1M", cluster="local-cpu", **given))
    made = {key: value for key, value in yamlfile.read(config).items() if key != "num_gpus"}
    yamlfile.write(config, {**made, "train_micro_batch_size_per_gpu": made["train_batch_size"] // 4})
    return Job(tmp_path, config)


def test_every_node_runs_its_part(job: Job) -> None:
    job.write()
    assert job.start().wait(timeout=120) == 0, job.log
    assert job.said("tasks") == ["-n 2"]  # the first slot of the second host
    first, second = sorted(job.said("calls"), key=lambda line: "--node-rank 1" in line)
    common = f"-m launch.deepy train.py {job.config} --every-node --nnodes 2 --nproc-per-node 2 --node-rank"
    assert first.startswith(f"{common} 0") and "--grace-seconds 240" in first and second == f"{common} 1"
    # the other node has the first one's environment, without a file that stays
    assert len(set(job.said("seen"))) == 1 and job.said("seen")[0].startswith("node1.cluster 24711 a b'c ")
    assert not (job.script.parent / "pbs-4711" / "environment").exists()
    assert not job.said("submitted") and "ended with 0" in job.log


def test_the_time_limit_submits_it_again(job: Job) -> None:
    job.write("--time", "0:00:10", "--before-end", "9")
    (job.play / "stay").touch()
    assert job.start().wait(timeout=120) == 143
    assert job.said("signals") == ["USR1"]
    assert job.said("submitted") == [f"-W depend=afterany:4711.head -v HAIGO_START=2 {job.script}"]
    assert "goes on in job 4712.head" in job.log
    job.start(HAIGO_START="101").wait(timeout=120)
    assert len(job.said("submitted")) == 1 and "submitted again 100 times already" in job.log
    (job.play / "no-qsub").touch()
    job.start().wait(timeout=120)
    assert "this node submits no jobs" in job.log


def test_a_job_that_is_deleted_stays_so(job: Job) -> None:
    job.write()
    (job.play / "stay").touch()
    running = job.start()
    job.wait_for("calls")
    time.sleep(0.3)
    os.kill(running.pid, signal.SIGTERM)
    assert running.wait(timeout=120) == 143 and job.said("signals") == ["TERM"] and not job.said("submitted")


@pytest.mark.parametrize(("hosts", "said"), [("node1 node1", "PBS gave 1 hosts"), ("a b c", "PBS gave 3 hosts")])
def test_other_hosts_than_asked_for(job: Job, hosts: str, said: str) -> None:
    job.write()
    assert job.start(hosts).wait(timeout=60) == 2
    assert said in job.log and not job.said("calls")


@pytest.mark.parametrize("case", DATA["directives"], ids=lambda case: case["name"])
def test_what_pbs_is_asked_for(job: Job, case: dict[str, Any]) -> None:
    lines = [line for line in job.write(*case["words"]).splitlines() if line.startswith("#PBS")]
    assert lines[: len(case["lines"])] == [f"#PBS {line}" for line in case["lines"]]


@pytest.mark.parametrize("case", DATA["refused"], ids=lambda case: case["said"])
def test_what_pbs_cannot_take(job: Job, capsys: pytest.CaptureFixture[str], case: dict[str, Any]) -> None:
    yamlfile.write(job.config, {**yamlfile.read(job.config), **case.get("config", {})})
    given = [str(job.config), "--nodes", "2", "--gpus-per-node", "2", "--time", "1:00:00", "--output", str(job.script)]
    assert cli.run(pbs.main, [*given, *case["words"]]) == case["code"]
    assert case["said"] in capsys.readouterr().err and not job.script.exists()


def test_qsub_takes_it(job: Job, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    words = [str(job.config), "--nodes", "2", "--gpus-per-node", "2", "--time", "1:00:00", "--output", str(job.script)]
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    assert cli.run(pbs.main, [*words, "--submit"]) == 2 and "no qsub here" in capsys.readouterr().err
    monkeypatch.setenv("PATH", f"{job.play}:/usr/bin:/bin")
    monkeypatch.setenv("PLAY", str(job.play))
    assert cli.run(pbs.main, [*words, "--submit", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["job"] == "4712.head"


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not here")
def test_shellcheck_has_nothing_to_say(job: Job) -> None:
    job.write()
    done = subprocess.run(
        ["shellcheck", "-s", "bash", "-S", "warning", str(job.script)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
