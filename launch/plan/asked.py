"""Judges one layout that somebody asks about, and finds the nearest one that fits."""

from __future__ import annotations

import re

from haigo.cli import HaigoError
from launch.plan import layouts as plan_layouts
from launch.plan.layouts import Layout
from launch.plan.memory import Shape, Split
from launch.plan.stacks import Stack
from neox_configs.hardware import Cluster

_WORD = re.compile(r"(tp|pp|dp|zero|micro) ?(\d+)|(recompute)")


def judge(
    words: str, shape: Shape, gpus: int, cluster: Cluster, sequences: int, stack: Stack
) -> tuple[Layout, Layout | None]:
    """The layout that the words name, and the nearest that fits when it does not (None: it fits, or none does).

    Nearest means fewest changes first: a smaller micro batch, then recomputation, then another split of the model.

    Args:
        words: `TP2 PP0 ZeRO1 micro 4 recompute`; what is left out is TP1, PP0, the stack's ZeRO and micro 1.
        gpus: of the whole run.
        sequences: of a step, about.

    Raises:
        HaigoError: words that name no layout, or one that these GPUs or GPT-NeoX cannot run.
    """
    split, micro = _parse(words, shape, gpus, cluster, stack)
    asked = plan_layouts.layout(shape, split, micro, sequences, cluster, stack)
    if asked.fits:
        return asked, None
    others = plan_layouts.splits(shape, gpus, cluster, stack)
    able = [
        one
        for other in others
        for smaller in plan_layouts.MICRO
        if (one := plan_layouts.layout(shape, other, smaller, sequences, cluster, stack)).fits
    ]

    def distance(one: Layout) -> tuple[float, ...]:
        moved = (one.tensor, one.pipe, one.zero) != (split.tensor, split.pipe, split.zero)
        return (moved + 0.5 * (one.recompute != split.recompute), abs(one.micro - micro), -one.tokens_per_s[0])

    return asked, min(able, key=distance, default=None)


def _parse(words: str, shape: Shape, gpus: int, cluster: Cluster, stack: Stack) -> tuple[Split, int]:
    values: dict[str, int] = {}
    rest = words.lower().strip()
    while rest:
        word = _WORD.match(rest)
        if word is None:
            raise HaigoError(
                f"'{words}' names no layout, from '{rest}' on.", "write for example 'TP1 PP0 ZeRO1 micro 16'"
            )
        values[word[1] or "recompute"] = int(word[2] or 1)
        rest = rest[word.end() :].strip(" ,")
    tensor, pipe = values.get("tp", 1), values.get("pp", 0)
    pipe = 0 if pipe == 1 else pipe
    stages = max(1, pipe)
    if tensor < 1 or gpus % (tensor * stages) or values.get("dp", gpus // (tensor * stages)) * tensor * stages != gpus:
        raise HaigoError(f"'{words}' does not divide {gpus} GPUs.", "change TP, PP or --nodes", option="nodes")
    if shape.heads % tensor or shape.hidden % tensor:
        raise HaigoError(f"TP{tensor} does not divide {shape.heads} heads.", "use a tensor split that does")
    if shape.layers % stages:
        raise HaigoError(f"PP{pipe} does not divide {shape.layers} layers.", "use a pipeline that does")
    zero = values.get("zero", 1 if stack.neox else 3)
    if zero not in (0, 1, 2, 3):
        raise HaigoError(f"there is no ZeRO {zero}.", "use 0, 1, 2 or 3")
    if stack.neox and zero >= 2 and (pipe or tensor > 1):
        raise HaigoError(
            f"GPT-NeoX does not run ZeRO {zero} together with a pipeline or tensor parallelism.", "use ZeRO 1 with them"
        )
    if not stack.neox and (tensor > 1 or pipe):
        raise HaigoError(f"{stack.name} has no tensor or pipeline parallelism.", "use TP1 PP0")
    micro = values.get("micro", 1)
    if micro < 1:
        raise HaigoError("a micro batch has at least one sequence.", "write micro 1 or more")
    return Split(tensor, pipe, gpus // (tensor * stages), zero, bool(values.get("recompute"))), micro
