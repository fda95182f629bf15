"""What a GPT-NeoX config asks of the embedded engine, checked key by key: a key it cannot honour is refused by name.

Every key of GPT-NeoX is in exactly one of three classes: honoured (it becomes a field of `Settings`), without effect on
the numbers (where and how fast things run, logging, storage), or held to the values for which this engine computes
what GPT-NeoX computes. Nothing is ignored.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from haigo.cli import HaigoError
from launch.engine import keys
from launch.plan.checks import rules
from neox_configs import derive, huggingface, reader

_SAME = (
    "num_layers", "hidden_size", "num_attention_heads", "seq_length", "max_position_embeddings", "train_iters", "seed",
    "init_method", "output_layer_init_method", "lr_decay_style",
)  # fmt: skip
"""Fields that are a key's value; and those that are its number:"""
_NUMBERS = ("layernorm_epsilon", "rotary_pct", "rotary_emb_base", "init_method_std", "min_lr", "weight_decay", "warmup")
_PARAMS = {"lr": 0.001, "betas": (0.9, 0.999), "eps": 1e-8}
"""What apex's FusedAdam takes when GPT-NeoX passes nothing."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One run, fully resolved: what decides the numbers, and nothing else."""

    num_layers: int
    hidden_size: int
    num_attention_heads: int
    intermediate_size: int
    seq_length: int
    max_position_embeddings: int
    layernorm_epsilon: float
    rotary_pct: float
    rotary_emb_base: float
    gpt_j_residual: bool
    tied: bool
    activation: str
    """transformers' name."""
    attention_bias: bool
    vocab_multiple: int
    init_method: str
    output_layer_init_method: str
    init_method_std: float
    lr: float
    min_lr: float
    betas: tuple[float, float]
    eps: float
    weight_decay: float
    clip: float
    """Largest gradient norm; 0: not clipped."""
    lr_decay_style: str
    lr_decay_iters: int
    warmup: float
    """Fraction of lr_decay_iters."""
    micro_batch: int
    batch: int
    """Global batch, in samples."""
    train_iters: int
    seed: int
    eod_mask_loss: bool
    precision: str
    """fp32, fp16 or bfloat16."""
    model: dict[str, Any] = field(default_factory=dict)
    """transformers' config of it, without the vocabulary (`neox_configs.huggingface`)."""

    @property
    def tokens_per_step(self) -> int:
        return self.batch * self.seq_length

    def padded(self, pieces: int) -> int:
        """Rows of the embedding for a tokenizer of so many pieces, as GPT-NeoX pads it."""
        return -(-pieces // self.vocab_multiple) * self.vocab_multiple

    def weights(self, rows: int) -> int:
        """Weights of the matrices of a model with an embedding of so many rows."""
        hidden, wide = self.hidden_size, self.model["intermediate_size"]
        shared = self.model.get("num_key_value_heads", self.num_attention_heads) / self.num_attention_heads
        layer = round(hidden**2 * (2 + 2 * shared)) + (2 if self.gpt else 3) * hidden * wide
        return rows * hidden * (1 if self.tied else 2) + self.num_layers * layer

    @property
    def gpt(self) -> bool:
        """GPT-NeoX's own model in transformers, and none of the Llama family."""
        return bool(self.model["model_type"] == "gpt_neox")

    def with_steps(self, steps: int) -> Settings:
        """The same run over `steps` iterations; the learning-rate schedule is stretched in proportion."""
        decay = max(1, round(self.lr_decay_iters * steps / self.train_iters))
        return replace(self, train_iters=steps, lr_decay_iters=decay)

    def as_dict(self) -> dict[str, Any]:
        """All fields, flat; of `model` what they do not say of GPT-NeoX's own, as those of a Llama."""
        facts = asdict(self)
        model = facts.pop("model")
        own = () if self.gpt else ("model_type", "num_key_value_heads", "rms_norm_eps", "mlp_bias", "sliding_window")
        return facts | {name: model[name] for name in own if name in model}


def resolve(config: Mapping[str, Any]) -> Settings:
    """Check a GPT-NeoX config and resolve GPT-NeoX's defaults.

    Args:
        config: normalised keys, as `neox_configs.reader.load` gives them.

    Raises:
        HaigoError: an unknown key (with the nearest real one), a key or value that this engine cannot honour, a key
            that is missing, or numbers that do not fit together.
    """
    keys.check(config)

    def get(name: str) -> Any:
        return reader.value(config, name)

    batch, adam = derive.batch_of(config), _adam(config)
    same: dict[str, Any] = {name: get(name) for name in _SAME} | {name: float(get(name)) for name in _NUMBERS}
    return Settings(
        **same,
        intermediate_size=derive.mlp(config).outer,
        gpt_j_residual=bool(get("gpt_j_residual")),
        tied=not get("no_weight_tying"),
        activation=huggingface.activation(config),
        attention_bias=bool(get("use_bias_in_attn_linear")),
        vocab_multiple=get("make_vocab_size_divisible_by") * max(1, get("model_parallel_size")),
        lr=float(adam["lr"]),
        betas=(float(adam["betas"][0]), float(adam["betas"][1])),
        eps=float(adam["eps"]),
        clip=_clip(config),
        lr_decay_iters=_decay(config),
        micro_batch=batch.micro,
        batch=batch.train,
        eod_mask_loss=bool(get("eod_mask_loss")),
        precision=rules.computed_in(config),
        model=huggingface.fields(config),
    )


def _decay(config: Mapping[str, Any]) -> int:
    """Steps of the learning-rate schedule."""
    steps, decay, share = (config.get(name) for name in ("train_iters", "lr_decay_iters", "lr_decay_fraction"))
    if decay is None:
        decay = steps if share is None else math.floor((steps or 0) * share)
    return int(decay or 0)


def _clip(config: Mapping[str, Any]) -> float:
    extra = config.get("deepspeed_extra_args") or {}
    if wrong := [key for key in extra if key not in ("gradient_clipping", "bf16", "comms_logger")]:
        raise HaigoError(
            f"deepspeed_extra_args: '{wrong[0]}' cannot be honoured by the embedded engine.", "remove it for this run"
        )
    if extra.get("gradient_clipping") is not None:
        return float(extra["gradient_clipping"])
    given = float(reader.value(config, "gradient_clipping"))
    # GPT-NeoX hands DeepSpeed only what differs from its own default 1.0, and DeepSpeed's default is 0: the usual
    # `"gradient_clipping": 1.0` clips nothing there, so it clips nothing here.
    return 0.0 if given == 1.0 else given


def _adam(config: Mapping[str, Any]) -> dict[str, Any]:
    """Adam's lr, betas and eps.

    Raises:
        HaigoError: another optimizer, or other params.
    """
    block = config["optimizer"]
    if block["type"].lower() != "adam":
        raise HaigoError(
            f"optimizer: type '{block['type']}' cannot be honoured by the embedded engine.", 'use "type": "Adam"'
        )
    wrong = [f"params.{key}" for key in block["params"] if key not in _PARAMS]
    if wrong := wrong or [key for key in block if key not in ("type", "params")]:
        raise HaigoError(
            f"optimizer: '{wrong[0]}' cannot be honoured by the embedded engine.",
            "keep lr, betas and eps there; weight_decay is a key of its own",
        )
    return {**_PARAMS, **block["params"]}
