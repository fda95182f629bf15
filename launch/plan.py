"""Says what fits and how long it takes, before anything is queued.

    python -m launch.plan --model 7B --cluster a100-40gb --nodes 2 --tokens 20e9

Prints the layouts of the model that fit on these nodes (tensor and pipeline parallelism, ZeRO stage, micro batch,
accumulation, recomputation of activations), best first, with the memory of the fullest GPU by part, and tokens a second
and days as an interval from what stock software has shown to the best seen on the hardware. Where nothing fits it
ends with exit code 3, says how much is missing and names the smallest number of nodes that is enough.

`--calibrate LOG` learns from the first logged steps of a real run (or from several, or a CSV of measured speeds: columns in
`launch.planning.calibrate`) and narrows the interval.
`--layout "TP1 PP0 ZeRO1 micro 16 recompute"` asks about one layout: whether
it fits, its memory by part, and the nearest that does.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from haigo import cli
from haigo.cli import HaigoError, Refused
from launch.planning import ask as plan_ask
from launch.planning import calibrate as plan_calibrate
from launch.planning import layouts as plan_layouts
from launch.planning import stacks as plan_stacks
from launch.planning.calibrate import Calibration
from launch.planning.layouts import Layout
from launch.planning.memory import Shape
from neox_configs import derive, hardware, reader, shipped
from neox_configs.hardware import Cluster

VOCAB_SIZE = 50_000
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
    """The software planned for: a name of `launch.planning.stacks`."""
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

    def days(self, one: Layout) -> tuple[float, float]:
        """Days for the tokens: at best, at worst."""
        low, high = one.tokens_per_s
        return self.tokens / high / 86400, self.tokens / low / 86400

    def gpu_days(self, one: Layout) -> tuple[float, float]:
        """GPU-days for the tokens: at best, at worst."""
        low, high = self.days(one)
        return low * self.gpus, high * self.gpus


def plan(
    model: str | os.PathLike[str],
    cluster: str | os.PathLike[str] | Cluster,
    nodes: int = 1,
    tokens: float = 20e9,
    seq_length: int | None = None,
    vocab_size: int = VOCAB_SIZE,
    global_batch_tokens: float | None = None,
    attention: str = "global",
    gpus_per_node: int | None = None,
    stack: str | None = None,
    calibrate: Sequence[str | os.PathLike[str]] = (),
    asked: str | None = None,
) -> Plan:
    """Find the layouts of a model that fit on a cluster.

    Args:
        model: a name (`1-3B`, `0-3M`) or the path of a GPT-NeoX YAML.
        cluster: a name, the path of a cluster file, or a `Cluster`.
        nodes: machines.
        tokens: training tokens, for the days.
        seq_length: tokens a sequence; the model's own when None.
        vocab_size: pieces of the tokenizer, before padding.
        global_batch_tokens: tokens a step; the model's own `train_batch_size` when None.
        attention: `global` (what every GPT-NeoX install runs) or `flash` (needs flash-attn in its environment).
        gpus_per_node: replaces the cluster's own number.
        stack: the software, a name of `launch.planning.stacks`; replaces `attention`. `fsdp-flash` is for comparison only.
        calibrate: logs or CSV files of measured runs of that software on that hardware.
        asked: one layout to judge, as words: `TP1 PP0 ZeRO1 micro 16 recompute`.

    Raises:
        HaigoError: unknown model, cluster, stack or layout, or numbers that make no sense.
    """
    place = cluster if isinstance(cluster, Cluster) else hardware.cluster(cluster, gpus_per_node)
    if nodes < 1 or not tokens > 0:
        raise HaigoError(f"{nodes} nodes and {tokens:g} tokens make no plan.", "give --nodes and --tokens above 0")
    software = plan_stacks.of_attention(attention) if stack is None else plan_stacks.find(stack)
    attention = "flash" if software.flash else "global"
    if place.kind == "cpu" and nodes > 1:
        raise HaigoError(f"{place.name} is one machine, not {nodes} nodes.", "give --nodes 1")
    config = reader.load(shipped.find_model(model))
    shape, padded = _shape(config, place, seq_length, vocab_size, attention)
    sequences = _sequences(config, shape.seq_length, global_batch_tokens)
    gpus = nodes * place.gpus_per_node
    layouts = plan_layouts.candidates(shape, gpus, place, sequences, software)
    learnt = None
    if calibrate:
        rows = [row for path in calibrate for row in plan_calibrate.read(path, software)]
        learnt = Calibration(rows, place, software)
        layouts = [_calibrated(one, shape, learnt) for one in layouts]
    fitting = plan_layouts.ranked(layouts)
    smallest_nodes, smallest = None, None
    if not fitting:
        for more in (count for count in _NODES if count > nodes and place.kind == "gpu"):
            able = plan_layouts.ranked(
                plan_layouts.candidates(shape, more * place.gpus_per_node, place, sequences, software)
            )
            if able:
                smallest_nodes, smallest = more, able[0]
                break
    faster = None
    if place.kind == "gpu" and software.neox and not software.flash and learnt is None:
        flash = dataclasses.replace(shape, flash=True)
        quick = plan_layouts.ranked(plan_layouts.candidates(flash, gpus, place, sequences))
        faster = quick[0] if quick else None
    wanted = nearest = None
    if asked is not None:
        wanted, nearest = plan_ask.judge(asked, shape, gpus, place, sequences, software)
        if learnt is not None:
            wanted = _calibrated(wanted, shape, learnt)
            nearest = _calibrated(nearest, shape, learnt) if nearest else None
    return Plan(
        model=str(model),
        cluster=place.name,
        nodes=nodes,
        gpus=gpus,
        parameters=shape.parameters,
        padded_vocab=padded,
        seq_length=shape.seq_length,
        tokens=float(tokens),
        attention=attention,
        stack=software.name,
        memory_bytes=place.memory_gb * 1e9,
        layouts=fitting,
        closest=plan_layouts.nearest_miss(layouts),
        smallest_nodes=smallest_nodes,
        smallest=smallest,
        faster=faster,
        measured=learnt.ratios if learnt else [],
        asked=wanted,
        nearest=nearest,
    )


def _calibrated(one: Layout, shape: Shape, learnt: Calibration) -> Layout:
    """A layout with the speed that measured runs let expect."""
    low, high = learnt.speed(one, shape)
    scale = one.mfu[0] / one.tokens_per_s[0]
    return dataclasses.replace(one, tokens_per_s=(low, high), mfu=(low * scale, high * scale))


def vocab_step(cluster: Cluster, tensor: int) -> int:
    """`make_vocab_size_divisible_by` such that the padded vocabulary is the same for every tensor split up to 8, and a
    checkpoint's embedding keeps its size when the layout changes."""
    return 128 if cluster.kind == "cpu" else 1024 // tensor


def _shape(
    config: dict[str, Any], place: Cluster, seq_length: int | None, vocab_size: int, attention: str
) -> tuple[Shape, int]:
    length = seq_length or config.get("seq_length")
    if not isinstance(length, int) or length < 1:
        raise HaigoError("the model config gives no seq_length.", "give --seq-length")
    if vocab_size < 2:
        raise HaigoError(f"a vocabulary of {vocab_size} pieces makes no model.", "give the tokenizer's --vocab-size")
    config = {**config, "model_parallel_size": 1, "make_vocab_size_divisible_by": vocab_step(place, 1)}
    padded = derive.padded_vocab(config, vocab_size)
    layer, count = derive.parameters(config, padded)
    shape = Shape(
        layers=config["num_layers"],
        hidden=config["hidden_size"],
        heads=config["num_attention_heads"],
        seq_length=length,
        vocab=padded,
        layer_parameters=layer,
        parameters=count,
        tied=not reader.value(config, "no_weight_tying"),
        flash=attention == "flash",
        bytes_per_value=4 if place.kind == "cpu" else 2,
    )
    return shape, padded


def _sequences(config: dict[str, Any], seq_length: int, tokens: float | None) -> int:
    if tokens is not None:
        if tokens < seq_length:
            raise HaigoError(
                f"a batch of {tokens:g} tokens is less than one sequence of {seq_length}.",
                "give a larger --global-batch-tokens",
            )
        return round(tokens / seq_length)
    own = config.get("train_batch_size")
    return round(own * config.get("seq_length", seq_length) / seq_length) if own else 512


def as_json(made: Plan) -> dict[str, Any]:
    """The plan as JSON values, with the days beside each layout."""
    content = dataclasses.asdict(made)
    for entry, one in zip(content["layouts"], made.layouts, strict=True):
        entry.update(name=one.name, days=made.days(one), gpu_days=made.gpu_days(one))
    for key, each in (("asked", made.asked), ("nearest", made.nearest)):
        if each is not None:
            content[key].update(name=each.name, days=made.days(each), gpu_days=made.gpu_days(each))
    content["refusal"] = None if made.layouts else f"{made.refusal()} {made.remedy()}"
    return content


def text(made: Plan, rows: int = 6, price: float | None = None) -> str:
    """The plan as a table for people.

    Args:
        rows: layouts shown.
        price: of a GPU-hour, in whatever currency.
    """
    head = (
        f"{made.model} ({_count(made.parameters)} parameters, vocabulary padded to {made.padded_vocab:,}) on "
        f"{made.nodes} x {made.cluster} = {made.gpus} GPUs of {made.memory_bytes / 1e9:.1f} GB; "
        f"{made.tokens:.3g} tokens, sequences of {made.seq_length}, "
        + (f"attention {made.attention}" if made.stack.startswith("gpt-neox") else f"stack {made.stack}")
    )
    lines = [head, ""]
    form = "{:<3}{:<44}{:>6}{:>7}{:>7}{:>20}{:>20}"
    lines.append(form.format("", "layout", "accum", "batch", "GB", "tokens/s", "time"))
    for rank, one in enumerate(made.layouts[:rows], start=1):
        days = made.days(one)
        lines.append(
            form.format(
                rank,
                one.name + (" (tight)" if one.tight else ""),
                one.accumulation,
                one.train_batch_size,
                f"{one.memory_bytes / 1e9:.1f}",
                f"{one.tokens_per_s[0]:,.0f} - {one.tokens_per_s[1]:,.0f}",
                span(days),
            )
        )
    if made.layouts:
        best = made.layouts[0]
        parts = ", ".join(f"{name} {size / 1e9:.1f}" for name, size in best.memory.items() if size >= 5e7)
        lines += ["", f"GB on the fullest GPU of layout 1: {parts}"]
        few, many = made.gpu_days(best)
        cost = f", {few * 24 * price:,.0f} - {many * 24 * price:,.0f} at {price:g} a GPU-hour" if price else ""
        lines.append(f"GPU-days of layout 1: {few:,.3g} - {many:,.3g}{cost}")
        if made.measured:
            shown = ", ".join(f"{ratio:.2f}" for ratio in made.measured[:6])
            runs = "1 measured run" if len(made.measured) == 1 else f"{len(made.measured)} measured runs"
            lines.append(f"Calibrated by {runs}: {shown} times the plan's middle.")
        if best.pipe:
            lines.append(
                "A pipeline: GPT-NeoX cannot evaluate while training with it, so the config says eval_iters 0."
            )
    if made.faster is not None:
        days = made.days(made.faster)
        lines.append(
            f"With --attention flash (flash-attn in GPT-NeoX's environment): {made.faster.name}, {span(days)}."
        )
    return "\n".join(lines)


def judged(made: Plan) -> str:
    """What is to be said of the layout that was asked about."""
    assert made.asked is not None
    one, have = made.asked, made.memory_bytes / 1e9
    parts = ", ".join(f"{name} {size / 1e9:.1f}" for name, size in one.memory.items() if size >= 5e7)
    low, high = one.tokens_per_s
    word = "fits" if one.fits else "does not fit"
    lines = [
        f"{one.name} {word}: {one.memory_bytes / 1e9:.1f} GB of {have:.1f} on the fullest GPU ({parts})",
        f"{low:,.0f} - {high:,.0f} tokens/s, {span(made.days(one))}",
    ]
    if not one.fits:
        near = made.nearest
        lines.append(
            f"The nearest that fits: {near.name}, {near.memory_bytes / 1e9:.1f} GB, {span(made.days(near))}"
            if near
            else "No layout fits on these GPUs."
        )
    return "\n".join(lines)


def span(days: tuple[float, float]) -> str:
    """An interval of days in the unit that suits it."""
    unit, factor = next(
        (pair for pair in (("days", 1.0), ("hours", 24.0), ("minutes", 1440.0)) if days[1] * pair[1] >= 2),
        ("seconds", 86400.0),
    )
    low, high = (f"{one:.2g}" if (one := day * factor) < 99.5 else f"{one:,.0f}" for day in days)
    return f"{low} - {high} {unit}"


def _count(number: int) -> str:
    return f"{number / 1e9:.2f}B" if number >= 1e9 else f"{number / 1e6:.2f}M"


def main(argv: Sequence[str] | None = None) -> int | None:
    parser = cli.parser("launch.plan", __doc__)
    add_arguments(parser)
    parser.add_argument("--vocab-size", "--vocab_size", type=int, default=VOCAB_SIZE, help="default: 50000")
    parser.add_argument("--rows", type=int, default=6, help="layouts shown (default: 6)")
    parser.add_argument("--stack", choices=sorted(plan_stacks.STACKS), help="the software, instead of --attention")
    parser.add_argument("--calibrate", action="append", metavar="FILE", help="GPT-NeoX log or CSV; repeatable")
    parser.add_argument("--layout", metavar="WORDS", help="judge one layout: 'TP1 PP0 ZeRO1 micro 16 recompute'")
    parser.add_argument("--price", type=float, help="of a GPU-hour: adds the cost")
    parser.add_argument("--json", action="store_true", help="print the whole plan as JSON")
    args = parser.parse_args(argv)
    made = plan(
        args.model,
        args.cluster,
        args.nodes,
        args.tokens,
        args.seq_length,
        args.vocab_size,
        args.global_batch_tokens,
        args.attention,
        args.gpus_per_node,
        args.stack,
        args.calibrate or (),
        args.layout,
    )
    if args.json:
        print(json.dumps(as_json(made), ensure_ascii=False, indent=2))
    elif made.asked is not None:
        print(judged(made))
    elif made.layouts:
        print(text(made, args.rows, args.price))
    if made.asked is not None:
        return None if made.asked.fits else 3
    if not made.layouts:
        raise Refused(made.refusal(), made.remedy())
    return None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags that `launch.plan` and `launch.configs` share."""
    parser.add_argument("--model", required=True, help="1-3B, 2-7B, 7B, 13B, a proxy's name, or a GPT-NeoX YAML")
    parser.add_argument("--cluster", required=True, help="a100-40gb, a100-80gb, h100-80gb, local-cpu, or a file")
    parser.add_argument("--nodes", type=int, default=1, help="machines (default: 1)")
    parser.add_argument("--gpus-per-node", "--gpus_per_node", type=int, help="default: the cluster's own")
    parser.add_argument("--tokens", type=cli.amount, default=20e9, help="training tokens (default: 20e9)")
    parser.add_argument("--seq-length", "--seq_length", type=int, help="default: the model's own")
    parser.add_argument(
        "--global-batch-tokens",
        "--global_batch_tokens",
        type=cli.amount,
        help="tokens a step (default: the model's own)",
    )
    parser.add_argument(
        "--attention", choices=("global", "flash"), default="global", help="flash needs flash-attn (default: global)"
    )


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
