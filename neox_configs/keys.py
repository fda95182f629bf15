"""Every key that GPT-NeoX knows, with its type, its default, the range of its numbers and what the embedded engine makes of it:
`keys.csv`, a line a key.

`KEYS[name]` is a `Key`. What a key means stands in GPT-NeoX's own documentation, not here. The table was made by running
GPT-NeoX's argument classes at commit ea7aefd (2026-05); a test compares it with them wherever a checkout is at hand. Ranges are
what it takes without harm, since it checks types and hardly any value; `why` says what comes of others, where that is worth
knowing.
"""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any, NamedTuple

_INT = 2**31 - 1


class Range(NamedTuple):
    """Numbers from `least` to `most`."""

    least: float
    most: float
    above: bool
    """`least` itself is left out."""
    below: bool
    """`most` itself is left out."""

    def __contains__(self, value: Any) -> bool:
        low = value > self.least if self.above else value >= self.least
        return low and (value < self.most if self.below else value <= self.most)

    def spelled(self, value: float) -> str:
        """The range as a sentence about a `value` outside it says it."""
        low = f"above {self.least:g}" if self.above else f"of at least {self.least:g}"
        if self.most == math.inf or (self.most == _INT and value <= self.most):
            return low
        return f"{low} and {'below' if self.below else 'at most'} {self.most:.10g}"


class Key(NamedTuple):
    """One GPT-NeoX key."""

    group: str
    """Where it stands in GPT-NeoX: runner, deepspeed, model, ..."""
    kind: str
    """`int`, `float`, `bool`, `str`, `list`, `dict`, `any`, several joined by `|`, or `one of a b c`."""
    default: Any
    """What GPT-NeoX takes when the key is not given."""
    range: Range | None
    why: str
    engine: str
    """What the embedded engine makes of it: `honoured` (it decides the numbers), `no effect` on them (placement, logging,
    storage), `rule` (it has one of its own in launch.engine.keys) or `held`."""
    held: tuple[Any, ...]
    """Of a held key the values for which the engine computes what GPT-NeoX computes; without any in the table, the default."""
    engine_why: str
    """Why no others."""

    @property
    def choices(self) -> list[str]:
        """The words allowed, for a `one of` key; empty otherwise."""
        return self.kind.split()[2:] if self.kind.startswith("one of ") else []


def _range(text: str) -> Range | None:
    """`[0, 1)` or `(0, inf)`."""
    if not text:
        return None
    least, most = (float(word) if "inf" in word or "." in word else int(word) for word in text[1:-1].split(", "))
    return Range(least, most, text[0] == "(", text[-1] == ")")


def _key(row: dict[str, str]) -> Key:
    default, engine = json.loads(row["default"]), row["engine"]
    held = json.loads(engine) if engine.startswith("[") else [] if engine else [default]
    return Key(
        row["group"],
        row["kind"],
        default,
        _range(row["range"]),
        row["why"],
        "held" if held else engine,
        tuple(held),
        row["engine_why"] or "this engine does not do it",
    )


def _read() -> dict[str, Key]:
    with open(Path(__file__).with_name("keys.csv"), encoding="utf-8", newline="") as lines:
        return {row["key"]: _key(row) for row in csv.DictReader(lines)}


KEYS: dict[str, Key] = _read()
