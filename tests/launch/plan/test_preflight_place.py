"""preflight --here: the machine, the hosts, the room for checkpoints."""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from neox_world import World

from haigo import cli, yamlfile
from launch import preflight
from launch.plan.checks import machine as preflight_place
from launch.plan.checks.check import Check
from launch.plan.config import write_config
from launch.plan.options import ConfigOptions

SSH = """#!/bin/sh
for word in "$@"; do
  case "$word" in
    good*) exit 0 ;;
    bad*) echo "ssh: connect to host $word port 22: refused" >&2; exit 255 ;;
  esac
done
exit 9
"""


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of programs that is the whole PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("ssh", "pdsh"):
        (folder / name).write_text(SSH)
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}/bin")
    return folder


def found(config: dict[str, Any], hosts: Path | None = None, **environ: str) -> dict[str, Check]:
    around = {"HOME": "/nonexistent", **environ}
    return {check.name: check for check in preflight_place.checks(config, Path(), hosts, around)}


def hosts_file(tmp_path: Path, *names: str) -> Path:
    path = tmp_path / "hosts"
    path.write_text("".join(f"{name} slots=4\n" for name in names))
    return path


def test_ssh_to_every_host(tools: Path, tmp_path: Path) -> None:
    told = found({}, hosts_file(tmp_path, "good1", "good2"))
    assert told["ssh"].status == told["launcher"].status == told["hosts"].status == "ok"
    told = found({}, hosts_file(tmp_path, "good1", "bad2", "bad3"))
    assert told["ssh"].status == "fail"
    assert (
        "2 of 3 hosts" in told["ssh"].found and "refused" in told["ssh"].found and "ssh-copy-id bad2" in told["ssh"].fix
    )
    (tools / "pdsh").unlink()
    if not os.path.exists("/bin/pdsh"):
        assert "pdsh" in found({}, hosts_file(tmp_path, "good1", "good2"))["launcher"].found


def test_filters_that_leave_one_host_or_none(tools: Path, tmp_path: Path) -> None:
    hosts = hosts_file(tmp_path, "good1", "good2")
    assert "instead of there" in found({"include": "good2:0,1"}, hosts)["hosts"].found
    assert found({"include": "good2:0,1", "force_multi": True}, hosts)["hosts"].status == "ok"
    assert "without GPU numbers" in found({"include": "good2"}, hosts)["hosts"].found
    assert "leaves out good1" in found({"include": "good1@good2:0"}, hosts)["hosts"].found
    assert found({}, hosts_file(tmp_path, socket.gethostname()))["hosts"].status == "ok"


def test_a_slurm_job(tools: Path, tmp_path: Path) -> None:
    config = {"launcher": "slurm", "deepspeed_slurm": True}
    hosts = hosts_file(tmp_path, "a", "b")
    assert "outside a job" in found(config, hosts)["slurm job"].found
    assert "no_ssh_check" in found(config, hosts)["ssh"].fix
    assert "ssh" not in found({**config, "no_ssh_check": True}, hosts)
    assert found(config, hosts, SLURM_JOB_ID="7", SLURM_NTASKS="8")["slurm job"].status == "ok"
    assert "4 tasks" in found(config, hosts, SLURM_JOB_ID="7", SLURM_NTASKS="4")["slurm job"].found


def test_openmpis_two_keys(tools: Path, tmp_path: Path) -> None:
    hosts = hosts_file(tmp_path, "a", "b")
    assert "deepspeed_mpi: true" in found({"launcher": "openmpi"}, hosts)["openmpi"].fix
    assert "openmpi" not in found({"launcher": "openmpi", "deepspeed_mpi": True}, hosts)


def test_a_port_in_use(tools: Path) -> None:
    with socket.socket() as one:
        one.bind(("", 0))
        one.listen()
        port = one.getsockname()[1]
        told = found({"master_port": port})["port"]
        assert told.status == "fail" and str(port) in told.found and str(port + 1) in told.fix
    assert found({"master_port": port})["port"].status == "ok"
    assert found({"master_port": 99999})["port"].status == "fail"


def test_locks_of_extension_builds(tools: Path, tmp_path: Path) -> None:
    folder = tmp_path / "ext" / "py311_cu121" / "fused kernels"
    folder.mkdir(parents=True)
    assert "extension lock" not in found({}, TORCH_EXTENSIONS_DIR=str(tmp_path / "ext"))
    lock = folder / "lock"
    lock.touch()
    assert found({}, TORCH_EXTENSIONS_DIR=str(tmp_path / "ext"))["extension lock"].status == "warn"
    os.utime(lock, (time.time() - 7200, time.time() - 7200))
    told = found({}, TORCH_EXTENSIONS_DIR=str(tmp_path / "ext"))["extension lock"]
    assert told.status == "fail" and "120 minutes" in told.found and told.fix == f"rm '{lock}'"


def test_shared_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (told,) = preflight_place._shared_memory({}, str(tmp_path))
    assert told.name == "shared memory" and "GB free" in told.found
    total = preflight_place.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(preflight_place.shutil, "disk_usage", lambda place: total._replace(free=(1 << 30) - 1))
    (told,) = preflight_place._shared_memory({}, str(tmp_path))
    assert told.status == "warn" and "--shm-size" in told.fix


def test_room_for_checkpoints(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = {"mixture": world.mixture, "catalogue": world.catalogue, "cluster": "a100-40gb", "seq_length": 512}
    config = write_config(ConfigOptions(output=tmp_path / "x.yml", model="1-3B", **arguments))["config"]
    size = preflight_place.checkpoint_bytes(config, 1_000)
    assert size == 14_000  # bfloat16 weights, and master weights and two moments in float32
    assert preflight_place.checkpoint_bytes({"precision": "fp32"}, 1_000) == 12_000
    assert preflight_place.checkpoint_bytes({"no_save_optim": True, "fp16": {"enabled": True}}, 1_000) == 2_000

    class Usage:
        free = total = 50_000_000_000

    monkeypatch.setattr(preflight_place.shutil, "disk_usage", lambda place: Usage)
    told = {check.name: check for check in preflight_place._disk(config, Path())}["disk"]
    # 1.2e9 parameters x 14 bytes, four and the next one
    assert told.status == "fail" and "5 checkpoints of 17" in told.found and "GB short" in told.found
    assert told.fix.startswith("keep_last_n_checkpoints: 1")
    Usage.free = 500_000_000_000
    assert {check.name: check for check in preflight_place._disk(config, Path())}["disk"].status == "ok"


def test_deepspeed_and_its_fork(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = tmp_path / "site"
    (site / "deepspeed" / "launcher").mkdir(parents=True)
    (site / "deepspeed" / "__init__.py").write_text("raise SystemExit('imported')")
    runner = site / "deepspeed" / "launcher" / "runner.py"
    info = site / "deepspeed-0.16.5.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: deepspeed\nVersion: 0.16.5\n")
    monkeypatch.setenv("PYTHONPATH", str(site))

    def told(config: dict[str, Any]) -> Check:
        (one,) = preflight_place.deepspeed(config, sys.executable)
        return one

    runner.write_text('parser.add_argument(\n    "--comment",\n')
    assert told({"comment": "x"}).status == "ok"
    runner.write_text("nothing")
    assert told({}).status == "ok" and "fork" in told({}).found
    assert told({"account": "x"}).status == "fail" and "--account" in told({"account": "x"}).found
    runner.unlink()
    assert told({}).status == "warn"


def test_the_command(world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = {"mixture": world.mixture, "catalogue": world.catalogue, "tokens": 20_480}
    content = write_config(ConfigOptions(output=tmp_path / "x.yml", model="0-1M", cluster="local-cpu", **arguments))[
        "config"
    ]
    yamlfile.write(tmp_path / "x.yml", {**content, "master_port": 29637})
    code = cli.run(preflight.main, [str(tmp_path / "x.yml"), "--here", "--json"])
    names = {check["name"] for check in json.loads(capsys.readouterr().out)}
    assert {"port", "disk", "shared memory"} <= names and code in (0, 3)
