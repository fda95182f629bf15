"""A number for each document that depends on the seed, its id and its text, and on nothing else."""

from __future__ import annotations

import hashlib

from .document import Document

BITS = 64


def keyed_hash(document: Document, seed: int, purpose: bytes) -> int:
    """A 64-bit number, uniform over documents; different purposes (up to 16 bytes) give unrelated numbers."""
    digest = hashlib.blake2b(digest_size=8, key=str(seed).encode()[:64], person=purpose)
    digest.update(document.id.encode("utf-8", "surrogatepass"))
    digest.update(b"\0")
    digest.update(document.text.encode("utf-8", "surrogatepass"))
    return int.from_bytes(digest.digest(), "little")
