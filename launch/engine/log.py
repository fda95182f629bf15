"""The learning curve: `log.jsonl`, one line a logged step.

{"step", "tokens", "loss" (nats), "lr", "time_s"}, and CORPUS_bpb, NAME_bpb where the run was evaluated;
the last line has "final": true, the final scores and no loss.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from haigo import files, shapes
from haigo.cli import HaigoError

NAME = "log.jsonl"
_TAIL_BYTES = 4096
_LIKE = {"step": int, "tokens": int}


def read(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """All entries; a line that a kill or a disk tore is left out. Empty when there is no log yet."""
    entries = []
    with contextlib.suppress(FileNotFoundError):
        files.require_file(path)
        for line in Path(path).read_text(encoding="utf-8", errors="replace").splitlines():
            if (entry := _entry(line)) is not None:
                entries.append(entry)
    return entries


def _entry(line: str) -> dict[str, Any] | None:
    with contextlib.suppress(HaigoError):
        entry = files.parse_json(line, NAME)
        if shapes.unlike(entry, _LIKE) is None and shapes.unlike(entry, {str: (float, bool, str, None)}) is None:
            return dict(entry)
    return None


def tokens_seen(path: str | os.PathLike[str]) -> int:
    """How many tokens a run (perhaps of another process) has trained on so far: its last line's; 0 before the first."""
    try:
        with open(path, "rb") as handle:
            handle.seek(max(0, os.fstat(handle.fileno()).st_size - _TAIL_BYTES))
            lines = handle.read().decode("utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return 0
    entries = (entry for line in reversed(lines) if (entry := _entry(line)) is not None)
    return next((int(entry["tokens"]) for entry in entries), 0)


@contextlib.contextmanager
def writer(folder: Path, kept: list[str]) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """Yield a function that appends an entry.

    Args:
        kept: the lines that the log begins with: those up to the checkpoint that the run goes on from. What a run that was
            killed wrote after it is dropped. Every further line is added to the list.
    """
    path = folder / NAME
    files.write_text(path, "".join(f"{line}\n" for line in kept))
    with files.append(path, "a", encoding="utf-8") as handle:

        def write(entry: Mapping[str, Any]) -> None:
            kept.append(json.dumps(entry))
            handle.write(f"{kept[-1]}\n")
            handle.flush()

        yield write


def lines_up_to(folder: Path, step: int) -> list[str]:
    """The lines up to step `step` as they stand in the log: for a checkpoint of the first edition, which does not hold them."""
    return [json.dumps(each) for each in read(folder / NAME) if each["step"] <= step and "final" not in each]


def append(folder: Path, entry: Mapping[str, Any]) -> None:
    """Append one entry."""
    with files.append(folder / NAME, "a", encoding="utf-8") as handle:
        handle.write(json.dumps(entry) + "\n")
