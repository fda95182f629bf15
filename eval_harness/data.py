"""Rows of the data sets' files, read and checked: JSON lines, JSON and separated values."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from haigo.cli import HaigoError
from haigo.reading import each_once, require_file


def text(path: Path) -> str:
    """A text file with its line ends as they are.

    Raises:
        HaigoError: not UTF-8.
    """
    try:
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise HaigoError(
            f"{path} is not UTF-8: {error.reason} at byte {error.start:,}.", "get the file again"
        ) from None


def parse(content: bytes, where: str, fix: str) -> Any:
    """What JSON text says.

    Raises:
        HaigoError: it is not JSON, or gives a key twice; begins with `where`.
    """
    try:
        return json.loads(content, object_pairs_hook=each_once)
    except RecursionError:
        raise HaigoError(f"{where} is not valid JSON: it is nested too deeply.", fix) from None
    except ValueError as error:
        raise HaigoError(f"{where} is not valid JSON: {error}.", fix) from None


def table(content: str, path: Path, delimiter: str = ",") -> list[list[str]]:
    """The rows of separated values; line ends in texts stay, and a text may be longer than a table's cell.

    Raises:
        HaigoError: not such a file (a quotation mark that is never closed, for example).
    """
    usual = csv.field_size_limit(1 << 27)
    try:
        return list(csv.reader(io.StringIO(content, newline=""), delimiter=delimiter))
    except csv.Error as error:
        raise HaigoError(f"{path} can not be read as a table: {error}.", "get the file again") from None
    finally:
        csv.field_size_limit(usual)  # it is the process's, and other tables stand on it


def rows(path: Path, fields: dict[str, type | tuple[type, ...]]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line number and object of every line of a JSON-lines file, with `fields` there and of the right type.

    Raises:
        HaigoError: broken line, missing field, wrong type or no line at all; names the file and the line.
    """
    found = False
    require_file(path)
    with open(path, "rb") as handle:
        for number, line in enumerate(handle, start=1):
            if not line.strip():
                continue
            found = True
            where = f"{path} line {number}"
            yield number, check(parse(line, where, "mend that line"), fields, where)
    if not found:
        raise HaigoError(f"{path} is empty.", "get the file again")


def json_rows(path: Path, fields: dict[str, type | tuple[type, ...]]) -> Iterator[tuple[int, dict[str, Any]]]:
    """As `rows`, for a file that is either JSON lines or one JSON list."""
    if not text(path).lstrip().startswith("["):
        yield from rows(path, fields)
        return
    whole = parse(path.read_bytes(), str(path), "get the file again")
    if not whole:
        raise HaigoError(f"{path} is empty.", "get the file again")
    for number, row in enumerate(whole, start=1):
        yield number, check(row, fields, f"{path} row {number}")


def check(row: Any, fields: dict[str, type | tuple[type, ...]], where: str) -> dict[str, Any]:
    """`row` when it is an object that has `fields`."""
    if not isinstance(row, dict):
        raise HaigoError(f"{where} is not a JSON object.", "use the data set's published format")
    for name, kind in fields.items():
        if name not in row:
            raise HaigoError(f"{where} has no field '{name}'.", "use the data set's published format")
        if not isinstance(row[name], kind) or (isinstance(row[name], bool) and kind is not bool):
            raise HaigoError(f"{where}: '{name}' is {type(row[name]).__name__}.", "use the data set's published format")
    return row


def label_number(label: Any, labels: Sequence[str], where: str) -> int:
    """The number of a label that a row gives by name or by number.

    Raises:
        HaigoError: neither.
    """
    if label in labels:
        return list(labels).index(label)
    if type(label) is int and 0 <= label < len(labels):
        return label
    raise HaigoError(f"{where}: label {label!r} is unknown.", f"use one of {', '.join(labels)}")
