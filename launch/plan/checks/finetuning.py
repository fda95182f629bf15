"""The checks of `launch.preflight` on a finetuning run: its label datasets, and whether it has steps to learn from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from haigo.cli import HaigoError
from launch.plan import data as config_data
from launch.plan import finetune
from launch.plan.checks import rules
from launch.plan.checks.check import Check


def checks(config: Mapping[str, Any], base: Path) -> list[Check]:
    """All checks of this page; only those that say no, or beware.

    Args:
        config: what `reader.load` gave.
        base: where relative paths start.
    """
    return [*_labels(config, base), *_few_steps(config, base)]


def _labels(config: Mapping[str, Any], base: Path) -> list[Check]:
    answers = rules.checks(config, "labels")
    for split in rules.SPLITS:
        paths, labels = (config.get(f"{split}{kind}_data_paths") or [] for kind in ("", "_label"))
        if len(labels) == len(paths):
            answers += [
                one for text, label in zip(paths, labels, strict=True) for one in _aligned(config, base, text, label)
            ]
    return answers


def _aligned(config: Mapping[str, Any], base: Path, text: Any, label: Any) -> list[Check]:
    try:
        one = config_data.dataset(base / str(text))
    except HaigoError:
        return []  # told by the checks of the data
    try:
        finetune.check_labels(one, base / str(label), config.get("seq_length"))
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
    sentence = (
        f"{steps} steps, each of {batch} samples, which are about {batch * examples / max(1, samples):.3g} of the {examples:,} "
        "examples: hardly anything will be learnt."
    )
    return [Check("finetuning", "warn", sentence, "make the batch smaller, or read the examples more often")]
