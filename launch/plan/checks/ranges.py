"""The checks of `launch.preflight` on single values: numbers out of range, and words that GPT-NeoX takes but does not know.

GPT-NeoX checks types, and hardly any value: `log_interval: 0` is found by a division in the first step, `warmup: 2000` by
nobody. Words are compared with their list without regard to case when the config is read and with regard to it when they
are used, so that `lr_decay_style: Cosine` silently trains at a constant rate. Seen at commit ea7aefd.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from launch.plan.checks.check import Check
from neox_configs import reader
from neox_configs.keys import KEYS

_ANY_CASE = ("tokenizer_type", "optimizer_type", "launcher")
_BACKENDS = ("nccl", "gloo", "mpi", "ucc", "ccl", "hccl", "xccl")
_INT = 2**31 - 1
_Range = tuple[float, float, bool, bool]
"""Least, most, and whether each end is left out."""


def _keys(words: str, least: float, most: float = math.inf, open_least: bool = False, open_most: bool = False) -> Any:
    return dict.fromkeys(words.split(), (least, most, open_least, open_most))


RANGES: dict[str, _Range] = {
    **_keys(
        """hidden_size num_attention_heads num_kv_heads seq_length max_position_embeddings intermediate_size
        mlp_multiple_of num_unique_layers make_vocab_size_divisible_by train_batch_size train_micro_batch_size_per_gpu
        gradient_accumulation_steps train_iters train_epochs log_interval steps_per_print eval_interval lr_decay_iters
        keep_last_n_checkpoints num_gpus hysteresis gradient_noise_scale_n_batches sliding_window_width gmlp_attn_dim
        moe_expert_interval moe_top_k rpe_num_buckets rpe_max_distance global_num_gpus s3_chunk_size dim_att head_size
        ffn_dim te_fp8_amax_history_len""",
        1,
        _INT,
    ),
    **_keys("num_layers", 1, 100_000),
    **_keys(
        """eval_iters num_workers pipe_parallel_size model_parallel_size iteration gradient_clipping weight_decay min_lr
        z_loss curriculum_seqlen profile_step_start te_fp8_margin top_k opt_pos_emb_offset exit_interval moe_num_experts
        checkpoint_num_layers kto_desirable_weight kto_undesirable_weight""",
        0,
    ),
    **_keys(
        """init_method_std layernorm_epsilon rms_norm_epsilon scalenorm_epsilon rotary_emb_base expansion_factor
        checkpoint_factor lr_decay_fraction gradient_predivide_factor peak_theoretical_tflops loss_scale_window min_scale
        mup_init_scale mup_attn_temp mup_output_temp mup_embedding_mult mup_rp_embedding_mult mup_width_scale
        dpo_beta kto_beta""",
        0,
        open_least=True,
    ),
    **_keys("rotary_pct", 0, 1, open_least=True),
    **_keys("warmup hidden_dropout attention_dropout", 0, 1, open_most=True),
    **_keys("top_p short_seq_prob", 0, 1),
    # GPT-NeoX refuses 0 itself; numpy takes 32 bits
    **_keys("seed", 1, 2**32 - 1),
    **_keys("master_port", 1, 65535),
}
WHY: dict[str, str] = {
    "log_interval": "GPT-NeoX divides by it in the first step",
    "steps_per_print": "DeepSpeed divides by it in the first step",
    "eval_interval": "GPT-NeoX divides by it when it builds the datasets",
    "keep_last_n_checkpoints": "GPT-NeoX would delete every checkpoint as soon as it is written",
    "seed": "GPT-NeoX ends on any other",
    "warmup": "it is a share of lr_decay_iters, not a number of steps, and the learning rate would not reach its peak",
    "checkpoint_factor": "no checkpoint would be written before the end",
    "hidden_dropout": "it is the share that is left out",
    "attention_dropout": "it is the share that is left out",
    "lr_decay_iters": "GPT-NeoX takes 1 instead",
    "rotary_pct": "it is a share of a head",
}
"""What comes of a value out of range, where that is worth knowing."""


def checks(config: Mapping[str, Any]) -> list[Check]:
    """All checks of this page; only those that say no. The types must have been checked before.

    Args:
        config: what `reader.load` gave.
    """
    return [*_infinite(config), *_numbers(config), *_words(config)]


def _infinite(config: Mapping[str, Any]) -> Iterator[Check]:
    for trail, value in walk(config):
        if isinstance(value, float) and not math.isfinite(value):
            yield Check("numbers", "fail", f"{trail} is {value}, which is no number.", f"write a number as {trail}")


def walk(value: Any, trail: str = "") -> Iterator[tuple[str, Any]]:
    """Every value below `value` that is neither mapping nor list, with its dotted name."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from walk(inner, f"{trail}.{key}" if trail else str(key))
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from walk(inner, f"{trail}[{index}]")
    else:
        yield trail, value


def inside(value: float, limits: _Range) -> bool:
    """Whether a number lies in a range."""
    least, most, open_least, open_most = limits
    return (value > least if open_least else value >= least) and (value < most if open_most else value <= most)


def in_words(limits: _Range, value: float) -> str:
    """A range as a sentence about `value` says it."""
    least, most, open_least, open_most = limits
    low = f"above {least:g}" if open_least else f"of at least {least:g}"
    if most == math.inf or (most == _INT and value <= most):
        return low
    return f"{low} and {'below' if open_most else 'at most'} {most:.10g}"


def _numbers(config: Mapping[str, Any]) -> Iterator[Check]:
    for name, limits in RANGES.items():
        value = config.get(name)
        if value is None or isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            continue
        if not inside(value, limits):
            why = f": {WHY[name]}" if name in WHY else ""
            yield Check("numbers", "fail", f"{name} is {value}{why}.", _fix(config, name, value, limits))
    nodes = reader.value(config, "num_nodes")
    if nodes != -1 and nodes < 1:
        yield Check("numbers", "fail", f"num_nodes is {nodes}.", "write the number of nodes, or -1 for all")


def _fix(config: Mapping[str, Any], name: str, value: float, limits: _Range) -> str:
    steps = config.get("lr_decay_iters") or config.get("train_iters")
    if name == "warmup" and steps and 1 < value < steps:
        return f"write warmup: {value / steps:.4g} for {value:g} of {steps} steps"
    if name == "eval_interval" and value == 0:
        return "write eval_iters: 0 for a run without evaluation, and an eval_interval of at least 1"
    return f"write {'a share' if limits[1] == 1 else 'a number'} {in_words(limits, value)}"


def _words(config: Mapping[str, Any]) -> Iterator[Check]:
    for name, value in config.items():
        key = KEYS.get(name)
        if key is None or not key.choices or not isinstance(value, str) or name in _ANY_CASE:
            continue
        if value not in key.choices:  # the same but for its case: others are no right type
            right = next(word for word in key.choices if word.lower() == value.lower())
            told = f"{name}: '{value}' passes GPT-NeoX's check, and is then no word that it knows"
            yield Check("words", "fail", f"{told} (it compares with '{right}').", f"write {name}: {right}")
    backend = reader.value(config, "distributed_backend")
    if backend not in _BACKENDS:
        told = f"distributed_backend: '{backend}' is none of torch's."
        yield Check("words", "fail", told, "write nccl for GPUs, gloo for CPUs")
