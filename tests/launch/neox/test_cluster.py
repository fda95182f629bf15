"""On a real (private) Slurm, with real pdsh and mpirun: jobs, hostfiles, and what arrives of odd values.

GPT-NeoX is a small checkout whose deepy.py starts what the real one starts (`launch.neox.launcher`, which
test_real_deepy.py compares with the real one) and whose train.py writes down what it sees.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from neox_world import REPO, World
from private_slurm import Slurm

from haigo import cli, yamlfile
from haigo.cli import HaigoError
from launch import slurm as slurm_command
from launch.neox import batch_job, hostfile, nodelist, sbatch
from launch.neox import launch_command as neox_command
from launch.neox import launcher as runner_command
from launch.plan.config import write_config
from launch.plan.options import ConfigOptions

_DEEPY = """
import json, os, subprocess, sys
sys.path.insert(0, {repo!r})
from pathlib import Path
from launch.neox import launch_command as neox_command
from launch.neox import launcher as runner_command
words = sys.argv[1:]
at = words.index("--hostfile")
over = {{"user_script": words[0], "hostfile": words[at + 1]}}
made = neox_command.main_arguments([Path(name) for name in words[1:at]], over, os.environ)
ran = runner_command.executed(made.words, os.environ, python=sys.executable, folder=os.getcwd(), flavour="deeperspeed")
sys.exit(subprocess.run(ran.command).returncode)
"""
_TRAIN = """
import base64, json, os, pathlib, sys, time, zipfile
rank = os.environ.get("SLURM_PROCID") or os.environ.get("OMPI_COMM_WORLD_RANK") or "0"
out = pathlib.Path(os.environ["TRAIN_OUT"])
start = os.environ.get("SLURM_RESTART_COUNT", "0")
job = os.environ.get("SLURM_ARRAY_TASK_ID", "")
config = json.loads(base64.urlsafe_b64decode(sys.argv[sys.argv.index("--megatron_config") + 1]))
told = {"rank": rank, "argv": sys.argv[1:], "env": dict(os.environ), "config": config}
(out / f"{job}{start}-{rank}.part").write_text(json.dumps(told))
(out / f"{job}{start}-{rank}.part").rename(out / f"{job}{start}-{rank}.json")
save = pathlib.Path(config["save"])
if rank == "0":
    for step in range(1, config["train_iters"] + 1):
        print(f" samples/sec: 1.0 | iteration {step:8d}/{config['train_iters']:8d} | learning rate: 1.0E-04 | lm_loss: 2.0 |"
              " number of nan iterations:   0 |", flush=True)
    save.mkdir(parents=True, exist_ok=True)
    tag = save / f"global_step{config['train_iters']}"
    tag.mkdir(exist_ok=True)
    with zipfile.ZipFile(tag / "mp_rank_00_model_states.pt", "w") as file:
        file.writestr("archive/data.pkl", "weights")
    (save / "latest").write_text(f"global_step{config['train_iters']}")
"""


@pytest.fixture
def checkout(fake_neox: Path) -> Path:
    (fake_neox / "deepy.py").write_text(_DEEPY.format(repo=str(REPO)))
    (fake_neox / "train.py").write_text(_TRAIN)
    return fake_neox


@pytest.fixture
def config(world: World) -> Path:
    output = world.root / "run" / "tiny.yml"
    arguments = {"mixture": world.mixture, "catalogue": world.catalogue, "tokens": 20_480}
    content = dict(write_config(ConfigOptions(output=output, model="0-1M", cluster="local-cpu", **arguments))["config"])
    for name in ("num_gpus", "train_batch_size"):
        content.pop(name)
    yamlfile.write(output, {**content, "train_micro_batch_size_per_gpu": 2})
    return output


@pytest.fixture
def job(slurm: Slurm, checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Slurm:
    """The cluster as seen by a user who has GPT-NeoX: variables set, the current folder is the project."""
    out = tmp_path / "out"
    out.mkdir()
    monkeypatch.setenv("TRAIN_OUT", str(out))
    for name in ("SLURM_CONF", "PATH"):
        monkeypatch.setenv(name, slurm.environment[name])
    only = tmp_path / "only"  # of GPT-NeoX's packages only DeepSpeed is made to look installed: Haigo runs here too
    shutil.copytree(checkout / "site" / "deepspeed", only / "deepspeed")
    monkeypatch.setenv("PYTHONPATH", str(only))
    monkeypatch.chdir(REPO)
    return slurm


def submit(*words: str | Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    assert cli.run(slurm_command.main, [*map(str, words), "--submit", "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def ranks(folder: Path, start: str = "0") -> list[dict[str, Any]]:
    return [json.loads(file.read_text()) for file in sorted(folder.glob(f"{start}-*.json"))]


def log_of(folder: Path) -> str:
    return "\n".join(file.read_text() for file in sorted(folder.rglob("*.log")))


def test_a_job_on_two_nodes(
    job: Slurm, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = {"NCCL_SOCKET_IFNAME": "^lo,docker0", "NCCL_ODD": 'it\'s "a" $HOME `x` \\ b', "PYTHON_C": "a,b=c"}
    for name, value in odd.items():
        monkeypatch.setenv(name, value)
    folder = tmp_path / 'logs "of" it\'s'
    folder.mkdir()
    comment = 'say "hi", it\'s $HOME \\ # no'
    words = [
        config,
        "--nodes",
        2,
        "--gpus-per-node",
        2,
        "--time",
        "10",
        "-o",
        folder / "job one.sbatch",
        "--comment",
        comment,
    ]
    told = submit(*words, capsys=capsys)
    shown = job.call("scontrol", "show", "job", told["job"]).stdout
    assert f"Comment={comment}" in shown and "Requeue=1" in shown
    assert job.wait(told["job"]) == "COMPLETED", log_of(folder)
    seen = ranks(tmp_path / "out")
    assert [one["rank"] for one in seen] == ["0", "1", "2", "3"]
    assert [one["env"]["SLURMD_NODENAME"] for one in seen] == ["node1", "node1", "node2", "node2"]
    (port,) = {int(one["env"]["MASTER_PORT"]) for one in seen}
    assert 20000 <= port < 65536  # below 30000, unless another test's Slurm has a job of this number on it now
    for one in seen:
        assert {name: one["env"][name] for name in odd} == odd
        assert one["env"]["MASTER_ADDR"] == "127.0.0.1"
        assert one["env"].get("CUDA_VISIBLE_DEVICES") == ("0,1" if job.numbered else None)
        assert one["config"]["deepspeed_slurm"] is True and one["config"]["launcher"] == "slurm"
        assert (one["config"]["global_num_gpus"], one["config"]["train_batch_size"]) == (4, 8)
        assert set(one["config"]["config_files"]) == {"tiny.yml", "job one-launcher.yml"}
    assert hostfile.read(folder / f"slurm-{told['job']}" / "hostfile") == {"node1": 2, "node2": 2}
    assert "lm_loss: 2.0" in log_of(folder)


def test_without_the_prolog_the_quotes_would_stay(job: Slurm, tmp_path: Path) -> None:
    """Why the script has a prolog: what DeeperSpeed writes reaches the tasks with its quotes."""
    exports = f"--export=ALL,NCCL_SOCKET_IFNAME={runner_command.written('eth0', 'deeperspeed')}"
    done = job.call("srun", "-n1", exports, "printenv", "NCCL_SOCKET_IFNAME")
    assert done.stdout.strip() == '"eth0"'
    cut = job.call("srun", "-n1", "--export=ALL,NCCL_SOCKET_IFNAME=eth0,eth1", "printenv", "NCCL_SOCKET_IFNAME")
    assert cut.stdout.strip() == "eth0"


class Trained:
    """A job whose training (tests/launch/fake_training.py under srun) writes checkpoints."""

    def __init__(self, job: Slurm, config: Path, folder: Path) -> None:
        self.job, self.config, self.folder = job, config, folder
        self.save = folder / "save"
        self.number = ""

    def submit(self, capsys: pytest.CaptureFixture[str], *words: str | Path) -> None:
        place = [self.config, "--nodes", "1", "--gpus-per-node", "1", "--time", "10", "-o", self.folder / "j.sbatch"]
        self.number = submit(*place, *words, capsys=capsys)["job"]

    def steps(self) -> list[int]:
        logs = sorted(self.folder.glob("slurm-*/train.log"))
        return [int(step) for log in logs for step in re.findall(r"iteration\s+(\d+)/", log.read_text())]

    def until(self, step: int) -> None:
        end = time.monotonic() + 120
        while step not in self.steps():
            assert time.monotonic() < end, log_of(self.folder) + self.job.state(self.number)
            time.sleep(0.2)

    def signal(self) -> None:
        assert self.job.call("scancel", "--batch", "--signal=USR1", self.number).returncode == 0


@pytest.fixture
def trained(job: Slurm, checkout: Path, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Trained:
    shutil.copy(Path(__file__).parents[1] / "fake_training.py", checkout / "train.py")
    one = Trained(job, config, tmp_path / "trained")
    one.folder.mkdir()
    plan = {"save": str(one.save), "iters": 40, "every": 6, "pause": 0.6}
    monkeypatch.setenv("FAKE_TRAINING", json.dumps(plan))
    keys = {
        "train_iters": 40,
        "lr_decay_iters": 40,
        "checkpoint_factor": 6,
        "save": str(one.save),
        "load": str(one.save),
    }
    yamlfile.write(config, {**yamlfile.read(config), **keys})
    return one


def test_near_its_end_a_job_waits_for_its_checkpoint_and_is_queued_again(
    trained: Trained, capsys: pytest.CaptureFixture[str]
) -> None:
    trained.submit(capsys)
    trained.until(8)
    trained.signal()
    assert trained.job.wait(trained.number, 180) == "COMPLETED", log_of(trained.folder)
    log = log_of(trained.folder)
    assert "waiting for the checkpoint of step" in log and f"job {trained.number} is back in the queue" in log
    assert "start 1," in log and "start 2," in log and "started from step" in log
    # not a step was done twice, whichever checkpoint a slow machine has come to
    assert trained.steps() == list(range(1, 41))
    starts = json.loads((trained.save / "haigo_run.json").read_text())["starts"]
    assert len(starts) == 2 and starts[1]["step"] % 6 == 0 and starts[1]["step"] >= 12


def test_a_job_that_cannot_wait_goes_on_from_its_last_whole_checkpoint(
    trained: Trained, capsys: pytest.CaptureFixture[str]
) -> None:
    # 12 seconds before the end leave 6 for all of it, and 5 of these are kept for stopping: no step is near enough
    trained.submit(capsys, "--before-end", "12")
    trained.until(14)
    torn = trained.save / "global_step12" / "mp_rank_00_model_states.pt"
    torn.write_bytes(torn.read_bytes()[:100])
    trained.signal()
    assert trained.job.wait(trained.number, 180) == "COMPLETED", log_of(trained.folder)
    log = log_of(trained.folder)
    starts = json.loads((trained.save / "haigo_run.json").read_text())["starts"]
    steps = trained.steps()
    back = next(at for at in range(1, len(steps)) if steps[at] <= steps[at - 1])
    assert [one["step"] for one in starts] == [0, steps[back] - 1], log
    assert steps[:back] == list(range(1, back + 1)) and steps[back:] == list(range(steps[back], 41))
    assert starts[1]["step"] in (6, 18, 24) and "back in the queue" in log


def test_a_cancelled_job_is_not_queued_again(trained: Trained, capsys: pytest.CaptureFixture[str]) -> None:
    trained.submit(capsys)
    trained.until(3)
    assert trained.job.call("scancel", trained.number).returncode == 0
    end = time.monotonic() + 240
    while trained.job.call("squeue", "-h", "-j", trained.number).stdout.strip():
        assert time.monotonic() < end, log_of(trained.folder)
        time.sleep(0.3)
    time.sleep(3)  # a requeued job would be pending again
    assert trained.job.state(trained.number) == "CANCELLED", log_of(trained.folder)


def test_requeues_are_counted(trained: Trained, capsys: pytest.CaptureFixture[str]) -> None:
    script = trained.folder / "j.sbatch"
    words = [trained.config, "--nodes", 1, "--gpus-per-node", 1, "--time", 10, "-o", script, "--max-requeues", 1]
    assert cli.run(slurm_command.main, [*map(str, words)]) == 0
    body = script.read_text()
    assert "requeues=1 grace=240" in body
    script.write_text(body.replace("requeues=1", "requeues=0"))  # as on the last start that is allowed
    trained.number = batch_job.submit(script, "sbatch", "--parsable")
    trained.until(9)
    trained.signal()
    assert trained.job.wait(trained.number, 120) == "FAILED", log_of(trained.folder)
    log = log_of(trained.folder)
    assert "queued again 0 times already, left" in log and "ended with 143" in log


@pytest.mark.parametrize(
    ("text", "value"),
    [("5", 300), ("5:30", 330), ("1:00:00", 3600), ("2-0", 172_800), ("1-1:30", 91_800), ("1-0:0:5", None), ("0", 0)],
)
def test_times_as_slurm_writes_them(text: str, value: int | None) -> None:
    if value is None:
        with pytest.raises(HaigoError):
            nodelist.seconds(text)
    else:
        assert nodelist.seconds(text) == value


def test_an_array_runs_every_config(
    job: Slurm, config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = yamlfile.read(config)
    paths = []
    for number in range(2):
        path = tmp_path / f"run {number}.yml"
        save = str(tmp_path / "save" / str(number))
        yamlfile.write(path, {**content, "seed": 100 + number, "save": save, "load": save})
        paths.append(path)
    words = [*paths, "--array", "--nodes", 1, "--gpus-per-node", 1, "--time", "10", "-o", tmp_path / "j.sbatch"]
    told = submit(*words, capsys=capsys)
    for number in range(2):
        assert job.wait(f"{told['job']}_{number}") == "COMPLETED", log_of(tmp_path)
        (one,) = ranks(tmp_path / "out", f"{number}0")
        assert one["config"]["seed"] == 100 + number


def test_a_hostfile_from_inside_an_allocation(job: Slurm, tmp_path: Path) -> None:
    file = tmp_path / "hosts"
    words = [sys.executable, "-m", "launch.hostfile", str(file), "--from", "job"]
    done = job.call("salloc", "-Q", "-N2", "--gpus-per-node=3", *words, cwd=REPO)
    assert done.returncode == 0, done.stderr
    assert hostfile.read(file) == {"node1": 3, "node2": 3}
    tasks = job.call("salloc", "-Q", "-N3", "-n6", *words, "--json", cwd=REPO)
    given = hostfile.read(file)
    assert tasks.returncode == 0 and sum(given.values()) == 6 and list(given) == ["node1", "node2", "node3"]
    outside = job.call(*words, cwd=REPO)
    assert outside.returncode == 2 and "SLURM_JOB_NODELIST is not set" in outside.stderr


NAMES = [
    "node[1-3,008-011]",
    "a,b,c",
    "gpu-[7,09-10]x[1-2],login",
    "x[9-11]",
    "r[0-1]c[5,3]n[1-2]",
    "a[0-2]b[0-1]c[0-1]d[0-1]",
]


@pytest.mark.parametrize("text", NAMES)
def test_node_lists_expand_as_scontrol_does(slurm: Slurm, text: str) -> None:
    told = slurm.call("scontrol", "show", "hostnames", text).stdout.split()
    assert nodelist.expand(text) == told
    back = slurm.call("scontrol", "show", "hostlist", ",".join(told)).stdout.strip()
    assert sorted(nodelist.expand(back)) == sorted(told)


@example(comment=" 0")
@example(comment="  ")
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(comment=st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=60))
def test_slurm_reads_back_every_comment(slurm: Slurm, tmp_path: Path, comment: str) -> None:
    script = tmp_path / "one.sbatch"
    script.write_text(f"#!/bin/bash\n#SBATCH --comment={sbatch.quoted(comment)}\n#SBATCH --output=/dev/null\ntrue\n")
    done = slurm.call("sbatch", "--parsable", "--hold", str(script))
    assert done.returncode == 0, done.stderr
    shown = slurm.call("scontrol", "show", "job", done.stdout.strip()).stdout
    slurm.call("scancel", done.stdout.strip())
    line = next(line for line in shown.splitlines() if line.lstrip().startswith("Comment="))
    assert line.removesuffix(" ").lstrip().removeprefix("Comment=") == comment  # scontrol ends its lines with a space


WORDS = st.lists(st.text(st.characters(exclude_characters="\0\r", exclude_categories=["Cs"]), min_size=1, max_size=20),
                 min_size=1, max_size=3)  # fmt: skip


@settings(max_examples=30, deadline=None)
@given(words=WORDS, variable=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20))
def test_what_the_script_names_survives_bash(words: list[str], variable: str) -> None:
    paths = [f"/{word}" for word in words]
    job = sbatch.SlurmOptions(configs=["name"], nodes=1, gpus_per_node=1, time="10", output="/tmp/x")
    text = sbatch.script(job, [paths], {"GPT_NEOX_DIR": variable, "SECRET_KEY": "sesame"})
    assert "sesame" not in text
    head = text[: text.index("# where the runs")]
    done = subprocess.run(
        ["bash", "-c", head + 'printf "%s\\0" "${GPT_NEOX_DIR-}" "${run[@]}"'],
        capture_output=True,
        timeout=300,
        check=True,
    )
    assert done.stdout.decode().split("\0")[:-1] == [variable, *paths]
    assert subprocess.run(["bash", "-n"], input=text.encode(), timeout=20, check=False).returncode == 0


def program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        assert os.environ.get("REQUIRE_SLURM") != "1", f"{name} is not here"
        pytest.skip(f"{name} is not here (Debian: pdsh openmpi-bin)")
    return found


def test_pdsh_runs_the_command(config: Path, checkout: Path, tmp_path: Path) -> None:
    """pdsh with its `exec` way in place of ssh: a shell gets the words that a remote shell would get."""
    program("pdsh")
    show = tmp_path / "show.py"
    show.write_text("import json, os, sys\nprint('SHOW ' + json.dumps([sys.argv[1:], dict(os.environ)]))\n")
    hostfile.write(tmp_path / "hosts", {"a": 2, "b": 2})
    environ = {"NCCL_SOCKET_IFNAME": "^lo,docker0", "PYTHON_ODD": "a b; 'c' #d", "PATH": os.environ["PATH"]}
    words = ["--hostfile", str(tmp_path / "hosts"), "--master_addr", "h", "train.py", "--deepspeed_config", "e30="]
    ran = runner_command.executed(words, environ, python=sys.executable, folder=str(checkout))
    at = ran.command.index("-m")
    command = [*ran.command[: at - 1], str(show), *ran.command[at:]]
    command[1:2] = ["-S", "-R", "exec"]
    where = command.index("a,b")
    command[where + 1 : where + 1] = ["sh", "-c"]
    command[where + 3 :] = [" ".join(command[where + 3 :])]  # ssh joins its words with blanks before a shell reads them
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    seen = [json.loads(line.split("SHOW ", 1)[1]) for line in done.stdout.splitlines() if "SHOW " in line]
    assert len(seen) == 2, done.stderr
    assert sorted(argv[3] for argv, _ in seen) == ["--node_rank=0", "--node_rank=1"]
    for argv, env in seen:
        assert argv[-3:] == ["train.py", "--deepspeed_config", "e30="]
        assert {name: env[name] for name in ("NCCL_SOCKET_IFNAME", "PYTHON_ODD")} == {
            name: environ[name] for name in ("NCCL_SOCKET_IFNAME", "PYTHON_ODD")
        }
    expanded = runner_command.executed(
        words, {**environ, "PYTHON_ODD": "$HOME"}, python=sys.executable, folder=str(checkout)
    )
    assert any("PYTHON_ODD" in trap for trap in expanded.traps)


def test_mpirun_runs_the_command(config: Path, checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program("mpirun")
    out = tmp_path / "out"
    out.mkdir()
    hostfile.write(tmp_path / "hosts", {"localhost": 2})
    environ = {**os.environ, "TRAIN_OUT": str(out), "UCX_ODD": "a,b c", "OMPI_ALLOW_RUN_AS_ROOT": "1"}
    environ |= {"OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1", "OMPI_COMM_WORLD_RANK": "0", "OMPI_COMM_WORLD_LOCAL_RANK": "0"}
    environ |= {"OMPI_COMM_WORLD_SIZE": "1"}
    save = str(tmp_path / "save")
    sent = neox_command.encode({"save": save, "train_iters": 1})
    words = ["--hostfile", str(tmp_path / "hosts"), "--launcher", "openmpi", "--force_multi", "--master_addr", "h"]
    words += ["train.py", "--megatron_config", sent]
    ran = runner_command.executed(words, environ, python=sys.executable, folder=str(checkout), flavour="deepspeed")
    assert ran.kind == "openmpi"
    command = ["lo" if word == "eth0" else word for word in ran.command]  # this machine may have no eth0
    done = subprocess.run(command, env=environ, cwd=checkout, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    seen = ranks(out)
    assert [one["rank"] for one in seen] == ["0", "1"]
    assert all(one["argv"] == ["--megatron_config", sent] for one in seen)
    # mpirun keeps the quotes that the launcher wrote: odd values do not survive this way
    assert [one["env"]["UCX_ODD"] for one in seen] == ['"a,b c"'] * 2


def test_what_a_job_cannot_be(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [str(config), "--nodes", "2", "--time", "10", "-o", str(tmp_path / "x.sbatch")]
    content = yamlfile.read(config)
    for change, said in (
        ({"train_batch_size": 4}, "2 nodes x 4 GPUs"),
        ({"model_parallel_size": 3}, "8 GPUs cannot be split"),
        ({"launcher": "pdsh"}, "launcher: pdsh"),
        ({"num_nodes": 1}, "num_nodes"),
        ({"global_num_gpus": 4}, "global_num_gpus is 4"),
    ):
        yamlfile.write(config, {**content, **change})
        assert cli.run(slurm_command.main, words) == 3
        assert said in capsys.readouterr().err
    yamlfile.write(config, content)
    assert cli.run(slurm_command.main, [*words, "--comment", "a\nb"]) == 2
    assert cli.run(slurm_command.main, [*words, "--job-name", "a/b"]) == 2
    assert cli.run(slurm_command.main, [*words[:4], "noon", *words[5:]]) == 2
    capsys.readouterr()
    assert cli.run(slurm_command.main, [*words, "--before-end", "600"]) == 2
    assert "would be stopped at once" in capsys.readouterr().err
    assert not (tmp_path / "x.sbatch").exists()
    with pytest.raises(HaigoError):
        sbatch.quoted("a\x07")


@pytest.mark.parametrize(
    ("time", "seconds"),
    [("5", 300), ("5:30", 330), ("1:00:00", 3600), ("2-0", 172_800), ("1-2:30", 95_400), ("1-00:00:05", 86_405)],
)
def test_time_limits_as_slurm_writes_them(time: str, seconds: int) -> None:
    assert nodelist.seconds(time) == seconds


def test_jobs_that_would_not_get_far(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [str(config), "--nodes", "2", "-o", str(tmp_path / "x.sbatch"), "--time"]
    assert cli.run(slurm_command.main, [*words, "6"]) == 0
    assert "would" not in capsys.readouterr().err
    assert cli.run(slurm_command.main, [*words, "5"]) == 2
    assert "the run would be stopped at once" in capsys.readouterr().err
    # launch.deepy goes on from the save folder, whatever `load` names; without one there is nothing to go on from
    content = yamlfile.read(config)
    yamlfile.write(config, {**content, "load": str(tmp_path / "base"), "finetune": True})
    assert cli.run(slurm_command.main, [*words, "6"]) == 0
    assert "would" not in capsys.readouterr().err
    yamlfile.write(config, {key: value for key, value in content.items() if key not in ("save", "load")})
    assert cli.run(slurm_command.main, [*words, "6"]) == 0
    assert "would start over" in capsys.readouterr().err


@pytest.mark.neox
@pytest.mark.slow
def test_the_real_gpt_neox_trains_two_ranks_under_slurm(
    slurm: Slurm,
    neox: Any,
    config: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in [name for name in os.environ if name.startswith(("MASTER_", "RANK", "WORLD_SIZE", "LOCAL_RANK"))]:
        monkeypatch.delenv(name)
    for name, value in {**neox.environment, "SLURM_CONF": slurm.environment["SLURM_CONF"]}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PATH", f"{neox.environment['PATH']}{os.pathsep}{slurm.environment['PATH']}")
    monkeypatch.setenv("GPT_NEOX_DIR", str(neox.root))
    monkeypatch.setenv("GPT_NEOX_PYTHON", str(neox.python))
    monkeypatch.setenv("FAKE_CUDA_COUNT", "2")
    monkeypatch.setenv("MASTER_PORT", "29635")
    monkeypatch.chdir(REPO)
    words = [config, "--nodes", 1, "--gpus-per-node", 2, "--time", 10, "-o", tmp_path / "j.sbatch", "--cpu-only"]
    told = submit(*words, capsys=capsys)
    assert slurm.wait(told["job"], 400) == "COMPLETED", log_of(tmp_path)[-6000:]
    losses = [
        float(loss)
        for loss in re.findall(r"lm_loss: (\S+)", (next(tmp_path.glob("slurm-*")) / "train.log").read_text())
    ]
    assert len(losses) == 20 and losses[-1] < losses[0] - 0.5
    assert (config.parent / "checkpoints" / "tiny" / "latest").read_text() == "global_step20"


@pytest.mark.neox
@pytest.mark.slow
def test_the_real_gpt_neox_trains_two_ranks_through_mpirun(neox: Any, config: Path, tmp_path: Path) -> None:
    """And the dry run, asked in the same environment, names the very command that DeepSpeed says it starts."""
    program("mpirun")
    keys = {"launcher": "openmpi", "deepspeed_mpi": True, "no_ssh_check": True, "master_port": 29633}
    yamlfile.write(config, {**yamlfile.read(config), **keys})
    hostfile.write(tmp_path / "hosts", {"localhost": 2})
    mine = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29633", "FAKE_CUDA_COUNT": "2"}
    mine |= {"GPT_NEOX_DIR": str(neox.root), "GPT_NEOX_PYTHON": str(neox.python)}
    mine |= {
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        "OMPI_MCA_rmaps_base_oversubscribe": "1",
    }
    environment = {**neox.environment, **mine}
    environment["PYTHONPATH"] = os.pathsep.join([environment["PYTHONPATH"], str(REPO)])
    words = [sys.executable, "-m", "launch.deepy", "train.py", str(config), "-H", str(tmp_path / "hosts")]

    def call(*more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*words, *more], env=environment, cwd=REPO, capture_output=True, text=True, timeout=300, check=False
        )

    shown = call("--dry-run", "--json")
    assert shown.returncode == 0, shown.stderr
    done = call("--no-supervise")  # its output goes to the terminal then
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    started = next(line for line in (done.stdout + done.stderr).splitlines() if "cmd = mpirun" in line)
    assert started.partition("cmd = ")[2] == " ".join(json.loads(shown.stdout)["executes"])
    assert len(re.findall(r"lm_loss: \S+", done.stdout + done.stderr)) == 20
