"""What the steps of `preprocess.scale` take: each in a process of its own, its CPU seconds and the most memory that it had."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

from haigo import cli, jobs, pool
from haigo.cli import Failed

from .scale_steps import Step

_LOOK_S = 0.01


class Taken(NamedTuple):
    """CPU seconds, and bytes of memory that the process had at most, without files that are mapped."""

    cpu_s: float
    peak: int


def taken(works: Sequence[tuple[Step, int]], name: str) -> list[Taken]:
    """Do all tasks of a step, of one run after the other, in one new process: the first of them starts everything up.

    Raises:
        Failed: it did not end well.
    """
    context = pool.SERVED
    context.set_forkserver_preload(["preprocess.scale_folders", "preprocess.dedup_steps", "preprocess.clean"])
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_serve, args=(theirs, works, cli.verb or "preprocess.scale"), daemon=True)
    process.start()
    theirs.close()
    peak, kind = 0, ""
    answer: Any = None
    try:
        while not ours.poll(_LOOK_S):
            peak = max(peak, own_memory(process.pid))
        with contextlib.suppress(EOFError):
            kind, answer = ours.recv()
        process.join()
    finally:
        process.kill()
    if kind != "done":
        why = answer or f"its process ended with {process.exitcode}."
        raise Failed(f"{name} failed on the sample: {why}", "run that step by itself on one of the files")
    return [each._replace(peak=max(peak, each.peak)) for each in answer]


def own_memory(process: int | str | None = "self") -> int:
    """Bytes of memory of a process that are no file's; 0 where it is gone."""
    with contextlib.suppress(OSError, StopIteration), open(f"/proc/{process}/status") as status:
        return 1024 * next(int(line.split()[1]) for line in status if line.startswith("RssAnon"))
    return 0


def _serve(pipe: Connection, works: Sequence[tuple[Step, int]], verb: str) -> None:
    pool.start_worker(verb, {**os.environ, **pool.ONE_THREAD, "HAIGO_QUIET": "1"})
    quiet = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(quiet, stream.fileno())
    pipe.send(jobs.answer(_work, works, lambda value: None))


def _work(works: Sequence[tuple[Step, int]], tell: Callable[[Any], None]) -> list[Taken]:
    done = []
    for step, tasks in works:
        before = pool.cpu_seconds()
        for rank in range(tasks):
            step(None, rank, tasks)
        done.append(Taken(pool.cpu_seconds() - before, own_memory()))
    return done
