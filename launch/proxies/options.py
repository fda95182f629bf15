"""The options of `launch.proxies` and `launch.screen`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from eval_harness.options import ScoreOptions
from haigo.cli import HaigoError
from haigo.options import Options, again, amount, count, few, option, seed
from launch.engine.options import BudgetOptions, EvaluationOptions
from mixer.options import MOST_RUNS

EVAL_TOKENS = 16384
SEEDS = ("common", "per-proxy")
EXECUTORS = ("local", "slurm")
_WORD = re.compile(r"[\w.,:/@%+=()\[\]-]+")
_KEY = re.compile(r"[a-z][a-z_-]*")


def parse_shard(word: str) -> tuple[int, int]:
    """`2/4` -> (2, 4).

    Raises:
        HaigoError: anything else.
    """
    match = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", word.strip())
    part, parts = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= part <= parts:
        raise HaigoError(f"--shard {word} is not PART/PARTS with PART from 1.", "write e.g. --shard 2/4")
    return part, parts


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


@dataclass(frozen=True, kw_only=True)
class ClusterOptions(Options):
    """Where GPT-NeoX's runs are jobs, and what each may use."""

    executor: str = option("with --engine neox: where its jobs run", "local", among=EXECUTORS)
    partition: str | None = option("of Slurm", None)
    minutes: int = few("time limit of a job, which then goes on in another", 24 * 60)
    cpus: int = few("cores of a job", 4)
    gpus: int = option("GPUs of a job", 1, least=0, most=1)
    slurm: dict[str, str] = option("further options of sbatch: account=project", {}, metavar="KEY=VALUE")

    def __post_init__(self) -> None:
        super().__post_init__()
        for key, value in {"partition": self.partition or "x", **self.slurm}.items():
            # they become lines of a batch script
            if not _KEY.fullmatch(key) or not _WORD.fullmatch(value):
                raise HaigoError(
                    f"--slurm {key}={value} cannot be an option of sbatch.",
                    "write e.g. --slurm account=x",
                    option="slurm",
                )
        if self.executor == "local" and (self.partition or self.slurm):
            raise HaigoError(
                "--partition and --slurm are given without --executor slurm.", "add --executor slurm", option="executor"
            )


@dataclass(frozen=True, kw_only=True)
class TaskOptions(Options):
    """The tasks of eval_harness.run that every finished proxy is scored on; its model is then kept."""

    tasks: list[str] = again(
        ScoreOptions, "tasks", doc="the leaderboard's task ids with commas between them; jnli-1.1-* names all prompts"
    )
    data_dir: str | None = again(ScoreOptions, "data_dir")
    num_fewshot: list[int | None] = again(ScoreOptions, "num_fewshot")
    limit: list[int | float | None] = again(ScoreOptions, "limit")
    fewshot_pool: str = again(ScoreOptions, "fewshot_pool")
    data_version: str = again(ScoreOptions, "data_version", hidden=True)
    likelihoods: bool = option("four more columns a task: how likely its right answers are, a byte of them", False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.tasks and (self.data_dir or self.num_fewshot or self.limit or self.likelihoods):
            raise HaigoError(
                "--data-dir, --num-fewshot, --limit and --likelihoods belong to --tasks.", "add --tasks", option="tasks"
            )
        if self.tasks and self.data_dir is None:
            raise HaigoError(
                "--tasks is given without --data-dir.", "name the folder with the data sets' files", option="data_dir"
            )


@dataclass(frozen=True, kw_only=True)
class SwarmOptions(BudgetOptions):
    """How a table is trained."""

    eval_tokens: int | None = again(EvaluationOptions, "eval_tokens", default=EVAL_TOKENS)
    workers: int | None = few(
        "proxies at a time (default: the cores, or what memory holds; on GPUs as many as fit well)", None
    )
    stop_after: float = option(
        "stop every proxy after this part of its tokens, its schedule as for all", 1.0, metavar="PART", above=0, most=1
    )
    export: bool = option("keep every proxy's model", False)
    live: int | None = option(
        "show the swarm on http://127.0.0.1:PORT/ while it trains; 0 takes a free port",
        None,
        metavar="PORT",
        least=0,
        most=65535,
    )
    checkpoints: bool = option("keep a checkpoint of each while it trains", True, both=True)
    shard: tuple[int, int] | None = option(
        "train only this part of the table, e.g. 2/4: one on each machine",
        None,
        metavar="PART/PARTS",
        parse=parse_shard,
    )
    replicates: int = few("train every row with N seeds (RUN, RUN@2, ...)", 1, metavar="N")
    replicate_runs: list[str] | None = option("only these rows more than once", None, metavar="A,B", listed=_names)
    seeds: str = option("common: a replicate's seed is the same for all rows; or per-proxy", "common", among=SEEDS)


@dataclass(frozen=True, kw_only=True)
class RunOptions(SwarmOptions):
    """What `launch.proxies.run` takes besides table, catalogue, config and folder."""

    show: bool = option("progress on stderr", True, hidden=True)
    matching: Any = option(
        "a `launch.proxies.epochs.Matching`: repeat every corpus as the target run", None, hidden=True
    )
    trained: Any = option(
        "folder of another swarm, whose finished runs are copied where they are the same", None, hidden=True
    )
    tasks: TaskOptions | None = option("score each finished proxy", None, hidden=True)
    cluster: ClusterOptions | None = option("train with GPT-NeoX, each model as a job", None, hidden=True)


@dataclass(frozen=True, kw_only=True)
class TableOptions(Options):
    """What a table of mixtures is: of proxies, or of a screen."""

    ratios: str | None = option("ratios.csv: the mixtures, one a row", None)
    catalogue: str | None = option("corpora.yml: the tokenizer and each corpus' datasets", None)
    output_dir: str = option("gets metrics.csv, and runs/ or ratios.csv")


@dataclass(frozen=True, kw_only=True)
class ProxiesOptions(SwarmOptions, TaskOptions, ClusterOptions, TableOptions):
    """What `launch.proxies` takes."""

    config: list[str] = option(
        "base config, without data: YAML files, or a shipped size such as 0-3M", [], nargs="+", metavar="CONFIG"
    )
    merge: list[str] = option("train nothing: join the tables of these folders by run", [], nargs="+", metavar="DIR")
    match_epochs: float | None = amount(
        "cut every corpus so that a proxy repeats it as often as a run of so many tokens would",
        None,
        metavar="TARGET_TOKENS",
    )
    supply: str | None = option("supply.csv: tokens that the target run has (default: the catalogue's datasets')", None)
    engine: str = option("neox: each proxy is a GPT-NeoX run", "embedded", among=("embedded", "neox"))


@dataclass(frozen=True, kw_only=True)
class CountOptions(EvaluationOptions):
    """How n-grams are counted."""

    eval_tokens: int | None = again(EvaluationOptions, "eval_tokens", default=EVAL_TOKENS)
    order: int = option("longest n-gram", 2, least=1, most=3)
    sample: int = count("tokens of a corpus to count at most, in blocks drawn with the seed", 2_000_000)
    seed: int = seed()


@dataclass(frozen=True, kw_only=True)
class ScreenOptions(CountOptions):
    """What `launch.screen.screen` takes besides table, catalogue and folder."""

    tokens: int = count("training tokens of one proxy")
    mixtures: int = option("mixtures beside those of the table", 64, least=0, most=MOST_RUNS)


@dataclass(frozen=True, kw_only=True)
class ScreenVerbOptions(ScreenOptions, TableOptions):
    """What `launch.screen` takes."""

    ratios: str = option("ratios.csv")
    catalogue: str = option("corpora.yml")
