"""Articles of a MediaWiki site through its API (action=query, generator=allpages), for wikis that have no dumps.

Whatever the API says to continue with is sent back until it says nothing any more; serial requests with maxlag=5, gzip.
A page whose text was too long for one answer comes in a later one. For a whole Wikipedia take the dump instead.

Source: https://www.mediawiki.org/wiki/API:Etiquette, https://www.mediawiki.org/wiki/API:Continue
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urljoin

from haigo import shapes
from haigo.cli import HaigoError, Refused
from haigo.options import option
from haigo.progress import Progress

from ..sources import Document
from ..sources.mediawiki import is_redirect
from .card import About
from .client import Client
from .replies import Again, Reply, parsed
from .source import UNKNOWN_LICENCE, Source, today
from .state import Skipped, Store
from .wiki_pages import HOLES, stripped, terms

_CIRCLE = 1000  # answers among which no place to continue at comes twice
_PAGES = 50
_SITE = {"name": str, "articles": str, "licence": str}
_WALK = {"continue?": {}, "open?": [int], "done?": str}
_BUSY = ("maxlag", "ratelimited", "readonly", "internal_api_error", "search-busy")
_QUERY = {"action": "query", "format": "json", "formatversion": 2, "maxlag": 5}
_SITE_INFO = _QUERY | {"meta": "siteinfo", "siprop": "general|rightsinfo"}
_ARTICLES = _QUERY | {
    "generator": "allpages",
    "gapnamespace": 0,
    "gapfilterredir": "nonredirects",
    "gaplimit": _PAGES,
    "prop": "revisions",
    "rvprop": "ids|timestamp|content",
    "rvslots": "main",
}
_PAGE: dict[str, Any] = {"revisions?": [{"slots?": {"main?": {}}}]}
_ANSWER = {"query?": {"pages?": [_PAGE], "general?": {}, "rightsinfo?": {}}, "continue?": {}}


@dataclasses.dataclass
class MediaWikiApi(Source):
    """Articles of a MediaWiki site through its API."""

    name = "mediawiki-api"
    gap_s = 1.0

    url: str = option("such as https://ja.wikinews.org/w/api.php", positional=True, metavar="API")
    keep_wikitext: bool = option("do not strip the markup", False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.url.startswith(("http://", "https://")) or not self.url.split("?")[0].endswith(".php"):
            raise HaigoError(
                f"{self.url} is not the address of an api.php.", "give such as https://ja.wikinews.org/w/api.php"
            )

    def identity(self) -> dict[str, Any]:
        return {"source": self.name, "api": self.url, "keep_wikitext": self.keep_wikitext}

    def about(self, store: Store) -> About:
        site = store.get("site", _SITE) or {}
        return About(str(site.get("name") or "A MediaWiki site"), self.url, terms(str(site.get("licence"))))

    def plan(self) -> Iterator[str]:
        yield f"GET {self.url} {_SITE_INFO}"
        yield f"GET {self.url} {_ARTICLES}"
        yield f"... and on, {_PAGES} pages an answer, with what the answer says to continue with"

    def fetch(self, client: Client, store: Store) -> None:
        site = store.get("site", _SITE)
        if site is None:
            site = client.get(self.url, _SITE_INFO, read=lambda reply: _site_of(self._answer(client, reply)))
            store.commit(state={"site": site})
        walk = store.get("walk", _WALK) or {"continue": {}}
        fetched, been = today(client).isoformat(), collections.deque([walk.get("continue")], _CIRCLE)
        with Progress("articles", None, "articles") as progress:
            while not walk.get("done") and not self.reached(store):
                query = _ARTICLES | walk.get("continue", {})
                answer = client.get(self.url, query, read=lambda reply: self._answer(client, reply))
                onward = answer.get("continue")
                if onward is not None and onward in been:
                    raise HaigoError(
                        f"{self.url} answers with the same place to continue at again and again.", "report it"
                    )
                been.append(onward)
                open_ids = set(walk.get("open", ()))
                documents = list(self._documents(answer, site, fetched, store.left_out, open_ids))
                # until the batch is complete, later answers may bring the missing texts of its pages
                if answer.get("batchcomplete") or onward is None:
                    store.left_out.note("page without text", count=len(open_ids))
                    open_ids = set()
                walk = {"continue": onward, "open": sorted(open_ids)} if onward else {"done": fetched}
                progress.update(store.commit(documents, {"walk": walk}))

    def _documents(
        self, answer: dict[str, Any], site: dict[str, Any], fetched: str, skipped: Skipped, open_ids: set[int]
    ) -> Iterator[Document]:
        for page in answer.get("query", {}).get("pages", ()):
            number, title = page.get("pageid"), str(page.get("title"))
            if page.get("ns") != 0:
                raise Refused(
                    f"{self.url} gave {title} of namespace {page.get('ns')}.", "it does not heed gapnamespace"
                )
            if page.get("missing") or page.get("invalid") or not isinstance(number, int):
                continue
            if not page.get("revisions"):
                open_ids.add(number)
                continue
            open_ids.discard(number)
            revision = page["revisions"][0]
            slot = revision.get("slots", {}).get("main", {})
            text = slot.get("content")
            reason = None
            if slot.get("contentmodel", "wikitext") != "wikitext":
                reason = "page that is no wikitext"
            elif not isinstance(text, str):
                reason = "page without text"
            elif is_redirect(text):
                reason = "redirect"
            else:
                facts = {"revision": revision.get("revid"), "timestamp": revision.get("timestamp")}
                meta = {"title": title, "markup": "wikitext"}
                meta |= {key: value for key, value in facts.items() if value is not None}
                lost: collections.Counter[str] = collections.Counter()
                document = stripped(Document(str(number), text, meta), lost, not self.keep_wikitext)
                skipped.note(HOLES, ", ".join(lost), count=lost.total())
                if document is not None:
                    origin = site["articles"].replace("$1", quote(title.replace(" ", "_")))
                    yield self.sign(document, origin, site["licence"], fetched)
                    continue
                reason = "nothing but markup"
            skipped.note(reason, title)

    def _answer(self, client: Client, reply: Reply) -> dict[str, Any]:
        answer: dict[str, Any] = parsed(reply, {})
        error = answer.get("error")
        if error is not None:
            error = error if isinstance(error, dict) else {"code": error}
            code = str(error.get("code"))
            if code.startswith(_BUSY):
                raise client.busy(reply, f"the API is busy ({code})")
            raise HaigoError(f"{self.url} refuses: {code}: {error.get('info', '')}", "check the address")
        if not {"query", "batchcomplete", "continue"} & set(answer):
            raise Again("not an answer of the API")
        if wrong := shapes.unlike(answer, _ANSWER):
            raise Again(f"an answer of another form than the API's ({wrong})")
        return answer


def _site_of(answer: dict[str, Any]) -> dict[str, Any]:
    query = answer.get("query", {})
    general, rights = query.get("general", {}), query.get("rightsinfo", {})
    if not isinstance(general.get("base"), str) or not isinstance(general.get("articlepath", ""), str):
        raise Again("no description of the site")
    licence = " ".join(str(rights[key]) for key in ("text", "url") if rights.get(key)) or UNKNOWN_LICENCE
    articles = urljoin(general["base"], general.get("articlepath") or "/wiki/$1")
    return {"name": str(general.get("sitename") or ""), "articles": articles, "licence": licence}
