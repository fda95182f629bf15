"""The weights of a checkpoint as transformers names them, put together from its tensor ranks, one file of them at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from haigo import files
from haigo.cli import HaigoError
from haigo.progress import Progress
from launch.neox.conversion import layout
from launch.neox.conversion.checkpoint import Checkpoint
from launch.neox.conversion.layout import Weight

if TYPE_CHECKING:
    import torch

SHARD_BYTES = 5 * 10**9
"""Of one file; a larger model is several."""
_MLP = {"dense_h_to_4h": "linear1", "dense_4h_to_h": "linear2"}
_THREE = "mlp.w1.weight"
"""What a gated MLP of an older GPT-NeoX has."""


def _states(checkpoint: Checkpoint, number: int) -> list[dict[str, torch.Tensor]]:
    """As `Checkpoint.states`, with the older names of the MLP's matrices as the newer ones."""

    def common(name: str) -> str:
        for old, new in _MLP.items():
            name = name.replace(f"mlp.{old}.", f"mlp.{new}.")
        return name

    return [{common(name): value for name, value in state.items()} for state in checkpoint.states(number)]


def _of_layer(checkpoint: Checkpoint, number: int, padded: int) -> list[Weight]:
    return layout.of_layer(checkpoint.config, number, padded)


def problems(checkpoint: Checkpoint, padded: int) -> Iterator[str]:
    """What does not fit between the weights and the config, one sentence each. Reads no numbers, only shapes.

    Args:
        padded: rows that the embedding must have.
    """
    for number in checkpoint.numbers():
        wanted = _of_layer(checkpoint, number, padded)
        for rank, state in enumerate(_states(checkpoint, number)):
            for one in wanted:
                where = f"{checkpoint.file(number, rank).name}: layer {number} {one.name}"
                shape = one.on_a_rank(checkpoint.ranks)
                if one.name not in state and _THREE in state:
                    yield f"{where} is missing: it has w1, w2 and w3, as older versions of GPT-NeoX have."
                elif one.name not in state:
                    yield f"{where} is missing."
                elif tuple(state[one.name].shape) != shape:
                    yield f"{where} has the shape {tuple(state[one.name].shape)}, and the config asks for {shape}."


def unequal(checkpoint: Checkpoint) -> dict[str, float]:
    """Tensors that stand whole on every tensor rank and are not bit for bit the same there -> the largest difference."""
    import torch

    differences: dict[str, float] = {}
    for number in checkpoint.numbers() if checkpoint.ranks > 1 else ():
        states = _states(checkpoint, number)
        for one in _of_layer(checkpoint, number, 0):
            if one.ranks == "copies":
                first, *others = (state[one.name] for state in states)
                if not all(torch.equal(first, other) for other in others):
                    differences[one.targets[0]] = max(
                        float((first.float() - other.float()).abs().max()) for other in others
                    )
    return differences


def shapes(checkpoint: Checkpoint, rows: int) -> dict[str, tuple[int, ...]]:
    """transformers' tensors and their shapes, in the order in which they are written.

    Args:
        rows: of the vocabulary.
    """
    return {
        name: shape
        for number in checkpoint.numbers()
        for one in _of_layer(checkpoint, number, rows)
        for name, shape in zip(one.targets, one.shapes, strict=True)
    }


def parameters(checkpoint: Checkpoint, rows: int) -> int:
    """How many numbers those tensors hold."""
    return sum(map(math.prod, shapes(checkpoint, rows).values()))


def tensors(checkpoint: Checkpoint, padded: int, rows: int, dtype: torch.dtype) -> Iterator[tuple[str, torch.Tensor]]:
    """transformers' tensors in the order of `shapes`, one layer in memory at a time.

    Args:
        padded, rows: as of `write`.
    """
    outside = layout.OUTSIDE[checkpoint.kind]
    numbers = checkpoint.numbers()
    with Progress("convert weights", len(numbers), "layers") as progress, progress.beating():
        for number in numbers:
            states = _states(checkpoint, number)
            for one in _of_layer(checkpoint, number, padded):
                for name, whole in zip(one.targets, one.joined([state[one.name] for state in states]), strict=True):
                    cut = whole[:rows] if name in (outside.embedding, outside.output) else whole
                    yield name, cut.to(dtype).contiguous()
            progress.update()


def write(folder: Path, checkpoint: Checkpoint, padded: int, rows: int, dtype: str) -> None:
    """Write `model.safetensors`, or several files of `SHARD_BYTES` and their index, into a folder of `files.scratch`.

    Args:
        padded: rows that the embedding has.
        rows: how many of them to keep.
        dtype: torch's name of the type that they are rounded to, once, at the end.

    Raises:
        HaigoError: the disk does not take them.
    """
    import torch
    from huggingface_hub import split_torch_state_dict_into_shards
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    kind = getattr(torch, dtype)
    planned = {name: torch.empty(shape, dtype=kind, device="meta") for name, shape in shapes(checkpoint, rows).items()}
    split = split_torch_state_dict_into_shards(
        planned, filename_pattern="model{suffix}.safetensors", max_shard_size=SHARD_BYTES
    )
    held: dict[str, torch.Tensor] = {}
    waiting = {file: set(names) for file, names in split.filename_to_tensors.items()}
    try:
        for name, tensor in tensors(checkpoint, padded, rows, kind):
            held[name] = tensor
            file = split.tensor_to_filename[name]
            waiting[file].discard(name)
            if not waiting[file]:
                part = {each: held.pop(each) for each in split.filename_to_tensors[file]}
                save_file(part, folder / file, metadata={"format": "pt"})
    except SafetensorError as error:
        raise HaigoError(f"the weights cannot be written to {folder} ({error}).", "see its disk") from None
    if split.is_sharded:
        index = {"metadata": split.metadata, "weight_map": split.tensor_to_filename}
        files.write_json(folder / "model.safetensors.index.json", index)
