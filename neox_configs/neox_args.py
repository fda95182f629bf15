"""What GPT-NeoX's NeoXArgs makes of config files: every key's value after its own derivations, and the two JSON texts.

`values` is the arithmetic of `NeoXArgs.calculate_derived` at commit ea7aefd, key for key and in its order, so that
`megatron_config` and `deepspeed_config` come out byte for byte as deepy.py writes them on the command line. What only
GPT-NeoX's environment can tell (a random wandb group) is passed in.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from haigo.cli import HaigoError, Refused
from neox_configs import reader
from neox_configs.keys import KEYS

_ZERO = {
    "stage": 0,
    "allgather_partitions": True,
    "reduce_scatter": True,
    "allgather_bucket_size": 500_000_000,
    "overlap_comm": False,
    "reduce_bucket_size": 500_000_000,
    "contiguous_gradients": False,
}
ATTENTION = (
    *("global", "local", "sparse_fixed", "sparse_variable", "bigbird", "bslongformer"),
    *("gmlp", "amlp", "flash", "rwkv", "mamba"),
)
"""Kinds of attention that GPT-NeoX knows."""
DEFAULT_LR = 0.001
_OPTIMIZER: dict[str, Any] = {"type": "Adam", "params": {"lr": DEFAULT_LR}}


def raw(paths: Sequence[Path]) -> dict[str, Any]:
    """The files as deepy.py reads them: PyYAML's reading of numbers, and the text of each file as `config_files`.

    Raises:
        HaigoError: as `reader.load`.
    """
    reader.check_keys(reader.load(paths))
    config: dict[str, Any] = {}
    texts: dict[str, str] = {}
    for path in paths:
        text = path.read_text(encoding="utf-8")
        config |= {key.replace("-", "_"): value for key, value in yaml.safe_load(text).items()}
        texts[path.name] = text
    return config | {"config_files": texts}


def values(config: Mapping[str, Any], gpus: int | None) -> dict[str, Any]:
    """Every key of GPT-NeoX with its value after `calculate_derived`.

    Args:
        config: what `raw` gave, with the words of the command line over it.
        gpus: the world size that GPT-NeoX counts, where the config gives no global_num_gpus.

    Raises:
        HaigoError: GPT-NeoX would refuse these values, or gpus is needed and None.
    """
    got: dict[str, Any] = {name: key.default for name, key in KEYS.items()} | copy.deepcopy(dict(config))
    if got["global_num_gpus"] is None:
        if gpus is None:
            raise HaigoError("the number of GPUs is not known.", "give -H HOSTFILE, or --gpus N")
        got["global_num_gpus"] = gpus
    _batch(got)
    _precision(got)
    _zero(got)
    _optimizer(got)
    got["dynamic_loss_scale"] = got["loss_scale"] is None
    got["is_pipe_parallel"] = got["pipe_parallel_size"] >= 1
    got["attention_config"] = attention_layers(got["attention_config"], got["num_layers"])
    if got["sparsity_config"] is None:
        got["sparsity_config"] = {}
    for split in ("train", "valid", "test"):
        paths = got[f"{split}_data_paths"] or got[f"pos_{split}_data_paths"]
        if paths and got[f"{split}_data_weights"] is None:
            got[f"{split}_data_weights"] = [1.0] * len(paths)
    if got["text_gen_type"] is None:
        got["text_gen_type"] = "input-file" if got["sample_input_file"] else "unconditional"
    return got


def _batch(got: dict[str, Any]) -> None:
    pipe, tensor = max(1, got["pipe_parallel_size"]), max(1, got["model_parallel_size"])
    got["model_parallel_size"] = tensor
    copies = got["global_num_gpus"] / pipe / tensor
    train, micro, steps = (
        got[key] for key in ("train_batch_size", "train_micro_batch_size_per_gpu", "gradient_accumulation_steps")
    )
    if copies % 1 or copies < 1:
        raise Refused(
            f"{got['global_num_gpus']} GPUs cannot be split into {pipe} x {tensor}.",
            f"use a multiple of {pipe * tensor}",
        )
    if train is None and micro is None:
        raise Refused("no batch size is given.", "write train_micro_batch_size_per_gpu")
    if train is None:
        steps = 1 if steps is None else steps
        train = micro * steps * copies
    elif micro is None:
        steps = 1 if steps is None else steps
        micro = train // copies // steps
    elif steps is None:
        steps = train // micro // copies
    train, micro, steps = int(train), int(micro), int(steps)
    if min(train, micro, steps) < 1 or train != micro * steps * copies:
        raise Refused(
            f"train_batch_size {train} is not micro batch {micro} x accumulation {steps} x {copies:g} copies.",
            "write train_micro_batch_size_per_gpu and gradient_accumulation_steps, and leave train_batch_size out",
        )
    got["train_batch_size"], got["train_micro_batch_size_per_gpu"] = train, micro
    got["gradient_accumulation_steps"], got["batch_size"] = steps, micro
    got["clip_grad"] = got["gradient_clipping"]


def _precision(got: dict[str, Any]) -> None:
    for block, name in (("fp16", "fp16"), ("bf16", "bfloat16")):
        if got[block] and got[block].get("enabled", False):
            if got["precision"] not in (None, name):
                raise Refused(f"precision {got['precision']} with {block} enabled.", "keep one of them")
            got["precision"] = name
    if got["precision"] == "fp16":
        block = got["fp16"]
        got["fp16"] = {**block, "enabled": True} if block else {"type": "fp16", "enabled": True}
    elif got["precision"] == "bfloat16":
        if not got["bf16"]:
            got["deepspeed_extra_args"] = {**(got["deepspeed_extra_args"] or {}), "bf16": {"enabled": True}}
        if got["zero_optimization"] is None:
            raise Refused("bfloat16 without a zero_optimization block.", "add one, with a stage")
    else:
        got["precision"] = "fp32"


def _zero(got: dict[str, Any]) -> None:
    if got["zero_optimization"] is None:
        got["zero_optimization"] = dict(_ZERO)
    block = got["zero_optimization"]
    if "stage" not in block:
        raise Refused("zero_optimization has no stage.", "write stage: 1")
    if block["stage"] not in (0, 1, 2, 3):
        if got["autotuning"] is None:
            raise Refused(f"ZeRO stage {block['stage']} does not exist.", "write 0, 1, 2 or 3")
        return
    for key in ("stage", "reduce_scatter", "contiguous_gradients", "reduce_bucket_size", "allgather_bucket_size"):
        got[f"zero_{key}"] = block.get(key, _ZERO[key])


def _optimizer(got: dict[str, Any]) -> None:
    block = got["optimizer"] or _OPTIMIZER
    if not isinstance(block.get("params"), Mapping):
        raise Refused("optimizer has no params.", "write optimizer: {type: Adam, params: {lr: ...}}")
    got["optimizer_type"] = block.get("type", _OPTIMIZER["type"])
    got["lr"] = block["params"].get("lr", DEFAULT_LR)
    if got["optimizer_type"].lower() == "onebitadam":
        if got["train_iters"] is None:
            raise Refused("OneBitAdam needs train_iters.", "give train_iters")
        got["scheduler"] = {
            "type": "WarmupDecayLR",
            "params": {
                "warmup_min_lr": 0,
                "warmup_max_lr": got["lr"],
                "warmup_num_steps": int(got["train_iters"] * got["warmup"]),
                "total_num_steps": got["lr_decay_iters"] or got["train_iters"],
            },
        }


def attention_layers(config: Any, layers: int | None) -> list[str]:
    """The kind of attention of every layer, as GPT-NeoX expands attention_config.

    Args:
        config: a list of kinds, one a layer, or of [[KIND, ...], TIMES]; TIMES may be "all". None: global everywhere.
        layers: num_layers.

    Raises:
        Refused: GPT-NeoX would refuse it, or end on it.
    """
    fix = f'write attention_config: [[["global"], {layers or "LAYERS"}]]'
    if layers is None:
        raise Refused("num_layers is not given.", "give num_layers")
    config = [[["global"], layers]] if config is None else config
    expanded: list[str] = []
    if all(isinstance(item, str) for item in config):
        expanded = list(config)
    else:
        for item in config:
            if not (isinstance(item, list) and len(item) == 2 and isinstance(item[0], list) and item[0]):
                raise Refused(f"attention_config: {item!r} is not [[KIND, ...], TIMES].", fix)
            kinds, often = item
            if often == "all":
                if layers % len(kinds):
                    raise Refused(f"attention_config: {layers} layers are not a multiple of {kinds}.", fix)
                expanded = kinds * (layers // len(kinds))
                break
            if isinstance(often, bool) or not isinstance(often, int) or often > layers:
                raise Refused(f"attention_config: {often!r} is no number of times for {layers} layers.", fix)
            expanded += kinds * often
    if len(expanded) != layers:
        raise Refused(f"attention_config gives {len(expanded)} layers of {layers}.", fix)
    unknown = [kind for kind in expanded if kind not in ATTENTION]
    if unknown:
        raise Refused(f"attention_config: {unknown[0]!r} is not a kind of attention.", f"use {', '.join(ATTENTION)}")
    return expanded


def megatron_config(got: Mapping[str, Any]) -> dict[str, Any]:
    """What deepy.py sends to the ranks as `--megatron_config`: all keys that differ from their default, in its order."""
    return {name: got[name] for name, key in KEYS.items() if got[name] != key.default}


def deepspeed_config(got: Mapping[str, Any]) -> dict[str, Any]:
    """What deepy.py sends as `--deepspeed_config`: DeepSpeed's keys that differ, and `deepspeed_extra_args` over them."""
    named = {name: key for name, key in KEYS.items() if key.group == "deepspeed" and name != "deepspeed_extra_args"}
    own = {name: got[name] for name, key in named.items() if got[name] != key.default}
    return own | (got["deepspeed_extra_args"] or {})
