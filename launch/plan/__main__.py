"""Says what fits and how long it takes, before anything is queued.

    python -m launch.plan --model 7B --cluster a100-40gb --nodes 2 --tokens 20e9

Prints the layouts of the model that fit on these nodes (tensor and pipeline parallelism, ZeRO stage, micro batch,
accumulation, recomputation of activations), best first, with the memory of the fullest GPU by part, and tokens a second
and days as an interval from what stock software has shown to the best seen on the hardware. Where nothing fits it
ends with exit code 3, says how much is missing and names the smallest number of nodes that is enough.

`--calibrate LOG` learns from the first logged steps of a real run (or from several, or a CSV of measured speeds: columns in
`launch.plan.calibrate`) and narrows the interval.
`--layout "TP1 PP0 ZeRO1 micro 16 recompute"` asks about one layout: whether
it fits, its memory by part, and the nearest that does.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from haigo import cli, flags
from haigo.cli import Refused
from launch.plan import show
from launch.plan.options import PlanOptions
from launch.plan.planner import plan


def main(argv: Sequence[str] | None = None) -> int | None:
    options = flags.parse("launch.plan", __doc__, PlanOptions, argv)
    planned = plan(options)
    if options.json:
        print(json.dumps(show.as_json(planned), ensure_ascii=False, indent=2))
    elif planned.asked is not None:
        print(show.judged(planned))
    elif planned.layouts:
        print(show.text(planned, options.rows, options.price))
    if planned.asked is not None:
        return None if planned.asked.fits else cli.REFUSED
    if not planned.layouts:
        raise Refused(planned.refusal(), planned.remedy())
    return None


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
