"""Supervised runs on a bad day: full disks, cut logs, closed terminals, folders elsewhere, a reused process number."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from test_supervise import ITERS, Run
from test_supervise import run as run  # the fixture

from haigo import files, yamlfile
from haigo.cli import HaigoError
from launch.neox import log as neox_log
from launch.neox.checkpoints import Choice
from launch.neox.log import Follower
from launch.train import causes, exclusive, process, rank_logs, resume, runner
from launch.train.process import Child


def started(folder: Path, *command: str, log: Path | None = None) -> Child:
    return process.start(list(command), folder.parent, dict(os.environ), folder, log or folder / "log")


def end_of(child: Child) -> process.Ending:
    limit = time.monotonic() + 240
    while (found := child.ending()) is None:
        assert time.monotonic() < limit
        time.sleep(0.05)
    return found


def test_how_it_ended_has_room_on_a_full_disk(tmp_path: Path) -> None:
    """The bytes are taken when the run starts; at its end they are only written over."""
    folder = tmp_path / "run"
    child = started(folder, "sleep", "1")
    reserved = folder / ".exit.reserved"
    before = reserved.stat()
    assert before.st_size == 256
    assert end_of(child) == process.Ending(0)
    after = (folder / "exit.json").stat()
    assert (after.st_ino, after.st_size) == (before.st_ino, before.st_size) and not reserved.exists()
    assert json.loads((folder / "exit.json").read_text())["code"] == 0


def test_a_program_that_cannot_be_started(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert end_of(started(folder, str(tmp_path / "nowhere"))).code == runner.NOT_STARTED
    assert "nowhere: No such file" in (folder / "log").read_text()
    cause = causes.cause(runner.NOT_STARTED, [])
    assert cause.kind == causes.LASTING and "could not be started" in cause.sentence


def test_a_log_that_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    with pytest.raises(IsADirectoryError):
        started(tmp_path / "run", "true", log=tmp_path / "log")
    assert not (tmp_path / "run" / "child.json").exists()


def test_a_dead_keepers_number_that_is_anothers_by_now(tmp_path: Path) -> None:
    """Another program's process group of that number is left alone."""
    folder = tmp_path / "run"
    stranger = subprocess.Popen(["sleep", "60"], start_new_session=True)
    try:
        child = Child(folder, stranger.pid, "12345", folder / "log")
        assert child.ending() == process.Ending(137, orphans=False)
        folder.mkdir()
        facts = {"pid": stranger.pid, "started": "12345", "host": "x", "log": "x", "place": runner.machine()}
        (folder / "child.json").write_text(json.dumps(facts))
        assert process.running(folder) is None and stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_looking_stops_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    code = "import subprocess, sys; subprocess.Popen(['sleep', '60']).wait()"
    child = started(folder, sys.executable, "-c", code)
    limit = time.monotonic() + 240
    while len(runner.members(child.pid)) < 3:
        assert time.monotonic() < limit
        time.sleep(0.05)
    os.kill(child.pid, signal.SIGKILL)
    assert child.process is not None
    child.process.wait()
    assert process.running(folder, tidy=False) is None and runner.members(child.pid)
    assert process.running(folder) is None and not runner.members(child.pid)


def test_a_log_that_was_cut_is_read_from_its_new_beginning(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("one\ntwo\n")
    follower = Follower(path)
    assert follower.lines() == [b"one", b"two"]
    path.write_text("3\n")
    assert follower.lines() == [b"3"]


def test_what_a_full_disk_refused_is_gathered_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ranks").mkdir()
    gatherer = rank_logs.Gatherer(tmp_path / "ranks", tmp_path / "no" / "log")
    (tmp_path / "ranks" / "1_rank0.log").write_text("a line\n")
    (tmp_path / "no").write_text("a file in the way")
    with pytest.raises(OSError):
        gatherer.gather()
    (tmp_path / "no").unlink()
    gatherer.gather()
    gatherer.gather()
    assert (tmp_path / "no" / "log").read_text() == "[rank 0] a line\n"


def test_a_folder_for_logs_on_another_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save = tmp_path / "save"
    for step in (6, 12):
        (save / f"global_step{step}").mkdir(parents=True)
    real = os.rename

    def rename(source: Path, target: Path) -> None:
        if "haigo" in Path(target).parts:
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        real(source, target)

    monkeypatch.setattr(os, "rename", rename)
    made = resume.Resume(save, Choice("global_step6", "global_step6"), newer=["global_step12"])
    (told,) = resume.prepare(made)
    assert (save / "aside-global_step12").is_dir() and "aside-global_step12" in told
    assert not list(save.glob("global_step12"))  # GPT-NeoX counts what is called so


def test_the_last_good_step_of_a_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert max((step for step, _ in neox_log.losses(log)), default=0) == 0
    lines = [
        f" iteration {step}/ 20 | lm_loss: {loss} |" for step, loss in ((9, 2.0), (10, 2.1), (11, "NAN"), (19, "NAN"))
    ]
    log.write_text("\n".join(lines) + "\n")
    assert max((step for step, _ in neox_log.losses(log)), default=0) == 10


def test_nan_checkpoints_of_an_unwatched_hour_are_passed_over(
    run: Run,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The watcher was killed, the run trained on into NaN and ended: the next start begins with NaN weights."""
    run.plan({"kind": "nan", "at": 11})
    assert run.go("--nan", "off") == 0
    assert run.latest() == "global_step20"
    yamlfile.write(run.config, {**yamlfile.read(run.config), "train_iters": 30, "lr_decay_iters": 30})
    run.plan(None, {"kind": "nan", "at": 1}, iters=30)
    assert run.go("--other-data") == 4
    assert "The last good checkpoint before it is global_step6" in capsys.readouterr().err
    assert run.latest() == "global_step6"


def test_a_crash_after_the_last_checkpoint_is_not_repeated(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """As when the test set at the very end cannot be read: all is trained and saved, and would be saved over."""
    run.plan({"kind": "after the end", "at": ITERS, "code": 1})
    assert run.go() == 1
    said = capsys.readouterr().err
    assert "not started again: global_step20 is whole, and nothing is left to train" in said
    assert len(run.calls) == 1
    assert run.go() == 0 and len(run.calls) == 1


def test_a_run_that_ends_while_the_next_watcher_starts(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run.plan()
    assert run.go() == 0
    # as seen when it still trained at the first look
    kept = json.loads((run.save / "haigo" / "child.json").read_text())
    child = Child(run.save / "haigo", kept["pid"], kept["started"], Path(kept["log"]))
    monkeypatch.setattr(process, "running", lambda folder, tidy=True: child)
    assert run.go() == 0
    assert len(run.calls) == 1


@pytest.mark.slow
def test_kill_9_at_any_moment(run: Run) -> None:
    """Watchers are killed wherever they are, the training never: each step is done once."""
    run.plan(pause=0.7)
    rng = random.Random(7)
    for _ in range(4):
        haigo = run.start()
        with contextlib.suppress(subprocess.TimeoutExpired):
            haigo.wait(timeout=rng.uniform(0.3, 3.5))
        haigo.kill()
        haigo.communicate(timeout=300)
    assert run.go() == 0
    assert run.steps() == list(range(1, 21)) and len(run.calls) == 1 and run.latest() == "global_step20"


@pytest.mark.slow
def test_kill_9_of_all_of_it_at_any_moment(run: Run) -> None:
    """Watcher, keeper and training at once, as when a node dies: nothing before the last checkpoint is done again."""
    run.plan(pause=0.2)
    rng = random.Random(11)
    for _ in range(3):
        haigo = run.start()
        with contextlib.suppress(subprocess.TimeoutExpired):
            haigo.wait(timeout=rng.uniform(1.5, 5.0))
        haigo.kill()
        haigo.communicate(timeout=300)
        child = run.save / "haigo" / "child.json"
        if child.exists():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(json.loads(child.read_text())["pid"], signal.SIGKILL)
    assert run.go() == 0
    steps = run.steps()
    for before, after in itertools.pairwise(steps):
        # on, or back to the step after a checkpoint, which is no further back than one interval and a torn one
        assert after == before + 1 or (after % 6 == 1 and before - after < 12), steps
    assert steps[-1] == 20 and run.latest() == "global_step20"


def test_two_run_folders_of_one_save_folder(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run.plan(pause=0.25)
    first = run.start("--run-folder", str(tmp_path / "a"), "--log", str(run.save / "haigo" / "output.log"))
    run.wait_for_step(2)
    assert run.go("--run-folder", str(tmp_path / "b")) == 2
    assert "in use by another process" in capsys.readouterr().err
    first.kill()
    first.communicate(timeout=300)
    for words in (["--run-folder", str(tmp_path / "b")], []):
        assert run.go(*words) == 2
        assert f"its logs are in {tmp_path / 'a'}" in capsys.readouterr().err
    assert run.go("--run-folder", str(tmp_path / "a")) == 0
    assert len(run.calls) == 1 and (run.save / "haigo" / exclusive.NAME).read_text() == str(tmp_path / "a")
    with pytest.raises(HaigoError, match="in use"), exclusive.alone(tmp_path / "a", {}, tmp_path):
        with exclusive.alone(tmp_path / "a", {}, tmp_path):
            pass


def test_nobody_reads_what_it_says(run: Run) -> None:
    """Its terminal, or the program behind a pipe, has gone; a watch goes on, with its restarts."""
    run.plan({"kind": "exit", "code": 247, "at": 8}, None, pause=0.1)
    haigo = run.start()
    run.wait_for_step(2)
    assert haigo.stderr is not None
    haigo.stderr.close()
    haigo.wait(timeout=300)
    assert run.steps() == [*range(1, 9), *range(7, 21)] and run.latest() == "global_step20"


def test_nohup_is_respected(run: Run) -> None:
    run.plan(pause=0.15)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        haigo = run.start()
    finally:
        signal.signal(signal.SIGHUP, before)
    run.wait_for_step(2)
    haigo.send_signal(signal.SIGHUP)
    said = haigo.communicate(timeout=300)[1]
    assert haigo.returncode == 0, said
    assert run.steps() == list(range(1, 21))


def test_a_signal_just_before_the_end_of_a_run_that_arrives(run: Run) -> None:
    """It waited for the last checkpoint, and the run is finished: 0, and nothing to be queued again."""
    run.plan(pause=0.4, every=100)
    config = {**yamlfile.read(run.config), "checkpoint_factor": 100}
    config.pop("extra_save_iters", None)  # the end alone is saved
    yamlfile.write(run.config, config)
    haigo = run.start("--grace-seconds", "120")
    run.wait_for_step(15)
    haigo.send_signal(signal.SIGUSR1)
    said = haigo.communicate(timeout=300)[1]
    assert "waiting for the checkpoint of step 20" in said
    # the ranks may be stopped between the save and their own end, and then the next command says it is finished
    assert haigo.returncode in (0, 143) and run.latest() == "global_step20"
    assert run.go() == 0 and len(run.calls) == 1


def test_a_read_only_save_folder(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run.plan()
    run.save.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(run.save, ignore_errors=True)
    run.save.write_text("a file where a folder should be")
    assert run.go() in (2, 3)
    assert "tiny" in capsys.readouterr().err and run.calls == []


def test_the_next_start_waits_for_the_last_keeper_to_go(tmp_path: Path) -> None:
    """It has told how the run ended, and holds its lock a moment longer."""
    folder = tmp_path / "run"
    folder.mkdir()
    with files.append(folder / "running.lock", "a", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        threading.Timer(1.0, fcntl.flock, (lock, fcntl.LOCK_UN)).start()
        child = started(folder, "true")
    assert end_of(child).code == 0
