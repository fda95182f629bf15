"""The checks of `launch.preflight --here`: this machine, the hosts it is to reach, and the room for checkpoints.

Unlike the others they look at the place where the run starts, so that they make sense only there: programs of the launcher,
ssh to every host, the port, shared memory, stale locks, DeepSpeed's own options, disk.
"""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import subprocess
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from haigo.cli import HaigoError
from haigo.formats.tokenizer import load
from launch.neox import checkout, ports
from launch.neox import hostfile as hostfiles
from launch.plan.checks.check import Check
from neox_configs import derive, reader

_PROGRAMS = {
    "pdsh": ("pdsh", "ssh"),
    "slurm": ("srun", "sinfo"),
    "openmpi": ("mpirun", "ompi_info"),
    "mvapich": ("mpirun",),
}
_SHM = 1 << 30
"""Below this much shared memory NCCL and data loaders die of a bus error sooner or later; Docker gives 64 MB by default."""
_STALE_S = 600


def checks(
    config: Mapping[str, Any],
    base: Path,
    hostfile: str | os.PathLike[str] | None = None,
    environ: Mapping[str, str] | None = None,
    python: str | None = None,
) -> list[Check]:
    """All checks of this page.

    Args:
        config: what `reader.load` gave.
        base: where relative paths start.
        hostfile: replaces the config's own.
        environ: the environment of the run (this process's).
        python: GPT-NeoX's interpreter, for the check of its DeepSpeed.
    """
    around = os.environ if environ is None else environ
    named = hostfile or config.get("hostfile")
    launcher = str(reader.value(config, "launcher")).lower()
    found, hosts = _hosts(config, named, launcher)
    found += _ranks(config, hosts, launcher)
    several = len(hosts) > 1 or any(config.get(key) for key in ("force_multi", "deepspeed_slurm", "deepspeed_mpi"))
    if several:
        found += _programs(launcher)
        if launcher == "pdsh" and shutil.which("ssh"):
            found += _ssh(list(hosts), around)
        if launcher == "slurm":
            found += _job(hosts, around)
            if not config.get("no_ssh_check"):
                told = "DeepSpeed tries ssh to the first host even with srun, and ends where that fails."
                found.append(Check("ssh", "warn", told, "write no_ssh_check: true"))
    found += [*_port(config, hosts, launcher, around), *_shared_memory(), *_locks(around)]
    if python is not None:
        found += deepspeed(config, python)
    return found + _disk(config, base)


def named_hosts(config: Mapping[str, Any], hostfile: str | os.PathLike[str] | None = None) -> list[Check]:
    """What is wrong with the hosts wherever it is asked (a hostfile may be made later, and the start be on one of them):
    a dry run refuses it as a start does."""
    launcher = str(reader.value(config, "launcher")).lower()
    _, hosts = _hosts(config, hostfile or config.get("hostfile"), launcher)
    return [*_lost(config, hosts), *_ranks(config, hosts, launcher)]


def _lost(config: Mapping[str, Any], hosts: Mapping[str, list[int]]) -> list[Check]:
    lost = hostfiles.lost_by_deepspeed(config.get("include") or "") if hosts else []
    if not lost:
        return []
    told = f"DeepSpeed 0.16.5 leaves out {', '.join(lost)}: included without GPU numbers."
    return [Check("hosts", "fail", told, f"write {lost[0]}:0,1,2,3")]


def _ranks(config: Mapping[str, Any], hosts: Mapping[str, list[int]], launcher: str) -> list[Check]:
    several = len(hosts) > 1 or config.get("force_multi") or config.get("deepspeed_slurm")
    if launcher != "openmpi" or config.get("deepspeed_mpi") or not several:
        return []
    told = "launcher openmpi without deepspeed_mpi: every rank takes the world for one process, and the run dies."
    return [Check("openmpi", "fail", told, "set launcher: openmpi, deepspeed_mpi: true")]


def _hosts(config: Mapping[str, Any], named: Any, launcher: str) -> tuple[list[Check], dict[str, list[int]]]:
    if not named:
        return [], {}
    try:
        left = hostfiles.selected(config, hostfiles.read(named), as_deepspeed=True)
    except HaigoError as error:
        return [Check("hosts", "fail", error.problem, error.fix)], {}
    if lost := _lost(config, left):
        return lost, left
    first = next(iter(left))
    elsewhere = first not in ("localhost", "127.0.0.1", *_own_names())
    if len(left) == 1 and elsewhere and launcher != "slurm" and not reader.value(config, "force_multi"):
        told = f"one host is left ({first}), and DeepSpeed would start on this machine instead of there."
        return [Check("hosts", "fail", told, "set force_multi: true, or start on that host")], left
    return [Check("hosts", "ok", f"{len(left)} hosts, {sum(map(len, left.values()))} GPUs ({named})")], left


def _own_names() -> set[str]:
    names = {socket.gethostname(), socket.gethostname().split(".")[0], os.environ.get("SLURMD_NODENAME", "")}
    return names - {""}


def _programs(launcher: str) -> list[Check]:
    absent = [name for name in _PROGRAMS.get(launcher, ()) if shutil.which(name) is None]
    if absent:
        fix = "run it on a login node or inside a job" if launcher == "slurm" else f"install {absent[0]}"
        return [Check("launcher", "fail", f"launcher {launcher} needs {', '.join(absent)}, not found here.", fix)]
    return [Check("launcher", "ok", f"{launcher}: {', '.join(_PROGRAMS.get(launcher, ()))}")]


def _ssh(hosts: list[str], environ: Mapping[str, str]) -> list[Check]:
    """A login on every host without a password, as pdsh will do it (its PDSH_SSH_ARGS_APPEND included)."""
    try:
        more = shlex.split(environ.get("PDSH_SSH_ARGS_APPEND", ""))
    except ValueError:
        return [Check("ssh", "fail", "PDSH_SSH_ARGS_APPEND has an open quote.", "mend it")]

    def reach(host: str) -> str | None:
        words = ["ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=5", *more, host, "true"]
        try:
            done = subprocess.run(
                words,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=20,
                stdin=subprocess.DEVNULL,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return "no answer within 20 s"
        if done.returncode == 0:
            return None
        return (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]

    with ThreadPoolExecutor(16) as pool:
        told = dict(zip(hosts, pool.map(reach, hosts), strict=True))
    wrong = {host: why for host, why in told.items() if why is not None}
    if not wrong:
        return [Check("ssh", "ok", f"{len(hosts)} hosts answer without a password")]
    host, why = next(iter(wrong.items()))
    return [
        Check(
            "ssh",
            "fail",
            f"{len(wrong)} of {len(hosts)} hosts cannot be reached: {host} ({why}).",
            f"make `ssh -o BatchMode=yes {host} true` work (ssh-copy-id {host}), or use launcher: slurm",
        )
    ]


def _job(hosts: Mapping[str, list[int]], environ: Mapping[str, str]) -> list[Check]:
    if "SLURM_JOB_ID" not in environ:
        return [
            Check(
                "slurm job", "fail", "launcher slurm outside a job: deepy.py ends with a KeyError.", "use launch.slurm"
            )
        ]
    try:
        tasks = int(environ.get("SLURM_NTASKS", ""))
    except ValueError:
        return [Check("slurm job", "warn", "SLURM_NTASKS is not set.", "submit with --ntasks-per-node")]
    gpus = sum(map(len, hosts.values()))
    if hosts and tasks != gpus:
        told = f"the job has {tasks} tasks, and the hostfile {gpus} GPUs."
        return [Check("slurm job", "fail", told, "write the hostfile with launch.hostfile --from slurm")]
    return [Check("slurm job", "ok", f"job {environ['SLURM_JOB_ID']}, {tasks} tasks")]


def _port(
    config: Mapping[str, Any], hosts: Mapping[str, object], launcher: str, environ: Mapping[str, str]
) -> list[Check]:
    port = reader.value(config, "master_port")
    if launcher == "slurm" and environ.get("MASTER_PORT", "").isdigit():
        port = int(environ["MASTER_PORT"])
    if hosts and next(iter(hosts)) not in ("localhost", "127.0.0.1", *_own_names()):
        return []
    trouble = ports.trouble(port)
    if trouble:
        told = f"port {port} cannot be used here ({trouble})."
        return [Check("port", "fail", told, f"end what listens there, or write master_port: {port + 1}")]
    return [Check("port", "ok", f"{port} is free")]


def _shared_memory(place: str = "/dev/shm") -> list[Check]:
    if not os.path.isdir(place):
        return []
    free, size = shutil.disk_usage(place).free, shutil.disk_usage(place).total
    told = f"{free / 1e9:.1f} GB of {size / 1e9:.1f} GB free in {place}"
    if free < _SHM:
        fix = "start the container with --shm-size=8g (or --ipc=host), or clear it"
        return [Check("shared memory", "warn", f"{told}: ranks may die of a bus error.", fix)]
    return [Check("shared memory", "ok", told)]


def _locks(environ: Mapping[str, str]) -> list[Check]:
    """Locks of torch's extension builds: a build that was killed leaves one, and every later start waits for it for ever."""
    home = environ.get("HOME") or os.path.expanduser("~")
    root = Path(environ.get("TORCH_EXTENSIONS_DIR") or Path(home) / ".cache" / "torch_extensions")
    found = [path for pattern in ("lock", "*/lock", "*/*/lock") for path in root.glob(pattern) if path.is_file()]
    ages = {path: time.time() - path.stat().st_mtime for path in found}
    stale = {path: age for path, age in ages.items() if age > _STALE_S}
    if stale:
        path, age = max(stale.items(), key=lambda item: item[1])
        told = f"{path} was left {age / 60:.0f} minutes ago by a build that ended: GPT-NeoX would wait for it for ever."
        return [Check("extension lock", "fail", told, f"rm {shlex.quote(str(path))}")]
    if ages:
        return [
            Check("extension lock", "warn", f"{next(iter(ages))} is there: a build is running.", "wait for its end")
        ]
    return []


def deepspeed(config: Mapping[str, Any], python: str) -> list[Check]:
    """Whether the installed DeepSpeed is GPT-NeoX's fork, asked without importing it."""
    fork, version = checkout.deepspeed(python) or (False, "")
    if not version:
        return [
            Check("deepspeed", "warn", f"the DeepSpeed of {python} cannot be looked at.", "see GPT-NeoX's requirements")
        ]
    if fork:
        return [Check("deepspeed", "ok", f"DeeperSpeed {version}")]
    words = [name for name in ("comment", "account") if config.get(name)]
    fix = "pip install -r requirements/requirements.txt of GPT-NeoX (DeeperSpeed)"
    if words:
        told = f"DeepSpeed {version} is not GPT-NeoX's fork and ends on --{words[0]}."
        return [Check("deepspeed", "fail", told, f"{fix}, or take {words[0]} out")]
    if version.split(".")[:2] != ["0", "16"]:
        return [Check("deepspeed", "warn", f"DeepSpeed {version}; GPT-NeoX is pinned to DeeperSpeed 0.16.5.", fix)]
    return [Check("deepspeed", "ok", f"DeepSpeed {version} (GPT-NeoX's pin is its fork DeeperSpeed 0.16.5)")]


def checkpoint_bytes(config: Mapping[str, Any], parameters: int) -> int:
    """Bytes of one checkpoint: weights in training precision, and 12 bytes a parameter of Adam in float32 with mixed
    precision (master weights and two moments), 8 without."""
    mixed = config.get("precision") in ("fp16", "bfloat16") or any(
        (config.get(name) or {}).get("enabled") for name in ("fp16", "bf16")
    )
    optimizer = 0 if config.get("no_save_optim") else 12 if mixed else 8
    return parameters * ((2 if mixed else 4) + optimizer)


def _disk(config: Mapping[str, Any], base: Path) -> list[Check]:
    save = config.get("save")
    if not save:
        return []
    place = base / save
    while not place.exists() and place != place.parent:
        place = place.parent
    free = shutil.disk_usage(place).free
    try:
        vocabulary = load(base / str(config.get("vocab_file"))).vocab_size
        _, parameters = derive.parameters(config, derive.padded_vocab(config, vocabulary))
    except HaigoError:
        return [Check("disk", "ok", f"{free / 1e9:.0f} GB free in {place}; the size of a checkpoint is not known")]
    one, factor = checkpoint_bytes(config, parameters), config.get("checkpoint_factor")
    iters, last = config.get("train_iters"), config.get("keep_last_n_checkpoints")
    written = -(-iters // factor) if iters and isinstance(factor, int) and factor > 0 else 1
    # the next one is written before the oldest goes
    kept = min(written, last + 1) if last else written
    told = f"{kept} checkpoints of {one / 1e9:.1f} GB, {free / 1e9:.0f} GB free in {place}"
    if one * kept > free:
        fix = (
            f"keep_last_n_checkpoints: {max(1, int(free // one) - 1)}"
            if free > 2 * one
            else "name a larger disk as save"
        )
        return [Check("disk", "fail", f"{told}: {(one * kept - free) / 1e9:.1f} GB short.", fix)]
    return [Check("disk", "ok", told)]
