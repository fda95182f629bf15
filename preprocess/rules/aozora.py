"""Aozora Bunko's text format to plain text: header, colophon, ruby and annotations, each a rule of its own.

Kept: the text with its paragraph blanks, characters outside Shift_JIS (given as 第3水準1-85-57 or U+6451) as the
characters they are, accented Latin letters. Dropped: 《ruby》 and its mark ｜, ［＃annotations］, the title lines and the
block that explains the signs, and everything from the 底本： of the colophon on. Signs of the format that the text itself
means (《》｜〔〕［］＃※, which the files give as characters described in words) stay.
"""

from __future__ import annotations

import re
import unicodedata

# how a file begins: a few short lines of title and author, and mostly the block that explains the signs
_TITLE_LINES, _TITLE_CHARS = 12, 60
_SIGNS = re.compile(
    r"^(?:-{20,}[ \t]*\n【テキスト中に現れる記号について】|［表記について］\n●).*?\n-{20,}[ \t]*\n",
    re.DOTALL | re.MULTILINE,
)
_HEAD_CHARS = 8000
_COLOPHON = re.compile(r"^[ \t\u3000]*(?:底本[：:]|青空文庫作成ファイル[：:])", re.MULTILINE)
_MADE_BY = re.compile(r"^[ \t\u3000]*(?:入力|校正|青空文庫作成ファイル)[：:]", re.MULTILINE)
_PROSE = re.compile(r"^(?!※)(?![ \t\u3000]{2,}).*。[」』）]?[ \t\u3000]*$", re.MULTILINE)  # notes begin with ※
_TAIL_CHARS = 4000
# what whoever typed a book explains behind it, ruled off above and below
_TYPISTS_NOTES = re.compile(
    r"\s*\n-{20,}\n[●■○◎]?(?:入力者|校正者|入力|校正)[^\n]{0,6}注[^\n]{0,10}\n(?:(?!-{20}).*\n)*-{20,}\Z"
)
_SHORT_COLOPHON = 12  # lines, of one that does not say who made the file
_LITERAL = 0xF4000  # private plane in which signs that the text means hide until the last step
_HIDDEN = {ord(char): _LITERAL + ord(char) % 0x1000 for char in "《》｜〔〕［］＃※"}
_SHOWN = {chr(hidden): chr(char) for char, hidden in _HIDDEN.items()}
_HIDDEN_CHAR = re.compile(f"[{chr(_LITERAL)}-{chr(_LITERAL + 0xFFF)}]")
_GAIJI = re.compile(
    r"※?［＃(?:[^［］]{0,200}?、)?(?:第[34]水準)?(?:U\+([0-9A-Fa-f]{4,6})|([12])-(\d{1,2})-(\d{1,2}))[^［］]*］"
)
# those of the format's own signs that are described without a code
_DESCRIBED = {
    "始め二重山括弧": "《", "終わり二重山括弧": "》", "縦線": "｜", "始めきっこう": "〔", "終わりきっこう": "〕",
    "始め角括弧": "［", "終わり角括弧": "］", "井げた": "＃", "井桁": "＃", "米印": "※",
}  # fmt: skip
_DESCRIBED_SIGN = re.compile(f"※［＃「?({'|'.join(_DESCRIBED)})[^［］]*］")
_SMALL_KANA = re.compile(r"※［＃小書き[平片]仮名([ぁ-んァ-ヶ])、[^［］]*］")
# a note on the sign ※ itself, not a character described in words
_NOTE_ON_SIGN = re.compile(r"※(?=［＃「※」(?:は|に))")
_UNKNOWN_GAIJI = re.compile(r"※［＃[^［］]*］")
_RUBY = re.compile(r"《(?<!《《)[^《》\n]{1,100}》(?!》)")
_RUBY_START = re.compile(r"｜(?=[^｜《》\n]*《[^《》\n])")
_NOTE = re.compile(r"［＃[^［］]*］")
_ACCENTED = re.compile(r"〔([^〔〕\n]{1,500})〕")
_ACCENT = re.compile(r"(?:([A-Za-z])(['`^:~&,/_@])|(ae|AE|oe|OE)&|(s)&)(?![A-Za-z]*[\"”])")
_SIGN_ITSELF = chr(_HIDDEN[ord("※")])
_MARKS = dict(zip("'`^:~&,_", "\u0301\u0300\u0302\u0308\u0303\u030a\u0327\u0304", strict=True))
_WHOLE = {"ae": "æ", "AE": "Æ", "oe": "œ", "OE": "Œ"}


def looks_like(text: str) -> bool:
    """True for a file in Aozora Bunko's format: all of its beginning, and where that is only a title, of its end too.

    A note, a reading or a line 底本： alone is no sign of it: other texts write about books too.
    """
    start, end = text[:_HEAD_CHARS], text[-_TAIL_CHARS:]
    if "について" not in start and "底本" not in end:
        return False
    head, tail = (part.replace("\r\n", "\n").replace("\r", "\n") for part in (start, end))
    signs = _SIGNS.search(head)
    if signs and _is_title(head[: signs.start()].split("\n")):
        return True
    at = _colophon(tail)
    title, blank, _ = head.lstrip("\ufeff\n").partition("\n\n")
    return at is not None and bool(_MADE_BY.search(tail, at)) and bool(blank) and _is_title(title.split("\n"), 2)


def _is_title(lines: list[str], least: int = 0) -> bool:
    lines = [line for line in lines if line.strip("\ufeff ")]
    return least <= len(lines) <= _TITLE_LINES and all(len(line) <= _TITLE_CHARS and "。" not in line for line in lines)


def _colophon(text: str) -> int | None:
    """Where the colophon begins with which the text ends."""
    start = max(0, len(text) - _TAIL_CHARS)
    places = [match.start() for match in _COLOPHON.finditer(text, start)]
    chosen: int | None = None
    for place in reversed(places):
        block = text[place : len(text) if chosen is None else chosen]
        if chosen is None and not _MADE_BY.search(block) and block.count("\n") > _SHORT_COLOPHON:
            return None
        long = block.count("\n") > _SHORT_COLOPHON or max(map(len, block.split("\n"))) > 2 * _TITLE_CHARS
        if chosen is not None and (long or _PROSE.search(block)) and not _MADE_BY.search(block):
            break  # prose lies between: that line is none of the colophon
        chosen = place
    return chosen


def heading(text: str) -> dict[str, str]:
    """Title and author, from the lines before the first blank one."""
    lines = [line.strip() for line in text[:_HEAD_CHARS].lstrip("\ufeff\n").split("\n\n", 1)[0].split("\n")]
    lines = [line for line in lines if line]
    if not 2 <= len(lines) <= 6:
        return {}
    return {"title": lines[0], "author": lines[-1]}


def header(text: str) -> str:
    """Drop the title lines and the block that explains the signs."""
    signs = _SIGNS.search(text[: 4 * _HEAD_CHARS])
    if signs and text.count("\n", 0, signs.start()) <= 12:
        return text[signs.end() :].lstrip("\n")
    first, blank, rest = text.lstrip("\ufeff\n").partition("\n\n")
    lines = first.split("\n")
    # without that block, only a short list of short lines is a header, and only where a colophon shows the format
    if blank and 2 <= len(lines) <= 6 and max(map(len, lines)) <= 60 and _colophon(text) is not None:
        return rest.lstrip("\n")
    return text


def colophon(text: str) -> str:
    """Drop everything from the line of the colophon that names the source edition on."""
    at = _colophon(text)
    return text if at is None else _TYPISTS_NOTES.sub("", text[:at].rstrip()) + "\n"


def gaiji(text: str) -> str:
    """Characters described in words become the characters; those without a code become 〓, as in print."""
    if "［＃" not in text:
        return text
    text = _NOTE_ON_SIGN.sub(_SIGN_ITSELF, _GAIJI.sub(_character, text))
    text = _DESCRIBED_SIGN.sub(lambda match: _DESCRIBED[match[1]].translate(_HIDDEN), text)
    return _UNKNOWN_GAIJI.sub("〓", _SMALL_KANA.sub(r"\1", text))


def _character(match: re.Match[str]) -> str:
    code, plane, row, cell = match.groups()
    if not match[0].startswith("※"):
        return match[0]
    if code:
        number = int(code, 16)
        char = chr(number) if 0x20 <= number <= 0x10FFFF and not 0xD800 <= number <= 0xDFFF else "〓"
        return char.translate(_HIDDEN)
    if not (1 <= int(row) <= 94 and 1 <= int(cell) <= 94):
        return "〓"
    pair = bytes((0xA0 + int(row), 0xA0 + int(cell)))
    try:
        return (pair if plane == "1" else b"\x8f" + pair).decode("euc_jis_2004").translate(_HIDDEN)
    except UnicodeDecodeError:
        return "〓"


def ruby(text: str) -> str:
    """Drop readings, and the mark that shows where their base begins."""
    return _RUBY.sub("", _RUBY_START.sub("", text)) if "《" in text else text


def notes(text: str) -> str:
    """Drop ［＃…］, from the innermost out, and lines that held nothing else."""
    if "［＃" not in text:
        return text
    text = re.sub(r"^(?:[ \t\u3000]*［＃[^［］]*］)+[ \t\u3000]*\n", "", text, flags=re.MULTILINE)
    for _ in range(8):
        text, count = _NOTE.subn("", text)
        if not count:
            break
    return text


def accents(text: str) -> str:
    """〔e'tude〕 becomes étude: Latin letters with their accents written after them. Hidden signs come back."""
    text = _ACCENTED.sub(_latin, text) if "〔" in text else text
    return _HIDDEN_CHAR.sub(lambda match: _SHOWN.get(match[0], match[0]), text)


def _latin(match: re.Match[str]) -> str:
    inside = match[1]
    if not inside.isascii():
        return match[0]
    changed = _ACCENT.sub(_accent, inside)
    return changed if changed != inside else match[0]


def _accent(match: re.Match[str]) -> str:
    if match[3]:
        return _WHOLE[match[3]]
    if match[4]:
        return "ß"
    letter, mark = match[1], match[2]
    if mark == "/":
        return {"o": "ø", "O": "Ø"}.get(letter, match[0])
    if mark == "@" or mark not in _MARKS:
        return match[0]
    composed = unicodedata.normalize("NFC", letter + _MARKS[mark])
    return composed if len(composed) == 1 else match[0]


STEPS = (
    ("aozora_header", header),
    ("aozora_colophon", colophon),
    ("aozora_characters", gaiji),
    ("aozora_ruby", ruby),
    ("aozora_annotations", notes),
    ("aozora_accents", accents),
)


def strip(text: str) -> str:
    """All steps, in order."""
    for _, step in STEPS:
        text = step(text)
    return text
