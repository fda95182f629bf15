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
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from haigo import cli, digests, files, flags
from haigo.cli import HaigoError
from haigo.formats import documents, tokenizer

from . import (
    decontaminate,
    dedup,
    dedup_steps,
    scale_estimate,
    scale_executors,
    scale_keys,
    scale_resplit,
    scale_room,
    scale_runfile,
    scale_status,
    scale_tasks,
    score,
)
from .options import ScaleCommand, ScaleRun
from .scale_folders import Decontaminate, DecontaminateReport, Score, ScoreReport
from .scale_steps import Clean, Gather, Index, Join, Split, Step, dataset_files
from .sources import input_files


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
        **(dedup_steps.steps(scale_runfile.dedup_job(run)) if run.dedup is not None else {}),
        **more,
        "index": (Index(run.output, run.tokenizer, source=source), run.tasks),
        "join": (Join(run.output, run.tokenizer, source=source), 1),
    }


def _folder_steps(run: ScaleRun, source: str) -> tuple[dict[str, tuple[Step, int]], str]:
    """The steps that make a folder of each of `source`, and the last one's name."""
    chosen: dict[str, tuple[Step, int]] = {}
    if run.decontaminate is not None:
        asked = scale_runfile.decontamination(run)
        without = Decontaminate(run.output, source, tuple(asked.against), asked)
        chosen["decontaminate"] = without, run.tasks
        chosen["decontaminate-report"], source = (DecontaminateReport(without), 1), "decontaminate"
    if run.score is not None:
        scored = Score(run.output, source, scale_runfile.scoring(run))
        chosen["score"] = scored, run.tasks
        chosen["score-report"], source = (ScoreReport(scored), 1), "score"
    if run.resplit is not None:
        chosen |= scale_resplit.steps(run.output, source, *scale_runfile.dealing(run), run.tasks)
        source = "resplit"
    return chosen, source


def main(argv: Sequence[str] | None = None) -> int:
    options = flags.parse("preprocess.scale", __doc__, ScaleCommand, argv)
    given = {key: getattr(options, key) for key in ("executor", "tasks", "workers")}
    run = scale_runfile.read(options.run).replaced(**{key: value for key, value in given.items() if value is not None})
    if options.status:
        cli.show(scale_status.of(run, steps(run)), scale_status.table, options.json)
        return cli.OK
    if options.estimate:
        cli.show(scale_estimate.of(run, steps, options.tokens), scale_estimate.table, options.json)
        return cli.OK
    found = input_files(run.inputs)
    paths = [path for path, _ in found]
    reads: list[str | Path] = [*paths, run.tokenizer, *scale_runfile.others(run)]
    files.check_output(run.output, reads, [each for each in run.inputs if Path(each).is_dir()])
    files.check_output(run.output, names=_outputs(run))
    chosen = {name: work for name, work in steps(run).items() if options.only in (None, name, scale_keys.part_of(name))}
    if not chosen:
        raise HaigoError(
            f"{options.run} asks for no {options.only}.", f"give it the key '{options.only}'", option="only"
        )
    if {"index", "join"} & set(chosen):
        tokenizer.load(run.tokenizer)  # a wrong one is named now, and not when all is cleaned
    if any(scale_keys.part_of(name) == "dedup" for name in chosen):
        scale_runfile.require_beside(run)
    scale_room.require(run, paths)
    # jobs of Slurm's run when this process is gone
    with contextlib.nullcontext() if run.executor == "slurm" else files.owner(run.output):
        scale_tasks.forget(run.output, list(steps(run)))
        _retire(run)
        scale_executors.work(run, chosen, partial(_inputs_mark, run, options.only))
    print(f"{run.output}: {', '.join(chosen)} {'submitted' if run.executor == 'slurm' else 'done'}")
    return cli.OK


def _outputs(run: ScaleRun) -> list[str]:
    """What is written into the run's folder itself."""
    names = [name for each in documents.SPLITS for name in dataset_files(each)]
    names += [dedup.REPORT] if run.dedup is not None else []
    names += [score.REPORT] if run.score is not None else []
    if run.decontaminate is not None:
        names += [decontaminate.REPORT, *decontaminate.outputs(scale_runfile.evaluation_files(run))]
    return names


_SAID = {
    "dedup": [dedup.REPORT],
    "decontaminate": [decontaminate.REPORT, decontaminate.IDS],
    "score": [score.REPORT],
    "resplit": [],
}
"""Part of the work -> what it says of itself in the run's folder."""


def _retire(run: ScaleRun) -> None:
    """Take away all that says of a part of the work that it was done where the run file does not ask for it (any more).

    The shards stay below the name of the part: with its key they are known by their bytes, and nothing is done twice.
    """
    output = Path(run.output)
    for part, names in _SAID.items():
        if getattr(run, part) is not None:
            continue
        said = [*(output / name for name in names), *sorted((output / part).glob(f"[0-9]*/{documents.REPORT}"))]
        said += (output / decontaminate.IDS_BY_FILE).glob("*.jsonl") if part == "decontaminate" else []
        ours = [path for path in said if files.made(path)]
        for path in ours:
            files.remove(path)
        if ours:
            print(
                f"haigo: the run file does not ask for {part} any more: its reports in {output} are removed, and its"
                f" documents in {output / part} are no finished corpora now; with the key '{part}' they are again.",
                file=sys.stderr,
            )


def _inputs_mark(run: ScaleRun, only: str | None) -> str:
    """What the marks of finished tasks must also depend on: the input files, or the cleaned ones for later steps."""
    if only in (None, "split", "clean", "gather"):
        paths = [path for path, _ in input_files(run.inputs)]
    else:
        paths = sorted((Path(run.output) / "clean").rglob("*.jsonl.zst"))
    paths += [each for each in scale_runfile.others(run) if each.is_file()]
    for corpus, place, _ in scale_runfile.dedup_job(run).corpora if run.dedup is not None else ():
        paths += sorted(Path(place).rglob("*.jsonl.zst")) if corpus != run.corpus else []
    # datatrove takes a task with a bad file for finished: where one failed, other marks begin
    failed = [dataclasses.asdict(each) for each in scale_tasks.failures(run.output)]
    return files.digest([[[str(path), digests.sha256(path)] for path in paths], *failed])


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
