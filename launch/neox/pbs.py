"""A qsub script that trains GPT-NeoX configs on PBS nodes (PBS Professional, OpenPBS): whether they can run, and its text."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from haigo import files
from haigo.cli import Failed, HaigoError, Refused
from haigo.options import Options, count, option
from launch.neox import every_node, nodelist
from neox_configs import derive, phases, reader

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,229}")
_WORD = re.compile(r"[\x21-\x7e]+( [\x21-\x7e]+)*")
_CHUNK = "ngpus={gpus}:mpiprocs=1"


@dataclass(frozen=True, kw_only=True)
class PbsOptions(Options):
    """What the job of `launch.pbs` asks for, and what it runs."""

    configs: list[str] = option("one run's GPT-NeoX config files", positional=True, metavar="CONFIG")
    nodes: int = count("nodes of the run")
    gpus_per_node: int = count("GPUs of a node", 4)
    time: str = option("time limit of the job: 24:00:00 or 2-00:00:00")
    output: str = option("the script to write", flags=("-o", "--output"))
    submit: bool = option("hand it to qsub", False)
    launcher: str = option("how the job starts its other nodes", "pbsdsh", among=("mpirun", "pbsdsh", "ssh"))
    chunk: str | None = option("resources of a node in -l select=N:CHUNK; '' asks for none", None)
    place: str = option("-l place, so that every chunk is a node of its own; '' asks for none", "scatter")
    queue: str | None = option("queue (ABCI: rt_HF, or a reservation)", None)
    project: str | None = option("project (ABCI: the group)", None)
    account: str | None = option("account to charge", None)
    directives: list[str] = option(
        "a further #PBS line, such as '-v RTYPE=rt_HF'", [], flags=("--pbs",), metavar="LINE"
    )
    job_name: str | None = option("name of the job (the first config's)", None)
    logs: str | None = option("folder for logs (the script's)", None)
    before_end: int = count("seconds before the time limit at which the run is stopped and submitted again", 300)
    resubmits: int = count("submit again at most", 100, least=0)
    json: bool = option("print JSON", False)

    @property
    def name(self) -> str:
        """Of the job."""
        return self.job_name or Path(self.configs[0]).stem

    @property
    def folder(self) -> Path:
        """For logs, absolute."""
        return Path(self.logs or Path(self.output).parent).resolve()

    @property
    def grace(self) -> int:
        """Seconds that a run may go on after USR1, to reach its next checkpoint; the rest is for stopping the ranks."""
        return max(self.before_end - 60, self.before_end // 2)


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
    try:
        derive.batch(config, job.nodes * job.gpus_per_node)
    except HaigoError as error:
        raise Refused(f"on {job.nodes} nodes x {job.gpus_per_node} GPUs: {error.problem}", error.fix) from None
    files.write_text(job.output, script(job, [str(path.resolve()) for path in configs], os.environ))
    return (
        []
        if config.get("save")
        else ["the config names no save folder: a job that is submitted again would start over"]
    )


def directives(job: PbsOptions) -> list[str]:
    """The `#PBS` lines.

    Raises:
        HaigoError: a value that PBS cannot take.
    """
    limit = nodelist.seconds(job.time)
    if limit and job.before_end >= limit:
        raise HaigoError(
            f"--before-end is {job.before_end} seconds and the time limit {limit}: the run would be stopped at once.",
            "give a longer --time, or a smaller --before-end",
            option=("before_end", "time"),
        )
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
    for name in ("GPT_NEOX_DIR", "GPT_NEOX_PYTHON"):
        if environ.get(name):
            lines.append(f"export {name}={shlex.quote(environ[name])}")
    known = {
        "python": sys.executable, "logs": str(job.folder), "name": job.name, "script": str(Path(job.output).resolve()),
        "launcher": job.launcher, "nodes": job.nodes, "gpus": job.gpus_per_node, "limit": nodelist.seconds(job.time),
        "before_end": job.before_end, "grace": job.grace, "resubmits": job.resubmits,
    }  # fmt: skip
    lines += [" ".join(f"{name}={shlex.quote(str(value))}" for name, value in known.items()), "start=${HAIGO_START:-1}"]
    lines += [f"run=({shlex.join(run)})"]
    body = files.read_text(Path(__file__).with_name("job_pbs.sh")).split("#@\n")[1]
    return "\n".join(lines) + "\n" + body


def submit(script: Path) -> str:
    """Hand the script to qsub; the job's name.

    Raises:
        HaigoError: there is no qsub here.
        Failed: qsub says no.
    """
    program = shutil.which("qsub")
    if program is None:
        raise HaigoError("there is no qsub here.", f"run it on a login node: qsub {script}")
    done = subprocess.run(
        [program, str(script)], capture_output=True, text=True, errors="replace", timeout=120, check=False
    )
    number = done.stdout.strip()
    if done.returncode != 0 or not re.fullmatch(r"\d+[^\s]*", number):
        raise Failed(f"qsub refuses {script}: {done.stderr.strip() or number}", "see its message")
    return number
