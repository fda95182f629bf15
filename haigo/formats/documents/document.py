"""The one thing every source yields."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Any


@dataclasses.dataclass(slots=True)
class Document:
    """One document as it was found; cleaning makes new ones of it."""

    id: str
    """Name that does not depend on the order of reading: the source's own id, a path, or a digest of the text."""
    text: str
    """The text, undisturbed but for its encoding."""
    meta: dict[str, Any] = dataclasses.field(default_factory=dict)
    """What else the source says (title, licence, date); JSON values only."""


def content_id(text: str) -> str:
    """An id for a document that has none: 16 hexadecimal digits of its text's digest."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
