"""What a layout costs: memory by part and tokens a second. Pure arithmetic, no files.

Memory is for GPT-NeoX on DeepSpeed as its source allocates it, in bf16 with fp32 gradient accumulation:

* weights 2 bytes a parameter, and for ZeRO 0 and 1 the bf16 gradients (2) beside the fp32 ones (4): DeepSpeed's bf16
  optimizer keeps both. Adam's master copy and moments are 12, shared by the data-parallel copies from ZeRO 1 on; ZeRO 2
  shares the fp32 gradients too.
* activations of a layer s b h (8 + 24/t) bytes without dropout (Korthikanti et al. 2022, less the dropout masks), plus
  5 a s/(h t) when attention is not a flash kernel; with recomputation 2 s b h a layer and one live layer. A gated MLP of i
  columns keeps 10 s b i/t instead of 16 s b h/t (both halves, the gate's sigmoid and swish, their product), an RMS norm 8 s b h
  instead of 2 (its input and result in fp32) unless it is fused, and flash attention only as many keys and values as there are
  heads for: what GPT-NeoX's own layers were seen to save for the backward pass at commit ea7aefd.
* logits s b V 8/t bytes: at 50k words a sequence costs as much as a layer does.
* 1 GB for CUDA, NCCL and fragmentation. GPT-NeoX publishes no table of what fits.

For FSDP (ZeRO 3) in mixed precision, 16 bytes a parameter shared by all GPUs, three layers' weights and gradients whole,
26 s b h a layer, 9 bytes a logit, and 0.5 GB for CUDA with 2.4 % of all that for NCCL and fragmentation, which grow with what
is in use (1.5 GB on a full card of 40 GB): all of llm-foundry's 78 published rows on A100-40GB fit and 77 of the doubled micro
batches do not; of its 61 on A100-80GB all fit and 56 do not when doubled (133 of 139). The other five were published below
the largest: 30B with 4,096 tokens doubled is 30B with 8,192, which is another row of the table.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from neox_configs import derive, reader

FIXED_BYTES = 1e9
BUCKET_ELEMENTS = 250_000_000
"""`reduce_bucket_size` as written by launch.configs; ZeRO 2 holds two such bf16 buffers when it overlaps."""
_CONTEXT_BYTES, _FRAGMENTED = 0.5e9, 0.024
_SHARDED_LAYERS = 3
"""Layers whose weights and gradients FSDP holds whole at a time."""


@dataclass(frozen=True)
class Shape:
    """The numbers of a model that cost something."""

    layers: int
    hidden: int
    heads: int
    seq_length: int
    vocab: int
    """Padded vocabulary."""
    layer_parameters: int
    parameters: int
    tied: bool
    flash: bool
    """Attention by a flash kernel (no s x s matrix in memory)."""
    bytes_per_value: int
    """2 for bf16 and fp16, 4 for fp32."""
    kv_heads: int = 0
    """Key and value heads, where they are fewer than `heads`."""
    inner: int = 0
    """Columns of the MLP's second matrix; 0: four times the hidden size."""
    gated: bool = False
    """The MLP's first matrix has twice as many rows: value and gate."""
    rms: bool = False
    """RMS norms that are not fused."""

    @property
    def keys_share(self) -> float:
        """Key and value heads over query heads."""
        return (self.kv_heads or self.heads) / self.heads

    @property
    def width(self) -> float:
        """Columns of the MLP's second matrix, in hidden sizes."""
        return (self.inner or 4 * self.hidden) / self.hidden

    @property
    def matrices(self) -> int:
        """Parameters of a layer's matrices; 12 h^2 for a plain GPT."""
        attention = 2 * self.hidden**2 + 2 * self.hidden * (self.hidden // self.heads) * (self.kv_heads or self.heads)
        return attention + (3 if self.gated else 2) * self.hidden * (self.inner or 4 * self.hidden)

    def kept(self, tensor: int) -> float:
        """Bytes of activations that a layer keeps on a GPU, attention's s x s matrices left out, in units of s b h."""
        width = self.bytes_per_value / 2
        attention = 4.0 + 4.0 * (self.keys_share if self.flash else 1.0)
        mlp = (10.0 if self.gated else 4.0) * self.width
        return width * (4.0 + (attention + mlp) / tensor) + (16.0 if self.rms else 4.0 * width)

    @property
    def flops_per_token(self) -> float:
        """Model FLOPs of forward and backward: 6N + 12 L h s, without counting recomputation."""
        return 6.0 * self.parameters + 12.0 * self.layers * self.hidden * self.seq_length


def shape_of(config: Mapping[str, Any], vocab: int, flash: bool, bytes_per_value: int = 2) -> Shape:
    """The numbers of a model from its GPT-NeoX keys.

    Args:
        vocab: the padded vocabulary.

    Raises:
        HaigoError: an architecture that is not planned.
    """
    layer, count = derive.parameters(config, vocab)
    sizes = derive.mlp(config)
    return Shape(
        layers=config["num_layers"],
        hidden=config["hidden_size"],
        heads=config["num_attention_heads"],
        seq_length=config["seq_length"],
        vocab=vocab,
        layer_parameters=layer,
        parameters=count,
        tied=not reader.value(config, "no_weight_tying"),
        flash=flash,
        bytes_per_value=bytes_per_value,
        kv_heads=derive.kv_heads(config),
        inner=sizes.inner,
        gated=sizes.gated,
        rms=reader.value(config, "norm") == "rmsnorm" and not reader.value(config, "rmsnorm_fusion"),
    )


@dataclass(frozen=True)
class Split:
    """How a model is laid over GPUs."""

    tensor: int
    pipe: int
    """`pipe_parallel_size`: 0 means no pipeline engine at all."""
    data: int
    """Copies of the model."""
    zero: int
    recompute: bool
    """Full activation checkpointing, every layer."""

    @property
    def stages(self) -> int:
        return max(1, self.pipe)


def memory(shape: Shape, split: Split, micro: int, accumulation: int) -> dict[str, float]:
    """Bytes by part on the fullest GPU.

    The fullest is the first pipeline stage (most micro batches in flight) or the last (the logits); without a pipeline
    they are one.
    """
    if split.zero == 3:
        return _sharded(shape, split, micro)
    tables = shape.vocab * shape.hidden
    ends = [("first", tables), ("last", 0 if shape.tied and split.stages == 1 else tables)]
    if split.stages == 1:
        one = _stage(shape, split, micro, 1, sum(count for _, count in ends), logits=True)
        return one
    flight = min(split.stages, accumulation)
    first = _stage(shape, split, micro, flight, tables, logits=False)
    last = _stage(shape, split, micro, 1, tables, logits=True)
    return max((first, last), key=total)


def total(parts: dict[str, float]) -> float:
    """Sum of the parts, in bytes."""
    return sum(parts.values())


def _stage(shape: Shape, split: Split, micro: int, flight: int, tables: int, logits: bool) -> dict[str, float]:
    layers = shape.layers // split.stages
    count = (layers * shape.layer_parameters + tables + 2 * shape.hidden) / split.tensor
    half = shape.bytes_per_value == 2
    width = shape.bytes_per_value / 2
    shared = split.data if split.zero >= 1 else 1
    if not half:
        weights, gradients, optimizer = 4 * count, 4 * count, 8 * count / shared
    elif split.zero >= 2:
        weights, gradients, optimizer = 2 * count, 4 * count / split.data, 12 * count / shared
    else:
        weights, gradients, optimizer = 2 * count, 6 * count, 12 * count / shared
    unit = shape.seq_length * micro * shape.hidden
    scores = 0.0 if shape.flash else 5.0 * shape.heads * shape.seq_length / (shape.hidden * split.tensor)
    layer = unit * (shape.kept(split.tensor) + width * scores)
    kept = 2 * unit * width / split.tensor if split.recompute else layer
    activations = kept * layers * flight + (layer if split.recompute else 0.0)
    head = shape.seq_length * micro * shape.vocab * 8 * width / split.tensor if logits else 0.0
    buckets = 2 * 2.0 * BUCKET_ELEMENTS if split.zero >= 2 else 0.0
    return {
        "weights": weights,
        "gradients": gradients,
        "optimizer": optimizer,
        "activations": activations,
        "logits": head,
        "buckets": buckets,
        "fixed": FIXED_BYTES if half else 0.5e9,
    }


def _sharded(shape: Shape, split: Split, micro: int) -> dict[str, float]:
    unit = shape.seq_length * micro * shape.hidden
    scores = 0.0 if shape.flash else 5.0 * shape.heads * shape.seq_length / shape.hidden
    layer = unit * (26.0 / 32.0 * dataclasses.replace(shape, rms=False).kept(1) + scores)
    kept = 2.0 * unit if split.recompute else layer
    whole = 2.0 * 2.0 * min(_SHARDED_LAYERS, shape.layers) * shape.layer_parameters
    parts = {
        "weights": 4.0 * shape.parameters / split.data + whole,
        "gradients": 4.0 * shape.parameters / split.data,
        "optimizer": 8.0 * shape.parameters / split.data,
        "activations": kept * shape.layers + (layer if split.recompute else 0.0),
        "logits": 9.0 * shape.seq_length * micro * shape.vocab,
        "buckets": 0.0,
    }
    return {**parts, "fixed": _CONTEXT_BYTES + _FRAGMENTED * total(parts)}


def bubble(split: Split, accumulation: int) -> float:
    """Share of the time that a pipeline stage waits: (p-1)/(m+p-1)."""
    return (split.stages - 1) / (accumulation + split.stages - 1)
