"""Many small shards through every step of preprocess.scale on a real Slurm of this machine, a task of each step killed with -9:
the bytes of one machine.

    python benchmarks/scale_slurm.py [--shards 1000] [--tasks 8] [--kills 99] [--workers 4] [--seed 1] [--json]

Needs Debian's packages slurmctld, slurmd, slurm-client and munge, and datatrove. Four virtual nodes are started (as in
tests/private_slurm.py); shards, of which many documents repeat others, and one file that is cut go through cleaning, dedup,
decontamination, scores, splits dealt out anew, index and join as array jobs. In each of --kills steps, spread over all, one
task is killed by Slurm at the moment when it would move a file into place; the command is given again where a task failed, as
a user would, until the datasets are joined. Then all is done once more in this process, with the functions behind the single
commands, cleaned file by file and the rest as one corpus, and the .bin and .idx are compared.
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
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from _measure import command, load, parser, show

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "preprocess")]
_PATIENCE_S = 3600
_GOOD, _PLAIN = "日本の山は雨である質問。", "安い買う今すぐ!限定円得"
_EACH = 12
_BY_SHARD = (
    "clean",
    "dedup-sketch",
    "dedup-shingle",
    "dedup-drop",
    "decontaminate",
    "score",
    "resplit-count",
    "resplit",
    "index",
)
_SPLIT_BYTES = 30_000
_STRIKE = '''"""Of the jobs: the first task of a step for which a file beside this one asks is killed by Slurm."""
import os, subprocess, sys, time

asked = os.path.join(os.path.dirname(__file__), os.environ.get("SLURM_JOB_NAME", "none"))
output = {output!r}
left = int(open(asked).read()) if os.path.exists(asked) else 0

def strike(event, given):
    global left
    if event != "os.rename" or not left or not os.fsdecode(given[1]).startswith(output):
        return
    left -= 1
    if left:
        return
    try:
        os.rename(asked, asked + ".struck")  # one task alone
    except OSError:
        return
    job = "_".join(os.environ[name] for name in ("SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID"))
    subprocess.run(["scancel", "--full", "--signal=KILL", job])
    time.sleep(60)

if left:
    sys.addaudithook(strike)
'''
"""sitecustomize.py: no moment that depends on the machine's speed."""


def rows(count: int, seed: int) -> list[dict[str, str]]:
    """Documents: one in ten repeats an earlier one, one in ten nearly, one in five is not well written."""
    rng, found = random.Random(seed), list[dict[str, str]]()
    for number in range(count):
        draw = rng.random()
        if draw < 0.2 and number > 100:
            text = rng.choice(found)["text"]
            text = text if draw < 0.1 else text[:-4] + "".join(rng.choices(_GOOD, k=4))
        else:
            text = "".join(rng.choices(_PLAIN if draw > 0.8 else _GOOD, k=rng.randrange(60, 200)))
        found.append({"id": f"{number}", "text": text})
    return found


def _lines(some: Iterable[Mapping[str, str]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in some)


def shards(folder: Path, count: int, seed: int) -> list[Path]:
    """Gzipped jsonl of a dozen documents each, and a plain one that is cut, the last."""
    folder.mkdir()
    found, paths = rows(_EACH * (count + 20), seed), list[Path]()
    for number in range(count):
        paths.append(folder / f"{number:05d}.jsonl.gz")
        paths[-1].write_bytes(gzip.compress(_lines(found[number * _EACH :][:_EACH]).encode()))
    paths.append(folder / f"{count:05d}.jsonl")
    paths[-1].write_text(_lines(found[count * _EACH :]), encoding="utf-8")
    return paths


def evaluation_items(paths: list[Path], target: Path) -> Path:
    """A text of every fifth shard, as evaluation items."""
    texts = [gzip.decompress(path.read_bytes()).decode().splitlines()[3] for path in paths[:-1:5]]
    target.write_text("\n".join(texts) + "\n", encoding="utf-8")
    return target


def quality(place: Path) -> Path:
    """A model of what is well written."""
    from preprocess import quality

    for name, letters in (("good", _GOOD), ("plain", _PLAIN)):
        rng = random.Random(name)
        (place / f"{name}.jsonl").write_text(
            _lines({"text": "".join(rng.choices(letters, k=150))} for _ in range(100)), encoding="utf-8"
        )
    quality.train([str(place / "good.jsonl")], [str(place / "plain.jsonl")], str(place / "quality"))
    return place / "quality"


def on_one_machine(paths: list[Path], keys: Mapping[str, Any], place: Path) -> dict[str, bytes]:
    """With the plain functions: file after file, then as one corpus."""
    from corpora_folders import write

    from haigo.formats import documents
    from preprocess import clean, decontaminate, dedup, index, score, split
    from preprocess.options import CleanOptions

    found: dict[str, list[tuple[str, str]]] = {name: [] for name in documents.SPLITS}
    for number, path in enumerate(paths):
        folder = place / "clean" / f"{number:05d}"
        clean.clean_corpus("x", [path], folder, **keys["clean"])
        for name in documents.SPLITS:
            found[name] += [(one.id, one.text) for one in documents.read(folder, name)]
    folder = write(place / "all" / "x", "x", found)
    dedup.dedup([folder], place / "dedup")
    decontaminate.decontaminate([place / "dedup" / "x"], keys["decontaminate"]["against"], place / "without")
    score.score([place / "without" / "x"], place / "score", **keys["score"])
    cleaned, dealt = CleanOptions(**keys["clean"]), {name: list[Any]() for name in documents.SPLITS}
    left = [one for name in documents.SPLITS for one in documents.read(place / "score" / "x", name)]
    for one in sorted(left, key=lambda one: min(int(one.id) // _EACH, len(paths) - 1)):  # in the order of the files
        dealt[split.choose(split.number(one, cleaned.seed), split.fractions(cleaned.split_shares))].append(one)
    for name, some in dealt.items():
        documents.write_lines(place / f"{name}.jsonl.zst", map(documents.line, some))
        index.index([place / f"{name}.jsonl.zst"], keys["tokenizer"], place / name)
    return datasets(place)


def datasets(place: Path) -> dict[str, bytes]:
    """Name -> bytes of what was joined."""
    return {
        path.name: path.read_bytes() for kind in ("bin", "idx") for path in sorted(place.glob(f"*_document.{kind}"))
    }


class Cluster:
    """The run on the cluster.

    Attributes:
        calls: how often the command was given.
    """

    def __init__(self, slurm: Any, run: Path, output: Path, strikes: Path) -> None:
        self.slurm, self.run, self.output, self.calls = slurm, run, output, 0
        self.environment = {**slurm.environment, "PYTHONPATH": f"{strikes}{os.pathsep}{ROOT}", "OMP_NUM_THREADS": "1"}

    def submit(self) -> None:
        """Give the command, as a user does."""
        self.calls += 1
        words = [sys.executable, "-m", "preprocess.scale", str(self.run)]
        done = subprocess.run(words, env=self.environment, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(done.stdout + done.stderr)

    def until_joined(self) -> None:
        """Submit again until the last step is done."""
        self.submit()
        end = time.monotonic() + _PATIENCE_S
        while not self.joined():
            if time.monotonic() > end:
                raise SystemExit(
                    f"not joined after {_PATIENCE_S} s\n{self.slurm.call('squeue').stdout}{self.slurm.logs()}"
                )
            there = [row.split() for row in self.slurm.call("squeue", "-h", "-o", "%t %r").stdout.splitlines()]
            stuck = all(state == "PD" and why == "DependencyNeverSatisfied" for state, why in there[:1])
            if stuck and not any(state in ("R", "CG") for state, _ in there) and not self.joined():
                self.slurm.call("scancel", "--state=PENDING", "--user", str(os.getuid()))
                self.submit()
            time.sleep(0.5)

    def joined(self) -> bool:
        """Whether the last step is done."""
        return bool(list((self.output / "logs").glob("join-*/completions/*")))


def strikes(folder: Path, run: Path, kills: int, rng: random.Random) -> list[str]:
    """Ask for a kill in so many steps, spread over all; their names."""
    from preprocess import scale, scale_runfile

    asked = scale_runfile.read(run)
    steps, shards = scale.steps(asked), len(list(Path(asked.inputs[0]).iterdir()))
    names = list(steps)[:: max(1, -(-len(steps) // kills))] if kills else []
    folder.mkdir()
    for name in names:
        by_shard = name in _BY_SHARD
        file = 2 + (
            rng.randrange(max(1, shards // steps[name][1] // 2)) if by_shard else 0
        )  # the first says that it began
        (folder / f"haigo-x-{name}").write_text(str(file))
    (folder / "sitecustomize.py").write_text(_STRIKE.format(output=asked.output))
    return names


def single_tasks(output: Path) -> dict[str, float]:
    """Seconds of the steps that one task does, without what it takes to start: no further machine makes them faster."""
    from preprocess import scale_tasks

    found = dict[str, float]()
    for step in (output / scale_tasks.TASKS).iterdir():
        for note, _ in scale_tasks.notes(output, step.name):
            if note["world"] == 1:
                found[step.name] = round(note["ended"] - note["began"], 2)
    return dict(sorted(found.items(), key=lambda row: -row[1]))


def unfinished(run: Path) -> list[str]:
    """Steps of which --status does not say that all tasks are done."""
    from preprocess import scale, scale_runfile, scale_status

    asked = scale_runfile.read(run)
    found = scale_status.of(asked, scale.steps(asked))["steps"]
    return [name for name, row in found.items() if row["done"] != row["tasks"]]


def run_file(place: Path, given: argparse.Namespace) -> dict[str, Any]:
    """Write it, with all steps; its keys."""
    from haigo import yamlfile

    slurm: dict[str, Any] = {"partition": "main", "time": "01:00:00", "cpus_per_task": 1, "mem_per_cpu_gb": 1}
    slurm |= {"qos": "normal", "venv_path": str(Path(sys.executable).with_name("activate"))}
    keys: dict[str, Any] = {"corpus": "x", "inputs": [str(place / "raw")], "output": str(place / "out")}
    keys |= {"tokenizer": str(given.model or _model(place / "model", given.seed)), "split_bytes": _SPLIT_BYTES}
    keys |= {"clean": {"min_chars": 10, "split_shares": [0.9, 0.05, 0.05]}, "dedup": {}, "resplit": {}}
    keys |= {"decontaminate": {"against": [str(place / "items.jsonl")]}}
    keys |= {"score": {"quality": str(quality(place)), "least": {"quality": 0.2}}}
    keys |= {"tasks": given.tasks, "workers": given.workers, "executor": "slurm"}
    yamlfile.write(place / "run.yml", {**keys, "slurm": {**slurm, "sbatch_args": {"chdir": str(ROOT)}}})
    return keys


def measure(given: argparse.Namespace) -> dict[str, Any]:
    """Both ways; what was needed for each."""
    import private_slurm

    if missing := private_slurm.missing():
        raise SystemExit(f"not here: {', '.join(missing)}")
    with tempfile.TemporaryDirectory(prefix="haigo-scale-") as folder, private_slurm.running() as slurm:
        place = Path(folder)
        paths = shards(place / "raw", given.shards, given.seed)
        evaluation_items(paths, place / "items.jsonl")
        keys = run_file(place, given)
        asked = strikes(place / "strikes", place / "run.yml", given.kills, random.Random(given.seed))
        cluster = Cluster(slurm, place / "run.yml", place / "out", place / "strikes")
        began = time.monotonic()
        cluster.until_joined()
        spent = time.monotonic() - began
        began = time.process_time()
        expected = on_one_machine(paths, keys, place / "one")
        made = datasets(place / "out")
        struck = [name for name in asked if (place / "strikes" / f"haigo-x-{name}.struck").is_file()]
        return {
            "shards": len(paths),
            "tasks": given.tasks,
            "killed": struck,
            "not_killed": [name for name in asked if name not in struck],
            "commands": cluster.calls,
            "wall_s": round(spent, 1),
            "single_tasks_s": single_tasks(place / "out"),
            "one_machine_cpu_s": round(time.process_time() - began, 1),
            "not_done": unfinished(place / "run.yml"),
            "bytes": sum(map(len, expected.values())),
            "same": bool(expected) and made == expected,
        }


def _model(folder: Path, seed: int) -> Path:
    """A small tokenizer, trained here."""
    corpus = folder.with_name("text.jsonl")
    corpus.write_text(_lines(rows(300, seed)), encoding="utf-8")
    clean = folder.with_name("text")
    command([sys.executable, "-m", "preprocess.clean", corpus, "--corpus", "t", "--output-dir", clean])
    words = [sys.executable, "-m", "preprocess.tokenizer", clean, "--output-dir", folder, "--vocab-size", "300"]
    command(words)
    return folder


def main(argv: list[str] | None = None) -> int:
    words = parser(__doc__)
    words.add_argument("--shards", type=int, default=1000)
    words.add_argument("--tasks", type=int, default=8)
    words.add_argument("--kills", type=int, default=99, help="steps in which a task is killed, all by default")
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
        missed = f" (not in {', '.join(found['not_killed'])})" if found["not_killed"] else ""
        unsaid = f", but --status does not know {', '.join(found['not_done'])} as done" if found["not_done"] else ""
        print(
            f"{found['shards']:,} shards in {found['tasks']} tasks a step on Slurm, a task killed in each of"
            f" {len(found['killed'])} steps{missed}: {', '.join(found['killed'])};"
            f" steps of one task took {found['single_tasks_s']} s;"
            f" the command given {found['commands']} times, {found['wall_s']:,.0f} s: {found['bytes']:,} bytes"
            f" {same} one machine{unsaid} ({found['one_machine_cpu_s']:,.0f} CPU-s); {load()}"
        )
    return 0 if found["same"] and not (found["not_killed"] or found["not_done"]) else 1


if __name__ == "__main__":
    os.environ["HAIGO_QUIET"] = "1"
    raise SystemExit(main())
