"""Where a supervised run goes on from, and what has to be changed in its config for that. Files are looked at; only `latest` is
written, and checkpoints are moved aside, never deleted.

Three things that GPT-NeoX would get wrong on its own: a torn checkpoint or a lost `latest` (see `launch.checkpoints`); a
finetuning run that was interrupted (`finetune: true` with `load` naming the base model would begin at step 0 again); and
`keep_last_n_checkpoints` after going back, which counts by number and would delete the new checkpoints, not the old.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from haigo import files, yamlfile
from haigo.cli import Refused
from launch.neox import checkpoints, milestones, saved_files
from launch.neox.checkpoints import Choice
from launch.train import record

ASIDE = "aside"


@dataclass(frozen=True)
class Resume:
    """What a start begins with."""

    save: Path | None = None
    """None: nothing is kept, and a restart begins at step 0."""
    choice: Choice = Choice(None, None)
    changes: dict[str, Any] = field(default_factory=dict)
    """Keys of the config that are replaced for this start, or left out (None)."""
    newer: list[str] = field(default_factory=list)
    """Checkpoints after the chosen one, which stand in the way of `keep_last_n_checkpoints`."""

    @property
    def step(self) -> int:
        return self.choice.step

    def finished(self, config: Mapping[str, Any]) -> bool:
        """Whether the run that this config describes is done."""
        last = checkpoints.last_step(config)
        return last is not None and self.choice.tag is not None and self.step >= last


def choose(
    config: Mapping[str, Any], base: Path, gpus: int | None = None, poisoned_from: int | None = None, deep: bool = False
) -> Resume:
    """Find out where a run goes on from; changes nothing.

    Args:
        config: what `reader.load` gave.
        base: where relative paths start (GPT-NeoX's checkout).
        gpus: all GPUs, where it is known.
        poisoned_from: checkpoints of this step and later are not good.
        deep: read every byte of the checkpoint that is chosen.

    Raises:
        Refused: no checkpoint is good, or the save folder holds those of another run.
    """
    if not config.get("save"):
        return Resume()
    save = base / str(config["save"])
    load = base / str(config["load"]) if config.get("load") else None
    choice = checkpoints.decide(save, config, gpus, poisoned_from, deep)
    if choice.tag is None:
        if deep and load is not None:
            _check_base(load, config)
        return Resume(save, choice)
    same = load is not None and os.path.realpath(load) == os.path.realpath(save)
    changes: dict[str, Any] = {}
    if not same or config.get("finetune"):
        if record.read(save) is None:
            what = "finetune starts from step 0" if same else f"`load` names {load or 'nothing'}"
            raise Refused(
                f"{save} already holds {choice.tag}, and {what}: GPT-NeoX would write over what is there.",
                f"name another save folder, or write load: {save} (without finetune) to go on with that run",
            )
        changes = {"load": str(save), "iteration": None}  # the step of what it once started from
        if config.get("finetune"):
            changes["finetune"] = False
    marks = milestones.kept(save)  # whose files GPT-NeoX would write over, and with them the milestones'
    newer = [
        one.tag
        for one in choice.there
        if one.step > choice.step and (config.get("keep_last_n_checkpoints") or one.step in marks)
    ]
    return Resume(save, choice, changes, newer)


def _check_base(load: Path, config: Mapping[str, Any]) -> None:
    """Read every byte of what a first start takes its weights from; what is not there at all is preflight's to say.

    Raises:
        Refused: it is damaged.
    """
    step = config.get("iteration")
    tag = f"global_step{step}" if step is not None else checkpoints.latest(load)
    if tag and (damage := saved_files.damaged(load / tag)):
        raise Refused(f"{load / tag}: {damage}.", "copy it again from where it was written")


def prepare(resume: Resume) -> list[str]:
    """Do what the start needs: write `latest`, move newer checkpoints aside.

    Returns:
        What was done, a sentence each.
    """
    if resume.save is None or resume.choice.tag is None:
        return []
    notes = []
    if checkpoints.repair(resume.save, resume.choice):
        notes.append(
            f"{resume.choice.why}: {resume.save / 'latest'} now names {resume.choice.tag}"
            + (f" (it named {resume.choice.named})." if resume.choice.named else ".")
        )
    for tag in resume.newer:
        try:
            target = files.put_aside(resume.save / tag, resume.save / "haigo" / ASIDE / tag)
        except OSError as error:
            if error.errno != errno.EXDEV:  # haigo/ is a link to another disk
                raise
            target = files.put_aside(resume.save / tag, resume.save / f"{ASIDE}-{tag}")
        notes.append(
            f"{tag} was moved to {target}: it is newer than where the run goes on from, and "
            "keep_last_n_checkpoints would delete new checkpoints instead of it."
        )
    return notes + milestones.put_aside(resume.save, resume.step)


def changed(config: Mapping[str, Any], changes: Mapping[str, Any], source: Path, folder: Path) -> Path:
    """Write a config with some keys replaced into the run's folder. One file with all keys: none may stand in two files.

    Args:
        config: what `reader.load` gave.
        changes: the keys to replace.
        source: the first of the given files, which gives the name.
        folder: the run's own.
    """
    target = folder / "configs" / f"{source.stem}.yml"
    replaced = ", ".join(f"{key}: {value}" for key, value in changes.items() if value is not None)
    yamlfile.write(target, with_changes(config, changes), f"{source} with {replaced}")
    return target


def with_changes(config: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A config with some keys replaced, and those whose new value is None left out."""
    return {key: value for key, value in {**config, **changes}.items() if value is not None or key not in changes}
