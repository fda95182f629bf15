"""How far every step of `preprocess.scale` is: tasks that are done, running, failed and waiting, by their notes on disk."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from haigo.progress import clock

from . import scale_tasks
from .options import ScaleRun
from .scale_tasks import ALIVE_S

_NAMED = 10


def of(run: ScaleRun, steps: Mapping[str, tuple[Any, int]]) -> dict[str, Any]:
    """What is known of each step; `steps` is what `scale.steps` gave.

    Returns:
        step -> tasks, done, running, failed, waiting (numbers of tasks), names (of those that run and failed), pieces_done,
        seconds_left (None where nothing says it), and failures (file, problem, fix).
    """
    return {"output": run.output, "steps": {name: _step(run.output, name, tasks) for name, (_, tasks) in steps.items()}}


def _step(output: str, name: str, tasks: int) -> dict[str, Any]:
    notes = [(note, age) for note, age in scale_tasks.notes(output, name) if note["world"] == tasks]
    states: dict[str, list[dict[str, Any]]] = {"done": [], "running": [], "failed": []}
    for note, age in notes:
        states[_state(note, age)].append(note)
    bad = scale_tasks.failures(output, name)
    return {
        "tasks": tasks,
        **{state: len(those) for state, those in states.items()},
        "waiting": tasks - len(notes),
        "names": {state: [f"{note['rank']:05d}" for note in states[state]] for state in ("running", "failed")},
        "pieces_done": sum(note["done"] - len(note["failed"]) for note, _ in notes),
        "now": [note["now"] for note in states["running"]],
        "seconds_left": _left(states, tasks - len(notes)),
        "failures": [
            {"piece": each.piece, "file": each.file, "problem": each.problem, "fix": each.fix} for each in bad
        ],
    }


def _state(note: Mapping[str, Any], age: float) -> str:
    if note["state"] == "done":
        return "failed" if note["failed"] else "done"
    if note["state"] == "stopped" or age > ALIVE_S:
        return "failed"
    here = note["host"] == socket.gethostname() and not Path(f"/proc/{note.get('pid')}").exists()
    return "failed" if here else "running"


def _left(states: Mapping[str, list[dict[str, Any]]], waiting: int) -> float | None:
    """Seconds, at the speed of the tasks so far, with as many at a time as run now."""
    known = [note for those in states.values() for note in those]
    running = states["running"]
    size = sum(note["done_bytes"] for note in known)
    if not running or not size:
        return None
    spent = sum(max(0.0, (note.get("ended") or time.time()) - note["began"]) for note in known)
    more = sum(note["bytes"] - note["done_bytes"] for note in running)
    more += waiting * sum(note["bytes"] for note in known) / len(known)
    return float(more * spent / size / len(running))


def table(found: Mapping[str, Any]) -> str:
    """It as lines to read."""
    lines = [f"{'step':22} {'done':>7} {'running':>8} {'failed':>7} {'waiting':>8}  of tasks"]
    for name, row in found["steps"].items():
        counts = f"{name:22} {row['done']:>7,} {row['running']:>8,} {row['failed']:>7,} {row['waiting']:>8,}"
        left = f", about {clock(row['seconds_left'])} left" if row["seconds_left"] is not None else ""
        lines.append(f"{counts}  {row['tasks']:,}{left}")
        for state, names in row["names"].items():
            if names:
                more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
                lines.append(f"    {state}: task {', '.join(names[:_NAMED])}{more}")
        lines += [f"    {each}" for each in row["now"][:_NAMED] if each]
        for each in row["failures"][:_NAMED]:
            lines.append(f"    {each['piece']} {each['file']}: {each['problem']}")
            lines += [f"      fix: {each['fix']}"] if each["fix"] else []
        if len(row["failures"]) > _NAMED:
            lines.append(f"    and {len(row['failures']) - _NAMED} more (--json has all)")
    return "\n".join(lines)
