"""Articles out of a MediaWiki dump: fetched (with its checksum) or a file at hand, read in parallel where it allows it.

A multistream dump is many small bz2 streams of 100 pages; with its index they are shared out to processes, which also
strip the wikitext. A dump of one stream is unpacked by one process and stripped by the others. The documents and their
order are the same for any number of workers. Articles only: namespace 0, no redirects.

Source: https://dumps.wikimedia.org/
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from haigo import files, pool
from haigo.cli import HaigoError
from haigo.options import few, option
from haigo.progress import Progress

from . import wiki_pages
from .card import About
from .client import Client
from .download import Download
from .replies import Reply, ok, parsed
from .source import UNKNOWN_LICENCE, Source, today
from .state import PARTS, Store

BASE_URL = "https://dumps.wikimedia.org"
_MOST_BYTES = 200_000_000_000
_WIKI = re.compile(r"[a-z][a-z0-9_]{1,40}")
_DATED = re.compile(r'href="(\d{8})/?"')
_NAME = re.compile(r"(?!.*\.\.)[\w.-]+")  # stays in its folder when it is put behind an address
_JOBS = ("articlesmultistreamdumprecombine", "articlesmultistreamdump")
# what the wikis of the Wikimedia Foundation publish their text under, by the site's domain
_CC = dict.fromkeys(
    ("wikipedia", "wiktionary", "wikibooks", "wikiquote", "wikisource", "wikiversity", "wikivoyage", "wikimedia"),
    "CC BY-SA 4.0",
) | {"wikinews": "CC BY (the wiki's own page names the version)", "wikidata": "CC BY-SA 4.0 (data: CC0)"}

_FILE = {"name": str, "size": (int, None), "sha1": (str, None)}
_READ = {"taken?": int, "done?": str}
_DUMP = {"date": str, "pairs": [{"dump": _FILE, "index": _FILE}]}
_JOB = {"status?": object, "files?": {str: {"size?": (int, None), "sha1?": (str, None)}}}
_STATUS = {"jobs": {f"{name}?": _JOB for name in _JOBS}}


@dataclasses.dataclass
class MediaWikiDump(Source):
    """Articles out of a MediaWiki dump, such as Wikipedia's."""

    name = "mediawiki-dump"
    gap_s = 1.0

    wiki: str = option("which wiki's dump", "jawiki")
    date: str = option("of the dump, such as 20260101", "latest")
    file: Path | None = option("a dump at hand, in place of fetching one", None)
    index: Path | None = option("the index of --file, if it is a multistream dump", None)
    workers: int | None = few("processes (default: one a core)", None)
    keep_wikitext: bool = option("do not strip the markup", False)
    keep_downloads: bool = option("keep the dump when all is done", False)
    base_url: str = option("of the dumps", BASE_URL)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.file is None and not _WIKI.fullmatch(self.wiki):
            raise HaigoError(f"'{self.wiki}' is not a wiki's name.", "give such as jawiki, enwiki, jawikibooks")
        if self.date != "latest" and not re.fullmatch(r"\d{8}", self.date):
            raise HaigoError(f"--date {self.date} is not a dump's date.", "write it as 20260101, or latest")
        if self.index is not None and self.file is None:
            raise HaigoError("--index is for a dump at hand.", "name the dump with --file")
        for path in self.inputs():
            if not path.is_file():
                raise HaigoError(f"{path} does not exist.", "check the path")
        self.base_url = self.base_url.rstrip("/")

    @property
    def networked(self) -> bool:
        return self.file is None

    def identity(self) -> dict[str, Any]:
        asked = {name: getattr(self, name) if self.file is None else None for name in ("wiki", "date", "base_url")}
        return {
            "source": self.name,
            **asked,
            "file": self.file.name if self.file else None,
            "bytes": self.file.stat().st_size if self.file else None,
            "index": self.index.name if self.index else None,
            "keep_wikitext": self.keep_wikitext,
        }

    def about(self, store: Store) -> About:
        dump = store.get("dump", _DUMP) or {}
        site = store.get("site", {str: str}) or {}
        title = f"Articles of {site.get('name') or self.wiki}" + (f", dump of {dump['date']}" if dump else "")
        origin = f"{self.base_url}/{self.wiki}/" if self.file is None else str(self.file)
        return About(title, origin, wiki_pages.terms(self.licence or licence_of(site)))

    def plan(self) -> Iterator[str]:
        if self.file is not None:
            yield f"none: {self.file} is at hand"
            return
        date = self.date
        if date == "latest":
            yield f"GET {self.base_url}/{self.wiki}/"
            date = "DATE"
        yield f"GET {self._url(date, 'dumpstatus.json')}"
        for kind in ("multistream-index.txt.bz2", "multistream.xml.bz2"):
            yield f"GET {self._url(date, f'{self.wiki}-{date}-pages-articles-{kind}')}"

    def fetch(self, client: Client, store: Store) -> None:
        if self.file is not None:
            self._read(client, store, "0", self.file, self.index)
            return
        dump = store.get("dump", _DUMP)
        if dump is None:
            dump = self._choose(client)
            store.commit(state={"dump": dump})
        for number, pair in enumerate(dump["pairs"]):
            if (store.get(f"read {number}", _READ) or {}).get("done"):
                continue
            if self.reached(store):
                return
            index, path = (self._download(client, store, dump["date"], pair[kind]) for kind in ("index", "dump"))
            if self._read(client, store, str(number), path, index) and not self.keep_downloads:
                files.remove(path)
                files.remove(index)

    def _url(self, date: str, name: str) -> str:
        return f"{self.base_url}/{self.wiki}/{date}/{name}"

    def _choose(self, client: Client) -> dict[str, Any]:
        """The dump's date and files with their checksums."""
        dates = [self.date]
        if self.date == "latest":
            page = client.get(f"{self.base_url}/{self.wiki}/", read=ok)
            dates = sorted(set(_DATED.findall(page.body.decode("utf-8", "replace"))), reverse=True)
            if not dates:
                raise HaigoError(f"{page.url} lists no dump.", "check --wiki")
        for date in dates:
            if pairs := client.get(self._url(date, "dumpstatus.json"), read=_pairs):
                return {"date": date, "pairs": pairs}
        raise HaigoError(
            f"no dump of {self.wiki} ({', '.join(dates[:5])}) has its articles ready.", "wait, or name another --date"
        )

    def _download(self, client: Client, store: Store, date: str, file: dict[str, Any]) -> Path:
        folder, size = store.folder / PARTS, file["size"]
        with Download(
            client, self._url(date, file["name"]), folder, max_bytes=_MOST_BYTES, digest=file["sha1"]
        ) as download:
            if size:
                files.require_space(folder, max(0, size - download.have), "the dump")
            with Progress(f"fetch {file['name']}", size, "bytes") as progress:
                progress.update(download.have)
                return download.finish(progress, restarts=1)

    def _read(self, client: Client, store: Store, number: str, dump: Path, index: Path | None) -> bool:
        """Read one dump file to its end (True) or to a limit (False)."""
        state = store.get(f"read {number}", _READ) or {"taken": 0}
        if "done" in state:
            return True
        site = store.get("site", {str: str})
        if site is None:
            site = wiki_pages.site(dump)
            store.commit(state={"site": site})
        fetched = today(client).isoformat()
        licence = licence_of(site)
        strip = not self.keep_wikitext
        with Progress("articles", None, "articles") as progress:
            for taken, (documents, passed_over) in wiki_pages.run(
                dump, strip, index, state["taken"], self.workers or pool.cores()
            ):
                signed = [self.sign(each, wiki_pages.address(site, each), licence, fetched) for each in documents]
                store.left_out.counts.update(passed_over)
                store.commit(signed, {f"read {number}": {"taken": taken}})
                progress.update(len(signed))
                if self.reached(store):
                    return False
        store.commit(state={f"read {number}": {"done": fetched}})
        return True


def licence_of(site: Mapping[str, str]) -> str:
    """The licence of a Wikimedia project's text; of other sites nothing is known."""
    host = urlsplit(site.get("base") or "").hostname or ""
    match = re.search(r"(?:^|\.)([a-z]+)\.org$", host)
    return _CC.get(match[1], UNKNOWN_LICENCE) if match else UNKNOWN_LICENCE


def _pairs(reply: Reply) -> list[dict[str, Any]]:
    """Dump files with their indexes out of dumpstatus.json; none while the dump is not ready."""
    if reply.status == 404:
        return []
    jobs = parsed(reply, _STATUS, "the status of a dump")["jobs"]
    ready: dict[str, dict[str, Any]] = next(
        (jobs[name].get("files", {}) for name in _JOBS if jobs.get(name, {}).get("status") == "done"), {}
    )

    def facts(name: str) -> dict[str, Any]:
        return {"name": name, "size": ready[name].get("size"), "sha1": ready[name].get("sha1")}

    pairs = []
    for name in sorted(ready, key=lambda name: [int(number) for number in re.findall(r"\d+", name)]):
        index = name.replace("-multistream", "-multistream-index", 1).replace(".xml", ".txt", 1)
        if ".xml" in name and index in ready and _NAME.fullmatch(name):
            pairs.append({"dump": facts(name), "index": facts(index)})
    return pairs
