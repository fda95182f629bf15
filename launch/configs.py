"""Writes one flat GPT-NeoX YAML for a model, a cluster, a mixture and a number of tokens.

    python -m launch.configs --model 1-3B --cluster a100-40gb --nodes 2 --mixture mixture.yml \\
        --catalogue corpora.yml --tokens 20e9 --output configs/1-3B.yml
    python -m launch.configs --recipe finetune --from checkpoints/1-3B --train-pairs sft/train --valid-pairs sft/valid \\
        --epochs 3 --model 1-3B --cluster a100-40gb --catalogue corpora.yml --output configs/1-3B-sft.yml

The layout is the best of `launch.plan`; where nothing fits the command ends with exit code 3 and names what would. The
corpus weights come from the mixture, the datasets and the tokenizer from the catalogue, and all three are checked against
each other. Recipes that start from a checkpoint (continued, finetune, long-context) also write NAME-resume.yml, which goes on
after a break. NAME.deepspeed.json is for reading: what GPT-NeoX derives from the YAML for DeepSpeed. Everything is written
out, so that the YAML alone says what will run; its header names mixture, plan and command. Start it with
`python -m launch.deepy train.py OUTPUT`.
"""

from __future__ import annotations

import json
import math
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import haigo
from haigo import cli, files, redact, yamlfile
from haigo.cli import HaigoError, Refused
from haigo.formats.tokenizer import load
from launch import plan as planning
from launch.plan import Plan
from launch.planning.layouts import Layout
from launch.planning.memory import BUCKET_ELEMENTS
from launch.writing import data as config_data
from launch.writing import finetune
from launch.writing import recipes as config_recipes
from neox_configs import catalogue as catalogues
from neox_configs import hardware, neox_args, reader, shipped
from neox_configs.hardware import Cluster

_OVERRULED = (
    "fp16",
    "bf16",
    "data_types",
    "data_path",
    "split",
    "save",
    "load",
    "hostfile",
    "vocab-file",
    "merge_file",
)


@dataclass(frozen=True)
class Written:
    """A finished config with what it was made from."""

    config: dict[str, Any]
    """The GPT-NeoX keys, in the order of the file."""
    plan: Plan
    layout: Layout
    epochs: dict[str, float]
    """How often each corpus is read over the whole run."""
    remarks: list[str]
    header: str
    recipe: str = "pretrain"
    examples_per_step: float | None = None
    """Of a finetuning run: examples, not samples; several may lie in one."""
    warnings: Sequence[str] = ()


def make_config(
    model: str | os.PathLike[str],
    cluster: str | os.PathLike[str] | Cluster,
    mixture: str | os.PathLike[str] | Mapping[str, float] | None,
    catalogue: str | os.PathLike[str],
    output: str | os.PathLike[str],
    nodes: int = 1,
    tokens: float = 20e9,
    global_batch_tokens: float | None = None,
    checkpoint_minutes: float = 30.0,
    save: str | os.PathLike[str] | None = None,
    seed: int = 1234,
    seq_length: int | None = None,
    attention: str = "global",
    gpus_per_node: int | None = None,
    command: str = "",
    recipe: str = "pretrain",
    start: str | os.PathLike[str] | None = None,
    lr: float | None = None,
    pairs: Mapping[str, str | os.PathLike[str] | None] | None = None,
    epochs: float = 3.0,
) -> Written:
    """Work out a config without writing it.

    Args:
        model: a name (`1-3B`, `0-3M`) or the path of a GPT-NeoX YAML.
        cluster: a name, the path of a cluster file, or a `Cluster`.
        mixture: mixture.yml, or corpus -> weight; None for the recipe `finetune`.
        catalogue: corpora.yml.
        output: where the file will stand; names the run and the default of `save`.
        nodes: machines.
        tokens: training tokens.
        global_batch_tokens: tokens a step; the model's own when None.
        checkpoint_minutes: about how much work a crash may cost.
        save: folder for checkpoints; `checkpoints/NAME` beside the output when None.
        seed: GPT-NeoX's seed.
        seq_length: tokens a sample; the model's own when None.
        attention: `global`, or `flash` where GPT-NeoX's environment has flash-attn.
        gpus_per_node: replaces the cluster's own number.
        command: the command line for the header.
        recipe: one of `launch.writing.recipes.RECIPES`.
        start: the checkpoint that recipes other than `pretrain` start from: a save folder or a global_stepN folder.
        lr: peak of the learning rate; the recipe's or the model's own when None.
        pairs: split -> prefix of the label datasets, for `finetune`.
        epochs: how often `finetune` reads its examples; replaces `tokens`.

    Raises:
        HaigoError: unusable input. Refused: nothing fits, or data and tokenizer do not belong together.
    """
    config_recipes.check_name(recipe)
    if not checkpoint_minutes > 0:
        raise HaigoError(f"--checkpoint-minutes is {checkpoint_minutes:g}.", "give a number above 0")
    if not 0 < seed < 2**31:
        raise HaigoError(f"the seed {seed} is out of range: GPT-NeoX refuses it.", "give a number from 1 to 2147483647")
    if lr is not None and not 0 < lr < 1:
        raise HaigoError(f"--lr is {lr:g}.", "give a number above 0, such as 2e-5")
    if recipe == "finetune":
        finetune.check_epochs(epochs)
    begun = config_recipes.begin(recipe, start)
    place = cluster if isinstance(cluster, Cluster) else hardware.cluster(cluster, gpus_per_node)
    path = shipped.find_model(model)
    own = reader.load(path)
    reader.check_keys(own, name=str(path))
    if begun is not None:
        config_recipes.check_model(own, begun)
        if seq_length is None and recipe != "long-context":
            seq_length = begun.config.get("seq_length")
    datasets = catalogues.read(catalogue)
    source = "the mixture" if isinstance(mixture, Mapping) else str(mixture)
    tokenizer = load(datasets.tokenizer)
    length = int(seq_length or own.get("seq_length") or 2048)
    weights: dict[str, float] = {}
    taught: finetune.Pairs | None = None
    few: list[str] = []
    if recipe == "finetune":
        taught = finetune.pairs(pairs or {}, tokenizer, length, begun is not None and begun.piped)
        global_batch_tokens = global_batch_tokens or finetune.rows_a_step(taught, epochs) * length
        tokens = max(1.0, epochs * taught.samples * length)
    elif mixture is None:
        raise HaigoError("no mixture is given.", "give --mixture mixture.yml")
    else:
        weights = config_data.in_order(config_data.read_weights(mixture), datasets, source)
    plan = planning.plan(model, place, nodes, tokens, seq_length, tokenizer.vocab_size, global_batch_tokens, attention)
    best = config_recipes.layout(plan, begun)
    training: dict[str, config_data.Dataset] = {}
    if taught is None:
        data, training, remarks = config_data.data_keys(weights, datasets, tokenizer, plan.seq_length)
    else:
        data, remarks = taught.keys, taught.remarks
    step_tokens = best.train_batch_size * plan.seq_length
    iterations = max(1, math.ceil(tokens / step_tokens))
    if taught is not None:
        iterations = finetune.steps_of(epochs, taught.samples, best.train_batch_size)
        few = finetune.few_steps(taught, epochs, best.train_batch_size, iterations, plan.seq_length)
        remarks = [*remarks, *few]
    folder = Path(save) if save is not None else Path(output).resolve().parent / "checkpoints" / Path(output).stem
    config = {
        **reader.load(shipped.find("recipes", "pretrain")),
        **{key: value for key, value in own.items() if key not in _OVERRULED},
        **place.neox,
        **_layout_keys(own, plan, best, place),
        **_schedule(own, plan, best, iterations, checkpoint_minutes, place),
        **data,
        "tokenizer_type": "SPMTokenizer",
        "vocab_file": str(tokenizer.path.resolve()),
        "data_impl": "mmap",
        "save": str(folder.resolve()),
        "load": str(folder.resolve()),
        "seed": seed,
    }
    if begun is not None:
        if folder.resolve() == begun.folder:
            raise Refused(
                f"the run would write its checkpoints into {begun.folder}, where it starts from.", "give another --save"
            )
        config |= config_recipes.keys(recipe, begun, lr, own, plan.seq_length, iterations)
    elif lr is not None:
        params = {**(config["optimizer"].get("params") or {}), "lr": lr}
        config |= {"optimizer": {**config["optimizer"], "params": params}, "min_lr": lr / 10}
    often = {
        corpus: weights[corpus] * iterations * step_tokens / max(1, one.tokens) for corpus, one in training.items()
    }
    if taught is not None:
        if not best.pipe:
            # also where the model's file says 0: examples that are not packed cannot be read without an evaluation
            config |= {"eval_iters": config["eval_iters"] or 1, "eval_interval": max(1, iterations // 5)}
        often = {"pairs": iterations * best.train_batch_size / taught.samples}
        weights, source = {"pairs": 1.0}, str((pairs or {}).get("train"))
    told = config_recipes.told(recipe, begun, remarks)
    each = None
    if taught is not None:
        told.insert(1, finetune.counted(taught, epochs, best.train_batch_size, iterations))
        each = best.train_batch_size * taught.examples / taught.samples
    header = _header(plan, best, weights, often, source, told, command)
    return Written(config, plan, best, often, remarks, header, recipe, each, few)


def write_config(output: str | os.PathLike[str], **arguments: Any) -> dict[str, Any]:
    """Make a config (see `make_config` for the arguments) and write it.

    Returns:
        What `summary` gives: file, layout, memory, days, epochs and remarks, and the config itself.
    """
    made = make_config(output=output, **arguments)
    _write(made, output)
    return summary(made, output)


def _write(made: Written, output: str | os.PathLike[str]) -> list[Path]:
    """The config, and beside it the one that goes on after a break when it starts from a checkpoint; for reading also what
    GPT-NeoX will tell DeepSpeed, which it derives anew at every start."""
    told = neox_args.deepspeed_config(neox_args.values(made.config, made.plan.gpus))
    yamlfile.write(output, made.config, made.header)
    files.write_json(deepspeed_path(output), told)
    if made.recipe == "pretrain":
        return [Path(output)]
    again = config_recipes.resume_path(output)
    yamlfile.write(again, config_recipes.resumed(made.config), f"goes on with {Path(output).name} after a break")
    return [Path(output), again]


def deepspeed_path(output: str | os.PathLike[str]) -> Path:
    """Where the DeepSpeed JSON of a config stands."""
    path = Path(output)
    name = path.stem if path.suffix in (".yml", ".yaml", ".json") else path.name
    return path.with_name(f"{name}.deepspeed.json")


def summary(made: Written, output: str | os.PathLike[str]) -> dict[str, Any]:
    """A config in a few JSON values."""
    low, high = made.plan.days(made.layout)
    return {
        "model": made.plan.model,
        "file": str(output),
        "cluster": made.plan.cluster,
        "nodes": made.plan.nodes,
        "gpus": made.plan.gpus,
        "layout": made.layout.name,
        "memory_gb": made.layout.memory_bytes / 1e9,
        "tokens_per_s": list(made.layout.tokens_per_s),
        "days": [low, high],
        "train_iters": made.config["train_iters"],
        "train_batch_size": made.layout.train_batch_size,
        "examples_per_step": made.examples_per_step,
        "epochs": made.epochs,
        "remarks": made.remarks,
        "config": made.config,
    }


def _layout_keys(own: Mapping[str, Any], plan: Plan, best: Layout, place: Cluster) -> dict[str, Any]:
    keys: dict[str, Any] = {
        "pipe_parallel_size": best.pipe,
        "model_parallel_size": best.tensor,
        "make_vocab_size_divisible_by": planning.vocab_step(place, best.tensor),
        "seq_length": plan.seq_length,
        "max_position_embeddings": max(plan.seq_length, own.get("max_position_embeddings") or 0),
        # all three, so that GPT-NeoX refuses to start on another number of GPUs instead of changing the batch
        "train_micro_batch_size_per_gpu": best.micro,
        "gradient_accumulation_steps": best.accumulation,
        "train_batch_size": best.train_batch_size,
        "checkpoint_activations": best.recompute,
        "checkpoint_num_layers": 1,
        "partition_activations": best.recompute and best.tensor > 1,
        "synchronize_each_layer": best.recompute,
    }
    if place.kind == "cpu":
        return {**keys, "zero_optimization": {"stage": 0}}
    keys["zero_optimization"] = {
        "stage": best.zero,
        "allgather_partitions": True,
        "allgather_bucket_size": BUCKET_ELEMENTS,
        "overlap_comm": True,
        "reduce_scatter": True,
        "reduce_bucket_size": BUCKET_ELEMENTS,
        "contiguous_gradients": True,
    }
    keys["data_types"] = {"grad_accum_dtype": "fp32"}
    keys["peak_theoretical_tflops"] = place.peak_tflops
    if plan.attention == "flash":
        keys["attention_config"] = [[["flash"], own["num_layers"]]]
    return keys


def _schedule(
    own: Mapping[str, Any], plan: Plan, best: Layout, iterations: int, minutes: float, place: Cluster
) -> dict[str, Any]:
    # geometric mean of the ends of the interval: a cadence in minutes need not be exact
    speed = (best.tokens_per_s[0] * best.tokens_per_s[1]) ** 0.5
    factor = max(1, round(minutes * 60 * speed / (best.train_batch_size * plan.seq_length)))
    if factor >= iterations:
        factor = iterations + 1  # only the end is saved
    while iterations % factor == 0:
        # GPT-NeoX saves at every multiple and again at the end: the same step twice, the second over the first, and a
        # kill in between would tear the only checkpoint that `latest` names
        factor += 1
    evaluations = 0 if best.pipe else reader.value(own, "eval_iters") if "eval_iters" in own else 10
    return {
        "train_iters": iterations,
        "lr_decay_iters": iterations,
        "checkpoint_factor": factor,
        # with a pipeline GPT-NeoX's evaluation crashes
        "eval_iters": evaluations,
        "eval_interval": max(1, min(1000, iterations // 10)),
        "log_interval": 10 if iterations >= 1000 or place.kind == "gpu" else 1,
    }


def _header(
    plan: Plan,
    best: Layout,
    weights: Mapping[str, float],
    epochs: Mapping[str, float],
    source: str,
    remarks: Sequence[str],
    command: str,
) -> str:
    days = plan.days(best)
    digest = f" (sha256 {files.sha256_file(source)[:12]})" if Path(source).is_file() else ""
    share = ", ".join(f"{corpus} {weight:.4g} ({epochs[corpus]:.2g} epochs)" for corpus, weight in weights.items())
    lines = [
        f"{Path(plan.model).stem} on {plan.nodes} x {plan.cluster} ({plan.gpus} GPUs), {plan.tokens:.4g} tokens",
        f"mixture: {source}{digest}: {share}",
        f"plan: {best.name}, {best.memory_bytes / 1e9:.1f} GB of {plan.memory_bytes / 1e9:.1f} GB a GPU, "
        f"{planning.span(days)}",
        *(f"note: {remark}" for remark in remarks),
        f"written by haigo {haigo.__version__}: {command or 'launch.configs.write_config'}",
    ]
    return "\n".join(" ".join(line.split()) for line in lines)


def main(argv: Sequence[str] | None = None) -> int | None:
    parser = cli.parser("launch.configs", __doc__)
    planning.add_arguments(parser)
    parser.add_argument("--mixture", help="mixture.yml from mixer.search, or `corpus: weight` lines")
    parser.add_argument("--catalogue", required=True, help="corpora.yml: the tokenizer and the datasets")
    parser.add_argument("--output", required=True, help="the YAML to write")
    parser.add_argument(
        "--checkpoint-minutes",
        "--checkpoint_minutes",
        type=cli.amount,
        default=30.0,
        help="about how much work a crash may cost (default: 30)",
    )
    parser.add_argument("--save", help="folder for checkpoints (default: checkpoints/NAME beside the output)")
    parser.add_argument("--seed", type=cli.seed, default=1234, help="GPT-NeoX's seed (default: 1234)")
    parser.add_argument(
        "--recipe", choices=config_recipes.RECIPES, default="pretrain", help="what kind of run (default: pretrain)"
    )
    parser.add_argument("--from", dest="start", metavar="FOLDER", help="checkpoint that other recipes start from")
    parser.add_argument("--lr", type=float, help="peak learning rate (default: the recipe's or the model's own)")
    for split in ("train", "valid", "test"):
        parser.add_argument(f"--{split}-pairs", metavar="PREFIX", help=f"finetune: {split} set of preprocess.pairs")
    parser.add_argument("--epochs", type=float, default=3.0, help="finetune: how often examples are read (default: 3)")
    parser.add_argument("--dry-run", "--dry_run", action="store_true", help="print the YAML instead of writing it")
    parser.add_argument("--json", action="store_true", help="print what was made as JSON")
    args = parser.parse_args(argv)
    words = list(argv) if argv is not None else []
    if not args.dry_run:
        for output in (args.output, deepspeed_path(args.output)):
            files.check_output(output, [args.mixture, args.catalogue, args.start, args.model, args.cluster])
    made = make_config(
        model=args.model,
        cluster=args.cluster,
        mixture=args.mixture,
        catalogue=args.catalogue,
        output=args.output,
        nodes=args.nodes,
        tokens=args.tokens,
        global_batch_tokens=args.global_batch_tokens,
        checkpoint_minutes=args.checkpoint_minutes,
        save=args.save,
        seed=args.seed,
        seq_length=args.seq_length,
        attention=args.attention,
        gpus_per_node=args.gpus_per_node,
        command=redact.command(["python", "-m", "launch.configs", *words]),
        recipe=args.recipe,
        start=args.start,
        lr=args.lr,
        pairs={split: getattr(args, f"{split}_pairs") for split in ("train", "valid", "test")},
        epochs=args.epochs,
    )
    written = [] if args.dry_run else _write(made, args.output)
    for warning in made.warnings:
        print(f"haigo: warning: {warning}", file=sys.stderr)
    if args.json:
        print(json.dumps(summary(made, args.output), ensure_ascii=False, indent=2))
    elif args.dry_run:
        print("".join(f"# {line}\n" for line in made.header.splitlines()) + yamlfile.dumps(made.config), end="")
    else:
        print(made.header)
        print(f"{args.output} written; start it with: python -m launch.deepy train.py {shlex.quote(args.output)}")
        for again in written[1:]:
            print(f"{again} goes on after a break")
    return None


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
