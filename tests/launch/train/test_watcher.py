"""The watcher of a run outlives whatever the run prints, knows life from noise, and leaves nothing of it behind."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shared_data import needed
from test_supervise import Run
from test_supervise import run as run  # the fixture

from haigo import yamlfile
from launch.neox import log as neox_log
from launch.neox.conversion import loss
from launch.neox.log import Follower, Step
from launch.plan import calibrate
from launch.proxies import neox as swarm
from launch.train import causes, rank_logs, runner
from launch.train.options import SuperviseOptions
from launch.train.process import Child
from launch.train.watchdog import Watchdog

LINE = (
    " samples/sec: 1.500 | iteration       12/      20 | elapsed time per iteration (ms): 10.0 | learning rate: 3.989E-03 | "
    "approx flops per GPU: 4.5GFLOPS | lm_loss: 2.000000E+00 | number of skipped iterations:   0 | number of nan iterations: "
    "  0 |"
)


# -- lines


def test_digits_of_two_ranks_run_together() -> None:
    good = neox_log.step(LINE)
    assert good is not None and good.flops_per_gpu == 4.5e9 and good.loss == 2.0
    together = neox_log.step(LINE.replace("4.5GFLOPS", "4.54.5GFLOPS").replace("(ms): 10.0", "(ms): 10.010.0"))
    assert together is not None and together.flops_per_gpu is None and together.step_ms is None and together.loss == 2.0
    # no digits more than there are: an overflow that is none of the run's must not stop it
    for text in ("2.0E+002.0E+00", "2.000000E+00999", "2..0", "x"):
        one = neox_log.step(LINE.replace("2.000000E+00", text))
        assert one is not None and one.loss is None and one.finite
    for text in ("nan", "NAN", "inf", "-inf"):
        one = neox_log.step(LINE.replace("2.000000E+00", text))
        assert one is not None and not one.finite
    assert neox_log.step(LINE.replace("12/", "1212/")) is None  # beyond the end
    assert neox_log.step(LINE.replace("12/", "9" * 5000 + "/")) is None
    one = neox_log.step(LINE.replace("iterations:   0", "iterations:   " + "9" * 400))
    assert one is not None and one.skipped == 0
    one = neox_log.step(LINE.replace("(ms): 10.0", "(ms): " + "9" * 400))
    assert one is not None and one.step_ms is None


def test_colours_and_bytes_that_are_no_text() -> None:
    for raw in (
        b"\x1b[32m" + LINE.encode() + b"\x1b[0m",
        b"\x1b]0;title\x07" + LINE.encode(),
        LINE.replace("iteration", "iter\0ation").encode(),
        b"\xff\xfe" + LINE.encode(),
        LINE.encode() + b"\xe3\x83",
    ):
        one = neox_log.step(neox_log.readable(raw))
        assert one is not None and one.iteration == 12 and one.loss == 2.0, raw
    assert len(neox_log.readable(b"x" * 10**6)) < 2 * neox_log.LONGEST


@given(
    st.lists(
        st.sampled_from([*re.findall(r"[\d.]+|\w+|\W", LINE), "9" * 400, "E+99999", "nan", "1_0", "²", "\0", "\x1b["])
    )
)
def test_any_line_is_a_step_or_none(words: list[str]) -> None:
    text = "".join(words)
    one = neox_log.step(text)
    assert one is None or 0 <= one.iteration <= one.total
    neox_log.sign_of_life(text)
    neox_log.step(neox_log.readable(text.encode("utf-8", "surrogatepass")))


def test_a_line_of_any_length_takes_no_time() -> None:
    began = time.monotonic()
    for text in (
        "iteration " + " " * 10**6,
        "iteration 1/" + " " * 10**6,
        "[Torch] Checkpoint " + "x" * 10**6,
        "9" * 10**6,
    ):
        neox_log.step(text)
        neox_log.sign_of_life(text)
    assert time.monotonic() - began < 5


# -- following


def test_lines_torn_by_a_read_are_whole(tmp_path: Path) -> None:
    path = tmp_path / "log"
    follower = Follower(path)
    content = "\n".join([LINE, "日本語", "bar 1%\rbar 2%\rbar 3%", "", LINE]).encode() + b"\nno end"
    found = []
    with open(path, "wb", buffering=0) as handle:
        for at in range(0, len(content), 7):
            handle.write(content[at : at + 7])
            found += follower.lines()
    assert found == [LINE.encode(), "日本語".encode(), b"bar 1%", b"bar 2%", b"bar 3%", LINE.encode()]
    assert follower.lines(end=True) == [b"no end"] and follower.lines(end=True) == []


def test_a_bar_without_a_line_end_is_read_as_it_goes(tmp_path: Path) -> None:
    path = tmp_path / "log"
    follower = Follower(path)
    path.write_bytes(b"1%\r2%\r3%")
    assert follower.lines() == [b"1%", b"2%"]


@pytest.mark.parametrize("line", [None, 100_000, 1 << 18, 37])
def test_long_output_is_read_in_bounded_pieces(tmp_path: Path, line: int | None) -> None:
    path = tmp_path / "log"
    size = 40 << 20 if line != 37 else 4 << 20
    with open(path, "wb") as handle:
        handle.write(b"begins " + b"x" * 1000)
        while handle.tell() < size:
            handle.write(b"x" * ((line or (1 << 20)) - 1) + (b"x" if line is None else b"\n"))
        handle.write(b"\n" + LINE.encode() + b"\n")
    follower, found, calls = Follower(path), [], 0
    while follower.behind or not calls:
        part = follower.lines(end=True)
        assert sum(map(len, part)) < 1 << 20
        found += part
        calls += 1
    assert neox_log.step(neox_log.readable(found[-1])) == neox_log.step(LINE)
    assert max(map(len, found)) <= neox_log.LONGEST + 5 and found[0].startswith(b"begins ")


def test_the_end_of_an_overlong_line_is_kept(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"x" * 10**6 + LINE.encode() + b"\n")
    raw = next(Follower(tmp_path / "log").within(10))
    assert len(raw) < 2 * neox_log.LONGEST and neox_log.step(neox_log.readable(raw)) == neox_log.step(LINE)
    assert max((step for step, _ in neox_log.losses(tmp_path / "log")), default=0) == 12


def test_ranks_that_end_no_line_are_gathered(tmp_path: Path) -> None:
    ranks = tmp_path / "ranks"
    ranks.mkdir()
    gatherer = rank_logs.Gatherer(ranks, tmp_path / "log")
    (ranks / "1_rank0.log").write_bytes(b"x" * (5 << 20))
    (ranks / "1_rank1.log").write_bytes(LINE.encode() + b"\nhalf a line")
    calls = 1
    while gatherer.gather():
        calls += 1
    assert calls > 10
    text = (tmp_path / "log").read_bytes()
    assert b"[rank 1] " + LINE.encode() in text and b"half a line" not in text
    while gatherer.gather(end=True):
        pass
    text = (tmp_path / "log").read_bytes()
    assert text.count(b"x") > 5 << 20 and b"[rank 1] half a line\n" in text


def test_other_readers_of_a_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text(
        LINE.replace("2.000000E+00", "2.02.0") + "\n" + LINE.replace("12/", "9" * 5000 + "/") + "\n" + LINE + "\n"
    )
    (found,) = loss.logged(log, 11, {"log_interval": 1}, 4)
    assert found.value == 2.0
    assert swarm.logged(log) == [(12, 2.0)] and swarm.steps_done(tmp_path) == 0
    log.rename(tmp_path / "train.log")
    assert swarm.steps_done(tmp_path) == 12
    garbled = LINE.replace("sec: 1.500", "sec: 1.51.5")
    with pytest.raises(calibrate.HaigoError, match="has 1 logged speeds"):
        calibrate._from_log([garbled, LINE], "log")


# -- life


def patience(factor: float, seconds: float, pause: float) -> SuperviseOptions:
    return SuperviseOptions(hang_factor=factor, hang_seconds=seconds, hang_pause=pause)


def test_the_same_step_again_is_no_life() -> None:
    dog = Watchdog(patience(10, 30, 600), now=0.0)
    for number in range(1, 11):
        dog.step(Step(number, 1000), float(number))
    for second in range(11, 200):
        dog.step(Step(10, 1000), float(second))
    told = dog.hung(200.0)
    assert told is not None and "step 10 comes again and again" in told


def test_falling_back_again_and_again_is_no_life() -> None:
    dog = Watchdog(patience(10, 30, 600), now=0.0)
    for number in range(1, 11):
        dog.step(Step(number, 1000), float(number))
    for second in range(11, 200):
        dog.step(Step(10 - second % 2, 1000), float(second))
    assert dog.hung(200.0) is not None
    # a launcher that starts its workers again loses some steps and goes on
    dog = Watchdog(patience(10, 30, 600), now=0.0)
    steps = [*range(1, 201), *range(100, 300)]
    for second, number in enumerate(steps):
        dog.step(Step(number, 1000), float(second))
        assert dog.hung(float(second)) is None


def test_two_ranks_that_log_alternately_are_alive() -> None:
    dog = Watchdog(patience(10, 30, 600), now=0.0)
    for number in range(1, 500):
        for rank in range(4):
            dog.step(Step(max(1, number - rank), 1000), number + rank / 10)
            assert dog.hung(float(number + 20)) is None


def test_digits_run_together_are_no_progress() -> None:
    dog = Watchdog(patience(10, 30, 600), now=0.0)
    second = 0.0
    for number in range(10, 400):
        second += 1
        dog.step(Step(number, 10**7), second)
        if number % 10 == 0:
            dog.step(Step(int(f"{number}{number}"), 10**7), second)
        assert dog.hung(second + 20) is None
    # lines that were lost make a true leap
    for number in range(5000, 5200):
        second += 1
        dog.step(Step(number, 10**7), second)
    assert dog.hung(second + 20) is None and dog.hung(second + 40) is not None


def test_signs_without_steps_are_life_for_a_while_only() -> None:
    dog = Watchdog(patience(10, 30, 600), now=0.0)
    dog.step(Step(1, 100), 0.0)
    dog.step(Step(2, 100), 1.0)
    for second in range(0, 20_000, 100):
        dog.other("evaluating", float(second))
        if dog.hung(float(second)):
            break
    assert 6000 < second < 7000


# -- processes


@pytest.fixture
def left(tmp_path: Path) -> Iterator[Callable[[str], int]]:
    """Starts a process that carries a mark, in a session of its own."""
    started: list[subprocess.Popen[bytes]] = []

    def start(mark: str) -> int:
        words = [sys.executable, "-c", "import time; time.sleep(600)"]
        started.append(subprocess.Popen(words, env={**os.environ, runner.MARK: mark}, start_new_session=True))
        deadline = time.monotonic() + 240
        while not any(pid == started[-1].pid for pid, _ in runner.escaped(mark, 1)) and time.monotonic() < deadline:
            time.sleep(0.02)
        return started[-1].pid

    yield start
    for one in started:
        one.kill()
        one.wait()


def test_what_left_its_group_is_found_by_its_mark(left: Callable[[str], int]) -> None:
    own, other = left("/a/run"), left("/a/run2")
    assert [pid for pid, _ in runner.escaped("/a/run", 1)] == [own]
    assert runner.escaped("/a/run", own) == []  # a member of the group itself
    assert runner.stop_escaped("/a/run", 1, going=0.0) == [own]
    assert not runner.start_time(own) and runner.start_time(other)


def test_a_number_that_is_anothers_by_now_gets_no_signal(left: Callable[[str], int]) -> None:
    pid = left("/a/run")
    runner.send(pid, "1", signal.SIGKILL)
    child = Child(Path("/a/other"), pid, "1", Path("log"))
    child.send(signal.SIGKILL)
    time.sleep(0.2)
    assert runner.start_time(pid)
    runner.send(pid, runner.start_time(pid), signal.SIGKILL)
    deadline = time.monotonic() + 240
    while runner.start_time(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not runner.start_time(pid)
    runner.send(2**22 - 1, "1", signal.SIGKILL)  # nobody's


def gone(run: Run) -> bool:
    pid = int((run.save.parent / "left").read_text())
    deadline = time.monotonic() + 240
    while runner.start_time(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not runner.start_time(pid)


@pytest.mark.parametrize("how", ["setsid", "daemon"])
def test_a_child_with_a_session_of_its_own_is_ended_and_told(
    run: Run, how: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run.plan({"kind": "leaves", "how": how, "at": 3})
    assert run.go() == 0
    err = capsys.readouterr().err
    assert gone(run) and "had left the run's session" in err and "finished" in err
    assert "escaped" in (run.save / "haigo" / "events.jsonl").read_text()


@pytest.mark.parametrize("words", [(), ("--no-supervise",)])
def test_so_after_a_crash(run: Run, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]) -> None:
    run.plan({"kind": "leaves", "how": "setsid", "at": 3, "code": 1})
    run.go(*words)
    assert gone(run)


def test_so_after_a_signal_and_after_kill_9_of_all(run: Run) -> None:
    run.plan({"kind": "leaves", "how": "setsid", "at": 3}, pause=0.3)
    process = run.start()
    run.wait_for_step(4)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=300)
    assert gone(run)
    (run.save.parent / "left").unlink()
    (run.save.parent / "tiny.calls.jsonl").unlink()
    process = run.start()
    run.wait_for_step(4)
    deadline = time.monotonic() + 240
    left = run.save.parent / "left"
    while not (left.is_file() and left.read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.kill()
    process.wait()
    pid = int(left.read_text())
    child = yamlfile.read(run.save / "haigo" / "child.json")
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child["pid"], signal.SIGKILL)
    assert runner.start_time(pid)
    run.plan(None)
    assert run.go() == 0 and gone(run)


# -- the whole


def test_noise_does_not_end_the_watch(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run.plan({"kind": "noise", "at": 5})
    assert run.go() == 0
    err = capsys.readouterr().err
    assert "finished: step 20" in err and "warning" not in err and len(run.calls) == 1
    capsys.readouterr()


def test_noise_of_an_unsupervised_run(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run.plan({"kind": "noise", "at": 5})
    assert run.go("--no-supervise") == 0
    assert "iteration       20/" in capsys.readouterr().out


@pytest.mark.parametrize("line", [None, 100_000])
def test_a_flood_makes_nobody_deaf(run: Run, line: int | None) -> None:
    size = 200 << 20
    run.plan({"kind": "flood", "bytes": size, "line": line, "at": 5}, pause=0.05)
    process = run.start()
    log = run.save / "haigo" / "output.log"
    deadline = time.monotonic() + 120
    while (not log.exists() or log.stat().st_size < size // 4) and time.monotonic() < deadline:
        time.sleep(0.02)
    before = peak(process.pid)
    while log.stat().st_size < size and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(1)
    assert peak(process.pid) - before < 100 << 20
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 143 and time.monotonic() - began < 20, err
    log.unlink()


def peak(pid: int) -> int:
    """Most memory that a process has held, in bytes."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) * 1024 if found else 0


def test_a_flood_of_an_unsupervised_run(tmp_path: Path) -> None:
    code = f"import os\nfor _ in range(40): os.write(1, b'x' * (1 << 20))\nos.write(1, b'\\n' + {LINE.encode()!r} + b'\\n')"
    script = (
        "import os, sys; from pathlib import Path; from launch.train import outcome, process\n"
        f"words, folder = [sys.executable, '-c', {code!r}], Path({str(tmp_path)!r})\n"
        "one = outcome.Seen()\n"
        "ending = process.foreground(words, folder, os.environ, folder / 'log', one.take)\n"
        "kept = [line for line in open('/proc/self/status') if line.startswith('VmHWM')][0].split()[1]\n"
        "print(ending.code, one.iteration, kept, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=300, check=True)
    code_, step, kept = done.stderr.split()[-3:]
    assert (code_, step) == (b"0", b"12") and int(kept) < 300_000
    assert (tmp_path / "log").stat().st_size == (40 << 20) + len(LINE) + 2


@pytest.mark.parametrize("kind", ["again", "back"])
def test_a_run_that_goes_on_the_spot_is_a_hang(run: Run, capsys: pytest.CaptureFixture[str], kind: str) -> None:
    run.plan({"kind": kind, "at": 8}, pause=0.05)
    assert run.go("--hang-seconds", "2", "--hang-factor", "2") == 0
    err = capsys.readouterr().err
    assert "no sign of life" in err and "finished: step 20" in err and len(run.calls) == 2


def test_an_id_outside_the_vocabulary_is_no_broken_gpu(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    source = needed("cases/neox/device_assert.log")
    run.plan({"kind": "says", "text": source.read_text(), "code": 1, "at": 3})
    assert run.go() == 1
    err = capsys.readouterr().err
    assert "a GPU failed" not in err and "not started again" in err and len(run.calls) == 1
    assert causes.cause(1, source.read_text().splitlines()).kind == causes.LASTING


DAMAGED = ("[1]", '{"code": "x"}', "[" * 5000, "\udcff")


@pytest.mark.parametrize(
    "name", ["exit.json", "child.json", "start.json", "places.json", "run-folder", "../haigo_run.json"]
)
def test_damaged_state_is_told(run: Run, capsys: pytest.CaptureFixture[str], name: str) -> None:
    crash = {"kind": "exit", "at": 8, "code": 1}
    for content in DAMAGED:
        run.plan(*[crash] * 20)
        assert run.go("--max-restarts", "0") == 1
        (run.save / "haigo" / name).write_bytes(content.encode("utf-8", "surrogateescape"))
        code = run.go("--max-restarts", "0")
        err = capsys.readouterr().err
        assert code in (1, 2, 3) and "Traceback" not in err, (content[:20], err)
        assert code == 1 or (Path(name).name in err and "fix:" in err)
        shutil.rmtree(run.save)


@pytest.mark.parametrize("content", DAMAGED)
def test_a_start_that_nobody_knows_is_told_while_it_trains(run: Run, content: str) -> None:
    run.plan(gate=str(run.gate))
    first = run.start()
    run.wait_for_step(7)
    first.kill()
    first.wait()
    (run.save / "haigo" / "start.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    second = run.start()
    _, err = second.communicate(timeout=300)
    assert second.returncode == 2 and "start.json" in err and "fix:" in err
    child = yamlfile.read(run.save / "haigo" / "child.json")
    assert f"kill -TERM -- -{child['pid']}" in err
    # what it says helps
    subprocess.run(["bash", "-c", f"kill -TERM -- -{child['pid']}"], check=True)
    while runner.start_time(child["pid"]):
        time.sleep(0.1)
    run.plan(None)
    third = run.start()
    _, err = third.communicate(timeout=300)
    assert third.returncode == 0 and "started from step" in err, err
