"""A learning curve as it grows, in TensorBoard, Weights & Biases or MLflow: `--track KIND:WHERE`, for who has them installed.

Each line of log.jsonl is handed on: every number of it at its step. None of the three is needed: `log.jsonl` stays the record.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib.util
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from haigo.cli import HaigoError

KINDS = {"tensorboard": "a folder", "wandb": "a project", "mlflow": "an experiment"}
_NO_FIGURES = ("step", "final")

Track = Callable[[Mapping[str, Any]], None]
"""What an entry of the log is handed to."""


@dataclass(frozen=True)
class Tracker:
    """Which tracker, and the folder, project or experiment that the curves go to; a run is called as its folder."""

    kind: str
    where: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.where}"


def parse(text: str) -> Tracker:
    """The tracker of `--track`, seen to be installed."""
    kind, _, where = text.partition(":")
    if kind not in KINDS or not where:
        known = ", ".join(f"{each}:{what.split()[1].upper()}" for each, what in KINDS.items())
        raise argparse.ArgumentTypeError(f"'{text}' is none of {known}")
    if importlib.util.find_spec(kind) is None:
        raise argparse.ArgumentTypeError(f"{kind} is not installed: pip install {kind}")
    return Tracker(kind, where)


@contextlib.contextmanager
def following(tracker: Tracker | None, folder: Path, done: int) -> Iterator[Track]:
    """Yield what takes the entries of a run's log, for as long as it trains.

    Args:
        tracker: none: entries are dropped.
        folder: the run's own; its name is the run's.
        done: steps that the tracker may have had from an earlier start, which is gone on from.

    Raises:
        HaigoError: the tracker cannot be reached, or asks for a login.
    """
    if tracker is None:
        yield lambda entry: None
        return
    start = {"tensorboard": _tensorboard, "wandb": _wandb, "mlflow": _mlflow}[tracker.kind]
    with contextlib.ExitStack() as stack:
        try:
            log = start(tracker.where, folder, done, stack)
        except Exception as error:  # each has errors of its own: no login, no server, a folder that cannot be written
            sentence = f"{tracker} cannot be used: {str(error).strip().splitlines()[0] if str(error) else repr(error)}"
            raise HaigoError(sentence, "mend that, or leave --track out: log.jsonl holds the curve") from None
        yield lambda entry: log(_figures(entry), int(entry["step"]))


def _figures(entry: Mapping[str, Any]) -> dict[str, float]:
    numbers = {name: value for name, value in entry.items() if name not in _NO_FIGURES}
    return {name: float(value) for name, value in numbers.items() if isinstance(value, int | float)}


_Log = Callable[[dict[str, float], int], None]


def _tensorboard(where: str, folder: Path, done: int, stack: contextlib.ExitStack) -> _Log:
    from torch.utils.tensorboard import SummaryWriter

    # what an earlier start wrote after its checkpoint is not shown
    writer = stack.enter_context(SummaryWriter(f"{where}/{folder.name}", purge_step=done + 1))

    def log(figures: dict[str, float], step: int) -> None:
        for name, value in figures.items():
            writer.add_scalar(name, value, step)
        writer.flush()

    return log


def _wandb(where: str, folder: Path, done: int, stack: contextlib.ExitStack) -> _Log:
    import wandb

    settings = wandb.Settings(silent=True, console="off")
    run = wandb.init(project=where, name=folder.name, id=_name(folder), resume="allow", settings=settings)
    stack.callback(run.finish)

    def log(figures: dict[str, float], step: int) -> None:
        run.log(figures, step=step)

    return log


def _mlflow(where: str, folder: Path, done: int, stack: contextlib.ExitStack) -> _Log:
    import mlflow

    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name(where)
    experiment_id = experiment.experiment_id if experiment else client.create_experiment(where)
    tag = {"haigo.run": _name(folder)}
    before = client.search_runs([experiment_id], f"tags.`haigo.run` = '{tag['haigo.run']}'", max_results=1)
    run = before[0] if before else client.create_run(experiment_id, tags=tag, run_name=folder.name)
    had = max((each.step for each in client.get_metric_history(run.info.run_id, "tokens")), default=0)
    stack.callback(client.set_terminated, run.info.run_id)

    def log(figures: dict[str, float], step: int) -> None:
        if step > had or (step == had and "loss" not in figures):  # the final line repeats the last step
            for name, value in figures.items():
                client.log_metric(run.info.run_id, name, value, step=step)

    return log


def _name(folder: Path) -> str:
    """The same for every start of a run."""
    return hashlib.sha256(str(folder.absolute()).encode()).hexdigest()[:16]
