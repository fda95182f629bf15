"""Minutes of the National Diet of Japan, from the search API of the National Diet Library (kokkai.ndl.go.jp).

Walked day by day, because results are ordered from the newest and shift while new minutes come in. What counts as done
is a day of which as many different records came as the API says there are. Every record is checked against the request:
the API ignores a condition it does not understand and answers with everything.

Source: https://kokkai.ndl.go.jp/api.html
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import io
from collections.abc import Iterator
from typing import Any

import orjson

from haigo.cli import Failed, HaigoError, Refused, nearest
from haigo.progress import Progress

from ..sources import Document
from ..sources import kokkai as reader
from ..sources.containers import Entry
from .card import About
from .http import Again, Client, NotServed, Reply, with_query
from .source import Limits, Source, date, today
from .state import Skipped, Store

BASE_URL = "https://kokkai.ndl.go.jp/api"
HOUSES = ("衆議院", "参議院", "両院", "両院協議会")
LICENCE = "Diet minutes: Article 40 of the Copyright Act of Japan for political speeches; others' words are their own"
_FIRST_DAY = datetime.date(1947, 5, 20)
_PAGE = {"speech": 100, "meeting": 10}
_LIST = {"speech": "speechRecord", "meeting": "meetingRecord"}
_KEY = {"speech": "speechID", "meeting": "issueID"}
_QUERY_BYTES = 2000
_DAY = {"asked?": str, "records?": int, "start?": int, "total?": (int, None), "ids?": [str]}
_RESTARTS = 5
# Minutes come weeks after the meeting: a day asked too early is asked again, once a week until it has settled.
_SETTLED_DAYS, _ASK_AGAIN_DAYS = 120, 7
_TERMS = (
    "Name the source: 国立国会図書館「国会会議録検索システム」 (https://kokkai.ndl.go.jp/).",
    "Political speeches may be used in any way but compiled by speaker (Copyright Act of Japan, Article 40). What others"
    " say there (expert witnesses, for one) belongs to them: commercial redistribution needs their leave.",
    "The minutes name living people. They are public record; think about it before a model is released.",
)


@dataclasses.dataclass
class _Walk:
    """Where the walk through one day stands."""

    start: int = 1
    total: int | None = None
    ids: set[str] = dataclasses.field(default_factory=set)

    def state(self) -> dict[str, Any]:
        return {"start": self.start, "total": self.total, "ids": sorted(self.ids)}


@dataclasses.dataclass(frozen=True)
class _Page:
    """One reply, checked."""

    total: int
    next: int | None
    records: list[dict[str, Any]]
    reply: Reply


class _Shifted(Exception):
    """The results changed while they were paged through: the day is walked again."""


class Kokkai(Source):
    """See the module.

    Args:
        first, last: days, both included.
        house, meeting, speaker, any_words, session: conditions of the API; None for all.
        endpoint: "speech" (100 speeches a page) or "meeting" (10 whole meetings a page, fewer requests).
        attendance: keep record 0 of a meeting, which lists who was there.
        base_url: of the API.
    """

    name = "kokkai"
    summary = "minutes of the National Diet of Japan (API of the National Diet Library)"
    gap_s = 3.0

    def __init__(
        self,
        first: datetime.date,
        last: datetime.date,
        *,
        house: str | None = None,
        meeting: str | None = None,
        speaker: str | None = None,
        any_words: str | None = None,
        session: int | None = None,
        endpoint: str = "speech",
        attendance: bool = False,
        base_url: str = BASE_URL,
        licence: str | None = None,
        limits: Limits | None = None,
    ) -> None:
        super().__init__(licence, limits)
        if house is not None and house not in HOUSES:
            raise HaigoError(f"there is no house '{house}'.{nearest(house, HOUSES)}", f"use one of {', '.join(HOUSES)}")
        if first > last:
            raise HaigoError(f"--from {first} is after --until {last}.", "exchange the two")
        if endpoint == "meeting" and (speaker or any_words):
            raise HaigoError(
                "--endpoint meeting gives whole meetings, so --speaker and --any would not hold for every speech.",
                "use --endpoint speech",
            )
        self.first, self.last = max(first, _FIRST_DAY), last
        self.house, self.meeting, self.speaker = house, meeting, speaker
        self.any_words, self.session = any_words, session
        self.endpoint, self.attendance, self.base_url = endpoint, attendance, base_url.rstrip("/")
        if len(self._url(self.first, 1).partition("?")[2]) > _QUERY_BYTES:
            raise HaigoError(f"the conditions are longer than the API takes ({_QUERY_BYTES} bytes).", "shorten them")

    @staticmethod
    def add_options(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--from", dest="first", required=True, metavar="DATE", help="first day, such as 2024-01-01")
        parser.add_argument("--until", dest="last", metavar="DATE", help="last day (default: today)")
        parser.add_argument("--house", help=f"only this house: {', '.join(HOUSES)}")
        parser.add_argument("--meeting", help="only meetings whose name holds this (blank: or)")
        parser.add_argument("--speaker", help="only speakers whose name holds this (blank: or)")
        parser.add_argument("--any", dest="any_words", help="only speeches with these words (blank: and)")
        parser.add_argument("--session", type=int, help="only this session of the Diet")
        parser.add_argument("--endpoint", choices=tuple(_PAGE), default="speech", help="which form is asked for")
        parser.add_argument("--attendance", action="store_true", help="keep the attendance lists")
        parser.add_argument("--base-url", "--base_url", default=BASE_URL, help="of the API (default: %(default)s)")

    @classmethod
    def of(cls, args: argparse.Namespace, licence: str | None, limits: Limits) -> Kokkai:
        last = date(args.last) if args.last else datetime.datetime.now(datetime.UTC).date()
        return cls(
            date(args.first),
            last,
            house=args.house,
            meeting=args.meeting,
            speaker=args.speaker,
            any_words=args.any_words,
            session=args.session,
            endpoint=args.endpoint,
            attendance=args.attendance,
            base_url=args.base_url,
            licence=licence,
            limits=limits,
        )

    def identity(self) -> dict[str, Any]:
        return {
            "source": self.name,
            "house": self.house,
            "meeting": self.meeting,
            "speaker": self.speaker,
            "any": self.any_words,
            "session": self.session,
            "attendance": self.attendance,
            "base_url": self.base_url,
        }

    def about(self, store: Store) -> About:
        return About("Minutes of the National Diet of Japan", self.base_url, _TERMS)

    def plan(self) -> Iterator[str]:
        count = (self.last - self.first).days + 1
        for number in range(count):
            if number < 3 or number == count - 1:
                yield f"GET {self._url(self.first + datetime.timedelta(number), 1)}"
            elif number == 3:
                yield f"... one for each of {count:,} days, and one more for every {_PAGE[self.endpoint]} records of a day"

    def fetch(self, client: Client, store: Store) -> None:
        count = (self.last - self.first).days + 1
        with Progress("days of minutes", count, "days") as progress:
            for number in range(count):
                if self.limits.reached(store):
                    return
                day = self.first + datetime.timedelta(number)
                if self._is_due(store.get(f"day {day}", _DAY), day, today(client)):
                    self._day(client, store, day)
                progress.update(detail=f"{day}, {store.documents:,} speeches")

    def _is_due(self, state: dict[str, Any] | None, day: datetime.date, now: datetime.date) -> bool:
        if state is None or "asked" not in state:
            return True
        asked = date(state["asked"])
        return (asked - day).days < _SETTLED_DAYS and (now - asked).days >= _ASK_AGAIN_DAYS

    def _day(self, client: Client, store: Store, day: datetime.date) -> None:
        state = store.get(f"day {day}", _DAY) or {}
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
        while True:

            def read(reply: Reply) -> _Page:
                return self._checked(client, reply, day, walk)

            page = client.get(self._url(day, walk.start), read=read)
            ids = {str(record.get(_KEY[self.endpoint])) for record in page.records}
            if len(ids) < len(page.records) or ids & walk.ids:
                raise _Shifted
            walk.total, walk.ids = page.total, walk.ids | ids
            done = page.next is None
            if done and len(walk.ids) != page.total:
                raise _Shifted
            walk.start = page.next or 0
            skipped = Skipped()
            documents = list(self._documents(page, skipped, fetched))
            state = {"asked": fetched, "records": page.total} if done else walk.state()
            store.commit(documents, {f"day {day}": state}, skipped)
            if done:
                return

    def _documents(self, page: _Page, skipped: Skipped, fetched: str) -> Iterator[Document]:
        name = page.reply.url
        entry = Entry(name, name, io.BufferedReader(io.BytesIO(page.reply.body)))
        for document in reader.read(entry, attendance=True):
            if document.meta.get("order") == 0 and not self.attendance:
                skipped.note("attendance list", document.id)
                continue
            if not document.text.strip():
                skipped.note("empty speech", document.id)
                continue
            place = document.meta.get("meetingURL")
            origin = f"{place}/{document.meta.get('order')}" if place else name
            yield self.sign(document, origin, LICENCE, fetched)

    def _checked(self, client: Client, reply: Reply, day: datetime.date, walk: _Walk) -> _Page:
        page = self._parsed(client, reply)
        records = page.get(_LIST[self.endpoint]) or []
        total, start, following = (page.get(key) for key in ("numberOfRecords", "startRecord", "nextRecordPosition"))
        if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
            raise Again("a reply without records")
        if not isinstance(total, int) or page.get("numberOfReturn") != len(records):
            raise Again("a reply whose figures do not agree")
        if walk.total is not None and total != walk.total:
            raise _Shifted
        if total == 0 and not records:
            return _Page(0, None, [], reply)
        if not records:
            raise Again("an empty page")
        ids = {str(record.get(_KEY[self.endpoint])) for record in records}
        if start != walk.start or (walk.ids and ids <= walk.ids):
            raise Again("a page that came before")
        if following is not None and (not isinstance(following, int) or following != start + len(records)):
            raise Again("a reply whose figures do not agree")
        for record in records:
            if not self._has_fields(record):
                raise Again("records without the API's fields")
            self._require(record, day, reply.url)
        return _Page(total, following, records, reply)

    def _parsed(self, client: Client, reply: Reply) -> dict[str, Any]:
        if reply.body.lstrip()[:1] == b"<":
            if reply.status not in (200, 400):
                raise NotServed(reply.url, reply.status)
            raise Again("XML or HTML instead of JSON")
        try:
            page = orjson.loads(reply.body)
        except orjson.JSONDecodeError:
            if reply.status not in (200, 400):
                raise NotServed(reply.url, reply.status) from None
            raise Again("not JSON") from None
        if isinstance(page, dict) and "message" in page and "numberOfRecords" not in page:
            details = page.get("details")
            said = " ".join(map(str, [page["message"], *(details if isinstance(details, list) else [])]))
            if "19001" in said:
                raise client.again_later(reply, "the API is busy (19001)")
            if "19004" in said:  # fewer records than there were
                raise _Shifted
            raise HaigoError(f"the API refuses {reply.url}: {said}", "change the conditions")
        if reply.status == 400:
            raise Again("HTTP 400")
        if reply.status != 200:
            raise NotServed(reply.url, reply.status)
        if not isinstance(page, dict):
            raise Again("not a reply of the API")
        return page

    def _has_fields(self, record: dict[str, Any]) -> bool:
        speeches = [record] if self.endpoint == "speech" else record.get("speechRecord")
        return (
            isinstance(record.get(_KEY[self.endpoint]), str)
            and isinstance(speeches, list)
            and all(
                isinstance(one, dict) and isinstance(one.get("speechID"), str) and isinstance(one.get("speech"), str)
                for one in speeches
            )
        )

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
            "maximumRecords": _PAGE[self.endpoint],
            "recordPacking": "json",
        }
        given = {key: value for key, value in wanted.items() if value is not None}
        return with_query(f"{self.base_url}/{self.endpoint}", given)
