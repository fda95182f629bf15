"""What GPT-NeoX's converter leaves wrong in its Hugging Face folder, put right.

- With several tensor ranks it adds up the biases after row-parallel matrices. That is right with `gpt_j_residual: true`, where
  every rank adds its own before the sum; otherwise the biases come out `ranks` times too large. Both are taken from the
  checkpoint again here, and so are the layer norms, whose mean it takes in half precision.
- config.json has the wrong ids for the ends of a text and no activation; the tokenizer's files are missing.
- Its weights are written in float32 (the config that it gets names no precision), and rounded here, once, at the end.

Shards of the weights are rewritten one at a time.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from haigo import files, shapes
from haigo.cli import Failed, HaigoError
from haigo.formats.tokenizer import Tokenizer
from launch.neox.conversion.checkpoint import Checkpoint, common_name
from neox_configs import reader

if TYPE_CHECKING:
    import torch

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
VOCABULARY_ROWS = ("gpt_neox.embed_in.weight", "embed_out.weight")
_REPLICATED = (
    "input_layernorm.weight", "input_layernorm.bias", "post_attention_layernorm.weight",
    "post_attention_layernorm.bias", "attention.dense.bias", "mlp.dense_4h_to_h.bias",
)  # fmt: skip
_ROW_BIASES = ("attention.dense.bias", "mlp.dense_4h_to_h.bias")


@dataclass
class Replicated:
    """The tensors that every tensor rank has a copy of."""

    values: dict[str, torch.Tensor] = field(default_factory=dict)
    """By Hugging Face's names, float32, as the converted model must have them."""
    unequal: dict[str, float] = field(default_factory=dict)
    """Those whose copies differ, with the largest difference."""


def replicated(checkpoint: Checkpoint) -> Replicated:
    """Read the replicated tensors and compare their copies bit for bit.

    Copies that differ are averaged (a row-parallel bias under `gpt_j_residual` is the sum of its copies in any case).

    Raises:
        HaigoError: a file is missing or damaged.
    """
    import torch

    found = Replicated()
    summed = bool(reader.value(checkpoint.config, "gpt_j_residual"))
    places: list[tuple[int, str, tuple[str, ...]]] = [
        (number, f"gpt_neox.layers.{number - 2}.", _REPLICATED) for number in range(2, checkpoint.layers + 2)
    ]
    places.append((checkpoint.layers + 3, "gpt_neox.final_layer_norm.", ("norm.weight", "norm.bias")))
    for number, start, names in places:
        states = [{common_name(name): value for name, value in one.items()} for one in checkpoint.states(number)]
        for name in names:
            target = start + name.removeprefix("norm.")
            copies = [state[name] for state in states]
            full = [copy.to(torch.float32) for copy in copies]
            difference = max(float((copy - full[0]).abs().max()) for copy in full)
            if not all(torch.equal(copy, copies[0]) for copy in copies[1:]):
                found.unequal[target] = difference
            if name in _ROW_BIASES and summed:
                found.values[target] = torch.stack(full).sum(0)
            elif target in found.unequal:
                found.values[target] = torch.stack(full).double().mean(0).float()
            else:
                found.values[target] = full[0].clone()
    return found


def shards(folder: Path) -> list[Path]:
    """The weight files of a Hugging Face folder.

    Raises:
        HaigoError: there are none, or one that the index names is missing.
    """
    index = folder / INDEX
    names = [SINGLE]
    if index.is_file():
        names = sorted(set(files.read_record(index, {"weight_map": {str: str}})["weight_map"].values()))
    for name in names:
        if os.path.basename(name) != name or not (folder / name).is_file():
            raise HaigoError(f"{folder / name} is missing.", "convert the checkpoint again")
    return [folder / name for name in names]


def rewrite(folder: Path, change: Callable[[str, torch.Tensor], torch.Tensor]) -> int:
    """Put every tensor through `change`, shard by shard; a shard in which nothing changes is left as it is.

    Returns:
        How many tensors changed.
    """
    from safetensors import safe_open
    from safetensors.torch import save_file

    changed = total = 0
    for path in shards(folder):
        held: dict[str, torch.Tensor] = {}
        here = 0
        with safe_open(path, "pt") as opened:
            for name in opened.keys():  # noqa: SIM118  (no mapping: it cannot be iterated)
                before = opened.get_tensor(name)
                after = change(name, before)
                here += after is not before
                held[name] = after.contiguous()
                total += after.numel() * after.element_size()
        if here:
            with files.atomic(path) as temporary:
                save_file(held, temporary, metadata={"format": "pt"})
        changed += here
    index = folder / INDEX
    if changed and index.is_file():
        content = files.read_record(index, {"weight_map": {str: str}, "metadata?": {}})
        content.setdefault("metadata", {})["total_size"] = total
        files.write_json(index, content)
    return changed


def weights(folder: Path, exact: Mapping[str, torch.Tensor]) -> list[str]:
    """Put the exact values of the replicated tensors into the folder.

    Returns:
        The names of those that were wrong.

    Raises:
        Failed: the converter left one out.
    """
    import torch

    wrong: list[str] = []
    seen: set[str] = set()

    def change(name: str, before: torch.Tensor) -> torch.Tensor:
        right = exact.get(name)
        if right is None:
            return before
        seen.add(name)
        right = right.to(before.dtype)
        if torch.equal(right, before):
            return before
        wrong.append(name)
        return right

    rewrite(folder, change)
    missing = sorted(set(exact) - seen)
    if missing:
        raise Failed(f"GPT-NeoX's converter wrote no {missing[0]}.", "use GPT-NeoX at commit ea7aefd or near it")
    return wrong


def finish(folder: Path, dtype: str, rows: int) -> None:
    """Round the weights to `dtype` and cut the embedding and the output layer to `rows`; config.json says both."""
    import torch

    kind = getattr(torch, dtype)

    def change(name: str, before: torch.Tensor) -> torch.Tensor:
        after = before.to(kind)  # the same object when it is of that type already
        if name in VOCABULARY_ROWS and after.shape[0] != rows:
            after = after[:rows].clone()
        return after

    rewrite(folder, change)
    os.umask(mask := os.umask(0o022))
    for path in shards(folder):  # transformers writes them for the owner alone; a team wants to read them
        path.chmod(0o666 & ~mask)
    content = files.read_record(folder / "config.json", {})
    content.pop("dtype", None)
    # `torch_dtype` is what every version of transformers reads
    files.write_json(folder / "config.json", {**content, "vocab_size": rows, "torch_dtype": dtype})


def describe(folder: Path, checkpoint: Checkpoint, vocabulary: Tokenizer) -> None:
    """Write what config.json and generation_config.json should have said, and the tokenizer's files."""
    ids = {"bos_token_id": vocabulary.eod_id, "eos_token_id": vocabulary.eod_id, "pad_token_id": vocabulary.pad_id}
    content = files.read_record(folder / "config.json", {})
    content |= {
        **ids,
        "hidden_act": checkpoint.activation,
        "attention_bias": True,
        "attention_dropout": 0.0,
        "hidden_dropout": 0.0,
    }
    files.write_json(folder / "config.json", content)
    place = folder / "generation_config.json"
    generation = files.read_record(place, {}) if place.is_file() else {"_from_model_config": True}
    files.write_json(place, {**generation, **ids})
    from haigo.formats.tokenizer import hf_adapter

    hf_adapter(vocabulary.path).save_pretrained(folder)


def expected(checkpoint: Checkpoint, rows: int) -> dict[str, Any]:
    """What config.json must say of the model, from GPT-NeoX's config."""
    config = checkpoint.config
    return {
        "vocab_size": rows,
        "hidden_size": config["hidden_size"],
        "num_hidden_layers": config["num_layers"],
        "num_attention_heads": config["num_attention_heads"],
        "intermediate_size": config["intermediate_size"],
        "max_position_embeddings": config["max_position_embeddings"],
        "layer_norm_eps": float(reader.value(config, "layernorm_epsilon")),
        "use_parallel_residual": bool(reader.value(config, "gpt_j_residual")),
        "tie_word_embeddings": checkpoint.tied,
        "hidden_act": checkpoint.activation,
        "rotary_pct": float(reader.value(config, "rotary_pct")),
        "rotary_emb_base": float(reader.value(config, "rotary_emb_base")),
    }


def header(path: Path) -> dict[str, tuple[tuple[int, ...], str]]:
    """Name -> (shape, type) of the tensors of a safetensors file, from its header alone.

    Raises:
        HaigoError: the file is missing or damaged.
    """
    try:
        with open(path, "rb") as handle:
            size = int.from_bytes(handle.read(8), "little")
            text = handle.read(size) if 0 < size < 1 << 28 else b"{}"
        content: dict[str, Any] = files.parse_json(text, str(path))
        content.pop("__metadata__", None)
        like = {str: {"data_offsets": [int], "shape": [int], "dtype": str}}
        end = max((one["data_offsets"][-1] for one in content.values()), default=0)
        if shapes.unlike(content, like) is None and path.stat().st_size == 8 + size + end:
            return {name: (tuple(one["shape"]), one["dtype"]) for name, one in content.items()}
    except (OSError, HaigoError, AttributeError, LookupError, TypeError):
        pass
    raise HaigoError(f"{path} is damaged.", "convert the checkpoint again")
