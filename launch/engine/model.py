"""GPT-NeoX's model as the one of transformers that computes the same, built from the run's settings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from haigo.cli import HaigoError
from launch.engine.init import initialise
from launch.engine.settings import Settings
from neox_configs import huggingface

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedConfig, PreTrainedModel


def hf_config(fields: Mapping[str, Any], **more: Any) -> PreTrainedConfig:
    """transformers' config of a model.

    Args:
        fields: as `neox_configs.huggingface.fields` gives them.
        more: vocab_size and the ids.
    """
    from transformers import AutoConfig

    given = {**fields, **more}
    older = {name: given.pop(name) for name in huggingface.OLDER_NAMES if name in given}
    config = AutoConfig.for_model(given.pop("model_type"), **given)
    for name, value in older.items():
        setattr(config, name, value)
    return config


def build(settings: Settings, vocab_size: int, eod_id: int, pad_id: int | None = None) -> PreTrainedModel:
    """A freshly initialised model in float32.

    Args:
        settings: see `launch.engine.settings.resolve`.
        vocab_size: pieces of the tokenizer, unpadded.
        eod_id, pad_id: the tokenizer's ids, written into the model's config.
    """
    import torch
    from transformers import AutoModelForCausalLM

    ids: dict[str, Any] = {"bos_token_id": eod_id, "eos_token_id": eod_id, "pad_token_id": pad_id}
    config = hf_config(settings.model, vocab_size=settings.padded(vocab_size), **ids, dtype="float32")
    # transformers fills the weights from torch's global generator before we do: leave no trace of that
    state = torch.get_rng_state()
    # eager attention is a quarter slower (the default may change)
    model: PreTrainedModel = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa")
    torch.set_rng_state(state)
    initialise(model, settings)
    model.tie_weights()
    return model.train()


def load_weights(model: PreTrainedModel, folder: str) -> None:
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


def body(model: PreTrainedModel, tokens: torch.Tensor) -> torch.Tensor:
    """Final hidden states [batch * length, hidden] for int64 tokens [batch, length]: everything but the output layer."""
    from launch.engine import forward

    if forward.takes(model, tokens):
        return forward.hidden_states(model, tokens)
    hidden: torch.Tensor = model.base_model(input_ids=tokens, use_cache=False).last_hidden_state
    return hidden.flatten(0, 1)


def parameters(model: PreTrainedModel) -> int:
    """How many weights the model has; a tied matrix counts once."""
    return sum(weight.numel() for weight in model.parameters())


def non_embedding_parameters(model: PreTrainedModel) -> int:
    """Without the input and output matrices."""
    rows = {id(model.get_input_embeddings().weight), id(model.get_output_embeddings().weight)}
    return sum(weight.numel() for weight in model.parameters() if id(weight) not in rows)
