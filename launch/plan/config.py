"""One flat GPT-NeoX YAML for a model, a cluster, a mixture and a number of tokens."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import haigo
from haigo import files, flags, redact, yamlfile
from haigo.cli import HaigoError, Refused
from haigo.formats.tokenizer import Tokenizer, load
from launch.plan import data, finetune, preflight, recipes
from launch.plan.layouts import Layout
from launch.plan.memory import BUCKET_ELEMENTS
from launch.plan.options import ConfigOptions, File, PlanOptions
from launch.plan.planner import Plan, plan, vocab_step
from launch.plan.show import span
from neox_configs import catalogue as catalogues
from neox_configs import neox_args, reader, shipped
from neox_configs.hardware import Cluster

_OVERRULED = [
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
]


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


def make_config(options: ConfigOptions, command: str = "") -> Written:
    """Work out a config without writing it.

    Args:
        command: the command line for the header; made from the options where it is not given.

    Raises:
        HaigoError: unusable input. Refused: nothing fits, or data and tokenizer do not belong together.
    """
    begun = recipes.begin(options.recipe, options.start)
    path = shipped.find_model(options.model)
    own = reader.load(path)
    reader.check_keys(own, name=str(path))
    length = options.seq_length
    if begun is not None:
        recipes.check_model(own, begun)
        if length is None and options.recipe != "long-context":
            length = begun.config.get("seq_length")
    datasets = catalogues.read(options.catalogue)
    tokenizer = load(datasets.tokenizer)
    of_sample = int(length or own.get("seq_length") or 2048)
    asked: dict[str, Any] = {"vocab_size": tokenizer.vocab_size, "seq_length": length}
    weights: dict[str, float] = {}
    taught: finetune.Pairs | None = None
    if options.recipe == "finetune":
        taught = finetune.pairs(options, tokenizer, of_sample, begun is not None and begun.piped)
        rows = finetune.rows_a_step(taught, options.epochs) * of_sample
        asked["global_batch_tokens"] = options.global_batch_tokens or rows
        asked["tokens"] = max(1.0, options.epochs * taught.samples * of_sample)
    elif options.mixture is None:
        raise HaigoError("no mixture is given.", "give --mixture mixture.yml", option="mixture")
    else:
        weights = data.in_order(data.read_weights(options.mixture), datasets, _source(options))
    planned = plan(options.shared(PlanOptions, **asked))
    best = recipes.layout(planned, begun)
    place = options.place
    step_tokens = best.train_batch_size * planned.seq_length
    if taught is None:
        keys, training, remarks = data.data_keys(weights, datasets, tokenizer, planned.seq_length)
        iterations = _iterations(planned, best)
        epochs = {name: weights[name] * iterations * step_tokens / max(1, one.tokens) for name, one in training.items()}
        few, head = [], []
    else:
        iterations = finetune.steps_of(options.epochs, taught.samples, best.train_batch_size)
        few = finetune.few_steps(taught, options.epochs, best.train_batch_size, iterations, planned.seq_length)
        keys, remarks = taught.keys, [*taught.remarks, *few]
        weights, epochs = {"pairs": 1.0}, {"pairs": iterations * best.train_batch_size / taught.samples}
        head = [finetune.counted(taught, options.epochs, best.train_batch_size, iterations)]
    schedule = _schedule(own, planned, best, iterations, options.checkpoint_minutes, place)
    config = {**_own_keys(own, planned, best, place), **schedule, **keys, **_named(options, tokenizer, begun)}
    if begun is not None:
        config |= recipes.keys(options, begun, own, planned.seq_length, iterations)
        head.insert(0, f"{options.recipe} from {begun.folder}, step {begun.step}")
    elif options.lr is not None:
        params = {**(config["optimizer"].get("params") or {}), "lr": options.lr}
        config |= {"optimizer": {**config["optimizer"], "params": params}, "min_lr": options.lr / 10}
    if taught is not None and not best.pipe:
        # also where the model's file says 0: examples that are not packed cannot be read without an evaluation
        config |= {"eval_iters": config["eval_iters"] or 1, "eval_interval": max(1, iterations // 5)}
    _judge(config, path, planned.gpus)
    each = best.train_batch_size * taught.examples / taught.samples if taught is not None else None
    command = command or redact.command(["python", "-m", "launch.configs", *flags.argv(options)])
    header = _header(planned, best, _shares(options, weights, epochs), [*head, *remarks], command)
    return Written(config, planned, best, epochs, remarks, header, options.recipe, each, few)


def check_model(options: PlanOptions) -> dict[str, Any]:
    """See that a model's file makes a config, before there are data for one.

    Returns:
        That config; empty where nothing fits, however many nodes there are.

    Raises:
        HaigoError: as `plan`, or a key that GPT-NeoX does not know. Refused: a value that a check refuses.
    """
    path = shipped.find_model(options.model)
    own = reader.load(path)
    reader.check_keys(own, name=str(path))
    planned, place = plan(options), options.place
    best = planned.layouts[0] if planned.layouts else planned.smallest
    if best is None:
        return {}
    schedule = _schedule(own, planned, best, _iterations(planned, best), 30.0, place)
    config = {**_own_keys(own, planned, best, place), **schedule}
    _judge(config, path, best.data * best.tensor * max(1, best.pipe))
    return config


def _judge(config: dict[str, Any], path: Path, gpus: int) -> None:
    found = preflight.keys(config)
    if not any(check.status == "fail" for check in found):
        found = preflight.alone(config, gpus=gpus)
    preflight.Report(found, config).refuse(f"{path}, as a config")


def _iterations(planned: Plan, best: Layout) -> int:
    return max(1, math.ceil(planned.tokens / (best.train_batch_size * planned.seq_length)))


def _own_keys(own: Mapping[str, Any], planned: Plan, best: Layout, place: Cluster) -> dict[str, Any]:
    """The keys that model, cluster and layout give."""
    return {
        **reader.load(shipped.find("recipes", "pretrain")),
        **{key: value for key, value in own.items() if key not in _OVERRULED},
        **place.neox,
        **_layout_keys(own, planned, best, place),
    }


def _source(options: ConfigOptions) -> str:
    if options.recipe == "finetune":
        return str(options.train_pairs)
    return "the mixture" if isinstance(options.mixture, Mapping) else str(options.mixture)


def _named(options: ConfigOptions, tokenizer: Tokenizer, begun: recipes.Base | None) -> dict[str, Any]:
    """Keys that name files: the tokenizer and the folder of the checkpoints."""
    output = Path(options.output)
    folder = Path(options.save) if options.save is not None else output.resolve().parent / "checkpoints" / output.stem
    if begun is not None and folder.resolve() == begun.folder:
        sentence = f"the run would write its checkpoints into {begun.folder}, where it starts from."
        raise Refused(sentence, "give another --save", option="save")
    named = {"tokenizer_type": "SPMTokenizer", "vocab_file": str(tokenizer.path.resolve()), "data_impl": "mmap"}
    return {**named, "save": str(folder.resolve()), "load": str(folder.resolve()), "seed": options.seed}


def write_config(options: ConfigOptions, command: str = "") -> dict[str, Any]:
    """Make a config and write it.

    Returns:
        What `summary` gives: file, layout, memory, days, epochs and remarks, and the config itself.
    """
    written = make_config(options, command)
    write(written, options.output)
    return summary(written, options.output)


def write(made: Written, output: File) -> list[Path]:
    """The config, and beside it the one that goes on after a break when it starts from a checkpoint; for reading also what
    GPT-NeoX will tell DeepSpeed, which it derives anew at every start."""
    derived = neox_args.deepspeed_config(neox_args.values(made.config, made.plan.gpus))
    yamlfile.write(output, made.config, made.header)
    files.write_json(deepspeed_path(output), derived)
    if made.recipe == "pretrain":
        return [Path(output)]
    again = recipes.resume_path(output)
    yamlfile.write(again, recipes.resumed(made.config), f"goes on with {Path(output).name} after a break")
    return [Path(output), again]


def deepspeed_path(output: File) -> Path:
    """Where the DeepSpeed JSON of a config stands."""
    path = Path(output)
    name = path.stem if path.suffix in (".yml", ".yaml", ".json") else path.name
    return path.with_name(f"{name}.deepspeed.json")


def summary(made: Written, output: File) -> dict[str, Any]:
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
        "make_vocab_size_divisible_by": vocab_step(place, best.tensor),
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
    elif own.get("attention_config") is not None:
        # the model's own may be another than the one that was planned
        keys["attention_config"] = [[["global"], own["num_layers"]]]
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


def _shares(options: ConfigOptions, weights: Mapping[str, float], epochs: Mapping[str, float]) -> str:
    source = _source(options)
    digest = f" (sha256 {files.sha256_file(source)[:12]})" if Path(source).is_file() else ""
    share = ", ".join(f"{corpus} {weight:.4g} ({epochs[corpus]:.2g} epochs)" for corpus, weight in weights.items())
    return f"{source}{digest}: {share}"


def _header(made: Plan, best: Layout, shares: str, remarks: Sequence[str], command: str) -> str:
    lines = [
        f"{Path(made.model).stem} on {made.nodes} x {made.cluster} ({made.gpus} GPUs), {made.tokens:.4g} tokens",
        f"mixture: {shares}",
        f"plan: {best.name}, {best.memory_bytes / 1e9:.1f} GB of {made.memory_bytes / 1e9:.1f} GB a GPU, "
        f"{span(made.days(best))}",
        *(f"note: {remark}" for remark in remarks),
        f"written by haigo {haigo.__version__}: {command}",
    ]
    return "\n".join(" ".join(line.split()) for line in lines)
