"""Which hosts a batch system gave, how many GPUs on each, and times: Slurm's and PBS's own notations in plain Python.

`expand("gpu-[01-03,07],login")` is `scontrol show hostnames` without Slurm. Names that are not
host names are refused, because they reach a shell.
"""

from __future__ import annotations

import itertools
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from haigo import files
from haigo.cli import HaigoError, Refused
from launch.neox import gpus

NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
MOST = 65_536
"""Hosts of one list; Slurm's own limit."""
_RANGE = re.compile(r"([0-9]{1,18})(?:-([0-9]{1,18}))?")
_TIME = re.compile(r"[0-9]{1,9}(:[0-9][0-9](:[0-9][0-9])?)?|[0-9]{1,9}-[0-9]{1,9}(:[0-9][0-9]){0,2}")
_COUNT = re.compile(r"([0-9]{1,9})(?:\(x([0-9]{1,9})\))?")


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
    numbers: list[str] = []
    for part in piece[1:-1].split(","):
        match = _RANGE.fullmatch(part.strip())
        if match is None:
            raise HaigoError(f"'{part[:40]}' is no number and no range of numbers, in {text[:60]!r}.", "write [1-3,5]")
        first, last = match[1], match[2] or match[1]
        if int(last) < int(first) or int(last) - int(first) >= MOST:
            raise HaigoError(f"the range {part[:40]} is backwards or too long, in {text[:60]!r}.", "write [1-3,5]")
        numbers += [str(number).zfill(len(first)) for number in range(int(first), int(last) + 1)]
    return numbers


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


def counts(text: str, name: str = "SLURM_TASKS_PER_NODE") -> list[int]:
    """Numbers a node from Slurm's short form: `4,2,1(x2)` is [4, 2, 1, 1].

    Raises:
        HaigoError: it has another form.
    """
    numbers: list[int] = []
    for part in text.split(","):
        match = _COUNT.fullmatch(part.strip())
        if match is None or int(match[2] or 1) > MOST:
            raise HaigoError(
                f"{name}={text[:60]} is not of the form 4,2,1(x2).", "run inside the job's own environment"
            )
        numbers += [int(match[1])] * int(match[2] or 1)
        if len(numbers) > MOST:
            raise HaigoError(f"{name}={text[:60]} counts more than {MOST:,} nodes.", "check it")
    return numbers


@dataclass(frozen=True)
class _Facts:
    """What the variables of one job (or of one group of a heterogeneous job) say about GPUs."""

    each: dict[str, list[int]]
    """Variable -> GPUs of every node, from what was asked for a node or a task."""
    total: int | None
    here: dict[str, int]
    """Variable -> GPUs of the node that this is called on."""
    tasks: list[int] | None


def slurm(
    environ: Mapping[str, str], gpus_per_node: int | None = None, say: Callable[[str], None] | None = None
) -> dict[str, int]:
    """Host -> GPUs of the Slurm job this is called in.

    GPUs come from `gpus_per_node`, or from what Slurm says of every node (SLURM_GPUS_PER_NODE, or tasks and GPUs a task), of
    the node it is called on (SLURM_GPUS_ON_NODE, SLURM_JOB_GPUS, CUDA_VISIBLE_DEVICES) or, last, of tasks alone. All that
    is there must agree. Of a heterogeneous job the hosts of all groups are given, each with what its own group says.

    Args:
        environ: the job's environment.
        gpus_per_node: replaces what Slurm says.
        say: gets a line for what Slurm leaves open; stderr when None.

    Raises:
        HaigoError: not in a job, or a variable has another form.
        Refused: the variables contradict each other, or do not tell the number.
    """
    tell = say or _say
    hosts: dict[str, int] = {}
    groups = _groups(environ)
    for number, one in enumerate(groups):
        try:
            part = _of_group(one, gpus_per_node, tell)
        except Refused as error:
            if len(groups) == 1:
                raise
            raise Refused(f"group {number} of this heterogeneous job: {error.problem}", error.fix) from None
        check([*hosts, *part])
        hosts |= part
    if len(groups) > 1:
        tell(f"this is a heterogeneous job: the hosts of its {len(groups)} groups are given, and srun reaches the first "
             "group only, unless it gets --het-group")  # fmt: skip
        if len(set(hosts.values())) > 1:
            tell("the groups have different numbers of GPUs a node")
    return hosts


def _groups(environ: Mapping[str, str]) -> list[dict[str, str]]:
    """The variables of every group of a heterogeneous job under their plain names; of another job its own."""
    size = environ.get("SLURM_HET_SIZE") or environ.get("SLURM_PACK_SIZE")
    if not size:
        if not (environ.get("SLURM_JOB_NODELIST") or environ.get("SLURM_NODELIST")):
            raise HaigoError("SLURM_JOB_NODELIST is not set.", "run inside sbatch or salloc, or name hosts")
        return [dict(environ)]
    if re.fullmatch(r"[1-9][0-9]{0,2}", size) is None:
        raise HaigoError(
            f"SLURM_HET_SIZE={size[:60]} is no number of groups.", "run inside sbatch or salloc, or name hosts"
        )
    groups = []
    for number in range(int(size)):
        mine: dict[str, str] = {}
        for kind in ("_PACK_GROUP_", "_HET_GROUP_"):
            mine |= {
                name.removesuffix(f"{kind}{number}"): value
                for name, value in environ.items()
                if name.endswith(f"{kind}{number}")
            }
        listed = mine.get("SLURM_JOB_NODELIST") or mine.get("SLURM_NODELIST")
        if not listed:
            raise HaigoError(
                f"SLURM_HET_SIZE is {size}, and SLURM_JOB_NODELIST_HET_GROUP_{number} is not set.",
                "run inside sbatch or salloc, or name hosts",
            )
        # the plain names, those of this very node among them, are of the group that it is called in
        groups.append({**environ, **mine} if environ.get("SLURM_JOB_NODELIST") == listed else mine)
    return groups


def _of_group(environ: Mapping[str, str], gpus_per_node: int | None, say: Callable[[str], None]) -> dict[str, int]:
    hosts = expand(environ.get("SLURM_JOB_NODELIST") or environ.get("SLURM_NODELIST") or "")
    for name in ("SLURM_JOB_NUM_NODES", "SLURM_NNODES"):
        if environ.get(name) and environ[name] != str(len(hosts)):
            raise Refused(
                f"{name}={environ[name][:20]}, and SLURM_JOB_NODELIST names {len(hosts)} hosts.",
                "run inside the job's own environment, or name hosts",
            )
    step = environ.get("SLURM_STEP_NODELIST")
    if step and expand(step) != hosts:
        say(f"called in a step on {step[:60]}: all {len(hosts)} hosts of the job are given, not the step's alone")
    if gpus_per_node is not None:
        here = environ.get("SLURM_GPUS_ON_NODE", "")
        if re.fullmatch(r"[0-9]{1,4}", here) and int(here) < gpus_per_node:
            say(f"--gpus-per-node is {gpus_per_node}, and SLURM_GPUS_ON_NODE={here}: Slurm gave this node fewer GPUs")
        return dict.fromkeys(hosts, gpus_per_node)
    return dict(zip(hosts, _gpus(_facts(environ, len(hosts)), environ, len(hosts), say), strict=True))


def _facts(environ: Mapping[str, str], nodes: int) -> _Facts:
    each: dict[str, list[int]] = {}
    tasks = None
    given = environ.get("SLURM_TASKS_PER_NODE")
    if given:
        tasks = counts(given)
        if len(tasks) != nodes:
            raise Refused(
                f"SLURM_TASKS_PER_NODE={given[:60]} counts {len(tasks)} nodes, and there are {nodes}.",
                "give --gpus-per-node N",
            )
    name = "SLURM_GPUS_PER_NODE"
    if environ.get(name):
        each[name] = [gpus.number(name, environ[name])] * nodes
    for name, read in (("SLURM_GPUS_PER_TASK", gpus.number), ("SLURM_TRES_PER_TASK", gpus.of_tres)):
        count = read(name, environ[name]) if environ.get(name) else None
        if count and tasks:
            each[name] = [count * number for number in tasks]
    name = "SLURM_NTASKS_PER_GPU"
    if environ.get(name) and tasks:
        share = gpus.number(name, environ[name])
        if any(number % share for number in tasks):
            raise Refused(f"{name}={share} does not divide SLURM_TASKS_PER_NODE={given}.", "give --gpus-per-node N")
        each[name] = [number // share for number in tasks]
    if environ.get("SLURM_SHARDS_ON_NODE"):
        gpus.refuse_shares("SLURM_SHARDS_ON_NODE", f"shard:{environ['SLURM_SHARDS_ON_NODE']}")
    here = {}
    name = "SLURM_GPUS_ON_NODE"
    if environ.get(name):
        here[name] = gpus.number(name, environ[name])
    # of a step the list of the job says nothing
    name = "SLURM_STEP_GPUS" if environ.get("SLURM_STEP_GPUS") else "SLURM_JOB_GPUS"
    if environ.get(name):
        here[name] = len(gpus.devices(name, environ[name]))
    name = "CUDA_VISIBLE_DEVICES"
    if environ.get(name) and (not (here or each) or "MIG-" in environ[name]):
        here[name] = len(gpus.devices(name, environ[name], ranges=False))
    name = "SLURM_GPUS"
    return _Facts(each, gpus.number(name, environ[name]) if environ.get(name) else None, here, tasks)


def _gpus(facts: _Facts, environ: Mapping[str, str], nodes: int, say: Callable[[str], None]) -> list[int]:
    """GPUs of every node."""
    _agree(facts, environ, nodes)
    each = next(iter(facts.each.values()), None)
    if each is None and facts.here:
        name, count = next(iter(facts.here.items()))
        each = [count] * nodes
        if nodes > 1 and not (nodes == 2 and facts.total == sum(each)):
            say(f"{name} tells of this node only: all {nodes} hosts are taken to have {count} GPUs (--gpus-per-node N "
                "says it)")  # fmt: skip
    if each is None and facts.total and nodes == 1:
        each = [facts.total]
    if facts.total and (each is None or sum(each) != facts.total):
        have = f"how Slurm parts them among {nodes} nodes is not told"
        if each:
            have = f"those of its nodes would be {' + '.join(map(str, each[:8]))}{' + ...' * (nodes > 8)}"
        raise Refused(
            f"SLURM_GPUS={environ['SLURM_GPUS'][:60]} is a number for the whole job, and {have}.",
            "ask Slurm for --gpus-per-node, or give --gpus-per-node N here",
        )
    if each is None and facts.tasks and max(facts.tasks) > 1:
        say(
            "Slurm tells no number of GPUs: one is taken for each task of SLURM_TASKS_PER_NODE (--gpus-per-node N says it)"
        )
        each = facts.tasks
    if each is None or min(each) < 1:
        raise Refused("Slurm tells no number of GPUs.", "give --gpus-per-node N")
    return each


def _agree(facts: _Facts, environ: Mapping[str, str], nodes: int) -> None:
    """See that all variables say the same: those of every node, and on this node those of it."""
    own = environ.get("SLURM_NODEID", "")
    at = int(own) if re.fullmatch(r"[0-9]{1,6}", own) and int(own) < nodes else 0
    every = list(facts.each.items())
    pairs = [(one, other, a != b) for (one, a), (other, b) in itertools.pairwise(every)]
    # in a step the variables of this node are the step's, which may have been given fewer
    here = [] if every and environ.get("SLURM_STEP_ID") else [*facts.here.items()]
    if every:
        here = [(every[0][0], every[0][1][at]), *here]
    pairs += [(one, other, a != b) for (one, a), (other, b) in itertools.pairwise(here)]
    for one, other, differ in pairs:
        if differ:
            raise Refused(
                f"{one}={environ[one][:60]} and {other}={environ[other][:60]} contradict each other.",
                "run inside the job's own environment, or give --gpus-per-node N",
            )


def _say(line: str) -> None:
    print(f"haigo: {line}.", file=sys.stderr)


def pbs(path: str, gpus_per_node: int | None = None, say: Callable[[str], None] | None = None) -> dict[str, int]:
    """Host -> GPUs from a PBS_NODEFILE, which names a host once for each of its slots.

    Raises:
        HaigoError: the file is not there or names no host.
        Refused: it names each host once, which tells no number of GPUs.
    """
    try:
        lines = [line.strip() for line in files.read_text(path).splitlines() if line.strip()]
    except (OSError, HaigoError):
        raise HaigoError(f"PBS_NODEFILE={path} cannot be read.", "run inside the job") from None
    counted = _counted(lines)
    check(list(counted))
    if gpus_per_node is not None:
        return dict.fromkeys(counted, gpus_per_node)
    if max(counted.values()) == 1:
        raise Refused(
            f"PBS_NODEFILE={path} names each host once: it tells no number of GPUs.", "give --gpus-per-node N"
        )
    (say or _say)("PBS tells no number of GPUs: one is taken for each line of a host (--gpus-per-node N says it)")
    return counted


def _counted(hosts: Iterable[str]) -> dict[str, int]:
    counted: dict[str, int] = {}
    for host in hosts:
        counted[host] = counted.get(host, 0) + 1
    return counted


def seconds(text: str) -> int:
    """A time as Slurm writes it: `MINUTES`, `M:S`, `H:M:S`, `D-H`, `D-H:M` or `D-H:M:S`; 0 is no limit.

    Raises:
        HaigoError: it is none of these.
    """
    if _TIME.fullmatch(text) is None:
        raise HaigoError(f"--time {text} is not a time as Slurm writes it.", "write 24:00:00 or 2-00:00:00", "time")
    days, dash, rest = text.rpartition("-")
    parts = [int(part) for part in rest.split(":")]
    if dash:
        hours, minutes, left = (*parts, 0, 0)[:3]
    elif len(parts) == 3:
        hours, minutes, left = parts
    else:
        hours, (minutes, left) = 0, (*parts, 0)[:2]
    return ((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + left
