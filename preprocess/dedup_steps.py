"""Deduplication cut into tasks that know nothing of each other: the steps behind `preprocess.dedup` and `preprocess.scale`.

    sketch   a shard a piece: what near-duplicates are found by, in the order of keys and digests
    plan     one piece: numbers the documents by rank, and counts the ranges
    buckets  a range of keys and digests a piece: equal texts, and links between those that share a bucket
    cluster  one piece: what is linked, dealt out to lots
    shingle  a shard a piece: the shingle sets of its documents in clusters
    pairs    a lot a piece: which documents go
    drop     a folder a piece: the documents that stay
    report   one piece

Each is a step as `preprocess.scale_steps` has them. A piece is known by the note beside its file and never done again; what
stays does not depend on the number of tasks, ranges or lots.
"""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from haigo import digests, files, pool, sealed
from haigo.cli import HaigoError
from haigo.formats import documents
from haigo.formats.documents import Broken

from . import arrays, dedup_clusters, dedup_report, dedup_shard, near_pairs, rewrite
from .minhash import Hashes, Shape
from .options import DedupOptions
from .rewrite import CorpusShard, Edits
from .step import Step

HELD_OUT_FIRST = ("test", "valid", "train")
BYTES_OF_A_SKETCH = 160
"""On disk, of a document, beside bands * (rows + 12)."""
_BYTES_OF_A_LABEL = 8  # of a document, while clusters are made
_BYTES_OF_A_KEY = 48  # of a document, while the buckets of a band are made
_BYTES_OF_A_ROW = 3_000  # of a document in a cluster, while its lot is decided
_RANGE = 1 << 20  # documents of which a range of keys is worth a task of its own
_LOT, _LOTS = 50_000, 1_000  # documents of a lot: more of them only take more memory; and about so many lots at most
_LINKS = 1 << 24
_TASKS = 50  # of a worker: a progress line moves


class Part(NamedTuple):
    """A folder of cleaned documents, the corpus that it is (a part of), and where what stays of it goes."""

    corpus: str
    folder: Path
    target: Path


@dataclasses.dataclass(frozen=True)
class Job:
    """One deduplication.

    Attributes:
        corpora: name, folder and target of each corpus, the most wanted first. The folder is one that `preprocess.clean`
            wrote, or holds such ones as parts (`00000`, `00001` ...).
        work: folder of what is between the steps.
        options: `workers` and `priority` say nothing here.
        tasks: how many the work is dealt out to, about.
        report: file of the report.
    """

    corpora: tuple[tuple[str, str, str], ...]
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
            inner = sorted(path for path in place.glob("[0-9]*") if path.is_dir())
            if (place / documents.REPORT).is_file() or not inner:
                documents.report(place)
                found.append(Part(corpus, place, Path(target)))
                continue
            for path in inner:
                if not (path / documents.REPORT).is_file():
                    raise HaigoError(f"{path} is not finished: cleaning was stopped.", "run the cleaning step again")
                found.append(Part(corpus, path, Path(target) / path.name))
        return found

    def shards(self) -> list[tuple[CorpusShard, Path, int]]:
        """The shards in order of rank, their digests left out; of each the file of its sketches, and the number of its part."""
        parts = self.parts()
        found = []
        for split in HELD_OUT_FIRST:
            for number, part in enumerate(parts):
                for path in documents.shards(part.folder, split) if split in documents.splits(part.folder) else ():
                    shard = CorpusShard(part.corpus, split, str(path), "", self.options.skip_broken)
                    name = f"sketch-{part.corpus}-{number:05d}-{split}-{path.name.split('.')[0]}"
                    found.append((shard, Path(self.work) / name, number))
        if not found:
            raise HaigoError("none of the corpora has a document.", "look at their clean.json")
        return found

    def plan(self) -> Plan:
        """What `PlanRanges` wrote.

        Raises:
            HaigoError: it is not there.
        """
        path = Path(self.work) / _PLAN
        if not path.is_file():
            raise HaigoError(f"{path} is missing: the steps before are not finished.", "run them again")
        return Plan(Path(self.work), sealed.read(path, {"recipe": str, "shards": [[object]], "ranges": int})[0])


_PLAN = "plan.json"


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
        return self.work / "clusters"

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

    def removals(self) -> Iterator[arrays.Arrays]:
        """number, kept, similarity and exact of documents that go, file by file, numbers ascending in each."""
        for number in range(self.ranges):
            held = arrays.read(self.buckets(number))
            ones = np.ones(len(held["equal"]))
            yield {"number": held["equal"], "kept": held["equal_to"], "similarity": ones, "exact": ones > 0}
        for number in range(self.lots()):
            held = arrays.read(self.pairs(number))
            yield {**held, "exact": np.zeros(len(held["number"]), dtype=bool)}


@dataclasses.dataclass(frozen=True)
class DedupStep(Step):
    """A step of a deduplication: what cannot be done is named, and the task's other pieces are done."""

    job: Job

    def work(self, rank: int, world_size: int) -> None:
        """Do this task's pieces."""
        failed: list[HaigoError] = []
        known = self.known()
        for number in range(rank, self.pieces(known), world_size):
            try:
                self.piece(number, known)
            except HaigoError as error:
                failed.append(error)
        if failed:
            first = failed[0]
            raise HaigoError("\n".join(each.problem for each in failed), first.fix, option=first.options)

    def known(self) -> Any:
        """What a task reads once for all of its pieces."""
        return self.job.plan()

    @abstractmethod
    def pieces(self, known: Any) -> int:
        """How many there are, after the steps before."""

    @abstractmethod
    def piece(self, number: int, known: Any) -> None:
        """Do one, unless it is done."""


class SketchShards(DedupStep):
    """The sketches of every shard."""

    def known(self) -> list[tuple[CorpusShard, Path, int]]:
        """Shards."""
        return self.job.shards()

    def pieces(self, known: list[tuple[CorpusShard, Path, int]]) -> int:
        """Shards."""
        return len(known)

    def piece(self, number: int, known: list[tuple[CorpusShard, Path, int]]) -> None:
        """A shard."""
        shard, file, _ = known[number]
        dedup_shard.sketch(dataclasses.replace(shard, sha256=digests.sha256(shard.path)), self.job.shape, file)


class PlanRanges(SketchShards):
    """Numbers for all documents, and how the rest of the work is cut up."""

    def pieces(self, known: list[tuple[CorpusShard, Path, int]]) -> int:
        """One."""
        return 1

    def piece(self, number: int, known: list[tuple[CorpusShard, Path, int]]) -> None:
        """All of it."""
        job, rows = self.job, []
        broken = Broken(job.options.skip_broken)
        for shard, file, part in known:
            note = arrays.note(file)
            broken.take(note["broken"]["count"], note["broken"]["rows"])
            found = dataclasses.replace(shard, sha256=note["sha256"])
            rows.append([*dataclasses.astuple(found), file.name, part, note["documents"]])
        self._tell_changed(rows)
        count, memory = sum(row[-1] for row in rows), job.options.memory_gb * 1e9
        need = count * _BYTES_OF_A_LABEL
        if need > memory:
            raise HaigoError(
                f"{count:,} documents need {need / 1e9:,.1f} GB of memory to be clustered, and 'memory_gb' allows"
                f" {memory / 1e9:g}.",
                f"give memory_gb: {need / 1e9 + 0.1:.1f}",
                option="memory_gb",
            )
        ranges = 1 + max(int(count * _BYTES_OF_A_KEY / memory), min(job.tasks, count // _RANGE))
        lot = max(1, min(max(_LOT, count // _LOTS), int(memory / _BYTES_OF_A_ROW)))
        named = {name: getattr(job.options, name) for name in ("method", "threshold", *_SHAPE)}
        content = {"shards": rows, "ranges": ranges, "lot": lot, "options": named, "broken": broken.report()}
        recipe = files.digest([3, content])
        path = Path(job.work) / _PLAN
        if job.report and not (path.is_file() and job.plan().recipe == recipe):
            files.remove(job.report)
        sealed.write(path, {"recipe": recipe, **content})

    def _tell_changed(self, rows: list[list[Any]]) -> None:
        for number, part in enumerate(self.job.parts()):
            there = dict.fromkeys(documents.SPLITS, 0)
            for row in rows:
                if row[-2] == number:
                    there[row[1]] += row[-1]
            documents.tell_changed(part.folder, there)


_SHAPE = ("shingle", "bands", "rows", "seed")


class FillBuckets(DedupStep):
    """Of a range of digests the texts that repeat an earlier one; of a range of keys the texts that share a bucket."""

    def pieces(self, known: Plan) -> int:
        """Ranges."""
        return known.ranges

    def piece(self, number: int, known: Plan) -> None:
        """A range."""
        plan = known
        if arrays.made(plan.buckets(number), plan.recipe):
            return
        low, high = (_bound(each, plan.ranges) for each in (number, number + 1))
        held = [arrays.read(file) for file in plan.files]
        equal, of = _repeats([(each["digests"], each["digest_places"]) for each in held], plan, low, high)
        order = np.argsort(equal)
        with arrays.create(plan.buckets(number), plan.recipe) as out:
            out.add(equal=equal[order], equal_to=of[order])
            if self.job.options.method == "exact":
                return
            links = [
                _repeats([(each["keys"][band : band + 1], each["key_places"][band]) for each in held], plan, low, high)
                for band in range(self.job.options.bands)
            ]
            out.add(one=np.concatenate([one for one, _ in links]), other=np.concatenate([each for _, each in links]))


def _bound(number: int, ranges: int) -> int:
    return (number << 64) // ranges


def _repeats(
    held: list[tuple[Hashes, npt.NDArray[np.uint32]]], plan: Plan, low: int, high: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """`near_pairs.repeats` of the keys from `low` to below `high`, by the numbers of the documents."""
    keys, numbers = list[Hashes](), []
    for (ordered, places), start in zip(held, plan.starts.tolist(), strict=False):
        first = int(np.searchsorted(ordered[0], np.uint64(low)))
        last = int(np.searchsorted(ordered[0], np.uint64(high))) if high < 1 << 64 else ordered.shape[1]
        keys.append(np.asarray(ordered[:, first:last]))
        numbers.append(places[first:last].astype(np.int64) + start)
    known = np.concatenate(numbers)
    again, first_of = near_pairs.repeats(*np.concatenate(keys, axis=1))
    return known[again], known[first_of]


class Cluster(DedupStep):
    """Which documents are linked by way of others, dealt out to lots."""

    def pieces(self, known: Plan) -> int:
        """One."""
        return 1

    def piece(self, number: int, known: Plan) -> None:
        """All of it."""
        plan = known
        if arrays.made(plan.clusters, plan.recipe):
            return
        count = int(plan.starts[-1])
        labels = dedup_clusters.labels(count)
        taking_part = np.zeros(count, dtype=bool)
        held = [arrays.read(plan.buckets(each)) for each in range(plan.ranges)]
        for each in held if self.job.options.method == "minhash" else ():
            for start in range(0, len(each["one"]), _LINKS):
                one, other = (np.asarray(each[side][start : start + _LINKS]) for side in ("one", "other"))
                dedup_clusters.merge(labels, one, other)
                taking_part[one] = taking_part[other] = True
        dedup_clusters.flatten(labels)
        for each in held:
            taking_part[each["equal"]] = False
        numbers, clusters, lots = dedup_clusters.dealt(labels, np.flatnonzero(taking_part), plan.known["lot"])
        with arrays.create(plan.clusters, plan.recipe) as out:
            out.add(number=numbers, cluster=clusters, lot=lots)
            out.note["lots"] = int(lots.max()) + 1 if len(lots) else 0


class Shingle(DedupStep):
    """The shingle sets of a shard's documents in clusters, and their sketches, in order of lots."""

    def pieces(self, known: Plan) -> int:
        """Shards."""
        return len(known.shards)

    def piece(self, number: int, known: Plan) -> None:
        """A shard."""
        plan = known
        if _decided(plan) or arrays.made(plan.shingles(number), plan.recipe):
            return
        held, start, ends = arrays.read(plan.clusters), int(plan.starts[number]), [0]
        first, last = np.searchsorted(held["number"], plan.starts[number : number + 2])
        places = np.asarray(held["number"][first:last]) - start
        order = np.argsort(held["lot"][first:last], kind="stable")
        sketches = dedup_shard.chosen(plan.files[number], places[order])
        with arrays.create(plan.shingles(number), plan.recipe) as out:
            out.stream("hashes", np.uint64, dedup_shard.shingles(plan.shards[number], self.job.shape, places, ends))
            out.add(
                start=np.array(ends, np.int64)[:-1][order],
                end=np.array(ends, np.int64)[1:][order],
                number=places[order] + start,
            )
            out.add(**{name: held[name][first:last][order] for name in ("lot", "cluster")})
            out.add(**{name: getattr(sketches, name) for name in _OF_A_ROW})


_OF_A_ROW = ("keys", "bytes", "sizes", "numbers", "digests")


def _decided(plan: Plan) -> bool:
    """Whether all lots are decided: their shingles are not asked for again."""
    try:
        return all(arrays.made(plan.pairs(each), plan.recipe) for each in range(plan.lots()))
    except HaigoError:
        return False


class Pairs(DedupStep):
    """Which documents of a lot go for one that stays."""

    def pieces(self, known: Plan) -> int:
        """Lots."""
        return known.lots()

    def piece(self, number: int, known: Plan) -> None:
        """A lot."""
        plan, threshold = known, self.job.options.threshold
        if arrays.made(plan.pairs(number), plan.recipe):
            return
        rows, sets = _lot(plan, number)
        sketches = near_pairs.Sketches(**{name: rows[name] for name in _OF_A_ROW})
        found = near_pairs.candidates(sketches, threshold)
        shingles = partial(_shingles, rows, sets, found)
        answer = near_pairs.near(sketches, found, shingles, threshold)
        crowded = near_pairs.left_in(sketches, found, answer, rows["cluster"], shingles, threshold)
        removals = answer.removals
        with arrays.create(plan.pairs(number), plan.recipe) as out:
            for name in ("number", "kept"):
                out.add(**{name: rows["number"][[getattr(each, name) for each in removals]]})
            out.add(similarity=np.array([each.similarity for each in removals], dtype=np.float64))
            out.note |= {"candidates": len(found.numbers), "pairs_checked": answer.checked, "crowded": crowded}


def _lot(plan: Plan, number: int) -> tuple[arrays.Arrays, list[Hashes]]:
    """The documents of a lot in order of rank, and the hashes of every shard; `shard` says whose a document's are."""
    parts, sets = list[arrays.Arrays](), list[Hashes]()
    for shard in range(len(plan.shards)):
        held = arrays.read(plan.shingles(shard))
        sets.append(held.pop("hashes"))
        first, last = np.searchsorted(held["lot"], [number, number + 1])
        parts.append({name: np.asarray(each[first:last]) for name, each in held.items()})
        parts[-1]["shard"] = np.full(last - first, shard)
    return {name: np.concatenate([each[name] for each in parts]) for name in parts[0]}, sets


def _shingles(rows: arrays.Arrays, sets: list[Hashes], found: near_pairs.Candidates, place: int) -> Hashes:
    row = found.numbers[place]
    return np.asarray(sets[rows["shard"][row]][rows["start"][row] : rows["end"][row]])


class _ToDrop(NamedTuple):
    """What a task of `Drop` reads once."""

    plan: Plan
    parts: list[Part]
    removals: list[arrays.Arrays]


class Drop(DedupStep):
    """The documents that stay of every folder, in its own form."""

    def known(self) -> _ToDrop:
        """The plan, the folders and what goes."""
        plan = self.job.plan()
        return _ToDrop(plan, self.job.parts(), list(plan.removals()))

    def pieces(self, known: _ToDrop) -> int:
        """Folders."""
        return len(known.parts)

    def piece(self, number: int, known: _ToDrop) -> None:
        """A folder; its report is written last."""
        plan, part = known.plan, known.parts[number]
        marker = plan.work / f"dropped-{part.corpus}-{number:05d}.json"
        if _stands(marker, part.target, plan.recipe):
            return
        work, made = plan.work / f"stays-{number:05d}", {}
        for split in documents.SPLITS:
            mine = [
                each for each, shard in enumerate(plan.shards) if (plan.parts[each], shard.split) == (number, split)
            ]
            files.remove_tree(work / part.target.name / split)
            edits = [(plan.shards[each], _edits(plan, each, known.removals)) for each in mine]
            made[split] = rewrite.write_split(edits, str(work / part.target.name / split))
        files.remove(marker)
        report = rewrite.report(part.folder, made, "dedup", dedup_report.options(self.job))
        rewrite.put(work, part.target.parent, {part.target.name: report})
        files.remove_tree(work)
        sealed.write(marker, {"recipe": plan.recipe, "outputs": _sums(part.target)})


def _sums(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): digests.sha256(path) for path in digests.below(folder)}


def _stands(marker: Path, target: Path, recipe: str) -> bool:
    try:
        known, _ = sealed.read(marker, {"recipe": str, "outputs": {str: str}})
    except HaigoError:
        return False
    return known == {"recipe": recipe, "outputs": _sums(target)}


def _edits(plan: Plan, shard: int, removals: list[arrays.Arrays]) -> Edits:
    """What goes of a shard."""
    edits, start = Edits(), int(plan.starts[shard])
    for held in removals:
        first, last = np.searchsorted(held["number"], plan.starts[shard : shard + 2])
        for number, exact in zip(held["number"][first:last], held["exact"][first:last], strict=True):
            edits.drop[int(number) - start] = dedup_report.EXACT if exact else dedup_report.NEAR
    return edits


class Report(DedupStep):
    """The report; shingles, which nobody asks for again, are removed."""

    def pieces(self, known: Plan) -> int:
        """One."""
        return 1

    def piece(self, number: int, known: Plan) -> None:
        """All of it."""
        plan = known
        if self.job.report:
            content = dedup_report.report(self.job, plan)
            if not Path(self.job.report).is_file() or files.read_json(self.job.report) != content:
                files.write_json(self.job.report, content)
        for each in range(len(plan.shards)):
            files.remove(plan.shingles(each))


def steps(job: Job) -> dict[str, tuple[DedupStep, int]]:
    """Step and number of tasks by name, in order."""
    return {
        "sketch": (SketchShards(job), job.tasks),
        "plan": (PlanRanges(job), 1),
        "buckets": (FillBuckets(job), job.tasks),
        "cluster": (Cluster(job), 1),
        "shingle": (Shingle(job), job.tasks),
        "pairs": (Pairs(job), job.tasks),
        "drop": (Drop(job), job.tasks),
        "report": (Report(job), 1),
    }


def run_here(chosen: dict[str, tuple[DedupStep, int]], workers: int) -> None:
    """Do steps on this machine."""
    for name, (step, _) in chosen.items():
        pieces = step.pieces(step.known())
        tasks = min(pieces, _TASKS * workers)
        pool.run_shown(
            f"dedup: {name}", {f"{rank}": partial(step, None, rank, tasks) for rank in range(tasks)}, workers
        )
