"""Whether a dataset is as it was made, and its ids are those of a tokenizer."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from haigo.cli import Refused

from . import ids, manifest
from .indexed import MMapReader, bin_path, token_dtype

if TYPE_CHECKING:
    from haigo.formats.tokenizer import Tokenizer

_AGAIN = "index the corpus again with this tokenizer, or name the tokenizer that made it"


@dataclass(frozen=True)
class Pieces:
    """A tokenizer of which no more is known than how many pieces it has."""

    path: str | os.PathLike[str]
    """What to call it."""
    vocab_size: int
    sha256: None = None


def require(prefix: str | os.PathLike[str], tokenizer: Tokenizer | Pieces, labels: bool = False) -> None:
    """See that a dataset was made with this tokenizer; of one whose manifest does not say, that the tokenizer has all its ids.

    Args:
        prefix: path without extension.
        labels: -100 is allowed.

    Raises:
        HaigoError: the dataset cannot be read.
        Refused: its manifest names another tokenizer or speaks of other bytes, or it holds an id that the vocabulary has not.
    """
    stored = MMapReader(prefix).dtype  # says what is missing or cut short
    found = manifest.check(prefix)
    made, name, size = found or {}, tokenizer.path, tokenizer.vocab_size
    stated, digest = made.get("tokenizer_sha256"), tokenizer.sha256
    if digest is not None and stated not in (None, digest):
        raise Refused(
            f"{bin_path(prefix)} was made with another tokenizer ({stated[:12]}) than {name} ({digest[:12]}).", _AGAIN
        )
    if made.get("vocab_size") not in (None, size):
        raise Refused(
            f"{bin_path(prefix)} has a vocabulary of {made['vocab_size']:,}, and {name} has {size:,}.", _AGAIN
        )
    if found is None and stored.itemsize < token_dtype(size).itemsize:
        raise Refused(
            f"{bin_path(prefix)} holds {stored}, and a vocabulary of {size:,} is stored as {token_dtype(size)}.",
            _AGAIN,
        )
    if not manifest.checked(found):
        ids.require_inside(prefix, size, str(name), labels)
