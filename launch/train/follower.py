"""Any node but the first, of a run whose nodes are started one by one: it runs its part of what the first one starts."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from haigo import files
from haigo.cli import Failed, HaigoError
from launch.neox import checkout, every_node
from launch.train import causes, nodes, process, signals
from launch.train.options import DeepyOptions
from launch.train.process import Child
from launch.train.run import TrainingRun

_POLL_S = 0.4
_LAST_S = 60.0
"""Seconds that ranks have to end by themselves after the first node has ended well."""


def follow(options: DeepyOptions, root: Path, configs: Sequence[Path], here: every_node.Nodes) -> int:
    """Do what the first node says until it says that all is over.

    Returns:
        The first node's exit code, or 128 + the signal that stopped this one.

    Raises:
        Failed: the first node starts nothing for as long as `--hang-pause` allows a start to take.
    """
    run = TrainingRun(options, root, configs)
    every_node.check(run.config)
    python = str(checkout.interpreter())
    environment = every_node.cleared(checkout.environment(python, run.config))
    own = run.folder / nodes.FOLDER / str(here.rank)
    with files.owner(own):
        one = _Follower(run.folder, own, here, options.hang_pause)
        return one.follow(lambda told: process.start(
            every_node.command(here, here.rank, python, told["words"], told["port"]), root, environment, own, own / "output.log"
        ))  # fmt: skip


class _Follower:
    def __init__(self, folder: Path, own: Path, here: every_node.Nodes, patience: float) -> None:
        self.folder, self.own, self.here, self.patience = folder, own, here, patience
        self.child: Child | None = process.running(own)
        self.taken = 0
        with contextlib.suppress(HaigoError, OSError):
            self.taken = int(files.read_record(own / "taken.json", {"number": int})["number"])
        self.signal: int | None = None

    def follow(self, start: Any) -> int:
        def take(number: int, frame: object) -> None:
            self.signal = number

        first = nodes.state(self.folder) or {"number": 0, "kind": "end"}
        old_end = first["number"] if first["kind"] == "end" else 0
        beats, waiting = {self._beat()}, time.monotonic()
        self._say(f"{'still trains; waiting' if self.child else 'waits'} for the first node ({self.here.address})")
        with signals.handled(take, signal.SIGUSR1):
            while True:
                told = nodes.state(self.folder)
                if self.signal is not None:
                    return self._stopped()
                if self.child is not None and (ending := self.child.ending()):
                    self._say(
                        f"its ranks ended with {ending.code}"
                        + (f": {causes.in_words(ending.code)}" if ending.code else "")
                    )
                    self.child, waiting = None, time.monotonic()
                if told is not None and told["kind"] == "end" and told["number"] > old_end:
                    return self._over(int(told["code"]))
                beats.add(self._beat())
                # a start that was there before may be of a job long gone: its first node must still breathe
                fresh = told is not None and (told["number"] > first["number"] or len(beats) > 1)
                if told is not None and told["kind"] == "start" and told["number"] > self.taken and fresh:
                    if self.child is not None:
                        self.child.stop()
                    self.child, self.taken = start(told), told["number"]
                    files.write_json(self.own / "taken.json", {"number": self.taken})
                    self._say(f"started (start {self.taken}, pid {self.child.pid}); output: {self.child.log}")
                if self.child is None and time.monotonic() - waiting > self.patience:
                    raise Failed(
                        f"node {self.here.rank} waited {self.patience:,.0f} s, and the first node started nothing.",
                        f"look at the first node, and that both see {self.folder}",
                    )
                time.sleep(_POLL_S)

    def _beat(self) -> float:
        with contextlib.suppress(OSError), open(self.folder / "alive", "rb") as handle:
            return os.fstat(handle.fileno()).st_mtime
        return 0.0

    def _stopped(self) -> int:
        assert self.signal is not None
        if self.child is not None:
            self.child.stop()
        self._say(f"stopped by signal {self.signal}")
        return 128 + (signal.SIGTERM if self.signal == signal.SIGUSR1 else self.signal)

    def _over(self, code: int) -> int:
        end = time.monotonic() + (_LAST_S if code == 0 else 0)
        while self.child is not None and self.child.ending() is None and time.monotonic() < end:
            time.sleep(_POLL_S)
        if self.child is not None:
            self.child.stop()
        self._say(f"the first node ended with {code}")
        return code

    def _say(self, text: str) -> None:
        print(f"haigo: node {self.here.rank} of {self.here.count} {text}.", file=sys.stderr, flush=True)
