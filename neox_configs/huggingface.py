"""GPT-NeoX's model keys as a config of transformers, and back: which of its models is the one that GPT-NeoX builds from a YAML.

| GPT-NeoX | transformers |
|---|---|
| norm layernorm, an activation that is not gated, biases in the MLP | GPTNeoXForCausalLM |
| norm rmsnorm, activation swiglu, rotary_pct 1, gpt_j_residual false | LlamaForCausalLM |
| the same with sliding_window_width where it counts (`_window`) | MistralForCausalLM |

GPT-NeoX takes two thirds of `intermediate_size` for a gated MLP and splits that in two, value and gate: a Llama of
intermediate_size 11008 is `intermediate_size: 33024` there. `use_bias_in_norms` is read by nobody: its layer norms have
biases and its RMS norms none. With the width w a token sees w tokens before it; transformers' sliding window counts the token
too. Seen at commit ea7aefd. How the weights lie is in launch/neox/conversion/layout.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from haigo.cli import HaigoError
from neox_configs import derive, neox_args, reader

ARCHITECTURES = {"gpt_neox": "GPTNeoXForCausalLM", "llama": "LlamaForCausalLM", "mistral": "MistralForCausalLM"}
"""model_type -> class, of all models that GPT-NeoX and transformers share."""
OLDER_NAMES = ("rotary_pct", "rotary_emb_base", "rope_theta")
"""Fields that transformers before 5, and what was built on it, reads in place of rope_parameters: it would else take a quarter
of a head, or 10000. To be set on a config that is made already, since transformers would move them."""
_UNGATED = ("gelu", "relu", "silu", "mish")
_EPSILONS = {"gpt_neox": ("layer_norm_eps", "layernorm_epsilon")}
_RMS = ("rms_norm_eps", "rms_norm_epsilon")


def family(config: Mapping[str, Any], verb: str = "honoured") -> str:
    """The model_type of the transformers model that computes what GPT-NeoX does: a key of ARCHITECTURES.

    Args:
        config: its keys, of the right types; of them norm, activation, biases, heads and the sliding window decide.
        verb: what cannot be done where there is none, for the message.

    Raises:
        HaigoError: no model of transformers is the same; names a key that makes it another.
    """
    get, sliding = _getter(config), _window(config) is not None
    if get("norm") == "rmsnorm" and get("activation") == "swiglu":
        name = "mistral" if sliding else "llama"
        wanted: dict[str, tuple[Any, ...]] = {"rotary_pct": (1,), "gpt_j_residual": (False,)}
        if sliding:
            wanted |= {"use_bias_in_attn_linear": (False,), "use_bias_in_mlp": (False,)}
    else:
        name, beside = "gpt_neox", "activation" if get("activation") == "swiglu" else "norm"
        wanted = {beside: _UNGATED if beside == "activation" else ("layernorm",), "use_bias_in_mlp": (True,)}
        wanted |= {"num_kv_heads": (None, config.get("num_attention_heads"))}
        wanted |= {"sliding_window_width": (None,)} if sliding else {}
    for key, values in wanted.items():
        if get(key) not in values:
            shape = f"norm {get('norm')} and activation {get('activation')}"
            raise HaigoError(
                f"{key}: {get(key)!r} cannot be {verb}: no model of transformers has it together with {shape}.",
                f"write {key}: {values[0]}".lower()
                if name != "gpt_neox"
                else "for a Llama write norm: rmsnorm, activation: swiglu",
            )
    return name


def fields(config: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of transformers' config, `model_type` first, that follow from the model's keys; no vocabulary and no ids.

    Raises:
        HaigoError: no such model in transformers. Refused: a layer that GPT-NeoX cannot run.
    """
    get, kind, sizes = _getter(config), family(config), derive.mlp(config)
    derive.check_layer(config)
    ours, key = _EPSILONS.get(kind, _RMS)
    base, share = float(get("rotary_emb_base")), float(get("rotary_pct"))
    found: dict[str, Any] = {
        "model_type": kind,
        "hidden_size": config["hidden_size"],
        "num_hidden_layers": config["num_layers"],
        "num_attention_heads": config["num_attention_heads"],
        "intermediate_size": sizes.inner,
        "hidden_act": activation(config),
        "max_position_embeddings": config["max_position_embeddings"],
        ours: float(get(key)),
        "tie_word_embeddings": not get("no_weight_tying"),
        "rope_parameters": {"rope_type": "default", "rope_theta": base},
    }
    if kind == "gpt_neox":
        found["use_parallel_residual"] = bool(get("gpt_j_residual"))
        found["attention_bias"] = bool(get("use_bias_in_attn_linear"))
        found["rope_parameters"]["partial_rotary_factor"] = share
        return found | {"rotary_pct": share, "rotary_emb_base": base}
    found["num_key_value_heads"] = derive.kv_heads(config)
    found["head_dim"] = config["hidden_size"] // config["num_attention_heads"]
    if kind == "mistral":
        found["sliding_window"] = _window(config)
    else:
        found["attention_bias"] = bool(get("use_bias_in_attn_linear"))
        found["mlp_bias"] = bool(get("use_bias_in_mlp"))
    return found | {"rope_theta": base}


def keys(given: Mapping[str, Any]) -> dict[str, Any]:
    """The GPT-NeoX keys of a model of transformers, such that `fields` of them gives the same model. No `seq_length`.

    Args:
        given: what config.json holds.

    Raises:
        HaigoError: a model that GPT-NeoX does not build; names the field.
    """
    kind = given.get("model_type")
    if kind not in ARCHITECTURES:
        raise HaigoError(
            f"the model is of the type '{kind}', which GPT-NeoX does not build.",
            f"take one of {', '.join(ARCHITECTURES)}",
        )
    turned = _rope(given, kind)
    heads, hidden = given["num_attention_heads"], given["hidden_size"]
    if given.get("head_dim") not in (None, hidden // heads):
        raise HaigoError(
            f"head_dim is {given['head_dim']}, and in GPT-NeoX it is hidden_size / num_attention_heads ({hidden // heads}).",
            "take a model whose heads share the hidden size",
        )
    ours, key = _EPSILONS.get(kind, _RMS)
    found: dict[str, Any] = {
        "num_layers": given["num_hidden_layers"],
        "hidden_size": hidden,
        "num_attention_heads": heads,
        "max_position_embeddings": given["max_position_embeddings"],
        "norm": "layernorm" if kind == "gpt_neox" else "rmsnorm",
        key: float(given.get(ours, {"layer_norm_eps": 1e-5, "rms_norm_eps": 1e-6}[ours])),
        "pos_emb": "rotary",
        "no_weight_tying": not given.get("tie_word_embeddings", False),
        **turned,
    }
    if kind == "gpt_neox":
        return found | _plain(given)
    wide, biased = given["intermediate_size"], kind == "llama"
    act = given.get("hidden_act", "silu")
    if act not in ("silu", "swish"):
        raise HaigoError(f"hidden_act is {act}, and GPT-NeoX's gated MLP of this model has silu.", "take another model")
    found |= {
        "num_kv_heads": given.get("num_key_value_heads") or heads,
        "intermediate_size": 3 * wide,
        "activation": "swiglu",
        "gpt_j_residual": False,
        "use_bias_in_norms": False,
        "use_bias_in_attn_linear": biased and bool(given.get("attention_bias")),
        "use_bias_in_mlp": biased and bool(given.get("mlp_bias")),
    }
    if kind == "mistral" and given.get("sliding_window"):
        found["sliding_window_width"] = given["sliding_window"] - 1
        found["attention_config"] = [[["flash"], found["num_layers"]]]
    return found


def activation(config: Mapping[str, Any]) -> str:
    """transformers' name. GPT-NeoX's fused bias+gelu kernel is the tanh form, its plain gelu the exact one."""
    name = str(reader.value(config, "activation"))
    if name == "swiglu":
        return "silu"  # of the gate
    return "gelu_pytorch_tanh" if name == "gelu" and reader.value(config, "bias_gelu_fusion") else name


def _plain(given: Mapping[str, Any]) -> dict[str, Any]:
    """What is the GPT-NeoX model's own."""
    act = given.get("hidden_act", "gelu")
    fused = act in ("gelu_pytorch_tanh", "gelu_new", "gelu_fast")
    if not fused and act not in _UNGATED:
        raise HaigoError(f"hidden_act is {act}, which GPT-NeoX does not have.", f"take {', '.join(_UNGATED)}")
    return {
        "intermediate_size": given["intermediate_size"],
        "activation": "gelu" if fused else act,
        "bias_gelu_fusion": fused,
        "gpt_j_residual": bool(given.get("use_parallel_residual", True)),
        "use_bias_in_attn_linear": bool(given.get("attention_bias", True)),
    }


def _rope(given: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """The rotary keys, of the newer `rope_parameters` or of the older fields."""
    rope = given.get("rope_parameters") or {}
    for block in (rope, given.get("rope_scaling") or {}):
        if (scaled := block.get("rope_type", block.get("type", "default"))) != "default":
            raise HaigoError(
                f"its rotary positions are scaled ({scaled}), which GPT-NeoX cannot do.",
                "take a model without rope_scaling",
            )
    old = given.get("rotary_emb_base", given.get("rope_theta", 10000))
    base, share = rope.get("rope_theta", old), rope.get("partial_rotary_factor", given.get("rotary_pct"))
    if share is None:
        share = 0.25 if kind == "gpt_neox" else 1.0
    if base != int(base):
        raise HaigoError(f"its rotary base is {base}, and GPT-NeoX takes whole numbers only.", "take another model")
    return {"rotary_emb_base": int(base), "rotary_pct": float(share)}


def _window(config: Mapping[str, Any]) -> int | None:
    """transformers' sliding_window; None where every token sees all before it.

    Flash attention has the width of the config. Global attention has it in the mask that a pipeline hands on, and without one
    (pipe_parallel_size 0) GPT-NeoX makes a mask that has it not; its fused causal softmax asks for no mask at all, but is used
    for some lengths and batches only.
    """
    width = config.get("sliding_window_width")
    if width is None:
        return None
    kinds = {*neox_args.attention_layers(config.get("attention_config"), config.get("num_layers"))}
    if kinds == {"flash"}:
        return int(width) + 1
    masked = int(reader.value(config, "pipe_parallel_size")) >= 1
    if "flash" in kinds and not masked:
        raise HaigoError(
            f"sliding_window_width {width} counts in flash attention only, and attention_config mixes it with global.",
            "use flash in every layer",
        )
    if masked and reader.value(config, "scaled_upper_triang_masked_softmax_fusion"):
        raise HaigoError(
            f"sliding_window_width {width}: GPT-NeoX's fused causal softmax has none, and is used for some lengths only.",
            "use flash attention, or write scaled_upper_triang_masked_softmax_fusion: false",
        )
    return int(width) + 1 if masked else None


def _getter(config: Mapping[str, Any]) -> Any:
    return lambda name: reader.value(config, name)
