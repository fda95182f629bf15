"""A `tokenizer.json` as a tokenizer of the rooms, with the ids that GPT-NeoX's HFTokenizer gives.

That one adds whatever the file's post-processor adds, cuts where the file cuts, ends documents with `<|endoftext|>` and takes
no other name for it (with none it stops at the first document). A file with which its ids and those of the text alone are two
things is refused here; `adopted` makes a copy with which they are one. A text that spells a token of the file's is that token,
`<|endoftext|>` too, since that is how the library reads it.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from haigo import files
from haigo.cli import HaigoError, Refused

from . import pieces
from .pieces import EOD_PIECE, JSON_NAME, PAD_PIECE

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import tokenizers

NAME = JSON_NAME
_PARTS = {
    "model": {"BPE", "Unigram", "WordPiece", "WordLevel"},
    "normalizer": {
        "BertNormalizer", "Strip", "StripAccents", "NFC", "NFD", "NFKC", "NFKD", "Sequence", "Lowercase", "Nmt",
        "Precompiled", "Replace", "Prepend", "ByteLevel",
    },
    "pre_tokenizer": {
        "BertPreTokenizer", "ByteLevel", "CharDelimiterSplit", "Metaspace", "Whitespace", "Sequence", "Split",
        "Punctuation", "WhitespaceSplit", "Digits", "UnicodeScripts", "FixedLength",
    },
}  # fmt: skip
"""Part of a tokenizer.json -> what the tokenizers library knows of it; its own message for another names nothing."""


class JsonVocabulary(pieces.Tokenizer):
    """A tokenizer.json behind the same few words.

    Args:
        path: the file.
        fast: what `read` gave.
        sha256: digest of the file.
    """

    kind = "tokenizers"
    neox_type = "HFTokenizer"
    spells_end = True

    def __init__(self, path: Path, fast: tokenizers.Tokenizer, sha256: str) -> None:
        self.path, self.fast, self.sha256 = path, fast, sha256
        self.vocab_size = fast.get_vocab_size()
        end = fast.token_to_id(EOD_PIECE)
        self.eod_id = -1 if end is None else end
        self.pad_id = fast.token_to_id(PAD_PIECE)

    @functools.cached_property
    def piece_bytes(self) -> npt.NDArray[np.int32]:
        import numpy as np

        content, added = json.loads(self.fast.to_str()), self.fast.get_added_tokens_decoder()
        letters_are_bytes = '"ByteLevel"' in json.dumps(content["decoder"])
        fallback = bool(content["model"].get("byte_fallback"))
        lengths = np.zeros(self.vocab_size, dtype=np.int32)
        for number in range(self.vocab_size):
            piece = self.piece(number)
            if number in added:
                lengths[number] = 0 if added[number].special or number == self.eod_id else len(piece.encode())
            elif letters_are_bytes:
                lengths[number] = len(piece)
            elif fallback and len(piece) == 6 and piece.startswith("<0x") and piece.endswith(">"):
                lengths[number] = 1
            else:
                lengths[number] = len(piece.replace("\u2581", " ").encode())
        return lengths

    def piece(self, number: int) -> str:
        return self.fast.id_to_token(number) or ""

    def encode(self, text: str) -> list[int]:
        return list(self.fast.encode(text, add_special_tokens=False).ids)

    def encode_batch(self, texts: list[str]) -> list[list[int]]:
        return [self.encode(text) for text in texts]  # the library's own way for many starts threads

    def encode_arrays(self, texts: list[str]) -> list[npt.NDArray[np.int32]]:
        import numpy as np

        return [np.array(ids, dtype=np.int32) for ids in self.encode_batch(texts)]

    def decode_batch(self, ids: list[list[int]]) -> list[str]:
        return [str(self.fast.decode(each, skip_special_tokens=False)) for each in ids]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids; `<|endoftext|>` and `<|padding|>` give nothing, other tokens their spelling."""
        kept = [int(token) for token in ids if token not in (self.eod_id, self.pad_id)]
        return str(self.fast.decode(kept, skip_special_tokens=False))


def load(path: Path) -> JsonVocabulary:
    """The tokenizer of a file.

    Raises:
        HaigoError: it can not be read.
        Refused: GPT-NeoX's ids would not be those of the text, or it has no `<|endoftext|>`.
    """
    fast, content = read(path), files.read_json(path)
    adopt = pieces.adopt_with(path)
    more = fast.num_special_tokens_to_add(False)
    cut = [key for key in ("truncation", "padding") if content.get(key)]
    if more or cut or content["model"].get("dropout"):
        what = f"adds {more} tokens to every text" if more else f"sets {', '.join(cut) or 'dropout'}"
        raise Refused(f"{path} {what}, which GPT-NeoX would train on.", adopt)
    tokenizer = JsonVocabulary(path.absolute(), fast, files.sha256_file(path))
    if tokenizer.eod_id < 0:
        raise Refused(
            f"{path} has no token {EOD_PIECE}, and GPT-NeoX ends documents with no other.{pieces.ends(spelled(fast))}",
            adopt,
        )
    require_no_gaps(path, fast)
    return tokenizer


def require_no_gaps(path: str | os.PathLike[str], fast: tokenizers.Tokenizer) -> None:
    """Raise where ids reach beyond the number of tokens, which is what GPT-NeoX makes rows for."""
    last, size = max(fast.get_vocab(with_added_tokens=True).values(), default=-1), fast.get_vocab_size()
    if last >= size:
        raise Refused(
            f"{path} has {size:,} tokens and the id {last:,}: GPT-NeoX would count too few rows.",
            "name a tokenizer whose ids have no gaps",
        )


def read(path: str | os.PathLike[str]) -> tokenizers.Tokenizer:
    """The file as the `tokenizers` library reads it, without truncation, padding and dropout.

    Raises:
        HaigoError: it can not be read.
    """
    import tokenizers

    try:
        fast = tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare Exceptions
        why = _unknown_part(Path(path)) or (str(error) or type(error).__name__).splitlines()[0][:120]
        raise HaigoError(f"{path} is not a tokenizer.json ({why}).", "name a tokenizer's own file or folder") from None
    fast.no_truncation()
    fast.no_padding()
    if getattr(fast.model, "dropout", None):
        fast.model.dropout = None  # ids would be other ones at every call
    return fast


def spelled(fast: tokenizers.Tokenizer) -> list[str]:
    """The special and added tokens of a tokenizer."""
    return [token.content for _, token in sorted(fast.get_added_tokens_decoder().items())]


def _unknown_part(path: Path) -> str:
    """The first part of a file that no version of the library known here has."""
    try:
        content = files.read_json(path)
    except HaigoError:
        return ""
    for name, known in _PARTS.items():
        part = content.get(name) if isinstance(content, dict) else None
        if isinstance(part, dict):
            for one in [part, *(part.get("normalizers") or part.get("pretokenizers") or [])]:
                kind = one.get("type") if isinstance(one, dict) else None
                if isinstance(kind, str) and kind not in known:
                    return f"its {name} is of the kind {kind!r}, which the tokenizers library does not know"
    return ""
