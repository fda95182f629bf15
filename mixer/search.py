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
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from haigo import __version__, cli, files, flags, redact, yamlfile
from haigo.cli import HaigoError
from haigo.formats import tables
from haigo.progress import Progress
from mixer import figures, items, law_file, lifted, mixture, nested, phased, report, reuse, scales, screened, together
from mixer.answer import Recommendation
from mixer.arrays import Array
from mixer.evidence import Evidence
from mixer.objective import Objective, parse
from mixer.options import SearchOptions
from mixer.proxies import ProxyTable, find, read
from mixer.recommend import choose, recommend
from mixer.supply import Constraints, FullRepetition, SoftRepetition, constraints_from, read_supply

__all__ = ["Constraints", "Objective", "Recommendation", "SearchOptions", "recommend", "search"]


def search(options: SearchOptions, command: str = "") -> Recommendation:
    """Read the tables, recommend, and write mixture.yml when `options.output` is given.

    Args:
        command: kept in the provenance.

    Raises:
        HaigoError: as of `mixer.proxies.read` and `recommend`; Refused: as of `recommend`.
    """
    objective = parse(
        options.objective,
        options.ceilings,
        options.maximise,
        options.minimise,
        options.standardise,
        options.scores,
    )
    objective.check_ceilings(options.ceiling_probability)
    table, wholes = _read(options, options.ratios, options.metrics, objective.metrics())
    objective, said = items.known(objective, table.metrics, tables.noted_scores(options.metrics), options.metrics)
    table.notes.extend(said)
    current = list(table.corpora)
    known = _two_mixtures(options, table) if options.phases else None
    if options.earlier:
        swarms = []
        for number, pair in enumerate(options.earlier, start=1):
            swarm, parted = _read(options, *pair, [*objective.weights, *objective.ceilings])
            swarms.append(swarm)
            table.notes.extend(swarm.notes[-1:] if parted else [])
            wholes += [f"earlier{number}/{name}" for name in swarm.runs if parted]
        table = reuse.joined(table, swarms, reuse.parse(options.split))
    elif options.split:
        raise HaigoError(
            "--split is for --earlier, which is not given.", "leave it out, or name the earlier swarm", "split"
        )
    retired = [name for name in table.corpora if name not in current]
    constraints = reuse.with_retired(_constraints(options, table, current), retired)
    held: ProxyTable | None = None
    if options.held_out:
        table, held = table.split(options.held_out)
    evidence = replace(_evidence(options, table, held, wholes), passes=_passes(options, table, constraints))
    joint = together.joined(evidence.weights, constraints, table.notes)
    with Progress("searching", None, "steps", after=5.0) as progress:
        if joint is None:
            made = choose(evidence, objective, constraints, options, progress)
        else:
            made = choose(_folded(evidence, joint), objective, joint.constraints, options, progress)
            made = together.apart(made, joint, constraints)
    made = reuse.without_retired(made, retired)
    made.notes[:0] = table.notes
    if known is not None:
        made.notes.append(_second_mixture(options, known, table, objective, constraints, command))
    if options.output:
        inputs = {name: getattr(options, name) for name in ("ratios", "metrics", "supply", "prior")}
        if options.screen:
            inputs["screen"] = str(Path(options.screen) / "metrics.csv")
        document = made.document(provenance(inputs, len(table.runs), command))
        mixture.write(options.output, document)
        if made.law is not None:
            law_file.write(options.output, {"weights": document["weights"], **made.law})
    return made


def _two_mixtures(options: SearchOptions, table: ProxyTable) -> tables.Ratios:
    """The mixtures of both parts of every run, looked at before the search.

    Raises:
        HaigoError: the table has no second mixtures, the tokens of the run are not known, or an option does not go with it.
    """
    options.refuse_idle("--phases", "earlier", "split", "target_size", "target_runs")
    if options.target_tokens is None:
        raise HaigoError(
            "a phase is so many tokens, and those of the run are not given.", "give --target-tokens", option="phases"
        )
    known = tables.read_ratios(options.ratios)
    if known.corpora != list(table.corpora):
        raise HaigoError(
            "--phases takes a table whose corpora are not parts of others.", "leave --phases out", option="phases"
        )
    if known.second is None:
        raise phased.none_has_two()
    return known


def _second_mixture(
    options: SearchOptions,
    known: tables.Ratios,
    table: ProxyTable,
    objective: Objective,
    constraints: Constraints,
    command: str,
) -> str:
    """Write the mixture with a second phase where the runs support one; what they say of it."""
    assert options.target_tokens is not None
    if known.first is not None and known.second is not None:
        rows = [known.runs.index(name) for name in table.runs]
        known = replace(known, first=known.first[rows], second=known.second[rows])
    asked = objective.resolve(table.metrics, options.metrics)
    signs = asked.signs(table.metrics)
    coefficients = asked.coefficients(table.metrics, table.losses.std(axis=0))
    found = phased.offer(
        known, table.losses * signs, coefficients, constraints.limits(), options.seed, options.bootstrap
    )
    if found.first is None or known.share is None:
        return f"Second mixture: {found.reason}"
    unit = (
        "standard deviations over the proxies"
        if asked.standardise and len(np.flatnonzero(coefficients)) > 1
        else "objective"
    )
    document = found.document(list(table.corpora), known.share, options.target_tokens, unit)
    inputs = {name: getattr(options, name) for name in ("ratios", "metrics", "supply")}
    yamlfile.write(str(options.phases), {**document, "provenance": provenance(inputs, len(table.runs), command)})
    low, high = document["worth"]["interval"]
    return (
        f"Second mixture: {found.reason} {options.phases} has the two: {document['worth']['mean']:.4g} lower than one mixture "
        f"(90 %: {low:.4g} to {high:.4g} {unit})."
    )


def _read(
    options: SearchOptions, ratios: str, metrics: str, wanted: Sequence[str] | None
) -> tuple[ProxyTable, list[str]]:
    """A table of runs, those of a group as a whole brought to its corpora, and the names of these."""
    table = read(ratios, metrics, wanted, others=True)
    return nested.as_parts(table, _supply_for(table, options.supply)) if options.supply else (table, [])


def _constraints(options: SearchOptions, table: ProxyTable, current: list[str]) -> Constraints:
    """The limits on the corpora of `current`, with the prior and how repetition counts."""
    known = _supply_for(table, options.supply) if options.supply else None
    repetition = SoftRepetition() if options.soft_repetition else FullRepetition()
    if options.target_size and not known:
        options = options.replaced(
            target_tokens=None
        )  # they say where the target is; nothing is repeated that we know of
    made = _once(constraints_from(known, current, options, kl=options.kl, repetition=repetition), table)
    if options.prior:
        near = mixture.read(options.prior, current)["weights"]
        made = replace(made, prior=np.array([near[name] for name in current]))
    return made


def _evidence(
    options: SearchOptions, table: ProxyTable, held: ProxyTable | None, wholes: Collection[str] = ()
) -> Evidence:
    """The runs that the law is fitted to, with those of the target's scale and the screen, where there are any.

    Args:
        wholes: runs that a screen of parts may lack.
    """
    made = Evidence(
        weights=table.weights,
        losses=table.losses,
        metrics=table.metrics,
        runs=table.runs,
        repeats=table.repeats or None,
        run_noise=table.noise,
        held_out=(held.weights, held.losses) if held else None,
        held_out_names=held.runs if held else None,
        source=options.metrics,
    )
    if options.target_runs or options.target_size or len(set(table.scales)) > 1:
        parts = _scales(options, table)
        fit, rest = [int(i) for i in parts.fit], parts.other
        held_there = _held_there(table, parts, held)
        if held is not None and not held_there:
            held = _of_proxies(table, parts, held)
        made = replace(
            made,
            held_out=(held.weights, held.losses) if held else None,
            held_out_names=held.runs if held else None,
            weights=table.weights[parts.fit],
            losses=table.losses[parts.fit],
            runs=[table.runs[i] for i in fit],
            repeats=[table.repeats[i] for i in fit] if table.repeats else None,
            others=lifted.Others(
                weights=table.weights[rest],
                losses=table.losses[rest],
                at=parts.at,
                aim=parts.aim,
                beyond=parts.beyond,
                words=parts.words,
                held_out=held_there,
            )
            if len(rest) or parts.beyond > 1
            else None,
        )
    if options.screen:
        runs = list(made.runs or [])
        if options.earlier and not all(name in wholes for name in table.runs if name.startswith("earlier")):
            raise HaigoError("--screen knows nothing of the corpora of --earlier.", "leave one of them out")
        judges = held.weights if held else None
        screen = screened.read(options.screen, runs, made.weights, table.corpora, table.metrics, judges, wholes)
        made = replace(made, screen=screen)
    return made


def _held_there(table: ProxyTable, parts: scales.Sorted, held: ProxyTable | None) -> bool:
    """Whether the runs held out are all of the target's scale."""
    base = table.scales[int(parts.fit[0])]
    near = np.abs(parts.at - parts.aim).sum(axis=1) < 1e-9
    there = {table.scales[int(i)] for i in parts.other[near]} - {base}
    if not parts.aim.any():
        there.add(base)
    return held is not None and set(held.scales) <= there


def _of_proxies(table: ProxyTable, parts: scales.Sorted, held: ProxyTable) -> ProxyTable | None:
    """The runs held out that are of the proxies' scale, with a note on the others; None where there are none."""
    same = np.array([name == table.scales[int(parts.fit[0])] for name in held.scales])
    if not same.all():
        table.notes.append(
            f"{table.source}: {int((~same).sum())} held-out run(s) of another scale than the proxies' judge nothing."
        )
    return held.take(same) if same.any() else None


def _scales(options: SearchOptions, table: ProxyTable) -> scales.Sorted:
    """Runs of several scales told apart."""
    is_target = None
    if options.target_runs:
        is_target = np.array([name.startswith(options.target_runs) for name in table.runs])
        if not is_target.any() or is_target.all():
            which = "no run" if not is_target.any() else "every run"
            raise HaigoError(
                f"{which} of {options.metrics} starts with '{options.target_runs}'.", "check --target-runs"
            )
    tokens = options.target_tokens if options.target_size else None
    parts = scales.sort(table.scales, options.target_size, options.metrics, is_target, tokens)
    table.notes.extend(parts.notes)
    return parts


def _folded(evidence: Evidence, joint: together.Together) -> Evidence:
    """The evidence on corpora that never vary apart, as one corpus each."""
    held, others = evidence.held_out, evidence.others
    return replace(
        evidence,
        weights=joint.fold(evidence.weights),
        screen=joint.fold_screen(evidence.screen),
        passes=joint.fold_passes(evidence.passes),
        held_out=held and (joint.fold(held[0]), held[1]),
        others=others and replace(others, weights=joint.fold(others.weights)),
    )


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


def _passes(options: SearchOptions, table: ProxyTable, constraints: Constraints) -> Array | None:
    """How often the proxies pass over each corpus at the weight 1, (corpora,); None where they were not cut to repeat as the
    target run, or it is not to be learnt from them."""
    if table.epochs_matched is None or not options.soft_repetition or options.earlier:
        return None
    noted = tables.noted_supply(options.metrics)
    known = constraints.supply if constraints.supply is not None else np.full(len(table.corpora), np.nan)
    tokens = np.array([noted.get(name, known[j]) for j, name in enumerate(table.corpora)])
    tokens[table.weights.max(axis=0) <= 0] = np.inf
    if np.isfinite(table.epochs_matched / tokens).all():
        return np.asarray(table.epochs_matched / tokens)
    table.notes.append(
        f"{options.metrics}: how often each corpus was repeated is not known: nothing is learnt of repetition (give --supply)."
    )
    return None


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
    options = flags.parse("mixer.search", __doc__, SearchOptions, argv)
    cli.keeps_nothing()
    if options.figures:
        figures.check(options.figures, [options.ratios, options.metrics, options.supply, options.prior, options.screen])
    if options.output:
        earlier = [path for pair in options.earlier for path in pair]
        inputs = [options.ratios, options.metrics, options.supply, options.prior, options.screen, *earlier]
        for output in (options.output, law_file.path(options.output)):
            files.check_output(output, inputs)
    if options.phases:
        named = [options.ratios, options.metrics, options.supply, options.prior, options.output]
        files.check_output(options.phases, named)
    command = redact.command(["python", "-m", "mixer.search", *map(str, sys.argv[1:] if argv is None else argv)])
    made = search(options, command)
    document = made.document()
    said = report.text(document, language=options.language)
    print(json.dumps(document, ensure_ascii=False, indent=2) if options.json else said)
    if options.output and not options.json:
        print(f"Written: {options.output}")
    if options.figures:
        drawn = figures.write(options.figures, document, made.curves, language=options.language)
        if not options.json:
            print(figures.said(drawn, options.figures))
    return cli.OK


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
