"""Tokenizers: the model of a tokenizer folder, and whatever a model folder of others holds, with ids that are proved.

What is light stands here as it is; what needs transformers is imported when it is asked for.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from .model import EOD_PIECE, META_NAME, MODEL_NAME, PAD_PIECE, Tokenizer, load, meta, model_path

if TYPE_CHECKING:
    from pathlib import Path

    from .adapter import HaigoTokenizer
    from .foreign_model import ForeignTokenizer
    from .json_file import JsonTokenizer
    from .proved import Opened

__all__ = [
    "EOD_PIECE",
    "META_NAME",
    "MODEL_NAME",
    "PAD_PIECE",
    "Tokenizer",
    "chat_template",
    "export",
    "foreign",
    "hf_adapter",
    "load",
    "meta",
    "model_path",
    "open_hf",
    "reading_special",
]


def hf_adapter(folder: str | os.PathLike[str]) -> HaigoTokenizer | JsonTokenizer:
    """The tokenizer as a transformers object with the ids of its model; see `adapter` and `json_file`."""
    path = model_path(folder)
    if path.suffix == ".json":
        from . import json_file

        return json_file.load(path.parent)
    from .adapter import HaigoTokenizer

    return HaigoTokenizer(vocab_file=str(path))


def export(vocabulary: Tokenizer, folder: Path, positions: int) -> None:
    """Write a tokenizer's files beside a model that takes `positions` tokens."""
    from . import adapter

    adapter.export(vocabulary, folder, positions)


def foreign(folder: str | os.PathLike[str]) -> ForeignTokenizer | None:
    """The SentencePiece model of another project in a model folder, with its own ids; None when there is none."""
    from .foreign_model import ForeignTokenizer, find

    return ForeignTokenizer(folder) if find(folder) else None


def chat_template(place: str | os.PathLike[str]) -> str | None:
    """The Jinja template of a model's chats, of a folder or of a name on the hub; None where it has none."""
    from . import beside, proved

    folder = proved.locate(place)
    return beside.chat_template(folder) if folder is not None else None


def open_hf(place: str | os.PathLike[str], **options: Any) -> Opened:
    """The tokenizer of a model folder or of a name on the Hugging Face hub, whatever its kind, with ids that are proved; see
    `proved`."""
    from .proved import open_tokenizer

    return open_tokenizer(place, **options)


def reading_special(opened: Opened) -> Opened:
    """The same tokenizer, which reads its special tokens out of text, as chat templates write them; see `proved`."""
    from . import proved

    return proved.reading_special(opened)
