"""The names of the invented world, put together from parts, with their readings."""

from __future__ import annotations

from collections.abc import Iterator

from examples.world import phrases
from examples.world.grammar import Writer
from haigo.cli import HaigoError

Name = tuple[str, str]  # (as written, in kana)
_PARTS = phrases.load("names")
COMPANIES: list[str] = _PARTS["company"]


def parts(key: str, side: str = "") -> list[Name]:
    """The parts of `names.yml` under `key`: its `first`, its `last` ones, or all where it has no sides."""
    found = _PARTS[key][side] if side else _PARTS[key]
    return list(found.items()) if isinstance(found, dict) else [(each, each) for each in found]


def endings(kind: str) -> list[Name]:
    """What names of a kind end in; nothing for most."""
    return list(_PARTS["endings"].get(kind, {"": ""}).items())


class Namer:
    """Gives every name once."""

    def __init__(self, writer: Writer) -> None:
        self.writer = writer
        self._taken: set[str] = set()

    def joined(self, first: list[Name], last: list[Name], ending: Name, count: int) -> list[Name]:
        """`count` new names: first part + last part + ending.

        Raises:
            HaigoError: the parts do not give that many names.
        """
        every = [(a[0] + b[0], a[1] + b[1]) for a in first for b in last if a[0] != b[0]]
        self.writer.random.shuffle(every)
        fresh = list(self._fresh(every, ending, count))
        if len(fresh) < count:
            raise HaigoError(
                f"The world has only {len(fresh)} names of a kind where {count} are wanted.", "use a smaller --size"
            )
        return fresh

    def _fresh(self, every: list[Name], ending: Name, count: int) -> Iterator[Name]:
        for written, kana in every:
            name = written + ending[0]
            if count and written not in _PARTS["real"] and name not in self._taken:
                self._taken.add(name)
                count -= 1
                yield name, kana + ending[1]
