"""DeepSpeed's hostfile: one `HOST slots=GPUS` a line, `#` comments; what include, exclude, num_nodes and num_gpus leave of it;
and how many GPUs GPT-NeoX counts."""

from __future__ import annotations

import codecs
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from haigo import files
from haigo.cli import HaigoError, Refused, nearest
from launch.neox import gpus as gpu_lists
from launch.neox import nodelist
from neox_configs import reader

_LINE = re.compile(r"^(\S+)\s+slots=([0-9]{1,9})$")


def read(path: str | os.PathLike[str]) -> dict[str, int]:
    """Hosts in the order of the file, with their number of GPUs.

    Raises:
        HaigoError: the file is missing or empty, a line has another form, or a host comes twice (all of which DeepSpeed
            refuses too).
    """
    try:
        text = files.read_text(path)
    except HaigoError as error:
        raise HaigoError(f"the hostfile {error.problem}", "write one line `HOST slots=GPUS` a node") from None
    if Path(path).read_bytes().startswith(codecs.BOM_UTF8):
        problem = (
            f"the hostfile {path} begins with a byte order mark, which DeepSpeed takes for letters of the first name."
        )
        raise HaigoError(problem, "save it as UTF-8 without one")
    return parse(text, str(path))


def parse(text: str, name: str = "the hostfile") -> dict[str, int]:
    """As `read`, from text."""
    hosts: dict[str, int] = {}
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.split("#", 1)[0].strip()
        if not line:
            continue
        match = _LINE.match(line)
        if match is None or nodelist.NAME.fullmatch(match[1]) is None or int(match[2]) < 1:
            raise HaigoError(f"{name} line {number} is not `HOST slots=GPUS`: {line[:80]!r}.", "mend that line")
        if int(match[2]) > gpu_lists.MOST:
            raise HaigoError(
                f"{name} line {number} gives {match[1]} {int(match[2]):,} GPUs.",
                f"give at most {gpu_lists.MOST:,} a host",
            )
        if match[1].lower() in map(str.lower, hosts):  # capitals make no other machine
            raise HaigoError(f"{name} line {number} names {match[1]} a second time.", "give each host one line")
        hosts[match[1]] = int(match[2])
    if not hosts:
        raise HaigoError(f"{name} names no host.", "write one line `HOST slots=GPUS` a node")
    return hosts


def write(path: str | os.PathLike[str], hosts: Mapping[str, int]) -> None:
    """Write a hostfile, atomically.

    Raises:
        HaigoError: a name that is no host name, or no GPUs.
    """
    text = "".join(f"{host} slots={slots}\n" for host, slots in hosts.items())
    parse(text, "the list of hosts")
    files.write_text(path, text)


def select(
    hosts: Mapping[str, int], include: str = "", exclude: str = "", num_nodes: int = -1, num_gpus: int | None = None
) -> dict[str, list[int]]:
    """The GPUs that GPT-NeoX counts: host -> GPU numbers.

    Args:
        hosts: what `read` gave.
        include: `a@b:0,2` keeps all of a and two GPUs of b; empty keeps all.
        exclude: the same form, taken away; not together with `include`.
        num_nodes: the first so many hosts; -1 for all.
        num_gpus: so many GPUs on each; None for all.

    Raises:
        HaigoError: a host or GPU that is not there, both filters, or nothing left.
    """
    if include and exclude:
        raise HaigoError("include and exclude are both given.", "give one of them")
    left = {host: list(range(slots)) for host, slots in hosts.items()}
    if include:
        chosen = _filter(include, left)
        left = {host: sorted(chosen[host]) for host in left if host in chosen}
    elif exclude:
        gone = _filter(exclude, left)
        left = {host: [gpu for gpu in gpus if gpu not in gone.get(host, set())] for host, gpus in left.items()}
        left = {host: gpus for host, gpus in left.items() if gpus}
    if num_nodes > 0:
        left = dict(list(left.items())[:num_nodes])
    if num_gpus is not None and num_gpus > 0:
        left = {host: list(range(num_gpus)) for host in left}
    if not left:
        raise HaigoError("no host is left after the filters.", "check include, exclude and num_nodes")
    return left


def lost_by_deepspeed(include: str) -> list[str]:
    """Hosts that DeepSpeed 0.16.5 drops from an include, against its own documentation: those without GPU numbers."""
    return [part for part in include.split("@") if part and ":" not in part]


def select_as_deepspeed(
    hosts: Mapping[str, int], include: str = "", exclude: str = "", num_nodes: int = -1, num_gpus: int | None = None
) -> dict[str, list[int]]:
    """As `select`, with DeepSpeed 0.16.5's loss of hosts that are included without GPU numbers.

    Raises:
        HaigoError: as `select`; Refused when no host is left by that.
    """
    lost = lost_by_deepspeed(include)
    kept = "@".join(part for part in include.split("@") if part not in lost)
    if lost and not kept:
        raise Refused(
            f"include names {', '.join(lost)} without GPU numbers, and DeepSpeed 0.16.5 then keeps none of it.",
            f"write {lost[0]}:0,1,2,3 with the numbers of the GPUs",
        )
    return select(hosts, kept, exclude, num_nodes, num_gpus)


def _filter(text: str, hosts: Mapping[str, list[int]]) -> dict[str, set[int]]:
    chosen: dict[str, set[int]] = {}
    for part in text.split("@"):
        host, _, slots = part.strip().partition(":")
        if host not in hosts:
            raise HaigoError(f"'{host}' is not in the hostfile.{nearest(host, hosts)}", f"it has: {', '.join(hosts)}")
        if slots and not re.fullmatch(r"[0-9]{1,9}(,[0-9]{1,9})*", slots):
            raise HaigoError(f"'{part}' is not HOST or HOST:GPU,GPU.", "write for example node1:0,2")
        gpus = {int(slot) for slot in slots.split(",")} if slots else set(hosts[host])
        if not gpus <= set(hosts[host]):
            raise HaigoError(f"{host} has {len(hosts[host])} GPUs, and '{part}' asks for others.", "count from 0")
        chosen[host] = chosen.get(host, set()) | gpus
    return chosen


def from_job(source: str, environ: Mapping[str, str], gpus_per_node: int | None = None) -> dict[str, int]:
    """Host -> GPUs from a batch system or a list.

    Args:
        source: `slurm`, `pbs`, `job` (whichever is there), or hosts in Slurm's notation.
        environ: the job's environment.
        gpus_per_node: replaces what the batch system says; needed for a list of hosts.

    Raises:
        HaigoError: not in a job, or a name is not a host name.
    """
    if source == "job":
        source = "pbs" if environ.get("PBS_NODEFILE") and not environ.get("SLURM_JOB_NODELIST") else "slurm"
    if source == "slurm":
        return nodelist.slurm(environ, gpus_per_node)
    if source == "pbs":
        if not environ.get("PBS_NODEFILE"):
            raise HaigoError("PBS_NODEFILE is not set.", "run inside a PBS job")
        return nodelist.pbs(environ["PBS_NODEFILE"], gpus_per_node)
    if gpus_per_node is None:
        near = nearest(source, ("slurm", "pbs", "job"))
        raise HaigoError(
            f"hosts are named without their number of GPUs.{near}", "give --gpus-per-node N", "gpus_per_node"
        )
    return dict.fromkeys(nodelist.expand(source), gpus_per_node)


def selected(config: Mapping[str, Any], hosts: Mapping[str, int], as_deepspeed: bool = False) -> dict[str, list[int]]:
    """`select`, or `select_as_deepspeed`, with the filters of a config.

    Raises:
        HaigoError: as those.
    """
    nodes = reader.value(config, "num_nodes")
    filters = config.get("include") or "", config.get("exclude") or "", -1 if nodes is None else nodes
    return (select_as_deepspeed if as_deepspeed else select)(hosts, *filters, config.get("num_gpus"))


def world_size(
    config: Mapping[str, Any], hostfile: str | os.PathLike[str] | None = None, gpus: int | None = None
) -> tuple[int | None, str]:
    """How many GPUs GPT-NeoX will count, and from where; (None, why) when that cannot be told here.

    Args:
        hostfile: replaces the config's own.
        gpus: number of GPUs, where no hostfile tells: there is none, or the config's is not here yet.

    Raises:
        HaigoError: a hostfile that cannot be read.
    """
    if config.get("global_num_gpus"):
        return int(config["global_num_gpus"]), "global_num_gpus"
    named = hostfile or config.get("hostfile")
    if named and (hostfile or not gpus or Path(named).exists()):
        hosts = selected(config, read(named))
        return sum(map(len, hosts.values())), f"{named}, {len(hosts)} hosts"
    if gpus:
        return gpus, "--gpus"
    if reader.value(config, "distributed_backend") == "gloo" and config.get("num_gpus"):
        return int(config["num_gpus"]), "num_gpus on CPU"
    cards = len(list(Path("/dev").glob("nvidia[0-9]*")))
    visible = gpu_lists.visible(os.environ) if cards else None
    if visible is not None:
        cards = len(visible)
    return (cards, "the cards of this machine") if cards else (None, "no hostfile, and no GPU on this machine")
