"""News feeds, asked again as often as you like: a feed gives its newest entries and has no pages, so run this daily.

Each feed is asked with the ETag and date of its last answer (conditional GET), entries are told by their guid, and
robots.txt is obeyed. A document is what the publisher put into the feed, mostly a headline and a summary: article pages
are not fetched, and nearly all are under full copyright.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from typing import Any
from urllib.parse import urljoin

from haigo import files, redact
from haigo.cli import HaigoError
from haigo.progress import Progress

from ..sources import Document
from . import feed_parse
from .card import About
from .http import Again, Client, NotServed, Reply
from .source import Limits, Source, today
from .state import Skipped, Store

RIGHTS_RESERVED = "all rights reserved, unless the publisher says otherwise"
_FEED_BYTES = 16 << 20
_NOT_SOONER_S = 600  # a killed run, started again, does not ask the feeds again that it had
_STATE = {"asked?": float, "etag?": (str, None), "modified?": (str, None)}
_SELF_NAMED = re.compile(r"(?:https?|tag|urn):", re.IGNORECASE)


class Feeds(Source):
    """See the module.

    Args:
        urls: of the feeds.
    """

    name = "feeds"
    summary = "news feeds: RSS 2.0, RSS 1.0 (RDF), Atom"
    gap_s = 2.0
    obey_robots = True

    def __init__(self, urls: list[str], *, licence: str | None = None, limits: Limits | None = None) -> None:
        super().__init__(licence, limits)
        self.urls = list(dict.fromkeys(urls))
        if not self.urls:
            raise HaigoError("no feed is named.", "give addresses of feeds, or a file of them with --list")

    @staticmethod
    def add_options(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("urls", nargs="*", metavar="URL", help="addresses of feeds")
        parser.add_argument("--list", metavar="FILE", help="a file with an address a line (# begins a comment)")

    @classmethod
    def of(cls, args: argparse.Namespace, licence: str | None, limits: Limits) -> Feeds:
        return cls([*args.urls, *listed(args.list)], licence=licence, limits=limits)

    def identity(self) -> dict[str, Any]:
        return {"source": self.name}

    def about(self, store: Store) -> About:
        return About(
            "Entries of news feeds",
            ", ".join(self.urls[:20]) + (f" and {len(self.urls) - 20} more" if len(self.urls) > 20 else ""),
            (
                "News is its publishers': most feeds allow reading, not republishing. Text and data mining may be allowed"
                " by law where you are (Japan: Article 30-4 of the Copyright Act); giving the text on is another matter.",
            ),
        )

    def plan(self) -> Iterator[str]:
        for url in self.urls:
            yield f"GET {url}  (after its site's robots.txt; with ETag and date of the last answer)"

    def fetch(self, client: Client, store: Store) -> None:
        with Progress("feeds", len(self.urls), "feeds") as progress:
            for url in self.urls:
                if self.limits.reached(store):
                    return
                state = store.get(f"feed {redact.urls(url)}", _STATE) or {}
                if client.clock.time() - state.get("asked", 0) >= _NOT_SOONER_S:
                    self._feed(client, store, url, state)
                progress.update(detail=f"{store.documents:,} entries")

    def _feed(self, client: Client, store: Store, url: str, state: dict[str, Any]) -> None:
        headers = {"Accept": "application/rss+xml, application/atom+xml, application/xml;q=0.9, */*;q=0.5"}
        if state.get("etag"):
            headers["If-None-Match"] = state["etag"]
        if state.get("modified"):
            headers["If-Modified-Since"] = state["modified"]

        before = b""

        def read(reply: Reply) -> tuple[Reply, feed_parse.Feed | None]:
            nonlocal before
            if reply.status == 304:
                return reply, None
            if reply.status != 200:
                raise NotServed(url, reply.status)
            charset = re.search(r"charset\s*=\s*([^;\s]+)", reply.headers.get("Content-Type", ""), re.IGNORECASE)
            try:
                return reply, feed_parse.parse(reply.body, url, charset[1] if charset else None)
            except feed_parse.CutShort as error:
                known = "Content-Length" in reply.headers or "Transfer-Encoding" in reply.headers
                if known or reply.body == before:
                    raise
                # may have been cut on its way, by a server that does not say how long it is
                before = reply.body
                raise Again(f"no feed: {error.problem}") from None

        try:
            reply, feed = client.get(url, read=read, headers=headers, max_bytes=_FEED_BYTES)
        except HaigoError as error:
            self.trouble.append(error.problem)
            skipped = Skipped()
            skipped.note("feed that could not be read", f"{url}: {error.problem}")
            store.commit(skipped=skipped)
            return
        now = {
            "asked": client.clock.time(),
            "etag": reply.headers.get("ETag") or state.get("etag"),
            "modified": reply.headers.get("Last-Modified") or state.get("modified"),
        }
        if feed is None:
            store.commit(state={f"feed {redact.urls(url)}": now})
            return
        if feed.mended:
            print(
                f"haigo: {url} is not well-formed XML ({feed.mended} places), and is read all the same.",
                file=sys.stderr,
            )
        skipped = Skipped()
        documents = list(self._documents(feed, url, today(client).isoformat(), skipped))
        store.commit(documents, {f"feed {redact.urls(url)}": now}, skipped)

    def _documents(self, feed: feed_parse.Feed, url: str, fetched: str, skipped: Skipped) -> Iterator[Document]:
        for item in feed.items:
            link = urljoin(url, item.link) if item.link else ""
            name = item.id or link
            if not name:
                name = f"{item.title} {item.date}".strip()
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


def listed(path: str | None) -> list[str]:
    """The addresses in a file, one a line.

    Raises:
        HaigoError: the file is missing, not text, or holds no address.
    """
    if path is None:
        return []
    lines = files.read_text(path, "give a file with an address a line").splitlines()
    found = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    if not found:
        raise HaigoError(f"{path} holds no address.", "write an address a line")
    return found
