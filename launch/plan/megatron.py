"""A config as the arguments of Megatron-LM's pretrain_gpt.py, in a file for bash: `source FILE`, then `"${MEGATRON_ARGS[@]}"`.

The config is GPT-NeoX's, as `launch.configs` makes it; every key that differs from GPT-NeoX's default becomes the argument
that means the same, or is refused by name. What Megatron-LM does otherwise and cannot be told is a remark in the file's head.
Names and values are those of Megatron-LM's own arguments.py (d98e8a6, November 2026).
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from haigo import files, yamlfile
from haigo.cli import HaigoError, Refused
from launch.plan.checks import rules
from launch.plan.options import ConfigOptions, File
from launch.plan.planner import Plan
from neox_configs import derive, neox_args, reader
from neox_configs.keys import KEYS

Words = tuple[str, ...]
_PRECISIONS = {"bfloat16": ["--bf16"], "fp16": ["--fp16"], "fp32": []}
_TOKENIZERS = {"SPMTokenizer": "SentencePieceTokenizer", "HFTokenizer": "HuggingFaceTokenizer"}
_LOSS_SCALE = {"loss_scale_window": "loss-scale-window", "hysteresis": "hysteresis", "min_loss_scale": "min-loss-scale"}
_OTHER_DATA = (
    "Megatron-LM draws other samples in another order than GPT-NeoX from the same seed (its shuffles keep the last epoch "
    "apart, and its samples are counted otherwise); shares are met alike, within one sample a corpus",
    "the datasets end their documents themselves; Megatron-LM's own end of document is its tokenizer's </s>, and counts with "
    "--eod-mask-loss, --reset-position-ids and --reset-attention-mask only",
)


@dataclass(frozen=True)
class Arguments:
    """What pretrain_gpt.py is called with."""

    words: list[Words]
    """Each an argument with its values."""
    remarks: list[str]
    """What Megatron-LM does otherwise."""

    def flat(self) -> list[str]:
        """All words in one list."""
        return [word for each in self.words for word in each]


@cache
def _table() -> dict[str, Any]:
    return dict(yamlfile.read(Path(__file__).with_name("megatron.yml")))


def require(options: ConfigOptions) -> None:
    """See that a run can be one of Megatron-LM's.

    Raises:
        Refused: a recipe that starts from a checkpoint, which is GPT-NeoX's.
    """
    if options.recipe != "pretrain":
        raise Refused(
            f"the recipe {options.recipe} starts from a GPT-NeoX checkpoint, which Megatron-LM cannot read.",
            "leave --format out, or convert it (launch.convert) and that by Megatron-LM's tools/checkpoint",
            option="format",
        )


def able(planned: Plan) -> Plan:
    """The plan with those layouts alone that Megatron-LM has: its distributed optimizer is ZeRO 1.

    Raises:
        Refused: nothing fits, or only with ZeRO 2.
    """
    _ = planned.best
    left = [one for one in planned.layouts if one.zero <= 1]
    if not left:
        raise Refused(
            f"{planned.model} fits here with ZeRO 2 alone, which Megatron-LM does not have.", "take more nodes"
        )
    return replace(planned, layouts=left)


def of_schedule(lines: Sequence[str]) -> list[str]:
    """Of what the head says of a schedule what is true of Megatron-LM too: the rate, and nothing of GPT-NeoX's checkpoints."""
    return [line.partition(": `launch.configs --recipe")[0] for line in lines if line.startswith("rate:")]


def arguments(config: Mapping[str, Any]) -> Arguments:
    """The arguments that mean what a config means.

    Args:
        config: GPT-NeoX's keys, with a batch and the datasets in lists.

    Raises:
        Refused: keys without a counterpart; all of them are named.
    """
    table, get = _table(), lambda key: reader.value(config, key)
    made = _Made(config)
    for key, name in table["same"].items():
        value = get("train_iters") if key == "lr_decay_iters" and get(key) is None else get(key)
        if value is not None:
            made.add(name, value)
        made.used.add(key)
    for key, name in table["flags"].items():
        if get(key):
            made.add(name)
        made.used.add(key)
    for key, name in table["wandb"].items():
        if get("use_wandb") and config.get(key):
            made.add(name, config[key])
        made.used |= {key, "use_wandb", "wandb_group"}
    if get("use_wandb") and get("wandb_group"):
        made.remarks.append(
            f"Weights & Biases gets no group ({get('wandb_group')}): Megatron-LM has no argument for it"
        )
    for part in (_model, _begin, _optimizer, _layout, _data, _rest):
        part(made, get)
    lost = [key for key in config if key not in made.used and key not in table["own"] and _differs(config, key)]
    if lost or made.refused:
        named = [*made.refused, *(f"{key}: {config[key]!r:.60}" for key in lost)]
        raise Refused(
            f"Megatron-LM has no argument for {'; '.join(named)}.",
            "leave it out of the model's file, or train with GPT-NeoX",
        )
    return Arguments(made.words, [*made.remarks, *_OTHER_DATA])


def _differs(config: Mapping[str, Any], key: str) -> bool:
    return config[key] is not None and (key not in KEYS or config[key] != KEYS[key].default)


class _Made:
    """The arguments while they are gathered."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.config = config
        self.words: list[Words] = []
        self.used: set[str] = set()
        self.remarks: list[str] = []
        self.refused: list[str] = []

    def add(self, name: str, *values: Any) -> None:
        self.words.append((f"--{name}", *(_text(value) for value in values)))

    def refuse(self, key: str, why: str = "") -> None:
        self.refused.append(f"{key}: {reader.value(self.config, key)!r:.60}{f' ({why})' if why else ''}")


def _text(value: Any) -> str:
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def _model(made: _Made, get: Any) -> None:
    config = made.config
    made.used |= {
        "norm", "layernorm_epsilon", "rms_norm_epsilon", "activation", "intermediate_size", "mlp_multiple_of",
        "expansion_factor", "num_kv_heads", "pos_emb", "rotary_pct", "rotary_emb_base", "use_bias_in_mlp",
        "use_bias_in_attn_linear", "gpt_j_residual", "attention_config", "sliding_window_width", "bias_gelu_fusion",
    }  # fmt: skip
    gated, rms = get("activation") == "swiglu", get("norm") == "rmsnorm"
    if get("norm") not in ("layernorm", "rmsnorm"):
        made.refuse("norm")
    if get("activation") not in ("gelu", "swiglu"):
        made.refuse("activation")
    if get("gpt_j_residual"):
        made.refuse("gpt_j_residual", "attention and MLP beside one another")
    if get("use_bias_in_mlp") != get("use_bias_in_attn_linear"):
        made.refuse("use_bias_in_attn_linear", f"with use_bias_in_mlp {get('use_bias_in_mlp')}")
    sizes = derive.mlp(config)
    if sizes.outer != sizes.inner * (2 if sizes.gated else 1):
        made.refuse("intermediate_size", "GPT-NeoX rounds its two matrices to sizes that do not fit together")
    made.add("ffn-hidden-size", sizes.inner)
    if gated:
        made.add("swiglu")
    elif not get("bias_gelu_fusion"):  # fused it is the tanh form, in both
        made.add("no-bias-gelu-fusion")
    made.add("normalization", "RMSNorm" if rms else "LayerNorm")
    made.add("norm-epsilon", get("rms_norm_epsilon" if rms else "layernorm_epsilon"))
    if not get("use_bias_in_mlp"):
        made.add("disable-bias-linear")
    if get("num_kv_heads") not in (None, config["num_attention_heads"]):
        made.add("group-query-attention")
        made.add("num-query-groups", get("num_kv_heads"))
    if get("pos_emb") == "rotary":
        made.add("position-embedding-type", "rope")
        made.add("rotary-percent", get("rotary_pct"))
        made.add("rotary-base", get("rotary_emb_base"))
    elif get("pos_emb") in ("learned", "none"):
        made.add("position-embedding-type", {"learned": "learned_absolute"}.get(get("pos_emb"), "none"))
    else:
        made.refuse("pos_emb")
    _attention(made, get)


def _attention(made: _Made, get: Any) -> None:
    kinds = {*neox_args.attention_layers(get("attention_config"), made.config["num_layers"])}
    if kinds == {"flash"}:
        made.add("attention-backend", "flash")
        if get("sliding_window_width") is not None:
            made.add("window-size", f"{get('sliding_window_width')},0")
    elif kinds != {"global"}:
        made.refuse("attention_config")


def _begin(made: _Made, get: Any) -> None:
    """How weights begin: in Megatron-LM one normal distribution, over sqrt(2 x layers) for what is added to the stream."""
    made.used |= {"init_method", "output_layer_init_method", "init_method_std"}
    hidden, layers, first, last = (
        get(key) for key in ("hidden_size", "num_layers", "init_method", "output_layer_init_method")
    )
    stds = {"small_init": math.sqrt(2 / (5 * hidden)), "normal": get("init_method_std")}
    if first not in stds:
        made.refuse("init_method")
        return
    made.add("init-method-std", stds[first])
    ours = {"wang_init": 2 / (layers * math.sqrt(hidden)), "scaled_normal": get("init_method_std") / math.sqrt(2 * layers),
            "small_init": stds["small_init"], "normal": get("init_method_std")}  # fmt: skip
    theirs = stds[first] / math.sqrt(2 * layers)
    if last not in ours:
        made.refuse("output_layer_init_method")
    elif not math.isclose(ours[last], theirs, rel_tol=1e-6):
        made.remarks.append(
            f"what is added to the residual stream begins with a standard deviation of {theirs:.3g}, not with the "
            f"{ours[last]:.3g} of {last}, which Megatron-LM does not have"
        )


def _optimizer(made: _Made, get: Any) -> None:
    made.used |= {"optimizer", "lr_decay_style", "precision", "fp16", "bf16", "deepspeed_extra_args", "data_types"}
    optimizer = get("optimizer") or {}
    params = dict(optimizer.get("params") or {})
    if str(optimizer.get("type", "Adam")).lower() not in ("adam", "adamw"):
        made.refuse("optimizer")
    made.add("optimizer", "adam")
    made.add("lr", float(params.pop("lr", get("lr") or 0.001)))
    first, second = params.pop("betas", (0.9, 0.999))
    for name, value in (("adam-beta1", first), ("adam-beta2", second), ("adam-eps", params.pop("eps", 1e-8))):
        made.add(name, float(value))
    made.refused += [f"optimizer.params.{name}: {value}" for name, value in params.items() if name != "weight_decay"]
    style = get("lr_decay_style")
    if style not in ("constant", "cosine") and not (style == "linear" and not get("min_lr")):
        made.refuse(
            "lr_decay_style",
            "Megatron-LM's linear decay ends at min_lr, GPT-NeoX's is cut there" if style == "linear" else "",
        )
    made.add("lr-decay-style", style)
    if style == "constant":
        made.remarks.append(
            "the rate stays; --lr-decay-style WSD with --lr-wsd-decay-iters N lets it fall in the last N steps"
        )
    precision = rules.computed_in(made.config)
    made.words += [(word,) for word in _PRECISIONS[precision]]
    block = made.config.get("fp16") or {}
    if precision == "fp16":
        if block.get("loss_scale"):
            made.add("loss-scale", block["loss_scale"])
        if "initial_scale_power" in block:
            made.add("initial-loss-scale", 2 ** block["initial_scale_power"])
        for key, name in _LOSS_SCALE.items():
            if key in block:
                made.add(name, block[key])
    if (get("deepspeed_extra_args") or {}) not in ({}, {"gradient_clipping": get("gradient_clipping")}):
        made.refuse("deepspeed_extra_args")


def _layout(made: _Made, get: Any) -> None:
    made.used |= {
        "pipe_parallel_size", "gradient_accumulation_steps", "zero_optimization", "checkpoint_activations",
        "checkpoint_num_layers", "partition_activations",
    }  # fmt: skip
    made.add("pipeline-model-parallel-size", max(1, get("pipe_parallel_size")))
    zero = get("zero_optimization") or {}
    if zero.get("stage", 0) > 1:
        made.refused.append(f"zero_optimization.stage: {zero['stage']} (its distributed optimizer is ZeRO 1)")
    if zero.get("stage") == 1:
        made.add("use-distributed-optimizer")
        if zero.get("overlap_comm"):
            made.add("overlap-grad-reduce")
    if get("checkpoint_activations"):
        made.add("recompute-granularity", "full")
        made.add("recompute-method", "uniform")
        made.add("recompute-num-layers", get("checkpoint_num_layers"))
        if get("partition_activations") and get("model_parallel_size") > 1 and not get("sequence_parallel"):
            made.add("distribute-saved-activations")


def _data(made: _Made, get: Any) -> None:
    kind = get("tokenizer_type")
    made.used |= {"tokenizer_type", "vocab_file"}
    if kind not in _TOKENIZERS:
        made.refuse("tokenizer_type")
    else:
        model = str(get("vocab_file"))
        made.add("tokenizer-type", _TOKENIZERS[kind])
        # transformers takes the folder
        made.add("tokenizer-model", str(Path(model).parent) if kind == "HFTokenizer" else model)
    for split in ("train", "valid", "test"):
        paths, weights = get(f"{split}_data_paths") or [], get(f"{split}_data_weights")
        made.used |= {f"{split}_data_paths", f"{split}_data_weights"}
        pairs = zip(weights or [1.0] * len(paths), paths, strict=True)
        if paths:
            made.add(f"{split}-data-path", *(word for pair in pairs for word in pair))
    if get("save"):
        made.add("data-cache-path", f"{get('save')}/data-cache")  # not beside the datasets, which may be another's


def _rest(made: _Made, get: Any) -> None:
    made.used |= {"keep_last_n_checkpoints", "extra_save_iters", "checkpoint_scale"}
    extra = [step for step in get("extra_save_iters") or [] if step != get("train_iters")]
    if extra:
        made.remarks.append(
            f"Megatron-LM saves every --save-interval steps and at the end: not at step {', '.join(map(str, extra))}"
        )
    if get("checkpoint_scale") not in (None, "linear"):
        made.refuse("checkpoint_scale")
    if get("keep_last_n_checkpoints"):
        made.remarks.append(
            f"Megatron-LM keeps every checkpoint (keep_last_n_checkpoints: {get('keep_last_n_checkpoints')} has no argument): "
            "watch the disk, or give --save-retain-interval"
        )


def text(made: Arguments, header: str) -> str:
    """The file: the head as comments, then the arguments, one a line."""
    lines = [f"# {line}" for line in [*header.splitlines(), *(f"note: {remark}" for remark in made.remarks)]]
    lines += ['# use: source this file, then: torchrun ... pretrain_gpt.py "${MEGATRON_ARGS[@]}"', ""]
    if ("--tensor-model-parallel-size", "1") not in made.words:
        lines.append(
            "export CUDA_DEVICE_MAX_CONNECTIONS=1  # Megatron-LM insists on it with a tensor split, before Blackwell"
        )
    return "\n".join([*lines, "MEGATRON_ARGS=(", *_listed(made.words), ")", ""])


def _listed(words: Sequence[Words]) -> Iterator[str]:
    for name, *values in words:
        if name.endswith("-data-path"):
            yield f"    {name}"
            yield from (f"        {values[at]} {shlex.quote(values[at + 1])}" for at in range(0, len(values), 2))
        else:
            yield f"    {shlex.join([name, *values])}"


def write(config: Mapping[str, Any], header: str, output: File) -> Arguments:
    """Write the file of a config.

    Raises:
        Refused: as `arguments`. HaigoError: a path that bash could not have in a list.
    """
    made = arguments(config)
    if any("\n" in word for word in made.flat()):
        raise HaigoError("a path of the config has a line break.", "rename it")
    files.write_text(output, text(made, header))
    return made
