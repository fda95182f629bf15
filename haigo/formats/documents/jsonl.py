"""JSON lines: one object a line, the text under one key."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Any, BinaryIO, cast

import orjson

from haigo.cli import HaigoError, nearest

from .broken import Broken
from .containers import MOST_BYTES, Entry, lines, readable
from .document import Document, content_id

_ID_KEYS = ("id", "path", "url", "docid", "doc_id")
_META_CHARS = 500


def read(entry: Entry, text_key: str = "text", broken: Broken | None = None) -> Iterator[Document]:
    """The documents of one file.

    Raises:
        HaigoError: a line that `broken` does not allow: not a JSON object, larger than any text, or without a text under
            `text_key`; names file, line and the keys there.
    """
    with readable(entry.name):
        yield from documents(lines(cast(BinaryIO, entry.stream), entry.name, broken), entry.name, text_key, broken)


def documents(
    numbered: Iterable[tuple[int, bytes]], name: str, text_key: str, broken: Broken | None = None
) -> Iterator[Document]:
    """The documents of numbered lines; blank lines are passed over."""
    broken = broken or Broken()
    for number, row in rows(numbered, name, broken, (text_key,)):
        try:
            document = from_row(row, text_key, f"{name} (line {number})")
        except HaigoError as error:
            broken.note(error)
            continue
        yield document


def rows(
    numbered: Iterable[tuple[int, bytes]], name: str, broken: Broken | None = None, once: Collection[str] = ()
) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of numbered lines; a key of `once` twice in one of them is an error.

    Raises:
        HaigoError: as `read`; a file that is one JSON array is named as that.
    """
    broken = broken or Broken()
    begun = False
    for number, line in numbered:
        if number == 1 and line.startswith(b"\xef\xbb\xbf"):
            line = line[3:]
        if not line.strip():
            continue
        if number == 1 or not begun:
            _require_lines(line, name, number)
            begun = True
        try:
            row = parse(line, name, number, once)
        except HaigoError as error:
            broken.note(error)
            continue
        yield number, row


def _require_lines(line: bytes, name: str, number: int) -> None:
    """Refuse what is JSON, but one value over many lines: by its first line."""
    start = line.strip()
    if start.startswith(b"["):
        raise HaigoError(
            f"{name} is one JSON array, not a JSON object a line.",
            "write it as JSON lines (jq -c '.[]' FILE > FILE.jsonl does that), or read it as plain text with --format txt",
            option="format",
        )
    if start == b"{":
        raise HaigoError(
            f"{name} has a broken JSON line (line {number}): its objects lie over several lines.",
            "write one object a line (jq -c . FILE > FILE.jsonl does that), or read it as plain text with --format txt",
            option="format",
        )


def parse(line: bytes, name: str, number: int, once: Collection[str] = ()) -> dict[str, Any]:
    """One line as an object, which may not hold a key of `once` twice: every reader would drop the first in silence."""
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        row = _with_lone_surrogates(line)
        if row is None:
            reason = "it is not UTF-8 text"
            if _is_utf8(line):  # its own words count lines too, from 1 in this very line
                reason = f"{error.msg}, column {min(error.pos, len(line.decode().rstrip())) + 1}"
            raise HaigoError(f"{name} has a broken JSON line (line {number}): {reason}.", _MEND) from None
    if not isinstance(row, dict):
        raise HaigoError(f"{name} has a line that is not a JSON object (line {number}).", _MEND)
    for key in once:
        if line.count(f'"{key}"'.encode()) > 1 and _keys(line).count(key) > 1:
            raise HaigoError(f"{name} has the key '{key}' twice (line {number}).", _MEND)
    return row


def _keys(line: bytes) -> list[str]:
    """The keys of the object itself, not of what is in it."""
    import json

    outer: list[str] = []

    def note(pairs: list[tuple[str, Any]]) -> None:
        outer[:] = [key for key, _ in pairs]  # the outermost object is complete last

    json.loads(line, object_pairs_hook=note, strict=False)
    return outer


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


_MEND = "mend or delete that line; JSON lines hold one object each"


def _with_lone_surrogates(line: bytes) -> dict[str, Any] | None:
    # orjson refuses an escaped half of a surrogate pair, which web data does hold; cleaning reports and removes it
    import json

    if b"\\ud" not in line.lower():
        return None
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None


def from_row(row: dict[str, Any], text_key: str, where: str) -> Document:
    """A document of a row of named values, whatever table it comes from.

    Raises:
        HaigoError: no text under `text_key`; names the keys that are there.
    """
    text = row.get(text_key)
    if isinstance(text, str) and len(text) > MOST_BYTES:
        raise HaigoError(f"{where} has a text of more than {MOST_BYTES >> 20} MB.", "part it, or leave that row out")
    if not isinstance(text, str):
        if text_key in row:
            raise HaigoError(
                f"{where} has no text under '{text_key}' but {type(text).__name__}.", "mend or delete that row"
            )
        there = ", ".join(f"'{key}'" for key in list(row)[:12])
        raise HaigoError(
            f"{where} has no key '{text_key}'; it has {there or 'none'}.{nearest(text_key, row)}",
            "name the key that holds the text with --text-key",
            option="text_key",
        )
    own_id = next((row[key] for key in _ID_KEYS if isinstance(row.get(key), str | int)), None)
    meta = row.get("meta")
    if not isinstance(meta, dict):
        meta = {key: value for key, value in row.items() if key not in (text_key, "id") and _small(value)}
    return Document(content_id(text) if own_id is None else str(own_id), text, meta)


def _small(value: Any) -> bool:
    return isinstance(value, int | float) or (isinstance(value, str) and len(value) <= _META_CHARS)
