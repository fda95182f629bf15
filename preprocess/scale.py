"""Raw files to indexed datasets as many independent tasks: here, with datatrove, on Ray, or as Slurm array jobs.

    python -m preprocess.scale RUN.yml [--executor pool|datatrove|slurm|ray] [--only STEP] [--tasks N] [--workers N]
    python -m preprocess.scale RUN.yml --status [--json]
    python -m preprocess.scale RUN.yml --estimate [--tokens 2e11] [--json]

Steps that wait for each other: clean (an input file a piece), index (a shard of documents a piece), join (one task). Files
above split_bytes are cut before cleaning (split), and what came of their pieces is put together after it (gather): plain jsonl
and MediaWiki dumps by ranges of bytes, bz2 of many streams and zst of many frames by these; others are read through once by one
process, and their documents laid aside. `pool` is a process pool on this machine; `datatrove` is datatrove's local executor;
`slurm` submits array jobs, one after the other by dependency (the optional packages: pip install haigo[data]); `ray` hands the
tasks to a Ray cluster, RAY_ADDRESS or this machine (pip install haigo[ray]). All give the same bytes as
cleaning and indexing file by file, whatever the number of tasks. A bad file is named, the others go on, and the exit code is
4; the same command does again what failed, or was killed, and nothing else. --status says how far each step is; --estimate
what the run takes in CPU-hours, memory and disk, from one percent of its input.
Between clean and index, in this order and each where RUN.yml has its key: dedup takes out documents that repeat others, also of
other files and of corpora beside; decontaminate takes out evaluation texts; score scores documents, and drops those beyond
limits; resplit deals out train, valid and test over the whole corpus. Keys of RUN.yml: corpus, inputs, output, tokenizer,
clean, dedup, decontaminate, score (options of preprocess.clean and so on), resplit, split_bytes, tasks, workers, executor,
slurm, ray; see docs/guide-scale.md.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from haigo import cli, digests, files, flags, jobs, naming, yamlfile
from haigo.cli import Failed, HaigoError
from haigo.formats import documents, tokenizer
from haigo.options import build
from haigo.progress import Progress

from . import (
    cleaner,
    decontaminate,
    dedup_steps,
    evaluation_items,
    rewrite,
    scale_estimate,
    scale_keys,
    scale_ray,
    scale_resplit,
    scale_room,
    scale_status,
    scale_tasks,
    score,
    split,
)
from .dedup_plan import Job
from .options import CleanOptions, ScaleCommand, ScaleDecontaminate, ScaleDedup, ScaleResplit, ScaleRun
from .scale_folders import Decontaminate, DecontaminateReport, Score, ScoreReport
from .scale_steps import Clean, Gather, Index, Join, Split, Step, dataset_files, summary
from .score_options import ScoreOptions
from .scores import Scorer
from .sources import input_files

_GUIDE = "see docs/guide-scale.md"
_RAY = {"num_cpus": 1, "memory": scale_room.WORKER_BYTES}
_SLURM = {"time": "24:00:00", "partition": "cpu", "cpus_per_task": 1, "mem_per_cpu_gb": 2}


def read(path: str | os.PathLike[str]) -> ScaleRun:
    """A run file.

    Raises:
        HaigoError: a missing or unknown key, or a wrong kind of value; names the file and the key.
    """
    content, name = yamlfile.read(path), str(path)
    if not isinstance(content, dict):
        raise HaigoError(f"{name} is not a run file: it holds no keys.", "docs/guide-scale.md shows one")
    run: ScaleRun = build(ScaleRun, content, name, "", _GUIDE)
    with _spelled("clean"):
        cleaner.check(build(CleanOptions, run.clean, name, "clean", _GUIDE))
    naming.check(run.corpus, "corpus", name)
    if run.dedup is not None:
        dedup_job(run, name)
    if run.decontaminate is not None:
        with _spelled("decontaminate"):
            evaluation_items.find(build(ScaleDecontaminate, run.decontaminate, name, "decontaminate", _GUIDE).against)
    if run.score is not None:
        with _spelled("score"):
            Scorer(build(ScoreOptions, run.score, name, "score", _GUIDE))  # what is missing is named before the work
    if run.resplit is not None:
        with _spelled("resplit"):
            _dealing(run, name)
    return run


@contextlib.contextmanager
def _spelled(part: str) -> Iterator[None]:
    """What is refused within it is said in the words of the run file."""
    try:
        yield
    except HaigoError as error:
        raise error.spelled(partial(scale_keys.key_of, part)) from error


def _dealing(run: ScaleRun, name: str = "the run file") -> tuple[tuple[float, float, float], int]:
    """Shares and seed of the splits that are dealt out anew."""
    asked: ScaleResplit = build(ScaleResplit, run.resplit, name, "resplit", _GUIDE)
    cleaned = CleanOptions(**run.clean)
    if (run.decontaminate or {}).get("remove") == "none":
        raise HaigoError(
            f"{name}: 'decontaminate.remove' leaves evaluation texts in, and 'resplit' may put them into training documents"
            " that contaminated.jsonl does not speak of.",
            "leave one of the two out",
        )
    shares = cleaned.split_shares if asked.split_shares is None else asked.split_shares
    return split.fractions(shares), cleaned.seed if asked.seed is None else asked.seed


def dedup_job(run: ScaleRun, name: str = "the run file") -> Job:
    """The deduplication of a run.

    Args:
        name: of the run file, for messages.

    Raises:
        HaigoError: a key of `dedup` that is none, or corpora of which it is not said which is wanted most.
    """
    asked = build(ScaleDedup, run.dedup, name, "dedup", _GUIDE)
    output = Path(run.output)
    places = {run.corpus: output / "clean"}
    for corpus, folder in asked.beside.items():
        naming.check(corpus, "dedup.beside", name)
        if corpus == run.corpus:
            raise HaigoError(f"{name}: 'dedup.beside' names '{corpus}', which is the corpus itself.", "leave it out")
        whole = (Path(folder) / documents.REPORT).is_file()
        places[corpus] = Path(folder) if whole else Path(folder) / "clean"
    if asked.beside and set(asked.priority) != set(places):
        raise HaigoError(
            f"{name}: 'dedup.priority' does not name every corpus.",
            f"order {', '.join(places)}, the most wanted first, and alike in the run files of all",
            option="priority",
        )
    rows = [
        (corpus, str(place), str(output / "dedup") if corpus == run.corpus else None)
        for corpus, place in rewrite.ordered(places, asked.priority).items()
    ]
    return Job(tuple(rows), run.output, str(output / "dedup-work"), asked, run.tasks, str(output / "dedup.json"))


def steps(run: ScaleRun) -> dict[str, tuple[Step, int]]:
    """Step and number of tasks by name, in order; to be run as they are or put into pipelines of one's own."""
    told = (run.corpus, tuple(run.inputs), run.output, run.clean, run.split_bytes)
    large = sum(each.large for each in Clean(*told).files())
    more, source = _folder_steps(run, "clean" if run.dedup is None else "dedup")
    cut: dict[str, tuple[Step, int]] = {"split": (Split(*told), min(run.tasks, large))} if large else {}
    gathered: dict[str, tuple[Step, int]] = {"gather": (Gather(*told), min(run.tasks, large))} if large else {}
    return {
        **cut,
        "clean": (Clean(*told), run.tasks),
        **gathered,
        **(dedup_steps.steps(dedup_job(run)) if run.dedup is not None else {}),
        **more,
        "index": (Index(run.output, run.tokenizer, source=source), run.tasks),
        "join": (Join(run.output, run.tokenizer, source=source), 1),
    }


def _folder_steps(run: ScaleRun, source: str) -> tuple[dict[str, tuple[Step, int]], str]:
    """The steps that make a folder of each of `source`, and the last one's name."""
    chosen: dict[str, tuple[Step, int]] = {}
    if run.decontaminate is not None:
        asked = build(ScaleDecontaminate, run.decontaminate, "the run file", "decontaminate", _GUIDE)
        told = (run.output, source, tuple(asked.against), asked)
        chosen["decontaminate"] = Decontaminate(*told), run.tasks
        chosen["decontaminate-report"], source = (DecontaminateReport(*told), 1), "decontaminate"
    if run.score is not None:
        scores = build(ScoreOptions, run.score, "the run file", "score", _GUIDE)
        chosen["score"] = Score(run.output, source, scores), run.tasks
        chosen["score-report"], source = (ScoreReport(run.output, source, scores), 1), "score"
    if run.resplit is not None:
        chosen |= scale_resplit.steps(run.output, source, *_dealing(run), run.tasks)
        source = "resplit"
    return chosen, source


def run_pool(step: Step, tasks: int, workers: int, label: str) -> None:
    """Run a step's tasks in processes of this machine, of which one that fails, or is killed, does not stop the others.

    Raises:
        Failed: some did not end well.
    """
    if tasks == 1:
        step(None, 0, 1)
        return
    limit = min(workers, tasks)
    run_on(jobs.Processes(_task, limit, ["preprocess.scale_steps"]) if limit > 1 else _Here(), step, tasks, label)


def run_on(executor: jobs.Executor, step: Step, tasks: int, label: str) -> None:
    """Run a step's tasks where `executor` does.

    Raises:
        Failed: some did not end well.
    """
    bad: dict[str, str] = {}
    with Progress(label, tasks, "tasks") as progress:
        work = [(f"{rank:05d}", (step, rank, tasks)) for rank in range(tasks)]
        for event in jobs.run(executor, work):
            if event is None or event.kind in ("started", "tick"):
                progress.show()
                continue
            if event.kind == "failed":
                bad[event.name] = str(event.value)
            progress.update()
    if bad:
        name, why = next(iter(bad.items()))
        raise Failed(
            f"{label}: {len(bad):,} of {tasks:,} tasks failed; task {name}: {why}",
            "mend what the sentence names, if it names something; the same command then does these alone",
        )


def _task(given: tuple[Step, int, int], tell: Callable[[Any], None]) -> None:
    step, rank, tasks = given
    step(None, rank, tasks)


class _Here:
    """One task after the other in this process."""

    limit = 1

    def start(self, name: str, task: tuple[Step, int, int]) -> None:
        try:
            _task(task, lambda value: None)
        except HaigoError as error:
            self._event = jobs.Event("failed", name, error.problem)
        else:
            self._event = jobs.Event("done", name, None)

    def poll(self) -> list[jobs.Event]:
        return [self._event]

    def close(self) -> None:
        """Nothing is left to end."""


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
        key: value
        for key, value in dataclasses.asdict(run).items()
        if key not in ("workers", "slurm", "ray", "executor")
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
    if options.status:
        cli.show(scale_status.of(run, steps(run)), scale_status.table, options.json)
        return cli.OK
    if options.estimate:
        cli.show(scale_estimate.of(run, options.tokens), scale_estimate.table, options.json)
        return cli.OK
    found = input_files(run.inputs)
    paths = [path for path, _ in found]
    reads: list[str | Path] = [*paths, run.tokenizer, *_others(run)]
    files.check_output(run.output, reads, [each for each in run.inputs if Path(each).is_dir()])
    files.check_output(run.output, names=_outputs(run))
    chosen = {name: work for name, work in steps(run).items() if options.only in (None, name, scale_keys.part_of(name))}
    if not chosen:
        raise HaigoError(
            f"{options.run} asks for no {options.only}.", f"give it the key '{options.only}'", option="only"
        )
    if {"index", "join"} & set(chosen):
        tokenizer.load(run.tokenizer)  # a wrong one is named now, and not when all is cleaned
    scale_room.require(run, paths)
    # jobs of Slurm's run when this process is gone
    with contextlib.nullcontext() if run.executor == "slurm" else files.owner(run.output):
        scale_tasks.forget(run.output, list(chosen), list(steps(run)))
        _work(run, chosen, options.only)
    print(f"{run.output}: {', '.join(chosen)} {'submitted' if run.executor == 'slurm' else 'done'}")
    return cli.OK


def _work(run: ScaleRun, chosen: Mapping[str, tuple[Step, int]], only: str | None) -> None:
    if run.executor == "pool":
        for name, (step, tasks) in chosen.items():
            run_pool(step, tasks, run.workers, f"{name} {run.corpus}")
    elif run.executor == "ray":
        with scale_ray.connected() as executor:
            for name, (step, tasks) in chosen.items():
                limit = min(run.workers, tasks) if run.workers > 1 else tasks
                run_on(executor(_task, limit, _RAY | run.ray), step, tasks, f"{name} {run.corpus}")
    else:
        last = executors(chosen, run, _inputs_mark(run, only))[-1]
        try:
            last.run()  # which first runs, or submits, what it depends on
        except HaigoError:
            raise
        except Exception as error:
            if bad := scale_tasks.failures(run.output):
                raise Failed(*summary(bad)) from None
            raise Failed(
                f"a task failed: {str(error).splitlines()[0] if str(error) else type(error).__name__}",
                f"look into {run.output}/logs, remove the cause, and give the same command again",
            ) from None
    if run.executor != "slurm" and (bad := scale_tasks.failures(run.output)):
        raise Failed(*summary(bad))


def _outputs(run: ScaleRun) -> list[str]:
    """What is written into the run's folder itself."""
    names = [name for each in documents.SPLITS for name in dataset_files(each)]
    names += ["dedup.json"] if run.dedup is not None else []
    names += [score.REPORT] if run.score is not None else []
    if run.decontaminate is not None:
        against = evaluation_items.find(run.decontaminate["against"])
        names += [decontaminate.REPORT, *decontaminate.outputs(against)]
    return names


def _others(run: ScaleRun) -> list[Path]:
    """What steps read beside documents: evaluation files, and folders of models."""
    against = evaluation_items.find(run.decontaminate["against"]) if run.decontaminate is not None else []
    models = [(run.score or {}).get(each) for each in ("quality", "perplexity")]
    return [*against, *(Path(each) for each in models if each)]


def _inputs_mark(run: ScaleRun, only: str | None) -> str:
    """What the marks of finished tasks must also depend on: the input files, or the cleaned ones for later steps."""
    if only in (None, "split", "clean", "gather"):
        paths = [path for path, _ in input_files(run.inputs)]
    else:
        paths = sorted((Path(run.output) / "clean").rglob("*.jsonl.zst"))
    paths += [each for each in _others(run) if each.is_file()]
    for corpus, place, _ in dedup_job(run).corpora if run.dedup is not None else ():
        paths += sorted(Path(place).rglob("*.jsonl.zst")) if corpus != run.corpus else []
    # datatrove takes a task with a bad file for finished: where one failed, other marks begin
    failed = [dataclasses.asdict(each) for each in scale_tasks.failures(run.output)]
    return files.digest([[[str(path), digests.sha256(path)] for path in paths], *failed])


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
