"""JSON records that Haigo goes by later on, written so that a changed byte in them is noticed.

A sealed record ends with `seal`, the digest of all its other keys, and is believed only when it is byte for byte what would be
written again. Records of the first edition have no seal: whoever reads one says what it must look like to be taken for such.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from haigo import files
from haigo.cli import HaigoError

KEY = "seal"
_AGAIN = "delete it, and the work that it stands for is done again"


def sealed(value: Mapping[str, Any]) -> dict[str, Any]:
    """A record with its seal."""
    body = {key: each for key, each in value.items() if key != KEY}
    return {**body, KEY: files.digest(body)}


def dumps(value: Mapping[str, Any]) -> str:
    """The text of a record, with its seal."""
    return json.dumps(sealed(value), ensure_ascii=False, indent=2, allow_nan=False) + "\n"


def write(path: str | os.PathLike[str], value: Mapping[str, Any]) -> dict[str, Any]:
    """Write a record, atomically; gives what is in the file."""
    files.write_text(path, dumps(value))
    return sealed(value)


def read(path: str | os.PathLike[str], like: Mapping[str, Any] | None = None) -> tuple[dict[str, Any], bool]:
    """A record without its seal, and whether it had one.

    Args:
        like: what it must look like (see `haigo.shapes`).

    Raises:
        HaigoError: no such file, not a record, or not the bytes that were written.
    """
    try:
        content = files.read_record(path, dict(like or {}))
    except HaigoError as error:
        raise HaigoError(error.problem, _AGAIN) from None
    if KEY in content:
        try:
            whole = dumps(content).encode("utf-8", "backslashreplace") == Path(path).read_bytes()
        except (ValueError, TypeError):
            whole = False
        if not whole:
            raise HaigoError(f"{path} was changed since Haigo wrote it.", _AGAIN)
    return {key: each for key, each in content.items() if key != KEY}, KEY in content
