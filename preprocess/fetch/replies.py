"""What servers answer, and what is no answer: whole replies, and how a source says that it has to be asked again."""

from __future__ import annotations

import dataclasses
import email.utils
import gzip
import io
import re
import zlib
from collections.abc import Mapping
from typing import Any

import orjson

from haigo import shapes
from haigo.cli import HaigoError


class Again(Exception):
    """What came is no answer: ask again, after `after_s` seconds if the server named a time."""

    def __init__(self, reason: str, after_s: float | None = None) -> None:
        super().__init__(reason)
        self.reason, self.after_s = reason, after_s


class NotServed(HaigoError):
    """The server answered and will not give it (404, 403 and the like): asking again is of no use."""

    def __init__(self, url: str, status: int) -> None:
        super().__init__(f"{url} is not served (HTTP {status}).", "check the address, and whether it needs a key")


class TooLarge(HaigoError):
    """A reply is larger than it may be."""

    def __init__(self, url: str, limit: int) -> None:
        super().__init__(f"{url} is larger than {limit / 1e6:,.0f} MB.", "check the address, or allow more")


@dataclasses.dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer; `headers` does not mind upper and lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str


def ok(reply: Reply) -> Reply:
    """A reader for `Client.get`: the reply itself if it is a good one.

    Raises:
        NotServed: any other status than 200.
    """
    if reply.status != 200:
        raise NotServed(reply.url, reply.status)
    return reply


def parsed(reply: Reply, like: Any = object, what: str = "an answer of the API") -> Any:
    """The JSON of a good reply.

    Args:
        like: its shape (see `haigo.shapes`).
        what: is meant to come.

    Raises:
        NotServed: another status than 200.
        Again: no JSON, or of another shape.
    """
    try:
        value = orjson.loads(ok(reply).body)
    except orjson.JSONDecodeError:
        raise Again("not JSON") from None
    if wrong := shapes.unlike(value, like):
        raise Again(f"not {what} ({wrong})")
    return value


def retry_after(value: str | None, now: float) -> float | None:
    """Seconds to wait by a Retry-After header: a number, or a date as HTTP writes it. None for anything else."""
    if re.fullmatch(r"\s*\d{1,9}\s*", value or ""):
        return float(value or "")
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value or "").timestamp() - now)
    except (ValueError, TypeError, OverflowError):
        return None


def gunzip(body: bytes, limit: int, name: str) -> bytes:
    """Unpack gzip, never beyond `limit` bytes.

    Raises:
        Again: it is damaged or cut short.
        TooLarge: more than `limit` bytes are in it.
    """
    try:
        data = gzip.GzipFile(fileobj=io.BytesIO(body)).read(limit + 1)
    except EOFError:
        raise Again("gzip cut short") from None
    except (OSError, zlib.error):
        raise Again("damaged gzip") from None
    if len(data) > limit:
        raise TooLarge(name, limit)
    return data
