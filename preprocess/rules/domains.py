"""Profiles for kinds of corpora: which lines go from a text, and which texts are not worth keeping (`domains.yml`).

What is right for web pages removes a third of novels, so each domain has rules of its own. They come on top of what the
text's markup asks for (`preprocess.rules`), and every rule is counted in the report under its name.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Callable
from pathlib import Path
from types import CodeType

from haigo import yamlfile

from . import Step, news_lists
from .facts import CLASSES, Facts

_STOP = re.compile(r"[。．！？!?]")
_URL_LINE = re.compile(r"^\W*(?:https?://|www\.)\S+\s*$")
_ASCII_RUN = re.compile(r"[!-~]{100,}")
_SEPARATOR = re.compile(r"\s[|/>»«]\s|[|｜»›＞>]|\s・\s")
_SEPARATES = re.compile(r"[|/>»«｜›＞]|・(?<=\s・)")
_PAGE_PHRASE = re.compile(
    r"copyright|©|\(c\)\s*\d{4}|all rights reserved|powered by|cookie|javascript|無断転載|無断複写|"
    r"プライバシーポリシー|個人情報保護方針|利用規約|特定商取引|免責事項|お問い?合わ?せ|問い合わせ(?:先|フォーム|はこちら)|サイトマップ|会社概要|運営会社|"
    r"続きを(?:読|見)|もっと(?:見|読)|詳しくはこちら|詳細はこちら|ページ(?:の)?(?:トップ|先頭|上部)|(?:トップ(?:ページ)?|ホーム)へ(?:戻|もど|$)|"
    r"(?:前|次)の(?:記事|ページ|エントリ)|(?:関連|最新|人気|おすすめ)の?(?:記事|ニュース|エントリ)|"
    r"コメント(?:を(?:残|書|投稿)|\(\d+\)|（\d+）)|トラックバック|ログイン|ログアウト|新規(?:会員)?登録|会員登録|パスワード|"
    r"シェアする|ツイート(?:する)?$|フォローする|ブックマーク|カートに(?:入|追加)|買い物かご|カテゴリー?[:：一]|"
    r"タグ[:：]|投稿者[:：]|スポンサード?リンク|広告を非表示",
    re.IGNORECASE,
)
_PHRASE_CHARS = 80
_RELATED = re.compile(
    r"^[\s■◆●▼▽【＜<［\[(（]*(?:関連(?:記事|ニュース|リンク|動画|項目)|あわせて読みたい|最新(?:記事|ニュース)|おすすめ記事|写真特集)"
)


def url_lines(text: str) -> str:
    """Take out lines that are a URL, or hold an ASCII run of 100 characters and no Japanese sentence."""
    if "://" not in text and "www." not in text and not _ASCII_RUN.search(text):
        return text
    return _lines_without(
        text, lambda line: bool(_URL_LINE.match(line) or (_ASCII_RUN.search(line) and not _STOP.search(line)))
    )


def menu_lines(text: str) -> str:
    """Take out rows of links: three separators or more, short pieces between them, no sentence."""
    if not _SEPARATES.search(text):
        return text

    def is_menu(line: str) -> bool:
        if "。" in line:
            return False
        pieces = _SEPARATOR.split(line)
        return len(pieces) > 3 and len(line) / len(pieces) <= 16 and not _STOP.search(line)

    return _lines_without(text, is_menu)


def page_phrases(text: str) -> str:
    """Take out short lines that are not of the text but of the page: copyright, links to other articles, log-in."""
    # most lines are sentences: only the others are worth the long pattern
    return _lines_without(
        text, lambda line: len(line) <= _PHRASE_CHARS and "。" not in line and bool(_PAGE_PHRASE.search(line))
    )


def repeated_lines(text: str) -> str:
    """Take out lines of ten characters or more that stood before in the same page."""
    seen: set[str] = set()

    def again(line: str) -> bool:
        if len(line) < 10 or line not in seen:
            seen.add(line)
            return False
        return True

    return _lines_without(text, again)


def news_related(text: str) -> str:
    """Take out lines that lead to other articles, and boxes of them run together in one line."""
    if "関連" not in text and "記事" not in text and "最新" not in text and "写真特集" not in text:
        return text
    return _lines_without(
        text,
        lambda line: (
            (len(line) <= _PHRASE_CHARS and bool(_RELATED.match(line)))
            or ("最近の記事" in line and len(line) > _PHRASE_CHARS and len(_STOP.findall(line)) <= 2)
        ),
    )


def _lines_without(text: str, unwanted: Callable[[str], bool]) -> str:
    lines = text.split("\n")
    kept = [line for line in lines if not (line.strip() and unwanted(line.strip()))]
    return text if len(kept) == len(lines) else "\n".join(kept).strip("\n")


STEPS: dict[str, Callable[[str], str]] = {
    "web_url_lines": url_lines,
    "web_menu_lines": menu_lines,
    "web_page_phrases": page_phrases,
    "web_repeated_lines": repeated_lines,
    "news_headed_lists": news_lists.headed,
    "news_related": news_related,
    "news_sources": news_lists.drop,
}
"""Those that a profile may name."""


_KNOWN = {"__builtins__": {}, **CLASSES}
"""What the expressions know beside the facts; of its own, because `eval` adds all builtins to a table that names none."""


@dataclasses.dataclass(frozen=True, slots=True)
class Domain:
    """One profile of `domains.yml`, which says what its keys mean."""

    markup: str | None
    steps: tuple[Step, ...]
    first: tuple[tuple[str, CodeType], ...]
    drops: tuple[tuple[str, CodeType], ...]
    min_chars: int | None
    normalise: tuple[str, ...]
    site_pages: int

    def dropped_first_by(self, facts: Facts) -> str | None:
        """The first rule that drops a text as it stands, before `steps`; None for one that is looked at further."""
        return _one_of(self.first, facts)

    def dropped_by(self, facts: Facts) -> str | None:
        """The first rule that drops a text; None for one that is kept."""
        return _one_of(self.drops, facts)


def _one_of(rules: tuple[tuple[str, CodeType], ...], facts: Facts) -> str | None:
    return next((name for name, drops in rules if eval(drops, _KNOWN, facts)), None)  # type: ignore[arg-type]


def _compiled(profile: str, rules: dict[str, str]) -> tuple[tuple[str, CodeType], ...]:
    return tuple((rule, compile(drops, f"{profile}: {rule}", "eval")) for rule, drops in rules.items())


@functools.cache
def table() -> dict[str, Domain]:
    """Every profile by its name."""
    return {
        name: Domain(
            row.get("markup"),
            tuple((step, STEPS[step]) for step in row.get("steps", ())),
            _compiled(name, row.get("first", {})),
            _compiled(name, row["drops"]),
            row.get("min_chars"),
            tuple(row.get("normalise", ())),
            row.get("site_pages", 0),
        )
        for name, row in yamlfile.read(Path(__file__).with_suffix(".yml")).items()
    }
