"""What a JSON value must look like, and in which words it does not."""

from __future__ import annotations

from typing import Any


def unlike(value: Any, like: Any, where: str) -> str | None:
    """What differs, in words; None where `value` has the shape."""
    named = f"'{where.removeprefix('.')}'" if where else "it"
    if isinstance(like, tuple):
        found = [unlike(value, each, where) for each in like]
        return None if None in found else found[0]
    if isinstance(like, list):
        if not isinstance(value, list):
            return f"{named} is no list"
        return next((bad for i, each in enumerate(value) if (bad := unlike(each, like[0], f"{where}.{i}"))), None)
    if isinstance(like, dict):
        if not isinstance(value, dict):
            return f"{named} is no object"
        keys = dict.fromkeys(value, like[str]) if str in like else like
        for key, each in keys.items():
            if key not in value:
                return f"'{f'{where}.{key}'.removeprefix('.')}' is missing"
            if bad := unlike(value[key], each, f"{where}.{key}"):
                return bad
        return None
    if like is None:
        return None if value is None else f"{named} is not empty"
    kinds = (float, int) if like is float else like
    good = isinstance(value, kinds) and (like in (bool, object) or not isinstance(value, bool))
    return None if good else f"{named} is no {like.__name__}"
