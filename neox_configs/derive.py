"""What GPT-NeoX works out from a config: batch sizes, the padded vocabulary, and how many parameters come of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from haigo.cli import HaigoError, Refused
from neox_configs import neox_args, reader


@dataclass(frozen=True)
class Batch:
    """How a global batch is spread over the GPUs."""

    gpus: int
    data_parallel: int
    """Copies of the model: gpus / (tensor parallel * pipeline parallel)."""
    micro: int
    """Sequences a GPU group takes at once (`train_micro_batch_size_per_gpu`)."""
    accumulation: int
    """Micro batches before a step (`gradient_accumulation_steps`)."""
    train: int
    """Sequences a step (`train_batch_size`)."""


NOT_GPT = ("gmlp", "amlp", "rwkv", "mamba")
"""Kinds in attention_config whose layer is another than attention and MLP."""
GATED = ("geglu", "reglu", "swiglu", "bilinear", "glu")
_COUNTS = (
    "pipe_parallel_size", "model_parallel_size", "train_batch_size", "train_micro_batch_size_per_gpu",
    "gradient_accumulation_steps",
)  # fmt: skip


def gpus_of_a_copy(config: Mapping[str, Any]) -> int:
    """GPUs that one copy of the model is spread over: tensor parallel x pipeline parallel."""
    pipe, tensor = reader.value(config, "pipe_parallel_size"), reader.value(config, "model_parallel_size")
    return max(1, int(pipe)) * max(1, int(tensor))


def batch(config: Mapping[str, Any], gpus: int) -> Batch:
    """GPT-NeoX's own batch arithmetic, its traps included.

    `gradient_accumulation_steps` defaults to 1 there and not to "work it out", so that `train_batch_size` with
    `train_micro_batch_size_per_gpu` alone must fit without accumulation.

    Raises:
        HaigoError: the numbers do not fit together, as GPT-NeoX would find after start-up.
    """
    _check_counts(config)
    copy = gpus_of_a_copy(config)
    if gpus < 1 or gpus % copy:
        raise HaigoError(
            f"{gpus} GPUs cannot be split into pipe_parallel_size {max(1, reader.value(config, 'pipe_parallel_size'))} x "
            f"model_parallel_size {max(1, reader.value(config, 'model_parallel_size'))}.",
            f"use a multiple of {copy} GPUs",
        )
    parallel = gpus // copy
    train: Any = config.get("train_batch_size")
    micro: Any = config.get("train_micro_batch_size_per_gpu")
    steps = config.get("gradient_accumulation_steps", 1)
    if train is None and micro is None:
        raise HaigoError(
            "the config gives no batch size: neither train_batch_size nor train_micro_batch_size_per_gpu.",
            "write train_micro_batch_size_per_gpu and gradient_accumulation_steps",
        )
    if micro is None:
        steps = 1 if steps is None else steps
        micro = train // parallel // max(1, steps)
    elif train is None:
        steps = 1 if steps is None else steps
        train = micro * steps * parallel
    elif steps is None:
        steps = train // max(1, micro) // parallel
    if min(train, micro, steps) < 1 or train != micro * steps * parallel:
        raise HaigoError(
            f"train_batch_size {train} is not micro batch {micro} x accumulation {steps} x {parallel} copies.",
            "write train_micro_batch_size_per_gpu and gradient_accumulation_steps, and leave train_batch_size out",
        )
    return Batch(gpus, parallel, micro, steps, train)


def batch_of(config: Mapping[str, Any], copies: int | None = None) -> Batch:
    """As `batch`, where nobody says how many GPUs there are: `global_num_gpus`, else as many as the batch sizes ask for.

    Args:
        copies: of the model, where the config does not tell of the whole; 1 when None.

    Raises:
        HaigoError: as `batch`.
    """
    _check_counts(config)
    steps = config.get("gradient_accumulation_steps")
    made = {**config, "gradient_accumulation_steps": 1 if steps is None else steps}
    gpus = config.get("global_num_gpus")
    if not gpus:
        train, micro = config.get("train_batch_size"), config.get("train_micro_batch_size_per_gpu")
        if train is not None:
            copies = train // max(1, micro * made["gradient_accumulation_steps"]) if micro else 1
        gpus = max(1, copies or 1) * gpus_of_a_copy(config)
    return batch(made, int(gpus))


def _check_counts(config: Mapping[str, Any]) -> None:
    for key in _COUNTS:
        given = config.get(key)
        if given is not None and (isinstance(given, bool) or not isinstance(given, int)):
            raise HaigoError(f"{key} is {str(given)[:60]!r}, and a whole number is needed.", "write a whole number")


class Mlp(NamedTuple):
    """The sizes of an MLP as GPT-NeoX builds it; it rounds the two matrices each for itself."""

    size: int
    """As asked for."""
    gated: bool
    outer: int
    """Rows of the first matrix."""
    inner: int
    """Columns of the second; where they are not `outer` (half of it when gated) the first step ends the run."""


def mlp(config: Mapping[str, Any]) -> Mlp:
    """The MLP of a config whose keys have the right types."""
    size = config.get("intermediate_size") or int((config.get("expansion_factor") or 4) * config["hidden_size"])
    gated, multiple = reader.value(config, "activation") in GATED, reader.value(config, "mlp_multiple_of")
    wide = int(size * 2 / 3) if gated else size
    outer = 2 * multiple * math.ceil(wide / (2 * multiple))
    return Mlp(size, gated, outer, multiple * math.ceil((wide // 2 if gated else wide) / multiple))


def check_layer(config: Mapping[str, Any]) -> None:
    """See that GPT-NeoX can build a layer and run it. The config must say hidden_size and num_attention_heads.

    Raises:
        Refused: heads that do not divide, or an MLP whose two matrices it rounds to sizes that do not fit together.
    """
    hidden, heads, own, sizes = config["hidden_size"], config["num_attention_heads"], kv_heads(config), mlp(config)
    if hidden % heads:
        raise Refused(f"hidden_size {hidden} is not a multiple of {heads} heads.", "change one of them")
    if own < 1 or heads % own:
        raise Refused(f"{heads} heads cannot share num_kv_heads {own}.", f"use a divisor of {heads}")
    if sizes.outer != sizes.inner * (2 if sizes.gated else 1):
        shape = f"activation {reader.value(config, 'activation')}, an MLP of {sizes.size}"
        multiple = (3 if sizes.gated else 2) * reader.value(config, "mlp_multiple_of")
        raise Refused(
            f"{shape}: GPT-NeoX rounds its matrices to {sizes.outer} and {sizes.inner}, and the first step ends the run.",
            f"use an intermediate_size divisible by {multiple}",
        )


def padded_vocab(config: Mapping[str, Any], vocab_size: int) -> int:
    """The vocabulary after padding: the next multiple of make_vocab_size_divisible_by * model_parallel_size."""
    step = reader.value(config, "make_vocab_size_divisible_by") * max(1, reader.value(config, "model_parallel_size"))
    return int(-(-vocab_size // step) * step)


class Block(NamedTuple):
    """The parameters of one layer, by part."""

    attention: int
    """Its two matrices, query, key and value being one."""
    mlp: int
    """Its two matrices."""
    rest: int
    """Biases and norms."""


def parameters(config: Mapping[str, Any], padded: int) -> tuple[int, int]:
    """Parameters of GPT-NeoX's dense transformer, gated or not, with as many key and value heads as it has.

    Args:
        config: with num_layers, hidden_size, num_attention_heads and, if they differ from GPT-NeoX's defaults, the keys of
            MLP, heads, norms, biases and positions.
        padded: the padded vocabulary.

    Returns:
        (parameters of one layer, all parameters). Of a GPT with default keys L(12h^2 + 13h) + 2h + 2Vh, or Vh with tied
        embeddings.

    Raises:
        HaigoError: a size is missing. Refused: the architecture is not one counted here.
    """
    need = ("num_layers", "hidden_size", "num_attention_heads")
    missing = [key for key in need if not isinstance(config.get(key), int) or config[key] < 1]
    if missing:
        raise HaigoError(f"the model config gives no {missing[0]} above 0.", f"give {', '.join(need)} and seq_length")
    if other := uncounted(config):
        raise Refused(
            f"{' and '.join(other)}: no formula is for such a model, and a plain GPT's would mislead.",
            "plan a dense GPT or Llama (attention global or flash, no moe_num_experts)",
        )
    hidden, layer = config["hidden_size"], sum(block(config))
    learned = (
        reader.value(config, "max_position_embeddings") or 0 if reader.value(config, "pos_emb") == "learned" else 0
    )
    tables = (2 if reader.value(config, "no_weight_tying") else 1) * padded * hidden + learned * hidden
    return layer, config["num_layers"] * layer + tables + _norm(config)


def block(config: Mapping[str, Any]) -> Block:
    """The parameters of a dense layer. The config must say hidden_size and num_attention_heads."""
    hidden, sizes = config["hidden_size"], mlp(config)
    both = 2 * (hidden // config["num_attention_heads"]) * kv_heads(config)
    rest = 2 * _norm(config) + (_norm(config) if reader.value(config, "use_qk_layernorm") else 0)
    if reader.value(config, "use_bias_in_attn_linear"):
        rest += hidden + both + hidden
    if reader.value(config, "use_bias_in_mlp"):
        rest += sizes.outer + hidden
    return Block(hidden * (hidden + both) + hidden * hidden, hidden * (sizes.outer + sizes.inner), rest)


def kv_heads(config: Mapping[str, Any]) -> int:
    """Key and value heads of a layer: as many as there are query heads where num_kv_heads is not given."""
    return int(config.get("num_kv_heads") or config["num_attention_heads"])


def _norm(config: Mapping[str, Any]) -> int:
    """Parameters of a norm over the hidden size. `use_bias_in_norms` is read by nobody."""
    kind, hidden = reader.value(config, "norm"), config["hidden_size"]
    return int({"non_parametric_layernorm": 0, "scalenorm": 1}.get(kind, hidden if "rms" in kind else 2 * hidden))


def uncounted(config: Mapping[str, Any]) -> list[str]:
    """What makes a model another than the dense ones that `parameters` counts, in words; empty for one.

    Args:
        config: with num_layers.

    Raises:
        Refused: an attention_config that GPT-NeoX would not take.
    """
    kinds = dict.fromkeys(neox_args.attention_layers(config.get("attention_config"), config["num_layers"]))
    found = [f"attention_config {kind}" for kind in kinds if kind in NOT_GPT]
    if reader.value(config, "moe_num_experts") > 1:
        found.append(f"moe_num_experts {config['moe_num_experts']}")
    return found
