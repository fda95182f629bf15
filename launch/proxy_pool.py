"""A pool of worker processes for proxy runs: long-lived, one thread each, and none of them able to take the rest down.

A fork server imports torch and transformers once, so that a worker starts in no time and shares their memory; then it
trains one proxy after the other. What a run raises comes back as a sentence; a worker that is killed (out of memory,
most often) is replaced, and only its run has failed. A failed run is tried again after the others. Nothing outlives the
parent.
"""

from __future__ import annotations

import collections
import contextlib
import gc
import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

from haigo import pool
from haigo.cli import HaigoError, internal, os_problem
from launch.local.device import WORKER

Job = Callable[[Mapping[str, Any], Callable[[Any], None]], Any]
"""What a worker does: job(task, tell) -> result; `tell` sends word of how far it is. A module-level function."""
_WAIT_S = 1.0
_PRELOAD = ["launch.local.preload"]
_TICK_S = 0.25


@dataclass(frozen=True)
class Event:
    """What happened to one task."""

    kind: str
    """started, tick, done, again (failed, and to be tried again) or failed (for good)."""
    name: str
    value: Any
    """tick: what the job told; done: its result; again, failed: a sentence."""


class _Worker:
    def __init__(self, context: multiprocessing.context.ForkServerContext, job: Job, number: int) -> None:
        self.number = number
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs, job, number), daemon=True)
        # one thread a process: OpenMP teams that share cores cost several times what they gain
        with _environment(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", TOKENIZERS_PARALLELISM="false"):
            self.process.start()
        theirs.close()
        self.name: str | None = None

    def give(self, name: str, task: Mapping[str, Any]) -> None:
        self.name = name
        self.pipe.send(dict(task))

    def stop(self) -> None:
        self.pipe.close()
        self.process.terminate()
        self.process.join(5)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


def run(
    job: Job, tasks: Iterable[tuple[str, Mapping[str, Any]]], workers: int, tries: int = 1
) -> Iterator[Event | None]:
    """Do all tasks, `workers` at a time, and yield what happens; None about once a second when nothing does.

    Args:
        job: called in a worker for every task.
        tasks: (name, picklable dict).
        workers: at least 1.
        tries: how often a task is tried; a failed one goes to the end of the queue.

    The workers are stopped when the generator is closed or an exception passes through it.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOAD)
    queue = list(tasks)
    waiting = collections.deque(queue)
    given, tried = dict(queue), dict.fromkeys((name for name, _ in queue), 0)
    crew: list[_Worker] = []
    try:
        for number in range(min(workers, len(waiting))):
            crew.append(_Worker(context, job, number))
        while True:
            for worker in crew:
                if worker.name is None and waiting:
                    name, task = waiting.popleft()
                    tried[name] += 1
                    worker.give(name, task)
                    yield Event("started", name, None)
            busy = [worker for worker in crew if worker.name is not None]
            if not busy:
                return
            ready = wait([item for worker in busy for item in (worker.pipe, worker.process.sentinel)], _WAIT_S)
            if not ready:
                yield None
            for worker in busy:
                event = None
                if worker.pipe in ready:
                    event = _receive(worker)
                elif worker.process.sentinel in ready:
                    event = _died(worker)
                if event is None:
                    continue
                if event.kind != "tick":
                    worker.name = None
                    if event.kind == "failed" and tried[event.name] < tries:
                        event = Event("again", event.name, event.value)
                        waiting.append((event.name, given[event.name]))
                    if not worker.process.is_alive() and waiting:
                        crew[crew.index(worker)] = _Worker(context, job, worker.number)
                yield event
    finally:
        for worker in crew:
            worker.stop()


def _receive(worker: _Worker) -> Event:
    assert worker.name is not None
    try:
        kind, value = worker.pipe.recv()
    except (EOFError, OSError):
        return _died(worker)
    return Event(kind, worker.name, value)


def _died(worker: _Worker) -> Event:
    assert worker.name is not None
    worker.process.join(5)
    code = worker.process.exitcode
    why = "out of memory, most often" if code == -9 else "see its output above"
    return Event("failed", worker.name, f"the worker process ended with code {code} ({why})")


def _send(pipe: Connection, message: tuple[str, Any]) -> None:
    try:
        pipe.send(message)
    except BrokenPipeError:  # the parent was killed: there is nobody left to work for, and nothing to say
        raise SystemExit(1) from None


def _work(pipe: Connection, job: Job, number: int) -> None:
    import time

    pool.start_worker()
    gc.enable()  # launch.local.preload turned it off
    os.environ[WORKER] = str(number)  # the fork server has its own environment; a job on CUDA picks its device by this
    told = 0.0

    def tell(value: Any) -> None:
        nonlocal told
        now = time.monotonic()
        if now - told >= _TICK_S:
            told = now
            _send(pipe, ("tick", value))

    while True:
        try:
            task = pipe.recv()
        except (EOFError, OSError):
            return
        try:
            answer = ("done", job(task, tell))
        except HaigoError as error:
            answer = ("failed", error.problem)
        except OSError as error:
            answer = ("failed", os_problem(error).splitlines()[0])
        except Exception as error:  # a worker must live on: the sentence says what to look for
            if os.environ.get("HAIGO_DEBUG"):
                import traceback

                traceback.print_exc()
            answer = ("failed", internal(error).splitlines()[0].removesuffix("."))
        _send(pipe, answer)


@contextlib.contextmanager
def _environment(**values: str) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
