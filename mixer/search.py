"""The mixture to train with, from a table of proxy runs, under the limits you have.

    python -m mixer.search --ratios ratios.csv --metrics metrics.csv --objective news_bpb --output mixture.yml
    python -m mixer.search --ratios ratios.csv --metrics metrics.csv --objective news_bpb=1.0,questions_bpb=0.5 \\
        --ceiling '*_bpb=+5%' --supply supply.csv --target-tokens 20e9 --held-out h --output mixture.yml
    python -m mixer.search ... --screen screen  (with what launch.screen counted: fewer proxies for the same answer)
    python -m mixer.search ... --compare        (what token share, UniMax, RegMix's recipe and others would say)

ratios.csv: run, one column a corpus. metrics.csv: run, one column a metric. RegMix's files work as they are.
supply.csv: corpus, and any of tokens, min, max, max_epochs, group. Exit code 3: the proxies do not support advice
(left-out runs are predicted no better than by their mean), or the ceilings cannot be met.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from haigo import __version__, cli, files, redact
from haigo.cli import HaigoError
from haigo.progress import Progress
from mixer import methods, mixture, report, reuse, scales, screened, together
from mixer.answer import Recommendation
from mixer.design import group_limits
from mixer.focus import KL
from mixer.objective import Objective, parse
from mixer.proxies import ProxyTable, find, read
from mixer.recommend import recommend
from mixer.supply import MAX_EPOCHS, Constraints, FullRepetition, SoftRepetition, constraints_from, read_supply

__all__ = ["Constraints", "Objective", "Recommendation", "recommend", "search"]


def search(
    ratios: str,
    metrics: str,
    objective: Objective,
    output: str | None = None,
    *,
    supply: str | None = None,
    target_tokens: float | None = None,
    max_epochs: float = MAX_EPOCHS,
    groups: dict[str, tuple[float, float]] | None = None,
    prior: str | None = None,
    kl: float | None = None,
    soft_repetition: bool = True,
    held_out: str | None = None,
    method: str = "auto",
    bootstrap: int = 100,
    seed: int = 0,
    force: bool = False,
    compare: bool = False,
    beyond_proxies: bool = False,
    target_size: str | None = None,
    target_runs: str | None = None,
    earlier: Sequence[tuple[str, str]] = (),
    splits: Mapping[str, Mapping[str, float]] | None = None,
    screen: str | None = None,
    command: str = "",
) -> Recommendation:
    """Read the tables, recommend, and write mixture.yml when `output` is given. Arguments as on the command line.

    Args:
        prior: a mixture.yml to stay near instead of token share.
        target_size: the scale to predict for, when metrics.csv has several (column `size`); the largest when None.
        target_runs: prefix of the names of the runs of the target's scale, instead of `target_size`.
        earlier: (ratios, metrics) of swarms with other corpora; see `mixer.reuse`.
        splits: a corpus of the earlier swarms -> what it became, with shares.
        screen: folder that launch.screen wrote for these ratios.
        command: kept in the provenance.
    """
    import numpy as np

    table = read(ratios, metrics, [*objective.weights, *objective.ceilings, *objective.direction], others=True)
    current = list(table.corpora)
    if earlier:
        swarms = [read(*pair, [*objective.weights, *objective.ceilings], others=True) for pair in earlier]
        table = reuse.joined(table, swarms, splits or {})
    retired = [name for name in table.corpora if name not in current]
    known = _supply_for(table, supply) if supply else None
    constraints = constraints_from(
        known,
        current,
        target_tokens,
        max_epochs,
        groups,
        supply or "the supply table",
        kl=kl,
        repetition=SoftRepetition() if soft_repetition else FullRepetition(),
    )
    constraints = _once(constraints, table)
    if prior:
        near = mixture.read(prior, current)["weights"]
        constraints = _with_prior(constraints, [near[name] for name in current])
    constraints = reuse.with_retired(constraints, retired)
    held: ProxyTable | None = None
    if held_out:
        table, held = table.split(held_out)
    weights, losses = table.weights, table.losses
    more: dict[str, Any] = {"repeats": table.repeats or None, "run_noise": table.noise}
    parts = None
    if target_runs or target_size or len(set(table.scales)) > 1:
        is_target = np.array([name.startswith(target_runs) for name in table.runs]) if target_runs else None
        if is_target is not None and (not is_target.any() or is_target.all()):
            which = "no run" if not is_target.any() else "every run"
            raise HaigoError(f"{which} of {metrics} starts with '{target_runs}'.", "check --target-runs")
        parts = scales.sort(weights, losses, table.scales, target_size, metrics, is_target)
        large = (weights[parts.target], losses[parts.target]) if len(parts.target) else None
        weights, losses = weights[parts.fit], parts.losses
        repeats = [table.repeats[int(i)] for i in parts.fit] if table.repeats else None
        more |= {"counts": parts.counts, "target": large, "repeats": repeats}
        table.notes.extend(parts.notes)
    if screen:
        if earlier:
            raise HaigoError("--screen knows nothing of the corpora of --earlier.", "leave one of them out")
        fitted = parts.fit if parts is not None else range(len(table.runs))
        runs = [table.runs[int(i)] for i in fitted]
        judges = held.weights if held else None
        more["screen"] = screened.read(screen, runs, weights, table.corpora, table.metrics, judges)
    apart = constraints
    joint = together.joined(weights, constraints, table.notes)
    judged = (held.weights, held.losses) if held else None
    if joint is not None:
        weights, constraints = joint.fold(weights), joint.constraints
        more["screen"] = joint.fold_screen(more.get("screen"))
        judged = judged and (joint.fold(judged[0]), judged[1])
        large = more.get("target")
        more["target"] = large and (joint.fold(large[0]), large[1])
    with Progress("searching", None, "steps", after=5.0) as progress:
        made = recommend(
            weights,
            losses,
            objective,
            constraints,
            seed,
            bootstrap,
            method,
            metrics=table.metrics,
            held_out=judged,
            held_out_names=held.runs if held else None,
            force=force,
            compare=compare,
            beyond_proxies=beyond_proxies,
            source=metrics,
            runs=[table.runs[int(i)] for i in parts.fit] if parts is not None else table.runs,
            progress=progress,
            **more,
        )
    if joint is not None:
        made = together.apart(made, joint, apart)
    made = reuse.without_retired(made, retired)
    made.notes[:0] = table.notes
    if output:
        inputs = {"ratios": ratios, "metrics": metrics, "supply": supply, "prior": prior}
        if screen:
            inputs["screen"] = str(Path(screen) / "metrics.csv")
        mixture.write(output, made.document(provenance(inputs, len(table.runs), command)))
    return made


def provenance(inputs: dict[str, str | None], runs: int, command: str) -> dict[str, Any]:
    """Digests of the inputs, versions and the command line."""
    import numpy
    import scipy

    given = {name: {"path": path, "sha256": files.sha256_file(path)} for name, path in inputs.items() if path}
    versions = {"haigo": __version__, "numpy": numpy.__version__, "scipy": scipy.__version__}
    return {"runs": runs, "inputs": given, "versions": versions, "command": command}


def _once(constraints: Constraints, table: ProxyTable) -> Constraints:
    """The constraints for proxies that repeat every corpus as the target run will: what repetition costs is in their
    losses, and must not be taken off a second time."""
    from dataclasses import replace

    matched, target = table.epochs_matched, constraints.target_tokens
    if matched is None:
        return constraints
    if target is not None and abs(matched / target - 1) > 0.01:
        table.notes.append(
            f"{table.source}: the proxies repeat their corpora as a run of {matched:.4g} tokens would, and the target run has "
            f"{target:.4g}: what they say of repetition holds for the former."
        )
    else:
        table.notes.append(
            f"{table.source}: the proxies repeat their corpora as the target run will, so repetition is not discounted again."
        )
    return replace(constraints, repetition=FullRepetition())


def _with_prior(constraints: Constraints, weights: list[float]) -> Constraints:
    from dataclasses import replace

    import numpy as np

    return replace(constraints, prior=np.array(weights))


def _supply_for(table: ProxyTable, path: str) -> dict[str, dict[str, Any]]:
    """The supply table under the proxy table's own (perhaps longer) corpus names."""
    made = {}
    for name, entry in read_supply(path).items():
        try:
            made[find(name, table.corpora, "corpus", path)] = entry
        except HaigoError:
            made[name] = entry  # told properly, with both names, when the constraints are built
    return made


def main(argv: Sequence[str] | None = None) -> int | None:
    parser = cli.parser("mixer.search", __doc__)
    add = parser.add_argument
    add("--ratios", required=True, help="ratios.csv: run, one column a corpus")
    add("--metrics", required=True, help="metrics.csv: run, one column a metric")
    add("--objective", required=True, action="append", metavar="METRIC[=WEIGHT],...", help="what to lower (or raise)")
    add(
        "--maximise", "--maximize", action="append", default=[], metavar="METRIC", help="this one is better when higher"
    )
    add("--minimise", "--minimize", action="append", default=[], metavar="METRIC", help="this one is better when lower")
    add(
        "--ceiling",
        action="append",
        default=[],
        metavar="METRIC=LIMIT",
        help="'wiki_bpb=+5%%' or '*_bpb=+5%%' or a number",
    )
    add(
        "--score",
        action="append",
        default=[],
        metavar="METRIC=ITEMS[:CHANCE]",
        help="a score of ITEMS items, better when higher, e.g. qa_acc=1119:0.2",
    )
    add("--no-standardise", "--no_standardise", action="store_true", help="sum the metrics in their own units")
    add("--supply", help="supply.csv: corpus, tokens, min, max, max_epochs, group")
    add("--target-tokens", "--target_tokens", type=float, help="tokens of the target run: sets epochs and caps")
    add("--max-epochs", "--max_epochs", type=float, default=MAX_EPOCHS, help=f"repetition limit ({MAX_EPOCHS:g})")
    add(
        "--hard-repetition",
        "--hard_repetition",
        action="store_true",
        help="count repeated tokens in full up to the cap",
    )
    add("--group", action="append", default=[], metavar="NAME=LOW:HIGH", help="limits on a group of the supply table")
    add("--prior", help="a mixture.yml to stay near instead of token share")
    add("--kl", type=float, help=f"pull to the prior ({KL:g})")
    add("--held-out", "--held_out", metavar="PREFIX", help="runs whose name starts so only judge the fit")
    add("--method", default="auto", help=f"{', '.join(methods.ALL)}")
    add("--bootstrap", type=cli.count, default=100, help="draws behind the intervals (100)")
    add("--seed", type=cli.seed, default=0)
    add("--compare", action="store_true", help="also say what every other method would choose")
    add("--target-size", "--target_size", help="scale to predict for when metrics.csv has several sizes (the largest)")
    add("--target-runs", "--target_runs", metavar="PREFIX", help="runs of the target's scale by name, at least 3")
    add(
        "--earlier",
        nargs=2,
        action="append",
        default=[],
        metavar=("RATIOS", "METRICS"),
        help="an earlier swarm with other corpora; what it lacks had the weight 0",
    )
    add(
        "--split",
        action="append",
        default=[],
        metavar="OLD=A:SHARE,B:SHARE",
        help="a corpus of --earlier that is now several (or has another name: OLD=NEW)",
    )
    add("--screen", metavar="DIR", help="n-gram losses of launch.screen: they help where proxies are few")
    add("--beyond-proxies", "--beyond_proxies", action="store_true", help="allow weights below those of all proxies")
    add("--force", action="store_true", help="go on although the fit is no better than the mean of the proxies")
    add("--output", help="mixture.yml to write")
    add("--json", action="store_true", help="print the document as JSON")
    args = parser.parse_args(argv)
    words = [str(word) for word in (argv if argv is not None else sys.argv[1:])]
    if args.output:
        earlier = [path for pair in args.earlier for path in pair]
        files.check_output(args.output, [args.ratios, args.metrics, args.supply, args.prior, args.screen, *earlier])
    made = search(
        args.ratios,
        args.metrics,
        parse(args.objective, args.ceiling, args.maximise, args.minimise, not args.no_standardise, args.score),
        args.output,
        supply=args.supply,
        target_tokens=args.target_tokens,
        max_epochs=args.max_epochs,
        groups=group_limits(args.group),
        prior=args.prior,
        kl=args.kl,
        soft_repetition=not args.hard_repetition,
        held_out=args.held_out,
        method=args.method,
        bootstrap=args.bootstrap,
        seed=args.seed,
        force=args.force,
        compare=args.compare,
        beyond_proxies=args.beyond_proxies,
        target_size=args.target_size,
        target_runs=args.target_runs,
        earlier=[(pair[0], pair[1]) for pair in args.earlier],
        splits=reuse.parse(args.split),
        screen=args.screen,
        command=redact.command(["python", "-m", "mixer.search", *words]),
    )
    document = made.document()
    print(json.dumps(document, ensure_ascii=False, indent=2) if args.json else report.text(document))
    if args.output and not args.json:
        print(f"Written: {args.output}")
    return cli.OK


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
