"""Pages of the National Diet minutes API (kokkai.ndl.go.jp, recordPacking=json): `speech` and `meeting` replies.

`speech` keeps the API's CR LF and the ideographic blank at each paragraph; cleaning takes them away.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import orjson

from haigo.cli import HaigoError
from haigo.formats.documents.containers import MOST_BYTES, Entry
from haigo.formats.documents.document import Document

_META = ("date", "nameOfHouse", "nameOfMeeting", "session", "issue", "speaker", "speakerGroup", "meetingURL")


def read(entry: Entry, attendance: bool = False) -> Iterator[Document]:
    """The speeches of one reply, a document each; id is the speechID.

    Args:
        entry: the reply's JSON.
        attendance: keep record 0 of a meeting, which lists who was there.

    Raises:
        HaigoError: not JSON, an error reply of the API, or records without the API's fields.
    """
    try:
        page: Any = orjson.loads(entry.read(MOST_BYTES))
    except orjson.JSONDecodeError as error:
        raise HaigoError(
            f"{entry.name} is not JSON (line {error.lineno}): {error.msg}.", "ask the API again with recordPacking=json"
        ) from None
    if isinstance(page, dict) and "message" in page and "numberOfRecords" not in page:
        raise HaigoError(f"{entry.name} is an error reply of the API: {page['message']}", "fetch that page again")
    if not isinstance(page, dict) or not {"speechRecord", "meetingRecord"} & set(page):
        if isinstance(page, dict) and page.get("numberOfRecords") == 0:
            return
        raise HaigoError(
            f"{entry.name} is not a reply of the Diet minutes API.", "name its format, or give another file"
        )
    for record in records(page):
        if not isinstance(record.get("speech"), str) or not isinstance(record.get("speechID"), str):
            raise HaigoError(f"{entry.name} has a record without speechID or speech.", "fetch that page again")
        if attendance or record.get("speechOrder") != 0:
            yield speech(record)


def records(page: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The speeches of a reply as they stand, those of a meeting with what is said of it."""
    yield from page.get("speechRecord") or ()
    for meeting in page.get("meetingRecord") or ():
        shared = {key: value for key, value in meeting.items() if key != "speechRecord"}
        yield from (shared | one for one in meeting.get("speechRecord") or ())


def speech(record: dict[str, Any]) -> Document:
    """One of them as a document."""
    meta = {key: record[key] for key in _META if record.get(key) is not None}
    return Document(
        record["speechID"], record["speech"], meta | {"markup": "minutes", "order": record.get("speechOrder")}
    )


def join_meetings(speeches: Iterable[Document]) -> Iterator[Document]:
    """One document a meeting, of speeches that follow one another; pages may part a meeting anywhere.

    The id is the meeting's (speechID without its number). A speech that was fetched twice in a row counts once.
    """
    current: list[Document] = []
    for speech in speeches:
        if current and _meeting(current[-1]) != _meeting(speech):
            yield _joined(current)
            current = []
        if not current or current[-1].id != speech.id:
            current.append(speech)
    if current:
        yield _joined(current)


def _meeting(speech: Document) -> str:
    return speech.id.rsplit("_", 1)[0]


def _joined(speeches: list[Document]) -> Document:
    one_speaker = ("speaker", "speakerGroup", "order")
    meta = {key: value for key, value in speeches[0].meta.items() if key not in one_speaker}
    text = "\n".join(speech.text.strip("\r\n") for speech in speeches)
    return Document(_meeting(speeches[0]), text, meta | {"speeches": len(speeches)})
