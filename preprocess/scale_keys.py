"""Which key of a run file of `preprocess.scale` says what an option of a step says: failures speak the user's words."""

from __future__ import annotations

import dataclasses

from haigo.flags import spellings

from .options import CleanOptions, ScaleDecontaminate, ScaleDedup, ScaleResplit, ScaleRun
from .score_options import ScoreOptions

SECTIONS = {
    "clean": CleanOptions, "dedup": ScaleDedup, "decontaminate": ScaleDecontaminate, "score": ScoreOptions,
    "resplit": ScaleResplit,
}  # fmt: skip
"""Keys of the run file that hold the options of a part of the work, and what they may hold."""


def part_of(step: str) -> str:
    """The part of the work that a step belongs to, as --only and the run file call it."""
    return {"split": "clean", "gather": "clean"}.get(step, step.split("-")[0])


def key_of(step: str, option: str) -> str | None:
    """The key that says what an option of a step says, as in `HaigoError.spelled`; None where there is none.

    Args:
        step: or its part.
        option: by its field (`skip_broken`) or its flag (`hojichar`).
    """
    if option in (each.name for each in dataclasses.fields(ScaleRun)):
        return option
    part = part_of(step)
    flag = f"--{option.replace('_', '-')}"
    for each in dataclasses.fields(SECTIONS[part]) if part in SECTIONS else ():
        if option == each.name or flag in spellings(each):
            return f"{part}.{each.name}"
    return None
