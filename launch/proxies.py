"""Trains a table of proxy mixtures, several at a time, and writes what each one learnt.

    python -m launch.proxies --ratios ratios.csv --catalogue corpora.yml --config base.yml [more.yml] --output-dir DIR
           [--tokens N | --seconds S] [--workers N] [--pairs NAME=FILE]... [--seed N] [--eval-tokens N]
           [--shard 2/4] [--replicates N [--replicate-runs a,b]] [--match-epochs TARGET_TOKENS [--supply supply.csv]]
           [--tasks TASKS --data-dir DIR] [--engine neox [--executor slurm --partition NAME]]
    python -m launch.proxies --merge DIR DIR... --output-dir DIR

ratios.csv: `run`, then one column a corpus of the catalogue (rows sum to 1). Every row is one model of the base config
with these data weights; all start from the same weights. DIR/metrics.csv holds, in the order of ratios.csv, bits per
byte of every corpus' validation set and of every pairs file, and is rewritten after each proxy. Finished proxies are
never trained again unless their config, data or budget changed; a failing one is tried twice and does not stop the rest
(exit code 4 at the end); a killed swarm goes on from the checkpoints of those that were running. `--seconds` is for one
proxy, measured once: all get the same tokens. `--merge` joins the tables of several machines. See docs/guide-swarms.md.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from haigo import cli, files
from haigo.cli import Failed, HaigoError
from launch.local.__main__ import count, named, pairs_files
from launch.swarm import scores, table
from launch.swarm.state import Summary, proxy_config
from launch.swarm.table import read_ratios
from launch.swarm.train import EVAL_TOKENS, run

__all__ = ["Summary", "main", "proxy_config", "read_ratios", "run"]

_NEEDED = ("ratios", "catalogue", "config")


def arguments() -> argparse.ArgumentParser:
    """The options of this command."""
    parser = cli.parser("launch.proxies", __doc__)
    add = parser.add_argument
    add("--ratios", help="ratios.csv: the mixtures to train, one a row")
    add("--catalogue", help="corpora.yml: the tokenizer and each corpus' datasets")
    add(
        "--config",
        nargs="+",
        metavar="CONFIG",
        help="base config, without data: YAML files, or a shipped size such as 0-3M",
    )
    add("--output-dir", "--output_dir", required=True, help="gets runs/ and metrics.csv")
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument("--tokens", type=count, help="training tokens of one proxy")
    budget.add_argument("--seconds", type=float, help="seconds of one proxy, evaluation included")
    add("--workers", type=int, help="proxies at a time (default: the cores; on GPUs as many as fit well)")
    add("--pairs", action="append", default=[], metavar="NAME=FILE", help="jsonl of context and target")
    add("--seed", type=cli.seed, help="instead of the config's")
    add(
        "--eval-tokens",
        "--eval_tokens",
        type=count,
        default=EVAL_TOKENS,
        help="held-out tokens to score of each corpus (default 16384; 0: all)",
    )
    add("--precision", help="fp32: train a half-precision config in fp32")
    add("--export", action="store_true", help="keep every proxy's model")
    add(
        "--checkpoints",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="keep a checkpoint of each while it trains (default: yes)",
    )
    add("--shard", metavar="PART/PARTS", help="train only this part of the table, e.g. 2/4: one on each machine")
    add("--merge", nargs="+", metavar="DIR", help="train nothing: join the tables of these folders by run")
    add("--replicates", type=cli.count, default=1, metavar="N", help="train every row with N seeds (RUN, RUN@2, ...)")
    add("--replicate-runs", "--replicate_runs", metavar="A,B", help="only these rows more than once")
    add("--seeds", default="common", help="common (default: a replicate's seed is the same for all rows) or per-proxy")
    add(
        "--match-epochs",
        "--match_epochs",
        type=float,
        metavar="TARGET_TOKENS",
        help="cut every corpus so that a proxy repeats it as often as a run of so many tokens would",
    )
    add("--supply", help="supply.csv: tokens that the target run has (default: what the catalogue's datasets hold)")
    add("--tasks", help="score every finished proxy on these tasks of eval_harness.run (keeps its model)")
    add("--data-dir", "--data_dir", help="the folder with the tasks' files")
    add("--num-fewshot", "--num_fewshot", help="shots, one number or one a task; `own` is the task's own (default)")
    add("--limit", help="documents of a task, one number or one a task; `all` is the default")
    add("--engine", choices=("embedded", "neox"), default="embedded", help="neox: each proxy is a GPT-NeoX run")
    add("--executor", choices=("local", "slurm"), help="with --engine neox: where its jobs run (default: local)")
    add("--partition", help="of Slurm")
    add("--minutes", type=cli.count, help="time limit of a job, which then goes on in another (default: a day)")
    add("--cpus", type=cli.count, help="cores of a job (default 4)")
    add("--gpus", type=int, choices=(0, 1), help="GPUs of a job (default 1)")
    add("--slurm", action="append", default=[], metavar="KEY=VALUE", help="further options of sbatch: account=project")
    add("--fewshot-pool", "--fewshot_pool", default="train", help="train, or test where train can not be had")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    args = arguments().parse_args(argv)
    if args.merge:
        return _merge(args)
    for name in _NEEDED:
        if not getattr(args, name):
            raise HaigoError(f"--{name} is not given.", "see `python -m launch.proxies --help`")
    if args.workers is not None and args.workers < 1:
        raise HaigoError(f"--workers {args.workers} is not at least 1.", "leave it out, and the machine decides")
    if args.tasks is None and (args.data_dir or args.num_fewshot or args.limit):
        raise HaigoError("--data-dir, --num-fewshot and --limit belong to --tasks.", "add --tasks")
    pairs = pairs_files(args.pairs)
    read = [args.ratios, args.catalogue, args.supply, args.data_dir, *args.config, *pairs.values()]
    files.check_output(args.output_dir, read)
    summary = run(
        args.ratios,
        args.catalogue,
        args.config,
        args.output_dir,
        tokens=args.tokens,
        seconds=args.seconds,
        workers=args.workers,
        pairs=pairs,
        seed=args.seed,
        eval_tokens=args.eval_tokens or None,
        precision_override=args.precision,
        export=args.export,
        checkpoints=args.checkpoints,
        shard=None if args.shard is None else table.parse_shard(args.shard),
        replicates=args.replicates,
        replicate_runs=None if args.replicate_runs is None else _names(args.replicate_runs),
        seeds=args.seeds,
        matching=_matching(args),
        tasks=_tasks(args),
        cluster=_cluster(args),
    )
    print(f"{summary.metrics}: {len(summary.results)} proxies of {summary.tokens:,} tokens")
    if summary.left:
        print(f"{len(summary.left)} models of the table are left to other shards; join them with --merge")
    _print_noise(summary.noise)
    if summary.scores:
        print(f"for mixer.search: {scores.advice(summary.scores)}")
    if summary.failed:
        told = "; ".join(f"{name}: {why}" for name, why in list(summary.failed.items())[:3])
        raise Failed(
            f"{len(summary.failed)} proxies failed twice ({told}).",
            "mend what the sentence names and run the same command again: finished proxies are kept",
        )
    return cli.OK


def _merge(args: argparse.Namespace) -> int:
    from launch.swarm import metrics
    from launch.swarm.merge import merge

    other = [name for name in (*_NEEDED, "shard", "tokens", "seconds", "tasks", "match_epochs") if getattr(args, name)]
    if other:
        raise HaigoError(
            f"--merge trains nothing, and --{other[0].replace('_', '-')} is given.",
            "give --merge and --output-dir alone",
        )
    files.check_output(args.output_dir, args.merge, names=("metrics.csv", "ratios.csv", "swarm.json", "noise.json"))
    metrics.require_place(Path(args.output_dir), "merged")
    made = merge(args.merge, args.output_dir)
    print(f"{made.metrics}: {made.runs} proxies from {len(args.merge)} folders")
    if made.twice:
        print(f"kept once: {_few(made.twice)}, the same in several folders")
    if made.missing:
        print(f"in the tables and not trained yet: {_few(made.missing)}")
    _print_noise(made.noise)
    return cli.OK


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _print_noise(noise: Mapping[str, Any] | None) -> None:
    if noise is None:
        return
    same = "sd_common_seed" in noise
    deviations = noise["sd_common_seed" if same else "sd"]
    free = noise["degrees_of_freedom_common_seed" if same else "degrees_of_freedom"]
    seeds = "between mixtures of one seed" if same else "from seed to seed"
    print(f"noise of a run {seeds} ({free} degrees of freedom), beside the spread over mixtures:")
    for name, value in deviations.items():
        print(f"  {name} {value:.4g} / {noise['spread'][name]:.4g}")


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _matching(args: argparse.Namespace) -> Any:
    if args.match_epochs is None:
        if args.supply:
            raise HaigoError("--supply belongs to --match-epochs.", "add --match-epochs TARGET_TOKENS")
        return None
    from launch.swarm.epochs import Matching

    if not 0 < args.match_epochs < math.inf:
        raise HaigoError(f"--match-epochs {args.match_epochs:g} is no number of tokens.", "write e.g. 20e9")
    if not args.supply:
        return Matching(args.match_epochs)
    from mixer.supply import read_supply

    table = read_supply(args.supply)
    return Matching(args.match_epochs, {name: float(row.get("tokens", 0.0)) for name, row in table.items()})


def _cluster(args: argparse.Namespace) -> Any:
    given = {name: getattr(args, name) for name in ("executor", "partition", "minutes", "cpus", "gpus")}
    given = {name: value for name, value in given.items() if value is not None}
    if args.engine != "neox":
        if given or args.slurm:
            first = next(iter(given), "slurm")
            raise HaigoError(f"--{first} is given without --engine neox.", "add --engine neox")
        return None
    if args.seed == 0:
        raise HaigoError("--seed is 0, and GPT-NeoX refuses the seed 0.", "give 1 or more, or --engine embedded")
    from launch.swarm.cluster import Cluster

    return Cluster(**given, more=named(args.slurm, "--slurm"))


def _tasks(args: argparse.Namespace) -> scores.Tasks | None:
    if args.tasks is None:
        return None
    return scores.words(args.tasks, args.data_dir, args.num_fewshot, args.limit, args.fewshot_pool)


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
