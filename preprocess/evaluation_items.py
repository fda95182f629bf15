"""Evaluation items as decontamination looks for them: which texts give an item away, and the id the scorer knows it by.

JGLUE's files, those of the leaderboard's other tasks and of Haigo's own over news are told by their fields; any other jsonl
gives the text under the keys that are named. Ids are the ones that `eval_harness` reads: the item's own, or the number of its
line from 0.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from haigo import files
from haigo.cli import HaigoError, nearest
from haigo.formats.documents.containers import expand

from .sources.encodings import decode

_CHOICES = [f"choice{number}" for number in range(10)]
_TITLE = re.compile(r"^.{0,200}?\[SEP\]", re.DOTALL)


@dataclasses.dataclass(frozen=True, slots=True)
class Item:
    """One evaluation document. Any of `texts` found in a training text gives it away; where all of them are too short to
    mean anything by themselves, all of `parts` close together do."""

    task: str
    id: str
    file: str
    texts: tuple[str, ...]
    parts: tuple[str, ...]


def find(paths: Sequence[str | os.PathLike[str]]) -> list[Path]:
    """The evaluation files that `paths` name: files, and the .json and .jsonl below folders.

    Raises:
        HaigoError: none, or a path that does not exist.
    """
    files_named = [path for path, _ in expand(paths, ("*.json", "*.jsonl"))]
    if not files_named:
        raise HaigoError(
            "no evaluation file is named.", "name JGLUE's folder or any jsonl with --against", option="against"
        )
    return files_named


def labels(paths: Sequence[Path]) -> list[str]:
    """What each file is called: its name, with the folder's where several have the same (as JGLUE's own layout does)."""
    names = [path.name for path in paths]
    shown = [
        name if names.count(name) == 1 else f"{path.parent.name}-{name}"
        for name, path in zip(names, paths, strict=True)
    ]
    return [label if shown.count(label) == 1 else f"{number}-{label}" for number, label in enumerate(shown)]


def read(path: Path, keys: Sequence[str] = (), label: str = "") -> list[Item]:
    """The items of one file.

    Args:
        path: JSON lines, a JSON list, or SQuAD's form.
        keys: of a file of unknown form: the keys that hold its texts (default: `text`).
        label: what the file is called in reports (default: its name).

    Raises:
        HaigoError: not JSON, no item, or none of the keys; names file and line.
    """
    files.require_file(path)
    text = decode(path.read_bytes(), str(path))
    try:
        whole = json.loads(text)
    except (ValueError, RecursionError):
        whole = None
    if isinstance(whole, dict) and isinstance(whole.get("data"), list):
        items = list(_squad(path, whole["data"]))
    else:
        rows = enumerate(whole, start=1) if isinstance(whole, list) else _lines(path, text)
        items = [_item(path, number, row, keys) for number, row in rows]
    items = [dataclasses.replace(item, file=label or path.name) for item in items]
    if not items:
        raise HaigoError(f"{path} holds no evaluation item.", "get the file again, or name another")
    return items


def digest(paths: Sequence[Path]) -> list[dict[str, str]]:
    """Name and digest of each file, for the report."""
    return [{"file": path.name, "sha256": files.sha256_file(path)} for path in paths]


def _lines(path: Path, text: str) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                yield number, json.loads(line)
            except (ValueError, RecursionError) as error:
                raise HaigoError(f"{path} line {number} is not valid JSON: {error}.", "mend that line") from None


def _item(path: Path, number: int, row: Any, keys: Sequence[str]) -> Item:
    where = f"{path} line {number}"
    if not isinstance(row, dict):
        raise HaigoError(f"{where} is not a JSON object.", "give one object a line")
    known = None if keys else _known(row)
    if known is not None:
        task, own, texts, parts = known
    else:
        wanted = list(keys) or ["text"]
        missing = [key for key in wanted if not isinstance(row.get(key), str)]
        if missing:
            raise HaigoError(
                f"{where} has no text under '{missing[0]}'; it has {', '.join(row)}.{nearest(missing[0], row)}",
                "name the keys that hold its texts with --keys",
                option="keys",
            )
        task = path.name.removesuffix("".join(path.suffixes[-1:]))
        own = next((row[key] for key in ("id", "qid", "q_id") if isinstance(row.get(key), str | int)), None)
        texts = [row[key] for key in wanted]
        parts = texts
    return Item(task, str(number - 1 if own is None else own), path.name, tuple(texts), tuple(parts))


def _known(row: dict[str, Any]) -> tuple[str, Any, list[str], list[str]] | None:
    """Task, id, texts and parts of a row of one of the leaderboard's data sets."""
    has = {key for key, value in row.items() if isinstance(value, str)}
    if {"question", "choice0", "choice1"} <= has:
        choices = [row[key] for key in _CHOICES if key in has]
        return "jcommonsenseqa", row.get("q_id"), [row["question"]], [row["question"], *choices]
    if {"sentence1", "sentence2"} <= has:
        both = [row["sentence1"], row["sentence2"]]
        if str(row.get("answer")) in ("1", "2"):
            return "xwinograd_ja", row.get("id"), both, both
        return "jnli" if isinstance(row.get("label"), str) else "jsts", row.get("sentence_pair_id"), both, both
    if {"question", "qid"} <= has and "ctxs" in row:
        return "jaqket_v2", row["qid"], [row["question"]], [row["question"], *map(str, row.get("answers") or [])]
    if (
        {"context", "kind"} <= has
        and isinstance(row.get("choices"), list)
        and row.get("label") in range(len(row["choices"]))
    ):
        told = f"{row['context']}{row['choices'][row['label']]}"
        return f"news_cloze_{row['kind']}", row.get("id"), [told], [told]
    if "article" in has and isinstance(row.get("headlines"), list):
        return "news_headline", row.get("id"), [row["article"]], [row["article"]]
    if "sentence" in has and "label" in row:
        return "marc_ja", row.get("review_id"), [row["sentence"]], [row["sentence"]]
    return None


def _squad(path: Path, articles: Sequence[Any]) -> Iterator[Item]:
    try:
        for article in articles:
            for paragraph in article["paragraphs"]:
                context = _TITLE.sub("", paragraph["context"], count=1).strip()
                for asked in paragraph["qas"]:
                    question = asked["question"]
                    yield Item("jsquad", str(asked["id"]), path.name, (context, question), (question, context))
    except (KeyError, TypeError):
        raise HaigoError(f"{path} is not in SQuAD's form.", "get the file again, or name another") from None
