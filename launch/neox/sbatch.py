"""The text of an sbatch script: directives quoted for Slurm's own reader, everything else quoted for bash."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from haigo.cli import HaigoError
from launch.neox.launcher import KEPT, PREFIXES

SETTINGS = {
    "account": "account to charge",
    "partition": "partition",
    "qos": "quality of service",
    "constraint": "features of the nodes",
    "reservation": "reservation",
    "comment": "a comment for the job",
}
_TIME = re.compile(r"[0-9]{1,9}(:[0-9][0-9](:[0-9][0-9])?)?|[0-9]{1,9}-[0-9]{1,9}(:[0-9][0-9]){0,2}")

_BODY = r"""
# where the runs of this job keep their hostfile; removed by nobody, a few hundred bytes
place="$logs/slurm-${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}${SLURM_ARRAY_TASK_ID:+_$SLURM_ARRAY_TASK_ID}"
mkdir -p "$place" || exit 1
"$python" -m launch.hostfile "$place/hostfile" --from slurm --gpus-per-node "$gpus" || exit 2
first=$(head -n 1 "$place/hostfile" | cut -d ' ' -f 1)
# the name that Slurm calls a node by need not be one that resolves: its address is what the ranks need
MASTER_ADDR=$(scontrol show node "$first" | sed -n 's/.*NodeAddr=\([^ ]*\).*/\1/p')
MASTER_ADDR="${MASTER_ADDR:-$first}"
export MASTER_ADDR MASTER_PORT="${MASTER_PORT:-$((20000 + SLURM_JOB_ID % 10000))}"
echo "haigo: job $SLURM_JOB_ID, start $((${SLURM_RESTART_COUNT:-0} + 1)), on $SLURM_JOB_NODELIST, MASTER_ADDR $MASTER_ADDR"
"""

_PROLOG = r"""
# DeeperSpeed writes NAME="value" into srun's --export, and srun keeps the quotes: NCCL would look for an interface called
# "eth0". The values travel under other names, and every task gets them back before it starts.
for name in $(compgen -e | grep -E '^(@PREFIXES@)'); do export "@KEPT@$name=${!name}"; done
cat > "$place/prolog" <<'END'
#!/bin/bash
for kept in $(compgen -A export @KEPT@); do printf 'export %s=%s\n' "${kept#@KEPT@}" "${!kept}"; done
END
chmod 755 "$place/prolog" && export SLURM_TASK_PROLOG="$place/prolog"
"""

_RUN = r"""
# launch.deepy itself knows what to do with these signals: it waits for the next checkpoint when that is near, stops every
# rank and puts the job back into the queue, where it goes on from its last good checkpoint
asked=
pass_on() {
  asked=$1
  echo "haigo: SIG$1, $([ "$1" = USR1 ] && echo "the time limit is near" || echo "the job is to end")"
  [ -z "$child" ] || kill -s "$1" "$child" 2> /dev/null
}
trap 'pass_on USR1' USR1
trap 'pass_on TERM' TERM
again=()
if [ "${SLURM_RESTART_COUNT:-0}" -lt "$requeues" ]; then again=(--requeue); fi
"$python" -m launch.deepy train.py "${run[@]}" -H "$place/hostfile" --log "$place/train.log" \
  --grace-seconds "$grace" "${again[@]}" &
child=$!
[ -z "$asked" ] || kill -s "$asked" "$child"
wait "$child"
code=$?
while kill -0 "$child" 2> /dev/null; do wait "$child"; code=$?; done
if [ "$asked" = USR1 ] && [ "$code" != 0 ]; then
  if [ ${#again[@]} = 0 ]; then
    echo "haigo: queued again $requeues times already, left"
  elif [ "$code" = 138 ]; then
    echo "haigo: the signal came before the training was watched, queued again"
    scontrol requeue "$SLURM_JOB_ID"
  fi
fi
echo "haigo: ended with $code"
exit "$code"
"""


@dataclass(frozen=True)
class Job:
    """What the script asks for."""

    nodes: int
    gpus: int
    """GPUs of a node, and tasks on it."""
    time: str
    """Time limit in Slurm's notation."""
    name: str
    logs: Path
    python: str
    """Haigo's interpreter on the nodes."""
    folder: Path
    """Where the job starts, so that Haigo is found."""
    launcher: str = "slurm"
    array: bool = False
    at_once: int | None = None
    before_end: int = 300
    """Seconds before the time limit at which Slurm sends USR1."""
    requeues: int = 100
    settings: Mapping[str, str | None] = field(default_factory=dict)
    """account, partition, qos, ... (SETTINGS)."""
    overcommit_cpu: bool = False
    """No GPUs are asked for: trials without any."""

    @property
    def grace(self) -> int:
        """Seconds that a run may go on after USR1, to reach its next checkpoint.

        Slurm looks at limits every half minute, and stopping the ranks and the requeue take their time too.
        """
        return max(self.before_end - 60, self.before_end // 2)

    def log(self, number: str) -> str:
        """Where Slurm writes the job's output."""
        return str(self.logs / (f"{self.name}-{number}_*.log" if self.array else f"{self.name}-{number}.log"))


def seconds(text: str) -> int:
    """A time as Slurm writes it: `MINUTES`, `M:S`, `H:M:S`, `D-H`, `D-H:M` or `D-H:M:S`; 0 is no limit.

    Raises:
        HaigoError: it is none of these.
    """
    if _TIME.fullmatch(text) is None:
        raise HaigoError(f"--time {text} is not a time as Slurm writes it.", "write 24:00:00 or 2-00:00:00")
    days, dash, rest = text.rpartition("-")
    parts = [int(part) for part in rest.split(":")]
    if dash:
        hours, minutes, left = (*parts, 0, 0)[:3]
    elif len(parts) == 3:
        hours, minutes, left = parts
    else:
        hours, (minutes, left) = 0, (*parts, 0)[:2]
    return ((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + left


def quoted(text: str) -> str:
    """A value for an `#SBATCH --name=` line: Slurm's reader knows double quotes and backslashes.

    Raises:
        HaigoError: control characters, or longer than 1,000 characters.
    """
    if len(text) > 1000 or any(ord(letter) < 32 or ord(letter) == 127 for letter in text):
        raise HaigoError(f"{text[:40]!r} has a control character or is too long for Slurm.", "give plain text")
    if re.fullmatch(r"[A-Za-z0-9_.,:@+%/-]+", text):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def directives(job: Job, count: int) -> list[str]:
    """The `#SBATCH` lines.

    Raises:
        HaigoError: a value that Slurm cannot take.
    """
    limit = seconds(job.time)
    if limit and job.before_end >= limit:
        raise HaigoError(
            f"--before-end is {job.before_end} seconds and the time limit {limit}: the run would be stopped at once.",
            "give a longer --time, or a smaller --before-end",
        )
    if re.search(r"[/%\\]", job.name) or not job.name:
        raise HaigoError(f"{job.name!r} cannot name a job and its log.", "give --job-name NAME without / and %")
    if "%" in str(job.logs) or "\\" in str(job.logs):
        raise HaigoError(
            f"the folder {job.logs} has a % or a backslash, which Slurm replaces in log names.", "give --logs"
        )
    wanted: dict[str, str | int | None] = {
        "job-name": job.name,
        "nodes": job.nodes,
        "ntasks-per-node": job.gpus,
        "gpus-per-node": None if job.overcommit_cpu else job.gpus,
        "time": job.time,
        "output": f"{job.logs}/%x-%A_%a.log" if job.array else f"{job.logs}/%x-%j.log",
        "open-mode": "append",
        "signal": f"B:USR1@{job.before_end}",
        "array": f"0-{count - 1}{f'%{job.at_once}' if job.at_once else ''}" if job.array else None,
        **job.settings,
    }
    lines = [f"#SBATCH --{name}={quoted(str(value))}" for name, value in wanted.items() if value is not None]
    return [*lines, "#SBATCH --requeue"]


def script(job: Job, runs: Sequence[Sequence[str]], environ: Mapping[str, str]) -> str:
    """The whole script.

    Args:
        job: what it asks for.
        runs: the config files of each run, absolute; one run unless it is an array.
        environ: where GPT_NEOX_DIR and GPT_NEOX_PYTHON are taken from; nothing else of it is written.

    Raises:
        HaigoError: as `directives`.
    """
    lines = ["#!/bin/bash", *directives(job, len(runs)), "", f"cd {shlex.quote(str(job.folder))} || exit 1"]
    for name in ("GPT_NEOX_DIR", "GPT_NEOX_PYTHON"):
        if environ.get(name):
            lines.append(f"export {name}={shlex.quote(environ[name])}")
    lines += [
        f"python={shlex.quote(job.python)} logs={shlex.quote(str(job.logs))} gpus={job.gpus} requeues={job.requeues}"
        f" grace={job.grace} child="
    ]
    if job.array:
        lines += ['case "$SLURM_ARRAY_TASK_ID" in']
        lines += [f"  {number}) run=({shlex.join(run)}) ;;" for number, run in enumerate(runs)]
        lines += ['  *) echo "haigo: no run of this number"; exit 2 ;;', "esac"]
    else:
        lines += [f"run=({shlex.join(runs[0])})"]
    prefixes = "|".join((*PREFIXES, "NCCL", "WANDB_API_KEY"))
    prolog = _PROLOG.replace("@PREFIXES@", prefixes).replace("@KEPT@", KEPT) if job.launcher == "slurm" else ""
    return "\n".join(lines) + "\n" + _BODY + prolog + _RUN
