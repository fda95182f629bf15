"""DeepSpeed's hostfile: one `HOST slots=GPUS` a line, `#` comments, and what include/exclude/num_nodes leave of it.

python -m launch.hostfile HOSTFILE [--include "a@b:0,2"] [--exclude c] [--json]
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from haigo import cli, files
from haigo.cli import HaigoError, nearest

_LINE = re.compile(r"^(\S+)\s+slots=(\d+)$")
_NAME = re.compile(r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$")


def read(path: str | os.PathLike[str]) -> dict[str, int]:
    """Hosts in the order of the file, with their number of GPUs.

    Raises:
        HaigoError: the file is missing or empty, a line has another form, or a host comes twice (all of which DeepSpeed
            refuses too).
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (FileNotFoundError, IsADirectoryError):
        raise HaigoError(f"the hostfile {path} does not exist.", "write one line `HOST slots=GPUS` a node") from None
    return parse(text, str(path))


def parse(text: str, name: str = "the hostfile") -> dict[str, int]:
    """As `read`, from text."""
    hosts: dict[str, int] = {}
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.split("#", 1)[0].strip()
        if not line:
            continue
        match = _LINE.match(line)
        if match is None or not _NAME.match(match[1]) or int(match[2]) < 1:
            raise HaigoError(f"{name} line {number} is not `HOST slots=GPUS`: {line!r}.", "mend that line")
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


def _filter(text: str, hosts: Mapping[str, list[int]]) -> dict[str, set[int]]:
    chosen: dict[str, set[int]] = {}
    for part in text.split("@"):
        host, _, slots = part.strip().partition(":")
        if host not in hosts:
            raise HaigoError(f"'{host}' is not in the hostfile.{nearest(host, hosts)}", f"it has: {', '.join(hosts)}")
        if slots and not re.fullmatch(r"\d+(,\d+)*", slots):
            raise HaigoError(f"'{part}' is not HOST or HOST:GPU,GPU.", "write for example node1:0,2")
        gpus = {int(slot) for slot in slots.split(",")} if slots else set(hosts[host])
        if not gpus <= set(hosts[host]):
            raise HaigoError(f"{host} has {len(hosts[host])} GPUs, and '{part}' asks for others.", "count from 0")
        chosen[host] = chosen.get(host, set()) | gpus
    return chosen


def main(argv: Sequence[str] | None = None) -> int | None:
    parser = cli.parser("launch.hostfile", __doc__)
    parser.add_argument("hostfile", help="the file to read")
    parser.add_argument("--include", default="", help="hosts and GPUs to keep, as DeepSpeed writes it")
    parser.add_argument("--exclude", default="", help="hosts and GPUs to leave out")
    parser.add_argument("--json", action="store_true", help="print JSON")
    args = parser.parse_args(argv)
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
