"""The checks of `launch.preflight` on keys that must agree: GPT-NeoX's own assertions, and its silent misunderstandings.

A table where one sentence says it all, functions where numbers are needed. Seen at GPT-NeoX ea7aefd.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from haigo.cli import HaigoError
from launch.plan.checks import blocks
from launch.plan.checks.check import Check
from neox_configs import neox_args, reader

_GATED = ("geglu", "reglu", "swiglu", "bilinear", "glu")
_RISE = 0.05
"""How much of the learning rate may come back after the end of a cosine before that is an error."""
_Get = Callable[[str], Any]


class _Rule(NamedTuple):
    name: str
    wrong: Callable[[_Get], Any]
    told: str
    fix: str
    status: str = "fail"


_RULES: tuple[_Rule, ...] = (
    _Rule("deepspeed", lambda g: not g("deepspeed"), "GPT-NeoX runs with DeepSpeed only.", "leave deepspeed out"),
    _Rule(
        "precision",
        lambda g: g("fp16_lm_cross_entropy") and g("precision_") != "fp16",
        "fp16_lm_cross_entropy without fp16: GPT-NeoX refuses it.",
        "leave it out",
    ),
    _Rule(
        "schedule",
        lambda g: g("override_lr_scheduler") and g("use_checkpoint_lr_scheduler"),
        "override_lr_scheduler and use_checkpoint_lr_scheduler are both true: GPT-NeoX refuses it.",
        "keep the one that is meant",
    ),
    _Rule(
        "schedule",
        lambda g: "OneBitAdam".lower() == g("optimizer_") and g("train_iters") is None,
        "OneBitAdam needs train_iters.",
        "give train_iters",
    ),
    _Rule(
        "model",
        lambda g: g("norm") == "non_parametric_layernorm" and g("layernorm_fusion"),
        "layernorm_fusion with non_parametric_layernorm: GPT-NeoX refuses it.",
        "leave layernorm_fusion out",
    ),
    _Rule(
        "model",
        lambda g: g("activation") == "gelu" and g("onnx_safe") and g("bias_gelu_fusion"),
        "onnx_safe with bias_gelu_fusion: GPT-NeoX refuses it.",
        "keep one of them",
    ),
    _Rule(
        "model",
        lambda g: g("intermediate_size") and g("expansion_factor"),
        "intermediate_size and expansion_factor are both given: GPT-NeoX refuses it.",
        "keep one of them",
    ),
    _Rule(
        "model",
        lambda g: (
            g("num_kv_heads") is not None and g("num_kv_heads") < g("num_attention_heads") and g("sparsity_config")
        ),
        "grouped query heads with a sparsity_config: GPT-NeoX refuses it.",
        "leave one of them out",
    ),
    _Rule(
        "model",
        lambda g: g("output_layer_parallelism") != "column",
        "output_layer_parallelism must be column: the other is broken, and GPT-NeoX ends with exit code 0.",
        "write output_layer_parallelism: column",
    ),
    _Rule(
        "optimizer",
        lambda g: g("use_mup") and g("optimizer_") not in ("adam", "sgd"),
        "use_mup goes with Adam or SGD only.",
        "write optimizer: {type: Adam, ...}",
    ),
    _Rule(
        "logging",
        lambda g: g("log_gradient_noise_scale") and g("stage_") >= 1,
        "log_gradient_noise_scale with ZeRO: GPT-NeoX ends on it.",
        "leave it out, or write stage: 0",
    ),
    _Rule(
        "training",
        lambda g: g("train_impl") in ("kto", "dpo", "rm") and g("pipe_parallel_size") >= 1,
        "this train_impl with a pipeline: GPT-NeoX refuses it.",
        "write pipe_parallel_size: 0",
    ),
    _Rule(
        "training",
        lambda g: g("train_impl") == "kto" and g("train_micro_batch_size_per_gpu") == 1,
        "train_impl kto needs a train_micro_batch_size_per_gpu above 1.",
        "write 2",
    ),
    _Rule(
        "training",
        lambda g: g("train_impl") in ("dpo", "rm") and g("dataset_impl") != "pairwise",
        "train_impl dpo and rm read pairs: GPT-NeoX ends at the first batch (a KeyError) of any other dataset.",
        "write dataset_impl: pairwise, with pos_ and neg_train_data_paths",
    ),
    _Rule(
        "training",
        lambda g: g("train_impl") not in ("dpo", "rm") and g("dataset_impl") == "pairwise",
        "dataset_impl pairwise is for train_impl dpo and rm: GPT-NeoX ends at the first batch of any other.",
        "leave dataset_impl out",
    ),
    _Rule(
        "training",
        lambda g: g("train_impl") == "kto" and g("dataset_impl") == "gpt2" and not g("train_reward_data_paths"),
        "train_impl kto without train_reward_data_paths: GPT-NeoX ends at the first batch (a KeyError).",
        "give train_reward_data_paths",
    ),
    _Rule(
        "training",
        lambda g: g("train_impl") == "reinforce" and g("dataset_impl") != "online",
        "train_impl reinforce reads rewards of a server: GPT-NeoX ends at the first batch (a KeyError) of any dataset.",
        "write dataset_impl: online",
    ),
    _Rule(
        "model",
        lambda g: g("moe_num_experts") > 1 and g("moe_top_k") > g("moe_num_experts"),
        "moe_top_k is above moe_num_experts: the first step ends the run.",
        "write a smaller moe_top_k",
    ),
    _Rule(
        "model",
        lambda g: g("moe_num_experts") > 1 and g("moe_num_experts") % max(1, g("model_parallel_size")),
        "moe_num_experts cannot be split over model_parallel_size: GPT-NeoX refuses it.",
        "use a multiple of model_parallel_size",
    ),
    _Rule(
        "model",
        lambda g: g("use_mup") and not g("base_shapes_file"),
        "use_mup without base_shapes_file: GPT-NeoX ends before training.",
        "give base_shapes_file, written by a run with save_base_shapes: true",
    ),
    _Rule(
        "model",
        lambda g: g("use_mup") and (g("save_base_shapes") or g("coord_check")),
        "save_base_shapes and coord_check end the run before its first step.",
        "leave them out of the config that trains",
        "warn",
    ),
    _Rule(
        "training",
        lambda g: g("adlr_autoresume"),
        "adlr_autoresume needs a package of NVIDIA's own: GPT-NeoX ends with exit code 0 without it.",
        "leave it out; launch.deepy restarts runs",
    ),
    _Rule(
        "checkpoints",
        lambda g: g("keep_last_n_checkpoints") and str(g("save") or "").endswith("/"),
        "keep_last_n_checkpoints with a save that ends in '/': GPT-NeoX then takes an absolute path for a relative one and "
        "deletes no old checkpoint.",
        "write save without the last '/'",
        "warn",
    ),
    _Rule(
        "precision",
        lambda g: g("precision_") == "fp32" and not g("precision") and g("distributed_backend") == "nccl",
        "no precision is given: GPT-NeoX trains in fp32.",
        "write precision: bfloat16 (or fp32, if that is meant)",
        "warn",
    ),
    _Rule(
        "precision",
        lambda g: g("precision_") == "fp16" and g("loss_scale") is not None,
        "loss_scale at the top level does nothing.",
        "write it into the fp16 block",
        "warn",
    ),
)


def checks(config: Mapping[str, Any]) -> list[Check]:
    """All checks of this page; only those that say no, or beware. Types and ranges must have been checked before.

    Args:
        config: what `reader.load` gave, with num_layers, hidden_size and num_attention_heads.
    """

    def get(name: str) -> Any:
        if name == "precision_":
            return blocks.precision(config)
        if name == "stage_":
            return stage(config)
        if name == "optimizer_":
            return str((config.get("optimizer") or {}).get("type", "Adam")).lower()
        return reader.value(config, name)

    found = [Check(rule.name, rule.status, rule.told, rule.fix) for rule in _RULES if rule.wrong(get)]
    return [
        *found,
        *_layers(config),
        *_heads(config),
        *_mlp(config),
        *_rates(config),
        *_saving(config),
        *_ending(config),
    ]


def stage(config: Mapping[str, Any]) -> int:
    """The ZeRO stage; 0 where none is given."""
    block = config.get("zero_optimization")
    given = block.get("stage", 0) if isinstance(block, Mapping) else 0
    return given if isinstance(given, int) else 0


def _layers(config: Mapping[str, Any]) -> Iterator[Check]:
    layers, unique = config["num_layers"], config.get("num_unique_layers")
    if unique is not None and (unique > layers or layers % unique):
        told = f"num_layers {layers} is not a multiple of num_unique_layers {unique}."
        yield Check("model", "fail", told, "leave num_unique_layers out")
    try:
        kinds = neox_args.attention_layers(config.get("attention_config"), layers)
    except HaigoError as error:
        yield Check("attention", "fail", error.problem, error.fix)
        return
    tensor, zero = max(1, reader.value(config, "model_parallel_size")), stage(config)
    grouped = (config.get("num_kv_heads") or config["num_attention_heads"]) < config["num_attention_heads"]
    trouble = {
        "GPT-NeoX refuses gmlp with partition_activations.": {"gmlp", "amlp"} & {*kinds}
        and reader.value(config, "partition_activations"),
        "GPT-NeoX refuses rwkv with model_parallel_size above 1.": "rwkv" in kinds and tensor > 1,
        "GPT-NeoX refuses mamba and rwkv with ZeRO 3.": {"mamba", "rwkv"} & {*kinds} and zero == 3,
        "mamba and rwkv have no dropout in GPT-NeoX.": {"mamba", "rwkv"} & {*kinds}
        and reader.value(config, "hidden_dropout"),
        "GPT-NeoX refuses grouped query heads with other attention than global or flash.": grouped
        and {*kinds} - {"global", "flash"},
    }
    if reader.value(config, "pos_emb") == "rpe" and "flash" in kinds:
        trouble["flash attention leaves the rpe out, and GPT-NeoX says nothing."] = True
    for told, wrong in trouble.items():
        if wrong:
            yield Check("attention", "fail", told, "change one of the two")
    if "flash" in kinds and blocks.precision(config) == "fp32":
        told = "flash attention takes fp16 and bfloat16 only, and this run is in fp32: the first step ends it."
        yield Check("attention", "warn", told, "write precision: bfloat16, or attention_config without flash")


def _heads(config: Mapping[str, Any]) -> Iterator[Check]:
    hidden, heads, tensor = (
        config["hidden_size"],
        config["num_attention_heads"],
        reader.value(config, "model_parallel_size"),
    )
    tensor, groups = max(1, tensor), config.get("num_kv_heads")
    if groups is not None and heads % groups:
        told = f"{heads} heads cannot share num_kv_heads {groups}."
        yield Check("model", "fail", told, f"use a divisor of {heads}")
    elif groups is not None and groups % tensor:
        told = f"num_kv_heads {groups} cannot be split over model_parallel_size {tensor}."
        yield Check("model", "fail", told, "use a multiple of it")
    if hidden % tensor:
        told = f"hidden_size {hidden} cannot be split over model_parallel_size {tensor}."
        yield Check("model", "fail", told, "change one of them")
    length = config.get("seq_length")
    if reader.value(config, "sequence_parallel") and length and length % tensor:
        told = f"sequence_parallel: seq_length {length} cannot be split over {tensor} GPUs."
        yield Check("model", "fail", told, "change one of them")
    if reader.value(config, "pos_emb") != "rotary" or hidden % heads:
        return
    share = reader.value(config, "rotary_pct")
    turned = hidden // heads if share == 1 else int(hidden // heads * share)
    if turned % 2 or turned < 1:
        told = (
            f"rotary_pct {share} of a head of {hidden // heads} is {turned} dimensions, which must be even and above 0."
        )
        yield Check("model", "fail", told, "change rotary_pct or the number of heads")


def _mlp(config: Mapping[str, Any]) -> Iterator[Check]:
    """GPT-NeoX rounds the two matrices of an MLP each for itself; where that gives two sizes the first step ends the run."""
    if reader.value(config, "moe_num_experts") > 1:
        return
    hidden, multiple, tensor = (
        config["hidden_size"],
        reader.value(config, "mlp_multiple_of"),
        max(1, reader.value(config, "model_parallel_size")),
    )
    size = config.get("intermediate_size") or int((config.get("expansion_factor") or 4) * hidden)
    gated = reader.value(config, "activation") in _GATED
    wide = int(size * 2 / 3) if gated else size
    outer = 2 * multiple * math.ceil(wide / (2 * multiple))
    inner = multiple * math.ceil((wide // 2 if gated else wide) / multiple)
    if outer != (2 * inner if gated else inner):
        told = f"an MLP of {size} with mlp_multiple_of {multiple} gives GPT-NeoX matrices of {outer} and {inner}."
        step = 3 * multiple if gated else 2 * multiple
        yield Check("model", "fail", told, f"use an intermediate_size divisible by {step}")
    elif outer % tensor or inner % tensor:
        told = f"an MLP of {inner} cannot be split over model_parallel_size {tensor}."
        yield Check("model", "fail", told, "change intermediate_size")


def _rates(config: Mapping[str, Any]) -> Iterator[Check]:
    iters, decay = config.get("train_iters"), config.get("lr_decay_iters")
    if iters is not None and decay is None and config.get("lr_decay_fraction") is not None:
        decay = math.floor(iters * config["lr_decay_fraction"])
        if decay < 1:
            yield Check("schedule", "fail", "lr_decay_fraction leaves no step.", "raise it, or leave it out")
            return
    elif decay is not None and config.get("lr_decay_fraction") is not None:
        told = f"lr_decay_fraction does nothing beside lr_decay_iters {decay}."
        yield Check("schedule", "warn", told, "keep one of them")
    if iters is None or decay is None or decay >= iters:
        return
    style, warm = reader.value(config, "lr_decay_style"), reader.value(config, "warmup") * decay
    if style != "cosine":
        return
    back = (1 - math.cos(math.pi * (iters - decay) / (decay - warm))) / 2
    told = (
        f"lr_decay_iters {decay} is below train_iters {iters}: GPT-NeoX's cosine goes on, and the learning rate is back at "
        f"{back:.2g} of the way to its peak in the end."
    )
    yield Check("schedule", "fail" if back > _RISE else "warn", told, f"write lr_decay_iters: {iters}")


def _saving(config: Mapping[str, Any]) -> Iterator[Check]:
    factor, scale = config.get("checkpoint_factor"), reader.value(config, "checkpoint_scale")
    if factor is not None and scale == "linear" and not float(factor).is_integer():
        told = f"checkpoint_factor {factor} is not a whole number: GPT-NeoX ends after the first step."
        yield Check("checkpoints", "fail", told, f"write {max(1, round(factor))}")
    if factor is not None and scale == "log" and factor <= 1:
        told = f"checkpoint_factor {factor} with checkpoint_scale log: GPT-NeoX ends after the first step."
        yield Check("checkpoints", "fail", told, "write a number above 1")
    for step in config.get("extra_save_iters") or []:
        if isinstance(step, bool) or not isinstance(step, int) or step < 0:
            yield Check("checkpoints", "fail", f"extra_save_iters: {step!r} is no step.", "write whole numbers")


def _ending(config: Mapping[str, Any]) -> Iterator[Check]:
    end, iters = config.get("exit_interval"), config.get("train_iters")
    if end and iters and end < iters:
        told = f"exit_interval {end}: GPT-NeoX ends the run at step {end} of {iters}, without a checkpoint."
        yield Check("schedule", "warn", told, "leave it out; how often to save is checkpoint_factor")
