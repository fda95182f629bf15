"""The text of a web page, without menus, lists of links, notices and comments: resiliparse reads the page and gives its visible
text in blocks; what is left out is decided here, by marks of the page's own and by how much of a line is link.

resiliparse's own choice of the main content is not used: it loses short pieces inside sentences, of which Japanese has many
(これは<b>太</b>い字です becomes これはい字です), and table cells. `benchmarks/web_extract.py` has it and others beside this.
"""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from haigo.cli import HaigoError
from haigo.formats.documents.containers import Entry, readable
from haigo.formats.documents.document import Document

from . import charset
from .encodings import require_known
from .url_lists import UrlLists, host

UNKNOWN_LICENCE = "not stated"
"""In the meta of every page: a page's own words on it are not looked for."""
MOST_BYTES = 16 << 20
"""Of one page: what is larger is a list or a dump."""
NO_TEXT, TOO_LARGE = "page without text", f"page of more than {MOST_BYTES >> 20} MB"
_SKIPPED = [
    "nav", "aside", "form", "button", "select", "dialog", "rt", "rp", "rtc", "body>footer", "body>header",
    "[role=navigation]", "[role=banner]", "[role=contentinfo]", "[role=complementary]", "[role=search]",
    "[role=dialog]", "[aria-hidden=true]", ".nav", ".navbar", ".navigation", ".breadcrumb", ".breadcrumbs",
    ".pagination", ".pager", ".sidebar", "#sidebar", ".side-bar", ".widget", ".widget-area", ".share", ".sns",
    ".social", ".comments", "#comments", ".comments-area", ".comment-list", ".related", ".related-posts",
    ".recommend", ".ranking", ".rank", ".toc", "#toc", ".cookie", "#cookie-banner", ".cookie-banner", ".ad", ".ads",
    ".advertisement", ".mw-editsection", ".printfooter", ".catlinks", "#catlinks", "#mw-navigation", ".navbox",
    ".sphinxsidebar", ".headerlink", "#footer", ".footer", ".site-footer", "#header", ".site-header", "#nav",
    ".global-nav", ".gnav", ".skip-link", ".screen-reader-text", ".noprint",
]  # fmt: skip
"""Selectors of what stands around a text, by elements, roles and the names that the usual programs give."""
_TITLE = re.compile(r"<title(?:\s[^<>]*)?>(.{0,2000}?)</title", re.IGNORECASE | re.DOTALL)
_CANONICAL = re.compile(
    r"""<link\s[^<>]*?rel\s*=\s*["']?canonical["']?[^<>]*?href\s*=\s*["']([^"'<>]+)|<meta\s[^<>]*?property\s*=\s*["']og:url["'][^<>]*?content"""
    r"""\s*=\s*["']([^"'<>]+)|<!--\s*saved from url=\(\d+\)(\S+)""",
    re.IGNORECASE,
)
_HEAD_CHARS = 100_000
_TAG = re.compile(r"<(/?)(a|h[1-6]|p|ul|ol|li|pre|br)(?:\s[^<>]*)?>")
_SENTENCE = re.compile(r"[。．！？!?][」』）)】\]\"'”’]*\s*$|[。！？]")
_LINKS = 0.7
"""Of a line's characters, from which on it is a link and not a sentence with one."""
_SHORT = 30
_TAIL_CHARS = 120


@dataclass(slots=True)
class _Line:
    text: str
    linked: float
    heading: bool
    verbatim: bool

    @property
    def is_link(self) -> bool:
        return self.linked >= _LINKS and not self.verbatim

    @property
    def is_short(self) -> bool:
        return len(self.text) <= _SHORT and not self.verbatim and not _SENTENCE.search(self.text)


def read(entry: Entry, encoding: str, lists: UrlLists, passed_over: Counter[str] | None = None) -> Iterator[Document]:
    """The document of one HTML file; its id is the address that the page says is its own, else the file's name.

    Args:
        encoding: of the file; "auto" goes by its bytes and by what it says.
        lists: addresses that are wanted, and unwanted.
        passed_over: counts a page without text, one too large and one whose address is unwanted.

    Raises:
        HaigoError: there is no such encoding, or resiliparse is not installed.
    """
    require_known(encoding)
    over = Counter[str]() if passed_over is None else passed_over
    with readable(entry.name):
        data = entry.stream.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        over[TOO_LARGE] += 1
        return
    markup = charset.of_page(data) if encoding == "auto" else data.decode(encoding, "replace")
    own = _CANONICAL.search(markup[:_HEAD_CHARS])
    url = html.unescape(next(filter(None, own.groups()))) if own else ""
    url = url if host(url) and urlsplit(url).scheme in ("http", "https") else ""  # without a host it is none
    if reason := lists.unwanted(url):
        over[reason] += 1
        return
    if document := document_of(markup, url or entry.key, {"url": url} if url else {}, entry.key):
        yield document
    else:
        over[NO_TEXT] += 1


def document_of(markup: str, name: str, about: dict[str, str], origin: str) -> Document | None:
    """The document of a page's markup, or None where it holds no text.

    Args:
        name: its id.
        about: what is known of it for its meta.
        origin: the file that it is of.
    """
    text = text_of(markup)
    if not text:
        return None
    found = _TITLE.search(markup[:_HEAD_CHARS])
    title = " ".join(html.unescape(found[1]).split()) if found else ""
    own = {"title": title} if title else {}
    return Document(name, text, about | own | {"origin": origin, "licence": UNKNOWN_LICENCE})


def text_of(markup: str) -> str:
    """The text of a page's markup, a line each block; empty where it holds none.

    Raises:
        HaigoError: resiliparse is not installed.
    """
    try:
        from resiliparse.extract.html2text import extract_plain_text
    except ImportError:
        raise HaigoError(
            "pages and web archives cannot be read here: the package resiliparse is not installed.",
            "pip install -c constraints.txt -e '.[data]'",
        ) from None
    blocks = extract_plain_text(
        markup, preserve_formatting="minimal_html", links=True, alt_texts=False, skip_elements=_SKIPPED
    )
    return "\n".join(line.text for line in _without_links(_lines(blocks))).strip("\n")


def _lines(blocks: str) -> list[_Line]:
    lines: list[_Line] = []
    verbatim = linked = False
    for raw in blocks.split("\n"):
        pieces, inside, at, heading = list[str](), 0, 0, False
        keeps = verbatim
        for tag in _TAG.finditer(raw):
            piece = html.unescape(raw[at : tag.start()])
            pieces.append(piece)
            inside += len(piece.strip()) if linked else 0
            closes, name, at = bool(tag[1]), tag[2], tag.end()
            if name == "a":
                linked = not closes
            elif name == "pre":
                verbatim = not closes
                keeps = True
            elif name[0] == "h":
                heading = True
        rest = html.unescape(raw[at:])
        inside += len(rest.strip()) if linked else 0
        text = "".join((*pieces, rest))
        text = text.rstrip() if keeps else " ".join(text.split())
        if text.strip() or (keeps and verbatim):
            lines.append(_Line(text, inside / max(1, len(text)), heading, keeps))
    return lines


def _without_links(lines: list[_Line]) -> list[_Line]:
    """Without lines that are links, the headings above rows of them, and short notices behind the last such row."""
    kept: list[_Line] = []
    row = last = 0
    for line in lines:
        if line.is_link:
            row += 1
            if row == 2:  # a row begins: what stands right above it is its heading
                while kept and len(kept) > last and (kept[-1].heading or kept[-1].is_short) and len(kept) - last <= 1:
                    kept.pop()
            continue
        if row >= 2:
            last = len(kept)
        row = 0
        kept.append(line)
    tail = kept[last:] if last else []
    if tail and last and sum(len(line.text) for line in tail) <= _TAIL_CHARS and all(line.is_short for line in tail):
        del kept[last:]
    return kept
