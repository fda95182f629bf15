"""DeepSpeed's hostfile: one `HOST slots=GPUS` a line, `#` comments, and what include/exclude/num_nodes leave of it.

    python -m launch.hostfile HOSTFILE [--include "a@b:0,2"] [--exclude c] [--json]
    python -m launch.hostfile HOSTFILE --from slurm [--gpus-per-node 4]
    python -m launch.hostfile HOSTFILE --from "node[01-16]" --gpus-per-node 4

The first reads a file as DeepSpeed will. `--from` writes one: from the Slurm job it is called in (SLURM_JOB_NODELIST), from
PBS_NODEFILE (`--from pbs`), from whichever of both is there (`--from job`), or from hosts named in Slurm's notation.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass

from haigo import cli, files, flags
from haigo.cli import HaigoError
from haigo.options import Options, few, option
from launch.neox import hostfile


@dataclass(frozen=True, kw_only=True)
class HostfileOptions(Options):
    """What `launch.hostfile` reads or writes."""

    hostfile: str = option("the file to read, or with --from to write", positional=True)
    source: str | None = option("slurm, pbs, job, or hosts: node[01-16]", None, flags=("--from",), metavar="SOURCE")
    gpus_per_node: int | None = few("GPUs of each host, for --from", None)
    include: str = option("hosts and GPUs to keep, as DeepSpeed writes it", "")
    exclude: str = option("hosts and GPUs to leave out", "")
    json: bool = option("print JSON", False)


def main(argv: Sequence[str] | None = None) -> int | None:
    options = flags.parse("launch.hostfile", __doc__, HostfileOptions, argv)
    if options.source is not None:
        files.check_output(options.hostfile)
        hostfile.write(options.hostfile, hostfile.from_job(options.source, os.environ, options.gpus_per_node))
    elif options.gpus_per_node is not None:
        raise HaigoError("--gpus-per-node is for --from.", "leave it out", option="gpus_per_node")
    left = hostfile.select(hostfile.read(options.hostfile), options.include, options.exclude)
    if options.json:
        print(json.dumps(left, indent=2))
    else:
        for host, gpus in left.items():
            print(f"{host} slots={len(gpus)}")
        print(f"{len(left)} hosts, {sum(map(len, left.values()))} GPUs")
    return None


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
