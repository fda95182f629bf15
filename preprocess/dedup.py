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
Memory: about 0.11 GB for a million documents. A killed run goes on with the shards that were not finished.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from haigo import cli, files, flags, memory
from haigo.cli import HaigoError
from haigo.formats import documents
from haigo.formats.documents.broken import broken_lines

from . import dedup_report, rewrite
from .dedup_report import EXACT, NEAR
from .dedup_steps import Job, run_here, steps
from .options import DedupCommand, DedupOptions

REPORT = "dedup.json"


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
    _require_memory(corpora)
    if output_dir is None:
        with tempfile.TemporaryDirectory() as scratch:
            job = _job(corpora, Path(scratch), scratch, options)
            run_here({name: each for name, each in steps(job).items() if name != "drop"}, options.workers)
            return dedup_report.report(job, job.plan())
    target = Path(output_dir)
    rewrite.claim(corpora, target, REPORT)
    with files.owner(target):
        rewrite.remove_leftovers(corpora, target)
        work = target / rewrite.PARTIAL
        job = _job(corpora, target, str(work), options, str(target / REPORT))
        run_here(steps(job), options.workers)
        files.remove_tree(work)
    return dict(files.read_json(target / REPORT))


def _job(corpora: Mapping[str, Path], target: Path, work: str, options: DedupOptions, report: str | None = None) -> Job:
    rows = tuple((name, str(folder), str(target / name)) for name, folder in corpora.items())
    return Job(rows, work, options, options.workers, report)


def _require_memory(corpora: Mapping[str, Path]) -> None:
    """Refuse what would be killed half-way, as far as the reports tell how many documents there are."""
    count = sum(documents.report(folder).get("documents_out", 0) for folder in corpora.values())
    need, free = count * dedup_report.MEGABYTES, memory.available()
    if need > free:
        raise HaigoError(
            f"{count:,} documents need about {need / 1e9:,.1f} GB of memory, and {free / 1e9:,.1f} GB are free.",
            "dedup fewer corpora at a time, or take a larger machine",
        )


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
