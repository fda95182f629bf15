"""An sbatch script that trains GPT-NeoX configs: whether they can run on the job's nodes, and its text. Directives are quoted
for Slurm's own reader, everything else for bash."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from haigo import files, yamlfile
from haigo.cli import HaigoError, Refused
from haigo.options import count, option
from launch.neox import checkpoints
from launch.neox.batch_job import JobOptions, check_batch, exports
from launch.neox.launcher import KEPT, PREFIXES
from neox_configs import phases, reader

_KEYS: dict[str, dict[str, Any]] = {
    # without no_ssh_check DeepSpeed tries ssh to the first host even when srun starts everything
    "slurm": {"launcher": "slurm", "deepspeed_slurm": True, "no_ssh_check": True},
    "pdsh": {"launcher": "pdsh"},
}
_FILTERS = ("include", "exclude", "num_nodes", "num_gpus", "hostfile", "master_addr")
_SETTINGS = ("account", "partition", "qos", "constraint", "reservation", "comment")


@dataclass(frozen=True, kw_only=True)
class SlurmOptions(JobOptions):
    """What the job of `launch.slurm` asks for, and what it runs."""

    launcher: str = option("how GPT-NeoX reaches the nodes", "slurm", among=("pdsh", "slurm"))
    array: bool = option("every CONFIG is a run of its own", False)
    at_once: int | None = count("runs of the array at the same time (all)", None)
    max_requeues: int = count("queue again at most", 100)
    partition: str | None = option("partition", None)
    qos: str | None = option("quality of service", None)
    constraint: str | None = option("features of the nodes", None)
    reservation: str | None = option("reservation", None)
    comment: str | None = option("a comment for the job", None)
    cpu_only: bool = option("ask Slurm for no GPUs (trials on CPU)", False)

    def log(self, number: str) -> str:
        """Where Slurm writes the output of the job of this number."""
        return str(self.folder / (f"{self.name}-{number}_*.log" if self.array else f"{self.name}-{number}.log"))


@dataclass(frozen=True)
class Written:
    """What was written."""

    script: Path
    extra: Path | None
    """The file with the launcher's keys, where the config lacked them."""
    warnings: list[str]


def check(config: Mapping[str, Any], nodes: int, gpus: int, launcher: str) -> tuple[dict[str, Any], list[str]]:
    """Whether a config can run on so many nodes.

    Args:
        config: what `reader.load` gave.
        nodes: nodes of the job.
        gpus: GPUs of each.
        launcher: `slurm` or `pdsh`.

    Returns:
        (keys that the config lacks, warnings).

    Raises:
        Refused: the world size does not fit, or a key of the config says something else.
    """
    reader.check_keys(config)
    lacking = {}
    for name, value in _KEYS[launcher].items():
        if config.get(name) not in (None, value):
            raise Refused(f"the config says {name}: {config[name]}, and --launcher is {launcher}.", f"take {name} out")
        if config.get(name) is None and reader.value({}, name) != value:
            lacking[name] = value
    if launcher != "slurm" and config.get("deepspeed_slurm"):
        raise Refused(f"the config says deepspeed_slurm, and --launcher is {launcher}.", "take deepspeed_slurm out")
    for name in _FILTERS:
        if config.get(name) not in (None, "", -1):
            raise Refused(f"the config gives {name}, which the job itself decides.", f"take {name} out of the config")
    fixed = config.get("global_num_gpus")
    if fixed is not None and fixed != nodes * gpus:
        raise Refused(f"global_num_gpus is {fixed}, and {nodes} nodes x {gpus} GPUs are {nodes * gpus}.", "take it out")
    return lacking, check_batch(config, nodes, gpus)


def write(job: SlurmOptions) -> Written:
    """Write the script, and the small config beside it where one is needed.

    Raises:
        Refused: as `check`; a config would be written over.
        HaigoError: a config cannot be read, or a value that Slurm cannot take.
    """
    output, configs = Path(job.output), [Path(name) for name in job.configs]
    extra = output.resolve().with_name(f"{output.stem}-launcher.yml")
    for target in (output, extra):
        files.check_output(target, inputs=configs)
    groups = [[path] for path in configs] if job.array else [configs]
    loaded = [
        reader.load(phases.expand(group)[0]) for group in groups
    ]  # the launcher's keys are the same in all phases
    named = [f"{group[0]} (run {number})" for number, group in enumerate(groups)]
    checkpoints.require_apart(list(zip(named, loaded, strict=True)), "--array")
    checked = [check(each, job.nodes, job.gpus_per_node, job.launcher) for each in loaded]
    lacking = checked[0][0]
    if any(keys != lacking for keys, _ in checked):
        raise Refused("some of the configs have the launcher's keys and some do not.", "write them into all or none")
    if lacking:
        yamlfile.write(extra, lacking, f"keys for {output.name}: GPT-NeoX joins this file with the run's own")
    absolute = [[*(str(path.resolve()) for path in group), *([str(extra)] if lacking else [])] for group in groups]
    for group in absolute:
        reader.load(phases.expand(group)[0])
    files.write_text(output, script(job, absolute, dict(os.environ)))
    warnings = [f"{group[0].name}: {line}" for group, (_, lines) in zip(groups, checked, strict=True) for line in lines]
    return Written(output, extra if lacking else None, warnings)


def quoted(text: str) -> str:
    """A value for an `#SBATCH --name=` line: Slurm's reader knows double quotes and backslashes.

    Raises:
        HaigoError: control characters, or longer than 1,000 characters.
    """
    if len(text) > 1000 or any(ord(letter) < 32 or ord(letter) == 127 for letter in text):
        raise HaigoError(f"{text[:40]!r} has a control character or is too long for Slurm.", "give plain text")
    if re.fullmatch(r"[A-Za-z0-9_.,:@+%/-]+", text):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def directives(job: SlurmOptions, runs: int) -> list[str]:
    """The `#SBATCH` lines.

    Raises:
        HaigoError: a value that Slurm cannot take.
    """
    job.limit()
    if re.search(r"[/%\\]", job.name) or not job.name:
        raise HaigoError(f"{job.name!r} cannot name a job and its log.", "give --job-name NAME without / and %")
    if "%" in str(job.folder) or "\\" in str(job.folder):
        raise HaigoError(
            f"the folder {job.folder} has a % or a backslash, which Slurm replaces in log names.", "give --logs"
        )
    wanted: dict[str, str | int | None] = {
        "job-name": job.name,
        "nodes": job.nodes,
        "ntasks-per-node": job.gpus_per_node,
        "gpus-per-node": None if job.cpu_only else job.gpus_per_node,
        "time": job.time,
        "output": f"{job.folder}/%x-%A_%a.log" if job.array else f"{job.folder}/%x-%j.log",
        "open-mode": "append",
        "signal": f"B:USR1@{job.before_end}",
        "array": f"0-{runs - 1}{f'%{job.at_once}' if job.at_once else ''}" if job.array else None,
        **{name: getattr(job, name) for name in _SETTINGS},
    }
    lines = [f"#SBATCH --{name}={quoted(str(value))}" for name, value in wanted.items() if value is not None]
    return [*lines, "#SBATCH --requeue"]


def script(job: SlurmOptions, runs: Sequence[Sequence[str]], environ: Mapping[str, str]) -> str:
    """The whole script.

    Args:
        runs: the config files of each run, absolute; one run unless it is an array.
        environ: where GPT_NEOX_DIR and GPT_NEOX_PYTHON are taken from; nothing else of it is written.

    Raises:
        HaigoError: as `directives`.
    """
    lines = ["#!/bin/bash", *directives(job, len(runs)), "", f"cd {shlex.quote(os.getcwd())} || exit 1"]
    lines += exports(environ)
    lines += [
        f"python={shlex.quote(sys.executable)} logs={shlex.quote(str(job.folder))} gpus={job.gpus_per_node}"
        f" requeues={job.max_requeues} grace={job.grace} child="
    ]
    if job.array:
        lines += ['case "$SLURM_ARRAY_TASK_ID" in']
        lines += [f"  {number}) run=({shlex.join(run)}) ;;" for number, run in enumerate(runs)]
        lines += ['  *) echo "haigo: no run of this number"; exit 2 ;;', "esac"]
    else:
        lines += [f"run=({shlex.join(runs[0])})"]
    body, prolog, run = files.read_text(Path(__file__).with_name("job.sh")).split("#@\n")[1:]
    prefixes = "|".join((*PREFIXES, "NCCL", "WANDB_API_KEY"))
    prolog = prolog.replace("@PREFIXES@", prefixes).replace("@KEPT@", KEPT) if job.launcher == "slurm" else ""
    return "\n".join(lines) + "\n" + body + prolog + run
