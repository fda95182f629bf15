"""Trains a table of proxy mixtures, several at a time, and writes what each one learnt.

    python -m launch.proxies --ratios ratios.csv --catalogue corpora.yml --config base.yml [more.yml] --output-dir DIR
           [--tokens N | --seconds S] [--stop-after 0.75] [--workers N] [--pairs NAME=FILE]... [--seed N] [--eval-tokens N]
           [--shard 2/4] [--replicates N [--replicate-runs a,b]] [--match-epochs TARGET_TOKENS [--supply supply.csv]]
           [--tasks TASKS --data-dir DIR] [--engine neox [--executor slurm --partition NAME]]
    python -m launch.proxies --merge DIR DIR... --output-dir DIR

ratios.csv: `run`, then one column a corpus of the catalogue (rows sum to 1). Every row is one model of the base config
with these data weights; all start from the same weights. DIR/metrics.csv holds, in the order of ratios.csv, bits per
byte of every corpus' validation set and of every pairs file, and is rewritten after each proxy. Finished proxies are
never trained again unless their config, data or budget changed; a failing one is tried twice and does not stop the rest
(exit code 4 at the end); a killed swarm goes on from the checkpoints of those that were running. `--seconds` is for one
proxy, measured once: all get the same tokens. `--stop-after` ends each early on its whole learning-rate schedule: the
order of mixtures is settled before the end. `--merge` joins the tables of several machines. See docs/guide-swarms.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from haigo import cli, files, flags
from haigo.cli import Failed, HaigoError
from launch.proxies import epochs, metrics, scores
from launch.proxies.merge import merge
from launch.proxies.options import ClusterOptions, ProxiesOptions, RunOptions, TaskOptions
from launch.proxies.train import run

_NEEDED = ("ratios", "catalogue", "config")


def main(argv: Sequence[str] | None = None) -> int:
    options = flags.parse("launch.proxies", __doc__, ProxiesOptions, argv)
    if options.merge:
        return _merge(options)
    for name in _NEEDED:
        if not getattr(options, name):
            raise HaigoError(f"--{name} is not given.", "see `python -m launch.proxies --help`", option=name)
    if options.supply and options.match_epochs is None:
        raise HaigoError("--supply belongs to --match-epochs.", "add --match-epochs TARGET_TOKENS", option="supply")
    read = [options.ratios, options.catalogue, options.supply, options.data_dir, *options.config]
    files.check_output(options.output_dir, [*read, *options.pairs.values()])
    asked = options.shared(
        RunOptions,
        matching=epochs.matching(options.match_epochs, options.supply),
        tasks=options.shared(TaskOptions) if options.tasks else None,
        cluster=_cluster(options),
    )
    summary = run(str(options.ratios), str(options.catalogue), options.config, options.output_dir, asked)
    print(f"{summary.metrics}: {len(summary.results)} proxies of {summary.tokens:,} tokens")
    if summary.left:
        print(f"{len(summary.left)} models of the table are left to other shards; join them with --merge")
    _print_noise(summary.noise)
    if summary.scores:
        print(f"for mixer.search: {scores.advice(summary.scores)}")
    if summary.failed:
        reasons = "; ".join(f"{name}: {why}" for name, why in list(summary.failed.items())[:3])
        raise Failed(
            f"{len(summary.failed)} proxies failed twice ({reasons}).",
            "mend what the sentence names and run the same command again: finished proxies are kept",
        )
    return cli.OK


def _cluster(options: ProxiesOptions) -> ClusterOptions | None:
    cluster = options.shared(ClusterOptions)
    if options.engine == "neox":
        if options.seed == 0:
            raise HaigoError("--seed is 0, and GPT-NeoX refuses the seed 0.", "give 1 or more, or --engine embedded")
        options.refuse_idle("--engine neox, whose config has tensorboard_dir and wandb_project", "track")
        return cluster
    for given in cluster.given(*vars(cluster)):
        raise HaigoError(f"--{given} is given without --engine neox.", "add --engine neox", option="engine")
    return None


def _merge(options: ProxiesOptions) -> int:
    other = [
        name for name in (*_NEEDED, "shard", "tokens", "seconds", "tasks", "match_epochs") if getattr(options, name)
    ]
    if other:
        raise HaigoError(
            f"--merge trains nothing, and --{other[0].replace('_', '-')} is given.",
            "give --merge and --output-dir alone",
        )
    files.check_output(
        options.output_dir, options.merge, names=("metrics.csv", "ratios.csv", "swarm.json", "noise.json")
    )
    metrics.require_place(Path(options.output_dir), "merged")
    merged = merge(options.merge, options.output_dir)
    print(f"{merged.metrics}: {merged.runs} proxies from {len(options.merge)} folders")
    if merged.twice:
        print(f"kept once: {_few(merged.twice)}, the same in several folders")
    if merged.missing:
        print(f"in the tables and not trained yet: {_few(merged.missing)}")
    _print_noise(merged.noise)
    return cli.OK


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _print_noise(noise: Mapping[str, Any] | None) -> None:
    if noise is None:
        return
    kind, seeds = (
        ("_common_seed", "between mixtures of one seed") if "sd_common_seed" in noise else ("", "from seed to seed")
    )
    free = noise[f"degrees_of_freedom{kind}"]
    print(f"noise of a run {seeds} ({free} degrees of freedom), beside the spread over mixtures:")
    for name, value in noise[f"sd{kind}"].items():
        print(f"  {name} {value:.4g} / {noise['spread'][name]:.4g}")
