"""A run of the whole chain in its folder: `execute` runs the stages that have to be run, `check` names what was changed."""

from __future__ import annotations

import dataclasses
import platform
import sys
import time
from importlib import metadata
from pathlib import Path

import haigo
from haigo import digests, files, pool, yamlfile
from haigo.cli import HaigoError, nearest
from haigo.progress import clock
from launch.pipeline import inputs, runfile, spent

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
        summary, whole = spent.measured(work.execute)
    for big in digests.believed():
        print(f"  {big}: above 4 GiB, unchanged by inode, ctime and size (--verify reads it)", file=sys.stderr)
    if work.stages.spent:
        print(f"\n{spent.split(work.stages.spent, work.stages.walls, whole, pool.cores())}", file=sys.stderr)
    end = f"report: {root / 'report.html'} ({clock(time.monotonic() - start)})"
    print(f"\n{summary['headline']}\n{end}", file=sys.stderr)
    print(f"next: {_next(run, root, path)}", file=sys.stderr)
    return summary


def _next(run: runfile.RunFile, root: Path, path: Path) -> str:
    """What to do with a finished run."""
    steps = ["open it in a browser and move the weights of its mixer"]
    if run.configs.models:
        steps.append(f"docs/guide-a100.md goes on with the GPT-NeoX configs in {root / 'configs'}")
    else:
        steps.append(
            f"for GPT-NeoX configs name sizes such as 1-3B under `configs: models:` in {path}, and run it again"
        )
    if run.prepare:
        steps.append("`python -m launch.pipeline --init my.yml NAME=FILE ...` begins with text of your own")
    return "; ".join(steps)


def find(path: Path) -> Path:
    """A run file, or the one of that name that comes with Haigo (`mini`), where there is no such file.

    Raises:
        HaigoError: neither; the nearest name is offered.
    """
    if path.exists():
        return path
    there = {each.stem: each for each in _SHIPPED.glob("*.yml")}
    if str(path) not in there:
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
