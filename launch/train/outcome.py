"""What the log of one start has told, and whether a run that ended with 0 is really done: GPT-NeoX also ends so after a loss of
NaN or a killed launcher."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from launch.neox import checkpoints
from launch.neox import log as neox_log
from launch.train import causes
from launch.train.causes import Cause
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


_AGAIN = "find the cause in the log above, then run the same command again: it goes on from the last checkpoint"


def unfinished(
    ending: Ending,
    seen: Seen,
    config: Mapping[str, Any],
    save: Path | None,
    nan: bool = True,
    whole: Callable[[Path, str], str | None] | None = None,
) -> Cause | None:
    """Why a training run whose exit code is 0 is not finished, by its log and its last checkpoint; None when it is.

    Args:
        config: what `reader.load` gave.
        save: its save folder.
        nan: whether a loss that is no number counts.
        whole: says why a checkpoint of a save folder cannot be loaded, in words after its name; None: it is not asked.
    """
    steps = checkpoints.last_step(config)
    if ending.orphans:
        return Cause("GPT-NeoX's launcher ended with 0 while ranks were still training; they were stopped.", _AGAIN)
    if nan and seen.nan_at is not None:
        return Cause(
            f"GPT-NeoX ended with 0, but its loss was not a number at step {seen.nan_at}.",
            "go back to a checkpoint before that step (its name into the file `latest`) with a lower lr",
        )
    if steps is None or (config.get("exit_interval") and steps == config["train_iters"]):
        return None
    if save is None:
        if seen.iteration is None or seen.iteration + int(config.get("log_interval", 100)) > steps:
            return None
        return Cause(f"GPT-NeoX ended with 0, but its log stops at step {seen.iteration} of {steps}.", _AGAIN)
    tag, last = checkpoints.latest(save) or "nothing", f"global_step{steps}"
    if tag != last:
        return Cause(f"GPT-NeoX ended with 0, but {save / 'latest'} names {tag} and not {last}.", _AGAIN)
    torn = whole(save, last) if whole else None
    return Cause(f"GPT-NeoX ended with 0, but {last} {torn}.", "", causes.TORN) if torn else None
