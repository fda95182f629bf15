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
a folder without it is not finished. --dry-run only prints what the rules would do.
"""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from haigo import __version__, cli, digests, files, flags, naming, pool
from haigo.cli import HaigoError
from haigo.formats import documents
from haigo.formats.documents import Broken, Document
from haigo.formats.documents.broken import broken_lines
from haigo.progress import Progress

from . import cleaner, site_lines, sources, split
from .account import Account, opening
from .cleaner import Kept
from .fetch import card
from .options import CleanCommand, CleanOptions
from .rules.normalise import chosen

_PARTIAL = ".partial"
_LISTED_FILES = 100
_NAMES = 100  # of unknown templates, the most frequent
_EVERYTHING = 1 << 62
_NOTED = (
    "profile", "markup", "text_key", "min_chars", "split", "seed", "max_documents", "max_chars", "patterns", "exclude",
    "txt_documents", "encoding", "join", "pii", "filters", "normalise",
    "keep_urls", "drop_urls", "languages",
)  # fmt: skip
"""Options that clean.json names, in its order."""


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
    run = _Cleaning(name, paths, options)
    if output_dir is None:
        with tempfile.TemporaryDirectory() as scratch:
            return run.report(run.write(Path(scratch)))
    folder = Path(output_dir)
    documents.claim(folder, [path for path, _ in run.found], [Path(each) for each in paths if Path(each).is_dir()])
    with files.owner(folder):
        partial = folder / _PARTIAL
        files.remove_leftovers(folder, below=False)
        documents.take_over_partial(folder, partial)
        files.remove_tree(partial)
        report = run.report(run.write(partial))
        files.remove(folder / documents.REPORT)
        for part in documents.SPLITS:
            files.remove_tree(folder / part)
            (partial / part).mkdir(parents=True, exist_ok=True)
            files.move(partial / part, folder / part)
        files.remove_tree(partial)
        files.write_json(folder / documents.REPORT, report)
    return report


class _Cleaning:
    """One pass over a corpus and its figures."""

    def __init__(self, name: str, paths: Sequence[str | os.PathLike[str]], options: CleanOptions) -> None:
        cleaner.check(options)
        self.name, self.paths, self.options = name, paths, options
        self.shares = split.fractions(options.split_shares)
        self.found = sources.input_files(paths, options.patterns, options.exclude)
        self.amiss = card.problem(paths, self.found)
        if self.amiss and not options.unfinished:
            raise HaigoError(self.amiss, card.FIX, option="unfinished")
        every = not (options.unfinished or options.patterns or options.exclude)
        self.promised = card.promised(paths) if every and options.format in ("auto", "jsonl") else None
        self.inputs = self._inputs()
        self.source = str(paths[0]) + (f" and {len(paths) - 1} more" if len(paths) > 1 else "")
        self.broken, self.passed_over = Broken(options.skip_broken), Counter[str]()
        self.account = Account()
        self.documents_in = self.characters_in = 0
        self.profiles: Counter[str] = Counter()
        self.of_file: Counter[str] = Counter()
        self._seen: set[bytes] = set()

    def _inputs(self) -> list[dict[str, Any]]:
        """What is read: each file, or one row for all when they are many (a source tree)."""
        rows = [{"path": key, "bytes": path.stat().st_size, "sha256": digests.sha256(path)} for path, key in self.found]
        if len(rows) <= _LISTED_FILES:
            return rows
        together = {"path": f"{len(rows)} files", "bytes": sum(int(str(row["bytes"])) for row in rows)}
        return [together | {"sha256": files.digest(rows)}]

    def _read(self) -> Iterator[Document]:
        """The documents as they come, counted."""
        stream = sources.read(self.paths, self.options, broken=self.broken, passed_over=self.passed_over)
        with Progress(f"clean {self.name}", None, "documents") as progress:
            for document in stream:
                self.documents_in += 1
                self.characters_in += len(document.text)
                if document.meta.keys() == {"file"}:  # of a text that blank lines may part
                    self.of_file[document.meta["file"]] += 1
                progress.update()
                yield document

    def _pages(self, folder: Path) -> Iterator[Document]:
        """The same; pages know which of their lines the site repeats."""
        return site_lines.marked(self._read(), folder / "pages", cleaner.site_pages(self.options))

    def _drawn(self, folder: Path) -> Iterable[Document]:
        """Those that are cleaned: all, or a random sample."""
        most, chars = self.options.max_documents, self.options.max_chars
        if most is None and chars is None:
            return self._pages(folder)
        sample = documents.draw(self._pages(folder), _EVERYTHING if chars is None else chars, self.options.seed, most)
        left_out = self.documents_in - len(sample)
        if left_out:
            gone = self.characters_in - sum(len(document.text) for document in sample)
            self.account.rules["not_drawn"] = {"documents": left_out, "characters": gone, "samples": []}
        return sample

    def write(self, folder: Path) -> dict[str, Any]:
        """Clean, drop and write; returns what each split holds."""
        writer = split.SplitWriter(folder, self.shares, self.options.seed)
        work = partial(cleaner.clean_lot, self.options)
        for lot in pool.ordered(work, cleaner.lots(self._drawn(folder)), self.options.workers):
            self.account.merge(lot.account)
            self.profiles.update(lot.profiles)
            for kept in lot.kept:
                if self._is_new(kept):
                    writer.add(kept.line, kept.value)
        splits = writer.close()
        files.remove_tree(folder / "pages")
        if self.promised not in (None, self.documents_in + self.broken.count):
            raise HaigoError(
                f"{self.source} holds {self.documents_in:,} documents, and its data card says {self.promised:,}.",
                card.FIX,
            )
        if not self.documents_in:
            raise HaigoError(
                f"{self.source}: the corpus '{self.name}' has no document in it.",
                "check the input files and --format",
                option="format",
            )
        if not sum(row["documents"] for row in splits.values()):
            raise HaigoError(
                f"no document of the corpus '{self.name}' is left after cleaning ({self.documents_in:,} came in).",
                "look at --dry-run, lower --min-chars or choose another --profile",
                option=("dry_run", "min_chars", "profile"),
            )
        return splits

    def _is_new(self, kept: Kept) -> bool:
        if kept.key in self._seen:
            shown = self.account.open_for_samples("duplicate")
            text = orjson.loads(kept.line.packed)["text"] if shown else ""
            self.account.note("duplicate", kept.line.characters, opening(text))
            return False
        self._seen.add(kept.key)
        return True

    def report(self, splits: dict[str, Any]) -> dict[str, Any]:
        """The report of clean.json; `splits` is what `write` gave."""
        out = {key: sum(row[key] for row in splits.values()) for key in ("documents", "characters", "bytes")}
        options = {key: getattr(self.options, key, None) for key in _NOTED}
        options |= {"site_pages": cleaner.site_pages(self.options)}
        options |= {"split": list(self.shares), "normalise": list(chosen(self.options.normalise, self.options.profile))}
        return {
            "corpus": self.name,
            "documents_in": self.documents_in,
            "characters_in": self.characters_in,
            "documents_out": out["documents"],
            "characters_out": out["characters"],
            "bytes_out": out["bytes"],
            "rules": {name: _most_named(row) for name, row in self.account.rules.items()},
            "profiles": dict(self.profiles),
            "splits": splits,
            "input": self.inputs,
            "format": self.options.format,
            "options": options,
            **self.broken.report(),
            **({"passed_over": dict(self.passed_over)} if self.passed_over else {}),
            **self._parted(),
            **({"unfinished": self.amiss} if self.amiss else {}),
            "tool": f"haigo {__version__}",
        }

    def _parted(self) -> dict[str, Any]:
        """Text files that were taken for several documents, which a book in chapters is not."""
        counts = [count for count in self.of_file.values() if count > 1]
        return {"parted": {"files": len(counts), "documents": sum(counts)}} if counts else {}


def _most_named(row: dict[str, Any]) -> dict[str, Any]:
    if "names" not in row:
        return row
    order = sorted(row["names"].items(), key=lambda item: (-item[1], item[0]))
    return row | {"names": dict(order[:_NAMES])}


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
            f"  parted at two blank lines: {parted['files']:,} text files into {parted['documents']:,} documents"
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
