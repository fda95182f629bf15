"""Data of the Hugging Face hub (mC4 and others) by plain HTTP: the files are read while they come.

The revision is fixed to a commit at the first run, so that a resumed run reads the same bytes. Packed JSON lines are
streamed and stop where a limit says; parquet is read from its end and so comes whole first. Rows that were taken are
never fetched again: what came of a file stays on disk until all of its rows are in a shard or waiting for one.

Not huggingface_hub: hf_hub_download ends at the first HTTP 503 that asks for a second's patience, brings a whole file where a
limit wants its first rows, and goes around the client's pauses, contact and guard.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import os
import re
from collections.abc import Iterator
from typing import Any, BinaryIO, cast
from urllib.parse import quote

from haigo.cli import HaigoError, nearest
from haigo.options import option
from haigo.progress import Progress

from ..sources import Document, suffix
from . import datafile
from .card import About
from .client import Client
from .download import Download
from .replies import Again, Reply, parsed
from .source import UNKNOWN_LICENCE, Source, today
from .state import PARTS, Store

BASE_URL = "https://huggingface.co"
PRESETS = {"mc4": ("allenai/c4", "multilingual/c4-{language}.tfrecord-*.json.gz")}
_READABLE = (".json", ".jsonl", ".ndjson", ".parquet", ".txt")
_REPO = re.compile(r"[\w.-]{1,96}/[\w.-]{1,96}")
_KNOWN = {"sha": str, "files": [str], "licence": str}
_DESCRIBED = {
    "sha": str,
    "siblings": [{"rfilename": str}],
    "cardData?": ({"license?": (str, [str], None)}, None),
    "tags?": [str],
}
_MOST_BYTES, _LIST_BYTES = 50_000_000_000, 256 << 20


@dataclasses.dataclass
class Hub(Source):
    """Data sets of the Hugging Face hub, such as mC4 (files of JSON lines, parquet or text).

    `HF_TOKEN`, for those that ask for a key, is sent to the hub alone.
    """

    name = "hub"
    gap_s = 1.0
    unique = False  # ids are file and line
    conditions = ("repo", "revision", "text_key", "base_url")

    repo: str = option("owner/name, or mc4 for the multilingual files of allenai/c4", positional=True, metavar="REPO")
    files: list[str] = option("which files (repeatable)", [], metavar="PATTERN")
    language: str = option("for mc4", "ja")
    revision: str = option("branch, tag or commit, fixed at the first run", "main")
    text_key: str = option("key or column of the text", "text")
    base_url: str = option("of the hub", BASE_URL)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.repo in PRESETS:
            self.repo, pattern = PRESETS[self.repo]
            self.files = self.files or [pattern.format(language=self.language)]
        if not _REPO.fullmatch(self.repo) or ".." in self.repo:
            raise HaigoError(f"'{self.repo}' is not a data set's name.", "write it as owner/name, such as allenai/c4")
        if not self.files:
            raise HaigoError(
                f"no file of {self.repo} is asked for.", "give --files with a pattern such as '*.jsonl.gz'"
            )
        self.base_url = self.base_url.rstrip("/")
        self._page = f"{self.base_url}/datasets/{self.repo}"
        self._listing = f"{self.base_url}/api/datasets/{self.repo}/revision/{quote(self.revision, safe='')}"

    def about(self, store: Store) -> About:
        known = store.get("repo", _KNOWN) or {}
        terms = (
            f"The data set's own page has its terms: {self._page}",
            "A data set's licence covers the collection. Pages in a crawl keep their authors' rights; each document names"
            " its URL.",
        )
        return About(f"{self.repo} at commit {known.get('sha')}, files {', '.join(self.files)}", self._page, terms)

    def plan(self) -> Iterator[str]:
        yield f"GET {self._listing}"
        for pattern in self.files:
            yield f"GET {self._page}/resolve/COMMIT/FILE  for every FILE that matches {pattern}"

    def fetch(self, client: Client, store: Store) -> None:
        known = store.get("repo", _KNOWN)
        if known is None:
            known = client.get(self._listing, read=self._listed, headers=_key(), max_bytes=_LIST_BYTES)
            store.commit(state={"repo": known})
        for path in self.each(store, self._chosen(known["files"]), "files"):
            if not (store.get(f"file {path}", datafile.STATE) or {}).get("done"):
                self._file(client, store, path, known)

    def _file(self, client: Client, store: Store, path: str, known: dict[str, Any]) -> None:
        url, page = (f"{self._page}/{kind}/{known['sha']}/{quote(path)}" for kind in ("resolve", "blob"))
        fetched = today(client).isoformat()

        def sign(row: Document) -> Document:
            origin = row.meta.get("url")
            return self.sign(row, origin if isinstance(origin, str) else page, known["licence"], fetched)

        with Download(client, url, store.folder / PARTS, max_bytes=_MOST_BYTES, headers=_key()) as download:
            named = (url, f"{self.repo}/{path}", self.text_key, store.left_out)
            if suffix(path) in (".parquet", ".txt"):
                rows = datafile.rows(download.finish(), *named)
            else:
                rows = datafile.lines(cast(BinaryIO, download), *named)
            with Progress(path, None, "documents", after=5.0) as progress:
                if datafile.take(self, store, f"file {path}", rows, sign, done=fetched, show=progress.update):
                    download.discard()

    def _chosen(self, paths: list[str]) -> list[str]:
        readable = [path for path in paths if suffix(path) in _READABLE]
        chosen: dict[str, None] = {}
        for pattern in self.files:
            matching = [path for path in readable if fnmatch.fnmatchcase(path, pattern)]
            if not matching:
                raise HaigoError(
                    f"{self.repo} has no data file that matches '{pattern}'.{nearest(pattern, readable[:5000])}",
                    f"look at {self._page}/tree/main; files of {', '.join(_READABLE)} are read",
                )
            chosen |= dict.fromkeys(matching)
        return list(chosen)

    def _listed(self, reply: Reply) -> dict[str, Any]:
        """Commit, licence and files out of the hub's description of a data set."""
        if reply.status in (401, 403):
            raise HaigoError(
                f"{self.repo} asks for a key, or is not there (HTTP {reply.status}).",
                f"accept its terms at {self._page} and set HF_TOKEN",
            )
        described = parsed(reply, _DESCRIBED, "the hub's description of a data set")
        if not re.fullmatch(r"[0-9a-f]{7,64}", described["sha"]):
            raise Again("a description without a commit")
        licence = (described.get("cardData") or {}).get("license") or next(
            (tag.removeprefix("license:") for tag in described.get("tags", ()) if tag.startswith("license:")), None
        )
        return {
            "sha": described["sha"],
            "files": sorted(one["rfilename"] for one in described["siblings"]),
            "licence": ", ".join(licence) if isinstance(licence, list) else licence or UNKNOWN_LICENCE,
        }


def _key() -> dict[str, str]:
    key = os.environ.get("HF_TOKEN")
    return {"Authorization": f"Bearer {key}"} if key else {}
