"""Watches the loss: what is no number stops the run, what jumps and stays is told (or stops it, when asked to).

GPT-NeoX trains on after a NaN to the end, saves it into every checkpoint and exits with 0. A spike is judged against the
median of the last losses and their usual jump from one to the next, so that noise and a single bad batch raise no alarm.
"""

from __future__ import annotations

import itertools
import statistics
from collections import deque
from dataclasses import dataclass

from launch.neox.log import Step
from launch.train.options import SuperviseOptions

STOP, OFF = "stop", "off"
_ENOUGH = 20
_NORMAL = 1.4826  # times the median absolute value of a normal variable about 0: its standard deviation


@dataclass(frozen=True)
class Alarm:
    """The loss went wrong."""

    kind: str
    """`nan` or `spike`."""
    stop: bool
    step: int
    """The logged step at which it was first seen."""
    healthy: int
    """The last logged step before it whose loss was in order; 0 when there is none."""
    sentence: str


class LossGuard:
    """Fed with steps, answers with alarms: one for NaN, one for each spike.

    A spike is a loss above the median by so many standard deviations (estimated from the median jump between neighbours) and
    by at least so many nats a token, in so many logged losses in a row.
    """

    def __init__(self, options: SuperviseOptions) -> None:
        self.options = options
        self._past: deque[float] = deque(maxlen=options.spike_window)
        self._healthy = 0
        self._above: list[Step] = []
        self._told = False
        self._nan_told = False

    def see(self, one: Step) -> Alarm | None:
        """Take note of one step line."""
        if one.loss is None or (one.skipped and one.loss == 0.0):  # every step of the interval was skipped (fp16)
            return None
        if not one.finite:
            return self._not_a_number(one)
        alarm = self._spike(one) if self.options.spike != OFF else None
        if not self._above:
            self._healthy = one.iteration
        return alarm

    def _not_a_number(self, one: Step) -> Alarm | None:
        if self.options.nan == OFF or self._nan_told:
            return None
        self._nan_told = True
        return Alarm(
            "nan",
            self.options.nan == STOP,
            one.iteration,
            self._healthy,
            f"the loss was not a number at step {one.iteration}.",
        )

    def _spike(self, one: Step) -> Alarm | None:
        assert one.loss is not None
        if len(self._past) >= min(_ENOUGH, self.options.spike_window):
            past = list(self._past)
            middle = statistics.median(past[-_ENOUGH:])
            # from one to the next, so that the fall of the loss early in training does not count as noise
            jumps = [abs(after - before) for before, after in itertools.pairwise(past)]
            spread = _NORMAL / 2**0.5 * statistics.median(jumps)
            if one.loss > middle + max(self.options.spike_sigma * spread, self.options.spike_rise):
                self._above.append(one)
                if len(self._above) < self.options.spike_patience:
                    return None
                alarm = None
                if not self._told:
                    first = self._above[0]
                    alarm = Alarm(
                        "spike",
                        self.options.spike == STOP,
                        first.iteration,
                        self._healthy,
                        f"the loss rose from about {middle:.3f} to {one.loss:.3f} from step {first.iteration} on and "
                        "stays there.",
                    )
                self._told = True
                self._past.append(one.loss)  # after an alarm the new level is what later losses are compared with
                return alarm
        self._above = []
        self._told = False
        self._past.append(one.loss)
        return None
