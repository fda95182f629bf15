"""Where tasks of a step of `preprocess.scale` run: in processes here, in datatrove's executors, on Slurm by these, on Ray."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from haigo import files, jobs
from haigo.cli import Failed, HaigoError
from haigo.progress import Progress

from . import scale_ray, scale_room, scale_tasks
from .options import ScaleRun
from .scale_steps import Step, summary

_CALLS = "logs/calls.json"
_RAY = {"num_cpus": 1, "memory": scale_room.WORKER_BYTES}
_SLURM = {"time": "24:00:00", "partition": "cpu", "cpus_per_task": 1, "mem_per_cpu_gb": 2}


def work(run: ScaleRun, chosen: Mapping[str, tuple[Step, int]], salt: Callable[[], str]) -> None:
    """Run steps where the run file says; on Slurm only submit them.

    Args:
        salt: see `datatrove`; asked for where that runs the tasks.

    Raises:
        Failed: some task or piece did not end well.
    """
    try:
        _run(run, chosen, salt)
    except Failed as error:
        # of a step that lacks what failed in one before it, most often: that is what is to be mended
        raise _failure(run, chosen) or error from None
    if run.executor != "slurm" and (failure := _failure(run, chosen)):
        raise failure


def _failure(run: ScaleRun, chosen: Mapping[str, tuple[Step, int]]) -> Failed | None:
    """What is to be said of the pieces that failed, the first step's first; None where none did."""
    order = list(chosen)
    found = scale_tasks.failures(run.output)
    found.sort(key=lambda each: order.index(each.step) if each.step in order else -1)
    return Failed(*summary(found)) if found else None


def _run(run: ScaleRun, chosen: Mapping[str, tuple[Step, int]], salt: Callable[[], str]) -> None:
    """Run them, or submit them."""
    if run.executor in ("pool", "ray"):
        for name, (_, tasks) in chosen.items():
            scale_tasks.wait(run.output, name, range(tasks))
    if run.executor == "pool":
        for name, (step, tasks) in chosen.items():
            run_pool(step, tasks, run.workers, f"{name} {run.corpus}")
    elif run.executor == "ray":
        with scale_ray.connected() as executor:
            for name, (step, tasks) in chosen.items():
                limit = min(run.workers, tasks) if run.workers > 1 else tasks
                run_on(executor(_task, limit, _RAY | run.ray), step, tasks, f"{name} {run.corpus}")
    else:
        pipeline = datatrove(chosen, run, salt())
        for name, executor in zip(chosen, pipeline, strict=True):  # those that are done are not started again
            scale_tasks.wait(run.output, name, executor.get_incomplete_ranks())
        try:
            pipeline[-1].run()  # which first runs, or submits, what it depends on
        except HaigoError:
            raise
        except Exception as error:
            raise Failed(
                f"a task failed: {str(error).splitlines()[0] if str(error) else type(error).__name__}",
                f"look into {run.output}/logs, remove the cause, and give the same command again",
            ) from None


def run_pool(step: Step, tasks: int, workers: int, label: str) -> None:
    """Run a step's tasks in processes of this machine, of which one that fails, or is killed, does not stop the others.

    Raises:
        Failed: some did not end well.
    """
    if tasks == 1:
        step(None, 0, 1)
        return
    limit = min(workers, tasks)
    run_on(jobs.Processes(_task, limit, ["preprocess.scale_steps"]) if limit > 1 else _Here(), step, tasks, label)


def run_on(executor: jobs.Executor, step: Step, tasks: int, label: str) -> None:
    """Run a step's tasks where `executor` does.

    Raises:
        Failed: some did not end well.
    """
    bad: dict[str, str] = {}
    with Progress(label, tasks, "tasks") as progress:
        work = [(f"{rank:05d}", (step, rank, tasks)) for rank in range(tasks)]
        for event in jobs.run(executor, work):
            if event is None or event.kind in ("started", "tick"):
                progress.show()
                continue
            if event.kind == "failed":
                bad[event.name] = str(event.value)
            progress.update()
    if bad:
        name, why = next(iter(bad.items()))
        raise Failed(
            f"{label}: {len(bad):,} of {tasks:,} tasks failed; task {name}: {why}",
            "mend what the sentence names, if it names something; the same command then does these alone",
        )


def _task(given: tuple[Step, int, int], tell: Callable[[Any], None]) -> None:
    step, rank, tasks = given
    step(None, rank, tasks)


class _Here:
    """One task after the other in this process."""

    limit = 1

    def start(self, name: str, task: tuple[Step, int, int]) -> None:
        try:
            _task(task, lambda value: None)
        except HaigoError as error:
            self._event = jobs.Event("failed", name, error.problem)
        else:
            self._event = jobs.Event("done", name, None)

    def poll(self) -> list[jobs.Event]:
        return [self._event]

    def close(self) -> None:
        """Nothing is left to end."""


def datatrove(chosen: Mapping[str, tuple[Step, int]], run: ScaleRun, salt: str = "") -> list[Any]:
    """datatrove's executors of the steps, each depending on the one before.

    The folder of logs and completion marks holds a digest of the run, so that marks of another run are never believed.

    Raises:
        HaigoError: datatrove is not installed, or lacks what `slurm` asks for.
    """
    try:
        from datatrove.executor import LocalPipelineExecutor, SlurmPipelineExecutor
    except ImportError:
        raise HaigoError(
            f"the executor '{run.executor}' needs datatrove, which is not installed.",
            "pip install 'haigo[data]', or use the pool",
        ) from None
    asked = {
        key: value
        for key, value in dataclasses.asdict(run).items()
        if key not in ("workers", "slurm", "ray", "executor")
    }
    mark = _mark(run, files.digest([asked, salt]))
    logs, pipeline = Path(run.output).absolute() / "logs", list[Any]()
    for name, (step, tasks) in chosen.items():
        depends = pipeline[-1] if pipeline else None
        common: dict[str, Any] = {"pipeline": [step], "tasks": tasks, "logging_dir": str(logs / f"{name}-{mark}")}
        common |= {"depends": depends}
        try:
            if run.executor == "slurm":
                most = {"workers": run.workers} if run.workers > 1 else {}
                job = _SLURM | run.slurm | {"job_name": f"haigo-{run.corpus}-{name}"}
                pipeline.append(SlurmPipelineExecutor(**common, **most, **job))
            else:
                pipeline.append(LocalPipelineExecutor(**common, workers=min(run.workers, tasks), start_method="spawn"))
        except TypeError as error:
            raise HaigoError(f"datatrove does not take a key of 'slurm': {error}.", "correct the run file") from None
    return pipeline


def _mark(run: ScaleRun, asked: str) -> str:
    """What the marks of finished tasks are filed under: another one whenever another thing was asked for in between.

    Where a key is taken out of the run file and put back, or an input changed and changed back, the marks of the first time
    speak of files that the second replaced.
    """
    path = Path(run.output) / _CALLS
    before: dict[str, Any] = {"asked": asked, "changes": 0}
    with contextlib.suppress(HaigoError, OSError):
        before = files.read_record(path, {"asked": str, "changes": int})
    changes = before["changes"] + (before["asked"] != asked)
    files.write_json(path, {"asked": asked, "changes": changes})
    return files.digest([asked, changes])[:12]
