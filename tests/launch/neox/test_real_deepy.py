"""The dry run against the real deepy.py and the real launcher of DeepSpeed, byte for byte (`neox`).

With DEEPERSPEED_DIR (a checkout of GPT-NeoX's pinned fork) its launcher is compared too.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import golden_jobs
import pytest
import yaml
from neox_world import World

from haigo.cli import HaigoError
from launch.neox import hostfile
from launch.neox import launch_command as neox_command
from launch.neox import launcher as runner_command
from launch.plan.config import write_config
from launch.plan.options import ConfigOptions

pytestmark = pytest.mark.neox
ODD = {
    "NCCL_SOCKET_IFNAME": "^lo,docker0",
    "NCCL_DEBUG": "INFO",
    "PYTHON_ODD": 'a b $HOME "q"',
    "UCX_TLS": "rc",
    "OTHER": "x",
}
OMPI = {"OMPI_COMM_WORLD_LOCAL_RANK": "0", "OMPI_COMM_WORLD_RANK": "0", "OMPI_COMM_WORLD_SIZE": "1"}
SLURM = {"SLURM_LOCALID": "0", "SLURM_PROCID": "0", "SLURM_NTASKS": "8", "SLURM_JOB_ID": "7"}


def probe(
    neox: Any, jobs: list[dict[str, Any]], folder: Path, launcher: str | None = None, fill: Any = None
) -> dict[str, Any]:
    fake = folder / "site" / "flash_attn-2.7.4.dist-info"
    fake.mkdir(parents=True, exist_ok=True)
    (fake / "METADATA").write_text("Metadata-Version: 2.1\nName: flash-attn\nVersion: 2.7.4\n")
    here = folder / "here"  # GPT-NeoX makes its log folder where it runs: not in the checkout
    here.mkdir()
    (here / "train.py").write_text("")
    if fill is not None:
        fill(here)
    paths = os.pathsep.join([neox.environment["PYTHONPATH"], str(neox.root), str(fake.parent)])
    done = subprocess.run(
        [str(neox.python), str(Path(__file__).with_name("deepy_probe.py"))],
        input=json.dumps(jobs),
        env={**neox.environment, "PYTHONPATH": paths, **({"PROBE_LAUNCHER": launcher} if launcher else {})},
        cwd=here,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("PROBE ")]
    assert lines, done.stderr[-3000:]
    return json.loads(lines[-1].removeprefix("PROBE "))


def compare(neox: Any, jobs: list[dict[str, Any]], folder: Path, launcher: str | None = None) -> list[str]:
    """Every job by both; the kinds of commands seen, or `refused` where both say no."""
    told = probe(neox, jobs, folder, launcher)
    seen = []
    for job, real in zip(jobs, told["answers"], strict=True):
        try:
            # none of the jobs has wandb's random letters; paths are absolute or GPT-NeoX's own
            made = neox_command.main_arguments(
                [Path(path) for path in job["paths"]], job["overwrite"], job["environ"], job["devices"]
            )
            ours = runner_command.executed(
                made.words,
                job["environ"],
                python=told["python"],
                folder=told["cwd"],
                flavour="deeperspeed" if launcher else "deepspeed",
                device_count=job["devices"],
            )
        except HaigoError as error:
            assert "error" in real, (job["argv"], error, real)
            seen.append("refused")
            continue
        assert "error" not in real, (job["argv"], real["error"])
        assert made.words == real["runner"], job["argv"]
        assert ours.command == real["executes"], job["argv"]
        seen.append(ours.kind)
    return seen


def job(paths: list[Any], environ: dict[str, str], devices: int = 0, **overwrite: Any) -> dict[str, Any]:
    overwrite = {"user_script": "train.py", **overwrite}
    argv = ["train.py", *map(str, paths)]
    for name, value in overwrite.items():
        if name != "user_script":
            argv += [f"--{name}", *(value if isinstance(value, list) else [str(value)])]
    base = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}
    given = {"paths": [str(path) for path in paths], "argv": argv, "environ": {**base, **environ}}
    return {**given, "devices": devices, "overwrite": overwrite}


def launched(source: Path, output: Path, **keys: Any) -> Path:
    output.write_text("# a copy\n" + source.read_text() + "\n" + yaml.safe_dump(keys))
    return output


def free(source: Path, output: Path, **keys: Any) -> Path:
    """A copy for any number of GPUs."""
    content = yaml.safe_load(source.read_text())
    content.pop("train_batch_size")
    output.write_text("# the batch is derived\n" + yaml.safe_dump({**content, **keys}))
    return output


def cluster_jobs(world: World, folder: Path) -> list[dict[str, Any]]:
    jobs = []
    for model, nodes in (("1-3B", 1), ("1-3B", 2), ("2-7B", 2), ("7B", 2), ("13B", 4)):
        source = folder / f"{model}-{nodes}.yml"
        write_config(
            ConfigOptions(
                output=source,
                model=model,
                cluster="a100-40gb",
                nodes=nodes,
                seq_length=512,
                mixture=world.mixture,
                catalogue=world.catalogue,
            )
        )
        hosts = folder / f"hosts-{nodes}"
        hostfile.write(hosts, {f"node{number}": 4 for number in range(1, nodes + 1)})
        jobs.append(job([source], {"MASTER_ADDR": "10.0.0.1", **ODD}, hostfile=str(hosts)))
        slurm = launched(source, folder / f"slurm-{model}-{nodes}.yml", launcher="slurm", deepspeed_slurm=True)
        jobs.append(job([slurm], {**SLURM, **ODD, "MASTER_ADDR": "node1"}, hostfile=str(hosts)))
        mpi = launched(source, folder / f"mpi-{model}-{nodes}.yml", launcher="openmpi", force_multi=True)
        jobs.append(job([mpi], {**OMPI, **ODD, "MASTER_ADDR": "node1", "PYTHONPATH": "/x"}, hostfile=str(hosts)))
    one = folder / "1-3B-1.yml"
    jobs.append(job([one], {}, 4))
    jobs.append(job([launched(one, folder / "n.yml", num_gpus=4, master_port=29631)], {"MASTER_ADDR": "a"}, 4))
    any_size = free(one, folder / "any.yml")
    jobs.append(job([any_size], {"CUDA_VISIBLE_DEVICES": "4,2"}, 2))
    jobs.append(
        job([any_size], {"MASTER_ADDR": "a", "WANDB_API_KEY": "k$y", "RANK": "3"}, hostfile=str(folder / "hosts-4"))
    )
    two = free(one, folder / "inc.yml", include="node1@node3:0,2", num_gpus=4, global_num_gpus=4)
    jobs.append(job([two], {"MASTER_ADDR": "a"}, hostfile=str(folder / "hosts-4")))
    ex = free(one, folder / "ex.yml", exclude="node2@node3:0,2", force_multi=True, no_ssh_check=True)
    jobs.append(job([ex], {"MASTER_ADDR": "a"}, hostfile=str(folder / "hosts-4")))
    some = free(one, folder / "some.yml", num_nodes=2, master_addr="10.1.1.1")
    jobs.append(job([some], {"DLTS_HOSTFILE": str(folder / "hosts-4")}, hostfile=str(folder / "hosts-4")))
    words = {"eval_tasks": ["piqa", "lambada"], "iteration": 5, "eval_results_prefix": "p q", "wandb_group": "日本 g"}
    jobs.append(
        job([any_size], {"MASTER_ADDR": "a"}, hostfile=str(folder / "hosts-2"), sample_input_file="/in put", **words)
    )
    jobs.append(job([free(one, folder / "bad.yml", launcher="openmpi", num_nodes=1, force_multi=True)], {**OMPI},
                    hostfile=str(folder / "hosts-2")))  # fmt: skip
    return jobs


def shipped_jobs(neox: Any, folder: Path) -> list[dict[str, Any]]:
    """GPT-NeoX's own configs, each with its local_setup, for one node of eight and for two."""
    hosts = folder / "hosts-own"
    hostfile.write(hosts, {"a": 8, "b": 8})
    jobs = []
    for path in sorted((neox.root / "configs").rglob("*.yml")):
        for pair in ([path], [path, neox.root / "configs" / "local_setup.yml"]):
            place = {"MASTER_ADDR": "a", **SLURM, "SLURM_NTASKS": "16"}
            jobs.append(job(pair, {}, 8) if len(pair) == 1 else job(pair, place, hostfile=str(hosts)))
    return jobs


def flavours() -> list[str]:
    return ["deepspeed", "deeperspeed"]


@pytest.mark.parametrize("flavour", flavours())
def test_commands_of_our_configs(neox: Any, shared_world: World, tmp_path: Path, flavour: str) -> None:
    seen = compare(neox, cluster_jobs(shared_world, tmp_path), tmp_path, launcher_of(flavour))
    assert {kind: seen.count(kind) for kind in set(seen)} == {
        "pdsh": 8,
        "slurm": 5,
        "openmpi": 5,
        "local": 5,
        "refused": 1,
    }


def launcher_of(flavour: str) -> str | None:
    if flavour == "deepspeed":
        return None
    root = os.environ.get("DEEPERSPEED_DIR")
    if not root:
        pytest.skip("DEEPERSPEED_DIR is not set")
    return str(Path(root).resolve() / "deepspeed" / "launcher")


@pytest.mark.slow
def test_commands_of_gpt_neoxs_own_configs(neox: Any, tmp_path: Path) -> None:
    jobs = shipped_jobs(neox, tmp_path)
    seen = compare(neox, jobs, tmp_path)
    print({kind: seen.count(kind) for kind in set(seen)})
    assert seen.count("local") >= 30 and seen.count("pdsh") >= 25


@pytest.mark.parametrize("flavour", flavours())
def test_golden_commands_are_the_real_ones(neox: Any, tmp_path: Path, flavour: str) -> None:
    """HAIGO_WRITE_GOLDEN=1 writes what the real programs say into golden_commands.json."""
    launcher = launcher_of(flavour)
    folder = tmp_path / "probe"
    folder.mkdir()
    told = probe(neox, golden_jobs.jobs(), folder, launcher, golden_jobs.write)
    text = json.dumps(told["answers"]).replace(told["python"], "PYTHON").replace(told["cwd"], "FOLDER")
    answers = golden_jobs.shortened(json.loads(text))
    file = Path(__file__).with_name("golden_commands.json")
    golden = json.loads(file.read_text()) if file.exists() else {}
    if os.environ.get("HAIGO_WRITE_GOLDEN"):
        file.write_text(json.dumps({**golden, flavour: answers}, indent=1) + "\n")
        return
    assert golden[flavour] == answers
