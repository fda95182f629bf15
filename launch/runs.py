"""Several training runs at once, one a node: started, watched and taken up again by one command.

    python -m launch.runs TABLE.yml|TABLE.csv [--folder runs] [--at-once N] [--stop | --status] [--json]

Each run is a `launch.deepy` of its own (supervised, with its restarts); one that fails does not stop the others. Runs that
need the same GPUs wait for each other, in the order of the table. The same command again, also after kill -9, finds what
still runs and starts what does not: nothing runs twice. A finished run is told to be finished and not trained again.
Exit code 0 when all are finished, 4 when one failed. Ctrl-C and SIGTERM stop all of them.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from haigo import cli, flags, redact
from haigo.options import Options, few, option
from launch.train import runs, runs_table


@dataclass(frozen=True, kw_only=True)
class RunsOptions(Options):
    """What `launch.runs` does with a table."""

    table: str = option("columns name, config, host, slots, hostfile, gpus, log, options", positional=True)
    folder: str | None = option("the runs' logs and state (default: NAME.runs beside the table)", None)
    at_once: int | None = few("runs at a time (default: as there is room)", None)
    status: bool = option("say where they stand, start nothing", False)
    stop: bool = option("stop all that run", False)
    dry_run: bool = option("print every run's command, start nothing", False)
    json: bool = option("print the runs as JSON at the end", False)


def main(argv: Sequence[str] | None = None) -> int | None:
    options = flags.parse("launch.runs", __doc__, RunsOptions, argv)
    entries = runs_table.read(options.table)
    source = Path(options.table).resolve()
    folder = Path(options.folder).resolve() if options.folder else source.parent / f"{source.stem}.runs"
    if options.dry_run:
        for number, entry in enumerate(entries):
            words = runs_table.command(entry, number, folder / entry.name, [sys.executable], write=False)
            print(redact.command(words))
        return None
    if options.status or options.stop:
        if options.stop:
            runs.stop(entries, folder)
        _print(runs.status(entries, folder), options.json)
        return None
    with runs.owned(folder):
        watch = runs.Watch(entries, folder, options.at_once)
        try:
            return watch.run()
        finally:
            if options.json:
                _print(watch, True)


def _print(watch: runs.Watch, as_json: bool) -> None:
    rows = [run.row() for run in watch.runs]
    print(json.dumps(rows, ensure_ascii=False, indent=2) if as_json else watch.text())


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
