"""One pass over a corpus: its documents as they come, what cleaning made of them, and the figures of both."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from haigo import __version__, digests, files, pool
from haigo.cli import HaigoError
from haigo.formats import documents
from haigo.formats.documents import Broken, Document
from haigo.progress import Progress

from . import clean_parts, cleaner, site_lines, sources, split
from .account import Account, opening
from .cleaner import Kept, Lot
from .fetch import card
from .options import CleanOptions
from .rules.normalise import chosen

PARTIAL = ".partial"
PARTS, PAGES = "parts", "pages"
_LISTED_FILES = 100
_NAMES = 100  # of unknown templates, the most frequent
_EVERYTHING = 1 << 62
KEPT_FROM = 32 << 20  # bytes of input: what is cleaned sooner than that is cleaned anew
_NOTED = (
    "profile", "markup", "text_key", "min_chars", "split", "seed", "max_documents", "max_chars", "patterns", "exclude",
    "txt_documents", "encoding", "join", "pii", "filters", "normalise",
    "keep_urls", "drop_urls", "languages",
)  # fmt: skip
"""Options that clean.json names, in its order."""


class Reading:
    """What was read, in figures.

    Attributes:
        documents, characters: read.
        broken: rows that were passed over. passed_over: what is no document, by its kind.
        of_file: of texts that blank lines may part, how many documents each is.
    """

    def __init__(self, skip_broken: int = 0) -> None:
        self.documents = self.characters = 0
        self.broken, self.passed_over, self.of_file = Broken(skip_broken), Counter[str](), Counter[str]()

    def counted(self, stream: Iterable[Document]) -> Iterator[Document]:
        """Documents as they come."""
        for document in stream:
            self.documents += 1
            self.characters += len(document.text)
            if document.meta.keys() == {"file"}:
                self.of_file[document.meta["file"]] += 1
            yield document

    def noted(self) -> dict[str, Any]:
        """All of it as JSON, for `take`."""
        counts = {"documents": self.documents, "characters": self.characters}
        over = {"passed_over": dict(self.passed_over), "of_file": dict(self.of_file)}
        return counts | over | {"broken": [self.broken.count, self.broken.named]}

    def take(self, noted: Mapping[str, Any]) -> None:
        """Add what another process has read.

        Raises:
            HaigoError: more rows are broken than may be.
        """
        self.documents += noted["documents"]
        self.characters += noted["characters"]
        self.passed_over.update(noted["passed_over"])
        self.of_file.update(noted["of_file"])
        if noted["broken"][0]:
            self.broken.take(*noted["broken"])


def recipe(options: CleanOptions) -> list[Any]:
    """What cleaning depends on beside its input."""
    asked = {each.name: getattr(options, each.name) for each in dataclasses.fields(CleanOptions)}
    lists = [digests.sha256(each) for each in (*options.keep_urls, *options.drop_urls)]
    return [{key: value for key, value in asked.items() if key not in ("workers", "skip_broken")}, lists, __version__]


class Cleaning:
    """One pass over a corpus and its figures.

    Args:
        part: these are not all files of the corpus, so that there may be none of their documents left.
    """

    def __init__(
        self, name: str, paths: Sequence[str | os.PathLike[str]], options: CleanOptions, part: bool = False
    ) -> None:
        cleaner.check(options)
        self.name, self.paths, self.options, self.part = name, paths, options, part
        self.shares = split.fractions(options.split_shares)
        self.found = sources.input_files(paths, options.patterns, options.exclude)
        self.amiss = card.problem(paths, self.found)
        if self.amiss and not options.unfinished:
            raise HaigoError(self.amiss, card.FIX, option="unfinished")
        every = not (options.unfinished or options.patterns or options.exclude)
        self.promised = card.promised(paths) if every and options.format in ("auto", "jsonl") else None
        self.inputs = self._inputs()
        self.source = str(paths[0]) + (f" and {len(paths) - 1} more" if len(paths) > 1 else "")
        self.read = Reading(options.skip_broken)
        self.account = Account()
        self.profiles: Counter[str] = Counter()
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
        stream = sources.read(self.paths, self.options, broken=self.read.broken, passed_over=self.read.passed_over)
        with Progress(f"clean {self.name}", None, "documents") as progress:
            for document in self.read.counted(stream):
                progress.update()
                yield document

    def _pages(self, folder: Path) -> Iterator[Document]:
        """The same; pages know which of their lines the site repeats."""
        return site_lines.marked(self._read(), folder / PAGES, cleaner.site_pages(self.options))

    def _drawn(self, folder: Path) -> Iterable[Document]:
        """Those that are cleaned: all, or a random sample."""
        most, chars = self.options.max_documents, self.options.max_chars
        if most is None and chars is None:
            return self._pages(folder)
        sample = documents.draw(self._pages(folder), _EVERYTHING if chars is None else chars, self.options.seed, most)
        left_out = self.read.documents - len(sample)
        if left_out:
            gone = self.read.characters - sum(len(document.text) for document in sample)
            self.account.rules["not_drawn"] = {"documents": left_out, "characters": gone, "samples": []}
        return sample

    def _lots(self, folder: Path) -> Iterator[Lot]:
        """Cleaned lots in order; of a large corpus they are written down as they come, and what a killed run wrote is read."""
        stream, work = cleaner.lots(self._drawn(folder)), partial(cleaner.clean_lot, self.options)
        if sum(path.stat().st_size for path, _ in self.found) < KEPT_FROM:
            yield from pool.ordered(work, stream, self.options.workers)
            return
        parts = clean_parts.Parts(folder / PARTS, self.recipe())
        for count, lot in parts.done():
            for _ in zip(range(count), stream, strict=False):
                pass  # its documents are read again, which counts them, and not cleaned again
            yield lot
        if parts.count:
            print(f"haigo: clean {self.name}: goes on after {self.read.documents:,} documents.", file=sys.stderr)
        yield from parts.keep(pool.ordered(work, stream, self.options.workers))

    def recipe(self) -> str:
        """Digest of all that cleaned lots depend on."""
        return files.digest([self.name, self.inputs, *recipe(self.options)])

    def write(self, folder: Path, lots: Iterable[Lot] | None = None) -> dict[str, Any]:
        """Clean, drop and write; returns what each split holds.

        Args:
            folder: a scratch folder.
            lots: cleaned lots in order, where that was done elsewhere (with `counted`).
        """
        writer = split.SplitWriter(folder, self.shares, self.options.seed)
        for lot in self._lots(folder) if lots is None else lots:
            self.account.merge(lot.account)
            self.profiles.update(lot.profiles)
            for kept in lot.kept:
                if self._is_new(kept):
                    writer.add(kept.line, kept.value)
        splits = writer.close()
        files.remove_tree(folder / PAGES)
        if self.promised not in (None, self.read.documents + self.read.broken.count):
            raise HaigoError(
                f"{self.source} holds {self.read.documents:,} documents, and its data card says {self.promised:,}.",
                card.FIX,
            )
        if not self.read.documents:
            raise HaigoError(
                f"{self.source}: the corpus '{self.name}' has no document in it.",
                "check the input files and --format",
                option="format",
            )
        if not sum(row["documents"] for row in splits.values()):
            if self.part:
                print(f"haigo: no document of {self.source} stays ({self.read.documents:,} came in).", file=sys.stderr)
                return splits
            raise HaigoError(
                f"no document of the corpus '{self.name}' is left after cleaning ({self.read.documents:,} came in).",
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
            "documents_in": self.read.documents,
            "characters_in": self.read.characters,
            "documents_out": out["documents"],
            "characters_out": out["characters"],
            "bytes_out": out["bytes"],
            "rules": {name: _most_named(row) for name, row in self.account.rules.items()},
            "profiles": dict(self.profiles),
            "splits": splits,
            "input": self.inputs,
            "format": self.options.format,
            "options": options,
            **self.read.broken.report(),
            **({"passed_over": dict(self.read.passed_over)} if self.read.passed_over else {}),
            **self._parted(),
            **({"unfinished": self.amiss} if self.amiss else {}),
            "tool": f"haigo {__version__}",
        }

    def _parted(self) -> dict[str, Any]:
        """Text files that were taken for several documents, which a book in chapters is not."""
        counts = [count for count in self.read.of_file.values() if count > 1]
        return {"parted": {"files": len(counts), "documents": sum(counts)}} if counts else {}


def _most_named(row: dict[str, Any]) -> dict[str, Any]:
    if "names" not in row:
        return row
    order = sorted(row["names"].items(), key=lambda item: (-item[1], item[0]))
    return row | {"names": dict(order[:_NAMES])}
