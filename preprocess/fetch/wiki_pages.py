"""Articles of a MediaWiki dump on disk, read and stripped by several processes, in the order of the dump.

With the index of a multistream dump (`offset:page id:title`) the processes read their own parts of the file; what they
read is compared with the number of pages that the index names. Without one the file is read once from its beginning.

A page is read by `sources.mediawiki`. Not mwxml: it ends at an element that it does not know (<discussionthreadinginfo>) and
at a dump without <siteinfo>, drops unescaped tags in a text with what follows, and loses the main text of two slots.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import html
import io
import itertools
import re
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast
from urllib.parse import quote, urlsplit

from haigo import pool
from haigo.cli import HaigoError
from haigo.formats.documents.containers import Entry, entries, readable, unpack

from ..rules import wikitext
from ..sources import Document, mediawiki

_GROUP = 10  # streams of 100 pages that make a piece of work
_BATCH = 500  # articles that make one where there is no index
_MOST_BYTES = 1 << 30  # out of one piece, whose pages hold some 20 MB

HOLES = "sentence around a template whose text is not known (its page is kept)"

Result = tuple[list[Document], "collections.Counter[str]"]


@dataclasses.dataclass(frozen=True, slots=True)
class Piece:
    """Bytes of a multistream dump, and how many pages the index says they hold."""

    start: int
    end: int
    pages: int


def run(dump: Path, strip: bool, index: Path | None, taken: int, workers: int) -> Iterator[tuple[int, Result]]:
    """The articles after the first `taken` pieces of work, a piece at a time.

    Args:
        dump: what to read.
        strip: whether its markup is to go.
        index: of the dump, if it is a multistream one.
        taken: how many pieces were done before.
        workers: processes; the result does not depend on it.

    Yields:
        How many pieces are done now; the piece's documents and what was passed over, by reason.

    Raises:
        HaigoError: the dump is cut or damaged, or the index is not its own.
    """
    results: Iterator[Result]
    if index is not None:
        pieces = _pieces(dump, index)[taken:]
        results = pool.ordered(functools.partial(_read_piece, dump, strip), pieces, workers)
    else:
        batches = itertools.islice(_batches(dump), taken, None)
        results = pool.ordered(functools.partial(_stripped, strip), batches, workers)
    yield from enumerate(results, taken + 1)


def site(dump: Path) -> dict[str, str]:
    """Name, dbname and base of the wiki, as the dump's head tells them.

    Raises:
        HaigoError: the file is no MediaWiki dump.
    """
    head = next(entries(dump)).head.decode("utf-8", "replace")
    if "<mediawiki" not in head[:4096]:
        raise HaigoError(
            f"{dump} is not a MediaWiki dump.", "give pages-articles or pages-articles-multistream (.xml.bz2)"
        )
    facts = {}
    for key, tag in (("name", "sitename"), ("dbname", "dbname"), ("base", "base")):
        match = re.search(rf"<{tag}>([^<]*)</{tag}>", head)
        facts[key] = html.unescape(match[1]) if match else ""
    return facts


def address(site: dict[str, str], document: Document) -> str:
    """Where the article stands."""
    base = site.get("base") or ""
    title = quote(str(document.meta.get("title", "")).replace(" ", "_"))
    return f"{base.rpartition('/')[0]}/{title}" if urlsplit(base).scheme in ("http", "https") else title


def terms(licence: str) -> tuple[str, ...]:
    """Sentences for the card of a wiki's corpus."""
    return (
        f"The wiki says of its text: {licence}. Name the authors by linking the article (each document's origin).",
        "Share-alike licences ask that adaptations be shared under the same terms.",
        "Quotations inside articles keep their own authors' rights.",
    )


def _pieces(dump: Path, index: Path) -> list[Piece]:
    offsets, pages = array("q"), array("q")
    for entry in entries(index):
        with readable(entry.name):
            for number, line in enumerate(entry.stream, 1):
                match = re.match(rb"(\d{1,18}):\d+:", line)
                if match is None:
                    raise HaigoError(
                        f"{index} is not the index of a multistream dump (line {number}).",
                        "give offset:page:title lines",
                    )
                offset = int(match[1])
                if not offsets or offset != offsets[-1]:
                    offsets.append(offset)
                    pages.append(0)
                pages[-1] += 1
    size = dump.stat().st_size
    if not offsets or list(offsets) != sorted(offsets) or offsets[-1] >= size:
        raise HaigoError(f"{index} does not belong to {dump}.", "give the index of the same date")
    ends = [*offsets[1:], size]
    return [
        Piece(offsets[at], ends[min(at + _GROUP, len(ends)) - 1], sum(pages[at : at + _GROUP]))
        for at in range(0, len(offsets), _GROUP)
    ]


def _read_piece(dump: Path, strip: bool, piece: Piece) -> Result:
    """What one process does of a multistream dump."""
    name = f"{dump} (bytes {piece.start:,} to {piece.end:,})"
    with open(dump, "rb") as handle:
        handle.seek(piece.start)
        packed = handle.read(piece.end - piece.start)
    with readable(name):
        markup = unpack(cast(BinaryIO, io.BytesIO(packed))).read(_MOST_BYTES + 1)
    if len(markup) > _MOST_BYTES:
        raise HaigoError(f"{name} unpacks to more than {_MOST_BYTES >> 20} MB.", "it is no dump; leave it out")
    markup = markup.rstrip().removesuffix(b"</mediawiki>")
    passed_over: collections.Counter[str] = collections.Counter()
    entry = Entry(name, str(dump), io.BufferedReader(io.BytesIO(b"<mediawiki>" + markup + b"</mediawiki>")))
    documents = list(mediawiki.read(entry, passed_over=passed_over))
    if len(documents) + sum(passed_over.values()) != piece.pages:
        raise HaigoError(
            f"{name} holds {len(documents) + sum(passed_over.values())} pages, and its index says {piece.pages}.",
            "fetch the dump and the index of one date again",
        )
    return _stripped(strip, (documents, passed_over))


def _batches(dump: Path) -> Iterator[Result]:
    passed_over: collections.Counter[str] = collections.Counter()
    for entry in entries(dump):
        documents = mediawiki.read(entry, passed_over=passed_over)
        while batch := list(itertools.islice(documents, _BATCH)):
            yield batch, collections.Counter(passed_over)
            passed_over.clear()
    if passed_over:
        yield [], passed_over


def _stripped(strip: bool, batch: Result) -> Result:
    documents, passed_over = batch
    lost: collections.Counter[str] = collections.Counter()
    kept = [kept for each in documents if (kept := stripped(each, lost, strip)) is not None]
    passed_over += collections.Counter({"nothing but markup": len(documents) - len(kept), HOLES: lost.total()})
    return kept, passed_over


def stripped(article: Document, lost: collections.Counter[str], strip: bool = True) -> Document | None:
    """An article without its markup, unless that is to stay; None where there is nothing else.

    Args:
        lost: counts the templates for which a sentence was taken out.
    """
    text = article.text
    if strip:
        text = wikitext.strip(wikitext.titled(text, str(article.meta.get("title", ""))), lost)
    meta = article.meta | ({"markup": "plain"} if strip else {})
    return Document(article.id, text, meta) if text.strip() else None
