"""The words and phrases of the world: `phrases/*.yml`, which anyone who writes Japanese can edit.

A block (`|`) holds phrases, one a line, in the grammar of `grammar.py`; `-` alone on a line is the phrase that says
nothing. The order counts: it is part of what a seed draws.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from examples.world import grammar
from haigo import yamlfile
from haigo.cli import HaigoError

_FOLDER = Path(__file__).with_name("phrases")


def load(name: str) -> dict[str, Any]:
    """What `phrases/NAME.yml` holds, each block as a tuple of phrases.

    Raises:
        HaigoError: the file is missing or not YAML, or a phrase leaves a bracket open.
    """
    path = _FOLDER / f"{name}.yml"
    loaded: dict[str, Any] = _with_phrases(yamlfile.read(path), path)
    return loaded


def _with_phrases(value: Any, path: Path) -> Any:
    if isinstance(value, dict):
        return {key: _with_phrases(inner, path) for key, inner in value.items()}
    if isinstance(value, list):
        return [_with_phrases(inner, path) for inner in value]
    if not isinstance(value, str):
        return value
    lines = tuple("" if line == "-" else line for line in value.splitlines() if line)
    for line in lines:
        try:
            grammar.parse(line)
        except ValueError as error:
            raise HaigoError(f"{path}: {error}.", "close every [ with ] and every { with }") from None
    return lines if value.endswith("\n") else value
