"""A small phrase grammar: `[a|b|]` chooses, `{name}` fills in, `{@bank}` draws a phrase from a bank.

Draws from a bank are dealt like cards, without repeating a phrase before all were seen, because a text in which the
same sentence comes back after three others reads as made by a machine.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Mapping, Sequence
from typing import TypeVar

T = TypeVar("T")
Banks = Mapping[str, Sequence[str]]


@functools.cache
def _parse(template: str) -> tuple[tuple[str, object], ...]:
    nodes, end = _sequence(template, 0, "")
    if end != len(template):
        raise ValueError(f"unbalanced bracket in {template!r}")
    return nodes


def _sequence(template: str, at: int, stop: str) -> tuple[tuple[tuple[str, object], ...], int]:
    nodes: list[tuple[str, object]] = []
    text: list[str] = []
    while at < len(template) and template[at] not in stop:
        char = template[at]
        if char in "[{":
            if text:
                nodes.append(("text", "".join(text)))
                text = []
            if char == "{":
                close = template.index("}", at)
                nodes.append(("slot", template[at + 1 : close]))
                at = close + 1
                continue
            choices = []
            while True:
                inner, at = _sequence(template, at + 1, "|]")
                choices.append(inner)
                if at >= len(template):
                    raise ValueError(f"unbalanced bracket in {template!r}")
                if template[at] == "]":
                    break
            nodes.append(("choice", tuple(choices)))
            at += 1
        else:
            text.append(char)
            at += 1
    if text:
        nodes.append(("text", "".join(text)))
    return tuple(nodes), at


class Writer:
    """Fills phrases, with its own random stream.

    Args:
        stream: name of the random stream; the same name gives the same text.
        banks: named lists of phrases for `{@name}`.
    """

    def __init__(self, stream: str, banks: Banks) -> None:
        self.random = random.Random(stream)  # a str is hashed with sha512: the same on every machine
        self.banks = banks
        self._decks: dict[str, list[str]] = {}

    def draw(self, bank: str) -> str:
        """The next unfilled phrase of a bank."""
        deck = self._decks.get(bank)
        if not deck:
            deck = list(self.banks[bank])
            self.random.shuffle(deck)
            self._decks[bank] = deck
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
            KeyError: a slot that neither `context` nor the banks know.
        """
        out: list[str] = []
        self._fill(_parse(template), context, out)
        return "".join(out)

    def say(self, bank: str, context: Mapping[str, str]) -> str:
        """A phrase of `bank`, filled."""
        return self.fill(self.draw(bank), context)

    def _fill(self, nodes: tuple[tuple[str, object], ...], context: Mapping[str, str], out: list[str]) -> None:
        for kind, value in nodes:
            if kind == "text":
                out.append(str(value))
            elif kind == "choice":
                assert isinstance(value, tuple)
                self._fill(self.pick(value), context, out)
            elif str(value)[0] == "@":
                self._fill(_parse(self.draw(str(value)[1:])), context, out)
            elif str(value)[0] == "#":  # {#3-40}: a number
                low, high = str(value)[1:].split("-")
                out.append(str(self.number(int(low), int(high))))
            else:
                out.append(context[str(value)])
