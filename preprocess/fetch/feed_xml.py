"""The bytes of a feed as elements, whatever is wrong with them: feeds are written by hand and by template.

A reader of XML proper loses a whole feed for one `&nbsp;`, a blank line before the declaration or a wrong charset; libxml2's
recovery drops text in silence (benchmarks/feed_readers.py). This one knows tags, CDATA, comments and references and nothing
else: nothing is expanded but HTML's own characters, nothing outside is ever looked up, and the work grows with the
length alone. What it had to repair is counted.
"""

from __future__ import annotations

import dataclasses
import html
import re
from xml.etree.ElementTree import Element, TreeBuilder

from haigo.cli import HaigoError

from ..sources.charset import NO_CHARACTER, text

ROOTS = ("rss", "feed", "rdf")
_ENTRIES = ("item", "entry")
_DEEPEST = 250
# a quoted value has no `<`, so that no mark is ever looked for beyond the next tag
_START = re.compile(r"""<([^\W\d][\w.:-]*)((?:[^<>"']++|"[^"<]*+"|'[^'<]*+')*+)>""")
_END = re.compile(r"</([^\W\d][\w.:-]*)\s*>")
_ATTRIBUTE = re.compile(r"""([^\s=/"']+)\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"']+))""")
_REFERENCE = re.compile(r"&(?:#[xX]?[0-9a-fA-F]{1,8}|[A-Za-z][A-Za-z0-9]{1,31});")
_DECLARES = re.compile(r"""<!ENTITY\s+(?:[^%\s]|%\s+\S+\s+["'])""", re.IGNORECASE)


class NotAFeed(HaigoError):
    """What came is no feed."""


class CutShort(NotAFeed):
    """It ends in the middle."""


@dataclasses.dataclass(frozen=True, slots=True)
class Parsed:
    """The root element, and how many places of the XML had to be repaired."""

    root: Element
    repaired: int


def parse(body: bytes, name: str, charset: str | None = None) -> Parsed:
    """Read a feed's elements; tags are `{namespace}name`, or `{prefix}name` where the prefix is not declared.

    Args:
        body: as the server sent it.
        name: what to call it in a message.
        charset: what the server said of it.

    Raises:
        CutShort: it ends before its root does.
        NotAFeed: it is of another kind, declares entities, or is nested deeper than any feed.
    """
    return _Reader(text(body, charset), name).read()


class _Reader:
    def __init__(self, held: str, name: str) -> None:
        self.text, self.name = held, name
        self.builder = TreeBuilder()
        self.open: list[tuple[str, str, dict[str, str]]] = []
        """Written name, tag, and the namespaces that are known inside."""
        self.repaired = 0
        self.first = ""
        """The first element, where it is no feed's."""

    def read(self) -> Parsed:
        at = 0
        while True:
            mark = self.text.find("<", at)
            if mark < 0:
                break
            self._data(self.text[at:mark])
            at = self._mark(mark)
        return self._whole()

    def _mark(self, at: int) -> int:
        """What begins with `<` at `at`; where it ends."""
        start = _START.match(self.text, at)
        if start:
            self._start(start)
            return start.end()
        end = _END.match(self.text, at)
        if end:
            self._end(end[1])
            return end.end()
        for opens, closes in (("<![CDATA[", "]]>"), ("<!--", "-->"), ("<?", "?>")):
            if self.text.startswith(opens, at):
                stop = self.text.find(closes, at + len(opens))
                if opens == "<![CDATA[" and self.open:
                    held = self.text[at + len(opens) : stop if stop >= 0 else None]
                    self.builder.data(held)
                return stop + len(closes) if stop >= 0 else len(self.text)
        if not self.open and self.text[at : at + 9].upper() == "<!DOCTYPE":
            return self._doctype(at)
        self._data("<", wrong=True)
        return at + 1

    def _doctype(self, at: int) -> int:
        closed = self.text.find(">", at)
        bracket = self.text.find("[", at, closed if closed >= 0 else None)
        if bracket >= 0:
            ends = re.compile(r"\]\s*>").search(self.text, bracket)
            if _DECLARES.search(self.text, bracket, ends.start() if ends else len(self.text)):
                raise NotAFeed(f"{self.name} declares entities of its own, which no feed needs.", "leave it out")
            closed = ends.end() - 1 if ends else -1
        return closed + 1 if closed >= 0 else len(self.text)

    def _data(self, raw: str, wrong: bool = False) -> None:
        if not self.open or not raw:
            return
        self.repaired += wrong
        self.builder.data(_REFERENCE.sub(self._character, raw) if "&" in raw else raw)

    def _character(self, match: re.Match[str]) -> str:
        return NO_CHARACTER.sub("", html.unescape(match[0])).replace("\ufffd", "")  # of no character, nothing

    def _start(self, match: re.Match[str]) -> None:
        written, rest = match[1], match[2]
        if not self.open and (self.first.startswith("/") or written.rpartition(":")[2].lower() not in ROOTS):
            self.first = self.first or written
            return
        if len(self.open) >= _DEEPEST:
            raise NotAFeed(f"{self.name} is nested deeper than any feed.", "leave it out")
        if self.open and written.rpartition(":")[2].lower() in _ENTRIES:
            self._close_down_to_entries(written)
        given = {name: self._value(*values) for name, *values in _ATTRIBUTE.findall(rest)}
        spaces = dict(self.open[-1][2]) if self.open else {"xml": "http://www.w3.org/XML/1998/namespace"}
        for name, value in given.items():
            if name == "xmlns" or name.startswith("xmlns:"):
                spaces[name[6:]] = value.strip()
        kept = {_named(name, spaces, ""): value for name, value in given.items() if not name.startswith("xmlns")}
        tag = _named(written, spaces, spaces.get("", ""))
        self.builder.start(tag, kept)
        self.open.append((written, tag, spaces))
        if rest.endswith("/"):
            self._end(written)

    def _value(self, double: str, single: str, bare: str) -> str:
        raw = double or single or bare
        return _REFERENCE.sub(self._character, raw) if "&" in raw else raw

    def _end(self, written: str) -> None:
        depth = next((n for n in range(len(self.open) - 1, -1, -1) if self.open[n][0] == written), -1)
        if depth < 0:
            self.repaired += bool(self.open)
            return
        self.repaired += len(self.open) - 1 - depth
        self._close(depth)
        if not self.open:
            self.first = f"/{written}"  # what follows the root is none of it

    def _close_down_to_entries(self, written: str) -> None:
        """Entries stand in the channel or the root: what else is open when one begins has lost its end or its beginning."""
        named = [name.lower() for name, _, _ in self.open]
        prefix = written.rpartition(":")[0].lower()
        if ":" in written and not named[0].startswith(f"{prefix}:"):
            return  # of another vocabulary
        inside = max(n for n, name in enumerate(named) if n == 0 or name.rpartition(":")[2] == "channel")
        self.repaired += len(self.open) - 1 - inside
        self._close(inside + 1)

    def _close(self, depth: int) -> None:
        while len(self.open) > depth:
            self.builder.end(self.open.pop()[1])

    def _whole(self) -> Parsed:
        if self.open:
            raise CutShort(f"{self.name} ends in the middle of <{self.open[-1][0]}>.", "check the address")
        if not self.first.startswith("/"):
            what = f"is of another kind (<{self.first}>)" if self.first else "holds no XML"
            raise NotAFeed(f"{self.name} {what}.", "give the address of an RSS or Atom feed")
        return Parsed(self.builder.close(), self.repaired)


def _named(written: str, spaces: dict[str, str], default: str) -> str:
    prefix, colon, local = written.rpartition(":")
    space = spaces.get(prefix, prefix) if colon else default
    return f"{{{space}}}{local}" if space else local
