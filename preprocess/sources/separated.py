"""Whether a text is a table of separated values: by its header, or by columns that no prose has."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator

_KNOWN = re.compile(
    "id|no|number|index|key|texts?|title|body|contents?|sentence|summary|abstract|question|answer|instruction|input|output"
    "|prompt|response|context|target|label|category|genre|tags?|author|name|date|time|created|updated|year|url|link|source"
    "|lang|language|score|rating|user|speaker|speech|comment|description|words?"
    "|本文|文章|文|題名|題|見出し|タイトル|日付|番号|著者|作者|名前|質問|回答|答え|内容|要約|分類|カテゴリ|出典|ラベル"
)
_NAME = re.compile(r"[\w .()%#/-]{1,40}")
_BETWEEN = "\t,;|"
RECORDS = 200
"""So many lines are looked at."""


def kind(text: str, whole: bool) -> str | None:
    """What kind of table a text is, in words; None for what is none.

    Args:
        text: its beginning.
        whole: that is all of it.
    """
    body = text.lstrip("\ufeff").lstrip("\r\n")
    noted = re.match(r"sep=(.)\r?\n", body)
    if noted:
        return "a table of separated values"
    body = re.sub(r"\A(?:[#%][^\n]*\n)+", "", body)
    for mark in _BETWEEN:
        if mark in body.split("\n", 1)[0]:
            rows = [row for row in _rows(body, mark, whole) if row]
            if _is_table(rows, mark, whole):
                return (
                    f"a table of {'tab' if mark == chr(9) else 'comma' if mark == ',' else repr(mark)}-separated values"
                )
    return None


def _rows(body: str, mark: str, whole: bool) -> Iterator[list[str]]:
    """The first records, without the one that the end of what is there may cut."""
    read = csv.reader(body.replace("\0", "").splitlines(keepends=True), delimiter=mark)
    held: list[str] | None = None
    try:
        for number, row in enumerate(read):
            if held:
                yield held
            held = row
            if number >= RECORDS:
                return
    except csv.Error:
        return
    if held and whole:
        yield held


def _is_table(rows: list[list[str]], mark: str, whole: bool) -> bool:
    if len(rows) < (2 if whole else 1) or len(rows[0]) < 2:
        return False
    columns = len(rows[0])
    header = [field.strip().strip('"').lower() for field in rows[0]]
    named = sum(_KNOWN.fullmatch(field.rsplit("_", 1)[-1]) is not None for field in header)
    is_header = (
        len(set(header)) == columns
        and all(_NAME.fullmatch(field) and not field.replace(".", "").isdigit() for field in header)
        and not (mark == "," and any(field.startswith(" ") for field in rows[0][1:]))
    )
    even = sum(len(row) == columns for row in rows) / len(rows)
    if is_header and named >= 2 and sum(len(row) >= columns for row in rows) > 0.8 * len(rows):
        return True
    if even < 1:
        return False
    if is_header and len(rows) > 1 and (named or (len(rows) > 2 and all(row[0].strip().isdigit() for row in rows[1:]))):
        return True
    if columns == 2 and len(rows) >= 6 and _has_numbers(rows):
        return True
    if mark == "\t":
        return not rows[0][0].isspace() and all(row[0].strip() for row in rows) and _is_no_dialogue(rows)
    # without a header that is known: no prose has the same number of bare commas in every line
    spaced = sum(field.startswith((" ", "　")) for row in rows for field in row[1:])
    return (
        columns >= 3 and not spaced and len(rows) >= (3 if is_header else 6) and mark != "|" and _has_short_fields(rows)
    )


def _has_numbers(rows: list[list[str]]) -> bool:
    """Of two columns one is a number in every row, a label or an id, and the other is a text: not the rest of 1,000."""
    for number, text in ((0, 1), (1, 0)):
        beside = [row[text][:1] for row in rows]
        if all(re.fullmatch(r"[+-]?\d+(?:\.\d+)?", row[number]) for row in rows) and not any(map(str.isspace, beside)):
            return 2 * sum(map(str.isdecimal, beside)) < len(rows)
    return False


def _is_no_dialogue(rows: list[list[str]]) -> bool:
    """Two columns of which the first says who speaks are a dialogue; two lines may be anything."""
    if len(rows[0]) > 2:
        return len(rows) >= 3
    first = [row[0].strip() for row in rows]
    return len(rows) >= 4 and len(set(first)) > 0.6 * len(first)


def _has_short_fields(rows: list[list[str]]) -> bool:
    """In tables some column is a number, a date or a name in every row; parts of sentences differ more."""
    body = rows[1:]
    columns = zip(*body, strict=False)
    return any(all(re.fullmatch(r"[\d.:/%+-]+|[\w.-]{1,12}", field.strip()) for field in column) for column in columns)
