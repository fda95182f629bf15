"""GPT-NeoX's layers on a CPU, for samples of up to a few hundred tokens: what transformers' model computes, up to rounding.

A quarter of a step of a small model is neither matrix product nor softmax. Here a linear layer adds its bias while it
multiplies (`haigo.matmul`); queries and keys of all heads are turned by one product of complex numbers, for which their
rows are taken out of the weights in pairs; and attention keeps its probabilities for the way back, block by block of queries,
without what lies in the future. Everything else (CUDA, Llama, long samples) runs transformers' own layers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

from haigo.matmul import product

if TYPE_CHECKING:
    from transformers import PreTrainedModel

LONGEST = 512
"""Tokens of a sample: the probabilities that are kept grow with the square."""
_BLOCK = 64
"""Queries at a time."""
_SCORES = 4096
"""Heads times tokens at a time: with `_BLOCK` queries 1 MB, which stays in a core's own cache."""


def takes(model: PreTrainedModel, tokens: torch.Tensor) -> bool:
    """Whether `hidden_states` can do the work for int64 tokens [batch, length]."""
    config: Any = model.config
    body: Any = model.base_model
    return bool(
        config.model_type == "gpt_neox"
        and tokens.device.type == "cpu"
        and tokens.shape[1] <= LONGEST
        and body.embed_in.weight.dtype == torch.float32
        and not torch.is_autocast_enabled("cpu")
        and (config.hidden_size // config.num_attention_heads) % 2 == 0
        and body.layers[0].attention.rotary_ndims % 2 == 0
        and not (model.training and (config.hidden_dropout or config.attention_dropout))
    )


def hidden_states(model: PreTrainedModel, tokens: torch.Tensor) -> torch.Tensor:
    """Final hidden states [batch * length, hidden] for int64 tokens [batch, length] that `takes` says yes to."""
    body: Any = model.base_model
    x = functional.embedding(tokens.reshape(-1), body.embed_in.weight)
    turns, order = _turns(body, tokens.shape[1]), _order(body.layers[0].attention)
    for layer in body.layers:
        attention, mlp = layer.attention, layer.mlp
        joint = attention.query_key_value
        heads = attention.config.num_attention_heads
        seen = _Attention.apply(_normed(layer.input_layernorm, x), joint.weight, joint.bias, turns, order, heads)
        mixed = _linear(attention.dense, seen)
        between = x if layer.use_parallel_residual else mixed + x
        wide = mlp.act(_linear(mlp.dense_h_to_4h, _normed(layer.post_attention_layernorm, between)))
        x = _linear(mlp.dense_4h_to_h, wide) + (mixed + x if layer.use_parallel_residual else between)
    return _normed(body.final_layer_norm, x)


def _normed(norm: Any, x: torch.Tensor) -> torch.Tensor:
    return functional.layer_norm(x, norm.normalized_shape, norm.weight, norm.bias, norm.eps)


def _linear(layer: Any, x: torch.Tensor) -> torch.Tensor:
    done: torch.Tensor = _Linear.apply(x, layer.weight, layer.bias)
    return done


class _Linear(torch.autograd.Function):
    """x @ weight.T + bias."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        ctx.save_for_backward(x, weight)
        ctx.biased = bias is not None
        return product(x, weight.t(), bias)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        x, weight = ctx.saved_tensors
        grad = grads[0].contiguous()
        return product(grad, weight), torch.mm(grad.t(), x), grad.sum(0) if ctx.biased else None


def _turns(body: Any, length: int) -> torch.Tensor:
    """What a position turns the pairs of queries and keys by: complex64 [length, hidden]; queries are also divided by the root
    of a head's size here. Pairs that have no rotary embedding are turned by nothing."""
    attention = body.layers[0].attention
    heads, half = attention.config.num_attention_heads, attention.head_size // 2
    cosine, sine = body.rotary_emb(body.embed_in.weight, torch.arange(length)[None])
    turned = attention.rotary_ndims // 2
    each = torch.ones(length, half, dtype=torch.complex64)
    each[:, :turned] = torch.complex(cosine[0, :, :turned], sine[0, :, :turned])
    every = each.repeat(1, heads)
    return torch.cat((every * attention.scaling, every), dim=1)


def _order(attention: Any) -> torch.Tensor:
    """The rows of query_key_value in the order of all queries, all keys, all values; of queries and keys the two numbers
    side by side that are turned together (GPT-NeoX has them half the rotary size apart)."""
    heads, size, rotary = attention.config.num_attention_heads, attention.head_size, attention.rotary_ndims
    pairs = torch.arange(rotary).view(2, -1).t().reshape(-1)
    pairs = torch.cat((pairs, torch.arange(rotary, size)))
    rows = torch.arange(heads * 3 * size).view(heads, 3, size)
    return torch.cat((rows[:, :2, pairs].transpose(0, 1).reshape(-1), rows[:, 2].reshape(-1)))


class _Attention(torch.autograd.Function):
    """Causal attention of normed hidden states [batch * length, hidden], before its output layer."""

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        turns: torch.Tensor,
        order: torch.Tensor,
        heads: int,
    ) -> torch.Tensor:
        length, hidden = turns.shape
        weight = weight[order]
        joint = product(x, weight.t(), None if bias is None else bias[order]).view(-1, length, 3 * hidden)
        _pairs(joint, hidden).mul_(turns)
        parts = _by_head(joint, 3, heads)
        out = torch.empty_like(parts[0])
        future = torch.full((_BLOCK, _BLOCK), -torch.inf).triu_(1)
        seen = []
        for group in _groups(parts.shape[1], length):
            query, key, value = parts[:, group]
            for start, end in _blocks(length):
                scores = torch.bmm(query[:, start:end], key[:, :end].transpose(1, 2))
                scores[:, :, start:].add_(future[: end - start, : end - start])
                torch.softmax(scores, 2, out=scores)
                out[group, start:end] = torch.bmm(scores, value[:, :end])
                seen.append(scores)
        ctx.save_for_backward(x, weight, turns, order, parts, *seen)
        ctx.biased = bias is not None
        return _by_token(out[None], heads).view(-1, hidden)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, weight, turns, order, parts, *seen = ctx.saved_tensors
        length, hidden = turns.shape
        heads = parts.shape[1] * length // len(x)
        (d_out,) = _by_head(grads[0].reshape(-1, length, hidden), 1, heads)
        d_parts = torch.empty_like(parts)
        blocks = list(_blocks(length))
        for number, group in enumerate(_groups(parts.shape[1], length)):
            (query, key, value), (d_query, d_key, d_value), grad = parts[:, group], d_parts[:, group], d_out[group]
            for (start, end), scores in zip(
                reversed(blocks), reversed(seen[number * len(blocks) :][: len(blocks)]), strict=True
            ):
                of = grad[:, start:end]
                d_scores = torch.bmm(of, value[:, :end].transpose(1, 2))
                d_scores = torch._softmax_backward_data(d_scores, scores, 2, torch.float32)
                # torch multiplies matrices one by one where the result is part of another: written beside it, and added
                d_query[:, start:end] = torch.bmm(d_scores, key[:, :end])
                more = torch.bmm(scores.transpose(1, 2), of), torch.bmm(d_scores.transpose(1, 2), query[:, start:end])
                for whole, part in zip((d_value, d_key), more, strict=True):
                    _ = whole.copy_(part) if end == length else whole[:, :end].add_(part)
        d_joint = _by_token(d_parts, heads)
        _pairs(d_joint, hidden).mul_(turns.conj().resolve_conj())
        d_joint = d_joint.view(-1, 3 * hidden)
        d_weight = torch.empty_like(weight).index_copy_(0, order, torch.mm(d_joint.t(), x))
        d_bias = weight.new_empty(len(order)).index_copy_(0, order, d_joint.sum(0)) if ctx.biased else None
        return product(d_joint, weight), d_weight, d_bias, None, None, None


def _pairs(joint: torch.Tensor, hidden: int) -> torch.Tensor:
    """The queries and keys in [batch, length, 3 * hidden] as complex numbers, a view."""
    batch, length, _ = joint.shape
    return torch.view_as_complex(joint[:, :, : 2 * hidden].view(batch, length, hidden, 2))


def _by_head(joint: torch.Tensor, parts: int, heads: int) -> torch.Tensor:
    """[batch, length, parts * hidden] as [parts, batch * heads, length, head size]."""
    batch, length, width = joint.shape
    split = joint.view(batch, length, parts, heads, -1).permute(2, 0, 3, 1, 4)
    return split.reshape(parts, batch * heads, length, width // parts // heads)


def _by_token(split: torch.Tensor, heads: int) -> torch.Tensor:
    """The way back from `_by_head`."""
    parts, rows, length, size = split.shape
    batch = rows // heads
    joint = split.view(parts, batch, heads, length, size).permute(1, 3, 0, 2, 4)
    return joint.reshape(batch, length, parts * heads * size)


def _groups(heads: int, length: int) -> list[slice]:
    at_once = max(1, _SCORES // length)
    return [slice(start, start + at_once) for start in range(0, heads, at_once)]


def _blocks(length: int) -> list[tuple[int, int]]:
    return [(start, min(start + _BLOCK, length)) for start in range(0, length, _BLOCK)]
