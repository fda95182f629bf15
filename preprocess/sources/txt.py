"""Plain text: one file one document, or many documents in a file, parted by two blank lines."""

from __future__ import annotations

import io
from collections.abc import Iterator

from haigo.cli import HaigoError

from .. import aozora
from .containers import Entry, readable
from .document import Document, content_id
from .encodings import decode, detect, require_known


def read(entry: Entry, documents: str = "auto", encoding: str = "auto") -> Iterator[Document]:
    """The documents of one text file.

    Args:
        entry: the file.
        documents: "file" (the whole file is one document), "blank-lines" (documents parted by two or more blank
            lines), or "auto": members of a tar and files in Aozora Bunko's format are one document each.
        encoding: a codec's name, or "auto" to detect it.

    Raises:
        HaigoError: the named encoding does not fit.
    """
    if documents == "auto":
        head = decode(entry.head, entry.name)
        documents = "file" if entry.in_tar or aozora.looks_like(head) else "blank-lines"
    if documents == "file":
        yield Document(entry.key, decode(entry.read(), entry.name, encoding), {})
        return
    guessed = encoding == "auto"
    if guessed:
        encoding = detect(entry.head, whole=False)
    require_known(encoding)
    with readable(entry.name):
        lines = io.TextIOWrapper(entry.stream, encoding, errors="replace" if guessed else "strict", newline=None)
        kept: list[str] = []
        blank = 0
        for line in _decoded(lines, entry.name, encoding):
            if line.strip():
                if blank >= 2 and kept:
                    yield _document(entry, kept)
                    kept = []
                kept.extend("\n" for _ in range(blank if kept else 0))
                kept.append(line)
                blank = 0
            else:
                blank += 1
        if kept:
            yield _document(entry, kept)


def _decoded(lines: io.TextIOWrapper, name: str, encoding: str) -> Iterator[str]:
    number = 1
    try:
        for number, line in enumerate(lines, 2):  # noqa: B007  (the number of the line after, for the message)
            yield line
    except UnicodeDecodeError:
        raise HaigoError(
            f"{name} is not {encoding} (near line {number}).", "name the right encoding, or auto"
        ) from None


def _document(entry: Entry, lines: list[str]) -> Document:
    text = "".join(lines).rstrip("\n")
    return Document(content_id(text), text, {"file": entry.key})
