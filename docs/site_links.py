"""A hook of mkdocs: what a page names outside of docs/ is in the repository and not on the site, so that it stays as a name; a
`|` within code in a table, which GitHub wants behind a backslash, is shown without it."""

import re
from typing import Any

_OUTSIDE = re.compile(r"(?<!!)\[([^\]\n]+)\]\(\.\./[^)\s]+\)")
_ROW = re.compile(r"^\|.*$", re.MULTILINE)
_CODE = re.compile(r"`[^`]*`")


def on_page_markdown(markdown: str, **given: Any) -> str:
    """The page as it stands on the site."""
    plain = _ROW.sub(lambda row: _CODE.sub(lambda code: code[0].replace("\\|", "|"), row[0]), markdown)
    return _OUTSIDE.sub(r"\1", plain)
