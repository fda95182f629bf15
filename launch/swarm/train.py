"""Trains what a table still lacks, several models at a time, and keeps metrics.csv up to date."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from haigo import files, naming
from haigo.cli import Failed, HaigoError
from launch.swarm import board as boards
from launch.swarm import budget, scores, table
from launch.swarm.state import Summary, Swarm, proxy_config
from launch.swarm.table import PathLike
from neox_configs import catalogue as catalogues

if TYPE_CHECKING:
    from launch.swarm.cluster import Cluster

EVAL_TOKENS = 16384


def run(
    ratios: PathLike | Mapping[str, Mapping[str, float]],
    catalogue: PathLike | catalogues.Catalogue,
    config: Sequence[PathLike] | PathLike | Mapping[str, Any],
    output_dir: PathLike,
    *,
    tokens: int | None = None,
    seconds: float | None = None,
    workers: int | None = None,
    pairs: Mapping[str, PathLike] | None = None,
    seed: int | None = None,
    eval_tokens: int | None = EVAL_TOKENS,
    precision_override: str | None = None,
    export: bool = False,
    checkpoints: bool = True,
    show: bool = True,
    shard: tuple[int, int] | None = None,
    replicates: int = 1,
    replicate_runs: Sequence[str] | None = None,
    seeds: str = "common",
    matching: Any = None,
    tasks: scores.Tasks | None = None,
    cluster: Cluster | None = None,
) -> Summary:
    """Train every row of a table that is not there yet.

    Args:
        ratios: ratios.csv, or run -> corpus -> weight.
        catalogue: corpora.yml, or what `neox_configs.catalogue.read` gave.
        config: base config: files, or normalised keys; without data.
        output_dir: gets runs/RUN/result.json, metrics.csv, swarm.json and, with replicates, noise.json.
        tokens, seconds: budget of one proxy; the config's train_iters when both are None.
        workers: processes; see `launch.swarm.workers` when None (of jobs: one a GPU, on Slurm all).
        pairs: name -> jsonl of context and target.
        seed: of weights and data order; the config's when None.
        eval_tokens: tokens to predict for each corpus at the end; all when None.
        export: keep each proxy's model.
        checkpoints: keep a checkpoint of each while it trains, so that a killed swarm loses seconds.
        show: progress on stderr.
        shard: (part, parts): train only this part of the table; see `launch.swarm.table.shard_of`.
        replicates, replicate_runs, seeds: see `launch.swarm.table.units`.
        matching: a `launch.swarm.epochs.Matching`: cut every corpus so that it is repeated as in the target run.
        tasks: score each finished proxy (its model is then kept).
        cluster: train with GPT-NeoX, each model as a job of its own (`workers` at a time); the embedded engine when None.

    Returns:
        A Summary, also when some proxies failed.

    Raises:
        HaigoError: a table, catalogue, config or dataset that makes no sense, found before anything is trained.
        Failed: every proxy failed.
    """
    from launch.local import vocabulary

    known = catalogue if isinstance(catalogue, catalogues.Catalogue) else catalogues.read(catalogue)
    rows = (
        {str(name): dict(row) for name, row in ratios.items()}
        if isinstance(ratios, Mapping)
        else table.read_ratios(ratios, list(known.corpora))
    )
    base = dict(config) if isinstance(config, Mapping) else load(config)
    named = [key for key in (*budget.DATA_KEYS, "data_path") if base.get(key) is not None]
    if named:
        raise HaigoError(
            f"the base config gives {named[0]}, and the mixtures of the table decide the data.", f"remove {named[0]}"
        )
    valid = {corpus: str(splits["valid"]) for corpus, splits in known.corpora.items() if "valid" in splits}
    if not valid and not pairs:
        raise HaigoError("the catalogue has no validation set, so proxies cannot be compared.", "index a valid split")
    naming.check_all([*known.corpora, *(pairs or {})], "corpus or pairs file", "catalogue and pairs")
    first_seed = seed if seed is not None else _seed(base)
    units = table.units(rows, first_seed, seeds, replicates, replicate_runs)
    mine = table.in_shard(units, shard)
    folder = Path(output_dir)
    common: dict[str, Any] = {
        "tokenizer": str(known.tokenizer),
        "pairs": {name: str(path) for name, path in (pairs or {}).items()},
        "valid": valid,
        "eval_tokens": eval_tokens,
        "precision_override": precision_override,
    }
    if cluster is not None:
        if seconds is not None:
            raise HaigoError("--seconds measures the embedded engine.", "give --tokens with --engine neox")
        from launch.neox import checkout

        checkout.find()
        # checks and scores are the embedded engine's; what the training is computed in is GPT-NeoX's business
        common |= {"precision_override": "fp32", "device": "cpu"}
    key = scores.check(tasks) if tasks is not None else None
    with files.owner(folder):
        files.remove_leftovers(folder)
        words = vocabulary.load(known.tokenizer)
        if seconds is not None:
            first = proxy_config(base, units[0].weights, known, units[0].seed)
            tokens = budget.tokens_in(folder, seconds, first, common)
        swarm = Swarm(folder, units, {**common, "tokens": tokens, "export": export or tasks is not None}, checkpoints)
        swarm.tasks, swarm.tasks_key, swarm.cluster = tasks, key, cluster
        swarm.own()
        swarm.prepare(base, known, words, matching, first_seed)
        swarm.write_facts(known, first_seed, seeds)
        wanted = {unit.name for unit in mine}
        swarm.summary.left = [name for name in swarm.waiting if name not in wanted]
        waiting = {name: task for name, task in swarm.waiting.items() if name in wanted}
        swarm.write()
        if show:
            for remark in swarm.summary.remarks:
                boards.note(remark)
        if waiting:
            swarm.train(waiting, workers, show)
        swarm.finish()
    summary = swarm.summary
    if not summary.results and summary.failed:
        name, why = next(iter(summary.failed.items()))
        raise Failed(
            f"all {len(summary.failed)} proxies failed; {name}: {why.rstrip('.')}.",
            "mend that, and run the same command again",
        )
    return summary


def _seed(base: Mapping[str, Any]) -> int:
    from neox_configs.keys import KEYS

    return int(base["seed"] if base.get("seed") is not None else KEYS["seed"].default)


def load(config: Sequence[PathLike] | PathLike) -> dict[str, Any]:
    """The base config: YAML files or the name of a shipped size."""
    from neox_configs import reader, shipped

    return reader.load(shipped.files([config] if isinstance(config, str | os.PathLike) else config))
