"""What jobs of every batch system share: their options, whether a config fits the nodes, and handing a script over."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from haigo.cli import Failed, HaigoError, Refused
from haigo.options import Options, count, option
from launch.neox import nodelist
from neox_configs import derive


@dataclass(frozen=True, kw_only=True)
class JobOptions(Options):
    """What a job asks for, and what it runs."""

    configs: list[str] = option("GPT-NeoX config files", positional=True, metavar="CONFIG")
    nodes: int = count("nodes of a run")
    gpus_per_node: int = count("GPUs of a node", 4)
    time: str = option("time limit of the job: 24:00:00 or 2-00:00:00")
    output: str = option("the script to write", flags=("-o", "--output"))
    submit: bool = option("hand it to the queue", False)
    job_name: str | None = option("name of the job (the first config's)", None)
    logs: str | None = option("folder for logs, hostfiles (the script's)", None)
    before_end: int = count("seconds before the time limit at which the run is stopped and queued again", 300)
    account: str | None = option("account to charge", None)
    json: bool = option("print JSON", False)

    @property
    def name(self) -> str:
        """Of the job."""
        return self.job_name or Path(self.configs[0]).stem

    @property
    def folder(self) -> Path:
        """For logs and hostfiles, absolute."""
        return Path(self.logs or Path(self.output).parent).resolve()

    @property
    def grace(self) -> int:
        """Seconds that a run may go on after USR1, to reach its next checkpoint.

        Queues look at limits every half minute, and stopping the ranks and queueing again take their time too.
        """
        return max(self.before_end - 60, self.before_end // 2)

    def limit(self) -> int | None:
        """Seconds that the job may take; None for no limit.

        Raises:
            HaigoError: `time` is none, or all of it is before the end.
        """
        limit = nodelist.seconds(self.time)
        if limit and self.before_end >= limit:
            raise HaigoError(
                f"--before-end is {self.before_end} seconds and the time limit {limit}: the run would be stopped at once.",
                "give a longer --time, or a smaller --before-end",
                option=("before_end", "time"),
            )
        return limit


def check_batch(config: Mapping[str, Any], nodes: int, gpus: int) -> list[str]:
    """Whether a config's batch fits so many nodes.

    Args:
        config: what `reader.load` gave.
        nodes: nodes of the job.
        gpus: GPUs of each.

    Returns:
        Warnings.

    Raises:
        Refused: it does not.
    """
    try:
        derive.batch(config, nodes * gpus)
    except HaigoError as error:
        raise Refused(f"on {nodes} nodes x {gpus} GPUs: {error.problem}", error.fix) from None
    return [] if config.get("save") else ["it names no save folder: a job put back into the queue would start over"]


def exports(environ: Mapping[str, str]) -> list[str]:
    """The lines that tell a job where GPT-NeoX is; nothing else of an environment is written."""
    there = (name for name in ("GPT_NEOX_DIR", "GPT_NEOX_PYTHON") if environ.get(name))
    return [f"export {name}={shlex.quote(environ[name])}" for name in there]


def submit(script: Path, name: str, *words: str) -> str:
    """Hand a script to a batch system; the job's number.

    Args:
        name: its program, with its `words`.

    Raises:
        HaigoError: there is no such program here.
        Failed: it says no.
    """
    program = shutil.which(name)
    if program is None:
        raise HaigoError(f"there is no {name} here.", f"run it on a login node: {name} {script}")
    done = subprocess.run(
        [program, *words, str(script)], capture_output=True, text=True, errors="replace", timeout=120, check=False
    )
    number = done.stdout.strip().split(";")[0]
    # a number, or a number and a server's name
    if done.returncode != 0 or not re.fullmatch(r"\d[^\s]*", number):
        raise Failed(f"{name} refuses {script}: {done.stderr.strip() or done.stdout.strip()}", "see its message")
    return number
