"""The words of a shell script and where each stands, so that one can be replaced and all else kept; nothing is run."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple


class Word(NamedTuple):
    """A word of the shell, or an operator, with where it stands."""

    text: str
    start: int
    operator: bool = False

    @property
    def end(self) -> int:
        return self.start + len(self.text)


def split(word: Word) -> Iterator[Word]:
    """The words inside a quoted value."""
    bare = (
        word.text[1:-1] if len(word.text) > 1 and word.text[0] in "\"'" and word.text[-1] == word.text[0] else word.text
    )
    shift = word.start + (len(word.text) - len(bare) > 0)
    for match in re.finditer(r"\S+", bare):
        yield Word(match[0], shift + match.start())


def words(text: str) -> Iterator[Word]:
    """The words and operators of a script; comments and continued lines are passed over."""
    position = 0
    while position < len(text):
        letter = text[position]
        if letter in " \t\r\ufeff" or text.startswith(("\\\n", "\\\r\n"), position):
            position += 1 if letter != "\\" else text.index("\n", position) - position + 1
        elif letter == "#":
            position = text.find("\n", position) if "\n" in text[position:] else len(text)
        elif letter in "\n;&|()<>":
            yield Word(letter, position, True)
            position += 1
        else:
            end = _word_end(text, position)
            yield Word(text[position:end], position)
            position = end


def _word_end(text: str, position: int) -> int:
    start = position
    while position < len(text):
        letter = text[position]
        if letter == "\\":
            if text.startswith(("\n", "\r\n"), position + 1):
                break
            position += 2
        elif letter in "\"'":
            position = _closing(text, position + 1, letter)
        elif text.startswith("$(", position):
            position = _bracketed(text, position + 1)
        elif letter in " \t\r\n;&|()<>":
            break
        else:
            position += 1
    return max(start + 1, min(position, len(text)))


def _closing(text: str, position: int, quote: str) -> int:
    while position < len(text) and text[position] != quote:
        position += 2 if text[position] == "\\" and quote == '"' else 1
    return position + 1


def _bracketed(text: str, position: int) -> int:
    """Behind the bracket that closes the one at `position`."""
    depth = 0
    while position < len(text):
        letter = text[position]
        if letter in "\"'":
            position = _closing(text, position + 1, letter)
            continue
        depth += (letter == "(") - (letter == ")")
        position += 1
        if depth == 0:
            break
    return position
