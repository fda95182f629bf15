"""The line that shows where a run stands: step, loss, speed, MFU beside what was planned, time left."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from haigo import shown
from haigo.cli import HaigoError
from haigo.formats.tokenizer import load
from haigo.progress import clock
from launch.neox.gpus import card_bytes
from launch.neox.log import Step
from launch.plan import layouts as plan_layouts
from launch.plan.memory import Split, shape_of
from neox_configs import derive, hardware, reader

LINE_EVERY_S = 10.0


@dataclass(frozen=True)
class Planned:
    """What `launch.plan` would say of this config on these GPUs."""

    tokens_per_s: tuple[float, float]
    mfu: tuple[float, float]
    flops_per_token: float
    """Model FLOPs, recomputation not counted."""
    peak: float
    """All GPUs together, operations a second."""


def planned(
    config: Mapping[str, Any], gpus: int | None, vocab_size: int | None, card_bytes: int | None = None
) -> Planned | None:
    """The plan's figures for a config; None where it does not tell enough (no `peak_theoretical_tflops`, as on a CPU).

    Args:
        config: what `reader.load` gave.
        gpus: all GPUs.
        vocab_size: pieces of the tokenizer, before padding.
        card_bytes: memory of a GPU: cards of one peak are told apart by it.
    """
    peak = config.get("peak_theoretical_tflops")
    if not (isinstance(peak, int | float) and peak > 0 and gpus and vocab_size):
        return None
    try:
        batch = derive.batch(config, gpus)
        shape = shape_of(
            config, derive.padded_vocab(config, vocab_size), "flash" in str(config.get("attention_config"))
        )
        place = hardware.like(peak, card_bytes)
    except HaigoError:
        return None
    if place is None:
        return None
    zero = config.get("zero_optimization")
    split = Split(
        tensor=max(1, reader.value(config, "model_parallel_size")),
        pipe=reader.value(config, "pipe_parallel_size"),
        data=batch.data_parallel,
        zero=zero.get("stage", 0) if isinstance(zero, dict) else 0,
        recompute=bool(config.get("checkpoint_activations")),
    )
    layout = plan_layouts.layout(shape, split, batch.micro, batch.train, place)
    return Planned(layout.tokens_per_s, layout.mfu, shape.flops_per_token, gpus * float(peak) * 1e12)


def plan_of(config: Mapping[str, Any], root: Path, gpus: int | None) -> Planned | None:
    """As `planned`, with the tokenizer that the config names and the GPUs of this machine.

    Args:
        root: where relative paths start.
    """
    vocab = config.get("vocab_file")
    if vocab and config.get("peak_theoretical_tflops"):
        with contextlib.suppress(HaigoError):
            return planned(config, gpus, load(root / vocab).vocab_size, card_bytes())
    return None


class Display:
    """Shows a run on stderr: one live line on a terminal, a plain line every few seconds in a log.

    Args:
        name: the run's name.
        seq_length: tokens a sample, to turn samples into tokens.
        plan: what `planned` gave.
        every_s: seconds between plain lines.
    """

    def __init__(self, name: str, seq_length: int, plan: Planned | None = None, every_s: float = LINE_EVERY_S) -> None:
        self.name, self.seq_length, self.plan = name, seq_length, plan
        self.live = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self.quiet = os.environ.get("HAIGO_QUIET") == "1"
        self.every_s = 0.5 if self.live else every_s
        self.last: Step | None = None
        self._recent: deque[float] = deque(maxlen=20)
        self._shown = 0.0
        self._drawn = False

    def see(self, one: Step) -> None:
        """Take note of a step line."""
        self.last = one
        if one.step_ms:
            self._recent.append(one.step_ms / 1000)

    @property
    def step_s(self) -> float | None:
        """Seconds a step, mean of the last logged intervals: what is left is reckoned with it."""
        return sum(self._recent) / len(self._recent) if self._recent else None

    def text(self, phase: str = "") -> str:
        """The line."""
        one = self.last
        if one is None:
            return f"{self.name}: starting"
        parts = [f"{self.name}: step {one.iteration:,}/{one.total:,}"]
        if one.loss is not None:
            parts.append(f"loss {one.loss:.4f}")
        rate = one.samples_per_s * self.seq_length if one.samples_per_s and self.seq_length else None
        if rate:
            parts.append(f"{rate:,.0f} tokens/s")
        if one.flops_per_gpu:
            parts.append(f"{_operations(one.flops_per_gpu)}/GPU")
        if self.plan is not None and rate:
            low, high = self.plan.mfu
            reached = rate * self.plan.flops_per_token / self.plan.peak
            parts.append(f"MFU {reached:.0%} (planned {low:.0%}-{high:.0%})")
        elif one.mfu is not None:
            parts.append(f"MFU {one.mfu:.0%}")
        if self.step_s and one.total > one.iteration:
            parts.append(f"{clock(self.step_s * (one.total - one.iteration))} left")
        if phase and phase != "steps":
            parts.append(phase)
        return ", ".join(parts)

    def show(self, phase: str = "", force: bool = False) -> None:
        """Show it if it is time to."""
        now = time.monotonic()
        if self.quiet or (not force and now - self._shown < self.every_s):
            return
        self._shown = now
        line = self.text(phase)
        if self.live:
            width = shutil.get_terminal_size().columns
            _put(f"\r\x1b[K{shown.line(line[: max(20, width - 1)])}")
            self._drawn = True
        else:
            _put(shown.line(line) + "\n")

    def say(self, line: str) -> None:
        """A line that stays, above the live one."""
        _put(("\r\x1b[K" if self._drawn else "") + shown.text(line) + "\n")
        self._drawn = False


def _put(text: str) -> None:
    # a closed terminal, a pipe whose reader has gone, a full disk: nobody reads on, and the watch must
    with contextlib.suppress(OSError, ValueError):
        shown.raw(sys.stderr).write(text)
        sys.stderr.flush()


def _operations(rate: float) -> str:
    for factor, unit in ((1e15, "PFLOP/s"), (1e12, "TFLOP/s"), (1e9, "GFLOP/s")):
        if rate >= factor:
            return f"{rate / factor:.1f} {unit}"
    return f"{rate / 1e6:.1f} MFLOP/s"
