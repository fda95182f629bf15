"""How many GPUs a job has on each node: every way in which Slurm says it gives the right number or a sentence, never a guess
in silence."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from private_slurm import Slurm
from shared_data import data_of, needed

from haigo import cli
from haigo.cli import HaigoError, Refused
from launch import hostfile as hostfile_verb
from launch.neox import gpus, hostfile, nodelist
from launch.plan import preflight

DATA = data_of(__file__)

ROOT = Path(__file__).resolve().parents[3]
TWO = "SLURM_JOB_NODELIST=a[1-2]"
HET = "SLURM_HET_SIZE=2 SLURM_JOB_NODELIST_HET_GROUP_0=a1 SLURM_JOB_NODELIST_HET_GROUP_1=b[1-2]"

RIGHT = DATA["right"]  # fmt: skip

WRONG = [
    f"{TWO} SLURM_GPUS_PER_NODE=volta:3,kepler:5",
    f"{TWO} SLURM_GPUS_PER_NODE=a100_1g.5gb:2",
    f"{TWO} SLURM_GPUS_PER_NODE=1g.5gb:2",
    f"{TWO} SLURM_GPUS_PER_NODE=shard:4",
    f"{TWO} SLURM_GPUS_PER_NODE=gres/mps:100",
    f"{TWO} SLURM_TASKS_PER_NODE=2(x2) SLURM_TRES_PER_TASK=cpu:4,gres/shard:2",
    f"{TWO} SLURM_GPUS_ON_NODE=1 SLURM_SHARDS_ON_NODE=4",
    f"{TWO} SLURM_GPUS_PER_NODE=a:b:4",
    f"{TWO} SLURM_GPUS_PER_NODE=a100",
    f"{TWO} SLURM_GPUS_PER_NODE=4 SLURM_GPUS_ON_NODE=8",
    f"{TWO} SLURM_GPUS_PER_NODE=4 SLURM_GPUS_PER_TASK=1 SLURM_TASKS_PER_NODE=1(x2)",
    f"{TWO} SLURM_GPUS_ON_NODE=4 SLURM_JOB_GPUS=0-2",
    f"{TWO} SLURM_GPUS_ON_NODE=0",
    f"{TWO} SLURM_GPUS_ON_NODE=²",
    f"{TWO} SLURM_GPUS_ON_NODE={'9' * 5000}",
    f"{TWO} SLURM_JOB_GPUS=0,0",
    f"{TWO} SLURM_JOB_GPUS=3-0",
    f"{TWO} SLURM_JOB_GPUS=0-99999999",
    f"{TWO} SLURM_GPUS=8 SLURM_TASKS_PER_NODE=1(x2)",
    f"{TWO} SLURM_GPUS=5 SLURM_GPUS_ON_NODE=4",
    f"{TWO} SLURM_TASKS_PER_NODE=1(x2)",
    f"{TWO} SLURM_TASKS_PER_NODE=2(x3)",
    f"{TWO} SLURM_TASKS_PER_NODE=3(x2) SLURM_NTASKS_PER_GPU=2",
    f"{TWO} SLURM_GPUS_PER_SOCKET=2",
    f"{TWO} SLURM_JOB_NUM_NODES=3 SLURM_GPUS_ON_NODE=4",
    f"{TWO} CUDA_VISIBLE_DEVICES=0-3",
    f"{TWO} CUDA_VISIBLE_DEVICES=NoDevFiles",
    f"{TWO} CUDA_VISIBLE_DEVICES=MIG-8932f937-d72c SLURM_GPUS_ON_NODE=1",
    f"{HET} SLURM_GPUS_PER_NODE_HET_GROUP_0=2",
    f"{HET} SLURM_JOB_NODELIST=a1 SLURM_GPUS_ON_NODE=2",
    "SLURM_HET_SIZE=3 " + HET.split(" ", 1)[1] + " SLURM_GPUS_PER_NODE_HET_GROUP_0=2 SLURM_GPUS_PER_NODE_HET_GROUP_1=2",
    "SLURM_HET_SIZE=x " + HET.split(" ", 1)[1],
    "SLURM_JOB_NODELIST=a[1-2] SLURM_TASKS_PER_NODE=" + ",".join(["1(x65536)"] * 2000),
    f"SLURM_JOB_NODELIST=a[1-{'9' * 5000}] SLURM_GPUS_ON_NODE=4",
]  # fmt: skip


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[object]:
    """`launch.hostfile OUT --from slurm` in a job with these variables: (exit code, hosts, stderr)."""
    for name in list(os.environ):
        if name.startswith(("SLURM_", "CUDA_")):
            monkeypatch.delenv(name)

    def call(variables: str, *words: str) -> tuple[int, str, str]:
        with pytest.MonkeyPatch.context() as patch:
            for pair in variables.split():
                patch.setenv(*pair.split("=", 1))
            code = cli.run(hostfile_verb.main, [str(tmp_path / "hosts"), "--from", "slurm", *words])
        hosts = hostfile.read(tmp_path / "hosts") if code == 0 else {}
        return code, " ".join(f"{host}:{slots}" for host, slots in hosts.items()), capsys.readouterr().err

    yield call


@pytest.mark.parametrize(("variables", "hosts", "said"), RIGHT)
def test_what_slurm_says_is_taken_and_what_it_leaves_open_is_told(job, variables: str, hosts: str, said: str) -> None:
    code, found, err = job(variables)
    assert (code, found) == (0, hosts), err
    assert said in err and bool(err) == bool(said)


@pytest.mark.parametrize("variables", WRONG, ids=lambda text: text[:70])
def test_what_slurm_does_not_say_is_not_guessed(job, variables: str) -> None:
    code, _, err = job(variables)
    assert code in (2, 3) and "fix:" in err and len(err) < 500


def test_a_number_that_is_given_counts(job) -> None:
    assert job(f"{TWO} SLURM_GPUS_PER_NODE=volta:3,kepler:5", "--gpus-per-node", "8")[:2] == (0, "a1:8 a2:8")
    assert job(HET, "--gpus-per-node", "4")[:2] == (0, "a1:4 b1:4 b2:4")
    code, found, err = job(f"{TWO} SLURM_GPUS_ON_NODE=2", "--gpus-per-node", "4")
    assert (code, found) == (0, "a1:4 a2:4") and "gave this node fewer GPUs" in err
    assert job(TWO, "--gpus-per-node", "99999999")[0] == 2


def test_the_environments_that_went_wrong(job) -> None:
    source = needed("cases/slurm/environments.txt")
    found = [job(line) for line in source.read_text().splitlines() if line.strip()]
    assert [code for code, _, _ in found] == [0, 0, 3, 0]
    assert found[0][1].count(":8") == 4 and found[1][1].count(":8") == 4 and found[3][1] == "a1:4 a2:4"


def test_pbs_names_a_host_once_for_each_slot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    nodes = tmp_path / "nodes"
    monkeypatch.setenv("PBS_NODEFILE", str(nodes))
    nodes.write_text("a\nb\n")
    assert cli.run(hostfile_verb.main, [str(tmp_path / "hosts"), "--from", "pbs"]) == 3
    assert "tells no number of GPUs" in capsys.readouterr().err
    nodes.write_text("a\na\nb\nb\n")
    assert cli.run(hostfile_verb.main, [str(tmp_path / "hosts"), "--from", "pbs"]) == 0
    assert "one is taken for each line" in capsys.readouterr().err


@given(st.dictionaries(st.sampled_from([
    "SLURM_GPUS_PER_NODE", "SLURM_GPUS_ON_NODE", "SLURM_JOB_GPUS", "SLURM_GPUS", "SLURM_TASKS_PER_NODE", "SLURM_HET_SIZE",
    "SLURM_GPUS_PER_TASK", "SLURM_TRES_PER_TASK", "SLURM_NTASKS_PER_GPU", "CUDA_VISIBLE_DEVICES", "SLURM_NODEID",
    "SLURM_STEP_NODELIST", "SLURM_STEP_GPUS", "SLURM_JOB_NUM_NODES",
]), st.text(st.sampled_from("0123456789-,:()x²gpuMIG=/ ."), max_size=12)))  # fmt: skip
def test_any_variables_give_hosts_or_a_sentence(variables: dict[str, str]) -> None:
    try:
        found = nodelist.slurm({"SLURM_JOB_NODELIST": "a[1-2]", **variables}, say=lambda line: None)
    except HaigoError:
        return
    assert list(found) == ["a1", "a2"] and all(1 <= count <= gpus.MOST for count in found.values())


@pytest.mark.parametrize("text", [
    "a slots=99999999999\n", "a slots=99999\n", f"a slots={'9' * 5000}\n", "a slots=²\n", "a slots=٣\n", "\xff\n",
])  # fmt: skip
def test_absurd_hostfiles_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str) -> None:
    source = tmp_path / "hosts"
    source.write_bytes(text.encode("latin-1") if text == "\xff\n" else text.encode())
    assert cli.run(hostfile_verb.main, [str(source)]) == 2
    err = capsys.readouterr().err
    assert str(source) in err and len(err) < 400


def test_gpus_that_cuda_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    for text, count in (("0,1", 2), ("GPU-8932f937-d72c", 1), ("", 0), ("-1", 0), ("NoDevFiles", 0)):
        assert len(gpus.visible({"CUDA_VISIBLE_DEVICES": text}) or []) == count
    assert gpus.visible({}) is None
    with pytest.raises(Refused, match="MIG"):
        gpus.visible({"CUDA_VISIBLE_DEVICES": "MIG-GPU-8932f937/1/0"})
    # jobs of a swarm get their GPUs by number: one that is named otherwise must not be left out in silence
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,GPU-8932f937-d72c")
    with pytest.raises(HaigoError, match="by number"):
        gpus.numbers(os.environ)
    monkeypatch.setattr(preflight.Path, "glob", lambda self, pattern: iter(["nvidia0", "nvidia1"]))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "NoDevFiles")
    assert preflight.world_size({})[0] is None


def test_the_real_slurm_says_no_more_than_this(slurm: Slurm, tmp_path: Path) -> None:
    """What salloc and sbatch of a real Slurm set, and what the hostfile makes of it."""
    file = tmp_path / "hosts"
    words = [sys.executable, "-m", "launch.hostfile", str(file), "--from", "slurm"]

    def salloc(*options: str) -> list[int] | str:
        """GPUs of each node; which nodes it gives is Slurm's to choose."""
        done = slurm.call("salloc", "-Q", *options, *words, cwd=ROOT)
        return list(hostfile.read(file).values()) if done.returncode == 0 else str(done.stderr)

    assert salloc("-N2", "--gpus-per-node=2") == [2, 2]
    # nothing at all is set for --gres: the one task a node is no number of GPUs
    assert "tells no number of GPUs" in str(salloc("-N2", "--gres=gpu:4"))
    assert "number for the whole job" in str(salloc("-N2", "--gpus=5"))
    assert salloc("-N2", "-n4", "--gpus-per-task=2") == [4, 4]
    assert salloc("-N1", "--gpus-per-node=2", ":", "-N1", "--gpus-per-node=4") == [2, 4]
    assert "group 0" in str(salloc("-N1", "--gres=gpu:2", ":", "-N1", "--gres=gpu:4"))
    script = tmp_path / "job.sh"
    script.write_text(f"#!/bin/bash\ncd {ROOT}\n{' '.join(words)} > {tmp_path}/said 2>&1\n")

    def sbatch(*options: str) -> str:
        slurm.call("sbatch", "--wait", "-o", "/dev/null", *options, str(script))
        return (tmp_path / "said").read_text()

    assert "SLURM_GPUS_ON_NODE tells of this node only" in sbatch("-N2", "--gres=gpu:4")
    assert list(hostfile.read(file).values()) == [4, 4]
    assert "4 + 4" in sbatch("-N2", "--gpus=5")  # it gave 4 and 1
