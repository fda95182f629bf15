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

import json
import sys
from collections.abc import Sequence

from haigo import cli, flags
from launch.neox import batch_job, sbatch


def main(argv: Sequence[str] | None = None) -> int | None:
    options = flags.parse("launch.slurm", __doc__, sbatch.SlurmOptions, argv)
    made = sbatch.write(options)
    for line in made.warnings:
        print(f"haigo: {line}", file=sys.stderr)
    number = batch_job.submit(made.script, "sbatch", "--parsable") if options.submit else None
    if options.json:
        extra = str(made.extra) if made.extra else None
        print(json.dumps({"script": str(made.script), "extra": extra, "job": number, "warnings": made.warnings}))
    elif number:
        print(f"job {number}: {made.script}, log {options.log(number)}")
    else:
        print(f"wrote {made.script}{f' and {made.extra}' if made.extra else ''}; submit it with: sbatch {made.script}")
    return None


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
