"""What the benchmarks share: the command line, seconds of processor time, and how a result is shown.

Files that begin with `_` are no benchmarks. Importing this one makes Haigo's rooms importable from the clone.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

ROOT = Path(__file__).resolve().parents[1]
os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(ROOT))
T = TypeVar("T")


def parser(doc: str | None) -> argparse.ArgumentParser:
    """A parser whose help is the script's own docstring."""
    return argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)


def seconds(work: Callable[[], T]) -> tuple[float, T]:
    """Processor seconds of this process for `work`, and what it gave."""
    start = time.process_time()
    answer = work()
    return time.process_time() - start, answer


def in_turn(contenders: Mapping[str, Callable[[], T]], repeats: int) -> tuple[dict[str, list[float]], dict[str, T]]:
    """Processor seconds of every repeat and the last answers; in turn, so that a busy machine is busy for all."""
    spent: dict[str, list[float]] = {name: [] for name in contenders}
    answers: dict[str, T] = {}
    for _ in range(repeats):
        for name, work in contenders.items():
            took, answers[name] = seconds(work)
            spent[name].append(took)
    return spent, answers


def command(
    words: Sequence[object], cwd: Path = ROOT, environment: Mapping[str, str] | None = None
) -> tuple[float, float, str]:
    """Processor seconds of a command and all its children, wall seconds, and what it printed.

    Raises:
        SystemExit: the command failed; the end of what it said.
    """
    before, begin = os.times(), time.monotonic()
    environment = {**os.environ, "HAIGO_QUIET": "1", **(environment or {})}
    done = subprocess.run(list(map(str, words)), cwd=cwd, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, words))[:200]} failed:\n{done.stderr[-2000:]}")
    after, wall = os.times(), time.monotonic() - begin
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    return spent, wall, done.stdout


def show(result: Any, as_json: bool) -> None:
    """A result of names and values, as a table or as JSON; tables in it are set in."""
    print(json.dumps(result, indent=2, ensure_ascii=False) if as_json else "\n".join(_lines(result, 0)))


def _lines(result: Mapping[str, Any], depth: int) -> list[str]:
    lines = []
    for name, value in result.items():
        inner = isinstance(value, Mapping)
        lines.append(" " * depth + (name if inner else f"{name:{44 - depth}s} {value}"))
        lines += _lines(value, depth + 2) if inner else []
    return lines


def code(room: str) -> str:
    """A digest of a room's source, the worlds' and the running script's, for the name of results that are kept: of other
    code they are others."""
    own = [ROOT / "benchmarks" / "mixer_worlds.py", Path(sys.argv[0])]
    sources = [*sorted((ROOT / room).rglob("*.py")), *(path for path in own if path.is_file())]
    content = b"".join(path.read_bytes() for path in sources)
    return hashlib.sha256(content).hexdigest()[:8]


def load() -> str:
    """How busy the machine is, for beside the figures."""
    return f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
