"""Wikitext to plain text, for the common subset: a chain of steps, each of which is a rule of its own in the report.

Kept: the prose, headings as lines, list items, link labels, the text or value of common templates (`wiki_templates`).
Dropped: other templates, tables, references, files, categories, links to other languages, galleries, formulas,
comments, readings over characters, and the sections that hold only references or links. A sentence in which a
template stood whose text is not known is dropped whole, and counted (`wiki_holes`). This is not a parser of MediaWiki.

Every pattern is linear in the text (possessive quantifiers, bounded rounds), so that hostile pages cannot stall it.
"""

from __future__ import annotations

import bisect
import html
import re
from collections import Counter
from collections.abc import Callable

from . import wiki_holes, wiki_makers, wiki_tables, wiki_templates
from .wiki_names import names

_ROUNDS = 40  # nesting that is followed; deeper markup is only unwrapped
_LITERAL = 0xF0000  # private plane in which markup inside <nowiki> hides until the last step
_HIDDEN = {ord(char): _LITERAL + ord(char) for char in "[]{}|'=*#:;<>_-"}
_SHOWN = {chr(hidden): chr(char) for char, hidden in _HIDDEN.items()}
_HIDDEN_CHAR = re.compile(f"[{chr(_LITERAL)}-{chr(_LITERAL + 0x7F)}]")

_OWN = _LITERAL + 0x1001  # keeps what the page itself writes apart from what is left where something was dropped
# empty brackets and doubled stops of the page's own
_MEANT = ("「」", "『』", "【】", "（）", "()", "[]", "、。", "（・", "・）")
_DOTS = re.compile("。{3,}|、{3,}")
_MEANT_BRACKETS = re.compile(
    r"([（(])([、，,;；:：・/／\-\u3000 ]{1,3})([）)])"
)  # 読点（、）, not what is left of a reading
_DOUBLED = {"、、": "、", "。。": "。", "、 、": "、", "。 。": "。", "、。": "。", "、 。": "。", ", ,": ","}
_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
_SELF_CLOSED = re.compile(r"<(?:ref|nowiki|references|section)\b[^<>]*/>", re.IGNORECASE)
_NOT_TEXT = (
    "ref|gallery|timeline|imagemap|graph|templatedata|mapframe|maplink|references|noinclude|inputbox|categorytree|chart"
)
_FORMULA = "math|chem|ce|hiero|score"
_SIMPLE_FORMULA = re.compile(r"[\w+\-−*/=().,^{}|!' :°%→↔\[\]]{1,80}")
_POWER = re.compile(r"\^([+\-−]?\d{1,4}|n)(?![\d}])|\^\{([+\-−]?\d{1,4}|n)\}")
_VERBATIM = "nowiki|pre|syntaxhighlight|source"
_NOWIKI = re.compile(r"</?nowiki\s*/?>", re.IGNORECASE)

_PARAMETER = re.compile(r"\{\{\{[^{}]*+\}\}\}")
_TEMPLATE = re.compile(r"\{\{((?:[^{}]++|\{(?!\{)|\}(?!\}))*+)\}\}")
_BAR = chr(_LITERAL + 0x1000)  # {{!}}: no bar between arguments, but one of a table
_TABLE_SIGNS = {
    "{{!}}": _BAR, "{{(!}}": f"{{{_BAR}", "{{!)}}": f"{_BAR}}}", "{{!-}}": f"{_BAR}-", "{{!!}}": f"{_BAR}{_BAR}",
}  # fmt: skip
_KANA = re.compile("[ぁ-ん]")

_EXTERNAL = re.compile(r"\[(?:https?:|ftp:|mailto:)?(?://)?(?<=/|:)[^\s\[\]]++[ \t]*+([^\[\]\n]*+)\]")
_LINK = re.compile(r"\[\[((?:[^\[\]]++|\[(?!\[)[^\[\]]*+\](?!\]))*+)\]\]")
_TARGET = re.compile(r"[\s_]*(:?)[\s_]*([^\s_:\[\]|#]{1,30})[\s_]*:[\s_]*")
_RUBY = re.compile(r"<ruby\b[^<>]*>((?:[^<]++|<(?!/?ruby\b))*+)</ruby\s*>", re.IGNORECASE)
_READING = re.compile(
    r"<rtc\b[^<>]*>.*?(?:</rtc\s*>|(?=<rb\b)|\Z)|<r[tp]\b[^<>]*>.*?(?:</r[tp]\s*>|(?=<r[bpt]\b)|\Z)",
    re.IGNORECASE | re.DOTALL,
)
_LONE_READING = re.compile(r"<(r[tp]|rtc)\b[^<>]*>[^<\n]{0,200}</\1\s*>", re.IGNORECASE)
_VARIANTS = re.compile(r"-\{(?!\{)\s*(?:[a-zA-Z]{1,2}\|)?(?:[a-z-]{2,8}:)?\s*([^{}|;\n]{0,200}+)[^{}\n]{0,500}\}-")

_BOLD = re.compile(r"'{2,5}")
_APOSTROPHE = re.compile(r"(?<!')'(?='{3}(?!'))")  # of four the first is one
_RULE = re.compile(r"^-{4,}", re.MULTILINE)
_LIST = re.compile(r"^([*#:;]++)[ \t]*", re.MULTILINE)
_MAGIC_WORD = re.compile(r"__[A-Z]{3,20}__|__(?:目次|目次強制|目次なし|節編集非表示|全削除)__")
_BREAK = re.compile(r"<br\b[^<>]{0,200}>", re.IGNORECASE)
_RAISED = re.compile(r"<sup\b[^<>]{0,200}>\s*([+\-−]?\d{1,4}|[+\-−n])\s*</sup\s*>", re.IGNORECASE)
# what MediaWiki takes for a tag; `vector<int>` is text to it
_TAG = re.compile(
    r"</?(?:abbr|b|bdi|bdo|big|blockquote|br|caption|ce|center|chem|cite|code|col|colgroup|data|dd|del|dfn|div|dl|dt|em|"
    r"font|gallery|graph|h[1-6]|hiero|hr|i|imagemap|includeonly|indicator|ins|kbd|langconvert|li|link|mapframe|maplink|"
    r"mark|math|meta|noinclude|nowiki|ol|onlyinclude|p|page[a-z]*|poem|pre|q|r[bpt]|rtc|ref|references|ruby|s|samp|score|"
    r"section|small|source|span|strike|strong|su[bp]|syntaxhighlight|table|tbody|td|templatestyles|tfoot|th|thead|time|"
    r"timeline|tr|translate|tt|tvar|u|ul|var|wbr)\b[^<>]{0,500}>",
    re.IGNORECASE,
)
_EMPTY_BRACKETS = re.compile(r"（[\s、，,;；:：・/／\-]{0,40}）|\([\s,;:/、・\-]{0,40}\)|「」|『』|【】|\[\]")
_BRACKET_START = re.compile(r"([（(])[\s、，,;；・/]+")
_BRACKET_END = re.compile(r"(?<![\s、，,;；・/])[\s、，,;；・/]++([）)])")
_BEFORE_STOP = re.compile(r"(?<![ \u3000])[ \u3000]++(?=[。、，．])")
_LONE_BULLET = re.compile(r"^[・\s:：、。,.()（）]+$\n?", re.MULTILINE)


# programs have ''' and [[1, 2], [3, 4]] too
_PAGE_LINK = re.compile(r"\[\[(?!\s*-?[\d.]+\s*[,\]]|[\"'(\[\]{])[^\[\]\n]{1,300}\]\]")
_BOLD_WORDS = re.compile(r"'''[^'\n]{1,300}'''(?!')")


def looks_like(text: str) -> bool:
    """True when a text of unknown markup is wikitext: links and templates or headings as MediaWiki writes them."""
    head = text[:20000]
    signs = (
        len(_PAGE_LINK.findall(head)),
        head.count("{{"),
        len(re.findall(r"^==+[^=\n]+==+\s*$", head, re.MULTILINE)),
    )
    return signs[0] >= 3 and signs[1] + signs[2] >= 2 and _BOLD_WORDS.search(head) is not None


def titled(text: str, title: str) -> str:
    """The markup with the page's title in place of {{PAGENAME}}."""
    return text.replace("{{PAGENAME}}", title) if title and "{{PAGENAME}}" in text else text


def comments_and_references(text: str) -> str:
    """Drop comments, references, galleries and formulas; set <nowiki> and <pre> text aside from the later steps.

    Formulas that need no TeX stay; others leave a mark, like templates whose text is not known.
    """
    for pair in _MEANT:
        while pair in text:
            text = text.replace(pair, f"{pair[0]}{chr(_OWN)}{pair[1]}")
    if "。。。" in text or "、、、" in text:
        text = _DOTS.sub(lambda match: chr(_OWN).join(match[0]), text)
    text = _MEANT_BRACKETS.sub(rf"\1{chr(_OWN)}\2{chr(_OWN)}\3", text)
    text = _COMMENT.sub("", text)
    text = _elements(text, _VERBATIM, _verbatim)
    text = _elements(_SELF_CLOSED.sub("", text), _NOT_TEXT, lambda name, inside: "")
    return _elements(text, _FORMULA, _formula)


def _verbatim(name: str, inside: str) -> str:
    return (_NOWIKI.sub("", inside) if name == "pre" else inside).translate(_HIDDEN)


def _formula(name: str, inside: str) -> str:
    plain = inside.strip().replace("<->", "↔").replace("->", "→") if name in ("chem", "ce") else inside.strip()
    if name in ("hiero", "score") or not _SIMPLE_FORMULA.fullmatch(plain):
        return wiki_holes.mark(f"{name}")
    plain = _POWER.sub(lambda match: wiki_makers.raised(match[1] or match[2]), plain)
    return plain.replace("{", "").replace("}", "").replace("_", "").translate(_HIDDEN)


def _elements(text: str, names: str, maker: Callable[[str, str], str]) -> str:
    """Put what `made` gives in place of elements (their name and content). One that is never closed is left."""
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
        parts += [text[at : match.start()], maker(match[1].lower(), text[match.end() : end.start()])]
        at = end.end()
    return "".join([*parts, text[at:]])


def readings(text: str) -> str:
    """Drop the readings of <ruby>, with the brackets given for browsers that do not know it."""
    if "<r" not in text and "<R" not in text:
        return text
    return _LONE_READING.sub("", _RUBY.sub(lambda match: _READING.sub("", match[1]), text))


def templates(text: str) -> str:
    """Drop templates from the innermost out; known ones leave their text, unknown ones a mark where they break a line."""
    if "!" in text:
        for written, meant in _TABLE_SIGNS.items():
            text = text.replace(written, meant)
    text = _PARAMETER.sub("", _VARIANTS.sub(r"\1", text) if "-{" in text else text)
    japanese = _KANA.search(text) is not None

    def made(match: re.Match[str]) -> str:
        inside = match[1]
        value = wiki_templates.value(inside, japanese)
        if "\n" in inside and not value and match.string[max(0, match.start() - 1)] == "\n":
            return "\n"  # a box between paragraphs
        return wiki_holes.mark(inside.partition("|")[0]) if value is None else value

    for _ in range(_ROUNDS):
        text, count = _TEMPLATE.subn(made, text)
        if not count:
            break
    return wiki_holes.settle(text.replace("{{", "").replace("}}", "").replace(_BAR, "|"))


def _heading(line: str) -> tuple[int, str] | None:
    """Level and title of a heading line."""
    if not line.startswith("="):
        return None
    bare = line.rstrip()
    level = min(len(bare) - len(bare.lstrip("=")), len(bare) - len(bare.rstrip("=")), 6)
    if not level or len(bare) <= 2 * level:
        return None
    return level, bare[level:-level].strip()


def side_sections(text: str) -> str:
    """Drop sections of references and links."""
    lines = text.split("\n")
    kept: list[str] = []
    dropped = 0  # level of the section being dropped, 0 when none is
    for line in lines:
        heading = _heading(line)
        if heading:
            level = heading[0]
            if not dropped or level <= dropped:
                title = _BOLD.sub("", heading[1]).strip().lower()
                dropped = level if title in names().side_sections else 0
        if not dropped:
            kept.append(line)
    return "\n".join(kept)


def empty_sections(text: str) -> str:
    """Drop headings under which nothing is left."""
    result: list[str] = []
    below = 7  # level of the heading met last, coming from the end; 7 = text was met since
    empty = True
    for line in reversed(text.split("\n")):
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
    target, bar, label = inside.partition("|")
    label = label.rsplit("|", 1)[-1].strip() if bar else ""
    prefix = _TARGET.match(target)
    if prefix is not None:
        # only what stands before the target's first colon is a namespace or a wiki; titles and labels have colons too
        name, shown, known = prefix[2], bool(prefix[1]), names()
        if not shown and (name.lower() in known.embedded or name.lower() in known.category or name in known.languages):
            return ""
        if name.lower() in known.media:
            return label
        if name in known.languages or name in known.projects:
            while (more := _TARGET.match(target, prefix.end())) and more[2] in known.languages | known.projects:
                prefix = more
            bare = target.strip().lstrip(":").strip()
            return label if label and label not in (target.strip(), bare) else target[prefix.end() :].strip()
    return label or target.strip().removeprefix(":")


def markup(text: str) -> str:
    """Headings, lists, emphasis, tags and entities become plain lines; what <nowiki> hid comes back."""
    lines = text.split("\n")
    for number, line in enumerate(lines):
        heading = _heading(line)
        if heading:
            lines[number] = f"\n{heading[1]}"
    text = "\n".join(lines)
    if "''''" in text:
        text = _APOSTROPHE.sub(chr(_HIDDEN[ord("'")]), text)
    text = _BOLD.sub("", text)
    text = _RULE.sub("", text) if "----" in text else text
    text = _MAGIC_WORD.sub("", text) if "__" in text else text
    if "<" in text:
        text = _TAG.sub("", wiki_tables.cells(_BREAK.sub("\n", _RAISED.sub(_superscript, text))))
    text = _LIST.sub(lambda match: "・" if match[1][-1] in "*#" else "", text)
    if "&" in text:
        text = html.unescape(text).replace("\u00a0", " ")
    return _HIDDEN_CHAR.sub(lambda match: _SHOWN.get(match[0], match[0]), text)


def _superscript(match: re.Match[str]) -> str:
    return wiki_makers.raised(match[1])


def leftovers(text: str) -> str:
    """Take away the brackets and bullets that stood around what the other steps dropped."""
    text = _EMPTY_BRACKETS.sub("", text)
    text = _BRACKET_END.sub(r"\1", _BRACKET_START.sub(r"\1", text))
    text = _BEFORE_STOP.sub("", text)
    for pair, one in _DOUBLED.items():
        while pair in text:
            text = text.replace(pair, one)
    return _LONE_BULLET.sub("", _EMPTY_BRACKETS.sub("", text)).replace(chr(_OWN), "")


STEPS = (
    ("wikitext_references", comments_and_references),
    ("wikitext_ruby", readings),
    ("wikitext_templates", templates),
    ("wikitext_tables", wiki_tables.drop),
    ("wikitext_links", links),
    ("wikitext_side_sections", side_sections),
    ("wikitext_holes", wiki_holes.drop),
    ("wikitext_empty_sections", empty_sections),
    ("wikitext_markup", markup),
    ("wikitext_leftovers", leftovers),
)


def strip(text: str, lost: Counter[str] | None = None) -> str:
    """All steps, in order.

    Args:
        text: a page's wikitext.
        lost: counts the templates around which a sentence was dropped, by name.
    """
    for name, step in STEPS:
        if lost is not None and name == "wikitext_holes":
            lost.update(wiki_holes.lost(text))
        text = step(text)
    return text
