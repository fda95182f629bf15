"""`launch.pipeline --verify`: every digest of a finished run computed again, from raw files to report; nothing is changed.

What is compared: raw files with the ledger; every stage's files with its marker; what stands at the top with the ledger; and,
where the run file is given, what every stage would be made from now with what it was made from. Journals (`.haigo`) are not
compared byte for byte, because every write adds a line to one: they must list what is there, line by line, and nothing else.
In a lock file only the number is not looked at, which says what process held the folder last.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from haigo import digests
from haigo.cli import HaigoError, Refused
from haigo.ownership import JOURNAL, LOCK, read_journal
from launch.pipeline import runfile, stage
from launch.pipeline.ledger import FIGURES, Ledger, of_report

_RECORDS = (".json", ".jsonl", ".yml", ".csv", ".txt")


def verify(root: Path, run: runfile.RunFile | None = None, path: Path | None = None) -> list[str]:
    """What is not as the run left it, one sentence each; empty when all is.

    Args:
        root: the run folder.
        run: the run file, to see whether its stages would be made from the same things; None: only what the folder says.
        path: where it was read from.

    Raises:
        HaigoError: not a finished run.
        Refused: a run of the first edition, which has no digests yet.
    """
    ledger = Ledger(root, full=True)
    if not ledger.path.is_file():
        raise HaigoError(f"{root} is not a finished run folder.", "run `python -m launch.pipeline` to its end")
    if ledger.former:
        raise Refused(
            f"{root} was made by an earlier Haigo, which kept sizes and no digests.",
            "run `python -m launch.pipeline` with its run file once: digests are computed, and nothing is done again",
        )
    if ledger.damaged:
        return [f"{ledger.path} was changed since it was written."]
    problems = [f"{raw} {why}." for raw, why in ledger.changed_sources().items()]
    folders = sorted({root / name for name in ledger.stages} | {marker.parent for marker in root.rglob(stage.DONE)})
    for folder in folders:
        problems += _stage(folder)
    problems += [f"{root / name} {why}." for name, why in ledger.changed_top().items()]
    if not ledger.top:
        problems.append(f"{root} was not run to its end.")
    problems += [
        sentence for folder in dict.fromkeys([root, root / FIGURES, *_folders(folders)]) for sentence in _notes(folder)
    ]
    problems += _listed(root, [*ledger.top, ledger.path.name])
    if run is not None and path is not None and not problems:
        problems += _made_from(run, path, root, ledger)
    return problems


def records(root: Path) -> None:
    """See that the records which a report shows are those of the run; large data (datasets, text, models) are left to `verify`.

    Raises:
        Refused: one is not; it is named.
    """
    ledger = Ledger(root)
    wrong = [f"{root / name} {why}" for name, why in ledger.changed_top().items() if not of_report(name)]
    for marker in sorted(root.rglob(stage.DONE)):
        known = stage.read_marker(marker.parent)
        if known is not None:
            part = {path: row for path, row in known.outputs.items() if Path(path).suffix in _RECORDS}
            changed, _ = digests.changed(marker.parent, part)
            wrong += [f"{marker.parent / path} {why}" for path, why in changed.items()]
    if wrong:
        raise Refused(
            f"{wrong[0]}{f', and {len(wrong) - 1} more files' if len(wrong) > 1 else ''}.",
            "run `python -m launch.pipeline` with the run file again: what was changed is made anew",
        )


def _stage(folder: Path) -> list[str]:
    try:
        marker = stage.read_marker(folder)
    except HaigoError as error:
        return [error.problem]
    if marker is None:
        return [f"{folder / stage.DONE} is missing."]
    if marker.former:
        return [f"{folder} has sizes and no digests yet: its run was not gone through since an earlier Haigo made it."]
    problems = [
        f"{folder / path} {why}." for path, why in digests.changed(folder, marker.outputs, full=True)[0].items()
    ]
    try:
        started = (folder / stage.INPUTS).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        started = ""
    if started != marker.inputs:
        problems.append(f"{folder / stage.INPUTS} was changed since it was made.")
    return problems + _listed(folder, [*marker.outputs, stage.DONE, stage.INPUTS])


def _listed(folder: Path, paths: Iterable[str]) -> list[str]:
    """The journals of the folders in which `paths` lie must list them."""
    known: dict[Path, set[str]] = {}
    return [
        f"{path.parent / JOURNAL} was changed: it does not list {path.name}."
        for path in (folder / each for each in paths)
        if path.exists() and path.name not in known.setdefault(path.parent, read_journal(path.parent).names)
    ]


def _folders(stages: list[Path]) -> list[Path]:
    return [place for folder in stages for place in (folder, *(each for each in folder.rglob("*") if each.is_dir()))]


def _notes(folder: Path) -> list[str]:
    """What is wrong with the journal and the lock file of a folder."""
    path, lock = folder / JOURNAL, folder / LOCK
    problems = []
    if lock.is_file() and not re.fullmatch(rb"(pid \d*)?", lock.read_bytes()):
        problems.append(f"{lock} was changed since it was written.")
    if not path.is_file():
        return problems
    journal = read_journal(folder)
    if journal.damaged:
        return [*problems, f"{path} was changed since it was written."]
    for name in sorted(journal.names):
        if not os.path.lexists(folder / name):
            problems.append(f"{path} was changed: it lists {name}, which is not there.")
        elif name in journal.digests and digests.sha256(folder / name) != journal.digests[name][-1]:
            problems.append(f"{folder / name} is not what {path} says was written there.")
    return problems


def _made_from(run: runfile.RunFile, path: Path, root: Path, ledger: Ledger) -> list[str]:
    """Stages that the run file would make from something else than they were made from."""
    from launch.pipeline.stages import Chain

    try:
        chain = Chain(run, path, root, dry_run=True, ledger=ledger)
        states: list[tuple[str, Any]] = chain.dry_run()
    except HaigoError as error:
        return [error.problem]
    why = "would be made from other inputs or options now"
    return [f"{root / name} {why}." for state, name in states if state != "unchanged"]
