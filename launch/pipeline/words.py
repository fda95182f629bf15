"""What the rooms say, in the words of the run file: their `--flags` become its keys.

A room's sentence names the flag of its own command (`--text-key`); who wrote a run file has `corpora.news.text_key` to mend.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from typing import Any

from haigo.cli import HaigoError
from launch.pipeline import runfile

_SECTIONS: dict[str, type] = {
    "dedup": runfile.Dedup,
    "decontaminate": runfile.Decontaminate,
    "tokenizer": runfile.Tokenizer,
    "design": runfile.Proxies,
    "proxies": runfile.Proxies,
    "screen": runfile.Proxies,
    "search": runfile.Search,
    "configs": runfile.Configs,
    "models": runfile.Train,
    "scores": runfile.Scores,
}
_NAMES = {"design": "proxies", "screen": "proxies", "models": "train"}
# flags that are not called like their key
_OTHERS = {
    "objective": "objective.metrics",
    "ceiling": "objective.ceilings",
    "group": "search.groups",
    "target_tokens": "search.target_tokens",
    "config": "proxies.model",
    "output_dir": "output",
}


def within(stage: str, action: Callable[[], Any]) -> Any:
    """Call a stage's action; what it complains about is said in the words of the run file. Picklable with `action`.

    Raises:
        HaigoError: of the same kind as the action's own.
    """
    try:
        return action()
    except HaigoError as error:
        raise translated(error, stage) from error


def translated(error: HaigoError, stage: str) -> HaigoError:
    """The same error with every flag that the run file has a key for replaced by that key."""
    return type(error)(_keys(error.problem, stage), _keys(error.fix, stage))


def _keys(text: str, stage: str) -> str:
    return re.sub(r"`?--([a-z][a-z_-]*[a-z])`?", lambda found: key_of(found.group(1), stage) or found.group(0), text)


def key_of(flag: str, stage: str) -> str | None:
    """`'corpora.news.text_key'` for `text-key` in the stage `corpora/news`; None where no key says the same."""
    word = flag.replace("-", "_")
    part, _, name = stage.partition("/")
    if part in ("corpora", "data"):
        section: type = runfile.Corpus
        prefix = f"corpora.{name}"
    else:
        section, prefix = _SECTIONS.get(part, runfile.RunFile), _NAMES.get(part, part)
    if word in _fields(section):
        return f"'{prefix}.{word}'" if section is not runfile.RunFile else f"'{word}'"
    if word in _OTHERS:
        return f"'{_OTHERS[word]}'"
    return f"'{word}'" if word in _fields(runfile.RunFile) else None


def _fields(section: type) -> set[str]:
    return {each.name for each in dataclasses.fields(section)}
