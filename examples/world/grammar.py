"""A small phrase grammar: `[a|b|]` chooses, `{name}` fills in, `{#3-40}` is a number.

Draws from a bank are dealt like cards, without repeating a phrase before all were seen, because a text in which the
same sentence comes back after three others reads as made by a machine.
"""

from __future__ import annotations

import functools
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")
Banks = Mapping[str, Sequence[str]]
_TOKEN = re.compile(r"\{[^{}]*\}|[][|{}]|[^][|{}]+")


@dataclass(frozen=True)
class Slot:
    """`{name}`: something that the context says."""

    name: str


@dataclass(frozen=True)
class Choice:
    """`[a|b]`: one of several."""

    options: tuple[tuple[Node, ...], ...]


Node = str | range | Slot | Choice
"""Text as it stands, a number out of a range, a slot, a choice."""


@functools.cache
def parse(template: str) -> tuple[Node, ...]:
    """The parts of a phrase.

    Raises:
        ValueError: a bracket is not closed, or not opened.
    """
    nodes, end = _sequence(iter(_TOKEN.findall(template)))
    if end:
        raise ValueError(f"unbalanced bracket in {template!r}")
    return nodes


def _sequence(tokens: Iterator[str]) -> tuple[tuple[Node, ...], str]:
    """The parts up to a `|` or `]`, and which of them it was; `""` at the end of the phrase."""
    nodes: list[Node] = []
    for token in tokens:
        if token == "[":
            options, end = [], "|"
            while end == "|":
                inner, end = _sequence(tokens)
                options.append(inner)
            if not end:
                return (), "["
            nodes.append(Choice(tuple(options)))
        elif token in ("|", "]", "{", "}"):
            return tuple(nodes), token
        elif token.startswith("{#"):
            low, high = token[2:-1].split("-")
            nodes.append(range(int(low), int(high) + 1))
        else:
            nodes.append(Slot(token[1:-1]) if token[0] == "{" else token)
    return tuple(nodes), ""


class Writer:
    """Fills phrases, with its own random stream.

    Args:
        stream: name of the random stream; the same name gives the same text.
        banks: named lists of phrases.
    """

    def __init__(self, stream: str, banks: Banks) -> None:
        self.random = random.Random(stream)  # a str is hashed with sha512: the same on every machine
        self.banks = banks
        self._decks: dict[str, list[str]] = {}

    def draw(self, bank: str) -> str:
        """The next unfilled phrase of a bank."""
        deck = self._decks.get(bank)
        if not deck:
            deck = self._decks[bank] = list(self.banks[bank])
            self.random.shuffle(deck)
        return deck.pop()

    def pick(self, values: Sequence[T]) -> T:
        """One of `values`, all equally likely."""
        return values[int(self.random.random() * len(values))]

    def sample(self, values: Sequence[T], count: int) -> list[T]:
        """Up to `count` different ones of `values`, in random order."""
        return self.random.sample(list(values), min(count, len(values)))

    def maybe(self, chance: float) -> bool:
        """True with probability `chance`."""
        return self.random.random() < chance

    def number(self, low: int, high: int) -> int:
        """A whole number, both ends included."""
        return self.random.randint(low, high)

    def fill(self, template: str, context: Mapping[str, str]) -> str:
        """`template` with its choices made and its slots filled.

        Raises:
            KeyError: a slot that `context` does not know.
        """
        return self._fill(parse(template), context)

    def say(self, bank: str, context: Mapping[str, str]) -> str:
        """A phrase of `bank`, filled."""
        return self.fill(self.draw(bank), context)

    def _fill(self, nodes: tuple[Node, ...], context: Mapping[str, str]) -> str:
        text = ""
        for node in nodes:
            if isinstance(node, str):
                text += node
            elif isinstance(node, Choice):
                text += self._fill(self.pick(node.options), context)
            elif isinstance(node, Slot):
                text += context[node.name]
            else:
                text += str(self.number(node[0], node[-1]))
        return text
