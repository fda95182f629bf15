"""The options of small models: `launch.local`'s, and what `launch.proxies` and `launch.screen` share with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from haigo import naming
from haigo.cli import HaigoError
from haigo.options import Options, again, amount, count, few, option
from launch.engine.tracker import Tracker
from launch.engine.tracker import parse as parse_tracker

EVAL_TOKENS = 65536
CHECKPOINT_EVERY_S = 20.0
SEEDS = (1 << 32) - 1
"""The largest seed of GPT-NeoX's data order (numpy's RandomState)."""


@dataclass(frozen=True, kw_only=True)
class EvaluationOptions(Options):
    """What small models are scored on."""

    pairs: dict[str, str] = option("jsonl of context and target; gives the metric NAME_bpb", {}, metavar="NAME=FILE")
    eval_tokens: int | None = count("held-out tokens to predict of each corpus; 0: all", EVAL_TOKENS, least=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        naming.check_all(self.pairs, "pairs file", "--pairs")


@dataclass(frozen=True, kw_only=True)
class BudgetOptions(EvaluationOptions):
    """How long, from which seed and in which precision a small model is trained."""

    tokens: int | None = count("train on so many tokens instead of train_iters steps; the schedule is stretched", None)
    seconds: float | None = amount("train for about so long instead, evaluation included; measured once", None)
    seed: int | None = option("instead of the config's", None, least=0, most=SEEDS)
    precision_override: str | None = option(
        "fp32: train a half-precision config in fp32; on CUDA also bfloat16", None, flags=("--precision",)
    )
    track: Tracker | None = option(
        "show the curves there too: tensorboard:FOLDER, wandb:PROJECT or mlflow:EXPERIMENT",
        None,
        metavar="KIND:WHERE",
        parse=parse_tracker,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.tokens is not None and self.seconds is not None:
            raise HaigoError(
                "both a token budget and a time budget are given.",
                "keep one of --tokens and --seconds",
                option=("tokens", "seconds"),
            )


@dataclass(frozen=True, kw_only=True)
class TrainOptions(BudgetOptions):
    """What `launch.local.train.train` takes besides config and folder."""

    tokenizer: Any = option("tokenizer folder; the config's vocab_file when empty", None, metavar="FOLDER")
    eval_every: int | None = count("evaluate on the way too, every so many steps", None, metavar="STEPS")
    test_tokens: int | None = count("as --eval-tokens, of test sets; as many when empty", EVAL_TOKENS, least=0)
    valid: dict[str, Any] | None = option("corpus -> prefix; the config's valid_data_paths", None, hidden=True)
    test: dict[str, Any] = option("corpus -> prefix, scored once at the end", {}, hidden=True)
    export: bool = option("do not write DIR/model", True, flags=("--no-export",))
    init_from: Any = option("start from the weights of this Hugging Face folder", None, metavar="FOLDER")
    continue_from: Any = option(
        "of a decay (override_lr_scheduler): the run of this engine whose checkpoint it goes on from",
        None,
        metavar="DIR",
    )
    device: str = option("auto (CUDA where there is a device), cpu, cuda or cuda:N", "auto")
    threads: int = few("threads of matrix products; another number gives other bytes", 1)
    checkpoints: bool = option("keep one checkpoint while it trains", True, hidden=True)
    checkpoint_every_s: float = option("seconds between checkpoints", CHECKPOINT_EVERY_S, least=0, hidden=True)
    overwrite: bool = option("forget the run that DIR holds", False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.continue_from is not None:
            self.refuse_idle(
                "--continue-from, which has weights, seed and steps already", "init_from", "seed", "tokens", "seconds"
            )


@dataclass(frozen=True, kw_only=True)
class LocalOptions(TrainOptions):
    """What `launch.local` takes."""

    configs: list[str] = option("GPT-NeoX configs, as deepy.py takes them", positional=True, metavar="CONFIG.yml")
    output_dir: str = option("the run's own folder")
    test_tokens: int | None = again(TrainOptions, "test_tokens", default=None)
    score_test: bool = option("score the config's test_data_paths at the end too", False, flags=("--test",))
    json: bool = option("print result.json", False)
