"""One owner of what a GPT-NeoX YAML is in transformers, and back."""

from __future__ import annotations

import pytest

from haigo.cli import HaigoError
from neox_configs import huggingface, reader, shipped

GPT = {
    "num_layers": 2,
    "hidden_size": 64,
    "num_attention_heads": 4,
    "max_position_embeddings": 128,
    "pos_emb": "rotary",
}
LLAMA = {
    **GPT,
    "norm": "rmsnorm",
    "activation": "swiglu",
    "intermediate_size": 3 * 88,
    "use_bias_in_attn_linear": False,
}
LLAMA |= {"use_bias_in_mlp": False, "num_kv_heads": 2, "no_weight_tying": True, "rms_norm_epsilon": 1e-5}
FLASH = {"attention_config": [[["flash"], 2]], "sliding_window_width": 31}


def made(fields):
    """The model, without memory."""
    import torch
    from transformers import AutoModelForCausalLM

    from launch.engine.model import hf_config

    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(hf_config({"vocab_size": 128, **fields}))


@pytest.mark.parametrize(
    "config,name",
    [
        (GPT, "GPTNeoXForCausalLM"),
        ({**GPT, "sliding_window_width": 31}, "GPTNeoXForCausalLM"),  # global attention does not look at it
        ({**GPT, "use_bias_in_attn_linear": False, "gpt_j_residual": True, "rotary_pct": 0.25}, "GPTNeoXForCausalLM"),
        (LLAMA, "LlamaForCausalLM"),
        ({**LLAMA, "num_kv_heads": None, "no_weight_tying": False, "rotary_emb_base": 500000}, "LlamaForCausalLM"),
        ({**LLAMA, "use_bias_in_mlp": True, "use_bias_in_attn_linear": True}, "LlamaForCausalLM"),
        ({**LLAMA, **FLASH}, "MistralForCausalLM"),
    ],
)
def test_there_and_back(config, name):
    fields = huggingface.fields(config)
    model = made(fields)
    assert type(model).__name__ == name
    back = huggingface.keys(model.config.to_dict())
    reader.check_keys(back)
    reader.check_types(back)
    assert huggingface.fields(back) == fields


def test_the_sizes_of_the_gated_mlp_are_neox_own():
    # two thirds of 33024, halved: Llama 2 7B. GPT-NeoX's configs/llama say 32768, and get another size
    assert huggingface.fields({**LLAMA, "intermediate_size": 33024})["intermediate_size"] == 11008
    rounded = {**LLAMA, "intermediate_size": 32768, "mlp_multiple_of": 256}
    assert huggingface.fields(rounded)["intermediate_size"] == 11008
    with pytest.raises(HaigoError, match="rounds its matrices to 172 and 85"):
        huggingface.fields({**LLAMA, "intermediate_size": 257})


def test_a_window_of_flash_attention_is_one_more_in_transformers():
    assert huggingface.fields({**LLAMA, **FLASH})["sliding_window"] == 32
    masked = {**LLAMA, "sliding_window_width": 31}
    assert "sliding_window" not in huggingface.fields(masked)
    # a pipeline hands the mask with the window on (seen: loss equal to 7 digits), and one kernel looks at no mask
    assert huggingface.fields({**masked, "pipe_parallel_size": 1})["sliding_window"] == 32
    with pytest.raises(HaigoError, match="fused causal softmax has none"):
        huggingface.fields(masked | {"pipe_parallel_size": 2, "scaled_upper_triang_masked_softmax_fusion": True})


@pytest.mark.parametrize(
    "changes,words",
    [
        ({"norm": "layernorm"}, "activation: 'swiglu'"),
        ({"activation": "gelu"}, "norm: 'rmsnorm'"),
        ({"norm": "layernorm", "activation": "gelu"}, "use_bias_in_mlp: False"),
        ({"norm": "layernorm", "activation": "gelu", "use_bias_in_mlp": True}, "num_kv_heads: 2"),
        ({"rotary_pct": 0.5}, "rotary_pct: 0.5"),
        ({"gpt_j_residual": True}, "gpt_j_residual: True"),
        ({**FLASH, "use_bias_in_mlp": True}, "use_bias_in_mlp: True"),
        ({**FLASH, "attention_config": [[["flash", "global"], 1]]}, "mixes it with global"),
    ],
)
def test_what_no_model_of_transformers_is(changes, words):
    with pytest.raises(HaigoError, match=words):
        huggingface.fields({**LLAMA, **changes})


@pytest.mark.parametrize(
    "changes,words",
    [
        ({"model_type": "gemma"}, "type 'gemma'"),
        ({"head_dim": 32}, "head_dim is 32"),
        ({"hidden_act": "gelu"}, "hidden_act is gelu"),
        ({"rope_scaling": {"type": "linear", "factor": 2.0}}, r"scaled \(linear\)"),
        ({"rope_parameters": {"rope_type": "llama3", "rope_theta": 500000.0}}, r"scaled \(llama3\)"),
        ({"rope_parameters": {"rope_type": "default", "rope_theta": 10000.5}}, "rotary base is 10000.5"),
    ],
)
def test_what_neox_does_not_build(changes, words):
    with pytest.raises(HaigoError, match=words):
        huggingface.keys({**huggingface.fields(LLAMA), **changes})


@pytest.mark.parametrize(
    "name,count",
    [("llama-1.3b", 1.4193), ("llama-2-7B", 2.7940), ("Llama-7B", 7.3896), ("llama-13B", 13.0958), ("7B", 6.8542)],
)
def test_the_shipped_models_have_their_sizes(name, count):
    config = reader.load(shipped.find_model(name))
    model = made(huggingface.fields(config) | {"vocab_size": 50048})
    assert sum(weight.numel() for weight in model.parameters()) / 1e9 == pytest.approx(count, abs=1e-4)
