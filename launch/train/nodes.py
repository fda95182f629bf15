"""A run whose nodes are started one by one, by Kubernetes, PBS or hand: the same command on each, and no ssh.

`launch.deepy --every-node` learns from its options or the environment how many nodes there are, which of them this is, and
where the first one listens. The first node's command checks, chooses the checkpoint and supervises, as always; what it
starts it also writes into the run's folder (`nodes/state.json`), where the others find it (`follower`). Each node runs what
DeepSpeed's pdsh would run there (`launch.neox.every_node`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from haigo import files
from haigo.cli import INTERNAL, HaigoError, Refused
from launch.neox import gpus as gpu_lists
from launch.neox.every_node import Nodes
from launch.train.options import DeepyOptions

FOLDER, STATE = "nodes", "state.json"
_LIKE = {"number": int, "kind": str, "words": [str], "port": int, "code": int}
_COUNT = ("PET_NNODES", "NNODES", "SLURM_NNODES", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "WORLD_SIZE")
_RANK = ("PET_NODE_RANK", "NODE_RANK", "GROUP_RANK", "JOB_COMPLETION_INDEX", "SLURM_NODEID", "OMPI_COMM_WORLD_RANK", "PMI_RANK",
         "RANK")  # fmt: skip
_GPUS = ("PET_NPROC_PER_NODE", "NPROC_PER_NODE")
_ADDRESS, _PORT = ("MASTER_ADDR", "PET_MASTER_ADDR"), ("MASTER_PORT", "PET_MASTER_PORT")
_DEFAULT_PORT = 29500


def find(options: DeepyOptions, environ: Mapping[str, str]) -> Nodes | None:
    """The nodes as options and environment give them; None without `--every-node`.

    Raises:
        HaigoError: something is missing, or is no sensible number.
        Refused: this is one process a GPU already.
    """
    if not options.every_node:
        given = next(
            (name for name in ("nnodes", "node_rank", "nproc_per_node") if getattr(options, name) is not None), None
        )
        if given:
            raise HaigoError(f"--{given.replace('_', '-')} is for --every-node.", "give both, or none", option=given)
        return None
    if not options.supervised:
        raise HaigoError("--every-node is for supervised training.", "leave --no-supervise out", option="every_node")
    if environ.get("LOCAL_RANK") not in (None, "0"):
        raise Refused(
            "this is one process a GPU (LOCAL_RANK is set), and one a node is needed.", "start it once on each node"
        )
    count = _number(options.nnodes, _COUNT, environ, "nnodes", least=1)
    rank = 0 if count == 1 else _number(options.node_rank, _RANK, environ, "node_rank", least=0)
    if rank >= count:
        raise HaigoError(
            f"this is node {rank} of {count}, and they are counted from 0.", "see --node-rank", "node_rank"
        )
    named = next((name for name in _GPUS if environ.get(name, "").isdigit()), None)
    own = int(environ[named]) if named else _cards(environ)
    gpus = options.nproc_per_node or own
    if not gpus:
        raise HaigoError("no GPU is seen here.", "give --nproc-per-node N", option="nproc_per_node")
    address = next((environ[name] for name in _ADDRESS if environ.get(name)), "127.0.0.1" if count == 1 else "")
    if not address:
        raise HaigoError("MASTER_ADDR is not set.", "export MASTER_ADDR=ADDRESS-OF-THE-FIRST-NODE on every node")
    port = next((environ[name] for name in _PORT if environ.get(name)), str(_DEFAULT_PORT))
    if not port.isdigit() or not 0 < int(port) < 65536:
        raise HaigoError(f"MASTER_PORT is {port[:20]!r}.", "export a number from 1 to 65535")
    return Nodes(count, rank, gpus, address, int(port))


def _number(given: int | None, names: Sequence[str], environ: Mapping[str, str], option: str, least: int) -> int:
    if given is not None:
        return given
    name = next((name for name in names if environ.get(name)), None)
    flag = f"--{option.replace('_', '-')}"
    if name is None:
        raise HaigoError(
            f"neither {flag} nor {names[0]} or its like ({', '.join(names[1:])}) is given.", f"give {flag} N", option
        )
    if not environ[name].isdigit() or int(environ[name]) < least:
        raise HaigoError(f"{name} is {environ[name][:40]!r}, and a fixed number is needed.", f"give {flag} N", option)
    return int(environ[name])


def _cards(environ: Mapping[str, str]) -> int:
    cards = len(list(Path("/dev").glob("nvidia[0-9]*")))
    visible = gpu_lists.visible(environ) if cards else None
    return len(visible) if visible is not None else cards


def state(folder: Path) -> dict[str, Any] | None:
    """What the first node wrote last: a start or an end, each with a number of its own; None before the first."""
    with contextlib.suppress(HaigoError, OSError):
        return dict(files.read_record(folder / FOLDER / STATE, _LIKE))
    return None


def announce(folder: Path, kind: str, words: Sequence[str] = (), port: int = 0, code: int = 0) -> None:
    """Write a start (`start`), or the end of all (`end`), for the other nodes."""
    before = state(folder)
    content = {
        "number": before["number"] + 1 if before else 1,
        "kind": kind,
        "words": list(words),
        "port": port,
        "code": code,
    }
    files.write_json(folder / FOLDER / STATE, content)


@contextlib.contextmanager
def ended(folder: Path, nodes: Nodes | None) -> Iterator[list[int]]:
    """Tell the other nodes how this one ends; who knows its code puts it into the list."""
    code: list[int] = []
    try:
        yield code
    except HaigoError as error:
        code[:] = [error.code]
        raise
    finally:
        if nodes is not None and nodes.count > 1:
            with contextlib.suppress(OSError, HaigoError):
                announce(folder, "end", code=code[0] if code else INTERNAL)
