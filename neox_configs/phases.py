"""A run in phases: one YAML that lists the GPT-NeoX configs of its phases, in their order.

    phases: [1-3B/phase-1.yml, 1-3B/phase-2.yml]

GPT-NeoX itself gets one of them after the other, each going on from the last checkpoint of the one before. Paths are
relative to the file.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from haigo import yamlfile
from haigo.cli import HaigoError

KEY = "phases"


def expand(paths: Sequence[str | os.PathLike[str]]) -> list[list[Path]]:
    """The config files of each phase: of a list of phases each, beside the other files; of a plain run its one.

    Raises:
        HaigoError: a file is missing, or lists no phases; two files list some.
    """
    files = [Path(path) for path in paths]
    listed = {path: found for path in files if (found := of(path))}
    if not listed:
        return [files]
    if len(listed) > 1:
        raise HaigoError(f"{', '.join(map(str, listed))} list phases.", "start one after the other")
    (index, phases), *_ = listed.items()
    return [[phase if path == index else path for path in files] for phase in phases]


def of(path: str | os.PathLike[str]) -> list[Path]:
    """The configs that a file lists; none where it is a config itself.

    Raises:
        HaigoError: its list has another form, or a config is not there.
    """
    content = yamlfile.read(path)
    if not isinstance(content, dict) or KEY not in content:
        return []
    rows = content[KEY]
    if len(content) > 1 or not isinstance(rows, list) or not rows or not all(isinstance(row, str) for row in rows):
        raise HaigoError(f"{path} does not list configs alone.", "make it again with launch.configs")
    found = [Path(os.path.normpath(Path(path).parent / row)) for row in rows]
    for each in found:
        if not each.is_file():
            raise HaigoError(f"{path} lists {each}, which does not exist.", "make it again with launch.configs")
    return found


def write(path: str | os.PathLike[str], configs: Sequence[Path], header: str) -> None:
    """Write the list."""
    here = Path(path).resolve().parent
    yamlfile.write(path, {KEY: [os.path.relpath(each.resolve(), here) for each in configs]}, header)
