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

    python benchmarks/swarm_pool.py runs/japanese --workers 2x1,2

sets two workers of one command beside two commands of one worker each, which share nothing, side by side on half of the
proxies (goal: .97 of them). Ratios are against the first of `--workers`, each of its own repeat: `work of base` of the
CPU-seconds that training, evaluation and export of the proxies took by themselves, `CPU of base` of those of all processes,
`speed-up` and `whole` of wall time. On a busy machine the first two are the ones to read.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
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

POLL_S = (0.05, 0.25)
"""Before and after the first step."""
MEMORY_EVERY = 8
"""Polls; looking at a process' memory map costs milliseconds."""


@dataclass
class Measured:
    cpu: float = 0.0
    work: float = 0.0
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


def measure(args: argparse.Namespace, workers: str, folder: Path) -> Measured:
    """One call of launch.proxies, or as many side by side as stands before the `x`."""
    commands, each = _numbers(workers)
    with tempfile.TemporaryDirectory(dir=folder) as out:
        made, began, busy_before = Measured(), time.monotonic(), busy()
        running = []
        for number in range(commands):
            command = [sys.executable, "-m", "launch.proxies", "--ratios", str(_table(folder, number, commands))]
            command += ["--catalogue", str(args.run / "corpora.yml"), "--config", str(folder / "proxy.yml")]
            command += ["--tokens", str(args.tokens), "--eval-tokens", "2000", "--workers", str(each)]
            command += ["--output-dir", f"{out}/{number}"]
            running.append(subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL, stdout=-1))
        spent: dict[int, float] = {}
        for poll in itertools.count():
            # before poll(): a process that has ended, and was not waited for, still tells what it took
            spent |= {pid: took for process in running for pid, took in tree(process.pid).items()}
            if all(process.poll() is not None for process in running):
                break
            if not made.first_cpu and any(path.stat().st_size for path in Path(out).glob("*/runs/*/log.jsonl")):
                made.first_cpu, made.first_wall = sum(spent.values()), time.monotonic() - began
            elif made.first_cpu and poll % MEMORY_EVERY == 0:
                sizes = [memory(pid) for pid in spent if pid not in {process.pid for process in running}]
                made.rss, made.pss = (
                    max(now, *(size[n] for size in sizes)) for n, now in enumerate((made.rss, made.pss))
                )
            time.sleep(POLL_S[made.first_cpu > 0])
        if any(process.returncode for process in running):
            raise SystemExit(f"launch.proxies failed: {' '.join(command)}")
        made.wall, made.cpu = time.monotonic() - began, sum(spent.values())
        made.others = busy() - busy_before - made.cpu
        results = [json.loads(path.read_text()) for path in Path(out).glob("*/runs/*/result.json")]
        made.work = sum(result["cpu_seconds"] for result in results)
    return made


def _numbers(workers: str) -> tuple[int, int]:
    """Commands, and workers of each: `2` is one command of two workers, `2x1` two of one."""
    commands, _, each = workers.rpartition("x")
    return int(commands or 1), int(each)


def _table(folder: Path, number: int, commands: int) -> Path:
    """The table of mixtures for one of several commands."""
    header, *rows = (folder / "ratios.csv").read_text().splitlines()
    made = folder / f"ratios-{number}-of-{commands}.csv"
    made.write_text("\n".join([header, *rows[number::commands], ""]))
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


def row(workers: str, many: list[Measured], base: list[Measured]) -> dict[str, float]:
    """The medians of the repeats, and how many times faster than those of `base`."""
    pairs = list(zip(base, many, strict=True))
    commands, each = _numbers(workers)
    ratios = {
        "work of base": [a.work / b.work for a, b in pairs],
        "CPU of base": [a.cpu / b.cpu for a, b in pairs],
        "speed-up": [(a.wall - a.first_wall) / (b.wall - b.first_wall) for a, b in pairs],
        "whole": [a.wall / b.wall for a, b in pairs],
    }
    return {
        **{field: round(statistics.median(getattr(one, field) for one in many), 2) for field in vars(many[0])},
        **{name: round(statistics.median(values), 3) for name, values in ratios.items()},
        "ceiling": round(ceiling(commands * each), 3),
    }


def main() -> int:
    words = parser(__doc__)
    words.add_argument("--proxy", default="1M")
    words.add_argument("--proxies", type=int, default=4)
    words.add_argument("--tokens", type=int, default=100_000)
    words.add_argument("--workers", default="1,2", help="workers of a command; 2x1: two commands of one worker")
    words.add_argument("--repeats", type=int, default=3)
    words.add_argument("--json", action="store_true")
    args = arguments(words)
    names = args.workers.split(",")
    results: dict[str, list[Measured]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as folder:
        prepare(args, Path(folder))
        for repeat in range(args.repeats):
            for name in names if repeat % 2 == 0 else reversed(names):
                results[name].append(measure(args, name, Path(folder)))
    table: dict[str, Any] = {name: row(name, many, results[names[0]]) for name, many in results.items()}
    if not args.json:
        print(f"{args.proxies} proxies {args.proxy} of {args.tokens:,} tokens, medians of {args.repeats}, by workers")
    show(table, args.json)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
