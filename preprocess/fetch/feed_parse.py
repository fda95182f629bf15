"""News feeds as they come: RSS 2.0 (and .9x), RSS 1.0 (RDF, still common in Japan), Atom.

Elements are told by their local names, so that feeds with wrong or missing namespaces are read too. Titles and texts are
HTML in RSS, and in Atom what their type says; how the readings of ruby, CDATA written as text and code with `<` fare is
in `html_text` and `markup`.

Not feedparser: it takes Atom's `type="text"` for HTML and loses `<b>` in it, and a feed that was cut for a whole one. Behind
our decoding it reads the other cases of benchmarks/feed_readers.py, and damaged feeds about as well.
"""

from __future__ import annotations

import dataclasses
import datetime
import email.utils
import html
import re
from collections.abc import Iterator
from xml.etree.ElementTree import Element

from . import feed_xml, html_text
from .feed_xml import CutShort, NotAFeed

__all__ = ["CutShort", "Feed", "Item", "NotAFeed", "parse"]

_MEDIA = ("http://search.yahoo.com/mrss", "media")
_OTHERS = ("http://www.itunes.com", "itunes", "http://purl.org/dc", "dc")
_ATOM = ("http://www.w3.org/2005/Atom", "http://purl.org/atom/ns")
_BLANKS = re.compile("[ \t\r\n\f\xa0]+")
_TAG = re.compile(r"</?([A-Za-z][A-Za-z0-9]*)(?=[\s/>])")
_REFERENCE = re.compile(r"&(?:[A-Za-z][A-Za-z0-9]+|#\d+|#x[0-9A-Fa-f]+);")


@dataclasses.dataclass(frozen=True, slots=True)
class Item:
    """One entry of a feed; what it does not say is an empty string."""

    id: str
    title: str
    link: str
    date: str
    """ISO 8601."""
    author: str
    text: str


@dataclasses.dataclass(frozen=True, slots=True)
class Feed:
    """A feed's own facts and its entries, newest first as they stand."""

    title: str
    licence: str
    items: tuple[Item, ...]
    repaired: int = 0
    """Places where it is not well-formed XML."""


def parse(body: bytes, name: str, charset: str | None = None) -> Feed:
    """Read a feed.

    Args:
        body: as the server sent it.
        name: what to call it in a message.
        charset: what the server said of it.

    Raises:
        NotAFeed: see `feed_xml.parse`; or it has no channel.
    """
    parsed = feed_xml.parse(body, name, charset)
    root = parsed.root
    # RSS 1.0 has its items beside the channel, 2.0 inside, Atom has none; a damaged feed may have two
    channels = [each for each in root.iter() if _local(each) == "channel"]
    items = [each for parent in (*channels, root) for each in parent if _local(each) in ("item", "entry")]
    if not channels and not items and _local(root).lower() != "feed":
        raise NotAFeed(f"{name} has neither a channel nor items.", "give the address of an RSS or Atom feed")
    head = channels[0] if channels else root
    return Feed(_text(head, "title"), _licence(head, root), tuple(map(_item, items)), parsed.repaired)


def _licence(head: Element, root: Element) -> str:
    licence = ""
    for parent in (head, root):
        for child in parent:
            local = _local(child)
            if local == "license":
                licence = _resource(child) or _plain(child) or licence
            elif local in ("copyright", "rights") and not licence:
                licence = _plain(child)
            elif local == "link" and child.get("rel") in ("license", "copyright"):
                licence = child.get("href") or licence
    return licence


def _item(element: Element) -> Item:
    link = _link(element)
    about = next((value for key, value in element.attrib.items() if key.endswith("}about")), "")
    date = next((first for name in _DATES if (first := _iso(_text(element, name)))), "")
    author = _text(element, "creator") or _text(element, "author")
    named = next((child for child in element if _local(child) == "author"), None)
    if named is not None and len(named):
        author = _text(named, "name")
    # a body that is a picture and nothing else does not hide the summary
    text = next((first for name in _BODIES for child in _named(element, name) if (first := _words(child))), "")
    titles = (_BLANKS.sub(" ", _words(child)).strip() for child in _named(element, "title"))
    title = next((first for first in titles if first), "")
    return Item(_text(element, "guid") or _text(element, "id") or about or link, title, link, date, author, text)


def _words(element: Element) -> str:
    """The text of a title or a body."""
    kind = (element.get("type") or "").strip().lower()
    if not element.tag.startswith(tuple(f"{{{space}" for space in _ATOM)):
        kind = "html"
    elif element.get("mode") == "base64" or ("/" in kind and not re.match(r"text/|application/xhtml", kind)):
        return ""  # a picture, a sound, data
    if len(element):  # Atom's xhtml, and markup that nobody escaped
        return html_text.text_of(_inner(element))[0]
    value = element.text or ""
    if kind in ("text", "text/plain") or (not kind and not _looks_like_html(value)):
        lines = (_BLANKS.sub(" ", line).strip() for line in value.split("\n"))
        return "\n".join(line for line in lines if line)
    return html_text.text_of(markup(value))[0]


def markup(value: str) -> str:
    """HTML in which `<` that begins no tag of HTML's is a sign like others: code and mathematics stand in summaries."""
    value = html_text.without_cdata(value)

    def kept(match: re.Match[str]) -> str:
        return match[0] if match[1] and match[1].lower() in html_text.TAGS else f"&lt;{match[0][1:]}"

    return re.sub(r"<(?!!--|!doctype|/?[A-Za-z][A-Za-z0-9]*[:-])(?:/?([A-Za-z][A-Za-z0-9]*)(?=[\s/>]))?", kept, value)


def _looks_like_html(value: str) -> bool:
    return bool(_REFERENCE.search(value)) or any(tag.lower() in html_text.TAGS for tag in _TAG.findall(value))


_DATES = ("pubDate", "published", "date", "issued", "updated", "modified")
_BODIES = ("encoded", "content", "description", "summary")


def _link(element: Element) -> str:
    first = ""
    for child in element:
        if _local(child) == "link":
            if child.get("href") is None:
                return _plain(child)
            if child.get("rel", "alternate") == "alternate":
                return str(child.get("href")).strip()
            first = first or str(child.get("href")).strip()
    return first


def _inner(element: Element) -> str:
    return "".join([html.escape(element.text or ""), *map(_as_html, element)])


def _as_html(element: Element) -> str:
    return f"<{_local(element)}>{_inner(element)}</{_local(element)}>{html.escape(element.tail or '')}"


def _named(element: Element, name: str) -> Iterator[Element]:
    """Children of a name, the feed's own before those of other vocabularies; a medium's are of another thing."""
    named = [child for child in element if _local(child) == name and not _of(child, _MEDIA)]
    yield from sorted(named, key=lambda child: _of(child, _OTHERS))


def _of(element: Element, spaces: tuple[str, ...]) -> bool:
    return element.tag.startswith(tuple(f"{{{space}" for space in spaces))


def _text(element: Element, name: str) -> str:
    return next((first for child in _named(element, name) if (first := _plain(child))), "")


def _plain(element: Element) -> str:
    return _BLANKS.sub(" ", "".join(element.itertext())).strip()


def _resource(element: Element) -> str:
    return next((value for key, value in element.attrib.items() if key.endswith("resource") or key == "href"), "")


def _local(element: Element) -> str:
    return str(element.tag).rsplit("}", 1)[-1]


def _iso(value: str) -> str:
    """A date as RSS (RFC 822) or Atom and Dublin Core (ISO 8601) write it; empty when it is neither."""
    if not value:
        return ""
    try:
        return datetime.datetime.fromisoformat(value).isoformat()
    except ValueError:
        pass
    try:
        return email.utils.parsedate_to_datetime(value).isoformat()
    except (ValueError, TypeError, IndexError, OverflowError):
        return ""
