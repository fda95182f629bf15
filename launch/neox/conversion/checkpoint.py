"""GPT-NeoX's checkpoints as files: which folder is meant, how it is laid out, what its weights are, what is wrong with it.

    global_stepN/configs/*.yml                       the configs of the run, as they were given
    global_stepN/mp_rank_MM_model_states.pt          pipe_parallel_size 0: all weights of tensor rank MM
    global_stepN/layer_LL-model_MM-model_states.pt   pipe_parallel_size >= 1: one file a layer and tensor rank

Layers are numbered as GPT-NeoX builds them: 0 embeds, 1 reshapes, 2 to L + 1 are the blocks, L + 2 reshapes, L + 3 is the
last norm, L + 4 the output layer (not there when it is tied to the embedding). Files are mapped, not loaded; what they may
name is in `pickles`.
"""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from haigo.cli import HaigoError
from haigo.pickles import refusal
from launch.engine import keys
from launch.neox import checkpoints, saved_files
from launch.neox.conversion import pickles
from launch.plan.checks import values
from neox_configs import derive, huggingface, reader
from neox_configs.keys import KEYS

if TYPE_CHECKING:
    import torch

_HELD = [
    "activation", "norm", "pos_emb", "gpt_j_tied", "moe_num_experts", "use_qk_layernorm", "use_mup", "te_columnparallel",
    "te_rowparallel", "te_layernorm_mlp", "te_mha", "te_fp8_mha", "num_unique_layers", "soft_prompt_tuning",
    "apply_query_key_layer_scaling",
]  # fmt: skip
_NEEDED = ("num_layers", "hidden_size", "num_attention_heads", "max_position_embeddings")
_SIZES = (*_NEEDED, "intermediate_size", "expansion_factor", "mlp_multiple_of", "attention_config")
_DAMAGED = (
    RuntimeError, EOFError, pickle.UnpicklingError, ValueError, KeyError, TypeError, AttributeError,
    zipfile.BadZipFile,
)  # fmt: skip


@dataclass(frozen=True)
class Checkpoint:
    """One `global_stepN` folder and what is known of it."""

    folder: Path
    step: int
    config: dict[str, Any]
    """The run's keys, merged, with the sizes written out."""
    ranks: int
    """Tensor-parallel ranks."""
    pipeline: bool
    """One file a layer."""
    data_ranks: int | None = None
    """Data-parallel copies of the run, where the checkpoint says so."""
    rows: int | None = None
    """Of the vocabulary as it was published, of one that `launch.convert --to-neox` wrote."""
    _cache: dict[int, list[Mapping[str, torch.Tensor]]] = field(default_factory=dict, repr=False)

    @property
    def layers(self) -> int:
        return int(self.config["num_layers"])

    @property
    def tied(self) -> bool:
        return not reader.value(self.config, "no_weight_tying")

    @property
    def kind(self) -> str:
        """transformers' model_type."""
        return huggingface.family(self.config)

    def numbers(self) -> list[int]:
        """GPT-NeoX's numbers of the layers that have weights."""
        return checkpoints.layer_numbers(self.layers, self.tied)

    def file(self, number: int, rank: int) -> Path:
        """The file that holds layer `number` of tensor rank `rank`."""
        return self.folder / checkpoints.weights_name(rank, number if self.pipeline else None)

    def states(self, number: int) -> list[Mapping[str, torch.Tensor]]:
        """The weights of layer `number`, one mapping a tensor rank, by GPT-NeoX's names without `sequential.N.`.

        Raises:
            HaigoError: a file is missing or damaged.
        """
        if self.pipeline:
            return [_weights(self.file(number, rank), self.folder) for rank in range(self.ranks)]
        if not self._cache:
            self._cache[0] = [_weights(self.file(0, rank), self.folder) for rank in range(self.ranks)]
        start = f"sequential.{number}."
        return [
            {name.removeprefix(start): tensor for name, tensor in whole.items() if name.startswith(start)}
            for whole in self._cache[0]
        ]


def load(place: str | Path, configs: Sequence[str | Path] = (), iteration: int | None = None) -> Checkpoint:
    """Find a checkpoint and its config, and settle its layout from the files that are there.

    Args:
        place: a save folder or a `global_stepN` folder.
        configs: config files to take instead of those kept with the checkpoint.
        iteration: see `checkpoints.find`.

    Raises:
        HaigoError: no checkpoint, no config, a model that transformers has not, or files and
            config that do not belong together.
    """
    folder = checkpoints.find(place, iteration)
    step = checkpoints.step_of(folder.resolve().name)
    kept = checkpoints.kept_configs(folder)
    if not configs and not kept:
        raise HaigoError(f"{folder} has no configs/ with the run's config.", "give it with --config FILE")
    config = reader.load([*configs] if configs else kept)
    _fits(config)
    config["model_parallel_size"] = int(config.get("model_parallel_size") or 1)
    ranks, pipeline = _layout(folder, config)
    rows = (checkpoints.published(folder) or {}).get("vocab_size")
    checkpoint = Checkpoint(folder, step or 0, config, ranks, pipeline, _data_ranks(folder), rows)
    for path in (checkpoint.file(number, rank) for number in checkpoint.numbers() for rank in range(ranks)):
        if not path.is_file():
            raise HaigoError(f"{path} is missing.", _elsewhere(folder))
    return checkpoint


def _fits(config: dict[str, Any]) -> None:
    """Refuse what the conversion cannot hold, and write out the sizes that follow from other keys."""
    for name in _NEEDED:
        if not isinstance(config.get(name), int):
            raise HaigoError(f"the config gives no {name}.", "give the run's whole config with --config")
    sizes = {name: config[name] for name in _SIZES if name in config}
    wrong = [f"the config's {problem}" for problem in reader.type_problems(sizes)]
    for problem in wrong or [each.found for each in values.numbers(sizes)]:
        raise HaigoError(problem, "give the run's own config")
    for name in _HELD:
        if reader.value(config, name) not in KEYS[name].held:
            raise HaigoError(
                f"{name}: {config.get(name)!r} cannot be converted: {KEYS[name].engine_why}.",
                "there is no way around this",
            )
    if (impl := reader.value(config, "train_impl")) not in ("normal", "dpo", "kto", "reinforce"):
        raise HaigoError(f"train_impl: '{impl}' makes no language model.", "there is no way around this")
    if int((config.get("zero_optimization") or {}).get("stage") or 0) >= 3:
        raise HaigoError(
            "the run used ZeRO stage 3, whose checkpoints hold no whole weights.",
            "run zero_to_fp32.py in the save folder, and train with stage 1 next time",
        )
    keys.attention(config)
    huggingface.family(config, "converted")
    huggingface.fields(config)  # says where the MLP does not fit together
    if not derive.mlp(config).gated:
        config["intermediate_size"] = derive.mlp(config).outer
        config.pop("expansion_factor", None)


def _layout(folder: Path, config: Mapping[str, Any]) -> tuple[int, bool]:
    names = [path.name for path in folder.iterdir()]
    layered = [match for match in map(checkpoints.LAYER.match, names) if match]
    whole = [match for match in map(checkpoints.RANK.match, names) if match]
    if not layered and not whole:
        raise HaigoError(f"{folder} holds no weights of GPT-NeoX.", _elsewhere(folder))
    pipeline = bool(layered)
    stated = config.get("pipe_parallel_size")
    if stated is not None and (int(stated) >= 1) != pipeline:
        kind = "one file a layer" if pipeline else "one file a tensor rank"
        raise HaigoError(
            f"the config says pipe_parallel_size {stated}, and {folder} holds {kind}.", "give the run's own config"
        )
    ranks = 1 + max(int(match[2]) for match in layered) if pipeline else 1 + max(int(match[1]) for match in whole)
    stated = config["model_parallel_size"]
    if ranks != stated:
        problem = f"{folder} holds {ranks} tensor ranks, and the config says model_parallel_size {stated}"
        if ranks < stated:
            raise HaigoError(f"{problem}: files are missing, or it is not this run's config.", _elsewhere(folder))
        raise HaigoError(f"{problem}.", "give the run's own config")
    if pipeline:
        last = max(int(match[1]) for match in layered)
        wanted = config["num_layers"] + (4 if reader.value(config, "no_weight_tying") else 3)
        if last > wanted:
            raise HaigoError(
                f"{folder} holds layers up to {last}, and a model of num_layers {config['num_layers']} ends at {wanted}.",
                "give the run's own config",
            )
    return ranks, pipeline


def _data_ranks(folder: Path) -> int | None:
    path = folder / checkpoints.weights_name(0)
    if not path.is_file():
        return None
    size = read(path, folder).get("dp_world_size")
    return size if isinstance(size, int) and size >= 1 else None


def _elsewhere(folder: Path) -> str:
    this = checkpoints.step_of(folder.resolve().name)
    others = [step for step in checkpoints.steps(folder.resolve().parent) if step != this]
    if others:
        return f"copy it again, or convert another step: --iteration {others[-1]} with the save folder"
    return "copy the checkpoint again from where it was written"


def read(path: Path, folder: Path) -> dict[str, Any]:
    """What a `.pt` file holds; tensors are mapped from the file.

    Raises:
        HaigoError: missing or damaged.
        Refused: it names what no checkpoint needs.
    """
    try:
        held = pickles.load(str(path), pickles.Reader, mmap=True)
    except FileNotFoundError:
        raise HaigoError(f"{path} is missing.", _elsewhere(folder)) from None
    except _DAMAGED as error:
        raise refusal(path, error) or HaigoError(
            f"{path} is torn or damaged ({type(error).__name__}: {str(error).splitlines()[0][:80] if str(error) else ''}).",
            _elsewhere(folder),
        ) from None
    if not isinstance(held, dict):
        raise HaigoError(f"{path} holds no weights.", _elsewhere(folder))
    return held


def _weights(path: Path, folder: Path) -> Mapping[str, torch.Tensor]:
    import torch

    if path.is_file() and (trouble := saved_files.torn(path, deep=True)):
        raise HaigoError(f"{path} is torn or damaged: it {trouble}.", _elsewhere(folder))
    held = read(path, folder)
    inner = held.get("module", held)
    return {name: value for name, value in inner.items() if isinstance(value, torch.Tensor)}
