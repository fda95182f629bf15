"""Plain addresses: pages (HTML to text), texts, and data files of any format that `preprocess.sources` reads.

robots.txt is obeyed. An address that is not served is noted on the data card and left out; one that gives no answer is
tried again by the next run. Data files go on where they broke off.
"""

from __future__ import annotations

import argparse
import itertools
import re
from collections.abc import Iterator
from typing import Any

from haigo import redact
from haigo.cli import HaigoError
from haigo.progress import Progress

from ..sources import Document
from ..sources.containers import entries
from ..sources.encodings import decode
from . import datafile, html_text
from .card import About
from .download import Changed, Download
from .feeds import listed
from .http import Client, NotServed, TooLarge
from .robots import Disallowed
from .source import UNKNOWN_LICENCE, Limits, Source, today
from .state import FOLDER, Skipped, Store

_PAGE_BYTES = 32 << 20
_BATCH = 1000
_HTML = re.compile(rb"<(?:!doctype\s+html|html|head|body)\b", re.IGNORECASE)
_CHARSET = re.compile(rb"""<meta[^>]{0,200}?charset\s*=\s*["']?\s*([\w-]{2,40})""", re.IGNORECASE)


class Urls(Source):
    """See the module.

    Args:
        urls: addresses.
        text_key: key or column of the text in data files.
        max_bytes: larger files are left out.
    """

    name = "urls"
    summary = "plain addresses: pages, texts, data files"
    gap_s = 2.0
    obey_robots = True

    def __init__(
        self,
        urls: list[str],
        *,
        text_key: str = "text",
        max_bytes: int = 50_000_000_000,
        licence: str | None = None,
        limits: Limits | None = None,
    ) -> None:
        super().__init__(licence, limits)
        self.urls = list(dict.fromkeys(url.partition("#")[0] for url in urls))
        if not self.urls:
            raise HaigoError("no address is given.", "give addresses, or a file of them with --list")
        for url in self.urls:
            if not url.startswith(("http://", "https://")):
                raise HaigoError(f"{url} is not an http or https address.", "give such as https://example.org/a.txt")
        self.text_key, self.max_bytes = text_key, max_bytes

    @staticmethod
    def add_options(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("urls", nargs="*", metavar="URL", help="addresses")
        parser.add_argument("--list", metavar="FILE", help="a file with an address a line (# begins a comment)")
        parser.add_argument("--text-key", "--text_key", default="text", help="key or column of the text in data files")

    @classmethod
    def of(cls, args: argparse.Namespace, licence: str | None, limits: Limits) -> Urls:
        return cls([*args.urls, *listed(args.list)], text_key=args.text_key, licence=licence, limits=limits)

    def identity(self) -> dict[str, Any]:
        return {"source": self.name, "text_key": self.text_key}

    def about(self, store: Store) -> About:
        sites = sorted({"/".join(url.split("/")[:3]) for url in self.urls})
        shown = ", ".join(sites[:20]) + (f" and {len(sites) - 20} more" if len(sites) > 20 else "")
        return About(
            "Pages and files from plain addresses",
            shown,
            (
                "Nothing is known of the licence but what --licence said: find it out for every site.",
                "robots.txt was obeyed; it is about fetching, not about use.",
            ),
        )

    def plan(self) -> Iterator[str]:
        for url in self.urls:
            yield f"GET {url}  (after its site's robots.txt)"

    def fetch(self, client: Client, store: Store) -> None:
        with Progress("addresses", len(self.urls), "addresses") as progress:
            for url in self.urls:
                if self.limits.reached(store):
                    return
                if not (store.get(f"url {redact.urls(url)}", datafile.STATE) or {}).get("done"):
                    self._one(client, store, url)
                progress.update(detail=f"{store.documents:,} documents")

    def _one(self, client: Client, store: Store, url: str) -> None:
        try:
            for _ in range(2):
                with Download(client, url, store.folder / FOLDER / "parts", max_bytes=self.max_bytes) as download:
                    try:
                        download.finish()
                        self._read(client, store, url, download)
                        return
                    except Changed:
                        if (store.get(f"url {redact.urls(url)}", datafile.STATE) or {}).get("rows"):
                            raise  # rows of the older version were taken already
                        download.discard()
            raise HaigoError(f"{url} changes while it is being fetched.", "leave it out")
        except HaigoError as error:
            skipped = Skipped()
            final = isinstance(error, NotServed | TooLarge | Disallowed)
            skipped.note("not served" if final else "could not be had or read", f"{url}: {error.problem}")
            if not final:
                self.trouble.append(error.problem)
            store.commit(
                state={f"url {redact.urls(url)}": {"done": today(client).isoformat()}} if final else {}, skipped=skipped
            )

    def _read(self, client: Client, store: Store, url: str, download: Download) -> None:
        fetched = today(client).isoformat()
        name = f"url {redact.urls(url)}"
        page = self._page(url, download)
        skipped = Skipped()
        if page is not None:
            if not page.text.strip():
                skipped.note("page without text", url)
            found = [self.sign(page, url, UNKNOWN_LICENCE, fetched)] if page.text.strip() else []
            store.commit(found, {name: {"done": fetched}}, skipped)
            download.discard()
            return
        done = (store.get(name, datafile.STATE) or {}).get("rows", 0)
        stream = datafile.rows(download.part, url, url, self.text_key, skipped)
        for _ in itertools.islice(stream, done):
            pass
        skipped.clear()  # counted when those rows were taken
        while True:
            rows = list(itertools.islice(stream, _BATCH))
            done += len(rows)
            ended = len(rows) < _BATCH
            found = [self.sign(row, url, UNKNOWN_LICENCE, fetched) for row in rows if row is not None]
            store.commit(found, {name: {"done": fetched} if ended else {"rows": done}}, skipped)
            skipped.clear()
            if ended:
                download.discard()
                return
            if self.limits.reached(store):
                return

    def _page(self, url: str, download: Download) -> Document | None:
        """The document of an HTML page; None for everything else."""
        assert download.size is not None
        datafile.require_bounded(download.part, url)
        opened = entries(download.part, url)  # held by name: the file closes with it
        entry = next(opened, None)
        if entry is None or entry.in_tar or not _HTML.search(entry.head[:2048]):
            return None
        if download.size > _PAGE_BYTES:
            raise TooLarge(url, _PAGE_BYTES)
        data = entry.read()
        declared = _CHARSET.search(data[:4096])
        text, title = html_text.text_of(decode(data, url, _codec(declared[1].decode()) if declared else "auto"))
        return Document(url, text, {"title": title} if title else {})


def _codec(name: str) -> str:
    """A declared encoding as the one that pages mean by it; guessed when it is unknown."""
    import codecs

    name = {"shift_jis": "cp932", "x-sjis": "cp932", "sjis": "cp932", "windows-31j": "cp932"}.get(name.lower(), name)
    try:
        codecs.lookup(name)
    except LookupError:
        return "auto"
    return name
