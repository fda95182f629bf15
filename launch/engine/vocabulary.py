"""What the engine must know of a tokenizer: how many pieces, which id ends a document, how many bytes each piece is."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from haigo.cli import HaigoError, Refused
from haigo.formats import tokenizer as tokenizers
from haigo.formats.tokenizer.model import FOREIGN_NAMES
from haigo.formats.tokenizer.probes import PLAIN

_TOKENIZERS = (tokenizers.MODEL_NAME, *FOREIGN_NAMES, "tokenizer.json", "vocab.json", "vocab.txt")


@dataclass(frozen=True)
class Vocabulary:
    """A tokenizer as the engine sees it."""

    folder: Path
    size: int
    """Pieces, unpadded."""
    eod_id: int
    pad_id: int | None
    sha256: str
    piece_bytes: npt.NDArray[np.int32]
    """[size] UTF-8 bytes that each piece stands for; 0 for control pieces (and for an unknown piece, which says nothing
    of the bytes it replaces)."""
    tokenizer: tokenizers.Tokenizer


def load(place: str | os.PathLike[str]) -> Vocabulary:
    """Load a tokenizer folder (or its spm.model).

    Raises:
        HaigoError: not a tokenizer, or one without the end-of-document piece.
    """
    made = tokenizers.load(place)
    pieces = made.processor
    lengths = np.zeros(made.vocab_size, dtype=np.int32)
    for index in range(made.vocab_size):
        if pieces.is_byte(index):
            lengths[index] = 1
        elif not (pieces.is_control(index) or pieces.is_unknown(index) or pieces.is_unused(index)):
            lengths[index] = len(pieces.id_to_piece(index).replace("\u2581", " ").encode())
    folder = made.path.parent
    return Vocabulary(folder, made.vocab_size, made.eod_id, made.pad_id, made.sha256, lengths, made)


def find(config: Mapping[str, Any], given: str | os.PathLike[str] | None) -> Vocabulary:
    """The run's tokenizer: `given`, or the config's vocab_file.

    Raises:
        HaigoError: neither is there, or it cannot be read.
    """
    place = given if given is not None else config.get("vocab_file")
    if not place:
        raise HaigoError("no tokenizer is named.", "add --tokenizer FOLDER, or vocab_file to the config")
    return load(place)


def check_model(folder: str | os.PathLike[str], vocabulary: Vocabulary) -> None:
    """Refuse weights to start from that another tokenizer's ids belong to. Where the folder has no tokenizer, a line says so.

    Raises:
        HaigoError: the folder's tokenizer can not be read.
        Refused: it gives other ids.
    """
    place = Path(folder)
    if not any((place / name).is_file() for name in _TOKENIZERS):
        print(
            f"haigo: {place} has no tokenizer: whether its ids are {vocabulary.folder}'s is not known.", file=sys.stderr
        )
        return
    made = tokenizers.open_hf(place)
    wrong = [text for text in PLAIN if made.ids(text) != vocabulary.tokenizer.encode(text)]
    if not wrong and made.kind == "sentencepiece":
        mine, theirs = vocabulary.tokenizer.processor, made.tokenizer.sp_model
        pieces = range(min(mine.get_piece_size(), theirs.get_piece_size()))
        wrong = [mine.id_to_piece(n) for n in pieces if mine.id_to_piece(n) != theirs.id_to_piece(n)]
    if wrong:
        raise Refused(
            f"the tokenizer in {place} gives other ids than {vocabulary.folder} ({wrong[0][:20]!r} first): its weights know "
            "other tokens.",
            "train with the tokenizer of the model, or start from another model",
        )
