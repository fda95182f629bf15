"""MediaWiki XML dumps (`pages-articles.xml`, usually .bz2): articles only, redirects passed over, wikitext as it stands.

Turning wikitext into text is `preprocess.rules.wikitext`. The tree is dropped page by page, so memory does not grow.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import BinaryIO, cast
from xml.etree import ElementTree

from haigo.cli import HaigoError
from haigo.formats.documents.containers import MOST_BYTES, Entry, readable
from haigo.formats.documents.document import Document

# as <model> names them; a page without one is wikitext, as all were before there were others
_TEXT_MODELS = frozenset({"", "wikitext"})
_TEXT_FORMATS = frozenset({"", "text/x-wiki", "text/plain"})
_PAGE_BYTES = 2 * MOST_BYTES
_DEEPEST = 250
_REDIRECT = re.compile(r"\s*[#＃](?:redirect|転送|リダイレクト)\s*:?\s*\[\[", re.IGNORECASE)


def is_redirect(text: str) -> bool:
    """True for wikitext that only leads to another page."""
    return _REDIRECT.match(text) is not None


def read(
    entry: Entry, namespaces: frozenset[str] = frozenset({"0"}), passed_over: Counter[str] | None = None
) -> Iterator[Document]:
    """The articles of one dump; id is the page id, meta holds the title and `markup: wikitext`.

    Args:
        entry: the dump.
        namespaces: numbers of those wanted.
        passed_over: counts the pages that are no articles, by reason.

    Raises:
        HaigoError: not well-formed XML (a cut dump, for one), or not a MediaWiki export; gives the line.
    """
    with readable(entry.name):
        try:
            yield from _pages(entry, namespaces, Counter() if passed_over is None else passed_over)
        except ElementTree.ParseError as error:
            raise HaigoError(
                f"{entry.name} is not well-formed XML (line {error.position[0]}): {error.msg}.",
                "fetch the dump again; it may be cut short",
            ) from None
        except RecursionError:
            raise HaigoError(
                f"{entry.name} has a page with tags in tags without end.", "it is no dump of articles; leave it out"
            ) from None


class _Metered:
    """A dump's bytes for the parser, which keeps a page whole: one larger than any is refused before it fills the memory."""

    def __init__(self, entry: Entry) -> None:
        self._entry = entry
        self.count = 0

    def read(self, size: int = -1) -> bytes:
        data = self._entry.stream.read(size)
        self.count += len(data)
        if self.count > _PAGE_BYTES:
            raise HaigoError(
                f"{self._entry.name} has a page of more than {_PAGE_BYTES >> 20} MB.",
                "take a dump with the latest revisions only (pages-articles)",
            )
        return data


def _pages(entry: Entry, namespaces: frozenset[str], passed_over: Counter[str]) -> Iterator[Document]:
    metered = _Metered(entry)
    events = ElementTree.iterparse(cast(BinaryIO, metered), events=("start", "end"))
    root = next(events)[1]
    if _local(root.tag) != "mediawiki":
        raise HaigoError(
            f"{entry.name} is XML of another kind (<{_local(root.tag)}>).",
            "give a MediaWiki export, or name the format",
        )
    depth = 1
    for event, element in events:
        depth += 1 if event == "start" else -1
        if event == "start" or depth != 1 or _local(element.tag) != "page":  # a text may hold a raw <page>
            continue
        fields = {_local(child.tag): child for child in element}
        revisions = [child for child in element if _local(child.tag) == "revision"]
        # the main slot's parts are the revision's own; other slots have theirs below <content>
        parts = {_local(part.tag): part for part in (revisions[-1] if revisions else ())}
        text = _markup(parts["text"]) if "text" in parts else ""
        ns = (fields["ns"].text or "0") if "ns" in fields else "0"
        if ns not in namespaces:
            passed_over["other namespace"] += 1
        elif _said(parts, "model") not in _TEXT_MODELS or _said(parts, "format") not in _TEXT_FORMATS:
            passed_over["page that is no wikitext"] += 1
        elif "redirect" in fields or is_redirect(text):
            passed_over["redirect"] += 1
        elif not text:
            passed_over["page without text"] += 1
        else:
            title = (fields["title"].text or "") if "title" in fields else ""
            number = (fields["id"].text or title) if "id" in fields else title
            yield Document(number, text, {"title": title, "markup": "wikitext"})
        root.clear()
        metered.count = 0


def _said(parts: dict[str, ElementTree.Element], name: str) -> str:
    return (parts[name].text or "").strip().lower() if name in parts else ""


def _markup(element: ElementTree.Element, depth: int = 0) -> str:
    """The text of an element; tags that were not escaped in it are written out again as the markup that they are."""
    if depth > _DEEPEST:
        raise RecursionError  # before Python says so: some libraries let it go on until the stack is full
    if len(element) == 0:
        return element.text or ""
    pieces = [element.text or ""]
    for child in element:
        name = _local(child.tag)
        attributes = "".join(f' {_local(key)}="{value}"' for key, value in child.attrib.items())
        inside = _markup(child, depth + 1)
        pieces.append(f"<{name}{attributes}>{inside}</{name}>" if inside else f"<{name}{attributes} />")
        pieces.append(child.tail or "")
    return "".join(pieces)


def _local(tag: str) -> str:
    return tag.rsplit("}", 1)[-1]
