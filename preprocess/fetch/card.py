"""The data card of a fetched corpus: where it is from, under which terms, how much, what was left out and why.

`DATA_CARD.json` is written last, and taken away when a later run begins to change the corpus: a folder without it was broken
off, or is being fetched right now. `problem` says whether a folder is whole and holds what its card says.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from haigo import __version__, digests, files, redact, shown
from haigo.cli import HaigoError

from .state import FOLDER, Store

JSON, MARKDOWN = "DATA_CARD.json", "DATA_CARD.md"
FIX = "run the same preprocess.fetch to its end, or clean what is there all the same with --unfinished"
RUNS = {"requests": int, "repeats": {str: int}, "first": str}
"""What is remembered of earlier runs."""
_LIKE = {"documents": int, "shards": [{"name": str, "bytes": int, "sha256?": str}]}
_SHARD = re.compile(r"\d{5,}\.jsonl\.zst")


@dataclasses.dataclass(frozen=True, slots=True)
class About:
    """What a source says of itself."""

    title: str
    origin: str
    """Where it is to be had: a URL, or a few."""
    terms: tuple[str, ...]
    """Sentences on licence and use, to be read by whoever trains on it."""


def remove(folder: Path) -> None:
    """Mark the corpus as not finished."""
    for name in (JSON, MARKDOWN):
        files.remove(folder / name)


def write(
    store: Store, name: str, about: About, identity: Mapping[str, Any], runs: Mapping[str, Any], complete: bool
) -> dict[str, Any]:
    """Write both cards.

    Args:
        store: with all its shards cut.
        name: the corpus.
        about: its source.
        identity: the conditions that were asked for.
        runs: `requests`, `repeats`, `first` and `last` (dates), over all runs.
        complete: False when something that was asked for could not be had, or a limit stopped the run.

    Returns:
        The card.
    """
    card = {
        "corpus": name,
        "title": about.title,
        "origin": redact.urls(about.origin),
        "terms": list(about.terms),
        "licences": store.licences(),
        "conditions": redact.value("", dict(identity)),
        "complete": complete,
        "documents": store.documents,
        "characters": store.characters,
        "bytes": store.bytes,
        "fetched": {"first": runs["first"], "last": runs["last"]},
        "skipped": store.skipped(),
        "requests": runs["requests"],
        "repeated_requests": runs["repeats"],
        "shards": store.shards(),
        "tool": f"haigo {__version__}",
    }
    files.write_text(store.folder / MARKDOWN, _text(card))
    files.write_json(store.folder / JSON, card)
    return card


def _text(card: Mapping[str, Any]) -> str:
    """The card to read."""
    cell = shown.markdown  # values of unknown origin as one line that is no markup
    fetched, again = card["fetched"], card["repeated_requests"]
    rows = {
        "documents": f"{card['documents']:,}",
        "characters": f"{card['characters']:,}",
        "bytes of text": f"{card['bytes']:,}",
        "shards": len(card["shards"]),
        "fetched": f"{fetched['first']} to {fetched['last']}",
        "requests": f"{card['requests']:,}, of which sent again: {sum(again.values()):,}",
        "by": card["tool"],
    }
    left_out = [
        f"- {cell(reason)}: {row['count']:,}"
        + (f" (such as {'; '.join(map(cell, row['samples']))})" if row["samples"] else "")
        for reason, row in card["skipped"].items()
    ]
    parts = [
        [f"# {cell(card['corpus'])}"],
        [f"{cell(card['title'])}, from {cell(card['origin'])}."],
        [] if card["complete"] else ["**Not complete**: a limit was set, or something could not be had (see below)."],
        ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())],
        ["## Licence and terms"],
        [
            *(f"- {cell(name)}: {count:,} documents" for name, count in card["licences"].items()),
            *(f"- {sentence}" for sentence in card["terms"]),
        ],
        ["## Asked for"],
        [f"- {name}: {cell(value)}" for name, value in card["conditions"].items() if value not in (None, "", False)],
        ["## Left out"],
        left_out or ["Nothing."],
        ["## Sent again"] if again else [],
        [f"- {cell(reason)}: {count:,}" for reason, count in again.items()],
    ]
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def summary(card: Mapping[str, Any], folder: str) -> str:
    """The card as a few lines."""
    sent_again = sum(card["repeated_requests"].values())
    lines = [
        f"{card['corpus']}: {card['documents']:,} documents, {card['characters']:,} characters in {folder}",
        f"  {card['requests']:,} requests, {sent_again:,} of them sent again; {len(card['shards'])} shards",
    ]
    lines += [f"  left out: {reason}: {row['count']:,}" for reason, row in card["skipped"].items()]
    if not card["complete"]:
        lines.append("  stopped at the limit that was set")
    return "\n".join([*lines, f"  licence and terms: {Path(folder) / MARKDOWN}"])


def problem(paths: Sequence[str | os.PathLike[str]], inputs: Sequence[tuple[Path, str]]) -> str | None:
    """What is wrong with the fetched folders among the input, in one sentence.

    Args:
        paths: the input as it was given; of a folder in it every shard has to be there.
        inputs: the files of it, see `sources.input_files`.
    """
    whole = {Path(path).resolve() for path in paths if Path(path).is_dir()}
    shards = [path for path, _ in inputs if _SHARD.fullmatch(path.name)]
    for folder in dict.fromkeys(path.parent for path in shards):
        if not is_fetched(folder):
            continue
        if not (folder / JSON).is_file():
            return f"{folder} was not fetched to its end ({JSON}, which comes last, is missing)."
        card = _read(folder)
        if card is None:
            return f"{folder / JSON} is no data card."
        rows = {str(row["name"]): row for row in card["shards"]}
        read = [path for path in shards if path.parent == folder]
        for path in read:
            row = rows.get(path.name)
            if row is None:
                return f"{path} is not on the folder's data card ({folder / JSON})."
            if path.stat().st_size != row["bytes"]:
                return f"{path} has {path.stat().st_size:,} bytes, and its data card says {row['bytes']:,}."
            if row.get("sha256") not in (None, digests.sha256(path)):
                return f"{path} was changed since it was fetched (its sha256 is not that of the data card, {folder / JSON})."
        gone = sorted(set(rows) - {path.name for path in read})
        if gone and folder.resolve() in whole:
            return f"{folder / gone[0]} is missing, and the data card ({folder / JSON}) names it."
    return None


def promised(paths: Sequence[str | os.PathLike[str]]) -> int | None:
    """How many documents the cards promise; None where any of the input is no fetched folder."""
    cards = [_read(Path(path)) for path in paths]
    return sum(int(card["documents"]) for card in cards if card) if all(cards) else None


def is_fetched(folder: Path) -> bool:
    """Whether preprocess.fetch wrote, or is writing, this folder."""
    return (folder / FOLDER).is_dir() or (folder / JSON).is_file()


def _read(folder: Path) -> dict[str, Any] | None:
    try:
        return dict(files.read_record(folder / JSON, _LIKE))
    except (HaigoError, OSError):
        return None
