"""The YAML files that come with Haigo, found by name: `find("models", "1-3B")`, `names("clusters")`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from haigo.cli import HaigoError, nearest

SHELVES = ("models", "proxies", "recipes", "clusters")
_HERE = Path(__file__).resolve().parent


def names(shelf: str) -> list[str]:
    """The names on a shelf (`models`, `proxies`, `recipes`, `clusters`), without `.yml`."""
    return sorted(file.stem for file in (_HERE / shelf).glob("*.yml"))


def find(shelf: str, name: str | os.PathLike[str]) -> Path:
    """The file of a shipped config, or `name` itself when it is the path of a YAML file.

    Raises:
        HaigoError: no such name on the shelf; the nearest is offered.
    """
    text = str(name)
    if text.endswith((".yml", ".yaml", ".json")):
        if not Path(text).is_file():
            raise HaigoError(f"{text} does not exist.", "check the path")
        return Path(text)
    return _on(shelf, text)


def find_model(name: str | os.PathLike[str]) -> Path:
    """As `find`, on the shelves `models` and `proxies` together; `1.3b` is taken for `1-3B`.

    Raises:
        HaigoError: no such name on either shelf; the nearest is offered.
    """
    text = str(name)
    if text.endswith((".yml", ".yaml", ".json")):
        return find("models", text)
    shelves = {known: shelf for shelf in ("proxies", "models") for known in names(shelf)}
    meant, spelled = text.replace(".", "-").upper(), {known.upper(): known for known in shelves}
    if meant in spelled:
        return find(shelves[spelled[meant]], spelled[meant])
    raise HaigoError(f"there is no model '{name}'.{nearest(meant, spelled)}", f"choose from: {', '.join(shelves)}")


def files(words: Sequence[str | os.PathLike[str]]) -> list[Path]:
    """Config files as a command line gives them: a path that exists is taken, any other word names a shipped model.

    Raises:
        HaigoError: neither.
    """
    return [Path(word) if Path(word).exists() else find_model(word) for word in words]


def _on(shelf: str, name: str) -> Path:
    known = names(shelf)
    if name not in known:
        what = {"models": "model", "proxies": "proxy", "recipes": "recipe", "clusters": "cluster"}[shelf]
        raise HaigoError(f"there is no {what} '{name}'.{nearest(name, known)}", f"choose from: {', '.join(known)}")
    return _HERE / shelf / f"{name}.yml"
