"""What follows from a run's length and speed: its learning rate over time, when it saves, when it logs.

* Warmup is 1 % of the steps, not below a floor of 500 to 2,000 steps that grows with the model, not above a tenth of the run.
* The rate then falls along a cosine to a tenth of the peak, or stays (`wsd`: warmup, stable, decay). The decay is a run of its
  own, from any checkpoint (`--recipe decay`): GPT-NeoX knows no schedule of three parts.
* The batch is the same from the first step to the last: GPT-NeoX has no ramp, and another batch in mid-run would be another
  order of the samples. With Adam's warmup a batch of one or two million tokens needs none.
* Checkpoints come so often that a crash costs `checkpoint_minutes`, and so seldom that writing them takes at most 2 % of the
  time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from haigo.cli import HaigoError
from launch.neox import log as neox_log
from launch.plan.checks.machine import checkpoint_bytes
from launch.plan.layouts import Layout
from launch.plan.options import ConfigOptions, File
from launch.plan.overhead import MOST_WRITING
from launch.plan.planner import Plan
from neox_configs import reader
from neox_configs.hardware import Cluster

_WARMUP, _LONGEST_WARMUP = 0.01, 0.1
_FLOOR = (500, 2000)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a command says of it: fields of `ConfigOptions`, with their defaults."""

    schedule: str | None = None
    decay: float = 0.1
    checkpoint_minutes: float = 30.0
    milestones: float = 10.0
    disk_gbps: float | None = None
    write_seconds: float | None = None
    """Measured, of one checkpoint."""


@dataclass(frozen=True)
class Schedule:
    """The keys, and what the header says of them."""

    keys: dict[str, Any]
    step_s: float
    """Seconds a step, as planned."""
    saved_bytes: int | None
    """Of a checkpoint; None on a CPU."""
    write_s: float | None
    """Seconds that a checkpoint takes to write, where anything tells."""
    milestones: list[int]
    """Steps whose checkpoints are kept for good."""


def asked(options: ConfigOptions) -> Asked:
    """What a command asks for; a log is read for the seconds that its checkpoints took.

    Raises:
        HaigoError: the log tells of no checkpoint.
    """
    measured = None if options.checkpoint_log is None else seconds_of_writing(options.checkpoint_log)
    names = ("schedule", "decay", "checkpoint_minutes", "milestones", "disk_gbps")
    return Asked(**{name: getattr(options, name) for name in names}, write_seconds=measured)


def warmup_floor(parameters: int) -> int:
    """Least steps of warmup for a model of this size: 500 up to a billion parameters, then with the root of the size."""
    return round(min(_FLOOR[1], max(_FLOOR[0], _FLOOR[0] * math.sqrt(parameters / 1e9))))


def warmup(iterations: int, parameters: int) -> float:
    """The warmup as GPT-NeoX wants it: a share of `lr_decay_iters`."""
    share = min(_LONGEST_WARMUP, max(_WARMUP, warmup_floor(parameters) / iterations))
    return math.ceil(share * 1e6) / 1e6


def seconds_of_writing(log: File) -> float:
    """How long the longest checkpoint of a GPT-NeoX log took to write.

    Raises:
        HaigoError: it tells of none.
    """
    if not Path(log).is_file():
        raise HaigoError(f"{log} does not exist.", "check the path", option="checkpoint_log")
    found = neox_log.seconds_of_saves(Path(log))
    if not found:
        raise HaigoError(
            f"{log} does not tell how long a checkpoint took.",
            "name GPT-NeoX's log of a run that saved one, or give --disk-gbps",
            option="checkpoint_log",
        )
    return max(found)


def keys(
    own: Mapping[str, Any], plan: Plan, best: Layout, iterations: int, place: Cluster, wanted: Asked | None = None
) -> Schedule:
    """Learning rate, checkpoints, evaluation and log of a run.

    Args:
        own: the keys of the model's file, which win where they say how the rate changes.
        iterations: steps of the run.
    """
    wanted = wanted or Asked()
    # geometric mean of the ends of the interval: a cadence in minutes need not be exact
    step_s = best.train_batch_size * plan.seq_length / (best.tokens_per_s[0] * best.tokens_per_s[1]) ** 0.5
    evaluations = 0 if best.pipe else reader.value(own, "eval_iters") if "eval_iters" in own else 10
    one = checkpoint_bytes(place.neox, plan.parameters)
    seconds = wanted.write_seconds or (one / 1e9 / wanted.disk_gbps if wanted.disk_gbps else None)
    factor = cadence(iterations, step_s, wanted.checkpoint_minutes, seconds)
    stay = wanted.schedule == "wsd"
    marks = (
        milestones(iterations, factor, wanted.milestones, wanted.decay if stay else None) if place.kind == "gpu" else []
    )
    # without a validation after the last step no line of the log is about the last weights; those of a step before meet
    # one more batch
    extra = sorted({*marks, *([iterations - 1] if not evaluations and iterations > 1 else [])})
    quick = step_s < 1 and evaluations
    made: dict[str, Any] = {
        "train_iters": iterations,
        "lr_decay_iters": iterations,
        "checkpoint_factor": factor,
        # with a pipeline GPT-NeoX's evaluation crashes
        "eval_iters": evaluations,
        "eval_interval": max(1, min(1000, iterations // 10)),
        "log_interval": 10 if quick and (iterations >= 1000 or place.kind == "gpu") else 1,
    }
    if extra:
        made["extra_save_iters"] = extra
    if wanted.schedule is not None:
        made["lr_decay_style"] = "constant" if stay else wanted.schedule
    if place.kind == "gpu" and "warmup" not in own:
        made["warmup"] = warmup(iterations, plan.parameters)
    return Schedule(made, step_s, one if place.kind == "gpu" else None, seconds, marks)


def cadence(iterations: int, step_s: float, minutes: float, write_s: float | None) -> int:
    """`checkpoint_factor`: steps between two checkpoints, such that the last step is no multiple of it.

    Args:
        step_s: seconds a step.
        minutes: of work that a crash may cost.
        write_s: seconds that a checkpoint takes to write; None where nothing tells.
    """
    factor = max(1, round(max(minutes * 60, (write_s or 0.0) / MOST_WRITING) / step_s))
    if factor >= iterations:
        factor = iterations + 1  # only the end is saved
    while iterations % factor == 0:
        # GPT-NeoX saves at every multiple and again at the end: the same step twice, the second over the first, and a
        # kill in between would tear the only checkpoint that `latest` names
        factor += 1
    return factor


def milestones(iterations: int, factor: int, percent: float, decay: float | None) -> list[int]:
    """The steps whose checkpoints are kept for good: every so many percent of the run, its end left out and fewer where they
    would come more often than checkpoints do; and with `wsd` the one from which a decay ends with the run.

    Args:
        percent: of the run; 0: none.
        decay: share of the run that the decay takes; None: there is none.
    """
    found: list[int] = []
    for number in range(1, math.ceil(100 / percent) if percent else 0):
        step = round(iterations * percent * number / 100)
        if step - (found[-1] if found else 0) >= factor and step < iterations - 1:
            found.append(step)
    if decay is not None and 0 < (step := iterations - round(decay * iterations)) < iterations - 1:
        found = sorted({*found, step})
    return found
