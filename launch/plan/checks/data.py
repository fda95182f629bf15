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
from launch.neox import checkpoints
from launch.plan import data as config_data
from launch.plan.checks import orders, rules, tokenizers
from launch.plan.checks.check import Check as Check
from launch.plan.checks.rules import number
from launch.plan.data import Dataset
from neox_configs import reader

MAX_EPOCHS = 4.0
"""Repeating a corpus more often than this is known to lose worth quickly (Muennighoff et al. 2023)."""


def checks(config: Mapping[str, Any], base: Path) -> list[Check]:
    """All checks of this page.

    Args:
        config: what `reader.load` gave.
        base: where relative paths start.
    """

    tokenizer, found = tokenizers.checks(config, base)
    found += rules.checks(config, "data")
    datasets: dict[str, list[tuple[Dataset, float]]] = {}
    for split, prefixes, weights in _splits(config):
        for prefix, weight in zip(prefixes, weights, strict=False):
            try:
                one = config_data.dataset(base / prefix)
                if tokenizer is not None:
                    belongs.require(one.prefix, tokenizer)
            except HaigoError as error:
                found.append(Check("data", "fail", error.problem, error.fix))
                continue
            datasets.setdefault(split, []).append((one, weight))
            found += orders.checks(one.prefix)
    if datasets and not any(check.name == "data" and check.status == "fail" for check in found):
        total = sum(one.tokens for entries in datasets.values() for one, _ in entries)
        found.append(Check("data", "ok", f"{sum(map(len, datasets.values()))} datasets, {total:,} tokens, all whole"))
    sets = {split: [one.prefix for one, _ in entries] for split, entries in datasets.items()}
    found += [Check("data", "warn", told, fix) for told, fix in overlap.found(sets)]
    found += _labels(config, base, tokenizer)
    found += _epochs(config, datasets.get("train", []))
    return found + _resume(config, base)


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
        pairs = [(path, weight) for path, weight in zip_longest(paths, weights[: len(paths)]) if isinstance(path, str)]
        yield split, [path for path, _ in pairs], [one if number(one) and one > 0 else 1.0 for _, one in pairs]


def _epochs(config: Mapping[str, Any], training: list[tuple[Dataset, float]]) -> list[Check]:
    steps, batch, length = config.get("train_iters"), config.get("train_batch_size"), config.get("seq_length")
    total = sum(weight for _, weight in training)
    if not (steps and batch and length and total):
        return []
    often = {str(one.prefix): weight / total * steps * batch * length / max(1, one.tokens) for one, weight in training}
    name, most = max(often.items(), key=lambda item: item[1])
    if most > MAX_EPOCHS:
        fix = "give the corpus less weight, or train on fewer tokens"
        return [Check("epochs", "warn", f"{name} is read {most:.1f} times.", fix)]
    return [Check("epochs", "ok", f"at most {most:.2f} ({Path(name).name})")]


def _resume(config: Mapping[str, Any], base: Path) -> list[Check]:
    own, folder = config.get("save"), config.get("load")
    if reader.value(config, "finetune") and own and checkpoints.latest(base / own):
        told = (
            f"{base / own} holds checkpoints of this run, and with finetune: true GPT-NeoX starts again from {folder}."
        )
        fix = (
            "start it with launch.deepy, which goes on by itself, or go on with the file NAME-resume.yml (finetune: "
            "false, load as save), or give another save folder"
        )
        return [Check("resume", "fail", told, fix)]
    begins = bool(reader.value(config, "finetune"))
    found = [*_folders(config, base), *_other_weights(config, base)]
    if found:
        return found
    tag, wanted = checkpoints.latest(base / folder) if folder else None, config.get("iteration")
    if wanted is not None and folder and not (base / folder / f"global_step{wanted}").is_dir():
        told = f"iteration {wanted} is to be loaded, and {base / folder} has no global_step{wanted}."
        return [Check("resume", "fail", told, "name a step that is there, or leave iteration out")]
    if begins and wanted is None and tag is None:
        told = f"finetune: true, and {base / folder if folder else 'load'} names no checkpoint"
        told += " (no file `latest`): GPT-NeoX would start" if folder else ": it starts"
        told += " from random weights."
        return [Check("resume", "fail", told, "name the save folder of the model to start from as load")]
    if not folder or not (base / folder).is_dir():
        return []
    place = base / folder
    steps = [f"global_step{step}" for step in checkpoints.steps(place)]
    latest = place / "latest"
    if tag is None and wanted is None:
        if not steps:
            return []
        told = f"{place} has {len(steps)} checkpoints but no file `latest`: GPT-NeoX would start from step 0"
        told += " and write over them."
        return [Check("resume", "fail", told, f"write the name of the one to go on from ({steps[-1]}) into {latest}")]
    if wanted is not None:
        tag = f"global_step{wanted}"
    if tag not in steps:
        return [Check("resume", "fail", f"{latest} names {tag}, which is not there.", "write a name that is")]
    torn = checkpoints.unreadable(place / tag)
    if torn is not None:
        # its own last checkpoint is chosen again by launch.deepy, which passes over a torn one
        own_one = bool(own) and wanted is None and (base / str(own)).resolve() == place.resolve() and not begins
        told = f"{place / tag} {torn}: GPT-NeoX ends when it loads that."
        fix = f"name another step as iteration, or see `python -m launch.checkpoints {place}`"
        return [Check("resume", "warn" if own_one else "fail", told, fix)]
    if begins:
        return [Check("resume", "ok", f"starts at step 0 with the weights of {place / tag}")]
    return [Check("resume", "ok", f"goes on from {tag}")]


def _folders(config: Mapping[str, Any], base: Path) -> Iterator[Check]:
    """Names that GPT-NeoX takes as they are, and a save folder that cannot be one."""
    for key in ("save", "load"):
        given = str(config.get(key) or "")
        if (given.startswith("~") or "$" in given) and not (base / given).is_dir():
            told = f"{key}: {given}: GPT-NeoX puts no value in place of ~ and $, and takes a folder of just that name."
            yield Check("resume", "fail", told, "write the whole path")
        elif given and (base / given).exists() and not (base / given).is_dir():
            yield Check("resume", "fail", f"{key}: {base / given} is a file, not a folder.", "name a folder")


def _other_weights(config: Mapping[str, Any], base: Path) -> Iterator[Check]:
    """Weights that the config seems to ask for, where GPT-NeoX says one line and trains random ones."""
    own, folder, wanted = config.get("save"), config.get("load"), config.get("iteration")
    if not folder and wanted is not None and not reader.value(config, "finetune"):
        told = f"iteration: {wanted} does nothing without load: GPT-NeoX starts at step 0 from random weights."
        yield Check("resume", "fail", told, "name the save folder to load from, or leave iteration out")
    same = bool(own and folder) and (base / str(own)).resolve() == (base / str(folder)).resolve()
    if folder and not same and wanted is None and not checkpoints.latest(base / folder) and not _steps(base / folder):
        told = f"load: {base / folder} holds no checkpoint: GPT-NeoX would start at step 0 from random weights."
        if not reader.value(config, "finetune"):  # told there with its own words
            # without save nothing is kept anyway, which is told too
            yield Check(
                "resume", "fail" if own else "warn", told, "name a save folder of GPT-NeoX as load, or leave it out"
            )
    if own and not same and not reader.value(config, "finetune") and checkpoints.latest(base / own):
        told = (
            f"{base / own} holds checkpoints already, and load is {folder or 'not given'}: GPT-NeoX would start again "
        )
        told += "and write over them (launch.deepy goes on with a run that it started)."
        yield Check("resume", "warn", told, f"write load: {own} to go on, or give another save folder")


def _steps(folder: Path) -> list[int]:
    return list(checkpoints.steps(folder)) if folder.is_dir() else []
