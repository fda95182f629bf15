"""Changes that somebody may well make to a config, to values with which GPT-NeoX trains as the config reads."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from typing import Any

Config = dict[str, Any]
Change = Callable[[random.Random, Config], dict[str, Any]]
"""Drawn numbers, the config -> what to set; None takes a key away. Empty where it does not fit the config."""


def right(rng: random.Random, base: Config) -> tuple[Config, str]:
    """A config with one to four such changes, and what they were."""
    config, how = copy.deepcopy(base), []
    for change in rng.sample(CHANGES, rng.randint(1, 4)):
        changes = change(rng, config)
        for key, value in changes.items():
            if value is None:
                config.pop(key, None)
            else:
                config[key] = value
        how.append(f"{change.__name__}: {changes}")
    return config, "; ".join(how)


def _tensor(config: Config) -> int:
    return int(config.get("model_parallel_size", 1))


def _pipe(config: Config) -> int:
    return int(config.get("pipe_parallel_size", 0))


def _gated(config: Config) -> bool:
    return "glu" in config.get("activation", "gelu") or config.get("activation") == "bilinear"


def _fixed(config: Config) -> bool:
    """A phase, whose datasets are made for its seed, batch, length and weights, or a decay, whose schedule is its own."""
    return "/phase-" in str(config.get("train_data_paths")) or bool(config.get("override_lr_scheduler"))


def rate(rng: random.Random, config: Config) -> Config:
    lr = float(f"{10 ** rng.uniform(-6, -2.5):.2g}")
    optimizer = copy.deepcopy(config["optimizer"])
    optimizer["params"]["lr"] = lr
    return {"optimizer": optimizer, "min_lr": rng.choice((0.0, lr, lr / 10))}


def adam(rng: random.Random, config: Config) -> Config:
    optimizer = copy.deepcopy(config["optimizer"])
    if optimizer["type"] != "Adam":
        return {}
    optimizer["params"] |= {
        "betas": [rng.choice((0.8, 0.9)), rng.choice((0.95, 0.98, 0.999))],
        "eps": rng.choice((1e-6, 1e-8, 1e-15)),
    }
    return {"optimizer": optimizer, "weight_decay": rng.choice((0, 0.0, 0.01, 0.1, 0.3))}


def other_optimizer(rng: random.Random, config: Config) -> Config:
    lr = config["optimizer"]["params"]["lr"]
    kind, more = rng.choice((
        ("cpu_adam", {"betas": [0.9, 0.95], "eps": 1e-8}), ("Lion", {"betas": [0.95, 0.98]}),
        ("Adam", {"adam_w_mode": True}), ("adam", {"betas": [0.9, 0.99]}),
    ))  # fmt: skip
    return {"optimizer": {"type": kind, "params": {"lr": lr, **more}}}


def schedule(rng: random.Random, config: Config) -> Config:
    if _fixed(config):
        return {}
    steps = rng.choice((7, 150, 1000, 143_000))
    style = rng.choice(("linear", "cosine", "constant", "exponential"))
    how_long = rng.choice(({"lr_decay_iters": steps}, {"lr_decay_iters": None}, {"lr_decay_iters": steps * 2}))
    return {"train_iters": steps, "lr_decay_style": style, "warmup": rng.choice((0, 0.0, 0.01, 0.1, 0.5))} | how_long


def clipping(rng: random.Random, config: Config) -> Config:
    most = rng.choice((0.5, 1.0, 2, 0.0))
    extra = {**(config.get("deepspeed_extra_args") or {}), "gradient_clipping": most}
    return {"gradient_clipping": most, "deepspeed_extra_args": extra}


def checkpoints(rng: random.Random, config: Config) -> Config:
    often = rng.choice((
        {"checkpoint_factor": rng.randint(1, 5000), "checkpoint_scale": "linear"},
        {"checkpoint_factor": rng.choice((2, 1.5)), "checkpoint_scale": "log"},
        {"checkpoint_factor": 100, "extra_save_iters": [1, 2, 4, 512]},
        {"checkpoint_factor": None, "extra_save_iters": [10, 20]},
    ))  # fmt: skip
    return {**often, "keep_last_n_checkpoints": rng.choice((None, 1, 5))}


def logs(rng: random.Random, config: Config) -> Config:
    return rng.choice((
        {"log_interval": rng.choice((1, 10, 1000)), "steps_per_print": rng.choice((1, 10))},
        {"wall_clock_breakdown": True, "log_param_norm": True}, {"tensorboard_dir": "tensorboard"},
        {"use_wandb": True, "wandb_group": "g", "wandb_project": "p", "wandb_team": "t", "wandb_run_name": "r"},
        {"use_wandb": False}, {"memory_profiling": True, "memory_profiling_path": "memory"}, {"log_dir": "logs"},
        {"profile": True, "profile_step_start": 5, "profile_step_stop": 6}, {"peak_theoretical_tflops": 989.0},
        {"log_grad_pct_zeros": True}, {"comms_logger": {"enabled": True, "verbose": False, "prof_all": True}},
        {"flops_profiler": {"enabled": True, "profile_step": 2, "module_depth": -1, "top_modules": 1, "detailed": True}},
        {"tensorboard": {"enabled": True, "output_path": "t", "job_name": "j"}}, {"dump_state": True},
        {"csv_monitor": {"enabled": True, "output_path": "c", "job_name": "j"}}, {"use_comet": False, "comet_tags": ["a"]},
    ))  # fmt: skip


def evaluation(rng: random.Random, config: Config) -> Config:
    iters = 0 if _pipe(config) else rng.choice((0, 1, 10, 100))
    if (config.get("valid_label_data_paths") or config.get("pack_impl") == "unpacked") and iters == 0:
        iters = 1
    return {"eval_interval": rng.choice((1, 10, 1000)), "eval_iters": 0 if _pipe(config) else iters}


def seeds(rng: random.Random, config: Config) -> Config:
    return {} if _fixed(config) else {"seed": rng.randint(1, 2**31 - 1)}


def batches(rng: random.Random, config: Config) -> Config:
    if _fixed(config):
        return {}
    several = config.get("train_impl") in ("kto", "rm")  # whose loss needs more than one
    micro, steps = rng.choice((2, 2, 4, 8, 16) if several else (1, 2, 4, 8, 16)), rng.choice((1, 2, 3, 64))
    return {"train_micro_batch_size_per_gpu": micro, "gradient_accumulation_steps": steps, "train_batch_size": None}


def layers(rng: random.Random, config: Config) -> Config:
    count = rng.choice((4, 8, 16, 40, 80))
    given = config.get("attention_config")
    kind = given[0][0] if isinstance(given, list) and given and isinstance(given[0], list) else None
    return {"num_layers": count} | ({} if kind is None else {"attention_config": [[kind, rng.choice((count, "all"))]]})


def width(rng: random.Random, config: Config) -> Config:
    heads, size = rng.choice((8, 16, 32, 40)), rng.choice((64, 80, 128))
    return {
        "hidden_size": heads * size,
        "num_attention_heads": heads,
        "intermediate_size": None,
        "num_kv_heads": None,
    } | (
        {"intermediate_size": 3 * 256 * round(heads * size * 4 / 768)}
        if "glu" in config.get("activation", "gelu")
        else {}
    )


def queries(rng: random.Random, config: Config) -> Config:
    heads = config["num_attention_heads"]
    if "local" in str(
        config.get("attention_config")
    ):  # GPT-NeoX has grouped queries with global and flash attention only
        return {}
    fit = [count for count in range(1, heads + 1) if heads % count == 0 and count % _tensor(config) == 0]
    return {"num_kv_heads": rng.choice(fit)}


def activation(rng: random.Random, config: Config) -> Config:
    kind = rng.choice(
        ("gelu", "relu", "silu", "swish", "mish", "softsign", "swiglu", "geglu", "reglu", "glu", "bilinear")
    )
    gated = kind in ("swiglu", "geglu", "reglu", "glu", "bilinear")
    size = (3 if gated else 1) * 256 * rng.choice((2, 4, 16))
    biases = {} if gated else {"use_bias_in_mlp": True}
    return {"activation": kind, "intermediate_size": size, "expansion_factor": None, "mlp_multiple_of": None} | biases


def wider_mlp(rng: random.Random, config: Config) -> Config:
    if _gated(config):
        return {"intermediate_size": 3 * 256 * rng.choice((2, 5, 16)), "mlp_multiple_of": rng.choice((1, 64, 256))}
    return {"intermediate_size": None, "expansion_factor": rng.choice((2, 4.0, 8))}


def norms(rng: random.Random, config: Config) -> Config:
    return {
        "norm": rng.choice(("layernorm", "rmsnorm", "scalenorm", "non_parametric_layernorm")),
        "layernorm_epsilon": rng.choice((1e-5, 1e-6)),
        "rms_norm_epsilon": 1e-6,
        "use_qk_layernorm": rng.choice((True, False)),
    }


def positions(rng: random.Random, config: Config) -> Config:
    kind = rng.choice(("rotary", "learned", "sinusoidal", "alibi", "none"))
    more = {"rotary_pct": rng.choice((0.25, 0.5, 1, 1.0)), "rotary_emb_base": rng.choice((10_000, 500_000, 1_000_000))}
    return {"pos_emb": kind} | (more if kind == "rotary" else {})


def structure(rng: random.Random, config: Config) -> Config:
    tied = rng.choice((True, False))
    residual = rng.choice(
        ({"gpt_j_residual": True, "gpt_j_tied": True}, {"gpt_j_residual": True}, {"gpt_j_residual": False})
    )
    biases = {key: rng.choice((True, False)) for key in ("use_bias_in_attn_linear", "use_bias_in_norms")}
    # GPT-NeoX needs biases in an MLP that is not gated, and beside attention in parallel (data/traps.yml)
    needed = residual["gpt_j_residual"] or not _gated(config)
    biases["use_bias_in_mlp"] = needed or rng.choice((True, False))
    return {"no_weight_tying": tied, "make_vocab_size_divisible_by": rng.choice((1, 64, 128, 1024))} | residual | biases


def attention(rng: random.Random, config: Config) -> Config:
    count = config["num_layers"]
    made: list[Any] = [None, [[["global"], count]], [[["global"], "all"]], ["global"] * count]
    if not config.get("num_kv_heads") or config["num_kv_heads"] == config["num_attention_heads"]:
        made += [[[["local"], count]]]
    if config.get("precision") == "bfloat16":
        made += [[[["flash"], count]]]
    return {"attention_config": rng.choice(made)}


def dropouts(rng: random.Random, config: Config) -> Config:
    return {"hidden_dropout": rng.choice((0, 0.0, 0.1)), "attention_dropout": rng.choice((0, 0.0, 0.1))}


def precision(rng: random.Random, config: Config) -> Config:
    if any("flash" in str(config.get(key)) for key in ("attention_config",)):
        return {}
    zero = config.get("zero_optimization", {"stage": 0})
    block = {
        "enabled": True,
        "loss_scale": rng.choice((0, 128)),
        "loss_scale_window": 1000,
        "hysteresis": 2,
        "min_loss_scale": 1,
    }
    none: Config = dict.fromkeys(("precision", "bf16", "fp16", "data_types"))
    sums = {"zero_optimization": zero, "data_types": {"grad_accum_dtype": "fp32"}}
    return rng.choice((
        {**none, "fp16": {**block, "initial_scale_power": rng.choice((12, 16))}},
        {**none, "precision": "fp16", "fp16": block},
        {**none, "precision": "fp16"},
        {**none, "bf16": {"enabled": True}, **sums},
        {**none, "precision": "bfloat16", **sums},
        {**none, "precision": "fp32"},
    ))  # fmt: skip


def zero(rng: random.Random, config: Config) -> Config:
    several = _tensor(config) > 1 or _pipe(config) >= 1
    stage = rng.choice((0, 1) if several else (0, 1, 2, 3))
    size = rng.choice((50_000_000, 500_000_000))
    block: Config = {"stage": stage, "allgather_partitions": True, "reduce_scatter": True}
    block |= {"allgather_bucket_size": size, "reduce_bucket_size": size}
    block |= {key: rng.choice((True, False)) for key in ("overlap_comm", "contiguous_gradients")}
    if stage == 0:
        block = {"stage": 0}
    if stage in (2, 3) and config["optimizer"]["type"] == "cpu_adam":
        block["offload_optimizer"] = {"device": "cpu", "pin_memory": True}
    return {"zero_optimization": block}


def recompute(rng: random.Random, config: Config) -> Config:
    return {"checkpoint_activations": rng.choice((True, False)), "checkpoint_num_layers": rng.choice((1, 2)),
            "partition_activations": rng.choice((True, False)), "synchronize_each_layer": True}  # fmt: skip


def starts(rng: random.Random, config: Config) -> Config:
    scheme = (
        "normal",
        "scaled_normal",
        "xavier_uniform",
        "xavier_normal",
        "wang_init",
        "small_init",
        "single_residual_scaled_normal",
    )
    return {"init_method": rng.choice(scheme), "output_layer_init_method": rng.choice(scheme), "init_method_std": 0.01}


def weights(rng: random.Random, config: Config) -> Config:
    paths = config.get("train_data_paths") or []
    if len(paths) < 2 or _fixed(config):
        return {}
    return {"train_data_weights": [rng.choice((1.0, 2, 0.25, 0.01, 30)) for _ in paths]}


def fewer_sets(rng: random.Random, config: Config) -> Config:
    if config.get("train_label_data_paths") or not config.get("train_data_paths") or _fixed(config):
        return {}
    made: Config = {}
    for split in ("train", "valid", "test"):
        made |= {
            f"{split}_data_paths": config[f"{split}_data_paths"][:1],
            f"{split}_data_weights": rng.choice((None, [1.0])),
        }
    return made


def one_set(rng: random.Random, config: Config) -> Config:
    if config.get("train_label_data_paths") or "pos_train_data_paths" in config or _fixed(config):
        return {}
    names = [f"{split}_data_{what}" for split in ("train", "valid", "test") for what in ("paths", "weights")]
    split = rng.choice((None, "969, 30, 1", "900,50,50", "98/1/1"))
    own = next(iter(config.get("train_data_paths") or []), None) or config["data_path"]
    return {**dict.fromkeys(names), "data_path": own, "split": split}


def runners(rng: random.Random, config: Config) -> Config:
    return rng.choice((
        {"launcher": "slurm", "deepspeed_slurm": True, "comment": "a", "account": "b", "no_ssh_check": True},
        {"launcher": "pdsh"},
        {"launcher": "openmpi", "deepspeed_mpi": True}, {"master_port": 6000, "master_addr": "node1"}, {"force_multi": True},
        {"num_workers": rng.choice((0, 1, 8))}, {"mmap_warmup": True},
        {"save": "somewhere/else", "load": config["load"] if config.get("finetune") else "somewhere/else"},
        {"use_shared_fs": False},
    ))  # fmt: skip


def fusions(rng: random.Random, config: Config) -> Config:
    if config.get("precision") != "bfloat16":
        return {}
    return {"bias_dropout_fusion": rng.choice((True, False)), "bias_gelu_fusion": config.get("activation") == "gelu",
            "rope_fusion": False, "scaled_upper_triang_masked_softmax_fusion": rng.choice((True, False))}  # fmt: skip


def text(rng: random.Random, config: Config) -> Config:
    return rng.choice((
        {"temperature": 0.7, "top_p": 0.9, "top_k": 40, "maximum_tokens": 100, "num_samples": 3, "recompute": True},
        {"text_gen_type": "unconditional", "sample_output_file": "out.txt"}, {"eval_tasks": ["lambada_openai"]},
        {"text_gen_type": "input-file", "sample_input_file": "in.txt"}, {"prompt_end": "\n\n", "eval_results_prefix": "r"},
    ))  # fmt: skip


def deepspeed_blocks(rng: random.Random, config: Config) -> Config:
    return rng.choice((
        {"prescale_gradients": True, "gradient_predivide_factor": 1.0}, {"fp32_allreduce": True},
        {"checkpoint": {"tag_validation": "Warn"}},
        {"activation_checkpointing": {"partition_activations": False, "cpu_checkpointing": False}},
        {"eod_mask_loss": config.get("train_impl") != "rm"},
        {"checkpoint_validation_with_forward_pass": True}, {"exit_interval": None},
    ))  # fmt: skip


def preferences(rng: random.Random, config: Config) -> Config:
    """Strengths of what pulls the model back; GPT-NeoX reads those of the `train_impl` alone."""
    kind = config.get("train_impl")
    if kind not in ("dpo", "kto", "rm"):
        return {"train_impl": rng.choice((None, "normal"))}
    return {
        "dpo": {"dpo_beta": rng.choice((0.01, 0.1, 0.5)), "dpo_reference_free": False, "dpo_fp32": rng.choice((True, False))},
        "kto": {"kto_beta": rng.choice((0.01, 0.1, 0.5)), "kto_desirable_weight": 1.0, "kto_fp32": rng.choice((True, False))},
        "rm": {"z_loss": rng.choice((0.0, 1e-4))},
    }[kind]  # fmt: skip


def tensor_parallel(rng: random.Random, config: Config) -> Config:
    """Half the model on each of two GPUs, with a batch that fits any number of copies."""
    if (
        _fixed(config)
        or config.get("zero_optimization", {}).get("stage", 0) > 1
        or config.get("distributed_backend") == "gloo"
        or _pipe(config) > 1
    ):
        return {}
    if config.get("num_kv_heads", 2) % 2:
        return {}
    return {"model_parallel_size": 2, "train_batch_size": None}


CHANGES: list[Change] = [
    *(
        rate,
        adam,
        other_optimizer,
        schedule,
        clipping,
        checkpoints,
        logs,
        logs,
        evaluation,
        seeds,
        batches,
        layers,
        width,
        queries,
    ),
    *(
        activation,
        wider_mlp,
        norms,
        positions,
        structure,
        attention,
        dropouts,
        precision,
        zero,
        recompute,
        starts,
        weights,
    ),
    *(fewer_sets, one_set, runners, fusions, text, deepspeed_blocks, tensor_parallel),
]
