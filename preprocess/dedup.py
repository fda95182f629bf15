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
Documents of which very many are alike (pages of a template) are held against some of these only; the
report says how many were likely left in, by that and because they share no bucket. Memory: about 0.11 GB for a million
documents, at most --memory-gb a process.
A killed run goes on with the shards that were not finished.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from haigo import cli, files, flags, memory, pool
from haigo.cli import HaigoError
from haigo.formats import documents
from haigo.formats.documents.broken import broken_lines

from . import dedup_plan, dedup_report, dedup_steps, rewrite
from .dedup_plan import Job
from .dedup_report import EXACT, NEAR
from .options import DedupCommand, DedupOptions

REPORT = "dedup.json"
_TASKS = 50  # of a worker: a progress line moves
_SAID = 1 << 30  # bytes of text from which on it is worth a sentence


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
    _require(corpora, options, Path(output_dir) if output_dir else None)
    if output_dir is None:
        with tempfile.TemporaryDirectory() as scratch:
            job = Job(tuple((name, str(folder), None) for name, folder in corpora.items()), scratch, scratch, options)
            _run_here(job, options.workers)
            return dedup_report.report(job, job.plan())
    target = Path(output_dir)
    rewrite.claim(corpora, target, REPORT)
    with files.owner(target):
        rewrite.remove_leftovers(corpora, target)
        work = target / rewrite.PARTIAL
        rows = tuple((name, str(folder), str(target / name)) for name, folder in corpora.items())
        _run_here(Job(rows, str(target), str(work), options, options.workers, str(target / REPORT)), options.workers)
        files.remove_tree(work)
    return dict(files.read_json(target / REPORT))


def _run_here(job: Job, workers: int) -> None:
    """Do all steps on this machine; the first error stops them."""
    for name, (step, _) in dedup_steps.steps(job).items():
        tasks = min(len(step.pieces()), _TASKS * workers)
        pool.run_shown(
            name.replace("-", ": "), {f"{rank}": partial(_do, step, rank, tasks) for rank in range(tasks)}, workers
        )


def _do(step: dedup_steps.DedupStep, rank: int, tasks: int) -> None:
    for piece in step.pieces()[rank::tasks]:
        piece.work()


def _require(corpora: Mapping[str, Path], options: DedupOptions, target: Path | None) -> None:
    """Say what it takes, as far as the reports tell how much there is, and refuse what would be killed half-way."""
    reports = [documents.report(folder) for folder in corpora.values()]
    count, size = (sum(each.get(key, 0) for each in reports) for key in ("documents_out", "bytes_out"))
    need, free = dedup_plan.memory(count), memory.available()
    disk = dedup_plan.disk(count, size)
    if size > _SAID:
        print(
            f"haigo: dedup: {count:,} documents; about {need / 1e9:.1f} GB of memory for each of {options.workers}"
            f" workers, and {disk / 1e6:,.0f} MB of disk.",
            file=sys.stderr,
        )
    if need > free:
        raise HaigoError(
            f"{count:,} documents need about {need / 1e9:,.1f} GB of memory, and {free / 1e9:,.1f} GB are free.",
            "dedup fewer corpora at a time, or take a larger machine",
        )
    if target is not None:
        files.require_space(target, int(size * dedup_plan.KEPT_PER_BYTE), "the documents that stay")


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
    if left_in := report.get("left_in"):
        lines.append(
            f"  about {left_in['documents']:,} documents that nearly repeat another are likely left in (worked out from those"
            " that were found)"
        )
        if left_in["crowded"]:
            lines.append(
                f"  {left_in['crowded']:,} documents are one of very many that are alike (pages of a template), and were held"
                f" against some of these only: about {left_in['for_crowds']:,} of those left in are there for that"
            )
    lines += broken_lines(report)
    lines.append(f"  memory: about {report['memory_mb_per_million_documents']} MB for a million documents")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    options = flags.parse("preprocess.dedup", __doc__, DedupCommand, argv)
    cli.show(dedup(options.folders, options.target, options), table, options.json)
    return cli.OK


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
