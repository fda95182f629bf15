"""The recipe `finetune` of `launch.configs`: label datasets, how many examples a step reads, how many steps that makes.

GPT-NeoX counts samples, that is rows of seq_length tokens, and `preprocess.pairs --pack` puts many examples into one: 64 rows a
step may be the whole set, and a few steps teach nothing. So the batch is chosen in examples.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from haigo.cli import HaigoError, Refused
from launch.plan import data as config_data
from launch.plan.options import ConfigOptions, File

if TYPE_CHECKING:
    from haigo.formats.tokenizer import Tokenizer

EXAMPLES = 64
"""Examples a step, unless they are too few for that."""
LEAST_EXAMPLES = 8
STEPS = 100
"""As many steps as this are made of a small set, as long as a step keeps LEAST_EXAMPLES."""
EPOCHS = 3.0
"""How often examples are read where nobody says."""
FEW_STEPS = 40
"""A run of fewer steps is warned of."""


@dataclass(frozen=True)
class Pairs:
    """Label datasets of a finetuning run."""

    keys: dict[str, Any]
    samples: int
    """Samples of one epoch: rows, each of several examples."""
    examples: int
    """Examples of one epoch."""
    tokens: int
    packed: bool
    remarks: list[str]


def examples_of(one: config_data.Dataset) -> int:
    """Examples in a dataset of `preprocess.pairs`; of one of other origin its sequences, the most that is known."""
    stated = (one.manifest or {}).get("examples")
    return stated if isinstance(stated, int) and stated > 0 else max(1, one.sequences)


def check_labels(one: config_data.Dataset, label: File, seq_length: Any) -> None:
    """See that labels belong to their tokens, and that packed rows are as long as the samples.

    Args:
        one: the dataset of tokens.
        label: prefix of its labels.
        seq_length: tokens a sample.

    Raises:
        HaigoError: the labels are missing or damaged.
        Refused: they are not those of these tokens, or the rows were packed for another length.
    """
    from haigo.formats.dataset import ids

    config_data.dataset(label)
    ids.require_labels(one.prefix, label)
    facts = one.manifest or {}
    if facts.get("packed") and facts.get("seq_length") != seq_length:
        raise Refused(
            f"{one.prefix} was packed for samples of {facts.get('seq_length')} tokens, and the config has {seq_length}.",
            "give the same seq_length, or pack again",
        )


def pairs(options: ConfigOptions, tokenizer: Tokenizer, seq_length: int, piped: bool) -> Pairs:
    """The data keys of a finetuning run.

    Args:
        options: with the `--output-prefix` that preprocess.pairs had (train is needed; the others default to train's).
        tokenizer: whose ids the datasets must hold.
        seq_length: tokens a sample.
        piped: the run has a pipeline, and cannot evaluate.

    Raises:
        HaigoError: a dataset is missing or too small. Refused: it is of another tokenizer or length, its labels do not belong
            to its tokens, or GPT-NeoX could not read it.
    """
    from haigo.formats.dataset import belongs
    from preprocess.index import dataset_prefix

    keys: dict[str, Any] = {"data_impl": "mmap"}
    remarks: list[str] = []
    packed, samples, tokens, examples = None, 0, 0, 0
    if options.train_pairs is None:
        fix = "give --train-pairs, made with preprocess.pairs"
        raise HaigoError("the recipe finetune needs examples.", fix, option="train_pairs")
    for split in ("train", "valid", "test"):
        given = getattr(options, f"{split}_pairs")
        if given is None:
            given = options.train_pairs
            remarks.append(f"the {split} set is the training set: give --{split}-pairs to see more than memory.")
        text, label = dataset_prefix(str(given)), dataset_prefix(str(given), "text_label")
        for place in (text, label):
            if not Path(f"{place}.idx").is_file():
                raise HaigoError(
                    f"{place}.idx does not exist.", f"give --{split}-pairs the prefix that preprocess.pairs wrote"
                )
        one = config_data.dataset(text)
        belongs.require(one.prefix, tokenizer)
        check_labels(one, label, seq_length)
        rows = bool((one.manifest or {}).get("packed"))
        if packed is not None and rows != packed:
            raise Refused(f"{text} is {'' if rows else 'not '}packed, unlike the training set.", "make both alike")
        packed = rows
        usable = (one.tokens - 1) // seq_length - 1 if rows else one.sequences
        if usable < 1:
            raise HaigoError(f"{text} has {one.tokens:,} tokens: too few for a sample.", "give more examples")
        if split == "train":
            samples, tokens = max(1, one.tokens // seq_length), one.tokens
            examples = examples_of(one)
        keys[f"{split}_data_paths"] = [str(Path(text).resolve())]
        keys[f"{split}_label_data_paths"] = [str(Path(label).resolve())]
        keys[f"{split}_data_weights"] = [1.0]
    if not packed and piped:
        raise Refused(
            "examples that are not packed need evaluation, and GPT-NeoX's evaluation crashes with a pipeline.",
            "pack them: preprocess.pairs --pack --seq-length N",
            option=("pack", "seq_length"),
        )
    if not packed:
        remarks.append(
            "not packed: GPT-NeoX pads every sample (pack_until_overflow); preprocess.pairs --pack is safer."
        )
    keys["pack_impl"] = "packed" if packed else "pack_until_overflow"
    return Pairs(keys, samples, examples, tokens, bool(packed), remarks)


def steps_of(epochs: float, samples: int, batch: int) -> int:
    """Steps for so many epochs."""
    return max(1, math.ceil(epochs * samples / batch))


def rows_a_step(taught: Pairs, epochs: float) -> int:
    """Samples of a step: so many that it reads about EXAMPLES examples, fewer where that would leave less than STEPS steps."""
    wanted = max(LEAST_EXAMPLES, min(EXAMPLES, taught.examples * epochs / STEPS))
    return max(1, min(taught.samples, round(wanted * taught.samples / taught.examples)))


def counted(taught: Pairs, epochs: float, batch: int, steps: int) -> str:
    """What a step and the run read, in one line."""
    each = taught.examples / taught.samples
    return (
        f"{taught.examples:,} examples in {taught.samples:,} samples of the config's length ({each:.3g} a sample); a step "
        f"reads {batch:,} samples, about {batch * each:.3g} examples; {epochs:g} epochs are {steps:,} steps"
    )


def few_steps(taught: Pairs, epochs: float, batch: int, steps: int, length: int) -> list[str]:
    """A warning with numbers where the run has too few steps to learn from; empty where it has enough."""
    if steps >= FEW_STEPS:
        return []
    smaller = max(1, math.floor(epochs * taught.samples / FEW_STEPS))
    ways = [f"--epochs {math.ceil(FEW_STEPS * batch / taught.samples)}", "more examples"]
    if smaller < batch:
        ways.insert(0, f"--global-batch-tokens {smaller * length} (on few enough GPUs)")
    return [f"only {steps} steps: hardly anything will be learnt. Give {', or '.join(ways)}."]
