"""Says what fits and how long it takes, before anything is queued.

    python -m launch.plan --model 7B --cluster a100-40gb --nodes 2 --tokens 20e9

Prints the layouts of the model that fit on these nodes (tensor and pipeline parallelism, ZeRO stage, micro batch,
accumulation, recomputation of activations), best first, with the memory of the fullest GPU by part, and tokens a second
and days as an interval from what stock GPT-NeoX has shown to the best seen on the hardware. Where nothing fits it
ends with exit code 3, says how much is missing and names the smallest number of nodes that is enough.
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
from launch import plan_layouts
from launch.plan_layouts import Layout
from launch.plan_memory import Shape
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

    Raises:
        HaigoError: unknown model or cluster, or numbers that make no sense.
    """
    place = cluster if isinstance(cluster, Cluster) else hardware.cluster(cluster, gpus_per_node)
    if nodes < 1 or not tokens > 0:
        raise HaigoError(f"{nodes} nodes and {tokens:g} tokens make no plan.", "give --nodes and --tokens above 0")
    if attention not in ("global", "flash"):
        raise HaigoError(f"there is no attention '{attention}'.", "choose global or flash")
    if place.kind == "cpu" and nodes > 1:
        raise HaigoError(f"{place.name} is one machine, not {nodes} nodes.", "give --nodes 1")
    config = reader.load(shipped.find_model(model))
    shape, padded = _shape(config, place, seq_length, vocab_size, attention)
    sequences = _sequences(config, shape.seq_length, global_batch_tokens)
    layouts = plan_layouts.candidates(shape, nodes * place.gpus_per_node, place, sequences)
    fitting = plan_layouts.ranked(layouts)
    smallest_nodes, smallest = None, None
    if not fitting:
        for more in (count for count in _NODES if count > nodes and place.kind == "gpu"):
            able = plan_layouts.ranked(plan_layouts.candidates(shape, more * place.gpus_per_node, place, sequences))
            if able:
                smallest_nodes, smallest = more, able[0]
                break
    faster = None
    if place.kind == "gpu" and attention == "global":
        flash = dataclasses.replace(shape, flash=True)
        quick = plan_layouts.ranked(plan_layouts.candidates(flash, nodes * place.gpus_per_node, place, sequences))
        faster = quick[0] if quick else None
    return Plan(
        model=str(model),
        cluster=place.name,
        nodes=nodes,
        gpus=nodes * place.gpus_per_node,
        parameters=shape.parameters,
        padded_vocab=padded,
        seq_length=shape.seq_length,
        tokens=float(tokens),
        attention=attention,
        memory_bytes=place.memory_gb * 1e9,
        layouts=fitting,
        closest=plan_layouts.nearest_miss(layouts),
        smallest_nodes=smallest_nodes,
        smallest=smallest,
        faster=faster,
    )


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
        entry.update(name=one.name, days=made.days(one))
    content["refusal"] = None if made.layouts else f"{made.refusal()} {made.remedy()}"
    return content


def text(made: Plan, rows: int = 6) -> str:
    """The plan as a table for people."""
    head = (
        f"{made.model} ({_count(made.parameters)} parameters, vocabulary padded to {made.padded_vocab:,}) on "
        f"{made.nodes} x {made.cluster} = {made.gpus} GPUs of {made.memory_bytes / 1e9:.1f} GB; "
        f"{made.tokens:.3g} tokens, sequences of {made.seq_length}, attention {made.attention}"
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


def span(days: tuple[float, float]) -> str:
    """An interval of days in the unit that suits it."""
    unit, factor = next(
        (pair for pair in (("days", 1.0), ("hours", 24.0), ("minutes", 1440.0)) if days[1] * pair[1] >= 2),
        ("seconds", 86400.0),
    )
    return f"{days[0] * factor:.2g} - {days[1] * factor:.2g} {unit}"


def _count(number: int) -> str:
    return f"{number / 1e9:.2f}B" if number >= 1e9 else f"{number / 1e6:.2f}M"


def main(argv: Sequence[str] | None = None) -> int | None:
    parser = cli.parser("launch.plan", __doc__)
    add_arguments(parser)
    parser.add_argument("--vocab-size", "--vocab_size", type=int, default=VOCAB_SIZE, help="default: 50000")
    parser.add_argument("--rows", type=int, default=6, help="layouts shown (default: 6)")
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
    )
    if args.json:
        print(json.dumps(as_json(made), ensure_ascii=False, indent=2))
    elif made.layouts:
        print(text(made, args.rows))
    if not made.layouts:
        raise Refused(made.refusal(), made.remedy())
    return None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags that `launch.plan` and `launch.configs` share."""
    parser.add_argument("--model", required=True, help="1-3B, 2-7B, 7B, 13B, a proxy's name, or a GPT-NeoX YAML")
    parser.add_argument("--cluster", required=True, help="a100-40gb, a100-80gb, h100-80gb, local-cpu, or a file")
    parser.add_argument("--nodes", type=int, default=1, help="machines (default: 1)")
    parser.add_argument("--gpus-per-node", "--gpus_per_node", type=int, help="default: the cluster's own")
    parser.add_argument("--tokens", type=float, default=20e9, help="training tokens (default: 20e9)")
    parser.add_argument("--seq-length", "--seq_length", type=int, help="default: the model's own")
    parser.add_argument(
        "--global-batch-tokens", "--global_batch_tokens", type=float, help="tokens a step (default: the model's own)"
    )
    parser.add_argument(
        "--attention", choices=("global", "flash"), default="global", help="flash needs flash-attn (default: global)"
    )


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
