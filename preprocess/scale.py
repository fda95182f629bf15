"""Cleaning and indexing as many independent tasks: on this machine, with datatrove, or as Slurm array jobs.

    python -m preprocess.scale RUN.yml [--executor pool|datatrove|slurm] [--only clean|index|join] [--tasks N] [--workers N]

Three steps that wait for each other: clean (an input file a piece), index (a shard of documents a piece), join (one task).
`pool` is a process pool on this machine; `datatrove` is datatrove's local executor; `slurm` submits array jobs, one after the
other by dependency (the optional packages: pip install haigo[data]). All give the same bytes as cleaning and indexing file by
file. A killed run, or a failed task, goes on where it was when the same command is given again. Between clean and index is
where documents may be deduplicated or taken out: --only clean, then any step on OUTPUT/clean/*, then --only index and join.
Keys of RUN.yml: corpus, inputs, output, tokenizer, clean (options of preprocess.clean), tasks, workers, executor, slurm; see
docs/guide-scale.md.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from haigo import cli, digests, files, pool, yamlfile
from haigo.cli import Failed, HaigoError, nearest
from haigo.progress import Progress

from . import clean
from .scale_steps import Clean, Index, Join

STEPS = ("clean", "index", "join")
EXECUTORS = ("pool", "datatrove", "slurm")
KEYS = ("corpus", "inputs", "output", "tokenizer", "clean", "tasks", "workers", "executor", "slurm")
Step = Callable[[Any, int, int], None]


def read(path: str | os.PathLike[str]) -> dict[str, Any]:
    """A run file with every key filled in.

    Raises:
        HaigoError: a missing or unknown key, or a wrong kind of value; names the file and the key.
    """
    content = yamlfile.read(path)
    if not isinstance(content, dict):
        raise HaigoError(f"{path} is not a run file.", f"write the keys {', '.join(KEYS)}")
    for key in content:
        if key not in KEYS:
            raise HaigoError(f"{path}: there is no key '{key}'.{nearest(str(key), KEYS)}", f"use {', '.join(KEYS)}")
    for key in ("corpus", "inputs", "output", "tokenizer"):
        if not content.get(key):
            raise HaigoError(f"{path}: the key '{key}' is missing.", "add it; docs/guide-scale.md explains every key")
    inputs = content["inputs"]
    made: dict[str, Any] = {"clean": {}, "tasks": 1, "workers": 1, "executor": "pool", "slurm": {}} | content
    made["inputs"] = [inputs] if isinstance(inputs, str) else list(inputs)
    for key in ("tasks", "workers"):
        if isinstance(made[key], bool) or not isinstance(made[key], int) or not 1 <= made[key] <= 10**6:
            raise HaigoError(f"{path}: '{key}' is not a number of at least 1 and at most 1,000,000.", "mend that line")
    for key in ("clean", "slurm"):
        if not isinstance(made[key], dict):
            raise HaigoError(f"{path}: '{key}' holds no keys of its own.", "write them indented below it")
    takes = inspect.signature(clean.clean_corpus).parameters.keys() - {"name", "paths", "output_dir"}
    for key in made["clean"]:
        if key not in takes:
            raise HaigoError(
                f"{path}: 'clean' has no option '{key}' of preprocess.clean.{nearest(str(key), takes)}",
                f"use {', '.join(sorted(takes))}",
            )
    return made


def steps(run: Mapping[str, Any]) -> dict[str, tuple[Step, int]]:
    """Step and number of tasks by name, in order; to be run as they are or put into pipelines of one's own."""
    where, model = str(run["output"]), str(run["tokenizer"])
    tasks = int(run["tasks"])
    return {
        "clean": (Clean(str(run["corpus"]), tuple(map(str, run["inputs"])), where, dict(run["clean"])), tasks),
        "index": (Index(where, model), tasks),
        "join": (Join(where, model), 1),
    }


def run_pool(step: Step, tasks: int, workers: int, label: str) -> None:
    """Run a step's tasks in processes of this machine."""
    with Progress(label, tasks, "tasks") as progress:
        if workers <= 1:
            for rank in range(tasks):
                step(None, rank, tasks)
                progress.update()
            return
        work = {f"{rank:05d}": partial(step, None, rank, tasks) for rank in range(tasks)}
        pool.run(work, min(workers, tasks), progress.show, lambda *_: progress.update())


def executors(
    chosen: Mapping[str, tuple[Step, int]], run: Mapping[str, Any], kind: str, workers: int, salt: str = ""
) -> list[Any]:
    """datatrove's executors of the steps, each depending on the one before.

    The folder of logs and completion marks holds a digest of the run, so that marks of another run are never believed.

    Raises:
        HaigoError: datatrove is not installed, or lacks what `slurm` asks for.
    """
    try:
        from datatrove.executor import LocalPipelineExecutor, SlurmPipelineExecutor
    except ImportError:
        raise HaigoError(
            f"the executor '{kind}' needs datatrove, which is not installed.",
            "pip install 'haigo[data]', or use the pool",
        ) from None
    mark = files.digest(
        [{key: value for key, value in run.items() if key not in ("workers", "slurm", "executor")}, salt]
    )
    made: list[Any] = []
    for name, (step, tasks) in chosen.items():
        common: dict[str, Any] = {
            "pipeline": [step],
            "tasks": tasks,
            "logging_dir": str(Path(str(run["output"])).absolute() / "logs" / f"{name}-{mark[:12]}"),
            "depends": made[-1] if made else None,
        }
        try:
            if kind == "slurm":
                options = {"time": "24:00:00", "partition": "cpu", "cpus_per_task": 1, "mem_per_cpu_gb": 2} | dict(
                    run["slurm"]
                )
                most = {"workers": workers} if workers > 1 else {}
                made.append(
                    SlurmPipelineExecutor(**common, **most, job_name=f"haigo-{run['corpus']}-{name}", **options)
                )
            else:
                made.append(LocalPipelineExecutor(**common, workers=min(workers, tasks), start_method="spawn"))
        except TypeError as error:
            raise HaigoError(f"datatrove does not take a key of 'slurm': {error}.", "mend the run file") from None
    return made


def main(argv: Sequence[str] | None = None) -> int:
    parser = cli.parser("preprocess.scale", __doc__)
    parser.add_argument("run", metavar="RUN.yml")
    parser.add_argument("--executor", choices=EXECUTORS, help="instead of the run file's")
    parser.add_argument("--only", choices=STEPS, help="one step (default: all three)")
    parser.add_argument("--tasks", type=cli.few, help="instead of the run file's")
    parser.add_argument("--workers", type=cli.few, help="tasks at a time, instead of the run file's")
    args = parser.parse_args(argv)
    run = read(args.run)
    run |= {key: value for key in ("executor", "tasks", "workers") if (value := getattr(args, key)) is not None}
    if run["executor"] not in EXECUTORS:
        known = ", ".join(EXECUTORS)
        raise HaigoError(
            f"{args.run}: there is no executor '{run['executor']}'.{nearest(run['executor'], EXECUTORS)}", known
        )
    from .sources import input_files

    found = [path for path, _ in input_files(run["inputs"])]
    folders = [each for each in run["inputs"] if Path(each).is_dir()]
    files.check_output(run["output"], [*found, run["tokenizer"]], folders)
    chosen = {name: work for name, work in steps(run).items() if args.only in (None, name)}
    if run["executor"] == "pool":
        for name, (step, tasks) in chosen.items():
            run_pool(step, tasks, run["workers"], f"{name} {run['corpus']}")
    else:
        last = executors(chosen, run, run["executor"], run["workers"], _inputs_mark(run, args.only))[-1]
        try:
            last.run()  # which first runs, or submits, what it depends on
        except HaigoError:
            raise
        except Exception as error:
            raise Failed(
                f"a task failed: {str(error).splitlines()[0] if str(error) else type(error).__name__}",
                f"look into {run['output']}/logs, mend the cause, and give the same command again",
            ) from None
    print(f"{run['output']}: {', '.join(chosen)} {'submitted' if run['executor'] == 'slurm' else 'done'}")
    return cli.OK


def _inputs_mark(run: Mapping[str, Any], only: str | None) -> str:
    """What the marks of finished tasks must also depend on: the input files, or the cleaned ones for later steps."""
    from .sources import input_files

    if only in (None, "clean"):
        found = [path for path, _ in input_files(run["inputs"])]
    else:
        found = sorted((Path(run["output"]) / "clean").rglob("*.jsonl.zst"))
    return files.digest([[str(path), digests.sha256(path)] for path in found])


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
