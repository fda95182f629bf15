"""Articles of a MediaWiki site through its API (action=query, generator=allpages), for wikis that have no dumps.

Whatever the API says to continue with is sent back until it says nothing any more; serial requests with maxlag=5, gzip.
A page whose text was too long for one answer comes in a later one. For a whole Wikipedia take the dump instead.

Source: https://www.mediawiki.org/wiki/API:Etiquette, https://www.mediawiki.org/wiki/API:Continue
"""

from __future__ import annotations

import argparse
import collections
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urljoin

import orjson

from haigo.cli import HaigoError, Refused
from haigo.progress import Progress

from .. import wikitext
from ..sources import Document
from ..sources.mediawiki import is_redirect
from .card import About
from .http import Again, Client, NotServed, Reply
from .source import UNKNOWN_LICENCE, Limits, Source, today
from .state import Skipped, Store
from .wiki_pages import HOLES

_PAGES = 50
_SITE = {"name": str, "articles": str, "licence": str}
_WALK = {"continue?": {}, "open?": [int], "done?": str}
_BUSY = ("maxlag", "ratelimited", "readonly", "internal_api_error", "search-busy")


class MediaWikiApi(Source):
    """See the module.

    Args:
        url: of api.php.
        keep_wikitext: leave the markup for preprocess.clean to strip.
    """

    name = "mediawiki-api"
    summary = "articles of a MediaWiki site through its API"
    gap_s = 1.0

    def __init__(
        self, url: str, *, keep_wikitext: bool = False, licence: str | None = None, limits: Limits | None = None
    ) -> None:
        super().__init__(licence, limits)
        if not url.startswith(("http://", "https://")) or not url.split("?")[0].endswith(".php"):
            raise HaigoError(
                f"{url} is not the address of an api.php.", "give such as https://ja.wikinews.org/w/api.php"
            )
        self.url, self.keep_wikitext = url, keep_wikitext

    @staticmethod
    def add_options(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("url", metavar="API", help="such as https://ja.wikinews.org/w/api.php")
        parser.add_argument("--keep-wikitext", "--keep_wikitext", action="store_true", help="do not strip the markup")

    @classmethod
    def of(cls, args: argparse.Namespace, licence: str | None, limits: Limits) -> MediaWikiApi:
        return cls(args.url, keep_wikitext=args.keep_wikitext, licence=licence, limits=limits)

    def identity(self) -> dict[str, Any]:
        return {"source": self.name, "api": self.url, "keep_wikitext": self.keep_wikitext}

    def about(self, store: Store) -> About:
        site = store.get("site", _SITE) or {}
        return About(str(site.get("name") or "A MediaWiki site"), self.url, terms(str(site.get("licence"))))

    def plan(self) -> Iterator[str]:
        yield f"GET {self.url} {self._site()}"
        yield f"GET {self.url} {self._query({})}"
        yield f"... and on, {_PAGES} pages an answer, with what the answer says to continue with"

    def fetch(self, client: Client, store: Store) -> None:
        site = store.get("site", _SITE)
        if site is None:
            site = client.get(self.url, self._site(), read=lambda reply: _site_of(self._answer(client, reply)))
            store.commit(state={"site": site})
        walk = store.get("walk", _WALK) or {"continue": {}}
        fetched = today(client).isoformat()
        with Progress("articles", None, "articles") as progress:
            while not walk.get("done") and not self.limits.reached(store):
                answer = client.get(
                    self.url, self._query(walk.get("continue", {})), read=lambda reply: self._answer(client, reply)
                )
                onward = answer.get("continue")
                if onward is not None and onward == walk.get("continue"):
                    raise HaigoError(
                        f"{self.url} answers with the same place to continue at again and again.", "report it"
                    )
                skipped = Skipped()
                open_ids = set(walk.get("open", ()))
                documents = list(self._documents(answer, site, fetched, skipped, open_ids))
                # until the batch is complete, later answers may bring the missing texts of its pages
                if answer.get("batchcomplete") or onward is None:
                    skipped.note("page without text", count=len(open_ids))
                    open_ids = set()
                walk = {"continue": onward, "open": sorted(open_ids)} if onward else {"done": fetched}
                progress.update(store.commit(documents, {"walk": walk}, skipped))

    def _documents(
        self, answer: dict[str, Any], site: dict[str, Any], fetched: str, skipped: Skipped, open_ids: set[int]
    ) -> Iterator[Document]:
        for page in answer.get("query", {}).get("pages", ()):
            number, title = page.get("pageid"), page.get("title")
            if page.get("ns") != 0:
                raise Refused(
                    f"{self.url} gave {title} of namespace {page.get('ns')}.", "it does not heed gapnamespace"
                )
            if page.get("missing") or page.get("invalid") or not isinstance(number, int):
                continue
            revisions = page.get("revisions")
            if not revisions:
                open_ids.add(number)
                continue
            open_ids.discard(number)
            slot = revisions[0].get("slots", {}).get("main", {})
            text = slot.get("content")
            if slot.get("contentmodel", "wikitext") != "wikitext":
                skipped.note("page that is no wikitext", str(title))
            elif not isinstance(text, str):
                skipped.note("page without text", str(title))
            elif is_redirect(text):
                skipped.note("redirect", str(title))
            else:
                meta = {"title": title, "markup": "wikitext", "revision": revisions[0].get("revid")}
                meta["timestamp"] = revisions[0].get("timestamp")
                if not self.keep_wikitext:
                    lost: collections.Counter[str] = collections.Counter()
                    text, meta["markup"] = wikitext.strip(wikitext.titled(text, str(title)), lost), "plain"
                    skipped.note(HOLES, ", ".join(lost), count=lost.total())
                if not text.strip():
                    skipped.note("nothing but markup", str(title))
                    continue
                known = {key: value for key, value in meta.items() if value is not None}
                origin = site["articles"].replace("$1", quote(str(title).replace(" ", "_")))
                yield self.sign(Document(str(number), text, known), origin, site["licence"], fetched)

    def _answer(self, client: Client, reply: Reply) -> dict[str, Any]:
        if reply.status != 200:
            raise NotServed(reply.url, reply.status)
        try:
            answer = orjson.loads(reply.body)
        except orjson.JSONDecodeError:
            raise Again("not JSON") from None
        if not isinstance(answer, dict):
            raise Again("not an answer of the API")
        error = answer.get("error")
        if error is not None:
            code = str(error.get("code") if isinstance(error, dict) else error)
            if code.startswith(_BUSY):
                raise client.again_later(reply, f"the API is busy ({code})")
            said = error.get("info") if isinstance(error, dict) else ""
            raise HaigoError(f"{self.url} refuses: {code}: {said}", "check the address")
        if "query" not in answer and "batchcomplete" not in answer and "continue" not in answer:
            raise Again("not an answer of the API")
        if not _well_formed(answer):
            raise Again("an answer of another form than the API's")
        return answer

    def _site(self) -> dict[str, Any]:
        asked = {"action": "query", "meta": "siteinfo", "siprop": "general|rightsinfo"}
        return asked | {"format": "json", "formatversion": 2, "maxlag": 5}

    def _query(self, onward: dict[str, Any]) -> dict[str, Any]:
        pages = {"generator": "allpages", "gapnamespace": 0, "gapfilterredir": "nonredirects", "gaplimit": _PAGES}
        texts = {"prop": "revisions", "rvprop": "ids|timestamp|content", "rvslots": "main"}
        return {"action": "query", **pages, **texts, "format": "json", "formatversion": 2, "maxlag": 5, **onward}


def _well_formed(answer: dict[str, Any]) -> bool:
    """The parts that are looked into are what they should be, where they are there."""
    query = answer.get("query", {})
    if not isinstance(query, dict) or not isinstance(answer.get("continue", {}), dict):
        return False
    pages = query.get("pages", [])
    if not isinstance(pages, list) or not all(isinstance(page, dict) for page in pages):
        return False
    if not all(isinstance(query.get(name, {}), dict) for name in ("general", "rightsinfo")):
        return False
    for page in pages:
        revisions = page.get("revisions", [])
        if not isinstance(revisions, list) or not all(isinstance(one, dict) for one in revisions):
            return False
        slots = revisions[0].get("slots", {}) if revisions else {}
        if not isinstance(slots, dict) or not isinstance(slots.get("main", {}), dict):
            return False
    return True


def terms(licence: str) -> tuple[str, ...]:
    """Sentences for the card of a wiki's corpus."""
    return (
        f"The wiki says of its text: {licence}. Name the authors by linking the article (each document's origin).",
        "Share-alike licences ask that adaptations be shared under the same terms.",
        "Quotations inside articles keep their own authors' rights.",
    )


def _site_of(answer: dict[str, Any]) -> dict[str, Any]:
    query = answer.get("query", {})
    general, rights = query.get("general", {}), query.get("rightsinfo", {})
    if not isinstance(general.get("base"), str) or not isinstance(general.get("articlepath", ""), str):
        raise Again("no description of the site")
    licence = " ".join(str(rights[key]) for key in ("text", "url") if rights.get(key)) or UNKNOWN_LICENCE
    articles = urljoin(general["base"], general.get("articlepath") or "/wiki/$1")
    return {"name": str(general.get("sitename") or ""), "articles": articles, "licence": licence}
