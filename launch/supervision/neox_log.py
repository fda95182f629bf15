"""What GPT-NeoX and DeepSpeed print, read line by line: steps, losses, speed, and other signs of life.

The forms are those of GPT-NeoX's `training_log` (the same from version 2 on; `approx flops` and MFU since 2025) and of
DeepSpeed's checkpoint engine. A line of several ranks may carry a prefix such as `[rank 0] ` or a host's name from pdsh.
"""

from __future__ import annotations

import contextlib
import math
import re
from dataclasses import dataclass
from pathlib import Path

_ITERATION = re.compile(r"\biteration\s+(\d+)/\s*(\d+)\s*\|")
_FIELDS = {
    "samples_per_s": re.compile(r"\bsamples/sec: ([\d.]+)"),
    "step_ms": re.compile(r"\belapsed time per iteration \(ms\): ([\d.]+)"),
    "learning_rate": re.compile(r"\blearning rate: (\S+)"),
    "loss": re.compile(r"\b(?:lm_loss|lm loss): (\S+)"),
    "skipped": re.compile(r"\bnumber of skipped iterations:\s+(\d+)"),
    "nan": re.compile(r"\bnumber of nan iterations:\s+(\d+)"),
    "mfu": re.compile(r"\bMFU: ([\d.]+)%"),
}
_FLOPS = re.compile(r"\b(?:approx flops per GPU|flops per GPU|FLOPS): ([\d.]+)\s*([KMGTPEZ]?)(?:FLOPS)?")
_SCALE = {"": 1.0, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18, "Z": 1e21}
_SIGNS = (
    ("saving", re.compile(r"\[Torch\] Checkpoint \S+ is about to be saved|\[Torch\] Saving |Saving model checkpoint")),
    ("saved", re.compile(r"\[Torch\] Saved |\[Torch\] Checkpoint \S+ is ready now|zero checkpoint saved")),
    ("loading", re.compile(r"\[Torch\] Load(?:ing|ed) checkpoint|Loading extension module|successfully loaded ")),
    ("evaluating", re.compile(r"\bEvaluating iter \d+/\d+")),
    ("evaluated", re.compile(r"\b(?:validation|test) results? at (?:iteration|the end)|\bresults at ")),
    ("setting up", re.compile(r"> building |> elapsed |done with setups|^\s*training \.\.\.$|building GPT2 model")),
)


@dataclass(frozen=True)
class Step:
    """One `iteration N/M` line. What a version of GPT-NeoX does not print is None."""

    iteration: int
    total: int
    loss: float | None = None
    """Mean of the logged interval, in nats a token; NaN and infinity come through as such."""
    samples_per_s: float | None = None
    step_ms: float | None = None
    """Milliseconds a step, mean of the logged interval."""
    learning_rate: float | None = None
    flops_per_gpu: float | None = None
    """Operations a second that GPT-NeoX claims for one GPU, recomputation counted."""
    mfu: float | None = None
    """GPT-NeoX's own MFU as a share of 1, where `peak_theoretical_tflops` is set."""
    skipped: int = 0
    """Steps of the interval that were skipped (fp16 overflow)."""
    nan: int = 0

    @property
    def finite(self) -> bool:
        """Whether the loss is a number."""
        return self.loss is None or math.isfinite(self.loss)


def step(line: str) -> Step | None:
    """The step that a line tells of, or None."""
    found = _ITERATION.search(line)
    if found is None:
        return None
    values: dict[str, float | None] = {}
    for name, pattern in _FIELDS.items():
        match = pattern.search(line)
        values[name] = _number(match[1]) if match else None
    flops = _FLOPS.search(line)
    mfu = values["mfu"]
    return Step(
        iteration=int(found[1]),
        total=int(found[2]),
        loss=values["loss"],
        samples_per_s=values["samples_per_s"],
        step_ms=values["step_ms"],
        learning_rate=values["learning_rate"],
        flops_per_gpu=float(flops[1]) * _SCALE[flops[2]] if flops else None,
        mfu=mfu / 100 if mfu is not None else None,
        skipped=int(values["skipped"] or 0),
        nan=int(values["nan"] or 0),
    )


def last_good(path: Path) -> int:
    """The last step in a log whose loss is a number; 0 when there is none, or no such file."""
    last = 0
    with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="replace") as handle:
        for line in handle:
            one = step(line)
            if one is not None and one.loss is not None and one.finite:
                last = one.iteration
    return last


def sign_of_life(line: str) -> str | None:
    """What a line without a step says the run is doing: saving, saved, loading, evaluating, evaluated, setting up."""
    for name, pattern in _SIGNS:
        if pattern.search(line):
            return name
    return None


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
