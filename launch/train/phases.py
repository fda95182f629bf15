"""A run in phases: its configs one after the other, each going on from the last checkpoint of the one before.

Where the run stands says which phase is next: nothing else is kept. A phase that is done starts nothing (`TrainingRun`), and a
checkpoint that was lost takes the run back to the phase that it is of.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from haigo import cli, files
from haigo.cli import HaigoError
from launch.train import process
from launch.train.options import DeepyOptions
from launch.train.run import TrainingRun
from launch.train.start import start
from neox_configs import phases


def train(options: DeepyOptions, root: Path | None, configs: Sequence[Path]) -> int:
    """Train a run, phase by phase where it has some.

    Returns:
        As `launch.train.start.start`, of the first phase that does not end well.
    """
    code = cli.OK
    for phase in phases.expand(configs):
        if root is not None and _passed(options, root, phase):
            continue
        code = start(options, root, phase)
        if code != cli.OK:
            break
    return code


def _passed(options: DeepyOptions, root: Path, phase: Sequence[Path]) -> bool:
    """Whether a later phase trains at this moment, left behind by a watcher that was killed."""
    run = TrainingRun(options, root, phase)
    begun = run.folder / "start.json"
    if process.running(run.folder, tidy=False) is None or not begun.is_file():
        return False
    iterations = run.config.get("train_iters")
    try:
        step = int(files.read_record(begun, {"step": int})["step"])
    except HaigoError:  # told by who watches the run, with how to stop it
        return False
    return isinstance(iterations, int) and step >= iterations
