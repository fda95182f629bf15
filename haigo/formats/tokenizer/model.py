"""A tokenizer folder's SentencePiece model: its ids, exactly, and the id that ends a document.

The folder holds `spm.model`, `meta.json` (options, seed, end-of-document piece, digest of the model; losslessness and
characters a token of every corpus) and the files that Hugging Face reads. `preprocess.tokenizer` writes it.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from haigo import files
from haigo.cli import HaigoError, Refused

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from sentencepiece import SentencePieceProcessor

EOD_PIECE = "<|endoftext|>"
PAD_PIECE = "<|padding|>"
MODEL_NAME = "spm.model"
META_NAME = "meta.json"
JSON_LEFT_OUT = "tokenizer_json_left_out"
"""In meta.json: there is no tokenizer.json because it would give other ids; none is to be made."""
FILES = (MODEL_NAME, META_NAME, "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
"""What a tokenizer folder holds."""
FOREIGN_NAMES = ("spiece.model", "tokenizer.model")
"""SentencePiece models of other projects; a tiktoken file may be called the latter too."""


class Tokenizer:
    """SentencePiece behind the few words that the rooms use. Encoding adds nothing: no BOS, no EOD.

    Attributes:
        path: the model file.
        vocab_size: number of pieces, unpadded.
        eod_id: id of `<|endoftext|>`, which ends a document.
        pad_id: id of `<|padding|>`, or None when the model has no such piece.
        sha256: digest of the model file.
        processor: the SentencePieceProcessor itself.
    """

    def __init__(self, path: Path, processor: SentencePieceProcessor, sha256: str) -> None:
        self.path, self.processor, self.sha256 = path, processor, sha256
        self.vocab_size: int = processor.get_piece_size()
        self.eod_id: int = processor.piece_to_id(EOD_PIECE)
        pad = processor.piece_to_id(PAD_PIECE)
        self.pad_id: int | None = None if pad == processor.unk_id() else pad

    @property
    def folder(self) -> Path:
        """Where the model lies."""
        return self.path.parent

    @functools.cached_property
    def piece_bytes(self) -> npt.NDArray[np.int32]:
        """[vocab_size] UTF-8 bytes that each piece stands for; 0 for control pieces, and for an unknown piece, which says
        nothing of the bytes it replaces."""
        import numpy as np

        pieces, lengths = self.processor, np.zeros(self.vocab_size, dtype=np.int32)
        for number in range(self.vocab_size):
            if pieces.is_byte(number):
                lengths[number] = 1
            elif not (pieces.is_control(number) or pieces.is_unknown(number) or pieces.is_unused(number)):
                lengths[number] = len(pieces.id_to_piece(number).replace("\u2581", " ").encode())
        return lengths

    def __reduce__(self) -> tuple[Any, ...]:
        return load, (self.path,)

    def encode(self, text: str) -> list[int]:
        """Ids of one text."""
        return self.processor.encode(text)

    def encode_batch(self, texts: list[str]) -> list[list[int]]:
        """Ids of many texts, in one thread; faster than one by one."""
        return self.processor.encode(texts, num_threads=1)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids; `<|endoftext|>` and `<|padding|>` give nothing."""
        return self.processor.decode([int(token) for token in ids])


def load(folder_or_model: str | os.PathLike[str], *, require_eod: bool = True) -> Tokenizer:
    """Load a tokenizer folder, or a SentencePiece model file.

    Args:
        require_eod: refuse a model without the piece `<|endoftext|>`. Models of other projects end a text with another
            token; their `eod_id` here is that of `<unk>`.

    Raises:
        HaigoError: missing, or not a SentencePiece model.
        Refused: it has no piece `<|endoftext|>` (GPT-NeoX would silently end every document with `<unk>`), or is not the
            one that the folder's `meta.json` speaks of.
    """
    path = model_path(folder_or_model)
    from sentencepiece import SentencePieceProcessor

    files.require_file(path)
    blob = path.read_bytes()
    processor = SentencePieceProcessor()
    try:
        if not blob or not processor.LoadFromSerializedProto(blob) or not processor.get_piece_size():
            raise RuntimeError
    except RuntimeError:
        raise HaigoError(f"{path} is not a SentencePiece model.", "name a tokenizer folder or its spm.model") from None
    if require_eod and processor.piece_to_id(EOD_PIECE) == processor.unk_id():
        raise Refused(
            f"{path} has no piece {EOD_PIECE}, so documents could not be ended (GPT-NeoX would use <unk> in silence).",
            "train the model with that piece as a control symbol, as preprocess.tokenizer does",
        )
    sha256 = hashlib.sha256(blob).hexdigest()
    tokenizer = Tokenizer(path.absolute(), processor, sha256)
    _require_unchanged(tokenizer)
    return tokenizer


def find(folder: Path, names: Sequence[str] = FOREIGN_NAMES) -> Tokenizer | None:
    """The first SentencePiece model of these names in a folder, whatever it ends a text with; None when there is none."""
    for name in names:
        if (folder / name).is_file():
            with contextlib.suppress(HaigoError):  # a tiktoken file
                return load(folder / name, require_eod=False)
    return None


def _require_unchanged(model: Tokenizer) -> None:
    """Refuse a model that is not the one which the folder's `meta.json` speaks of: its ids would mean other pieces."""
    noted = model.path.with_name(META_NAME)
    if model.path.name != MODEL_NAME or not noted.is_file():
        return
    known = files.read_json(noted)
    if not isinstance(known, dict) or "eod_piece" not in known:
        return
    if known.get("sha256") not in (None, model.sha256):
        raise Refused(
            f"{model.path} was changed since the tokenizer was made (its sha256 is not that of {META_NAME}).",
            "put the model back as it was, or make the tokenizer again",
        )
    for name, there in (("vocab_size", model.vocab_size), ("eod_id", model.eod_id)):
        if known.get(name, there) != there:
            raise Refused(
                f"{noted} says {name} {known[name]}, and {MODEL_NAME} beside it has {there:,}.",
                "put both files back as they were made, or make the tokenizer again",
            )


def model_path(folder_or_model: str | os.PathLike[str]) -> Path:
    """The model file of a tokenizer folder, or the file itself.

    Raises:
        HaigoError: there is none.
    """
    given = Path(folder_or_model)
    path = given / MODEL_NAME if given.is_dir() else given
    if not path.is_file():
        raise HaigoError(f"{path} does not exist.", "name a tokenizer folder or a SentencePiece model file")
    return path


def meta(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """What training recorded (`meta.json`)."""
    return files.read_json(Path(folder) / META_NAME)
