"""`.digests.json`, the ledger of a run folder: the marks of the raw files that the run reads and of the files at the folder's
top, and where the folder was when the run was last finished.

A raw file is read through at every run (above 4 GiB: see `haigo.digests`), whatever its size and time say. What stands at the
top is written anew by every run; a file there that is not as the last run left it is named first.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from haigo import digests, files, sealed
from haigo.cli import HaigoError
from haigo.ownership import NOTES
from launch.pipeline import moved as move

NAME = ".digests.json"
TOP = ("run.yml", "command.txt", "env.json", "corpora.yml", "supply.csv", "mixture.yml", "summary.json", "report.html")
FIGURES = "figures"
"""The folder of the report's figures: its files are noted as those at the top are."""
_FORMAT = 2


class Ledger:
    """The ledger of one run folder.

    Args:
        root: the run folder.
        full: read files above 4 GiB, too.

    Attributes:
        sources: path -> mark of every raw file, as of the last run; relative where it lies in the run folder.
        stages: of the last finished run.
        top: name -> mark of the files at the top, as of the last finished run.
        places: how files of the run named its folder then; None where that was not noted.
        former: the run is the first edition's, or one that never came to its end.
        damaged: the ledger was changed since it was written, so nothing in it is believed.
    """

    def __init__(self, root: Path, *, full: bool = False) -> None:
        self.root, self.path, self.full = root, root / NAME, full
        self.sources: dict[str, dict[str, Any]] = {}
        self.top: dict[str, dict[str, Any]] = {}
        self.stages: list[str] = []
        self.places: list[str] | None = None
        self.former = self.damaged = False
        self.used: dict[str, dict[str, Any]] = {}
        if self.path.is_file():
            self._read()

    def _read(self) -> None:
        try:
            content, whole = sealed.read(self.path)
        except HaigoError:
            self.damaged = True
            return
        if not whole:  # the first edition's: path -> [size, time of change, sha256]
            self.former = all(isinstance(row, list) and len(row) == 3 for row in content.values())
            self.damaged = not self.former
            return
        sources, top, places = content.get("sources"), content.get("top"), content.get("places")
        if not (isinstance(sources, dict) and isinstance(top, dict) and isinstance(places, list)):
            self.damaged = True
            return
        self.sources, self.top, self.places = sources, top, places
        self.stages = [str(name) for name in content.get("stages", [])]

    def moves(self) -> dict[str, str]:
        """Old spelling of the run folder's place -> new one; empty where it was not moved."""
        return move.moves(self.root, self.places)

    def begin(self) -> None:
        """Before a run writes anything: name what is not as the last one left it; take over a folder of the first edition."""
        if self.damaged:
            _report(f"{self.path} was changed since it was written: digests are computed anew")
        if self.former:
            # the first edition kept no journal; this file and the header of run.yml are the proof that these are the run's
            merged = self.root / "run.yml"
            ours = merged.is_file() and merged.read_bytes().startswith(b"# merged from ")
            files.adopt(self.root / name for name in (NAME, ".lock", *TOP) if name != "run.yml" or ours)
        for name, why in self.changed_top().items():
            _report(f"{self.root / name} {why}: it is written again")
        self.top = {}
        self.save()

    def changed_top(self) -> dict[str, str]:
        """Name -> what is wrong with the files at the folder's top."""
        return digests.changed(self.root, self.top, full=self.full)[0]

    def changed_sources(self) -> dict[str, str]:
        """Path -> what is wrong with the raw files of the last run."""
        wrong, _ = digests.changed(self.root, self.sources, full=self.full, since="the run read it")
        return {str(self.root / key): why for key, why in wrong.items()}

    def note_report(self) -> None:
        """The report of a finished run, and its figures, were written anew."""
        if self.top:
            self.top |= {name: digests.mark(self.root / name) for name in filter(of_report, self._top())}
            self.save()

    def _top(self) -> list[str]:
        drawn = sorted((self.root / FIGURES).glob("*"))
        names = [*TOP, *(f"{FIGURES}/{path.name}" for path in drawn if path.name not in NOTES)]
        return [name for name in names if (self.root / name).is_file()]

    def of(self, paths: Iterable[Path]) -> list[list[str]]:
        """[name, sha256] of every file, in order; of every file below a folder."""
        below: list[Path] = []
        for path in paths:
            inside = sorted(each for each in path.rglob("*") if each.is_file() and each.name not in NOTES)
            below += inside if path.is_dir() else [path]
        keys = {self._key(path): path for path in below}
        marks = digests.marks(self.root, keys, self.sources, full=self.full)
        for key, row in marks.items():
            if key not in self.used and self.sources.get(key, row)["sha256"] != row["sha256"]:
                _report(f"{keys[key]} was changed since the last run")
        self.used |= marks
        return [[path.name, str(marks[self._key(path)]["sha256"])] for path in below]

    def _key(self, path: Path) -> str:
        place, root = path.resolve(), self.root.resolve()
        return str(place.relative_to(root) if place.is_relative_to(root) else place)

    def save(self, stages: Iterable[str] | None = None) -> None:
        """Write the ledger.

        Args:
            stages: those of a run that is finished. What stands at the top is then marked, and raw files that it does not read
                any more are forgotten.
        """
        if stages is not None:
            self.stages = list(stages)
            self.sources, self.places = dict(self.used), move.places(self.root)
            self.top = digests.marks(self.root, self._top())
        if self.places is None:  # a folder that was moved still tells of its old place
            self.places = list(self.moves()) or move.places(self.root)
        sources: Mapping[str, Any] = {**self.sources, **self.used}
        content = {"format": _FORMAT, "places": self.places, "sources": sources, "top": self.top}
        content["stages"] = self.stages
        sealed.write(self.path, content)
        self.former = self.damaged = False


def of_report(name: str) -> bool:
    """Whether a file that the ledger names is the report, or one of its figures."""
    return name == "report.html" or name.startswith(f"{FIGURES}/")


def _report(what: str) -> None:
    print(f"  {what}", file=sys.stderr, flush=True)
