"""Jobs of a swarm through submitit: on Slurm, or as processes of this machine, one GPU each.

The same events as `launch.proxy_pool` gives, so that a swarm does not care who trains. Every job is resumable by itself: on
Slurm one that is preempted or out of time is queued again by submitit, and one that failed is tried once more. Slurm's jobs
outlive this process: the same command finds them again (`job.json` beside each run) and waits for them.
"""

from __future__ import annotations

import collections
import contextlib
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from haigo import files, pickles
from haigo.cli import HaigoError
from launch.neox import gpus as gpu_lists
from launch.proxy_pool import Event

EXECUTORS = ("local", "slurm")
_POLL_S = 1.0
_GONE_S = 60.0  # a job that Slurm knows no more gets so long for its result to appear on a shared disk
_WORD = re.compile(r"[\w.,:/@%+=()\[\]-]+")
_OWN = re.compile(r"(?:haigo\.cli\.)(?:HaigoError|Refused|Failed): (.*)")
_KEY = re.compile(r"[a-z][a-z_-]*")


@dataclass(frozen=True)
class Cluster:
    """Where jobs run and what each may use."""

    executor: str = "local"
    minutes: int = 24 * 60
    """Time limit of one job; a job out of time goes on in another."""
    cpus: int = 4
    gpus: int = 1
    partition: str | None = None
    more: Mapping[str, str] = field(default_factory=dict)
    """Further keys of sbatch: {"account": "project"}."""

    def __post_init__(self) -> None:
        if self.executor not in EXECUTORS:
            raise HaigoError(f"--executor {self.executor} is unknown.", f"use one of {', '.join(EXECUTORS)}")
        for name, number in (("--minutes", self.minutes), ("--cpus", self.cpus)):
            if number < 1:
                raise HaigoError(f"{name} {number} is not at least 1.", "give a positive number")
        for key, value in {"partition": self.partition or "x", **self.more}.items():
            # they become lines of a batch script
            if not _KEY.fullmatch(key) or not _WORD.fullmatch(value):
                raise HaigoError(
                    f"--slurm {key}={value} cannot be an option of sbatch.", "write e.g. --slurm account=x"
                )
        if self.executor == "local" and (self.partition or self.more):
            raise HaigoError("--partition and --slurm are given without --executor slurm.", "add --executor slurm")


def run(
    job: Callable[[Mapping[str, Any]], Any],
    tasks: Iterable[tuple[str, Mapping[str, Any]]],
    cluster: Cluster,
    folder: Path,
    places: Callable[[str], Path],
    at_once: int | None = None,
    tries: int = 1,
    progress: Callable[[str], int] | None = None,
) -> Iterator[Event | None]:
    """Do all tasks as jobs, and yield what happens; None about once a second when nothing does.

    Args:
        job: picklable; called in a process of its own with the task. What it raises is a failed try.
        tasks: (name, picklable dict).
        folder: submitit's scripts, pickles and logs.
        places: name -> the run's folder, which keeps `job.json`.
        at_once: jobs at a time; on Slurm all are queued when None, on this machine one for each GPU (or one).
        tries: how often a task is tried.
        progress: name -> what a tick says of it.

    Raises:
        HaigoError: submitit is not installed, or there is no Slurm here.
    """
    queue = list(tasks)
    waiting, given = collections.deque(name for name, _ in queue), dict(queue)
    tried = dict.fromkeys(given, 0)
    runner = _Slurm(cluster, folder) if cluster.executor == "slurm" else _Local(cluster, folder)
    limit = at_once or runner.limit or len(queue)
    running: dict[str, Any] = {}
    try:
        while waiting or running:
            while waiting and len(running) < limit:
                name = waiting.popleft()
                tried[name] += 1
                running[name] = runner.adopt(places(name)) or runner.submit(job, given[name], places(name))
                yield Event("started", name, None)
            quiet = True
            for name, one in list(running.items()):
                if not runner.ended(one):
                    if progress is not None:
                        yield Event("tick", name, progress(name))
                    continue
                quiet = False
                del running[name]
                files.remove(places(name) / "job.json")
                answer = runner.answer(one)
                if answer[0]:
                    yield Event("done", name, answer[1])
                elif tried[name] < tries:
                    waiting.append(name)
                    yield Event("again", name, answer[1])
                else:
                    yield Event("failed", name, answer[1])
            if quiet:
                yield None
                time.sleep(_POLL_S)
    finally:
        runner.stop(running.values())


class _Runner:
    """What the two executors share."""

    kind = ""
    limit: int | None = None

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        try:
            import submitit
        except ImportError:
            raise HaigoError(
                "submitit, which starts the jobs, is not installed.", "pip install 'haigo[cluster]'"
            ) from None
        self.submitit, self.cluster, self.folder = submitit, cluster, folder
        folder.mkdir(parents=True, exist_ok=True)

    def adopt(self, place: Path) -> Any:
        """The job of an earlier call that still works on this run; None where there is none."""
        return None

    def submit(self, job: Callable[[Mapping[str, Any]], Any], task: Mapping[str, Any], place: Path) -> Any:
        raise NotImplementedError

    def ended(self, one: Any) -> bool:
        return bool(one.done())

    def answer(self, one: Any) -> tuple[bool, Any]:
        """(True, what the job gave) or (False, a sentence)."""
        if not one.paths.result_pickle.exists():
            return (
                False,
                f"the job {one.job_id} ended without a result (killed, or out of memory); see {one.paths.stderr}",
            )
        try:
            # submitit would load whatever the file names; a job's answer is numbers and texts
            outcome, result = pickles.plain(one.paths.result_pickle)
        except Exception as error:  # a pickle of another version, or torn
            return False, f"the result of job {one.job_id} cannot be read ({type(error).__name__}: {error})"
        if outcome == "success":
            return True, result
        # submitit gives a traceback: Haigo's own errors are a sentence there, others end with one
        lines = [line for line in str(result).strip().splitlines() if line.strip()]
        own = [match[1] for line in lines if (match := _OWN.match(line))]
        last = next((line for line in reversed(lines) if not line.startswith("  ")), "no reason was given")
        return False, own[-1] if own else last

    def stop(self, running: Iterable[Any]) -> None:
        """This process ends while jobs run."""


class _Local(_Runner):
    kind = "local"

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        super().__init__(cluster, folder)
        self.gpus = visible_gpus() if cluster.gpus else []
        self.limit = max(1, len(self.gpus))
        self.used: dict[str, int] = {}

    def submit(self, job: Callable[[Mapping[str, Any]], Any], task: Mapping[str, Any], place: Path) -> Any:
        executor = self.submitit.LocalExecutor(folder=self.folder)
        # the first free card: jobs beyond the number of cards share them
        held = list(self.used.values())
        chosen = sorted(self.gpus, key=lambda gpu: (held.count(gpu), self.gpus.index(gpu)))[:1]
        executor.update_parameters(
            timeout_min=self.cluster.minutes, gpus_per_node=len(chosen), visible_gpus=tuple(chosen), tasks_per_node=1
        )
        one = executor.submit(job, dict(task))
        if chosen:
            self.used[one.job_id] = chosen[0]
        return one

    def ended(self, one: Any) -> bool:
        if not one.done():
            return False
        self.used.pop(one.job_id, None)
        return True

    def stop(self, running: Iterable[Any]) -> None:
        alive = list(running)
        below = [pid for one in alive for pid in _descendants(one._process.pid)]
        for one in alive:
            one.cancel()
        deadline = time.monotonic() + 30
        for one in alive:
            with contextlib.suppress(subprocess.TimeoutExpired):
                one._process.wait(max(0.1, deadline - time.monotonic()))
            if one._process.poll() is None:
                one._process.kill()
        for pid in below:  # what a job started goes with it, also where submitit's own process had no time to end it
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _descendants(pid: int) -> list[int]:
    """Processes that a process started, and theirs."""
    found = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for word in (task / "children").read_text(encoding="ascii").split():
                found += [int(word), *_descendants(int(word))]
    return found


class _Slurm(_Runner):
    kind = "slurm"

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        super().__init__(cluster, folder)
        for program in ("sbatch", "squeue"):
            if shutil.which(program) is None:
                raise HaigoError(f"there is no {program} here.", "run this on a node that submits to Slurm")
        self.gone: dict[str, float] = {}

    def adopt(self, place: Path) -> Any:
        path = place / "job.json"
        if not path.is_file():
            return None
        try:
            noted = files.read_record(path, {"executor": str, "id": str})
        except HaigoError as error:
            raise HaigoError(error.problem, f"cancel the job of {place.name} if there is one, and delete it") from None
        if noted["executor"] != self.kind or not self._known(noted["id"]):
            return None
        return self.submitit.SlurmJob(folder=self.folder, job_id=str(noted["id"]))

    def submit(self, job: Callable[[Mapping[str, Any]], Any], task: Mapping[str, Any], place: Path) -> Any:
        cluster = self.cluster
        executor = self.submitit.SlurmExecutor(folder=self.folder, max_num_timeout=100)
        given: dict[str, Any] = {
            "job_name": "haigo-" + re.sub(r"[^\w.-]", "-", place.name),
            "time": cluster.minutes,
            "cpus_per_task": cluster.cpus,
            "ntasks_per_node": 1,
            "nodes": 1,
            "additional_parameters": dict(cluster.more),
        }
        if cluster.gpus:
            given["gpus_per_node"] = cluster.gpus
        if cluster.partition:
            given["partition"] = cluster.partition
        executor.update_parameters(**given)
        try:
            one = executor.submit(job, dict(task))
        except self.submitit.core.utils.FailedJobError as error:
            told = [line.strip() for line in str(error).splitlines() if "sbatch:" in line] or [
                str(error).splitlines()[0]
            ]
            raise HaigoError(f"Slurm refused the job: {told[-1]}", "mend what it names") from None
        place.mkdir(parents=True, exist_ok=True)
        files.write_json(place / "job.json", {"executor": self.kind, "id": one.job_id})
        return one

    def ended(self, one: Any) -> bool:
        # without accounting (sacct) submitit never learns that a job died: its result, or squeue, tell
        if one.paths.result_pickle.exists():
            return True
        if self._known(one.job_id):
            self.gone.pop(one.job_id, None)
            return False
        return time.monotonic() - self.gone.setdefault(one.job_id, time.monotonic()) > _GONE_S

    @staticmethod
    def _known(job_id: str) -> bool:
        """Whether the job is queued or runs."""
        if not re.fullmatch(r"\d+(_\d+)?", job_id):
            return False
        words = ["squeue", "--noheader", "--jobs", job_id, "--format", "%T"]
        asked = subprocess.run(words, capture_output=True, text=True, errors="replace", timeout=60, check=False)
        if asked.returncode != 0 and "Invalid job id" not in asked.stderr:
            return True  # Slurm does not answer just now: it will again
        return bool(asked.stdout.strip())


def visible_gpus() -> list[int]:
    """Numbers of the GPUs of this machine that this process may use.

    Raises:
        HaigoError: CUDA_VISIBLE_DEVICES names them in another way than by number.
    """
    named = gpu_lists.visible(os.environ)
    if named is not None:
        if other := [word for word in named if not word.isdigit()]:
            raise HaigoError(
                f"CUDA_VISIBLE_DEVICES names {other[0]}: jobs are given their GPUs by number.", "write numbers: 0,1"
            )
        return [int(word) for word in named]
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        asked = subprocess.run(
            ["nvidia-smi", "-L"], capture_output=True, text=True, errors="replace", timeout=30, check=False
        )
        return list(range(sum(line.startswith("GPU ") for line in asked.stdout.splitlines())))
    return []
