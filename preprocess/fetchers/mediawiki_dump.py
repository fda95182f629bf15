"""Articles out of a MediaWiki dump: fetched (with its checksum) or a file at hand, read in parallel where it allows it.

A multistream dump is many small bz2 streams of 100 pages; with its index they are shared out to processes, which also
strip the wikitext. A dump of one stream is unpacked by one process and stripped by the others. The documents and their
order are the same for any number of workers. Articles only: namespace 0, no redirects.

Source: https://dumps.wikimedia.org/
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson

from haigo import cli, files, pool, shapes
from haigo.cli import HaigoError
from haigo.progress import Progress

from . import wiki_pages
from .card import About
from .download import Changed, Download
from .http import Again, Client, Reply, ok
from .mediawiki_api import terms
from .source import UNKNOWN_LICENCE, Limits, Source, today
from .state import FOLDER, Skipped, Store

BASE_URL = "https://dumps.wikimedia.org"
_WIKI = re.compile(r"[a-z][a-z0-9_]{1,40}")
_DATED = re.compile(r'href="(\d{8})/?"')
_JOBS = ("articlesmultistreamdumprecombine", "articlesmultistreamdump")
# what the wikis of the Wikimedia Foundation publish their text under, by the site's domain
_CC = dict.fromkeys(
    ("wikipedia", "wiktionary", "wikibooks", "wikiquote", "wikisource", "wikiversity", "wikivoyage", "wikimedia"),
    "CC BY-SA 4.0",
) | {"wikinews": "CC BY (the wiki's own page names the version)", "wikidata": "CC BY-SA 4.0 (data: CC0)"}


_FILE = {"name": str, "size": (int, None), "sha1": (str, None)}
_READ = {"taken?": int, "done?": str}
_DUMP = {"date": str, "pairs": [{"dump": _FILE, "index": _FILE}]}


class MediaWikiDump(Source):
    """See the module.

    Args:
        wiki: the dump's name, such as jawiki.
        date: YYYYMMDD or "latest" (fixed at the first run).
        file: a dump at hand, in place of fetching one.
        index: its index, if it is a multistream dump.
        workers: processes.
        keep_wikitext: leave the markup for preprocess.clean to strip.
        keep_downloads: leave the dump in the folder when all is done.
        base_url: of the dumps, or of a mirror.
    """

    name = "mediawiki-dump"
    summary = "articles out of a MediaWiki dump, such as Wikipedia's"
    gap_s = 1.0

    def __init__(
        self,
        wiki: str,
        date: str = "latest",
        *,
        file: Path | None = None,
        index: Path | None = None,
        workers: int = 1,
        keep_wikitext: bool = False,
        keep_downloads: bool = False,
        base_url: str = BASE_URL,
        max_bytes: int = 200_000_000_000,
        licence: str | None = None,
        limits: Limits | None = None,
    ) -> None:
        super().__init__(licence, limits)
        if file is None and not _WIKI.fullmatch(wiki):
            raise HaigoError(f"'{wiki}' is not a wiki's name.", "give such as jawiki, enwiki, jawikibooks")
        if date != "latest" and not re.fullmatch(r"\d{8}", date):
            raise HaigoError(f"--date {date} is not a dump's date.", "write it as 20260101, or latest")
        if index is not None and file is None:
            raise HaigoError("--index is for a dump at hand.", "name the dump with --file")
        for path in (file, index):
            if path is not None and not path.is_file():
                raise HaigoError(f"{path} does not exist.", "check the path")
        self.wiki, self.date, self.file, self.index = wiki, date, file, index
        self.workers, self.keep_wikitext, self.keep_downloads = workers, keep_wikitext, keep_downloads
        self.base_url, self.max_bytes = base_url.rstrip("/"), max_bytes
        self.networked = file is None

    @staticmethod
    def add_options(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--wiki", default="jawiki", help="which wiki's dump (default: jawiki)")
        parser.add_argument("--date", default="latest", help="of the dump, such as 20260101 (default: the latest)")
        parser.add_argument("--file", type=Path, help="a dump at hand, in place of fetching one")
        parser.add_argument("--index", type=Path, help="the index of --file, if it is a multistream dump")
        parser.add_argument("--workers", type=cli.few, default=0, help="processes (default: one a core)")
        parser.add_argument("--keep-wikitext", "--keep_wikitext", action="store_true", help="do not strip the markup")
        parser.add_argument(
            "--keep-downloads", "--keep_downloads", action="store_true", help="keep the dump when all is done"
        )
        parser.add_argument("--base-url", "--base_url", default=BASE_URL, help="of the dumps (default: %(default)s)")

    @classmethod
    def of(cls, args: argparse.Namespace, licence: str | None, limits: Limits) -> MediaWikiDump:
        return cls(
            args.wiki,
            args.date,
            file=args.file,
            index=args.index,
            workers=args.workers or pool.cores(),
            keep_wikitext=args.keep_wikitext,
            keep_downloads=args.keep_downloads,
            base_url=args.base_url,
            licence=licence,
            limits=limits,
        )

    def identity(self) -> dict[str, Any]:
        at_hand = self.file is not None
        return {
            "source": self.name,
            "wiki": None if at_hand else self.wiki,
            "date": None if at_hand else self.date,
            "base_url": None if at_hand else self.base_url,
            "file": self.file.name if self.file else None,
            "bytes": self.file.stat().st_size if self.file else None,
            "index": self.index.name if self.index else None,
            "keep_wikitext": self.keep_wikitext,
        }

    def about(self, store: Store) -> About:
        dump = store.get("dump", _DUMP) or {}
        site = store.get("site", {str: str}) or {}
        title = f"Articles of {site.get('name') or self.wiki}"
        if dump:
            title += f", dump of {dump['date']}"
        origin = f"{self.base_url}/{self.wiki}/" if self.file is None else str(self.file)
        return About(title, origin, terms(self.licence or licence_of(site)))

    def plan(self) -> Iterator[str]:
        if self.file is not None:
            yield f"none: {self.file} is at hand"
            return
        date = self.date
        if date == "latest":
            yield f"GET {self.base_url}/{self.wiki}/"
            date = "DATE"
        yield f"GET {self.base_url}/{self.wiki}/{date}/dumpstatus.json"
        for kind in ("multistream-index.txt.bz2", "multistream.xml.bz2"):
            yield f"GET {self.base_url}/{self.wiki}/{date}/{self.wiki}-{date}-pages-articles-{kind}"

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
            if self.limits.reached(store):
                return
            paths = [self._download(client, store, dump["date"], one) for one in (pair["index"], pair["dump"])]
            if self._read(client, store, str(number), paths[1], paths[0]) and not self.keep_downloads:
                for path in paths:
                    files.remove(path)

    def _choose(self, client: Client) -> dict[str, Any]:
        """The dump's date and files with their checksums."""
        dates = [self.date]
        if self.date == "latest":
            page = client.get(f"{self.base_url}/{self.wiki}/", read=ok)
            dates = sorted(set(_DATED.findall(page.body.decode("utf-8", "replace"))), reverse=True)
            if not dates:
                raise HaigoError(f"{page.url} lists no dump.", "check --wiki")
        for date in dates:
            pairs = client.get(f"{self.base_url}/{self.wiki}/{date}/dumpstatus.json", read=_pairs)
            if pairs:
                return {"date": date, "pairs": pairs}
        raise HaigoError(
            f"no dump of {self.wiki} ({', '.join(dates[:5])}) has its articles ready.", "wait, or name another --date"
        )

    def _download(self, client: Client, store: Store, date: str, file: dict[str, Any]) -> Path:
        url = f"{self.base_url}/{self.wiki}/{date}/{file['name']}"
        folder = store.folder / FOLDER / "parts"
        if file.get("size"):
            self._require_space(folder, int(file["size"]))
        for _ in range(2):
            with Download(client, url, folder, max_bytes=self.max_bytes, digest=file.get("sha1")) as download:
                try:
                    with Progress(f"fetch {file['name']}", file.get("size"), "bytes") as progress:
                        progress.update(download.have)
                        for size in download.steps():
                            progress.update(size)
                    return download.part
                except Changed:
                    download.discard()
        raise HaigoError(f"{url} changes while it is being fetched.", "name another --date")

    def _require_space(self, folder: Path, size: int) -> None:
        have = sum(path.stat().st_size for path in folder.glob("*.part")) if folder.is_dir() else 0
        files.require_space(folder, max(0, size - have), "the dump")

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
        work = wiki_pages.Work(str(dump), not self.keep_wikitext)
        with Progress("articles", None, "articles") as progress:
            for taken, (documents, skipped) in wiki_pages.run(work, index, state["taken"], self.workers):
                signed = [
                    self.sign(document, wiki_pages.address(site, document), licence, fetched) for document in documents
                ]
                account = Skipped()
                account.counts.update(skipped)
                store.commit(signed, {f"read {number}": {"taken": taken}}, account)
                progress.update(len(signed))
                if self.limits.reached(store):
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
    try:
        jobs = orjson.loads(ok(reply).body)["jobs"]
        found: dict[str, Any] = next(
            (jobs[name]["files"] for name in _JOBS if jobs.get(name, {}).get("status") == "done"), {}
        )
        pairs = []
        for name, facts in sorted(found.items(), key=lambda item: _part(item[0])):
            other = name.replace("-multistream", "-multistream-index", 1).replace(".xml", ".txt", 1)
            if ".xml" in name and other in found and _safe(name):
                pairs.append(
                    {
                        kind: {"name": each, "size": its.get("size"), "sha1": its.get("sha1")}
                        for kind, each, its in (("dump", name, facts), ("index", other, found[other]))
                    }
                )
        if shapes.unlike(pairs, _DUMP["pairs"]):
            raise TypeError
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        raise Again("not the status of a dump") from None
    return pairs


def _part(name: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", name)]


def _safe(name: str) -> bool:
    """A name that stays in its folder when it is put behind an address."""
    return re.fullmatch(r"[\w.-]+", name) is not None and ".." not in name
