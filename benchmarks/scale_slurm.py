"""Many small shards through preprocess.scale on a real Slurm of this machine, tasks killed with -9: the bytes of one machine.

    python benchmarks/scale_slurm.py [--shards 1000] [--tasks 16] [--kills 6] [--workers 4] [--seed 1] [--json]

Needs Debian's packages slurmctld, slurmd, slurm-client and munge, and datatrove. Four virtual nodes are started (as in
tests/private_slurm.py); the run is submitted as array jobs; --kills tasks that run are killed, one after the other, with their
processes; the command is given again where a task failed, as a user would, until the datasets are joined. Then all is cleaned,
decontaminated and indexed file after file in this process, and the .bin and .idx are compared.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from _measure import command, load, parser, show

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
_PATIENCE_S = 3600
_SIGNS = "日本の山は雨である質問。"


def shards(folder: Path, count: int, seed: int) -> list[Path]:
    """Gzipped jsonl of a dozen documents each."""
    folder.mkdir()
    rng, paths = random.Random(seed), []
    for number in range(count):
        rows = [{"text": "".join(rng.choices(_SIGNS, k=rng.randrange(60, 200)))} for _ in range(12)]
        body = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
        paths.append(folder / f"{number:05d}.jsonl.gz")
        paths[-1].write_bytes(gzip.compress(body))
    return paths


def evaluation_items(paths: list[Path], target: Path) -> Path:
    """A text of every fifth shard, as evaluation items."""
    with open(target, "w", encoding="utf-8") as handle:
        for path in paths[::5]:
            handle.write(gzip.decompress(path.read_bytes()).decode().splitlines()[3] + "\n")
    return target


def on_one_machine(paths: list[Path], model: Path, items: Path, place: Path) -> dict[str, bytes]:
    """File after file with the plain functions."""
    from haigo.formats import documents
    from preprocess import clean, decontaminate, index

    for number, path in enumerate(paths):
        clean.clean_corpus("x", [path], place / "clean" / f"{number:05d}", min_chars=10)
        decontaminate.decontaminate([place / "clean" / f"{number:05d}"], [items], place / f"{number:05d}")
    for split in documents.SPLITS:
        found = [shard for each in sorted(place.glob("[0-9]*")) for shard in sorted((each / "x" / split).glob("*.zst"))]
        index.index(found, model, place / split)
    return datasets(place)


def datasets(place: Path) -> dict[str, bytes]:
    """Name -> bytes of what was joined."""
    return {
        path.name: path.read_bytes() for kind in ("bin", "idx") for path in sorted(place.glob(f"*_document.{kind}"))
    }


class Cluster:
    """The run on the cluster.

    Attributes:
        calls: how often the command was given. killed: tasks that were.
    """

    def __init__(self, slurm: Any, run: Path, output: Path, kills: int, rng: random.Random) -> None:
        self.slurm, self.run, self.output, self.kills, self.rng = slurm, run, output, kills, rng
        self.calls, self.killed = 0, list[str]()

    def submit(self) -> None:
        """Give the command, as a user does."""
        self.calls += 1
        environment = {**self.slurm.environment, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        words = [sys.executable, "-m", "preprocess.scale", str(self.run)]
        done = subprocess.run(words, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(done.stdout + done.stderr)

    def until_joined(self) -> None:
        """Kill, and submit again, until the last step is done."""
        self.submit()
        end = time.monotonic() + _PATIENCE_S
        while not list((self.output / "logs").glob("join-*/completions/*")):
            if time.monotonic() > end:
                raise SystemExit(
                    f"not joined after {_PATIENCE_S} s\n{self.slurm.call('squeue').stdout}{self.slurm.logs()}"
                )
            running = self.slurm.call("squeue", "-h", "-r", "-t", "R", "-o", "%i").stdout.split()
            waiting = self.slurm.call("squeue", "-h", "-o", "%r").stdout.split()
            if running and len(self.killed) < self.kills:
                one = self.rng.choice(running)
                self.slurm.call("scancel", "--full", "--signal=KILL", one)
                self.killed.append(one)
            elif not running and (not waiting or "DependencyNeverSatisfied" in waiting):  # a user sees that in squeue
                self.slurm.call("scancel", "--state=PENDING", "--user", str(os.getuid()))
                time.sleep(1)
                if not list((self.output / "logs").glob("join-*/completions/*")):
                    self.submit()
            time.sleep(2)


def measure(given: argparse.Namespace) -> dict[str, Any]:
    """Both ways; what was needed for each."""
    import private_slurm

    from haigo import yamlfile

    if missing := private_slurm.missing():
        raise SystemExit(f"not here: {', '.join(missing)}")
    with tempfile.TemporaryDirectory(prefix="haigo-scale-") as folder, private_slurm.running() as slurm:
        place = Path(folder)
        paths = shards(place / "raw", given.shards, given.seed)
        items = evaluation_items(paths, place / "items.jsonl")
        model = given.model or _model(place / "model", given.seed)
        options: dict[str, Any] = {
            "partition": "main",
            "time": "01:00:00",
            "cpus_per_task": 1,
            "mem_per_cpu_gb": 1,
            "qos": "normal",
        }
        options |= {"venv_path": str(Path(sys.executable).with_name("activate")), "sbatch_args": {"chdir": str(ROOT)}}
        keys: dict[str, Any] = {
            "corpus": "x",
            "inputs": [str(place / "raw")],
            "output": str(place / "out"),
            "tokenizer": str(model),
        }
        keys |= {"decontaminate": {"against": [str(items)]}}
        keys |= {"clean": {"min_chars": 10}, "tasks": given.tasks, "workers": given.workers, "executor": "slurm"}
        yamlfile.write(place / "run.yml", {**keys, "slurm": options})
        cluster = Cluster(slurm, place / "run.yml", place / "out", given.kills, random.Random(given.seed))
        began = time.monotonic()
        cluster.until_joined()
        spent = time.monotonic() - began
        began = time.process_time()
        expected = on_one_machine(paths, model, items, place / "one")
        made = datasets(place / "out")
        return {
            "shards": len(paths),
            "tasks": given.tasks,
            "killed": cluster.killed,
            "commands": cluster.calls,
            "wall_s": round(spent, 1),
            "one_machine_cpu_s": round(time.process_time() - began, 1),
            "bytes": sum(map(len, expected.values())),
            "same": bool(expected) and made == expected,
        }


def _model(folder: Path, seed: int) -> Path:
    """A small tokenizer, trained here."""
    corpus, text = folder.with_name("text.jsonl"), random.Random(seed)
    rows = ({"text": "".join(text.choices(_SIGNS, k=120))} for _ in range(300))
    corpus.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    clean = folder.with_name("text")
    command([sys.executable, "-m", "preprocess.clean", corpus, "--corpus", "t", "--output-dir", clean])
    words = [sys.executable, "-m", "preprocess.tokenizer", clean, "--output-dir", folder, "--vocab-size", "300"]
    command(words)
    return folder


def main(argv: list[str] | None = None) -> int:
    words = parser(__doc__)
    words.add_argument("--shards", type=int, default=1000)
    words.add_argument("--tasks", type=int, default=16)
    words.add_argument("--kills", type=int, default=6)
    words.add_argument("--workers", type=int, default=4, help="tasks at a time")
    words.add_argument("--model", type=Path, help="tokenizer (default: a small one, trained here)")
    words.add_argument("--seed", type=int, default=1)
    words.add_argument("--json", action="store_true")
    given = words.parse_args(argv)
    found = measure(given)
    if given.json:
        show(found, True)
    else:
        same = "the same as" if found["same"] else "NOT those of"
        print(
            f"{found['shards']:,} shards in {found['tasks']} tasks a step on Slurm, {len(found['killed'])} tasks killed,"
            f" the command given {found['commands']} times, {found['wall_s']:,.0f} s: {found['bytes']:,} bytes"
            f" {same} one machine ({found['one_machine_cpu_s']:,.0f} CPU-s); {load()}"
        )
    return 0 if found["same"] else 1


if __name__ == "__main__":
    os.environ["HAIGO_QUIET"] = "1"
    raise SystemExit(main())
