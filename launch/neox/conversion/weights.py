"""The weights of a checkpoint as transformers' GPTNeoXForCausalLM names them, put together from its tensor ranks.

A matrix is cut by rows or by columns. Layer norms, and the biases after row-parallel matrices, stand whole on every rank: those
are copies, but for the biases under `gpt_j_residual`, where every rank adds its own before the sum over ranks. (GPT-NeoX's own
converter adds them up in any case, and takes the norms' mean in half precision.)
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from haigo.cli import HaigoError
from haigo.progress import Progress
from launch.neox.conversion.checkpoint import Checkpoint
from neox_configs import reader

if TYPE_CHECKING:
    import torch

SHARD_BYTES = 5 * 10**9
"""Of one file; a larger model is several."""
_MLP = {"linear1": "dense_h_to_4h", "linear2": "dense_4h_to_h"}
_Ranks = Literal["rows", "columns", "copies", "added"]
_VOCABULARY = ("gpt_neox.embed_in.weight", "embed_out.weight")


class Weight(NamedTuple):
    """One tensor of a layer."""

    name: str
    """GPT-NeoX's, without `sequential.N.`."""
    target: str
    """transformers'."""
    shape: tuple[int, ...]
    """Of all tensor ranks together."""
    ranks: _Ranks
    """What of it a tensor rank holds."""

    def on_a_rank(self, ranks: int) -> tuple[int, ...]:
        """The shape that one of so many tensor ranks has."""
        if self.ranks == "rows":
            return (self.shape[0] // ranks, *self.shape[1:])
        return (self.shape[0], self.shape[1] // ranks) if self.ranks == "columns" else self.shape


def of_layer(checkpoint: Checkpoint, number: int, padded: int) -> list[Weight]:
    """The tensors of layer `number`, as GPT-NeoX counts layers.

    Args:
        padded: rows of the vocabulary.
    """
    hidden, inner = int(checkpoint.config["hidden_size"]), int(checkpoint.config["intermediate_size"])
    parts = ("weight", "bias")
    if number == 0:
        return [Weight("word_embeddings.weight", "gpt_neox.embed_in.weight", (padded, hidden), "rows")]
    if number == checkpoint.layers + 3:
        return [Weight(f"norm.{part}", f"gpt_neox.final_layer_norm.{part}", (hidden,), "copies") for part in parts]
    if number > checkpoint.layers + 3:
        return [Weight("final_linear.weight", "embed_out.weight", (padded, hidden), "rows")]
    added: _Ranks = "added" if reader.value(checkpoint.config, "gpt_j_residual") else "copies"
    block: dict[str, tuple[tuple[int, ...], _Ranks]] = {
        **{f"input_layernorm.{part}": ((hidden,), "copies") for part in parts},
        "attention.query_key_value.weight": ((3 * hidden, hidden), "rows"),
        "attention.query_key_value.bias": ((3 * hidden,), "rows"),
        "attention.dense.weight": ((hidden, hidden), "columns"),
        "attention.dense.bias": ((hidden,), added),
        **{f"post_attention_layernorm.{part}": ((hidden,), "copies") for part in parts},
        "mlp.dense_h_to_4h.weight": ((inner, hidden), "rows"),
        "mlp.dense_h_to_4h.bias": ((inner,), "rows"),
        "mlp.dense_4h_to_h.weight": ((hidden, inner), "columns"),
        "mlp.dense_4h_to_h.bias": ((hidden,), added),
    }
    return [Weight(name, f"gpt_neox.layers.{number - 2}.{name}", *rest) for name, rest in block.items()]


def _states(checkpoint: Checkpoint, number: int) -> list[dict[str, torch.Tensor]]:
    """As `Checkpoint.states`, with the newer names of the MLP's matrices as the older ones, which transformers uses too."""

    def common(name: str) -> str:
        for new, old in _MLP.items():
            name = name.replace(f"mlp.{new}.", f"mlp.{old}.")
        return name

    return [{common(name): value for name, value in state.items()} for state in checkpoint.states(number)]


def problems(checkpoint: Checkpoint, padded: int) -> Iterator[str]:
    """What does not fit between the weights and the config, one sentence each. Reads no numbers, only shapes.

    Args:
        padded: rows that the embedding must have.
    """
    for number in checkpoint.numbers():
        wanted = of_layer(checkpoint, number, padded)
        for rank, state in enumerate(_states(checkpoint, number)):
            for one in wanted:
                where = f"{checkpoint.file(number, rank).name}: layer {number} {one.name}"
                shape = one.on_a_rank(checkpoint.ranks)
                if one.name not in state:
                    yield f"{where} is missing."
                elif tuple(state[one.name].shape) != shape:
                    yield f"{where} has the shape {tuple(state[one.name].shape)}, and the config asks for {shape}."


def unequal(checkpoint: Checkpoint) -> dict[str, float]:
    """Tensors that stand whole on every tensor rank and are not bit for bit the same there -> the largest difference."""
    import torch

    differences: dict[str, float] = {}
    for number in checkpoint.numbers() if checkpoint.ranks > 1 else ():
        states = _states(checkpoint, number)
        for one in of_layer(checkpoint, number, 0):
            if one.ranks in ("copies", "added"):
                first, *others = (state[one.name] for state in states)
                if not all(torch.equal(first, other) for other in others):
                    differences[one.target] = max(
                        float((first.float() - other.float()).abs().max()) for other in others
                    )
    return differences


def merged(checkpoint: Checkpoint, padded: int, rows: int, dtype: str) -> dict[str, torch.Tensor]:
    """All weights by transformers' names. Copies that differ are averaged.

    Args:
        padded: rows that the embedding has.
        rows: how many of them to keep.
        dtype: torch's name of the type that they are rounded to, once, at the end.
    """
    import torch

    tensors: dict[str, torch.Tensor] = {}
    numbers = checkpoint.numbers()
    with Progress("read weights", len(numbers), "layers") as progress:
        for number in numbers:
            states = _states(checkpoint, number)
            for one in of_layer(checkpoint, number, padded):
                whole = _joined([state[one.name] for state in states], one)
                if one.target in _VOCABULARY:
                    whole = whole[:rows].clone() if rows < len(whole) else whole  # no view of more than is kept
                tensors[one.target] = whole.to(getattr(torch, dtype))
            progress.update()
    return tensors


def _joined(parts: list[torch.Tensor], one: Weight) -> torch.Tensor:
    import torch

    if one.ranks == "added":
        return torch.stack([part.float() for part in parts]).sum(0)
    if one.ranks == "copies":
        same = all(torch.equal(part, parts[0]) for part in parts[1:])
        return parts[0] if same else torch.stack(parts).double().mean(0)
    return parts[0] if len(parts) == 1 else torch.cat(parts, 0 if one.ranks == "rows" else 1)


def write(folder: Path, weights: dict[str, torch.Tensor]) -> None:
    """Write `model.safetensors`, or several files of `SHARD_BYTES` and their index, into a folder of `files.scratch`.

    Raises:
        HaigoError: the disk does not take them.
    """
    from huggingface_hub import save_torch_state_dict
    from safetensors import SafetensorError

    try:
        save_torch_state_dict(weights, folder, filename_pattern="model{suffix}.safetensors", max_shard_size=SHARD_BYTES)
    except SafetensorError as error:
        raise HaigoError(f"the weights cannot be written to {folder} ({error}).", "see its disk") from None
