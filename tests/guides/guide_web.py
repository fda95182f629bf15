"""The Internet as the guides need it: a server on this machine that answers in the published formats of each host.

Requests of the fetching client go there, with the host's name in front of the path; nothing leaves the machine, and no
pause between two requests is slept.
"""

from __future__ import annotations

import contextlib
import gzip
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock
from urllib.parse import urlsplit

from diet_server import Diet, made_up
from fetch_server import Answer, Request, Server, as_json, ranged
from test_fetch_feeds import RSS1, RSS2
from test_fetch_files import SHA, jsonl, rows
from test_fetch_wiki import Dumps, Wiki

from preprocess.fetch.turns import Clock

FEEDS = {"/rss.xml": RSS2, "/index.rdf": RSS1}
PAGE = "<html><head><title>題</title></head><body><nav>一覧</nav><p>本文です。よく晴れた日でした。</p></body></html>"


class Hub:
    """The hub's API and files of one data set, which lie behind a redirect."""

    def __init__(self) -> None:
        self.files = {
            f"multilingual/c4-ja.tfrecord-0000{number}-of-00002.json.gz": gzip.compress(jsonl(rows(400, number)))
            for number in range(2)
        }

    def __call__(self, request: Request) -> Any:
        start = f"/datasets/allenai/c4/resolve/{SHA}/"
        if request.path == "/api/datasets/allenai/c4/revision/main":
            listed = [{"rfilename": name} for name in ["README.md", *self.files]]
            return as_json({"sha": SHA, "siblings": listed, "cardData": {"license": "odc-by"}, "tags": []})
        if request.path.startswith(start):
            return Answer(b"", 302, {"Location": "/store/" + request.path.removeprefix(start)})
        return ranged(self.files[request.path.removeprefix("/store/")], request)


def example_org(request: Request) -> Any:
    if request.path in FEEDS:
        return Answer(
            FEEDS[request.path].replace("{encoding}", "utf-8").encode(), 200, {"Content-Type": "application/xml"}
        )
    if request.path == "/about.html":
        return Answer(PAGE.encode(), 200, {"Content-Type": "text/html; charset=utf-8"})
    if request.path == "/texts.jsonl.gz":
        return ranged(gzip.compress(jsonl(rows(50, 7))), request)
    return Answer(b"", 404)


def hosts() -> dict[str, Callable[[Request], Any]]:
    return {
        "kokkai.ndl.go.jp": Diet(made_up(days=3, meetings=2, speeches=30)),
        "dumps.wikimedia.org": Dumps(),
        "ja.wikinews.org": Wiki(),
        "huggingface.co": Hub(),
        "example.org": example_org,
    }


@contextlib.contextmanager
def internet() -> Iterator[Server]:
    """While it lasts, requests go to the server; its `requests` say what was asked for."""
    from requests.adapters import HTTPAdapter

    known = hosts()

    def answer(request: Request) -> Any:
        host, _, path = request.path.lstrip("/").partition("/")
        request.path = f"/{path}"
        return known[host](request)

    with Server(answer) as server:
        port = server._server.server_address[1]

        def send(self: Any, request: Any, *args: Any, **more: Any) -> Any:
            parts = urlsplit(request.url)
            request.url = f"http://127.0.0.1:{port}/{parts.hostname}{parts.path}" + (
                f"?{parts.query}" if parts.query else ""
            )
            return original(HTTPAdapter(), request, *args, **more)

        original = HTTPAdapter.send
        with (
            mock.patch.object(HTTPAdapter, "send", send),
            mock.patch.object(Clock, "sleep", lambda self, seconds: None),
        ):
            yield server
