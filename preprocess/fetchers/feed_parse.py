"""News feeds as they come: RSS 2.0 (and .9x), RSS 1.0 (RDF, still common in Japan), Atom.

Elements are told by their local names, so that feeds with wrong or missing namespaces are read too. Entities that a
document declares itself are refused: no feed needs them, and bombs are made of them.
"""

from __future__ import annotations

import dataclasses
import datetime
import email.utils
import re
from xml.etree.ElementTree import Element, ParseError

from haigo.cli import HaigoError

from . import html_text

_DECLARED = re.compile(rb"""^\s*<\?xml[^>]*\bencoding\s*=\s*["']([\w.-]+)["']""", re.IGNORECASE)
_BY_EXPAT = frozenset({"utf-8", "utf8", "utf-16", "us-ascii", "ascii", "iso-8859-1"})
_JAPANESE = {"shift_jis": "cp932", "shift-jis": "cp932", "x-sjis": "cp932", "windows-31j": "cp932", "sjis": "cp932"}


class NotAFeed(HaigoError):
    """What came is no feed."""


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


def parse(body: bytes, name: str) -> Feed:
    """Read a feed.

    Raises:
        NotAFeed: it is not well-formed XML, declares entities, or is XML of another kind.
    """
    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import fromstring

    try:
        return _parsed(fromstring(_decoded(body)), name)
    except RecursionError:
        raise NotAFeed(f"{name} is nested deeper than any feed.", "leave it out") from None
    except ParseError as error:
        raise NotAFeed(f"{name} is not well-formed XML ({error}).", "check the address") from None
    except DefusedXmlException:
        raise NotAFeed(f"{name} declares entities of its own, which no feed needs.", "leave it out") from None
    except (ValueError, LookupError) as error:
        raise NotAFeed(f"{name} cannot be decoded ({error}).", "check the address") from None


def _parsed(root: Element, name: str) -> Feed:
    kind = _local(root)
    if kind == "feed":
        return _feed(root, [child for child in root if _local(child) == "entry"], root)
    if kind in ("rss", "RDF"):
        channel = next((child for child in root if _local(child) == "channel"), root)
        # RSS 1.0 has its items beside the channel, 2.0 inside
        return _feed(channel, [each for place in (channel, root) for each in place if _local(each) == "item"], root)
    raise NotAFeed(f"{name} is XML of another kind (<{kind}>).", "give the address of an RSS or Atom feed")


def _decoded(body: bytes) -> bytes | str:
    """expat knows no Japanese encodings but Unicode's: those are decoded here and their declaration dropped."""
    body = body.removeprefix(b"\xef\xbb\xbf").lstrip()
    declared = _DECLARED.match(body[:200])
    name = declared[1].decode("ascii").lower() if declared else "utf-8"
    if name in _BY_EXPAT or body[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return body
    text = body.decode(_JAPANESE.get(name, name))
    return re.sub(r"^\s*<\?xml[^>]*\?>", "", text, count=1)


def _feed(head: Element, items: list[Element], root: Element) -> Feed:
    licence = ""
    for place in (head, root):
        for child in place:
            local = _local(child)
            if local == "license":
                licence = _resource(child) or _plain(child) or licence
            elif local in ("copyright", "rights") and not licence:
                licence = _plain(child)
            elif local == "link" and child.get("rel") in ("license", "copyright"):
                licence = child.get("href") or licence
    return Feed(_text(head, "title"), licence, tuple(_item(element) for element in items))


def _item(element: Element) -> Item:
    link = _link(element)
    about = next((value for key, value in element.attrib.items() if key.endswith("}about")), "")
    date = next((found for name in _DATES if (found := _iso(_text(element, name)))), "")
    author = _text(element, "creator") or _text(element, "author")
    named = next((child for child in element if _local(child) == "author"), None)
    if named is not None and len(named):
        author = _text(named, "name")
    body = next((html for name in _BODIES if (html := _inner(element, name))), "")
    title = html_text.text_of(_text(element, "title"))[0]
    text = html_text.text_of(body)[0]
    return Item(_text(element, "guid") or _text(element, "id") or about or link, title, link, date, author, text)


_DATES = ("pubDate", "published", "date", "issued", "updated", "modified")
_BODIES = ("encoded", "content", "description", "summary")


def _link(element: Element) -> str:
    found = ""
    for child in element:
        if _local(child) == "link":
            if child.get("href") is None:
                return _plain(child)
            if child.get("rel", "alternate") == "alternate":
                return str(child.get("href")).strip()
            found = found or str(child.get("href")).strip()
    return found


def _inner(element: Element, name: str) -> str:
    for child in element:
        if _local(child) == name and not child.tag.startswith("{http://search.yahoo.com/mrss"):
            if len(child):  # Atom's xhtml: markup as elements
                return "".join(_as_html(part) for part in child)
            return child.text or ""
    return ""


def _as_html(element: Element) -> str:
    import html

    parts = [f"<{_local(element)}>", html.escape(element.text or "")]
    parts += [_as_html(child) for child in element]
    return "".join([*parts, f"</{_local(element)}>", html.escape(element.tail or "")])


def _text(element: Element, name: str) -> str:
    return next((_plain(child) for child in element if _local(child) == name), "")


def _plain(element: Element) -> str:
    return " ".join("".join(element.itertext()).split())


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
