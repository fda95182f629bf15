"""What a deduplication is asked for, how its documents are numbered, and where the files between its steps are."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from haigo import sealed
from haigo.cli import HaigoError
from haigo.formats import documents

from . import arrays
from .minhash import Hashes, Shape
from .options import DedupOptions
from .rewrite import CorpusShard
from .scale_steps import cleaned_folders

_HELD_OUT_FIRST = ("test", "valid", "train")
CPU_S_PER_GB = {"sketch": 55.0, "buckets": 7.0, "shingle": 42.0, "pairs": 7.0, "drop": 14.0}
"""Of text, of which about half has likely repeats (real Japanese, English and code, with duplicates; one core of an EPYC)."""
MEMORY_PER_DOCUMENT = 110
"""Keys of a band and digests as they are sorted, labels, and the documents in clusters."""
DISK_PER_DOCUMENT, DISK_PER_BYTE, KEPT_PER_BYTE = 420, 1.1, 0.4
"""Sketches and links; shingles where half of the text has likely repeats; the documents that stay, packed."""
PROCESS_BYTES = 150_000_000
BYTES_OF_A_LABEL = 8  # of a document, while clusters are made
BYTES_OF_A_KEY = 48  # of a document, while the buckets of a band are made
BYTES_OF_A_ROW = 3_000  # of a document in a cluster, while its lot is decided
_RANGE = 1 << 20  # documents of which a range of keys is worth a task of its own
_LOT, _LOTS = 50_000, 1_000  # documents of a lot: more of them only take more memory; and about so many lots at most


def memory(count: float) -> int:
    """Bytes of memory that a process takes to deduplicate so many documents on one machine."""
    return int(count * MEMORY_PER_DOCUMENT + PROCESS_BYTES)


def disk(count: float, size: float) -> int:
    """Bytes of disk that a deduplication of so many documents and bytes of text takes, the documents that stay included."""
    return int(count * DISK_PER_DOCUMENT + size * (DISK_PER_BYTE + KEPT_PER_BYTE))


def cut_up(count: float, most: float, tasks: int) -> tuple[int, int]:
    """How many ranges the keys of so many documents are cut into, and how many documents of clusters a lot holds.

    Args:
        most: bytes of memory that a process may take.
    """
    ranges = 1 + max(int(count * BYTES_OF_A_KEY / most), min(tasks, int(count) // _RANGE))
    return ranges, max(1, min(max(_LOT, int(count) // _LOTS), int(most / BYTES_OF_A_ROW)))


class Part(NamedTuple):
    """A folder of cleaned documents, the corpus that it is (a part of), and where what stays of it goes."""

    corpus: str
    folder: Path
    target: Path | None


@dataclasses.dataclass(frozen=True)
class Job:
    """One deduplication.

    Attributes:
        corpora: name, folder and target of each corpus, the most wanted first. The folder is one that `preprocess.clean`
            wrote, or the `clean` of a run of `preprocess.scale`; without a target nothing is written of a corpus.
        output: folder of the whole run.
        work: folder of what is between the steps.
        options: `workers` and `priority` say nothing here.
        tasks: how many the work is dealt out to, about.
        report: file of the report.
    """

    corpora: tuple[tuple[str, str, str | None], ...]
    output: str
    work: str
    options: DedupOptions
    tasks: int = 1
    report: str | None = None

    @property
    def shape(self) -> Shape:
        """How texts are sketched."""
        return Shape(self.options.shingle, self.options.bands, self.options.rows, self.options.seed)

    def parts(self) -> list[Part]:
        """The folders, in order of rank.

        Raises:
            HaigoError: one is not cleaned, or not finished.
        """
        found = []
        for corpus, folder, target in self.corpora:
            place = Path(folder)
            if place.name == "clean" and not (place / documents.REPORT).is_file():
                parts = cleaned_folders(place.parent)
                found += [Part(corpus, path, Path(target) / path.name if target else None) for path in parts]
            else:
                documents.report(place)
                found.append(Part(corpus, place, Path(target) if target else None))
        return found

    def shards(self) -> list[tuple[CorpusShard, Path, int]]:
        """The shards in order of rank, their digests left out; of each the file of its sketches, and the number of its part."""
        parts = self.parts()
        found = []
        for split in _HELD_OUT_FIRST:
            for number, part in enumerate(parts):
                for path in documents.shards(part.folder, split) if split in documents.splits(part.folder) else ():
                    shard = CorpusShard(part.corpus, split, str(path), "", self.options.skip_broken)
                    name = f"sketch-{part.corpus}-{number:05d}-{split}-{path.name.split('.')[0]}"
                    found.append((shard, Path(self.work) / name, number))
        if not found:
            raise HaigoError("none of the corpora has a document.", "look at their clean.json")
        return found

    @property
    def plan_file(self) -> Path:
        """Where the plan is kept."""
        return Path(self.work) / "plan.json"

    def plan(self) -> Plan:
        """What `PlanRanges` wrote.

        Raises:
            HaigoError: it is not there.
        """
        path = self.plan_file
        if not path.is_file():
            raise HaigoError(f"{path} is missing: the steps before are not finished.", "run them again")
        return Plan(Path(self.work), sealed.read(path, {"recipe": str, "shards": [[object]], "ranges": int})[0])


class Plan:
    """What the documents are numbered by, and the files of the pieces.

    Attributes:
        shards: in order of rank. files: of their sketches. parts: of which each is.
        starts: number of the first document of each shard, and of all.
        ranges: of keys and digests.
        recipe: digest of all that the result depends on.
    """

    def __init__(self, work: Path, known: dict[str, Any]) -> None:
        self.work, self.known = work, known
        self.recipe: str = known["recipe"]
        self.ranges: int = known["ranges"]
        self.shards = [CorpusShard(*row[:5]) for row in known["shards"]]
        self.files = [work / row[5] for row in known["shards"]]
        self.parts: list[int] = [row[6] for row in known["shards"]]
        self.starts: npt.NDArray[np.int64] = np.cumsum([0, *(row[7] for row in known["shards"])])

    @property
    def clusters(self) -> Path:
        """Numbers of the documents in clusters, their clusters and lots."""
        return self.work / "clusters-00000"

    def buckets(self, number: int) -> Path:
        """Equal texts and links of a range."""
        return self.work / f"buckets-{number:05d}"

    def shingles(self, number: int) -> Path:
        """Of a shard's documents in clusters, everything that `Pairs` asks for."""
        return self.work / f"shingles-{number:05d}"

    def pairs(self, number: int) -> Path:
        """What goes from a lot."""
        return self.work / f"pairs-{number:05d}"

    def lots(self) -> int:
        """How many there are."""
        return int(arrays.note(self.clusters)["lots"])

    def lot(self, number: int) -> tuple[arrays.Arrays, list[Hashes]]:
        """The documents of a lot in order of rank, and the hashes of every shard; `shard` says whose a document's are."""
        parts, sets = list[arrays.Arrays](), list[Hashes]()
        for shard in range(len(self.shards)):
            held = arrays.read(self.shingles(shard))
            sets.append(held.pop("hashes"))
            first, last = np.searchsorted(held["lot"], [number, number + 1])
            parts.append({name: np.asarray(each[first:last]) for name, each in held.items()})
            parts[-1]["shard"] = np.full(last - first, shard)
        return {name: np.concatenate([each[name] for each in parts]) for name in parts[0]}, sets

    def removals(self) -> Iterator[arrays.Arrays]:
        """number, kept, similarity and exact of documents that go, file by file, numbers ascending in each."""
        for number in range(self.ranges):
            held = arrays.read(self.buckets(number))
            ones = np.ones(len(held["equal"]))
            yield {"number": held["equal"], "kept": held["equal_to"], "similarity": ones, "exact": ones > 0}
        for number in range(self.lots()):
            held = arrays.read(self.pairs(number))
            yield {**held, "exact": np.zeros(len(held["number"]), dtype=bool)}
