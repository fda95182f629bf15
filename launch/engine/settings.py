"""What a GPT-NeoX config asks of the embedded engine, checked key by key: a key it cannot honour is refused by name.

Every key of GPT-NeoX is in exactly one of three classes: honoured (it becomes a field of `Settings`), without effect on
the numbers (where and how fast things run, logging, storage), or held to the values for which this engine computes
what GPT-NeoX computes. Nothing is ignored.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from haigo.cli import HaigoError, nearest
from launch.engine import keys
from launch.engine.init import INITS
from launch.plan.checks import values
from neox_configs import derive
from neox_configs.keys import KEYS

_GATED = "gated activations have a weight matrix that transformers' GPTNeoXForCausalLM lacks"
_BELOW_ONE = 1.0 - 1e-9
_COUNTED = ["num_layers", "hidden_size", "num_attention_heads", "seq_length", "max_position_embeddings", "train_iters"]
_NUMBERS = {
    "layernorm_epsilon": (0,),
    "rotary_emb_base": (1,),
    "init_method_std": (0,),
    "min_lr": (0,),
    "weight_decay": (0,),
    "warmup": (0, 1),
}
"""Fields that are a key's number, with its least and greatest value."""
_NAMED = {
    "init_method": ("not an init method of this engine", INITS),
    "output_layer_init_method": ("not an init method of this engine", INITS),
    "lr_decay_style": ("unknown", ("constant", "linear", "cosine", "exponential")),
}
_ACTIVATIONS = {"gelu": "gelu", "relu": "relu", "silu": "silu", "mish": "mish"}


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

    @property
    def tokens_per_step(self) -> int:
        return self.batch * self.seq_length

    def padded(self, pieces: int) -> int:
        """Rows of the embedding for a tokenizer of so many pieces, as GPT-NeoX pads it."""
        return -(-pieces // self.vocab_multiple) * self.vocab_multiple

    def weights(self, rows: int) -> int:
        """Weights of the matrices of a model with an embedding of so many rows."""
        hidden, layer = self.hidden_size, 4 * self.hidden_size**2 + 2 * self.hidden_size * self.intermediate_size
        return rows * hidden * (1 if self.tied else 2) + self.num_layers * layer

    def with_steps(self, steps: int) -> Settings:
        """The same run over `steps` iterations; the learning-rate schedule is stretched in proportion."""
        decay = max(1, round(self.lr_decay_iters * steps / self.train_iters))
        return replace(self, train_iters=steps, lr_decay_iters=decay)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


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
        value = config.get(name)
        return KEYS[name].default if value is None else value

    counted: dict[str, Any] = {name: _positive(get(name), name) for name in _COUNTED}
    numbers: dict[str, Any] = {name: _number(get(name), name, *limits) for name, limits in _NUMBERS.items()}
    rotary = _rotary(counted, _number(get("rotary_pct"), "rotary_pct"))
    micro, batch = batch_sizes(config)
    lr, betas, eps = _optimizer(config)
    if numbers["min_lr"] > lr:
        raise HaigoError(f"min_lr {numbers['min_lr']} is more than lr {lr}.", "lower min_lr")
    named: dict[str, Any] = {name: _among(get(name), name, *choice) for name, choice in _NAMED.items()}
    made = Settings(
        **counted,
        **numbers,
        **named,
        intermediate_size=intermediate(config, counted["hidden_size"]),
        rotary_pct=rotary,
        gpt_j_residual=bool(get("gpt_j_residual")),
        tied=not get("no_weight_tying"),
        activation=activation(get("activation"), bool(get("bias_gelu_fusion"))),
        attention_bias=bool(get("use_bias_in_attn_linear")),
        vocab_multiple=_positive(get("make_vocab_size_divisible_by"), "make_vocab_size_divisible_by")
        * _positive(get("model_parallel_size"), "model_parallel_size"),
        lr=lr,
        betas=betas,
        eps=eps,
        clip=_clip(config),
        lr_decay_iters=_decay(get, counted["train_iters"]),
        micro_batch=micro,
        batch=batch,
        seed=seed(get("seed")),
        eod_mask_loss=bool(get("eod_mask_loss")),
        precision=precision_of(config),
    )
    honoured = {name: value for name, value in config.items() if name in keys.classes().honoured and name != "seed"}
    for wrong in values.numbers(honoured):  # the seed 0, which GPT-NeoX refuses, is one here
        raise HaigoError(wrong.found, wrong.fix)
    return made


def _rotary(sizes: Mapping[str, int], share: float) -> float:
    """See that a head, and the part of it that turns, are whole, and that there is a position for each token."""
    hidden, heads = sizes["hidden_size"], sizes["num_attention_heads"]
    if hidden % heads:
        raise HaigoError(f"hidden_size {hidden} is not divisible by num_attention_heads {heads}.", "change one of them")
    if sizes["seq_length"] > sizes["max_position_embeddings"]:
        raise HaigoError(
            f"seq_length {sizes['seq_length']} is more than max_position_embeddings {sizes['max_position_embeddings']}.",
            "raise max_position_embeddings",
        )
    turned = int(hidden // heads * share)
    if not 0 < share <= 1 or turned % 2:
        raise HaigoError(
            f"rotary_pct {share} of a head of {hidden // heads} is {turned} dimensions, which must be even and more than 0.",
            "change rotary_pct or the number of heads",
        )
    return share


def _decay(get: Callable[[str], Any], train_iters: int) -> int:
    """Steps of the learning-rate schedule."""
    decay, share = get("lr_decay_iters"), get("lr_decay_fraction")
    if decay is None:
        decay = train_iters if share is None else math.floor(train_iters * _number(share, "lr_decay_fraction"))
    if decay < 1:
        raise HaigoError(
            f"lr_decay_iters, or lr_decay_fraction of train_iters, is {decay}: the schedule has no step.",
            "raise it, or leave both out",
        )
    return int(decay)


def _among(value: Any, name: str, what: str, choices: tuple[str, ...]) -> str:
    if value not in choices:
        near = nearest(str(value), choices)
        raise HaigoError(f"{name}: '{value}' is {what}.{near}", f"use one of {', '.join(choices)}")
    return str(value)


def activation(name: str, fused: bool) -> str:
    if name not in _ACTIVATIONS:
        why = _GATED if name in ("geglu", "reglu", "bilinear", "swiglu", "glu") else "it has no such function"
        raise HaigoError(
            f"activation: '{name}' cannot be honoured by the embedded engine: {why}.",
            f"use one of {', '.join(_ACTIVATIONS)}",
        )
    # GPT-NeoX's fused bias+gelu kernel is the tanh form, its plain gelu the exact one
    return "gelu_pytorch_tanh" if name == "gelu" and fused else _ACTIVATIONS[name]


def intermediate(config: Mapping[str, Any], hidden: int) -> int:
    given, factor = config.get("intermediate_size"), config.get("expansion_factor")
    if given and factor:
        raise HaigoError("the config gives both intermediate_size and expansion_factor.", "keep one of them")
    size = _positive(given, "intermediate_size") if given else int(_number(factor or 4, "expansion_factor") * hidden)
    if size < 1:
        raise HaigoError(f"expansion_factor {factor} gives an MLP of {size}.", "write a larger one")
    multiple = _positive(_or(config, "mlp_multiple_of", 1), "mlp_multiple_of")
    outer = 2 * multiple * -(-size // (2 * multiple))
    inner = multiple * -(-size // multiple)
    if outer != inner:  # GPT-NeoX rounds the two matrices differently and dies in the first step
        raise HaigoError(
            f"an MLP of {size} with mlp_multiple_of {multiple} gives GPT-NeoX matrices of {outer} and {inner}.",
            f"use an intermediate_size divisible by {2 * multiple}",
        )
    return outer


def _clip(config: Mapping[str, Any]) -> float:
    extra = config.get("deepspeed_extra_args") or {}
    wrong = [key for key in extra if key not in ("gradient_clipping", "bf16", "comms_logger")]
    if wrong:
        raise HaigoError(
            f"deepspeed_extra_args: '{wrong[0]}' cannot be honoured by the embedded engine.", "remove it for this run"
        )
    half = extra.get("bf16")
    if isinstance(half, Mapping) and half.get("enabled") and precision_of(config) != "bfloat16":
        raise HaigoError(
            f"deepspeed_extra_args turns bf16 on, and the precision is {precision_of(config)}.",
            'write "precision": "bfloat16", or take it out',
        )
    if "gradient_clipping" in extra:
        return _number(extra["gradient_clipping"], "deepspeed_extra_args.gradient_clipping", 0)
    value = config.get("gradient_clipping")
    given = _number(1.0 if value is None else value, "gradient_clipping", 0)
    # GPT-NeoX hands DeepSpeed only what differs from its own default 1.0, and DeepSpeed's default is 0: the usual
    # `"gradient_clipping": 1.0` clips nothing there, so it clips nothing here.
    return 0.0 if given == 1.0 else given


def _optimizer(config: Mapping[str, Any]) -> tuple[float, tuple[float, float], float]:
    block = config.get("optimizer")
    if not isinstance(block, Mapping) or not isinstance(block.get("params"), Mapping):
        raise HaigoError(
            "the config has no optimizer.", 'write "optimizer": {"type": "Adam", "params": {"lr": 0.001, ...}}'
        )
    kind = str(block.get("type", "adam"))
    if kind.lower() != "adam":
        raise HaigoError(f"optimizer: type '{kind}' cannot be honoured by the embedded engine.", 'use "type": "Adam"')
    params = dict(block["params"])
    wrong = [key for key in params if key not in ("lr", "betas", "eps")]
    if wrong or any(key not in ("type", "params") for key in block):
        name = f"params.{wrong[0]}" if wrong else next(key for key in block if key not in ("type", "params"))
        raise HaigoError(
            f"optimizer: '{name}' cannot be honoured by the embedded engine.",
            "keep lr, betas and eps there; weight_decay is a key of its own",
        )
    for name in ("lr", "eps"):
        if params.get(name) == 0:
            raise HaigoError(f"optimizer.params.{name} is 0, and must be above 0.", "write a number above 0")
    betas = params.get("betas", [0.9, 0.999])
    if not isinstance(betas, list | tuple) or len(betas) != 2:
        raise HaigoError(f"optimizer: betas {betas!r} are not two numbers.", "write [0.9, 0.95]")
    # 0.001, (0.9, 0.999) and 1e-8: what apex's FusedAdam takes when GPT-NeoX passes nothing
    return (
        _number(params.get("lr", 0.001), "optimizer.params.lr", 0),
        (
            _number(betas[0], "optimizer.params.betas", 0, _BELOW_ONE),
            _number(betas[1], "optimizer.params.betas", 0, _BELOW_ONE),
        ),
        _number(params.get("eps", 1e-8), "optimizer.params.eps", 0),
    )


def batch_sizes(config: Mapping[str, Any]) -> tuple[int, int]:
    """(micro batch, global batch), in samples; see `derive.batch_of`."""
    for name in ("train_batch_size", "train_micro_batch_size_per_gpu", "gradient_accumulation_steps"):
        if config.get(name) is not None:
            _positive(config[name], name)
    one = derive.batch_of(config)
    return one.micro, one.train


def precision_of(config: Mapping[str, Any]) -> str:
    stated = config.get("precision")
    found = {name for key, name in (("fp16", "fp16"), ("bf16", "bfloat16")) if (config.get(key) or {}).get("enabled")}
    if stated:
        found.add(str(stated))
    if len(found) > 1:
        raise HaigoError(f"the config asks for several precisions: {', '.join(sorted(found))}.", "keep one of them")
    name = found.pop() if found else "fp32"
    kind = (config.get("fp16") or {}).get("type", "fp16")
    if name == "fp16" and str(kind).lower() not in ("fp16", "float16", "half"):
        raise HaigoError(
            f"fp16.type is '{kind}', which GPT-NeoX does not read: it trains in fp16.",
            "write precision: bfloat16 and take the fp16 block out, or leave type out",
        )
    if name not in ("fp32", "fp16", "bfloat16"):
        raise HaigoError(f"precision: '{name}' is unknown.", "use fp32, fp16 or bfloat16")
    return name


def seed(value: Any) -> int:
    """A seed that GPT-NeoX's data order (numpy's RandomState) takes."""
    if not 0 <= value < 1 << 32:
        raise HaigoError(f"seed: {value} is not from 0 to {(1 << 32) - 1}.", "write another seed")
    return int(value)


def _number(value: Any, name: str, least: float = -math.inf, most: float = math.inf) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise HaigoError(f"{name}: {value!r} is not a number.", "write a number")
    if not least <= value <= most:
        wanted = f"at least {least:g}" if most == math.inf else f"from {least:g} to {most:g}"
        raise HaigoError(f"{name}: {value!r} is not {wanted}.", "write another number")
    return float(value)


def _or(config: Mapping[str, Any], name: str, default: Any) -> Any:
    return default if config.get(name) is None else config[name]


def _positive(value: Any, name: str) -> int:
    if value is None:
        raise HaigoError(f"the config gives no {name}.", f"add {name}")
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise HaigoError(f"{name}: {value!r:.60} is not a whole number of at least 1.", "write a whole number")
    if value >= 1 << 31:  # torch's and GPT-NeoX's own limit
        raise HaigoError(f"{name}: {value!s:.40} is more than anything here has.", "write a smaller number")
    return value
