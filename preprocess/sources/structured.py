"""Files that are text to a computer and none to a reader: markup, tables, dumps, subtitles. Told by how they begin.

Read as prose, their tags and columns would be trained on. What is ordinary text (a poem, a dialogue, code, Markdown with a
table, prose with commas) must never be taken for one of these: every rule asks for the whole pattern of its format.
"""

from __future__ import annotations

import json
import re

from . import separated

_LEADING = re.compile(r"(?:\ufeff|\s|<!--.*?-->|/\*.*?\*/|(?://|#|--)[^\n]*(?:\n|\Z))*", re.DOTALL)
_BINARY = (
    (b"PK\x03\x04", "a zip archive (docx, xlsx and epub are such)"),
    (b"%PDF-", "a PDF"),
    (b"{\\rtf", "an RTF document"),
    (b"%!PS", "a PostScript document"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!\x1a\x07", "a rar archive"),
    (b"SQLite format 3\x00", "a SQLite database"),
    (b"ARROW1", "an Arrow file"),
    (b"Obj\x01", "an Avro file"),
    (b"ORC", "an ORC file"),
    (b"\xd0\xcf\x11\xe0", "an old Office document"),
    (b"\x04\x22\x4d\x18", "packed with lz4"),
    (b"\x1f\x9d", "packed with compress"),
    (b"\x89PNG", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
    (b"GIF8", "a picture"),
)
_BY_NAME = {
    ".csv": "a table of comma-separated values",
    ".tsv": "a table of tab-separated values",
    ".tab": "a table of tab-separated values",
    ".srt": "subtitles (SRT)",
    ".vtt": "subtitles (WebVTT)",
    ".ass": "subtitles (ASS)",
    ".ssa": "subtitles (ASS)",
    ".warc": "a web archive (WARC)",
    ".wet": "a web archive (WARC)",
    ".wat": "a web archive (WARC)",
    ".html": "HTML",
    ".htm": "HTML",
    ".xhtml": "HTML",
    ".rss": "XML",
    ".atom": "XML",
    ".tei": "XML",
    ".xml": "XML",
}


def binary(head: bytes) -> str | None:
    """What a file is that holds no text as it stands, or None."""
    return next((what for magic, what in _BINARY if head.startswith(magic)), None)


def named(suffix: str) -> str | None:
    """What a file's name says that it is, where that is no plain text."""
    return _BY_NAME.get(suffix)


def what(text: str, whole: bool) -> str | None:
    """What a text is, where it is no plain text: "json lines", another format in words, or None.

    Args:
        text: its beginning.
        whole: that is all of it.
    """
    leading = _LEADING.match(text)
    start = text[leading.end() if leading else 0 :]
    if start.startswith("{") and _is_json(start, whole):
        return "json lines" if text.lstrip("\ufeff \t\r\n").startswith("{") else "JSON with comments"
    if start.startswith("[") and _is_json(start, whole):
        return "one JSON array"
    lines = [line for line in text.lstrip("\ufeff").split("\n", separated.RECORDS)[: separated.RECORDS] if line.strip()]
    return (
        _markup(start, whole)
        or _subtitles(lines)
        or _archive(start, lines)
        or _annotated(lines)
        or _settings(lines if whole else lines[:-1])
        or _sql(text, start)
        or separated.kind(text, whole)
        or _escaped(text, lines)
    )


# --- JSON


def _is_json(text: str, whole: bool) -> bool:
    """Whether the text is JSON as far as it goes: complete values, or one that only the end of what is there cuts."""
    decoder = json.JSONDecoder(strict=False)
    try:
        value, end = decoder.raw_decode(text)
    except (ValueError, RecursionError):
        if re.match(r'\{\s*"[^"\n]{0,200}"\s*:', text) or re.match(r'\[\s*\{\s*"[^"\n]{0,200}"\s*:', text):
            return True  # broken or cut, but nothing else begins like this
        return not whole and text.startswith("[") and _is_cut_array(text, decoder)
    if isinstance(value, dict):
        lines = [line for line in text.split("\n", 20)[:20] if line.strip()]
        rest = text[end:].strip()
        # an example may begin a text: what follows has to be objects too
        return not rest or (bool(value) and (rest[0] == "{" or 2 * sum(line[0] == "{" for line in lines) > len(lines)))
    # a footnote ([1], [2]) begins like an array: what follows has to be JSON too
    rest = text[end:].lstrip()
    if not rest:
        return bool(value) or whole
    try:
        return isinstance(decoder.raw_decode(rest)[0], list) and "\n" in text[end : end + len(text[end:]) - len(rest)]
    except (ValueError, RecursionError):
        return False


def _is_cut_array(text: str, decoder: json.JSONDecoder) -> bool:
    """Whether two or more elements of an array stand there, one after the other."""
    at, elements = 1, 0
    while elements < 2:
        at += len(text[at:]) - len(text[at:].lstrip()) if elements == 0 else 0
        try:
            _, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            return False
        elements += 1
        comma = re.compile(r"\s*,\s*").match(text, at)
        if comma is None:
            return False
        at = comma.end()
    return True


# --- XML and HTML

_DECLARED = re.compile(r"<\?xml[\s?]|<!doctype[\s>]|<!element\s|<!entity\s", re.IGNORECASE)
_ROOT = re.compile(
    r"<(?:html|head|body|rss|feed|rdf:rdf|urlset|sitemapindex|opml|svg|tei|text:|office:|plist|dblp)[\s>:]",
    re.IGNORECASE,
)
_TAG = re.compile(
    r"""</?[^\W\d][\w:.-]{0,60}(?:\s+[A-Za-z_:@][\w:.-]{0,60}(?:\s*=\s*(?:"[^"<]{0,2000}"|'[^'<]{0,2000}'|[^\s"'<>]{1,500}))?)*\s*/?>"""
)
_CLOSING = re.compile(r"</[^\W\d][\w:.-]{0,60}\s*>")
# what Markdown and other prose may begin with; any other element is of a format of its own
_IN_PROSE = re.compile(
    "p|div|h[1-6]|img|a|b|br|i|u|s|em|strong|span|center|table|details|summary|picture|sub|sup|font|hr|[uod]l|li"
    "|blockquote|code|pre|kbd|small|big|ref|nowiki|noinclude",
    re.IGNORECASE,
)
_OF_A_PAGE = re.compile(
    r"</(?:html|head|body|title|script|style|div|p|span|a|li|ul|ol|td|tr|th|table|h[1-6]|nav|section|article)>",
    re.IGNORECASE,
)


def _markup(start: str, whole: bool) -> str | None:
    if _DECLARED.match(start) or _ROOT.match(start):
        root = re.search(r"<!doctype\s+([\w:]+)|<([^\W\d][\w:.-]{0,60})[\s>/]", start[:4096], re.IGNORECASE)
        return "HTML" if root and (root[1] or root[2]).lower() in ("html", "head", "body") else "XML"
    if re.match(r"<(?:doc|text|article|page|record|item)\s[^<>]{0,2000}=[^<>]{0,2000}>\s*\n", start, re.IGNORECASE):
        return "XML"
    if "</" not in start:
        return None
    of_page = len(_OF_A_PAGE.findall(start))
    share = sum(map(len, _TAG.findall(start))) / max(1, len(start) - start.count(" ") - start.count("\n"))
    first = re.match(r"<([^\W\d][\w:.-]{0,60})((?:\s[^<>]{0,2000})?)>", start)
    if first:
        kind, name = "HTML" if of_page else "XML", re.escape(first[1])
        opened, closed = (len(re.findall(rf"<{mark}{name}[\s>/]", start)) for mark in ("", "/"))
        if whole and opened == closed and re.search(rf"</{name}\s*>\s*\Z", start):
            return kind
        # <doc id="1" ...> and long text: what tools write that take corpora apart
        several = bool(first[2].strip()) or opened > 1 or len(_CLOSING.findall(start)) > 2
        if closed and several and not _IN_PROSE.fullmatch(first[1]):
            return kind
        if share > 0.15 and len(_CLOSING.findall(start)) >= 3:
            return kind
    if share < 0.3 or of_page < 5:
        return None
    lines = [line for line in start.split("\n") if line.strip()]
    return "HTML" if sum(line.lstrip().startswith("<") for line in lines) > 0.6 * len(lines) else None


# --- text in escapes

_ESCAPES = (
    (re.compile(r"&#(?:x[0-9A-Fa-f]{2,6}|\d{3,7});"), "text written in references (&#12354;)"),
    (re.compile(r"\\u[0-9A-Fa-f]{4}"), "text written in escapes (\\u3042)"),
    (re.compile(r"(?:%[89A-Fa-f][0-9A-Fa-f])+"), "text written as in addresses (%E3%81%82)"),
    (re.compile(r"(?:=[89A-F][0-9A-F])+"), "text in quoted-printable (=E3=81=82)"),
)
_BASE64 = re.compile(r"[A-Za-z0-9+/]{60,76}")


def _escaped(text: str, lines: list[str]) -> str | None:
    """Text most of which is characters written in signs of ASCII."""
    for pattern, kind in _ESCAPES:
        if 2 * sum(map(len, pattern.findall(text))) > len(text):
            return kind
    if len(lines) > 3 and all(_BASE64.fullmatch(line.strip()) for line in lines[:-1]):
        return "data in base64"
    return None


# --- subtitles, archives, dumps

_TIME = r"(?:\d{1,3}:)?\d{1,2}:\d{2}[.,]\d{1,3}"
_ARROW = re.compile(rf"^\s*{_TIME}\s*-->\s*{_TIME}")
_PAIR = re.compile(rf"^{_TIME},{_TIME}\s*$")
_LYRICS = re.compile(r"^\[\d{1,3}:\d{2}[.:]\d{1,3}\]")


def _subtitles(lines: list[str]) -> str | None:
    if not lines:
        return None
    if re.match(r"WEBVTT(?:[\s-]|$)", lines[0]):
        return "subtitles (WebVTT)"
    if len(lines) > 1 and all(re.match(r"\{\d+\}\{\d+\}", line) for line in lines[:2]):
        return "subtitles (MicroDVD)"
    if lines[0].strip() == "[Script Info]":
        return "subtitles (ASS)"
    if any(_ARROW.match(line) for line in lines[:4]):
        return "subtitles (SRT)"
    if _PAIR.match(lines[0]):
        return "subtitles (SBV)"
    timed = [line for line in lines if _LYRICS.match(line)]
    return "timed lyrics (LRC)" if len(timed) >= 3 and len(timed) > 0.8 * len(lines) else None


_HEADERS = re.compile(r"(?:[A-Za-z][A-Za-z0-9-]{1,40}:[^\n]*\n(?:[ \t][^\n]*\n)*+){3}")
_MAIL = re.compile(r"^(?:Received|Return-Path|Message-ID|MIME-Version|Content-Type|Delivered-To):", re.I | re.M)
_CATALOGUE = re.compile(r"(?:(?:msgctxt [^\n]*|msgid [^\n]*|\"[^\n]*)\n){1,20}msg(?:str|id_plural)\b")
_MORPHEME = re.compile(r"[^\t]*\t[^\t]+(?:,|\t)|\* \d+ -?\d+D|\S+(?: \S+){6}|[#*+@] ")
_NODE = r"(?:<[^<>\s]+>|_:\S+)"
_TRIPLE = re.compile(rf'{_NODE}\s+<[^<>\s]+>\s+(?:{_NODE}|"(?:[^"\\]|\\.)*"\S*)\s*(?:{_NODE}\s*)?\.\s*$')
_PARSED = re.compile(r"\d+(?:[-.]\d+)?(?:\t[^\t]+){9}$")
_LABELLED = re.compile(r"\S+(?:[ \t]\S+)*[ \t](?:O|[BIESLU]-[A-Za-z][\w-]*)\s*$")


def _annotated(lines: list[str]) -> str | None:
    """Statements of RDF, or words with labels or parts of speech: every line is one, but for remarks and a last one that is
    cut."""
    full = [line for line in lines[:-1] if not line.startswith("#")]
    if len(full) < 3:
        return None
    if all(map(_TRIPLE.match, full)):
        return "RDF (N-Triples)"
    if all(map(_PARSED.match, full)):
        return "parsed sentences (CoNLL-U)"
    if any(re.search(r"[ \t][BU]-\w", line) for line in full) and all(map(_LABELLED.match, full)):
        return "words with labels (BIO)"
    return None


_KEY = re.compile(r"""(?:- +)*(?:[^\W\d][\w./-]{0,60}|"[^"]{1,60}"|'[^']{1,60}') ?:(?:\s|$)""")
_SETTING, _SECTION = re.compile(r"[\w.-]{1,60}\s*=(?!=)"), re.compile(r"\[{1,2}[\w ./:\"'-]{1,60}\]{1,2}$")


def _settings(lines: list[str]) -> str | None:
    """Keys and values of a program: every line is one, and they stand in sections or in each other."""
    body = [line.rstrip() for line in lines if not line.lstrip().startswith(("#", ";", "%YAML"))]
    if sum(_SETTING.match(line) is not None for line in body) >= 3 and any(map(_SECTION.match, body)):
        return "settings (INI, TOML)" if all(_SETTING.match(line) or _SECTION.match(line) for line in body) else None
    marked = body[:1] == ["---"]
    above, keys, nested = (
        -1,
        0,
        marked,
    )  # the last line's indent where it opens a block: of text (|, >) or of further keys
    opens = ""
    for line in body[marked:]:
        content = line.lstrip(" ")
        indent = len(line) - len(content)
        if opens in ("|", ">") and indent > above:
            continue
        is_key = _KEY.match(f"{content} ") is not None
        if not is_key and not re.match(r"-(?: |$)|---$|\.\.\.$", content):
            return None
        nested = nested or (opens == ":" and is_key and (indent > above or content.startswith("- ")))
        keys += is_key
        above, opens = indent, content[-1:] if is_key and content[-1] in ":|>" else ""
    return "YAML" if nested and keys >= 3 else None


def _is_analysed(lines: list[str]) -> bool:
    """Lines of words with what MeCab, ChaSen, CaboCha, Juman or KNP say of them; each sentence ends with EOS."""
    ends = sum(line.strip() == "EOS" for line in lines)
    return ends > 0 and sum(_MORPHEME.match(line) is not None for line in lines) > 0.9 * (len(lines) - ends) > 0


def _archive(start: str, lines: list[str]) -> str | None:
    if re.match(r"WARC/\d\.\d\s*$", start[:20].split("\n")[0]) or start.startswith("filedesc://"):
        return "a web archive (WARC)"
    if re.match(r"HTTP/\d(?:\.\d)? \d{3}\b", start):
        return "a server's reply with its headers"
    if re.match(r"From \S+@?\S* +\w{3} \w{3} +\d", start) or (
        _HEADERS.match(start) and len(_MAIL.findall(start[:8192])) >= 2
    ):
        return "mail with its headers"
    if _is_analysed(lines):
        return "the output of a morphological analyser"
    if sum(line.startswith(("msgid ", "msgstr ", "msgstr[")) for line in lines) >= 2 and _CATALOGUE.match(start):
        return "a catalogue of translations (PO)"
    if all(re.match(r"\{\s*'\w{1,40}'\s*:.*\}\s*$", line) for line in lines[:-1] or lines) and lines:
        return "objects in Python's own notation"
    if re.match(r"-----BEGIN [A-Z0-9 ]+-----\n\S{20,}$|begin [0-7]{3} \S[^\n]*\n[ -`]{2,62}$", "\n".join(lines[:2])):
        return "data in base64 or uuencode"
    if re.match(r"@(?:prefix\s+[\w.-]*:|base)\s*<[^<>\s]*>\s*\.", start, re.IGNORECASE):
        return "RDF (Turtle)"
    if re.match(r"BEGIN:V(?:CALENDAR|CARD)\s", start):
        return "a calendar or an address book"
    if re.match(
        r"@(?:article|book|inproceedings|incollection|misc|phdthesis|techreport)\s*\{[^\s,]*,\s*\n",
        start,
        re.IGNORECASE,
    ):
        return "BibTeX"
    return None


_DUMP = re.compile(
    r"(?:--|/\*!?|#)[^\n]*(?:MySQL dump|MariaDB dump|PostgreSQL database dump|phpMyAdmin SQL Dump|SQL dump)", re.I
)
_STATEMENT = re.compile(
    r"(?:CREATE|DROP|INSERT|SET|BEGIN|USE|LOCK|PRAGMA|ALTER|START|TRUNCATE|DELETE|REPLACE|COPY)\s+[\w`\"'@.=(;\[]",
    re.IGNORECASE,
)
_ROWS = re.compile(
    r"^\s*(?:(?:INSERT|REPLACE)\s+(?:IGNORE\s+)?(?:INTO\s+)?[\w`\"'.\[\]]+[^\n;]{0,2000}?\s*(?:VALUES|SELECT)\b"
    r"|COPY\s+[\w`\"'.]+\s*(?:\([^)\n]*\)\s*)?FROM\s+stdin)",
    re.IGNORECASE | re.MULTILINE,
)


def _sql(text: str, start: str) -> str | None:
    if _DUMP.search(text[:2000]) and (_STATEMENT.search(text) or "CREATE TABLE" in text):
        return "an SQL dump"
    return "an SQL dump" if _STATEMENT.match(start) and _ROWS.search(start) else None
