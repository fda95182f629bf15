"""Matrix products in float32 by the faster library.

torch computes them with MKL, which has its best kernels for Intel's processors; oneDNN, which comes with the same torch, is
up to twice as fast on an AMD EPYC, from some 16 rows on. torch reaches it in float32 through one
operator of its own compiler; where that is missing, MKL does the work. A machine always takes the same one: same seed, same
bytes.
"""

from __future__ import annotations

import functools
import platform
from collections.abc import Callable

import torch

LARGEST = 32_000_000
"""Bytes of a result beyond which the C library takes new pages for every product: half the speed."""


def product(left: torch.Tensor, right: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """`left @ right`, plus `bias` in every row.

    Args:
        left: [rows, inner]; best contiguous.
        right: [inner, columns], in any order.
        bias: [columns].
    """
    if left.device.type == "cpu" and left.dtype == torch.float32 and (operator := _onednn()) is not None:
        done: torch.Tensor = operator(left, right.t(), bias, "none", [], "")
        return done
    return torch.mm(left, right) if bias is None else torch.addmm(bias, left, right)


@functools.cache
def _onednn() -> Callable[..., torch.Tensor] | None:
    """The operator, if this torch has one that computes a product."""
    if platform.machine() not in ("x86_64", "AMD64") or not torch.backends.mkldnn.is_available():
        return None
    left, right, bias = torch.arange(6.0).view(2, 3), torch.arange(12.0).view(3, 4), torch.arange(4.0)
    try:
        operator: Callable[..., torch.Tensor] = torch.ops.mkldnn._linear_pointwise
        done = operator(left, right.t(), bias, "none", [], "")
    except (AttributeError, RuntimeError, TypeError):
        return None
    return operator if torch.equal(done, left @ right + bias) else None
