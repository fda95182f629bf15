"""Which tokenizer a run has, and whether the weights that it starts from are of the same one."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from haigo.cli import HaigoError, Refused
from haigo.formats import tokenizer as tokenizers
from haigo.formats.tokenizer.model import FOREIGN_NAMES
from haigo.formats.tokenizer.probes import PLAIN

_TOKENIZERS = (tokenizers.MODEL_NAME, *FOREIGN_NAMES, "tokenizer.json", "vocab.json", "vocab.txt")


def find(config: Mapping[str, Any], given: str | os.PathLike[str] | None) -> tokenizers.Tokenizer:
    """The run's tokenizer: `given`, or the config's vocab_file.

    Raises:
        HaigoError: neither is there, or it cannot be read.
    """
    place = given if given is not None else config.get("vocab_file")
    if not place:
        raise HaigoError("no tokenizer is named.", "add --tokenizer FOLDER, or vocab_file to the config")
    return tokenizers.load(place)


def check_model(folder: str | os.PathLike[str], vocabulary: tokenizers.Tokenizer) -> None:
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
    other = tokenizers.open_hf(place)
    wrong = [text for text in PLAIN if other.ids(text) != vocabulary.encode(text)]
    if not wrong and other.kind in ("sentencepiece", "tokenizers"):
        theirs, special = other.tokenizer, set(other.tokenizer.all_special_ids)
        spelled = {n: vocabulary.piece(n) for n in range(min(vocabulary.vocab_size, len(theirs)))}
        names = theirs.convert_ids_to_tokens(list(spelled))
        # the end of a document may have been adopted under another name
        wrong = [
            piece for (n, piece), name in zip(spelled.items(), names, strict=True) if piece != name and n not in special
        ]
    if wrong:
        raise Refused(
            f"the tokenizer in {place} gives other ids than {vocabulary.folder} ({wrong[0][:20]!r} first): its weights know "
            "other tokens.",
            "train with the tokenizer of the model, or start from another model",
        )
