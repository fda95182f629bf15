"""Jobs of a swarm through submitit: on Slurm, or as processes of this machine, one GPU each.

Executors of `haigo.jobs`, so that a swarm does not care who trains. Every job is resumable by itself: on Slurm one that is
preempted or out of time is queued again by submitit, and one that failed is tried once more. Slurm's jobs outlive this
process: the same command finds them again (`job.json` beside each run) and waits for them.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from haigo import files, pickles
from haigo.cli import HaigoError
from haigo.jobs import Event
from launch.neox import gpus
from launch.proxies.options import ClusterOptions

_POLL_S = 1.0
_GONE_S = 60.0  # a job that Slurm knows no more gets so long for its result to appear on a shared disk
_OWN = re.compile(r"(?:haigo\.cli\.)(?:HaigoError|Refused|Failed): (.*)")


class Jobs:
    """Tasks as jobs of submitit's; see `haigo.jobs.Executor`.

    Args:
        job: picklable; called in a process of its own with the task. What it raises is a failed try.
        folder: submitit's scripts, pickles and logs.
        runs: has the folder of each run, RUN, which keeps `job.json`.
        at_once: jobs at a time; on Slurm all are queued when None, on this machine one for each GPU (or one).
        progress: name -> what a tick says of it.

    Raises:
        HaigoError: submitit is not installed, or there is no Slurm here.
    """

    def __init__(
        self,
        job: Callable[[Any], Any],
        cluster: ClusterOptions,
        folder: Path,
        runs: Path,
        at_once: int | None = None,
        progress: Callable[[str], int] | None = None,
    ) -> None:
        try:
            import submitit
        except ImportError:
            raise HaigoError(
                "submitit, which starts the jobs, is not installed.", "pip install 'haigo[cluster]'"
            ) from None
        self.submitit, self.job, self.cluster, self.folder, self.runs = submitit, job, cluster, folder, runs
        self.limit, self.progress = at_once or sys.maxsize, progress
        self.running: dict[str, Any] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def start(self, name: str, task: Any) -> None:
        """Submit a job, or find the one of an earlier call."""
        self.running[name] = self.adopt(self.runs / name) or self.submit(task, self.runs / name)

    def poll(self) -> list[Event]:
        """See `haigo.jobs.Executor`."""
        ended = [name for name, one in self.running.items() if self.ended(one)]
        if not ended:
            time.sleep(_POLL_S)
        events = (
            []
            if self.progress is None
            else [Event("tick", name, self.progress(name)) for name in self.running if name not in ended]
        )
        for name in ended:
            one = self.running.pop(name)
            files.remove(self.runs / name / "job.json")
            good, value = self.answer(one)
            events.append(Event("done" if good else "failed", name, value))
        return events

    def close(self) -> None:
        """This process ends; Slurm's jobs go on."""

    def adopt(self, folder: Path) -> Any:
        """The job of an earlier call that still works on this run; None where there is none."""
        return None

    def submit(self, task: Any, folder: Path) -> Any:
        """Submit a job for a run."""
        raise NotImplementedError

    def ended(self, one: Any) -> bool:
        """Whether a job is over, well or not."""
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


class Local(Jobs):
    """As processes of this machine."""

    def __init__(self, *given: Any, **more: Any) -> None:
        super().__init__(*given, **more)
        self.gpus = gpus.numbers(os.environ) if self.cluster.gpus else []
        if self.limit == sys.maxsize:
            self.limit = max(1, len(self.gpus))
        self.used: dict[str, int] = {}

    def submit(self, task: Any, folder: Path) -> Any:
        """Start a process, on the card that the fewest others are on."""
        executor = self.submitit.LocalExecutor(folder=self.folder)
        held = list(self.used.values())
        chosen = sorted(self.gpus, key=lambda gpu: (held.count(gpu), self.gpus.index(gpu)))[:1]
        executor.update_parameters(
            timeout_min=self.cluster.minutes, gpus_per_node=len(chosen), visible_gpus=tuple(chosen), tasks_per_node=1
        )
        one = executor.submit(self.job, task)
        if chosen:
            self.used[one.job_id] = chosen[0]
        return one

    def ended(self, one: Any) -> bool:
        """Whether the process is gone; its card is then free."""
        if not one.done():
            return False
        self.used.pop(one.job_id, None)
        return True

    def close(self) -> None:
        """End the processes and what they started."""
        alive = list(self.running.values())
        below = [pid for one in alive for pid in _descendants(one._process.pid)]
        for one in alive:
            one.cancel()
        deadline = time.monotonic() + 30
        for one in alive:
            with contextlib.suppress(subprocess.TimeoutExpired):
                one._process.wait(max(0.1, deadline - time.monotonic()))
            if one._process.poll() is None:
                below += _descendants(one._process.pid)  # what it started meanwhile
                one._process.kill()
        for pid in below:  # what a job started goes with it, also where submitit's own process had no time to end it
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _descendants(pid: int) -> list[int]:
    """Processes that a process started, and theirs."""
    pids = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for word in (task / "children").read_text(encoding="ascii").split():
                pids += [int(word), *_descendants(int(word))]
    return pids


class Slurm(Jobs):
    """As jobs of Slurm's."""

    def __init__(self, *given: Any, **more: Any) -> None:
        super().__init__(*given, **more)
        for program in ("sbatch", "squeue"):
            if shutil.which(program) is None:
                raise HaigoError(f"there is no {program} here.", "run this on a node that submits to Slurm")
        self.gone: dict[str, float] = {}

    def adopt(self, folder: Path) -> Any:
        """See `Jobs`."""
        path = folder / "job.json"
        if not path.is_file():
            return None
        try:
            noted = files.read_record(path, {"executor": str, "id": str})
        except HaigoError as error:
            raise HaigoError(error.problem, f"cancel the job of {folder.name} if there is one, and delete it") from None
        if noted["executor"] != "slurm" or not self._known(noted["id"]):
            return None
        return self.submitit.SlurmJob(folder=self.folder, job_id=str(noted["id"]))

    def submit(self, task: Any, folder: Path) -> Any:
        """Queue a job, and note it beside the run."""
        cluster = self.cluster
        executor = self.submitit.SlurmExecutor(folder=self.folder, max_num_timeout=100)
        given: dict[str, Any] = {
            "job_name": "haigo-" + re.sub(r"[^\w.-]", "-", folder.name),
            "time": cluster.minutes,
            "cpus_per_task": cluster.cpus,
            "ntasks_per_node": 1,
            "nodes": 1,
            "additional_parameters": dict(cluster.slurm),
        }
        if cluster.gpus:
            given["gpus_per_node"] = cluster.gpus
        if cluster.partition:
            given["partition"] = cluster.partition
        executor.update_parameters(**given)
        try:
            one = executor.submit(self.job, task)
        except self.submitit.core.utils.FailedJobError as error:
            reasons = [line.strip() for line in str(error).splitlines() if "sbatch:" in line] or [
                str(error).splitlines()[0]
            ]
            raise HaigoError(f"Slurm refused the job: {reasons[-1]}", "mend what it names") from None
        folder.mkdir(parents=True, exist_ok=True)
        files.write_json(folder / "job.json", {"executor": "slurm", "id": one.job_id})
        return one

    def ended(self, one: Any) -> bool:
        """Whether its result is there, or Slurm knows it no more."""
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
        command = ["squeue", "--noheader", "--jobs", job_id, "--format", "%T"]
        asked = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=60, check=False)
        if asked.returncode != 0 and "Invalid job id" not in asked.stderr:
            return True  # Slurm does not answer just now: it will again
        return bool(asked.stdout.strip())
