"""What cleaning does to one document: rules for each markup; `preprocess.account` keeps what each did.

A rule maps a text to a text. Which rules run depends on the kind of text: what is right for an encyclopaedia would
spoil a novel or a program. Documents that are too short are dropped in `preprocess.cleaner`, repeated ones in
`preprocess.clean`.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable

from haigo.formats.documents import Document

from ..account import Account, difference
from ..suffixes import CODE_SUFFIXES
from . import aozora, wiki_holes, wikitext

Step = tuple[str, Callable[[str], str]]

# pages and lines of other programs, where nothing but they part the text: taken out, they would join two words
# (these patterns begin with what they look for, and look back behind it: a search for few characters is ten times as quick)
_BREAK_WITHIN = re.compile(r"[\x0b\x0c\x85](?<=[^\s\x0b\x0c\x85].)[\x0b\x0c\x85]*(?=[^\s\x0b\x0c\x85])", re.DOTALL)
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ufeff\ufffe\uffff]")
# separators of fields and records (also \x01 of Hive), where nothing but they part two words
_PARTS_WITHIN = re.compile(r"[\x01\x1c-\x1f](?<=[^\s\x00-\x1f].)[\x01\x1c-\x1f]*(?=[^\s\x00-\x1f])", re.DOTALL)
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b\n]{0,500}(?:\x07|\x1b\\))")  # colours of a terminal
# what Windows has in the places of the controls, where its bytes were read as Latin-1: don\x92t is don't
_OF_WINDOWS = {
    code: bytes((code,)).decode("cp1252")
    for code in range(0x80, 0xA0)
    if code not in (0x81, 0x85, 0x8D, 0x8F, 0x90, 0x9D)
}
_SURROGATE = re.compile("[\ud800-\udfff]")
_LINE_END_BLANKS = re.compile(r"[ \t\u3000\xa0](?<![ \t\u3000\xa0].)[ \t\u3000\xa0]*+(?=\n|\Z)")
_MANY_BLANK_LINES = re.compile(r"\n{3,}")
_PARAGRAPH_MARK = re.compile(r"^\u3000+", re.MULTILINE)
_DASHES, _SIGN = "[─━―‐－—–=＝＊*-]", "[ \u3000]*+[・◇◆●○☆]?[ \u3000]*+"
# begins with one of few characters, so that a search is quick
_RULED_OFF = re.compile(
    f"{_DASHES}(?={_DASHES}{{4}}|{_DASHES}{{2,3}}{_SIGN}{_DASHES}{{3}}){_DASHES}*+(?:{_SIGN}{_DASHES}{{3,}}+)*+"
)
_SPEECH = re.compile(r"○[^\n]{1,40}君[）)]|○会議録情報|○[^\s。、○]{1,8}(?:委員長?|議長|会長|主査|事務総長)")


def line_ends(text: str) -> str:
    """CR LF, CR and the Unicode line and paragraph separators become LF, and so do page breaks between two words."""
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    return _BREAK_WITHIN.sub("\n", text.replace("\u2028", "\n").replace("\u2029", "\n"))


def lone_surrogates(text: str) -> str:
    """Take out halves of surrogate pairs: they are not characters and cannot be written as UTF-8."""
    return text if text.isascii() else _SURROGATE.sub("", text)


def control_characters(text: str) -> str:
    """Take out control characters (tab and LF apart) and byte order marks; where they stand for a sign of Windows' or part
    two words, that sign or a blank comes in their place."""
    if not _CONTROL.search(text):
        return text
    text = _PARTS_WITHIN.sub(" ", _ESCAPES.sub("", text) if "\x1b" in text else text)
    return _CONTROL.sub("", text if text.isascii() else text.translate(_OF_WINDOWS))


def block_u2581(text: str) -> str:
    """Take out U+2581, which SentencePiece uses for a blank: no model could give it back."""
    return text.replace("\u2581", "")


def paragraph_marks(text: str) -> str:
    """Take out the ideographic blanks that begin a paragraph in the minutes."""
    return _PARAGRAPH_MARK.sub("", text)


def rows_of_lines(text: str) -> str:
    """Take out the rows of ─ and ― with which the minutes part their sections; a line ends where one stood."""
    pieces = _RULED_OFF.split(text)
    if len(pieces) == 1:
        return text
    inner = [piece.strip() for piece in pieces[1:-1]]
    return "\n".join([pieces[0].rstrip(), *(piece for piece in inner if piece), pieces[-1].lstrip()])


def blanks(text: str) -> str:
    """Blanks at line ends go; more than one blank line becomes one; no blank lines around the document."""
    return _MANY_BLANK_LINES.sub("\n\n", _LINE_END_BLANKS.sub("", text)).strip("\n")


def outer_blank_lines(text: str) -> str:
    """For code, where inner blanks mean something: only the blank lines around the document go."""
    return text.strip("\n")


_CHARACTERS: tuple[Step, ...] = (
    ("lone_surrogates", lone_surrogates),
    ("control_characters", control_characters),
    ("u2581", block_u2581),
)


@dataclasses.dataclass(frozen=True, slots=True)
class Markup:
    """Rules in order, and below how many characters a document is not worth keeping."""

    steps: tuple[Step, ...]
    min_chars: int


MARKUPS: dict[str, Markup] = {
    "plain": Markup((("line_ends", line_ends), *_CHARACTERS, ("blanks", blanks)), min_chars=40),
    "code": Markup((("line_ends", line_ends), *_CHARACTERS, ("outer_blank_lines", outer_blank_lines)), min_chars=40),
    "minutes": Markup(
        (
            ("line_ends", line_ends),
            ("paragraph_marks", paragraph_marks),
            ("minutes_rows", rows_of_lines),
            *_CHARACTERS,
            ("blanks", blanks),
        ),
        min_chars=20,
    ),
    "wikitext": Markup((("line_ends", line_ends), *wikitext.STEPS, *_CHARACTERS, ("blanks", blanks)), min_chars=80),
    "aozora": Markup((("line_ends", line_ends), *aozora.STEPS, *_CHARACTERS, ("blanks", blanks)), min_chars=100),
}


def markup_of(document: Document) -> str:
    """The markup of a document: as its source says, else as its name or its text shows."""
    kind = document.meta.get("markup")
    if kind in MARKUPS:
        return str(kind)
    name = str(document.meta.get("path") or document.meta.get("file") or document.id)
    if os.path.splitext(name)[1].lower() in CODE_SUFFIXES:
        return "code"
    if aozora.looks_like(document.text):
        return "aozora"
    if _SPEECH.match(document.text):
        return "minutes"
    return "wikitext" if wikitext.looks_like(document.text) else "plain"


def apply(document: Document, markup: Markup, account: Account) -> Document:
    """The document after all rules of its markup; the account is kept up."""
    text = document.text
    meta = document.meta
    if markup is MARKUPS["aozora"]:
        meta = aozora.heading(line_ends(text)) | meta
    elif markup is MARKUPS["wikitext"]:
        text = wikitext.titled(text, str(meta.get("title", "")))
    text = run(text, markup.steps, account)
    return Document(_SURROGATE.sub("", document.id), text, meta)


def run(text: str, steps: tuple[Step, ...], account: Account) -> str:
    """The text after some rules."""
    for name, step in steps:
        after = step(text)
        if after != text:
            sample = wiki_holes.show(difference(text, after)) if account.open_for_samples(name) else ""
            account.note(name, len(text) - len(after), sample)
            if name == "wikitext_holes":
                account.name(name, wiki_holes.lost(text))
            text = after
    return text
