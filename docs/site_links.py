"""A hook of mkdocs: what a page names outside of docs/ is in the repository and not on the site, so that it stays as a name."""

import re
from typing import Any

_OUTSIDE = re.compile(r"(?<!!)\[([^\]\n]+)\]\(\.\./[^)\s]+\)")


def on_page_markdown(markdown: str, **given: Any) -> str:
    """The page without links that lead out of it."""
    return _OUTSIDE.sub(r"\1", markdown)
