"""A page that shows a swarm while it trains: `launch.proxies --live PORT`, on this machine alone (127.0.0.1).

It reads what `StatusDisplay` counts. From another machine: `ssh -L PORT:127.0.0.1:PORT HOST`.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from haigo import page, phrases
from haigo.cli import HaigoError

HOST = "127.0.0.1"
_NAMES = (HOST, "localhost", "[::1]")
_LATEST = 12  # lines of what was said
_japanese = phrases.sayer(Path(__file__).with_name("japanese.yml"))


class LivePage:
    """What the page shows now, and the server that hands it out.

    Args:
        port: 0 takes a free one.
        title: what is trained.

    Raises:
        HaigoError: the port is taken.
    """

    def __init__(self, port: int, title: str) -> None:
        self.title, self.said = title, list[str]()
        self._state: dict[str, Any] = {}
        owner = self

        class Handler(_Handler):
            live = owner

        try:
            self.server = ThreadingHTTPServer((HOST, port), Handler)
        except OSError as error:
            problem = f"--live {port}: this port cannot be had ({error.strerror})."
            raise HaigoError(problem, "give another one, or 0 for one that is free", option="live") from None
        self.server.daemon_threads = True
        self.address = f"http://{HOST}:{self.server.server_address[1]}/"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def show(self, state: dict[str, Any]) -> None:
        """Hand this out from now on."""
        self._state = {**state, "said": self.said[-_LATEST:]}

    def answer(self, path: str, language: str) -> tuple[str, bytes] | None:
        """Type and content of what stands under a path; None where nothing does."""
        if path == "/state.json":
            return "application/json", json.dumps(self._in(language), ensure_ascii=False).encode()
        if path != "/":
            return None
        template = page.environment(language, Path(__file__).parent).get_template("live.html")
        given = {"title": self.title, "scripts": ["live.js"], "fetches_from": "'self'", "words": _words(language)}
        return "text/html; charset=utf-8", template.render(**given).encode()

    def _in(self, language: str) -> dict[str, Any]:
        """The state with what it says in words in a language."""
        state = self._state
        if language == "en" or not state:
            return state
        running = [{**one, "state": _japanese(one["state"])} for one in state["running"]]
        said = {"said": [_japanese(line) for line in state["said"]], "left": _japanese(state["left"])}
        return {**state, **said, "running": running}

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


class _Handler(BaseHTTPRequestHandler):
    live: LivePage

    def do_GET(self) -> None:
        # a page of the web that resolves its own name to this machine is none of ours
        host = self.headers.get("Host", "").rpartition(":")[0] or self.headers.get("Host", "")
        language = "ja" if self.headers.get("Accept-Language", "").lower().startswith("ja") else "en"
        found = self.live.answer(self.path.partition("?")[0], language) if host in _NAMES else None
        kind, content = found or ("text/plain", b"nothing here")
        self.send_response(200 if found else 404 if host in _NAMES else 403)
        for name, value in (
            ("Content-Type", kind),
            ("Content-Length", str(len(content))),
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
        ):
            self.send_header(name, value)
        self.end_headers()
        with contextlib.suppress(OSError):  # who asked has gone
            self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: stderr is the swarm's."""


@contextlib.contextmanager
def serving(port: int | None, title: str) -> Iterator[LivePage | None]:
    """The page while a swarm trains; None where none is asked for."""
    live = None if port is None else LivePage(port, title)
    try:
        yield live
    finally:
        if live is not None:
            live.close()


def _words(language: str) -> dict[str, str]:
    script = (Path(__file__).parent / "live.js").read_text(encoding="utf-8")
    known = page.sentences() if language == "ja" else {}
    return {english: japanese for english, japanese in known.items() if f'"{english}"' in script}
