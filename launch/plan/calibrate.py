"""Calibrates a plan by measured speeds: logs of GPT-NeoX runs, or a table of rows.

A log tells its own layout (GPT-NeoX prints all its arguments first) and the samples a second of every interval. A table is a
CSV with a line for every run: `model` or `layers`, `hidden`, `heads` and `vocab`; `seq_length`, `gpus`, `micro`, and
`tokens_per_s` of all GPUs together; where they are not 1, 1, 0, 1, 0 and 0 also `accumulation`, `tensor`, `pipe`, `zero`
(FSDP: 3), `recompute` and `tied`.

What is learnt is a ratio of measured to planned speed. It is a Gaussian regression over layouts: one level for the whole
stack, about which little is known beforehand (15 %), and small deviations with recomputation, model size and sequence length
(5, 5 and 2 %), with 3 % of noise; so three rows of one kind correct the level everywhere and the rest near them. Some runs are
far off for reasons of their own (a slow node, one unlucky size), so the noise has a long tail (Student's t of one degree, by
reweighting): a row that the others contradict counts for little.
"""

from __future__ import annotations

import math
import os
import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from haigo import yamlfile
from haigo.cli import HaigoError
from haigo.formats import csvfile
from launch.neox import log as neox_log
from launch.plan import stacks
from launch.plan.layouts import Layout, layout
from launch.plan.memory import Shape, Split, shape_of
from launch.plan.stacks import Stack
from neox_configs import reader, shipped
from neox_configs.hardware import Cluster
from neox_configs.keys import KEYS

_LEVEL, _RECOMPUTE, _SIZE, _LENGTH, _NOISE = 0.15, 0.05, 0.05, 0.02, 0.03
_FREEDOM = 1.0
"""Degrees of freedom of the rows' noise."""
_OTHERS = 0.035
"""Noise of a row that is still to be measured."""
_ROUNDS = 20
"""Of reweighting the rows; the last ones change nothing any more."""
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
                "there is no measured speed to calibrate by.", "give a GPT-NeoX log with its speeds, or a CSV"
            )
        import numpy as np  # late: the plan's help does not need it

        self.rows = list(rows)
        ratios = []
        for row in rows:
            planned = _centre(_layout(row.shape, row.split, row.micro, row.accumulation, place, stack))
            ratio = row.tokens_per_s / planned
            if not 0.1 < ratio < 10:
                raise HaigoError(
                    f"{row.source}: {row.tokens_per_s:,.0f} tokens/s is {ratio:.2g} times the planned {planned:,.0f}.",
                    "give tokens a second of all GPUs together, and the cluster that the run was on",
                )
            ratios.append(math.log(ratio))
        self.ratios = [math.exp(value) for value in ratios]
        self._places = np.array([_place(row.shape, row.split) for row in rows])
        kernel, values = _kernel(self._places, self._places), np.array(ratios)
        noise = np.full(len(rows), _NOISE**2)
        for _ in range(_ROUNDS):
            self._inverse = np.linalg.inv(kernel + np.diag(noise))
            left = values - kernel @ self._inverse @ values
            own = np.diag(kernel - kernel @ self._inverse @ kernel)
            noise = (_FREEDOM * _NOISE**2 + left**2 + own) / (_FREEDOM + 1)
        self._weights = self._inverse @ values
        # of two rows that contradict one another nobody knows which is right; one of three is outvoted
        self._doubt = float(np.median(np.abs(left))) ** 2

    def ratio(self, shape: Shape, split: Split) -> tuple[float, float]:
        """Measured over planned speed to expect of a layout, and its relative standard error."""
        import numpy as np

        one = np.array([_place(shape, split)])
        across = _kernel(one, self._places)[0]
        own = float(_kernel(one, one)[0, 0])
        variance = own - float(across @ self._inverse @ across) + _OTHERS**2 + self._doubt
        return math.exp(float(across @ self._weights)), math.sqrt(max(variance, _OTHERS**2))

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
    if place.suffix == ".csv":
        (_, names), rows = csvfile.rows(place)
        return [
            _from_table(dict(zip(names, cells, strict=False)), stack, f"{path} line {line}") for line, cells in rows
        ]
    row = _from_log([*neox_log.lines(place)], str(path))
    if not stack.neox or row.shape.flash != stack.flash:
        kind = "gpt-neox-flash" if row.shape.flash else "gpt-neox"
        raise HaigoError(
            f"{path} is the log of a {kind} run, and the plan is for {stack.name}.", f"give --stack {kind}"
        )
    return [row]


def _from_table(
    row: Mapping[str, Any], stack: Stack, where: str, keys: Mapping[str, Any] = MappingProxyType({})
) -> Row:
    """A run from a line. `keys`: of GPT-NeoX, that have no column."""

    def number(name: str, default: float | None = None) -> float:
        value = row.get(name)
        value = value.strip() if isinstance(value, str) else value
        if value in (None, ""):
            if default is None:
                raise HaigoError(f"{where} has no {name}.", "see `python -m launch.plan --help` for the columns")
            return default
        try:
            parsed = float({"true": 1.0, "false": 0.0}.get(str(value).lower(), value))
        except ValueError:
            raise HaigoError(f"{where}: {name} is '{value}'.", "write a number") from None
        if not math.isfinite(parsed) or parsed < 0:
            raise HaigoError(f"{where}: {name} is '{value}'.", "write a number of 0 or more")
        return parsed

    config: dict[str, Any] = {}
    if (row.get("model") or "").strip():
        config = dict(reader.load(shipped.find_model(str(row["model"]).strip())))
    else:
        names = {"num_layers": "layers", "hidden_size": "hidden", "num_attention_heads": "heads"}
        config = {key: int(number(name)) for key, name in names.items()}
    config |= {
        **keys,
        "seq_length": int(number("seq_length", config.get("seq_length"))),
        "no_weight_tying": not number("tied", 0),
    }
    vocab, tensor, pipe = int(number("vocab", VOCAB)), max(1, int(number("tensor", 1))), int(number("pipe", 0))
    zero, gpus, stages = int(number("zero", 1 if stack.neox else 3)), int(number("gpus")), max(1, pipe)
    micro, accumulation, speed = int(number("micro")), int(number("accumulation", 1)), number("tokens_per_s")
    if gpus < 1 or gpus % (tensor * stages) or micro < 1 or accumulation < 1 or not speed > 0:
        problem = f"{gpus} GPUs, tensor {tensor}, pipe {pipe}, micro {micro}, {speed:g} tokens/s make no run."
        raise HaigoError(f"{where}: {problem}", "mend the line")
    data, recompute = gpus // (tensor * stages), bool(number("recompute", 0))
    split = Split(tensor, 0 if pipe <= 1 else pipe, data, zero, recompute)
    return Row(shape_of(config, vocab, stack.flash), split, micro, accumulation, speed, where)


_ARGUMENTS = {
    "layers": "num_layers",
    "hidden": "hidden_size",
    "heads": "num_attention_heads",
    "seq_length": "seq_length",
    "gpus": "global_num_gpus",
    "vocab": "padded_vocab_size",
    "micro": "train_micro_batch_size_per_gpu",
    "accumulation": "gradient_accumulation_steps",
    "tensor": "model_parallel_size",
    "pipe": "pipe_parallel_size",
}
"""Columns of a table -> what GPT-NeoX calls them in its list of arguments."""
_OF_A_LAYER = (
    "num_kv_heads", "intermediate_size", "expansion_factor", "mlp_multiple_of", "activation", "norm", "rmsnorm_fusion",
    "use_bias_in_attn_linear", "use_bias_in_mlp",
)  # fmt: skip
"""Arguments that a table has no column for: it names a model instead."""


def _from_log(lines: Sequence[str], where: str) -> Row:
    values = neox_log.arguments(lines)
    speeds = [one.samples_per_s for line in lines if (one := neox_log.step(line)) and one.samples_per_s]
    if len(speeds) <= _WARM_UP:
        raise HaigoError(
            f"{where} has {len(speeds)} logged speeds, and the first tells of the start only.",
            "let GPT-NeoX log at least two intervals (log_interval)",
        )
    row: dict[str, Any] = {}
    for column, name in _ARGUMENTS.items():
        try:
            row[column] = int(values[name])
        except (KeyError, ValueError):
            problem = f"{where} does not tell {name}: GPT-NeoX's list of arguments is not whole in it."
            raise HaigoError(problem, "give the log from its first line, or the numbers as a CSV") from None
    stage = re.search(r"'stage': (\d)", values.get("zero_optimization", ""))
    row["zero"] = int(stage[1]) if stage else int(neox_log.number(values.get("zero_stage", "0")) or 0)
    row |= {
        "tied": values.get("no_weight_tying") == "False",
        "recompute": values.get("checkpoint_activations") == "True",
    }
    # the middle one: evaluations and checkpoints fall into single intervals
    row["tokens_per_s"] = statistics.median(speeds[_WARM_UP:]) * row["seq_length"]
    flash = "flash" in values.get("attention_config", "")
    given = {name: values[name] for name in _OF_A_LAYER if values.get(name, "None") != "None"}
    keys = {name: value if KEYS[name].choices else yamlfile.loads(value, where) for name, value in given.items()}
    return _from_table(row, stacks.of_attention("flash" if flash else "global"), where, keys)


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
