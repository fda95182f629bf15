"""What `launch.deepy --dry-run` shows: deepy.py's command, the launcher's words, what it starts, both configs in clear.

Nothing is started and no GPT-NeoX is needed. What cannot be known here is said in so many words.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from haigo import redact
from haigo.cli import HaigoError, Refused
from launch.neox import checkout, every_node, launch_command, launcher
from launch.neox.launcher import Executed
from launch.plan.checks.check import Check

NO_CHECKOUT, NO_PYTHON = launcher.UNKNOWN


@dataclass(frozen=True, kw_only=True)
class Call:
    """A call of deepy.py."""

    configs: Sequence[Path]
    overwrite: Mapping[str, Any]
    """Its other words, as keys of the config."""
    environ: Mapping[str, str]
    """The environment that it gets."""
    gpus: int | None
    """GPUs of this machine, for a config without a hostfile."""
    python: str = NO_PYTHON
    folder: str = NO_CHECKOUT
    """GPT-NeoX's interpreter and checkout."""

    def built(self, flavour: str = "deeperspeed") -> tuple[launch_command.MainArguments, Executed]:
        """What deepy.py hands to DeepSpeed's launcher, and what that starts.

        Raises:
            HaigoError: GPT-NeoX or the launcher would refuse, or the number of GPUs is not known.
        """
        arguments = launch_command.main_arguments(self.configs, self.overwrite, self.environ, self.gpus)
        started = launcher.executed(
            arguments.words,
            self.environ,
            python=self.python,
            folder=self.folder,
            flavour=flavour,
            accelerator_exports=() if self.environ.get("DS_ACCELERATOR") == "cpu" else ("NCCL",),
            device_count=self.gpus,
        )
        return arguments, started


def plan(call: Call, deepy: Sequence[str]) -> dict[str, Any]:
    """Everything the dry run knows, as one JSON-able dict.

    Args:
        deepy: the command of deepy.py, the interpreter first.

    Raises:
        HaigoError: as `Call.built`.
    """
    real = call.folder != NO_CHECKOUT
    installed = checkout.deepspeed(call.python) if real else None
    flavour = "deepspeed" if installed is not None and not installed[0] else "deeperspeed"
    arguments, started = call.built(flavour)
    unknown = list(arguments.unknown)
    if installed is None:
        unknown.append("which DeepSpeed is installed: GPT-NeoX's pin, DeeperSpeed 0.16.5, is taken")
    if not real:
        unknown.append(f"GPT-NeoX's checkout ({NO_CHECKOUT} here): set GPT_NEOX_DIR")
    if call.python == NO_PYTHON:
        unknown.append(f"GPT-NeoX's interpreter ({NO_PYTHON} here): set GPT_NEOX_PYTHON")
    if hidden := started.hidden():
        unknown.append(f"shown as ***: {', '.join(hidden)}; they stand in the command line, where others see them (ps)")
    deepspeed, megatron, covered = _clear(arguments)
    if any(word != cover for word, cover in covered.items()):
        unknown.append(
            "values of secret names in the config, shown as ***; every rank's command line has them in clear"
        )
    return {
        "folder": call.folder,
        "deepy": redact.words(deepy),
        "runner": [covered.get(word, word) for word in arguments.words],
        "launcher": started.kind,
        "deepspeed": flavour,
        "executes": [covered.get(word, word) for word in started.shown()],
        "hosts": started.hosts,
        "deepspeed_config": deepspeed,
        "megatron_config": megatron,
        "traps": started.traps,
        "unknown": unknown + started.unknown,
    }


def _clear(arguments: launch_command.MainArguments) -> tuple[dict[str, Any], dict[str, Any], dict[str, str]]:
    """Both configs without secrets, and of each the word that it travels as (everybody can read it) -> the same so."""
    deepspeed, megatron = redact.value("", arguments.deepspeed_config), redact.value("", arguments.megatron_config)
    if texts := arguments.megatron_config.get("config_files"):
        megatron["config_files"] = {name: redact.config(text) for name, text in texts.items()}
    pairs = ((arguments.deepspeed_config, deepspeed), (arguments.megatron_config, megatron))
    return deepspeed, megatron, {launch_command.encode(config): launch_command.encode(clear) for config, clear in pairs}


def show_nodes(call: Call, nodes: every_node.Nodes, as_json: bool) -> None:
    """Print what every node runs, by DeepSpeed's launcher (as `launch.deepy --every-node` does) and by torchrun.

    Raises:
        HaigoError: as `every_node.arguments`.
    """
    given = every_node.arguments(call.configs, call.overwrite, call.environ, nodes.world)
    deepspeed, megatron, covered = _clear(given)
    words = [covered.get(word, word) for word in every_node.script(given)]
    if as_json:
        each = [every_node.command(nodes, rank, call.python, words) for rank in range(nodes.count)]
        torchrun = [every_node.torchrun(nodes, rank, words) for rank in range(nodes.count)]
        made = {"folder": call.folder, "nodes": each, "torchrun": torchrun}
        shown = {**made, "deepspeed_config": deepspeed, "megatron_config": megatron}
        print(json.dumps(shown, indent=2, ensure_ascii=False))
        return
    rank = "$NODE_RANK"
    print(f"# on every node, NODE_RANK 0 to {nodes.count - 1}:\ncd {_joined([call.folder])}")
    for words_of in (every_node.command(nodes, rank, call.python, words), every_node.torchrun(nodes, rank, words)):
        print(_joined(words_of).replace("'--node_rank=$NODE_RANK'", f"--node_rank={rank}").replace(
            "'--node-rank=$NODE_RANK'", f"--node-rank={rank}"))  # fmt: skip
        print("# or the same by torchrun of GPT-NeoX's environment:" if "torchrun" not in words_of else "", end="\n")
    print("# --deepspeed_config in clear:\n" + json.dumps(deepspeed, indent=1, ensure_ascii=False))
    megatron = {**megatron, "config_files": sorted(megatron.get("config_files") or {})}
    print("# --megatron_config in clear:\n" + json.dumps(megatron, indent=1, ensure_ascii=False))


def checks(call: Call) -> list[Check]:
    """What the launcher would do otherwise than is meant: the same for a dry run and for a start."""
    try:
        started = call.built()[1]
    except launcher.NotShown:
        return []
    except Refused as error:
        return [Check("launcher", "fail", error.problem, error.fix)]
    except HaigoError:  # how many GPUs there are is not known here
        return []
    fix = "mend it, or use launcher: slurm"
    return [Check("launcher", "fail" if trap in started.harm else "warn", f"{trap}.", fix) for trap in started.traps]


def _pasted(folder: str, deepy: Sequence[str]) -> str:
    """The command of deepy.py for a shell, in which the variables that stand for what is not known stay variables."""
    return f"cd {_joined([folder])} && {_joined(deepy)}"


def _joined(words: Sequence[str]) -> str:
    return " ".join(word if word in launcher.UNKNOWN else shlex.quote(word) for word in words)


def text(shown: Mapping[str, Any]) -> str:
    """The plan for people; its first line is the command of deepy.py, to be pasted into a shell."""
    config = dict(shown["megatron_config"])
    texts = config.get("config_files") or {}
    config["config_files"] = {name: f"(its text, {len(content):,} characters)" for name, content in texts.items()}
    lines = [
        _pasted(shown["folder"], shown["deepy"]),
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


def show(call: Call, deepy: Sequence[str], as_json: bool) -> None:
    """Print the plan; where only its first line is known, that one and why.

    Raises:
        HaigoError: nothing can be shown as JSON.
    """
    try:
        shown = plan(call, deepy)
    except HaigoError as error:
        if as_json:
            raise
        why = f"# not shown: what the launcher gets and starts. {error.problem} ({error.fix})"
        print(f"{_pasted(call.folder, redact.words(deepy))}\n{why}")
        return
    print(json.dumps(shown, indent=2, ensure_ascii=False) if as_json else text(shown))
