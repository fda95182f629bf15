"""Names that mean something in wikitext, out of `wiki.yml`: namespaces, other wikis, templates and what they print."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import Any

from haigo import yamlfile


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Names:
    """The file; names are written with blanks."""

    embedded: frozenset[str]
    """What embeds a file."""
    category: frozenset[str]
    media: frozenset[str]
    languages: frozenset[str]
    projects: frozenset[str]
    side_sections: frozenset[str]
    nothing: frozenset[str]
    """Templates that print nothing of the sentence."""
    ships: frozenset[str]
    country_first: frozenset[str]
    country_second: frozenset[str]
    positions: dict[str, int]
    """Template -> the positional argument that belongs to the sentence; -1 is the last one."""
    makers: dict[str, str]
    """Template -> the name of what makes its text (`wiki_makers`)."""
    prints: dict[str, list[str]]
    dated: dict[str, str]
    signs: dict[str, str]
    currencies: dict[str, list[str]]
    countries: dict[str, str]
    """Code -> name."""


@functools.cache
def names() -> Names:
    """What `wiki.yml` says."""
    content: dict[str, Any] = yamlfile.read(Path(__file__).with_name("wiki.yml"))
    content["positions"] = {
        name: int(position) for position, those in content["positions"].items() for name in _words(those)
    }
    content["makers"] = {name: kind for kind, those in content["makers"].items() for name in _words(those)}
    content["countries"] = {code: name for codes, name in content["countries"].items() for code in codes.split()}
    content |= {key: frozenset(_words(each)) for key, each in content.items() if isinstance(each, str)}
    return Names(**content)


def _words(text: str) -> list[str]:
    """The names in `text`, in which _ stands for a blank."""
    return [name.replace("_", " ") for name in text.split()]
