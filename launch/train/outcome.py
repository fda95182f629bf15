"""What the log of one start has told, and whether a run that ended with 0 is really done: GPT-NeoX also ends so after a loss of
NaN or a killed launcher."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from haigo.cli import Failed
from launch.neox import checkpoints
from launch.neox import log as neox_log
from launch.train import causes
from launch.train.process import Ending


@dataclass
class Seen:
    """What one start of a run has shown so far."""

    iteration: int | None = None
    """The last step that the log tells of."""
    loss: float | None = None
    """The last training loss in the log."""
    nan_at: int | None = None
    """The first logged step whose loss was not a number."""
    tail: deque[str] = field(default_factory=lambda: deque(maxlen=causes.TAIL_LINES))
    step_at: float = 0.0
    """When the last step was told (monotonic clock)."""
    save_s: float = 0.0
    """Seconds that the last save took."""
    _saving_since: float | None = None

    @property
    def stepped(self) -> bool:
        """Whether it did a step."""
        return self.iteration is not None

    def take(self, line: str) -> neox_log.Step | str | None:
        """Take note of one line of the log; what it is: a step, another sign of life, or None."""
        self.tail.append(line)
        now = time.monotonic()
        step = neox_log.step(line)
        if step is None:
            kind = neox_log.sign_of_life(line)
            if kind == "saving":
                self._saving_since = self._saving_since or now
            return kind
        if self._saving_since is not None:
            self.save_s, self._saving_since = now - self._saving_since, None
        self.iteration, self.step_at = step.iteration, now
        if step.loss is not None:
            self.loss = step.loss
            if not step.finite and self.nan_at is None:
                self.nan_at = step.iteration
        return step


def judge(ending: Ending, seen: Seen, config: Mapping[str, Any], save: Path | None, nan: bool = True) -> None:
    """Judge a training run whose exit code is 0 by its log and its last checkpoint.

    Args:
        config: what `reader.load` gave.
        save: its save folder.
        nan: whether a loss that is no number counts.

    Raises:
        Failed: ranks were left behind, the loss was not a number, or the last step was not reached or not saved.
    """
    again = "find the cause in the log above, then run the same command again: it goes on from the last checkpoint"
    if ending.orphans:
        raise Failed("GPT-NeoX's launcher ended with 0 while ranks were still training; they were stopped.", again)
    if nan and seen.nan_at is not None:
        raise Failed(
            f"GPT-NeoX ended with 0, but its loss was not a number at step {seen.nan_at}.",
            "go back to a checkpoint before that step (its name into the file `latest`) with a lower lr",
        )
    steps = config.get("train_iters")
    if not isinstance(steps, int) or config.get("exit_interval"):
        return
    if save is not None:
        tag = checkpoints.latest(save) or "nothing"
        if tag != f"global_step{steps}":
            raise Failed(f"GPT-NeoX ended with 0, but {save / 'latest'} names {tag} and not global_step{steps}.", again)
    elif seen.iteration is not None and seen.iteration + int(config.get("log_interval", 100)) <= steps:
        raise Failed(f"GPT-NeoX ended with 0, but its log stops at step {seen.iteration} of {steps}.", again)


def not_arrived(
    ending: Ending, seen: Seen, config: Mapping[str, Any], save: Path | None, gpus: int | None, nan: bool
) -> causes.Cause | None:
    """As `judge`, and whether the last checkpoint is whole: why a run that ended with 0 is not finished; None when it is."""
    try:
        judge(ending, seen, config, save, nan)
    except Failed as error:
        return causes.Cause(error.problem, error.fix)
    steps = config.get("train_iters")
    if save is None or not isinstance(steps, int) or config.get("exit_interval"):
        return None
    tag = f"global_step{steps}"
    wrong = checkpoints.problem(save, checkpoints.layout(config, gpus), tag)
    return causes.Cause(f"GPT-NeoX ended with 0, but {tag} {wrong}.", "", causes.TORN) if wrong else None
