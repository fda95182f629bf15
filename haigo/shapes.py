"""What a JSON value must look like, and in which words it does not.

A shape is a type (`float` takes whole numbers too; numbers are finite and fit into 64 bits, text has no NUL), a tuple of those
that are allowed, None for nothing, `[type]` for a list, `[type, type]` for one of that length, `{str: type}` for a mapping,
`{"key": type, ...}` for an object with at least these keys (`"key?"` may be missing), nested at will; `object` is anything.
"""

from __future__ import annotations

import math
from typing import Any

DEEPEST = 100
"""Levels of nesting that are read."""
_LARGEST = 1 << 63


def unlike(value: Any, like: Any, where: str = "") -> str | None:
    """What differs, in words; None where `value` has the shape."""
    named = f"'{_short(where.removeprefix('.'))}'" if where else "it"
    if isinstance(like, tuple):
        differences = [unlike(value, each, where) for each in like]
        return None if None in differences else differences[0]
    if isinstance(like, list):
        if not isinstance(value, list):
            return f"{named} is no list"
        each = like if len(like) > 1 else like * len(value)
        if len(each) != len(value):
            return f"{named} has not {len(like)} values"
        return next((bad for i, one in enumerate(value) if (bad := unlike(one, each[i], f"{where}.{i}"))), None)
    if isinstance(like, dict):
        if not isinstance(value, dict):
            return f"{named} is no object"
        return _unlike_object(value, like, where)
    if like is None:
        return None if value is None else f"{named} is not empty"
    kinds = (float, int) if like is float else like
    if not isinstance(value, kinds) or (isinstance(value, bool) and like not in (bool, object)):
        return f"{named} is no {like.__name__}"
    if like is str and isinstance(value, str) and "\0" in value:
        return f"{named} holds a character that is none"
    if like in (int, float) and isinstance(value, int | float) and not _fits(value):
        return f"{named} is a number that nothing holds"
    return None


def _fits(number: float) -> bool:
    return -_LARGEST <= number < _LARGEST if isinstance(number, int) else math.isfinite(number)


def _unlike_object(value: dict[str, Any], like: dict[Any, Any], where: str) -> str | None:
    for key, each in (dict.fromkeys(value, like[str]) if str in like else like).items():
        name = key.removesuffix("?") if str not in like else key
        below = f"{where}.{name}"
        if name not in value:
            if name == key:
                return f"'{_short(below.removeprefix('.'))}' is missing"
        elif bad := unlike(value[name], each, below):
            return bad
    return None


def _short(name: str) -> str:
    return name if len(name) <= 80 else f"{name[:77]}..."


def strange(value: Any, *, numbers: bool = True) -> str | None:
    """What no file of ours holds, wherever in `value`: nesting without end and, with `numbers`, one that is none or that
    64 bits do not hold."""
    level = [value]
    for _ in range(DEEPEST + 1):
        if numbers and not all(_fits(each) for each in level if isinstance(each, int | float)):
            return "it holds a number that is none"
        level = [
            below
            for each in level
            if isinstance(each, list | dict)
            for below in (each.values() if isinstance(each, dict) else each)
        ]
        if not level:
            return None
    return f"it is nested more than {DEEPEST} levels deep"
