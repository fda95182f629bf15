"""haigo: exit codes, atomic files, one owner a folder, YAML as people mean it, work side by side."""

import dataclasses
import errno
import io
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
import yaml

from haigo import cli, files, flags, options, pool, shown, yamlfile
from haigo.cli import Failed, HaigoError, Refused
from haigo.progress import Progress, clock

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (HaigoError("x.csv is empty.", "write it again"), 2),
        (Refused("no."), 3),
        (Failed("it died."), 4),
        (FileNotFoundError(errno.ENOENT, "No such file", "a.bin"), 2),
        (OSError(errno.ENOSPC, "No space left", "a.bin"), 2),
        (KeyboardInterrupt(), 130),
        (MemoryError(), 4),
    ],
)
def test_every_problem_is_a_sentence_and_a_code(error, code, capsys):
    def main(argv):
        raise error

    assert cli.run(main, []) == code
    said = capsys.readouterr().err
    assert said.startswith("haigo: ") and "Traceback" not in said
    assert len(said.strip().splitlines()) <= 2


def test_debug_shows_the_traceback():
    def main(argv):
        raise HaigoError("x")

    with pytest.raises(HaigoError):
        cli.run(main, ["--debug"])


def test_unknown_flag_names_the_nearest(capsys):
    def main(argv):
        made = cli.parser("a.b", "doc")
        made.add_argument("--output-dir")
        made.parse_args(argv)

    assert cli.run(main, ["--output-dri", "x"]) == 2
    said = capsys.readouterr().err
    assert "--output-dir" in said and "python -m a.b --help" in said


def test_atomic_leaves_the_old_file_when_writing_fails(tmp_path):
    target = tmp_path / "a.txt"
    files.write_text(target, "old")
    with pytest.raises(RuntimeError), files.atomic(target) as temporary:
        temporary.write_text("new")
        raise RuntimeError
    assert target.read_text() == "old"
    assert {path.name for path in tmp_path.iterdir()} == {"a.txt", files.JOURNAL}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_told_with_the_real_name(tmp_path, capsys):
    def main(argv):
        with files.atomic(tmp_path / "a.bin") as temporary:
            temporary.unlink()
            temporary.symlink_to("/dev/full")
            with open(temporary, "wb", buffering=0) as handle:
                handle.write(b"x")

    assert cli.run(main, []) == 2
    assert f"no space left on the disk while writing {tmp_path / 'a.bin'}" in capsys.readouterr().err


def test_killed_writer_leaves_nothing_under_the_real_name(tmp_path):
    code = (
        "import os, signal, sys; from haigo import files\n"
        "with files.atomic(sys.argv[1]) as t:\n"
        "    t.write_text('half'); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "a")], cwd=ROOT, check=False)
    assert not (tmp_path / "a").exists()
    files.remove_leftovers(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_folder_has_one_owner_and_a_killed_owner_frees_it(tmp_path):
    code = (
        "import sys, time; from haigo import files\n"
        "with files.owner(sys.argv[1]):\n    print('held', flush=True); time.sleep(60)"
    )
    other = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout is not None and other.stdout.readline() == "held\n"
        with pytest.raises(HaigoError, match=f"in use by another process .pid {other.pid}"), files.owner(tmp_path):
            pass
    finally:
        other.send_signal(signal.SIGKILL)
        other.wait()
    with files.owner(tmp_path):
        pass


def test_yaml_numbers_read_as_people_mean_them():
    read = yamlfile.loads("{a: 1e-4, b: 1E5, c: -2e+3, d: 1.5, e: 1e, f: '1e-4', g: 12}", "x")
    assert read == {"a": 1e-4, "b": 1e5, "c": -2000.0, "d": 1.5, "e": "1e", "f": "1e-4", "g": 12}


def test_yaml_written_is_read_back_by_plain_pyyaml():
    value = {"eps": 1e-8, "big": 1e20, "x": 0.1, "n": 3, "名": ["ニュース", True, None]}
    assert yaml.safe_load(yamlfile.dumps(value)) == value


def test_yaml_mistakes_name_file_and_line(tmp_path):
    bad = tmp_path / "a.yml"
    bad.write_text("a: 1\nb: 2\na: 3\n")
    with pytest.raises(HaigoError, match=r"a.yml is not valid YAML \(line 3\): the key 'a' is given twice"):
        yamlfile.read(bad)
    bad.write_text("a: [1\nb: 2\n")
    with pytest.raises(HaigoError, match=r"line 2"):
        yamlfile.read(bad)


def double(x: int) -> int:
    return 2 * x


def fail() -> None:
    raise Refused("not today.", "tomorrow")


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_pool_gives_results_by_name_and_passes_errors_on_whole():
    done = []
    results = pool.run({"a": partial(double, 1), "b": partial(double, 2)}, 2, on_done=lambda *each: done.append(each))
    assert results == {"a": 2, "b": 4} and sorted(done) == [("a", 2), ("b", 4)]
    start = time.monotonic()
    with pytest.raises(Refused) as caught:
        pool.run({"a": fail, "b": partial(time.sleep, 60)}, 2)
    assert caught.value.fix == "tomorrow" and time.monotonic() - start < 30


def test_pool_says_when_a_worker_is_killed():
    with pytest.raises(Failed, match="killed"):
        pool.run({"a": die}, 1)


def test_progress_in_a_log_ends_with_a_line(capsys):
    with Progress("count", 3, "things") as bar:
        bar.update(3)
    assert "count: 3 things done in 0:00" in capsys.readouterr().err
    assert clock(3700) == "1:01:40"


def test_what_nobody_can_read_ends_no_work(monkeypatch):
    class Full(io.StringIO):
        def write(self, text):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("sys.stderr", Full())
    with Progress("count", 3, "things") as bar:
        bar.say("a line")
        bar.update(3)
    assert bar.done == 3


def test_sigterm_unwinds_like_ctrl_c_and_says_so(tmp_path):
    code = (
        "import sys, time\nfrom haigo import cli, files\n"
        f"def main(argv):\n    with files.atomic({str(tmp_path / 'a')!r}) as t:\n"
        "        t.write_text('half'); print('ready', flush=True); time.sleep(60)\n"
        "raise SystemExit(cli.run(main))"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert child.stdout.readline() == "ready\n"
    child.terminate()
    _, said = child.communicate(timeout=300)
    assert child.returncode == cli.TERMINATED and said.startswith("haigo: terminated.") and "Traceback" not in said
    assert list(tmp_path.iterdir()) == []


def test_lock_holds_on_a_full_disk(tmp_path, monkeypatch):
    def full(self, *_):
        raise OSError(errno.ENOSPC, "No space left on device")

    import io

    place = tmp_path / "run"
    real = os.fdopen

    class Full(io.FileIO):
        write = full

    monkeypatch.setattr(
        os, "fdopen", lambda number, mode, size: Full(number, mode) if "+" in mode else real(number, mode, size)
    )
    with files.owner(place), pytest.raises(HaigoError, match="in use by another process"), files.owner(place):
        pass


def test_read_only_disk_is_told_by_the_real_name():
    said = cli.os_problem(OSError(errno.EROFS, "Read-only file system", "/x/a.yml"))
    assert said.startswith("/x/a.yml cannot be written: its disk is read-only.") and "\n  fix: " in said


def test_a_worker_that_starts_after_its_parent_died_does_not_stay(tmp_path):
    # the worker is held in its start-up until the parent is gone: the kernel's word about the parent's death comes too late
    (tmp_path / "late.py").write_text(
        "import os, time\nfrom pathlib import Path\nfrom haigo import pool\n"
        "def work():\n    time.sleep(600)\n"
        "if __name__ == '__mp_main__':\n"
        "    Path(os.environ['LATE']).write_text(str(os.getpid()))\n    time.sleep(1.0)\n"
        "if __name__ == '__main__':\n    pool.run({'a': work}, 1)\n"
    )
    told = tmp_path / "pid"
    environment = {**os.environ, "LATE": str(told), "PYTHONPATH": str(ROOT)}
    parent = subprocess.Popen([sys.executable, str(tmp_path / "late.py")], env=environment, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 240
    while not (told.exists() and told.read_text()) and time.monotonic() < deadline:
        time.sleep(0.01)
    parent.kill()
    parent.wait()
    worker = int(told.read_text())
    while _alive(worker) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _alive(worker)


def _alive(pid):
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Numbers(options.Options):
    count: int = options.count("how many", 1)
    seed: int = options.seed()


@pytest.mark.parametrize(
    ("kind", "text", "value"), [("seed", "0", 0), ("count", "5e4", 50000), ("count", "1_000", 1000)]
)
def test_numbers_of_the_command_line(kind, text, value):
    assert getattr(flags.parse("a.b", "doc", Numbers, [f"--{kind}={text}"]), kind) == value


@pytest.mark.parametrize(
    ("kind", "text"),
    [("seed", "-1"), ("seed", "2147483648"), ("seed", "x"), ("count", "0"), ("count", "1.5"), ("count", "1e999")],
)
def test_numbers_that_make_no_sense(kind, text, capsys):
    def main(argv):
        flags.parse("a.b", "doc", Numbers, argv)

    assert cli.run(main, [f"--{kind}={text}"]) == 2
    said = capsys.readouterr().err
    assert f"argument --{kind}: {text} is not a" in said or f"--{kind} is {int(text):,}." in said


def test_interruptible_gives_results_and_errors_and_stops_at_once():
    held = list(range(1000))
    assert pool.interruptible(lambda: sum(held)) == 499500
    with pytest.raises(Refused, match="not today"):
        pool.interruptible(fail)
    with pytest.raises(Failed, match="killed"):
        pool.interruptible(die)
    code = (
        "import time; from haigo import cli, pool\n"
        "def work():\n    print('ready', flush=True); time.sleep(60)\n"
        "raise SystemExit(cli.run(lambda argv: pool.interruptible(work), []))"
    )
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, text=True, **pipes)
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=300)
    assert process.returncode == 130 and "goes on from here" in said


def test_a_command_that_keeps_nothing_says_so(capsys):
    def stopped(argv: object) -> None:
        cli.keeps_nothing()
        raise KeyboardInterrupt

    def other(argv: object) -> None:
        raise KeyboardInterrupt

    assert cli.run(stopped, []) == 130
    assert "Nothing was kept: the same command begins anew" in capsys.readouterr().err
    assert cli.run(other, []) == 130
    assert "goes on from here" in capsys.readouterr().err


def explode(path: str) -> None:
    text = Path(path).read_text()
    raise KeyError(text)


class Wilful(Exception):
    """One that no pipe carries: it cannot be made again from its args."""

    def __init__(self, a: int, b: int) -> None:
        super().__init__("what it says")


def wilful(path: str) -> None:
    raise Wilful(1, 2)


@pytest.mark.parametrize("how", ["run", "fork", "served", "ordered", "interruptible"])
@pytest.mark.parametrize("work", [explode, wilful])
def test_what_nobody_foresaw_in_a_worker_names_its_file(how, work, tmp_path, capsys):
    data = tmp_path / "data.txt"
    data.write_text("x")

    def main(argv):
        if how == "ordered":
            list(pool.ordered(work, [str(data)] * 3, 2))
        elif how == "interruptible":
            pool.interruptible(partial(work, str(data)))
        else:
            both = {"a": partial(work, str(data)), "b": partial(work, str(data))}
            pool.run(both, 2, fork=how == "fork", served=how == "served")

    assert cli.run(main, []) == cli.INTERNAL == 70
    said = capsys.readouterr().err
    assert said.count("\n") == 2 and str(data) in said and type(work) is type(explode) and "report" in said
    with pytest.raises(cli.Internal, match=f"in {work.__name__}"):
        cli.run(main, ["--debug"])


FORKS = """
import ctypes, os, signal, sys
from functools import partial
from haigo import cli, pool

# C's own raise: Python hears of the signal only when the fork is over
os.register_at_fork(after_in_child=partial(ctypes.CDLL(None)["raise"], getattr(signal, sys.argv[2])))

def main(argv):
    try:
        if sys.argv[3] == "fork":
            pool.run({"a": os.getpid, "b": os.getpid}, 2, fork=True)
        else:
            pool.interruptible(os.getpid)
    finally:
        open(sys.argv[1], "a").write("tidied\\n")

print(cli.run(main, []))
"""


@pytest.mark.parametrize("how", ["fork", "interruptible"])
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_fork_stopped_at_birth_does_not_tidy_up_for_its_parent(how, name, tmp_path):
    ran = subprocess.run(
        [sys.executable, "-c", FORKS, tmp_path / "log", name, how], capture_output=True, text=True, check=True
    )
    assert (tmp_path / "log").read_text() == "tidied\n"
    assert ran.stdout.split() == (["4"] if name == "SIGTERM" else ["0"]), ran.stderr  # Ctrl-C is the parent's to handle


def test_errors_of_the_library_that_have_one_meaning(tmp_path, capsys):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "bad").write_bytes(b"\xff")

    def slow():
        raise subprocess.TimeoutExpired(["scontrol", "show"], 60)

    def room():
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes")

    for work, code, told in [
        (lambda: (tmp_path / "bad").read_text(encoding="utf-8"), 2, "is not UTF-8"),
        (lambda: (tmp_path / "loop").resolve(strict=True), 2, "loop"),
        (lambda: (tmp_path / "a\0b").read_text(), 2, "NUL"),
        (lambda: Path("").with_name("x"), 2, "empty"),
        (lambda: "\ud800".encode(), 2, "half a character"),
        (slow, 4, "scontrol did not answer within 60 s"),
        (room, 4, "out of memory"),
    ]:  # fmt: skip

        def main(argv, work=work):
            path = tmp_path / "bad"
            work()
            return path

        assert cli.run(main, []) == code
        said = capsys.readouterr().err
        assert told in said and "fix: " in said and "Traceback" not in said


@pytest.mark.parametrize(
    "place", ["folder", "fifo", "empty", "deep", "cut", "bytes", "huge", "nan", "nul", "shape", "socket"]
)
def test_whatever_stands_in_a_records_place_is_named(tmp_path, place):
    import socket

    path = tmp_path / "a.json"
    contents = {"empty": b"", "deep": b"[" * 100_000, "cut": b'{"a": 1', "bytes": b"\xff\xfe", "huge": b'{"a": 1e999}',
                "nan": b'{"a": NaN}', "nul": b'{"a": 1, "b": "x\\u0000"}', "shape": b'{"a": "x"}'}  # fmt: skip
    if place == "folder":
        path.mkdir()
    elif place == "fifo":
        os.mkfifo(path)
    elif place == "socket":
        socket.socket(socket.AF_UNIX).bind(str(path))
    else:
        path.write_bytes(contents[place])
    with pytest.raises(HaigoError, match=r"a\.json"):
        files.read_record(path, {"a": float, "b?": str})


@pytest.mark.parametrize(
    ("value", "like", "wrong"),
    [
        ({"a": 1}, {"a": int}, None), ({}, {"a?": int}, None), ({"a": None}, {"a?": int}, "'a' is no int"),
        ([1, 2], [int, int], None), ([1], [int, int], "it has not 2 values"), ({"x": [1]}, {str: [int]}, None),
        ({"a": True}, {"a": int}, "'a' is no int"), (2**63, int, "it is a number that nothing holds"),
        (float("inf"), float, "it is a number that nothing holds"), ("a\0", str, "it holds a character that is none"),
        ({"a": {"b": 1}}, {"a": {"b": str}}, "'a.b' is no str"), (None, (int, None), None),
    ],
)  # fmt: skip
def test_shapes(value, like, wrong):
    from haigo import shapes

    assert shapes.unlike(value, like) == wrong


def test_bars_of_other_programs_are_a_plain_line_now_and_then(monkeypatch):
    monkeypatch.setattr(shown, "BAR_EVERY_S", 0.0)
    to = io.StringIO()
    bars = shown.FilteredBars(to)
    for written in ("\r 50%|##  | 1/2", "\r100%|####| 2/2   ", "\n", "haigo: a\rb", "\n"):
        assert bars.write(written) == len(written)
    assert to.getvalue() == "50%|##  | 1/2\n100%|####| 2/2\nhaigo: a\\u000db\n"
    monkeypatch.setattr(shown, "BAR_EVERY_S", 60.0)
    soon = shown.FilteredBars(to := io.StringIO())
    soon.write("\r 50%|##  | 1/2")
    soon.write("\n")
    assert not to.getvalue()


SERVED = """
import os, sys, threading
from functools import partial
from pathlib import Path
from haigo import pool

def piece(path):
    Path(path).write_text(f"{os.getpid()} {os.getppid()}")
    threading.Event().wait()

if __name__ == "__main__":
    pool.serve(["json"])
    pool.run({each: partial(piece, each) for each in sys.argv[1:]}, 2, served=True)
"""


def test_neither_workers_nor_their_fork_server_outlive_a_killed_parent(tmp_path):
    (tmp_path / "main.py").write_text(SERVED)
    told = [tmp_path / "a", tmp_path / "b"]
    process = subprocess.Popen([sys.executable, str(tmp_path / "main.py"), *map(str, told)], cwd=Path.cwd())
    while not all(each.exists() and " " in each.read_text() for each in told):
        assert process.poll() is None
        time.sleep(0.02)
    others = {int(pid) for each in told for pid in each.read_text().split()}
    assert len(others) == 3  # two workers of one server
    process.kill()
    process.wait()
    while any(Path(f"/proc/{pid}").exists() for pid in others):  # at the latest pytest's own limit ends this
        time.sleep(0.02)
