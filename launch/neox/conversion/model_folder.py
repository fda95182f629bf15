"""A Hugging Face folder of a converted model: written, and its weight files found."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from haigo import files
from haigo.cli import HaigoError
from haigo.formats.tokenizer import Tokenizer
from launch.neox.conversion import weights
from launch.neox.conversion.checkpoint import Checkpoint
from launch.neox.conversion.template import Words
from neox_configs import huggingface

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
_AGAIN = "convert the checkpoint again"
_POINTER = b"version https://git-lfs"


def expected(checkpoint: Checkpoint, rows: int) -> dict[str, Any]:
    """What config.json must say of the model, from GPT-NeoX's config."""
    return {**huggingface.fields(checkpoint.config), "vocab_size": rows}


def write(
    folder: Path,
    checkpoint: Checkpoint,
    vocabulary: Tokenizer,
    padded: int,
    rows: int,
    dtype: str,
    words: Words | None = None,
) -> Path:
    """Write the model.

    Args:
        folder: to make, below one of `files.scratch`.
        padded, rows, dtype: as of `weights.write`.
        words: of its chats.

    Returns:
        `folder`.
    """
    from transformers import GenerationConfig

    from haigo.formats.tokenizer import export
    from launch.engine.model import hf_config

    folder.mkdir()
    ids: dict[str, Any] = {
        "bos_token_id": vocabulary.eod_id,
        "eos_token_id": vocabulary.eod_id,
        "pad_token_id": vocabulary.pad_id,
    }
    content = hf_config(expected(checkpoint, rows), **ids).to_dict()
    content.pop("dtype", None)
    architectures = [huggingface.ARCHITECTURES[checkpoint.kind]]
    # `torch_dtype` is what every version of transformers reads
    files.write_json(folder / "config.json", {**content, "architectures": architectures, "torch_dtype": dtype})
    GenerationConfig(**ids).save_pretrained(folder)
    export(vocabulary, folder, checkpoint.config["max_position_embeddings"])
    if words is not None:
        words.write(folder, vocabulary)
    weights.write(folder, checkpoint, padded, rows, dtype)
    os.umask(mask := os.umask(0o022))
    for path in shards(folder):  # safetensors writes them for the owner alone; a team wants to read them
        path.chmod(0o666 & ~mask)
    return folder


def shards(folder: Path, fix: str = _AGAIN) -> list[Path]:
    """The weight files of a Hugging Face folder.

    Args:
        fix: what to do where one is not as it must be.

    Raises:
        HaigoError: there are none, or one that the index names is missing.
    """
    index = folder / INDEX
    names = [SINGLE]
    if index.is_file():
        names = sorted(set(files.read_record(index, {"weight_map": {str: str}})["weight_map"].values()))
    for name in names:
        if os.path.basename(name) != name or not (folder / name).is_file():
            raise HaigoError(f"{folder / name} is missing.", fix)
    return [folder / name for name in names]


def header(path: Path, fix: str = _AGAIN) -> dict[str, tuple[tuple[int, ...], str]]:
    """Name -> (shape, type) of the tensors of a safetensors file, from its header alone.

    Raises:
        HaigoError: the file is missing, cut short, a pointer of Git LFS, or damaged.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with path.open("rb") as handle:
            if handle.read(len(_POINTER)) == _POINTER:
                raise HaigoError(
                    f"{path} is a pointer of Git LFS: the weights themselves were not downloaded.",
                    f"run `git lfs pull` in {path.parent}, or {fix}",
                )
        with safe_open(path, "pt") as opened:
            slices = {name: opened.get_slice(name) for name in opened.keys()}  # noqa: SIM118  (no mapping)
            return {name: (tuple(one.get_shape()), one.get_dtype()) for name, one in slices.items()}
    except (OSError, SafetensorError):
        raise HaigoError(f"{path} is damaged or cut short.", fix) from None
