"""The checks of `launch.preflight` on keys that GPT-NeoX takes without a word and understands otherwise than they read.

All were met in runs of GPT-NeoX at commit ea7aefd or read in its source.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from haigo.cli import HaigoError
from launch.plan import data as config_data
from launch.plan import finetune
from launch.plan.checks.check import Check
from neox_configs import reader

_OVERFLOW = "pack_until_overflow"


def checks(config: Mapping[str, Any], base: Path) -> list[Check]:
    """All checks of this page; only those that say no, or beware.

    Args:
        config: what `reader.load` gave.
        base: where relative paths start.
    """
    found = [*_weights(config), *_epochs(config), *_labels(config, base), *_packing(config), *_clipping(config)]
    return [*found, *_few_steps(config, base)]


def accumulation(config: Mapping[str, Any]) -> list[Check]:
    """`train_batch_size` and a micro batch without their quotient: GPT-NeoX does not work it out, it takes 1."""
    train, micro = config.get("train_batch_size"), config.get("train_micro_batch_size_per_gpu")
    # null is another thing than not given: with it GPT-NeoX does work it out
    if train is None or micro is None or "gradient_accumulation_steps" in config or train == micro:
        return []
    return [
        Check(
            "accumulation",
            "warn",
            f"gradient_accumulation_steps is not given and counts as 1: train_batch_size {train} with micro batch {micro} "
            f"starts on {train / micro:g} copies of the model only.",
            "give gradient_accumulation_steps, and leave train_batch_size out",
        )
    ]


def visible(config: Mapping[str, Any], count: int, source: str) -> list[Check]:
    """`num_gpus` does not enter GPT-NeoX's batch arithmetic where no hostfile is: it counts the GPUs that it sees.

    Args:
        config: what `reader.load` gave.
        count: GPUs that GPT-NeoX counts.
        source: where `hostfile.world_size` has that number from.
    """
    each = config.get("num_gpus")
    if not isinstance(each, int) or each < 1 or each == count or source not in ("the cards of this machine", "--gpus"):
        return []
    return [
        Check(
            "num_gpus",
            "fail" if source != "--gpus" else "warn",
            f"num_gpus is {each}, and without a hostfile GPT-NeoX reckons the batch for the {count} GPUs that it sees.",
            f"set CUDA_VISIBLE_DEVICES to {each} GPUs, or give a hostfile: localhost slots={each}",
        )
    ]


def _weights(config: Mapping[str, Any]) -> list[Check]:
    alpha = config.get("weighted_sampler_alpha")
    if alpha is None or reader.value(config, "weight_by_num_documents"):
        return []
    told = f"weighted_sampler_alpha {alpha} does nothing without weight_by_num_documents (which is a trap itself)."
    return [Check("weights", "warn", told, "leave it out, and give train_data_weights")]


def _epochs(config: Mapping[str, Any]) -> list[Check]:
    if config.get("train_epochs") is None:
        return []
    wrong = []
    if any(weight != 1.0 for weight in config.get("train_data_weights") or []):
        wrong.append("weights other than 1.0")
    if reader.value(config, "pack_impl") != "packed":
        wrong.append(f"pack_impl {config['pack_impl']}")
    return [
        Check("schedule", "fail", f"GPT-NeoX refuses train_epochs with {what}.", "give train_iters") for what in wrong
    ]


def _labels(config: Mapping[str, Any], base: Path) -> list[Check]:
    given = {split: config.get(f"{split}_label_data_paths") or [] for split in ("train", "valid", "test")}
    if not any(given.values()):
        return []
    if config.get("train_data_paths") is None:
        told = "label paths without train_data_paths: GPT-NeoX refuses them, or trains without them."
        return [Check("labels", "fail", told, "give train/valid/test_data_paths, in the same order")]
    found = []
    evaluates = reader.value(config, "eval_iters") > 0
    for split, labels in given.items():
        paths = config.get(f"{split}_data_paths") or []
        if len(labels) == len(paths):
            found += [
                one for pair in zip(paths, labels, strict=True) for one in _aligned(config, base, *map(str, pair))
            ]
        elif labels or split == "train":
            told = f"{len(labels)} {split} label datasets for {len(paths)} of text."
            found.append(Check("labels", "fail", told, "give one for each, in the same order"))
        elif evaluates:
            told = f"{split}_label_data_paths is missing: the loss of that set would count the prompts too."
            found.append(Check("labels", "fail", told, f"give {split}_label_data_paths, or eval_iters: 0"))
    return found


def _aligned(config: Mapping[str, Any], base: Path, text: str, label: str) -> list[Check]:
    try:
        one = config_data.dataset(base / text)
    except HaigoError:
        return []  # told by the checks of the data
    try:
        finetune.check_labels(one, base / label, config.get("seq_length"))
    except HaigoError as error:
        return [Check("labels", "fail", error.problem, error.fix)]
    return []


def _few_steps(config: Mapping[str, Any], base: Path) -> list[Check]:
    """A finetuning run of a handful of steps: samples are packed rows, and each may hold many examples."""
    steps, batch, length = (config.get(key) for key in ("train_iters", "train_batch_size", "seq_length"))
    paths = [path for path in config.get("train_data_paths") or [] if isinstance(path, str)]
    if not (steps and batch and length and config.get("train_label_data_paths") and steps < finetune.FEW_STEPS):
        return []
    examples, samples = 0, 0
    for path in paths:
        try:
            one = config_data.dataset(base / path)
        except HaigoError:
            return []  # told by the checks of the data
        if not (one.manifest or {}).get("packed"):
            return []
        examples += finetune.examples_of(one)
        samples += max(1, one.tokens // length)
    told = (
        f"{steps} steps, each of {batch} samples, which are about {batch * examples / max(1, samples):.3g} of the {examples:,} "
        "examples: hardly anything will be learnt."
    )
    return [Check("finetuning", "warn", told, "make the batch smaller, or read the examples more often")]


def _packing(config: Mapping[str, Any]) -> list[Check]:
    kind = reader.value(config, "pack_impl")
    if kind == "packed":
        return []
    labelled = bool(config.get("train_label_data_paths")) or bool(config.get("pos_train_label_data_paths"))
    better = "use pack_impl: packed, with rows from preprocess.pairs --pack"
    found = []
    if kind == "unpacked" and not labelled:
        found.append(
            Check("packing", "fail", "unpacked without label paths: GPT-NeoX reads labels all the same.", better)
        )
    if kind == _OVERFLOW and not labelled:
        told = "pack_until_overflow without label paths: padding and a stray token after every sample are trained on."
        found.append(Check("packing", "fail", told, f"give train_label_data_paths, or {better}"))
    if kind == _OVERFLOW and reader.value(config, "eval_iters") == 0 and config.get("valid_data_paths"):
        told = "pack_until_overflow with eval_iters 0: GPT-NeoX ends before training (a dataset of negative length)."
        found.append(Check("packing", "fail", told, f"give eval_iters of at least 1, or {better}"))
    if kind == _OVERFLOW and not found:
        told = "pack_until_overflow ends a run by a RecursionError when the seed puts a set's last sample first."
        found.append(Check("packing", "warn", told, better))
    return found


def _clipping(config: Mapping[str, Any]) -> list[Check]:
    extra = config.get("deepspeed_extra_args") or {}
    if reader.value(config, "gradient_clipping") != 1.0 or extra.get("gradient_clipping"):
        return []
    told = "gradient_clipping 1.0 clips nothing: GPT-NeoX hands on no defaults of its own, and DeepSpeed's default is none."
    return [Check("clipping", "warn", told, "write deepspeed_extra_args: {gradient_clipping: 1.0} too")]
