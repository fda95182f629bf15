"""The runs of a table, each under a watcher of its own: started where there is room, followed by their logs, stopped."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from haigo import files
from haigo.cli import Failed, HaigoError
from haigo.progress import Screen, clock
from launch.neox import log as neox_log
from launch.neox.log import Follower
from launch.train import process, runs_table
from launch.train.process import Child
from launch.train.runs_table import STOP, Entry
from neox_configs import phases, reader

_POLL_S = 0.3
_SLICE_S = 0.3  # for reading one run's new output; the others wait meanwhile
_WHOLE_LOG_S = 60.0
_LINE_EVERY_S = 30.0
_STOP_S = 120.0  # a watcher stops its ranks first, and may be waiting for a checkpoint
WAITING, RUNNING, DONE, FAILED = "waiting", "running", "finished", "failed"


class Run:
    """One row of the table and what becomes of it."""

    def __init__(self, entry: Entry, number: int, folder: Path) -> None:
        self.entry, self.number, self.folder = entry, number, folder
        self.state = WAITING
        self.code: int | None = None
        self.child: Child | None = None
        self.step: neox_log.Step | None = None
        self.seq_length = int(reader.load(phases.expand(entry.configs)[0]).get("seq_length") or 0)
        self.output, self.watch = Follower(entry.log or folder / "output.log"), Follower(folder / "watch.log")
        self.said = ""
        """The last thing that its watcher said."""

    def start(self) -> None:
        """Start its watcher."""
        self.folder.mkdir(parents=True, exist_ok=True)
        words = runs_table.command(self.entry, self.number, self.folder, [sys.executable])
        environment = {**os.environ, "HAIGO_QUIET": "1"}
        if self.entry.gpus:
            environment["CUDA_VISIBLE_DEVICES"] = self.entry.gpus
        for log in (self.output, self.watch):  # only what comes from now on
            log.offset = log.path.stat().st_size if log.path.exists() else 0
        # the folder that holds `launch`: also where Haigo is run from a clone
        root = Path(__file__).resolve().parents[2]
        self.child = process.start(words, root, environment, self.folder, self.watch.path)
        self.state, self.code = RUNNING, None

    def find(self, tidy: bool = True) -> None:
        """Find it again where a killed watch left it running."""
        self.child = process.running(self.folder, tidy)
        self.state = WAITING if self.child is None else RUNNING

    def poll(self) -> bool:
        """Take note of what has happened; True when its state has changed."""
        if self.child is None:
            return False
        ending = self.child.ending()
        self.read(_SLICE_S)
        for raw in self.watch.within(_SLICE_S, end=ending is not None):
            text = neox_log.readable(raw)
            if text.startswith("haigo: "):
                self.said = text.removeprefix("haigo: ")
        if ending is not None:
            self.child = None
            self.ended(ending)
        return ending is not None

    def ended(self, ending: process.Ending) -> None:
        """Take note of how it ended."""
        self.code, self.state = ending.code, DONE if ending.code == 0 else FAILED

    def read(self, seconds: float, end: bool = False) -> None:
        """Read the steps of its log, for no longer than so many seconds."""
        for raw in self.output.within(seconds, end):
            self.step = neox_log.step(neox_log.readable(raw)) or self.step

    def row(self) -> dict[str, Any]:
        """The run for the table and for JSON."""
        one = self.step or neox_log.Step(0, 0)
        known = self.step is not None
        left = (one.total - one.iteration) * one.step_ms / 1000 if one.step_ms and self.state == RUNNING else None
        return {
            "name": self.entry.name,
            "where": self.entry.where,
            "state": self.state,
            "code": self.code,
            "step": one.iteration if known else None,
            "steps": one.total if known else None,
            "loss": one.loss if one.finite else None,
            "tokens_per_s": one.samples_per_s * self.seq_length if one.samples_per_s else None,
            "seconds_left": left,
            "said": self.said,
            "folder": str(self.folder),
        }


def table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Rows of runs as lines for people."""
    form = "{:<20}{:<22}{:<12}{:>17}{:>9}{:>12}{:>11}"
    lines = [form.format("run", "where", "state", "step", "loss", "tokens/s", "left")]
    for row in rows:
        cells = (
            row["name"][:19],
            row["where"][:21],
            f"{row['state']} {row['code']}" if row["state"] == FAILED else row["state"],
            f"{row['step']:,}/{row['steps']:,}" if row["step"] is not None else "",
            f"{row['loss']:.4f}" if row["loss"] is not None else "",
            f"{row['tokens_per_s']:,.0f}" if row["tokens_per_s"] else "",
            clock(row["seconds_left"]) if row["seconds_left"] is not None else "",
        )
        lines.append(form.format(*cells).rstrip())
    return lines


class Watch:
    """Starts and watches all runs of a table.

    Args:
        entries: the rows.
        folder: where each run has a folder of its own.
        at_once: how many may run at a time; None for as many as there is room for.
    """

    def __init__(self, entries: Sequence[Entry], folder: Path, at_once: int | None = None) -> None:
        self.folder, self.at_once = folder, at_once
        self.runs = [Run(entry, number, folder / entry.name) for number, entry in enumerate(entries)]
        self.screen = Screen(_LINE_EVERY_S, live_s=1.0)

    def run(self) -> int:
        """Find what a killed watch left running, start what has room, and watch until all have ended.

        Raises:
            Failed: at least one failed.
            KeyboardInterrupt: Ctrl-C or SIGTERM; all were stopped.
        """
        for run in self.runs:
            run.find()
        try:
            while any(run.state in (WAITING, RUNNING) for run in self.runs):
                if (self.folder / STOP).exists():
                    raise KeyboardInterrupt
                for run in self.runs:
                    if run.state == WAITING and self._room(run):
                        run.start()
                        self.screen.say(f"{run.entry.name}: started on {run.entry.where}")
                for run in self.runs:
                    if run.poll():
                        code = f" with {run.code}" if run.state == FAILED else ""
                        # its watcher ends with "finished: step 120, ..." itself
                        said = run.said.removeprefix(f"{run.state}: ")
                        self.screen.say(f"{run.entry.name}: {run.state}{code}{': ' + said if said else ''}")
                if self.screen.due():
                    self.screen.draw(self.text())
                time.sleep(_POLL_S)
        except KeyboardInterrupt:
            self.stop()
            raise
        self.screen.say(self.text())
        failed = [run.entry.name for run in self.runs if run.state == FAILED]
        if failed:
            raise Failed(
                f"{len(failed)} of {len(self.runs)} runs failed: {', '.join(failed)}.",
                f"see {self.folder}/NAME/watch.log, then run the same command again: finished runs stay as they are",
            )
        return 0

    def _room(self, run: Run) -> bool:
        busy = [other for other in self.runs if other.state == RUNNING]
        full = self.at_once is not None and len(busy) >= self.at_once
        return not full and not any(run.entry.meets(other.entry) for other in busy)

    def stop(self) -> None:
        """Stop everything that runs, all at once, and wait for it."""
        running = [(run, run.child) for run in self.runs if run.child is not None]
        for _, child in running:
            child.send(signal.SIGTERM)
        for run, child in running:
            # only waited for: its watcher stops the ranks, and killing the watcher would leave them training
            end = time.monotonic() + _STOP_S
            while (ending := child.ending()) is None and time.monotonic() < end:
                time.sleep(0.1)
            self.screen.say(f"{run.entry.name}: {'stopped' if ending else f'has not stopped yet (pid {child.pid})'}")

    def text(self) -> str:
        """All runs as a table for people."""
        return "\n".join(table([run.row() for run in self.runs]))


@contextlib.contextmanager
def owned(folder: Path) -> Iterator[None]:
    """Hold the runs' folder for this watch.

    Raises:
        HaigoError: another watch has it.
    """
    with files.owner(folder):
        with contextlib.suppress(FileNotFoundError):
            files.remove(folder / STOP)  # of a `stop` that was killed
        yield


def status(entries: Sequence[Entry], folder: Path) -> Watch:
    """Where all runs stand, from their files alone."""
    watch = Watch(entries, folder)
    for run in watch.runs:
        run.find(tidy=False)
        if not run.poll() and run.child is None:
            if ending := process.ending_of(run.folder):
                run.ended(ending)
            run.read(_WHOLE_LOG_S, end=True)
    return watch


def stop(entries: Sequence[Entry], folder: Path) -> None:
    """Stop all runs. A watch that is still there is told to end first and waited for: it would start the next run in the place
    of a stopped one."""
    if not folder.is_dir():
        return
    asked = folder / STOP
    files.write_text(asked, "")
    try:
        status(entries, folder).stop()
        end = time.monotonic() + _STOP_S
        while time.monotonic() < end:
            with contextlib.suppress(HaigoError), files.owner(folder):
                return
            time.sleep(_POLL_S)
    finally:
        with contextlib.suppress(FileNotFoundError):
            files.remove(asked)
