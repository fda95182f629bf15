"""The words that GPT-NeoX's deepy.py hands to DeepSpeed's launcher, built without GPT-NeoX.

`main_arguments` is `NeoXArgs.get_deepspeed_main_args` at commit ea7aefd: the launcher's options that differ from their
defaults, the script, and two JSON texts in base64. A test compares the bytes with the real class.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from haigo.cli import Refused
from launch.neox import hostfile as hostfiles
from neox_configs import neox_args
from neox_configs.keys import KEYS

DEFAULT_HOSTFILE = "/job/hostfile"
RANDOM = "XXXXXXXX"
"""Stands for the eight random letters that GPT-NeoX puts behind a wandb group."""


@dataclass(frozen=True)
class MainArguments:
    """What deepy.py calls DeepSpeed's launcher with."""

    words: list[str]
    deepspeed_config: dict[str, Any]
    megatron_config: dict[str, Any]
    values: dict[str, Any]
    """All keys after derivation."""
    unknown: list[str] = field(default_factory=list)
    """What could not be known here, a sentence each."""


def main_arguments(
    paths: Sequence[Path],
    overwrite: Mapping[str, Any],
    environ: Mapping[str, str],
    gpus: int | None = None,
) -> MainArguments:
    """Build the list.

    Args:
        paths: the config files.
        overwrite: the other words of deepy.py (user_script, hostfile, wandb_group, ...), without those not given.
        environ: the environment deepy.py will see.
        gpus: GPUs of this machine, for a config without a hostfile and without global_num_gpus.

    Raises:
        HaigoError: the files are no config, or the number of GPUs is needed and not known.
        Refused: GPT-NeoX would refuse the values.
    """
    config = {**neox_args.raw(paths), **overwrite}
    unknown: list[str] = []
    got = neox_args.values(config, _world(config, environ, gpus))
    if got["use_wandb"]:
        parts = [got["wandb_group"]] if got["wandb_group"] is not None else []
        got["wandb_group"] = "_".join([*parts, RANDOM, RANDOM])
        unknown.append(f"the wandb group's random letters, drawn by deepy.py at each start (here {RANDOM})")
    _ranks(got, environ, unknown)
    words = _runner_words(got, environ)
    deepspeed, megatron = neox_args.deepspeed_config(got), neox_args.megatron_config(got)
    words += [got["user_script"], "--deepspeed_config", encode(deepspeed), "--megatron_config", encode(megatron)]
    return MainArguments(words, deepspeed, megatron, got, unknown)


def encode(value: Any) -> str:
    """JSON in url-safe base64, as deepy.py and DeepSpeed write it."""
    return base64.urlsafe_b64encode(json.dumps(value).encode("utf-8")).decode("ascii")


def hostfile_of(config: Mapping[str, Any], environ: Mapping[str, str]) -> str | None:
    """The hostfile that GPT-NeoX reads: the config's, else DLTS_HOSTFILE, else /job/hostfile where it exists."""
    if config.get("hostfile"):
        return str(config["hostfile"])
    default = environ.get("DLTS_HOSTFILE", DEFAULT_HOSTFILE)
    return default if os.path.exists(default) else None


def _world(config: Mapping[str, Any], environ: Mapping[str, str], gpus: int | None) -> int | None:
    named = hostfile_of(config, environ)
    if config.get("global_num_gpus") is not None or named is None:
        return gpus
    if os.path.isfile(named):
        pool = hostfiles.read(named)
    elif gpus is None:
        return None
    else:  # GPT-NeoX goes on alone on this machine, with no more than a warning
        pool = {"localhost": gpus}
    left = hostfiles.selected(config, pool, as_deepspeed=True)
    return sum(map(len, left.values()))


def _ranks(got: dict[str, Any], environ: Mapping[str, str], unknown: list[str]) -> None:
    """What `configure_distributed_args` makes of rank, local_rank and world_size in the launching process."""
    seen = {
        "local_rank": environ.get("LOCAL_RANK", "0"),
        "rank": environ.get("RANK", "0"),
        "world_size": environ.get("WORLD_SIZE", "1"),
    }
    if got["deepspeed_mpi"]:
        seen = {"local_rank": "0", "rank": "0", "world_size": "1"}
    if got["deepspeed_slurm"]:
        tasks = environ.get("SLURM_NTASKS")
        if tasks is None and "SLURM_NNODES" in environ and "SLURM_NTASKS_PER_NODE" in environ:
            tasks = str(int(environ["SLURM_NNODES"]) * int(environ["SLURM_NTASKS_PER_NODE"]))
        if tasks is None or not {"SLURM_LOCALID", "SLURM_PROCID"} <= set(environ):
            unknown.append(
                "SLURM_LOCALID, SLURM_PROCID and SLURM_NTASKS: deepy.py ends with a KeyError outside a Slurm job; "
                "taken as the first of one task a GPU"
            )
        seen = {
            "local_rank": environ.get("SLURM_LOCALID", "0"),
            "rank": environ.get("SLURM_PROCID", "0"),
            "world_size": tasks or str(got["global_num_gpus"]),
        }
    try:
        got |= {name: int(text) for name, text in seen.items()}
    except ValueError:
        given = ", ".join(f"{name} {text!r}" for name, text in seen.items())
        raise Refused(f"the environment gives {given}, which are not numbers.", "unset RANK and its like") from None


def _runner_words(got: Mapping[str, Any], environ: Mapping[str, str]) -> list[str]:
    words: list[str] = []

    def add(name: str, value: Any) -> None:
        if isinstance(value, bool):
            words.extend([f"--{name}"] if value else [])
        elif value is not None:
            words.extend([f"--{name}", str(value)])

    add("autotuning", got["autotuning_run"])
    for name, key in KEYS.items():
        if key.group != "runner" or name == "autotuning_run":
            continue
        value = True if name == "force_multi" and (got["deepspeed_slurm"] or got["deepspeed_mpi"]) else got[name]
        if value != key.default:
            add(name, value)
    if got["deepspeed_slurm"]:
        add("comment", got["comment"] or None)
        add("account", got["account"] or None)
    for name, variable in (("hostfile", "DLTS_HOSTFILE"), ("master_addr", "MASTER_ADDR")):
        add(name, environ.get(variable))
    if ("--include" in words or "--exclude" in words) and "--num_gpus" in words:
        index = words.index("--num_gpus")
        del words[index : index + 2]
    return words
