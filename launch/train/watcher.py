"""One start of a run, watched until it ends: its log is followed, its ranks' output gathered, hangs and signals answered.

Only files are read, so that another watcher can take this one's place at any time.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Mapping
from typing import Any

from haigo import files
from haigo.cli import HaigoError
from launch.neox import checkpoints
from launch.neox import log as neox_log
from launch.train import rank_logs, stopping
from launch.train.event_log import note
from launch.train.loss_guard import Alarm, LossGuard
from launch.train.options import DeepyOptions
from launch.train.outcome import Seen
from launch.train.process import Child, Ending
from launch.train.status_display import Display
from launch.train.stopping import Stopping
from launch.train.watchdog import Watchdog
from neox_configs import reader

HUNG = -1
"""The exit code of what was stopped because it hung."""
_POLL_S = 0.4
_PLACES_S = 5.0


class Watcher:
    """Watches a child.

    Args:
        child: what trains.
        begun: what was written down at its start (`start.json`).
        options: of `launch.deepy`.
        config: of the run.
        stopping: the signals that came.
        display: shows it.
        keep: keeps milestones; called when one was saved.

    Attributes:
        seen: what its log has told.
    """

    def __init__(
        self,
        child: Child,
        begun: Mapping[str, Any],
        options: DeepyOptions,
        config: Mapping[str, Any],
        stopping: Stopping,
        display: Display,
        keep: Callable[[], None],
    ) -> None:
        self.child, self.stopping, self.display = child, stopping, display
        self.seen = Seen()
        self._log = neox_log.Follower(child.log, int(begun["offset"]))
        self._apart = begun["ranks"] is not None
        self._ranks = rank_logs.Gatherer(child.folder / "ranks", child.log, begun["ranks"])
        if self._apart:
            with contextlib.suppress(HaigoError, OSError):
                self._ranks.places = files.read_record(child.folder / "places.json", {str: int})
        self._last, self._keep = checkpoints.last_step(config), keep
        self._marks = checkpoints.milestones(config)
        self._noted = time.monotonic()
        self._dog = Watchdog(options, time.monotonic(), int(reader.value(config, "log_interval")))
        self._guard = LossGuard(options)

    def watch(self) -> Ending | Alarm:
        """Watch it to its end, or until it was stopped because its loss went wrong.

        Raises:
            Stop: a signal ended it.
        """
        stop_at: tuple[int, float] | None = None
        answered = 0
        while True:
            ending = self.child.ending()
            behind = self._gather(last=ending is not None)
            # a slice at a time: however much a run prints, signals and a hang are answered between two slices
            for raw in self._log.within(_POLL_S, end=ending is not None and not behind):
                alarm = None
                # whatever a line holds, it must not end the watch
                with contextlib.suppress(ArithmeticError, LookupError, TypeError, ValueError):
                    alarm = self._line(neox_log.readable(raw))
                if alarm is not None:
                    self.child.stop()
                    return alarm
            behind = behind or self._log.behind
            if ending is not None:
                if behind and self.stopping.signals == answered:
                    continue
                # a run that has ended well by itself is judged as always: nothing is left to be queued again
                if self.stopping.signal is not None and ending.code != 0:
                    raise self.stopping.stopped(self.seen.iteration)
                return ending
            self.display.show(self._dog.phase)
            if hung := self._dog.hung(time.monotonic()):
                self.display.say(f"haigo: {hung}")
                note(self.child.folder, "hung", told=hung)
                self.child.stop()
                return Ending(HUNG)
            if self.stopping.signals > answered:
                stop_at, answered = self._stop_at(again=answered > 0), self.stopping.signals
            if stop_at is not None and (time.monotonic() > stop_at[1] or self.stopping.saved(stop_at[0])):
                self.child.stop()
                raise self.stopping.stopped(self.seen.iteration)
            time.sleep(0 if behind else _POLL_S)

    def _gather(self, last: bool) -> bool:
        """Bring the ranks' output into the log; whether there is more of it."""
        behind = False
        with contextlib.suppress(OSError):  # a full disk must not end the watch
            behind = self._apart and self._ranks.gather(end=last)
            if self._apart and time.monotonic() - self._noted > _PLACES_S:
                self._noted = time.monotonic()
                files.write_json(self.child.folder / "places.json", self._ranks.places)
        return behind

    def _stop_at(self, again: bool) -> tuple[int, float]:
        """After a signal: the checkpoint that is waited for and until when; where none is worth it, all is stopped now."""
        goal = None
        if not again:
            goal = self.stopping.goal(self.seen.iteration, self.seen.step_at, self.display.step_s, self.seen.save_s)
        if goal is None:
            self.child.stop(self.stopping.for_ranks)
            raise self.stopping.stopped(self.seen.iteration)
        number = self.stopping.signal
        self.display.say(f"haigo: signal {number}: waiting for the checkpoint of step {goal:,}, then stopping.")
        return goal, time.monotonic() + self.stopping.grace - stopping.RESERVE_S

    def _line(self, text: str) -> Alarm | None:
        """Take note of a line; the alarm for which the run has to be stopped."""
        now = time.monotonic()
        sign = self.seen.take(text)
        if isinstance(sign, neox_log.Step) and self._last is not None and sign.total > self._last:
            sign = dataclasses.replace(sign, total=self._last)
        if isinstance(sign, str):
            self._dog.other(sign, now)
        if not isinstance(sign, neox_log.Step):
            return None
        self._dog.step(sign, now)
        if passed := [step for step in self._marks if step < sign.iteration]:  # a step is logged before it is saved
            self._marks = self._marks[len(passed) :]
            self._keep()
        self.display.see(sign)
        alarm = self._guard.see(sign)
        if alarm is None:
            return None
        note(self.child.folder, alarm.kind, told=alarm.sentence, step=alarm.step)
        if alarm.stop:
            return alarm
        self.display.say(f"haigo: warning: {alarm.sentence}")
        return None
