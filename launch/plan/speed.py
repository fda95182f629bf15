"""How many tokens a second a layout can reach: a roofline with four constants, and what share of it a stack was seen to reach.

Time a token on one GPU is the sum of the matrix products, the attention and the traffic of weights:

* products: 6 operations a parameter of a layer's matrices (12 h^2 of a GPT; 8 with recomputation) and 6 V h for the words, at
  0.847 / (1 + 881 / h) of the peak: narrow models leave a card's units idle;
* attention: 12 L h s operations (16 with recomputation), not halved for causality, at 0.54 of the peak; without a flash kernel
  its s x s matrices also travel through memory ten times;
* weights: 54 ps a parameter for every exchange, spread over the tokens between two exchanges (a micro batch under ZeRO 2 and 3,
  a step otherwise), 0.3 of it inside a node. The GPUs that share a copy wait for it together: splitting layers over them saves
  nothing of it between nodes, whose network they share.

The constants are a robust fit to llm-foundry's 78 published rows on A100-40GB (FSDP, flash attention; median error 2.0 %, 90 %
of the rows within 9.6 %). On its 61 rows on A100-80GB, which the fit did not see, the median error is 5.2 %, most of it a level
of 4 % that the cluster's `efficiency` carries. Operations are counted as in 6N + 12 L h s.
"""

from __future__ import annotations

from launch.plan.memory import Shape, Split, bubble
from launch.plan.stacks import Stack

_PRODUCTS, _NARROW, _ATTENTION = 0.847, 881.0, 0.54
_EXCHANGE_S, _INSIDE = 54e-12, 0.3
_PASSES_BYTES = 20.0
"""Bytes an entry of the attention matrix moves without a flash kernel: about ten passes of two bytes."""
_BYTES_PER_FLOP = 0.005
"""Memory bandwidth over peak: 1.56 TB/s and 312 TFLOP/s on an A100-40GB."""
_TENSOR_COST = {1: 1.0, 2: 0.93, 4: 0.8, 8: 0.65}
"""Share left by the all-reduces of tensor parallelism: Pythia's 2.8B (1), 6.9B (2) and 12B (4), beside one another."""


def roofline(shape: Shape, split: Split, micro: int, accumulation: int, gpus_per_node: int, peak_flops: float) -> float:
    """Tokens a second of one GPU, at the most.

    Args:
        micro: sequences a micro batch.
        accumulation: micro batches a step.
        gpus_per_node: below this number of GPUs exchanges stay inside a node.
        peak_flops: of one GPU, operations a second.
    """
    again = 4 / 3 if split.recompute else 1.0
    layers, hidden, length = shape.layers, shape.hidden, shape.seq_length
    products = 6.0 * (layers * shape.matrices * again + shape.vocab * hidden)
    seconds = products / (peak_flops * _PRODUCTS / (1 + _NARROW / hidden))
    seconds += 12.0 * layers * hidden * length * again / (peak_flops * _ATTENTION)
    if not shape.flash:
        seconds += _PASSES_BYTES * layers * shape.heads * length * again / (peak_flops * _BYTES_PER_FLOP)
    if split.data > 1:
        gpus = split.data * split.tensor * split.stages
        # a copy's GPUs wait together. Each moves its own part inside a node; across nodes they share the node's network, so
        # that splitting a layer over them saves nothing there
        near = _INSIDE if gpus <= gpus_per_node else float(split.tensor)
        tokens = micro * length * (accumulation if split.zero <= 1 else 1)
        seconds += _EXCHANGE_S * near * shape.parameters / tokens
    return _TENSOR_COST.get(split.tensor, 0.5) * (1.0 - bubble(split, accumulation)) / seconds


def mfu(
    shape: Shape,
    split: Split,
    micro: int,
    accumulation: int,
    gpus_per_node: int,
    peak_flops: float,
    stack: Stack,
) -> tuple[float, float]:
    """Lowest and highest share of the peak to expect of a stack, as an interval and not a promise."""
    most = roofline(shape, split, micro, accumulation, gpus_per_node, peak_flops) * shape.flops_per_token / peak_flops
    return stack.low * most, stack.high * most
