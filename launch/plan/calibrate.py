"""Calibrates a plan by measured speeds: logs of GPT-NeoX runs, or a table of rows.

A log tells its own layout (GPT-NeoX prints all its arguments first) and the samples a second of every interval. A table is a
CSV with a line for every run: `model` or `layers`, `hidden`, `heads` and `vocab`; `seq_length`, `gpus`, `micro`, and
`tokens_per_s` of all GPUs together; where they are not 1, 1, 0, 1, 0 and 0 also `accumulation`, `tensor`, `pipe`, `zero`
(FSDP: 3), `recompute` and `tied`.

What is learnt is a ratio of measured to planned speed. It is a Gaussian regression over layouts: one level for the whole
stack, about which little is known beforehand (30 %), and small deviations with recomputation, model size and sequence length
(4, 4 and 3 %), with 3 % of noise; so three rows of one kind correct the level everywhere and the rest near them.
"""

from __future__ import annotations

import csv
import math
import os
import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from haigo.cli import HaigoError
from launch.neox import log as neox_log
from launch.plan.layouts import Layout, layout
from launch.plan.memory import Shape, Split
from launch.plan.stacks import Stack
from neox_configs import derive, reader, shipped
from neox_configs.hardware import Cluster

_LEVEL, _RECOMPUTE, _SIZE, _LENGTH, _NOISE = 0.3, 0.04, 0.04, 0.03, 0.03
_WARM_UP = 1
"""Logged intervals that are left out at the start: compilation and the first collectives."""
VOCAB = 50_304


@dataclass(frozen=True)
class Row:
    """One measured run."""

    shape: Shape
    split: Split
    micro: int
    accumulation: int
    tokens_per_s: float
    """All GPUs together."""
    source: str


class Calibration:
    """What the rows say about the speed of other layouts."""

    def __init__(self, rows: Sequence[Row], place: Cluster, stack: Stack) -> None:
        """Learn from measured runs.

        Args:
            rows: at least one.
            place: the hardware they ran on.
            stack: the software.

        Raises:
            HaigoError: no row, or one whose speed is more than ten times off the plan, which is a slip of units.
        """
        if not rows:
            raise HaigoError(
                "there is no measured speed to calibrate by.", "give a log with `samples/sec` lines, or a CSV"
            )
        import numpy as np  # late: the plan's help does not need it

        self.rows = list(rows)
        found = []
        for row in rows:
            planned = _centre(_layout(row.shape, row.split, row.micro, row.accumulation, place, stack))
            ratio = row.tokens_per_s / planned
            if not 0.1 < ratio < 10:
                raise HaigoError(
                    f"{row.source}: {row.tokens_per_s:,.0f} tokens/s is {ratio:.2g} times the planned {planned:,.0f}.",
                    "give tokens a second of all GPUs together, and the cluster that the run was on",
                )
            found.append(math.log(ratio))
        self.ratios = [math.exp(value) for value in found]
        self._places = np.array([_place(row.shape, row.split) for row in rows])
        kernel = _kernel(self._places, self._places) + _NOISE**2 * np.eye(len(rows))
        self._inverse = np.linalg.inv(kernel)
        self._weights = self._inverse @ np.array(found)

    def ratio(self, shape: Shape, split: Split) -> tuple[float, float]:
        """Measured over planned speed to expect of a layout, and its relative standard error."""
        import numpy as np

        one = np.array([_place(shape, split)])
        across = _kernel(one, self._places)[0]
        own = float(_kernel(one, one)[0, 0])
        variance = own - float(across @ self._inverse @ across) + _NOISE**2
        return math.exp(float(across @ self._weights)), math.sqrt(max(variance, _NOISE**2))

    def speed(self, one: Layout, shape: Shape) -> tuple[float, float]:
        """Tokens a second of all GPUs for a planned layout: a 90 % interval."""
        split = Split(one.tensor, one.pipe, one.data, one.zero, one.recompute)
        ratio, error = self.ratio(shape, split)
        middle = ratio * _centre(one)
        return middle * math.exp(-1.645 * error), middle * math.exp(1.645 * error)


def read(path: str | os.PathLike[str], stack: Stack) -> list[Row]:
    """Measured runs of a stack from a CSV (several) or from a GPT-NeoX log (one).

    Raises:
        HaigoError: no such file, a missing or impossible value, or a log without arguments or speeds.
    """
    place = Path(path)
    if not place.is_file():
        raise HaigoError(f"{path} does not exist.", "give --calibrate a GPT-NeoX log or a CSV")
    text = place.read_text(encoding="utf-8", errors="replace")
    if place.suffix == ".csv":
        lines = enumerate(csv.DictReader(text.splitlines()), 2)
        return [_from_table(row, stack, f"{path} line {number}") for number, row in lines]
    row = _from_log(text, str(path))
    if not stack.neox or row.shape.flash != stack.flash:
        kind = "gpt-neox-flash" if row.shape.flash else "gpt-neox"
        raise HaigoError(
            f"{path} is the log of a {kind} run, and the plan is for {stack.name}.", f"give --stack {kind}"
        )
    return [row]


def _from_table(row: Mapping[str, Any], stack: Stack, where: str) -> Row:
    def number(name: str, default: float | None = None) -> float:
        value = (row.get(name) or "").strip() if isinstance(row.get(name), str) else row.get(name)
        if value in (None, ""):
            if default is None:
                raise HaigoError(f"{where} has no {name}.", "see `python -m launch.plan --help` for the columns")
            return default
        try:
            found = {"true": 1.0, "false": 0.0}.get(str(value).lower())
            found = float(value) if found is None else found
        except ValueError:
            raise HaigoError(f"{where}: {name} is '{value}'.", "write a number") from None
        if not math.isfinite(found) or found < 0:
            raise HaigoError(f"{where}: {name} is '{value}'.", "write a number of 0 or more")
        return found

    config: dict[str, Any]
    if (row.get("model") or "").strip():
        config = dict(reader.load(shipped.find_model(str(row["model"]).strip())))
    else:
        config = {
            "num_layers": int(number("layers")),
            "hidden_size": int(number("hidden")),
            "num_attention_heads": int(number("heads")),
        }
    config["seq_length"] = int(number("seq_length", config.get("seq_length")))
    tensor, pipe = max(1, int(number("tensor", 1))), int(number("pipe", 0))
    gpus = int(number("gpus"))
    return _row(
        config,
        vocab=int(number("vocab", VOCAB)),
        flash=stack.flash,
        tied=bool(number("tied", 0)),
        split=(tensor, pipe, gpus, int(number("zero", 1 if stack.neox else 3)), bool(number("recompute", 0))),
        micro=int(number("micro")),
        accumulation=int(number("accumulation", 1)),
        speed=number("tokens_per_s"),
        where=where,
    )


def _from_log(text: str, where: str) -> Row:
    lines = text.splitlines()
    values = neox_log.arguments(lines)
    speeds = [one.samples_per_s for line in lines if (one := neox_log.step(line)) and one.samples_per_s]
    if len(speeds) <= _WARM_UP:
        raise HaigoError(
            f"{where} has {len(speeds)} logged speeds (`samples/sec`), and the first tells of the start only.",
            "let GPT-NeoX log at least two intervals (log_interval)",
        )
    wanted: tuple[str, ...] = (
        "num_layers",
        "hidden_size",
        "num_attention_heads",
        "seq_length",
        "global_num_gpus",
        "padded_vocab_size",
    )
    wanted += (
        "train_micro_batch_size_per_gpu",
        "gradient_accumulation_steps",
        "model_parallel_size",
        "pipe_parallel_size",
    )
    found = {}
    for name in wanted:
        try:
            found[name] = int(values[name])
        except (KeyError, ValueError):
            raise HaigoError(
                f"{where} does not tell {name}: GPT-NeoX's list of arguments is not whole in it.",
                "give the log from its first line, or the numbers as a CSV",
            ) from None
    stage = re.search(r"'stage': (\d)", values.get("zero_optimization", ""))
    found_stage = int(stage[1]) if stage else int(neox_log.number(values.get("zero_stage", "0")) or 0)
    return _row(
        found,
        vocab=found["padded_vocab_size"],
        flash="flash" in values.get("attention_config", ""),
        tied=values.get("no_weight_tying") == "False",
        split=(
            found["model_parallel_size"],
            found["pipe_parallel_size"],
            found["global_num_gpus"],
            found_stage,
            values.get("checkpoint_activations") == "True",
        ),
        micro=found["train_micro_batch_size_per_gpu"],
        accumulation=found["gradient_accumulation_steps"],
        # the middle one: evaluations and checkpoints fall into single intervals
        speed=statistics.median(speeds[_WARM_UP:]) * found["seq_length"],
        where=where,
    )


def _row(
    config: Mapping[str, Any],
    vocab: int,
    flash: bool,
    tied: bool,
    split: tuple[int, int, int, int, bool],
    micro: int,
    accumulation: int,
    speed: float,
    where: str,
) -> Row:
    tensor, pipe, gpus, zero, recompute = split
    stages = max(1, pipe)
    if gpus < 1 or gpus % (tensor * stages) or micro < 1 or accumulation < 1 or not speed > 0:
        raise HaigoError(
            f"{where}: {gpus} GPUs, tensor {tensor}, pipe {pipe}, micro {micro}, {speed:g} tokens/s make no run.",
            "mend the line",
        )
    layer, count = derive.parameters({**config, "no_weight_tying": not tied}, vocab)
    shape = Shape(
        layers=config["num_layers"],
        hidden=config["hidden_size"],
        heads=config["num_attention_heads"],
        seq_length=config["seq_length"],
        vocab=vocab,
        layer_parameters=layer,
        parameters=count,
        tied=tied,
        flash=flash,
        bytes_per_value=2,
    )
    made = Split(tensor, 0 if pipe <= 1 else pipe, gpus // (tensor * stages), zero, recompute)
    return Row(shape, made, micro, accumulation, speed, where)


def _layout(shape: Shape, split: Split, micro: int, accumulation: int, place: Cluster, stack: Stack) -> Layout:
    return layout(shape, split, micro, micro * accumulation * split.data, place, stack)


def _centre(one: Layout) -> float:
    return math.sqrt(one.tokens_per_s[0] * one.tokens_per_s[1])


def _place(shape: Shape, split: Split) -> tuple[float, float, float]:
    return math.log(shape.parameters), math.log(shape.seq_length), float(split.recompute)


def _kernel(one: Any, other: Any) -> Any:
    import numpy as np

    gap = one[:, None, :] - other[None, :, :]
    return (
        _LEVEL**2
        + _RECOMPUTE**2 * (gap[..., 2] == 0)
        + _SIZE**2 * np.exp(-(gap[..., 0] ** 2) / 2)
        + _LENGTH**2 * np.exp(-(gap[..., 1] ** 2) / 4)
    )
