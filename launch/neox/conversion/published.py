"""A folder of Hugging Face whose weights a run of GPT-NeoX shall start from: judged by its config and the headers of its files
before a number is read, then read tensor by tensor. No code of the folder is run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from haigo import files
from haigo.cli import HaigoError
from launch.neox.checkpoints import layer_numbers
from launch.neox.conversion import layout, model_folder
from launch.neox.conversion.layout import Weight
from neox_configs import huggingface

if TYPE_CHECKING:
    import torch

AGAIN = "download the model again (huggingface_hub's `hf download` goes on where it stopped)"
_ELSEWHERE = {
    "adapter_config.json": "an adapter (LoRA) without the model that it belongs to",
    "pytorch_model.bin": "weights in torch's older format",
    "pytorch_model.bin.index.json": "weights in torch's older format",
}
_BUFFERS = (".attention.bias", ".attention.masked_bias", ".rotary_emb.inv_freq")
"""What older versions of transformers wrote beside the weights."""
_TYPES = {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}


@dataclass(frozen=True)
class Published:
    """A model of Hugging Face that GPT-NeoX can hold."""

    folder: Path
    content: dict[str, Any]
    """Its config.json, with transformers' defaults where it says nothing."""
    keys: dict[str, Any]
    """GPT-NeoX's keys of the same model."""
    rows: int
    """Of its vocabulary."""
    dtype: str
    """torch's name of the type of its weights."""
    places: Mapping[str, tuple[Path, str]] = field(repr=False)
    """Tensor -> the file that holds it, and its name there."""

    @property
    def numbers(self) -> list[int]:
        """GPT-NeoX's numbers of the layers that have weights."""
        return layer_numbers(self.keys["num_layers"], not self.keys["no_weight_tying"])

    def of_layer(self, number: int) -> list[Weight]:
        """The tensors of a layer, with the vocabulary as it is published."""
        return layout.of_layer(self.keys, number, self.rows)

    @property
    def parameters(self) -> int:
        """Numbers that it holds."""
        each = (one for number in self.numbers for one in self.of_layer(number))
        return sum(math.prod(shape) for one in each for shape in one.shapes)

    def read(self, name: str) -> torch.Tensor:
        """One tensor.

        Raises:
            HaigoError: its file is damaged, or it holds values that are no numbers.
        """
        import torch
        from safetensors import SafetensorError, safe_open

        path, there = self.places[name]
        try:
            with safe_open(path, "pt") as opened:
                tensor: torch.Tensor = opened.get_tensor(there)
        except (OSError, SafetensorError):
            raise HaigoError(f"{path} is damaged.", AGAIN) from None
        if not bool(torch.isfinite(tensor).all()):
            raise HaigoError(f"{path}: {name} holds values that are no numbers.", AGAIN)
        return tensor


def load(place: str | Path) -> Published:
    """Judge a folder.

    Raises:
        HaigoError: no model of Hugging Face, one that GPT-NeoX cannot hold, or one that is not whole; names field or file.
    """
    folder = Path(place)
    if not (folder / "config.json").is_file():
        raise HaigoError(
            f"{folder} holds {_instead(folder) or 'no config.json'}.", "name the folder of a model of Hugging Face"
        )
    content = _content(folder)
    try:
        keys = huggingface.keys(content)
        again = huggingface.fields(keys)
    except HaigoError as error:
        raise HaigoError(f"{folder / 'config.json'}: {error.problem}", error.fix) from None
    for name, value in again.items():
        if name in content and name != "hidden_act" and not _means(content[name], value):
            raise HaigoError(
                f"{folder / 'config.json'}: {name} is {content[name]!r}, and in GPT-NeoX it would be {value!r}.",
                "take another model",
            )
    return _whole(folder, content, keys)


def _content(folder: Path) -> dict[str, Any]:
    from transformers import CONFIG_MAPPING

    path = folder / "config.json"
    given = files.read_record(path, {"model_type": str})
    if given["model_type"] not in huggingface.ARCHITECTURES:
        raise HaigoError(
            f"{path}: the model is of the type {given['model_type'][:60]!r}, which GPT-NeoX has not.",
            f"take a model of one of the types {', '.join(huggingface.ARCHITECTURES)}",
        )
    if given.get("quantization_config"):
        raise HaigoError(f"{path}: quantization_config: its weights are quantised.", "take the model in 16 or 32 bits")
    try:
        found: dict[str, Any] = CONFIG_MAPPING[given["model_type"]].from_dict(dict(given)).to_dict()
    except Exception as error:  # transformers' checks have many types
        reason = " ".join(str(error).split())
        raise HaigoError(f"{path} is no model's: {reason[:200]}", AGAIN) from None
    heads, size = found["num_attention_heads"], found["hidden_size"]
    shared = found.get("num_key_value_heads") or heads
    if min(heads, size, shared, found["num_hidden_layers"], found["vocab_size"]) < 1 or size % heads or heads % shared:
        raise HaigoError(
            f"{path}: hidden_size {size}, num_attention_heads {heads} and num_key_value_heads {shared} do not fit together.",
            AGAIN,
        )
    return found


def _whole(folder: Path, content: dict[str, Any], keys: dict[str, Any]) -> Published:
    """See that every tensor is there with its shape, and none besides."""
    places: dict[str, tuple[Path, str]] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    kinds: set[str] = set()
    if not any(folder.glob("*.safetensors*")) and (there := _instead(folder)):
        raise HaigoError(
            f"{folder} holds {there} only.", "save it as safetensors (transformers: from_pretrained, save_pretrained)"
        )
    # transformers' own name of a GPT-NeoX model's output layer is another than the one on the disk
    kind_of = content["model_type"]
    output = layout.OUTSIDE[kind_of].output
    for path in model_folder.shards(folder, AGAIN):
        for name, (shape, kind) in model_folder.header(path, AGAIN).items():
            if name.endswith(_BUFFERS):
                continue
            known = output if kind_of == "gpt_neox" and name == "lm_head.weight" else name
            places[known], shapes[known] = (path, name), shape
            kinds.add(kind)
    if not keys["no_weight_tying"]:
        places.pop(output, None)
        shapes.pop(output, None)
    if keys["num_layers"] > len(shapes):  # before so many are counted out
        raise HaigoError(
            f"{folder}: there are {len(shapes)} tensors, and config.json asks for {keys['num_layers']:,} layers.", AGAIN
        )
    found = Published(folder, content, keys, int(content["vocab_size"]), _dtype(folder, kinds), places)
    wanted = {
        name: shape
        for number in found.numbers
        for one in found.of_layer(number)
        for name, shape in zip(one.targets, one.shapes, strict=True)
    }
    for name, shape in wanted.items():
        if name not in shapes:
            raise HaigoError(f"{folder}: no file holds {name}, which config.json asks for.", AGAIN)
        if shapes[name] != shape:
            raise HaigoError(
                f"{places[name][0]}: {name} has the shape {shapes[name]}, and config.json asks for {shape}.", AGAIN
            )
    if more := sorted(shapes.keys() - wanted.keys()):
        rest = f" and {len(more) - 1} more tensors" if more[1:] else ""
        raise HaigoError(
            f"{places[more[0]][0]} holds {more[0]}{rest}, for which GPT-NeoX has no room in a {kind_of} model of this config.",
            "take a model without",
        )
    return found


def _dtype(folder: Path, kinds: set[str]) -> str:
    if len(kinds) != 1 or not kinds <= _TYPES.keys():
        raise HaigoError(
            f"the weights in {folder} are of the type {', '.join(sorted(kinds))}.",
            f"take a model that has one type throughout: {', '.join(_TYPES)}",
        )
    return _TYPES[kinds.pop()]


def _instead(folder: Path) -> str:
    """What lies there in place of a model of ours, in words."""
    return next((what for name, what in _ELSEWHERE.items() if (folder / name).is_file()), "")


def _means(stated: Any, value: Any) -> bool:
    if isinstance(value, dict) and isinstance(stated, dict):
        return all(_means(stated[name], one) for name, one in value.items() if name in stated)
    return bool(stated == value)
