"""Tables of wikitext are dropped; those of HTML, which often hold prose, become lines with their cells parted."""

from __future__ import annotations

import re

_BEFORE = " \t:*#"
_TAGS = re.compile(r"(?:</?[a-zA-Z][^<>\n]{0,200}>\s*+)+")
_ROW_HEAD = re.compile(r"!(?!!).*(?:!!|\|\||(?:col|row)span|scope=|style=|width=|class=|align=)|!\s*[^\s|]+\s*\|")
_CELL = re.compile(r"</?t[dh]\b[^<>]{0,500}>", re.IGNORECASE)
_ITEM = re.compile(r"<li\b[^<>]{0,500}>", re.IGNORECASE)
_BLOCK = re.compile(
    r"</?(?:table|tr|caption|thead|tbody|tfoot|p|ul|ol|dl|dt|dd|blockquote|h[1-6])\b[^<>]{0,500}>", re.IGNORECASE
)


def drop(text: str) -> str:
    """Drop tables, nested ones too, and the rows of tables that a template begins or ends.

    Of a table whose end is not found only what looks like rows goes.
    """
    if "|" not in text and "!!" not in text:
        return text
    kept: list[str] = []
    held: list[str] = []  # lines since a table or a stray row began
    depth = 0
    stray = False  # those began with a row, not with {|
    blank = False
    for line in text.split("\n"):
        start = _start(line) if "|" in line or "!" in line else ""
        # a table goes on to no heading: its end is missing, or a template writes it
        if (stray and _ends_rows(line, start, blank)) or (depth and _is_heading(line)):
            kept += _without_rows(held)
            held, stray, depth = [], False, 0
        blank = not line.strip()
        if start.startswith("{|"):
            if stray:
                kept += _without_rows(held)
                held, stray = [], False
            depth += 1
        elif not depth and not stray and _is_row(start):
            stray = True
        if not depth and not stray:
            kept.append(line)
            continue
        held.append(line)
        if start.startswith("|}"):
            depth = max(0, depth - 1)
            if not depth:
                kept.append(start[2:])
                held, stray = [], False
    return "\n".join(kept + (_without_rows(held) if held else []))


def _start(line: str) -> str:
    """The line without what may stand before a table's sign."""
    start = line.lstrip(_BEFORE)
    if start.startswith("<"):
        tags = _TAGS.match(start)
        after = start[tags.end() :].lstrip(_BEFORE) if tags else ""
        if after.startswith(("{|", "|", "!")):
            return after
    return start


def _is_row(start: str) -> bool:
    return start.startswith("|") or (start.startswith("!") and _ROW_HEAD.match(start) is not None)


def _is_heading(line: str) -> bool:
    return line.startswith("==") and line.rstrip().endswith("==")


def _ends_rows(line: str, start: str, blank: bool) -> bool:
    """A heading, or prose after a blank line: the table was one of a few rows whose end a template wrote."""
    if _is_heading(line):
        return True
    return blank and bool(line.strip()) and not _is_row(start) and "||" not in line


def _without_rows(lines: list[str]) -> list[str]:
    return [line for line in lines if not ("||" in line or _start(line).startswith(("{|", "|", "!")))]


def cells(text: str) -> str:
    """Line ends and blanks in place of the tags that part cells, items and paragraphs."""
    for tag, between in ((_CELL, " "), (_ITEM, "\n・"), (_BLOCK, "\n")):
        first, *others = tag.split(text)
        if others:
            pieces = [first, *others]
            stripped = [pieces[0].rstrip(), *(piece.strip() for piece in pieces[1:-1]), pieces[-1].lstrip()]
            text = between.join(piece for at, piece in enumerate(stripped) if piece or at == 0)
    return text
