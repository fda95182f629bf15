"""The options of `launch.deepy`: deepy.py's own words, and how a training run is watched."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from haigo.options import Options, count, few, option

_own = partial(option, group="Haigo's own")
_watch: Any = partial(option, group="supervision (of train.py)")
_SAY = ("stop", "warn", "off")
_FILES = ("hostfile", "sample_input_file", "sample_output_file")
_HANDED_ON = (
    "hostfile", "wandb_group", "wandb_run_name", "wandb_team", "iteration", "eval_results_prefix", "autotuning",
    "sample_input_file", "sample_output_file", "eval_tasks",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class SuperviseOptions(Options):
    """How a training run is watched, started again and stopped."""

    no_supervise: bool = _watch("run GPT-NeoX once, its output on the terminal", False)
    run_folder: str | None = _watch("logs and state (default: haigo/ in the config's save folder)", None)
    max_restarts: int = _watch("after a crash, in a row without a new checkpoint", 3, least=0)
    restart_wait: float = _watch("seconds before the first restart, then doubled", 10.0, least=0)
    hang_factor: float = _watch("silence for so many times the usual gap is a hang", 10.0, above=0)
    hang_seconds: float = _watch("but at least so long between steps", 300.0, above=0)
    hang_pause: float = _watch("and so long at start, save, evaluation", 1800.0, above=0)
    nan: str = _watch("when the loss is no number", "stop", among=_SAY)
    spike: str = _watch("when the loss jumps and stays", "warn", among=_SAY)
    spike_sigma: float = _watch("a jump by so many deviations of the last losses", 8.0, above=0)
    spike_rise: float = _watch("and by at least so much", 0.3, least=0)
    spike_window: int = count("logged losses that it is compared with", 50, group="supervision (of train.py)")
    spike_patience: int = count("logged losses in a row above it", 3, group="supervision (of train.py)")
    grace_seconds: float | None = _watch(
        "after SIGTERM or SIGUSR1, to reach the next checkpoint if near enough (default: 0; with --requeue 25)",
        None,
        least=0,
    )
    requeue: bool = _watch("after SIGTERM or SIGUSR1, `scontrol requeue` this Slurm job", False)
    other_data: bool = _watch("go on although weights, batch, length or data are not what they were", False)
    no_rank_logs: bool = _watch("no log for every rank (they are kept for local launches)", False)


@dataclass(frozen=True, kw_only=True)
class DeepyOptions(SuperviseOptions):
    """What `launch.deepy` checks and starts. deepy.py's own words keep their spelling."""

    user_script: str = option("GPT-NeoX's script: train.py, eval.py or generate.py", positional=True)
    conf_file: list[str] = option("config files, `.yml` may be left out", positional=True)
    conf_dir: str | None = option(
        "folder before every config file's name", None, flags=("-d", "--conf_dir", "--conf-dir")
    )
    hostfile: str | None = option("lines `HOST slots=GPUS`", None, flags=("-H", "--hostfile"))
    wandb_group: str | None = option("handed on", None, flags=("--wandb_group",))
    wandb_run_name: str | None = option("handed on", None, flags=("--wandb_run_name",))
    wandb_team: str | None = option("handed on", None, flags=("--wandb_team",))
    eval_results_prefix: str | None = option("handed on", None, flags=("--eval_results_prefix",))
    iteration: int | None = option("handed on", None)
    eval_tasks: list[str] | None = option("handed on", None, flags=("--eval_tasks",), nargs="+")
    autotuning: str | None = option("handed on", None, among=("tune", "run"))
    sample_input_file: str | None = option("handed on", None, flags=("-i", "--sample_input_file"))
    sample_output_file: str | None = option("handed on", None, flags=("-o", "--sample_output_file"))
    every_node: bool = _own("started on every node by itself (Kubernetes, PBS): no ssh, docs/guide-cluster.md", False)
    nnodes: int | None = count("with --every-node: nodes (the environment's)", None, group="Haigo's own")
    node_rank: int | None = count(
        "with --every-node: this one, from 0 (the environment's)", None, least=0, group="Haigo's own"
    )
    nproc_per_node: int | None = few("with --every-node: GPUs of a node (those seen here)", None, group="Haigo's own")
    dry_run: bool = _own("check, print the commands, start nothing", False)
    json: bool = _own("with --dry-run: print all of it as JSON", False)
    gpus: int | None = few("number of GPUs for the checks, where no hostfile tells", None, group="Haigo's own")
    log: str | None = _own("file to write GPT-NeoX's output to as well", None)
    no_preflight: bool = _own("start although a check says no", False)

    @property
    def supervised(self) -> bool:
        """Whether the run is watched and started again: training alone, and not tuning."""
        return Path(self.user_script).name == "train.py" and not self.no_supervise and self.autotuning is None

    def handed_on(self) -> dict[str, Any]:
        """deepy.py's name of an option -> what it gets besides script and configs; paths are absolute."""
        given = {name: getattr(self, name) for name in _HANDED_ON if getattr(self, name) is not None}
        return {name: str(Path(value).resolve()) if name in _FILES else value for name, value in given.items()}

    def overwrites(self) -> dict[str, Any]:
        """The keys of the config that deepy.py replaces by them."""
        made = {"user_script": self.user_script, **self.handed_on()}
        return {"autotuning_run" if name == "autotuning" else name: value for name, value in made.items()}

    def words(self, without: tuple[str, ...] = ()) -> list[str]:
        """`handed_on` as words of a command line."""
        found: list[str] = []
        for name, value in self.handed_on().items():
            if name not in without:
                found += [f"--{name}", *(map(str, value) if isinstance(value, list) else [str(value)])]
        return found
