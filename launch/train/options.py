"""The options of a supervised run, and what follows from them alone."""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from haigo import cli
from haigo.cli import HaigoError
from launch.plan import preflight
from launch.train import requeue
from neox_configs import derive


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of a supervised run."""
    group = parser.add_argument_group("supervision (of train.py)")

    group.add_argument(
        "--no-supervise", "--no_supervise", action="store_true", help="run GPT-NeoX once, its output on the terminal"
    )
    group.add_argument(
        "--run-folder", "--run_folder", help="logs and state (default: haigo/ in the config's save folder)"
    )
    group.add_argument(
        "--max-restarts",
        "--max_restarts",
        type=int,
        default=3,
        help="after a crash, in a row without a new checkpoint (default: 3)",
    )
    group.add_argument(
        "--restart-wait",
        "--restart_wait",
        type=float,
        default=10.0,
        help="seconds before the first restart, then doubled (default: 10)",
    )
    group.add_argument(
        "--hang-factor",
        "--hang_factor",
        type=float,
        default=10.0,
        help="silence for so many times the usual gap is a hang (default: 10)",
    )
    group.add_argument(
        "--hang-seconds",
        "--hang_seconds",
        type=float,
        default=300.0,
        help="but at least so long between steps (default: 300)",
    )
    group.add_argument(
        "--hang-pause",
        "--hang_pause",
        type=float,
        default=1800.0,
        help="and so long at start, save, evaluation (default: 1800)",
    )
    group.add_argument(
        "--nan", choices=("stop", "warn", "off"), default="stop", help="when the loss is no number (default: stop)"
    )
    group.add_argument(
        "--spike", choices=("stop", "warn", "off"), default="warn", help="when the loss jumps and stays (default: warn)"
    )
    group.add_argument(
        "--spike-sigma",
        "--spike_sigma",
        type=float,
        default=8.0,
        help="a jump by so many deviations of the last losses (default: 8)",
    )
    group.add_argument(
        "--spike-rise", "--spike_rise", type=float, default=0.3, help="and by at least so much (default: 0.3)"
    )
    group.add_argument(
        "--spike-window",
        "--spike_window",
        type=cli.count,
        default=50,
        help="logged losses that it is compared with (default: 50)",
    )
    group.add_argument(
        "--spike-patience",
        "--spike_patience",
        type=cli.count,
        default=3,
        help="logged losses in a row above it (default: 3)",
    )
    group.add_argument(
        "--grace-seconds",
        "--grace_seconds",
        type=float,
        help="after SIGTERM or SIGUSR1, to reach the next checkpoint if near enough (default: 0; with --requeue 25)",
    )
    group.add_argument(
        "--requeue", action="store_true", help="after SIGTERM or SIGUSR1, `scontrol requeue` this Slurm job"
    )
    group.add_argument(
        "--other-data",
        "--other_data",
        action="store_true",
        help="go on although weights, batch, length or data are not what they were",
    )
    group.add_argument(
        "--no-rank-logs",
        "--no_rank_logs",
        action="store_true",
        help="no log for every rank (they are kept for local launches)",
    )


def wanted(args: argparse.Namespace) -> bool:
    """Whether this call is a supervised run."""
    return Path(args.user_script).name == "train.py" and not args.no_supervise and args.autotuning is None


def check(args: argparse.Namespace) -> None:
    """See that the numbers make sense.

    Raises:
        HaigoError: one does not, or --requeue is given outside Slurm.
    """
    for name in ("max_restarts", "restart_wait", "spike_rise"):
        if getattr(args, name) < 0:
            raise HaigoError(f"--{name.replace('_', '-')} is {getattr(args, name)}.", "give a number of at least 0")
    for name in ("hang_factor", "hang_seconds", "hang_pause", "spike_sigma"):
        if not getattr(args, name) > 0:
            raise HaigoError(f"--{name.replace('_', '-')} is {getattr(args, name)}.", "give a number above 0")
    if args.grace_seconds is not None and not args.grace_seconds >= 0:
        raise HaigoError(f"--grace-seconds is {args.grace_seconds}.", "give a number of at least 0")
    if args.requeue and not args.dry_run:
        requeue.command(os.environ)


def gpus(args: argparse.Namespace, config: Mapping[str, Any]) -> int | None:
    """All GPUs of the run; None when nothing tells."""
    with contextlib.suppress(HaigoError):
        return preflight.world_size(config, args.hostfile, args.gpus)[0]
    return None


def batch(config: Mapping[str, Any], gpus: int | None) -> int | None:
    """The global batch in samples; None when nothing tells."""
    if gpus:
        with contextlib.suppress(HaigoError):
            return derive.batch(config, gpus).train
    given = config.get("train_batch_size")
    return given if isinstance(given, int) else None


def folder(args: argparse.Namespace, config: Mapping[str, Any], configs: Sequence[Path], root: Path) -> Path:
    """Where the run's logs and state are."""
    if args.run_folder:
        return Path(args.run_folder).resolve()
    if config.get("save"):
        return (root / str(config["save"]) / "haigo").resolve()
    return (configs[0].parent / "runs" / configs[0].stem).resolve()
