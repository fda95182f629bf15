"""The checks of `launch.preflight --here`: this machine, the hosts it is to reach, and the room for checkpoints.

Unlike the others they look at the place where the run starts, so that they make sense only there: programs of the launcher,
ssh to every host, the port, shared memory, stale locks, DeepSpeed's own options, disk. Facts are gathered here; what is said of
them stands in `rules.yml`.
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
from launch.neox import checkout, checkpoints, ports
from launch.neox import hostfile as hostfiles
from launch.plan.checks import rules
from launch.plan.checks.check import Check
from neox_configs import derive, neox_args, reader

_PROGRAMS = {
    "pdsh": ("pdsh", "ssh"),
    "slurm": ("srun", "sinfo"),
    "openmpi": ("mpirun", "ompi_info"),
    "mvapich": ("mpirun",),
}
_KERNELS = ("scaled_upper_triang_masked_softmax_fusion", "scaled_masked_softmax_fusion", "rope_fusion")


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
    answers, hosts = _hosts(config, hostfile)
    answers += _ranks(config, hosts)
    launcher = _launcher(config)
    several = len(hosts) > 1 or any(config.get(key) for key in ("force_multi", "deepspeed_slurm", "deepspeed_mpi"))
    if several:
        needed = _PROGRAMS.get(launcher, ())
        absent = [name for name in needed if shutil.which(name) is None]
        answers += rules.checks(config, "launcher", launcher=launcher, needed=needed, absent=absent)
        if launcher == "pdsh" and shutil.which("ssh"):
            answers += _ssh(config, list(hosts), around)
        if launcher == "slurm":
            tasks, gpus = around.get("SLURM_NTASKS", ""), sum(map(len, hosts.values()))
            answers += rules.first(config, "slurm job", job=around.get("SLURM_JOB_ID"), tasks=tasks, gpus=gpus)
    if not hosts or next(iter(hosts)) in _own_names():
        port = reader.value(config, "master_port")
        if launcher == "slurm" and around.get("MASTER_PORT", "").isdigit():
            port = int(around["MASTER_PORT"])
        answers += rules.checks(config, "port", port=port, trouble=ports.trouble(port))
    answers += [*_shared_memory(config), *_locks(config, around)]
    if python is not None:
        answers += [*deepspeed(config, python), *_flash(config, python, around)]
    return [*answers, *_compiler(config, around), *_disk(config, base)]


def named_hosts(config: Mapping[str, Any], hostfile: str | os.PathLike[str] | None = None) -> list[Check]:
    """What is wrong with the hosts wherever it is asked (a hostfile may be made later, and the start be on one of them):
    a dry run refuses it as a start does."""
    answers, hosts = _hosts(config, hostfile)
    lost = [check for check in answers if hosts and hostfiles.lost_by_deepspeed(config.get("include") or "")]
    return [*lost, *_ranks(config, hosts)]


def _launcher(config: Mapping[str, Any]) -> str:
    return str(reader.value(config, "launcher")).lower()


def _hosts(config: Mapping[str, Any], hostfile: Any) -> tuple[list[Check], dict[str, list[int]]]:
    named = hostfile or config.get("hostfile")
    if not named:
        return [], {}
    try:
        left = hostfiles.selected(config, hostfiles.read(named), as_deepspeed=True)
    except HaigoError as error:
        return [Check("hosts", "fail", error.problem, error.fix)], {}
    facts = {"named": named, "left": left, "first": next(iter(left)), "here": _own_names()}
    lost = hostfiles.lost_by_deepspeed(config.get("include") or "")
    return rules.first(config, "hosts", launcher=_launcher(config), lost=lost, **facts), left


def _ranks(config: Mapping[str, Any], hosts: Mapping[str, list[int]]) -> list[Check]:
    return rules.checks(config, "ranks", launcher=_launcher(config), hosts=hosts)


def _own_names() -> set[str]:
    name = socket.gethostname()
    return {"localhost", "127.0.0.1", name, name.split(".")[0], os.environ.get("SLURMD_NODENAME", name)}


def _ssh(config: Mapping[str, Any], hosts: list[str], environ: Mapping[str, str]) -> list[Check]:
    """A login on every host without a password, as pdsh will do it (its PDSH_SSH_ARGS_APPEND included)."""
    try:
        more = shlex.split(environ.get("PDSH_SSH_ARGS_APPEND", ""))
    except ValueError:
        return [Check("ssh", "fail", "PDSH_SSH_ARGS_APPEND has an open quote.", "mend it")]

    def trouble(host: str) -> str | None:
        argv = ["ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=5", *more, host, "true"]
        try:
            done = subprocess.run(
                argv,
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
        wrong = [(host, why) for host, why in zip(hosts, pool.map(trouble, hosts), strict=True) if why is not None]
    return rules.first(config, "ssh", hosts=hosts, wrong=wrong)


def _shared_memory(config: Mapping[str, Any], place: str = "/dev/shm") -> list[Check]:
    if not os.path.isdir(place):
        return []
    return rules.first(config, "shared memory", place=place, usage=shutil.disk_usage(place))


def _locks(config: Mapping[str, Any], environ: Mapping[str, str]) -> list[Check]:
    """Locks of torch's extension builds: a build that was killed leaves one, and every later start waits for it for ever."""
    home = environ.get("HOME") or os.path.expanduser("~")
    root = Path(environ.get("TORCH_EXTENSIONS_DIR") or Path(home) / ".cache" / "torch_extensions")
    locks = [path for pattern in ("lock", "*/lock", "*/*/lock") for path in root.glob(pattern) if path.is_file()]
    ages = sorted(((time.time() - path.stat().st_mtime, str(path)) for path in locks), reverse=True)
    return rules.first(config, "extension lock", ages=ages, quote=shlex.quote)


def deepspeed(config: Mapping[str, Any], python: str) -> list[Check]:
    """Whether the installed DeepSpeed is GPT-NeoX's fork, asked without importing it."""
    fork, version = checkout.deepspeed(python) or (False, "")
    return rules.first(config, "deepspeed", python=python, fork=fork, version=version)


def _flash(config: Mapping[str, Any], python: str, environ: Mapping[str, str]) -> list[Check]:
    """flash-attn in GPT-NeoX's environment, against what the config asks for."""
    root = Path(environ["GPT_NEOX_DIR"]) if environ.get("GPT_NEOX_DIR") else None
    asked = str(config.get("attention_config") or "global")
    facts = {"there": checkout.flash_attention(python), "pinned": checkout.flash_requirements(root), "python": python}
    # relative positions are left out by flash's kernels
    plain = not any(kind in asked for kind in {*neox_args.ATTENTION} - {"global"}) and config.get("pos_emb") != "rpe"
    return rules.first(config, "flash", wanted="flash" in asked, plain=plain, **facts)


def _compiler(config: Mapping[str, Any], environ: Mapping[str, str]) -> list[Check]:
    """nvcc, with which GPT-NeoX builds its fused kernels at every start, found as torch finds it."""
    fused = [key for key in _KERNELS if reader.value(config, key)]
    named = environ.get("CUDA_HOME") or environ.get("CUDA_PATH")
    on_path = shutil.which("nvcc", path=environ.get("PATH"))
    nvcc = Path(named or (Path(on_path).parents[1] if on_path else "/usr/local/cuda")) / "bin" / "nvcc"
    return rules.first(config, "compiler", fused=fused, nvcc=nvcc) if fused else []


def checkpoint_bytes(config: Mapping[str, Any], parameters: int) -> int:
    """Bytes of one checkpoint: weights in training precision, and 12 bytes a parameter of Adam in float32 with mixed
    precision (master weights and two moments), 8 without."""
    mixed = rules.computed_in(config) != "fp32"
    optimizer = 0 if config.get("no_save_optim") else 12 if mixed else 8
    return parameters * ((2 if mixed else 4) + optimizer)


def _disk(config: Mapping[str, Any], base: Path) -> list[Check]:
    save = config.get("save")
    if not save:
        return []
    place = base / save
    while not place.exists() and place != place.parent:
        place = place.parent
    try:
        vocabulary = load(base / str(config.get("vocab_file"))).vocab_size
        one = checkpoint_bytes(config, derive.parameters(config, derive.padded_vocab(config, vocabulary))[1])
    except HaigoError:
        one = None
    iters, factor, last = (config.get(key) for key in ("train_iters", "checkpoint_factor", "keep_last_n_checkpoints"))
    written = -(-iters // factor) if iters and isinstance(factor, int) and factor > 0 else 1
    # the next one is written before the oldest goes; milestones stay
    kept, marks = min(written, last + 1) if last else written, len(checkpoints.milestones(config))
    facts = {"free": shutil.disk_usage(place).free, "one": one, "kept": kept, "marks": marks, "every": kept + marks}
    return rules.first(config, "disk", place=place, **facts)
