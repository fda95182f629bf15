"""Adam with GPT-NeoX's weight-decay groups, and GPT-NeoX's learning-rate schedule.

GPT-NeoX's `"type": "Adam"` is apex's FusedAdam in its default mode: decoupled weight decay, that is AdamW. Biases and
layer norms are not decayed; embeddings are. With weight_decay 0 there is a single group.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from launch.engine.settings import Settings

if TYPE_CHECKING:
    import torch


def groups(model: torch.nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Parameter groups: what is decayed first, then layer norms and biases; a tied matrix stands once."""

    decayed: list[torch.nn.Parameter] = []
    plain: list[torch.nn.Parameter] = []
    seen: set[int] = set()
    for module in model.modules():
        for name, weight in module.named_parameters(recurse=False):
            if id(weight) in seen:
                continue
            seen.add(id(weight))
            free = weight.dim() == 1 or name == "bias" or weight_decay == 0.0
            (plain if free else decayed).append(weight)
    made: list[dict[str, object]] = [{"params": decayed, "weight_decay": weight_decay}] if decayed else []
    return [*made, {"params": plain, "weight_decay": 0.0}]


def build(model: torch.nn.Module, settings: Settings) -> torch.optim.AdamW:
    """The optimizer; its learning rate is set anew for each step by the loop."""
    import torch

    return torch.optim.AdamW(
        groups(model, settings.weight_decay), lr=settings.lr, betas=settings.betas, eps=settings.eps, fused=True
    )


def learning_rate(step: int, settings: Settings) -> float:
    """The rate of step `step` (0 for the first), as GPT-NeoX's AnnealingLR gives it.

    Warm-up is linear up to step warmup * lr_decay_iters (not rounded), where steps 0 and 1 share a rate. A warm-up
    shorter than one step makes the first rates larger than `lr` by 1 / (that number), as it does there.
    """
    warm = settings.warmup * settings.lr_decay_iters
    if warm > 0 and step <= warm:
        return settings.lr * max(1, step) / warm
    done, whole = step - warm, settings.lr_decay_iters - warm
    if settings.lr_decay_style == "linear":
        rate = settings.lr * (whole - done) / whole if whole else settings.min_lr
    elif settings.lr_decay_style == "cosine":
        turn = math.pi * done / whole if whole else math.pi
        rate = settings.min_lr + (settings.lr - settings.min_lr) / 2.0 * (math.cos(turn) + 1)
    elif settings.lr_decay_style == "exponential":
        rate = settings.lr * math.exp(-0.693 * done / whole) if whole else settings.min_lr
    else:
        rate = settings.lr
    return max(rate, settings.min_lr)
