"""How many tokens a second a layout can reach: a roofline with four constants, and what share of it a stack was seen to reach.

Time a token on one GPU is the sum of the matrix products, the attention and the traffic of weights:

* products: 6 operations a parameter of a layer's matrices (12 h^2 of a GPT; 8 with recomputation) and 6 V h for the words, at
  0.847 / (1 + 881 / h) of the peak: narrow models leave a card's units idle;
* attention: 12 L h s operations (16 with recomputation), not halved for causality, at 0.54 of the peak; without a flash kernel
  its s x s matrices also travel through memory ten times;
* weights: 54 ps a parameter for every exchange, spread over the tokens between two exchanges (a micro batch under ZeRO 2 and 3,
  a step otherwise), 0.3 of it inside a node. The GPUs that share a copy wait for it together: splitting layers over them saves
  nothing of it between nodes, whose network they share.

The constants of GPT-NeoX are a robust fit to llm-foundry's 78 published rows on A100-40GB (FSDP, flash attention; median
error 2.5 % there, 3.7 % on its 61 rows on A100-80GB, which the fit did not see), and meet what Pythia took; GPT-NeoX has
published no table of its own. Those of FSDP are a robust fit to both tables with a sixth one, what a recomputed layer costs
(1.24 instead of 4/3): median errors of 2.1 %. Fitted to one table alone they err by 3.5 % on the other (80 GB) and 4.9 %
(40 GB; 2.8 % beside a level).
Operations are counted as in 6N + 12 L h s.
"""

from __future__ import annotations

from dataclasses import dataclass

from launch.plan.memory import Shape, Split, bubble
from launch.plan.stacks import Stack


@dataclass(frozen=True)
class Constants:
    """What the roofline knows of a stack."""

    products: float
    """Share of the peak that matrix products of endless width reach."""
    narrow: float
    """Width at which they reach half of that."""
    attention: float
    """Share of the peak that attention reaches."""
    exchange_s: float
    """Seconds a parameter for an exchange of the weights between nodes."""
    inside: float
    """The same inside a node, as a share of it."""
    recomputed: float
    """Operations of a recomputed layer as a multiple of its own."""


NEOX = Constants(0.847, 881.0, 0.54, 54e-12, 0.3, 4 / 3)
FSDP = Constants(0.80, 730.0, 0.52, 43e-12, 0.48, 1.24)
_PASSES_BYTES = 20.0
"""Bytes an entry of the attention matrix moves without a flash kernel: about ten passes of two bytes."""
_BYTES_PER_FLOP = 0.005
"""Memory bandwidth over peak: 1.56 TB/s and 312 TFLOP/s on an A100-40GB."""
_TENSOR_COST = {1: 1.0, 2: 0.93, 4: 0.8, 8: 0.65}
"""Share left by the all-reduces of tensor parallelism: Pythia's 2.8B (1), 6.9B (2) and 12B (4), beside one another."""


def roofline(
    shape: Shape,
    split: Split,
    micro: int,
    accumulation: int,
    gpus_per_node: int,
    peak_flops: float,
    known: Constants = NEOX,
) -> float:
    """Tokens a second of one GPU, at the most.

    Args:
        micro: sequences a micro batch.
        accumulation: micro batches a step.
        gpus_per_node: below this number of GPUs exchanges stay inside a node.
        peak_flops: of one GPU, operations a second.
        known: of the stack.
    """
    again = known.recomputed if split.recompute else 1.0
    layers, hidden, length = shape.layers, shape.hidden, shape.seq_length
    products = 6.0 * (layers * shape.matrices * again + shape.vocab * hidden)
    seconds = products / (peak_flops * known.products / (1 + known.narrow / hidden))
    seconds += 12.0 * layers * hidden * length * again / (peak_flops * known.attention)
    if not shape.flash:
        seconds += _PASSES_BYTES * layers * shape.heads * length * again / (peak_flops * _BYTES_PER_FLOP)
    if split.data > 1:
        gpus = split.data * split.tensor * split.stages
        # a copy's GPUs wait together. Each moves its own part inside a node; across nodes they share the node's network, so
        # that splitting a layer over them saves nothing there
        near = known.inside if gpus <= gpus_per_node else float(split.tensor)
        tokens = micro * length * (accumulation if split.zero <= 1 else 1)
        seconds += known.exchange_s * near * shape.parameters / tokens
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
    known = NEOX if stack.neox else FSDP
    most = (
        roofline(shape, split, micro, accumulation, gpus_per_node, peak_flops, known)
        * shape.flops_per_token
        / peak_flops
    )
    return stack.low * most, stack.high * most
