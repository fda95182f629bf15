"""What `launch.deepy` does between its words and the run: where it stands, the checks, the dry run."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from haigo import cli
from haigo.cli import Refused
from launch.neox import checkout, checkpoints, every_node, ports
from launch.plan import preflight
from launch.plan.checks import machine as preflight_place
from launch.plan.checks import preferences
from launch.plan.checks.check import Check
from launch.train import dry_run, follower, requeue, resume, runs_table
from launch.train import nodes as node_starts
from launch.train.options import DeepyOptions
from launch.train.run import State, TrainingRun


def start(options: DeepyOptions, root: Path | None, configs: Sequence[Path]) -> int:
    """Check a run and start it, or show what would be started.

    Args:
        root: GPT-NeoX's checkout; None for a dry run without one.
        configs: the config files.

    Returns:
        The exit code.

    Raises:
        Refused: a check says no, no checkpoint is good, or the save folder is another run's.
        HaigoError: see `TrainingRun`; `--requeue` outside Slurm.
    """
    if options.supervised and options.requeue and not options.dry_run:
        requeue.command(os.environ)
    nodes = node_starts.find(options, os.environ)
    if nodes is None:
        return _start(options, root, configs, None)
    options = options.replaced(gpus=nodes.world, hostfile=None)
    if options.dry_run or root is None:
        return _start(options, root, configs, nodes)
    if nodes.rank > 0:
        return follower.follow(options, root, configs, nodes)
    with node_starts.ended(TrainingRun(options, root, configs).folder, nodes) as code:
        code[:] = [_start(options, root, configs, nodes)]
        return code[0]


def _start(options: DeepyOptions, root: Path | None, configs: Sequence[Path], nodes: every_node.Nodes | None) -> int:
    with TrainingRun(options, root or Path(), configs, nodes) as run:
        if nodes is not None:
            every_node.check(run.config)
        if root is not None and options.supervised and _nothing_left(run):
            return cli.OK
        files, config = run.configs, run.config
        if options.iteration is None:  # with changes where it goes on
            files, config = run.start_files(), resume.with_changes(run.config, run.resume.changes)
        report = preflight.preflight(files, options.hostfile, options.gpus, root or Path(), config)
        if root is not None:
            report.checks.extend(preferences.script(config, root, options.user_script))
        starts = root is not None and not options.dry_run and run.state is not State.RUNNING
        if root is not None and starts and not report.failed:
            where = config if nodes is None else {**config, "launcher": "pdsh", "master_port": nodes.port}
            here = preflight_place.checks(where, root, options.hostfile)
            if options.supervised and nodes is None:
                here, run.port = settle_port(here, config, runs_table.gives_port(configs))
            report.checks.extend(here)
        call = _call(options, root, files, config, run.gpus)
        if nodes is None and (options.dry_run or starts) and not report.failed:
            report.checks.extend(_launching(options, config, call))
        shown = [check for check in report.checks if check.status != "ok"]
        names = ", ".join(dict.fromkeys(check.name for check in report.checks))
        print(preflight.text(preflight.Report(shown or [Check("checks", "ok", names)], {})), file=sys.stderr)
        if not options.no_preflight:
            report.refuse(str(files[0]))
        named = options.hostfile or (None if options.no_preflight else config.get("hostfile"))
        if named and not Path(named).is_file():
            raise Refused(f"the hostfile {named} does not exist.", "write one line `HOST slots=GPUS` a node")
        python = call.python
        if root is not None:
            python = _interpreter(config)
        if options.dry_run:
            made = _call(options, root, files, config, run.gpus, python)
            deepy = [python, "deepy.py", options.user_script, *map(str, files), *options.words()]
            dry_run.show(made, deepy, options.json) if nodes is None else dry_run.show_nodes(made, nodes, options.json)
            return cli.OK
        if config.get("comment") or config.get("account"):
            asked = preflight.Report(preflight_place.deepspeed(config, python), {})
            if not options.no_preflight:
                asked.refuse(str(files[0]))
        return run.run(python, checkout.environment(python, config))


def _interpreter(config: Mapping[str, Any]) -> str:
    flash = "flash" in str(config.get("attention_config"))
    return str(checkout.interpreter(["flash_attn"] if flash else []))


def _nothing_left(run: TrainingRun) -> bool:
    """Say where a run stands, and put its checkpoints in order; True where it is finished.

    Raises:
        Refused: see `TrainingRun.survey` and `TrainingRun.check_finished`.
    """
    state, tag = run.survey(), run.resume.choice.tag
    if run.child is not None:
        if run.options.dry_run:
            print(f"haigo: this run still trains (pid {run.child.pid}) and would be watched on.", file=sys.stderr)
        return False
    if not run.options.dry_run:
        run.prepare()
    if state is State.FINISHED:
        run.check_finished()
        if run.options.dry_run:
            print(f"haigo: finished already: {tag}; nothing would be started.", file=sys.stderr)
            return False
        steps = checkpoints.last_step(run.config)
        what = f"this run is finished: {run.save} holds {tag} of {steps} steps, and it is whole. Nothing was started."
        if steps is not None and run.resume.step > steps:  # a phase, and a later one has begun
            what = f"these {steps:,} steps are done: {run.save} holds {tag}."
        print(f"haigo: {what}")
        return True
    if run.options.dry_run and tag and run.options.iteration is None:
        why = f" ({run.resume.choice.why})" if run.resume.choice.why else ""
        print(f"haigo: would go on from {tag}{why}.", file=sys.stderr)
    return False


def settle_port(checks: list[Check], config: Mapping[str, Any], given: bool = False) -> tuple[list[Check], int | None]:
    """Another master port where DeepSpeed's own, or the one of a row of `launch.runs`, is in use here, as by a second run on
    the node; a port that the config names stays a reason to refuse.

    Args:
        checks: what `place.checks` gave.
        given: the config's port is the row's.

    Returns:
        The checks, with a busy port no failure any more, and the port to take (None: the config's or DeepSpeed's own).
    """
    busy = [check for check in checks if check.name == "port" and check.status == "fail"]
    if not busy or (config.get("master_port") is not None and not given):
        return checks, None
    port = ports.free()
    taken = Check("port", "ok", f"{busy[0].found} {port} is taken instead")
    return [taken if check in busy else check for check in checks], port


def _call(
    options: DeepyOptions,
    root: Path | None,
    files: Sequence[Path],
    config: Mapping[str, Any],
    gpus: int | None,
    python: str | None = None,
) -> dry_run.Call:
    python = python or os.environ.get("GPT_NEOX_PYTHON") or dry_run.NO_PYTHON
    environ = checkout.environment(python, config)
    folder = str(root) if root else dry_run.NO_CHECKOUT
    return dry_run.Call(
        configs=files, overwrite=options.overwrites(), environ=environ, gpus=gpus, python=python, folder=folder
    )


def _launching(options: DeepyOptions, config: Mapping[str, Any], call: dry_run.Call) -> list[Check]:
    """What speaks against the launcher's command, judged alike by a dry run and a start."""
    checks = preflight_place.named_hosts(config, options.hostfile) if options.dry_run else []
    if any(check.status == "fail" for check in checks):
        return checks
    # the dry run shows the others with the command
    return checks + [check for check in dry_run.checks(call) if check.status == "fail" or not options.dry_run]
