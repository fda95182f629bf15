"""GPT-NeoX's deepy.py with the same words, checked beforehand and judged afterwards.

    python -m launch.deepy [--dry-run [--json]] [-d CONFDIR] train.py a.yml [b.yml ...] [-H hostfile]

`--dry-run` prints what would be run, down to the pdsh, mpirun or srun line and both configs in clear, and starts nothing; it
needs no GPT-NeoX. All else needs `GPT_NEOX_DIR` (a GPT-NeoX checkout) and `GPT_NEOX_PYTHON` (the interpreter of its
environment; Haigo's own when it is not set). The configs are checked as by `launch.preflight --here` first. GPT-NeoX then
runs from its checkout in a session of its own, so that Ctrl-C and SIGTERM reach every rank, and its exit code is handed on.
Because GPT-NeoX also ends with 0 after a loss of NaN or a killed launcher, a training run that says 0 is judged by its log
and by the last checkpoint too: exit code 4 when they say otherwise. train.py is supervised: a line shows where it stands,
crashes and hangs are started again from the last whole checkpoint, a finished run is not (docs/guide-supervise.md;
`--no-supervise` runs it once, as it is).
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from haigo import cli, files, redact
from haigo.cli import HaigoError, Refused
from launch.neox import dry_run as deepy_show
from launch.plan import preflight
from launch.plan.checks import machine as preflight_place
from launch.plan.checks.check import Check
from launch.train import outcome as deepy_run
from launch.train import supervise

_PROBE = (
    "import importlib.util as u, json, sys; "
    "print(json.dumps([name for name in sys.argv[1:] if u.find_spec(name) is None]))"
)
_NEEDED = ("torch", "deepspeed", "transformers", "sentencepiece", "yaml", "numpy")


def checkout() -> Path:
    """GPT-NeoX's checkout, from GPT_NEOX_DIR.

    Raises:
        HaigoError: the variable is not set, or there is no GPT-NeoX there.
    """
    named = os.environ.get("GPT_NEOX_DIR")
    if not named:
        raise HaigoError(
            "GPT_NEOX_DIR is not set, so that GPT-NeoX cannot be found.",
            "git clone https://github.com/EleutherAI/gpt-neox and export GPT_NEOX_DIR=/path/to/gpt-neox",
        )
    folder = Path(named).expanduser().resolve()
    for need in ("deepy.py", "train.py", "megatron"):
        if not (folder / need).exists():
            raise HaigoError(f"GPT_NEOX_DIR={named} has no {need}.", "name the root of a GPT-NeoX checkout")
    return folder


def interpreter(extra: Sequence[str] = ()) -> Path:
    """The Python of GPT-NeoX's environment, from GPT_NEOX_PYTHON.

    Args:
        extra: packages needed beyond GPT-NeoX's own.

    Raises:
        HaigoError: it is not there, or a package is missing in it.
    """
    named = os.environ.get("GPT_NEOX_PYTHON") or sys.executable
    # absolute but not resolved: a virtual environment's python is a link that must be called by its own name
    python = Path(os.path.abspath(Path(named).expanduser()))
    if not (python.is_file() and os.access(python, os.X_OK)):
        raise HaigoError(f"GPT_NEOX_PYTHON={named} is not a program.", "name the bin/python of GPT-NeoX's environment")
    asked = subprocess.run(
        [str(python), "-c", _PROBE, *_NEEDED, *extra],
        capture_output=True,
        text=True,
        errors="replace",
        timeout=120,
        check=False,
    )
    if asked.returncode != 0:
        raise HaigoError(f"{python} does not start as a Python.", "name the bin/python of GPT-NeoX's environment")
    told = files.parse_json((asked.stdout.strip().splitlines() or [""])[-1], f"what {python} answers", "name another")
    missing = told if isinstance(told, list) else []
    if missing:
        hint = "" if os.environ.get("GPT_NEOX_PYTHON") else ", or set GPT_NEOX_PYTHON to its bin/python"
        raise HaigoError(f"{python} has no package {missing[0]}.", f"install GPT-NeoX's requirements there{hint}")
    return python


def config_paths(names: Sequence[str], folder: str | None, root: Path | None) -> list[Path]:
    """The config files as absolute paths: deepy.py's rules (`-d`, `.yml` left out), from here or from the checkout.

    Raises:
        HaigoError: a file is in neither place.
    """
    found = []
    for name in names:
        full = os.path.join(folder, name) if folder else name
        full = full if full.endswith((".yml", ".json")) else f"{full}.yml"
        here, there = Path(full).resolve(), ((root or Path()) / full).resolve()
        if not here.is_file() and not there.is_file():
            places = f", neither here nor in {root}" if root else ""
            raise HaigoError(f"{full} does not exist{places}.", "check the path")
        found.append(here if here.is_file() else there)
    return found


def main(argv: Sequence[str] | None = None) -> int | None:
    parser = _parser()
    args, rest = parser.parse_known_args(argv)
    if rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if args.json and not args.dry_run:
        raise HaigoError("--json is for --dry-run.", "leave it out")
    root = checkout() if os.environ.get("GPT_NEOX_DIR") or not args.dry_run else None
    configs = config_paths(args.conf_file, args.conf_dir, root)
    if args.log:
        files.check_output(args.log, [*configs, args.hostfile], grows=True)
    script = args.user_script
    if root is not None and not (root / script).is_file():
        raise HaigoError(f"{root} has no {script}.", "name a script of GPT-NeoX, such as train.py")
    if root is not None:
        if supervise.ready(args, configs, root):
            return None
        configs = supervise.going_on(args, configs, root)
    report = preflight.preflight(configs, args.hostfile, args.gpus, root or Path())
    port = None
    starts = root is not None and not args.dry_run and not supervise.still_trains(args, configs, root)
    if root is not None and starts and not report.failed:
        here = preflight_place.checks(report.config, root, args.hostfile)
        if supervise.wanted(args):
            here, port = supervise.settle_port(here, report.config)
        report.checks.extend(here)
    if (args.dry_run or starts) and not report.failed:
        report.checks.extend(_launching(args, configs, report.config, root))
    shown = [check for check in report.checks if check.status != "ok"]
    names = ", ".join(dict.fromkeys(check.name for check in report.checks))
    print(preflight.text(preflight.Report(shown or [Check("checks", "ok", names)], {})), file=sys.stderr)
    if not args.no_preflight:
        report.refuse(str(configs[0]))
    if args.dry_run and root is None:
        python = os.environ.get("GPT_NEOX_PYTHON") or deepy_show.NO_PYTHON
    else:
        flash = "flash" in str(report.config.get("attention_config"))
        python = str(interpreter(["flash_attn"] if flash else []))
    command = [python, "deepy.py", script, *map(str, configs), *_forwarded(args)]
    environment = deepy_show.environment(python, report.config)
    if not args.dry_run and (report.config.get("comment") or report.config.get("account")):
        asked = preflight.Report(preflight_place.deepspeed(report.config, python), {})
        if not args.no_preflight:
            asked.refuse(str(configs[0]))
    if args.dry_run:
        gpus = preflight.world_size(report.config, args.hostfile, args.gpus)[0]
        _show(args, command, root, configs, environment, gpus)
        return None
    assert root is not None
    if supervise.wanted(args):
        run = supervise.Supervisor(args, root, configs, report.config, python, _forwarded(args), environment)
        run.port = port
        return run.run()
    outcome = deepy_run.run(command, root, environment, args.log)
    if outcome.code != 0:
        print(f"haigo: GPT-NeoX ended with {outcome.code}: {outcome.cause()}", file=sys.stderr)
        return outcome.code
    if Path(script).name == "train.py":
        deepy_run.judge(outcome, report.config, root)
    return None


def _launching(args: argparse.Namespace, configs: list[Path], config: dict[str, Any], root: Path | None) -> list[Check]:
    """What speaks against the launcher's command, judged alike by a dry run and a start."""
    found = preflight_place.named_hosts(config, args.hostfile) if args.dry_run else []
    if any(check.status == "fail" for check in found):
        return found
    python = os.environ.get("GPT_NEOX_PYTHON") or deepy_show.NO_PYTHON
    gpus = preflight.world_size(config, args.hostfile, args.gpus)[0]
    environment, folder = deepy_show.environment(python, config), str(root or deepy_show.NO_CHECKOUT)
    told = deepy_show.checks(configs, _words(args), environment, gpus, python, folder)
    # the dry run shows the others with the command
    return found + [check for check in told if check.status == "fail" or not args.dry_run]


def _words(args: argparse.Namespace) -> dict[str, Any]:
    words = dict(vars(args))
    for name in ("hostfile", "sample_input_file", "sample_output_file"):
        words[name] = str(Path(words[name]).resolve()) if words[name] else None
    return words


def _show(
    args: argparse.Namespace,
    command: list[str],
    root: Path | None,
    configs: list[Path],
    environment: dict[str, str],
    gpus: int | None,
) -> None:
    try:
        shown = deepy_show.plan(command, root, configs, _words(args), environment, gpus)
    except HaigoError as error:
        if args.json:
            raise
        folder = shlex.quote(str(root)) if root else deepy_show.NO_CHECKOUT
        print(f"cd {folder} && {redact.command(command)}\n{deepy_show.refusal(error)}")
        return
    print(json.dumps(shown, indent=2, ensure_ascii=False) if args.json else deepy_show.text(shown))


def _forwarded(args: argparse.Namespace) -> list[str]:
    words: list[str] = []
    if args.hostfile:
        if not Path(args.hostfile).is_file():
            raise Refused(f"the hostfile {args.hostfile} does not exist.", "write one line `HOST slots=GPUS` a node")
        words += ["--hostfile", str(Path(args.hostfile).resolve())]
    for name in ("wandb_group", "wandb_run_name", "wandb_team", "iteration", "eval_results_prefix", "autotuning"):
        if getattr(args, name) is not None:
            words += [f"--{name}", str(getattr(args, name))]
    for name in ("sample_input_file", "sample_output_file"):
        if getattr(args, name) is not None:
            words += [f"--{name}", str(Path(getattr(args, name)).resolve())]
    if args.eval_tasks:
        words += ["--eval_tasks", *args.eval_tasks]
    return words


def _parser() -> argparse.ArgumentParser:
    parser = cli.parser("launch.deepy", __doc__)
    parser.add_argument("user_script", help="GPT-NeoX's script: train.py, eval.py or generate.py")
    parser.add_argument("conf_file", nargs="+", help="config files, `.yml` may be left out")
    parser.add_argument("-d", "--conf_dir", "--conf-dir", help="folder before every config file's name")
    parser.add_argument("-H", "--hostfile", help="lines `HOST slots=GPUS`")
    for name in ("wandb_group", "wandb_run_name", "wandb_team", "eval_results_prefix"):
        parser.add_argument(f"--{name}", help="handed on")
    parser.add_argument("--iteration", type=int, help="handed on")
    parser.add_argument("--eval_tasks", nargs="+", help="handed on")
    parser.add_argument("--autotuning", choices=("tune", "run"), help="handed on")
    parser.add_argument("-i", "--sample_input_file", help="handed on")
    parser.add_argument("-o", "--sample_output_file", help="handed on")
    own = parser.add_argument_group("Haigo's own")
    own.add_argument("--dry-run", "--dry_run", action="store_true", help="check, print the commands, start nothing")
    own.add_argument("--json", action="store_true", help="with --dry-run: print all of it as JSON")
    own.add_argument("--gpus", type=int, help="number of GPUs for the checks, where no hostfile tells")
    own.add_argument("--log", help="file to write GPT-NeoX's output to as well")
    own.add_argument("--no-preflight", "--no_preflight", action="store_true", help="start although a check says no")
    supervise.add_arguments(parser)
    return parser


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
