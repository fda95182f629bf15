"""Plain addresses: pages (HTML to text), texts, and data files of any format that `preprocess.sources` reads.

robots.txt is obeyed. An address that is not served is noted on the data card and left out; one that gives no answer is
tried again by the next run. Data files go on where they broke off.
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

from haigo import redact
from haigo.cli import HaigoError
from haigo.formats.documents.containers import entries
from haigo.options import option

from ..sources import Document
from ..sources.charset import meant
from ..sources.encodings import decode
from . import datafile, html_text
from .addresses import Addresses, several
from .card import About
from .client import Client
from .download import Download
from .replies import NotServed, TooLarge
from .robots import Disallowed
from .source import UNKNOWN_LICENCE, today
from .state import PARTS, Store

_MOST_BYTES, _PAGE_BYTES = 50_000_000_000, 32 << 20
_HTML = re.compile(rb"<(?:!doctype\s+html|html|head|body)\b", re.IGNORECASE)
_CHARSET = re.compile(rb"""<meta[^>]{0,200}?charset\s*=\s*["']?\s*([\w-]{2,40})""", re.IGNORECASE)


@dataclasses.dataclass
class Urls(Addresses):
    """Plain addresses: pages, texts, data files."""

    name = "urls"
    conditions = ("text_key",)

    text_key: str = option("key or column of the text in data files", "text")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.urls = list(dict.fromkeys(url.partition("#")[0] for url in self.urls))

    def about(self, store: Store) -> About:
        terms = (
            "Nothing is known of the licence but what --licence said: find it out for every site.",
            "robots.txt was obeyed; it is about fetching, not about use.",
        )
        sites = sorted({"/".join(url.split("/")[:3]) for url in self.urls})
        return About("Pages and files from plain addresses", several(sites), terms)

    def one(self, client: Client, store: Store, url: str) -> None:
        unit, fetched = f"url {redact.urls(url)}", today(client).isoformat()
        if (store.get(unit, datafile.STATE) or {}).get("done"):
            return
        try:
            self._take(client, store, url, unit, fetched)
        except HaigoError as error:
            store.left_out.clear()  # what was taken of it was committed
            final = isinstance(error, NotServed | TooLarge | Disallowed)
            store.left_out.note("not served" if final else "could not be had or read", f"{url}: {error.problem}")
            if not final:
                self.trouble.append(error.problem)
            store.commit(state={unit: {"done": fetched}} if final else {})

    def _take(self, client: Client, store: Store, url: str, unit: str, fetched: str) -> None:
        def sign(row: Document) -> Document:
            return self.sign(row, url, UNKNOWN_LICENCE, fetched)

        with Download(client, url, store.folder / PARTS, max_bytes=_MOST_BYTES) as download:
            part = download.finish(restarts=1)
            page = _page(url, part)
            if page is not None:
                if not page.text:
                    store.left_out.note("page without text", url)
                store.commit([sign(page)] if page.text else [], {unit: {"done": fetched}})
            else:
                rows = datafile.rows(part, url, url, self.text_key, store.left_out)
                if not datafile.take(self, store, unit, rows, sign, done=fetched):
                    return
            download.discard()


def _page(url: str, part: Path) -> Document | None:
    """The document of an HTML page; None for everything else."""
    opened = entries(part, url)  # held by name: the file closes with it
    entry = next(opened, None)
    if entry is None or entry.in_tar or not _HTML.search(entry.head[:2048]):
        return None
    if part.stat().st_size > _PAGE_BYTES:
        raise TooLarge(url, _PAGE_BYTES)
    data = entry.read(_PAGE_BYTES)
    declared = _CHARSET.search(data[:4096])
    text, title = html_text.text_of(decode(data, url, meant(declared[1].decode()) if declared else "auto"))
    return Document(url, text.strip(), {"title": title} if title else {})
