"""What the rooms know of a tokenizer: the ids of a text, the id that ends a document, and how its files are called."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import os

    import numpy as np
    import numpy.typing as npt
    from sentencepiece import SentencePieceProcessor

EOD_PIECE = "<|endoftext|>"
PAD_PIECE = "<|padding|>"
MODEL_NAME = "spm.model"
META_NAME = "meta.json"
JSON_LEFT_OUT = "tokenizer_json_left_out"
"""In meta.json: there is no tokenizer.json because it would give other ids; none is to be made."""
JSON_NAME = "tokenizer.json"
CHAT_TEMPLATE = "chat_template.jinja"
FILES = (MODEL_NAME, META_NAME, JSON_NAME, "tokenizer_config.json", "special_tokens_map.json", CHAT_TEMPLATE)
"""What a tokenizer folder holds."""
FOREIGN_NAMES = ("spiece.model", "tokenizer.model")
"""SentencePiece models of other projects; a tiktoken file may be called the latter too."""
_LIKE_AN_END = re.compile(r"^</s>$|eos|eod|eot|end|sep|</doc", re.IGNORECASE)


class Tokenizer:
    """SentencePiece behind the few words that the rooms use. Encoding adds nothing: no BOS, no EOD.

    Attributes:
        path: the model file.
        vocab_size: number of pieces, unpadded.
        eod_id: id of `<|endoftext|>`, which ends a document.
        pad_id: id of `<|padding|>`, or None when the model has no such piece.
        sha256: digest of the model file.
        processor: the SentencePieceProcessor itself.
        kind: whose ids they are: sentencepiece or tokenizers.
        neox_type: GPT-NeoX's `tokenizer_type`, with `path` as vocab_file.
        spells_end: a text that spells `<|endoftext|>` is read as the end of a document.
    """

    kind = "sentencepiece"
    neox_type = "SPMTokenizer"
    spells_end = False

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

    def encode(self, text: str) -> list[int]:
        """Ids of one text."""
        return self.processor.encode(text)

    def encode_batch(self, texts: list[str]) -> list[list[int]]:
        """Ids of many texts, in one thread; faster than one by one."""
        return self.processor.encode(texts, num_threads=1)

    def encode_arrays(self, texts: list[str]) -> list[npt.NDArray[np.int32]]:
        """The same as arrays [tokens]: a quarter less time, as no Python number is made of any id."""
        arrays: list[npt.NDArray[np.int32]] = self.processor.encode(texts, num_threads=1, return_type="numpy")
        return arrays

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids; `<|endoftext|>` and `<|padding|>` give nothing."""
        return self.processor.decode([int(token) for token in ids])

    def decode_batch(self, ids: list[list[int]]) -> list[str]:
        """The texts of many lists of ids, as `encode_batch` gave them."""
        return self.processor.decode(ids)

    def piece(self, number: int) -> str:
        """How a piece is spelled."""
        return self.processor.id_to_piece(number)

    @functools.cached_property
    def exact(self) -> bool:
        """Whether texts come back as they were, in parts too: false with a normaliser, or a blank before every text."""
        text = " \uff21  \u304c \u304b\u3099\n"
        return self.decode(self.encode(text) + self.encode("b")) == f"{text}b"


def ends(tokens: Iterable[str]) -> str:
    """A sentence that names those of a tokenizer's special tokens that look as if they end a text; empty without any."""
    like = [token for token in tokens if _LIKE_AN_END.search(token)]
    return f" It has {', '.join(like[:8])}." if like else ""


def adopt_with(given: str | os.PathLike[str]) -> str:
    """The fix for a tokenizer of another project that can not be used as it is."""
    return (
        f"adopt it, naming the piece that ends a document: preprocess.tokenizer CLEANED_DIR... --adopt {given} --eod-piece "
        "PIECE --output-dir FOLDER"
    )
