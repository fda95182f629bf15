"""Runs GPT-NeoX as a child and finds out how it really went: signals to every rank, true exit code, log and checkpoint."""

from __future__ import annotations

import codecs
import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from haigo import files, redact, shown
from haigo.cli import Failed
from launch.neox import log as neox_log
from launch.neox import save_folder
from launch.train import causes, signals
from launch.train import runner as keeper

_GRACE_S = 15.0


@dataclass
class Outcome:
    """How a run ended."""

    code: int = 0
    """Exit code as a shell would say it: 128 + signal when a signal ended it."""
    iteration: int | None = None
    """The last step that the log tells of."""
    loss: float | None = None
    """The last training loss in the log."""
    nan_at: int | None = None
    """The first logged step whose loss was not a number."""
    orphans: bool = False
    """The launcher was gone while ranks still ran."""
    escaped: int = 0
    """Processes with a session of their own that still ran when the launcher was gone; they were stopped."""

    def cause(self) -> str:
        """The exit code in words."""
        return causes.in_words(self.code)

    def read(self, line: str) -> None:
        """Take note of one line of the log."""
        step = neox_log.step(line)
        if step is None:
            return
        self.iteration = step.iteration
        if step.loss is not None:
            self.loss = step.loss
            if not step.finite and self.nan_at is None:
                self.nan_at = step.iteration


def run(
    command: Sequence[str], folder: Path, environment: Mapping[str, str], log: str | os.PathLike[str] | None = None
) -> Outcome:
    """Run `command` in `folder`, in a session of its own, and wait for all of it to end.

    SIGINT, SIGTERM and SIGHUP go on to the whole group: a signal to deepy.py alone would leave its ranks training.
    What is still running when deepy.py has ended is stopped.

    Args:
        command: the words; no shell is involved.
        folder: where it runs.
        environment: all of its variables.
        log: a file that gets a copy of its output.
    """
    outcome = Outcome()
    mark = f"{os.getpid()}.{time.monotonic_ns()}"
    with contextlib.ExitStack() as stack:
        copy: IO[bytes] | None = None
        if log is not None:
            copy = stack.enter_context(files.append(log, anyones=True, buffering=0))
        child = subprocess.Popen(
            list(command),
            cwd=folder,
            env={**environment, keeper.MARK: mark},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        stack.enter_context(_forwarding(child.pid))
        # a thread, because orphans keep the pipe open after the child has gone
        reading = threading.Thread(target=_read, args=(child, outcome, copy), daemon=True)
        reading.start()
        code = child.wait()
        outcome.orphans = keeper.stop(child.pid)
        outcome.escaped = len(keeper.stop_escaped(mark, child.pid))
        reading.join(timeout=_GRACE_S)
    outcome.code = 128 - code if code < 0 else code
    return outcome


def judge(outcome: Outcome, config: Mapping[str, Any], base: Path) -> None:
    """Judge a training run whose exit code is 0 by its log and its last checkpoint.

    Raises:
        Failed: ranks were left behind, the loss was not a number, or the last step was not reached or not saved.
    """
    again = "find the cause in the log above, then run the same command again: it goes on from the last checkpoint"
    if outcome.orphans:
        raise Failed("GPT-NeoX's launcher ended with 0 while ranks were still training; they were stopped.", again)
    if outcome.nan_at is not None:
        raise Failed(
            f"GPT-NeoX ended with 0, but its loss was not a number at step {outcome.nan_at}.",
            "go back to a checkpoint before that step (its name into the file `latest`) with a lower lr",
        )
    steps = config.get("train_iters")
    if not isinstance(steps, int) or config.get("exit_interval"):
        return
    save = config.get("save")
    if save:
        latest, tag = base / save / "latest", save_folder.latest(base / save) or "nothing"
        if tag != f"global_step{steps}":
            raise Failed(f"GPT-NeoX ended with 0, but {latest} names {tag} and not global_step{steps}.", again)
    elif outcome.iteration is not None and outcome.iteration + int(config.get("log_interval", 100)) <= steps:
        raise Failed(f"GPT-NeoX ended with 0, but its log stops at step {outcome.iteration} of {steps}.", again)


def _read(child: subprocess.Popen[bytes], outcome: Outcome, copy: IO[bytes] | None) -> None:
    assert child.stdout is not None
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    # no more than so much of a line at a time: a child that writes no line end must neither fill the memory nor wait here
    for piece in iter(lambda: child.stdout.readline(neox_log.LONGEST), b""):  # type: ignore[union-attr]
        text = redact.text(decoder.decode(piece))  # DeepSpeed tells every variable that it hands on
        with contextlib.suppress(OSError, ValueError):  # nobody reads on, and the training must
            shown.raw(sys.stdout).write(shown.log(text))
            sys.stdout.flush()
        if copy is not None:
            with contextlib.suppress(OSError, ValueError):  # a full disk; closed, while orphans still print
                copy.write(text.encode())
        outcome.read(neox_log.readable(text.encode()))


@contextlib.contextmanager
def _forwarding(group: int) -> Iterator[None]:
    def pass_on(number: int, frame: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, number)

    # a caller in another thread than the main one stops the group itself
    with signals.handled(pass_on):
        yield
