"""GPT-NeoX's deepy.py with the same words, checked beforehand and judged afterwards.

    python -m launch.deepy [--dry-run] [-d CONFDIR] train.py a.yml [b.yml ...] [-H hostfile]

Needs `GPT_NEOX_DIR` (a GPT-NeoX checkout) and `GPT_NEOX_PYTHON` (the interpreter of its environment; Haigo's own when it
is not set). The configs are checked as by `launch.preflight` first. GPT-NeoX then runs from its checkout in a session
of its own, so that Ctrl-C and SIGTERM reach every rank, and its exit code is handed on. Because GPT-NeoX also ends with 0
after a loss of NaN or a killed launcher, a training run that says 0 is judged by its log and by the last checkpoint too:
exit code 4 when they say otherwise. train.py is supervised: a line shows where it stands, crashes and hangs are started again
from the last whole checkpoint, a finished run is not (docs/guide-supervise.md; `--no-supervise` runs it once, as it is).
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

from haigo import cli
from haigo.cli import HaigoError, Refused
from launch import deepy_run, preflight, supervise

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
        [str(python), "-c", _PROBE, *_NEEDED, *extra], capture_output=True, text=True, timeout=120, check=False
    )
    if asked.returncode != 0:
        raise HaigoError(f"{python} does not start as a Python.", "name the bin/python of GPT-NeoX's environment")
    missing = json.loads(asked.stdout.strip().splitlines()[-1])
    if missing:
        hint = "" if os.environ.get("GPT_NEOX_PYTHON") else ", or set GPT_NEOX_PYTHON to its bin/python"
        raise HaigoError(f"{python} has no package {missing[0]}.", f"install GPT-NeoX's requirements there{hint}")
    return python


def config_paths(names: Sequence[str], folder: str | None, root: Path) -> list[Path]:
    """The config files as absolute paths: deepy.py's rules (`-d`, `.yml` left out), from here or from the checkout.

    Raises:
        HaigoError: a file is in neither place.
    """
    found = []
    for name in names:
        full = os.path.join(folder, name) if folder else name
        full = full if full.endswith((".yml", ".json")) else f"{full}.yml"
        here, there = Path(full).resolve(), (root / full).resolve()
        if not here.is_file() and not there.is_file():
            raise HaigoError(f"{full} does not exist, neither here nor in {root}.", "check the path")
        found.append(here if here.is_file() else there)
    return found


def main(argv: Sequence[str] | None = None) -> int | None:
    parser = _parser()
    args, rest = parser.parse_known_args(argv)
    if rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    root = checkout()
    configs = config_paths(args.conf_file, args.conf_dir, root)
    script = args.user_script
    if not (root / script).is_file():
        raise HaigoError(f"{root} has no {script}.", "name a script of GPT-NeoX, such as train.py")
    if supervise.ready(args, configs, root):
        return None
    configs = supervise.going_on(args, configs, root)
    report = preflight.preflight(configs, args.hostfile, args.gpus, root)
    shown = [check for check in report.checks if check.status != "ok"]
    print(preflight.text(preflight.Report(shown or report.checks[:1], {})), file=sys.stderr)
    if not args.no_preflight:
        report.refuse(str(configs[0]))
    flash = "flash" in str(report.config.get("attention_config"))
    python = interpreter(["flash_attn"] if flash else [])
    command = [str(python), "deepy.py", script, *map(str, configs), *_forwarded(args)]
    if args.dry_run:
        print(f"cd {shlex.quote(str(root))} && {shlex.join(command)}")
        return None
    environment = {**os.environ, "PATH": f"{python.parent}{os.pathsep}{os.environ.get('PATH', '')}"}
    environment.setdefault("PYTHONUNBUFFERED", "1")
    if supervise.wanted(args):
        return supervise.Supervisor(
            args, root, configs, report.config, str(python), _forwarded(args), environment
        ).run()
    outcome = deepy_run.run(command, root, environment, args.log)
    if outcome.code != 0:
        print(f"haigo: GPT-NeoX ended with {outcome.code}: {outcome.cause()}", file=sys.stderr)
        return outcome.code
    if Path(script).name == "train.py":
        deepy_run.judge(outcome, report.config, root)
    return None


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
    own.add_argument("--dry-run", "--dry_run", action="store_true", help="check, print the command, start nothing")
    own.add_argument("--gpus", type=int, help="number of GPUs for the checks, where no hostfile tells")
    own.add_argument("--log", help="file to write GPT-NeoX's output to as well")
    own.add_argument("--no-preflight", "--no_preflight", action="store_true", help="start although a check says no")
    supervise.add_arguments(parser)
    return parser


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
