"""The bytes of a feed as elements, whatever is wrong with them: feeds are written by hand and by template.

A reader of XML proper loses a whole feed for one `&nbsp;`, a blank line before the declaration or a wrong charset; libxml2's
recovery drops text in silence (benchmarks/feed_readers.py). This one knows tags, CDATA, comments and references and nothing
else: nothing is expanded but HTML's own characters, nothing outside is ever looked up, and the work grows with the
length alone. What it had to mend is counted.
"""

from __future__ import annotations

import codecs
import dataclasses
import html
import re
from xml.etree.ElementTree import Element, TreeBuilder

from haigo.cli import HaigoError

from ..sources.encodings import detect

ROOTS = ("rss", "feed", "rdf")
_ENTRIES = ("item", "entry")
_DEEPEST = 250
_MANY_FIT = 50  # bytes beyond ASCII that fit for one that does not
_HIGH = re.compile(rb"[\x80-\xff]")
_DECLARED = re.compile(rb"""<\?xml\s[^>]{0,200}?\bencoding\s*=\s*["']\s*([\w.:-]{1,40})""", re.IGNORECASE)
_MEANT = {
    **dict.fromkeys(("shift_jis", "shift-jis", "x-sjis", "windows-31j", "sjis", "ms_kanji"), "cp932"),
    **dict.fromkeys(("iso-8859-1", "latin-1", "latin1", "us-ascii", "ascii"), "cp1252"),
    **dict.fromkeys(("gb2312", "gbk"), "gb18030"),
    "euc-kr": "cp949",
    "x-euc-jp": "euc_jp",
}
# a quoted value has no `<`, so that no mark is ever looked for beyond the next tag
_START = re.compile(r"""<([^\W\d][\w.:-]*)((?:[^<>"']++|"[^"<]*+"|'[^'<]*+')*+)>""")
_END = re.compile(r"</([^\W\d][\w.:-]*)\s*>")
_ATTRIBUTE = re.compile(r"""([^\s=/"']+)\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"']+))""")
_REFERENCE = re.compile(r"&(?:#[xX]?[0-9a-fA-F]{1,8}|[A-Za-z][A-Za-z0-9]{1,31});")
_NO_CHARACTER = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_DECLARES = re.compile(r"""<!ENTITY\s+(?:[^%\s]|%\s+\S+\s+["'])""", re.IGNORECASE)


class NotAFeed(HaigoError):
    """What came is no feed."""


class CutShort(NotAFeed):
    """It ends in the middle."""


@dataclasses.dataclass(frozen=True, slots=True)
class Parsed:
    """The root element, and how many places of the XML had to be mended."""

    root: Element
    mended: int


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


def text(body: bytes, charset: str | None = None) -> str:
    """The characters: by the byte order mark, else UTF-8 where the bytes are, else as declared, as the server says, or as
    they look. Bytes that do not fit become U+FFFD."""
    body = body.lstrip(b" \t\r\n")
    loose = []
    for codec in _codecs(body, charset):
        try:
            found = body.decode(codec)
            break
        except UnicodeError:  # other bytes than declared
            loose.append(codec)
        except LookupError:  # no such codec, or one that is not of text
            continue
    else:
        found = min(
            (body.decode(codec, "replace") for codec in loose or ["utf-8"]), key=lambda text: text.count("\ufffd")
        )
    return _NO_CHARACTER.sub("", found.replace("\r\n", "\n").replace("\r", "\n")).removeprefix("\ufeff")


def _codecs(body: bytes, charset: str | None) -> list[str]:
    """What to try, the first that fits being right."""
    if body[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return ["utf-16"]
    if body[:2] in (b"<\0", b"\0<"):
        return ["utf-16-le" if body[:1] == b"<" else "utf-16-be"]
    declared = _DECLARED.search(body[:1000])
    named = [declared[1].decode("ascii")] if declared else []
    named = [name.strip("\"' ").lower() for name in (*named, charset or "") if name]
    # one byte a character was just seen: text that says it were in UTF-16 was written out otherwise
    named = [meant(name) for name in named if not name.startswith(("utf-16", "utf16", "utf-32", "ucs"))]
    high = _HIGH.findall(body)
    if not high:
        return [*named, *_guessed(body)]  # ISO-2022-JP, say
    # no text is UTF-8 by chance; and bytes beyond ASCII that come in rows are no Latin letters
    rows = sum(map(len, re.findall(rb"[\x80-\xff]{2,}", body))) > 0.8 * len(high)
    named = [name for name in named if not (rows and name == "cp1252")]
    wrong = "utf-8" in named or "utf8" in named
    return ["utf-8-sig", *named, *([] if wrong and _nearly(body) else _guessed(body))]


def meant(charset: str) -> str:
    """The codec that feeds and pages mean by the name of a charset; "auto" where Python knows none."""
    name = _MEANT.get(charset.lower(), charset.lower())
    try:
        codecs.lookup(name)
    except LookupError:
        return "auto"
    return name


def _guessed(body: bytes) -> list[str]:
    try:
        return [detect(body)]
    except HaigoError:  # no encoding takes all of it
        return []


def _nearly(body: bytes) -> bool:
    """UTF-8 but for a few bytes, which other encodings would take for whole lines of something else."""
    return body.decode("utf-8", "replace").count("\ufffd") * _MANY_FIT <= len(_HIGH.findall(body))


class _Reader:
    def __init__(self, held: str, name: str) -> None:
        self.text, self.name = held, name
        self.builder = TreeBuilder()
        self.open: list[tuple[str, str, dict[str, str]]] = []
        """Written name, tag, and the namespaces that are known inside."""
        self.mended = 0
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
        self.mended += wrong
        self.builder.data(_REFERENCE.sub(self._character, raw) if "&" in raw else raw)

    def _character(self, found: re.Match[str]) -> str:
        return _NO_CHARACTER.sub("", html.unescape(found[0])).replace("\ufffd", "")  # of no character, nothing

    def _start(self, found: re.Match[str]) -> None:
        written, rest = found[1], found[2]
        if not self.open and (self.first.startswith("/") or written.rpartition(":")[2].lower() not in ROOTS):
            self.first = self.first or written
            return
        if len(self.open) >= _DEEPEST:
            raise NotAFeed(f"{self.name} is nested deeper than any feed.", "leave it out")
        if written.rpartition(":")[2].lower() in _ENTRIES and any(one[0] == written for one in self.open):
            self._end(written)  # entries are never within one another: the end of the one before is missing
            self.mended += 1
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
            self.mended += bool(self.open)
            return
        self.mended += len(self.open) - 1 - depth
        while len(self.open) > depth:
            self.builder.end(self.open.pop()[1])
        if not self.open:
            self.first = f"/{written}"  # what follows the root is none of it

    def _whole(self) -> Parsed:
        if self.open:
            raise CutShort(f"{self.name} ends in the middle of <{self.open[-1][0]}>.", "check the address")
        if not self.first.startswith("/"):
            what = f"is of another kind (<{self.first}>)" if self.first else "holds no XML"
            raise NotAFeed(f"{self.name} {what}.", "give the address of an RSS or Atom feed")
        return Parsed(self.builder.close(), self.mended)


def _named(written: str, spaces: dict[str, str], default: str) -> str:
    prefix, colon, local = written.rpartition(":")
    space = spaces.get(prefix, prefix) if colon else default
    return f"{{{space}}}{local}" if space else local
