"""Data of the Hugging Face hub (mC4 and others) by plain HTTP: the files are read while they come, nothing is imported.

The revision is fixed to a commit at the first run, so that a resumed run reads the same bytes. Packed JSON lines are
streamed and stop where a limit says; parquet is read from its end and so comes whole first. Rows that were taken are
never fetched again: what came of a file stays on disk until all of its rows are in a shard or waiting for one.
"""

from __future__ import annotations

import argparse
import fnmatch
import itertools
import os
import re
from collections.abc import Iterator
from typing import Any, BinaryIO, cast
from urllib.parse import quote

import orjson

from haigo.cli import HaigoError, nearest
from haigo.progress import Progress

from ..sources import Document, suffix
from . import datafile
from .card import About
from .download import Download
from .http import Again, Client, NotServed, Reply
from .source import UNKNOWN_LICENCE, Limits, Source, today
from .state import FOLDER, Skipped, Store

BASE_URL = "https://huggingface.co"
PRESETS = {"mc4": ("allenai/c4", "multilingual/c4-{language}.tfrecord-*.json.gz")}
_READABLE = (".json", ".jsonl", ".ndjson", ".parquet", ".txt")
_BATCH = 1000
_REPO = re.compile(r"[\w.-]{1,96}/[\w.-]{1,96}")
_KNOWN = {"sha": str, "files": [str], "licence": str}
_LIST_BYTES = 256 << 20
_WEB_TERMS = (
    "A data set's licence covers the collection. Pages in a crawl keep their authors' rights; each document names its URL.",
)


class Hub(Source):
    """See the module.

    Args:
        repo: "owner/name" of a data set.
        files: patterns of the files wanted, such as `multilingual/c4-ja.tfrecord-*.json.gz`.
        revision: branch, tag or commit.
        text_key: key or column of the text.
        max_bytes: larger files are refused.
        base_url: of the hub, or a mirror.
        key: token for data sets that ask for one; sent to the hub alone.
    """

    name = "hub"
    summary = "data sets of the Hugging Face hub, such as mC4 (files of JSON lines, parquet or text)"
    gap_s = 1.0
    unique = False  # ids are file and line

    def __init__(
        self,
        repo: str,
        files: list[str],
        *,
        revision: str = "main",
        text_key: str = "text",
        max_bytes: int = 50_000_000_000,
        base_url: str = BASE_URL,
        key: str | None = None,
        licence: str | None = None,
        limits: Limits | None = None,
    ) -> None:
        super().__init__(licence, limits)
        if not _REPO.fullmatch(repo) or ".." in repo:
            raise HaigoError(f"'{repo}' is not a data set's name.", "write it as owner/name, such as allenai/c4")
        if not files:
            raise HaigoError(f"no file of {repo} is asked for.", "give --files with a pattern such as '*.jsonl.gz'")
        self.repo, self.files, self.revision, self.text_key = repo, files, revision, text_key
        self.max_bytes, self.base_url, self._key = max_bytes, base_url.rstrip("/"), key

    @staticmethod
    def add_options(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("repo", metavar="REPO", help="owner/name, or mc4 for the multilingual files of allenai/c4")
        parser.add_argument("--files", action="append", default=[], metavar="PATTERN", help="which files (repeatable)")
        parser.add_argument("--language", default="ja", help="for mc4 (default: ja)")
        parser.add_argument("--revision", default="main", help="branch, tag or commit (fixed at the first run)")
        parser.add_argument("--text-key", "--text_key", default="text", help="key or column of the text")
        parser.add_argument("--base-url", "--base_url", default=BASE_URL, help="of the hub (default: %(default)s)")

    @classmethod
    def of(cls, args: argparse.Namespace, licence: str | None, limits: Limits) -> Hub:
        repo, patterns = args.repo, args.files
        if repo in PRESETS:
            repo, pattern = PRESETS[repo]
            patterns = patterns or [pattern.format(language=args.language)]
        return cls(
            repo,
            patterns,
            revision=args.revision,
            text_key=args.text_key,
            base_url=args.base_url,
            key=os.environ.get("HF_TOKEN"),
            licence=licence,
            limits=limits,
        )

    def identity(self) -> dict[str, Any]:
        return {
            "source": self.name,
            "repo": self.repo,
            "revision": self.revision,
            "text_key": self.text_key,
            "base_url": self.base_url,
        }

    def about(self, store: Store) -> About:
        known = store.get("repo", _KNOWN) or {}
        place = f"{self.base_url}/datasets/{self.repo}"
        terms = (f"The data set's own page has its terms: {place}", *_WEB_TERMS)
        return About(f"{self.repo} at commit {known.get('sha')}, files {', '.join(self.files)}", place, terms)

    def plan(self) -> Iterator[str]:
        yield f"GET {self._listing()}"
        for pattern in self.files:
            yield f"GET {self.base_url}/datasets/{self.repo}/resolve/COMMIT/FILE  for every FILE that matches {pattern}"

    def fetch(self, client: Client, store: Store) -> None:
        known = store.get("repo", _KNOWN)
        if known is None:
            known = client.get(self._listing(), read=self._listed, headers=self._headers(), max_bytes=_LIST_BYTES)
            store.commit(state={"repo": known})
        chosen = self._chosen(known["files"])
        with Progress(f"{self.repo}", None, "documents") as progress:
            for number, path in enumerate(chosen, 1):
                if self.limits.reached(store):
                    return
                if not (store.get(f"file {path}", datafile.STATE) or {}).get("done"):
                    self._file(client, store, path, known, progress, f"file {number} of {len(chosen)}")

    def _file(
        self, client: Client, store: Store, path: str, known: dict[str, Any], progress: Progress, detail: str
    ) -> None:
        url = f"{self.base_url}/datasets/{self.repo}/resolve/{known['sha']}/{quote(path)}"
        name = f"file {path}"
        done = (store.get(name, datafile.STATE) or {}).get("rows", 0)
        fetched = today(client).isoformat()
        folder = store.folder / FOLDER / "parts"
        with Download(client, url, folder, max_bytes=self.max_bytes, headers=self._headers()) as download:
            # What was left out of rows before `done` was counted then
            before, skipped = Skipped(), Skipped()
            stream = self._rows(download, url, f"{self.repo}/{path}", path, done, before, skipped)
            while True:
                most = _BATCH
                if self.limits.documents is not None:
                    most = min(most, self.limits.documents - store.documents)
                rows = list(itertools.islice(stream, most))
                found = [self._signed(row, path, known, fetched) for row in rows if row is not None]
                done += len(rows)
                ended = len(rows) < most
                store.commit(found, {name: {"rows": done, **({"done": True} if ended else {})}}, skipped)
                skipped.clear()
                progress.update(len(found), detail)
                if ended:
                    download.discard()
                    return
                if self.limits.reached(store):
                    return

    def _rows(
        self, download: Download, url: str, key: str, path: str, done: int, before: Skipped, skipped: Skipped
    ) -> Iterator[Document | None]:
        """Rows after the first `done`; what is passed over in those goes to `before`, for it was counted already."""
        noted = _Switch(before)
        if suffix(path) in (".parquet", ".txt"):
            stream = datafile.rows(download.finish(), url, key, self.text_key, noted)
        else:
            stream = datafile.lines(cast(BinaryIO, download), url, key, self.text_key, noted)
        for _ in itertools.islice(stream, done):
            pass
        noted.to = skipped
        yield from stream

    def _signed(self, row: Document, path: str, known: dict[str, Any], fetched: str) -> Document:
        origin = row.meta.get("url")
        place = f"{self.base_url}/datasets/{self.repo}/blob/{known['sha']}/{quote(path)}"
        return self.sign(row, origin if isinstance(origin, str) else place, known["licence"], fetched)

    def _chosen(self, paths: list[str]) -> list[str]:
        chosen: list[str] = []
        for pattern in self.files:
            found = [path for path in paths if fnmatch.fnmatchcase(path, pattern) and suffix(path) in _READABLE]
            if not found:
                of_kind = [path for path in paths if suffix(path) in _READABLE]
                raise HaigoError(
                    f"{self.repo} has no data file that matches '{pattern}'.{nearest(pattern, of_kind[:5000])}",
                    f"look at {self.base_url}/datasets/{self.repo}/tree/main; files of {', '.join(_READABLE)} are read",
                )
            chosen += [path for path in found if path not in chosen]
        return chosen

    def _listing(self) -> str:
        return f"{self.base_url}/api/datasets/{self.repo}/revision/{quote(self.revision, safe='')}"

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._key}"} if self._key else {}

    def _listed(self, reply: Reply) -> dict[str, Any]:
        """Commit, licence and files out of the hub's description of a data set."""
        if reply.status in (401, 403):
            raise HaigoError(
                f"{self.repo} asks for a key, or is not there (HTTP {reply.status}).",
                f"accept its terms at {self.base_url}/datasets/{self.repo} and set HF_TOKEN",
            )
        if reply.status != 200:
            raise NotServed(reply.url, reply.status)
        try:
            described = orjson.loads(reply.body)
            sha = described["sha"]
            files = [one["rfilename"] for one in described["siblings"]]
        except (orjson.JSONDecodeError, KeyError, TypeError):
            raise Again("not the hub's description of a data set") from None
        if not isinstance(sha, str) or not re.fullmatch(r"[0-9a-f]{7,64}", sha):
            raise Again("a description without a commit")
        card, tags = described.get("cardData"), described.get("tags")
        licence = card.get("license") if isinstance(card, dict) else None
        tagged = (
            str(tag).partition(":")[2]
            for tag in (tags if isinstance(tags, list) else ())
            if str(tag).startswith("license:")
        )
        shown = ", ".join(map(str, licence)) if isinstance(licence, list) else licence
        return {
            "sha": sha,
            "files": sorted(path for path in files if isinstance(path, str)),
            "licence": str(shown or next(tagged, UNKNOWN_LICENCE)),
        }


class _Switch(Skipped):
    """Notes into one account, later into another."""

    def __init__(self, to: Skipped) -> None:
        super().__init__()
        self.to = to

    def note(self, reason: str, sample: str = "", count: int = 1) -> None:
        self.to.note(reason, sample, count)
