"""Folders of cleaned documents to folders of fewer: what dedup and decontamination have in common.

A corpus is a folder as `preprocess.clean` writes it. The result has the same form, so that every later step reads it the
same way; its report is the old one with what was removed added to it.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from haigo import __version__, digests, files, pool, sealed
from haigo.cli import HaigoError, nearest
from haigo.formats import documents
from haigo.formats.documents import Document, Line

from .account import Account, difference, opening

PARTIAL = ".partial"
COUNTS = ("documents", "characters", "bytes")
"""Of a split, in reports."""


@dataclasses.dataclass(frozen=True, slots=True)
class CorpusShard:
    """One file of one split of one corpus."""

    corpus: str
    split: str
    path: str
    sha256: str
    skip_broken: int = 0

    @property
    def name(self) -> str:
        """Its place in the folder of its corpus."""
        return f"{self.split}/{Path(self.path).name}"

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
    """Write all corpora below `work`, a shard for each shard.

    Args:
        edited: every shard and what happens to its documents.
        step: the name and the options of what is done, for the reports.

    Returns:
        The report of every corpus.
    """
    for name in corpora:
        files.remove_tree(work / name)
    pieces = {f"{shard.corpus}/{shard.name}": partial(write_shard, shard, edits, work / shard.corpus / shard.name)
              for shard, edits in edited}  # fmt: skip
    made = pool.run_shown(f"{step[0]}: writing", pieces, workers)
    return {
        name: report(
            folder,
            together((each.split, made[f"{name}/{each.name}"]) for each, _ in edited if each.corpus == name),
            *step,
        )
        for name, folder in corpora.items()
    }


def write_shard(shard: CorpusShard, edits: Edits, target: Path) -> dict[str, Any]:
    """Write a shard without what its edits take away (in a worker process); none where nothing stays.

    Returns:
        counts of the documents that stay (documents, characters, bytes), and under `rules` the account of what went.
    """
    account = Account()

    def stays() -> Iterator[Line]:
        for place, document in enumerate(shard.read()):
            rule = edits.drop.get(place)
            if rule is None and place in edits.lines:
                rule, lines = edits.lines[place]
                text = without_lines(document.text, lines)
                if text.strip():
                    sample = difference(document.text, text) if account.open_for_samples(rule) else ""
                    account.note(rule, len(document.text) - len(text), sample)
                    yield documents.line(dataclasses.replace(document, text=text))
                    continue
            if rule is not None:
                account.note(rule, len(document.text), opening(document.text))
                continue
            yield documents.line(document)

    return {"counts": documents.write_lines(target, stays()), "rules": account.rules}


NOTE = {"recipe": str, "sums": {str: str}}
"""What the note of `once` holds, beside what its work gave."""
GATHERED = ("sums", "counts", "rules")
"""What `finish` asks of a note."""


def once(
    marker: Path, folder: Path, names: Sequence[str], recipe: str, make: Callable[[], Mapping[str, Any]]
) -> dict[str, Any]:
    """Write some shards, unless a note says that they were made of just this and they are as they were left.

    Args:
        marker: file of the note.
        folder, names: of the corpus that is written, and of the shards in it (`train/00000.jsonl.zst`); one of which nothing
            stays is none.
        recipe: digest of all that they depend on.
        make: writes them; what else is to be noted.

    Returns:
        The note, which is written last: `recipe`, `sums` (name -> sha256), and what `make` gave.
    """
    with contextlib.suppress(HaigoError, OSError):  # none yet, or a damaged one: made again
        known, _ = sealed.read(marker, NOTE)
        if known["recipe"] == recipe and known["sums"] == _sums(folder, names):
            return known
    made = make()
    return sealed.write(marker, {"recipe": recipe, "sums": _sums(folder, names), **made})


def _sums(folder: Path, names: Sequence[str]) -> dict[str, str]:
    return {name: digests.sha256(folder / name) for name in names if (folder / name).is_file()}


def together(made: Iterable[tuple[str, Mapping[str, Any]]]) -> dict[str, dict[str, Any]]:
    """What became of the shards of a corpus, split by split, as `report` takes it.

    Args:
        made: split, and counts and rules, of every shard in order.
    """
    counts = {split: Counter(dict.fromkeys(COUNTS, 0)) for split in documents.SPLITS}
    accounts = {split: Account() for split in documents.SPLITS}
    for split, row in made:
        counts[split].update(row["counts"])
        accounts[split].merge(row["rules"])
    return {split: {**counts[split], "rules": accounts[split].rules} for split in documents.SPLITS}


def without_lines(text: str, numbers: Sequence[int]) -> str:
    """The text without some of its lines, and without the blank lines that would be left around it."""
    gone = set(numbers)
    return "\n".join(line for number, line in enumerate(text.split("\n")) if number not in gone).strip("\n")


def report(
    folder: Path, made: Mapping[str, Mapping[str, Any]], step: str, options: Mapping[str, Any]
) -> dict[str, Any]:
    """The report of a rewritten corpus: `made` is what `together` gives."""
    old = documents.report(folder)
    account = Account()
    account.rules = {name: dict(row) for name, row in old.get("rules", {}).items()}
    for row in made.values():
        account.merge(row["rules"])
    splits = {name: {key: row[key] for key in COUNTS} for name, row in made.items()}
    totals = {f"{key}_out": sum(row[key] for row in splits.values()) for key in COUNTS}
    steps = [*old.get("steps", []), {"step": step, "options": dict(options), "tool": f"haigo {__version__}"}]
    return {**old, **totals, "rules": account.rules, "splits": splits, "steps": steps}


def finish(
    folder: Path, target: Path, notes: Sequence[tuple[str, Mapping[str, Any]]], step: tuple[str, Mapping[str, Any]]
) -> None:
    """Make a corpus of shards that were written into its own place: what else lies there is of an earlier time and goes, the
    report is written last.

    Args:
        folder: that it was made of.
        notes: split, and what `once` noted, of every shard in order.
        step: see `write`.
    """
    content = report(folder, together(notes), *step)
    there = {name for _, note in notes for name in note["sums"]}
    for split in documents.SPLITS:
        (target / split).mkdir(parents=True, exist_ok=True)
        for path in (target / split).glob("[0-9]*.jsonl.zst"):
            if f"{split}/{path.name}" not in there:
                files.remove(path)
    path = target / documents.REPORT
    if not says(path, content):
        files.write_json(path, content)


def says(path: Path, content: Mapping[str, Any]) -> bool:
    """Whether a report with just this content stands there; a damaged one says nothing, and is written again."""
    with contextlib.suppress(HaigoError):
        return bool(files.read_json(path) == content)
    return False


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
