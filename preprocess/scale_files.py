"""One input file of `preprocess.scale`: cleaned as it is, or cut into pieces that are cleaned by themselves and put together.

Below the folder of the run, of a file that is cut: `split/NUMBER.json` says where, `split/NUMBER/` holds its documents
where it cannot be sought, `parts/NUMBER/PIECE/` what cleaning made of each piece, and `parts/NUMBER/PIECE.json` that it is
finished. What is put together lies in `clean/NUMBER`, as of a file that was cleaned as a whole; the rest is removed then.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
from collections.abc import Iterator, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from haigo import __version__, digests, files, sealed
from haigo.cli import HaigoError
from haigo.formats import documents
from haigo.formats.documents import Document

from . import clean, cleaner, cleaning, documents_aside, scale_tasks
from .clean_parts import Parts
from .cleaner import Lot
from .options import CleanOptions
from .scale_tasks import Piece
from .sources import input_files, pieces

_PLAN = {"recipe": str, "mark": {"sha256": str}, "pieces": [object], "aside": {str: str}, "read": dict}
_NOTE = {"recipe": str, "parts": int, "read": dict}


@dataclasses.dataclass(frozen=True)
class How:
    """What is to be made of the input files; see `scale_steps`."""

    corpus: str
    output: str
    options: dict[str, Any]
    split_bytes: int

    @cached_property
    def clean(self) -> CleanOptions:
        """The options of cleaning."""
        return CleanOptions(**self.options)

    @property
    def whole(self) -> bool:
        """Whether files cannot be cut: a sample is drawn from each as a whole."""
        return self.clean.max_chars is not None or self.clean.max_documents is not None


def found(inputs: Sequence[str], how: How) -> list[File]:
    """The input files in order."""
    return [File(number, path, key, how) for number, (path, key) in enumerate(input_files(inputs))]


class File:
    """An input file and its places in the output.

    Attributes:
        name: its number, with five digits.
        size: in bytes.
        large: it is to be cut.
    """

    def __init__(self, number: int, path: Path, key: str, how: How) -> None:
        self.name, self.path, self.key, self.how = f"{number:05d}", path, key, how
        output = Path(how.output)
        self.folder, self._plan = output / "clean" / self.name, output / "split" / f"{self.name}.json"
        self._aside, self._parts = output / "split" / self.name, output / "parts" / self.name
        self.marker = self.folder.with_suffix(".json")
        self.size = path.stat().st_size if path.is_file() else 0
        self.large = bool(how.split_bytes) and self.size > how.split_bytes and not how.whole

    def failed(self, *steps: str) -> bool:
        """Whether it failed in one of the steps."""
        return self.name in scale_tasks.failed(self.how.output, *steps)

    # -- whole -----------------------------------------------------------------------------------------------------------

    def pieces(self) -> list[Piece]:
        """What there is to clean of it."""
        if not self.large:
            return [Piece(self.name, str(self.path), self.size, self._clean)]
        plan = self.plan()
        count = len(plan["pieces"]) or len(plan["aside"])
        each = self.size // max(1, count)
        return [
            Piece(f"{self.name}-{at:05d}", f"{self.path} ({at + 1} of {count})", each, partial(self._clean_piece, at))
            for at in range(count)
        ]

    def _recipe(self, sha256: str) -> str:
        made_from = [sha256, self.how.corpus, self.how.options, __version__]
        made_from += [
            digests.sha256(each) for key in ("keep_urls", "drop_urls") for each in self.how.options.get(key, ())
        ]
        return files.digest(made_from)

    def _clean(self) -> None:
        recipe = self._recipe(digests.sha256(self.path))
        if _finished(self.marker, self.folder, recipe):
            return
        files.remove(self.marker)
        clean.write(self._cleaning(), self.folder)
        sealed.write(self.marker, {"recipe": recipe, "outputs": digests.sums(self.folder)})

    def _cleaning(self) -> cleaning.Cleaning:
        return cleaning.Cleaning(self.how.corpus, [self.path], self.how.clean, part=True)

    # -- cut -------------------------------------------------------------------------------------------------------------

    def plan(self) -> dict[str, Any]:
        """Where it is cut.

        Raises:
            HaigoError: that was not found out yet.
        """
        try:
            return sealed.read(self._plan, _PLAN)[0]
        except HaigoError:
            raise HaigoError(f"{self.path} was not split yet.", "run the splitting step first") from None

    def _cut_recipe(self) -> str:
        return files.digest([cleaning.recipe(self.how.clean), self.how.split_bytes])

    def split(self) -> None:
        """Find out where it is cut, and lay its documents aside where it cannot be sought."""
        recipe = self._cut_recipe()
        before: dict[str, Any] = {}
        with contextlib.suppress(HaigoError):
            before = self.plan()
        mark = digests.mark(self.path, before.get("mark"))
        if before.get("recipe") == recipe and before["mark"]["sha256"] == mark["sha256"]:
            there = {name: self._aside / name for name in before["aside"]}
            whole = all(
                path.is_file() and digests.sha256(path) == before["aside"][name] for name, path in there.items()
            )
            if whole or _is(self.marker, self._recipe(mark["sha256"])):
                return
        files.remove(self._plan)
        files.remove_tree(self._aside)
        plan: dict[str, Any] = {"recipe": recipe, "mark": mark, "pieces": [], "aside": {}}
        plan["read"] = cleaning.Reading().noted()
        if self.how.clean.join == "speech" and cleaner.site_pages(self.how.clean) < 2:
            cuts = pieces.cut(self.path, self.key, self.how.clean, self.how.split_bytes)
            plan["pieces"] = [[each.kind, each.start, each.end] for each in cuts]
        if not plan["pieces"]:
            plan |= documents_aside.lay(self.path, self._aside, self.how.clean, self.how.split_bytes)
        sealed.write(self._plan, plan)

    def _documents(self, at: int, plan: dict[str, Any], read: cleaning.Reading) -> Iterator[Document]:
        """The documents of a piece; counted unless they were when they were laid aside."""
        if plan["aside"]:
            return documents_aside.read(self._aside / list(plan["aside"])[at])
        kind, start, end = plan["pieces"][at]
        piece = pieces.Piece(str(self.path), self.key, kind, start, end)
        return read.counted(piece.documents(self.how.clean, read.broken, read.passed_over))

    def _of_piece(self, at: int, plan: dict[str, Any]) -> tuple[Path, str]:
        """The folder of a piece's parts, and the digest of all that they depend on."""
        content = list(plan["aside"].items())[at] if plan["aside"] else plan["pieces"][at]
        recipe = [cleaning.recipe(self.how.clean), plan["mark"]["sha256"], list(content)]
        return self._parts / f"{at:05d}", files.digest(recipe)

    def _clean_piece(self, at: int) -> None:
        plan = self.plan()
        if not _is(self.marker, self._recipe(plan["mark"]["sha256"])):
            self._note(at, plan)

    def _note(self, at: int, plan: dict[str, Any], again: bool = False) -> dict[str, Any]:
        """What a cleaned piece came to; it is cleaned where that was not done yet, or `again` where a part is missing."""
        folder, recipe = self._of_piece(at, plan)
        marker = folder.with_suffix(".json")
        with contextlib.suppress(HaigoError):
            note, _ = sealed.read(marker, _NOTE)
            if note["recipe"] == recipe and not again:
                return note
        files.remove(marker)
        read = cleaning.Reading(self.how.clean.skip_broken)
        lots = cleaner.lots(self._documents(at, plan, read))
        parts = Parts(folder, recipe)
        for count, _ in parts.done():
            for _ in zip(range(count), lots, strict=False):
                pass
        for _ in parts.keep(map(partial(cleaner.clean_lot, self.how.clean), lots)):
            pass
        return sealed.write(marker, {"recipe": recipe, "parts": parts.count, "read": read.noted()})

    def gather(self) -> None:
        """Put its pieces together; one that is missing is cleaned here."""
        plan = self.plan()
        recipe = self._recipe(plan["mark"]["sha256"])
        if not _finished(self.marker, self.folder, recipe):
            files.remove(self.marker)
            if plan["aside"] and not self._aside.is_dir():  # what was put together before was changed since
                files.remove(self._plan)
                self.split()
                plan = self.plan()
            _believe(self.path, plan["mark"])
            run = self._cleaning()
            notes = [self._note(at, plan) for at in range(len(plan["pieces"]) or len(plan["aside"]))]
            for read in [plan["read"], *(note["read"] for note in notes)]:
                run.read.take(read)
            clean.write(run, self.folder, self._lots(plan, notes))
            sealed.write(self.marker, {"recipe": recipe, "outputs": digests.sums(self.folder)})
        for folder in (self._parts, self._aside):
            files.remove_tree(folder)

    def _lots(self, plan: dict[str, Any], notes: list[dict[str, Any]]) -> Iterator[Lot]:
        for at, note in enumerate(notes):
            parts = Parts(*self._of_piece(at, plan))
            yield from (lot for _, lot in parts.done())
            if parts.count < note["parts"]:  # one is damaged
                self._note(at, plan, again=True)
                yield from (lot for _, lot in parts.done())


def _believe(path: Path, mark: dict[str, Any]) -> None:
    """Go by the digest that was noted of a file that was not touched since: it is large, and every task would read it."""
    stat = os.stat(path)
    if (stat.st_size, stat.st_ino, stat.st_ctime_ns) == (mark["size"], mark["inode"], mark["ctime_ns"]):
        digests.learn({(stat.st_dev, stat.st_ino, stat.st_size, stat.st_ctime_ns): mark["sha256"]})


def _is(marker: Path, recipe: str) -> bool:
    """Whether a file was cleaned with these options, whatever became of it since."""
    with contextlib.suppress(HaigoError):
        return bool(sealed.read(marker, {"recipe": str})[0]["recipe"] == recipe)
    return False


def _finished(marker: Path, folder: Path, recipe: str) -> bool:
    """Whether a file was cleaned with these options, and what it gave is as it was left."""
    if not marker.is_file():
        return False
    known: dict[str, Any] = {}
    try:
        content = files.read_json(marker)
        if isinstance(content, str):  # of the first edition, which kept no digests
            return content == recipe and (folder / documents.REPORT).is_file()
        known, _ = sealed.read(marker, {"recipe": str, "outputs": {str: str}})
        changed = known["recipe"] == recipe and known["outputs"] != digests.sums(folder)
    except HaigoError:
        changed = True
    if changed:
        print(f"haigo: {folder} was changed since it was cleaned: it is cleaned again.", file=sys.stderr)
    return known.get("recipe") == recipe and not changed
