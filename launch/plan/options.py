"""What `launch.plan` and `launch.configs` are asked for."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from haigo.cli import HaigoError
from haigo.options import REQUIRED, Options, again, amount, count, few, option, seed
from launch.plan.stacks import STACKS
from neox_configs import hardware
from neox_configs.hardware import Cluster

VOCAB_SIZE = 50_000
RECIPES = ("pretrain", "continued", "finetune", "long-context", "decay", "dpo", "kto", "reward")
SCHEDULES = ("cosine", "wsd")
FORMATS = ("neox", "megatron")
File = str | os.PathLike[str]


@dataclass(frozen=True, kw_only=True)
class Training(Options):
    """A model, the machines and the number of tokens: what both commands start from."""

    model: File | None = option("1-3B, 2-7B, 7B, 13B, each also as llama-7B, a proxy's name, or a GPT-NeoX YAML", None)
    cluster: File | Cluster | None = option(
        "a name from neox_configs/clusters (a100-40gb, h100-80gb, local-cpu ...), or a file", None
    )
    nodes: int = few("machines", 1)
    gpus_per_node: int | None = few("the cluster's own where it is not given", None)
    tokens: float = amount("training tokens", 20e9)
    seq_length: int | None = count("tokens a sample; the model's own where it is not given", None)
    global_batch_tokens: float | None = amount("tokens a step; the model's own where it is not given", None)
    attention: str | None = option(
        "where it is not given: the model's own, else flash if GPT_NEOX_PYTHON has flash-attn, else global",
        None,
        among=("global", "flash"),
    )
    layout: str | None = option(
        "one layout instead of the best: 'TP1 PP0 ZeRO1 micro 16 recompute'", None, metavar="WORDS"
    )

    @property
    def place(self) -> Cluster:
        """The cluster, read from its file where it is named.

        Raises:
            HaigoError: there is no such cluster, or none is given.
        """
        named = self.cluster
        if named is None:
            raise HaigoError("no cluster is given.", "give --cluster a100-40gb, say", option="cluster")
        return named if isinstance(named, Cluster) else hardware.cluster(named, self.gpus_per_node)


@dataclass(frozen=True, kw_only=True)
class PlanOptions(Training):
    """A plan."""

    model: File = again(Training, "model", default=REQUIRED)
    cluster: File | Cluster = again(Training, "cluster", default=REQUIRED)
    vocab_size: int = option("pieces of the tokenizer, before padding", VOCAB_SIZE, least=2, most=10**9)
    rows: int = few("layouts shown", 6)
    stack: str | None = option("the software, instead of --attention", None, among=sorted(STACKS))
    calibrate: list[File] = option("GPT-NeoX log or CSV of measured runs; repeatable", [], metavar="FILE")
    price: float | None = amount("of a GPU-hour: adds the cost", None)
    disk_gbps: float | None = amount("GB a second that checkpoints are written with, for the days (1)", None)
    json: bool = option("print the whole plan as JSON", False)


@dataclass(frozen=True, kw_only=True)
class ConfigOptions(Training):
    """A GPT-NeoX config."""

    mixture: File | Mapping[str, float] | None = option(
        "mixture.yml from mixer.search, or `corpus: weight` lines", None
    )
    catalogue: File | None = option("corpora.yml: the tokenizer and the datasets", None)
    output: File = option("the YAML to write; names the run")
    checkpoint_minutes: float = amount("about how much work a crash may cost", 30.0)
    disk_gbps: float | None = amount(
        "10^9 bytes a second that all GPUs write together: checkpoints then take at most 2 % of the time", None
    )
    checkpoint_log: File | None = option(
        "GPT-NeoX's log of a run of this model here, for the seconds that its checkpoints took, instead of --disk-gbps",
        None,
        metavar="FILE",
    )
    milestones: float = option(
        "checkpoints are kept for good at every so many percent of the run; 0: none", 10.0, least=0, most=100
    )
    save: File | None = option("folder for checkpoints (default: checkpoints/NAME beside it)", None)
    seed: int = seed("GPT-NeoX's seed", 1234, least=1)
    recipe: str = option("what kind of run", "pretrain", among=RECIPES)
    start: File | None = option("checkpoint that other recipes start from", None, flags=("--from",), metavar="FOLDER")
    schedule: str | None = option(
        "cosine, or wsd: a constant rate, to be followed by --recipe decay; the model's own, else cosine",
        None,
        among=SCHEDULES,
    )
    decay: float = option("wsd and decay: the decay's share of the whole run", 0.1, above=0, least=0, most=0.9)
    lr: float | None = option(
        "peak learning rate; the recipe's or the model's own where it is not given", None, above=0, most=1
    )
    train_pairs: File | None = option(
        "finetune, dpo, kto, reward: train set of preprocess.pairs", None, metavar="PREFIX"
    )
    valid_pairs: File | None = option("... its valid set", None, metavar="PREFIX")
    test_pairs: File | None = option("... its test set", None, metavar="PREFIX")
    epochs: float | None = amount("how often its examples are read (finetune: 3, preferences: 1)", None)
    reference: str | None = option(
        "dpo, kto: take the reference's scores of this name, which OUTPUT-scores.yml computes beforehand, not a second model",
        None,
        metavar="NAME",
    )
    beta: float | None = amount("dpo, kto: how strongly the model is held to the reference (0.1)", None)
    tensorboard_dir: File | None = option("where GPT-NeoX writes TensorBoard's files", None, metavar="FOLDER")
    wandb_project: str | None = option("log to this project of Weights & Biases", None)
    wandb_group: str | None = option("with --wandb-project: the group; the config's name", None)
    wandb_name: str | None = option("with --wandb-project: the run; the config's name", None)
    wandb_team: str | None = option("with --wandb-project: the team", None)
    format: str = option(
        "neox: a GPT-NeoX YAML; megatron: a bash file with Megatron-LM's arguments", "neox", among=FORMATS
    )
    dry_run: bool = option("print the YAML instead of writing it", False)
    json: bool = option("print what was made as JSON", False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.recipe in ("dpo", "kto", "reward"):
            self.refuse_idle(f"--recipe {self.recipe}", "mixture", "tokens")
        elif self.recipe not in ("finetune", "decay"):  # a decay says more of them itself
            self.refuse_idle(f"--recipe {self.recipe}", "train_pairs", "valid_pairs", "test_pairs", "epochs")
        if self.recipe != "decay" and self.schedule != "wsd":
            self.refuse_idle("no --schedule wsd and no --recipe decay", "decay")
        if self.recipe not in ("dpo", "kto"):
            self.refuse_idle(f"--recipe {self.recipe}", "reference", "beta")
