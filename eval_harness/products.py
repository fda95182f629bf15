"""Linear layers of a loaded model on a CPU by the faster library (`haigo.matmul`): half the time of most of a forward pass.

What they compute is the same up to rounding (1e-6 of a sum in float32). Everything else stays transformers' own: layers that
are made otherwise (quantised, spread by accelerate's hooks), other precisions, other devices, gradients.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional
from transformers.pytorch_utils import Conv1D

from haigo.matmul import product

_FEW = 16
"""Rows below which a call of oneDNN costs more than it saves: one token of an answer."""


class _Linear(torch.nn.Linear):
    def forward(self, input: torch.Tensor) -> torch.Tensor:
        if not _worth(input, self.weight):
            return functional.linear(input, self.weight, self.bias)
        return product(input.flatten(0, -2), self.weight.t(), self.bias).unflatten(0, input.shape[:-1])


class _Conv1D(Conv1D):
    """GPT-2's linear layer: its weight lies [inputs, outputs]."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not _worth(x, self.weight):
            return super().forward(x)
        return product(x.flatten(0, -2), self.weight, self.bias).unflatten(0, x.shape[:-1])


_FASTER: dict[type, Any] = {torch.nn.Linear: _Linear, Conv1D: _Conv1D}


def by_the_faster_library(model: torch.nn.Module) -> None:
    """Let every plain linear layer of a model compute by `haigo.matmul.product` where that is worth it."""
    for layer in model.modules():
        if type(layer) in _FASTER:
            layer.__class__ = _FASTER[type(layer)]


def _worth(x: torch.Tensor, weight: torch.Tensor) -> bool:
    return (
        x.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and x.dim() > 1
        and x.numel() >= _FEW * x.shape[-1]
        and not (torch.is_grad_enabled() or torch.is_autocast_enabled("cpu"))
    )
