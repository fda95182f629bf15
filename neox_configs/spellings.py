"""Which key was meant by one that GPT-NeoX does not know: other programs' names for a thing, and plain typing mistakes.

A name that merely looks alike is worse than no name: `exit_interval` looks like `save_interval` and ends the run there.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from neox_configs.keys import GONE

_ALIKE = 0.75
"""How alike two words must be for one to be the other, mistyped; a whole name has only such words."""

ELSEWHERE: dict[str, str] = {
    # Megatron-LM's names, those of Hugging Face and DeepSpeed; what GPT-NeoX itself had once stands in gone.csv
    "save_steps": "checkpoint_factor",
    "save_every": "checkpoint_factor",
    "checkpoint_interval": "checkpoint_factor",
    "checkpoint_iters": "checkpoint_factor",
    "persist_save_interval": "checkpoint_factor",
    "save_total_limit": "keep_last_n_checkpoints",
    "keep_last": "keep_last_n_checkpoints",
    "micro_batch_size": "train_micro_batch_size_per_gpu",
    "per_device_train_batch_size": "train_micro_batch_size_per_gpu",
    "global_batch_size": "train_batch_size",
    "tensor_model_parallel_size": "model_parallel_size",
    "tensor_parallel_size": "model_parallel_size",
    "pipeline_model_parallel_size": "pipe_parallel_size",
    "pipeline_parallel_size": "pipe_parallel_size",
    "max_steps": "train_iters",
    "train_steps": "train_iters",
    "max_iters": "train_iters",
    "num_train_epochs": "train_epochs",
    "train_samples": "train_iters",
    "lr_decay_samples": "lr_decay_iters",
    "lr_decay_steps": "lr_decay_iters",
    "lr_scheduler_type": "lr_decay_style",
    "lr_warmup_fraction": "warmup",
    "lr_warmup_iters": "warmup",
    "lr_warmup_samples": "warmup",
    "warmup_steps": "warmup",
    "warmup_ratio": "warmup",
    "learning_rate": "optimizer.params.lr",
    "adam_epsilon": "optimizer.params.eps",
    "betas": "optimizer.params.betas",
    "max_grad_norm": "gradient_clipping",
    "gradient_clip": "gradient_clipping",
    "grad_clip": "gradient_clipping",
    "attn_dropout": "attention_dropout",
    "dropout": "hidden_dropout",
    "seq_len": "seq_length",
    "sequence_length": "seq_length",
    "max_seq_len": "seq_length",
    "eval_steps": "eval_interval",
    "eval_every": "eval_interval",
    "logging_steps": "log_interval",
    "log_steps": "log_interval",
    "log_every": "log_interval",
    "num_hidden_layers": "num_layers",
    "n_layers": "num_layers",
    "n_layer": "num_layers",
    "n_embd": "hidden_size",
    "n_head": "num_attention_heads",
    "n_heads": "num_attention_heads",
    "ffn_hidden_size": "intermediate_size",
    "num_query_groups": "num_kv_heads",
    "num_key_value_heads": "num_kv_heads",
    "group_query_attention": "num_kv_heads",
    "position_embedding_type": "pos_emb",
    "position_embeddings": "pos_emb",
    "use_rotary_position_embeddings": "pos_emb",
    "rotary_percent": "rotary_pct",
    "rotary_base": "rotary_emb_base",
    "rope_theta": "rotary_emb_base",
    "untie_embeddings_and_output_weights": "no_weight_tying",
    "normalization": "norm",
    "norm_epsilon": "layernorm_epsilon",
    "layer_norm_eps": "layernorm_epsilon",
    "rms_norm_eps": "rms_norm_epsilon",
    "hidden_act": "activation",
    "swiglu": "activation",
    "recompute_activations": "checkpoint_activations",
    "recompute_granularity": "checkpoint_activations",
    "gradient_checkpointing": "checkpoint_activations",
    "use_flash_attn": "attention_config",
    "zero_stage_optimization": "zero_optimization",
    "bfloat16": "precision",
    "dtype": "precision",
    "tokenizer_model": "vocab_file",
    "tokenizer_name_or_path": "vocab_file",
    "slurm_account": "account",
    "deepspeed_config": "deepspeed_extra_args",
}
"""Other names -> the key that says the same in GPT-NeoX."""
_OTHER = ELSEWHERE | {name: gone.successor for name, gone in GONE.items() if gone.successor}


def meant(name: str, known: Iterable[str]) -> str | None:
    """The key that was probably meant by `name`; None when nothing means the same.

    Args:
        name: with underscores.
        known: the keys there are.
    """
    allowed = set(known)
    every = allowed | {other for other, key in _OTHER.items() if key.split(".")[0] in allowed}
    if name in _OTHER and name in every:
        return _OTHER[name]
    for found in difflib.get_close_matches(name, every, n=5, cutoff=0.7):
        if _mistyped(name, found):
            return _OTHER.get(found, found) if found not in allowed else found
    return None


def _mistyped(name: str, other: str) -> bool:
    """Whether every word of one name is a word of the other, give or take a few letters."""
    ours, theirs = name.split("_"), other.split("_")
    if len(ours) != len(theirs):  # an underscore too many or too few: `numlayers`, `check_point_factor`
        return difflib.SequenceMatcher(None, "".join(ours), "".join(theirs)).ratio() > 0.95
    return all(_alike(one, two) for one, two in zip(ours, theirs, strict=True))


def _alike(one: str, two: str) -> bool:
    return one == two or difflib.SequenceMatcher(None, one, two).ratio() >= _ALIKE
