"""Every verb in a user's folder, harmed in every way that a machine has, and the same command again: the unbroken run's bytes.

    python tests/torture.py [--minutes 10] [--seed N] [--harms kill,full,...] [--verbs launch.pipeline,...]

One pass goes through all steps of `tiny_house`, each with a harm that the seed draws. A moment is a file being opened, renamed
or removed (whatever the machine's speed). The folder is on a tmpfs of its own, where this user may mount one; without it
`full` and `readonly` are left out. A failure is printed with the seed, the verb and the harm that repeat it.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import tiny_house  # noqa: E402
from fuzzing import wrong  # noqa: E402

OUTPUTS = {"preprocess.scale": "scaled", "launch.pipeline": "run", "launch.report": "run"}
"""Verbs whose output is named in a file that they read, not in their words."""
WORKERS = {"preprocess.clean", "preprocess.dedup", "preprocess.decontaminate", "preprocess.partition", "preprocess.score",
           "preprocess.index", "preprocess.scale", "launch.proxies", "launch.pipeline"}  # fmt: skip
"""Verbs that work in several processes."""
INPUTS = {"preprocess.clean": "raw/talk.jsonl", "preprocess.pairs": "raw/chat.jsonl", "preprocess.scale": "raw/news/0.jsonl",
          "eval_harness.headlines": "raw/headlines.jsonl", "eval_harness.cloze": "raw/cloze.jsonl",
          "launch.pipeline": "raw/talk.jsonl", "eval_harness.embed": "raw/lines.txt"}  # fmt: skip
"""A file of the user's that a verb reads, and that is changed between two runs."""
HARMS = ("kill", "kills", "full", "readonly", "clock", "two", "worker", "inputs")
MOUNTED = {"full", "readonly"}
TMPFS_BYTES = 600_000_000

# what differs from one time to the next: how long something took and how much memory, and where and when a file lies
_TIMES = re.compile(
    r'"?(((training_)?cpu_)?seconds|tokens_per_cpu_s|time_s|tokens_per_s|inode|ctime_ns|began|ended|pid)"?: ?[\d.e+-]+'
)


def state(root: Path) -> dict[str, bytes]:
    """Every file's content but for times, and for digests of files that hold times; without Haigo's own notes."""
    found = {}
    for path in sorted(each for each in root.rglob("*") if each.is_file()):
        name = path.relative_to(root)
        if any(part.startswith(".") for part in name.parts) or path.name == "command.txt" or name.parts[0] == "logs":
            continue
        raw = path.read_bytes()
        if path.name in ("metrics.csv", "rates.csv"):
            raw = re.sub(rb",\d+\.\d+$", b"", raw, flags=re.MULTILINE)
        elif path.suffix in (".json", ".jsonl", ".html", ".yml"):
            text = re.sub(r'"((training_cpu_|cpu_)?seconds|memory_bytes)": \{[^}]*\}', "", _TIMES.sub("", raw.decode()))
            raw = re.sub(r'"?(sha256|seal)"?:? "?\w{12,64}"?|"size": \d+|<td[^>]*>[^<]*</td>', "", text).encode()
        found[str(name)] = raw
    return found


def _difference(one: bytes, other: bytes) -> str:
    """Where two contents part."""
    at = next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    return f"{one[max(0, at - 60) : at + 60]!r} is {other[max(0, at - 60) : at + 60]!r}"


# --- the process that runs commands -----------------------------------------------------------------------------------------


class Harm:
    """What happens inside a command's process, at a moment."""

    def __init__(self, kind: str, moment: int, cwd: str, said: str) -> None:
        self.kind, self.left, self.cwd, self.count, self.said = kind, moment, cwd, 0, said

    def hook(self, event: str, arguments: tuple[object, ...]) -> None:
        """Counts moments."""
        if event in ("os.rename", "os.remove", "os.rmdir", "os.mkdir") or (
            event == "open" and self._watched(arguments[0])
        ):
            self.count += 1
            self.left -= 1
            if self.left == 0:
                self.strike()

    def _watched(self, path: object) -> bool:
        name = os.path.abspath(os.fsdecode(path)) if isinstance(path, str | bytes) else ""
        return name.startswith(self.cwd) and not name.endswith(".pyc")

    def strike(self) -> None:
        """It happens."""
        if self.kind == "kill":
            Path(f"{self.said}.struck").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        elif self.kind == "clock":
            real, jump = time.time, random.Random(self.count).choice([-90_000.0, 90_000.0, -4e8])
            time.time = lambda: real() + jump
            Path(f"{self.said}.struck").touch()
        elif self.kind == "worker":
            threading.Thread(target=self._end_a_worker, daemon=True).start()

    def _end_a_worker(self) -> None:
        while not (workers := [pid for pid in _descendants(os.getpid()) if _is_worker(pid)]):
            time.sleep(0.001)
        Path(f"{self.said}.struck").touch()
        with contextlib.suppress(ProcessLookupError):
            os.kill(random.Random(self.count).choice(workers), signal.SIGKILL)


def _descendants(pid: int) -> list[int]:
    try:
        tasks = [*Path(f"/proc/{pid}/task").iterdir()]
        own = [int(each) for task in tasks for each in (task / "children").read_text().split()]
    except (OSError, ValueError):
        return []
    return own + [far for child in own for far in _descendants(child)]


def _is_worker(pid: int) -> bool:
    """multiprocessing's resource tracker is none: without it Python prints a traceback of its own, and goes on."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return command != b"" and b"resource_tracker" not in command


def serve() -> None:
    """Run commands that come as lines of JSON, each in a fork of this process, which has imported all of Haigo."""
    for step in tiny_house.STEPS:
        importlib.import_module(tiny_house.module(step.verb))
    for name in (
        "torch",
        "transformers",
        "lm_eval",
        "eval_harness.engine",
        "launch.engine.train",
        "pandas",
        "scipy.optimize",
    ):
        importlib.import_module(name)
    for line in sys.stdin:
        asked = json.loads(line)
        if "wait" in asked:
            answer: dict[str, object] = {"code": os.waitstatus_to_exitcode(os.waitpid(asked["wait"], 0)[1])}
        else:
            pid = os.fork()
            if not pid:
                _child(asked)
            answer = {"pid": pid}
        print(json.dumps(answer), flush=True)


def _child(asked: dict[str, object]) -> None:
    from haigo import cli

    os.setsid()
    os.chdir(str(asked["cwd"]))
    said = os.open(str(asked["said"]), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    nothing = os.open(os.devnull, os.O_RDWR)
    for number, target in ((0, nothing), (1, nothing), (2, said)):
        os.dup2(target, number)
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w", buffering=1)  # noqa: SIM115
    harm = Harm(str(asked["harm"]), int(str(asked["moment"])), str(asked["cwd"]), str(asked["said"]))
    sys.addaudithook(harm.hook)
    code = 1
    try:
        main = importlib.import_module(str(asked["module"])).main
        sys.argv = [str(asked["module"]), *asked["words"]]  # type: ignore[misc]
        code = cli.run(main, asked["words"])  # type: ignore[arg-type]
    except SystemExit as error:
        code = int(error.code or 0)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        Path(f"{asked['said']}.moments").write_text(str(harm.count))
        os._exit(code)


class Runner:
    """Starts commands in the house."""

    def __init__(self, house: Path, notes: Path) -> None:
        self.house, self.notes, self.number, self.struck = house, notes, 0, 0
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
        self.process = subprocess.Popen([sys.executable, "-B", __file__, "--serve"], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True, env=environment)  # fmt: skip

    def close(self) -> None:
        """End the process that runs commands."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()

    def _ask(self, **question: object) -> dict[str, int]:
        assert self.process.stdin is not None and self.process.stdout is not None
        print(json.dumps(question), file=self.process.stdin, flush=True)
        answer: dict[str, int] = json.loads(self.process.stdout.readline())
        return answer

    def start(self, step: tiny_house.Step, more: str = "", harm: str = "", moment: int = 0) -> tuple[int, Path]:
        """Start a step; its process and where it writes what it says."""
        self.number += 1
        said = self.notes / f"{self.number}"
        words = [word.replace("{out}", step.out) for word in f"{step.words} {more}".split()]
        pid = self._ask(cwd=str(self.house), module=tiny_house.module(step.verb), words=words, said=str(said), harm=harm,
                        moment=moment)["pid"]  # fmt: skip
        return pid, said

    def wait(self, started: tuple[int, Path]) -> tuple[int, str, int]:
        """Exit code, what was said, and how many moments there were."""
        code = self._ask(wait=started[0])["code"]
        self.struck += Path(f"{started[1]}.struck").is_file()
        moments = Path(f"{started[1]}.moments")
        return code, started[1].read_text(), int(moments.read_text()) if moments.is_file() else 0

    def run(self, step: tiny_house.Step, more: str = "", harm: str = "", moment: int = 0) -> tuple[int, str, int]:
        """Both."""
        return self.wait(self.start(step, more, harm, moment))


# --- one pass ---------------------------------------------------------------------------------------------------------------


class Torture:
    """A house in which every step was run unharmed, and then is again, harmed.

    Args:
        place: an empty folder; mounted: whether it is a file system of its own.
        without: verbs that are left out.
    """

    def __init__(self, place: Path, mounted: bool, without: tuple[str, ...] = ()) -> None:
        self.steps = [step for step in tiny_house.STEPS if step.verb not in without]
        self.place, self.mounted, self.house, self.whole = place, mounted, place / "house", place / "whole"
        notes = Path(tempfile.mkdtemp(prefix="haigo-torture-"))
        self.runner = Runner(self.house, notes)
        self.notes = notes
        self.tried: Counter[str] = Counter()
        self.struck: Counter[str] = Counter()
        self.house.mkdir()
        tiny_house.build(self.house)
        self.moments, self.expected = [], []
        for step in self.steps:
            code, said, moments = self.runner.run(step)
            assert code == step.code, f"{step.verb}: exit {code}: {said}"
            self.moments.append(moments)
            self.expected.append(state(self.out(step)) if self.output(step) else {})
            if self.output(step):  # as it is now: later steps may write there too
                shutil.copytree(self.out(step), place / "after" / str(len(self.expected) - 1), symlinks=True)
        self.house.rename(self.whole)

    def close(self) -> None:
        """Remove it all."""
        self.runner.close()
        shutil.rmtree(self.notes)

    @staticmethod
    def output(step: tiny_house.Step) -> str:
        """The folder, in the house, that a step writes; empty: none."""
        return OUTPUTS.get(step.verb, step.out)

    def out(self, step: tiny_house.Step) -> Path:
        """Where it is."""
        return self.house / self.output(step)

    def harms(self, step: tiny_house.Step) -> list[str]:
        """What can be done to a step."""
        writes = bool(self.output(step))
        return [
            harm
            for harm in HARMS
            if (writes or harm in ("kill", "clock"))
            and (harm not in MOUNTED or self.mounted)
            and (harm != "worker" or step.verb in WORKERS)
            and (harm != "clock" or step.verb != "preprocess.fetch")  # it notes on which day it fetched
            and (
                harm != "inputs"
                or (step.verb in INPUTS and not (step.verb == "preprocess.clean" and "news" in step.out))
            )
        ]

    def passed(self, seed: int, harms: tuple[str, ...] = HARMS, verbs: tuple[str, ...] = ()) -> list[str]:
        """One pass through all steps; what went wrong, a line each."""
        shutil.rmtree(self.house, ignore_errors=True)
        self.house.mkdir()
        tiny_house.build(self.house)
        rng, wrongs = random.Random(seed), []
        for number, step in enumerate(self.steps):
            asked = [harm for harm in self.harms(step) if harm in harms]
            harm = rng.choice(asked) if asked else ""
            own = random.Random(f"{seed} {number}")
            if harm and (not verbs or step.verb in verbs):
                self.tried[harm] += 1
                before = self.runner.struck
                try:
                    getattr(self, f"_{harm}")(number, step, own)
                    self.struck[harm] += self.runner.struck > before
                    self._again(number, step)
                except AssertionError as error:
                    wrongs.append(f"seed {seed}, {step.verb} {self.output(step)}, {harm}: {error}")
            self._restore(number)  # seconds that a step noted are what later ones reckon with
        return wrongs

    def _again(self, number: int, step: tiny_house.Step) -> None:
        """The same command, unharmed, ends as it would have: the same bytes."""
        code, said, _ = self.runner.run(step)
        assert code == step.code, f"again: exit {code}: {said[-1500:]}"
        self._compare(self.expected[number], step)

    def _compare(self, expected: dict[str, bytes], step: tiny_house.Step) -> None:
        if not self.output(step):
            return
        found = state(self.out(step))
        assert found.keys() == expected.keys(), f"other files: {sorted(found.keys() ^ expected.keys())}"
        different = {
            name: _difference(expected[name], found[name]) for name in expected if expected[name] != found[name]
        }
        assert not different, f"other bytes: {different}"
        left = [str(path) for path in self.out(step).rglob("*") if path.name.startswith(".haigo.tmp")]
        assert not left, f"leftovers: {left}"

    def _restore(self, number: int) -> None:
        step = self.steps[number]
        if self.output(step):
            shutil.rmtree(self.out(step), ignore_errors=True)
            shutil.copytree(self.place / "after" / str(number), self.out(step), symlinks=True)

    def _checked(self, step: tiny_house.Step, code: int, said: str, *codes: int) -> None:
        assert code in codes or not wrong(step.verb, code, said), wrong(step.verb, code, said)
        for path in sorted((self.whole / "raw").rglob("*")):
            here = self.house / path.relative_to(self.whole)
            assert path.is_dir() or here.read_bytes() == path.read_bytes(), f"{here} was changed"

    # -- harms -----------------------------------------------------------------------------------------------------------

    def _kill(self, number: int, step: tiny_house.Step, rng: random.Random) -> None:
        code, said, _ = self.runner.run(step, harm="kill", moment=rng.randint(1, max(1, self.moments[number])))
        self._checked(step, code, said, -signal.SIGKILL)

    def _kills(self, number: int, step: tiny_house.Step, rng: random.Random) -> None:
        for _ in range(rng.randint(2, 4)):
            self._kill(number, step, rng)

    def _full(self, number: int, step: tiny_house.Step, rng: random.Random) -> None:
        size = sum(path.stat().st_size for path in (self.whole / self.output(step)).rglob("*") if path.is_file())
        ballast = self.place / "ballast"
        with open(ballast, "wb") as handle:
            free = os.statvfs(self.place)
            os.posix_fallocate(
                handle.fileno(),
                0,
                max(1, free.f_bavail * free.f_frsize - rng.choice([0, 4096, rng.randrange(size + 1)])),
            )
        try:
            code, said, _ = self.runner.run(step)
        finally:
            ballast.unlink()
        self._checked(step, code, said)
        self.runner.struck += code != step.code

    def _readonly(self, number: int, step: tiny_house.Step, rng: random.Random) -> None:
        _mount("-o", "remount,ro", str(self.place))
        try:
            code, said, _ = self.runner.run(step)
        finally:
            _mount("-o", "remount,rw", str(self.place))
        self._checked(step, code, said)
        assert code != 0, "nothing could be written, and it ended with 0"
        self.runner.struck += 1

    def _clock(self, number: int, step: tiny_house.Step, rng: random.Random) -> None:
        if self.output(step) and rng.random() < 0.5:
            self._kill(number, step, rng)
        jump = rng.choice([-90_000, 90_000, -400_000_000])
        for path in self.house.rglob("*"):
            with contextlib.suppress(OSError):
                stat = path.lstat()
                os.utime(path, (stat.st_atime + jump, stat.st_mtime + jump), follow_symlinks=False)
        code, said, _ = self.runner.run(step, harm="clock", moment=rng.randint(1, max(1, self.moments[number])))
        assert code == step.code, f"exit {code}: {said[-1500:]}"

    def _two(self, number: int, step: tiny_house.Step, rng: random.Random) -> None:
        started = [self.runner.start(step), self.runner.start(step)]
        for each in started:
            code, said, _ = self.runner.wait(each)
            self._checked(step, code, said)
        self.runner.struck += 1

    def _worker(self, number: int, step: tiny_house.Step, rng: random.Random) -> None:
        more = "" if step.verb == "launch.pipeline" else "--workers 2"
        code, said, _ = self.runner.run(step, more, "worker", rng.randint(1, max(1, self.moments[number] // 2)))
        self._checked(step, code, said, 4)

    def _inputs(self, number: int, step: tiny_house.Step, rng: random.Random) -> None:
        """A file of the user's changes after a kill: the answer is the changed file's, or it is refused."""
        path = self.house / INPUTS[step.verb]
        before = path.read_bytes()
        self._kill(number, step, rng)
        line = next(iter(path.read_text(encoding="utf-8").splitlines()))
        path.write_bytes(before + line.replace("。", "、").encode() + b"\n")
        try:
            code, said, _ = self.runner.run(step)
            assert not wrong(step.verb, code, said), wrong(step.verb, code, said)
            if code == 0:
                found = state(self.out(step))
                shutil.rmtree(self.out(step))
                code, said, _ = self.runner.run(step)
                assert code == 0, f"fresh: exit {code}: {said[-1500:]}"
                self._compare(found, step)
        finally:
            path.write_bytes(before)
            self._restore(number)


def _mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True, capture_output=True)


@contextlib.contextmanager
def place_of_its_own() -> Iterator[tuple[Path, bool]]:
    """An empty folder, and whether it is a small file system of its own."""
    with tempfile.TemporaryDirectory(prefix="haigo-torture-") as folder:
        place = Path(folder) / "disk"
        place.mkdir()
        try:
            _mount("-t", "tmpfs", "-o", f"size={TMPFS_BYTES}", "tmpfs", str(place))
        except (OSError, subprocess.CalledProcessError):
            yield place, False
            return
        try:
            yield place, True
        finally:
            subprocess.run(["umount", "-l", str(place)], check=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10, help="passes begin until then")
    parser.add_argument(
        "--seed", type=int, default=None, help="of the first pass (default: drawn); the next have the next ones"
    )
    parser.add_argument("--harms", default=",".join(HARMS), help="which (default: all)")
    parser.add_argument("--verbs", default="", help="harm only these")
    parser.add_argument("--without", default="", help="leave these out, and what reads what they write")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve()
        return 0
    seed = random.SystemRandom().randrange(10**6) if options.seed is None else options.seed
    end, bad = time.monotonic() + 60 * options.minutes, 0
    with place_of_its_own() as (place, mounted):
        if not mounted:
            print("no file system can be mounted here: 'full' and 'readonly' are left out", file=sys.stderr)
        torture = Torture(place, mounted, tuple(options.without.split(",")))
        print(f"{len(torture.steps)} steps, {sum(torture.moments):,} moments", flush=True)
        while True:
            begun = time.monotonic()
            wrongs = torture.passed(
                seed, tuple(options.harms.split(",")), tuple(filter(None, options.verbs.split(",")))
            )
            bad += len(wrongs)
            print(
                "\n".join([f"seed {seed}: {len(wrongs)} wrong ({time.monotonic() - begun:.0f} s)", *wrongs]), flush=True
            )
            seed += 1
            if time.monotonic() > end:
                break
        print(
            "struck: " + ", ".join(f"{harm} {torture.struck[harm]} of {torture.tried[harm]}" for harm in torture.tried)
        )
        torture.close()
    return 1 if bad else 0


if __name__ == "__main__":
    raise SystemExit(main())
