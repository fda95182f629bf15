"""haigo.jobs: independent pieces of work, of which some fail, are killed or are tried again."""

import contextlib
import os
import signal
from multiprocessing import forkserver

import pytest

from haigo import jobs, pool
from haigo.cli import Failed, HaigoError


# what workers do, by reference: a worker imports this module
def _dies(task, tell):
    if task["die"]:
        os.kill(os.getpid(), signal.SIGKILL)
    tell(1)
    return task["value"] * 2


def test_a_killed_worker_is_replaced():
    tasks = [(str(number), {"die": number == 1, "value": number}) for number in range(4)]
    events = [event for event in jobs.run(jobs.Processes(_dies, 1), tasks) if event is not None]
    done = {event.name: event.value for event in events if event.kind == "done"}
    failed = {event.name: event.value for event in events if event.kind == "failed"}
    assert done == {"0": 0, "2": 4, "3": 6}
    assert "ended with code -9 (out of memory" in failed["1"]


def _ends_its_server(task, tell):
    if task:
        os.kill(os.getppid(), signal.SIGKILL)
        signal.pause()
    return "done"


def test_a_killed_fork_server_costs_what_was_running():
    events = [each for each in jobs.run(jobs.Processes(_ends_its_server, 1), [("a", True), ("b", False)]) if each]
    assert {event.name: event.kind for event in events if event.kind in ("done", "failed")} == {
        "a": "failed",
        "b": "done",
    }


def _ends_the_pools_server():
    os.kill(os.getppid(), signal.SIGKILL)
    signal.pause()


def test_a_fork_server_killed_under_a_pool_is_a_sentence_and_the_next_pool_has_another():
    work = {"a": _ends_the_pools_server, "b": signal.pause}
    with pytest.raises(Failed, match="a worker process was killed"):
        pool.run(work, 2, served=True)
    assert len(set(pool.run({"a": os.getppid, "b": os.getppid}, 2, served=True).values())) == 1


@pytest.mark.parametrize("kills", [1, 2])
def test_of_a_fork_server_killed_while_it_starts_a_worker_there_is_another(kills, monkeypatch):
    pool.run({"a": os.getpid}, 1, served=True)  # there is one
    server, left = forkserver._forkserver, [kills]
    connect = server.connect_to_new_process

    def killed(fds):
        if not left[0]:
            return connect(fds)
        left[0] -= 1
        server.ensure_running()
        os.kill(server._forkserver_pid, signal.SIGSTOP)  # so that it hears of the worker, and starts none
        found = connect(fds)
        os.kill(server._forkserver_pid, signal.SIGKILL)
        return found

    monkeypatch.setattr(forkserver, "connect_to_new_process", killed)
    with pytest.raises(Failed, match="killed twice") if kills == 2 else contextlib.nullcontext():
        assert set(pool.run({"a": os.getpid, "b": os.getpid}, 2, served=True)) == {"a", "b"}
    assert not left[0]


def number_of_worker(task, tell):
    return os.environ[jobs.WORKER]


def test_workers_of_a_pool_are_numbered():
    tasks = [(str(n), {}) for n in range(6)]
    found = {
        event.value for event in jobs.run(jobs.Processes(number_of_worker, 3), tasks) if event and event.kind == "done"
    }
    assert found <= {"0", "1", "2"} and found


def fails(task, tell):
    if task == "sentence":
        raise HaigoError("it does not work today.", "come back tomorrow")
    if task == "surprise":
        raise ValueError("nobody foresaw it")
    return task


def test_what_fails_is_tried_again_after_the_others():
    tasks = [("a", "sentence"), ("b", "fine"), ("c", "surprise")]
    events = [event for event in jobs.run(jobs.Processes(fails, 1), tasks, 2) if event is not None]
    kinds = [(event.name, event.kind) for event in events]
    assert kinds == [
        ("a", "started"), ("a", "again"), ("b", "started"), ("b", "done"), ("c", "started"), ("c", "again"),
        ("a", "started"), ("a", "failed"), ("c", "started"), ("c", "failed"),
    ]  # fmt: skip
    said = {event.name: event.value for event in events if event.kind == "failed"}
    assert said["a"] == "it does not work today." and "nobody foresaw it" in said["c"]


def test_an_executor_is_closed_with_its_generator():
    executor = jobs.Processes(fails, 2)
    events = jobs.run(executor, [("a", "fine"), ("b", "fine")])
    assert next(events) == jobs.Event("started", "a", None)
    (worker,) = executor._workers
    events.close()
    assert not worker.process.is_alive()
