"""What a run takes: wall and processor seconds of every stage, how many of them were training steps, and memory at most.

`time` does not tell: workers of the fork server (proxies, models) are counted for no process that is waited for.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from haigo import pool
from haigo.memory_watch import Watch
from haigo.progress import clock

_LEAST_S = 1.0  # less processor time than that is not worth a word


@dataclass(frozen=True)
class Spent:
    """Of one stage, in seconds and bytes."""

    seconds: float
    """Of wall time."""
    cpu: float | None = None
    """Of processor time, workers included; None where nobody measured it."""
    training: float = 0.0
    """Those of `cpu` that went into training steps: forward, backward and update."""
    evaluation: float = 0.0
    """Those of `cpu` that the same models' evaluation and export took."""
    memory: int | None = None
    """At most, of the stage's processes together (`haigo.memory_watch`); None where nobody measured it."""

    def words(self) -> str:
        """As a stage says it when it is done."""
        parts = []
        if self.cpu is not None and self.cpu >= _LEAST_S:
            steps = f", {clock(self.training)} of it training steps" if self.training else ""
            parts.append(f"CPU {clock(self.cpu)}{steps}")
        parts += [megabytes(self.memory)] if self.memory is not None else []
        return f"{clock(self.seconds)} ({'; '.join(parts)})" if parts else clock(self.seconds)


def megabytes(count: float) -> str:
    """`1,234 MB`: of 2^20 bytes each."""
    return f"{count / 2**20:,.0f} MB"


_trained: list[tuple[float, float]] = []


def note(result: Mapping[str, Any]) -> None:
    """Count a model that the stage under way has trained in this process or a worker of its own.

    Args:
        result: what its result.json holds.
    """
    steps = result["tokens"] / max(result.get("tokens_per_cpu_s", 0.0), 1e-9)
    whole = result.get("cpu_seconds", 0.0)
    _trained.append((min(steps, whole), whole - min(steps, whole)))


def measured(work: Callable[[], Any]) -> tuple[Any, Spent]:
    """What a stage's work gives, and what it took here, in its descendants and in the fork server's workers."""
    _trained.clear()
    begin, before, watch = time.monotonic(), pool.cpu_seconds(), Watch()
    try:
        answer = work()
        memory = watch.most()
    finally:
        watch.stop()
    cpu = pool.cpu_seconds() - before
    parts = [min(sum(part), cpu) for part in zip(*_trained, strict=True)] or [0.0, 0.0]
    return answer, Spent(time.monotonic() - begin, cpu, parts[0], min(parts[1], cpu - parts[0]), memory)


def split(stages: Mapping[str, Spent], walls: Mapping[str, float], whole: Spent, cores: int) -> str:
    """One sentence: where a run's wall time went, the longest first, what its cores' time was spent on, and its memory.

    Args:
        stages: what those that this run has gone through took, by name.
        walls: their wall seconds, those side by side counted once.
        whole: of all of them, from the first to the last.
        cores: that it could use.
    """
    total, capacity = max(whole.seconds, 1e-9), max(whole.seconds * cores, 1e-9)
    longest = sorted(walls.items(), key=lambda item: -item[1])
    parts = [f"{name} {clock(seconds)} ({seconds / total:.0%})" for name, seconds in longest if seconds >= _LEAST_S]
    training = sum(each.training for each in stages.values())
    evaluation = sum(each.evaluation for each in stages.values())
    other = max(0.0, (whole.cpu or 0.0) - training - evaluation)
    idle = max(0.0, capacity - training - evaluation - other)
    kinds = {"training steps": training, "evaluation": evaluation, "everything else": other, "idle or others'": idle}
    shares = ", ".join(f"{name} {seconds / capacity:.0%}" for name, seconds in kinds.items())
    memory = f"; memory: {megabytes(whole.memory)} at most" if whole.memory is not None else ""
    return f"time: {', '.join([clock(whole.seconds), *parts])}; of {cores} cores' time: {shares}{memory}"
