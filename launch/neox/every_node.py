"""A run whose nodes are started one by one, without ssh: what each of them runs, and which config leaves the nodes to that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from haigo.cli import Refused
from launch.neox import launch_command

_OF_RANKS = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK", "NODE_RANK", "DLTS_HOSTFILE")
"""Variables that would be taken for a rank's own."""
_DECIDED = (
    "hostfile",
    "include",
    "exclude",
    "num_nodes",
    "num_gpus",
    "deepspeed_slurm",
    "deepspeed_mpi",
    "force_multi",
)


@dataclass(frozen=True)
class Nodes:
    """The nodes of a run, seen from one of them."""

    count: int
    rank: int
    gpus: int
    """Of each node."""
    address: str
    """Where the first node listens."""
    port: int

    @property
    def world(self) -> int:
        """All GPUs."""
        return self.count * self.gpus


def check(config: Mapping[str, Any]) -> None:
    """See that the config leaves the nodes to the command.

    Raises:
        Refused: a key decides them too.
    """
    said = [name for name in _DECIDED if config.get(name) not in (None, "", -1, False)]
    if said:
        raise Refused(
            f"the config gives {', '.join(said)}, which --every-node decides itself.", f"take {said[0]} out of it"
        )


def cleared(environ: Mapping[str, str]) -> dict[str, str]:
    """An environment without what an operator said of this node: DeepSpeed's launcher gives each rank its own."""
    return {name: value for name, value in environ.items() if name not in _OF_RANKS and not name.startswith("PET_")}


def arguments(
    configs: Sequence[Path], overwrite: Mapping[str, Any], environ: Mapping[str, str], world: int
) -> launch_command.MainArguments:
    """What GPT-NeoX's script gets, the same on every node: `script` of it.

    Raises:
        HaigoError, Refused: as `launch_command.main_arguments`.
    """
    return launch_command.main_arguments(configs, {**overwrite, "global_num_gpus": world}, cleared(environ), world)


def script(given: launch_command.MainArguments) -> list[str]:
    """GPT-NeoX's script and its two configs, of the words that deepy.py would hand to DeepSpeed's launcher."""
    return given.words[-5:]


def command(nodes: Nodes, rank: int | str, python: str, words: Sequence[str], port: int | None = None) -> list[str]:
    """What a node runs, from GPT-NeoX's folder."""
    info = launch_command.encode({f"node{number}": list(range(nodes.gpus)) for number in range(nodes.count)})
    launch = [python, "-u", "-m", "deepspeed.launcher.launch", f"--world_info={info}", f"--node_rank={rank}"]
    return [*launch, f"--master_addr={nodes.address}", f"--master_port={port or nodes.port}", *words]


def torchrun(nodes: Nodes, rank: int | str, words: Sequence[str]) -> list[str]:
    """The same by torchrun."""
    launch = ["torchrun", f"--nnodes={nodes.count}", f"--node-rank={rank}", f"--nproc-per-node={nodes.gpus}"]
    return [*launch, f"--master-addr={nodes.address}", f"--master-port={nodes.port}", *words]
