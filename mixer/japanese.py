"""A recommendation's words in Japanese: headings, the report's sentences, and the notes, which mixture.yml holds in English.

`japanese.yml` has them, a sentence as its English text with `{...}` where names and numbers stand.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from haigo import yamlfile

_KINDS = {"n": r"\S+", "u": r"[^(]+", "t": ".+"}


@cache
def _known() -> tuple[dict[str, str], list[tuple[re.Pattern[str], str]]]:
    content = yamlfile.read(Path(__file__).with_name("japanese.yml"))
    return content["words"], [(_pattern(english), japanese) for english, japanese in content["sentences"]]


def _pattern(english: str) -> re.Pattern[str]:
    """A sentence of `japanese.yml`, whose head says what its `{...}` stand for."""
    parts = re.split(r"\{(\w+)\}", english)
    groups = [f"(?P<{name}>{_KINDS[name[0]]})" for name in parts[1::2]]
    return re.compile("".join(re.escape(text) + group for text, group in zip(parts[::2], [*groups, ""], strict=True)))


def say(text: str) -> str:
    """A word or sentence of the report in Japanese; as it is where it is not known."""
    words, sentences = _known()
    if text in words:
        return words[text]
    for pattern, japanese in sentences:
        if match := pattern.fullmatch(text):
            return japanese.format(**{name: say(part) for name, part in match.groupdict().items()})
    return text
