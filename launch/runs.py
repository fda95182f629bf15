"""Several training runs at once, one a node: started, watched and taken up again by one command.

    python -m launch.runs TABLE.yml|TABLE.csv [--folder runs] [--at-once N] [--stop | --status] [--json]

Each run is a `launch.deepy` of its own (supervised, with its restarts); one that fails does not stop the others. Runs that
need the same GPUs wait for each other, in the order of the table. The same command again, also after kill -9, finds what
still runs and starts what does not: nothing runs twice. A finished run is told to be finished and not trained again.
Exit code 0 when all are finished, 4 when one failed. Ctrl-C and SIGTERM stop all of them.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from haigo import cli, files, redact, shown
from haigo.cli import Failed, HaigoError
from haigo.progress import clock
from launch.neox import log as neox_log
from launch.train import process as children
from launch.train import runs_table
from launch.train.process import Child, Follower
from launch.train.runs_table import STOP, Entry

_POLL_S = 0.3
_SLICE_S = 0.3  # for reading one run's new output; the others wait meanwhile
_WHOLE_LOG_S = 60.0
_LINE_EVERY_S = 30.0
_STOP_S = 120.0  # a watcher stops its ranks first, and may be waiting for a checkpoint
WAITING, RUNNING, DONE, FAILED = "waiting", "running", "finished", "failed"


@dataclass
class Run:
    """One row of the table and what becomes of it."""

    entry: Entry
    number: int
    folder: Path
    state: str = WAITING
    code: int | None = None
    child: Child | None = None
    step: neox_log.Step | None = None
    seq_length: int = 0
    followers: list[Follower] = field(default_factory=list)
    said: str = ""
    """The last thing that its watcher said."""

    def start(self) -> None:
        """Start its watcher."""
        self.folder.mkdir(parents=True, exist_ok=True)
        words = runs_table.command(self.entry, self.number, self.folder, [sys.executable])
        environment = {**os.environ, "HAIGO_QUIET": "1"}
        if self.entry.gpus:
            environment["CUDA_VISIBLE_DEVICES"] = self.entry.gpus
        # the folder that holds `launch`: also where Haigo is run from a clone
        root = Path(__file__).resolve().parent.parent
        self.follow()
        self.child = children.start(words, root, environment, self.folder, self.folder / "watch.log")
        self.state, self.code = RUNNING, None

    def follow(self, from_start: bool = False) -> None:
        """Read its logs from now on, or from their beginning."""
        logs = (self.entry.log or self.folder / "output.log", self.folder / "watch.log")
        sizes = [0 if from_start or not path.exists() else path.stat().st_size for path in logs]
        self.followers = [Follower(path, size) for path, size in zip(logs, sizes, strict=True)]

    def look(self) -> bool:
        """Take note of what has happened; True when its state has changed."""
        if self.child is None:
            return False
        ending = self.child.ending()
        output, watch = self.followers
        for raw in output.within(_SLICE_S):
            self.step = neox_log.step(neox_log.readable(raw)) or self.step
        for raw in watch.within(_SLICE_S, end=ending is not None):
            text = neox_log.readable(raw)
            if text.startswith("haigo: "):
                self.said = text.removeprefix("haigo: ")
        if ending is None:
            return False
        self.child, self.code = None, ending.code
        self.state = DONE if ending.code == 0 else FAILED
        return True

    def row(self) -> dict[str, Any]:
        """The run for the table and for JSON."""
        one = self.step
        rate = one.samples_per_s * self.seq_length if one and one.samples_per_s else None
        left = (
            (one.total - one.iteration) * one.step_ms / 1000 if one and one.step_ms and self.state == RUNNING else None
        )
        return {
            "name": self.entry.name,
            "where": self.entry.where,
            "state": self.state,
            "code": self.code,
            "step": one.iteration if one else None,
            "steps": one.total if one else None,
            "loss": one.loss if one and one.finite else None,
            "tokens_per_s": rate,
            "seconds_left": left,
            "said": self.said,
            "folder": str(self.folder),
        }


def table(runs: Sequence[Run]) -> list[str]:
    """The runs as lines for people."""
    form = "{:<20}{:<22}{:<12}{:>17}{:>9}{:>12}{:>11}"
    lines = [form.format("run", "where", "state", "step", "loss", "tokens/s", "left")]
    for run in runs:
        row = run.row()
        state = f"{row['state']} {row['code']}" if run.state == FAILED else str(row["state"])
        lines.append(
            form.format(
                row["name"][:19],
                row["where"][:21],
                state,
                f"{row['step']:,}/{row['steps']:,}" if row["step"] is not None else "",
                f"{row['loss']:.4f}" if row["loss"] is not None else "",
                f"{row['tokens_per_s']:,.0f}" if row["tokens_per_s"] else "",
                clock(row["seconds_left"]) if row["seconds_left"] is not None else "",
            ).rstrip()
        )
    return lines


class Watch:
    """Starts and watches all runs of a table.

    Args:
        entries: the rows.
        folder: where each run has a folder of its own.
        at_once: how many may run at a time; None for as many as there is room for.
    """

    def __init__(self, entries: Sequence[Entry], folder: Path, at_once: int | None = None) -> None:
        from neox_configs import reader

        self.folder, self.at_once = folder, at_once
        self.runs = [Run(entry, number, folder / entry.name) for number, entry in enumerate(entries)]
        for run in self.runs:
            run.seq_length = int(reader.load(run.entry.configs).get("seq_length") or 0)
        self.live = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._drawn = 0
        self._shown = 0.0

    def find(self) -> None:
        """Find the runs that a killed watch left running."""
        for run in self.runs:
            run.child = children.running(run.folder)
            if run.child is not None:
                run.state = RUNNING
                run.follow(from_start=True)

    def run(self) -> int:
        """Start what has room and watch until all have ended.

        Raises:
            Failed: at least one failed.
            KeyboardInterrupt: Ctrl-C or SIGTERM; all were stopped.
        """
        try:
            while any(run.state in (WAITING, RUNNING) for run in self.runs):
                if (self.folder / STOP).exists():
                    raise KeyboardInterrupt
                for run in self.runs:
                    if run.state == WAITING and self._room(run):
                        run.start()
                        self._say(f"{run.entry.name}: started on {run.entry.where}")
                for run in self.runs:
                    if run.look():
                        code = f" with {run.code}" if run.state == FAILED else ""
                        # its watcher ends with "finished: step 120, ..." itself
                        said = run.said.removeprefix(f"{run.state}: ")
                        self._say(f"{run.entry.name}: {run.state}{code}{': ' + said if said else ''}")
                self._show()
                time.sleep(_POLL_S)
        except KeyboardInterrupt:
            self.stop()
            raise
        self._show(force=True)
        failed = [run.entry.name for run in self.runs if run.state == FAILED]
        if failed:
            raise Failed(
                f"{len(failed)} of {len(self.runs)} runs failed: {', '.join(failed)}.",
                f"see {self.folder}/NAME/watch.log, then run the same command again: finished runs stay as they are",
            )
        return 0

    def _room(self, run: Run) -> bool:
        busy = [other for other in self.runs if other.state == RUNNING]
        if self.at_once is not None and len(busy) >= self.at_once:
            return False
        return not any(run.entry.meets(other.entry) for other in busy)

    def stop(self) -> None:
        """Stop everything that runs, all at once, and wait for it."""
        running = [run for run in self.runs if run.child is not None]
        for run in running:
            assert run.child is not None
            run.child.send(signal.SIGTERM)
        for run in running:
            assert run.child is not None
            # only waited for: its watcher stops the ranks, and killing the watcher would leave them training
            end = time.monotonic() + _STOP_S
            while run.child.ending() is None and time.monotonic() < end:
                time.sleep(0.1)
            ended = run.child.ending() is not None
            self._say(f"{run.entry.name}: {'stopped' if ended else f'has not stopped yet (pid {run.child.pid})'}")

    def _say(self, line: str) -> None:
        if self._drawn:
            shown.raw(sys.stderr).write(f"\x1b[{self._drawn}A\x1b[J")
            self._drawn = 0
        sys.stderr.write(line + "\n")
        sys.stderr.flush()

    def _show(self, force: bool = False) -> None:
        now = time.monotonic()
        if not force and now - self._shown < (1.0 if self.live else _LINE_EVERY_S):
            return
        self._shown = now
        lines = table(self.runs)
        if self.live and self._drawn:
            shown.raw(sys.stderr).write(f"\x1b[{self._drawn}A\x1b[J")
        sys.stderr.write("\n".join(lines) + "\n")
        sys.stderr.flush()
        self._drawn = len(lines) if self.live else 0


def status(entries: Sequence[Entry], folder: Path) -> Watch:
    """Where all runs stand, from their files alone."""
    watch = Watch(entries, folder)
    for run in watch.runs:
        run.follow(from_start=True)
        run.child = children.running(run.folder, tidy=False)
        if run.child is not None:
            run.state = RUNNING
            run.look()
            continue
        ended = children.ending_of(run.folder)
        if ended is not None:
            run.code = ended.code
            run.state = DONE if run.code == 0 else FAILED
        for raw in run.followers[0].within(_WHOLE_LOG_S, end=True):
            run.step = neox_log.step(neox_log.readable(raw)) or run.step
    return watch


def main(argv: Sequence[str] | None = None) -> int | None:
    parser = cli.parser("launch.runs", __doc__)
    parser.add_argument("table", help="columns name, config, host, slots, hostfile, gpus, log, options")
    parser.add_argument("--folder", help="the runs' logs and state (default: NAME.runs beside the table)")
    parser.add_argument("--at-once", "--at_once", type=cli.count, help="runs at a time (default: as there is room)")
    parser.add_argument("--status", action="store_true", help="say where they stand, start nothing")
    parser.add_argument("--stop", action="store_true", help="stop all that run")
    parser.add_argument("--dry-run", "--dry_run", action="store_true", help="print every run's command, start nothing")
    parser.add_argument("--json", action="store_true", help="print the runs as JSON at the end")
    args = parser.parse_args(argv)
    entries = runs_table.read(args.table)
    source = Path(args.table).resolve()
    folder = Path(args.folder).resolve() if args.folder else source.parent / f"{source.stem}.runs"
    if args.dry_run:
        for number, entry in enumerate(entries):
            words = runs_table.command(entry, number, folder / entry.name, [sys.executable], write=False)
            print(redact.command(words))
        return None
    if args.status or args.stop:
        watch = status(entries, folder)
        if args.stop:
            with _no_more_starts(folder):
                watch.stop()
            watch = status(entries, folder)
        _print(watch, args.json)
        return None
    with files.owner(folder):
        with contextlib.suppress(FileNotFoundError):
            files.remove(folder / STOP)  # of a --stop that was killed
        watch = Watch(entries, folder, args.at_once)
        watch.find()
        try:
            return watch.run()
        finally:
            if args.json:
                _print(watch, True)


@contextlib.contextmanager
def _no_more_starts(folder: Path) -> Iterator[None]:
    """Tell a watch that is still there to end, and wait for it: it would start the next run in the place of a stopped one."""
    if not folder.is_dir():
        yield
        return
    asked = folder / STOP
    files.write_text(asked, "")
    try:
        yield
        end = time.monotonic() + _STOP_S
        while time.monotonic() < end:
            with contextlib.suppress(HaigoError), files.owner(folder):
                return
            time.sleep(_POLL_S)
    finally:
        with contextlib.suppress(FileNotFoundError):
            files.remove(asked)


def _print(watch: Watch, as_json: bool) -> None:
    rows = [run.row() for run in watch.runs]
    print(json.dumps(rows, ensure_ascii=False, indent=2) if as_json else "\n".join(table(watch.runs)))


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
