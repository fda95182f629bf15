"""CPU, memory and disk of a run of `preprocess.scale` from a sample of its input, about one percent.

A quarter of the sample and all of it go through clean, dedup, what else the run file asks for, and index, each a process of
its own: what the larger took more is the price of a megabyte, and starting up falls out. Equal and nearly equal documents
are the rarer the smaller a sample is: with two sizes, how many documents have copies and how many copies there are of each is
worked out, and so how many would go in all of the input. Memory of deduplication and disk grow with documents and bytes.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

import numpy as np

from haigo import files
from haigo.cli import Failed
from haigo.formats.documents.containers import unpack

from . import dedup_plan, documents_aside, scale_room, sources
from .options import CleanOptions, ScaleRun
from .sources import input_files, pieces

_ROOT = Path(__file__).resolve().parents[1]
_FEW = 8
"""Repeats in the sample: of fewer nothing is worked out."""
_NOISE = 4.0  # of the sum of squares: two standard deviations
SHARE, LEAST_BYTES, MOST_BYTES = 0.01, 8_000_000, 400_000_000
"""Of the input that is looked at, and limits of it in bytes of raw text."""
CHECKED_MB = 40
"""Raw text up to which estimates were held against runs (benchmarks/scale_estimate.py)."""
_PLACES = 4
"""Of a file that is cut, from which the sample is taken."""
_HEAD, _LEAST_PIECE = 4 << 20, 1 << 14
_RUN = """
import json, os, sys
from pathlib import Path
from preprocess import clean, decontaminate, dedup, index, scale_resplit, score
told, what = json.loads(sys.argv[1]), int(sys.argv[2])
before = sum(os.times()[:4])
if told["step"] == "clean":
    clean.clean_corpus(told["corpus"], [told["raw"]], told["place"] + "/clean", **told["clean"])
elif told["step"] == "dedup":
    dedup.dedup([told["place"] + "/clean"], told["place"] + "/dedup")
elif told["step"] == "decontaminate":
    decontaminate.decontaminate([told["source"]], output_dir=told["place"] + "/decontaminate", **told["options"])
elif told["step"] == "score":
    score.score([told["source"]], told["place"] + "/score", **told["options"])
elif told["step"] == "resplit":
    scale_resplit.deal_one(Path(told["source"]), Path(told["place"] + "/resplit"), **told["options"])
else:
    index.index([told["source"] + "/train"], told["tokenizer"], told["place"] + "/data")
with open("/proc/self/status") as status:
    peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
os.write(what, json.dumps([sum(os.times()[:4]) - before, peak * 1024]).encode())
"""


def of(run: ScaleRun, tokens: float | None = None) -> dict[str, Any]:
    """What a run takes, and what it would for so many tokens of text such as this.

    Raises:
        HaigoError: no input, or none that is text.
        Failed: a step did not end well on the sample.
    """
    found = [(path, key) for path, key in input_files(run.inputs) if path.stat().st_size]
    with tempfile.TemporaryDirectory(prefix="haigo-estimate-") as folder:
        place = Path(folder)
        raw = sum(path.stat().st_size * _unpacked(path) for path, _ in found)
        wanted = min(1.0, min(MOST_BYTES, max(LEAST_BYTES, SHARE * raw)) / max(1.0, raw))
        share = _sample(found, CleanOptions(**run.clean), place / "sample.jsonl", wanted)
        with open(place / "sample.jsonl", "rb") as handle, files.create(place / "quarter.jsonl") as quarter:
            quarter.writelines(itertools.islice(handle, 0, None, 4))
        measured = [_chain(run, place / f"{name}.jsonl", place / name) for name in ("quarter", "sample")]
    sample = measured[1]
    scales = {"run": 1 / share}
    if tokens:
        each = sample["tokens"] / max(1, sample["kept"]) * sample["cleaned"] * stays(measured, 1 / share).likely
        scales["tokens"] = tokens / max(1.0, each)
    return {
        "corpus": run.corpus,
        "raw_mb": round(raw / 1e6, 1),
        "share": share,
        "sample": {key: sample[key] for key in ("documents", "cleaned", "kept", "tokens")} | {"mb": sample["mb"]},
        "checked_mb": CHECKED_MB,
        **{name: _scaled(measured, scale) for name, scale in scales.items()},
    }


def _unpacked(path: Path) -> float:
    """Bytes that a byte on the disk holds, by the beginning of a file."""
    with open(path, "rb") as raw:
        stream = unpack(cast(BinaryIO, raw))  # which closes the file when it goes
        try:
            head = stream.read(_HEAD)
        except Exception:  # a damaged one: cleaning names it
            return 1.0
        size = path.stat().st_size
        return len(head) / max(1, size if len(head) < _HEAD else min(size, raw.tell()))


def _sample(found: Sequence[tuple[Path, str]], how: CleanOptions, target: Path, share: float) -> float:
    """Write documents of about such a share of the input, taken evenly from it; the share that they really are."""
    total = sum(path.stat().st_size for path, _ in found)
    many = len(found) * share >= _PLACES
    chosen = [found[int(at / share)] for at in range(int(len(found) * share))] if many else found
    seen = 0.0
    with files.create(target) as handle:
        for path, key in chosen:
            size = path.stat().st_size
            cuts = (
                [] if many or share >= 1 else pieces.cut(path, key, how, max(_LEAST_PIECE, int(size * share / _PLACES)))
            )
            cuts = cuts if len(cuts) > 2 * _PLACES else []  # too few to draw from
            most = math.inf if many or share >= 1 else size * _unpacked(path) * share
            some = cuts[:: max(1, len(cuts) // _PLACES)][:_PLACES]
            streams = [cut.documents(how) for cut in some] if cuts else [sources.read([path], how)]
            written = 0
            for document in itertools.chain(*streams):
                written += handle.write(documents_aside.row(document))
                if not cuts and written >= most:
                    break
            seen += sum(cut.end - cut.start for cut in some) if cuts else size * (1 if written < most else share)
    return min(1.0, seen / max(1, total))


def _chain(run: ScaleRun, raw: Path, place: Path) -> dict[str, Any]:
    """What each step took on a sample, in CPU seconds and bytes of memory, and what became of the documents."""
    told: dict[str, Any] = {"corpus": run.corpus, "raw": str(raw), "place": str(place), "tokenizer": run.tokenizer}
    told["clean"] = {**run.clean, "format": "jsonl", "text_key": "text", "min_chars": run.clean.get("min_chars")}
    place.mkdir()
    took, source = {}, "clean"
    for step in _steps(run):
        below = {"clean": "", "resplit": f"resplit/{run.corpus}"}.get(source, run.corpus)
        asked = {"source": str(place / source / below), "options": dict(getattr(run, step, None) or {}), "step": step}
        if step == "resplit":
            asked["options"] = {"shares": CleanOptions(**run.clean).split_shares, "seed": 0}
        took[step], source = _timed(told | asked), step
    reports = [files.read_json(place / each) for each in ("clean/clean.json", "dedup/dedup.json")]
    manifest = files.read_json(place / "data_text_document.json")
    ends = (".bin", ".idx")
    return {
        "mb": raw.stat().st_size / 1e6,
        "cpu_s": {step: cpu for step, (cpu, _) in took.items()},
        "peak": {step: peak for step, (_, peak) in took.items()},
        "documents": reports[0]["documents_in"],
        # with those that cleaning itself dropped as equal to others of the same input
        "cleaned": reports[1]["documents_in"] + reports[0]["rules"].get("duplicate", {}).get("documents", 0),
        "kept": reports[1]["documents_out"],
        "tokens": manifest["tokens"],
        "bytes": {step: _size(place / step) for step in took if step != "index"},
        "index_bytes": sum(os.path.getsize(place / f"data_text_document{end}") for end in ends),
    }


def _steps(run: ScaleRun) -> list[str]:
    """What the sample goes through."""
    asked = [step for step in ("decontaminate", "score", "resplit") if getattr(run, step) is not None]
    return ["clean", "dedup", *asked, "index"]


def _timed(told: Mapping[str, Any]) -> tuple[float, int]:
    """CPU seconds of a step, without its imports, and the most memory of its process.

    Raises:
        Failed: it did not end well.
    """
    receiver, sender = os.pipe()
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HAIGO_QUIET": "1"}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))
    words = [sys.executable, "-c", _RUN, json.dumps(told), str(sender)]
    done = subprocess.run(words, env=environment, pass_fds=[sender], capture_output=True, text=True, check=False)
    os.close(sender)
    with open(receiver, "rb") as answer:
        content = answer.read()
    if done.returncode or not content:
        said = done.stderr.strip().splitlines()[-1:] or ["no word"]
        raise Failed(f"{told['step']} failed on the sample: {said[0]}", "run that step by itself on one of the files")
    cpu, peak = json.loads(content)
    return float(cpu), int(peak)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*.jsonl.zst"))


# --- from the sample to the whole -----------------------------------------------------------------------------------------


def _per_mb(measured: Sequence[Mapping[str, Any]], step: str) -> float:
    """CPU seconds a megabyte of raw text: of what the larger sample has more, so that starting up costs nothing."""
    quarter, sample = measured
    more = (sample["cpu_s"][step] - quarter["cpu_s"][step]) / max(1e-9, sample["mb"] - quarter["mb"])
    return float(more if more > 0 else sample["cpu_s"][step] / sample["mb"])


class Stays(NamedTuple):
    """The share of cleaned documents that deduplication leaves: the likeliest, and the limits of what fits the sample."""

    likely: float
    least: float
    most: float


def stays(measured: Sequence[Mapping[str, Any]], scale: float) -> Stays:
    """What stays of `scale` samples' text.

    A share q of all documents stands in clusters of m. Of a part s of all, clusters give m*s*N - (those of which any is in it)
    repeats; q and m are those that give what was seen in a quarter of the sample and in all of it. While few clusters have two
    of theirs in the sample, many pairs of copies look like few larger clusters: every m that fits within the noise counts, and
    the likeliest is the middle one.
    """
    part = min(1.0, 1 / scale)
    removed = [each["cleaned"] - each["kept"] for each in measured]
    seen = [gone / max(1, each["cleaned"]) for gone, each in zip(removed, measured, strict=True)]
    if removed[1] < _FEW:
        return Stays(1 - seen[1], 0.0, 1 - seen[1])
    fits = []
    for size in np.geomspace(2, 10_000, 240).tolist():
        rates = [1 - (1 - (1 - part * own) ** size) / (size * part * own) for own in (0.25, 1.0)]
        fitted = min(1.0, seen[1] / max(rates[1], 1e-12))
        off = 0.0
        for rate, gone, each in zip(rates, removed, measured, strict=True):
            off += (fitted * rate * each["cleaned"] - gone) ** 2 / max(1.0, gone)
        fits.append((off, 1 - fitted * (1 - 1 / size)))
    best = min(off for off, _ in fits)
    those = [stay for off, stay in fits if off <= best + _NOISE]
    noise = min(1.0, 2 / math.sqrt(removed[1]))  # of the count itself
    return Stays(
        those[len(those) // 2],
        max(0.0, 1 - (1 - min(those)) * (1 + noise)),
        1 - (1 - max(those)) * (1 - noise),
    )


def _scaled(measured: Sequence[Mapping[str, Any]], scale: float) -> dict[str, Any]:
    """What `scale` times the sample takes."""
    sample = measured[1]
    mb, left = sample["mb"] * scale, stays(measured, scale)
    relative = left.likely / max(1e-9, sample["kept"] / max(1, sample["cleaned"]))  # to what stayed in the sample
    whole = ("clean", "dedup")  # steps that read all documents; the others those that stay
    cpu = {step: _per_mb(measured, step) * mb / 3600 * (1 if step in whole else relative) for step in sample["cpu_s"]}
    disk = {
        **{step: size * scale * (1 if step == "clean" else relative) for step, size in sample["bytes"].items()},
        "index": 2 * sample["index_bytes"] * scale * relative,
    }
    peaks = [peak for step, peak in sample["peak"].items() if step != "dedup"]
    count = sample["cleaned"] * scale
    more = dedup_plan.memory(count) - dedup_plan.memory(sample["cleaned"])
    dedup_memory = sample["peak"]["dedup"] + max(0, more)
    return {
        "raw_mb": round(mb, 1),
        "documents": round(count),
        "tokens": round(sample["tokens"] * scale * relative),
        "repeated_share": round(1 - left.likely, 4),
        "repeated_range": [round(1 - left.most, 4), round(1 - left.least, 4)],
        "cpu_hours": {
            **{step: float(f"{hours:.4g}") for step, hours in cpu.items()},
            "all": float(f"{sum(cpu.values()):.4g}"),
        },
        "disk_gb": {
            **{step: round(size / 1e9, 3) for step, size in disk.items()},
            "all": round(sum(disk.values()) / 1e9, 3),
        },
        "memory_gb": {
            "a_worker": round(max(*peaks, scale_room.WORKER_BYTES) / 1e9, 2),
            "dedup": round(dedup_memory / 1e9, 2),
        },
        "extrapolated": mb > CHECKED_MB,
    }


def table(found: Mapping[str, Any]) -> str:
    """It as lines to read."""
    sample = found["sample"]
    lines = [
        f"{found['corpus']}: measured on {sample['mb']:,.1f} MB, {found['share']:.2%} of about {found['raw_mb']:,.0f} MB of raw"
        f" text: {sample['documents']:,} documents, {sample['cleaned']:,} cleaned, {sample['kept']:,} kept,"
        f" {sample['tokens']:,} tokens"
    ]
    for name, title in (("run", "this run"), ("tokens", "so many tokens")):
        if name in found:
            row = found[name]
            cpu, disk, memory = row["cpu_hours"], row["disk_gb"], row["memory_gb"]
            hours, sizes = (
                ", ".join(f"{step} {value:,.2f}" for step, value in each.items() if step != "all")
                for each in (cpu, disk)
            )
            lines += [
                f"{title}: {row['raw_mb']:,.0f} MB of raw text, {row['documents']:,} documents, {row['tokens']:,} tokens,"
                f" {row['repeated_share']:.1%} of the documents repeats"
                f" ({row['repeated_range'][0]:.1%} to {row['repeated_range'][1]:.1%} fit the sample)",
                f"  CPU-hours {cpu['all']:,.2f}: {hours}",
                f"  disk {disk['all']:,.2f} GB: {sizes} (shards and what they are joined to)",
                f"  memory {memory['a_worker']:,.2f} GB a worker; deduplication on one machine {memory['dedup']:,.2f} GB",
            ]
            if row["extrapolated"]:
                lines.append(f"  extrapolation: estimates were held against runs of up to {found['checked_mb']:,} MB")
    return "\n".join(lines)
