"""Which key of the run file says what an option of a room says: refusals of a room name the key that the user wrote."""

from __future__ import annotations

import dataclasses

from launch.pipeline.corpus import Corpus, Partition
from launch.pipeline.runfile import FIRST_ROUND, RunFile

_SECTION = {"data": "corpora", "design": "proxies", "screen": "proxies", "models": "train"}
_KEYS = {
    "objective": "objective.metrics",
    "ceiling": "objective.ceilings",
    "ceilings": "objective.ceilings",
    "group": "search.groups",
    "target_tokens": "search.target_tokens",
    "max_epochs": "search.max_epochs",
    "config": "proxies.model",
    "output_dir": "output",
}
"""Options of the rooms -> keys, where they are not called alike."""


def key_of(stage: str, option: str) -> str | None:
    """The key of the run file that says what an option of a room says, as in `HaigoError.spelled`.

    Args:
        stage: in which the room works, e.g. `corpora/news`.
        option: e.g. `text_key`, which gives `corpora.news.text_key`.
    """
    part, _, name = stage.removeprefix(f"{FIRST_ROUND}/").partition("/")
    section = _SECTION.get(part, part)
    sections = {each.name: each for each in dataclasses.fields(RunFile)}
    if section in ("partition", "score"):
        key = "quality" if option in ("bands", "by") else option
        return f"corpora.{name}.partition.{key}" if hasattr(Partition(), key) else None
    if section == "corpora":
        if option in (each.name for each in dataclasses.fields(Corpus)):
            return f"corpora.{name}.{option}"
    elif section in sections and hasattr(sections[section].default, option):
        return f"{section}.{option}"
    return _KEYS.get(option) or (option if option in sections else None)
