"""What GPT-NeoX and DeepSpeed print, read line by line: steps, losses, speed, and other signs of life.

The forms are those of GPT-NeoX's `training_log` (the same from version 2 on; `approx flops` and MFU since 2025) and of
DeepSpeed's checkpoint engine. A line of several ranks may carry a prefix such as `[rank 0] ` or a host's name from pdsh.

Ranks that share an output write into each other's lines (`4.54.5GFLOPS`), progress bars colour them, a full disk cuts them.
So nothing here raises, whatever a line holds: what is no number is None, and what cannot be a step is none.
"""

from __future__ import annotations

import math
import os
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

LONGEST = 16_384
"""Bytes or letters of a line that are looked at: its beginning and its end."""
_CONTROL = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[@-_]|[\x00-\x08\x0e-\x1f\x7f]")
_ITERATION = re.compile(r"\biteration\s+([0-9]{1,12})/\s*([0-9]{1,12})\s*\|")
_DIGITS = 1e15  # no rate, no time and no count of a log is as large
_FIELDS = {
    "samples_per_s": re.compile(r"\bsamples/sec: ([\d.]+)", re.A),
    "step_ms": re.compile(r"\belapsed time per iteration \(ms\): ([\d.]+)"),
    "learning_rate": re.compile(r"\blearning rate: (\S+)"),
    "loss": re.compile(r"\b(?:lm_loss|lm loss): (\S+)"),
    "skipped": re.compile(r"\bnumber of skipped iterations:\s+(\d+)"),
    "nan": re.compile(r"\bnumber of nan iterations:\s+(\d+)"),
    "mfu": re.compile(r"\bMFU: ([\d.]+)%"),
}
_VALID = re.compile(
    r"\bvalidation results at (?:iteration ([0-9]{1,12})|the end of training for val data)\s*\|\s*lm_loss value: (\S+)"
)
_VALID_START = re.compile(r"\bsetting validation data start iteration to ([0-9]{1,12})")
_ARGUMENT = re.compile(r"^\s+(\w+) \.+ (.*?)\.*(?:default|updated)?\s*$")
_PADDED = re.compile(r"> padded vocab \(size: \d+\) with \d+ dummy tokens \(new size: (\d+)\)")
_PIECE = 1 << 18
_FLOPS = re.compile(r"\b(?:approx flops per GPU|flops per GPU|FLOPS): ([\d.]+)\s*([KMGTPEZ]?)(?:FLOPS)?")
_SCALE = {"": 1.0, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18, "Z": 1e21}
_SAVE = re.compile(
    r"\[(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3})\].*\[Torch\] Checkpoint (\S+) is (about to be saved|ready now)", re.A
)
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


def readable(raw: bytes) -> str:
    """A line as text: without colours, bells and NUL bytes; what is no UTF-8 becomes U+FFFD; of an overlong one the ends."""
    text = raw.decode("utf-8", errors="replace")
    return _CONTROL.sub("", shortened(text))


def shortened(text: str) -> str:
    """The text, or where it is longer than `LONGEST` its beginning and its end."""
    half = LONGEST // 2
    return text if len(text) <= LONGEST else f"{text[:half]} ... {text[-half:]}"


def step(line: str) -> Step | None:
    """The step that a line tells of, or None."""
    line = shortened(line)
    head = _ITERATION.search(line)
    if head is None or int(head[1]) > int(head[2]):
        return None
    values: dict[str, float | None] = {}
    for name, pattern in _FIELDS.items():
        match = pattern.search(line)
        values[name] = number(match[1]) if match else None
    for name in values.keys() - {"loss", "learning_rate"}:  # a loss may be NaN or infinite, these may not
        if not abs(values[name] or 0.0) < _DIGITS:
            values[name] = None
    flops = _FLOPS.search(line)
    rate = number(flops[1]) if flops else None
    mfu = values["mfu"]
    return Step(
        iteration=int(head[1]),
        total=int(head[2]),
        loss=values["loss"],
        samples_per_s=values["samples_per_s"],
        step_ms=values["step_ms"],
        learning_rate=values["learning_rate"],
        flops_per_gpu=rate * _SCALE[flops[2]] if flops and rate is not None and rate < _DIGITS else None,
        mfu=mfu / 100 if mfu is not None else None,
        skipped=int(values["skipped"] or 0),
        nan=int(values["nan"] or 0),
    )


def lines(path: Path) -> Iterator[str]:
    """The lines of a whole log as text; none where there is no such file."""
    return map(readable, Follower(path).within(math.inf, end=True))


def losses(path: Path) -> Iterator[tuple[int, float]]:
    """(step, loss) of every step line of a log whose loss is a number."""
    for one in map(step, lines(path)):
        if one is not None and one.loss is not None and one.finite:
            yield one.iteration, one.loss


@dataclass(frozen=True)
class Validation:
    """A line about the validation set: where it begins to be read, or a result."""

    iteration: int | None
    """Of the run; None at the end of training."""
    loss: float | None
    """In nats a token; None where it begins."""


def validation(line: str) -> Validation | None:
    """What a line tells of the validation set, or None."""
    line = shortened(line)
    if start := _VALID_START.search(line):
        return Validation(int(start[1]), None)
    found = _VALID.search(line)
    loss = number(found[2]) if found else None
    return Validation(int(found[1]) if found[1] else None, loss) if found and loss is not None else None


def seconds_of_saves(path: Path) -> list[float]:
    """How long each checkpoint of a log took to write, by DeepSpeed's own times: from its announcement until the last rank was
    done; those without both lines are left out."""
    begun: dict[str, datetime] = {}
    seconds: dict[str, float] = {}
    for line in lines(path):
        if (found := _SAVE.search(line)) is None:
            continue
        try:
            at = datetime.strptime(found[1], "%Y-%m-%d %H:%M:%S,%f")
        except ValueError:
            continue
        if found[3] != "ready now":
            begun[found[2]] = at
        elif found[2] in begun:
            seconds[found[2]] = max(0.0, (at - begun[found[2]]).total_seconds())
    return list(seconds.values())


def arguments(lines: Iterable[str]) -> dict[str, str]:
    """The arguments that GPT-NeoX prints first, as printed, with the vocabulary's padded size (the list says None there)."""
    values: dict[str, str] = {}
    for line in lines:
        if padded := _PADDED.search(line):
            values["padded_vocab_size"] = padded[1]
        elif argument := _ARGUMENT.match(line):
            values.setdefault(argument[1], argument[2])
    return values


def sign_of_life(line: str) -> str | None:
    """What a line without a step says the run is doing: saving, saved, loading, evaluating, evaluated, setting up."""
    line = shortened(line)
    for name, pattern in _SIGNS:
        if pattern.search(line):
            return name
    return None


def number(text: str) -> float | None:
    """The number that a log's word is; None when it is none, or digits of two run together to more than there is."""
    try:
        value = float(text)
    except ValueError:
        return None
    return None if math.isinf(value) and "inf" not in text.lower() else value


class Follower:
    """Reads a growing file by lines, a bounded piece at a time: no output, however long and however broken, holds its reader
    up or fills its memory. A line ends with \\n or, as a progress bar's, with \\r; of an overlong one the ends are kept.

    Args:
        path: need not exist yet.
        offset: where to begin, in bytes.
    """

    def __init__(self, path: Path, offset: int = 0) -> None:
        self.path, self.offset = path, offset
        self.behind = False
        """Whether there is more to read already."""
        self._head = self._tail = b""
        self._cut = False

    def lines(self, end: bool = False) -> list[bytes]:
        """The lines that have come since the last call, empty ones left out; of much the first part (see `behind`).

        Args:
            end: nothing more will come, so that a last line without its end counts too.
        """
        self.behind = False
        try:
            with open(self.path, "rb") as handle:
                size = os.fstat(handle.fileno()).st_size
                if not 0 <= self.offset <= size:
                    self.offset = 0  # cut by logrotate or by hand: silence here would look like a hang
                    self._line()
                handle.seek(self.offset)
                data = handle.read(_PIECE)
        except OSError:
            return []
        self.offset += len(data)
        self.behind = len(data) == _PIECE and size > self.offset
        found = []
        for part in data.splitlines(keepends=True):
            text = part.rstrip(b"\r\n")
            self._add(text)
            if len(text) < len(part):
                found.append(self._line())
        if end and not self.behind:
            found.append(self._line())
        return [line for line in found if line]

    def within(self, seconds: float, end: bool = False) -> Iterator[bytes]:
        """As `lines`, piece after piece until all is read or the time is over."""
        until = time.monotonic() + seconds
        while True:
            yield from self.lines(end)
            if not self.behind or time.monotonic() > until:
                return

    def _add(self, text: bytes) -> None:
        half = LONGEST // 2
        room = half - len(self._head)
        self._head += text[:room]
        if len(text) > room:
            rest = self._tail + text[room:]
            self._cut = self._cut or len(rest) > half
            self._tail = rest[-half:]

    def _line(self) -> bytes:
        line = self._head + (b" ... " if self._cut else b"") + self._tail
        self._head = self._tail = b""
        self._cut = False
        return line


def last_step(path: Path) -> int:
    """The last step that the end of a log tells of; 0 before the first, or where there is no log."""
    size = path.stat().st_size if path.is_file() else 0
    ends = map(readable, Follower(path, max(0, size - LONGEST)).lines(end=True))
    return next((one.iteration for line in reversed([*ends]) if (one := step(line)) is not None), 0)
