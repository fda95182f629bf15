"""CPU, memory and disk of a run of `preprocess.scale` from a sample of its input, about one percent.

The sample goes through the steps that the run file asks for, each in a process of its own that has started up on some of it.
What documents there are after deduplication follows from where copies stand in the sample (`scale_repeats`), and what memory
all of it takes from the numbers by which each step's grows (`scale_room.growing`).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from haigo import files
from haigo.formats import documents

from . import arrays, scale_keys, scale_measured, scale_repeats, scale_room, scale_runfile, scale_sample
from .options import ScaleRun
from .scale_measured import Taken
from .scale_repeats import Repeats, Seen
from .scale_room import Text
from .scale_sample import Input, Rows, Sample
from .scale_steps import Step, dataset_files
from .sources import input_files

CHECKED_MB = 10_000
"""Raw text up to which estimates were held against runs (benchmarks/scale_estimate.py)."""
Steps = Callable[[ScaleRun], Mapping[str, tuple[Step, int]]]
_OF_ALL = ("clean", "dedup")
"""Parts of the work that read all documents; the others read those that stay."""


class Passed(NamedTuple):
    """What became of some text, and what each step took.

    Attributes:
        mb: of raw text.
        taken: of each step. grown: bytes that the run's folder holds more after it.
        documents, tokens: that were read, and that were left in the end.
        cleaned: bytes of text that cleaning left; largest: of the largest file.
        seen: what deduplication found; None where it was not asked for. clustered: documents that shared a bucket.
        index_bytes: of the datasets.
    """

    mb: float
    taken: dict[str, Taken]
    grown: dict[str, int]
    documents: int
    tokens: int
    cleaned: int
    largest: int
    seen: Seen | None
    clustered: int
    index_bytes: int


def of(run: ScaleRun, steps: Steps, tokens: float | None = None) -> dict[str, Any]:
    """What a run takes, and what it would for so many tokens of text such as this.

    Args:
        steps: `scale.steps`.

    Raises:
        HaigoError: no input, or none that is text.
        Failed: a step did not end well on the sample.
    """
    found = scale_sample.look(run)
    with tempfile.TemporaryDirectory(prefix="haigo-estimate-") as folder:
        place = Path(folder)
        sample = scale_sample.draw(found, run, place)
        runs = [
            _on(run, names, place / f"{name}-run", sample, found)
            for name, names in (("first", sample.first), ("whole", sample.whole))
        ]
        whole = passed(runs, steps, sample.rows)
    estimate = Estimate(run, found, sample, whole)
    scales = {"run": 1.0}
    if tokens:
        scales["tokens"] = tokens / max(1.0, estimate.tokens(1.0))
    return {
        "corpus": run.corpus,
        "raw_mb": round(found.all_raw / 1e6, 1),
        "share": sample.share * found.raw / max(1.0, found.all_raw),
        "sample": {"documents": whole.documents, "tokens": whole.tokens, "mb": round(whole.mb, 1)}
        | ({"repeated_share": round(whole.seen.repeated, 4)} if whole.seen else {}),
        "files_twice": found.twins,
        "beside_left_out": sorted((run.dedup or {}).get("beside", {})),
        "checked_mb": CHECKED_MB,
        **{name: estimate.scaled(scale) for name, scale in scales.items()},
    }


def _on(run: ScaleRun, inputs: list[str], output: Path, sample: Sample, found: Input) -> ScaleRun:
    """The same run on files of a sample; where they are of places of files that the run cuts, they are cut too."""
    alone = None if run.dedup is None else {**run.dedup, "beside": {}, "priority": []}
    run = run.replaced(inputs=inputs, output=str(output), dedup=alone, tasks=1)
    if sample.rows is None:
        return run
    halves = max(1, min(Path(each).stat().st_size for each in inputs) // 2)
    return run.replaced(clean={**run.clean, **scale_sample.READ_ROWS}, split_bytes=halves if found.split else 0)


def passed(runs: Sequence[ScaleRun], steps: Steps, rows: Rows | None = None) -> Passed:
    """Do some runs, step by step side by side, and note what the last one takes: in those before it everything starts up.

    Args:
        rows: the documents, as of `Sample`.

    Raises:
        Failed: a step did not end well.
    """
    taken, grown, held, output = dict[str, Taken](), dict[str, int](), 0, Path(runs[-1].output)
    for run in runs:
        Path(run.output).mkdir(parents=True, exist_ok=True)
    for name in steps(runs[-1]):
        works = [steps(run)[name] for run in runs]  # asked for anew: what there is to do depends on the steps before
        taken[name] = scale_measured.taken(works, name)[-1]
        size = sum(path.stat().st_size for path in output.rglob("*") if path.is_file())
        grown[name], held = size - held, size
    return _passed(runs[-1], taken, grown, rows)


def _passed(run: ScaleRun, taken: dict[str, Taken], grown: dict[str, int], rows: Rows | None) -> Passed:
    output = Path(run.output)
    reports = [files.read_json(path) for path in sorted(output.glob(f"clean/*/{documents.REPORT}"))]
    dropped = sum(each["rules"].get("duplicate", {}).get("documents", 0) for each in reports)
    names = [name for split in documents.SPLITS for name in dataset_files(split) if (output / name).is_file()]
    manifests = [files.read_json(output / name) for name in names if name.endswith(".json")]
    inputs = [path for path, _ in input_files(run.inputs)]
    plan = None if run.dedup is None else scale_runfile.dedup_job(run).plan()
    return Passed(
        mb=sum(map(scale_sample.raw_bytes, inputs)) / 1e6,
        taken=taken,
        grown=grown,
        documents=sum(each["documents_in"] for each in reports),
        tokens=sum(each["tokens"] for each in manifests),
        cleaned=sum(each["bytes_out"] for each in reports),
        largest=max(each["bytes_out"] for each in reports),
        seen=None if plan is None else scale_repeats.seen(plan, rows, dropped),
        clustered=0 if plan is None else len(arrays.read(plan.clusters)["number"]),
        index_bytes=sum((output / name).stat().st_size for name in names),
    )


class Estimate:
    """What follows from what a sample took."""

    def __init__(self, run: ScaleRun, found: Input, sample: Sample, whole: Passed) -> None:
        self._run, self._found, self._sample, self._whole = run, found, sample, whole

    def _larger(self, scale: float) -> float:
        """How many times the sample all of the input is, `scale` times."""
        return self._found.all_raw / max(1.0, self._found.raw) / self._sample.share * scale

    def repeats(self, scale: float) -> Repeats | None:
        """The share of documents that repeat others; None where all stay."""
        if self._whole.seen is None:
            return None
        own = self._found.raw / max(1.0, self._found.all_raw)  # the rest are files that stand there twice
        found = scale_repeats.of_all(self._whole.seen, min(1.0, self._sample.share / scale))
        return Repeats(*(1 - own * (1 - each) for each in found))

    def _stay(self, scale: float) -> float:
        """The share of documents that stay, to that in the sample."""
        repeats = self.repeats(scale)
        if repeats is None or self._whole.seen is None:
            return 1.0
        return (1 - repeats.likely) / max(1e-9, 1 - self._whole.seen.repeated)

    def _all_like(self, step: str, scale: float) -> float:
        """How many times what a step did in the sample it does in all."""
        of_all = scale_keys.part_of(step) in _OF_ALL
        return self._larger(scale) * (1.0 if of_all else self._stay(scale))

    def tokens(self, scale: float) -> float:
        """Tokens that are left."""
        return self._whole.tokens * self._larger(scale) * self._stay(scale)

    def _cpu_s(self, step: str, scale: float) -> float:
        return self._whole.taken[step].cpu_s * self._all_like(step, scale)

    def _memory(self, step: str, scale: float) -> float:
        """What it took in the sample, and what all documents, the largest file and its shards take more."""
        whole, larger = self._whole, self._larger(scale)
        count = whole.seen.documents if whole.seen else whole.documents
        largest = self._found.largest * whole.cleaned / max(1.0, 1e6 * whole.mb)
        of_byte = count / max(1, whole.cleaned)
        now, then = (
            scale_room.growing(self._run, step, Text(count * times, size * of_byte, size, whole.clustered * times))
            for times, size in ((1.0, whole.largest), (larger, largest))
        )
        return whole.taken[step].peak + max(0.0, then - now)

    def scaled(self, scale: float) -> dict[str, Any]:
        """All of it as it is said."""
        steps, index = list(self._whole.taken), self._whole.index_bytes * self._all_like("index", scale)
        cpu, disk = dict[str, float](), dict[str, float]()
        held, peak = 0.0, 0.0
        for step in steps:
            part = scale_keys.part_of(step)
            cpu[part] = cpu.get(part, 0.0) + self._cpu_s(step, scale) / 3600
            grown = index if step == "join" else self._whole.grown[step] * self._all_like(step, scale)
            disk[part] = disk.get(part, 0.0) + grown / 1e9
            held += grown
            peak = max(peak, held)
        memory: dict[str, float] = {"a_worker": 0.0, "dedup": 0.0}
        for step in steps:
            kind = "dedup" if scale_keys.part_of(step) == "dedup" else "a_worker"
            memory[kind] = max(memory[kind], self._memory(step, scale) / 1e9)
        repeats = self.repeats(scale)
        mb = self._found.all_raw / 1e6 * scale
        return {
            "raw_mb": round(mb, 1),
            "documents": round(self._whole.documents * self._larger(scale)),
            "tokens": round(self.tokens(scale)),
            "repeated_share": None if repeats is None else round(repeats.likely, 4),
            "repeated_range": None if repeats is None else [round(repeats.least, 4), round(repeats.most, 4)],
            "cpu_hours": {name: float(f"{hours:.4g}") for name, hours in (cpu | {"all": sum(cpu.values())}).items()},
            "disk_gb": {name: float(f"{size:.4g}") for name, size in (disk | {"all": peak / 1e9}).items()},
            "memory_gb": {name: float(f"{size:.4g}") for name, size in memory.items() if size},
            "extrapolated": mb > CHECKED_MB,
        }


def table(found: Mapping[str, Any]) -> str:
    """It as lines to read."""
    sample = found["sample"]
    lines = [
        f"{found['corpus']}: measured on {sample['mb']:,.1f} MB, {found['share']:.2%} of about {found['raw_mb']:,.0f} MB of raw"
        f" text: {sample['documents']:,} documents, {sample['tokens']:,} tokens at the end"
    ]
    if found["files_twice"]:
        lines.append(f"files with the bytes of another: {found['files_twice']:,}")
    if found["beside_left_out"]:
        lines.append(
            f"without the corpora beside, which deduplication also reads: {', '.join(found['beside_left_out'])}"
        )
    for name, title in (("run", "this run"), ("tokens", "so many tokens")):
        if name in found:
            lines += _rows(found[name], title)
            if found[name]["extrapolated"]:
                lines.append(f"  extrapolation: estimates were held against runs of up to {found['checked_mb']:,} MB")
    return "\n".join(lines)


def _rows(row: Mapping[str, Any], title: str) -> list[str]:
    cpu, disk, memory = row["cpu_hours"], row["disk_gb"], row["memory_gb"]
    hours, sizes = (
        ", ".join(f"{step} {value:,.2f}" for step, value in each.items() if step != "all") for each in (cpu, disk)
    )
    head = f"{title}: {row['raw_mb']:,.0f} MB of raw text, {row['documents']:,} documents, {row['tokens']:,} tokens"
    if row["repeated_range"]:
        least, most = row["repeated_range"]
        head += f", {row['repeated_share']:.1%} of the documents repeats ({least:.1%} to {most:.1%} fit the sample)"
    kept = ", ".join(f"{size:,.2f} GB {'a worker' if name == 'a_worker' else name}" for name, size in memory.items())
    return [
        head,
        f"  CPU-hours {cpu['all']:,.2f}: {hours}",
        f"  disk {disk['all']:,.2f} GB at most: {sizes}",
        f"  memory of a process: {kept}",
    ]
