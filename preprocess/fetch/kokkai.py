"""Minutes of the National Diet of Japan, from the search API of the National Diet Library (kokkai.ndl.go.jp).

Walked day by day, because results are ordered from the newest and shift while new minutes come in. What counts as done
is a day of which as many different records came as the API says there are. Every record is checked against the request:
the API ignores a condition it does not understand and answers with everything.

Source: https://kokkai.ndl.go.jp/api.html
"""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Iterator
from typing import Any, NamedTuple

import orjson

from haigo import shapes
from haigo.cli import Failed, HaigoError, Refused, nearest
from haigo.options import option

from ..sources import Document
from ..sources import kokkai as reader
from .card import About
from .client import Client, with_query
from .replies import Again, NotServed, Reply
from .source import Source, date, today
from .state import Skipped, Store

BASE_URL = "https://kokkai.ndl.go.jp/api"
HOUSES = ("衆議院", "参議院", "両院", "両院協議会")
LICENCE = "Diet minutes: Article 40 of the Copyright Act of Japan for political speeches; others' words are their own"
_FIRST_DAY = datetime.date(1947, 5, 20)
_QUERY_BYTES = 2000
_DAY = {"asked?": str, "records?": int, "start?": int, "total?": (int, None), "ids?": [str]}
_FIGURES = {"numberOfRecords": int, "numberOfReturn": int, "startRecord?": object, "nextRecordPosition?": (int, None)}
_SPEECH = {"speechID": str, "speech": object}
_RESTARTS = 5
# Minutes come weeks after the meeting: a day asked too early is asked again, once a week until it has settled.
_SETTLED_DAYS, _ASK_AGAIN_DAYS = 120, 7
_TERMS = (
    "Name the source: 国立国会図書館「国会会議録検索システム」 (https://kokkai.ndl.go.jp/).",
    "Political speeches may be used in any way but compiled by speaker (Copyright Act of Japan, Article 40). What others"
    " say there (expert witnesses, for one) belongs to them: commercial redistribution needs their leave.",
    "The minutes name living people. They are public record; think about it before a model is released.",
)


class _Form(NamedTuple):
    """One of the API's endpoints."""

    most: int
    """Records of an answer."""
    records: str
    key: str
    like: dict[str, Any]


_FORMS = {
    "speech": _Form(100, "speechRecord", "speechID", _SPEECH),
    "meeting": _Form(10, "meetingRecord", "issueID", {"issueID": str, "speechRecord": [_SPEECH]}),
}


@dataclasses.dataclass
class _Walk:
    """Where the walk through one day stands."""

    start: int = 1
    total: int | None = None
    ids: set[str] = dataclasses.field(default_factory=set)


@dataclasses.dataclass(frozen=True)
class _Page:
    """One reply, checked."""

    total: int
    next: int | None
    ids: list[str]
    speeches: list[dict[str, Any]]
    url: str


class _Shifted(Exception):
    """The results changed while they were paged through: the day is walked again."""


@dataclasses.dataclass
class Kokkai(Source):
    """Minutes of the National Diet of Japan (API of the National Diet Library), of the days that are named."""

    name = "kokkai"
    gap_s = 3.0
    conditions = ("house", "meeting", "speaker", "session", "attendance", "base_url")

    first: datetime.date = option("first day, such as 2024-01-01", flags=("--from",), parse=date, metavar="DATE")
    last: datetime.date | None = option(
        "last day (default: today)", None, flags=("--until",), parse=date, metavar="DATE"
    )
    house: str | None = option(f"only this house: {', '.join(HOUSES)}", None)
    meeting: str | None = option("only meetings whose name holds this (blank: or)", None)
    speaker: str | None = option("only speakers whose name holds this (blank: or)", None)
    any_words: str | None = option("only speeches with these words (blank: and)", None, flags=("--any",))
    session: int | None = option("only this session of the Diet", None)
    endpoint: str = option("which form is asked for", "speech", among=tuple(_FORMS))
    attendance: bool = option("keep the attendance lists", False)
    base_url: str = option("of the API", BASE_URL)

    def __post_init__(self) -> None:
        super().__post_init__()
        house, self.base_url, self._form = self.house, self.base_url.rstrip("/"), _FORMS[self.endpoint]
        if house is not None and house not in HOUSES:
            raise HaigoError(f"there is no house '{house}'.{nearest(house, HOUSES)}", f"use one of {', '.join(HOUSES)}")
        last = self.last or datetime.datetime.now(datetime.UTC).date()
        if self.first > last:
            raise HaigoError(f"--from {self.first} is after --until {last}.", "exchange the two")
        self.first = max(self.first, _FIRST_DAY)
        self._days = [self.first + datetime.timedelta(number) for number in range((last - self.first).days + 1)]
        if self.endpoint == "meeting" and (self.speaker or self.any_words):
            raise HaigoError(
                "--endpoint meeting gives whole meetings, so --speaker and --any would not hold for every speech.",
                "use --endpoint speech",
            )
        if len(self._url(self.first, 1).partition("?")[2]) > _QUERY_BYTES:
            raise HaigoError(f"the conditions are longer than the API takes ({_QUERY_BYTES} bytes).", "shorten them")

    def identity(self) -> dict[str, Any]:
        return super().identity() | {"any": self.any_words}

    def about(self, store: Store) -> About:
        return About("Minutes of the National Diet of Japan", self.base_url, _TERMS)

    def plan(self) -> Iterator[str]:
        for number, day in enumerate(self._days):
            if number < 3 or day == self._days[-1]:
                yield f"GET {self._url(day, 1)}"
            elif number == 3:
                yield f"... one for each of {len(self._days):,} days, and one more for every {self._form.most} records of a day"

    def fetch(self, client: Client, store: Store) -> None:
        for day in self.each(store, self._days, "days"):
            self._day(client, store, day)

    def _day(self, client: Client, store: Store, day: datetime.date) -> None:
        state = store.get(f"day {day}", _DAY) or {}
        if "asked" in state:
            asked = date(state["asked"])
            if (asked - day).days >= _SETTLED_DAYS or (today(client) - asked).days < _ASK_AGAIN_DAYS:
                return
        walk = _Walk()
        if {"ids", "start", "total"} <= set(state):  # killed on the way
            walk = _Walk(state["start"], state["total"], set(state["ids"]))
        for _ in range(_RESTARTS + 1):
            try:
                self._pages(client, store, day, walk)
                return
            except _Shifted:
                walk = _Walk()
        raise Failed(
            f"the minutes of {day} changed {_RESTARTS + 1} times while they were being read.",
            "run the same command again later: what was fetched is kept",
        )

    def _pages(self, client: Client, store: Store, day: datetime.date, walk: _Walk) -> None:
        fetched = today(client).isoformat()
        done = False
        while not done:
            page = client.get(self._url(day, walk.start), read=lambda reply: self._checked(client, reply, day, walk))
            ids = set(page.ids)
            if len(ids) < len(page.ids) or ids & walk.ids:
                raise _Shifted
            walk.total, walk.ids = page.total, walk.ids | ids
            done = page.next is None
            if done and len(walk.ids) != page.total:
                raise _Shifted
            walk.start = page.next or 0
            documents = list(self._documents(page, store.left_out, fetched))
            on_the_way = {"start": walk.start, "total": walk.total, "ids": sorted(walk.ids)}
            state = {"asked": fetched, "records": page.total} if done else on_the_way
            store.commit(documents, {f"day {day}": state})

    def _documents(self, page: _Page, skipped: Skipped, fetched: str) -> Iterator[Document]:
        for document in map(reader.speech, page.speeches):
            if document.meta.get("order") == 0 and not self.attendance:
                skipped.note("attendance list", document.id)
                continue
            if not document.text.strip():
                skipped.note("empty speech", document.id)
                continue
            minutes = document.meta.get("meetingURL")
            origin = f"{minutes}/{document.meta.get('order')}" if minutes else page.url
            yield self.sign(document, origin, LICENCE, fetched)

    def _checked(self, client: Client, reply: Reply, day: datetime.date, walk: _Walk) -> _Page:
        page = self._parsed(client, reply)
        records = page.get(self._form.records) or []
        if wrong := shapes.unlike(page, _FIGURES) or shapes.unlike(records, [self._form.like]):
            raise Again(f"a reply without the API's fields ({wrong})")
        speeches = [one for record in records for one in (record.get("speechRecord") or [record])]
        if not all(isinstance(one.get("speech"), str) for one in speeches):
            raise Again("a speech that is no text")
        total, following = page["numberOfRecords"], page.get("nextRecordPosition")
        if page["numberOfReturn"] != len(records) or following not in (None, walk.start + len(records)):
            raise Again("a reply whose figures do not agree")
        if walk.total is not None and total != walk.total:
            raise _Shifted
        ids = [record[self._form.key] for record in records]
        if records and (page.get("startRecord") != walk.start or (walk.ids and walk.ids.issuperset(ids))):
            raise Again("a page that came before")
        if not records and total:
            raise Again("an empty page")
        for record in records:
            self._require(record, day, reply.url)
        return _Page(total, following, ids, list(reader.records({self._form.records: records})), reply.url)

    def _parsed(self, client: Client, reply: Reply) -> dict[str, Any]:
        try:
            page = orjson.loads(reply.body)
        except orjson.JSONDecodeError:
            page = None
        if isinstance(page, dict) and "message" in page and "numberOfRecords" not in page:
            details = page.get("details")
            said = " ".join(map(str, [page["message"], *(details if isinstance(details, list) else [])]))
            if "19001" in said:
                raise client.busy(reply, "the API is busy (19001)")
            if "19004" in said:  # fewer records than there were
                raise _Shifted
            raise HaigoError(f"the API refuses {reply.url}: {said}", "change the conditions")
        if reply.status not in (200, 400):
            raise NotServed(reply.url, reply.status)
        if reply.status == 400:
            raise Again("HTTP 400")
        if not isinstance(page, dict):
            raise Again("not JSON" if page is None else "not a reply of the API")
        return page

    def _require(self, record: dict[str, Any], day: datetime.date, url: str) -> None:
        """The record must be one that was asked for."""
        house, meeting = str(record.get("nameOfHouse")), str(record.get("nameOfMeeting"))
        wrong = None
        if record.get("date") != day.isoformat():
            wrong = f"from and until ({record.get('date')} came for {day})"
        elif self.house and house != self.house and not (self.house[:2] == "両院" == house[:2]):
            wrong = f"nameOfHouse ({house} came for {self.house})"
        elif self.meeting and not any(part in meeting for part in self.meeting.split()):
            wrong = f"nameOfMeeting ({meeting} came for {self.meeting})"
        elif self.session is not None and record.get("session") != self.session:
            wrong = f"sessionFrom and sessionTo ({record.get('session')} came for {self.session})"
        if wrong:
            raise Refused(f"the API ignored {wrong}: {url}", "correct the condition; nothing of that page was kept")

    def _url(self, day: datetime.date, start: int) -> str:
        wanted = {
            "from": day.isoformat(),
            "until": day.isoformat(),
            "nameOfHouse": self.house,
            "nameOfMeeting": self.meeting,
            "speaker": self.speaker,
            "any": self.any_words,
            "sessionFrom": self.session,
            "sessionTo": self.session,
            "startRecord": start,
            "maximumRecords": self._form.most,
            "recordPacking": "json",
        }
        given = {key: value for key, value in wanted.items() if value is not None}
        return with_query(f"{self.base_url}/{self.endpoint}", given)
