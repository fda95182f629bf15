"""What fits on a cluster, and how long it takes: the plan of a model. `launch.plan` shows it, `launch.configs` writes it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from haigo.cli import HaigoError, Refused
from launch.plan import asked, calibrate, layouts, memory, overhead, stacks
from launch.plan.layouts import Layout
from launch.plan.memory import Shape
from launch.plan.options import PlanOptions
from launch.plan.stacks import Stack
from neox_configs import derive, neox_args, reader, shipped
from neox_configs.hardware import Cluster

_NODES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)


@dataclass(frozen=True)
class Plan:
    """What `plan` answers. `layouts` is empty when nothing fits; then `missing` and `smallest` say why and what would."""

    model: str
    cluster: str
    nodes: int
    gpus: int
    parameters: int
    """With the padded vocabulary."""
    padded_vocab: int
    seq_length: int
    tokens: float
    attention: str
    stack: str
    """The software planned for: a name of `launch.plan.stacks`."""
    memory_bytes: float
    """What one GPU has."""
    layouts: list[Layout]
    """Those that fit, best first."""
    closest: Layout
    """The layout that needs the least memory, whether it fits or not."""
    smallest_nodes: int | None
    """The smallest number of nodes on which something fits, when nothing does here."""
    smallest: Layout | None
    faster: Layout | None
    """The best layout with flash attention, when the plan is without; None otherwise."""
    measured: list[float]
    """Measured over planned speed of the runs that the plan was calibrated by."""
    kind: str = "gpu"
    """Of the cluster."""
    disk_gbps: float | None = None
    """How fast checkpoints are written, where anybody says."""
    asked: Layout | None = None
    """The layout that was asked about; None when none was."""
    nearest: Layout | None = None
    """The nearest layout that fits, when the one that was asked about does not."""

    @property
    def best(self) -> Layout:
        """The layout to use.

        Raises:
            Refused: nothing fits.
        """
        if not self.layouts:
            raise Refused(self.refusal(), self.remedy())
        return self.layouts[0]

    def refusal(self) -> str:
        """Why nothing fits, in one sentence."""
        need, have = self.closest.memory_bytes / 1e9, self.memory_bytes / 1e9
        return (
            f"{self.model} does not fit on {self.nodes} node{'s' * (self.nodes > 1)} of {self.cluster} "
            f"({self.gpus} GPUs): the leanest layout ({self.closest.name}) needs {need:.1f} GB a GPU, and there "
            f"are {have:.1f}."
        )

    def remedy(self) -> str:
        """What would fit, in one sentence."""
        if self.smallest is None or self.smallest_nodes is None:
            return f"use GPUs with more memory: no number of nodes up to {_NODES[-1]} is enough"
        need = self.smallest.memory_bytes / 1e9
        return f"use {self.smallest_nodes} nodes: {self.smallest.name} needs {need:.1f} GB a GPU"

    def overhead(self, one: Layout) -> dict[str, float]:
        """What is spent beside the steps, by part, as shares of their time; nothing is known of it on a CPU."""
        if self.kind == "cpu":
            return {}
        return overhead.shares(one, self.parameters, self.tokens, self.seq_length, self.gpus, self.disk_gbps)

    def days(self, one: Layout) -> tuple[float, float]:
        """Days for the tokens, validation, checkpoints and restarts: at best, at worst."""
        low, high = one.tokens_per_s
        days = self.tokens * (1 + sum(self.overhead(one).values())) / 86400
        return days / high, days / low

    def gpu_days(self, one: Layout) -> tuple[float, float]:
        """GPU-days for the tokens: at best, at worst."""
        low, high = self.days(one)
        return low * self.gpus, high * self.gpus


def plan(options: PlanOptions) -> Plan:
    """Find the layouts of a model that fit on a cluster.

    Raises:
        HaigoError: unknown model, cluster, stack or layout, or numbers that make no sense.
        Refused: an architecture or an attention that no formula is for.
    """
    place, nodes = options.place, options.nodes
    if place.kind == "cpu" and nodes > 1:
        raise HaigoError(f"{place.name} is one machine, not {nodes} nodes.", "give --nodes 1", option="nodes")
    path = shipped.find_model(options.model)
    config = reader.load(path)
    reader.check_types(config, f"{path}:")
    software = _software(config, options, place)
    shape = _shape(config, place, options, software.flash)
    gpus = nodes * place.gpus_per_node
    sequences = _sequences(config, shape.seq_length, options.global_batch_tokens, gpus)
    found = layouts.candidates(shape, gpus, place, sequences, software)
    learnt = None
    if options.calibrate:
        rows = [row for path in options.calibrate for row in calibrate.read(path, software)]
        learnt = calibrate.Calibration(rows, place, software)
        found = [_calibrated(one, shape, learnt) for one in found]
    fitting = layouts.ranked(found)
    smallest_nodes, smallest = None, None
    for more in () if fitting or place.kind == "cpu" else (count for count in _NODES if count > nodes):
        there = more * place.gpus_per_node
        step = _sequences(config, shape.seq_length, options.global_batch_tokens, there)
        able = layouts.ranked(layouts.candidates(shape, there, place, step, software))
        if able:
            smallest_nodes, smallest = more, able[0]
            break
    faster = None
    if place.kind == "gpu" and software.neox and not software.flash and learnt is None:
        flash = dataclasses.replace(shape, flash=True)
        quick = layouts.ranked(layouts.candidates(flash, gpus, place, sequences))
        faster = quick[0] if quick else None
    wanted = nearest = None
    if options.layout is not None:
        wanted, nearest = asked.judge(options.layout, shape, gpus, place, sequences, software)
        if learnt is not None:
            wanted = _calibrated(wanted, shape, learnt)
            nearest = _calibrated(nearest, shape, learnt) if nearest else None
    return Plan(
        model=str(options.model),
        cluster=place.name,
        nodes=nodes,
        gpus=gpus,
        parameters=shape.parameters,
        padded_vocab=shape.vocab,
        seq_length=shape.seq_length,
        tokens=float(options.tokens),
        attention="flash" if software.flash else "global",
        stack=software.name,
        memory_bytes=place.memory_gb * 1e9,
        layouts=fitting,
        closest=layouts.nearest_miss(found),
        smallest_nodes=smallest_nodes,
        smallest=smallest,
        faster=faster,
        measured=learnt.ratios if learnt else [],
        kind=place.kind,
        disk_gbps=options.disk_gbps,
        asked=wanted,
        nearest=nearest,
    )


def _calibrated(one: Layout, shape: Shape, learnt: calibrate.Calibration) -> Layout:
    """A layout with the speed that measured runs let expect."""
    low, high = learnt.speed(one, shape)
    scale = one.mfu[0] / one.tokens_per_s[0]
    return dataclasses.replace(one, tokens_per_s=(low, high), mfu=(low * scale, high * scale))


def vocab_step(cluster: Cluster, tensor: int) -> int:
    """`make_vocab_size_divisible_by` such that the padded vocabulary is the same for every tensor split up to 8, and a
    checkpoint's embedding keeps its size when the layout changes."""
    return 128 if cluster.kind == "cpu" else 1024 // tensor


def _shape(config: dict[str, Any], place: Cluster, options: PlanOptions, flash: bool) -> Shape:
    length = options.seq_length or config.get("seq_length")
    if not isinstance(length, int) or length < 1:
        raise HaigoError("the model config gives no seq_length.", "give --seq-length", option="seq_length")
    step = {"model_parallel_size": 1, "make_vocab_size_divisible_by": vocab_step(place, 1)}
    padded = derive.padded_vocab({**config, **step}, options.vocab_size)
    try:
        shape = memory.shape_of({**config, "seq_length": length}, padded, flash, 4 if place.kind == "cpu" else 2)
        derive.check_layer(config)
        return shape
    except Refused as error:
        raise Refused(f"{options.model}: {error.problem}", error.fix) from None


def _software(config: dict[str, Any], options: PlanOptions, place: Cluster) -> Stack:
    """What the command asks for, else the model's own attention_config, else flash where GPT-NeoX's environment has it."""
    if options.stack is not None:
        return stacks.STACKS[options.stack]
    if options.attention is not None:
        return stacks.of_attention(options.attention)
    if config.get("attention_config") is None:
        half = place.kind == "gpu" and place.neox.get("precision") != "fp32"
        # its kernels leave out relative positions
        return stacks.here() if half and config.get("pos_emb") != "rpe" else stacks.of_attention("global")
    kinds = [*dict.fromkeys(neox_args.attention_layers(config["attention_config"], config.get("num_layers")))]
    other = [kind for kind in kinds if kind not in ("global", "flash", *derive.NOT_GPT)]
    if other or {"global", "flash"} <= {*kinds}:
        raise Refused(
            f"{options.model} has attention_config {' and '.join(kinds)}, whose memory and speed no formula is for.",
            "plan it with --attention global or flash, which then stands in its config instead",
            option="attention",
        )
    return stacks.of_attention("flash" if kinds == ["flash"] else "global")


def _sequences(config: dict[str, Any], seq_length: int, tokens: float | None, gpus: int) -> int:
    """Sequences a step, about: as asked, else as many tokens as the model's own batch has on these GPUs."""
    if tokens is not None:
        if tokens < seq_length:
            raise HaigoError(
                f"a batch of {tokens:g} tokens is less than one sequence of {seq_length}.",
                "give a larger --global-batch-tokens",
                option="global_batch_tokens",
            )
        return round(tokens / seq_length)
    own, micro, steps = (
        config.get(key) for key in ("train_batch_size", "train_micro_batch_size_per_gpu", "gradient_accumulation_steps")
    )
    if own is None and micro is not None:
        # as GPT-NeoX derives it: no accumulation is 1
        own = micro * (1 if steps is None else steps) * max(1, gpus // derive.gpus_of_a_copy(config))
    elif own is None and steps is None:
        return 512
    if own is None or own < 1:
        raise HaigoError(
            f"the model config gives no batch of at least one sequence (train_batch_size {config.get('train_batch_size')}, "
            f"micro batch {micro}, accumulation {steps}).",
            "give --global-batch-tokens",
            option="global_batch_tokens",
        )
    return max(1, round(own * config.get("seq_length", seq_length) / seq_length))
