"""Hardware facts of a cluster (`clusters/*.yml`, Haigo's own keys): `cluster("a100-40gb").memory_bytes`."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field
from typing import Any

from haigo import yamlfile
from haigo.cli import HaigoError, nearest
from neox_configs import reader, shipped

_KEYS = ("kind", "gpus_per_node", "memory_gb", "peak_tflops", "efficiency", "neox")


@dataclass(frozen=True)
class Cluster:
    """One kind of node. A "GPU" is one process with its accelerator; on `local-cpu` it is one process on the CPU."""

    name: str
    kind: str
    """`gpu` or `cpu`."""
    gpus_per_node: int
    memory_gb: float
    """What one process can allocate, in 10^9 bytes."""
    peak_tflops: float
    """Peak of one GPU at the training precision, in 10^12 operations a second."""
    efficiency: float
    """Share of `launch.plan.speed`'s roofline that this hardware reaches; an A100-40GB is 1."""
    neox: dict[str, Any] = field(default_factory=dict)
    """GPT-NeoX keys that go with this hardware."""


def cluster(name: str | os.PathLike[str], gpus_per_node: int | None = None) -> Cluster:
    """Read a cluster by its name in `clusters/` beside this file, or the path of a YAML file with the same keys.

    Args:
        name: such as `a100-40gb`, or a path.
        gpus_per_node: replaces the file's own number.

    Raises:
        HaigoError: no such cluster, a key missing or unknown, or a number that makes no sense.
    """
    path = shipped.find("clusters", name)
    content = yamlfile.read(path)
    if not isinstance(content, dict):
        raise HaigoError(f"{path} is not a cluster file.", f"give the keys {', '.join(_KEYS)}")
    for key in content:
        if key not in _KEYS:
            raise HaigoError(f"{path} has an unknown key '{key}'.{nearest(str(key), _KEYS)}", "mend or remove it")
    missing = [key for key in _KEYS if key not in content]
    if missing:
        raise HaigoError(f"{path} lacks the key '{missing[0]}'.", f"give the keys {', '.join(_KEYS)}")
    if gpus_per_node is not None and gpus_per_node < 1:
        raise HaigoError(f"a node with {gpus_per_node} GPUs cannot train.", "give --gpus-per-node 1 or more")
    if content["kind"] not in ("gpu", "cpu"):
        raise HaigoError(f"{path}: kind is '{content['kind']}'.", "write `gpu` or `cpu`")
    for key in _KEYS[1:-1]:
        kinds = int if key == "gpus_per_node" else int | float
        if isinstance(content[key], bool) or not isinstance(content[key], kinds):
            raise HaigoError(f"{path}: {key} is {content[key]!r}, which is no such number.", "see the shipped clusters")
    if not isinstance(content["neox"], dict):
        raise HaigoError(f"{path}: neox holds no `key: value` lines.", "write {} where there are none")
    reader.check_keys(content["neox"], name=f"{path} (neox)")
    try:
        made = Cluster(
            name=path.stem,
            kind=content["kind"],
            gpus_per_node=int(gpus_per_node or content["gpus_per_node"]),
            memory_gb=float(content["memory_gb"]),
            peak_tflops=float(content["peak_tflops"]),
            efficiency=float(content["efficiency"]),
            neox=dict(content["neox"]),
        )
    except (TypeError, ValueError, OverflowError) as error:
        raise HaigoError(f"{path} has a value of the wrong form: {error}.", "see the shipped clusters") from None
    sizes = (made.memory_gb, made.peak_tflops, made.gpus_per_node)
    if not all(0 < size < math.inf for size in sizes) or not 0 < made.efficiency <= 2:
        raise HaigoError(f"{path}: a number makes no sense.", "need positive sizes and an efficiency from 0 to 2")
    return made


def like(peak_tflops: float, card_bytes: int | None = None) -> Cluster | None:
    """The shipped cluster of such GPUs; of several with one peak the one of the nearest memory (40 and 80 GB A100).

    Args:
        peak_tflops: of one GPU, as a config's `peak_theoretical_tflops`.
        card_bytes: memory of one GPU; the smallest is taken when None.
    """
    places = [cluster(name) for name in shipped.names("clusters")]
    same = [one for one in places if one.kind == "gpu" and one.peak_tflops == peak_tflops]
    return min(same, key=lambda one: abs(one.memory_gb * 1e9 - (card_bytes or 0)), default=None)
