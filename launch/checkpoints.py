"""Which of GPT-NeoX's checkpoints are whole, and which one a run would go on from.

    python -m launch.checkpoints SAVE_FOLDER [CONFIG.yml ...] [--deep] [--mend] [--json]

GPT-NeoX takes the checkpoint that the file `latest` names, or dies on it; without that file it starts from step 0 and writes
over the others. DeepSpeed's rank 0 writes `latest` without waiting for the other ranks' files, and a last checkpoint may be
saved over itself, so that a kill can leave `latest` with a torn one. Here every checkpoint is looked at: each expected
file is there, is not empty, and ends with a readable zip directory (`--deep` reads every byte and checks its CRC). With
`--mend` the newest good one is written into `latest` when that names none; nothing is ever deleted. `--keep` gives the
checkpoints of `extra_save_iters` a second name in SAVE_FOLDER/milestones (hard links), where keep_last_n_checkpoints does not
reach; `launch.deepy` does so by itself. Exit code 3 when none is good, or when `latest` is missing, torn, or names one that is
not good, and was not mended.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from haigo import cli, flags
from haigo.cli import HaigoError, Refused
from haigo.options import Options, few, option
from launch.neox import checkpoints, milestones
from neox_configs import phases, reader


@dataclass(frozen=True, kw_only=True)
class CheckpointsOptions(Options):
    """What `launch.checkpoints` looks at."""

    folder: str = option("GPT-NeoX's save folder", positional=True)
    configs: list[str] = option("the run's config (default: the one kept there)", [], positional=True, metavar="CONFIG")
    gpus: int | None = few("number of GPUs of the run, to count the optimizer's shards", None)
    deep: bool = option("read every byte and check its CRC", False)
    keep: bool = option("keep milestones (extra_save_iters) for good, as launch.deepy does", False)
    mend: bool = option("write the newest good one into `latest` if that names none", False)
    json: bool = option("print JSON", False)


def main(argv: Sequence[str] | None = None) -> int | None:
    options = flags.parse("launch.checkpoints", __doc__, CheckpointsOptions, argv)
    folder = Path(options.folder)
    if not folder.is_dir():
        raise HaigoError(f"{folder} is not a folder.", "name the save folder of a run")
    config = reader.load(phases.expand(options.configs)[-1]) if options.configs else checkpoints.read_config(folder)
    there = checkpoints.survey(folder, checkpoints.layout(config, options.gpus), options.deep)
    if not there:
        raise HaigoError(f"{folder} has no checkpoint.", "name the save folder of a run")
    none_good = None
    try:
        choice = checkpoints.choose(folder, there)
    except Refused as error:  # after the table, which says what is wrong with each
        choice, none_good = checkpoints.Choice(None, checkpoints.latest(folder)), error
    notes = milestones.keep(folder, config, options.gpus) if options.keep else []
    repaired = options.mend and none_good is None and checkpoints.repair(folder, choice)
    if options.json:
        rows = [{**asdict(one), "good": one.problem is None} for one in there]
        told: dict[str, Any] = {
            "checkpoints": rows,
            "latest": choice.named,
            "goes_on_from": choice.tag,
            "mended": repaired,
        }
        told |= {"milestones": milestones.kept(folder)}
        print(json.dumps(told, ensure_ascii=False, indent=2))
    else:
        for one in there:
            print(f"{one.tag:<20}{'good' if one.problem is None else f'torn: {one.problem}'}")
        if marks := milestones.kept(folder):
            print(f"kept for good in {folder / milestones.FOLDER}: {', '.join(map(str, marks))}")
        for line in notes:
            print(line)
    if none_good is not None:
        raise none_good
    if choice.tag != choice.named and not repaired:
        raise Refused(
            f"{folder / 'latest'} names {choice.named or 'nothing'} ({choice.why}): GPT-NeoX would not go on from "
            f"the newest good one, {choice.tag}.",
            "write it there: the same command with --mend",
        )
    if not options.json:
        was = f"{choice.named or 'nothing'} ({choice.why}) and now names {choice.tag}."
        print(f"latest named {was}" if repaired else f"latest names {choice.named}: a run goes on from it.")
    return None


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
