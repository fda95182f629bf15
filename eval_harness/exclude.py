"""Scores without contaminated documents: `--exclude IDS`.

The file names evaluation documents found in the training text, as `preprocess.decontaminate` writes them: JSON
lines with `id` (and `task`, where there are several data sets), a JSON list of ids, a JSON object `{task: [ids]}`, or text
with one id a line. A task may be named by its data set (`jnli`) or in full (`jnli-1.1-0.3`).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from eval_harness.tasks.base import Rules
from haigo import files
from haigo.cli import HaigoError, nearest
from haigo.reading import each_once

EVERY = ""
"""The key of ids that are not of one task."""


def read(path: Path) -> dict[str, set[str]]:
    """Task or data set (or `EVERY`) -> ids, as strings.

    Raises:
        HaigoError: no such file, or none of the forms above.
    """
    try:
        text = files.read_text(path)
    except (OSError, HaigoError):
        raise HaigoError(f"--exclude {path} can not be read as text.", "name the file with the ids") from None
    try:
        whole = json.loads(text, object_pairs_hook=each_once)
    except (ValueError, RecursionError):
        return _lines(path, text)
    if isinstance(whole, dict) and "id" not in whole and all(isinstance(ids, list) for ids in whole.values()):
        return {str(task): {str(each) for each in ids} for task, ids in whole.items()}
    return _rows(path, whole if isinstance(whole, list) else [whole])


def _lines(path: Path, text: str) -> dict[str, set[str]]:
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    if not any(line.startswith("{") for line in lines):
        return {EVERY: set(lines)}
    rows = []
    for number, line in enumerate(lines, start=1):
        try:
            rows.append(json.loads(line, object_pairs_hook=each_once))
        except (ValueError, RecursionError):
            raise HaigoError(f"{path} line {number} is not valid JSON.", "write one id or one object a line") from None
    return _rows(path, rows)


def _rows(path: Path, rows: Sequence[Any]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for row in rows:
        if isinstance(row, dict):
            if "id" not in row:
                raise HaigoError(f"{path} has an object without 'id'.", "give every object the document's id")
            found.setdefault(str(row.get("task", EVERY)), set()).add(str(row["id"]))
        else:
            found.setdefault(EVERY, set()).add(str(row))
    return found


def of_task(ids: Mapping[str, set[str]], rules: Rules) -> set[str]:
    """The ids that stand for documents of one task."""
    return set().union(*(ids.get(name, set()) for name in (EVERY, rules.dataset, rules.name)))


def check(path: Path, ids: Mapping[str, set[str]], known: Collection[str]) -> None:
    """Refuse a file that names what is no task: its scores would be taken for those of uncontaminated documents.

    The file of `preprocess.decontaminate` names the user's own evaluation files too, as it was told to.

    Args:
        known: the names of all tasks and data sets.

    Raises:
        HaigoError: names the first such name, and the one that may have been meant.
    """
    if (path.parent / "decontaminate.json").is_file():
        return
    for name, own in ids.items():
        if name != EVERY and name not in known:
            raise HaigoError(
                f"--exclude {path}: '{name}' is no task: its {len(own):,} ids exclude nothing.{nearest(name, known)}",
                "name a data set (jnli) or a whole task id (jnli-1.1-0.3)",
                option="exclude",
            )


def unknown(ids: Mapping[str, set[str]], rules: Rules, documents: set[str]) -> int:
    """How many of the ids that are given for a task itself are of none of its documents."""
    return len(set().union(*(ids.get(name, set()) for name in (rules.dataset, rules.name))) - documents)


def remarks(ids: Mapping[str, set[str]], documents: Mapping[str, set[str]]) -> list[str]:
    """What stands in the file and excludes nothing, a sentence each.

    Args:
        documents: task or data set -> ids of its documents, for those that are scored whole.
    """
    found = []
    for name, own in ids.items():
        every = set().union(*documents.values()) if name == EVERY else documents.get(name)
        if every and (lacking := own - every) and (name != EVERY or lacking == own):
            shown = ", ".join(sorted(lacking)[:3]) + (" ..." if len(lacking) > 3 else "")
            found.append(f"{len(lacking):,} ids are of no document of {name or 'the tasks'} ({shown}): other data?")
    return found


def without(rules: Rules, rows: Sequence[Mapping[str, Any]], ids: set[str], bootstrap_iters: int) -> dict[str, Any]:
    """How many documents were excluded, and the figures of the others where there are both."""
    kept = [row for row in rows if str(row["id"]) not in ids]
    if len(kept) == len(rows):
        return {"excluded": 0}
    if not kept:
        return {"excluded": len(rows)}
    figures = rules.aggregate(kept, bootstrap_iters)
    return {
        "excluded": len(rows) - len(kept),
        "results": {metric: value for metric, value in figures.items() if value is not None},
    }
