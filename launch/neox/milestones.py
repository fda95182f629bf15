"""Checkpoints that are kept for good: at the steps of `extra_save_iters`, beside the newest ones that GPT-NeoX keeps.

`keep_last_n_checkpoints` removes every older folder. So a milestone gets a second one, `milestones/global_stepN` in the save
folder, of hard links: no bytes are copied, and what GPT-NeoX removes is only the other name. GPT-NeoX, `launch.convert` and
`launch.configs --from` read it like any checkpoint.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from haigo import files
from launch.neox import checkpoints

FOLDER = "milestones"


def kept(save: str | os.PathLike[str]) -> list[int]:
    """The steps whose milestones are there, in order."""
    return checkpoints.steps(Path(save) / FOLDER)


def keep(save: str | os.PathLike[str], config: Mapping[str, Any], gpus: int | None = None) -> list[str]:
    """Keep the milestones that are whole and not kept yet.

    Args:
        save: the save folder.
        config: what `reader.load` gave.
        gpus: all GPUs of the run, where it is known.

    Returns:
        What was done, or could not be, a sentence each.
    """
    folder, notes = Path(save), []
    for step in sorted({*checkpoints.milestones(config)} & {*checkpoints.steps(folder)} - {*kept(folder)}):
        tag = f"global_step{step}"
        # its configs are the last that GPT-NeoX writes
        if checkpoints.problem(config, gpus, folder, tag) or not checkpoints.kept_configs(folder / tag):
            continue
        try:
            files.link_tree(folder / tag, folder / FOLDER / tag)
        except OSError as error:
            why = error.args[0][0][2].partition("] ")[2] if isinstance(error, shutil.Error) else error.strerror
            notes.append(f"{tag} cannot be kept for good ({why}): copy it before keep_last_n_checkpoints removes it.")
        else:
            notes.append(f"{tag} is kept for good in {folder / FOLDER}.")
    return notes


def put_aside(save: str | os.PathLike[str], step: int) -> list[str]:
    """Rename the milestones after `step`, where a run goes on from there: they are of a future that will be another, and the
    steps are kept anew.

    Returns:
        What was done, a sentence each.
    """
    folder, notes = Path(save) / FOLDER, []
    for one in kept(save):
        if one > step:
            target = files.put_aside(folder / f"global_step{one}", folder / f"aside-global_step{one}")
            notes.append(f"milestone {one} was moved to {target}: it is newer than where the run goes on from.")
    return notes
