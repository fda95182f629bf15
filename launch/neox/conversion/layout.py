"""Which tensors of transformers a layer of GPT-NeoX is, and how they lie over its tensor ranks; read and written.

A matrix is cut by rows or by columns. Norms, and the biases after row-parallel matrices, stand whole on every rank: those are
copies, but for the biases under `gpt_j_residual`, where every rank adds its own before the sum over ranks. Several tensors of
a Llama are one of GPT-NeoX's, rank by rank: a gated MLP's first matrix holds a rank's share of `up_proj`, then of `gate_proj`;
query_key_value holds the queries of a rank, then its keys, then its values where heads share keys (num_kv_heads), and without
that query, key and value of one head after the other. Seen at commit ea7aefd; before its pull request 1315 heads that share
keys lay otherwise, and a gated MLP had three matrices w1, w2 and w3.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from neox_configs import huggingface, reader

if TYPE_CHECKING:
    import torch

Ranks = Literal["rows", "columns", "copies", "added"]
_Shape = tuple[int, ...]
_PARTS = ("weight", "bias")


class Outside(NamedTuple):
    """transformers' names of what is no block."""

    embedding: str
    norm: str
    output: str
    block: str


_LLAMA = Outside("model.embed_tokens.weight", "model.norm", "lm_head.weight", "model.layers.")
OUTSIDE = {
    "gpt_neox": Outside(
        "gpt_neox.embed_in.weight", "gpt_neox.final_layer_norm", "embed_out.weight", "gpt_neox.layers."
    ),
    "llama": _LLAMA,
    "mistral": _LLAMA,
}


class Weight(NamedTuple):
    """One tensor of a layer of GPT-NeoX."""

    name: str
    """GPT-NeoX's, without `sequential.N.`."""
    targets: tuple[str, ...]
    """transformers' tensors in it."""
    shapes: tuple[_Shape, ...]
    """Theirs, of all tensor ranks together."""
    ranks: Ranks
    """What of it a tensor rank holds."""
    heads: int = 0
    """Several targets lie head by head, of so many heads; 0: one after the other."""

    def on_a_rank(self, ranks: int) -> _Shape:
        """The shape that one of so many tensor ranks has."""
        first, *rest = self.shapes[0]
        if self.ranks == "rows":
            return (sum(shape[0] for shape in self.shapes) // ranks, *rest)
        return (first, rest[0] // ranks) if self.ranks == "columns" else self.shapes[0]

    def joined(self, parts: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """The targets, of the parts that the tensor ranks hold. Copies that differ are averaged, in float64."""
        import torch

        if self.ranks == "added":
            return [torch.stack([part.float() for part in parts]).sum(0)]
        if self.ranks == "copies":
            same = all(torch.equal(part, parts[0]) for part in parts[1:])
            return [parts[0] if same else torch.stack([*parts]).double().mean(0)]
        pieces = [self._apart(part, len(parts)) for part in parts]
        along = 0 if self.ranks == "rows" else 1
        return [one[0] if len(one) == 1 else torch.cat(one, along) for one in zip(*pieces, strict=True)]

    def _apart(self, part: torch.Tensor, ranks: int) -> Sequence[torch.Tensor]:
        if len(self.targets) == 1:
            return [part]
        if not self.heads:
            return part.split([shape[0] // ranks for shape in self.shapes])
        each = part.unflatten(0, (self.heads // ranks, len(self.targets), -1))
        return [one.flatten(0, 1) for one in each.unbind(1)]

    def cut(self, wholes: Sequence[torch.Tensor], ranks: int) -> list[torch.Tensor]:
        """What each of so many tensor ranks holds of the targets; `joined` of it is the same bit for bit."""
        import torch

        if self.ranks == "added":
            return [wholes[0], *[torch.full_like(wholes[0], -0.0)] * (ranks - 1)]  # the zero that changes no bit
        if self.ranks == "copies":
            return [wholes[0]] * ranks
        if self.ranks == "columns":
            return list(wholes[0].chunk(ranks, 1))
        cut = []
        for shares in zip(*(whole.chunk(ranks) for whole in wholes), strict=True):
            if self.heads:
                each = [share.unflatten(0, (self.heads // ranks, -1)) for share in shares]
                cut.append(torch.stack(each, 1).flatten(0, 2))
            else:
                cut.append(torch.cat(shares) if shares[1:] else shares[0])
        return cut


def of_layer(config: Mapping[str, Any], number: int, rows: int) -> list[Weight]:
    """The tensors of layer `number`, as GPT-NeoX counts layers.

    Args:
        config: the model's keys.
        rows: of the vocabulary.
    """
    fields = huggingface.fields(config)
    kind, layers, hidden = fields["model_type"], fields["num_hidden_layers"], fields["hidden_size"]
    names = OUTSIDE[kind]
    if number == 0:
        return [Weight("word_embeddings.weight", (names.embedding,), ((rows, hidden),), "rows")]
    if number == layers + 3:
        return list(_norm("norm", names.norm, kind, hidden))
    if number > layers + 3:
        return [Weight("final_linear.weight", (names.output,), ((rows, hidden),), "rows")]
    block = _gpt if kind == "gpt_neox" else _llama
    return list(block(config, fields, f"{names.block}{number - 2}."))


def _norm(name: str, target: str, kind: str, hidden: int) -> Iterator[Weight]:
    if kind == "gpt_neox":
        for part in _PARTS:
            yield Weight(f"{name}.{part}", (f"{target}.{part}",), ((hidden,),), "copies")
    else:
        yield Weight(f"{name}.scale", (f"{target}.weight",), ((hidden,),), "copies")


def _linear(
    name: str, targets: Sequence[str], shapes: Sequence[_Shape], ranks: Ranks, bias: Ranks | None, heads: int = 0
) -> Iterator[Weight]:
    """A matrix, and its bias where there is one, which lies over the ranks as `bias` says."""
    yield Weight(f"{name}.weight", tuple(f"{one}.weight" for one in targets), tuple(shapes), ranks, heads)
    if bias is not None:
        yield Weight(
            f"{name}.bias", tuple(f"{one}.bias" for one in targets), tuple(one[:1] for one in shapes), bias, heads
        )


def _gpt(config: Mapping[str, Any], fields: Mapping[str, Any], start: str) -> Iterator[Weight]:
    hidden, inner = fields["hidden_size"], fields["intermediate_size"]
    after: Ranks = "added" if fields["use_parallel_residual"] else "copies"
    biased = fields["attention_bias"]
    names = [f"attention.{one}" for one in ("query_key_value", "dense")]
    yield from _norm("input_layernorm", f"{start}input_layernorm", "gpt_neox", hidden)
    yield from _linear(names[0], [start + names[0]], [(3 * hidden, hidden)], "rows", "rows" if biased else None)
    yield from _linear(names[1], [start + names[1]], [(hidden, hidden)], "columns", after if biased else None)
    yield from _norm("post_attention_layernorm", f"{start}post_attention_layernorm", "gpt_neox", hidden)
    yield from _linear("mlp.linear1", [f"{start}mlp.dense_h_to_4h"], [(inner, hidden)], "rows", "rows")
    yield from _linear("mlp.linear2", [f"{start}mlp.dense_4h_to_h"], [(hidden, inner)], "columns", after)


def _llama(config: Mapping[str, Any], fields: Mapping[str, Any], start: str) -> Iterator[Weight]:
    hidden, wide = fields["hidden_size"], fields["intermediate_size"]
    heads, shared = fields["num_attention_heads"], fields["num_key_value_heads"]
    keys = hidden // heads * shared
    attention, mlp = (bool(reader.value(config, f"use_bias_in_{part}")) for part in ("attn_linear", "mlp"))
    yield from _norm("input_layernorm", f"{start}input_layernorm", "llama", hidden)
    yield from _linear(
        "attention.query_key_value",
        [f"{start}self_attn.{one}_proj" for one in "qkv"],
        [(hidden, hidden), (keys, hidden), (keys, hidden)],
        "rows",
        "rows" if attention else None,
        heads if shared == heads else 0,
    )
    after: Ranks | None = "copies" if attention else None
    yield from _linear("attention.dense", [f"{start}self_attn.o_proj"], [(hidden, hidden)], "columns", after)
    yield from _norm("post_attention_layernorm", f"{start}post_attention_layernorm", "llama", hidden)
    gated = [f"{start}mlp.{one}_proj" for one in ("up", "gate")]
    yield from _linear("mlp.linear1", gated, [(wide, hidden)] * 2, "rows", "rows" if mlp else None)
    yield from _linear("mlp.linear2", [f"{start}mlp.down_proj"], [(hidden, wide)], "columns", "copies" if mlp else None)
