"""Tasks of `preprocess.scale` on a Ray cluster: the one that RAY_ADDRESS names, one that runs here, or this machine alone.

datatrove has an executor for Ray, which waits for ever where the process of a task is killed (memory, most often), and for the
steps after one that failed; so tasks are given to Ray itself. A task is tried once: the same command does again what failed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from haigo import jobs
from haigo.cli import HaigoError

_WAIT_S = 1.0


class Tasks:
    """An executor, as `haigo.jobs.run` takes it.

    Args:
        work: see `jobs.Work`; a function of a module that all nodes have.
        limit: tasks at a time; what Ray has no room for waits.
        asked: options of Ray's tasks, such as num_cpus and memory (bytes).

    Raises:
        HaigoError: an option that Ray does not know, or more than any node has.
    """

    def __init__(self, work: jobs.Work, limit: int, asked: Mapping[str, Any]) -> None:
        import ray

        self.limit = limit
        self._ray: Any = ray
        self._names: dict[Any, str] = {}
        wanted = {"CPU": asked.get("num_cpus", 1), "memory": asked.get("memory", 0)}
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        if not any(all(node.get(kind, 0) >= value for kind, value in wanted.items()) for node in nodes):
            raise HaigoError(
                f"Ray has no node of {wanted['CPU']:g} CPUs and {wanted['memory'] / 1e9:.1f} GB of memory, which a task takes.",
                "lower 'ray.num_cpus' or 'ray.memory', or start larger nodes",
            )
        try:
            self._remote = ray.remote(_answer).options(max_retries=0, **asked)
        except (TypeError, ValueError) as error:
            raise HaigoError(f"Ray does not take a key of 'ray': {error}.", "correct the run file") from None
        self._work = work

    def start(self, name: str, task: Any) -> None:
        """Hand a task to Ray."""
        self._names[self._remote.remote(self._work, task, os.getcwd())] = name

    def poll(self) -> list[jobs.Event]:
        """See `jobs.Executor`."""
        ready, _ = self._ray.wait(list(self._names), num_returns=1, timeout=_WAIT_S)
        return [self._event(each) for each in ready]

    def _event(self, reference: Any) -> jobs.Event:
        name = self._names.pop(reference)
        try:
            problem = self._ray.get(reference)
        except self._ray.exceptions.OutOfMemoryError:
            problem = "Ray ended it: the memory of its node did not suffice"
        except self._ray.exceptions.RayError as error:
            problem = f"its process ended ({type(error).__name__}; out of memory, most often)"
        return jobs.Event("failed", name, problem) if problem else jobs.Event("done", name, None)

    def close(self) -> None:
        """End what still runs."""
        for each in self._names:
            self._ray.cancel(each, force=True)


def _answer(work: jobs.Work, task: Any, folder: str) -> str | None:
    """Do a task, in a process of Ray's; a sentence where it failed."""
    os.chdir(folder)  # paths of the run file are relative to where the command was given
    kind, value = jobs.answer(work, task, _silent)
    return str(value) if kind == "failed" else None


def _silent(value: Any) -> None:
    """What a task tells of itself on the way goes nowhere."""


@contextmanager
def connected() -> Iterator[Callable[[jobs.Work, int, Mapping[str, Any]], Tasks]]:
    """A connection to Ray; what makes executors.

    Raises:
        HaigoError: Ray is not installed, or the cluster does not answer.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing of ours asks to be counted
    try:
        import ray
    except ImportError:
        raise HaigoError(
            "the executor 'ray' needs Ray, which is not installed.", "pip install 'haigo[ray]', or use the pool"
        ) from None
    try:
        ray.init(log_to_driver=False, logging_level="ERROR", ignore_reinit_error=True)
    except Exception as error:  # Ray's own, of many kinds
        said = str(error).strip().splitlines() or [type(error).__name__]
        raise HaigoError(f"Ray does not answer: {said[0]}.", "look at RAY_ADDRESS, and at `ray status`") from None
    try:
        yield Tasks
    finally:
        ray.shutdown()
