"""Output layer and cross entropy in one pass, a few hundred tokens at a time.

The stock loss writes logits of [tokens, vocabulary] to memory, reads them for the softmax and writes a gradient of the
same size; at small model sizes that is most of a step. Here each chunk's logits live in one reused buffer, are turned
into their own gradient in place, and feed both weight gradients before the next chunk overwrites them: memory is
O(chunk x vocabulary), and the time of a step falls 1.5-3 times on a CPU (`benchmarks/engine_speed.py`).

Hidden states in bfloat16 (CUDA) meet weights in bfloat16; softmax, losses and the weights' gradient are in float32.
"""

from __future__ import annotations

from typing import Any

import torch

from haigo.formats.dataset.ids import MASKED

CHUNK = 256
CUDA_CHUNK = 4096


class _FusedCrossEntropy(torch.autograd.Function):
    """Mean cross entropy of softmax(hidden @ weight.T); gradients are computed in the forward pass."""

    @staticmethod
    def forward(ctx: Any, hidden: torch.Tensor, weight: torch.Tensor, labels: torch.Tensor, chunk: int) -> torch.Tensor:
        # hidden states in a shorter format than the weights: products in that format, everything else in the weights' own
        same, short = hidden.dtype == weight.dtype, weight.to(hidden.dtype)
        rows = hidden.shape[0]
        kept = labels != MASKED
        count = kept.sum().clamp(min=1)
        targets = labels.clamp(min=0)
        total = torch.zeros((), dtype=torch.float64, device=hidden.device)
        d_hidden, d_weight = torch.empty_like(hidden), torch.zeros_like(weight)
        buffer = hidden.new_empty(min(chunk, rows), weight.shape[0])
        for start in range(0, rows, chunk):
            end = min(start + chunk, rows)
            part = hidden[start:end]
            target = targets[start:end, None]
            logits = torch.mm(part, short.t(), out=buffer[: end - start]).to(weight.dtype)
            # logits -> softmax in place, with the shift by the maximum that keeps exp finite
            logits.sub_(logits.amax(dim=1, keepdim=True))
            right = logits.gather(1, target)
            sums = logits.exp_().sum(dim=1, keepdim=True)
            mask = kept[start:end, None]
            total += ((sums.log() - right) * mask).sum(dtype=torch.float64)
            # softmax -> gradient: (softmax - onehot) / count, 0 where the label is ignored
            scale = mask / count
            logits.mul_(scale / sums)
            logits.scatter_add_(1, target, -scale)
            gradient = logits.to(hidden.dtype)
            torch.mm(gradient, short, out=d_hidden[start:end])
            if not same:
                d_weight += torch.mm(gradient.t(), part)
            elif start:
                d_weight.addmm_(gradient.t(), part)
            else:
                torch.mm(gradient.t(), part, out=d_weight)
            del logits, gradient  # or the next chunk's would be beside them
        ctx.save_for_backward(d_hidden, d_weight)
        return (total / count).to(weight.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None, None]:
        d_hidden, d_weight = ctx.saved_tensors
        (grad,) = grads
        # one micro batch a step: no pass over the weights just to multiply by 1. On CUDA to ask costs more than the pass: the
        # host would wait for the whole forward pass before it queues the backward one
        if not grad.is_cuda and grad.item() == 1.0:
            return d_hidden, d_weight, None, None
        return d_hidden * grad, d_weight * grad, None, None


def fused_cross_entropy(
    hidden: torch.Tensor, weight: torch.Tensor, labels: torch.Tensor, chunk: int | None = None
) -> torch.Tensor:
    """Mean cross entropy in nats over the labels that are not MASKED.

    Args:
        hidden: [tokens, hidden], float32 (or bfloat16, beside weights in float32).
        weight: [vocabulary, hidden], the output layer.
        labels: int64 [tokens]; MASKED is left out.
        chunk: tokens whose logits are in memory at a time; 256 on a CPU and 4,096 on CUDA when None.
    """
    chunk = chunk or (CUDA_CHUNK if hidden.is_cuda else CHUNK)
    loss: torch.Tensor = _FusedCrossEntropy.apply(hidden, weight, labels, chunk)
    return loss


@torch.no_grad()
def token_nats(hidden: torch.Tensor, weight: torch.Tensor, labels: torch.Tensor, chunk: int = CHUNK) -> torch.Tensor:
    """Cross entropy of every token in nats, [tokens] float32; 0 where the label is MASKED. Shapes as above."""
    hidden = hidden.to(weight.dtype)  # scores are compared between runs: always in the weights' own format
    rows = hidden.shape[0]
    out = hidden.new_zeros(rows)
    buffer = hidden.new_empty(min(chunk, rows), weight.shape[0])
    transposed = weight.t()
    for start in range(0, rows, chunk):
        end = min(start + chunk, rows)
        logits = buffer[: end - start]
        torch.mm(hidden[start:end], transposed, out=logits)
        logits.sub_(logits.amax(dim=1, keepdim=True))
        right = logits.gather(1, labels[start:end, None].clamp(min=0))[:, 0]
        out[start:end] = logits.exp_().sum(dim=1).log_().sub_(right)
    return out.mul_(labels != MASKED)
