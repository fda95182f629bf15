"""Which layouts are worth trying, which of them fit, and which is best. Pure: numbers in, numbers out.

Never tried, because GPT-NeoX does not run it: ZeRO 2 or 3 together with a pipeline or with tensor parallelism (it prints
a line and ends with exit code 0); heads, key and value heads, hidden size, MLP or layers that do not divide. Tensor
parallelism stays inside a node. ZeRO 3 is left out: its checkpoint holds no whole weights, so that it cannot be converted. A
pipeline of one stage is left out too: it is `pipe_parallel_size` 0 with an evaluation that crashes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from launch.plan import memory as plan_memory
from launch.plan import speed as plan_speed
from launch.plan import stacks as plan_stacks
from launch.plan.memory import Shape, Split
from launch.plan.stacks import Stack
from neox_configs.hardware import Cluster

TIGHT = 0.93
"""Above this share of the memory a layout fits on paper and is ranked as a last resort."""
_CPU_MFU = (0.4, 0.74)
"""What the embedded engine reaches of a core's matrix products, from the smallest proxies to 4 million parameters."""
MICRO = (1, 2, 4, 8, 16, 32, 64)


@dataclass(frozen=True)
class Layout:
    """One way to run the model on all GPUs, with what it costs."""

    tensor: int
    pipe: int
    """`pipe_parallel_size` as written: 0 or at least 2."""
    data: int
    zero: int
    micro: int
    accumulation: int
    recompute: bool
    train_batch_size: int
    """Sequences a step: micro x accumulation x data."""
    memory: dict[str, float]
    """Bytes on the fullest GPU, by part."""
    memory_bytes: float
    mfu: tuple[float, float]
    tokens_per_s: tuple[float, float]
    """All GPUs together: low, high."""
    fits: bool
    tight: bool

    @property
    def name(self) -> str:
        """Short name, e.g. `TP2 PP0 DP4 ZeRO1 micro 4 recompute`."""
        words = [f"TP{self.tensor}", f"PP{self.pipe}", f"DP{self.data}", f"ZeRO{self.zero}", f"micro {self.micro}"]
        return " ".join([*words, "recompute"] if self.recompute else words)


def splits(shape: Shape, gpus: int, cluster: Cluster, stack: Stack | None = None) -> Iterator[Split]:
    """Every split of the model over `gpus` that the stack runs (default: GPT-NeoX). FSDP shards everything over all GPUs."""
    if cluster.kind == "cpu":
        yield Split(1, 0, gpus, 0, False)
        return
    if stack is not None and not stack.neox:
        yield Split(1, 0, gpus, 3, False)
        yield Split(1, 0, gpus, 3, True)
        return
    per_node = min(gpus, cluster.gpus_per_node)
    for tensor in (1, 2, 4, 8):
        cut = (per_node, shape.heads, shape.kv_heads or shape.heads, shape.hidden, shape.inner)
        if tensor > per_node or any(number % tensor for number in cut):
            continue
        for pipe in (0, 2, 4, 8, 16):
            stages = max(1, pipe)
            if gpus % (tensor * stages) or shape.layers % stages:
                continue
            data = gpus // (tensor * stages)
            for zero in (1, 2):
                if zero == 2 and (pipe or tensor > 1 or data == 1):
                    continue
                for recompute in (False, True):
                    yield Split(tensor, pipe, data, zero, recompute)


def layout(
    shape: Shape, split: Split, micro: int, sequences: int, cluster: Cluster, stack: Stack | None = None
) -> Layout:
    """The cost of one split at one micro batch, for a global batch of about `sequences`.

    Args:
        stack: the software; GPT-NeoX, with flash attention if the shape says so, when None.
    """
    stack = stack or plan_stacks.of_attention("flash" if shape.flash else "global")
    accumulation = max(1, round(sequences / (split.data * micro)))
    parts = plan_memory.memory(shape, split, micro, accumulation)
    need = plan_memory.total(parts)
    if cluster.kind == "gpu":
        share = plan_speed.mfu(
            shape, split, micro, accumulation, cluster.gpus_per_node, cluster.peak_tflops * 1e12, stack
        )
        share = (share[0] * cluster.efficiency, share[1] * cluster.efficiency)
    else:
        share = _CPU_MFU
    gpus = split.data * split.tensor * split.stages
    speed = [gpus * part * cluster.peak_tflops * 1e12 / shape.flops_per_token for part in share]
    return Layout(
        tensor=split.tensor,
        pipe=split.pipe,
        data=split.data,
        zero=split.zero,
        micro=micro,
        accumulation=accumulation,
        recompute=split.recompute,
        train_batch_size=micro * accumulation * split.data,
        memory=parts,
        memory_bytes=need,
        mfu=share,
        tokens_per_s=(speed[0], speed[1]),
        fits=need <= cluster.memory_gb * 1e9,
        tight=need > TIGHT * cluster.memory_gb * 1e9,
    )


def candidates(shape: Shape, gpus: int, cluster: Cluster, sequences: int, stack: Stack | None = None) -> list[Layout]:
    """One layout a split: its largest comfortable micro batch, else its largest that fits, else micro batch 1.

    A micro batch whose batch arithmetic would move the global batch by more than a quarter is passed over.
    """
    chosen = []
    for split in splits(shape, gpus, cluster, stack):
        tried = [
            one
            for micro in MICRO
            if abs((one := layout(shape, split, micro, sequences, cluster, stack)).train_batch_size - sequences)
            <= 0.25 * sequences
        ] or [layout(shape, split, 1, sequences, cluster, stack)]
        easy = [one for one in tried if one.fits and not one.tight]
        able = [one for one in tried if one.fits]
        chosen.append((easy or able or tried[:1])[-1])
    return chosen


def score(one: Layout) -> float:
    """What layouts are ranked by: expected speed, less what a team pays for otherwise.

    A pipeline costs two fifths (GPT-NeoX cannot evaluate while training with it), a tight fit 30 %, ZeRO 2 12 % (it
    reduces gradients at every micro batch), tensor parallelism 5 % (a checkpoint in parts, all-reduces in each layer).
    """
    speed = (one.tokens_per_s[0] * one.tokens_per_s[1]) ** 0.5 * (1 - 0.1 / (1 + one.micro))
    speed *= (0.6 if one.pipe else 1.0) * (0.7 if one.tight else 1.0)
    return speed * (0.88 if one.zero == 2 else 1.0) * (0.95 if one.tensor > 1 else 1.0)


def ranked(layouts: list[Layout]) -> list[Layout]:
    """Those that fit, best first."""
    return sorted((one for one in layouts if one.fits), key=score, reverse=True)


def nearest_miss(layouts: list[Layout]) -> Layout:
    """The one that comes closest to fitting."""
    return min(layouts, key=lambda one: one.memory_bytes)
