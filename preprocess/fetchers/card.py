"""The data card of a fetched corpus: where it is from, under which terms, how much, what was left out and why.

`DATA_CARD.json` is written last, and taken away when a later run begins to change the corpus: a folder without it is
not finished.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from haigo import __version__, files, redact, shown

from .state import Store

JSON, MARKDOWN = "DATA_CARD.json", "DATA_CARD.md"
RUNS = {"requests": int, "repeats": {str: int}, "first": str}
"""What is remembered of earlier runs."""


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
    files.write_text(store.folder / MARKDOWN, text(card))
    files.write_json(store.folder / JSON, card)
    return card


def text(card: Mapping[str, Any]) -> str:
    """The card to read."""
    lines = [f"# {cell(card['corpus'])}", "", f"{cell(card['title'])}, from {cell(card['origin'])}.", ""]
    if not card["complete"]:
        lines += ["**Not complete**: a limit was set, or something could not be had (see below).", ""]
    fetched = card["fetched"]
    lines += [
        "| | |",
        "|---|---|",
        f"| documents | {card['documents']:,} |",
        f"| characters | {card['characters']:,} |",
        f"| bytes of text | {card['bytes']:,} |",
        f"| shards | {len(card['shards'])} |",
        f"| fetched | {fetched['first']} to {fetched['last']} |",
        f"| requests | {card['requests']:,}, of which sent again: {sum(card['repeated_requests'].values()):,} |",
        f"| by | {card['tool']} |",
        "",
        "## Licence and terms",
        "",
        *[f"- {cell(name)}: {count:,} documents" for name, count in card["licences"].items()],
        *[f"- {sentence}" for sentence in card["terms"]],
        "",
        "## Asked for",
        "",
        *[f"- {name}: {cell(value)}" for name, value in card["conditions"].items() if value not in (None, "", False)],
        "",
        "## Left out",
        "",
    ]
    if not card["skipped"]:
        lines.append("Nothing.")
    for reason, row in card["skipped"].items():
        samples = "; ".join(cell(sample) for sample in row["samples"])
        lines.append(f"- {cell(reason)}: {row['count']:,}{f' (such as {samples})' if samples else ''}")
    if card["repeated_requests"]:
        lines += ["", "## Sent again", ""]
        lines += [f"- {cell(reason)}: {count:,}" for reason, count in card["repeated_requests"].items()]
    return "\n".join(lines) + "\n"


def cell(value: Any) -> str:
    """A value of unknown origin as one line that is no markup."""
    return shown.markdown(value)
