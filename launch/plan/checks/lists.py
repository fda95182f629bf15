"""The checks of `launch.preflight` on which data a config names, and with what weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from launch.plan.checks.check import Check
from launch.plan.checks.schema import number
from neox_configs import reader

SPLITS = ("train", "valid", "test")
_MOST = 254
_WHOLES = (1, 100, 1000)


def checks(config: Mapping[str, Any]) -> Iterator[Check]:
    """All checks of this page; only those that say no, or beware.

    Args:
        config: what `reader.load` gave.
    """
    impl = reader.value(config, "data_impl")
    if impl != "mmap":
        told = f"data_impl is {impl}, with which GPT-NeoX loads no dataset at all."
        yield Check("data_impl", "fail", told, "write data_impl: mmap")
    if reader.value(config, "weight_by_num_documents"):
        told = "weight_by_num_documents replaces the given weights by a function of document counts."
        yield Check("weights", "fail", told, "leave it out")
    paired = any(config.get(f"pos_{split}_data_paths") for split in SPLITS)
    given = [split for split in SPLITS if config.get(f"{split}_data_paths") is not None]
    if config.get("data_path") is None and not config.get("train_data_paths") and not paired:
        yield Check("data", "fail", "no training data is named.", "give train/valid/test_data_paths")
    if given and len(given) < len(SPLITS):
        yield Check("data", "fail", f"only {' and '.join(given)}_data_paths are given.", "give train, valid and test")
    if given and config.get("data_path") is not None:
        yield Check("data", "fail", "data_path and train_data_paths are both given.", "keep train_data_paths")
    for split in SPLITS:
        paths = config.get(f"{split}_data_paths")
        yield from _paths(split, paths if paths is not None else [])
        weights = config.get(f"{split}_data_weights")
        yield from _weights(split, weights, paths if paths is not None else config.get(f"pos_{split}_data_paths"))
    if config.get("train_data_paths") and config.get("train_data_weights") is None:
        yield Check("weights", "warn", "no train_data_weights: every corpus counts the same.", "give the mixture's")
    yield from _seen(config)
    if config.get("data_path") is not None:
        yield from _split(reader.value(config, "split"))


def _seen(config: Mapping[str, Any]) -> Iterator[Check]:
    """Datasets that are trained on and measured with too."""
    training = {path for path in config.get("train_data_paths") or [] if isinstance(path, str)}
    for split in SPLITS[1:]:
        for path in config.get(f"{split}_data_paths") or []:
            if path in training:
                told = f"{split}_data_paths names {path}, which is trained on: its loss tells nothing of unseen text."
                yield Check("data", "warn", told, f"name a dataset of the {split} split")


def _paths(split: str, paths: list[Any]) -> Iterator[Check]:
    for path in paths:
        if not isinstance(path, str) or not path:
            told = f"{split}_data_paths: {path!r} is not the path of a dataset."
            yield Check("data", "fail", told, "write the prefixes of the datasets")
    for path in {path for path in paths if isinstance(path, str) and paths.count(path) > 1}:
        told = f"{split}_data_paths names {path} {paths.count(path)} times."
        yield Check("data", "warn", told, "name it once, with the sum of its weights")
    if len(paths) > _MOST:
        yield Check("data", "fail", f"{len(paths)} {split} datasets: GPT-NeoX blends at most {_MOST}.", "merge some")


def _weights(split: str, weights: list[Any] | None, paths: list[Any] | None) -> Iterator[Check]:
    if weights is None:
        return
    name = f"{split}_data_weights"
    if paths is None:
        yield Check("weights", "warn", f"{name} does nothing without {split}_data_paths.", "give both, or none")
        return
    if len(weights) != len(paths):
        told = f"{len(weights)} {split} weights for {len(paths)} paths."
        yield Check("weights", "fail", told, "give one for each")
    for index, weight in enumerate(weights):
        whose = f" ({paths[index]})" if index < len(paths) else ""
        if not number(weight):
            yield Check("weights", "fail", f"{name}: {weight!r}{whose} is no number.", "write numbers above 0")
        elif weight < 0:
            told = f"{name}: {weight}{whose} is negative: GPT-NeoX takes no sample of it and shifts the others."
            yield Check("weights", "fail", told, "write weights above 0")
        elif weight == 0:
            told = f"{name}: a weight is 0{whose}, and GPT-NeoX may take samples of that dataset all the same."
            yield Check("weights", "fail", told, "leave the dataset out, with its weight")


def _split(split: str) -> Iterator[Check]:
    words = split.split(",") if "," in split else split.split("/")
    form = 'write it like split: "969, 30, 1"'
    try:
        parts = [float(word) for word in words]
    except ValueError:
        yield Check("split", "fail", f"split: '{split}' is not a list of numbers.", form)
        return
    if len(parts) > len(SPLITS):
        told = f"split: '{split}' has {len(parts)} parts, and GPT-NeoX drops all after the third."
        yield Check("split", "fail", told, form)
    if not all(number(part) and part >= 0 for part in parts) or not parts[0] > 0:
        yield Check("split", "fail", f"split: '{split}' leaves nothing to train on, or is negative.", form)
    elif not any(abs(sum(parts) - whole) < whole * 1e-6 for whole in _WHOLES):
        told = f"split: '{split}' sums to {sum(parts):g}; GPT-NeoX divides by that."
        yield Check("split", "warn", told, "write parts that sum to 1, 100 or 1000")
