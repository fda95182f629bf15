"""The one reader of files that commands leave for each other: whatever stands there, a sentence names the file and the fix.

JSON that is cut, no UTF-8, nested without end, of another shape, with numbers that are none or that nothing can hold; a folder,
a pipe or a device in the file's place.
"""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

from haigo import shapes
from haigo.cli import HaigoError

StrPath = str | os.PathLike[str]

_FIX = "write it again with the step that makes it"


def require_file(path: StrPath) -> None:
    """See that reading `path` comes to an end: a pipe that nobody fills and a device without end would keep us for ever.

    Pipes without a name (`<(command)`, `/dev/stdin`) are read; what does not exist is left to whoever opens it.

    Raises:
        HaigoError: a named pipe, a socket or a device stands there.
    """
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        return
    name = os.path.realpath(path)
    if not os.path.lexists(name) or name.startswith("/dev/pts/") or name in ("/dev/null", "/dev/tty"):
        return  # `pipe:[123]` in /proc, which is no place
    raise HaigoError(f"{path} is a pipe, a socket or a device, and a file is wanted there.", "name a file")


def read_text(path: StrPath, fix: str = "save it as UTF-8") -> str:
    """A file of UTF-8 text, with or without a byte order mark.

    Raises:
        HaigoError: it does not exist, is no file, or is not UTF-8.
    """
    try:
        require_file(path)
        return Path(path).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise HaigoError(f"{path} does not exist.", "check the path, or run the step that writes it") from None
    except IsADirectoryError:
        raise HaigoError(f"{path} is a folder, not a file.", "move it away, or name a file in it") from None
    except UnicodeDecodeError:
        raise HaigoError(f"{path} is not UTF-8 text.", fix) from None
    except ValueError:  # a NUL in the name
        raise HaigoError(f"{str(path)!r} is no file's name.", "check the path") from None


def read_json(path: StrPath) -> Any:
    """Read a JSON file.

    Raises:
        HaigoError: the file is missing or is not JSON, or is nested without end; the sentence names the file and the line.
    """
    return parse_json(read_text(path, _FIX), str(path))


def parse_json(text: str | bytes, name: str, fix: str = _FIX) -> Any:
    """A JSON value out of the file or answer `name`, whose nesting others can walk through.

    Raises:
        HaigoError: as `read_json`.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:  # a number of 5,000 digits is a ValueError too
        line = f" (line {error.lineno})" if isinstance(error, json.JSONDecodeError) else ""
        raise HaigoError(f"{name} is not valid JSON{line}.", fix) from None
    if (wrong := shapes.strange(value, numbers=False)) is not None:
        raise HaigoError(f"{name}: {wrong}.", fix)
    return value


def each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """`object_pairs_hook` of `json.loads`, for files of which the last of two values of a key would win in silence.

    Raises:
        ValueError: a key is given twice.
    """
    value = dict(pairs)
    if len(value) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key '{next(name for name in names if names.count(name) > 1)}' is given twice")
    return value


def read_record(path: StrPath, like: Any) -> Any:
    """Read a JSON file that Haigo wrote, and check its shape.

    Args:
        like: what it must look like: see `haigo.shapes`.

    Raises:
        HaigoError: missing, not JSON, or of another shape; the sentence names the file and the key.
    """
    value = read_json(path)
    if (wrong := shapes.unlike(value, like) or shapes.strange(value)) is not None:
        raise HaigoError(f"{path} is damaged: {wrong}.", "run the step that makes it again")
    return value
