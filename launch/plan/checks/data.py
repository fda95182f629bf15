"""The checks of `launch.preflight` on data, tokenizer and checkpoints: what lies on the disk beside a config."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import zip_longest
from pathlib import Path
from typing import Any

from haigo.cli import HaigoError
from haigo.formats.dataset import belongs, overlap
from haigo.formats.dataset.belongs import Pieces
from haigo.formats.tokenizer import Tokenizer
from launch.neox import checkpoints, phase_order, saved_files
from launch.plan import data as config_data
from launch.plan.checks import orders, rules, tokenizers
from launch.plan.checks.check import Check as Check
from launch.plan.checks.rules import number
from launch.plan.data import Dataset

MAX_EPOCHS = 4.0
"""Repeating a corpus more often than this is known to lose worth quickly (Muennighoff et al. 2023)."""


def checks(config: Mapping[str, Any], base: Path) -> list[Check]:
    """All checks of this page.

    Args:
        config: what `reader.load` gave.
        base: where relative paths start.
    """

    tokenizer, answers = tokenizers.checks(config, base)
    answers += rules.checks(config, "data")
    datasets: dict[str, list[tuple[Dataset, float]]] = {}
    for split, prefixes, weights in _splits(config):
        for prefix, weight in zip(prefixes, weights, strict=False):
            try:
                one = config_data.dataset(base / prefix)
                if tokenizer is not None:
                    belongs.require(one.prefix, tokenizer)
            except HaigoError as error:
                answers.append(Check("data", "fail", error.problem, error.fix))
                continue
            datasets.setdefault(split, []).append((one, weight))
            answers += orders.checks(one.prefix)
    if datasets and not any(check.name == "data" and check.status == "fail" for check in answers):
        total = sum(one.tokens for entries in datasets.values() for one, _ in entries)
        answers.append(Check("data", "ok", f"{sum(map(len, datasets.values()))} datasets, {total:,} tokens, all whole"))
    sets = {split: [one.prefix for one, _ in entries] for split, entries in datasets.items()}
    answers += [Check("data", "warn", sentence, fix) for sentence, fix in overlap.found(sets)]
    answers += _labels(config, base, tokenizer)
    answers += _epochs(config, datasets.get("train", []))
    return [*answers, *_phase(config, base), *_resume(config, base)]


def _labels(config: Mapping[str, Any], base: Path, tokenizer: Tokenizer | Pieces | None) -> Iterator[Check]:
    """Label datasets of other origin: their ids, which the loss would look up, must be in the vocabulary too."""
    if tokenizer is None:
        return
    for split in rules.SPLITS:
        for prefix in config.get(f"{split}_label_data_paths") or []:
            try:
                one = config_data.dataset(base / str(prefix))
            except HaigoError:
                continue  # told with the datasets that they belong to
            try:
                belongs.require(one.prefix, tokenizer, labels=True)
            except HaigoError as error:
                yield Check("data", "fail", error.problem, error.fix)


def _splits(config: Mapping[str, Any]) -> Iterator[tuple[str, list[str], list[float]]]:
    """Split, paths and weights; what is no path or no weight is left out, and told by the rules."""
    if isinstance(config.get("data_path"), str):
        yield "train", [config["data_path"]], [1.0]
    for split in ("train", "valid", "test"):
        paths = config.get(f"{split}_data_paths") or []
        weights = config.get(f"{split}_data_weights") or []
        if not paths:  # chosen and rejected answers, of one weight
            paths = [each for side in ("pos", "neg") for each in config.get(f"{side}_{split}_data_paths") or []]
            weights = [*weights, *weights]
        pairs = [(path, weight) for path, weight in zip_longest(paths, weights[: len(paths)]) if isinstance(path, str)]
        yield split, [path for path, _ in pairs], [one if number(one) and one > 0 else 1.0 for _, one in pairs]


def _epochs(config: Mapping[str, Any], training: list[tuple[Dataset, float]]) -> list[Check]:
    steps, batch, length = config.get("train_iters"), config.get("train_batch_size"), config.get("seq_length")
    total = sum(weight for _, weight in training)
    if not (steps and batch and length and total):
        return []
    sides = 2 if config.get("pos_train_data_paths") else 1
    often = {}
    for one, weight in training:
        read = sides * weight / total * steps * batch
        if view := (one.manifest or {}).get("view"):  # of a phase: what the run has read of the corpus by its end
            read = view["begins_at"] + view["samples"][1] - view["samples"][0]
        # a sample that is not packed is a row, however short
        rows = one.sequences if config.get("pack_impl") == "unpacked" else one.tokens / length
        often[one.prefix] = read / (rows or 1)
    prefix = max(often, key=lambda one: often[one])
    return rules.checks(config, "epochs", prefix=prefix, times=often[prefix], most=MAX_EPOCHS)


def _phase(config: Mapping[str, Any], base: Path) -> Iterator[Check]:
    """Whether the run stands in the phase that these datasets are of."""
    try:
        phase = phase_order.phase_of(config, base)
    except HaigoError as error:
        yield Check("phase", "fail", error.problem, error.fix)
        return
    if phase is None:
        return
    begins, ends = phase["steps"]
    tag = checkpoints.latest(base / str(config["load"])) if config.get("load") else None
    step = checkpoints.step_of(tag) or 0 if tag else 0
    if begins <= step <= ends:
        yield Check("phase", "ok", f"steps {begins:,} to {ends:,}; the run is at step {step:,}")
        return
    sentence = f"the phase goes from step {begins:,} to {ends:,}, and the run is at step {step:,}"
    yield Check("phase", "warn", f"{sentence}: GPT-NeoX would read other samples.", "start the list of the phases")


def _resume(config: Mapping[str, Any], base: Path) -> list[Check]:
    """What GPT-NeoX would start from, and write over."""
    own, folder, wanted = (config.get(key) for key in ("save", "load", "iteration"))
    place = {key: base / str(config[key]) for key in ("save", "load") if config.get(key)}
    steps = [f"global_step{step}" for step in checkpoints.steps(place["load"])] if folder else []
    tag = checkpoints.latest(place["load"]) if folder else None
    named = f"global_step{wanted}" if wanted is not None else tag
    seen = {
        "place": place,
        "same": bool(own and folder) and place["save"].resolve() == place["load"].resolve(),
        "begun": bool(own) and checkpoints.latest(place["save"]) is not None,
        "steps": steps,
        "tag": tag,
        "named": named,
        "torn": saved_files.unreadable(place["load"] / named) if named in steps else None,
    }
    return rules.checks(config, "folders", **seen) or rules.first(config, "resume", **seen)
