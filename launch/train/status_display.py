"""The line that shows where a run stands: step, loss, speed, MFU beside what was planned, time left."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from haigo.cli import HaigoError
from haigo.formats.tokenizer import load
from haigo.progress import Screen, clock
from launch.neox.gpus import card_bytes
from launch.neox.log import Step
from launch.plan import layouts as plan_layouts
from launch.plan.memory import Split, shape_of
from neox_configs import derive, hardware, reader


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


class Display(Screen):
    """Shows a run.

    Args:
        name: the run's name.
        seq_length: tokens a sample, to turn samples into tokens.
        plan: what `planned` gave.
    """

    def __init__(self, name: str, seq_length: int, plan: Planned | None = None) -> None:
        super().__init__()
        self.name, self.seq_length, self.plan = name, seq_length, plan
        self.last: Step | None = None
        self._recent: deque[float] = deque(maxlen=20)

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

    def show(self, phase: str = "") -> None:
        """Show it if it is time to."""
        if self.due():
            self.draw(self.text(phase))


def _operations(rate: float) -> str:
    for factor, unit in ((1e15, "PFLOP/s"), (1e12, "TFLOP/s"), (1e9, "GFLOP/s")):
        if rate >= factor:
            return f"{rate / factor:.1f} {unit}"
    return f"{rate / 1e6:.1f} MFLOP/s"
