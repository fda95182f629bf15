"""All checks of a GPT-NeoX config, its data and its tokenizer: what `launch.preflight` shows and `launch.deepy` starts with."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from haigo.cli import HaigoError, Refused
from launch.neox.hostfile import world_size
from launch.plan.checks import blocks as preflight_blocks
from launch.plan.checks import derived as preflight_derived
from launch.plan.checks import ranges as preflight_ranges
from launch.plan.checks import rules as preflight_rules
from launch.plan.checks import traps as preflight_traps
from launch.plan.checks.check import Check
from launch.plan.checks.schema import number
from neox_configs import derive, reader


@dataclass(frozen=True)
class Report:
    """The answers of all checks."""

    checks: list[Check]
    config: dict[str, Any]

    @property
    def failed(self) -> list[Check]:
        """The checks that say no."""
        return [check for check in self.checks if check.status == "fail"]

    def refuse(self, name: str) -> None:
        """Raise when a check says no.

        Raises:
            Refused: with the first failure and how many more there are.
        """
        if self.failed:
            first, more = self.failed[0], len(self.failed) - 1
            rest = (
                f" ({more} more: {', '.join(dict.fromkeys(check.name for check in self.failed[1:]))})" if more else ""
            )
            raise Refused(f"{name}: {first.name}: {first.found}{rest}", first.fix)


def preflight(
    paths: Sequence[str | os.PathLike[str]],
    hostfile: str | os.PathLike[str] | None = None,
    gpus: int | None = None,
    base: str | os.PathLike[str] = ".",
    config: dict[str, Any] | None = None,
) -> Report:
    """Run every check.

    Args:
        paths: the config files, as deepy.py gets them.
        hostfile: replaces the config's own.
        gpus: number of GPUs, where no hostfile tells.
        base: the folder that relative paths in the config start from (deepy.py runs in GPT-NeoX's checkout).
        config: what the files hold, where they are read already.

    Raises:
        HaigoError: the files cannot be read as one config at all.
    """
    from launch.plan.checks import data as preflight_data  # numpy: not for --help

    config = reader.load(paths) if config is None else config
    found = [*_keys(config), *_floats(paths)]
    if not _bad(found):
        found += [*preflight_ranges.checks(config), *preflight_blocks.checks(config)]
        # what follows reckons with these values
        sound = not any(_bad([check]) and check.name in ("numbers", "zero") for check in found)
        if sound:
            found += _guarded("world size", "mend the hostfile", lambda: _world(config, hostfile, gpus))
        shape = _model(config)
        found += shape
        if sound and not _bad(shape):
            found += [*_parallel(config), *_schedule(config), *preflight_rules.checks(config)]
        found += preflight_data.checks(config, Path(base))
        found += preflight_traps.checks(config, Path(base))
        if not _bad(found, but=("data", "tokenizer", "resume", "index caches", "labels", "ids")):
            world, _ = world_size(config, hostfile, gpus)
            found += preflight_derived.checks(config, world)
    return Report(found, config)


def _bad(found: Sequence[Check], but: Sequence[str] = ()) -> bool:
    """Whether a check says no, other than those named."""
    return any(check.status == "fail" and check.name not in but for check in found)


def _guarded(name: str, fix: str, action: Callable[[], list[Check]]) -> list[Check]:
    try:
        return action()
    except HaigoError as error:
        return [Check(name, "fail", error.problem, error.fix or fix)]


def _keys(config: Mapping[str, Any]) -> list[Check]:
    def known() -> list[Check]:
        reader.check_keys(config)
        return [Check("keys", "ok", f"{len(config)} keys, all known to GPT-NeoX")]

    found = _guarded("keys", "mend or remove the key", known)
    problems = reader.type_problems(config)
    if problems:
        more = f" ({len(problems) - 1} more)" if len(problems) > 1 else ""
        found.append(Check("types", "fail", problems[0] + more, "GPT-NeoX checks types strictly: mend the value"))
    else:
        found.append(Check("types", "ok", "every value has the type that GPT-NeoX asks for"))
    return found


def _floats(paths: Sequence[str | os.PathLike[str]]) -> list[Check]:
    traps = [f"{Path(path).name}: {key}" for path in paths for key in reader.float_traps(path)]
    if not traps:
        return []
    return [
        Check(
            "numbers read as text",
            "fail",
            f"GPT-NeoX reads {len(traps)} numbers as text, because they have no dot: {', '.join(traps[:3])}.",
            "write 1.0e-4 instead of 1e-4",
        )
    ]


def _world(config: Mapping[str, Any], hostfile: str | os.PathLike[str] | None, gpus: int | None) -> list[Check]:
    count, source = world_size(config, hostfile, gpus)
    if count is None:
        unknown = Check(
            "world size", "warn", f"not known: {source}.", "give -H HOSTFILE or --gpus N to check the batch"
        )
        return [unknown, *preflight_traps.accumulation(config)]
    found = [Check("world size", "ok", f"{count} GPUs ({source})"), *preflight_traps.visible(config, count, source)]

    def batch() -> list[Check]:
        one = derive.batch(config, count)
        told = f"{one.train} = micro {one.micro} x accumulation {one.accumulation} x {one.data_parallel} copies"
        return [Check("batch", "ok", f"{told}, {one.train * (config.get('seq_length') or 0):,} tokens a step")]

    told = _guarded("batch", "mend the batch sizes", batch)
    # that it does not fit is often no more than the missing key
    return found + (preflight_traps.accumulation(config) if told[0].status == "fail" else []) + told


def _model(config: Mapping[str, Any]) -> list[Check]:
    need = ("num_layers", "hidden_size", "num_attention_heads", "max_position_embeddings", "seq_length")
    missing = [key for key in need if config.get(key) is None]
    if missing:
        return [Check("model", "fail", f"{missing[0]} is not given.", f"give {', '.join(need)}")]
    if any(config[key] < 1 for key in need):
        return [Check("model", "fail", f"{', '.join(need)} must all be at least 1.", "mend them")]
    hidden, heads, tensor = config["hidden_size"], config["num_attention_heads"], _tensor(config)
    wrong = []
    kinds = str(config.get("attention_config"))
    if hidden % heads and "mamba" not in kinds:
        wrong.append((f"hidden_size {hidden} is not a multiple of {heads} heads.", "change one of them"))
    if heads % tensor:
        wrong.append((f"{heads} heads cannot be split over model_parallel_size {tensor}.", f"use a divisor of {heads}"))
    if config["seq_length"] > config["max_position_embeddings"]:
        wrong.append(("seq_length is above max_position_embeddings.", "raise max_position_embeddings"))
    if wrong:
        return [Check("model", "fail", problem, fix) for problem, fix in wrong]
    return [Check("model", "ok", f"{config['num_layers']} layers of {hidden}, {heads} heads")]


def _tensor(config: Mapping[str, Any]) -> int:
    return max(1, int(reader.value(config, "model_parallel_size")))


def _parallel(config: Mapping[str, Any]) -> list[Check]:
    pipe, tensor = reader.value(config, "pipe_parallel_size"), _tensor(config)
    zero = config.get("zero_optimization")
    stage = zero.get("stage", 0) if isinstance(zero, dict) else 0
    found = []
    if isinstance(stage, int) and stage >= 2 and (pipe >= 1 or tensor > 1):
        found.append(
            Check(
                "zero stage",
                "fail",
                f"ZeRO {stage} with pipe_parallel_size {pipe} and model_parallel_size {tensor}: GPT-NeoX prints a "
                "line and ends with exit code 0, having trained nothing.",
                "use ZeRO 1, or pipe_parallel_size 0 and model_parallel_size 1",
            )
        )
    if pipe >= 1 and reader.value(config, "eval_iters") > 0:
        found.append(
            Check(
                "evaluation",
                "fail",
                f"eval_iters {reader.value(config, 'eval_iters')} with pipe_parallel_size {pipe}: GPT-NeoX crashes at "
                f"the first evaluation (step {reader.value(config, 'eval_interval')}).",
                "write eval_iters: 0, or pipe_parallel_size: 0",
            )
        )
    bf16 = config.get("precision") == "bfloat16" or (config.get("bf16") or {}).get("enabled")
    if bf16 and zero is None:
        found.append(
            Check("precision", "fail", "bfloat16 without a zero_optimization block crashes.", "add one, with a stage")
        )
    elif bf16 and (config.get("data_types") or {}).get("grad_accum_dtype") != "fp32":
        found.append(
            Check(
                "precision",
                "warn",
                "gradients are accumulated in bfloat16.",
                "write data_types: {grad_accum_dtype: fp32}",
            )
        )
    slurm = reader.value(config, "launcher") == "slurm", bool(reader.value(config, "deepspeed_slurm"))
    if slurm[0] != slurm[1]:
        found.append(
            Check("slurm", "fail", "only one of Slurm's two keys is set.", "set launcher: slurm, deepspeed_slurm: true")
        )
    return found or [Check("parallelism", "ok", f"pipe {pipe}, tensor {tensor}, ZeRO {stage}")]


def _schedule(config: Mapping[str, Any]) -> list[Check]:
    found = []
    iters, epochs = config.get("train_iters"), config.get("train_epochs")
    if (iters is None) == (epochs is None):
        found.append(Check("schedule", "fail", "give exactly one of train_iters and train_epochs.", "give train_iters"))
    params = (config.get("optimizer") or {}).get("params")
    given, lowest = params.get("lr", 0.001) if isinstance(params, Mapping) else None, reader.value(config, "min_lr")
    lr = given if number(given) else math.inf  # told by the checks of the optimizer
    if lowest > lr:
        found.append(Check("schedule", "fail", f"min_lr {lowest:g} is above lr {lr:g}.", "lower min_lr"))
    factor = config.get("checkpoint_factor")
    if config.get("save") and factor is None and not config.get("extra_save_iters"):
        found.append(Check("checkpoints", "fail", "save is given without checkpoint_factor.", "give both"))
    if not config.get("save"):
        found.append(Check("checkpoints", "warn", "no save folder: nothing will be kept.", "give save"))
    elif iters and isinstance(factor, int) and factor > 0 and iters % factor == 0:
        found.append(
            Check(
                "checkpoints",
                "warn",
                f"train_iters {iters} is a multiple of checkpoint_factor {factor}: the last checkpoint is written twice "
                "in place, and a kill in between tears it.",
                f"write checkpoint_factor: {factor + 1}",
            )
        )
    return found or [Check("schedule", "ok", f"{iters or epochs} {'steps' if iters else 'epochs'}, lr {lr:g}")]


def text(report: Report) -> str:
    """The report for people, one line a check and one a fix."""
    sign = {"ok": "ok  ", "warn": "warn", "fail": "FAIL"}
    lines = []
    for check in report.checks:
        lines.append(f"{sign[check.status]} {check.name}: {check.found}")
        if check.status != "ok" and check.fix:
            lines.append(f"       fix: {check.fix}")
    return "\n".join(lines)
