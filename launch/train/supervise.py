"""The supervised run of `launch.deepy`: a live line, a true end, restarts from the last good checkpoint.

GPT-NeoX runs under a keeper of its own (`keeper`), its output goes to a file, and `supervisor` watches that
file. So a killed watcher costs nothing: the training goes on, and the same command finds it and watches on.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from haigo.cli import HaigoError, Refused
from launch.neox import ports
from launch.plan.checks.check import Check
from launch.train import exclusive as one_run
from launch.train import options, resume
from launch.train import process as children
from launch.train import record as run_record
from launch.train.event_log import note
from launch.train.options import add_arguments, wanted
from launch.train.run import Supervisor
from neox_configs import reader

__all__ = ["Supervisor", "add_arguments", "going_on", "ready", "settle_port", "still_trains", "wanted"]


def ready(args: argparse.Namespace, configs: Sequence[Path], root: Path) -> bool:
    """Before the checks: put the checkpoints in order, and say whether there is nothing left to do.

    Raises:
        Refused: no checkpoint is good, the save folder is another run's, or the data are not what they were.
        HaigoError: another watcher has this run.
    """
    if not options.wanted(args):
        return False
    options.check(args)
    config = reader.load(configs)
    if not config.get("save") or args.iteration is not None:
        return False
    folder = options.folder(args, config, configs, root)
    if args.dry_run:
        made = resume.look(config, root, options.gpus(args, config))
        if made.finished(config):
            _check_finished(made, args, config, root)
        _say_dry(made, config)
        return False
    if not (root / str(config["save"])).exists():
        return False  # nothing to look at, and no reason to make folders before the checks
    with one_run.alone(folder, config, root):
        if children.running(folder) is not None:
            return False
        made = resume.look(config, root, options.gpus(args, config))
        for line in resume.prepare(made):
            note(folder, "mended", told=line)
            print(f"haigo: {line}", file=sys.stderr)
        if made.finished(config):
            _check_finished(made, args, config, root)
            print(f"haigo: this run is finished: {made.save} holds {made.choice.tag} of {config['train_iters']} steps, "
                  "and it is whole. Nothing was started.")  # fmt: skip
            return True
    return False


def settle_port(found: list[Check], config: Mapping[str, Any]) -> tuple[list[Check], int | None]:
    """Another master port where DeepSpeed's own is in use here, as by a second run on the node; a port that the config names
    stays a reason to refuse.

    Args:
        found: what `preflight_place.checks` gave.

    Returns:
        The checks, with a busy port no failure any more, and the port to take (None: the config's or DeepSpeed's own).
    """
    busy = [check for check in found if check.name == "port" and check.status == "fail"]
    if not busy or config.get("master_port") is not None:
        return found, None
    port = ports.free()
    told = Check("port", "ok", f"{busy[0].found} {port} is taken instead")
    return [told if check in busy else check for check in found], port


def still_trains(args: argparse.Namespace, configs: Sequence[Path], root: Path) -> bool:
    """Whether a killed watcher left this run behind, so that it is only to be watched on: what a start needs of the place
    (a free port, room on the disk) is then its own already."""
    if not options.wanted(args):
        return False
    return children.running(options.folder(args, reader.load(configs), configs, root)) is not None


def _say_dry(made: resume.Resume, config: Mapping[str, Any]) -> None:
    if made.finished(config):
        print(f"haigo: finished already: {made.choice.tag}; nothing would be started.", file=sys.stderr)
    elif made.choice.tag:
        why = f" ({made.choice.why})" if made.choice.why else ""
        print(f"haigo: would go on from {made.choice.tag}{why}.", file=sys.stderr)


def _check_finished(made: resume.Resume, args: argparse.Namespace, config: Mapping[str, Any], root: Path) -> None:
    """A new mixture in a config of an old name must not be taken for the run that is there: it was never trained."""
    record = run_record.read(made.save) if made.save else None
    if record is None or args.other_data:
        return
    try:
        now = run_record.stream(config, root, options.batch(config, options.gpus(args, config)))
    except HaigoError:  # the data of a finished run may be gone
        return
    found = run_record.differences(record["stream"], now)
    if found:
        more = f" ({len(found) - 1} more: {'; '.join(found[1:])})" if len(found) > 1 else ""
        raise Refused(
            f"{made.save} holds a finished run ({made.choice.tag}) on another stream of data: {found[0]}{more}.",
            "name another save folder in the config to train this one, or restore the config",
        )


def going_on(args: argparse.Namespace, configs: list[Path], root: Path) -> list[Path]:
    """The config files that this start is checked and made with: changed ones where the run goes on and they would begin
    anew (finetuning), else those given. A dry run writes the changed file too, because the command that it shows names it."""
    if not wanted(args) or args.iteration is not None:
        return configs
    config = reader.load(configs)
    if not config.get("save") or not (root / str(config["save"])).exists():
        return configs
    place = options.folder(args, config, configs, root)
    if children.running(place) is not None:
        return configs
    changes = resume.look(config, root, options.gpus(args, config)).changes
    return [resume.changed(config, changes, configs[0], place)] if changes else configs
