"""The report's frame (`page.html`) and tables. No script, no font, no address outside the page."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from haigo import files, shown

_PAGE = Path(__file__).with_name("page.html")


def page(title: str, body: str) -> str:
    """The whole page; `body` is HTML."""
    parts = {"title": shown.html(title), "body": body}
    return re.sub(r"\{\{(title|body)\}\}", lambda found: parts[found[1]], files.read_text(_PAGE))


def table(head: Sequence[str], rows: Iterable[Sequence[str]], text_columns: Sequence[int] = (0,)) -> str:
    """A table of texts, which are escaped; the columns that are not in `text_columns` are numbers."""

    def line(cells: Sequence[str], tag: str) -> str:
        made = [
            f"<{tag}{'' if number in text_columns else ' class=n'}>{shown.html(cell)}</{tag}>"
            for number, cell in enumerate(cells)
        ]
        return f"<tr>{''.join(made)}</tr>"

    body = "".join(line(row, "td") for row in rows)
    return f'<div class="wide"><table><thead>{line(head, "th")}</thead><tbody>{body}</tbody></table></div>'
