"""The checks of `launch.preflight` on the blocks inside a config: optimizer, precision, ZeRO, and others of DeepSpeed.

GPT-NeoX hands `optimizer.params` to the optimizer's constructor as they are, and most other blocks to DeepSpeed, which ignores
in fp16, bf16 and data_types what it does not know and refuses it in zero_optimization. Seen at GPT-NeoX ea7aefd with
DeepSpeed 0.16.5.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from haigo.cli import nearest
from launch.plan.checks import schema
from launch.plan.checks.check import Check
from launch.plan.checks.schema import number
from neox_configs import reader


def _words(text: str) -> list[str]:
    return text.split()


_FUSED = "lr betas eps bias_correction adam_w_mode set_grad_none capturable master_weights amsgrad"
OPTIMIZERS: dict[str, str] = {
    "adam": _FUSED,
    "onebitadam": "lr betas eps bias_correction freeze_step eps_inside_sqrt weight_decay cuda_aware comm_backend_name",
    "cpu_adam": "lr betas eps bias_correction amsgrad adamw_mode fp32_optimizer_states",
    "cpu_torch_adam": "lr betas eps bias_correction amsgrad adamw_mode fp32_optimizer_states",
    "sm3": "lr momentum beta eps",
    "madgrad_wd": "lr momentum eps",
    "sgd": "lr momentum dampening nesterov maximize foreach differentiable",
    "lion": "lr betas set_grad_none",
}
"""Optimizers of GPT-NeoX -> the params that each takes; weight_decay is a key of its own."""
_MORE = {"use_bnb_optimizer": "optim_bits args min_8bit_size percentile_clipping block_wise is_paged"}
_NOT_SHARDED = ("sm3", "madgrad_wd", "sgd")
_FP16 = _words(
    """enabled type loss_scale initial_scale_power loss_scale_window hysteresis consecutive_hysteresis min_loss_scale
auto_cast fp16_master_weights_and_grads fp16 opt_level"""
)
_SCALE: dict[str, tuple[float, str]] = {
    "loss_scale": (0, "0 (found while training) or a scale"),
    "initial_scale_power": (0, "a power of two's exponent, such as 16"),
    "loss_scale_window": (1, "steps, such as 1000"),
    "hysteresis": (1, "at least 1"),
    "min_loss_scale": (1e-12, "above 0, such as 1"),
}
_BLOCKS = {"fp16": "fp16", "bf16": "bfloat16"}
_ACCUMULATE = {"fp32": "fp32", "float32": "fp32", "float": "fp32", "torch.float32": "fp32"}
_ACCUMULATE |= {"fp16": "fp16", "float16": "fp16", "half": "fp16", "torch.float16": "fp16"}
_ACCUMULATE |= {"bf16": "bfloat16", "bfloat16": "bfloat16", "torch.bfloat16": "bfloat16"}


def checks(config: Mapping[str, Any]) -> list[Check]:
    """All checks of this page; only those that say no, or beware. The types of the keys must have been checked before.

    Args:
        config: what `reader.load` gave.
    """
    return [
        *optimizer(config),
        *_precision(config),
        *_zero(config),
        *_data_types(config),
        *_extra(config),
        *schema.checks(config),
    ]


def _fail(name: str, told: str, fix: str) -> Check:
    return Check(name, "fail", told, fix)


def optimizer(config: Mapping[str, Any]) -> Iterator[Check]:
    """The optimizer block."""
    example = "write optimizer: {type: Adam, params: {lr: 2.0e-4, betas: [0.9, 0.95], eps: 1.0e-8}}"
    block = config.get("optimizer")
    if reader.value(config, "no_load_optim"):
        told = "no_load_optim: true: GPT-NeoX then trains with a dummy optimizer of learning rate 0."
        yield _fail("optimizer", told, "leave it out; for new weights with a new optimizer use finetune: true")
    if block is None:
        told = "there is no optimizer: GPT-NeoX prints a line and ends with exit code 0, having trained nothing."
        yield _fail("optimizer", told, example)
        return
    kind, params = block.get("type"), block.get("params")
    if not isinstance(kind, str) or not isinstance(params, Mapping):
        yield _fail("optimizer", "the optimizer has no type (a word) or no params (a block).", example)
        return
    if kind.lower() not in OPTIMIZERS:
        told = f"optimizer type '{kind}' is not one of GPT-NeoX's.{nearest(kind.lower(), OPTIMIZERS)}"
        fix = "write Adam, with weight_decay beside it" if kind.lower() == "adamw" else "write Adam"
        more = " (its Adam decays weights as AdamW does)" if kind.lower() == "adamw" else ""
        yield _fail("optimizer", told + more, f"{fix}, or one of {', '.join(OPTIMIZERS)}")
        return
    outside = [key for key in block if key not in ("type", "params", "legacy_fusion")]
    if outside:
        told = f"optimizer.{outside[0]} is read by nobody: what an optimizer takes stands in optimizer.params."
        yield _fail("optimizer", told, f"move {outside[0]} into params")
    yield from _params(config, kind.lower(), params)


def _params(config: Mapping[str, Any], kind: str, params: Mapping[str, Any]) -> Iterator[Check]:
    allowed = set(OPTIMIZERS[kind].split())
    for flag, more in _MORE.items():
        allowed |= set(more.split()) if reader.value(config, flag) else set()
    for key in params:
        if key == "weight_decay" and key not in allowed:
            told = "optimizer.params.weight_decay is given twice to the optimizer, and GPT-NeoX ends."
            yield _fail("optimizer", told, f"write weight_decay: {params[key]} at the top level of the config")
        elif key in ("max_grad_norm", "clip_grad", "gradient_clipping"):
            told = f"optimizer.params.{key} is not a param of {kind}, and GPT-NeoX ends with a TypeError."
            yield _fail("optimizer", told, f"write gradient_clipping: {params[key]} at the top level of the config")
        elif key not in allowed:
            told = f"optimizer.params.{key} is not a param of {kind}: GPT-NeoX ends with a TypeError."
            yield _fail("optimizer", told + nearest(str(key), allowed), f"use {', '.join(sorted(allowed))}")
    fused = kind == "adam" and not reader.value(config, "use_bnb_optimizer") and not reader.value(config, "use_mup")
    if params.get("amsgrad") and fused:
        yield _fail("optimizer", "amsgrad: the fused Adam ends on it.", "leave it out")
    lr = params.get("lr", 0.0)
    if "lr" not in params:
        yield Check("optimizer", "warn", "optimizer.params gives no lr: 0.001 is taken.", "write lr")
    elif not number(lr) or not lr > 0:
        yield _fail("optimizer", f"optimizer.params.lr is {lr!r}: nothing would be learnt.", "write a number above 0")
    if "betas" in params:
        betas = params["betas"]
        if not isinstance(betas, list) or len(betas) != 2 or not all(number(one) and 0 <= one < 1 for one in betas):
            told = f"optimizer.params.betas is {betas!r}: two numbers from 0, below 1, are needed."
            yield _fail("optimizer", told, "write betas: [0.9, 0.95]")
    for key in ("momentum", "beta", "dampening"):
        if key in params and (not number(params[key]) or not 0 <= params[key] < 1):
            told = f"optimizer.params.{key} is {params[key]!r}, and must be from 0, below 1."
            yield _fail("optimizer", told, f"write {key}: 0.9")
    if "eps" in params and (not number(params["eps"]) or not 0 < params["eps"] < 1):
        told = f"optimizer.params.eps is {params['eps']!r}, and must be a small number above 0."
        yield _fail("optimizer", told, "write eps: 1.0e-8")


def enabled(config: Mapping[str, Any], name: str) -> Any:
    """What `name`'s block says as `enabled`; None where there is no block or no such word."""
    block = config.get(name)
    return block.get("enabled") if isinstance(block, Mapping) else None


def precision(config: Mapping[str, Any]) -> str:
    """fp16, bfloat16 or fp32, as GPT-NeoX derives it."""
    for block, name in _BLOCKS.items():
        if enabled(config, block):
            return name
    return str(config.get("precision") or "fp32")


def _precision(config: Mapping[str, Any]) -> Iterator[Check]:
    asked = {name: f"{block}.enabled" for block, name in _BLOCKS.items() if enabled(config, block)}
    if config.get("precision"):
        asked.setdefault(str(config["precision"]), f"precision: {config['precision']}")
    if len(asked) > 1:
        told = f"the config asks for two precisions: {' and '.join(asked.values())}."
        yield _fail("precision", told, "keep precision, and take the block of the other out")
    for name in ("fp16", "bf16", "amp", "flops_profiler"):
        block = config.get(name)
        if not block and not (block == {} and name in ("fp16", "amp", "flops_profiler")):
            continue
        if name != "bf16" and "enabled" not in block:
            # precision: fp16 adds the word itself, but only to a block that is not empty
            if not (name == "fp16" and precision(config) == "fp16"):
                yield _fail("precision", f"{name} has no `enabled`, and GPT-NeoX refuses it.", "write enabled: true")
        elif not isinstance(block.get("enabled", False), bool):
            yield _fail("precision", f"{name}.enabled is {block['enabled']!r}.", "write true or false")
    if enabled(config, "amp") and (config.get("zero_optimization") or {}).get("stage"):
        yield _fail("precision", "amp with ZeRO: DeepSpeed ends on it.", "use fp16 or precision: bfloat16 instead")
    if config.get("bf16") and not enabled(config, "bf16") and precision(config) == "bfloat16":
        told = "precision is bfloat16, and the bf16 block has not enabled: true: DeepSpeed would take the run for fp32."
        yield _fail("precision", told, "take the bf16 block out")
    yield from _fp16(config)


def _fp16(config: Mapping[str, Any]) -> Iterator[Check]:
    block = config.get("fp16")
    if not isinstance(block, Mapping) or not (block.get("enabled") or precision(config) == "fp16"):
        return
    kind = block.get("type", "fp16")
    if str(kind).lower() not in ("fp16", "float16", "half"):
        told = f"fp16.type is '{kind}', which nobody reads: GPT-NeoX trains in fp16."
        yield _fail("precision", told, "for bfloat16 write precision: bfloat16 and take the fp16 block out")
    for key, (least, words) in _SCALE.items():
        if key in block and (not number(block[key]) or block[key] < least):
            yield _fail("precision", f"fp16.{key} is {block[key]!r}.", f"write {words}")
    for key in block:
        if key not in _FP16:
            told = f"fp16.{key} is read by nobody.{nearest(str(key), _FP16)}"
            yield Check("precision", "warn", told, "mend it, or leave it out")


def _zero(config: Mapping[str, Any]) -> Iterator[Check]:
    block = config.get("zero_optimization")
    if block is None:
        return
    stage = block.get("stage")
    if stage is None or isinstance(stage, bool) or stage not in (0, 1, 2, 3):
        if config.get("autotuning") is None:
            told = (
                f"zero_optimization has the stage {stage!r}."
                if stage is not None
                else "zero_optimization has no stage."
            )
            yield _fail("zero", told, "write stage: 0, 1, 2 or 3")
        return
    kind = str((config.get("optimizer") or {}).get("type", "adam")).lower()
    extra = config.get("deepspeed_extra_args") or {}
    untested = kind in _NOT_SHARDED or reader.value(config, "use_bnb_optimizer")
    if stage and untested and not extra.get("zero_allow_untested_optimizer"):
        told = f"DeepSpeed does not shard this optimizer ({kind}) with ZeRO {stage}, and ends."
        yield _fail("zero", told, "write stage: 0, or deepspeed_extra_args: {zero_allow_untested_optimizer: true}")
    if stage and kind == "onebitadam":
        yield _fail("zero", f"OneBitAdam with ZeRO {stage}: DeepSpeed ends on it.", "write stage: 0")
    away = block.get("offload_optimizer")
    offloads = block.get("cpu_offload") or (isinstance(away, Mapping) and away.get("device") in ("cpu", "nvme"))
    if offloads and kind not in ("cpu_adam", "cpu_torch_adam") and extra.get("zero_force_ds_cpu_optimizer", True):
        told = f"the optimizer's state goes to the CPU, where DeepSpeed refuses the optimizer {kind}."
        yield _fail("zero", told, "write optimizer: {type: cpu_adam, ...}, or take the offload out")
    if reader.value(config, "moe_num_experts") > 1 and stage >= 2:
        yield _fail("zero", f"GPT-NeoX refuses experts (MoE) with ZeRO {stage}.", "use ZeRO 1")


def _data_types(config: Mapping[str, Any]) -> Iterator[Check]:
    block = config.get("data_types")
    if block is None:
        return
    for key in block:
        if key != "grad_accum_dtype":
            told = f"data_types.{key} is read by nobody.{nearest(str(key), ('grad_accum_dtype',))}"
            yield _fail("precision", told, "write grad_accum_dtype")
    given = block.get("grad_accum_dtype")
    if given is None:
        return
    if not isinstance(given, str) or given not in _ACCUMULATE:
        yield _fail("precision", f"data_types.grad_accum_dtype is {given!r}.", "write fp32, fp16 or bf16")
        return
    zero = (config.get("zero_optimization") or {}).get("stage")
    ours, theirs = precision(config), _ACCUMULATE[given]
    pair = (ours, theirs)
    if zero or pair in (("fp32", "fp32"), ("fp16", "fp16"), ("bfloat16", "fp32")):
        return
    if pair == ("bfloat16", "bfloat16") and reader.value(config, "pipe_parallel_size") >= 1:
        return
    told = f"without ZeRO, DeepSpeed refuses to train in {ours} with gradients summed in {theirs}."
    yield _fail("precision", told, "use ZeRO 1, or take data_types out")


def _extra(config: Mapping[str, Any]) -> Iterator[Check]:
    extra = config.get("deepspeed_extra_args") or {}
    for block, name in _BLOCKS.items():
        if enabled(extra, block) and precision(config) != name:
            told = f"deepspeed_extra_args turns {block} on, and GPT-NeoX builds a model of {precision(config)}."
            yield _fail("precision", told, f"write precision: {name}, and take {block} out of deepspeed_extra_args")
    for key in (
        "train_batch_size",
        "train_micro_batch_size_per_gpu",
        "gradient_accumulation_steps",
        "zero_optimization",
    ):
        if key in extra and extra[key] != config.get(key):
            told = f"deepspeed_extra_args.{key} tells DeepSpeed otherwise than GPT-NeoX."
            yield _fail("blocks", told, f"write {key} at the top level of the config alone")
    ours, theirs = config.get("gradient_clipping"), extra.get("gradient_clipping")
    if ours is not None and theirs is not None and ours != theirs:
        told = f"gradient_clipping is {ours}, and deepspeed_extra_args' {theirs} is what counts."
        yield Check("clipping", "warn", told, "write the same number twice")
    plan = config.get("scheduler")
    kind = str((config.get("optimizer") or {}).get("type", "")).lower()
    if plan is not None and (not isinstance(plan.get("type"), str) or not isinstance(plan.get("params"), Mapping)):
        yield _fail(
            "blocks", "scheduler has no type (a word) or no params (a block): GPT-NeoX refuses it.", "leave it out"
        )
    elif plan is not None and kind != "onebitadam":
        told = "the scheduler block does nothing: GPT-NeoX's own lr_decay_style, warmup and min_lr count."
        yield _fail("blocks", told, "say it with those keys, and leave scheduler out")
    if config.get("communication_data_type") is not None:
        told = "communication_data_type: GPT-NeoX wants true or false there, and DeepSpeed ends on both."
        yield _fail("blocks", told, "leave it out; deepspeed_extra_args: {communication_data_type: fp32} works")
    elastic = config.get("elasticity")
    if isinstance(elastic, Mapping) and elastic.get("enabled") and not elastic.get("ignore_non_elastic_batch_info"):
        yield _fail("blocks", "elasticity with batch sizes: DeepSpeed ends on it.", "leave elasticity out")
