"""A qsub script that trains a GPT-NeoX config on PBS nodes (PBS Professional, OpenPBS), written to a file.

    python -m launch.pbs 1-3B.yml --nodes 2 --time 24:00:00 --output job.pbs
    python -m launch.pbs 7B.yml --nodes 4 --gpus-per-node 8 --time 24:00:00 --queue rt_HF --project GROUP --chunk "" \\
        --place "" --output job.pbs --submit                                                                    (ABCI 3.0)

The job runs `launch.deepy --every-node` on every node: on its first one, where the run is checked and supervised, and by pbsdsh
(or --launcher ssh, mpirun) on the others; MASTER_ADDR is the first host of PBS_NODEFILE. `--before-end` seconds before the time
limit the run is stopped, after its next checkpoint when that is near, and the same script is submitted again, to go on from the
last good checkpoint; where a node may not submit, the log says so. `qdel` ends it for good.
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from haigo import cli, flags
from launch.neox import batch_job, pbs


def main(argv: Sequence[str] | None = None) -> int | None:
    options = flags.parse("launch.pbs", __doc__, pbs.PbsOptions, argv)
    warnings = pbs.write(options)
    for line in warnings:
        print(f"haigo: {line}", file=sys.stderr)
    number = batch_job.submit(Path(options.output), "qsub") if options.submit else None
    if options.json:
        print(json.dumps({"script": options.output, "job": number, "warnings": warnings}))
    elif number:
        print(f"job {number}: {options.output}, log {options.folder}/{options.name}-{number.partition('.')[0]}.log")
    else:
        print(f"wrote {options.output}; submit it with: qsub {shlex.quote(options.output)}")
    return None


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
