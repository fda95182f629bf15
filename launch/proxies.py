"""Trains a table of proxy mixtures with the embedded engine, several at a time, and writes what each one learnt.

    python -m launch.proxies --ratios ratios.csv --catalogue corpora.yml --config base.yml [more.yml] --output-dir DIR
           [--tokens N | --seconds S] [--workers N] [--pairs NAME=FILE]... [--seed N] [--eval-tokens N]

ratios.csv: `run`, then one column a corpus of the catalogue (rows sum to 1). Every row is one model of the base config
with these data weights; all start from the same weights. DIR/metrics.csv holds, in the order of ratios.csv, bits per
byte of every corpus' validation set and of every pairs file, and is rewritten after each proxy. Finished proxies are
never trained again unless their config, data or budget changed; a failing one is tried twice and does not stop the rest
(exit code 4 at the end). `--seconds` is for one proxy, measured once: all get the same tokens.
"""

from __future__ import annotations

import csv
import math
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from haigo import cli, files, pool
from haigo.cli import Failed, HaigoError, nearest
from haigo.progress import Progress
from launch import proxy_pool
from launch.local.__main__ import count, named
from neox_configs import catalogue as catalogues

PathLike = str | os.PathLike[str]
EVAL_TOKENS = 16384
_TRIES = 2
_DATA_KEYS = tuple(f"{part}_data_{what}" for part in ("train", "valid", "test") for what in ("paths", "weights"))


@dataclass
class Summary:
    """What became of a table."""

    metrics: Path
    """metrics.csv."""
    results: dict[str, dict[str, Any]] = field(default_factory=dict)
    """run -> its result.json, in the order of ratios.csv."""
    trained: list[str] = field(default_factory=list)
    """Runs trained now; the others were there already."""
    failed: dict[str, str] = field(default_factory=dict)
    """run -> why, for those that failed twice."""
    tokens: int = 0
    """Training tokens of one proxy."""


def read_ratios(path: PathLike, corpora: Sequence[str] | None = None) -> dict[str, dict[str, float]]:
    """Read ratios.csv: run -> corpus -> weight, in the order of the file.

    Args:
        corpora: the names allowed; any when None.

    Raises:
        HaigoError: not such a table; the line or the column is named.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as handle:
            rows = list(csv.reader(handle))
    except FileNotFoundError:
        raise HaigoError(f"{path} does not exist.", "write it with mixer.design") from None
    except UnicodeDecodeError:
        raise HaigoError(f"{path} is not UTF-8 text.", "save it as UTF-8 CSV") from None
    header = [name.strip() for name in rows[0]] if rows else []
    if len(header) < 2 or header[0] != "run":
        raise HaigoError(f"{path} does not begin with a column `run` and corpora.", "write it with mixer.design")
    names = header[1:]
    for name in names:
        if corpora is not None and name not in corpora:
            raise HaigoError(
                f"{path} names the corpus '{name}', which the catalogue does not have.{nearest(name, corpora)}",
                f"the catalogue has: {', '.join(corpora)}",
            )
        if names.count(name) > 1:
            raise HaigoError(f"{path} has the column '{name}' twice.", "keep one of them")
    table: dict[str, dict[str, float]] = {}
    for number, row in enumerate(rows[1:], start=2):
        if not any(cell.strip() for cell in row):
            continue
        run = row[0].strip()
        if not re.fullmatch(r"[\w.-]+", run) or run.startswith("."):
            raise HaigoError(f"{path} (line {number}): '{run}' cannot be a run's name.", "use letters, digits, - and _")
        if run in table:
            raise HaigoError(f"{path} (line {number}): the run '{run}' is there twice.", "rename one of them")
        try:
            weights = [float(cell) for cell in row[1:]]
        except ValueError:
            weights = []
        if len(weights) != len(names) or any(not (0 <= weight <= 1) for weight in weights):
            raise HaigoError(f"{path} (line {number}): not {len(names)} weights from 0 to 1.", "mend that line")
        if not math.isclose(sum(weights), 1.0, abs_tol=1e-3):
            raise HaigoError(f"{path} (line {number}): the weights sum to {sum(weights):.4f}, not to 1.", "mend it")
        table[run] = dict(zip(names, weights, strict=True))
    if not table:
        raise HaigoError(f"{path} has no runs.", "write it with mixer.design")
    return table


def proxy_config(
    base: Mapping[str, Any], weights: Mapping[str, float], catalogue: catalogues.Catalogue, seed: int | None = None
) -> dict[str, Any]:
    """The GPT-NeoX config of one proxy: the base with this mixture's training data. Corpora of weight 0 are left out
    (GPT-NeoX's greedy blending would draw a sample of one that stands first in the list)."""
    used = [corpus for corpus, weight in weights.items() if weight > 0]
    made = {
        **base,
        "train_data_paths": [str(catalogue.prefix(corpus, "train")) for corpus in used],
        "train_data_weights": [weights[corpus] for corpus in used],
    }
    made.setdefault("data_impl", "mmap")
    if seed is not None:
        made["seed"] = seed
    return made


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
    checkpoints: bool = False,
    show: bool = True,
) -> Summary:
    """Train every row of a table that is not there yet.

    Args:
        ratios: ratios.csv, or run -> corpus -> weight.
        catalogue: corpora.yml, or what `neox_configs.catalogue.read` gave.
        config: base config: files, or normalised keys; without data.
        output_dir: gets runs/RUN/result.json and metrics.csv.
        tokens, seconds: budget of one proxy; the config's train_iters when both are None.
        workers: processes; the cores at our disposal when None.
        pairs: name -> jsonl of context and target.
        seed: of weights and data order, the same for all; the config's when None.
        eval_tokens: tokens to predict for each corpus at the end; all when None.
        export, checkpoints: keep each proxy's model, or a checkpoint while it trains (small proxies need neither).
        show: progress on stderr.

    Returns:
        A Summary, also when some proxies failed.

    Raises:
        HaigoError: a table, catalogue, config or dataset that makes no sense, found before anything is trained.
        Failed: every proxy failed.
    """
    from launch.local import checkpoint, vocabulary
    from launch.local import job as jobs

    known = catalogue if isinstance(catalogue, catalogues.Catalogue) else catalogues.read(catalogue)
    table = (
        {str(name): dict(row) for name, row in ratios.items()}
        if isinstance(ratios, Mapping)
        else read_ratios(ratios, list(known.corpora))
    )
    base = dict(config) if isinstance(config, Mapping) else _load(config)
    named = [key for key in (*_DATA_KEYS, "data_path") if base.get(key) is not None]
    if named:
        raise HaigoError(
            f"the base config gives {named[0]}, and the mixtures of the table decide the data.", f"remove {named[0]}"
        )
    valid = {corpus: str(splits["valid"]) for corpus, splits in known.corpora.items() if "valid" in splits}
    if not valid and not pairs:
        raise HaigoError("the catalogue has no validation set, so proxies cannot be compared.", "index a valid split")
    folder = Path(output_dir)
    common: dict[str, Any] = {
        "tokenizer": str(known.tokenizer),
        "pairs": {name: str(path) for name, path in (pairs or {}).items()},
        "valid": valid,
        "eval_tokens": eval_tokens,
        "precision_override": precision_override,
    }
    configs = {name: proxy_config(base, row, known, seed) for name, row in table.items()}
    count = max(1, workers or pool.cores())
    with files.owner(folder):
        files.remove_leftovers(folder)
        words = vocabulary.load(known.tokenizer)
        if seconds is not None:
            tokens = _measured(folder, seconds, next(iter(configs.values())), common)
        common |= {"tokens": tokens, "export": export}
        waiting: dict[str, dict[str, Any]] = {}
        summary = Summary(folder / "metrics.csv")
        for name, made in configs.items():
            job = jobs.prepare(made, **{**common, "tokenizer": words})
            steps = tokens // job.plan.tokens_per_step if tokens is not None else job.plan.train_iters
            summary.tokens = steps * job.plan.tokens_per_step
            place = folder / "runs" / name
            identity = job.identity()
            found = _finished(place, identity)
            if found is not None:
                summary.results[name] = found
                continue
            waiting[name] = {
                "config": made,
                "output_dir": str(place),
                "overwrite": not (checkpoints and checkpoint.same(place, identity)),
                "checkpoints": checkpoints,
                "tokens_per_step": job.plan.tokens_per_step,
                **common,
            }
        _write_metrics(summary, list(table))
        if waiting:
            _train(summary, list(table), waiting, count, show)
    summary.results = {name: summary.results[name] for name in table if name in summary.results}
    if not summary.results:
        name, why = next(iter(summary.failed.items()))
        raise Failed(
            f"all {len(table)} proxies failed; {name}: {why.rstrip('.')}.", "mend that, and run the same command again"
        )
    return summary


def _train(summary: Summary, order: list[str], waiting: dict[str, dict[str, Any]], workers: int, show: bool) -> None:
    """Train what is waiting, trying each proxy twice."""
    total = len(order)
    state: dict[str, int] = {}
    with Progress("proxies", len(waiting) * summary.tokens, "tokens") as bar:
        bar.quiet = bar.quiet or not show
        say = partial(_say, bar)
        if summary.results:
            say(f"{len(summary.results)} of {total} proxies are there already")
        for event in proxy_pool.run(_one, waiting.items(), workers, _TRIES):
            if event is None:
                pass
            elif event.kind == "started":
                state[event.name] = 0
            elif event.kind == "tick":
                state[event.name] = event.value
            elif event.kind == "done":
                state[event.name] = summary.tokens
                summary.results[event.name] = event.value
                summary.trained.append(event.name)
                _write_metrics(summary, order)
                say(_line(event.name, event.value, len(summary.results), total))
            else:
                del state[event.name]
                again = event.kind == "again"
                say(f"{event.name} failed {'and is tried again' if again else 'again'}: {event.value}")
                if not again:
                    summary.failed[event.name] = event.value
            bar.done = float(sum(state.values()))
            running = sum(1 for name in state if name not in summary.results)
            bar.show(f"{len(summary.results)}/{total} done, {running} running{_best(summary.results)}")


def _one(task: Mapping[str, Any], tell: Callable[[Any], None]) -> dict[str, Any]:
    """Train one proxy (in a worker)."""
    from launch.local.train import train

    options = dict(task)
    config, place, tokens_per_step = (options.pop(key) for key in ("config", "output_dir", "tokens_per_step"))
    return train(config, place, lock=False, progress=lambda tick: tell(tick.step * tokens_per_step), **options)


def _measure(task: Mapping[str, Any], tell: Callable[[Any], None]) -> int:
    """Time a few steps (in a worker)."""
    from launch.local import job
    from launch.local.train import tokens_in

    return tokens_in(job.prepare(**task))


def _measured(folder: Path, seconds: float, config: Mapping[str, Any], common: Mapping[str, Any]) -> int:
    """Tokens that fit into `seconds`; measured once for a folder, so that all its proxies are trained alike."""
    if seconds <= 0:
        raise HaigoError(f"--seconds {seconds:g} is not more than 0.", "give a positive number")
    path = folder / "budget.json"
    key = files.digest([seconds, {name: value for name, value in config.items() if name not in _DATA_KEYS}])
    if path.is_file():
        known = files.read_json(path)
        if known.get("key") == key:
            return int(known["tokens"])
    task = {"seconds": seconds, "config": dict(config), **common}
    for event in proxy_pool.run(_measure, [("measure", task)], 1):
        if event is not None and event.kind == "done":
            files.write_json(path, {"key": key, "seconds": seconds, "tokens": event.value})
            return int(event.value)
        if event is not None and event.kind == "failed":
            raise Failed(f"the speed of a proxy could not be measured: {event.value}.", "give --tokens instead")
    raise Failed("the speed of a proxy could not be measured.", "give --tokens instead")


def _finished(place: Path, identity: Mapping[str, Any]) -> dict[str, Any] | None:
    """The result of a run that is finished and made from exactly this; None otherwise."""
    from launch.local import checkpoint

    if not (place / "result.json").is_file() or not checkpoint.same(place, identity):
        return None
    return dict(files.read_json(place / "result.json"))


def _write_metrics(summary: Summary, order: Sequence[str]) -> None:
    rows = [(name, summary.results[name]) for name in order if name in summary.results]
    metrics = list(dict.fromkeys(metric for _, result in rows for metric in result["metrics"]))
    with files.atomic(summary.metrics) as temporary:
        with open(temporary, "w", encoding="utf-8", newline="") as handle:
            writer = csv.writer(handle, lineterminator="\n")
            writer.writerow(["run", *metrics, "size", "tokens", "seed", "seconds"])
            for name, result in rows:
                values = [f"{result['metrics'][metric]:.6f}" for metric in metrics]
                writer.writerow([name, *values, result["size"], result["tokens"], result["seed"], result["seconds"]])


def _line(name: str, result: Mapping[str, Any], done: int, total: int) -> str:
    scores = " ".join(f"{metric.removesuffix('_bpb')} {value:.3f}" for metric, value in result["metrics"].items())
    return f"{done:4d}/{total} {name}  {scores}  ({result['seconds']:.0f} s)"


def _best(results: Mapping[str, Mapping[str, Any]]) -> str:
    means = {
        name: sum(result["metrics"].values()) / len(result["metrics"])
        for name, result in results.items()
        if result["metrics"]
    }
    if not means:
        return ""
    name = min(means, key=lambda run: means[run])
    return f", best mean so far {means[name]:.3f} ({name})"


def _say(bar: Progress, text: str) -> None:
    if not bar.quiet:
        sys.stderr.write(f"\r\x1b[K{text}\n" if bar.live else f"{text}\n")
        sys.stderr.flush()


def _load(config: Sequence[PathLike] | PathLike) -> dict[str, Any]:
    from neox_configs import reader, shipped

    return reader.load(shipped.files([config] if isinstance(config, str | os.PathLike) else config))


def main(argv: Sequence[str] | None = None) -> int:
    parser = cli.parser("launch.proxies", __doc__)
    parser.add_argument("--ratios", required=True, help="ratios.csv")
    parser.add_argument("--catalogue", required=True, help="corpora.yml")
    parser.add_argument(
        "--config",
        required=True,
        nargs="+",
        metavar="CONFIG",
        help="base config, without data: YAML files, or a shipped size such as 0-3M",
    )
    parser.add_argument("--output-dir", "--output_dir", required=True, help="gets runs/ and metrics.csv")
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument("--tokens", type=count, help="training tokens of one proxy")
    budget.add_argument("--seconds", type=float, help="seconds of one proxy, evaluation included")
    parser.add_argument("--workers", type=int, help="processes (default: the cores at our disposal)")
    parser.add_argument("--pairs", action="append", default=[], metavar="NAME=FILE", help="jsonl of context and target")
    parser.add_argument("--seed", type=int, help="instead of the config's")
    parser.add_argument(
        "--eval-tokens", "--eval_tokens", type=count, default=EVAL_TOKENS, help="a corpus (default 16384; 0: all)"
    )
    parser.add_argument("--precision", help="fp32: train a half-precision config in fp32")
    parser.add_argument("--export", action="store_true", help="keep every proxy's model")
    parser.add_argument("--checkpoints", action="store_true", help="keep a checkpoint of each while it trains")
    args = parser.parse_args(argv)

    if args.workers is not None and args.workers < 1:
        raise HaigoError(f"--workers {args.workers} is not at least 1.", "leave it out to use all cores")
    summary = run(
        args.ratios,
        args.catalogue,
        args.config,
        args.output_dir,
        tokens=args.tokens,
        seconds=args.seconds,
        workers=args.workers,
        pairs=named(args.pairs, "--pairs"),
        seed=args.seed,
        eval_tokens=args.eval_tokens or None,
        precision_override=args.precision,
        export=args.export,
        checkpoints=args.checkpoints,
    )
    print(f"{summary.metrics}: {len(summary.results)} proxies of {summary.tokens:,} tokens")
    if summary.failed:
        told = "; ".join(f"{name}: {why}" for name, why in list(summary.failed.items())[:3])
        raise Failed(
            f"{len(summary.failed)} proxies failed twice ({told}).",
            "mend what the sentence names and run the same command again: finished proxies are kept",
        )
    return cli.OK


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
