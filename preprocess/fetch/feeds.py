"""News feeds, asked again as often as you like: a feed gives its newest entries and has no pages, so run this daily.

Each feed is asked with the ETag and date of its last answer (conditional GET), entries are told by their guid, and
robots.txt is obeyed. A document is what the publisher put into the feed, mostly a headline and a summary: article pages
are not fetched, and nearly all are under full copyright.
"""

from __future__ import annotations

import dataclasses
import re
import sys
from collections.abc import Callable, Iterator
from urllib.parse import urljoin

from haigo import redact
from haigo.cli import HaigoError

from ..sources import Document
from . import feed_parse
from .addresses import Addresses, several
from .card import About
from .client import Client
from .replies import Again, Reply, ok
from .source import today
from .state import Skipped, Store

RIGHTS_RESERVED = "all rights reserved, unless the publisher says otherwise"
_FEED_BYTES = 16 << 20
_NOT_SOONER_S = 600  # a killed run, started again, does not ask the feeds again that it had
_STATE = {"asked?": float, "etag?": (str, None), "modified?": (str, None)}
_SELF_NAMED = re.compile(r"(?:https?|tag|urn):", re.IGNORECASE)


@dataclasses.dataclass
class Feeds(Addresses):
    """News feeds: RSS 2.0, RSS 1.0 (RDF), Atom."""

    name = "feeds"
    noun = "feed"

    def about(self, store: Store) -> About:
        terms = (
            "News is its publishers': most feeds allow reading, not republishing. Text and data mining may be allowed"
            " by law where you are (Japan: Article 30-4 of the Copyright Act); giving the text on is another matter.",
        )
        return About("Entries of news feeds", several(self.urls), terms)

    def one(self, client: Client, store: Store, url: str) -> None:
        unit = f"feed {redact.urls(url)}"
        state = store.get(unit, _STATE) or {}
        if client.clock.time() - state.get("asked", 0) < _NOT_SOONER_S:
            return
        headers = {
            "Accept": "application/rss+xml, application/atom+xml, application/xml;q=0.9, */*;q=0.5",
            "If-None-Match": state.get("etag"),
            "If-Modified-Since": state.get("modified"),
        }
        sent = {name: value for name, value in headers.items() if value}
        documents = []
        try:
            reply, feed = client.get(url, read=_reader(url), headers=sent, max_bytes=_FEED_BYTES)
        except HaigoError as error:
            self.trouble.append(error.problem)
            store.left_out.note("feed that could not be read", f"{url}: {error.problem}")
            store.commit()
            return
        if feed is not None:
            documents = list(self._documents(feed, url, today(client).isoformat(), store.left_out))
            if feed.repaired:
                line = f"haigo: {url} is not well-formed XML ({feed.repaired} places), and is read all the same."
                print(line, file=sys.stderr)
        now = {
            "asked": client.clock.time(),
            "etag": reply.headers.get("ETag") or state.get("etag"),
            "modified": reply.headers.get("Last-Modified") or state.get("modified"),
        }
        store.commit(documents, {unit: now})

    def _documents(self, feed: feed_parse.Feed, url: str, fetched: str, skipped: Skipped) -> Iterator[Document]:
        for item in feed.items:
            link = urljoin(url, item.link) if item.link else ""
            name = item.id or link or f"{item.title} {item.date}".strip()
            text = item.text if item.text.startswith(item.title) else f"{item.title}\n\n{item.text}".strip()
            if not name or not text:
                skipped.note("entry without text", link or url)
                continue
            if "\ufffd" in text:
                skipped.note("entry with damaged characters", link or url)
                continue
            # a guid such as "123" is its feed's own
            key = name if _SELF_NAMED.match(name) else f"{url}#{name}"
            meta = {
                "title": item.title,
                "date": item.date,
                "author": item.author,
                "feed": url,
                "feed_title": feed.title,
            }
            document = Document(key, text, {key: value for key, value in meta.items() if value})
            yield self.sign(document, link or url, feed.licence or RIGHTS_RESERVED, fetched)


def _reader(url: str) -> Callable[[Reply], tuple[Reply, feed_parse.Feed | None]]:
    """For `Client.get`: a reply and its feed; None for one that did not change."""
    before = b""

    def read(reply: Reply) -> tuple[Reply, feed_parse.Feed | None]:
        nonlocal before
        if reply.status == 304:
            return reply, None
        charset = re.search(r"charset\s*=\s*([^;\s]+)", reply.headers.get("Content-Type", ""), re.IGNORECASE)
        try:
            return reply, feed_parse.parse(ok(reply).body, url, charset[1] if charset else None)
        except feed_parse.CutShort as error:
            known = "Content-Length" in reply.headers or "Transfer-Encoding" in reply.headers
            if known or reply.body == before:
                raise
            # may have been cut on its way, by a server that does not say how long it is
            before = reply.body
            raise Again(f"no feed: {error.problem}") from None

    return read
