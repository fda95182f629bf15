"""What common templates of the Japanese and English Wikipedia print, as far as that follows from their arguments.

`value` knows three kinds: templates whose text or value belongs to the sentence (its text), those that print nothing of
the sentence, such as notes, icons and tags ("") and all others (None). Nothing is fetched: what hangs on another page
or on today's date is among the others.
"""

from __future__ import annotations

import re

from .wiki_makers import MAKERS, NUMBER, Named, Plain, dated
from .wiki_names import names

_NAMED = re.compile(r"\s*([\w -]{1,30}?)\s*=")
_FUNCTION = re.compile(r"(formatnum|lc|uc|lcfirst|ucfirst)\s*:\s*([^|]*)", re.DOTALL | re.IGNORECASE)
_PREFIX = re.compile(r"(?:template|テンプレート|msg|subst|safesubst)\s*:\s*", re.IGNORECASE)
_AMOUNT = re.compile(rf"{NUMBER.pattern}[百千万億兆]*", re.IGNORECASE)
_CODE = re.compile(r"[A-Z]{2,4}")

# 要出典範囲 and its kin print the range that they are given; so do all names that end so
_RANGE_END = "範囲"
_NOTHING_LIKE = re.compile(
    r"cite .*|cite[a-z]+|harvcol.*|.*stub|.*スタブ|.*-foot|pp-.*|infobox.*|基礎情報.*|navbox.*|sidebar.*|"
    r"(?:[a-z]{2,3}|yue|simple) icon|ipa(?:c|soundbox)?-audio|defaultsort:.*|デフォルトソート:.*|displaytitle:.*|表示名:.*|"
    r"#tag:.*|toc.*|otheruses.*|main.*|see also.*|commons.*|file:.*|ファイル:.*|要.*出典|flagicon.*|"
    r"駅番号.*|.*route sign.*|.*(?:の画像提供依頼|アイコン)",
    re.DOTALL,
)
_LANGUAGE = re.compile(r"lang-[a-z-]+|ipac?-[a-z]{2,4}|ipa-all|pron-[a-z]{2,3}|zh-?[a-z]{0,4}")


def value(inside: str, japanese: bool) -> str | None:
    """What the template whose markup is `{{inside}}` leaves in the sentence.

    Args:
        inside: name and arguments, no template within.
        japanese: the page is Japanese (names of countries and dates are written so).

    Returns:
        The text; "" where nothing of it belongs to the sentence; None where that is not known.
    """
    whole = inside.partition("|")[0].strip()
    function = _FUNCTION.match(inside)
    if function:
        text = function[2].strip()
        return {"lc": text.lower(), "uc": text.upper()}.get(function[1].lower(), text)
    if ":" in whole:
        whole = _PREFIX.sub("", whole)
    name = whole.replace("_", " ").lower().strip()
    known = names()
    if name in known.nothing and "範囲" not in inside:
        return ""
    if name in known.signs and "|" not in inside:
        return known.signs[name]
    plain, named = arguments(inside)
    if "範囲" in named:
        return named["範囲"]
    return _known(name, whole, plain, named, japanese)


def _known(name: str, whole: str, plain: Plain, named: Named, japanese: bool) -> str | None:
    known = names()
    if name in known.makers:
        return MAKERS[known.makers[name]](plain, named, japanese)
    if name in known.prints:
        pattern, *otherwise = known.prints[name]
        return (
            pattern.format(*plain) if len(plain) > int(max(re.findall(r"\d", pattern))) else next(iter(otherwise), None)
        )
    if name in known.dated:
        return dated(plain, known.dated[name])
    position = known.positions.get(name) or (1 if _LANGUAGE.fullmatch(name) or name.endswith(_RANGE_END) else 0)
    if position:
        return _text(name, position, plain, named)
    if name in known.nothing or _NOTHING_LIKE.fullmatch(name):
        return ""
    if name in known.currencies and plain and _AMOUNT.fullmatch(plain[0]):
        before, after = known.currencies[name]
        return f"{before}{plain[0]}{after}"
    if name in known.country_first or name in known.country_second:
        at = 1 if name in known.country_second else 0
        return _country(plain[at], japanese) if len(plain) > at else None
    if _CODE.fullmatch(whole) and whole in known.countries:
        return known.countries[whole] if japanese else None
    if name in known.languages:  # {{en|text}}; without a text an icon
        return _country(plain[0], japanese) if plain else ""
    if name in known.ships and plain:
        return f"{name.upper()} {plain[0]}"
    if " to " in name and plain and NUMBER.fullmatch(plain[0]):  # {{mi to km|10}}
        return f"{plain[0]} {name.partition(' to ')[0]}"
    # {{Foo|date=2013年7月}} with nothing else is a tag of those who look after the page
    return "" if not plain and "date" in named else None


def arguments(inside: str) -> tuple[Plain, Named]:
    """The arguments of a template, blanks around them taken away; `2=text` counts as the second.

    A bar within a link is none between arguments.
    """
    pieces = inside.split("|")[1:]
    if "[[" in inside:
        joined: list[str] = []
        depth = 0
        for piece in pieces:
            if depth > 0:
                joined[-1] += f"|{piece}"
            else:
                joined.append(piece)
            depth = max(0, depth) + piece.count("[[") - piece.count("]]")
        pieces = joined
    plain: Plain = []
    named: Named = {}
    for piece in pieces:
        match = _NAMED.match(piece)
        if match is None:
            plain.append(piece.strip())
        elif match[1].isdecimal() and 1 <= int(match[1]) <= 20:
            position = int(match[1])
            plain += [""] * (position - len(plain))
            plain[position - 1] = piece[match.end() :].strip()
        else:
            named[match[1]] = piece[match.end() :].strip()
    return plain, named


def _text(name: str, position: int, plain: Plain, named: Named) -> str | None:
    if position < 0:
        return plain[-1] if plain else named.get("text")
    if name in ("仮リンク", "日本語版にない記事リンク", "ill2", "illm") and named.get("label"):
        return named["label"]
    if len(plain) < position:
        # {{color|#f00}} and the like: nothing was given. {{lang|en|E=mc}} is a name and a value to MediaWiki
        given = named.get("text") or named.get("quote") or named.get("content") or named.get("文章")
        return given or ("" if not named or "date" in named else None)
    return plain[position - 1]


def _country(code: str, japanese: bool) -> str:
    return names().countries.get(code, code) if japanese and _CODE.fullmatch(code) else code
