"""What a page says to its reader: its texts without scripts, commands and quoted documents."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

_UNSEEN = {"script", "style", "pre", "code", "blockquote"}
_ENGLISH = re.compile(r"\b[a-z]{2,},? [a-z]{2,},? [a-z]{2,}\b|^[A-Z]?[a-z]{2,} [a-z]{2,}\.?$")


class _Texts(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._within: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._within += [tag] if tag in _UNSEEN else []
        self.found += [value for name, value in attrs if name in ("title", "aria-label", "data-of") and value]

    def handle_endtag(self, tag: str) -> None:
        if self._within and tag == self._within[-1]:
            self._within.pop()

    def handle_data(self, data: str) -> None:
        if not self._within and data.strip():
            self.found.append(" ".join(data.split()))


def texts(page: Path) -> list[str]:
    """All of them, those that show when something is pointed at too."""
    parser = _Texts()
    parser.feed(page.read_text(encoding="utf-8"))
    return parser.found


def english(page: Path) -> list[str]:
    """Those that hold English sentences or headings; names, of one word or with numbers in them, are none."""
    return sorted({text for text in texts(page) if _ENGLISH.search(text)})
