"""Raw corpora to cleaned documents, split into train, valid and test, with an account of what every rule removed.

    python -m preprocess.clean INPUT... --corpus NAME --output-dir DIR [--format auto] [--text-key text]
           [--profile auto] [--markup auto] [--pii mail,phone] [--hojichar FILTER] [--split 0.96,0.02,0.02] [--seed 1234]
           [--min-chars N] [--max-chars N] [--normalise invisible,kana] [--skip-broken N] [--unfinished] [--workers N]
           [--dry-run]

--profile auto takes markup away (wikitext, Aozora's notes, line ends) and judges nothing; web, encyclopaedia, news,
minutes, literature, code and english also drop what is not worth keeping in such a corpus. plain, wikitext and aozora
name the markup where it is told wrong; so does --markup beside a domain (--profile news --markup plain). --normalise takes
invisible characters out (zero-width, soft hyphens, direction marks; not where a script or an emoji needs them) and makes
half-width kana ordinary: by default invisible in the profiles of prose, both in web, none elsewhere. --hojichar
adds a filter of HojiChar's, may be given again: NAME:key=value.

INPUT is a file, a folder or a pattern: jsonl, parquet, txt, MediaWiki dumps, pages of the Diet minutes API, source files;
gz, zst, xz, bz2 and tar are looked into. Structured files that no reader is for (HTML, other XML, tables, dumps, subtitles)
are refused; --format txt reads them as they stand. --skip-broken N passes over rows that cannot be read, and names them.
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

from haigo import __version__, cli, digests, files, pool
from haigo.cli import HaigoError
from haigo.formats import documents
from haigo.formats.documents import Broken, Document
from haigo.formats.documents.broken import add_skip_broken, broken_lines
from haigo.progress import Progress

from . import cleaner, rules, sources, split
from .cleaner import MARKUPS, PROFILES, Kept, Recipe
from .fetch import card
from .normalise import chosen

SPLIT = (0.96, 0.02, 0.02)
SEED = 1234
_PARTIAL = ".partial"
_LISTED_FILES = 100
_NAMES = 100  # of unknown templates, the most frequent
_EVERYTHING = 1 << 62


def clean_corpus(
    name: str,
    paths: Sequence[str | os.PathLike[str]],
    output_dir: str | os.PathLike[str] | None,
    *,
    format: str = "auto",
    text_key: str = "text",
    profile: str = "auto",
    markup: str = "auto",
    min_chars: int | None = None,
    split_shares: Sequence[float] = SPLIT,
    seed: int = SEED,
    max_documents: int | None = None,
    max_chars: int | None = None,
    patterns: Iterable[str] = (),
    exclude: Iterable[str] = (),
    txt_documents: str = "auto",
    encoding: str = "auto",
    join: str = "speech",
    pii: Iterable[str] = (),
    filters: Iterable[str] = (),
    normalise: str | None = None,
    skip_broken: int = 0,
    unfinished: bool = False,
    workers: int = 1,
) -> dict[str, Any]:
    """Clean one corpus.

    Args:
        name: the corpus' name, as it will stand in mixtures.
        paths: files, folders or patterns, see `sources.read`.
        output_dir: where shards and report go; None writes nothing (a dry run).
        format, text_key, patterns, exclude, txt_documents, encoding, join: see `sources.read`.
        profile: one of cleaner.PROFILES; "auto" tells the markup of each document and judges nothing.
        markup: one of cleaner.MARKUPS: what all documents are written in; "auto" tells it of each.
        min_chars: shorter documents are dropped; None takes the profile's own limit.
        split_shares: shares of train, valid and test.
        seed: key of the split and of the sample.
        max_documents, max_chars: take a random sample of the raw documents, at most this large (one at least).
        pii: names of personal.RULES: what is masked.
        filters: of HojiChar, see `hojichar_steps.make`.
        normalise: "invisible", "kana", both with a comma, or "none"; None takes the profile's own, see `preprocess.normalise`.
        skip_broken: so many rows that cannot be read may be passed over; they are counted and named in the report.
        unfinished: take a fetched folder as it is, also without its data card; the report then says what was amiss.
        workers: processes; the result does not depend on it.

    Returns:
        The report, as written to clean.json.

    Raises:
        HaigoError: unreadable input, an unfinished fetch, no documents, or none left after cleaning.
    """
    recipe = Recipe(profile, min_chars, seed, tuple(pii), tuple(filters), markup, normalise)
    recipe.check()
    shares = split.fractions(split_shares)
    wanted, unwanted = list(patterns), list(exclude)
    found = sources.input_files(paths, wanted, unwanted)
    amiss = card.problem(paths, found)
    if amiss and not unfinished:
        raise HaigoError(amiss, card.FIX)
    inputs = _inputs(found)
    broken, passed_over = Broken(skip_broken), Counter[str]()
    stream = sources.read(
        paths,
        format,
        text_key,
        patterns=wanted,
        exclude=unwanted,
        documents=txt_documents,
        encoding=encoding,
        join=join,
        broken=broken,
        passed_over=passed_over,
    )
    options = {
        "profile": profile,
        "markup": markup,
        "text_key": text_key,
        "min_chars": min_chars,
        "split": list(shares),
        "seed": seed,
        "max_documents": max_documents,
        "max_chars": max_chars,
        "patterns": wanted,
        "exclude": unwanted,
        "txt_documents": txt_documents,
        "encoding": encoding,
        "join": join,
        "pii": list(recipe.pii),
        "filters": list(recipe.filters),
        "normalise": list(chosen(normalise, profile)),
    }
    run = _Run(name, recipe, workers, broken)
    run.amiss, run.passed_over = amiss, passed_over
    if not (unfinished or wanted or unwanted) and format in ("auto", "jsonl"):
        run.promised = card.promised(paths)
    run.source = str(paths[0]) + (f" and {len(paths) - 1} more" if len(paths) > 1 else "")
    if output_dir is None:
        with tempfile.TemporaryDirectory() as scratch:
            splits = run.write(_sampled(stream, run, seed, max_documents, max_chars), Path(scratch), shares)
        return run.report(splits, inputs, format, options)
    folder = Path(output_dir)
    documents.claim(folder, [path for path, _ in found], [Path(each) for each in paths if Path(each).is_dir()])
    with files.owner(folder):
        partial = folder / _PARTIAL
        files.remove_leftovers(folder, below=False)
        documents.take_over_partial(folder, partial)
        files.remove_tree(partial)
        splits = run.write(_sampled(stream, run, seed, max_documents, max_chars), partial, shares)
        report = run.report(splits, inputs, format, options)
        files.remove(folder / documents.REPORT)
        for part in documents.SPLITS:
            files.remove_tree(folder / part)
            (partial / part).mkdir(parents=True, exist_ok=True)
            files.move(partial / part, folder / part)
        files.remove_tree(partial)
        files.write_json(folder / documents.REPORT, report)
    return report


def _inputs(found: list[tuple[Path, str]]) -> list[dict[str, Any]]:
    """What was read: each file, or one row for all when they are many (a source tree)."""
    rows = [{"path": key, "bytes": path.stat().st_size, "sha256": digests.sha256(path)} for path, key in found]
    if len(rows) <= _LISTED_FILES:
        return rows
    together = {"path": f"{len(rows)} files", "bytes": sum(int(str(row["bytes"])) for row in rows)}
    return [together | {"sha256": files.digest(rows)}]


class _Run:
    """One pass over a corpus and its figures."""

    def __init__(self, name: str, recipe: Recipe, workers: int, broken: Broken) -> None:
        self.name, self.recipe, self.workers, self.broken = name, recipe, workers, broken
        self.source = ""
        self.amiss: str | None = None
        self.promised: int | None = None
        self.passed_over: Counter[str] = Counter()
        self.account = rules.Account()
        self.documents_in = self.characters_in = 0
        self.profiles: dict[str, int] = {}
        self.of_file: Counter[str] = Counter()
        self._seen: set[bytes] = set()

    def count(self, stream: Iterable[Document]) -> Iterator[Document]:
        """Pass documents on, counting what comes in."""
        with Progress(f"clean {self.name}", None, "documents") as progress:
            for document in stream:
                self.documents_in += 1
                self.characters_in += len(document.text)
                if document.meta.keys() == {"file"}:  # of a text that blank lines may part
                    self.of_file[document.meta["file"]] += 1
                progress.update()
                yield document

    def write(self, stream: Iterable[Document], folder: Path, shares: tuple[float, float, float]) -> dict[str, Any]:
        """Clean, drop and write; returns what each split holds."""
        writer = split.SplitWriter(folder, shares, self.recipe.seed)
        for lot in pool.ordered(partial(cleaner.clean_lot, self.recipe), cleaner.lots(stream), self.workers):
            self.account.merge(lot.account)
            for kind, count in lot.profiles.items():
                self.profiles[kind] = self.profiles.get(kind, 0) + count
            for kept in lot.kept:
                if self._is_new(kept):
                    writer.add(kept.line, kept.value)
        splits = writer.close()
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
            self.account.note("duplicate", kept.line.characters, rules.opening(text))
            return False
        self._seen.add(kept.key)
        return True

    def report(
        self, splits: dict[str, Any], inputs: list[dict[str, Any]], format: str, options: dict[str, Any]
    ) -> dict[str, Any]:
        """The report of clean.json."""
        out = {key: sum(row[key] for row in splits.values()) for key in ("documents", "characters", "bytes")}
        return {
            "corpus": self.name,
            "documents_in": self.documents_in,
            "characters_in": self.characters_in,
            "documents_out": out["documents"],
            "characters_out": out["characters"],
            "bytes_out": out["bytes"],
            "rules": {name: _most_named(row) for name, row in self.account.rules.items()},
            "profiles": self.profiles,
            "splits": splits,
            "input": inputs,
            "format": format,
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


def _sampled(
    stream: Iterator[Document], run: _Run, seed: int, max_documents: int | None, max_chars: int | None
) -> Iterable[Document]:
    counted = run.count(stream)
    if max_documents is None and max_chars is None:
        return counted
    sample = documents.draw(counted, _EVERYTHING if max_chars is None else max_chars, seed, max_documents)
    left_out = run.documents_in - len(sample)
    if left_out:
        gone = run.characters_in - sum(len(document.text) for document in sample)
        run.account.rules["not_drawn"] = {"documents": left_out, "characters": gone, "samples": []}
    return sample


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
    told = ", ".join(f"{name} {count:,}" for name, count in report["profiles"].items())
    lines.append(f"  read as: {told}")
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
    parser = cli.parser("preprocess.clean", __doc__)
    parser.add_argument("inputs", nargs="+", metavar="INPUT", help="files, folders or patterns")
    parser.add_argument("--corpus", required=True, help="name of the corpus")
    parser.add_argument("--output-dir", "--output_dir", help="folder for shards and report (not with --dry-run)")
    parser.add_argument("--format", choices=sources.FORMATS, default="auto", help="default: told by each file")
    parser.add_argument("--text-key", "--text_key", default="text", help="key or column of the text")
    parser.add_argument("--profile", choices=PROFILES, default="auto", help="which rules apply")
    parser.add_argument(
        "--markup",
        choices=MARKUPS,
        default="auto",
        help="what every document is written in (default: told by its text)",
    )
    parser.add_argument("--pii", default="", help="mask personal information: mail,phone (default: nothing)")
    parser.add_argument(
        "--hojichar", action="append", default=[], metavar="FILTER", help="a filter of HojiChar's as a step"
    )
    parser.add_argument("--normalise", "--normalize", help="invisible,kana or none (default: the profile's own)")
    parser.add_argument("--split", default=",".join(map(str, SPLIT)), help="shares of train,valid,test")
    parser.add_argument("--seed", type=cli.seed, default=SEED, help="key of the split and of samples (default 1234)")
    parser.add_argument("--min-chars", "--min_chars", type=int, help="drop shorter documents (default: the profile's)")
    parser.add_argument("--max-chars", "--max_chars", type=int, help="clean a random sample of at most this much")
    parser.add_argument("--max-documents", "--max_documents", type=int, help="the same, in documents")
    parser.add_argument("--pattern", action="append", default=[], help="of folders, only files such as '*.py'")
    parser.add_argument("--exclude", action="append", default=[], help="of folders, no file or folder of this name")
    parser.add_argument(
        "--documents", choices=("auto", "file", "blank-lines"), default="auto", help="how txt is parted"
    )
    parser.add_argument("--encoding", default="auto", help="of txt and source files (default: detected)")
    parser.add_argument("--join", choices=("speech", "meeting"), default="speech", help="minutes: what a document is")
    parser.add_argument(
        "--unfinished", action="store_true", help="take a fetched folder that is not whole all the same"
    )
    add_skip_broken(parser)
    parser.add_argument("--workers", type=cli.few, default=1, help="processes (default 1)")
    parser.add_argument("--dry-run", "--dry_run", action="store_true", help="write nothing, print what would be done")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    args = parser.parse_args(argv)
    if not args.dry_run and not args.output_dir:
        raise HaigoError(
            "--output-dir is missing.", "name a folder, or give --dry-run", option=("output_dir", "dry_run")
        )
    try:
        shares = [float(part) for part in args.split.split(",")]
    except ValueError:
        raise HaigoError(
            f"--split {args.split} is not three numbers.", "give such as 0.96,0.02,0.02", option="split"
        ) from None
    report = clean_corpus(
        args.corpus,
        args.inputs,
        None if args.dry_run else args.output_dir,
        format=args.format,
        text_key=args.text_key,
        profile=args.profile,
        markup=args.markup,
        min_chars=args.min_chars,
        split_shares=shares,
        seed=args.seed,
        max_documents=args.max_documents,
        max_chars=args.max_chars,
        patterns=args.pattern,
        exclude=args.exclude,
        txt_documents=args.documents,
        encoding=args.encoding,
        join=args.join,
        pii=[name for name in args.pii.split(",") if name],
        filters=args.hojichar,
        normalise=args.normalise,
        skip_broken=args.skip_broken,
        unfinished=args.unfinished,
        workers=args.workers,
    )
    cli.show(report, table, args.json)
    return cli.OK


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
