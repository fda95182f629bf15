"""Web archives: WARC (pages as their servers sent them) and WET (their text, as Common Crawl takes it out). FastWARC reads the
records; what a record holds is read here, bounded: a packed body that unpacks to more than a page could be is never unpacked.
"""

from __future__ import annotations

import io
import re
import sys
import zlib
from collections import Counter
from collections.abc import Iterator
from typing import Any, BinaryIO, cast

from haigo.cli import HaigoError
from haigo.formats.documents.containers import Entry, readable
from haigo.formats.documents.document import Document

from . import charset, page
from .url_lists import UrlLists

_TEXT, _HTML = frozenset({"text/plain"}), frozenset({"text/html", "application/xhtml+xml"})
# possessive: of a page with many comments not every way to end them is tried, which would take for ever
_LOOKS = re.compile(rb"\s*(?:<!--(?>.*?-->)\s*+)*+<(?:!doctype\s+html|html|head|body)\b", re.IGNORECASE | re.DOTALL)
_COMMON = frozenset(
    {"application/pdf", "application/json", "application/xml", "text/xml", "text/css", "text/javascript"}
)
_NO_PAGES = frozenset({"warcinfo", "request", "metadata", "continuation"})
_READ = 1 << 18


class _Counted(io.RawIOBase):
    """The bytes of an archive as FastWARC takes them."""

    def __init__(self, entry: Entry) -> None:
        super().__init__()
        self._entry, self.count = entry, 0

    def readable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        """FastWARC asks where it is, and goes nowhere."""
        if offset or whence != io.SEEK_CUR:
            raise io.UnsupportedOperation("seek")
        return self.count

    def tell(self) -> int:
        return self.count

    def read(self, size: int = -1) -> bytes:
        with readable(self._entry.name):
            data = self._entry.stream.read1(size if size > 0 else _READ)
        self.count += len(data)
        return data


def read(entry: Entry, lists: UrlLists, passed_over: Counter[str] | None = None) -> Iterator[Document]:
    """The pages of one archive; id and `meta.url` are the address, `meta.fetched` is the record's date.

    Args:
        entry: the archive; in gz each record may be packed by itself, as is usual.
        lists: addresses that are wanted, and unwanted.
        passed_over: counts the records that are no pages, by reason.

    Raises:
        HaigoError: FastWARC or resiliparse is not installed, or what stands there is no archive. A last record that is cut
            short is named on stderr and counted; all before it are read.
    """
    try:
        from fastwarc.warc import ArchiveIterator
    except ImportError:
        raise HaigoError(
            "web archives cannot be read here: the package fastwarc is not installed.",
            "pip install -c constraints.txt -e '.[data]'",
        ) from None
    over = Counter[str]() if passed_over is None else passed_over
    whole, last = _Counted(entry), "its beginning"
    records = ArchiveIterator(cast(BinaryIO, whole), parse_http=True, stream_detect=False, auto_decode="none")
    try:
        for record in records:
            url = record.headers.get("WARC-Target-URI") or ""
            url = url.strip("<>")
            last = url or last
            kind = (record.headers.get("WARC-Type") or "").lower()
            document, short = None, record.headers.get("Content-Length") is None
            if kind not in _NO_PAGES and not short:
                document, short = _document(record, kind, url, entry.key, lists, over)
            if short:
                _say_cut(entry, last, whole, over)
                return
            if document is not None:
                yield document
    except OSError as error:
        if error.errno is not None:
            raise
        raise HaigoError(
            f"{entry.name} is no web archive behind {last} ({error}).", "fetch it again, or leave it out"
        ) from None
    if entry.cut:
        _say_cut(entry, last, whole, over)


def _say_cut(entry: Entry, last: str, whole: _Counted, over: Counter[str]) -> None:
    over["record cut short at the end of its file"] += 1
    print(
        f"haigo: {entry.name} is cut short after {whole.count:,} bytes, in the record of {last} or behind it:"
        " what stands before it is read.",
        file=sys.stderr,
    )


def _document(
    record: Any, kind: str, url: str, origin: str, lists: UrlLists, over: Counter[str]
) -> tuple[Document | None, bool]:
    """What a record holds, and whether it is shorter than it says."""
    http = record.http_headers
    if http is None or kind not in ("response", "revisit"):
        stated, encoding = record.headers.get("Content-Type") or "", ""
    else:
        stated, encoding = http.get("Content-Type") or "", http.get("Content-Encoding") or ""
    mime = stated.partition(";")[0].strip().lower()
    reason = _no_page(record, kind, url, mime) or lists.unwanted(url)
    if reason:
        over[reason] += 1
        return None, False
    size = record.content_length
    data = record.reader.read(page.MOST_BYTES + 1)
    if len(data) < min(size, page.MOST_BYTES + 1):
        return None, True
    body = _unpacked(_dechunked(data, http), encoding.strip().lower())
    if body is None or len(body) > page.MOST_BYTES:
        over["record in a packing that cannot be read" if body is None else page.TOO_LARGE] += 1
        return None, False
    if mime not in _HTML | _TEXT and not _LOOKS.match(body[:4096]):
        over["record of a kind that is not said, and no HTML"] += 1
        return None, False
    named = re.search(r"charset\s*=\s*[\"']?([\w.:-]+)", stated, re.IGNORECASE)
    about = {"url": url, "fetched": record.record_date.date().isoformat() if record.record_date else ""}
    if mime in _TEXT and not _LOOKS.match(body[:4096]):
        text = charset.text(body, named[1] if named else None).strip("\n")
        found = Document(url, text, about | {"origin": origin, "licence": page.UNKNOWN_LICENCE}) if text else None
    else:
        found = page.document_of(charset.of_page(body, named[1] if named else None), url, about, origin)
    if found is None:
        over[page.NO_TEXT] += 1
    return found, False


def _no_page(record: Any, kind: str, url: str, mime: str) -> str | None:
    """Why a record is not looked into."""
    if kind == "revisit":
        return "record of a page that had not changed (revisit)"
    if kind not in ("response", "resource", "conversion"):
        return "record of another type"
    if not url.lower().startswith(("http://", "https://")):
        return "record without an address of the web"
    if kind == "response" and record.http_headers is None:
        return "record without a server's reply"
    status = record.http_headers.status_code if kind == "response" else 200
    if status != 200:
        return f"reply with status {status}" if status else "record without a server's reply"
    if mime and mime not in _HTML | _TEXT and mime not in ("application/octet-stream", "unknown/unknown"):
        main = mime.partition("/")[0]
        return (
            f"record of {main}s" if main in ("image", "video", "font") else f"record that is no HTML ({_known(mime)})"
        )
    return page.TOO_LARGE if record.content_length > page.MOST_BYTES else None


def _known(mime: str) -> str:
    """A type by its name, or by its family: there are thousands of names."""
    return mime if mime in _COMMON else f"{mime.partition('/')[0]}/…" if re.match(r"[a-z]+/", mime) else "…"


def _dechunked(data: bytes, http: Any) -> bytes:
    """A body without the lengths of its parts, where it was sent in parts and stored so; as it is, where it only says so."""
    if http is None or "chunked" not in (http.get("Transfer-Encoding") or "").lower():
        return data
    pieces, at = [], 0
    while found := re.compile(rb"([0-9A-Fa-f]{1,8})[^\r\n]{0,200}\r\n").match(data, at):
        size = int(found[1], 16)
        pieces.append(data[found.end() : found.end() + size])
        at = found.end() + size + 2
        if not size:
            break
    return b"".join(pieces) if pieces else data


def _unpacked(data: bytes, encoding: str) -> bytes | None:
    """A body as it was before it was packed, a byte more than a page at most; None where it cannot be."""
    most = page.MOST_BYTES + 1
    try:
        if encoding in ("gzip", "x-gzip", "deflate"):
            if data[:2] == b"\x1f\x8b":
                return zlib.decompressobj(31).decompress(data, most)
            if encoding != "deflate":
                return data  # it was unpacked when it was stored
            try:
                return zlib.decompressobj().decompress(data, most)
            except zlib.error:
                return zlib.decompressobj(-15).decompress(data, most)
        if encoding == "br":
            import brotli

            return cast(bytes, brotli.Decompressor().process(data, output_buffer_limit=most))
        if encoding == "zstd":
            import zstandard

            return zstandard.ZstdDecompressor().stream_reader(data).read(most)
    except Exception:  # each packing has errors of its own
        return data if _LOOKS.match(data[:4096]) else None
    return data if encoding in ("", "identity", "none", "utf-8", "utf8") or _LOOKS.match(data[:4096]) else None
