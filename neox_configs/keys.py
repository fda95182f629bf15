"""GPT-NeoX's keys, each with its type, its default, the range of its numbers and what the embedded engine makes of it.

    python -m neox_configs.keys --from GPT_NEOX_DIR [-o keys.csv]     # what a checkout knows beyond the table, or lacks

`KEYS[name]` is a `Key`. What a key means stands in GPT-NeoX's own documentation, not here. `keys.csv`, a line a key, was read
from commit ea7aefd (2026-05); ranges are what GPT-NeoX takes without harm, since it checks types and hardly any value, and
`why` says what comes of others, where that is worth knowing. Where GPT_NEOX_DIR names a checkout, or GPT_NEOX_KEYS a table
written with -o, groups, types, defaults and order are those of that edition: what it knows is known here. `gone.csv` holds
what its main branch had once, and what says the same now.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from haigo import cli, files, flags
from haigo.cli import HaigoError
from haigo.options import Options, option
from neox_configs import checkout_keys

_INT = 2**31 - 1
_COLUMNS = ("key", "group", "kind", "default", "range", "why", "engine", "engine_why")
_NEW = {"range": "", "why": "", "engine": "", "engine_why": ""}


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


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        with open(path, encoding="utf-8", newline="") as lines:
            return list(csv.DictReader(lines))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise HaigoError(f"{path} cannot be read as a table of keys ({error}).", _AGAIN) from None


_AGAIN = "write it with python -m neox_configs.keys --from GPT_NEOX_DIR -o FILE"
_OWN = _rows(Path(__file__).with_name("keys.csv"))
SHIPPED: dict[str, Key] = {row["key"]: _key(row) for row in _OWN}
"""The table that comes with Haigo, whatever checkout is at hand."""


class _Edition(NamedTuple):
    """The keys of one edition of GPT-NeoX."""

    known: frozenset[str]
    keys: dict[str, Key]
    """Those, in its order, and after them the shipped ones that it lacks."""
    source: str
    """What they were read from; empty for the shipped table."""


@lru_cache
def _edition(table: str | None, checkout: str | None) -> _Edition:
    if table:
        rows = _rows(Path(table))
        if not rows or not set(_COLUMNS) <= rows[0].keys():
            raise HaigoError(f"GPT_NEOX_KEYS={table} is not a table of keys.", _AGAIN)
        try:
            keys, source = {row["key"]: _key(row) for row in rows}, table
        except (ValueError, TypeError, AttributeError) as error:
            raise HaigoError(f"GPT_NEOX_KEYS={table} is damaged ({error}).", _AGAIN) from None
    elif checkout and (Path(checkout) / checkout_keys.FOLDER).is_dir():
        keys, source = {row["key"]: _key(row) for row in merged(checkout_keys.read(checkout))}, checkout
    else:
        return _Edition(frozenset(SHIPPED), SHIPPED, "")
    return _Edition(frozenset(keys), keys | {name: key for name, key in SHIPPED.items() if name not in keys}, source)


def edition() -> _Edition:
    """The edition at hand: GPT_NEOX_KEYS' table, else GPT_NEOX_DIR's checkout, else the shipped table.

    Raises:
        HaigoError: GPT_NEOX_KEYS or GPT_NEOX_DIR names what cannot be read.
    """
    return _edition(os.environ.get("GPT_NEOX_KEYS"), os.environ.get("GPT_NEOX_DIR"))


def merged(found: Sequence[checkout_keys.Row]) -> list[dict[str, str]]:
    """The lines of a table of a checkout's keys: ranges and the engine's part are the shipped table's, where it has the key."""
    own = {row["key"]: row for row in _OWN}
    return [
        {**_NEW, **own.get(row.name, {}), "key": row.name, "group": row.group, "kind": row.kind}
        | {"default": json.dumps(row.default)}
        for row in found
    ]


class _Keys(Mapping[str, Key]):
    """The keys of the edition at hand."""

    def __getitem__(self, name: str) -> Key:
        return edition().keys[name]

    def __iter__(self) -> Iterator[str]:
        return iter(edition().keys)

    def __len__(self) -> int:
        return len(edition().keys)


KEYS: Mapping[str, Key] = _Keys()


class Gone(NamedTuple):
    """A key that GPT-NeoX had once."""

    until: str
    """The day that took it out of the main branch, `branch NAME` of one that only a branch had."""
    commit: str
    successor: str
    """The key, dotted, that says the same now; empty where none does."""
    why: str
    """What to write there, or why there is none."""


def _gone() -> dict[str, Gone]:
    rows = _rows(Path(__file__).with_name("gone.csv"))
    return {row["key"]: Gone(row["until"], row["commit"], row["successor"], row["why"]) for row in rows}


GONE: dict[str, Gone] = _gone()


@dataclass(frozen=True, kw_only=True)
class KeysOptions(Options):
    """What `neox_configs.keys` reads and writes."""

    checkout: str = option("root of a GPT-NeoX checkout", flags=("--from",), metavar="GPT_NEOX_DIR")
    output: str | None = option("write its whole table to this CSV file", None, flags=("-o", "--output"))


def main(argv: Sequence[str] | None = None) -> int | None:
    options = flags.parse("neox_configs.keys", __doc__, KeysOptions, argv)
    if options.output:
        files.check_output(options.output, [options.checkout])
    rows = merged(checkout_keys.read(options.checkout))
    print("\n".join(differences(rows)))
    if options.output:
        files.write_text(options.output, table(rows))
        print(f"{options.output}: {len(rows)} keys; export GPT_NEOX_KEYS={options.output} to check configs with it")
    return None


def table(rows: Sequence[Mapping[str, str]]) -> str:
    """A table of keys as CSV."""
    text = io.StringIO()
    writer = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def differences(rows: Sequence[Mapping[str, str]]) -> list[str]:
    """How an edition's table differs from the shipped one, a sentence each."""
    theirs, own = {row["key"]: row for row in rows}, {row["key"]: row for row in _OWN}
    said = [f"new: {name} ({row['kind']}, default {row['default']})" for name, row in theirs.items() if name not in own]
    said += [f"lacks: {name}" for name in own if name not in theirs]
    for name, row in theirs.items():
        changed = [what for what in ("group", "kind", "default") if name in own and row[what] != own[name][what]]
        said += [f"{name}: {what} is {row[what]}, not {own[name][what]}" for what in changed]
    return said or [f"{len(rows)} keys, as in Haigo's own table"]


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
