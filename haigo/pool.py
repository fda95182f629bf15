"""Independent pieces of work side by side, one process each: nothing outlives its parent, one error stops all.

For a handful of long pieces (clean a corpus, train a model). Pieces that may fail while the others go on: `haigo.jobs`.
"""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import ctypes
import gc
import multiprocessing
import multiprocessing.context
import multiprocessing.forkserver
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from multiprocessing.connection import Connection
from typing import Any

from haigo import cli, control_groups, shown
from haigo.cli import Failed, HaigoError, Internal, foreseen, internal
from haigo.progress import Progress

_PR_SET_PDEATHSIG = 1
_POLL_S = 1.0
_MOST_AHEAD = 16
_ENDING = (signal.SIGINT, signal.SIGTERM)
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
_KILLED = "a worker process was killed (the system's out-of-memory killer is the usual cause)."


def cores() -> int:
    """How many cores this process may use: its affinity, cut by its control groups' quotas (containers and Slurm set both)."""
    allowed = len(os.sched_getaffinity(0))
    for place, version in control_groups.folders("cpu"):
        with contextlib.suppress(OSError, ValueError):  # "max" is no number: no quota
            if version == 2:
                quota, period = map(int, (place / "cpu.max").read_text(encoding="ascii").split())
            else:
                names = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
                quota, period = (int((place / name).read_text(encoding="ascii")) for name in names)
            allowed = min(allowed, max(1, quota // period)) if quota > 0 else allowed  # -1: none, in version 1
    return max(1, allowed)


def die_with_parent() -> None:
    """Make this (worker) process end when its parent does, also when the parent is killed with -9. Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    parent = multiprocessing.parent_process()
    if parent is not None and not parent.is_alive():  # it died while this process was starting: no signal will come
        os._exit(1)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """An environment in which a process that is started computes with one thread: OpenMP teams that share cores cost several
    times what they gain."""
    before = {name: os.environ.get(name) for name in ONE_THREAD}
    os.environ.update(ONE_THREAD)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def serve(preload: Sequence[str]) -> None:
    """Start the fork server now: it imports these modules while this process does something else, and `run(served=True)` and
    `haigo.jobs.Processes` fork their workers from it. One that runs already stays as it is."""
    SERVED.set_forkserver_preload(list(preload))
    with one_thread():
        multiprocessing.forkserver.ensure_running()


class _ServedProcess(multiprocessing.context.ForkServerProcess):
    def start(self) -> None:
        """Start it; by a new fork server, where the one that was asked was killed.

        Raises:
            Failed: the new one was killed too.
        """
        for last in (False, True):
            try:
                with one_thread():
                    super().start()
                return
            except (EOFError, ConnectionError):
                if last:
                    raise Failed("the process that starts workers was killed twice.", "see what kills it") from None
                server = getattr(multiprocessing.forkserver, "_forkserver", None)
                with contextlib.suppress(ChildProcessError):  # it says nothing any more, but may not be quite gone
                    os.waitid(os.P_PID, getattr(server, "_forkserver_pid", None) or 0, os.WEXITED | os.WNOWAIT)


class _ServedContext(multiprocessing.context.ForkServerContext):
    Process = _ServedProcess


SERVED = _ServedContext()
"""As `multiprocessing.get_context("forkserver")`, but a fork server that was killed costs none of the processes to come."""


def cpu_seconds() -> float:
    """Processor seconds so far of this process, of its children that have ended, and of the fork server and its workers that
    have ended, which the system counts for nobody else. In a worker of the fork server: its own and its children's."""
    own = sum(os.times()[:4])
    server = getattr(getattr(multiprocessing.forkserver, "_forkserver", None), "_forkserver_pid", None)
    if multiprocessing.parent_process() is not None:
        return own
    try:
        with open(f"/proc/{server}/stat", encoding="ascii", errors="replace") as handle:
            fields = handle.read().rpartition(")")[2].split()
    except OSError:
        return own
    return own + sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def _end_with_server() -> None:
    """Let go of the pipe by which the fork server knows that it is wanted. Every worker holds it: server and workers would keep
    each other alive after their parent was killed, whose death is the server's end, and the server's is theirs."""
    server = getattr(multiprocessing.forkserver, "_forkserver", None)
    alive = getattr(server, "_forkserver_alive_fd", None)
    if server is not None and alive is not None:
        server._forkserver_alive_fd = None
        os.close(alive)


def start_worker(verb: str | None, environment: Mapping[str, str] | None = None) -> None:
    """What every worker process does first. Ctrl-C is the parent's to handle: it ends its workers itself.

    Args:
        verb: the parent's `cli.verb`: what a worker makes is the command's.
        environment: the parent's, for a worker of the fork server, which has its own.
    """
    cli.verb = verb
    if environment is not None:
        os.environ.update(environment)
        _end_with_server()
        gc.freeze()  # what the server imported stays for ever: no look through it, and its pages stay shared
        gc.enable()  # an import may have turned it off
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a forked one has its parent's handler
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)
    os.environ["HAIGO_QUIET"] = "1"
    shown.filter_streams()


class Piece:
    """A function as a worker calls it: what nobody foresaw arrives in the parent as a sentence, with file and place, though the
    traceback stays behind, and though the error itself may be one that cannot be sent.

    Args:
        work: picklable.
    """

    def __init__(self, work: Callable[..., Any]) -> None:
        self.work = work

    def __call__(self, *given: Any) -> Any:
        try:
            return self.work(*given)
        except (HaigoError, OSError, MemoryError, Internal):
            raise
        except Exception as error:
            raise foreseen(error) or Internal(internal(error), traceback.format_exc()) from None


def run(
    work: Mapping[str, Callable[[], Any]],
    workers: int,
    on_wait: Callable[[], None] | None = None,
    on_done: Callable[[str, Any], None] | None = None,
    *,
    fork: bool = False,
    served: bool = False,
) -> dict[str, Any]:
    """Call every function of `work` in a process of its own, `workers` at a time; give the results by name.

    Args:
        work: name -> picklable function without arguments (a `functools.partial` of a module-level one).
        on_wait: called about once a second while waiting.
        on_done: called with the name and the result of each piece that ended well.
        fork: start workers as copies of this process, which saves them their imports and whatever it has loaded. Only for
            callers whose process has no threads and no torch.
        served: fork workers from the fork server (`serve`), which saves them what it has imported.

    Raises:
        whatever a piece raised, or Internal for what it did not foresee: the others are stopped.
        Failed: a worker was killed (out of memory, most often).
    """
    results: dict[str, Any] = {}
    method = "fork" if fork else "forkserver" if served else "spawn"
    with _workers(workers, method, ": finished work is kept") as executor:
        with _undisturbed() if fork else contextlib.nullcontext():
            names = {executor.submit(Piece(piece)): name for name, piece in work.items()}
        waiting = set(names)
        while waiting:
            done, waiting = concurrent.futures.wait(waiting, _POLL_S, concurrent.futures.FIRST_COMPLETED)
            for future in done:
                results[names[future]] = future.result()
                if on_done:
                    on_done(names[future], future.result())
            if on_wait:
                on_wait()
    return {name: results[name] for name in work}


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Hold signals back while this process forks: a copy that is stopped before `start_worker` has set its own handlers would
    unwind its parent's stack, and tidy up its parent's files."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _workers(count: int, method: str, kept: str = "") -> Iterator[concurrent.futures.ProcessPoolExecutor]:
    """Worker processes for a block; they are ended at once where it raises.

    Args:
        kept: what is to be said of the work so far where one was killed.
    """
    # One thread a process: two OpenMP teams on one core cost several times what they gain.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("MKL_NUM_THREADS", "1")
    context = SERVED if method == "forkserver" else multiprocessing.get_context(method)
    environment = dict(os.environ) if method == "forkserver" else None
    executor = concurrent.futures.ProcessPoolExecutor(count, context, start_worker, (cli.verb, environment))
    try:
        yield executor
    except concurrent.futures.process.BrokenProcessPool:
        raise Failed(_KILLED, f"use fewer workers, then run the same command again{kept}") from None
    except BaseException:
        stop(executor)
        raise
    executor.shutdown()


def run_shown(
    label: str,
    work: Mapping[str, Callable[[], Any]],
    workers: int,
    unit: str = "pieces",
    sizes: Mapping[str, int] | None = None,
    **how: bool,
) -> dict[str, Any]:
    """Do all pieces of work, in this process or in several, with a progress line; their results by name.

    Args:
        label, unit: what the progress line says, and what it counts.
        sizes: how many of them each piece is; one by default.
        **how: as of `run`.
    """
    sizes = sizes or dict.fromkeys(work, 1)
    with Progress(label, sum(sizes.values()), unit) as progress:
        if workers > 1 and len(work) > 1:
            count = min(workers, len(work))
            return run(work, count, progress.show, lambda name, _: progress.update(sizes[name]), **how)
        results = {}
        with progress.beating():
            for name, piece in work.items():
                results[name] = piece()
                progress.update(sizes[name])
        return results


def ordered(function: Callable[[Any], Any], items: Iterable[Any], workers: int) -> Iterator[Any]:
    """Results of `function` for every item, in order; with `workers` > 1 that many processes work ahead of the reader.

    Only a few items a worker are under way at a time, so a stream of any length goes through.

    Args:
        function: picklable.
        items: read as they are needed.

    Raises:
        whatever a call or the stream of items raised: the workers are stopped.
        Failed: a worker was killed.
    """
    if workers <= 1:
        yield from map(function, items)
        return
    workers = min(workers, _MOST_AHEAD * cores())  # more would only fill the memory with work that waits
    under_way: collections.deque[concurrent.futures.Future[Any]] = collections.deque()
    piece = Piece(function)
    with _workers(workers, "spawn") as executor:
        for item in items:
            under_way.append(executor.submit(piece, item))
            if len(under_way) > 2 * workers:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()


def interruptible(work: Callable[[], Any]) -> Any:
    """Call `work` in a forked child and give its result: Ctrl-C then stops it at once, though it is inside C code that
    would not return to Python for minutes. The child shares the parent's memory, so nothing large is copied.

    Raises:
        whatever `work` raised.
        Failed: the child was killed.
    """
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_answer, args=(sender, work))
    try:
        with _undisturbed():
            child.start()
        sender.close()
        while not receiver.poll(_POLL_S):
            pass
        ended_well, result = receiver.recv()
    except EOFError:
        raise Failed(
            _KILLED,
            "use a smaller input or a machine with more memory",
        ) from None
    finally:
        if child.pid is not None:
            child.kill()  # it would not listen to anything else
            child.join()
        receiver.close()
    if not ended_well:
        raise result
    return result


def _answer(sender: Connection, work: Callable[[], Any]) -> None:
    start_worker(cli.verb)  # a fork: it has its parent's
    try:
        sender.send((True, Piece(work)()))
    except Exception as error:
        sender.send((False, error))
    sender.close()


def stop(executor: concurrent.futures.ProcessPoolExecutor) -> None:
    """End an executor's workers now, whatever they are doing."""
    processes = list((executor._processes or {}).values())
    executor.shutdown(wait=False, cancel_futures=True)
    for process in processes:
        process.terminate()
    deadline = time.monotonic() + 5
    for process in processes:
        process.join(max(0.1, deadline - time.monotonic()))
        if process.is_alive():
            process.kill()
