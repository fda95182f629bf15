import math

import torch


def flash_attn_func(q, k, v, dropout_p=0.0, softmax_scale=None, causal=False, window_size=(-1, -1)):
    """q [batch, length, heads, size]; k, v with a divisor of those heads. Returns the shape of q."""
    assert dropout_p == 0.0 and causal and q.shape[1] == k.shape[1] and window_size[1] in (-1, 0)
    groups = q.shape[2] // k.shape[2]
    k, v = (one.repeat_interleave(groups, dim=2) for one in (k, v))
    scores = torch.einsum("bqhd,bkhd->bhqk", q, k) * (softmax_scale or 1 / math.sqrt(q.shape[-1]))
    back = torch.arange(q.shape[1])[:, None] - torch.arange(k.shape[1])[None]
    seen = (back >= 0) & ((back <= window_size[0]) if window_size[0] >= 0 else torch.ones_like(back, dtype=torch.bool))
    return torch.einsum("bhqk,bkhd->bqhd", scores.masked_fill(~seen, float("-inf")).softmax(-1), v)


def flash_attn_varlen_func(q, k, v, cu_seqlens_q, cu_seqlens_k, max_seqlen_q, max_seqlen_k, **options):
    """As above for samples of one length, laid end to end: [batch * length, heads, size]."""
    q, k, v = (one.unflatten(0, (-1, max_seqlen_q)) for one in (q, k, v))
    return flash_attn_func(q, k, v, **options).flatten(0, 1)
