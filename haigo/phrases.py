"""Sentences with names and numbers in them, in Japanese: found by how they read in English.

A table is a YAML file: `words` (English -> Japanese) and `sentences`, pairs of an English pattern and its Japanese. In a
pattern `{t...}` stands for any text, `{u...}` for text without brackets, `{n...}` for something without blanks; what they hold
is said in Japanese too where a table has it. For sentences that files of a run hold in English; what pages say themselves
stands in `haigo.page`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

from haigo import yamlfile

_KINDS = {"n": r"\S+", "u": r"[^(]+", "t": ".+"}


@cache
def _known(path: Path) -> tuple[dict[str, str], list[tuple[re.Pattern[str], str]]]:
    content = yamlfile.read(path)
    return content["words"], [(_pattern(english), japanese) for english, japanese in content["sentences"]]


def _pattern(english: str) -> re.Pattern[str]:
    parts = re.split(r"\{(\w+)\}", english)
    groups = [f"(?P<{name}>{_KINDS[name[0]]})" for name in parts[1::2]]
    return re.compile("".join(re.escape(text) + group for text, group in zip(parts[::2], [*groups, ""], strict=True)))


def sayer(*tables: Path) -> Callable[[str], str]:
    """What says a sentence of these tables in Japanese; another one is given back as it is."""

    def say(text: str) -> str:
        for words, _ in map(_known, tables):
            if text in words:
                return words[text]
        for _, sentences in map(_known, tables):
            for pattern, japanese in sentences:
                if match := pattern.fullmatch(text):
                    return japanese.format(**{name: say(part) for name, part in match.groupdict().items()})
        return text

    return say
