"""Whether a crashed run is started again, and how long to wait before. Pure: no processes, no files.

A crash that repeats itself is not worth a retry; one that comes after hours of training mostly is. So a run that did no
step is started again only after a cause that passes (a port in use, a lost connection), and the number of restarts is
counted since the last new checkpoint: a run that moves on may crash as often as it likes, one that does not may not.
"""

from __future__ import annotations

from dataclasses import dataclass

from launch.train import causes
from launch.train.causes import Cause

FIRST_WAIT_S = 10.0
LONGEST_WAIT_S = 600.0


@dataclass(frozen=True)
class Decision:
    """What to do after a crash."""

    again: bool
    wait_s: float = 0.0
    why: str = ""
    """Why not, when not."""
    new_port: bool = False


class Budget:
    """Counts restarts since the last progress.

    Args:
        most: restarts in a row without a new checkpoint in between; 0 for none at all.
        first_wait_s: seconds before the first restart; doubles with each one without progress.
    """

    def __init__(self, most: int, first_wait_s: float = FIRST_WAIT_S, used: int = 0) -> None:
        self.most = most
        self.first_wait_s = first_wait_s
        self.used = used

    def after(self, cause: Cause, stepped: bool, progressed: bool) -> Decision:
        """Decide.

        Args:
            cause: why the run ended.
            stepped: whether it did a step since it was started.
            progressed: whether there is a newer good checkpoint than when it was started.
        """
        if progressed:
            self.used = 0
        if self.most == 0:
            return Decision(False, why="restarts are off (--max-restarts 0)")
        if cause.kind == causes.LASTING:
            return Decision(False, why="the same would happen again")
        if cause.kind == causes.UNKNOWN and not stepped:
            return Decision(False, why="it ended before its first step, and would again")
        if self.used >= self.most:
            return Decision(False, why=f"{self.most} restarts in a row brought no new checkpoint")
        self.used += 1
        wait = min(LONGEST_WAIT_S, self.first_wait_s * 2 ** (self.used - 1))
        return Decision(True, wait, new_port=cause.kind == causes.PORT)
