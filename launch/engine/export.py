"""Writes the trained model as a Hugging Face folder: safetensors, a config with the true ids, the tokenizer's files.

The vocabulary stays padded, as in GPT-NeoX's own conversion; the padding rows are never predicted in practice and the
tokenizer has no such ids.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from haigo import files
from haigo.formats import exported
from haigo.formats import tokenizer as tokenizers
from haigo.formats.tokenizer import Tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def export(model: PreTrainedModel, vocabulary: Tokenizer, folder: Path) -> None:
    """Write the model to `folder`, which appears whole or not at all; an older one there is replaced."""
    with files.scratch(folder.parent) as temporary:
        from transformers.utils import logging

        logging.disable_progress_bar()
        model.generation_config.bos_token_id = vocabulary.eod_id
        model.generation_config.eos_token_id = vocabulary.eod_id
        model.generation_config.pad_token_id = vocabulary.pad_id
        model.save_pretrained(temporary)
        tokenizers.export(vocabulary, temporary, model.config.max_position_embeddings)
        exported.note(temporary)
        files.remove_tree(folder)
        files.move(temporary, folder)
