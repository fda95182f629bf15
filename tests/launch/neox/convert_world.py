"""Tiny GPT-NeoX runs for the tests of launch.convert: their config, and checkpoints written in GPT-NeoX's layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from neox_world import World
from shared_data import data_of

from haigo import yamlfile
from launch.neox.conversion.convert import convert
from launch.neox.conversion.options import ConvertOptions

LAYERS, HIDDEN, SEQ, BATCH = 2, 32, 32, 4  # as data/convert_world.yml has them


def config(world: World, save: Path, **changes: Any) -> dict[str, Any]:
    """The config of a run of 6 steps with checkpoints at 4 and 6; keys set to None are left out."""
    made = {
        **data_of(__file__),
        "vocab_file": str(world.root / "tokenizer" / "spm.model"),
        "train_data_paths": [str(world.prefix("news")), str(world.prefix("code"))],
        "valid_data_paths": [str(world.prefix("news", "valid"))],
        "test_data_paths": [str(world.prefix("news", "test"))],
        "save": str(save),
        "load": str(save),
    }
    made |= changes
    return {key: value for key, value in made.items() if value is not None}


def padded(size: int, settings: dict[str, Any]) -> int:
    step = settings["make_vocab_size_divisible_by"] * settings["model_parallel_size"]
    return -(-size // step) * step


def weights(rows: int, seed: int = 0, tied: bool = False) -> dict[str, torch.Tensor]:
    """A model by Hugging Face's names, from a generator of its own; nothing is 0 or 1."""
    random = torch.Generator().manual_seed(seed)
    shapes: dict[str, tuple[int, ...]] = {"gpt_neox.embed_in.weight": (rows, HIDDEN)}
    if not tied:
        shapes["embed_out.weight"] = (rows, HIDDEN)
    for part in ("weight", "bias"):
        shapes[f"gpt_neox.final_layer_norm.{part}"] = (HIDDEN,)
    for layer in range(LAYERS):
        start = f"gpt_neox.layers.{layer}."
        for block, wide, deep in (
            ("attention.query_key_value", 3 * HIDDEN, HIDDEN),
            ("attention.dense", HIDDEN, HIDDEN),
            ("mlp.dense_h_to_4h", 4 * HIDDEN, HIDDEN),
            ("mlp.dense_4h_to_h", HIDDEN, 4 * HIDDEN),
        ):
            shapes |= {f"{start}{block}.weight": (wide, deep), f"{start}{block}.bias": (wide,)}
        for norm in ("input_layernorm", "post_attention_layernorm"):
            shapes |= {f"{start}{norm}.weight": (HIDDEN,), f"{start}{norm}.bias": (HIDDEN,)}
    return {name: torch.randn(shape, generator=random) * 0.2 for name, shape in shapes.items()}


def split(model: dict[str, torch.Tensor], ranks: int, residual: bool = False) -> list[dict[str, torch.Tensor]]:
    """The model cut over tensor ranks, by GPT-NeoX's names `sequential.N. ...`.

    Args:
        residual: the run has gpt_j_residual, so that every rank holds its share of a row-parallel bias.
    """
    cut: list[dict[str, torch.Tensor]] = [{} for _ in range(ranks)]
    for name, value in model.items():
        if name == "gpt_neox.embed_in.weight":
            target = "sequential.0.word_embeddings.weight"
        elif name == "embed_out.weight":
            target = f"sequential.{LAYERS + 4}.final_linear.weight"
        elif "final_layer_norm" in name:
            target = name.replace("gpt_neox.final_layer_norm", f"sequential.{LAYERS + 3}.norm")
        else:
            _, _, number, rest = name.split(".", 3)
            rest = rest.replace("dense_h_to_4h", "linear1").replace("dense_4h_to_h", "linear2")
            target = f"sequential.{int(number) + 2}.{rest}"
        row = ("attention.dense.", "mlp.dense_4h_to_h.")
        if "layernorm" in name or "layer_norm" in name:
            parts = [value] * ranks
        elif any(word in name for word in row):
            bias = value / ranks if residual else value
            parts = list(value.chunk(ranks, 1)) if value.dim() == 2 else [bias] * ranks
        else:
            parts = list(value.chunk(ranks, 0))
        for rank in range(ranks):
            cut[rank][target] = parts[rank].clone()
    return cut


class Rates:
    """A class that the reader of checkpoints must not need."""

    def __init__(self) -> None:
        self.lr = [0.1]


def write_checkpoint(
    save: Path,
    settings: dict[str, Any],
    model: dict[str, torch.Tensor],
    step: int = 4,
    dtype: torch.dtype | None = None,
) -> Path:
    """A `global_stepN` folder with `latest` and configs, as GPT-NeoX leaves it."""
    folder = save / f"global_step{step}"
    (folder / "configs").mkdir(parents=True)
    yamlfile.write(folder / "configs" / "run.yml", settings)
    ranks = settings["model_parallel_size"]
    for rank, part in enumerate(split(model, ranks, settings["gpt_j_residual"])):
        if dtype is not None:
            part = {name: value.to(dtype) for name, value in part.items()}
        whole = {"lr_scheduler": Rates(), "dp_world_size": 1, "mp_world_size": ranks, "global_steps": step}
        if settings["pipe_parallel_size"]:
            for number in sorted({int(name.split(".")[1]) for name in part}):
                start = f"sequential.{number}."
                layer = {name.removeprefix(start): value for name, value in part.items() if name.startswith(start)}
                torch.save(layer, folder / f"layer_{number:02d}-model_{rank:02d}-model_states.pt")
            whole["module"] = None
        else:
            whole["module"] = part
        torch.save(whole, folder / f"mp_rank_{rank:02d}_model_states.pt")
    (save / "latest").write_text(f"global_step{step}")
    return folder


def converted(place: Path, out: Path, **options: Any) -> dict[str, Any]:
    """What `launch.convert` makes of a checkpoint."""
    texts = {name: str(value) if isinstance(value, Path) else value for name, value in options.items()}
    return convert(ConvertOptions(checkpoint=str(place), out=str(out), **texts))
