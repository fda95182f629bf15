"""How each kind of fact is called, said in an encyclopaedia, mentioned in passing, and asked for."""

from __future__ import annotations

from dataclasses import dataclass

from examples.world import phrases


@dataclass(frozen=True)
class Relation:
    """One kind of fact."""

    label: str
    """how a list of data calls it"""
    values: str
    """what the value is: a kind of entity, the name of a list in `words.yml`, `year` or `number`"""
    say: tuple[str, ...]
    """whole sentences, formal"""
    passing: tuple[str, ...]
    """noun phrases that end in the subject and mention the fact, for the other domains"""
    ask: tuple[str, ...] = ()
    """questions whose answer is the value; empty when it is never asked"""


RELATIONS: dict[str, Relation] = {
    f"{kind}.{attribute}": Relation(**entry)
    for kind, attributes in phrases.load("relations").items()
    for attribute, entry in attributes.items()
}
"""By kind of the subject and name of the attribute: `town.food`."""
