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
from haigo.matmul import LARGEST, product

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
        # on CUDA to ask whether it is 1 costs more than the pass: the host would wait for the whole forward pass
        return d_hidden * grad, d_weight * grad, None, None


class _CpuCrossEntropy(torch.autograd.Function):
    """The same on a CPU in float32: one pass for the softmax, and the faster products (`haigo.matmul`)."""

    @staticmethod
    def forward(ctx: Any, hidden: torch.Tensor, weight: torch.Tensor, labels: torch.Tensor, chunk: int) -> torch.Tensor:
        rows = hidden.shape[0]
        kept = (labels != MASKED)[:, None]
        scale = kept / kept.sum().clamp(min=1)
        targets = labels.clamp(min=0)[:, None]
        chances, d_hidden = hidden.new_empty(rows, 1), torch.empty_like(hidden)
        # what the gradient of the weights is made of lies on its side: products are faster that way round
        sideways = torch.mul(hidden, scale).t()
        d_weight: torch.Tensor | None = None
        for start in range(0, rows, chunk):
            end = min(start + chunk, rows)
            target = targets[start:end]
            # logits -> softmax -> gradient, softmax - onehot, in place; where and how much it counts comes with the rows
            scores = product(hidden[start:end], weight.t())
            torch.softmax(scores, 1, out=scores)
            chances[start:end] = scores.gather(1, target)
            scores.scatter_add_(1, target, scores.new_full((1, 1), -1.0).expand_as(target))
            d_hidden[start:end] = product(scores, weight)
            more = product(sideways[:, start:end].contiguous(), scores)
            d_weight = more if d_weight is None else d_weight.add_(more)
        losses = chances.log_().neg_()
        if (lost := torch.isinf(losses)[:, 0]).any():  # the chance was too small for a float, the loss is not
            logits = torch.mm(hidden[lost], weight.t())
            losses[lost] = logits.logsumexp(1, keepdim=True) - logits.gather(1, targets[lost])
        assert d_weight is not None
        ctx.save_for_backward(d_hidden.mul_(scale), d_weight.t())
        return (losses * scale).sum(dtype=torch.float64).to(weight.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None, None]:
        d_hidden, d_weight = ctx.saved_tensors
        (grad,) = grads
        if grad.item() == 1.0:
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
    how = _FusedCrossEntropy if hidden.is_cuda or hidden.dtype != weight.dtype else _CpuCrossEntropy
    chunk = chunk or (CUDA_CHUNK if hidden.is_cuda else _rows(weight))
    loss: torch.Tensor = how.apply(hidden, weight, labels, chunk)
    return loss


@torch.no_grad()
def token_nats(
    hidden: torch.Tensor, weight: torch.Tensor, labels: torch.Tensor, chunk: int | None = None
) -> torch.Tensor:
    """Cross entropy of every token in nats, [tokens] float32; 0 where the label is MASKED. Shapes as above."""
    hidden = hidden.to(weight.dtype)  # scores are compared between runs: always in the weights' own format
    rows, chunk = hidden.shape[0], chunk or _rows(weight)
    out = hidden.new_zeros(rows)
    for start in range(0, rows, chunk):
        end = min(start + chunk, rows)
        logits = product(hidden[start:end], weight.t())
        torch.log_softmax(logits, 1, out=logits)  # half the time of maximum, exponential and sum one after the other
        out[start:end] = logits.gather(1, labels[start:end, None].clamp(min=0))[:, 0].neg_()
    return out.mul_(labels != MASKED)


def _rows(weight: torch.Tensor) -> int:
    """Tokens at a time on a CPU."""
    return max(1, min(CHUNK, LARGEST // (4 * weight.shape[0])))
