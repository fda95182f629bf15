"""Where documents come from: one small file a format, and `read`, which finds out which one a file needs.

What belongs here is getting documents out of files as they are found, one at a time. What does not: changing their
text (`preprocess.clean`).
"""

from __future__ import annotations

import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from haigo.cli import HaigoError
from haigo.formats.documents import jsonl
from haigo.formats.documents.broken import Broken
from haigo.formats.documents.containers import SUFFIXES, Entry, entries, expand, readable
from haigo.formats.documents.document import Document

from ..options import ReadOptions
from ..suffixes import CODE_SUFFIXES, LOOKED_INTO, TEXT_SUFFIXES
from . import kokkai, mediawiki, page, parquet, structured, txt, url_lists, warc
from .encodings import glimpse

__all__ = ["Document", "detect_format", "input_files", "jsonl", "read", "read_entry", "tell_twice"]

_BY_SUFFIX = {".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet", ".txt": "txt"}
_PAGES = {".html": "html", ".htm": "html", ".xhtml": "html", ".shtml": "html", ".warc": "warc", ".wet": "warc"}
"""Read as such by their names alone: what only looks so may be a program's, or a text about it."""
_API = re.compile(rb'"(?:numberOfRecords|speechRecord|meetingRecord)"')


Reader = Callable[[Entry, ReadOptions, Broken | None, "Counter[str] | None"], Iterator[Document]]
READERS: dict[str, Reader] = {
    "jsonl": lambda entry, how, broken, over: jsonl.read(entry, how.text_key, broken),
    "parquet": lambda entry, how, broken, over: parquet.read(entry, how.text_key, broken),
    "txt": lambda entry, how, broken, over: txt.read(entry, how.txt_documents, how.encoding, broken),
    "mediawiki": lambda entry, how, broken, over: mediawiki.read(entry, passed_over=over),
    "kokkai": lambda entry, how, broken, over: kokkai.read(entry, how.attendance),
    "files": lambda entry, how, broken, over: txt.read(entry, "file", how.encoding, broken),
    "html": lambda entry, how, broken, over: page.read(entry, how.encoding, _lists(how), over),
    "warc": lambda entry, how, broken, over: warc.read(entry, _lists(how), over),
}
"""Format -> what reads a file of it; `options.FORMATS` names them."""
_BY_CONTENT: dict[str, Callable[[Entry, bytes], bool]] = {
    "parquet": lambda entry, start: entry.head.startswith(b"PAR1"),
    "mediawiki": lambda entry, start: start.startswith(b"<") and b"<mediawiki" in entry.head[:4096],
    "kokkai": lambda entry, start: (
        start.startswith(b"{") and bool(_API.search(entry.head[:4096])) and _BY_SUFFIX.get(suffix(entry.key)) != "jsonl"
    ),
}
"""Format -> whether a file is of it by its first bytes (as they are, and without what stands before text)."""


def _lists(how: ReadOptions) -> url_lists.UrlLists:
    return url_lists.of(tuple(how.keep_urls), tuple(how.drop_urls))


def input_files(
    paths: Sequence[str | os.PathLike[str]], patterns: Iterable[str] = (), exclude: Iterable[str] = ()
) -> list[tuple[Path, str]]:
    """The files that `paths` name, in reading order, each with its name relative to what was given.

    Raises:
        HaigoError: nothing named, a path that does not exist, a pattern or folder without files.
    """
    named = list(expand(paths, patterns, exclude))
    if not named:
        raise HaigoError("no input file is named.", "name at least one file, folder or pattern")
    return named


def tell_twice(found: Iterable[tuple[Path, str]]) -> None:
    """Say which inputs hold the same bytes, under one name or several: every document of theirs counts twice.

    Args:
        found: each input and its sha256.
    """
    first: dict[str, Path] = {}
    shown = []
    for path, digest in found:
        if digest in first and path.stat().st_size:
            shown.append(f"{first[digest]} and {path}")
        first.setdefault(digest, path)
    if shown:
        more = f" ({len(shown) - 1} more such)" if shown[1:] else ""
        print(f"haigo: {shown[0]} hold the same bytes{more}: their documents count twice.", file=sys.stderr)


def read(
    paths: Sequence[str | os.PathLike[str]],
    options: ReadOptions | None = None,
    *,
    broken: Broken | None = None,
    passed_over: Counter[str] | None = None,
    **given: Any,
) -> Iterator[Document]:
    """Documents of files, folders and patterns, in a fixed order, one at a time.

    Args:
        paths: files, folders or glob patterns; compressed files and tars are looked into.
        options: or its fields by name. The format "auto" tells each file's own by its name and content; "files" takes every
            file as one document (source code, for one).
        broken: how many rows may be passed over, and which were; None allows none.
        passed_over: counts what is no document by its kind, such as redirects and other namespaces of a dump.

    Raises:
        HaigoError: see the readers; every message names the file, and the line where there is one.
    """
    options = options or ReadOptions(**given)
    stream = (
        document
        for path, key in input_files(paths, options.patterns, options.exclude)
        for entry in entries(path, key)
        for document in read_entry(entry, options, broken, passed_over)
    )
    return stream if options.join == "speech" else _join_minutes(stream)


def read_entry(
    entry: Entry, options: ReadOptions, broken: Broken | None = None, passed_over: Counter[str] | None = None
) -> Iterator[Document]:
    """Documents of one opened file; arguments as in `read`."""
    kind = detect_format(entry) if options.format == "auto" else options.format
    stream = READERS[kind](entry, options, broken, passed_over)
    return (
        stream
        if kind in _PAGES.values() or not (options.keep_urls or options.drop_urls)
        else _wanted(stream, _lists(options), passed_over)
    )


def _wanted(
    stream: Iterator[Document], lists: url_lists.UrlLists, passed_over: Counter[str] | None
) -> Iterator[Document]:
    """Rows of tables and JSON lines that have an address, by the user's lists; pages were asked before they were read."""
    for document in stream:
        reason = lists.unwanted(address(document))
        if reason is None:
            yield document
        elif passed_over is not None:
            passed_over[reason] += 1


def address(document: Document) -> str:
    """The address of a page that a document is, empty where it names none."""
    for value in (document.meta.get("url"), document.id, document.meta.get("origin")):
        if isinstance(value, str) and value.startswith(("http://", "https://")):
            return value
    return ""


def detect_format(entry: Entry) -> str:
    """What a file holds: told by its first bytes, then by its name.

    Raises:
        HaigoError: it is not text of any kind, or text of a format that no reader is for (HTML, a table, subtitles ...).
    """
    with readable(entry.name):
        head = entry.head
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    for kind, is_one in _BY_CONTENT.items():
        if is_one(entry, start):
            return kind
    ending = suffix(entry.key)
    if ending in _PAGES:
        return _PAGES[ending]
    known = _BY_SUFFIX.get(ending)
    whole = ending in CODE_SUFFIXES or ending in TEXT_SUFFIXES
    if whole and ending not in LOOKED_INTO:
        return "files"
    if known not in (None, "txt") and not (known == "jsonl" and head and not start.startswith(b"{")):
        return str(known)
    named = structured.named(ending)
    other = structured.binary(head) or structured.what(glimpse(head), entry.whole) or (named if head.strip() else None)
    if other == "json lines" or (other == "one JSON array" and known == "jsonl"):
        return "jsonl"  # an array is refused there
    if other:
        raise HaigoError(f"{entry.name} is {other}, not plain text.", _fix(other, head))
    if known:
        return known
    if start.startswith(b"{") and ending == ".json":
        return "jsonl"
    if b"\x00" in head and not head.startswith((b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")):
        raise HaigoError(
            f"{entry.name} is not text of a known kind.", "give jsonl, parquet, txt, a MediaWiki dump or minutes"
        )
    return "files" if whole else "txt"


def _fix(kind: str, head: bytes) -> str:
    first = "take its text out first and write that as JSON lines or txt"
    if structured.binary(head) and kind not in ("an RTF document", "a PostScript document"):
        return first  # bytes, not text
    if kind in ("HTML", "a web archive (WARC)"):
        first = f"read it as what it is with preprocess.clean --format {'html' if kind == 'HTML' else 'warc'}"
    if kind == "XML" and b"<numberOfRecords>" in head[:4096]:
        first = "ask the minutes API again with recordPacking=json"
    elif kind == "one JSON array":
        first = "write it as JSON lines (jq -c '.[]' FILE > FILE.jsonl does that)"
    elif kind in ("a table of comma-separated values", "a table of tab-separated values"):
        mark = "" if "comma" in kind else ", sep='\\t'"
        made = f"pandas.read_csv('FILE'{mark}).to_json('FILE.jsonl', orient='records', lines=True, force_ascii=False)"
        first = f'write it as JSON lines (python -c "import pandas; {made}" does that)'
    return f"{first}, or read it as it stands with preprocess.clean --format txt"


def suffix(name: str) -> str:
    """The suffix that tells the content: `.jsonl` of `a.jsonl.zst`."""
    path = Path(name)
    while path.suffix in SUFFIXES:
        path = path.with_suffix("")
    return path.suffix.lower()


def _join_minutes(stream: Iterator[Document]) -> Iterator[Document]:
    """Join runs of speeches to meetings and leave everything else as it is."""
    import itertools

    for is_speech, run in itertools.groupby(stream, key=lambda document: document.meta.get("markup") == "minutes"):
        if is_speech:
            yield from kokkai.join_meetings(run)
        else:
            yield from run
