"""What a relation is: one kind of fact, with the wordings for it."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Relation:
    """One kind of fact."""

    key: str
    """kind of the subject and name of the attribute, `town.food`"""
    label: str
    """how a list of data calls it"""
    values: str
    """what the value is: a kind of entity, or the name of a list of words in `facts.py`"""
    say: tuple[str, ...]
    """whole sentences, formal"""
    passing: tuple[str, ...]
    """noun phrases that end in the subject and mention the fact, for the other domains"""
    ask: tuple[str, ...] = field(default=())
    """questions whose answer is the value; empty when it is never asked"""


def relation(key: str, label: str, values: str, say: str, passing: str, ask: str = "") -> Relation:
    """A relation from blocks of text, a phrase a line."""
    lines = [
        tuple(line.strip() for line in block.strip().splitlines() if line.strip()) for block in (say, passing, ask)
    ]
    return Relation(key, label, values, *lines)
