"""robots.txt by RFC 9309: asked once for each site, longest rule wins, Crawl-delay is heeded.

No file (4xx) forbids nothing; a file that cannot be had (no answer, 5xx) forbids everything for now.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from haigo.cli import Failed, HaigoError

from .http import Reply, TooLarge

if TYPE_CHECKING:
    from .http import Client

NAME = "haigo"
_MAX_BYTES = 512 << 10
_LONGEST_DELAY_S = 60.0
_TRIES = 3


class Disallowed(HaigoError):
    """The site does not want this page fetched."""


class Robots:
    """The rules of the sites met so far."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._rules: dict[str, Any] = {}
        self._asking = False  # robots.txt itself is asked for without robots.txt, wherever it leads

    def require(self, url: str) -> None:
        """Raises Disallowed when robots.txt says no."""
        if self._asking:
            return
        site = _site(url)
        rules = self._of(site)
        if rules is None:
            raise Disallowed(f"{site}/robots.txt cannot be had, so {url} is not fetched.", "try again later")
        if not rules.can_fetch(url, NAME):
            raise Disallowed(f"{site}/robots.txt does not allow {url}.", "leave this address out")

    def delay_s(self, url: str) -> float:
        """Crawl-delay in seconds, at most a minute."""
        rules = None if self._asking else self._of(_site(url))
        return 0.0 if rules is None else min(float(rules.crawl_delay(NAME) or 0.0), _LONGEST_DELAY_S)

    def _of(self, site: str) -> Any:
        if site not in self._rules:
            from protego import Protego

            self._asking = True
            try:
                text = self._client.get(f"{site}/robots.txt", read=_text, max_bytes=_MAX_BYTES, tries=_TRIES)
                self._rules[site] = Protego.parse(text)
            except (Failed, TooLarge):
                self._rules[site] = None
            finally:
                self._asking = False
        return self._rules[site]


def _text(reply: Reply) -> str:
    if 400 <= reply.status < 500:
        return ""
    return reply.body.decode("utf-8", "replace") if reply.status == 200 else ""


def _site(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
