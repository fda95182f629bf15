"""A run of the whole chain in its folder: `execute` runs the stages that have to be run, `check` names what was changed."""

from __future__ import annotations

import dataclasses
import platform
import sys
import time
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

import haigo
from haigo import digests, files, pool, yamlfile
from haigo.cli import HaigoError, nearest
from haigo.progress import clock
from launch.pipeline import inputs, runfile

_SHIPPED = Path(__file__).parents[2] / "examples"
_VERSIONS = ("numpy", "scipy", "pandas", "sentencepiece", "torch", "transformers", "lm-eval")


def execute(run: runfile.RunFile, path: Path, *, dry_run: bool = False, command: str = "") -> dict[str, object]:
    """Run every stage that has to be run.

    Args:
        run: the run file as read.
        path: where it was read from; relative input files are also looked for beside it.
        dry_run: only say what would be done.
        command: the command line, for the record.

    Returns:
        the summary that is also in `summary.json`: paths, weights, held-out metrics of every model, scores, seconds.
    """
    # these reach every room
    from launch.pipeline import ahead
    from launch.pipeline.ledger import Ledger
    from launch.pipeline.stages import Chain

    root = folder(run, path)
    start = time.monotonic()
    if dry_run:
        states = Chain(run, path, root, dry_run=True).dry_run()
        for state, name in states:
            print(f"  {name}: {state}")
        return {"stages": [{"stage": name, "state": state} for state, name in states]}
    ledger = Ledger(root)
    work = Chain(run, path, root, ledger=ledger)
    ahead.check_output(work.run, path, root)
    work.stages.claim(ahead.stage_names(run))
    with files.owner(root):
        files.remove_leftovers(root)
        ledger.begin()
        files.write_text(root / "command.txt", command + "\n")
        yamlfile.write(root / "run.yml", dataclasses.asdict(run), f"merged from {path}")
        files.write_json(root / "env.json", environment())
        summary = work.execute()
    for big in digests.believed():
        print(f"  {big}: above 4 GiB, unchanged by inode, ctime and size (--verify reads it)", file=sys.stderr)
    print(f"\n{summary['headline']}\nreport: {root / 'report.html'}", file=sys.stderr)
    print(split_of_time(work.stages.spent, time.monotonic() - start, trained(root, work.workers)), file=sys.stderr)
    print(
        "next: open it in a browser and move the weights of its mixer; docs/guide-a100.md goes on with the GPT-NeoX configs"
        f" in {root / 'configs'}; `python -m launch.pipeline --init my.yml NAME=FILE ...` begins with text of your own",
        file=sys.stderr,
    )
    return summary


def split_of_time(spent: Mapping[str, float], total: float, training: Mapping[str, float]) -> str:
    """Where the time of a call went, the longest first.

    Args:
        spent: wall seconds of the stages that it ran; total: of the call.
        training: wall seconds, about, of the training steps alone, by stage: the rest of those stages is imports, evaluation
            and writing.
    """
    longest = sorted(spent.items(), key=lambda item: -item[1])
    parts = [f"{name} {clock(seconds)} ({seconds / total:.0%})" for name, seconds in longest if seconds >= 1]
    line = f"time: {clock(total)}{': ' if parts else ''}{', '.join(parts)}"
    steps = sum(min(training[name], spent[name]) for name in spent if name in training)
    return line + (f"; training steps alone {clock(steps)} ({steps / total:.0%})" if steps else "")


def trained(root: Path, workers: int) -> dict[str, float]:
    """Wall seconds, about, of the training steps alone in the stages that train, by what their runs noted."""
    found = {}
    for name, runs in (("proxies", "proxies/runs"), ("models", "models")):
        results = [files.read_json(path) for path in sorted((root / runs).glob("*/result.json"))]
        steps = [
            each["seconds"]
            * each["tokens"]
            / each["tokens_per_cpu_s"]
            / each["cpu_seconds"]  # as much of it as of the CPU time
            for each in results
            if each.get("tokens_per_cpu_s") and each.get("cpu_seconds")
        ]
        found[name] = sum(steps) / max(1, min(workers, len(steps)))
    return found


def find(path: Path) -> Path:
    """A run file, or the one of that name that comes with Haigo (`mini`), where there is no such file.

    Raises:
        HaigoError: neither; the nearest name is offered.
    """
    if path.exists() or path.suffix or path.name != str(path):
        return path
    there = {each.stem: each for each in _SHIPPED.glob("*.yml")}
    if path.name not in there:
        raise HaigoError(
            f"there is no run file {path}.{nearest(path.name, there)}",
            f"write one with --init, or take one that comes with Haigo: {', '.join(sorted(there))}",
        )
    return there[path.name]


def folder(run: runfile.RunFile, path: Path) -> Path:
    """The run folder: variables filled in, relative to the working folder."""
    return Path(inputs.expand(run.output, {}, str(path))).absolute()


def environment() -> dict[str, object]:
    """What a result may depend on beside its inputs: versions, machine, cores."""

    def version(package: str) -> str:
        try:
            return metadata.version(package)
        except metadata.PackageNotFoundError:
            return "not installed"

    return {
        "haigo": haigo.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cores": pool.cores(),
        "packages": {name: version(name) for name in _VERSIONS},
    }
