"""The text of an HTML page or fragment: paragraphs as lines, without scripts, menus, headers and footers.

For feeds' summaries and plain pages. It does not tell an article from what stands around it: pages of the open web
want a tool made for that before they are worth training on. Of ruby the readings are left out: in plain text they would
stand behind their words as words.
"""

from __future__ import annotations

import re

_DROPPED = frozenset(
    {"script", "style", "noscript", "template", "svg", "math", "iframe", "object", "select", "title", "textarea"}
)
_AROUND = frozenset({"nav", "header", "footer", "aside", "form", "button"})
_BLOCK = frozenset(
    {"p", "div", "section", "article", "main", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "li", "dl", "dt", "dd"}
    | {"table", "tr", "blockquote", "pre", "figure", "figcaption", "hr", "address", "body", "details", "summary", "br"}
    | {"center", "caption", "fieldset", "legend", "menu", "dir", "dialog", "hgroup", "search", *_AROUND} - {"button"}
)
_READINGS = frozenset({"rt", "rp", "rtc"})
TAGS = _DROPPED | _AROUND | _BLOCK | _READINGS
TAGS |= frozenset(
    re.findall(
        r"\S+",
        "a abbr acronym applet area audio b base basefont bdi bdo big canvas caption center cite code col"
        " colgroup data datalist del dfn dialog dir em embed fieldset font frame frameset head hgroup html i img"
        " input ins kbd label legend link map mark marquee menu meta meter nobr noframes object optgroup option"
        " output param picture progress q rb ruby s samp search slot small source span strike strong sub sup tbody"
        " td tfoot th thead time track tt u var video wbr",
    )
)
"""HTML's elements."""
_CDATA = "<![CDATA["
_BLANKS = re.compile(r"[ \t\n\r\f\v]+")
_MARKUP = re.compile(r"[<&]")
_KEPT = {ord(" "): "\U000f5000", ord("\t"): "\U000f5001"}  # blanks of <pre> hide here until lines are stripped
_SHOWN = {ord(hidden): chr(blank) for blank, hidden in _KEPT.items()}


def text_of(markup: str) -> tuple[str, str]:
    """Text and title of a page or fragment; broken markup is read as far as it can be."""
    if not _MARKUP.search(markup):
        return _tidy(_BLANKS.sub(" ", markup)), ""
    from lxml import etree

    markup = without_cdata(markup)
    # NUL ends a text for libxml2; halves of surrogate pairs are no text
    data = markup.replace("\0", "").encode("utf-8", "replace")
    parser = etree.HTMLParser(
        encoding="utf-8", recover=True, no_network=True, remove_comments=True, remove_pis=True, huge_tree=True
    )
    try:
        root = etree.fromstring(data, parser)
    except etree.XMLSyntaxError:  # nothing in it
        root = None
    if root is None:
        return "", ""
    title = next((" ".join("".join(each.itertext()).split()) for each in root.iter("title")), "")
    parts: list[str] = []
    hidden = articles = verbatim = 0
    ruby: list[bool] = []
    """Of each part of a ruby that is open: whether it is a reading. Without end tags the parts lie in one another."""
    for event, element in etree.iterwalk(root, events=("start", "end")):
        tag = element.tag
        begins = event == "start"
        # a header inside an article is its headline
        if tag in _DROPPED or (tag in _AROUND and not articles) or (hidden and tag in _AROUND):
            hidden += 1 if begins else -1
        elif not hidden and tag in ("article", "main"):
            articles += 1 if begins else -1
        elif tag == "rb" or tag in _READINGS:
            ruby = [*ruby, tag != "rb"] if begins else ruby[:-1]
        elif tag == "pre":
            verbatim += 1 if begins else -1
        if tag in _BLOCK:
            parts.append("\n")
        elif tag in ("td", "th"):
            parts.append(" ")
        held = element.text if begins else element.tail
        # what follows the end of the outermost element is outside
        if held and not hidden and not (ruby and ruby[-1]) and element is not root:
            parts.append(held.translate(_KEPT) if verbatim else _BLANKS.sub(" ", held))
    return _tidy("".join(parts)), title


def without_cdata(markup: str) -> str:
    """What stands in CDATA sections as the markup that was meant: HTML knows none, and drops them with what they hold."""
    first, *sections = markup.split(_CDATA)
    return first + "".join(section.replace("]]>", "", 1) for section in sections)


def _tidy(text: str) -> str:
    kept = (line.strip(" \t\r").translate(_SHOWN).rstrip(" \t") for line in text.split("\n"))
    return "\n".join(line for line in kept if line)
