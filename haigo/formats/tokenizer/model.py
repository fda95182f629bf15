"""A tokenizer folder's model: its ids, exactly, and the id that ends a document.

The folder holds `spm.model`, `meta.json` (options, seed, end-of-document piece, digest of the model; losslessness and
characters a token of every corpus) and the files that Hugging Face reads. One that was adopted from a `tokenizer.json` holds
that in place of `spm.model`, and meta.json says `kind: tokenizers` (`json_model`). `preprocess.tokenizer` writes both.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from haigo import files
from haigo.cli import HaigoError, Refused

from .pieces import (
    CHAT_TEMPLATE,
    EOD_PIECE,
    FILES,
    FOREIGN_NAMES,
    JSON_LEFT_OUT,
    JSON_NAME,
    META_NAME,
    MODEL_NAME,
    PAD_PIECE,
    Tokenizer,
    adopt_with,
    ends,
)

__all__ = [
    "CHAT_TEMPLATE",
    "EOD_PIECE",
    "FILES",
    "FOREIGN_NAMES",
    "JSON_LEFT_OUT",
    "JSON_NAME",
    "META_NAME",
    "MODEL_NAME",
    "PAD_PIECE",
    "Tokenizer",
    "adopt_with",
    "ends",
    "find",
    "load",
    "meta",
    "model_path",
]


def load(folder_or_model: str | os.PathLike[str], *, require_eod: bool = True) -> Tokenizer:
    """Load a tokenizer folder, or a SentencePiece model file or a tokenizer.json.

    Args:
        require_eod: refuse a model without the piece `<|endoftext|>`. Models of other projects end a text with another
            token; their `eod_id` here is that of `<unk>`.

    Raises:
        HaigoError: missing, or neither a SentencePiece model nor a tokenizer.json.
        Refused: it has no piece `<|endoftext|>` (GPT-NeoX would silently end every document with `<unk>`), or is not the
            one that the folder's `meta.json` speaks of.
    """
    path = model_path(folder_or_model)
    if path.suffix == ".json":
        from . import json_model

        files.require_file(path)
        return _unchanged(json_model.load(path))
    from sentencepiece import SentencePieceProcessor

    files.require_file(path)
    blob = path.read_bytes()
    processor = SentencePieceProcessor()
    try:
        if not blob or not processor.LoadFromSerializedProto(blob) or not processor.get_piece_size():
            raise RuntimeError
    except RuntimeError:
        raise HaigoError(
            f"{path} is not a SentencePiece model.", "name a tokenizer folder, its spm.model or a tokenizer.json"
        ) from None
    if require_eod and processor.piece_to_id(EOD_PIECE) == processor.unk_id():
        raise Refused(
            f"{path} has no piece {EOD_PIECE}, so documents could not be ended (GPT-NeoX would use <unk> in silence)."
            + ends(processor.id_to_piece(n) for n in range(processor.get_piece_size()) if processor.is_control(n)),
            adopt_with(path),
        )
    return _unchanged(Tokenizer(path.absolute(), processor, hashlib.sha256(blob).hexdigest()))


def find(folder: Path, names: Sequence[str] = FOREIGN_NAMES) -> Tokenizer | None:
    """The first SentencePiece model of these names in a folder, whatever it ends a text with; None when there is none."""
    for name in names:
        if (folder / name).is_file():
            with contextlib.suppress(HaigoError):  # a tiktoken file
                return load(folder / name, require_eod=False)
    return None


def _unchanged(model: Tokenizer) -> Tokenizer:
    """Refuse a model that is not the one which the folder's `meta.json` speaks of: its ids would mean other pieces."""
    noted = model.path.with_name(META_NAME)
    if model.path.name not in (MODEL_NAME, JSON_NAME) or not noted.is_file():
        return model
    known = files.read_json(noted)
    if not isinstance(known, dict) or "eod_piece" not in known or known.get("kind", Tokenizer.kind) != model.kind:
        return model
    if known.get("sha256") not in (None, model.sha256):
        raise Refused(
            f"{model.path} was changed since the tokenizer was made (its sha256 is not that of {META_NAME}).",
            "put the model back as it was, or make the tokenizer again",
        )
    for name, there in (("vocab_size", model.vocab_size), ("eod_id", model.eod_id)):
        if known.get(name, there) != there:
            raise Refused(
                f"{noted} says {name} {known[name]}, and {model.path.name} beside it has {there:,}.",
                "put both files back as they were made, or make the tokenizer again",
            )
    return model


def model_path(folder_or_model: str | os.PathLike[str]) -> Path:
    """The model file of a tokenizer folder, or the file itself.

    Raises:
        HaigoError: there is none, or the folder is another project's.
    """
    path = given = Path(folder_or_model)
    if given.is_dir():
        noted = files.read_json(given / META_NAME) if (given / META_NAME).is_file() else None
        of_json = isinstance(noted, dict) and noted.get("kind") == "tokenizers"
        path = given / (JSON_NAME if of_json else MODEL_NAME)
        theirs = [name for name in (*FOREIGN_NAMES, JSON_NAME) if (given / name).is_file()]
        if noted is None and theirs and not path.exists():
            raise HaigoError(f"{given} holds a tokenizer of another project ({theirs[0]}).", adopt_with(given))
    if not path.is_file():
        raise HaigoError(f"{path} does not exist.", "name a tokenizer folder or a SentencePiece model file")
    return path


def meta(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """What training recorded (`meta.json`)."""
    return files.read_json(Path(folder) / META_NAME)
