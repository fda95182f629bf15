"""The list of sources, and of related articles, with which a news article ends.

The lists were made for Wikinews, where each source is a title and a line of publisher and date, in Japanese or English.
"""

from __future__ import annotations

import re

_DATE = r"(?:19|20)\d\d年(?:\d{0,2}月)?(?:\d{0,2}日)?"
_CLOCK = (
    r"(?:[(（][^()（）]{0,30}[)）]|午[前後]|\d{1,2}[:時]\d{0,2}分?(?:\d{0,2}秒)?|日本時間|[A-Z]{2,4}|頃|閲覧|付け?|更新日?|最終更新|"
    r"[朝夕]刊|アクセス|公開|配信|掲載|確認|取得|放送|発行|号|[-~〜～])*"
)
_ENGLISH_DATE = r"(?:\d{0,2}[A-Z][a-z]{2,8}\.?\d{0,2}(?:st|nd|rd|th)?,?)?(?:19|20)\d\d[^ぁ-ん。]{0,25}"
_SOURCE = re.compile(
    # (author)『title』; a title may hold another
    r"[^。]{0,80}(?<![はがをもにで])『[^\n]{1,200}』(?:\([^()]{0,40}\))?"
    # (author)"title", also with a comma or a semicolon in it
    r"|(?:(?:19|20)\d\d年\d{1,2}月\d{1,2}日[:：][^。]{0,60})?[^。ぁ-ん]{0,80}[\"“][^\"“”]{4,}[;,.]?[\"”]+"
    # publisher, date
    rf"|(?:[^。、\n]{{1,60}}、){{0,2}}(?:日本時間)?{_DATE}{_CLOCK}"
    r"|[^。、\nぁ-ん]{1,60}、"
    rf"|[^。\nぁ-ん]{{1,80}}、{_ENGLISH_DATE}"
)
# when or by whom, or a title with a full stop behind its brackets, as Wikinews writes them
_TELLS = re.compile(r"(?:19|20)\d\d|\d{1,2}月\d{1,2}日|、。?\s*$|[』\"”]。\s*$|ウィキ|Wiki|https?://")
_ENGLISH_LIST = re.compile(r"[\"”][.,、]\s?[^。]{0,80}(?:19|20)\d\d")
_RELATED = re.compile(
    r".*[-–(（【]+(?:19|20)\d\d年\d{1,2}月\d{1,2}日(?:付|[^。]{0,6})[)）】]+|(?:.{0,80}(?:19|20)\d\d年\d{1,2}月\d{1,2}日(?:\(.\)|付)?[:：]){2}.*"
)
_NOTICE = re.compile(
    r"(?:この記事は|本記事は)?(?:.{1,12}語版)?(?:ウィキニュース|ウィキペディア|Wikipedia|Wikinews).{0,60}(?:翻訳|基づ|あります|翻訳です)[^。]{0,14}"
)
_SENTENCE_END = re.compile(r"[るたいだうくすつぬむんかなねよ](?:[」』）)])?$")
_HEADING = re.compile(
    r"(?:情報源|情報元|ニュース?ソース|ソース|出典|引用元|参考(?:文献|資料|記事)?|脚注|注釈|外部リンク"
    r"|関連(?:する)?(?:記事|ニュース|リンク|動画|項目|情報)|関連|最新(?:記事|ニュース)|おすすめ記事|あわせて読みたい|写真特集"
    r"|sources?|references|see also|related (?:news|articles|stories)|external links)",
    re.IGNORECASE,
)
_AROUND_HEADING = " \t\u3000=*#;'■◆●▼▽【】＜＞<>［］[]()（）:："
_ITEM = re.compile(r"[・*\-–—‐●○■□▪•◦▶►→>＞\[「『“\"]|\d{1,2}[.)．]|.*https?://")
# a title alone in a line, and below it by whom and when
_PAIR = re.compile(
    r"^[^。\n]{0,60}『[^\n]{1,200}』。\n[^。\n]{1,60}、(?:19|20)\d\d年\d{1,2}月\d{1,2}日。(?:\n|\Z)", re.MULTILINE
)
_PICTURE = re.compile(r"^ファイル:[^\s。]{1,80}?\.(?:png|jpe?g|svg|gif)", re.MULTILINE | re.IGNORECASE)
_ITEM_CHARS = 250
_WEAK_CHARS = 60
_BROKEN_LINES = 4
_MOST_CHARS = 3000


def headed(text: str) -> str:
    """Take out what stands under the headings of sources and related articles at the end; the first line always stays."""
    lines = text.split("\n")
    begin = len(lines)
    for at in range(len(lines) - 1, 0, -1):
        if _is_heading(lines[at]):
            begin = at
        elif not _is_item(lines[at]) and not _entry(lines, at + 1):
            break
    return text if begin == len(lines) else "\n".join(lines[:begin]).rstrip("\n")


def _is_heading(line: str) -> bool:
    names = line.strip(_AROUND_HEADING)
    return len(names) <= _WEAK_CHARS and all(map(_HEADING.fullmatch, re.split(r"[・、/／]|と", names)))


def _is_item(line: str) -> bool:
    """A line of a list, under a heading: no sentence of the article."""
    bare = line.strip()
    if _ITEM.match(bare) and not bare.endswith("。"):
        return len(bare) <= _ITEM_CHARS
    return "。" not in bare and _is_weak(bare)


def drop(text: str) -> str:
    """Take out the list of sources and related articles at the end of an article, and sources that stand before other lines;
    its first line always stays."""
    text = _at_end(_PICTURE.sub("", text) if "ァイル:" in text else text)
    first, line_end, rest = text.partition("\n")
    return f"{first}{line_end}{_PAIR.sub('', rest)}".rstrip("\n") if "』。\n" in rest else text


def _at_end(text: str) -> str:
    lines = text.split("\n")
    end = len(lines)
    while end > 1:
        taken = _entry(lines, end)
        if not taken and _is_weak(lines[end - 1]) and end > 2:
            # one line of another kind among sources: a publisher without a date, say
            above = _entry(lines, end - 1)
            taken = above + 1 if above else 0
        if not taken or taken >= end:
            break
        end -= taken
    # quoted words alone are no list: an article may end with what somebody said, or with the works that won
    if not any(_TELLS.search(line) or _NOTICE.fullmatch(line.strip().rstrip("。.")) for line in lines[end:]):
        return text
    return "\n".join(lines[:end]).rstrip("\n")


def _entry(lines: list[str], end: int) -> int:
    """How many of the lines before `end` make one entry of a list: 0 where they are the article's own."""
    line = lines[end - 1].strip()
    bare = line.rstrip("。.")
    if not line:
        return 1
    if len(line) > _MOST_CHARS:
        return 0
    if _SOURCE.fullmatch(bare) or ("年" in bare and _RELATED.fullmatch(bare)) or _NOTICE.fullmatch(bare):
        return 1
    if _ENGLISH_LIST.search(line) and sum("ぁ" <= char <= "ん" for char in line) < len(line) / 10:
        return 1
    if bare.endswith("』"):  # a title that was broken at its full stops
        for count in range(2, min(_BROKEN_LINES, end) + 1):
            whole = "".join(part.strip().rstrip("。") for part in lines[end - count : end])
            if whole.count("『") == whole.count("』") and "『" in lines[end - count] and _SOURCE.fullmatch(whole):
                return count
    return 0


def _is_weak(line: str) -> bool:
    bare = line.strip().rstrip("。")
    return len(bare) <= _WEAK_CHARS and not _SENTENCE_END.search(bare)
