"""GPT-NeoX's model as transformers' GPTNeoXForCausalLM, built from the run's settings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from haigo.cli import HaigoError
from launch.engine.init import initialise
from launch.engine.settings import Settings

if TYPE_CHECKING:
    import torch
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM


def hf_config(rotary_pct: float, rotary_emb_base: float, **fields: Any) -> GPTNeoXConfig:
    """transformers' config of a GPT-NeoX model.

    Args:
        fields: of GPTNeoXConfig.
    """
    from transformers import GPTNeoXConfig

    rope = {"rope_type": "default", "rope_theta": rotary_emb_base, "partial_rotary_factor": rotary_pct}
    config = GPTNeoXConfig(**fields, rope_parameters=rope)
    # transformers before 5, and what was built on it, read these names alone and would else take a quarter of a head
    config.rotary_pct, config.rotary_emb_base = rotary_pct, rotary_emb_base
    return config


def build(settings: Settings, vocab_size: int, eod_id: int, pad_id: int | None = None) -> GPTNeoXForCausalLM:
    """A freshly initialised model in float32.

    Args:
        settings: see `launch.engine.settings.resolve`.
        vocab_size: pieces of the tokenizer, unpadded.
        eod_id, pad_id: the tokenizer's ids, written into the model's config.
    """
    import torch
    from transformers import GPTNeoXForCausalLM

    config = hf_config(
        vocab_size=settings.padded(vocab_size),
        hidden_size=settings.hidden_size,
        num_hidden_layers=settings.num_layers,
        num_attention_heads=settings.num_attention_heads,
        intermediate_size=settings.intermediate_size,
        hidden_act=settings.activation,
        max_position_embeddings=settings.max_position_embeddings,
        layer_norm_eps=settings.layernorm_epsilon,
        tie_word_embeddings=settings.tied,
        use_parallel_residual=settings.gpt_j_residual,
        attention_bias=settings.attention_bias,
        rotary_pct=settings.rotary_pct,
        rotary_emb_base=settings.rotary_emb_base,
        bos_token_id=eod_id,
        eos_token_id=eod_id,
        pad_token_id=pad_id,
        dtype="float32",
    )
    config._attn_implementation = "sdpa"  # eager attention is a quarter slower (the default may change)
    # transformers fills the weights from torch's global generator before we do: leave no trace of that
    state = torch.get_rng_state()
    model = GPTNeoXForCausalLM(config)
    torch.set_rng_state(state)
    initialise(model, settings)
    model.tie_weights()
    return model.train()


def load_weights(model: GPTNeoXForCausalLM, folder: str) -> None:
    """Put the weights of a Hugging Face folder (one `model.safetensors`) into `model`.

    Raises:
        HaigoError: the file is missing or damaged, or holds a model of another shape.
    """
    import safetensors
    from safetensors.torch import load_file

    path = Path(folder) / "model.safetensors"
    try:
        given = load_file(path)
    except (OSError, safetensors.SafetensorError):
        raise HaigoError(f"{path} is missing or damaged.", "name a folder with one model.safetensors") from None
    # on the disk the output layer has the name that GPT-NeoX's models have had since transformers 4
    given = {name.replace("embed_out.", "lm_head."): value for name, value in given.items()}
    own = model.state_dict()
    wrong = sorted(
        name for name in {*own, *given} if name not in own or name not in given or own[name].shape != given[name].shape
    )
    if model.config.tie_word_embeddings and wrong == ["lm_head.weight"] and "lm_head.weight" not in given:
        wrong = []
    if wrong:
        raise HaigoError(f"{path} is a model of another shape than the config's ({wrong[0]}).", "use its own config")
    model.load_state_dict(given, strict=False)


def body(model: GPTNeoXForCausalLM, tokens: torch.Tensor) -> torch.Tensor:
    """Final hidden states [batch * length, hidden] for int64 tokens [batch, length]: everything but the output layer."""
    hidden: torch.Tensor = model.gpt_neox(input_ids=tokens, use_cache=False).last_hidden_state
    return hidden.flatten(0, 1)


def parameters(model: GPTNeoXForCausalLM) -> int:
    """How many weights the model has; a tied matrix counts once."""
    return sum(weight.numel() for weight in model.parameters())


def non_embedding_parameters(model: GPTNeoXForCausalLM) -> int:
    """Without the input and output matrices."""
    rows = {id(model.gpt_neox.embed_in.weight), id(model.lm_head.weight)}
    return sum(weight.numel() for weight in model.parameters() if id(weight) not in rows)
