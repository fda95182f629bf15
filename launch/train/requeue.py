"""What to do when the time of a job runs out: wait for the next checkpoint if it comes in time, stop, queue it again.

GPT-NeoX saves only at the steps that its config names; no signal, file or key makes it save now (`exit_interval` ends it
without saving). So what can be done between a warning signal and the end of a job is to let it reach the next
checkpoint when that is near enough. Otherwise the steps since the last one are lost, whenever it stops.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from typing import Any

from haigo.cli import HaigoError
from launch.neox import checkpoints, nodelist


def next_save(config: Mapping[str, Any], iteration: int) -> int | None:
    """The first step after `iteration` at which GPT-NeoX saves; None when it never does again.

    Args:
        config: with save, checkpoint_factor, checkpoint_scale, extra_save_iters and train_iters.
        iteration: the last step that was done.
    """
    if not config.get("save"):
        return None
    last = checkpoints.last_step(config)
    steps = [step for step in config.get("extra_save_iters") or [] if step > iteration]
    factor = config.get("checkpoint_factor")
    if factor and config.get("checkpoint_scale", "linear") == "log":
        power = 1.0
        while factor > 1 and int(power) <= iteration:
            power *= factor
        steps += [int(power)] if factor > 1 else []
    elif factor:
        steps.append((iteration // int(factor) + 1) * int(factor))
    if isinstance(last, int) and last > iteration:
        steps.append(last)  # the end is always saved
    steps = [step for step in steps if not isinstance(last, int) or step <= last]
    return min(steps) if steps else None


def worth_waiting(
    next_step: int | None, iteration: int | None, step_s: float | None, save_s: float, left_s: float, since_s: float
) -> bool:
    """Whether the next checkpoint will be there before the time is up.

    Args:
        next_step: what `next_save` gave.
        iteration: the last step that the log told of; None when there was none.
        step_s: seconds a step; None when not known.
        save_s: seconds that a save takes, from the last one seen.
        left_s: seconds until everything must have stopped.
        since_s: seconds since `iteration` was told.
    """
    if next_step is None or iteration is None or step_s is None:
        return False
    return (next_step - iteration) * step_s - since_s + 1.5 * save_s <= left_s


def command(environment: Mapping[str, str]) -> list[str]:
    """The words that put the job of this environment back into Slurm's queue.

    Raises:
        HaigoError: this is no Slurm job, or there is no scontrol.
    """
    job = environment.get("SLURM_JOB_ID")
    if not job or not job.isdigit():
        raise HaigoError(
            "--requeue was given, and this is no Slurm job (no SLURM_JOB_ID).", "leave it out, or use sbatch", "requeue"
        )
    # a member of an array has a number of its own in SLURM_JOB_ID too, so this is enough for arrays
    return ["scontrol", "requeue", job]


def requeue(environment: Mapping[str, str] | None = None) -> str:
    """Put this job back into the queue.

    Returns:
        What happened, in one sentence.

    Raises:
        HaigoError: as `command`; or scontrol is missing or said no.
    """
    variables = os.environ if environment is None else environment
    words = command(variables)
    if shutil.which(words[0], path=variables.get("PATH")) is None:
        raise HaigoError("there is no scontrol on PATH.", "submit the job again by hand")
    if cancelled(_ask(["scontrol", "show", "job", words[2]], variables).stdout):
        return f"job {words[2]} was cancelled and stays so."
    done = _ask(words, variables)
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise HaigoError(
            f"scontrol requeue {words[2]} failed{': ' + said[-1] if said else ''}.",
            "submit the job again by hand; jobs need sbatch --requeue to be put back",
        )
    return f"job {words[2]} is back in the queue and goes on from the last checkpoint."


def cancelled(shown: str) -> bool:
    """Whether a job is being ended by `scancel`, which sends SIGTERM too: Slurm would put even such a job back.

    Args:
        shown: what `scontrol show job` says. While a job is being ended that is COMPLETING, whatever the reason; one that has
            not come to its time limit was cancelled.
    """
    facts = dict(word.split("=", 1) for word in shown.split() if "=" in word)
    if facts.get("JobState") not in ("COMPLETING", "CANCELLED"):
        return False
    try:
        return nodelist.seconds(facts["RunTime"]) < nodelist.seconds(facts["TimeLimit"])
    except (KeyError, HaigoError):  # UNLIMITED
        return True


def _ask(words: list[str], variables: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            words, env=dict(variables), capture_output=True, text=True, errors="replace", timeout=60, check=False
        )
    except subprocess.TimeoutExpired:
        raise HaigoError("scontrol did not answer for a minute.", "submit the job again by hand") from None
