"""Raw corpora to cleaned documents, split into train, valid and test, with an account of what every rule removed.

    python -m preprocess.clean INPUT... --corpus NAME --output-dir DIR [--format auto] [--text-key text]
           [--profile auto] [--markup auto] [--pii mail,phone,address] [--hojichar FILTER] [--split 0.96,0.02,0.02]
           [--seed 1234] [--min-chars N] [--max-chars N] [--normalise invisible,kana] [--skip-broken N] [--unfinished]
           [--workers N] [--keep-urls FILE] [--drop-urls FILE] [--languages ja,en] [--site-pages N] [--dry-run]

--profile auto takes markup away (wikitext, Aozora's notes, line ends) and judges nothing; web, manual, encyclopaedia, news,
minutes, literature, code and english also drop what is not worth keeping in such a corpus. plain, wikitext and aozora
name the markup where it is told wrong; so does --markup beside a domain (--profile news --markup plain). --normalise takes
invisible characters out (zero-width, soft hyphens, direction marks; not where a script or an emoji needs them) and makes
half-width kana ordinary: by default invisible in the profiles of prose, both in web, none elsewhere. --hojichar
adds a filter of HojiChar's, may be given again: NAME:key=value.

INPUT is a file, a folder or a pattern: jsonl, parquet, txt, MediaWiki dumps, pages of the Diet minutes API, source files, web
pages (.html) and web archives (.warc, .wet); gz, zst, xz, bz2 and tar are looked into. Structured files that no reader is for
(other XML, tables, dumps, subtitles) are refused; --format txt reads them as they stand. --keep-urls and --drop-urls name lists
of hosts (example.jp: those below it too), beginnings of addresses (example.jp/tag/) and patterns (*.jp/print/*), one a line.
--languages drops what is in other ones. Lines that stand on --site-pages N pages of a host, and on a fifth of its pages, are
taken out: 3 in web, elsewhere off. --skip-broken N passes over rows that cannot be read, and names them.
A folder of preprocess.fetch that was broken off, or that does not hold what its data card says, is refused unless
--unfinished is given. Writes DIR/{train,valid,test}/00000.jsonl.zst and DIR/clean.json, the report, which is written last:
a folder without it is not finished. --dry-run only prints what the rules would do. Memory: 0.085 GB for a million documents
that stay, by which exact repeats are told, and what a batch of each worker takes.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from haigo import cli, files, flags, naming
from haigo.formats import documents
from haigo.formats.documents.broken import broken_lines

from .cleaner import Lot
from .cleaning import PARTIAL, PARTS, Cleaning
from .options import CleanCommand, CleanOptions


def clean_corpus(
    name: str,
    paths: Sequence[str | os.PathLike[str]],
    output_dir: str | os.PathLike[str] | None,
    options: CleanOptions | None = None,
    **given: Any,
) -> dict[str, Any]:
    """Clean one corpus.

    Args:
        name: the corpus' name, as it will stand in mixtures.
        paths: files, folders or patterns, see `sources.read`.
        output_dir: where shards and report go; None writes nothing (a dry run).
        options: or its fields by name.

    Returns:
        The report, as written to clean.json.

    Raises:
        HaigoError: unreadable input, an unfinished fetch, no documents, or none left after cleaning.
    """
    options = options or CleanOptions(**given)
    run = Cleaning(name, paths, options)
    if output_dir is None:
        with tempfile.TemporaryDirectory() as scratch:
            return run.report(run.write(Path(scratch)))
    return write(run, Path(output_dir))


def write(run: Cleaning, folder: Path, lots: Iterable[Lot] | None = None) -> dict[str, Any]:
    """Clean a corpus into its folder, or put cleaned lots there (see `Cleaning.write`); its report.

    Raises:
        HaigoError: as `clean_corpus`.
    """
    recursive = [Path(each) for each in run.paths if Path(each).is_dir()]
    documents.claim(folder, [path for path, _ in run.found], recursive)
    with files.owner(folder):
        partial = folder / PARTIAL
        files.remove_leftovers(folder, below=False)
        documents.take_over_partial(folder, partial)
        for each in partial.iterdir() if partial.is_dir() else ():
            if each.name != PARTS:  # what a killed run has finished is gone on from
                files.remove_tree(each)
        report = run.report(run.write(partial, lots))
        files.remove(folder / documents.REPORT)
        for part in documents.SPLITS:
            files.remove_tree(folder / part)
            (partial / part).mkdir(parents=True, exist_ok=True)
            files.move(partial / part, folder / part)
        files.remove_tree(partial)
        files.write_json(folder / documents.REPORT, report)
    return report


def table(report: dict[str, Any]) -> str:
    """The report as a few lines to read."""
    lines = [f"unfinished: {report['unfinished']}"] if "unfinished" in report else []
    lines += [
        f"{report['corpus']}: {report['documents_in']:,} documents, {report['characters_in']:,} characters in; "
        f"{report['documents_out']:,} documents, {report['characters_out']:,} characters out"
    ]
    for name, row in report["rules"].items():
        lines.append(f"  {name}: {row['documents']:,} documents, {row['characters']:,} characters")
        lines += [f"      {sample!r}" for sample in row["samples"] if sample]
        if row.get("names"):
            lines.append("      " + ", ".join(f"{name} {count:,}" for name, count in [*row["names"].items()][:8]))
    kinds = ", ".join(f"{name} {count:,}" for name, count in report["profiles"].items())
    lines.append(f"  read as: {kinds}")
    if report.get("passed_over"):
        over = ", ".join(f"{reason} {count:,}" for reason, count in report["passed_over"].items())
        lines.append(f"  no documents: {over}")
    if parted := report.get("parted"):
        lines.append(
            f"  parted: {parted['files']:,} text files into {parted['documents']:,} documents"
            " (--documents file keeps each whole)"
        )
    shown = ", ".join(f"{name} {row['documents']:,}" for name, row in report["splits"].items())
    return "\n".join([*lines, *broken_lines(report), f"  splits: {shown}"])


def main(argv: Sequence[str] | None = None) -> int:
    options = flags.parse("preprocess.clean", __doc__, CleanCommand, argv)
    naming.check(options.corpus, "corpus", "--corpus")
    report = clean_corpus(options.corpus, options.inputs, options.target, options)
    cli.show(report, table, options.json)
    return cli.OK


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
