"""A qsub script that trains GPT-NeoX configs on PBS nodes (PBS Professional, OpenPBS): whether they can run, and its text."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from haigo import files
from haigo.cli import HaigoError
from haigo.options import count, option
from launch.neox import every_node
from launch.neox.batch_job import JobOptions, check_batch, exports
from neox_configs import phases, reader

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,229}")
_WORD = re.compile(r"[\x21-\x7e]+( [\x21-\x7e]+)*")
_CHUNK = "ngpus={gpus}:mpiprocs=1"


@dataclass(frozen=True, kw_only=True)
class PbsOptions(JobOptions):
    """What the job of `launch.pbs` asks for, and what it runs: one run."""

    launcher: str = option("how the job starts its other nodes", "pbsdsh", among=("mpirun", "pbsdsh", "ssh"))
    chunk: str | None = option("resources of a node in -l select=N:CHUNK; '' asks for none", None)
    place: str = option("-l place, so that every chunk is a node of its own; '' asks for none", "scatter")
    queue: str | None = option("queue (ABCI: rt_HF, or a reservation)", None)
    project: str | None = option("project (ABCI: the group)", None)
    directives: list[str] = option(
        "a further #PBS line, such as '-v RTYPE=rt_HF'", [], flags=("--pbs",), metavar="LINE"
    )
    resubmits: int = count("submit again at most", 100, least=0)


def write(job: PbsOptions) -> list[str]:
    """Write the script.

    Returns:
        Warnings.

    Raises:
        Refused: the config does not fit the nodes, or decides them itself; a config would be written over.
        HaigoError: a config cannot be read, or a value that PBS cannot take.
    """
    configs = [Path(name) for name in job.configs]
    files.check_output(job.output, inputs=configs)
    config = reader.load(phases.expand(configs)[0])
    reader.check_keys(config)
    every_node.check(config)
    warnings = check_batch(config, job.nodes, job.gpus_per_node)
    files.write_text(job.output, script(job, [str(path.resolve()) for path in configs], os.environ))
    return warnings


def directives(job: PbsOptions) -> list[str]:
    """The `#PBS` lines.

    Raises:
        HaigoError: a value that PBS cannot take.
    """
    limit = job.limit()
    if _NAME.fullmatch(job.name) is None:
        raise HaigoError(
            f"{job.name!r} cannot name a PBS job.", "give --job-name NAME of letters, digits, _ . -", "job_name"
        )
    chunk = _CHUNK.format(gpus=job.gpus_per_node) if job.chunk is None else job.chunk
    wanted = [f"-N {job.name}", f"-l select={job.nodes}{f':{chunk}' if chunk else ''}"]
    wanted += [f"-l place={job.place}"] if job.place else []
    wanted += [f"-l walltime={limit // 3600}:{limit // 60 % 60:02}:{limit % 60:02}"] if limit else []
    wanted += [
        f"-{flag} {value}" for flag, value in (("q", job.queue), ("P", job.project), ("A", job.account)) if value
    ]
    # the script appends its output to a log of its own; this is for what PBS itself has to say
    wanted += ["-j oe", f"-o {shlex.quote(str(job.folder))}/", "-r y", *job.directives]
    for line in wanted:
        if _WORD.fullmatch(line) is None:
            raise HaigoError(
                f"PBS cannot take `#PBS {line[:80]!r}`.", "give plain ASCII words; --logs names the folder"
            )
    return [f"#PBS {line}" for line in wanted]


def script(job: PbsOptions, run: Sequence[str], environ: Mapping[str, str]) -> str:
    """The whole script.

    Args:
        run: the config files, absolute.
        environ: where GPT_NEOX_DIR and GPT_NEOX_PYTHON are taken from; nothing else of it is written.

    Raises:
        HaigoError: as `directives`.
    """
    lines = ["#!/bin/bash", *directives(job), "", f"cd {shlex.quote(os.getcwd())} || exit 1"]
    lines += exports(environ)
    known = {
        "python": sys.executable, "logs": str(job.folder), "name": job.name, "script": str(Path(job.output).resolve()),
        "launcher": job.launcher, "nodes": job.nodes, "gpus": job.gpus_per_node, "limit": job.limit(),
        "before_end": job.before_end, "grace": job.grace, "resubmits": job.resubmits,
    }  # fmt: skip
    lines += [" ".join(f"{name}={shlex.quote(str(value))}" for name, value in known.items()), "start=${HAIGO_START:-1}"]
    lines += [f"run=({shlex.join(run)})"]
    body = files.read_text(Path(__file__).with_name("job_pbs.sh")).split("#@\n")[1]
    return "\n".join(lines) + "\n" + body
