"""Aozora Bunko's text format to plain text: header, colophon, ruby and annotations, each a rule of its own.

Kept: the text with its paragraph blanks, characters outside Shift_JIS (given as 第3水準1-85-57 or U+6451) as the
characters they are, accented Latin letters. Dropped: 《ruby》 and its mark ｜, ［＃annotations］, the title lines and the
block that explains the signs, and everything from 底本： on.
"""

from __future__ import annotations

import re
import unicodedata

_SIGNS = re.compile(r"^-{20,}[ \t]*\n【テキスト中に現れる記号について】.*?\n-{20,}[ \t]*\n", re.DOTALL | re.MULTILINE)
_HEAD_CHARS = 8000
_COLOPHON = re.compile(r"^[ \t\u3000]*(?:底本[：:]|青空文庫作成ファイル[：:])", re.MULTILINE)
_GAIJI = re.compile(
    r"※?［＃(?:[^［］]{0,200}?、)?(?:第[34]水準)?(?:U\+([0-9A-Fa-f]{4,6})|([12])-(\d{1,2})-(\d{1,2}))[^［］]*］"
)
_SMALL_KANA = re.compile(r"※［＃小書き[平片]仮名([ぁ-んァ-ヶ])、[^［］]*］")
_UNKNOWN_GAIJI = re.compile(r"※［＃[^［］]*］")
_RUBY = re.compile(r"《[^《》\n]{1,100}》")
_NOTE = re.compile(r"［＃[^［］]*］")
_ACCENTED = re.compile(r"〔([^〔〕\n]{1,500})〕")
_ACCENT = re.compile(r"(?:([A-Za-z])(['`^:~&,/_@])|(ae|AE|oe|OE)&|(s)&)(?![A-Za-z]*[\"”])")
_MARKS = dict(zip("'`^:~&,_", "\u0301\u0300\u0302\u0308\u0303\u030a\u0327\u0304", strict=True))
_WHOLE = {"ae": "æ", "AE": "Æ", "oe": "œ", "OE": "Œ"}


def looks_like(text: str) -> bool:
    """True for a file in Aozora Bunko's format."""
    head = text[:_HEAD_CHARS]
    return "【テキスト中に現れる記号について】" in head or "［＃" in head or bool(_COLOPHON.search(text[-4000:]))


def heading(text: str) -> dict[str, str]:
    """Title and author, from the lines before the first blank one."""
    lines = [line.strip() for line in text[:_HEAD_CHARS].lstrip("\ufeff\n").split("\n\n", 1)[0].split("\n")]
    lines = [line for line in lines if line]
    if not 2 <= len(lines) <= 6:
        return {}
    return {"title": lines[0], "author": lines[-1]}


def header(text: str) -> str:
    """Drop the title lines and the block that explains the signs."""
    found = _SIGNS.search(text[: 4 * _HEAD_CHARS])
    if found and text.count("\n", 0, found.start()) <= 12:
        return text[found.end() :].lstrip("\n")
    first, blank, rest = text.lstrip("\ufeff\n").partition("\n\n")
    lines = first.split("\n")
    # without that block, only a short list of short lines is a header, and only where a colophon shows the format
    if blank and 2 <= len(lines) <= 6 and max(map(len, lines)) <= 60 and _COLOPHON.search(text):
        return rest.lstrip("\n")
    return text


def colophon(text: str) -> str:
    """Drop everything from the line that names the source edition on."""
    found = _COLOPHON.search(text)
    return text[: found.start()].rstrip() + "\n" if found else text


def gaiji(text: str) -> str:
    """Characters described in words become the characters; those without a code become 〓, as in print."""
    if "［＃" not in text:
        return text
    text = _GAIJI.sub(_character, text)
    return _UNKNOWN_GAIJI.sub("〓", _SMALL_KANA.sub(r"\1", text))


def _character(match: re.Match[str]) -> str:
    code, plane, row, cell = match.groups()
    if not match[0].startswith("※"):
        return match[0]
    if code:
        number = int(code, 16)
        return chr(number) if 0x20 <= number <= 0x10FFFF and not 0xD800 <= number <= 0xDFFF else "〓"
    if not (1 <= int(row) <= 94 and 1 <= int(cell) <= 94):
        return "〓"
    pair = bytes((0xA0 + int(row), 0xA0 + int(cell)))
    try:
        return (pair if plane == "1" else b"\x8f" + pair).decode("euc_jis_2004")
    except UnicodeDecodeError:
        return "〓"


def ruby(text: str) -> str:
    """Drop readings, and the mark that shows where their base begins."""
    return _RUBY.sub("", text).replace("｜", "") if "《" in text else text


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
    """〔e'tude〕 becomes étude: Latin letters with their accents written after them."""
    return _ACCENTED.sub(_latin, text) if "〔" in text else text


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
    made = unicodedata.normalize("NFC", letter + _MARKS[mark])
    return made if len(made) == 1 else match[0]


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
