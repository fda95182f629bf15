"""What `launch.deepy --dry-run` tells: deepy.py's command, the launcher's words, what it starts, both configs in clear.

Nothing is started and no GPT-NeoX is needed. What cannot be known here is said in so many words.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from haigo import redact
from haigo.cli import HaigoError, Refused
from launch.neox import launch_command as neox_command
from launch.neox import launcher as runner_command
from launch.plan.checks.check import Check

NO_CHECKOUT, NO_PYTHON = runner_command.UNKNOWN
_WHERE = "import importlib.util as u; print('\\n'.join(u.find_spec('deepspeed').submodule_search_locations))"


def plan(
    deepy: Sequence[str],
    root: Path | None,
    configs: Sequence[Path],
    arguments: Mapping[str, Any],
    environ: Mapping[str, str],
    gpus: int | None,
) -> dict[str, Any]:
    """Everything the dry run knows, as one JSON-able dict.

    Args:
        deepy: the command of deepy.py, the interpreter first.
        root: GPT-NeoX's checkout, or None where there is none.
        configs: the config files.
        arguments: deepy.py's parsed options.
        environ: the environment that deepy.py gets.
        gpus: GPUs of this machine, for a config without a hostfile.

    Raises:
        HaigoError: GPT-NeoX or the launcher would refuse, or the number of GPUs is not known.
    """
    made = neox_command.main_arguments(configs, neox_command.overwrites(arguments), environ, gpus)
    flavour, told = _flavour(deepy[0], root is not None)
    unknown = [*made.unknown, *told]
    if root is None:
        unknown.append(f"GPT-NeoX's checkout ({NO_CHECKOUT} here): set GPT_NEOX_DIR")
    if deepy[0] == NO_PYTHON:
        unknown.append(f"GPT-NeoX's interpreter ({NO_PYTHON} here): set GPT_NEOX_PYTHON")
    folder = str(root) if root else NO_CHECKOUT
    exports = () if environ.get("DS_ACCELERATOR") == "cpu" else ("NCCL",)
    started = runner_command.executed(
        made.words,
        environ,
        python=deepy[0],
        folder=folder,
        flavour=flavour,
        accelerator_exports=exports,
        device_count=gpus,
    )
    hidden = started.hidden()
    if hidden:
        unknown.append(f"shown as ***: {', '.join(hidden)}; they stand in the command line, where others see them (ps)")
    deepspeed, megatron = redact.value("", made.deepspeed_config), redact.value("", made.megatron_config)
    texts = made.megatron_config.get("config_files") or {}
    if texts:
        megatron["config_files"] = {name: redact.config(text) for name, text in texts.items()}
    # the configs travel as one word each, which everybody can read
    clear = {neox_command.encode(made.deepspeed_config): deepspeed, neox_command.encode(made.megatron_config): megatron}
    covered = {word: neox_command.encode(config) for word, config in clear.items()}
    if any(word != cover for word, cover in covered.items()):
        unknown.append(
            "values of secret names in the config, shown as ***; every rank's command line has them in clear"
        )
    return {
        "folder": folder,
        "deepy": redact.words(deepy),
        "runner": [covered.get(word, word) for word in made.words],
        "launcher": started.kind,
        "deepspeed": flavour,
        "executes": [covered.get(word, word) for word in started.shown()],
        "hosts": started.hosts,
        "deepspeed_config": deepspeed,
        "megatron_config": megatron,
        "traps": started.traps,
        "unknown": unknown + started.unknown,
    }


def _flavour(python: str, real: bool) -> tuple[str, list[str]]:
    """DeeperSpeed or DeepSpeed, by looking for --comment in the launcher of GPT-NeoX's environment (nothing is imported)."""
    if real:
        done = subprocess.run(
            [python, "-c", _WHERE], capture_output=True, text=True, errors="replace", timeout=60, check=False
        )
        for place in done.stdout.splitlines():
            runner = Path(place) / "launcher" / "runner.py"
            if runner.is_file():
                return (
                    "deeperspeed"
                    if '"--comment"' in runner.read_text(encoding="utf-8", errors="replace")
                    else "deepspeed"
                ), []
    return "deeperspeed", ["which DeepSpeed is installed: GPT-NeoX's pin, DeeperSpeed 0.16.5, is taken"]


def checks(
    configs: Sequence[Path],
    arguments: Mapping[str, Any],
    environ: Mapping[str, str],
    gpus: int | None,
    python: str,
    folder: str,
) -> list[Check]:
    """What the launcher would do otherwise than is meant: the same for a dry run and for a start.

    Args:
        configs, arguments, environ, gpus: as for `plan`.
        python: of GPT-NeoX's environment.
        folder: its checkout.
    """
    try:
        made = neox_command.main_arguments(configs, neox_command.overwrites(arguments), environ, gpus)
        exports = () if environ.get("DS_ACCELERATOR") == "cpu" else ("NCCL",)
        told = runner_command.executed(
            made.words, environ, python=python, folder=folder, accelerator_exports=exports, device_count=gpus
        )
    except runner_command.NotShown:
        return []
    except Refused as error:
        return [Check("launcher", "fail", error.problem, error.fix)]
    except HaigoError:  # how many GPUs there are is not known here
        return []
    fix = "mend it, or use launcher: slurm"
    return [Check("launcher", "fail" if trap in told.harm else "warn", f"{trap}.", fix) for trap in told.traps]


def text(shown: Mapping[str, Any]) -> str:
    """The plan for people; its first line is the command of deepy.py, to be pasted into a shell."""
    folder = shown["folder"] if shown["folder"] == NO_CHECKOUT else shlex.quote(shown["folder"])
    first, *rest = shown["deepy"]
    python = first if first == NO_PYTHON else shlex.quote(first)
    config = dict(shown["megatron_config"])
    texts = config.get("config_files") or {}
    config["config_files"] = {name: f"(its text, {len(content):,} characters)" for name, content in texts.items()}
    lines = [
        f"cd {folder} && {python} {shlex.join(rest)}",
        "",
        "# deepy.py hands to DeepSpeed's launcher:",
        shlex.join(shown["runner"]),
        "",
        f"# which starts ({shown['launcher']}, {shown['deepspeed']}):",
        shlex.join(shown["executes"]),
        "",
        "# --deepspeed_config in clear:",
        json.dumps(shown["deepspeed_config"], indent=1, ensure_ascii=False),
        "",
        "# --megatron_config in clear:",
        json.dumps(config, indent=1, ensure_ascii=False),
        "",
        f"# hosts: {', '.join(f'{host} x {len(gpus)}' for host, gpus in shown['hosts'].items())}",
    ]
    lines += [f"# beware: {trap}" for trap in shown["traps"]]
    return "\n".join(lines + [f"# not known here: {one}" for one in shown["unknown"]])


def environment(python: str, config: Mapping[str, Any], base: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment that launch.deepy gives to deepy.py.

    PATH starts with the interpreter's folder, so that ninja and its like are found. With `launcher: openmpi` the three
    variables that DeepSpeed 0.16.5 insists on (as if deepy.py itself ran under mpirun) are set when they are not there.
    """
    made = dict(os.environ if base is None else base)
    made["PATH"] = f"{os.path.dirname(python)}{os.pathsep}{made.get('PATH', '')}"
    made.setdefault("PYTHONUNBUFFERED", "1")
    if str(config.get("launcher")).lower() == "openmpi":
        for name, value in (("LOCAL_RANK", "0"), ("RANK", "0"), ("SIZE", "1")):
            made.setdefault(f"OMPI_COMM_WORLD_{name}", value)
    return made


def refusal(error: HaigoError) -> str:
    """The sentence for a dry run whose first line is known and whose rest is not."""
    return f"# not shown: what the launcher gets and starts. {error.problem} ({error.fix})"
