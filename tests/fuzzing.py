"""Damage: files as a torn disk, a careless editor or an enemy leaves them, and a verb that has to say what is wrong.

`mutants` gives damaged forms of a valid file. `Bench.reads` finds what a verb reads by running it once, so that a file which
is read from tomorrow on is damaged too. `Bench.trial` runs a verb with one damaged file and gives what was wrong with the way
it ended: a traceback, an internal error (70), a code that no document gives for bad input, no sentence, no end.
"""

import contextlib
import csv
import importlib
import io
import json
import math
import os
import resource
import shutil
import signal
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

import yaml
from tiny_house import module

from haigo import cli
from haigo.ownership import NOTES

STARTS = {"launch.proxies", "launch.pipeline", "launch.deepy", "launch.runs", "launch.convert"}
"""Verbs that start something: it may have failed (exit 4)."""
VERDICTS = {"launch.convert", "launch.checkpoints"}
"""Verbs that print what they found on standard output and end with 3 where something is wrong."""
SECONDS = 120
ROOM = 6 << 30  # bytes of address space a verb may take on top of what the process has

DEEP = 3000
VALUES = [
    None, True, False, 0, 1, -1, 2, 3.5, -0.5, math.nan, math.inf, -math.inf, 1e308, 10**12, 2**63, 10**400, 10**5000,
    "", "x", " ", "1", "-1", "1e999", "nan", "\ud800", "a\0b", "\x1b[31m", "/", "..", "ー" * 3000, [], {}, [None], [[]],
    {"a": 1}, {"": []}, ["x", 1], {"text": "x"}, "deep",
]  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """A damaged form of a file: `content`, or None where something else stands in its place (`name` says what)."""

    name: str
    content: bytes | None = None


PLACES = ("missing", "folder", "fifo", "loop")


def mutants(path, rng, number):
    """`number` damaged forms of the file `path`; the same `rng` gives the same."""
    whole = path.read_bytes()
    made = [Mutant(name) for name in PLACES] + [
        Mutant("empty", b""),
        Mutant("nul", b"\0" * 100),
        Mutant("no utf-8", whole[: len(whole) // 2] + b"\xff\xfe\x80" + whole[len(whole) // 2 :]),
        Mutant("deep list", b"[" * 100_000),
        Mutant("deep map", b'{"a":' * 100_000),
        Mutant("blanks", b" \n\n"),
        Mutant("null", b"null\n"),
        Mutant("number", b"7\n"),
        Mutant("text", b'"x"\n'),
        Mutant("list", b"[]\n"),
        Mutant("object", b"{}\n"),
        Mutant("bom", b"\xef\xbb\xbf" + whole),
    ]
    rng.shuffle(made)
    kinds = [*_structured(path, whole), _bytes, _bytes]
    while len(made) < 4 * number:
        kind = rng.choice(kinds)
        with contextlib.suppress(UnicodeError, ValueError, RecursionError, yaml.YAMLError):
            made.append(kind(whole, rng))
    fixed, drawn = made[: len(PLACES) + 12], made[len(PLACES) + 12 :]
    share = max(1, number // 3)
    return fixed[:share] + drawn[: max(0, number - share)]


def _structured(path, whole):
    """What can be changed inside this file, by its form."""
    text = whole[:2_000_000].decode("utf-8", "replace")
    if path.suffix in (".yml", ".yaml"):
        return [_yaml] * 6
    if path.suffix == ".csv":
        return [_csv] * 6
    with contextlib.suppress(ValueError, RecursionError):
        json.loads(text)
        return [_json] * 6
    with contextlib.suppress(ValueError, RecursionError, IndexError):
        json.loads(text.splitlines()[0])
        return [_jsonl] * 6
    return []


def _bytes(whole, rng):
    kind = rng.choice(["flip", "cut", "insert", "double", "swap", "end", "lines"])
    at = rng.randrange(len(whole) + 1)
    size = rng.choice([1, 4, 16, 100])
    if kind == "flip" and whole:
        at = min(at, len(whole) - 1)
        return Mutant("flip", whole[:at] + bytes([whole[at] ^ 1 << rng.randrange(8)]) + whole[at + 1 :])
    if kind == "insert":
        put = rng.choice([bytes(size), b"\xff" * size, rng.randbytes(size), b"}" * size, b'"', b",", b"\n", b"\r", b": ",
                          "\u2028".encode(), b"9" * 400, b"-", b"1e999"])  # fmt: skip
        return Mutant("insert", whole[:at] + put + whole[at:])
    if kind == "double":
        return Mutant("double", whole[:at] + whole[max(0, at - size) : at] + whole[at:])
    if kind == "swap":
        return Mutant("swap", whole[at:] + whole[:at])
    if kind == "end":
        return Mutant("torn end", whole[: -rng.randint(1, 20)])
    if kind == "lines":
        lines = whole.splitlines(keepends=True)
        rng.shuffle(lines)
        return Mutant("lines", b"".join(lines))
    return Mutant("cut", whole[:at])


def _places(value, above=()):
    """The path of every value in a nested one."""
    yield above
    below = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in below:
        yield from _places(each, (*above, key))


def _changed(value, rng):
    """`value` with one thing in it changed, and what."""
    value = json.loads(json.dumps(value))
    places = list(_places(value))
    place = rng.choice(places if rng.random() < 0.7 else [each for each in places if len(each) <= 2])
    if not place:
        new = rng.choice(VALUES)
        return ("whole", new)
    holder = value
    for key in place[:-1]:
        holder = holder[key]
    last = place[-1]
    kind = rng.choice(["set", "set", "set", "set", "drop", "rename", "double", "move"])
    if kind == "drop":
        del holder[last]
    elif kind == "rename" and isinstance(holder, dict):
        holder[rng.choice(["x", "", "\ud800", "a,b", str(last).upper()])] = holder.pop(last)
    elif kind == "double" and isinstance(holder, list):
        holder.insert(last, holder[last])
    elif kind == "move":
        other = rng.choice(places[1:])
        found = value
        for key in other:
            found = found[key]
        holder[last] = json.loads(json.dumps(found))
    else:
        holder[last] = rng.choice(VALUES)
    return (f"{kind} {'.'.join(map(str, place))}", value)


def _dumped(value):
    """JSON, with a place where it nests without end where `value` says "deep"."""
    sys.set_int_max_str_digits(0)
    try:
        text = json.dumps(value, ensure_ascii=True, indent=1)
    finally:
        sys.set_int_max_str_digits(4300)
    return text.replace('"deep"', "[" * DEEP + "]" * DEEP)


def _json(whole, rng):
    name, value = _changed(json.loads(whole), rng)
    return Mutant(f"json {name}", _dumped(value).encode())


def _jsonl(whole, rng):
    lines = whole.decode().splitlines()
    at = rng.randrange(len(lines))
    name, value = _changed(json.loads(lines[at]), rng)
    lines[at] = _dumped(value).replace("\n", "")
    return Mutant(f"line {at} {name}", ("\n".join(lines) + "\n").encode())


def _yaml(whole, rng):
    name, value = _changed(yaml.safe_load(whole), rng)
    return Mutant(f"yaml {name}", _dumped(value).encode())  # YAML reads JSON


def _csv(whole, rng):
    rows = list(csv.reader(io.StringIO(whole.decode())))
    row = rng.choice(rows if rng.random() < 0.7 else rows[:1])
    kind = rng.choice(["cell", "cell", "cell", "drop", "double", "column", "row"])
    at = rng.randrange(len(row))
    if kind == "cell":
        row[at] = rng.choice(["", "x", "nan", "inf", "-1", "1e999", "9" * 5000, "\0", '"', "1,5", " ", "ー", "0", "1e-400",
                              "run", "-0", "1" * 200_000])  # fmt: skip
    elif kind == "drop":
        del row[at]
    elif kind == "double":
        row.insert(at, row[at])
    elif kind == "column":
        for each in rows:
            del each[min(at, len(each) - 1)]
    else:
        rows.insert(rng.randrange(len(rows)), list(row))
    held = io.StringIO()
    csv.writer(held).writerows(rows)
    return Mutant(f"csv {kind}", held.getvalue().encode())


class Hung(BaseException):
    """A verb that comes to no end."""


_opened: set[str] | None = None


def _audit(event, given):
    if _opened is not None and event in ("open", "sqlite3.connect") and isinstance(given[0], str | bytes | os.PathLike):
        writes = event == "open" and isinstance(given[2], int) and given[2] & (os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        if not writes:
            _opened.add(os.path.abspath(os.fsdecode(given[0])))


sys.addaudithook(_audit)


class Bench:
    """A user's folder in which verbs are run with damaged files, and put right again after each."""

    def __init__(self, house):
        self.house = Path(house)
        self.code, self.said = 0, ""
        """Of the last trial."""

    def reads(self, step, run):
        """Every file of the house that `run` opens, or that lies below a path in the step's words."""
        global _opened
        _opened = set()
        try:
            with quiet():
                run()
        finally:
            seen, _opened = _opened, None
        for word in step.words.split():
            place = self.house / word.split("=")[-1].split(",")[0]
            if "{out}" not in word and place.exists():
                seen |= {str(place)} if place.is_file() else {str(each) for each in place.rglob("*")}
        root = str(self.house.resolve()) + os.sep
        found = {Path(name) for name in seen if os.path.realpath(name).startswith(root)}
        return sorted(
            each for each in found if each.is_file() and each.name not in NOTES and ".haigo.tmp" not in each.parts
        )

    def trial(self, step, words, path, mutant, *, keep=()):
        """Run the verb with `path` damaged; what is wrong with how it ended, or an empty text.

        Args:
            words: of the command.
            keep: folders that the verb writes to and that are put back.
        """
        held = Path(tempfile.mkdtemp(prefix="held"))
        try:
            shutil.move(path, held / "file")
            for number, place in enumerate(keep):
                shutil.copytree(place, held / str(number), symlinks=True)
            _place(path, mutant)
            try:
                return self.ended(step.verb, importlib.import_module(module(step.verb)).main, words)
            finally:
                for number, place in enumerate(keep):
                    shutil.rmtree(place, ignore_errors=True)
                    shutil.copytree(held / str(number), place, symlinks=True)
                _take_away(path)
                path.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(held / "file", path)
        finally:
            shutil.rmtree(held, ignore_errors=True)

    def ended(self, verb, main, words):
        """Run a verb; what is wrong with how it ended, or an empty text."""
        with quiet() as said:
            try:
                with _limits():
                    code = cli.run(main, words)
            except Hung:
                return f"no end after {SECONDS} s"
            except BaseException as error:  # whatever escapes is what is looked for
                return f"escaped: {error!r:.500}"
            self.code, self.said = code, said()
        return wrong(verb, code, self.said)


def wrong(verb, code, said):
    """What is wrong with a command that ended with `code` and `said` (standard error) on bad input."""
    if code not in (cli.OK, cli.BAD_INPUT, cli.REFUSED) and not (code == cli.FAILED and verb in STARTS):
        return f"exit {code}: {said[-1500:]}"
    if "Traceback" in said:
        return f"a traceback: {said[-3000:]}"
    if code != cli.OK and "haigo: " not in said and not (code == cli.REFUSED and verb in VERDICTS):
        return f"exit {code} without a sentence: {said[-500:]}"
    return ""


def _place(path, mutant):
    if mutant.content is not None:
        path.write_bytes(mutant.content)
    elif mutant.name == "folder":
        path.mkdir()
    elif mutant.name == "fifo":
        os.mkfifo(path)
    elif mutant.name == "loop":
        path.symlink_to(path)


def _take_away(path):
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    elif os.path.lexists(path):
        path.unlink()


@contextlib.contextmanager
def quiet():
    """Catch what this process and its children write to standard error; yields a function that gives it."""
    sys.stdout.flush()
    sys.stderr.flush()
    with tempfile.TemporaryFile() as caught, open(os.devnull, "wb") as nowhere:
        before = os.dup(1), os.dup(2)
        os.dup2(nowhere.fileno(), 1)
        os.dup2(caught.fileno(), 2)
        streams = sys.stdout, sys.stderr
        sys.stdout = io.TextIOWrapper(io.FileIO(1, "w", closefd=False), "utf-8", "replace", line_buffering=True)
        sys.stderr = io.TextIOWrapper(io.FileIO(2, "w", closefd=False), "utf-8", "replace", line_buffering=True)

        def said():
            sys.stderr.flush()
            size = os.fstat(caught.fileno()).st_size
            return os.pread(caught.fileno(), min(size, 1 << 20), max(0, size - (1 << 20))).decode("utf-8", "replace")

        try:
            yield said
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            sys.stdout, sys.stderr = streams
            os.dup2(before[0], 1)
            os.dup2(before[1], 2)
            os.close(before[0])
            os.close(before[1])


@contextlib.contextmanager
def _limits():
    """End what takes too long, and refuse it memory without end."""

    def end(number, frame):
        raise Hung

    pages = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGALRM, end) if main else None
    resource.setrlimit(resource.RLIMIT_AS, (pages + ROOM, hard))
    signal.setitimer(signal.ITIMER_REAL, SECONDS, 5)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        if main:
            signal.signal(signal.SIGALRM, before)
