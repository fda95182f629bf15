"""How a supervised run is stopped by a signal: taken note of, answered when the time is right, told in the end."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from haigo.cli import HaigoError
from launch.neox import checkpoints
from launch.train import requeue, resume, signals
from launch.train.options import SuperviseOptions

RESERVE_S = 5.0
"""Of the grace, for stopping the ranks themselves."""
_KILL_WAIT_S = 25.0  # Slurm kills a job half a minute after SIGTERM (KillWait), whatever grace USR1 leaves


class Stop(Exception):
    """The run is stopped for good: exit code and what to say."""

    def __init__(self, code: int, problem: str, fix: str = "") -> None:
        super().__init__(problem)
        self.code, self.problem, self.fix = code, problem, fix


class Stopping:
    """The signals of one run and what follows from them.

    Args:
        options: with `grace_seconds` and `requeue`.
        config: what `reader.load` gave.
        root: where relative paths start.
        gpus: all GPUs, where it is known.
    """

    def __init__(self, options: SuperviseOptions, config: Mapping[str, Any], root: Path, gpus: int | None) -> None:
        self.config, self.root, self.gpus = config, root, gpus
        self.requeue = options.requeue
        self.signal: int | None = None
        """The last one that came."""
        self.signals = 0
        self._grace = options.grace_seconds if options.grace_seconds is not None else 25.0 if options.requeue else 0.0

    @contextlib.contextmanager
    def caught(self) -> Iterator[None]:
        """Take note of signals instead of dying of them."""

        def take(number: int, frame: object) -> None:
            self.signal = number
            self.signals += 1

        with signals.handled(take, signal.SIGUSR1):
            yield

    @property
    def grace(self) -> float:
        """Seconds from the signal until everything must have stopped."""
        short = self.requeue and self.signal == signal.SIGTERM
        return min(self._grace, _KILL_WAIT_S) if short else self._grace

    @property
    def for_ranks(self) -> int:
        """The signal that the ranks get."""
        return self.signal if self.signal in (signal.SIGINT, signal.SIGHUP) else signal.SIGTERM

    def goal(self, iteration: int | None, step_at: float, step_s: float | None, save_s: float) -> int | None:
        """The checkpoint that is worth waiting for after a signal; None for none.

        Args:
            iteration: the last step that the log told of.
            step_at: when it did (monotonic clock).
            step_s: seconds a step.
            save_s: seconds that a save takes.
        """
        if self.signal in (signal.SIGINT, signal.SIGHUP):
            return None
        goal = requeue.next_save(self.config, iteration or 0)
        left, since = self.grace - RESERVE_S, time.monotonic() - step_at
        return goal if requeue.worth_waiting(goal, iteration, step_s, save_s, left, since) else None

    def saved(self, goal: int) -> bool:
        """Whether that checkpoint is there and whole."""
        save = self.root / str(self.config["save"])
        with contextlib.suppress(OSError):
            if checkpoints.latest(save) == f"global_step{goal}":
                return checkpoints.problem(self.config, self.gpus, save, f"global_step{goal}") is None
        return False

    def stopped(self, iteration: int | None) -> Stop:
        """After all ranks have stopped: the job is put back into the queue where that was asked for.

        Args:
            iteration: the last step that the log told of.

        Returns:
            What to end with.
        """
        number = self.signal or signal.SIGTERM
        lost = ""
        with contextlib.suppress(HaigoError):
            kept = resume.choose(self.config, self.root, self.gpus).step
            done = iteration or kept
            lost = f" at step {done:,}, of which {max(0, done - kept):,} since {f'global_step{kept}' if kept else 'the start'}"
            lost += " have to be done again"
        sentence = f"stopped by signal {number}{lost}. The same command goes on from there."
        if self.requeue and number in (signal.SIGTERM, signal.SIGUSR1):
            try:
                sentence += f" {requeue.requeue()}"
            except HaigoError as error:
                sentence += f" {error.problem}"
        return Stop(128 + (signal.SIGTERM if number == signal.SIGUSR1 else number), sentence)
