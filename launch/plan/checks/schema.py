"""The checks of `launch.preflight` on the keys and types inside DeepSpeed's blocks, which GPT-NeoX hands on unseen.

Facts of DeepSpeed 0.16.5: it ends on what it does not know in some blocks, ignores it in the others, and ends on a value of
another type in all of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from haigo.cli import nearest
from launch.plan.checks.check import Check
from neox_configs import reader


def number(value: Any) -> bool:
    """A finite number, and no bool."""
    return not isinstance(value, bool) and isinstance(value, int | float) and math.isfinite(value)


def _keys(kind: str, words: str) -> dict[str, str]:
    return dict.fromkeys(words.split(), kind)


_LONG = """prefetch_bucket_size param_persistence_threshold model_persistence_threshold max_live_parameters
max_reuse_distance"""
_STAGE3_BOOLS = "gather_16bit_weights_on_model_save use_all_reduce_for_fetch_params"
ZERO: dict[str, str] = {
    "stage": "any",
    **_keys(
        "bool",
        """contiguous_gradients reduce_scatter use_multi_rank_bucket_allreduce allgather_partitions load_from_fp32_weights
        elastic_checkpoint stage3_gather_fp16_weights_on_model_save ignore_unused_parameters legacy_stage1
        round_robin_gradients zero_quantized_weights zero_quantized_nontrainable_weights zero_quantized_gradients
        mics_hierarchical_params_gather memory_efficient_linear pipeline_loading_checkpoint override_module_apply
        log_trace_cache_warnings""",
    ),
    **_keys("bool", _STAGE3_BOOLS),
    **{f"stage3_{key}": kind for key, kind in _keys("bool", _STAGE3_BOOLS).items()},
    **_keys("bool?", "overlap_comm cpu_offload_param cpu_offload_use_pin_memory cpu_offload"),
    **_keys("count", "reduce_bucket_size allgather_bucket_size sub_group_size zero_hpz_partition_size"),
    **_keys("count", _LONG),
    **{f"stage3_{key}": kind for key, kind in _keys("count", _LONG).items()},
    **_keys("int", "mics_shard_size module_granularity_threshold stage3_module_granularity_threshold"),
    **_keys("block?", "offload_param offload_optimizer zeropp_loco_param"),
}
_OFFLOAD: dict[str, str] = {
    "device": "one of none cpu nvme",
    "nvme_path": "word?",
    **_keys("count", "buffer_count buffer_size max_in_cpu"),
    **_keys("bool", "pin_memory pipeline_read pipeline_write fast_init"),
    "ratio": "share",
}
_LOGS = {"enabled": "bool", "output_path": "word", "job_name": "word"}
ENDS: dict[str, dict[str, str]] = {
    "zero_optimization": ZERO,
    "zero_optimization.offload_param": _OFFLOAD,
    "zero_optimization.offload_optimizer": _OFFLOAD,
    "tensorboard": _LOGS,
    "csv_monitor": _LOGS,
    "wandb": {"enabled": "bool", "group": "word?", "team": "word?", "project": "word"},
    "comms_logger": {**_keys("bool", "enabled prof_all verbose debug"), "prof_ops": "list"},
}
"""Block -> key -> kind, for blocks in which DeepSpeed ends on other keys."""
PASSES: dict[str, dict[str, str]] = {
    "checkpoint": {
        "tag_validation": "one of warn ignore fail",
        "parallel_write": "block",
        **_keys("bool", "load_universal use_node_local_storage"),
    },
    "data_efficiency": {"enabled": "bool", **_keys("block", "data_sampling data_routing")},
    "sparse_attention": {"mode": "one of dense fixed variable bigbird bslongformer"},
    "compression_training": _keys(
        "block",
        """weight_quantization activation_quantization sparse_pruning row_pruning head_pruning channel_pruning
        layer_reduction""",
    ),
    "deepspeed_extra_args": {
        "communication_data_type": "one of fp16 bf16 fp32?",
        "gradient_clipping": "from 0",
        **_keys("block", "bf16 fp16 nebula pipeline zero_optimization hybrid_engine tensor_parallel"),
        "aio": "block?",
    },
    "fp16": {
        "fp16_master_weights_and_grads": "bool",
        "auto_cast": "bool",
        "consecutive_hysteresis": "bool",
    },
    "bf16": {"immediate_grad_update": "bool"},
}
"""The same for blocks in which it ignores other keys: only the types of these."""
IGNORES: dict[str, str] = {
    "activation_checkpointing": """partition_activations number_checkpoints contiguous_memory_optimization
        synchronize_checkpoint_boundary cpu_checkpointing profile""",
    "flops_profiler": "enabled recompute_fwd_factor profile_step module_depth top_modules detailed output_file",
    "checkpoint": "tag_validation load_universal use_node_local_storage parallel_write",
    "bf16": "enabled immediate_grad_update",
    "deepspeed_extra_args": """activation_checkpointing aio amp autotuning bf16 bfloat16 checkpoint comms_logger
        communication_data_type compile compression_training csv_monitor curriculum_learning data_efficiency data_types
        dataloader_drop_last disable_allgather dump_state eigenvalue elasticity flops_profiler fp16
        gradient_accumulation_steps gradient_clipping gradient_predivide_factor graph_harvesting hybrid_engine
        memory_breakdown nebula optimizer pipeline prescale_gradients progressive_layer_drop scheduler
        seq_parallel_communication_data_type sparse_attention sparse_gradients steps_per_print tensor_parallel tensorboard
        timers train_batch_size train_micro_batch_size_per_gpu use_data_before_expert_parallelism
        wandb comet wall_clock_breakdown weight_quantization
        zero_allow_untested_optimizer zero_force_ds_cpu_optimizer zero_optimization""",
}
"""Block -> all keys that DeepSpeed reads there, for blocks in which it passes over the others without a word."""
_IN_WORDS = {
    "bool": "true or false",
    "count": "a whole number from 0",
    "int": "a whole number",
    "word": "a word",
    "list": "a list",
    "block": "a block",
    "share": "from 0 to 1",
    "from 0": "a number from 0",
}


def checks(config: Mapping[str, Any]) -> Iterator[Check]:
    """All checks of this page; only those that say no, or beware. The types of the top-level keys must be checked before.

    Args:
        config: what `reader.load` gave.
    """
    auto = config.get("autotuning") is not None
    for name, keys in {**ENDS, **PASSES}.items():
        block: Any = config
        for part in name.split("."):
            block = block.get(part) if isinstance(block, Mapping) else None
        if not isinstance(block, Mapping):
            continue
        label = "zero" if name.startswith("zero") else "precision" if name in ("fp16", "bf16") else "blocks"
        for key, value in block.items():
            kind = keys.get(str(key))
            if kind is None and name in ENDS:
                told = f"DeepSpeed knows no {name}.{key}, and ends on it.{nearest(str(key), keys)}"
                yield Check(label, "fail", told, "mend it, or leave it out")
            elif kind is not None and not fits(value, kind) and not (auto and value == "auto"):
                plain = kind.removesuffix("?")
                words = _IN_WORDS.get(plain, plain)
                yield Check(label, "fail", f"{name}.{key} is {value!r}, and must be {words}.", f"write {words}")
    yield from _ignored(config)
    if (config.get("fp16") or {}).get("fp16_master_weights_and_grads") is True:
        stage = (config.get("zero_optimization") or {}).get("stage")
        if stage != 2:
            told = f"fp16.fp16_master_weights_and_grads with ZeRO {stage}: DeepSpeed has it for ZeRO 2 only."
            yield Check("precision", "fail", told, "leave it out")
    elif reader.value(config, "prescale_gradients") and reader.value(config, "gradient_predivide_factor") == 0:
        yield Check("blocks", "fail", "gradient_predivide_factor is 0.", "write 1.0")


def _ignored(config: Mapping[str, Any]) -> Iterator[Check]:
    for name, words in IGNORES.items():
        block, known = config.get(name), words.split()
        for key in block if isinstance(block, Mapping) else ():
            if key not in known:
                told = f"{name}.{key} is read by nobody.{nearest(str(key), known)}"
                yield Check("blocks", "warn", told, "mend it, or leave it out")
    plan = config.get("curriculum_learning")
    if isinstance(plan, Mapping) and plan.get("enabled"):
        need = ("curriculum_type", "min_difficulty", "max_difficulty", "schedule_type")
        lost = [key for key in need if key not in plan]
        if lost:
            told = f"curriculum_learning has no {lost[0]}, and the run ends before its first step."
            yield Check("blocks", "fail", told, f"give {', '.join(need)}, or leave curriculum_learning out")


def fits(value: Any, kind: str) -> bool:
    """Whether a value is of a kind of the tables above."""
    if value is None:
        return kind.endswith("?") or kind == "any"
    kind = kind.removesuffix("?")
    if kind.startswith("one of "):
        return isinstance(value, str) and value.lower() in kind.split()[2:]
    whole = isinstance(value, int) and not isinstance(value, bool)
    return {
        "any": True,
        "bool": isinstance(value, bool),
        "count": whole and value >= 0,
        "int": whole,
        "word": isinstance(value, str),
        "list": isinstance(value, list),
        "block": isinstance(value, Mapping),
        "share": number(value) and 0 <= value <= 1,
        "from 0": number(value) and value >= 0,
    }[kind]
