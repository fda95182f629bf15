"""The characters of a feed or a page: by its bytes first, then by what it and its server say, for either is often wrong."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator, Sequence

from haigo.cli import HaigoError

from .encodings import detect

_MANY_FIT = 50  # bytes beyond ASCII that fit for one that does not
_HIGH = re.compile(rb"[\x80-\xff]")
_DECLARED = re.compile(rb"""<\?xml\s[^>]{0,200}?\bencoding\s*=\s*["']\s*([\w.:-]{1,40})""", re.IGNORECASE)
_META = re.compile(rb"""<meta\s[^>]{0,300}?\bcharset\s*=\s*["']?\s*([\w.:-]{2,40})""", re.IGNORECASE)
_META_WITHIN = 8192
_MEANT = {
    **dict.fromkeys(("shift_jis", "shift-jis", "x-sjis", "windows-31j", "sjis", "ms_kanji"), "cp932"),
    **dict.fromkeys(("iso-8859-1", "latin-1", "latin1", "us-ascii", "ascii"), "cp1252"),
    **dict.fromkeys(("gb2312", "gbk"), "gb18030"),
    "euc-kr": "cp949",
    "x-euc-jp": "euc_jp",
}
NO_CHARACTER = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
"""What no XML holds."""


def of_page(body: bytes, charset: str | None = None) -> str:
    """The characters of an HTML page: its server's word goes before what the page says of itself, as in browsers."""
    declared = _META.search(body[:_META_WITHIN])
    return text(body, charset, declared[1].decode("ascii", "replace") if declared else None)


def text(body: bytes, *charsets: str | None) -> str:
    """The characters: by the byte order mark, else UTF-8 where the bytes are, else as declared, as the server says, or as
    they look. Bytes that do not fit become U+FFFD."""
    body = body.lstrip(b" \t\r\n")
    loose = []
    for codec in _codecs(body, charsets):
        try:
            decoded = body.decode(codec)
            break
        except UnicodeError:  # other bytes than declared
            loose.append(codec)
        except LookupError:  # no such codec, or one that is not of text
            continue
    else:
        decoded = min(
            (body.decode(codec, "replace") for codec in loose or ["utf-8"]), key=lambda text: text.count("\ufffd")
        )
    return NO_CHARACTER.sub("", decoded.replace("\r\n", "\n").replace("\r", "\n")).removeprefix("\ufeff")


def _codecs(body: bytes, charsets: Sequence[str | None]) -> Iterator[str]:
    """What to try, the first that fits being right."""
    if body[:2] in (b"\xff\xfe", b"\xfe\xff"):
        yield "utf-16"
        return
    if body[:2] in (b"<\0", b"\0<"):
        yield "utf-16-le" if body[:1] == b"<" else "utf-16-be"
        return
    high = not body.isascii()
    if not high and b"\x1b$" in body:
        yield from _guessed(body)  # ISO-2022-JP, which others take for ASCII
    if high:
        yield "utf-8-sig"  # no text is UTF-8 by chance
    declared = _DECLARED.search(body[:1000])
    named = [declared[1].decode("ascii")] if declared else []
    named = [name.strip("\"' ").lower() for name in (*named, *charsets) if name]
    # one byte a character was just seen: text that says it were in UTF-16 was written out otherwise
    named = [meant(name) for name in named if not name.startswith(("utf-16", "utf16", "utf-32", "ucs"))]
    if high:
        # bytes beyond ASCII that come in rows are no Latin letters
        rows = sum(map(len, re.findall(rb"[\x80-\xff]{2,}", body))) > 0.8 * len(_HIGH.findall(body))
        named = [name for name in named if not (rows and name == "cp1252")]
    yield from named
    if not (high and ("utf-8" in named or "utf8" in named) and _nearly(body)):
        yield from _guessed(body)


def meant(charset: str) -> str:
    """The codec that feeds and pages mean by the name of a charset; "auto" where Python knows none."""
    name = _MEANT.get(charset.lower(), charset.lower())
    try:
        codecs.lookup(name)
    except LookupError:
        return "auto"
    return name


def _guessed(body: bytes) -> list[str]:
    try:
        return [detect(body)]
    except HaigoError:  # no encoding takes all of it
        return []


def _nearly(body: bytes) -> bool:
    """UTF-8 but for a few bytes, which other encodings would take for whole lines of something else."""
    return body.decode("utf-8", "replace").count("\ufffd") * _MANY_FIT <= len(_HIGH.findall(body))
