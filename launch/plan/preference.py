"""The recipes `dpo`, `kto` and `reward` of `launch.configs`: datasets of `preprocess.pairs --preference`, a layout with room
for the reference model, and the keys that keep GPT-NeoX right.

One sample is one row: a pair (dpo, reward), of which GPT-NeoX makes two sequences, or a judged answer (kto).
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from haigo.cli import HaigoError, Refused
from launch.plan import data as config_data
from launch.plan import recipes
from launch.plan.finetune import Pairs
from launch.plan.layouts import Layout
from launch.plan.options import ConfigOptions
from launch.plan.recipes import Base
from neox_configs import derive, reader
from neox_configs.hardware import Cluster

if TYPE_CHECKING:
    from haigo.formats.tokenizer import Tokenizer
    from launch.plan.planner import Plan

KINDS = {"dpo": "dpo", "kto": "kto", "reward": "rm"}
"""Recipe -> GPT-NeoX's `train_impl`, and the `--preference` that its datasets were made with."""
EPOCHS = 1.0
_LEAST_MICRO = {"dpo": 2, "kto": 2, "reward": 4}
"""Sequences of a micro batch: a pair is two; GPT-NeoX's reward model ends on a single pair, and its KTO on a single answer."""
SCRIPT = Path(__file__).parents[1] / "neox" / "preferences" / "train.py"
_NEEDED = {"dpo": "get_pos_neg_logp", "kto": "get_logp"}


def sequences_of(recipe: str) -> int:
    """Sequences that GPT-NeoX makes of a sample."""
    return 2 if recipe in ("dpo", "reward") else 1


def script(recipe: str) -> str:
    """What `launch.deepy` is to start."""
    return str(SCRIPT) if recipe in _NEEDED else "train.py"


def pairs(options: ConfigOptions, tokenizer: Tokenizer, seq_length: int, start: Base | None) -> Pairs:
    """The data keys of a run on preferences.

    Args:
        options: with the `--output-prefix` that preprocess.pairs had (train is needed; the others default to train's).
        tokenizer: whose ids the datasets must hold.
        seq_length: tokens a sample.
        start: the checkpoint.

    Raises:
        HaigoError: a dataset is missing. Refused: it is of another kind, tokenizer or length, its parts do not belong together,
            or the checkpoint is none that such a run can load.
    """
    from haigo.formats.dataset import belongs
    from preprocess import preferences

    kind, recipe = KINDS[options.recipe], options.recipe
    _startable(recipe, start)
    if options.train_pairs is None:
        fix = f"give --train-pairs, made with preprocess.pairs --preference {kind}"
        raise HaigoError(f"the recipe {recipe} needs preferences.", fix, option="train_pairs")
    keys: dict[str, Any] = {"data_impl": "mmap"}
    remarks: list[str] = []
    samples = tokens = 0
    for split in ("train", "valid", "test"):
        given = getattr(options, f"{split}_pairs")
        if given is None:
            given = options.train_pairs
            remarks.append(f"the {split} set is the training set: give --{split}-pairs to see more than memory.")
        paths = preferences.neox_keys(Path(given).resolve(), kind, split)
        for (path,) in paths.values():
            if not Path(f"{path}.idx").is_file():
                fix = f"give --{split}-pairs the prefix that preprocess.pairs --preference {kind} wrote"
                raise HaigoError(f"{path}.idx does not exist.", fix, option=f"{split}_pairs")
        named = [path for (path,) in paths.values()]
        check_set(named, kind, seq_length)
        texts = [config_data.dataset(path) for path in (named[:1] if kind == "kto" else named[::2])]
        for one in texts:
            belongs.require(one.prefix, tokenizer)
        if split == "train":
            samples, tokens = texts[0].sequences, sum(one.tokens for one in texts)
        keys |= paths | {f"{split}_data_weights": [1.0]}
    return Pairs(keys, samples, samples, tokens, False, remarks)


def _startable(recipe: str, start: Base | None) -> None:
    if start is None:
        return
    if start.piped:
        raise Refused(
            f"the checkpoint {start.folder} is a pipeline's, and GPT-NeoX trains on preferences without one.",
            "train it on with pipe_parallel_size 0, or convert its weights: GPT-NeoX cannot load the one as the other",
        )
    if recipe == "reward" and not reader.value(start.config, "no_weight_tying"):
        raise Refused(
            f"the checkpoint {start.folder} has its embedding for a head (no_weight_tying: false), and GPT-NeoX puts the "
            "reward's head only where the two are apart.",
            "take a model with no_weight_tying: true",
        )


def check_set(paths: list[Any], kind: str, seq_length: Any) -> None:
    """See that the datasets of one split belong together.

    Args:
        paths: prefixes, tokens before labels: chosen before rejected, or an answer's with its rewards.
        kind: `train_impl`.
        seq_length: tokens a sample.

    Raises:
        HaigoError: one is damaged.
        Refused: other numbers of rows, labels that are not their tokens', or made for another kind or length.
    """
    from haigo.formats.dataset import ids
    from haigo.formats.dataset.indexed import MMapReader

    again = f"make them together with preprocess.pairs --preference {kind}"
    counts = {str(path): len(MMapReader(path)) for path in paths}
    if len({*counts.values()}) > 1:
        named = ", ".join(f"{Path(path).name} {count:,}" for path, count in counts.items())
        raise Refused(f"the datasets of {Path(paths[0]).parent} have other numbers of rows: {named}.", again)
    for text, label in [paths[:2]] if kind == "kto" else [paths[:2], paths[2:]]:
        ids.require_labels(text, label)
        facts = config_data.dataset(text).manifest or {}
        if facts.get("preference") not in (None, kind):
            raise Refused(f"{text} was made for {facts['preference']}, and this is {kind}.", again)
        if kind == "kto" and facts.get("seq_length") not in (None, seq_length):
            raise Refused(
                f"{text} was made for samples of {facts['seq_length']} tokens, and the config has {seq_length}: its rewards "
                "are reckoned for that length.",
                "give the same seq_length, or make it again",
            )


def room_of_reference(options: ConfigOptions, start: Base | None, vocab_size: int) -> float:
    """Bytes on each GPU that GPT-NeoX takes for the reference model: its weights, and, of DeepSpeed's optimizer (which never
    steps), a copy in float32 with two moments of its first parameter, the embedding.

    Args:
        vocab_size: pieces of the tokenizer.
    """
    if start is None or options.recipe not in _NEEDED or options.reference is not None:
        return 0.0
    padded = derive.padded_vocab(start.config, vocab_size)
    _, parameters = derive.parameters(start.config, padded)
    each = 2 if options.place.kind == "gpu" else 4
    return float(each * parameters + 12 * padded * start.config["hidden_size"]) / start.tensor


def less(place: Cluster, need: float) -> Cluster:
    """A cluster whose GPUs have `need` bytes less."""
    return dataclasses.replace(place, memory_gb=max(1e-3, place.memory_gb - need / 1e9))


def layout(planned: Plan, start: Base | None, recipe: str) -> Layout:
    """The best layout that can load the checkpoint; for preferences without a pipeline, and its batches in samples.

    Raises:
        Refused: nothing fits.
    """
    if start is None or recipe not in KINDS:
        return recipes.layout(planned, start)
    _ = planned.best
    pair, least = sequences_of(recipe), _LEAST_MICRO[recipe]
    for one in planned.layouts:
        if one.tensor == start.tensor and one.pipe == 0 and one.micro >= least:
            micro, batch = one.micro // pair, one.train_batch_size // pair
            return dataclasses.replace(one, micro=micro, train_batch_size=batch)
    raise Refused(
        f"the checkpoint {start.folder} is split over {start.tensor} GPUs, and there is no such layout here without a pipeline "
        f"in which a GPU takes {least} sequences at once{'' if recipe == 'reward' else ' beside the reference model'}.",
        "take nodes with more memory, a shorter --seq-length, a larger --global-batch-tokens, or more pairs",
    )


def keys(options: ConfigOptions, start: Base, config: Mapping[str, Any]) -> dict[str, Any]:
    """What dpo and kto change besides what `recipes.keys` does: the strength of the pull back, and where the reference is.

    Args:
        config: as it stands so far.
    """
    changes: dict[str, Any] = {}
    if options.recipe not in _NEEDED:
        return changes
    if options.beta is not None:
        changes[f"{options.recipe}_beta"] = float(options.beta)
    if options.reference is not None:
        if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", options.reference):
            raise HaigoError(
                f"--reference {options.reference} is no name.",
                "letters, digits, '.', '-' and '_' only",
                option="reference",
            )
        return {**changes, "precompute_model_name": options.reference}
    extra = dict(config.get("deepspeed_extra_args") or {})
    # DeepSpeed reads no such key; our train.py does, when the run goes on after a break
    extra["reference_model"] = {"load": str(start.folder), "iteration": start.step}
    return {**changes, "deepspeed_extra_args": extra}


def scores_path(output: Path, config: Mapping[str, Any]) -> Path | None:
    """Where the config that computes the reference's scores stands, beside the one that trains; None where it needs none."""
    name = output.with_name(f"{output.stem}-scores{output.suffix or '.yml'}")
    return name if config.get("precompute_model_name") else None


def said(need: float) -> list[str]:
    """What the header says of the reference model."""
    if not need:
        return []
    return [
        f"the reference model takes {need / 1e9:.1f} GB of a GPU, and its pass a third more time than the plan says"
    ]


def lacking(config: Mapping[str, Any], root: Path) -> str | None:
    """The function that a GPT-NeoX checkout calls for this `train_impl` and does not have; None where it has it."""
    needed = _NEEDED.get(str(config.get("train_impl")))
    place = root / "megatron" / "training.py"
    if needed is None or not place.is_file():
        return None
    text = place.read_text(encoding="utf-8", errors="replace")
    if not re.search(rf"\b{needed}\(", text):
        return None  # another version, which calls something else
    brought = re.search(
        rf"(?:^|\n)\s*(?:def {needed}\b|from \S+ import (?:\([^)]*\b{needed}\b|[^(\n]*\b{needed}\b))", text
    )
    return None if brought else needed
