"""An sbatch script that trains a GPT-NeoX config on Slurm nodes, written to a file; `--submit` hands it in.

    python -m launch.slurm 1-3B.yml --nodes 2 --time 24:00:00 --output job.sbatch
    python -m launch.slurm a.yml b.yml c.yml --array --nodes 1 --time 4:00:00 --output swarm.sbatch --submit

The job writes its own hostfile, sets MASTER_ADDR and MASTER_PORT, and runs launch.deepy on its first node, which checks the
config and starts and supervises GPT-NeoX: through srun (`--launcher slurm`, no ssh needed) or through pdsh. Some minutes before
the time limit the run is stopped, after its next checkpoint when that is near, and the job put back into the queue, where it
goes on from its last good checkpoint. A cancelled job stays cancelled. With --array every
CONFIG is a run of its own; otherwise the CONFIGs are one run's files, as for deepy.py. Keys that the launcher needs and the
config lacks are put into a small file beside the script.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from haigo import cli, files, yamlfile
from haigo.cli import Failed, HaigoError, Refused
from launch.neox import sbatch
from neox_configs import derive, reader

_KEYS: dict[str, dict[str, Any]] = {
    # without no_ssh_check DeepSpeed tries ssh to the first host even when srun starts everything
    "slurm": {"launcher": "slurm", "deepspeed_slurm": True, "no_ssh_check": True},
    "pdsh": {"launcher": "pdsh"},
}
_FILTERS = ("include", "exclude", "num_nodes", "num_gpus", "hostfile", "master_addr")


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
    try:
        derive.batch(config, nodes * gpus)
    except HaigoError as error:
        raise Refused(f"on {nodes} nodes x {gpus} GPUs: {error.problem}", error.fix) from None
    warnings = []
    if not config.get("save"):
        warnings.append("it names no save folder: a job put back into the queue would start over")
    return lacking, warnings


def write(output: Path, configs: Sequence[Path], job: sbatch.Job) -> Written:
    """Write the script, and the small config beside it where one is needed.

    Raises:
        Refused: as `check`; a config would be written over.
        HaigoError: a config cannot be read.
    """
    extra = output.resolve().with_name(f"{output.stem}-launcher.yml")
    for target in (output, extra):
        files.check_output(target, inputs=configs)
    groups = [[path] for path in configs] if job.array else [list(configs)]
    found = [check(reader.load(group), job.nodes, job.gpus, job.launcher) for group in groups]
    lacking = [keys for keys, _ in found]
    if any(keys != lacking[0] for keys in lacking):
        raise Refused("some of the configs have the launcher's keys and some do not.", "write them into all or none")
    if lacking[0]:
        yamlfile.write(extra, lacking[0], f"keys for {output.name}: GPT-NeoX joins this file with the run's own")
    absolute = [[*(str(path.resolve()) for path in group), *([str(extra)] if lacking[0] else [])] for group in groups]
    for group in absolute:
        reader.load(group)
    files.write_text(output, sbatch.script(job, absolute, dict(os.environ)))
    warnings = [f"{group[0].name}: {line}" for group, (_, lines) in zip(groups, found, strict=True) for line in lines]
    return Written(output, extra if lacking[0] else None, warnings)


def submit(script: Path) -> str:
    """Hand the script to sbatch; the job's number.

    Raises:
        HaigoError: there is no sbatch here.
        Failed: sbatch says no.
    """
    program = shutil.which("sbatch")
    if program is None:
        raise HaigoError("there is no sbatch here.", f"run it on a login node: sbatch {script}")
    done = subprocess.run(
        [program, "--parsable", str(script)], capture_output=True, text=True, errors="replace", timeout=120, check=False
    )
    number = done.stdout.strip().split(";")[0]
    if done.returncode != 0 or not re.fullmatch(r"\d+", number):
        raise Failed(f"sbatch refuses {script}: {done.stderr.strip() or done.stdout.strip()}", "see its message")
    return number


def main(argv: Sequence[str] | None = None) -> int | None:
    args = _parser().parse_args(argv)
    script = Path(args.script)
    job = sbatch.Job(
        nodes=args.nodes,
        gpus=args.gpus_per_node,
        time=args.time,
        name=args.job_name or Path(args.configs[0]).stem,
        logs=Path(args.logs or script.parent).resolve(),
        launcher=args.launcher,
        array=args.array,
        at_once=args.at_once,
        before_end=args.before_end,
        requeues=args.max_requeues,
        settings={name: getattr(args, name) for name in sbatch.SETTINGS},
        python=sys.executable,
        folder=Path.cwd(),
        overcommit_cpu=args.cpu_only,
    )
    made = write(script, [Path(name) for name in args.configs], job)
    for line in made.warnings:
        print(f"haigo: {line}", file=sys.stderr)
    number = submit(made.script) if args.submit else None
    if args.json:
        extra = str(made.extra) if made.extra else None
        print(json.dumps({"script": str(made.script), "extra": extra, "job": number, "warnings": made.warnings}))
    elif number:
        print(f"job {number}: {made.script}, log {job.log(number)}")
    else:
        print(f"wrote {made.script}{f' and {made.extra}' if made.extra else ''}; submit it with: sbatch {made.script}")
    return None


def _parser() -> argparse.ArgumentParser:
    parser = cli.parser("launch.slurm", __doc__)
    parser.add_argument("configs", nargs="+", metavar="CONFIG", help="GPT-NeoX config files")
    parser.add_argument("--nodes", type=cli.count, required=True, help="nodes of a run")
    parser.add_argument("--gpus-per-node", "--gpus_per_node", type=cli.count, default=4, help="GPUs of a node (4)")
    parser.add_argument(
        "--time", required=True, help="time limit of the job, as Slurm writes it: 24:00:00 or 2-00:00:00"
    )
    parser.add_argument("-o", "--output", dest="script", required=True, help="the script to write")
    parser.add_argument("--submit", action="store_true", help="hand it to sbatch")
    parser.add_argument(
        "--launcher", choices=sorted(_KEYS), default="slurm", help="how GPT-NeoX reaches the nodes (slurm)"
    )
    parser.add_argument("--array", action="store_true", help="every CONFIG is a run of its own")
    parser.add_argument("--at-once", "--at_once", type=cli.count, help="runs of the array at the same time (all)")
    parser.add_argument("--job-name", "--job_name", help="name of the job (the first config's)")
    parser.add_argument("--logs", help="folder for logs, hostfiles (the script's)")
    parser.add_argument("--before-end", "--before_end", type=cli.count, default=300,
                        help="seconds before the time limit at which the run is stopped and queued again (300)")  # fmt: skip
    parser.add_argument(
        "--max-requeues", "--max_requeues", type=cli.count, default=100, help="queue again at most (100)"
    )
    for name, help_text in sbatch.SETTINGS.items():
        parser.add_argument(f"--{name}", help=help_text)
    parser.add_argument("--cpu-only", "--cpu_only", action="store_true", help="ask Slurm for no GPUs (trials on CPU)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
