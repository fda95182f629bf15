"""Memory and time of each stage of `launch.pipeline` on real text, and whether the whole stays below a limit.

    HAIGO_CORPORA=DIR python benchmarks/pipeline_memory.py [examples/japanese.yml] [--limit-gb 4] [--output-dir DIR]
           [--set KEY=VALUE]... [--every 0.5] [--json]

Memory is the proportional set size of the command and all its descendants, summed: pages that processes share count once,
files that the system keeps in its cache do not count. It is looked at twice a second; a run that takes more than the
limit is killed, and the script ends with 1. A stage is at work from the first `.inputs` of its folders to the last
`.done.json`; stages that the run folder holds already are not in the table. CPU time leaves out the last moments of each
process, wall time is that of a machine that others may use.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from _measure import ROOT, load, parser, show
from _processes import memory, tree

from launch.pipeline.stage import DONE, INPUTS


class Sample(NamedTuple):
    """One look at the processes."""

    at: float
    """Seconds since the epoch, as the times of files are."""
    cpu: float
    """CPU-seconds so far."""
    together: float
    largest: float
    """Memory in MB, of all and of the largest process."""
    processes: int


def watched(command: list[str], limit_mb: float, every_s: float) -> list[Sample]:
    """Run a command to its end, and look at it meanwhile.

    Raises:
        SystemExit: it took more than the limit (it is killed), or failed.
    """
    process = subprocess.Popen(command, cwd=ROOT, start_new_session=True, env=os.environ | {"PYTHONPATH": str(ROOT)})
    spent: dict[int, float] = {}
    samples: list[Sample] = []
    while process.poll() is None:
        now = tree(process.pid)
        spent |= now
        sizes = [memory(pid)[1] for pid in now]
        samples.append(Sample(time.time(), sum(spent.values()), sum(sizes), max(sizes, default=0.0), len(now)))
        if samples[-1].together > limit_mb:
            os.killpg(process.pid, signal.SIGKILL)
            raise SystemExit(
                f"over the limit: {samples[-1].together:,.0f} MB in {len(now)} processes, {limit_mb:,.0f} allowed"
            )
        time.sleep(every_s)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return samples


def stages(folder: Path) -> dict[str, tuple[float, float]]:
    """When the stages of a run folder began and ended, by the first part of their names, in order."""
    found: dict[str, tuple[float, float]] = {}
    for done in folder.rglob(DONE):
        name = done.parent.relative_to(folder).parts[0]
        begin, end = (done.parent / INPUTS).stat().st_mtime, done.stat().st_mtime
        before = found.get(name, (begin, end))
        found[name] = (min(before[0], begin), max(before[1], end))
    return dict(sorted(found.items(), key=lambda item: item[1][1]))


def table(samples: list[Sample], when: dict[str, tuple[float, float]]) -> dict[str, str]:
    """A row a stage, one of the rest (imports, digests, the report), and one of it all."""
    inside = {name: [each for each in samples if begin <= each.at <= end] for name, (begin, end) in when.items()}
    rows, cpu = {}, 0.0
    for name, those in inside.items():
        if those:
            worked = those[-1].cpu - those[0].cpu
            cpu += worked
            begin, end = when[name]
            rows[name] = _row(end - begin, worked, those)
    whole = samples[-1].at - samples[0].at
    others = [each for each in samples if not any(begin <= each.at <= end for begin, end in when.values())]
    between = whole - sum(end - begin for name, (begin, end) in when.items() if inside[name])
    if others:
        rows["beside the stages"] = _row(max(0.0, between), max(0.0, samples[-1].cpu - cpu), others)
    return rows | {"all": _row(whole, samples[-1].cpu, samples)}


def _row(wall: float, cpu: float, samples: list[Sample]) -> str:
    most = max(samples, key=lambda each: each.together)
    return (
        f"{wall:7.1f} s  {cpu:7.1f} CPU-s  {most.together:6,.0f} MB in {most.processes} processes, "
        f"the largest {max(each.largest for each in samples):,.0f} MB"
    )


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("runfile", nargs="?", default="examples/japanese.yml", help="default: %(default)s")
    arguments.add_argument(
        "--limit-gb", type=float, default=4.0, help="GB (2^30 bytes) of the whole (default: %(default)s)"
    )
    arguments.add_argument("--output-dir", help="the run folder (default: a new one, removed at the end)")
    arguments.add_argument("--set", action="append", default=[], help="a key of the run file; repeatable")
    arguments.add_argument("--every", type=float, default=0.5, help="seconds between looks (default: %(default)s)")
    arguments.add_argument("--json", action="store_true")
    args = arguments.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(args.output_dir or Path(scratch) / "run").absolute()
        named = Path(args.runfile)
        runfile = str(named.absolute() if named.exists() else named)  # one that comes with Haigo from the clone
        command = [sys.executable, "-m", "launch.pipeline", runfile, "--output-dir", str(folder)]
        command += [word for each in args.set for word in ("--set", each)]
        before = load()
        rows = table(watched(command, args.limit_gb * 1024, args.every), stages(folder))
    show({f"limit {args.limit_gb:g} GB, {before} at the start": rows}, args.json)


if __name__ == "__main__":
    main()
