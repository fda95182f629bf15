"""Deduplication cut into tasks that know nothing of each other: the steps behind `preprocess.dedup` and `preprocess.scale`.

    sketch   a shard a piece: what near-duplicates are found by, in the order of keys and digests
    plan     one piece: numbers the documents by rank, and counts the ranges
    buckets  a range of keys and digests a piece: equal texts, and links between those that share a bucket
    cluster  one piece: what is linked, dealt out to lots
    shingle  a shard a piece: the shingle sets of its documents in clusters
    pairs    a lot a piece: which documents go
    drop     a shard a piece: the documents that stay
    report   one piece: the reports of the folders, and of all

Each is a step as `preprocess.scale_steps` has them. A piece is known by the note beside its file and never done again; what
stays does not depend on the number of tasks, ranges or lots.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from haigo import digests, files, sealed
from haigo.cli import Failed, HaigoError
from haigo.formats import documents
from haigo.formats.documents import Broken

from . import arrays, dedup_clusters, dedup_plan, dedup_report, dedup_shard, near_pairs, rewrite, scale_tasks
from .dedup_plan import Job, Plan
from .minhash import Hashes
from .rewrite import CorpusShard, Edits
from .scale_steps import PieceStep, summary
from .scale_tasks import Piece

_LINKS = 1 << 24
_SHAPE = ("shingle", "bands", "rows", "seed")


@dataclasses.dataclass(frozen=True)
class DedupStep(PieceStep):
    """A step of a deduplication."""

    job: Job

    @property
    def output(self) -> str:  # type: ignore[override]
        """Folder of the whole run."""
        return self.job.output


class SketchShards(DedupStep):
    """The sketches of every shard."""

    name = "dedup-sketch"

    def pieces(self) -> list[Piece]:
        """Shards."""
        return [
            Piece(file.name, shard.path, os.path.getsize(shard.path), partial(self._sketch, shard, file))
            for shard, file, _ in self.job.shards()
        ]

    def _sketch(self, shard: CorpusShard, file: Path) -> None:
        dedup_shard.sketch(dataclasses.replace(shard, sha256=digests.sha256(shard.path)), self.job.shape, file)


class PlanRanges(DedupStep):
    """Numbers for all documents, and how the rest of the work is cut up."""

    name = "dedup-plan"

    def pieces(self) -> list[Piece]:
        """One."""
        return [Piece("plan", str(self.job.plan_file), 1, self._plan)]

    def work(self, rank: int, world_size: int) -> None:
        """Do it.

        Raises:
            Failed: it cannot be done, or a shard could not be sketched: what stays depends on all of them.
        """
        super().work(rank, world_size)
        if found := [
            each for step in (SketchShards, PlanRanges) for each in scale_tasks.failures(self.output, step.name)
        ]:
            raise Failed(*summary(found))

    def _plan(self) -> None:
        path = self.job.plan_file
        try:
            content = self._content()
        except HaigoError:
            files.remove(path)  # an earlier one says nothing of these shards
            raise
        recipe, before = files.digest([4, content]), ""
        with contextlib.suppress(HaigoError):  # none yet, or a damaged one
            before = self.job.plan().recipe
        if self.job.report and before != recipe:
            files.remove(self.job.report)
        sealed.write(path, {"recipe": recipe, **content})

    def _content(self) -> dict[str, Any]:
        job, rows = self.job, []
        broken = Broken(job.options.skip_broken)
        for shard, file, part in job.shards():
            note = arrays.note(file)
            broken.take(note["broken"]["count"], note["broken"]["rows"])
            found = dataclasses.replace(shard, sha256=note["sha256"])
            rows.append([*dataclasses.astuple(found), file.name, part, note["documents"]])
        self._tell_changed(rows)
        count, memory = sum(row[-1] for row in rows), job.options.memory_gb * 1e9
        need = count * dedup_plan.BYTES_OF_A_LABEL
        if need > memory:
            raise HaigoError(
                f"{count:,} documents need {need / 1e9:,.1f} GB of memory to be clustered, and 'memory_gb' allows"
                f" {memory / 1e9:g}.",
                f"give memory_gb: {need / 1e9 + 0.1:.1f}",
                option="memory_gb",
            )
        ranges, lot = dedup_plan.cut_up(count, memory, job.tasks)
        named = {name: getattr(job.options, name) for name in ("method", "threshold", *_SHAPE)}
        return {"shards": rows, "ranges": ranges, "lot": lot, "options": named, "broken": broken.report()}

    def _tell_changed(self, rows: list[list[Any]]) -> None:
        parts = self.job.parts()
        there = [dict.fromkeys(documents.SPLITS, 0) for _ in parts]
        for row in rows:
            there[row[-2]][row[1]] += row[-1]
        for part, counts in zip(parts, there, strict=True):
            documents.tell_changed(part.folder, counts)


class FillBuckets(DedupStep):
    """Of a range of digests the texts that repeat an earlier one; of a range of keys the texts that share a bucket."""

    name = "dedup-buckets"

    def pieces(self) -> list[Piece]:
        """Ranges."""
        plan = self.job.plan()
        return [_piece(plan.buckets(number), partial(self._fill, number, plan)) for number in range(plan.ranges)]

    def _fill(self, number: int, plan: Plan) -> None:
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

    name = "dedup-cluster"

    def pieces(self) -> list[Piece]:
        """One."""
        plan = self.job.plan()
        return [_piece(plan.clusters, partial(self._cluster, plan))]

    def _cluster(self, plan: Plan) -> None:
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
        size = sum(
            int(arrays.read(file)["sizes"][numbers[first:last] - start].sum(dtype=np.int64))
            for file, start, (first, last) in zip(
                plan.files, plan.starts, pairwise(np.searchsorted(numbers, plan.starts)), strict=False
            )
        )
        files.require_space(plan.work, 8 * size, f"the shingles of {len(numbers):,} documents that may repeat others")


class Shingle(DedupStep):
    """The shingle sets of a shard's documents in clusters, and their sketches, in order of lots."""

    name = "dedup-shingle"

    def pieces(self) -> list[Piece]:
        """Shards; none where all lots are decided, and nobody asks for shingles again."""
        plan = self.job.plan()
        return (
            []
            if _decided(plan)
            else [
                Piece(
                    plan.shingles(number).name,
                    shard.path,
                    os.path.getsize(shard.path),
                    partial(self._shingle, number, plan),
                )
                for number, shard in enumerate(plan.shards)
            ]
        )

    def _shingle(self, number: int, plan: Plan) -> None:
        if arrays.made(plan.shingles(number), plan.recipe):
            return
        _require_unchanged(plan.shards[number])
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

    name = "dedup-pairs"

    def pieces(self) -> list[Piece]:
        """Lots."""
        plan = self.job.plan()
        return [_piece(plan.pairs(number), partial(self._decide, number, plan)) for number in range(plan.lots())]

    def _decide(self, number: int, plan: Plan) -> None:
        threshold = self.job.options.threshold
        if arrays.made(plan.pairs(number), plan.recipe):
            return
        rows, sets = plan.lot(number)
        sketches = near_pairs.Sketches(**{name: rows[name] for name in _OF_A_ROW})
        found = near_pairs.candidates(sketches, threshold)
        shingles = partial(_shingles, rows, sets, found)
        answer = near_pairs.near(sketches, found, shingles, threshold)
        left_in = near_pairs.left_in(sketches, found, answer, rows["cluster"])
        removals = answer.removals
        with arrays.create(plan.pairs(number), plan.recipe) as out:
            for name in ("number", "kept"):
                out.add(**{name: rows["number"][[getattr(each, name) for each in removals]]})
            out.add(similarity=np.array([each.similarity for each in removals], dtype=np.float64))
            out.note |= {"candidates": len(found.numbers), "pairs_checked": answer.checked, "left_in": left_in}


def _shingles(rows: arrays.Arrays, sets: list[Hashes], found: near_pairs.Candidates, place: int) -> Hashes:
    row = found.numbers[place]
    return np.asarray(sets[rows["shard"][row]][rows["start"][row] : rows["end"][row]])


class Drop(DedupStep):
    """The documents that stay of every shard."""

    name = "dedup-drop"

    def pieces(self) -> list[Piece]:
        """Shards."""
        plan, removals, parts = self.job.plan(), list(self.job.plan().removals()), self.job.parts()
        return [
            _piece(dropped(plan, number), partial(self._drop, number, target, plan, removals))
            for number, part in enumerate(plan.parts)
            if (target := parts[part].target) is not None
        ]

    def _drop(self, number: int, target: Path, plan: Plan, removals: list[arrays.Arrays]) -> None:
        shard = plan.shards[number]

        def make() -> dict[str, Any]:
            _require_unchanged(shard)
            files.remove(target / documents.REPORT)  # it is not finished any more
            return rewrite.write_shard(shard, _edits(plan, number, removals), target / shard.name)

        rewrite.once(dropped(plan, number), target, [shard.name], plan.recipe, make)


def dropped(plan: Plan, number: int) -> Path:
    """The note of what stays of a shard."""
    return plan.work / f"dropped-{number:05d}.json"


def _edits(plan: Plan, shard: int, removals: list[arrays.Arrays]) -> Edits:
    """What goes of a shard."""
    edits, start = Edits(), int(plan.starts[shard])
    for held in removals:
        first, last = np.searchsorted(held["number"], plan.starts[shard : shard + 2])
        for number, exact in zip(held["number"][first:last], held["exact"][first:last], strict=True):
            edits.drop[int(number) - start] = dedup_report.EXACT if exact else dedup_report.NEAR
    return edits


class Report(DedupStep):
    """The reports of the folders, and of all; shingles, which nobody asks for again, are removed."""

    name = "dedup-report"

    def pieces(self) -> list[Piece]:
        """One."""
        return [Piece("report", str(self.job.report), 1, partial(self._report, self.job.plan()))]

    def _report(self, plan: Plan) -> None:
        parts = self.job.parts()
        self._retire([part.target for part in parts if part.target is not None])
        for number, part in enumerate(parts):
            if part.target is not None:
                mine = [each for each, own in enumerate(plan.parts) if own == number]
                notes = [(plan.shards[each].split, sealed.read(dropped(plan, each), rewrite.NOTE)[0]) for each in mine]
                rewrite.finish(part.folder, part.target, notes, ("dedup", dedup_report.options(self.job)))
        if self.job.report:
            content = dedup_report.report(self.job, plan)
            if not rewrite.says(Path(self.job.report), content):
                files.write_json(self.job.report, content)
        for each in range(len(plan.shards)):
            files.remove(plan.shingles(each))

    def _retire(self, targets: list[Path]) -> None:
        """Remove what stayed of input files of a run of `preprocess.scale` that are no more."""
        for place in {Path(target) for _, _, target in self.job.corpora if target} - set(targets):
            for folder in place.glob("[0-9]*"):
                if folder not in targets:
                    files.remove_tree(folder)


def _piece(file: Path, work: Callable[[], Any]) -> Piece:
    return Piece(file.name, str(file), 1, work)


def _require_unchanged(shard: CorpusShard) -> None:
    if digests.sha256(shard.path) != shard.sha256:
        raise HaigoError(f"{shard.path} was changed since it was sketched.", "give the same command again")


def steps(job: Job) -> dict[str, tuple[DedupStep, int]]:
    """Step and number of tasks by name, in order."""
    single = (PlanRanges, Cluster, Report)
    order = (SketchShards, PlanRanges, FillBuckets, Cluster, Shingle, Pairs, Drop, Report)
    return {step.name: (step(job), 1 if step in single else job.tasks) for step in order}
