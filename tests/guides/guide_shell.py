"""What a guide tells its reader to type, and a small shell that does it in the order in which it stands.

Fences marked `sh` are lines to type, with here-documents (`cat > FILE <<'END'`) and `for NAME in ...; do` / `done`; of
those marked `console` the lines behind `$ ` are, and what stands below is the answer. Commands of ours run in this process,
which loads torch once; all others in bash.
"""

from __future__ import annotations

import contextlib
import glob
import importlib
import io
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from haigo import cli

ROOT = Path(__file__).parent.parent.parent
_FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_HERE = re.compile(r"<<'(\w+)'$")
_OURS = re.compile(
    r"((?:[A-Z_]+=\S* )*)python -m ((?:haigo|neox_configs|preprocess|mixer|eval_harness|launch|examples)\.\S+)(.*)"
)
_LOOP = re.compile(r"for (\w+) in (.*); do")


@dataclass(frozen=True)
class Line:
    """One line to type. `answer` is what the guide says that it prints, `body` a here-document."""

    text: str
    number: int
    answer: str = ""
    body: str | None = None


@dataclass
class Ran:
    """What became of a guide's lines."""

    commands: int = 0
    seconds: list[tuple[float, str]] = field(default_factory=list)


def lines(page: Path) -> list[Line]:
    """Everything that `page` tells its reader to type."""
    text = page.read_text(encoding="utf-8")
    found: list[Line] = []
    for fence in _FENCE.finditer(text):
        number = text.count("\n", 0, fence.start(2)) + 1
        if fence[1] == "sh":
            found += _typed(fence[2], number)
        elif fence[1] == "console":
            found += _shown(fence[2], number)
    return found


def _typed(block: str, number: int) -> Iterator[Line]:
    rest = block.splitlines()
    while rest:
        start, line = number, rest.pop(0)
        number += 1
        while line.endswith("\\"):
            line = line[:-1].rstrip() + " " + rest.pop(0).strip()
            number += 1
        line = re.sub(r"\s{2,}#.*", "", line).strip()
        if not line or line.startswith("#"):
            continue
        here = _HERE.search(line)
        body = None
        if here:
            end = rest.index(here[1])
            body = "".join(f"{each}\n" for each in rest[:end])
            rest, number = rest[end + 1 :], number + end + 1
        yield Line(line, start, body=body)


def _shown(block: str, number: int) -> Iterator[Line]:
    for each in re.split(r"^(?=\$ )", block, flags=re.MULTILINE):
        if each.startswith("$ "):
            command, _, answer = each[2:].replace("\\\n", "").partition("\n")
            yield Line(command.strip(), number, answer=answer.strip())
        number += each.count("\n")


def unrolled(some: list[Line], values: dict[str, str] | None = None) -> Iterator[Line]:
    """The lines as they are run: loops written out."""
    values = values or {}
    at = 0
    while at < len(some):
        line = some[at]
        at += 1
        loop = _LOOP.fullmatch(line.text)
        if loop:
            depth, end = 1, at
            while depth:
                depth += bool(_LOOP.fullmatch(some[end].text)) - (some[end].text == "done")
                end += 1
            for value in shlex.split(loop[2]):
                yield from unrolled(some[at : end - 1], {**values, loop[1]: value})
            at = end
            continue
        text = line.text
        for name, value in values.items():
            text = re.sub(rf"\${name}\b|\${{{name}}}", value, text)
        yield Line(text, line.number, line.answer, line.body)


class Shell:
    """Types lines in a folder.

    Args:
        folder: where the guide's reader stands.
        instead: gives another line for one that cannot be run as it is, None for one that is left out.
    """

    def __init__(self, folder: Path, instead: Callable[[str], str | None]) -> None:
        self.folder, self.instead = folder, instead
        self.ran = Ran()

    def type(self, line: Line, page: str) -> None:
        """Run a line. AssertionError with the page, the line and what it said, where it does not end as it should."""
        where = f"{page}:{line.number}: {line.text}"
        meant = self.instead(line.text)
        if meant is None:
            return
        self.ran.commands += 1
        began = time.process_time() + sum(os.times()[2:4])
        with _inside(self.folder):
            code, said = self._do(meant, line.body)
        self.ran.seconds.append((time.process_time() + sum(os.times()[2:4]) - began, line.text))
        refused = bool(re.search(r"^(?:haigo: |FAIL |.* does not fit: )", line.answer, re.MULTILINE))
        expected = {cli.BAD_INPUT, cli.REFUSED, cli.FAILED} if refused else {cli.OK}
        assert code in expected, f"{where}\nended with {code}, in {self.folder}:\n{said}"

    def _do(self, text: str, body: str | None) -> tuple[int, str]:
        if text.startswith("export "):
            for each in shlex.split(text)[1:]:
                name, _, value = each.partition("=")
                os.environ[name] = os.path.expandvars(value)
            return cli.OK, ""
        ours = _OURS.fullmatch(text)
        if ours is None or "|" in ours[3].replace("'", ""):
            return self._bash(text, body)
        before = dict(os.environ)
        os.environ.update(dict(re.findall(r"([A-Z_]+)=(\S*)", ours[1])))
        try:
            return self._ours(ours[2], ours[3])
        finally:
            os.environ.clear()
            os.environ.update(before)

    def _bash(self, text: str, body: str | None) -> tuple[int, str]:
        script = text if body is None else f"{text}\n{body}{_HERE.findall(text)[0]}"
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PATH": path}
        done = subprocess.run(["bash", "-ec", script], env=environment, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    def _ours(self, module: str, rest: str) -> tuple[int, str]:
        words, _, target = rest.partition(" > ")
        argv = [value for word in _words(os.path.expandvars(words)) for value in word]
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = cli.run(importlib.import_module(_file(module)).main, argv)
        if target:
            Path(target.strip()).write_text(out.getvalue(), encoding="utf-8")
        return code, out.getvalue() + err.getvalue()


def _words(text: str) -> Iterator[list[str]]:
    """Words as bash makes them: what is not quoted may be a pattern, and ~ a folder."""
    for raw in shlex.split(text, posix=False):
        word = "".join(shlex.split(raw))
        if raw.startswith("~"):
            word = os.path.expanduser(word)
        plain = not re.search(r"['\"]", raw)
        yield (sorted(glob.glob(word)) or [word]) if plain and glob.has_magic(word) else [word]


def _file(verb: str) -> str:
    return f"{verb}.__main__" if (ROOT / Path(*verb.split("."))).is_dir() else verb


@contextlib.contextmanager
def _inside(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
