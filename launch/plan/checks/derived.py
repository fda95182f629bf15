"""The checks of `launch.preflight` on what GPT-NeoX makes of a config: its own derivations, repeated by `neox_args`.

Whatever they refuse is told, and so is a value of the user's that they replace without a word.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from haigo.cli import HaigoError
from launch.plan.checks.check import Check
from neox_configs import derive, neox_args, reader

_ZERO = ("stage", "reduce_scatter", "contiguous_gradients", "reduce_bucket_size", "allgather_bucket_size")
_FROM = {
    "lr": "optimizer.params.lr",
    "optimizer_type": "optimizer.type",
    "batch_size": "train_micro_batch_size_per_gpu",
    "clip_grad": "gradient_clipping",
    "dynamic_loss_scale": "fp16.loss_scale",
    "is_pipe_parallel": "pipe_parallel_size",
    **{f"zero_{key}": f"zero_optimization.{key}" for key in _ZERO},
}
"""Keys that GPT-NeoX fills itself, so that what a config says there is lost, and where it takes them from."""


def checks(config: Mapping[str, Any], gpus: int | None) -> list[Check]:
    """All checks of this page; only those that say no.

    Args:
        config: what `reader.load` gave.
        gpus: the world size; a fitting one is taken when it is not known.
    """
    world = gpus if gpus is not None else _fitting(config)
    try:
        got = neox_args.values(config, world)
    except HaigoError as error:
        return [Check("derived", "fail", error.problem, error.fix)]
    except (TypeError, ValueError, LookupError, AttributeError, ZeroDivisionError) as error:
        sentence = f"GPT-NeoX could not work with these values ({type(error).__name__}: {error})."
        return [Check("derived", "fail", sentence, "mend the value")]
    filled = {name: value for name, value in got.items() if value != config.get(name)}
    answers = [
        Check("types", "fail", f"worked out by GPT-NeoX, {problem}", "mend the value it comes from")
        for problem in reader.type_problems(filled)
    ]
    for name, source in _FROM.items():
        if config.get(name) is not None and config[name] != got[name]:
            sentence = f"{name}: {config[name]} does nothing: GPT-NeoX puts {got[name]!r} there, from {source}."
            answers.append(Check("replaced", "fail", sentence, f"say it in {source}, and leave {name} out"))
    return answers


def _fitting(config: Mapping[str, Any]) -> int:
    split = max(1, reader.value(config, "pipe_parallel_size")) * max(1, reader.value(config, "model_parallel_size"))
    train, micro = config.get("train_batch_size"), config.get("train_micro_batch_size_per_gpu")
    if train is None or micro is None:
        return int(split)
    steps = config.get("gradient_accumulation_steps", 1) or 1
    copies = max(1, train // (micro * steps))
    try:
        return derive.batch(config, split * copies).gpus
    except HaigoError:
        return int(split)
