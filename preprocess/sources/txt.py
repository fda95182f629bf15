"""Plain text: one file one document, or many documents in a file, parted by blank lines, by lines or by length."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator

from haigo.cli import HaigoError
from haigo.formats.documents.broken import Broken
from haigo.formats.documents.containers import MOST_BYTES, Entry, readable, too_long
from haigo.formats.documents.document import Document, content_id

from ..rules import aozora
from .encodings import decode, decoded, glimpse, judge, require_known

_BLOCK = 1 << 18
PIECE = 500
"""Characters of a piece of a long text: it ends before a blank line or after a sentence, after twice as many at any line."""
_ENDS: dict[str, Callable[[int, int, str], bool]] = {
    "blank-lines": lambda blank, size, last: blank >= 2,
    "paragraphs": lambda blank, size, last: blank >= 1,
    "lines": lambda blank, size, last: True,
    "pieces": lambda blank, size, last: size >= (PIECE if blank or ends_sentence(last) else 2 * PIECE),
}
"""Whether a document ends before a line: by the blank lines there, the characters before them and the line before."""


def read(
    entry: Entry, documents: str = "auto", encoding: str = "auto", broken: Broken | None = None
) -> Iterator[Document]:
    """The documents of one text file.

    Args:
        entry: the file.
        documents: "file" (the whole file is one document), "blank-lines" (documents parted by two or more blank
            lines), "paragraphs" (by one or more), "lines" (each line is one), "pieces" (of some 500 characters, whole
            lines), or "auto": members of a tar and files in Aozora Bunko's format whole, others as "blank-lines".
        encoding: a codec's name, or "auto" to detect it.
        broken: a file that is in no known encoding counts as one broken row.

    Raises:
        HaigoError: the encoding cannot be told or the named one does not fit; a document is larger than any text.
    """
    if documents == "auto":
        is_aozora = aozora.looks_like(glimpse(entry.head))
        documents = "file" if entry.in_tar or is_aozora else "blank-lines"
    require_known(encoding)
    if documents == "file" or entry.path is None:
        data = entry.read(MOST_BYTES)
        try:
            text = decode(data, entry.name, encoding)
        except HaigoError as error:
            (broken or Broken()).note(error)
            return
        if documents == "file":
            yield Document(entry.key, text, {})
        else:
            yield from _parted(entry, _lines([text], entry.name), _ENDS[documents])
        return
    if encoding == "auto":
        try:
            encoding = judge(entry.again, entry.name)
        except HaigoError as error:
            (broken or Broken()).note(error)
            return
    with readable(entry.name):
        stream = iter(lambda: entry.stream.read(_BLOCK), b"")
        yield from _parted(entry, _lines(decoded(stream, entry.name, encoding, "near "), entry.name), _ENDS[documents])


def _lines(texts: Iterable[str], name: str) -> Iterator[str]:
    """Lines of text that comes in blocks; LF, CR and CR LF end them, and LF stands there afterwards."""
    ends = io.IncrementalNewlineDecoder(None, translate=True)
    number, held = 1, [""]
    size = 0
    for block in texts:
        *complete, rest = ends.decode(block).split("\n")
        for line in complete:
            yield "".join([*held, line, "\n"])
            number, held, size = number + 1, [], 0
        held.append(rest)
        size += len(rest)
        if size > MOST_BYTES:
            raise too_long(name, number)
    line = "".join([*held, ends.decode("", final=True)])
    if line:
        yield line


def _parted(entry: Entry, lines: Iterable[str], ends: Callable[[int, int, str], bool]) -> Iterator[Document]:
    kept: list[str] = []
    blank = size = 0
    for line in lines:
        if line.strip():
            if kept and ends(blank, size, kept[-1]):
                yield _document(entry, kept)
                kept, size = [], 0
            kept.extend("\n" for _ in range(blank if kept else 0))
            kept.append(line)
            blank = 0
            size += len(line)
            if size > MOST_BYTES:
                raise HaigoError(
                    f"{entry.name} has a document of more than {MOST_BYTES >> 20} MB.",
                    "say what parts it with --documents (`txt_documents:` in a run file), or write its documents as JSON lines",
                )
        else:
            blank += 1
    if kept:
        yield _document(entry, kept)


def ends_sentence(text: str) -> bool:
    """Whether a line, or a text, ends as a sentence does."""
    return text.rstrip().endswith(tuple("。．.!?！？…」』）)"))


def _document(entry: Entry, lines: list[str]) -> Document:
    text = "".join(lines).rstrip("\n")
    return Document(content_id(text), text, {"file": entry.key})
