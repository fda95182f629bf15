"""One flat GPT-NeoX YAML for a model, a cluster, a mixture and a number of tokens."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from haigo import files, flags, redact, yamlfile
from haigo.cli import HaigoError
from haigo.formats import mixture as mixtures
from haigo.formats.tokenizer import Tokenizer, load
from launch.plan import data, decay, finetune, header, megatron, preference, preflight, recipes
from launch.plan import schedule as schedules
from launch.plan.layouts import Layout
from launch.plan.memory import BUCKET_ELEMENTS
from launch.plan.options import ConfigOptions, File, PlanOptions
from launch.plan.planner import Plan, plan, vocab_step
from neox_configs import catalogue as catalogues
from neox_configs import derive, neox_args, reader, shipped
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
FUSED_LENGTH = 2048
"""The longest sample that GPT-NeoX's fused softmax takes."""


@dataclass(frozen=True)
class Written:
    """A finished config with what it was made from."""

    config: dict[str, Any]
    """The GPT-NeoX keys, in the order of the file."""
    gpus: int
    plan: Plan | None
    """None for a decay, which goes on in the layout that its checkpoint has."""
    layout: Layout | None
    epochs: dict[str, float]
    """How often each corpus is read over the whole run."""
    remarks: list[str]
    header: str
    recipe: str = "pretrain"
    format: str = "neox"
    examples_per_step: float | None = None
    """Of a finetuning run: examples, not samples; several may lie in one."""
    warnings: Sequence[str] = ()


def in_phases(options: ConfigOptions) -> bool:
    """Whether the mixture has phases."""
    source = options.mixture
    if source is None or isinstance(source, Mapping) or options.recipe == "finetune":
        return False
    return "phases" in mixtures.read(source)


def make_config(options: ConfigOptions, command: str = "") -> Written:
    """Work out a config without writing it.

    Args:
        command: the command line for the header; made from the options where it is not given.

    Raises:
        HaigoError: unusable input. Refused: nothing fits, or data and tokenizer do not belong together.
    """
    if options.format == "megatron":
        megatron.require(options)
    if options.recipe == "decay":
        return _decay(options, command)
    _require(options)
    assert options.model is not None and options.catalogue is not None
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
    if begun is not None:
        recipes.check_vocabulary(tokenizer.vocab_size, begun)
    of_sample = int(length or own.get("seq_length") or 2048)
    asked: dict[str, Any] = {"vocab_size": tokenizer.vocab_size, "seq_length": length}
    weights: dict[str, float] = {}
    taught, often, reference = _taught(options, tokenizer, of_sample, begun, asked)
    if taught is None:
        if options.mixture is None:
            raise HaigoError("no mixture is given.", "give --mixture mixture.yml", option="mixture")
        weights = data.in_order(data.read_weights(options.mixture), datasets, _source(options))
    planned = plan(options.shared(PlanOptions, **asked))
    able = megatron.able(planned) if options.format == "megatron" else planned
    best = preference.layout(able, begun, options.recipe)
    place = options.place
    read = (
        _corpora(weights, datasets, tokenizer, planned, best)
        if taught is None
        else _examples(options, taught, often, planned, best)
    )
    schedule = schedules.keys(own, planned, best, read.iterations, place, schedules.asked(options))
    config = {**_own_keys(own, planned, best, place), **schedule.keys, **read.keys, **_named(options, tokenizer, begun)}
    head = [read.about] if read.about else []
    if begun is not None:
        config |= recipes.keys(options, begun, own, planned.seq_length, read.iterations)
        config |= preference.keys(options, begun, config)
        head = [f"{options.recipe} from {begun.folder}, step {begun.step}", *head, *preference.said(reference)]
    elif options.lr is not None:
        params = {**(config["optimizer"].get("params") or {}), "lr": options.lr}
        config |= {"optimizer": {**config["optimizer"], "params": params}, "min_lr": options.lr / 10}
    if taught is not None and not best.pipe:
        # also where the model's file says 0: examples that are not packed cannot be read without an evaluation
        config |= {"eval_iters": config["eval_iters"] or 1, "eval_interval": max(1, read.iterations // 5)}
    _judge(config, path, planned.gpus)
    command = command or redact.command(["python", "-m", "launch.configs", *flags.argv(options)])
    told = header.schedule(config, schedule)
    if options.format == "megatron":
        told = megatron.of_schedule(told)
    told = [*header.reason(planned, best, None if begun is None else str(begun.folder)), *told]
    about = [*told, *(f"note: {remark}" for remark in [*head, *read.remarks])]
    shares = header.shares(_source(options), read.weights, read.epochs)
    return Written(
        config,
        planned.gpus,
        planned,
        best,
        read.epochs,
        read.remarks,
        header.text(planned, best, shares, about, command),
        options.recipe,
        options.format,
        read.examples_per_step,
        read.warnings,
    )


def _require(options: ConfigOptions) -> None:
    for need, example in (("model", "1-3B"), ("cluster", "a100-40gb"), ("catalogue", "corpora.yml")):
        if getattr(options, need) is None:
            raise HaigoError(f"no {need} is given.", f"give --{need} {example}, say", option=need)


@dataclass(frozen=True)
class _Read:
    """What a run reads, and how long that makes it."""

    keys: dict[str, Any]
    iterations: int
    weights: dict[str, float]
    epochs: dict[str, float]
    remarks: list[str]
    about: str = ""
    examples_per_step: float | None = None
    warnings: Sequence[str] = ()


def _corpora(
    weights: dict[str, float], datasets: catalogues.Catalogue, tokenizer: Tokenizer, planned: Plan, best: Layout
) -> _Read:
    keys, training, remarks = data.data_keys(weights, datasets, tokenizer, planned.seq_length)
    iterations = _iterations(planned, best)
    tokens = iterations * best.train_batch_size * planned.seq_length
    epochs = {name: weights[name] * tokens / max(1, one.tokens) for name, one in training.items()}
    return _Read(keys, iterations, weights, epochs, remarks)


def _examples(options: ConfigOptions, taught: finetune.Pairs, often: float, planned: Plan, best: Layout) -> _Read:
    batch = best.train_batch_size
    iterations = finetune.steps_of(often, taught.samples, batch)
    width = planned.seq_length * preference.sequences_of(options.recipe)
    few = finetune.few_steps(taught, often, batch, iterations, width)
    return _Read(
        taught.keys,
        iterations,
        {"pairs": 1.0},
        {"pairs": iterations * batch / taught.samples},
        [*taught.remarks, *few],
        finetune.counted(taught, often, batch, iterations),
        batch * taught.examples / taught.samples,
        few,
    )


def _taught(
    options: ConfigOptions, tokenizer: Tokenizer, length: int, begun: recipes.Base | None, asked: dict[str, Any]
) -> tuple[finetune.Pairs | None, float, float]:
    """Label datasets or preferences, how often they are read, and the bytes of a reference model; a mixture's run has none.

    Args:
        length: tokens a sample.
        asked: of the plan; batch, tokens and room for the reference go into it.
    """
    if options.recipe == "finetune":
        taught = finetune.pairs(options, tokenizer, length, begun is not None and begun.piped)
        often, reference = options.epochs or finetune.EPOCHS, 0.0
    elif options.recipe in preference.KINDS:
        taught, often = preference.pairs(options, tokenizer, length, begun), options.epochs or preference.EPOCHS
        reference = preference.room_of_reference(options, begun, tokenizer.vocab_size)
        asked["cluster"] = preference.less(options.place, reference)
    else:
        return None, 0.0, 0.0
    sample = length * preference.sequences_of(options.recipe)
    asked["global_batch_tokens"] = options.global_batch_tokens or finetune.rows_a_step(taught, often) * sample
    asked["tokens"] = max(1.0, often * taught.samples * sample)
    return taught, often, reference


def _decay(options: ConfigOptions, command: str) -> Written:
    config, start, lines = decay.config(options)
    gpus = decay.gpus(config)
    _judge(config, start.folder / f"global_step{start.step}", gpus)
    command = command or redact.command(["python", "-m", "launch.configs", *flags.argv(options)])
    head = header.lines([f"decay from {start.folder}, step {start.step}", *lines], command)
    return Written(config, gpus, None, None, {}, lines, head, "decay")


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
    schedule = schedules.keys(own, planned, best, _iterations(planned, best), place)
    config = {**_own_keys(own, planned, best, place), **schedule.keys}
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
    if options.recipe == "finetune" or options.recipe in preference.KINDS:
        return str(options.train_pairs)
    return "the mixture" if isinstance(options.mixture, Mapping) else str(options.mixture)


def _named(options: ConfigOptions, tokenizer: Tokenizer, begun: recipes.Base | None) -> dict[str, Any]:
    """Keys that name files: the tokenizer and the folder of the checkpoints."""
    folder = str(recipes.save_folder(options, begun))
    vocabulary = {"tokenizer_type": tokenizer.neox_type, "vocab_file": str(tokenizer.path.resolve())}
    named = vocabulary | {"data_impl": "mmap"}
    return {**named, "save": folder, "load": folder, "seed": options.seed, **recipes.watched(options)}


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
    GPT-NeoX will tell DeepSpeed, which it derives anew at every start. Or Megatron-LM's arguments alone."""
    if made.format == "megatron":
        megatron.write(made.config, made.header, output)
        return [Path(output)]
    derived = neox_args.deepspeed_config(neox_args.values(made.config, made.gpus))
    yamlfile.write(output, made.config, made.header)
    files.write_json(deepspeed_path(output), derived)
    if made.recipe == "pretrain":
        return [Path(output)]
    again = recipes.resume_path(output)
    yamlfile.write(again, recipes.resumed(made.config), f"goes on with {Path(output).name} after a break")
    if (scores := preference.scores_path(Path(output), made.config)) is not None:
        about = f"computes the reference's scores for {Path(output).name}: launch.deepy generate.py, before it"
        yamlfile.write(scores, {**made.config, "text_gen_type": "precompute"}, about)
    return [Path(output), again]


def text(made: Written) -> str:
    """What `write` would write, of the config alone.

    Raises:
        Refused: as `megatron.arguments`.
    """
    if made.format == "megatron":
        return megatron.text(megatron.arguments(made.config), made.header)
    return "".join(f"# {line}\n" for line in made.header.splitlines()) + yamlfile.dumps(made.config)


def deepspeed_path(output: File) -> Path:
    """Where the DeepSpeed JSON of a config stands."""
    path = Path(output)
    name = path.stem if path.suffix in (".yml", ".yaml", ".json") else path.name
    return path.with_name(f"{name}.deepspeed.json")


def summary(made: Written, output: File) -> dict[str, Any]:
    """A config in a few JSON values."""
    batch = derive.batch(made.config, made.gpus).train
    told = {
        "file": str(output),
        "recipe": made.recipe,
        "gpus": made.gpus,
        "train_iters": made.config["train_iters"],
        "train_batch_size": batch,
        "examples_per_step": made.examples_per_step,
        "epochs": made.epochs,
        "remarks": made.remarks,
        "config": made.config,
    }
    if made.plan is None or made.layout is None:
        return told
    return {
        "model": made.plan.model,
        "cluster": made.plan.cluster,
        "nodes": made.plan.nodes,
        "layout": made.layout.name,
        "memory_gb": made.layout.memory_bytes / 1e9,
        "tokens_per_s": list(made.layout.tokens_per_s),
        "days": list(made.plan.days(made.layout)),
        **told,
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
    # what it does not take goes through torch's softmax without a word
    fours = best.micro * own["num_attention_heads"] // best.tensor % 4 == 0 and plan.seq_length % 4 == 0
    if plan.attention == "global" and plan.seq_length <= FUSED_LENGTH and fours:
        keys["scaled_upper_triang_masked_softmax_fusion"] = True
    return keys
