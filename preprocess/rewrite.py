"""Folders of cleaned documents to folders of fewer: what dedup and decontamination have in common.

A corpus is a folder as `preprocess.clean` writes it. The result has the same form, so that every later step reads it the
same way; its report is the old one with what was removed added to it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from haigo import __version__, files, pool
from haigo.cli import HaigoError, nearest
from haigo.formats import documents
from haigo.formats.documents import Document

from .account import Account, difference, opening

PARTIAL = ".partial"


@dataclasses.dataclass(frozen=True, slots=True)
class CorpusShard:
    """One file of one split of one corpus."""

    corpus: str
    split: str
    path: str
    sha256: str
    skip_broken: int = 0

    def read(self) -> Iterator[Document]:
        """Its documents in order."""
        return documents.read_shard(self.path, self.skip_broken)


@dataclasses.dataclass(slots=True)
class Edits:
    """What happens to the documents of one shard, by their place in it: those to drop, and new texts of others."""

    drop: dict[int, str] = dataclasses.field(default_factory=dict)
    """place -> the rule that drops it"""
    lines: dict[int, tuple[str, list[int]]] = dataclasses.field(default_factory=dict)
    """place -> the rule, and the numbers of the lines that go"""


def ordered(corpora: Mapping[str, Path], priority: Sequence[str]) -> dict[str, Path]:
    """The corpora with those of `priority` first, in its order; the others follow as given.

    Raises:
        HaigoError: a name that is none of theirs, or twice.
    """
    for name in priority:
        if name not in corpora:
            raise HaigoError(
                f"--priority names '{name}', which is no corpus here.{nearest(name, corpora)}",
                f"the corpora are {', '.join(corpora)}",
                option="priority",
            )
    if len(set(priority)) != len(priority):
        raise HaigoError("--priority names a corpus twice.", "name each once", option="priority")
    return {name: corpora[name] for name in [*priority, *(each for each in corpora if each not in priority)]}


def shards(
    corpora: Mapping[str, Path], splits: Sequence[str] = documents.SPLITS, skip_broken: int = 0
) -> list[CorpusShard]:
    """The shards of every corpus: split by split as given, in each corpus by corpus."""
    rows = []
    for split in splits:
        for name, folder in corpora.items():
            if split in documents.splits(folder):
                for path in documents.shards(folder, split):
                    rows.append(CorpusShard(name, split, str(path), files.sha256_file(path), skip_broken))
    if not rows:
        raise HaigoError("none of the corpora has a document.", "look at their clean.json")
    return rows


def tell_changed(corpora: Mapping[str, Path], shards: Sequence[CorpusShard], counts: Iterable[int]) -> None:
    """`documents.tell_changed` of every corpus.

    Args:
        counts: how many documents each shard holds.
    """
    there = {name: dict.fromkeys(documents.SPLITS, 0) for name in corpora}
    for shard, count in zip(shards, counts, strict=True):
        there[shard.corpus][shard.split] += count
    for name, folder in corpora.items():
        documents.tell_changed(folder, there[name])


def named(shards: Sequence[CorpusShard]) -> list[dict[str, str]]:
    """What was read, for a report."""
    return [
        {"corpus": each.corpus, "split": each.split, "file": Path(each.path).name, "sha256": each.sha256}
        for each in shards
    ]


def packed_bytes(folder: Path) -> int:
    """How large the shards of a corpus are on the disk."""
    return sum(path.stat().st_size for path in folder.glob("*/*.jsonl.zst"))


def claim(
    corpora: Mapping[str, Path], output_dir: Path, report: str, reads: Iterable[Path] = (), names: Iterable[str] = ()
) -> None:
    """Ask, before the work, whether the corpora may be written below `output_dir`, as `documents.claim` does for one.

    Args:
        report: name of the step's own report.
        reads: further files that are read.
        names: further files that are written, relative to `output_dir`.

    Raises:
        Refused: see there.
    """
    files.check_output(output_dir, [*corpora.values(), *reads])
    like = {"corpora": {str: {"documents_in": int}}, "options": dict, "tool": str}
    documents.take_over(output_dir / report, like, [output_dir / name for name in names])
    files.check_output(
        output_dir, names=(report, *names), trees={(output_dir / name).parent for name in names} - {output_dir}
    )
    for name in corpora:
        documents.claim(output_dir / name, reads, corpora.values())


def remove_leftovers(corpora: Mapping[str, Path], output_dir: Path) -> None:
    """Delete what a killed run was writing when it died, beside its `PARTIAL` folder."""
    documents.take_over_partial(output_dir, output_dir / PARTIAL)
    for folder in (output_dir, output_dir / PARTIAL, *(output_dir / name for name in corpora)):
        files.remove_leftovers(folder, below=False)


def write(
    corpora: Mapping[str, Path],
    work: Path,
    edited: Sequence[tuple[CorpusShard, Edits]],
    step: tuple[str, Mapping[str, Any]],
    workers: int,
) -> dict[str, dict[str, Any]]:
    """Write all corpora below `work`.

    Args:
        edited: every shard and what happens to its documents.
        step: the name and the options of what is done, for the reports.

    Returns:
        The report of every corpus.
    """
    pieces = {}
    for name in corpora:
        for split in documents.SPLITS:
            parts = [(shard, edits) for shard, edits in edited if (shard.corpus, shard.split) == (name, split)]
            files.remove_tree(work / name / split)
            pieces[f"{name}/{split}"] = partial(write_split, parts, str(work / name / split))
    results = pool.run_shown(f"{step[0]}: writing", pieces, workers)
    return {
        name: report(folder, {split: results[f"{name}/{split}"] for split in documents.SPLITS}, *step)
        for name, folder in corpora.items()
    }


def write_split(parts: Sequence[tuple[CorpusShard, Edits]], folder: str) -> dict[str, Any]:
    """Write one split of one corpus without what its edits take away (in a worker process).

    Returns:
        documents, characters and bytes of the result, and under `rules` the account of what went.
    """
    writer = documents.ShardWriter(Path(folder))
    account = Account()
    for shard, edits in parts:
        for place, document in enumerate(shard.read()):
            rule = edits.drop.get(place)
            if rule is None and place in edits.lines:
                rule, lines = edits.lines[place]
                text = without_lines(document.text, lines)
                if text.strip():
                    sample = difference(document.text, text) if account.open_for_samples(rule) else ""
                    account.note(rule, len(document.text) - len(text), sample)
                    writer.add(dataclasses.replace(document, text=text))
                    continue
            if rule is not None:
                account.note(rule, len(document.text), opening(document.text))
                continue
            writer.add(document)
    writer.flush()
    Path(folder).mkdir(parents=True, exist_ok=True)
    counts = {"documents": writer.documents, "characters": writer.characters, "bytes": writer.bytes}
    return counts | {"rules": account.rules}


def without_lines(text: str, numbers: Sequence[int]) -> str:
    """The text without some of its lines, and without the blank lines that would be left around it."""
    gone = set(numbers)
    return "\n".join(line for number, line in enumerate(text.split("\n")) if number not in gone).strip("\n")


def report(
    folder: Path, made: Mapping[str, Mapping[str, Any]], step: str, options: Mapping[str, Any]
) -> dict[str, Any]:
    """The report of a rewritten corpus: `made` is what `write_split` gave for each split."""
    old = documents.report(folder)
    account = Account()
    account.rules = {name: dict(row) for name, row in old.get("rules", {}).items()}
    for row in made.values():
        account.merge(row["rules"])
    splits = {name: {key: row[key] for key in ("documents", "characters", "bytes")} for name, row in made.items()}
    totals = {f"{key}_out": sum(row[key] for row in splits.values()) for key in ("documents", "characters", "bytes")}
    steps = [*old.get("steps", []), {"step": step, "options": dict(options), "tool": f"haigo {__version__}"}]
    return {**old, **totals, "rules": account.rules, "splits": splits, "steps": steps}


def put(partial: Path, output_dir: Path, reports: Mapping[str, Mapping[str, Any]]) -> None:
    """Move finished corpora into place; a corpus' own report is written last."""
    for name, found in reports.items():
        target = output_dir / name
        target.mkdir(parents=True, exist_ok=True)
        files.remove(target / documents.REPORT)
        for split in documents.SPLITS:
            files.remove_tree(target / split)
            (partial / name / split).mkdir(parents=True, exist_ok=True)
            files.move(partial / name / split, target / split)
        files.write_json(target / documents.REPORT, dict(found))
