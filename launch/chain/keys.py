"""Typed keys of a YAML: a dataclass says which there are, of what type, within what limits and what they mean.

A key that is unknown (the nearest is named), missing, of another type or out of its limits is one sentence with its place.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any

from haigo import cli
from haigo.cli import HaigoError

_REQUIRED = dataclasses.MISSING


def key(
    doc: str,
    default: Any = _REQUIRED,
    *,
    least: float | None = None,
    above: float | None = None,
    most: float | None = None,
    among: Sequence[str] = (),
) -> Any:
    """A field with its documentation and what its values may be; mutable defaults are copied for every instance."""
    metadata = {"doc": doc, "least": least, "above": above, "most": most, "among": among}
    if default is _REQUIRED:
        return field(metadata=metadata)
    if isinstance(default, list | dict):
        return field(default_factory=lambda: type(default)(default), metadata=metadata)
    return field(default=default, metadata=metadata)


def build(cls: type, raw: Any, name: str, where: str) -> Any:
    """`raw` as the dataclass `cls`, whose fields `key` made.

    Args:
        name: of the file, for messages.
        where: the keys above, with dots.

    Raises:
        HaigoError: any of the above.
    """
    if not isinstance(raw, dict):
        raise HaigoError(f"{name}: '{where}' must hold keys, not {raw!r}.", "see docs/runfile.md")
    fields = {each.name: each for each in dataclasses.fields(cls)}
    hints = typing.get_type_hints(cls)
    for key in raw:
        if key not in fields:
            raise HaigoError(
                f"{name}: unknown key '{_join(where, str(key))}'.{cli.nearest(str(key), fields)}", "see docs/runfile.md"
            )
    values = {}
    for key, each in fields.items():
        if key in raw:
            values[key] = _value(hints[key], raw[key], name, _join(where, key))
            _allowed(values[key], each.metadata, name, _join(where, key))
        elif each.default is _REQUIRED and each.default_factory is _REQUIRED:
            raise HaigoError(f"{name}: the key '{_join(where, key)}' is missing.", each.metadata["doc"])
    return cls(**values)


def _value(hint: Any, raw: Any, name: str, where: str) -> Any:
    """`raw` as the type `hint` says: the few that the classes above use."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        if raw is None:
            return None
        return _value(next(each for each in inner if each is not type(None)), raw, name, where)
    if dataclasses.is_dataclass(hint):
        return build(typing.cast(type, hint), {} if raw is None else raw, name, where)
    if origin is list:
        items = [raw] if isinstance(raw, str | int | float) else raw
        if isinstance(items, list):
            return [_value(inner[0], each, name, where) for each in items]
    elif origin is dict:
        if isinstance(raw, dict):
            # a ceiling is text or a number: `+5%` or 3.2
            texts = {
                key: str(each) if inner[1] is str and isinstance(each, float) else each for key, each in raw.items()
            }
            return {str(key): _value(inner[1], each, name, _join(where, str(key))) for key, each in texts.items()}
    elif hint is bool:
        if isinstance(raw, bool):
            return raw
    elif hint is int:
        if _counts(raw) and raw == int(raw):
            return int(raw)  # 2e6 is a fine way to write tokens
    elif hint is float:
        if _counts(raw):
            return float(raw)
    elif hint is str and isinstance(raw, str | int) and not isinstance(raw, bool):
        return str(raw)
    fix = "see docs/runfile.md"
    if hint is str and isinstance(raw, bool | float):  # `no`, `1.10`: what stood there is not known any more
        fix = "put it in quotes, as it is to be read"
    raise HaigoError(f"{name}: '{where}' is {raw!r:.80}, which is not {spell(hint)}.", fix)


def _counts(raw: Any) -> bool:
    """Whether it is a number that something here can have: no NaN, nothing beyond 10^15."""
    return not isinstance(raw, bool) and isinstance(raw, int | float) and abs(raw) <= cli.MOST


def _allowed(value: Any, rule: Mapping[str, Any], name: str, where: str) -> None:
    """Hold a value, or every value of a list or map, against what its key allows."""
    if isinstance(value, dict):
        for key, each in value.items():
            _allowed(each, rule, name, _join(where, key))
    elif isinstance(value, list):
        for each in value:
            _allowed(each, rule, name, where)
    elif isinstance(value, str):
        if rule["among"] and value not in rule["among"]:
            raise HaigoError(
                f"{name}: '{where}' is '{value}'.{cli.nearest(value, rule['among'])}",
                f"choose from {', '.join(rule['among'])}",
            )
    elif isinstance(value, int | float):
        least, above, most = rule["least"], rule["above"], rule["most"]
        low = value < least if least is not None else above is not None and value <= above
        if low or (most is not None and value > most):
            wanted = f"at least {least:,}" if least is not None else f"above {above:,}" if above is not None else ""
            wanted += f"{' and ' if wanted else ''}at most {most:,}" if most is not None else ""
            raise HaigoError(f"{name}: '{where}' is {value:,}.", f"give a number that is {wanted}")


def _join(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key


def spell(hint: Any) -> str:
    """A type in words."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return spell(next(each for each in inner if each is not type(None)))
    if origin is list:
        return f"list of {spell(inner[0])}"
    if origin is dict:
        return f"map of names to {spell(inner[1])}"
    names = {int: "whole number", float: "number", str: "text", bool: "true or false"}
    return names.get(hint, "section")
