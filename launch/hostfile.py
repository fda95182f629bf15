"""DeepSpeed's hostfile: one `HOST slots=GPUS` a line, `#` comments, and what include/exclude/num_nodes leave of it.

    python -m launch.hostfile HOSTFILE [--include "a@b:0,2"] [--exclude c] [--json]
    python -m launch.hostfile HOSTFILE --from slurm [--gpus-per-node 4]
    python -m launch.hostfile HOSTFILE --from "node[01-16]" --gpus-per-node 4

The first reads a file as DeepSpeed will. `--from` writes one: from the Slurm job it is called in (SLURM_JOB_NODELIST), from
PBS_NODEFILE (`--from pbs`), from whichever of both is there (`--from job`), or from hosts named in Slurm's notation.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence

from haigo import cli, files
from haigo.cli import HaigoError, Refused, nearest
from launch.neox import gpus, nodelist

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
        if int(match[2]) > gpus.MOST:
            raise HaigoError(
                f"{name} line {number} gives {match[1]} {int(match[2]):,} GPUs.", f"give at most {gpus.MOST:,} a host"
            )
        if match[1] in hosts:
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
        raise HaigoError("hosts are named without their number of GPUs.", "give --gpus-per-node N")
    return dict.fromkeys(nodelist.expand(source), gpus_per_node)


def main(argv: Sequence[str] | None = None) -> int | None:
    parser = cli.parser("launch.hostfile", __doc__)
    parser.add_argument("hostfile", help="the file to read, or with --from to write")
    parser.add_argument("--from", dest="source", metavar="SOURCE", help="slurm, pbs, job, or hosts: node[01-16]")
    parser.add_argument("--gpus-per-node", "--gpus_per_node", type=cli.count, help="GPUs of each host, for --from")
    parser.add_argument("--include", default="", help="hosts and GPUs to keep, as DeepSpeed writes it")
    parser.add_argument("--exclude", default="", help="hosts and GPUs to leave out")
    parser.add_argument("--json", action="store_true", help="print JSON")
    args = parser.parse_args(argv)
    if args.source is not None:
        write(args.hostfile, from_job(args.source, os.environ, args.gpus_per_node))
    elif args.gpus_per_node is not None:
        raise HaigoError("--gpus-per-node is for --from.", "leave it out")
    left = select(read(args.hostfile), args.include, args.exclude)
    if args.json:
        print(json.dumps(left, indent=2))
    else:
        for host, gpus in left.items():
            print(f"{host} slots={len(gpus)}")
        print(f"{len(left)} hosts, {sum(map(len, left.values()))} GPUs")
    return None


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
