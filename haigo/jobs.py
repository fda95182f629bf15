"""Independent pieces of work, some of which may fail: who does them is an executor's business, what happens arrives as events.

`Processes` does them on this machine, in long-lived workers of one thread each, none of which can take the rest down: a fork
server imports what the work needs once, so that a worker starts in no time and shares its memory; what a piece raises comes
back as a sentence; a worker that is killed (out of memory, most often) is replaced, and only its piece has failed. Nothing
outlives the parent. (`launch.proxies.cluster` has executors of jobs through submitit. Where the first error shall stop all,
and arrive as it was raised, `haigo.pool` is right.)
"""

from __future__ import annotations

import collections
import contextlib
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, Protocol

from haigo import cli, pool
from haigo.cli import HaigoError, internal, os_problem

WORKER = "HAIGO_WORKER"
"""Environment variable: number of the worker, from 0, that this process is."""
Work = Callable[[Any, Callable[[Any], None]], Any]
"""What a worker does: work(task, tell) -> result; `tell` sends word of how far it is. A module-level function."""
_WAIT_S = 1.0
_TICK_S = 0.25


@dataclass(frozen=True)
class Event:
    """What happened to one task."""

    kind: str
    """started, tick, done, again (failed, and to be tried again) or failed (for good)."""
    name: str
    value: Any
    """tick: how far it is; done: its result; again, failed: a sentence."""


class Executor(Protocol):
    """Who does the work."""

    limit: int
    """Tasks at a time."""

    def start(self, name: str, task: Any) -> None:
        """Begin a task."""

    def poll(self) -> list[Event]:
        """What came of the started tasks (tick, done, failed); waits about a second where nothing did."""

    def close(self) -> None:
        """This process wants no more of it."""


def run(executor: Executor, tasks: Iterable[tuple[str, Any]], tries: int = 1) -> Iterator[Event | None]:
    """Do all tasks, and yield what happens; None about once a second when nothing does.

    Args:
        tasks: (name, picklable).
        tries: how often a task is tried; a failed one goes to the end of the queue.

    The executor is closed when the generator is, or an exception passes through it.
    """
    given = dict(tasks)
    waiting, tried, running = collections.deque(given), collections.Counter[str](), 0
    try:
        while waiting or running:
            while waiting and running < executor.limit:
                name = waiting.popleft()
                tried[name] += 1
                running += 1
                executor.start(name, given[name])
                yield Event("started", name, None)
            events = executor.poll()
            if not events:
                yield None
            for event in events:
                running -= event.kind != "tick"
                if event.kind == "failed" and tried[event.name] < tries:
                    waiting.append(event.name)
                    event = Event("again", event.name, event.value)
                yield event
    finally:
        executor.close()


class Processes:
    """Worker processes of this machine.

    Args:
        work: see `Work`.
        limit: workers, at least 1.
        preload: modules that the fork server imports; they may turn the garbage collector off meanwhile.
    """

    def __init__(self, work: Work, limit: int, preload: Sequence[str] = ()) -> None:
        self.work, self.limit = work, limit
        pool.SERVED.set_forkserver_preload(list(preload))
        self._workers: list[_Worker] = []

    def start(self, name: str, task: Any) -> None:
        """Give the task to an idle worker, or to a new one."""
        self._workers = [each for each in self._workers if each.name is not None or each.process.is_alive()]
        worker = next((each for each in self._workers if each.name is None), None)
        if worker is None:
            taken = {each.number for each in self._workers}
            number = next(each for each in range(self.limit) if each not in taken)
            worker = _Worker(self.work, number)
            self._workers.append(worker)
        worker.name = name
        with contextlib.suppress(BrokenPipeError):  # it died since its last task, which poll will say
            worker.pipe.send(task)

    def poll(self) -> list[Event]:
        """See `Executor`."""
        busy = [worker for worker in self._workers if worker.name is not None]
        ready = wait([item for worker in busy for item in (worker.pipe, worker.process.sentinel)], _WAIT_S)
        return [worker.received() for worker in busy if worker.pipe in ready or worker.process.sentinel in ready]

    def close(self) -> None:
        """End the workers now, whatever they are doing."""
        for worker in self._workers:
            worker.stop()


class _Worker:
    def __init__(self, work: Work, number: int) -> None:
        self.number = number
        self.name: str | None = None
        self.pipe, theirs = pool.SERVED.Pipe()
        environment = {**os.environ, **pool.ONE_THREAD}
        self.process = pool.SERVED.Process(
            target=_serve, args=(theirs, work, number, cli.verb, environment), daemon=True
        )
        self.process.start()
        theirs.close()

    def received(self) -> Event:
        """What the worker says of its task; that it died, where it says nothing any more."""
        assert self.name is not None
        try:
            kind, value = self.pipe.recv()
        except (EOFError, OSError):
            self.process.join(5)
            code = self.process.exitcode
            why = "out of memory, most often" if code == -9 else "see its output above"
            kind, value = "failed", f"the worker process ended with code {code} ({why})"
        event = Event(kind, self.name, value)
        if kind != "tick":
            self.name = None
        return event

    def stop(self) -> None:
        self.pipe.close()
        self.process.terminate()
        self.process.join(5)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


def _serve(pipe: Connection, work: Work, number: int, verb: str | None, environment: Mapping[str, str]) -> None:
    """Do one task after the other (in a worker)."""
    pool.start_worker(verb, environment)
    os.environ[WORKER] = str(number)  # the fork server has its own environment
    last = 0.0

    def send(kind: str, value: Any) -> None:
        try:
            pipe.send((kind, value))
        except BrokenPipeError:  # the parent was killed: there is nobody left to work for, and nothing to say
            raise SystemExit(1) from None

    def tell(value: Any) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= _TICK_S:
            last = now
            send("tick", value)

    while True:
        try:
            task = pipe.recv()
        except (EOFError, OSError):
            return
        send(*answer(work, task, tell))


def answer(work: Work, task: Any, tell: Callable[[Any], None]) -> tuple[str, Any]:
    """Do a task: what kind of `Event` came of it, and its value; a worker lives on whatever is raised."""
    try:
        return "done", work(task, tell)
    except HaigoError as error:
        return "failed", error.problem
    except OSError as error:
        return "failed", os_problem(error).splitlines()[0]
    except Exception as error:  # the sentence says what to look for
        if os.environ.get("HAIGO_DEBUG"):
            import traceback

            traceback.print_exc()
        return "failed", internal(error).splitlines()[0].removesuffix(".")
