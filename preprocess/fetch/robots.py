"""robots.txt by RFC 9309, read by protego: asked once for each site, longest rule wins, Crawl-delay is heeded.

No file (4xx) forbids nothing; a file that cannot be had (no answer, 5xx) forbids everything for now.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from haigo.cli import HaigoError

NAME = "haigo"
MAX_BYTES = 512 << 10
_LONGEST_DELAY_S = 60.0


class Disallowed(HaigoError):
    """The site does not want this page fetched."""


class Robots:
    """The rules of the sites met so far.

    Args:
        ask: gives the text at an address ("" where there is none), or None where it cannot be had.
    """

    def __init__(self, ask: Callable[[str], str | None]) -> None:
        self._ask = ask
        self._rules: dict[str, Any] = {}

    def delay_s(self, url: str) -> float:
        """Crawl-delay in seconds, at most a minute.

        Raises:
            Disallowed: robots.txt says no, or cannot be had.
        """
        parts = urlsplit(url)
        site = f"{parts.scheme}://{parts.netloc}"
        if site not in self._rules:
            from protego import Protego

            text = self._ask(f"{site}/robots.txt")
            self._rules[site] = None if text is None else Protego.parse(text)
        rules = self._rules[site]
        if rules is None:
            raise Disallowed(f"{site}/robots.txt cannot be had, so {url} is not fetched.", "try again later")
        if not rules.can_fetch(url, NAME):
            raise Disallowed(f"{site}/robots.txt does not allow {url}.", "leave this address out")
        return min(float(rules.crawl_delay(NAME) or 0.0), _LONGEST_DELAY_S)
