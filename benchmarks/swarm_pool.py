"""What a pool of workers costs and gains: CPU-seconds to the first training step, memory a worker, and the wall time of the
same proxies with one worker and with more.

    python -m launch.pipeline examples/japanese.yml            (or any run: its datasets are used)
    python benchmarks/swarm_pool.py runs/japanese --workers 1,2 --repeats 3

Each measurement is one call of `python -m launch.proxies` in a process tree of its own, in alternating order. "First step"
is when the first of the models has written the loss of its first step; the CPU time until then is that of the whole tree:
command, fork server and all workers. The time from there to the end gives the speed-up, which is the training's alone;
"whole" is the speed-up of the command as it was typed. Only a quiet machine tells how well two workers share it: the load
of others during each measurement (CPU time that was not ours) is printed, and what one core of this machine loses when
the other is at work, measured with products of matrices that fit the caches.
"""

from __future__ import annotations

import argparse
import csv
import multiprocessing
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from _measure import ROOT, show
from _processes import TICK, memory, tree
from _run_folder import arguments, datasets, parser

POLL_S = (0.05, 2.0)
"""Before and after the first step: looking at a process' memory map costs milliseconds."""


@dataclass
class Measured:
    first_cpu: float = 0.0
    first_wall: float = 0.0
    wall: float = 0.0
    rss: float = 0.0
    pss: float = 0.0
    others: float = 0.0


def busy() -> float:
    """CPU-seconds that this machine has worked since it started."""
    user, nice, system, _, _, irq, soft, steal = map(int, Path("/proc/stat").read_text().split("\n")[0].split()[1:9])
    return (user + nice + system + irq + soft + steal) / TICK


def measure(args: argparse.Namespace, workers: int, folder: Path) -> Measured:
    """One call of launch.proxies."""
    command = [sys.executable, "-m", "launch.proxies", "--ratios", str(folder / "ratios.csv"), "--catalogue"]
    command += [str(args.run / "corpora.yml"), "--config", str(folder / "proxy.yml")]
    command += ["--tokens", str(args.tokens), "--eval-tokens", "2000", "--workers", str(workers)]
    with tempfile.TemporaryDirectory(dir=folder) as out:
        made, began, busy_before = Measured(), time.monotonic(), busy()
        process = subprocess.Popen([*command, "--output-dir", out], cwd=ROOT, stderr=subprocess.DEVNULL, stdout=-1)
        spent: dict[int, float] = {}
        while process.poll() is None:
            spent |= tree(process.pid)
            if not made.first_cpu and any(path.stat().st_size for path in Path(out).glob("runs/*/log.jsonl")):
                made.first_cpu, made.first_wall = sum(spent.values()), time.monotonic() - began
            elif made.first_cpu:
                sizes = [memory(pid) for pid in spent if pid != process.pid]
                made.rss, made.pss = (
                    max(now, *(size[n] for size in sizes)) for n, now in enumerate((made.rss, made.pss))
                )
            time.sleep(POLL_S[made.first_cpu > 0])
        if process.returncode:
            raise SystemExit(f"launch.proxies ended with {process.returncode}: {' '.join(command)}")
        made.wall = time.monotonic() - began
        made.others = busy() - busy_before - sum(spent.values())
    return made


def _products(seconds: float) -> float:
    import torch

    torch.set_num_threads(1)
    left, right = torch.ones(256, 128), torch.ones(128, 256)
    done, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        for _ in range(100):
            torch.mm(left, right)
        done += 100
    return done / seconds


def ceiling(workers: int) -> float:
    """How many times the matrix products of one process `workers` of them do, on this machine, now."""
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        pool.map(_products, [0.5] * workers)
        alone = pool.apply(_products, [2.0])
        return float(sum(pool.map(_products, [2.0] * workers, chunksize=1)) / alone)


def prepare(args: argparse.Namespace, folder: Path) -> None:
    """The proxies' config, which logs every step, and a table of equal mixtures."""
    from neox_configs import shipped

    config = shipped.find_model(args.proxy).read_text().splitlines()
    lines = [line for line in config if not line.startswith("log_interval")]
    (folder / "proxy.yml").write_text("\n".join([*lines, "log_interval: 1", ""]))
    corpora = list(datasets(args.run).corpora)
    with open(folder / "ratios.csv", "w", newline="") as handle:
        rows = csv.writer(handle)
        rows.writerow(["run", *corpora])
        rows.writerows([f"p{n}", *[1 / len(corpora)] * len(corpora)] for n in range(args.proxies))


def row(workers: int, many: list[Measured], base: list[Measured]) -> dict[str, float]:
    """The medians of the repeats, and how many times faster than those of `base`."""
    pairs = list(zip(base, many, strict=True))
    return {
        **{field: round(statistics.median(getattr(one, field) for one in many), 2) for field in vars(many[0])},
        "speed-up": round(statistics.median((a.wall - a.first_wall) / (b.wall - b.first_wall) for a, b in pairs), 3),
        "whole": round(statistics.median(a.wall / b.wall for a, b in pairs), 3),
        "ceiling": round(ceiling(workers), 3),
    }


def main() -> int:
    words = parser(__doc__)
    words.add_argument("--proxy", default="1M")
    words.add_argument("--proxies", type=int, default=4)
    words.add_argument("--tokens", type=int, default=100_000)
    words.add_argument("--workers", default="1,2")
    words.add_argument("--repeats", type=int, default=3)
    words.add_argument("--json", action="store_true")
    args = arguments(words)
    numbers = [int(word) for word in args.workers.split(",")]
    results: dict[int, list[Measured]] = {number: [] for number in numbers}
    with tempfile.TemporaryDirectory() as name:
        prepare(args, Path(name))
        for repeat in range(args.repeats):
            for number in numbers if repeat % 2 == 0 else reversed(numbers):
                results[number].append(measure(args, number, Path(name)))
    table: dict[str, Any] = {f"{number}": row(number, many, results[numbers[0]]) for number, many in results.items()}
    if args.json:
        show(table, True)
        return 0
    print(f"{args.proxies} proxies {args.proxy} of {args.tokens:,} tokens, medians of {args.repeats}")
    print("workers  CPU-s to first step  wall to it  wall  RSS MB  PSS MB  speed-up  whole  ceiling  others' CPU-s")
    for workers, one in table.items():
        print(
            f"{workers:>7}{one['first_cpu']:>21.2f}{one['first_wall']:>12.2f}{one['wall']:>6.0f}{one['rss']:>8.0f}{one['pss']:>8.0f}"
            f"{one['speed-up']:>10.2f}{one['whole']:>7.2f}{one['ceiling']:>9.2f}{one['others']:>16.1f}"
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
