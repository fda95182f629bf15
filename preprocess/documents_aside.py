"""Documents of a file that cannot be sought (one packed stream, a tar, a table), read through once and laid aside in pieces.

A row is `{"id", "text", "meta"}`, with the lines that a site repeats on its pages under "repeated" where these are looked for:
that takes the file as a whole. Reading costs a tenth to a third of what cleaning does, and goes on in one process.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import orjson
import zstandard

from haigo import digests, files
from haigo.formats.documents import Document, jsonl
from haigo.formats.documents.containers import entries

from . import cleaner, cleaning, site_lines, sources
from .options import CleanOptions
from .site_lines import Page

_LEVEL = 1
_PAGES = "pages"


def lay(path: Path, folder: Path, options: CleanOptions, piece_bytes: int) -> dict[str, Any]:
    """Read a file through and write its documents to `folder` in pieces of about so many bytes as they lie on the disk.

    Returns:
        aside: name -> sha256 of every piece; read: what was read, for `cleaning.Reading.take`.

    Raises:
        HaigoError: as of `sources.read`, or there is no room.
    """
    size = path.stat().st_size
    files.require_space(folder, size, f"{path}, laid aside in pieces,")
    print(
        f"haigo: {path} cannot be sought: it is read through by one process first, and its documents are laid aside in"
        f" pieces, up to about {size / 1e6:,.0f} MB of disk until they are cleaned.",
        file=sys.stderr,
    )
    reading = cleaning.Reading(options.skip_broken)
    stream = sources.read([path], options, broken=reading.broken, passed_over=reading.passed_over)
    pages = site_lines.marked(reading.counted(stream), folder / _PAGES, cleaner.site_pages(options))
    names = list(_written(pages, folder, piece_bytes))
    files.remove_tree(folder / _PAGES)
    return {"aside": {name: digests.sha256(folder / name) for name in names}, "read": reading.noted()}


def _written(stream: Iterable[Document], folder: Path, piece_bytes: int) -> Iterator[str]:
    rest, number, more = iter(stream), 0, True
    while more:
        name, more = f"{number:05d}.jsonl.zst", False
        with files.create(folder / name) as raw:
            with zstandard.ZstdCompressor(level=_LEVEL).stream_writer(raw, closefd=False) as packed:
                for document in rest:
                    packed.write(row(document))
                    if raw.tell() >= piece_bytes:
                        more = True
                        break
        yield name
        number += 1


def row(document: Document) -> bytes:
    """A document as a line, whatever its text holds."""
    fields: dict[str, Any] = {"id": document.id, "text": document.text, "meta": document.meta}
    if isinstance(document, Page):
        fields["repeated"] = document.repeated
    try:
        return orjson.dumps(fields) + b"\n"
    except TypeError:  # half a surrogate pair
        return json.dumps(fields).encode() + b"\n"


def read(path: Path) -> Iterator[Document]:
    """The documents of a piece, as they were laid aside."""
    for entry in entries(path):
        for line in entry.stream:
            fields = jsonl.parse(line, str(path), 0)
            document = Document(fields["id"], fields["text"], fields["meta"])
            pages = fields.get("repeated")
            yield document if pages is None else Page(document.id, document.text, document.meta, tuple(pages))
