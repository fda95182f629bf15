"""Cleaned corpora without the texts of evaluation sets, and the ids of the items that were found in them.

    python -m preprocess.decontaminate DIR... --against JGLUE [FILE...] --output-dir OUT [--remove document|paragraph|none]
           [--long 50] [--short 20] [--keys question,answer] [--workers N] [--dry-run] [--json]

DIR is a folder that preprocess.clean (or dedup) wrote; OUT/NAME has the same form. --against takes JGLUE's files, those of
the leaderboard's other tasks, and any jsonl (its texts are under --keys). Compared is the text after NFKC without blanks
and punctuation: --long characters in a row of an evaluation text, or the whole of one that has fewer, give it away; where
every text of an item has fewer than --short, all of them (question and choices) must stand close together.
--remove says what goes: the document, only the lines with the text, or nothing. OUT/decontaminate.json tells what was
found for each task, OUT/contaminated.jsonl names the items found in training documents, {"task", "id"} a line, for
`python -m eval_harness.run --exclude`; OUT/contaminated/ has them file by file.
"""

from __future__ import annotations

import functools
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from haigo import __version__, cli, files, flags, pool
from haigo.formats import documents
from haigo.formats.documents.broken import Broken, broken_lines

from . import evaluation_items, ngrams, normal_form, rewrite
from .account import opening
from .evaluation_items import Item
from .options import DecontaminateCommand, DecontaminateOptions
from .rewrite import CorpusShard, Edits

REPORT, IDS, IDS_BY_FILE = "decontaminate.json", "contaminated.jsonl", "contaminated"
RULE = "contaminated"
_LOT_CHARS = 100_000
_SAMPLES = 3
Found = dict[int, tuple[list[int], list[int]]]
"""Place of a document in its shard -> items found in it, and the numbers of the lines that hold them."""


def decontaminate(
    folders: Sequence[str | os.PathLike[str]],
    against: Sequence[str | os.PathLike[str]],
    output_dir: str | os.PathLike[str] | None,
    options: DecontaminateOptions | None = None,
    **given: Any,
) -> dict[str, Any]:
    """Find evaluation items in corpora and take them out.

    Args:
        folders: cleaned corpora.
        against: evaluation files, or folders of them.
        output_dir: gets a folder for each corpus, the report and the ids; None writes nothing (a dry run).
        options: or its fields by name.

    Returns:
        The report, as written to decontaminate.json.

    Raises:
        HaigoError: folders that are no cleaned corpora, unreadable evaluation files, values out of range.
    """
    options = options or DecontaminateOptions(**given)
    corpora = documents.corpora(folders)
    paths = evaluation_items.find(against)
    run = Decontamination(rewrite.shards(corpora, skip_broken=options.skip_broken), paths, options)
    if output_dir is None:
        found = Summary(paths, options, [run.search(corpora)])
        run.tell_changed(corpora)
        return found.report()
    target = Path(output_dir)
    rewrite.claim(corpora, target, REPORT, paths, outputs(paths))
    with files.owner(target):
        rewrite.remove_leftovers(corpora, target)
        files.remove_leftovers(target / IDS_BY_FILE)
        found = Summary(paths, options, [run.search(corpora)])
        run.tell_changed(corpora)
        reports = run.write(corpora, target / rewrite.PARTIAL)
        for old in (REPORT, IDS):
            files.remove(target / old)
        rewrite.put(target / rewrite.PARTIAL, target, reports)
        report = found.write(target)
        files.remove_tree(target / rewrite.PARTIAL)
    return report


def outputs(paths: Sequence[Path]) -> list[str]:
    """What is written of ids, relative to the output folder."""
    return [IDS, *(f"{IDS_BY_FILE}/{Path(path).stem}.jsonl" for path in evaluation_items.labels(paths))]


_Asked = tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...], int, int]
"""What a worker makes its index from: see `_index`."""


@functools.lru_cache(maxsize=1)
def _index(
    paths: tuple[str, ...], digests: tuple[str, ...], keys: tuple[str, ...], long: int, short: int
) -> tuple[list[Item], ngrams.ItemIndex]:
    """The items of evaluation files and where they are looked up.

    Args:
        digests: of the files: an index that a process still has is only used for the same content.
        keys, long, short: as in the options.
    """
    named = zip(map(Path, paths), evaluation_items.labels([Path(path) for path in paths]), strict=True)
    items = [item for path, label in named for item in evaluation_items.read(path, keys, label)]
    return items, ngrams.ItemIndex(items, long, short)


def _asked(paths: Sequence[Path], options: DecontaminateOptions) -> _Asked:
    sums = tuple(row["sha256"] for row in evaluation_items.digest(paths))
    return tuple(map(str, paths)), sums, tuple(options.keys), options.long, options.short


def noted(options: DecontaminateOptions) -> dict[str, Any]:
    """The options on which the result depends."""
    return {name: getattr(options, name) for name in ("remove", "long", "short", "keys")}


class Decontamination:
    """Shards that are searched, and written without what was found.

    Attributes:
        hits: what was found in each. counts: how many documents each has.
    """

    def __init__(self, shards: Sequence[CorpusShard], paths: Sequence[Path], options: DecontaminateOptions) -> None:
        self.shards, self.options = shards, options
        self.asked = _asked(paths, options)
        self.items, self.index = _index(*self.asked)
        self.broken = documents.broken_rows((shard.path for shard in self.shards), options.skip_broken)
        self.hits: list[Found] = []
        self.counts: list[int] = []

    def search(self, names: Iterable[str]) -> dict[str, Any]:
        """Look through all shards; what was found, as `Summary` takes it.

        Args:
            names: of the corpora.
        """
        work = {f"{number}": partial(_search_shard, shard, self.asked) for number, shard in enumerate(self.shards)}
        results = pool.run_shown("decontaminate: search", work, self.options.workers)
        self.hits = [results[f"{number}"][0] for number in range(len(self.shards))]
        self.counts = [results[f"{number}"][1] for number in range(len(self.shards))]
        corpora: dict[str, dict[str, Any]] = {
            name: {"documents_in": 0, "contaminated": dict.fromkeys(documents.SPLITS, 0), "tasks": {}} for name in names
        }
        everywhere, trained = set[int](), set[int]()
        for shard, found, count in zip(self.shards, self.hits, self.counts, strict=True):
            row = corpora[shard.corpus]
            row["documents_in"] += count
            row["contaminated"][shard.split] += len(found)
            for items, _ in found.values():
                everywhere.update(items)
                if shard.split == "train":
                    trained.update(items)
                for task in sorted({self.items[item].task for item in items}):
                    row["tasks"][task] = row["tasks"].get(task, 0) + 1
        return {
            "found": sorted(everywhere),
            "trained": sorted(trained),
            "corpora": corpora,
            "samples": self._samples(),
            "input": rewrite.named(self.shards),
            "broken": [self.broken.count, self.broken.named],
        }

    def _samples(self) -> list[dict[str, Any]]:
        """The first few documents with an item of each task."""
        shown: dict[str, int] = {}
        samples = []
        for shard, found in zip(self.shards, self.hits, strict=True):
            wanted: dict[int, int] = {}
            for place, (items, _) in found.items():
                for number in items:
                    task = self.items[number].task
                    if place not in wanted and shown.get(task, 0) < _SAMPLES:
                        shown[task] = shown.get(task, 0) + 1
                        wanted[place] = number
            for place, document in enumerate(shard.read() if wanted else ()):
                if place in wanted:
                    item = self.items[wanted[place]]
                    lines = document.text.split("\n")
                    within = "\n".join(lines[number] for number in found[place][1])
                    samples.append(
                        {
                            "task": item.task,
                            "item": item.id,
                            "item_text": opening(item.texts[0]),
                            "corpus": shard.corpus,
                            "split": shard.split,
                            "document": document.id,
                            "text": opening(within),
                        }
                    )
        return samples

    def tell_changed(self, corpora: Mapping[str, Path]) -> None:
        """See `rewrite.tell_changed`; after the search."""
        rewrite.tell_changed(corpora, self.shards, self.counts)

    def write(self, corpora: Mapping[str, Path], work: Path) -> dict[str, dict[str, Any]]:
        """Write the corpora that the shards are of below `work`; the report of each."""
        edited = [(shard, self.edits(found)) for shard, found in zip(self.shards, self.hits, strict=True)]
        return rewrite.write(corpora, work, edited, ("decontaminate", noted(self.options)), self.options.workers)

    def edits(self, found: Found) -> Edits:
        """What happens to a shard in which that was found."""
        if self.options.remove == "document":
            return Edits(drop=dict.fromkeys(found, RULE))
        if self.options.remove == "paragraph":
            return Edits(lines={place: (RULE, lines) for place, (_, lines) in found.items()})
        return Edits()


class Summary:
    """What was found in all, of what `Decontamination.search` gave for each part of the text.

    Raises:
        HaigoError: more broken rows in all than may be passed over.
    """

    def __init__(
        self, paths: Sequence[Path], options: DecontaminateOptions, parts: Iterable[Mapping[str, Any]]
    ) -> None:
        self.paths, self.options = paths, options
        self.items, self.index = _index(*_asked(paths, options))
        self.everywhere, self.trained = set[int](), set[int]()
        self.broken = Broken(options.skip_broken)
        self.corpora: dict[str, dict[str, Any]] = {}
        samples, self.input = list[dict[str, Any]](), list[dict[str, str]]()
        for part in parts:
            self.everywhere.update(part["found"])
            self.trained.update(part["trained"])
            self.broken.take(*part["broken"])
            samples += part["samples"]
            self.input += part["input"]
            for name, row in part["corpora"].items():
                _add(self.corpora.setdefault(name, {}), row)
        for rows in (samples, self.input):  # as the splits of one corpus follow each other
            rows.sort(key=lambda row: documents.SPLITS.index(row["split"]))
        shown = Counter[str]()
        self.samples = []
        for row in samples:
            shown[row["task"]] += 1
            self.samples += [row] if shown[row["task"]] <= _SAMPLES else []

    def report(self) -> dict[str, Any]:
        """What decontaminate.json says."""
        tasks: dict[str, dict[str, Any]] = {}
        searched = set(range(len(self.items))) - set(self.index.too_short)
        for number, item in enumerate(self.items):
            row = tasks.setdefault(item.task, {"items": 0, "searched": 0, "found": 0, "found_in_training": 0})
            row |= {"items": row["items"] + 1, "searched": row["searched"] + (number in searched)}
        for name, numbers in (("found", self.everywhere), ("found_in_training", self.trained)):
            for number in numbers:
                tasks[self.items[number].task][name] += 1
        return {
            "tasks": tasks,
            "corpora": self.corpora,
            "samples": self.samples,
            "options": noted(self.options),
            "against": evaluation_items.digest(self.paths),
            **self.broken.report(),
            "input": self.input,
            "tool": f"haigo {__version__}",
        }

    def write(self, target: Path) -> dict[str, Any]:
        """Write ids and report into a folder, the report last; it is given back."""
        files.remove_tree(target / IDS_BY_FILE)
        for file, rows in self._ids_by_file().items():
            files.write_text(target / IDS_BY_FILE / f"{Path(file).stem}.jsonl", rows)
        files.write_text(target / IDS, self._ids())
        report = self.report()
        files.write_json(target / REPORT, report)
        return report

    def _ids(self) -> str:
        """The items found in training documents, for the scorer.

        Raises:
            HaigoError: two files give the same id to different items of a task, and no file name says which is scored.
        """
        return _rows(self._scored(self.trained))

    def _scored(self, numbers: Iterable[int]) -> list[Item]:
        """Where files of one task use the same ids for different items, those of its validation file alone."""
        texts: dict[tuple[str, str], set[tuple[str, ...]]] = {}
        for item in self.items:
            texts.setdefault((item.task, item.id), set()).add(item.texts)
        unclear = {task for (task, _), different in texts.items() if len(different) > 1}
        items = [self.items[number] for number in sorted(numbers)]
        return [item for item in items if item.task not in unclear or _is_scored(item.file)]

    def _ids_by_file(self) -> dict[str, str]:
        """The same for every evaluation file by itself."""
        by_file: dict[str, list[Item]] = {label: [] for label in evaluation_items.labels(self.paths)}
        for number in sorted(self.trained):
            by_file[self.items[number].file].append(self.items[number])
        return {file: _rows(items) for file, items in by_file.items()}


def _add(into: dict[str, Any], row: Mapping[str, Any]) -> None:
    """Add a corpus' counts to those of its other parts."""
    into["documents_in"] = into.get("documents_in", 0) + row["documents_in"]
    for key in ("contaminated", "tasks"):
        before = into.get(key, {})
        into[key] = {each: before.get(each, 0) + row[key].get(each, 0) for each in {**before, **row[key]}}


def _is_scored(file: str) -> bool:
    return any(word in file.lower() for word in ("valid", "dev"))


def _rows(items: Iterable[Item]) -> str:
    rows = dict.fromkeys((item.task, item.id) for item in items)
    return "".join(orjson.dumps({"task": task, "id": own}).decode() + "\n" for task, own in rows)


def _search_shard(shard: CorpusShard, asked: _Asked) -> tuple[Found, int]:
    """What is found in one shard, and how many documents it has."""
    index = _index(*asked)[1]
    found: Found = {}
    count = 0
    for texts in documents.batches((document.text for document in shard.read()), _LOT_CHARS, len):
        for place, hits in enumerate(index.search(texts)):
            if hits:
                items = sorted({item for hit in hits for item in index.needles[hit.needle].items})
                found[count + place] = (items, _lines(texts[place], hits))
        count += len(texts)
    return found, count


def _lines(text: str, hits: Iterable[ngrams.Hit]) -> list[int]:
    """The numbers of the lines that hold any of the hits."""
    _, starts = normal_form.batch(text.split("\n"))
    places = starts.tolist()
    touched = set()
    for hit in hits:
        touched |= {
            number
            for number in range(len(places) - 1)
            if places[number] < hit.end and places[number + 1] > hit.start and places[number + 1] > places[number]
        }
    return sorted(touched)


def table(report: Mapping[str, Any]) -> str:
    """The report as a few lines to read."""
    lines = []
    for task, row in report["tasks"].items():
        short = row["items"] - row["searched"]
        lines.append(
            f"{task}: {row['found']:,} of {row['items']:,} items found, {row['found_in_training']:,} in training documents"
            + (f"; {short:,} are too short to look for" if short else "")
        )
    for name, row in report["corpora"].items():
        tasks = ", ".join(f"{task} {count:,}" for task, count in row["tasks"].items())
        total = sum(row["contaminated"].values())
        lines.append(f"  {name}: {total:,} of {row['documents_in']:,} documents{f' ({tasks})' if tasks else ''}")
    lines += broken_lines(report)
    for each in report["samples"]:
        lines.append(f"  {each['task']} {each['item']}: {each['item_text']!r}")
        lines.append(f"      {each['corpus']} {each['document']}: {each['text']!r}")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    options = flags.parse("preprocess.decontaminate", __doc__, DecontaminateCommand, argv)
    report = decontaminate(options.folders, options.against, options.target, options)
    cli.show(report, table, options.json)
    return cli.OK


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
