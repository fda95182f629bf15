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

import contextlib
import dataclasses
import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from haigo import cli, digests, files, flags, naming, pool, yamlfile
from haigo.cli import Failed, HaigoError
from haigo.formats import documents
from haigo.options import build

from .options import CleanOptions, ScaleCommand, ScaleRun
from .scale_steps import Clean, Index, Join, Step, dataset_files
from .sources import input_files

_SLURM = {"time": "24:00:00", "partition": "cpu", "cpus_per_task": 1, "mem_per_cpu_gb": 2}


def read(path: str | os.PathLike[str]) -> ScaleRun:
    """A run file.

    Raises:
        HaigoError: a missing or unknown key, or a wrong kind of value; names the file and the key.
    """
    content, name = yamlfile.read(path), str(path)
    if not isinstance(content, dict):
        raise HaigoError(f"{name} is not a run file: it holds no keys.", "docs/guide-scale.md shows one")
    run: ScaleRun = build(ScaleRun, content, name, "", "see docs/guide-scale.md")
    build(CleanOptions, run.clean, name, "clean", "see docs/guide-scale.md")
    naming.check(run.corpus, "corpus", name)
    return run


def steps(run: ScaleRun) -> dict[str, tuple[Step, int]]:
    """Step and number of tasks by name, in order; to be run as they are or put into pipelines of one's own."""
    return {
        "clean": (Clean(run.corpus, tuple(run.inputs), run.output, run.clean), run.tasks),
        "index": (Index(run.output, run.tokenizer), run.tasks),
        "join": (Join(run.output, run.tokenizer), 1),
    }


def run_pool(step: Step, tasks: int, workers: int, label: str) -> None:
    """Run a step's tasks in processes of this machine."""
    work = {f"{rank:05d}": partial(step, None, rank, tasks) for rank in range(tasks)}
    pool.run_shown(label, work, workers, "tasks")


def executors(chosen: Mapping[str, tuple[Step, int]], run: ScaleRun, salt: str = "") -> list[Any]:
    """datatrove's executors of the steps, each depending on the one before.

    The folder of logs and completion marks holds a digest of the run, so that marks of another run are never believed.

    Raises:
        HaigoError: datatrove is not installed, or lacks what `slurm` asks for.
    """
    try:
        from datatrove.executor import LocalPipelineExecutor, SlurmPipelineExecutor
    except ImportError:
        raise HaigoError(
            f"the executor '{run.executor}' needs datatrove, which is not installed.",
            "pip install 'haigo[data]', or use the pool",
        ) from None
    asked = {
        key: value for key, value in dataclasses.asdict(run).items() if key not in ("workers", "slurm", "executor")
    }
    mark = files.digest([asked, salt])[:12]
    logs, pipeline = Path(run.output).absolute() / "logs", list[Any]()
    for name, (step, tasks) in chosen.items():
        depends = pipeline[-1] if pipeline else None
        common: dict[str, Any] = {"pipeline": [step], "tasks": tasks, "logging_dir": str(logs / f"{name}-{mark}")}
        common |= {"depends": depends}
        try:
            if run.executor == "slurm":
                most = {"workers": run.workers} if run.workers > 1 else {}
                job = _SLURM | run.slurm | {"job_name": f"haigo-{run.corpus}-{name}"}
                pipeline.append(SlurmPipelineExecutor(**common, **most, **job))
            else:
                pipeline.append(LocalPipelineExecutor(**common, workers=min(run.workers, tasks), start_method="spawn"))
        except TypeError as error:
            raise HaigoError(f"datatrove does not take a key of 'slurm': {error}.", "correct the run file") from None
    return pipeline


def main(argv: Sequence[str] | None = None) -> int:
    options = flags.parse("preprocess.scale", __doc__, ScaleCommand, argv)
    given = {key: getattr(options, key) for key in ("executor", "tasks", "workers")}
    run = read(options.run).replaced(**{key: value for key, value in given.items() if value is not None})
    paths = [path for path, _ in input_files(run.inputs)]
    files.check_output(run.output, [*paths, run.tokenizer], [each for each in run.inputs if Path(each).is_dir()])
    files.check_output(run.output, names=[name for split in documents.SPLITS for name in dataset_files(split)])
    chosen = {name: work for name, work in steps(run).items() if options.only in (None, name)}
    # jobs of Slurm's run when this process is gone
    with contextlib.nullcontext() if run.executor == "slurm" else files.owner(run.output):
        _work(run, chosen, options.only)
    print(f"{run.output}: {', '.join(chosen)} {'submitted' if run.executor == 'slurm' else 'done'}")
    return cli.OK


def _work(run: ScaleRun, chosen: Mapping[str, tuple[Step, int]], only: str | None) -> None:
    if run.executor == "pool":
        for name, (step, tasks) in chosen.items():
            run_pool(step, tasks, run.workers, f"{name} {run.corpus}")
    else:
        last = executors(chosen, run, _inputs_mark(run, only))[-1]
        try:
            last.run()  # which first runs, or submits, what it depends on
        except HaigoError:
            raise
        except Exception as error:
            raise Failed(
                f"a task failed: {str(error).splitlines()[0] if str(error) else type(error).__name__}",
                f"look into {run.output}/logs, remove the cause, and give the same command again",
            ) from None


def _inputs_mark(run: ScaleRun, only: str | None) -> str:
    """What the marks of finished tasks must also depend on: the input files, or the cleaned ones for later steps."""
    if only in (None, "clean"):
        paths = [path for path, _ in input_files(run.inputs)]
    else:
        paths = sorted((Path(run.output) / "clean").rglob("*.jsonl.zst"))
    return files.digest([[str(path), digests.sha256(path)] for path in paths])


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
