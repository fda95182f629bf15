"""Wikitext to plain text, for the common subset: a chain of steps, each of which is a rule of its own in the report.

Kept: the prose, headings as lines, list items, link labels, text given to a few inline templates. Dropped: templates,
tables, references, files, categories, links to other languages, galleries, formulas, comments, and the sections that
hold only references or links. This is not a parser of MediaWiki: what templates would print is not known here.

Every pattern is linear in the text (possessive quantifiers, bounded rounds), so that hostile pages cannot stall it.
"""

from __future__ import annotations

import bisect
import html
import re

_ROUNDS = 40  # nesting that is followed; deeper markup is only unwrapped
_LITERAL = 0xF0000  # private plane in which markup inside <nowiki> hides until the last step
_HIDDEN = {ord(char): _LITERAL + ord(char) for char in "[]{}|'=*#:;<>_-"}
_SHOWN = {hidden: char for char, hidden in _HIDDEN.items()}

_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
_SELF_CLOSED = re.compile(r"<(?:ref|nowiki|references|section)\b[^<>]*/>", re.IGNORECASE)
_NOT_TEXT = (
    "ref|math|chem|gallery|timeline|imagemap|score|graph|templatedata|mapframe|maplink|hiero|references|noinclude|"
    "inputbox|categorytree|chart"
)
_VERBATIM = "nowiki|pre|syntaxhighlight|source"

_PARAMETER = re.compile(r"\{\{\{[^{}]*+\}\}\}")
_TEMPLATE = re.compile(r"\{\{((?:[^{}]++|\{(?!\{)|\}(?!\}))*+)\}\}")
# inline templates whose text belongs to the sentence: name -> which argument that is
_INLINE = {
    "仮リンク": 1, "ill2": 1, "ill": 1, "nowrap": 1, "nobr": 1, "small": 1, "smaller": 1, "big": 1, "larger": 1,
    "ruby": 1, "読み仮名": 1, "読み仮名 ruby不使用": 1, "unicode": 1, "ipa": 1, "補助漢字フォント": 1,
    "jis2004フォント": 1, "cp932フォント": 1, "jis90フォント": 1, "要出典範囲": 1, "要検証範囲": 1, "sup": 1, "sub": 1,
    "underline": 1, "bold": 1, "flag": 1, "flagcountry": 1, "ルビ": 1, "nihongo": 1, "en": 1, "zh": 1, "ko": 1,
    "lang": 2, "color": 2, "font color": 2, "fontcolor": 2, "transl": 2, "linktext": 1, "visible anchor": 1,
    "vanchor": 1, "anchors": 1, "abbr": 1, "tooltip": 1, "quote": 1, "quotation": 1, "行内引用": 1,
}  # fmt: skip
_LANGUAGE_TEMPLATE = re.compile(r"lang-[a-z-]+|[a-z]{2,3} icon")
_NUMBER_TEMPLATE = re.compile(r"(?:formatnum|lc|uc|lcfirst|ucfirst)\s*:\s*(.*)", re.DOTALL | re.IGNORECASE)
_NAMED = re.compile(r"\s*[\w -]{1,30}=")

_EXTERNAL = re.compile(r"\[(?:https?:|ftp:|mailto:)?(?://)?(?<=/|:)[^\s\[\]]++[ \t]*+([^\[\]\n]*+)\]")
_LINK = re.compile(r"\[\[((?:[^\[\]]++|\[(?!\[)[^\[\]]*+\](?!\]))*+)\]\]")
_PROJECT = re.compile(
    r":?(?:[a-z]{2,3}|simple|wikt|wiktionary|commons|wikisource|wikipedia)\s*:\s*(?=\S)", re.IGNORECASE
)
_LANGUAGE_LINK = re.compile(r"\s*[a-z]{2,3}(?:-[a-z-]{2,12})?\s*:|\s*simple\s*:")
_FILE_LINK = re.compile(r"\s*(?:ファイル|画像|メディア|カテゴリ|file|image|media|category)\s*:", re.IGNORECASE)

_SIDE_SECTIONS = frozenset(
    {"脚注", "注釈", "注記", "註釈", "脚註", "註", "注", "出典", "参照", "参考", "参考文献", "参考資料", "関連項目"}
    | {
        "関連文献",
        "関連書籍",
        "関連資料",
        "関連リンク",
        "外部リンク",
        "脚注・出典",
        "出典・脚注",
        "注釈・出典",
        "注釈と出典",
    }
    | {"脚注・参考文献", "出典・参考文献", "出典・参照", "脚注と出典", "参考書籍", "references", "notes", "see also"}
    | {"external links", "further reading", "bibliography", "footnotes", "sources", "citations", "notes and references"}
)
_BOLD = re.compile(r"'{2,5}")
_RULE = re.compile(r"^-{4,}", re.MULTILINE)
_LIST = re.compile(r"^([*#:;]++)[ \t]*", re.MULTILINE)
_MAGIC_WORD = re.compile(r"__[A-Z]{3,20}__|__(?:目次|目次強制|目次なし|節編集非表示|全削除)__")
_BREAK = re.compile(r"<br\b[^<>]{0,200}>|</p\s*>", re.IGNORECASE)
_TAG = re.compile(r"</?[a-zA-Z][^<>\n]{0,500}>")
_EMPTY_BRACKETS = re.compile(r"（[\s、，,;；:：・/／\-]{0,40}）|\([\s,;:/、・\-]{0,40}\)|「」|『』|【】|\[\]")
_BRACKET_START = re.compile(r"([（(])[\s、，,;；・/]+")
_BRACKET_END = re.compile(r"(?<![\s、，,;；・/])[\s、，,;；・/]++([）)])")
_BEFORE_STOP = re.compile(r"(?<![ \u3000])[ \u3000]++(?=[。、，．])")
_LONE_BULLET = re.compile(r"^[・\s:：、。,.()（）]+$\n?", re.MULTILINE)


def looks_like(text: str) -> bool:
    """True when a text of unknown markup is wikitext: links and templates or headings as MediaWiki writes them."""
    head = text[:20000]
    signs = (head.count("[["), head.count("{{"), len(re.findall(r"^==+[^=\n]+==+\s*$", head, re.MULTILINE)))
    return signs[0] >= 3 and signs[1] + signs[2] >= 2 and head.count("'''") >= 1


def comments_and_references(text: str) -> str:
    """Drop comments, references, formulas, galleries; set <nowiki> and <pre> text aside from the later steps."""
    text = _COMMENT.sub("", text)
    text = _elements(text, _VERBATIM, keep=True)
    return _elements(_SELF_CLOSED.sub("", text), _NOT_TEXT, keep=False)


def _elements(text: str, names: str, keep: bool) -> str:
    """Drop elements with their text, or keep the text hidden from later steps. One that is never closed is left."""
    opened = list(re.finditer(rf"<({names})\b[^<>]*(?<!/)>", text, re.IGNORECASE)) if "<" in text else []
    if not opened:
        return text
    closed: dict[str, list[re.Match[str]]] = {}
    for match in re.finditer(rf"</({names})\s*>", text, re.IGNORECASE):
        closed.setdefault(match[1].lower(), []).append(match)
    parts: list[str] = []
    at = 0
    for number, match in enumerate(opened):
        ends = closed.get(match[1].lower(), [])
        place = bisect.bisect_left(ends, match.end(), key=lambda end: end.start())
        if match.start() < at or place == len(ends):
            continue
        end = ends[place]
        follower = opened[number + 1] if number + 1 < len(opened) else None
        if follower and follower[1].lower() == "ref" == match[1].lower() and follower.start() < end.start():
            continue  # a reference that was never closed must not swallow the prose up to the next one
        parts.append(text[at : match.start()])
        if keep:
            parts.append(text[match.end() : end.start()].translate(_HIDDEN))
        at = end.end()
    return "".join([*parts, text[at:]])


def templates(text: str) -> str:
    """Drop templates from the innermost out; a few inline ones leave the text that they were given."""
    text = _PARAMETER.sub("", text)
    for _ in range(_ROUNDS):
        text, count = _TEMPLATE.subn(lambda match: _template(match[1]), text)
        if not count:
            break
    return text.replace("{{", "").replace("}}", "")


def _template(inside: str) -> str:
    number = _NUMBER_TEMPLATE.match(inside)
    if number:
        return number[1].strip()
    name, *arguments = inside.split("|")
    name = name.strip().replace("_", " ").lower()
    wanted = _INLINE.get(name) or (1 if _LANGUAGE_TEMPLATE.fullmatch(name) else 0)
    if not wanted:
        return "\n" if "\n" in inside else ""
    plain = [argument for argument in arguments if not _NAMED.match(argument)]
    text = plain[wanted - 1].strip() if len(plain) >= wanted else ""
    if name.startswith("読み仮名") and len(plain) >= 2:
        text += f"（{plain[1].strip()}）"
    return text


def tables(text: str) -> str:
    """Drop tables, nested ones too. Of one that is never closed only the lines that look like rows go."""
    if "{|" not in text:
        return text
    kept: list[str] = []
    held: list[str] = []
    depth = 0
    for line in text.split("\n"):
        start = line.lstrip(" \t:*#")
        if start.startswith("{|"):
            depth += 1
        if not depth:
            kept.append(line)
            continue
        held.append(line)
        if start.startswith("|}"):
            depth -= 1
            if not depth:
                kept.append(start[2:])
                held = []
    kept += [line for line in held if not line.lstrip(" \t:*#").startswith(("{|", "|", "!"))]
    return "\n".join(kept)


def _heading(line: str) -> tuple[int, str] | None:
    """Level and title of a heading line."""
    bare = line.rstrip()
    level = min(len(bare) - len(bare.lstrip("=")), len(bare) - len(bare.rstrip("=")), 6)
    if not level or len(bare) <= 2 * level:
        return None
    return level, bare[level:-level].strip()


def side_sections(text: str) -> str:
    """Drop sections of references and links, and headings under which nothing is left."""
    lines = text.split("\n")
    kept: list[str] = []
    dropped = 0  # level of the section being dropped, 0 when none is
    for line in lines:
        heading = _heading(line)
        if heading:
            level = heading[0]
            if not dropped or level <= dropped:
                title = _BOLD.sub("", heading[1]).strip().lower()
                dropped = level if title in _SIDE_SECTIONS else 0
        if not dropped:
            kept.append(line)
    result: list[str] = []
    below = 7  # level of the heading met last, coming from the end; 7 = text was met since
    empty = True
    for line in reversed(kept):
        heading = _heading(line)
        if heading:
            level = heading[0]
            if empty and level >= below:
                continue
            below, empty = level, True
        elif line.strip(" \t*#:;\u3000"):
            below, empty = 7, False
        if heading is None or result:
            result.append(line)
    return "\n".join(reversed(result))


def links(text: str) -> str:
    """Links become their labels; files, categories and links to other languages go."""
    text = _EXTERNAL.sub(lambda match: match[1], text)
    for _ in range(_ROUNDS):
        text, count = _LINK.subn(lambda match: _link(match[1]), text)
        if not count:
            break
    return _EXTERNAL.sub(lambda match: match[1], text.replace("[[", "").replace("]]", ""))


def _link(inside: str) -> str:
    if _FILE_LINK.match(inside) or _LANGUAGE_LINK.match(inside):
        return ""
    target, bar, label = inside.partition("|")
    label = label.rsplit("|", 1)[-1].strip() if bar else ""
    return _PROJECT.sub("", label or target.strip(), count=1).lstrip(":")


def markup(text: str) -> str:
    """Headings, lists, emphasis, tags and entities become plain lines; what <nowiki> hid comes back."""
    lines = text.split("\n")
    for number, line in enumerate(lines):
        heading = _heading(line)
        if heading:
            lines[number] = f"\n{heading[1]}"
    text = _BOLD.sub("", "\n".join(lines))
    text = _MAGIC_WORD.sub("", _RULE.sub("", text))
    if "<" in text:
        text = _TAG.sub("", _BREAK.sub("\n", text))
    text = _LIST.sub(lambda match: "・" if match[1][-1] in "*#" else "", text)
    if "&" in text:
        text = html.unescape(text).replace("\u00a0", " ")
    return text.translate(_SHOWN)


def leftovers(text: str) -> str:
    """Take away the brackets and bullets that stood around what the other steps dropped."""
    text = _EMPTY_BRACKETS.sub("", text)
    text = _BRACKET_END.sub(r"\1", _BRACKET_START.sub(r"\1", text))
    text = _BEFORE_STOP.sub("", text)
    return _LONE_BULLET.sub("", _EMPTY_BRACKETS.sub("", text))


STEPS = (
    ("wikitext_references", comments_and_references),
    ("wikitext_templates", templates),
    ("wikitext_tables", tables),
    ("wikitext_links", links),
    ("wikitext_side_sections", side_sections),
    ("wikitext_markup", markup),
    ("wikitext_leftovers", leftovers),
)


def strip(text: str) -> str:
    """All steps, in order."""
    for _, step in STEPS:
        text = step(text)
    return text
