"""Which hosts a batch system gave, and how many GPUs on each: Slurm's and PBS's own notations in plain Python.

`expand("gpu-[01-03,07],login")` is `scontrol show hostnames` without Slurm; `fold` is its reverse. Names that are not
host names are refused, because they reach a shell.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from pathlib import Path

from haigo.cli import HaigoError, Refused

NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
MOST = 65_536
"""Hosts of one list; Slurm's own limit."""
_RANGE = re.compile(r"(\d+)(?:-(\d+))?")
_COUNT = re.compile(r"(\d+)(?:\(x(\d+)\))?")


def expand(text: str) -> list[str]:
    """Hosts of a Slurm node list, in its order.

    Args:
        text: `node[1-3,008-011],gpu-[1-2]x[0-1]`: any number of brackets a name, zero padding kept.

    Raises:
        HaigoError: the brackets do not close, a range runs backwards, a name is no host name, a host comes twice, or there
            are more than 65,536.
    """
    hosts: list[str] = []
    for word in _words(text):
        pieces = [_choices(piece, text) for piece in re.split(r"(\[[^][]*\])", word) if piece]
        total = 1
        for piece in pieces:
            total *= len(piece)
        if len(hosts) + total > MOST:
            raise HaigoError(f"the node list names more than {MOST:,} hosts: {text[:60]!r}.", "check the ranges")
        hosts += _combined(pieces)
    return check(hosts)


def _combined(pieces: Sequence[Sequence[str]]) -> list[str]:
    """All names, in Slurm's order: the last bracket changes fastest, after it the first, the second, and so on."""
    many = [index for index, piece in enumerate(pieces) if len(piece) > 1]
    order = many[:-1][::-1] + many[-1:]
    names = []
    for chosen in product(*(pieces[index] for index in order)):
        at = dict(zip(order, chosen, strict=True))
        names.append("".join(at.get(index, piece[0]) for index, piece in enumerate(pieces)))
    return names


def _words(text: str) -> list[str]:
    words, depth, start = [], 0, 0
    for index, letter in enumerate(text):
        depth += {"[": 1, "]": -1}.get(letter, 0)
        if depth not in (0, 1):
            raise HaigoError(f"the brackets of the node list do not match: {text[:60]!r}.", "give SLURM_JOB_NODELIST")
        if letter == "," and depth == 0:
            words.append(text[start:index])
            start = index + 1
    if depth:
        raise HaigoError(f"a bracket of the node list is not closed: {text[:60]!r}.", "quote it for the shell")
    return [word.strip() for word in (*words, text[start:])]


def _choices(piece: str, text: str) -> list[str]:
    if not piece.startswith("["):
        return [piece]
    found: list[str] = []
    for part in piece[1:-1].split(","):
        match = _RANGE.fullmatch(part.strip())
        if match is None:
            raise HaigoError(f"'{part}' is no number and no range of numbers, in {text[:60]!r}.", "write [1-3,5]")
        first, last = match[1], match[2] or match[1]
        if int(last) < int(first) or int(last) - int(first) >= MOST or len(first) > 18:
            raise HaigoError(f"the range {part} is backwards or too long, in {text[:60]!r}.", "write [1-3,5]")
        found += [str(number).zfill(len(first)) for number in range(int(first), int(last) + 1)]
    return found


def check(hosts: Sequence[str]) -> list[str]:
    """The hosts, when all are host names and none comes twice.

    Raises:
        HaigoError: names the one that is not.
    """
    if not [host for host in hosts if host]:
        raise HaigoError("the list names no host.", "run inside a job, or name hosts")
    for host in hosts:
        if len(host) > 253 or NAME.fullmatch(host) is None:
            raise HaigoError(f"{host[:60]!r} is not a host name.", "host names have letters, digits, dots and hyphens")
    twice = [host for host, times in _counted(hosts).items() if times > 1]
    if twice:
        raise HaigoError(f"{twice[0]} comes twice in the list of hosts.", "give each host once")
    return list(hosts)


def fold(hosts: Iterable[str]) -> str:
    """A node list that `expand` turns back into these hosts; neighbours that differ in their last number are joined."""
    words: list[str] = []
    run: list[str] = []
    stem = ""

    def flush() -> None:
        if run:
            words.append(f"{stem}{run[0]}" if len(run) == 1 else f"{stem}[{run[0]}-{run[-1]}]")
        run.clear()

    for host in hosts:
        match = re.fullmatch(r"(.*?)(\d{1,17})", host)
        follows = match and run and match[1] == stem and match[2] == str(int(run[-1]) + 1).zfill(len(run[0]))
        if not follows:
            flush()
        if match is None:
            words.append(host)
            continue
        stem = match[1]
        run.append(match[2])
    flush()
    return ",".join(words)


def counts(text: str, name: str = "SLURM_TASKS_PER_NODE") -> list[int]:
    """Numbers a node from Slurm's short form: `4,2,1(x2)` is [4, 2, 1, 1].

    Raises:
        HaigoError: it has another form.
    """
    found: list[int] = []
    for part in text.split(","):
        match = _COUNT.fullmatch(part.strip())
        if match is None or int(match[2] or 1) > MOST:
            raise HaigoError(f"{name}={text} is not of the form 4,2,1(x2).", "run inside the job's own environment")
        found += [int(match[1])] * int(match[2] or 1)
    return found


def slurm(environ: Mapping[str, str], gpus_per_node: int | None = None) -> dict[str, int]:
    """Host -> GPUs of the Slurm job this is called in.

    GPUs come from, in this order: `gpus_per_node`, SLURM_GPUS_PER_NODE, SLURM_GPUS_ON_NODE (this node's; all are taken
    to be alike), SLURM_JOB_GPUS, SLURM_TASKS_PER_NODE (one task a GPU).

    Raises:
        HaigoError: not in a job, or the variables contradict each other.
    """
    listed = environ.get("SLURM_JOB_NODELIST") or environ.get("SLURM_NODELIST")
    if not listed:
        raise HaigoError("SLURM_JOB_NODELIST is not set.", "run inside sbatch or salloc, or name hosts")
    hosts = expand(listed)
    if gpus_per_node is not None:
        return dict.fromkeys(hosts, gpus_per_node)
    for name in ("SLURM_GPUS_PER_NODE", "SLURM_GPUS_ON_NODE"):
        if environ.get(name):
            last = environ[name].rsplit(":", 1)[-1]  # `a100:4`
            if not last.isdigit() or int(last) < 1:
                raise HaigoError(f"{name}={environ[name]} is not a number of GPUs.", "give --gpus-per-node N")
            return dict.fromkeys(hosts, int(last))
    if environ.get("SLURM_JOB_GPUS"):
        return dict.fromkeys(hosts, len(environ["SLURM_JOB_GPUS"].split(",")))
    if environ.get("SLURM_TASKS_PER_NODE"):
        each = counts(environ["SLURM_TASKS_PER_NODE"])
        if len(each) != len(hosts):
            raise Refused(
                f"SLURM_TASKS_PER_NODE={environ['SLURM_TASKS_PER_NODE']} counts {len(each)} nodes, and there are "
                f"{len(hosts)}.",
                "give --gpus-per-node N",
            )
        return dict(zip(hosts, each, strict=True))
    raise HaigoError("Slurm tells no number of GPUs.", "give --gpus-per-node N")


def pbs(path: str, gpus_per_node: int | None = None) -> dict[str, int]:
    """Host -> GPUs from a PBS_NODEFILE, which names a host once for each of its slots.

    Raises:
        HaigoError: the file is not there or names no host.
    """
    try:
        lines = [line.strip() for line in Path(path).read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError):
        raise HaigoError(f"PBS_NODEFILE={path} cannot be read.", "run inside the job") from None
    counted = _counted(lines)
    check(list(counted))
    return {host: gpus_per_node or times for host, times in counted.items()}


def _counted(hosts: Iterable[str]) -> dict[str, int]:
    counted: dict[str, int] = {}
    for host in hosts:
        counted[host] = counted.get(host, 0) + 1
    return counted
