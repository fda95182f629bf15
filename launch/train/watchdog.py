"""When a silent run has hung: no sign of life for many times what its steps take, with longer floors where silence is normal.

A lost NCCL message or a dead node makes every rank wait for ever, and the job burns its allocation. The steps' own pace is
the measure, because a line comes every `log_interval` steps, whatever those take. Start-up (loading, compiling, building
sample indices), saving and evaluating have no pace, so they have a floor of their own.
"""

from __future__ import annotations

import statistics
from collections import deque

from launch.neox.log import Step
from launch.train.options import SuperviseOptions

_UNKNOWN_STEP_S = 120.0  # what a step may take as long as none has been seen


_LEAP, _LEAP_INTERVALS = 100, 50
_FALLS = 3
_SIGNS_PAUSES = 10


class Watchdog:
    """Fed with signs of life, says when there have been none for too long.

    Life is a step above the one before: a loop that prints its step again and again, or falls back whenever it has got
    somewhere, is none. What saves, loads and evaluates is alive without steps, but not for ever.

    Args:
        options: how long silence may last (`hang_factor`, `hang_seconds`, `hang_pause`).
        now: the clock at the start, in seconds; any clock that does not go back.
        log_interval: steps from one step line to the next.
    """

    def __init__(self, options: SuperviseOptions, now: float, log_interval: int = 1) -> None:
        self.options = options
        self.last = now
        self.phase = "start"
        self._first = max(options.hang_pause, _UNKNOWN_STEP_S * log_interval)
        self._leap = max(_LEAP, _LEAP_INTERVALS * log_interval)
        self._last_step: float | None = None
        self._last: int | None = None
        self._highest = 0
        self._falls = 0
        self._held: int | None = None
        self._again = False
        self._gaps: deque[float] = deque(maxlen=100)

    def step(self, one: Step, now: float) -> None:
        """A step line came."""
        before = self._last
        self._again = not self._higher(one.iteration)
        if self._again:
            return
        if self._last_step is not None and before is not None and self.phase == "steps":
            # what the log says a step took counts as well: after a new watcher has read the old log at once, the clock knows
            # nothing of the pace
            told = (one.step_ms or 0.0) / 1000 * max(0, one.iteration - before)
            self._gaps.append(max(now - self._last_step, told))
        self._last_step = self.last = now
        # after the last step comes the last checkpoint, and then a test
        self.phase = "ending" if one.iteration >= one.total else "steps"

    def _higher(self, iteration: int) -> bool:
        """Whether a step is progress. Workers that are started again by their launcher go back and climb once more; that
        is progress too, a few times."""
        if self._last is None:
            self._last = self._highest = iteration
            return True
        if iteration - self._last > self._leap:
            # digits of two ranks run together look like a leap ("12" and "13": 1213); a true one is gone on from
            leapt = self._held is not None and 0 < iteration - self._held <= self._leap
            self._held = None if leapt else iteration
            if not leapt:
                return False
        before, self._last = self._last, iteration
        if iteration > self._highest:
            self._highest, self._falls = iteration, 0
            return True
        self._falls += iteration < before
        return iteration > before and self._falls <= _FALLS

    def other(self, kind: str, now: float) -> None:
        """Another sign of life came (see `neox_log.sign_of_life`)."""
        if self._last_step is not None and now - self._last_step > _SIGNS_PAUSES * self.options.hang_pause:
            return
        self.last = now
        if self.phase != "start":
            self.phase = kind

    def limit(self) -> float:
        """Seconds of silence that are allowed now."""
        pace = self.options.hang_factor * statistics.median(self._gaps) if self._gaps else 0.0
        if self.phase == "start":
            return self._first
        if self.phase == "steps":
            # before the pace is known, one interval may still take as long as the first did
            return max(self.options.hang_seconds, pace) if self._gaps else self._first
        return max(self.options.hang_pause, pace)

    def hung(self, now: float) -> str | None:
        """One sentence when the run has hung, else None."""
        silent = now - self.last
        if silent <= self.limit():
            return None
        pace = f", and steps came every {statistics.median(self._gaps):.1f} s" if self._gaps else ""
        again = f"; step {self._last} comes again and again" if self._again else ""
        return f"no sign of life for {silent:.0f} s while in phase '{self.phase}'{pace}{again}."
