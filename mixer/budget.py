"""How to spend a budget on proxies: how many, which size, how many tokens each, how often, in one round or two.

    python -m mixer.budget --hours 40 --rates rates.csv --supply supply.csv --target-size 1.4e9 --target-tokens 20e9
    python -m mixer.budget --hours 2 --rates 0-3M=proxies/metrics.csv 1M=more/metrics.csv --corpora news,wiki,code
    python -m mixer.budget --hours 40 --rates 1-3B=plan.json --write-rates rates.csv --supply supply.csv
    python -m mixer.budget --hours 8 --rates rates.csv --ratios ratios.csv --metrics metrics.csv --objective news_bpb   (pilot)

Hours are those of one device: a core for the embedded engine, a GPU for GPT-NeoX. Rates come from rates.csv (model, parameters,
tokens_per_s), from metrics.csv of `launch.proxies`, or from what `launch.plan --json` printed. Expected regret is 0 where the
best mixture would be found and 1 at token share; what it is made of, and how far it was tested: docs/mixer.md. A pilot's
tables say how noisy runs are (from rows trained several times) and how hard this objective is. `--output` keeps the plan as
keys of a run file.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from haigo import cli, files, flags, yamlfile
from haigo.cli import HaigoError, Refused
from mixer import pilot, rates
from mixer.options import PlanningOptions
from mixer.rates import Rate
from mixer.splits import LEAST_TOKENS, RUNS, TELLS, Aim, Split, needed, splits


def shown(made: Sequence[Split], rows: int) -> list[Split]:
    """The best of each size and number of proxies, best first, and no more than `rows`; every size is among them."""
    first: dict[Any, Split] = {}
    for split in made:
        first.setdefault((split.model, split.runs), split)
    best = list({split.model: split for split in reversed(list(first.values()))}.values())
    rest = [split for split in first.values() if split not in best]
    return sorted([*best, *rest[: max(0, rows - len(best))]], key=lambda split: split.regret)


def text(made: Sequence[Split], rows: int) -> str:
    """The alternatives as a table."""
    form = "  {:<10}{:>11}{:>9}{:>8}{:>7}{:>13}{:>9}{:>8}{:>7}{:>9}"
    head = ("model", "parameters", "proxies", "rounds", "times", "tokens each", "hours", "noise", "rank", "regret")
    lines = [form.format(*head)]
    for split in shown(made, rows):
        cells = (
            split.model[:10],
            f"{split.parameters / 1e6:,.3g}M",
            split.runs,
            split.rounds,
            split.replicates,
            f"{split.tokens:,}",
            f"{split.hours:,.3g}",
            f"{split.noise:.3f}",
            f"{split.rank:.3f}",
            f"{split.regret:.3f}",
        )
        line = form.format(*cells)
        lines.append(f"*{line[1:]}" if split == made[0] else line)
    return "\n".join(lines)


def about_target(best: Split, given: Sequence[Rate], aim: Aim, hours: float) -> list[str]:
    """What the target needs, one sentence each."""
    said = []
    least = needed(aim)
    if least is not None and aim.size is not None:
        what = f"A proxy keeps a rank correlation of {TELLS:g} with a target of {aim.size:.3g} parameters from about"
        said.append(f"{what} {least:.2g} parameters on; the one chosen has {best.parameters:.3g} ({best.rank:.2f}).")
    same = [rate for rate in given if aim.size is not None and 0.8 < rate.parameters / aim.size < 1.25]
    if same and aim.tokens:
        whole = aim.tokens / same[0].tokens_per_s / 3600
        said.append(
            f"The target takes {whole:,.3g} hours of such a device; the proxies are {hours / whole:.1%} of that."
        )
    if best.rank < 0.8:
        said.append(
            "Proxies so small or so short order mixtures otherwise than the target: "
            "a few runs near its size say more than many of these."
        )
    return said


def commands(best: Split, options: PlanningOptions) -> list[str]:
    """The commands that carry the plan out: by run file, and by hand."""
    sets = [f"--set proxies.{key}={value}" for key, value in document(best, options)["proxies"].items()]
    if options.target_tokens:
        sets.append(f"--set search.target_tokens={options.target_tokens:.0f}")
    source = f"--supply {options.supply}" if options.supply else f"--corpora {','.join(_corpora(options))}"
    target = f" --target-tokens {options.target_tokens:g}" if options.target_tokens and options.supply else ""
    first = best.runs if best.rounds == 1 else (best.runs + 1) // 2
    more = f" --held-out {best.held_out}" if best.held_out else ""
    train = f"python -m launch.proxies --catalogue corpora.yml --config {best.model} --tokens {best.tokens}"
    train += " --output-dir proxies"
    if best.replicates > 1:
        train += f" --replicates {best.replicates}"
    elif best.twice:
        train += f" --replicates 2 --replicate-runs {','.join(f'p{i:03d}' for i in range(best.twice))}"
    lines = [f"python -m launch.pipeline RUN.yml {' '.join(sets)}"] if best.replicates == 1 else []
    lines += [
        f"python -m mixer.design {source}{target} --runs {first}{more} --output first.csv",
        f"{train} --ratios first.csv",
    ]
    if best.rounds == 2:
        goal = ",".join(options.objective) or "METRIC"
        goal = " --maximise ".join([goal, *options.maximise])
        history = f"--history first.csv --history-metrics proxies/metrics.csv --objective {goal} --append"
        rest = best.runs - first
        lines += [
            f"python -m mixer.design {source}{target} --runs {rest} {history} --output ratios.csv",
            f"{train} --ratios ratios.csv",
        ]
    return lines


def _aim(options: PlanningOptions, given: Sequence[Rate]) -> Aim:
    names = _corpora(options)
    aim = Aim(corpora=len(names), size=options.target_size, tokens=options.target_tokens, held_out=options.held_out)
    return pilot.learnt(options, aim) if options.metrics else aim


def _corpora(options: PlanningOptions) -> list[str]:
    """Names of the corpora, from whichever table there is.

    Raises:
        HaigoError: there is none, or a single corpus.
    """
    from mixer.supply import read_supply

    if options.supply:
        names = list(read_supply(options.supply))
    elif options.ratios:
        from mixer.proxies import read_ratios

        names = read_ratios(options.ratios)[1]
    else:
        names = [name.strip() for name in (options.corpora or "").split(",") if name.strip()]
        if not names:
            raise HaigoError("neither --supply nor --corpora is given.", "name the corpora")
    if len(set(names)) < 2:
        raise HaigoError("a mixture needs two corpora or more.", "name another corpus")
    return names


def main(argv: Sequence[str] | None = None) -> int | None:
    options = flags.parse("mixer.budget", __doc__, PlanningOptions, argv)
    cli.keeps_nothing()
    read = [*(word.rpartition("=")[2] for word in options.rates), options.supply, options.ratios, options.metrics]
    for path in (options.output, options.write_rates):
        if path:
            files.check_output(path, read)
    if options.output and options.write_rates and Path(options.output).resolve() == Path(options.write_rates).resolve():
        raise HaigoError(f"--output and --write-rates are both {options.output}.", "name another file", option="output")
    if bool(options.ratios) != bool(options.metrics) or bool(options.metrics) != bool(
        options.objective and options.metrics
    ):
        raise HaigoError("--ratios, --metrics and --objective of a pilot belong together.", "give all three or none")
    if options.maximise and not options.objective:
        raise HaigoError("--maximise belongs to --objective.", "add --objective", option="maximise")
    given = [rate for word in options.rates for rate in rates.read(word)]
    aim = _aim(options, given)
    made = splits(given, options.hours, aim)
    if not made:
        slow = max(given, key=lambda rate: rate.tokens_per_s)
        least = (RUNS[0] + aim.held_out) * LEAST_TOKENS / slow.tokens_per_s / 3600
        problem = f"{options.hours:g} hours do not pay for {RUNS[0]} proxies of {LEAST_TOKENS:,} tokens of any size."
        if least <= options.hours:  # it is the target that is too short
            raise Refused(f"no proxy gets more tokens than the target, and fewer than {LEAST_TOKENS:,} teach nothing.",
                          f"give {LEAST_TOKENS:,} or more", option="target-tokens")  # fmt: skip
        raise Refused(problem, f"give {least:.2g} hours or more, or a faster model", option="hours")
    if options.write_rates:
        rates.write(options.write_rates, given)
    best = made[0]
    if options.output:
        yamlfile.write(options.output, document(best, options), f"mixer.budget: {options.hours:g} hours")
    if options.json:
        listed = [asdict(split) for split in shown(made, options.rows)]
        print(json.dumps({"chosen": asdict(best), "splits": listed, "commands": commands(best, options)}, indent=2))
        return cli.OK
    print(text(made, options.rows))
    for line in ("", *about_target(best, given, aim, options.hours), *commands(best, options)):
        print(line)
    for path in (options.output, options.write_rates):
        if path:
            print(f"Written: {path}")
    return cli.OK


def document(best: Split, options: PlanningOptions) -> dict[str, Any]:
    """The plan as keys of a run file."""
    keys = {
        "model": best.model,
        "runs": best.runs,
        "rounds": best.rounds,
        "held_out": best.held_out,
        "tokens": best.tokens,
    }
    made: dict[str, Any] = {"proxies": keys}
    if options.target_tokens:
        made["search"] = {"target_tokens": int(options.target_tokens)}
    return made


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
