"""Trains what a table still lacks, several models at a time, and keeps metrics.csv up to date."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from haigo import files, naming
from haigo.cli import Failed, HaigoError
from haigo.formats import tokenizer as tokenizers
from launch.engine.options import TrainOptions
from launch.neox import checkout
from launch.proxies import budget, scores, table
from launch.proxies.options import RunOptions
from launch.proxies.proxy import proxy_config
from launch.proxies.state import Summary, Swarm
from launch.proxies.table import PathLike
from neox_configs import catalogue as catalogues
from neox_configs import reader, shipped
from neox_configs.keys import KEYS


def run(
    ratios: PathLike | Mapping[str, Mapping[str, float]],
    catalogue: PathLike | catalogues.Catalogue,
    config: Sequence[PathLike] | PathLike | Mapping[str, Any],
    output_dir: PathLike,
    options: RunOptions | None = None,
    **given: Any,
) -> Summary:
    """Train every row of a table that is not there yet.

    Args:
        ratios: ratios.csv, or run -> corpus -> weight.
        catalogue: corpora.yml, or what `neox_configs.catalogue.read` gave.
        config: base config: files, or normalised keys; without data.
        output_dir: gets runs/RUN/result.json, metrics.csv, swarm.json and, with replicates, noise.json.
        options: how; or its fields one by one (`given`).

    Returns:
        A Summary, also when some proxies failed.

    Raises:
        HaigoError: a table, catalogue, config or dataset that makes no sense, found before anything is trained.
        Failed: every proxy failed.
    """

    options = (options or RunOptions()).replaced(**given)
    known = catalogue if isinstance(catalogue, catalogues.Catalogue) else catalogues.read(catalogue)
    if isinstance(ratios, Mapping):
        rows = {str(name): dict(row) for name, row in ratios.items()}
    else:
        rows = table.read_ratios(ratios, list(known.corpora))
    base = dict(config) if isinstance(config, Mapping) else load(config)
    seed = options.seed if options.seed is not None else _seed(base)
    units = table.units(rows, seed, options)
    mine = {unit.name for unit in table.in_shard(units, options.shard)}
    folder, train = Path(output_dir), _train_options(options, known, base)
    key = scores.check(options.tasks) if options.tasks is not None else ""
    with files.owner(folder):
        files.remove_leftovers(folder)
        tokenizer = tokenizers.load(known.tokenizer)
        if options.seconds is not None:
            first = proxy_config(base, units[0].weights, known, units[0].seed)
            train = train.replaced(tokens=budget.tokens_in(folder, options.seconds, first, train))
        if options.stop_after < 1:
            base, train = budget.stopped(base, train, options.stop_after)
        swarm = Swarm(folder, units, options, train, seed, key)
        swarm.own()
        swarm.prepare(base, known, tokenizer)
        summary = swarm.summary
        summary.left = [name for name in swarm.waiting if name not in mine]
        waiting = {name: proxy for name, proxy in swarm.waiting.items() if name in mine}
        swarm.write()
        summary.remarks += known.overlap()
        for remark in summary.remarks if options.show else ():
            print(f"haigo: {remark}", file=sys.stderr, flush=True)
        if waiting:
            swarm.train(waiting)
        swarm.finish()
    if not summary.results and summary.failed:
        name, why = next(iter(summary.failed.items()))
        raise Failed(
            f"all {len(summary.failed)} proxies failed; {name}: {why.rstrip('.')}.",
            "mend that, and run the same command again",
        )
    return summary


def _train_options(options: RunOptions, known: catalogues.Catalogue, base: Mapping[str, Any]) -> TrainOptions:
    """How each model is trained.

    Raises:
        HaigoError: the base config has data, nothing can be compared, or the budget is not for this engine.
    """
    named = [key for key in (*budget.DATA_KEYS, "data_path") if base.get(key) is not None]
    if named:
        raise HaigoError(
            f"the base config gives {named[0]}, and the mixtures of the table decide the data.", f"remove {named[0]}"
        )
    valid = {corpus: str(prefix) for corpus, prefix in known.measured("valid").items()}
    if not valid and not options.pairs:
        raise HaigoError("the catalogue has no validation set, so proxies cannot be compared.", "index a valid split")
    naming.check_all([*known.corpora, *known.whole, *options.pairs], "corpus or pairs file", "catalogue and pairs")
    more: dict[str, Any] = {}
    if options.cluster is not None:
        if options.seconds is not None:
            raise HaigoError(
                "--seconds measures the embedded engine.",
                "give --tokens with --engine neox",
                option=("seconds", "tokens", "engine"),
            )

        checkout.find()
        # checks and scores are the embedded engine's; what the training is computed in is GPT-NeoX's business
        more = {"precision_override": "fp32", "device": "cpu"}
    pairs = {name: str(path) for name, path in options.pairs.items()}
    own = {"tokenizer": str(known.tokenizer), "valid": valid, "pairs": pairs, "seed": None, "seconds": None}
    return options.shared(TrainOptions, **own, export=options.export or options.tasks is not None, **more)


def _seed(base: Mapping[str, Any]) -> int:

    return int(base["seed"] if base.get("seed") is not None else KEYS["seed"].default)


def load(config: Sequence[PathLike] | PathLike) -> dict[str, Any]:
    """The base config: YAML files or the name of a shipped size."""

    return reader.load(shipped.files([config] if isinstance(config, str | os.PathLike) else config))
