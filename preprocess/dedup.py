"""Cleaned corpora without repeated and nearly repeated documents, across corpora too.

    python -m preprocess.dedup DIR... --output-dir OUT [--priority wiki,news] [--method minhash|exact]
           [--threshold 0.8] [--shingle 5] [--bands 14] [--rows 8] [--seed 1234] [--skip-broken N] [--workers N]
           [--dry-run] [--json]

DIR is a folder that preprocess.clean wrote; OUT/NAME has the same form, and OUT/dedup.json tells what went and why, with
samples. Compared is the text after NFKC without blanks. A document goes when that equals that of one that stays, or when their
true Jaccard similarity (shingles of --shingle characters, punctuation apart) is at least --threshold; candidates come from
MinHash with --bands x --rows. Texts of fewer than 40 shingles go only when equal, of fewer than 200 only when the numbers in
them are the same. What stays: held-out documents (test, then valid) before training
documents, then the corpus named first in --priority (or on the command line), then the one read first.
Memory: about 0.25 GB for a million documents. A killed run goes on with the shards that were not finished.
"""

from __future__ import annotations

import bisect
import itertools
import os
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from haigo import __version__, cli, files, flags, memory, pool
from haigo.cli import HaigoError
from haigo.formats import documents
from haigo.formats.documents.broken import broken_lines
from haigo.progress import Progress

from . import dedup_shard, near_pairs, rewrite
from .account import opening
from .dedup_shard import ARRAYS
from .minhash import Hashes, Shape, Sketcher, Sketches
from .near_pairs import Removal
from .options import DedupCommand, DedupOptions
from .rewrite import CorpusShard, Edits

REPORT = "dedup.json"
EXACT, NEAR = "exact_duplicate", "near_duplicate"
_HELD_OUT_FIRST = ("test", "valid", "train")
_SAMPLES = 5
_BYTES_MORE = 60  # a document's share of sorting, besides its sketch


def dedup(
    folders: Sequence[str | os.PathLike[str]],
    output_dir: str | os.PathLike[str] | None,
    options: DedupOptions | None = None,
    **given: Any,
) -> dict[str, Any]:
    """Take out documents that repeat others.

    Args:
        folders: cleaned corpora.
        output_dir: gets a folder for each corpus, and the report; None writes nothing (a dry run).
        options: or its fields by name.

    Returns:
        The report, as written to dedup.json.

    Raises:
        HaigoError: folders that are no cleaned corpora, values out of range, a result that would lie over its source.
    """
    options = options or DedupOptions(**given)
    corpora = rewrite.ordered(documents.corpora(folders), options.priority)
    if output_dir is None:
        with tempfile.TemporaryDirectory() as scratch:
            return _Deduplication(corpora, Path(scratch), options).report(False)
    target = Path(output_dir)
    rewrite.claim(corpora, target, REPORT)
    with files.owner(target):
        rewrite.remove_leftovers(corpora, target)
        run = _Deduplication(corpora, target / rewrite.PARTIAL, options)
        report = run.report(True)
        files.remove(target / REPORT)
        rewrite.put(run.work, target, run.reports)
        files.write_json(target / REPORT, report)
        files.remove_tree(run.work)
    return report


class _Deduplication:
    """One deduplication and its figures."""

    def __init__(self, corpora: Mapping[str, Path], work: Path, options: DedupOptions) -> None:
        self.corpora, self.work, self.asked = corpora, work, options
        self.shape = Shape(options.shingle, options.bands, options.rows, options.seed)
        self.shards = rewrite.shards(corpora, _HELD_OUT_FIRST, options.skip_broken)
        self.broken = documents.broken_rows((shard.path for shard in self.shards), options.skip_broken)
        self.starts = [0]
        self.pairs_checked = self.candidates = 0
        self.reports: dict[str, dict[str, Any]] = {}

    def report(self, write: bool) -> dict[str, Any]:
        """Do the work, write the corpora below `work` if asked, and give the report."""
        self._require_memory()
        sketches = self._sketch()
        removals = near_pairs.exact(sketches.digests)
        if self.asked.method == "minhash":
            removals += self._near(sketches, [each.number for each in removals])
        removals.sort(key=lambda each: each.number)
        wanted = self._samples(removals)
        places = sorted({number for each in wanted for number in (each.number, each.kept)})
        edits = [Edits() for _ in self.shards]
        for each in removals:
            shard, place = self._place(each.number)
            edits[shard].drop[place] = EXACT if each.exact else NEAR
        if write:
            edited, step = list(zip(self.shards, edits, strict=True)), ("dedup", self.options())
            self.reports = rewrite.write(self.corpora, self.work, edited, step, self.asked.workers)
        shown = self._openings(places)
        corpora = {name: self._corpus(name, sketches, removals) for name in self.corpora}
        count = len(sketches.sizes)
        return {
            "documents_in": count,
            "documents_out": count - len(removals),
            "corpora": corpora,
            "samples": [
                {
                    "rule": EXACT if each.exact else NEAR,
                    "similarity": round(each.similarity, 4),
                    "removed": shown[each.number],
                    "kept": shown[each.kept],
                }
                for each in wanted
            ],
            "candidates": self.candidates,
            "pairs_checked": self.pairs_checked,
            "memory_mb_per_million_documents": self._bytes_per_document(),
            "options": self.options(),
            **self.broken.report(),
            "input": rewrite.named(self.shards),
            "tool": f"haigo {__version__}",
        }

    def options(self) -> dict[str, Any]:
        """What the result depends on, beside the documents."""
        named = ["threshold", "shingle", "bands", "rows", "seed"] if self.asked.method == "minhash" else []
        given = {"method": self.asked.method, "priority": list(self.corpora)}
        return given | {name: getattr(self.asked, name) for name in named}

    def _bytes_per_document(self) -> int:
        return self.shape.bins + 4 * self.shape.bands + 4 + 16 + 8 + _BYTES_MORE

    def _require_memory(self) -> None:
        """Refuse what would be killed half-way, as far as the reports tell how many documents there are."""
        count = sum(documents.report(folder).get("documents_out", 0) for folder in self.corpora.values())
        need = count * self._bytes_per_document()
        free = memory.available()
        if need > free:
            raise HaigoError(
                f"{count:,} documents need about {need / 1e9:,.1f} GB of memory, and {free / 1e9:,.1f} GB are free.",
                "dedup fewer corpora at a time, use fewer --bands, or take a larger machine",
                option="bands",
            )

    def _sketch(self) -> Sketches:
        self.work.mkdir(parents=True, exist_ok=True)
        work = {
            f"{number}": partial(dedup_shard.sketch, shard, self.shape, str(self._file("sketch", shard)))
            for number, shard in enumerate(self.shards)
        }
        pool.run_shown("dedup: sketches", work, self.asked.workers)
        for shard in self.shards:
            with np.load(self._file("sketch", shard)) as made_of_it:
                self.starts.append(self.starts[-1] + len(made_of_it["sizes"]))
        rewrite.tell_changed(self.corpora, self.shards, (end - start for start, end in itertools.pairwise(self.starts)))
        # room for all at once, filled shard by shard: joining lots would hold everything twice
        empty = Sketcher(self.shape).sketch([])
        rooms = {
            name: np.empty((self.starts[-1], *getattr(empty, name).shape[1:]), getattr(empty, name).dtype)
            for name in ARRAYS
        }
        for number, shard in enumerate(self.shards):
            with np.load(self._file("sketch", shard)) as made_of_it:
                for name, room in rooms.items():
                    room[self.starts[number] : self.starts[number + 1]] = made_of_it[name]
        return Sketches(**rooms)

    def _near(self, sketches: Sketches, gone: list[int]) -> list[Removal]:
        likely = near_pairs.candidates(sketches, gone, self.asked.threshold)
        self.candidates = len(likely.numbers)
        if not self.candidates:
            return []
        numbers = likely.numbers.tolist()
        work, first = {}, []
        for number, shard in enumerate(self.shards):
            low, high = (bisect.bisect_left(numbers, self.starts[number + each]) for each in (0, 1))
            first.append(low)
            if high > low:
                places = [each - self.starts[number] for each in numbers[low:high]]
                kept = str(self._file("shingles", shard))
                work[f"{number}"] = partial(dedup_shard.shingles, shard, self.shape, places, kept)
        pool.run_shown("dedup: candidates", work, self.asked.workers)
        lots: dict[int, tuple[Hashes, Any]] = {}
        for number in map(int, work):
            file = self._file("shingles", self.shards[number])
            lots[number] = (np.load(f"{file}.npy", mmap_mode="r"), np.load(f"{file}.ends.npy"))

        def shingles(place: int) -> Hashes:
            number = bisect.bisect_right(first, place) - 1  # never a shard without one: the next begins where it does
            hashes, ends = lots[number]
            at = place - first[number]
            return np.asarray(hashes[ends[at] : ends[at + 1]])

        with Progress("dedup: pairs", self.candidates, "candidates") as progress:
            removals, self.pairs_checked = near_pairs.near(
                sketches, likely, shingles, self.asked.threshold, lambda: progress.update()
            )
        for shard in self.shards:
            for stale in self.work.glob(f"{self._file('shingles', shard).name}.*"):
                files.remove(stale)
        return removals

    def _file(self, kind: str, shard: CorpusShard) -> Path:
        recipe = files.digest([shard.sha256, self.shape.shingle, self.shape.bands, self.shape.rows, self.shape.seed])
        return self.work / f"{kind}-{shard.corpus}-{shard.split}-{Path(shard.path).name[:5]}-{recipe[:16]}"

    def _place(self, number: int) -> tuple[int, int]:
        shard = bisect.bisect_right(self.starts, number) - 1
        return shard, number - self.starts[shard]

    def _corpus(self, name: str, sketches: Sketches, removals: list[Removal]) -> dict[str, Any]:
        counts = [
            self.starts[number + 1] - self.starts[number]
            for number, shard in enumerate(self.shards)
            if shard.corpus == name
        ]
        row: dict[str, Any] = {"documents_in": sum(counts), EXACT: 0, NEAR: 0, "repeats_of": {}}
        for each in removals:
            if self.shards[self._place(each.number)[0]].corpus == name:
                row[EXACT if each.exact else NEAR] += 1
                of = self.shards[self._place(each.kept)[0]].corpus
                row["repeats_of"][of] = row["repeats_of"].get(of, 0) + 1
        return row

    def _samples(self, removals: list[Removal]) -> list[Removal]:
        """A few of each rule; of the near ones the least alike, which say most about the threshold."""
        equal = [each for each in removals if each.exact]
        alike = sorted((each for each in removals if not each.exact), key=lambda each: (each.similarity, each.number))
        return equal[:_SAMPLES] + alike[:_SAMPLES]

    def _openings(self, numbers: list[int]) -> dict[int, dict[str, str]]:
        shown = {}
        wanted: dict[int, set[int]] = {}
        for number in numbers:
            at, place = self._place(number)
            wanted.setdefault(at, set()).add(place)
        for number, places in wanted.items():
            shard = self.shards[number]
            for place, document in enumerate(shard.read()):
                if place in places:
                    about = {"corpus": shard.corpus, "split": shard.split, "id": document.id}
                    shown[self.starts[number] + place] = about | {"text": opening(document.text)}
                    if place == max(places):
                        break
        return shown


def table(report: Mapping[str, Any]) -> str:
    """The report as a few lines to read."""
    lines = [f"{report['documents_in']:,} documents in, {report['documents_out']:,} out"]
    for name, row in report["corpora"].items():
        of = ", ".join(f"{other} {count:,}" for other, count in row["repeats_of"].items())
        lines.append(
            f"  {name}: {row['documents_in']:,} documents, {row[EXACT]:,} equal to another, {row[NEAR]:,} nearly so"
            + (f" (of {of})" if of else "")
        )
    for sample in report["samples"]:
        lines.append(f"  {sample['rule']} {sample['similarity']:.3f}")
        lines += [f"      {sample[which]['corpus']} {sample[which]['text']!r}" for which in ("removed", "kept")]
    lines += broken_lines(report)
    lines.append(f"  memory: about {report['memory_mb_per_million_documents']} MB for a million documents")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    options = flags.parse("preprocess.dedup", __doc__, DedupCommand, argv)
    cli.show(dedup(options.folders, options.target, options), table, options.json)
    return cli.OK


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
