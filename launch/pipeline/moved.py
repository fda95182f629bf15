"""A run folder that was moved or renamed: the files that name its old place are written again with the new one.

Only configs, notes of commands and the like name it, in full; what they say else is kept byte for byte.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

_TEXTS = (".yml", ".json", ".sh")
_MOST_BYTES = 64 << 20
_PLACE = re.compile(r"^- \"?(/.+)/data/[^/\n]+/train_text_document\"?$", re.MULTILINE)


def places(root: Path) -> list[str]:
    """How files of a run name its folder: as it was called, and with links followed."""
    return list(dict.fromkeys([str(root.absolute()), str(root.resolve())]))


def moves(root: Path, noted: list[str] | None) -> dict[str, str]:
    """Old spelling of the run folder's place -> new one; empty where it was not moved.

    Args:
        noted: what `places` gave when the run was last finished; None for a run of the first edition, which did not note it:
            there its own configs tell.
    """
    now = places(root)
    old = noted if noted is not None else _told_by_configs(root)
    return {each: now[min(number, len(now) - 1)] for number, each in enumerate(old) if each not in now}


def _told_by_configs(root: Path) -> list[str]:
    for path in [root / "models" / "chosen" / "config.yml", *sorted((root / "configs").glob("*.yml"))]:
        try:
            found = _PLACE.search(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError):
            continue
        if found:
            return [found[1]]
    return []


def texts(folder: Path, paths: Iterable[str], renamed: Mapping[str, str]) -> dict[str, str]:
    """Path -> new text of those files of a stage that name the old place."""
    made = {}
    for path in paths:
        file = folder / path
        if file.suffix in _TEXTS and file.stat().st_size <= _MOST_BYTES:
            try:
                old = file.read_bytes().decode("utf-8")
            except UnicodeDecodeError:
                continue
            new = old
            for before, after in renamed.items():
                new = re.sub(rf"(?<![\w./-]){re.escape(before)}(?![\w.-])", after.replace("\\", r"\\"), new)
            if new != old:
                made[path] = new
    return made


def either(now: Mapping[str, Any], new: Mapping[str, str]) -> dict[str, Any]:
    """The marks of files that are about to be written anew: they may hold the old bytes or the new ones."""
    return {path: {**now[path], "or": hashlib.sha256(text.encode("utf-8")).hexdigest()} for path, text in new.items()}
