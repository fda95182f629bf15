"""The options of mixer's verbs; `launch.pipeline`'s run file has some of them as keys."""

from __future__ import annotations

from dataclasses import dataclass

from haigo.cli import HaigoError
from haigo.options import Options, again, amount, count, few, option, seed

FLOOR = 0.01
MAX_EPOCHS = 4.0
"""Up to about four passes a repeated token is worth nearly as much as a new one (Muennighoff et al. 2023)."""
MOST_RUNS = 100_000
LEAST_FOR_TWO, FOR_TWO_A_CORPUS = 16, 2
"""Fewer runs than this, or than so many a corpus, are trained in one round: half of them is too little to go by."""
MOST_DRAWS = 10_000
KL = 0.003
"""Default pull to the prior, in standard deviations of the objective over the proxies per nat of divergence."""


def enough_for_two(runs: int, corpora: int) -> bool:
    """Whether so many proxies are trained in two rounds where nobody says otherwise (measured: docs/mixer.md)."""
    return runs >= max(LEAST_FOR_TWO, FOR_TWO_A_CORPUS * corpora)


def group_limit(word: str) -> tuple[str, list[float]]:
    """`ja=0.3:0.8` -> ("ja", [0.3, 0.8]); either side may be empty.

    Raises:
        HaigoError: it is not NAME=LOW:HIGH.
    """
    name, _, given = word.partition("=")
    low, colon, high = given.partition(":")
    try:
        return name, [float(low or 0.0), float(high or 1.0)] if colon else [float(low), float(low)]
    except ValueError:
        raise HaigoError(f"{word} is not NAME=LOW:HIGH, such as ja=0.3:0.8.") from None


def ceiling(word: str) -> tuple[str, str]:
    """`wiki_bpb=+5%` -> ("wiki_bpb", "+5%").

    Raises:
        HaigoError: it is not METRIC=LIMIT.
    """
    name, _, limit = word.strip().rpartition("=")
    if not name:
        raise HaigoError(f"{word} is not METRIC=LIMIT, such as 'wiki_bpb=+5%'.")
    return name, limit.strip()


def tokens(word: str) -> float:
    """`20e9` or `20B` -> 20e9.

    Raises:
        HaigoError: it is no number.
    """
    unit = {"K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}.get(word.strip()[-1:].upper())
    try:
        return float(word) if unit is None else unit * float(word.strip()[:-1])
    except ValueError:
        raise HaigoError(f"{word:.40} is not a number, such as 20e9 or 20B.") from None


@dataclass(frozen=True, kw_only=True)
class LimitOptions(Options):
    """Limits on the weights."""

    supply: str | None = option("supply.csv: corpus, tokens, min, max, max_epochs, group", None)
    target_tokens: float | None = option(
        "tokens of the target run, such as 20e9 or 20B: sets epochs and caps",
        None,
        above=0,
        parse=tokens,
        metavar="TOKENS",
    )
    max_epochs: float = option("how often any corpus may be repeated by the target run", MAX_EPOCHS, above=0)
    groups: dict[str, list[float]] = option(
        "group -> [least, greatest] total weight, e.g. `ja: [0.5, 0.9]`",
        {},
        flags=("--group",),
        metavar="NAME=LOW:HIGH",
        parse=group_limit,
        least=0,
        most=1,
    )


@dataclass(frozen=True, kw_only=True)
class ObjectiveOptions(Options):
    """What the mixture is chosen for."""

    objective: list[str] = option("what to lower (or raise)", metavar="METRIC[=WEIGHT],...")
    maximise: list[str] = option(
        "this one is better when higher", [], flags=("--maximise", "--maximize"), metavar="METRIC"
    )
    minimise: list[str] = option(
        "this one is better when lower", [], flags=("--minimise", "--minimize"), metavar="METRIC"
    )
    ceilings: dict[str, str] = option(
        "'wiki_bpb=+5%' or '*_bpb=+5%' or a number", {}, flags=("--ceiling",), metavar="METRIC=LIMIT", parse=ceiling
    )
    scores: list[str] = option(
        "a score of ITEMS items, better when higher, e.g. qa_acc=1119:0.2",
        [],
        flags=("--score",),
        metavar="METRIC=ITEMS[:CHANCE]",
    )
    standardise: bool = option("sum the metrics in their own units", True, flags=("--no-standardise",))


@dataclass(frozen=True, kw_only=True)
class ChoiceOptions(Options):
    """How the mixture is chosen."""

    method: str = option("mixing law, or another way to choose: docs/mixer.md lists them", "auto")
    bootstrap: int = count("how many refits the intervals come from", 100, most=MOST_DRAWS)
    kl: float | None = option(f"pull to the prior, or to token share ({KL:g})", None, least=0)
    ceiling_probability: float = option("how surely every ceiling is to hold", 0.5, least=0.5, most=0.999)
    force: bool = option(
        "go on although the fit is no better than the mean of the proxies; say levels of losses far beyond all scales seen",
        False,
    )


@dataclass(frozen=True, kw_only=True)
class RecommendOptions(ChoiceOptions):
    """How `mixer.search.recommend` chooses."""

    seed: int = seed()
    compare: bool = option("also say what every other method would choose", False)
    beyond_proxies: bool = option("allow weights below those of all proxies", False)
    figures: str | None = option(
        "folder for figures (SVG and PNG): weights, fit, trade-offs, transfer, what ceilings cost", None, metavar="DIR"
    )


@dataclass(frozen=True, kw_only=True)
class SearchOptions(ObjectiveOptions, LimitOptions, RecommendOptions):
    """What `mixer.search` can be told."""

    ratios: str = option("ratios.csv: run, one column a corpus")
    metrics: str = option("metrics.csv: run, one column a metric")
    soft_repetition: bool = option("count repeated tokens in full up to the cap", True, flags=("--hard-repetition",))
    prior: str | None = option("a mixture.yml to stay near instead of token share", None)
    held_out: str | None = option("runs whose name starts so only judge the fit", None, metavar="PREFIX")
    target_size: str | None = option(
        "size to choose for, in metrics.csv or beyond it, such as 2.7B (with --target-tokens); else the largest there",
        None,
    )
    target_runs: str | None = option("runs of the target's scale by name, at least 3", None, metavar="PREFIX")
    earlier: list[tuple[str, str]] = option(
        "an earlier swarm with other corpora; what it lacks had the weight 0", [], metavar=("RATIOS", "METRICS")
    )
    split: list[str] = option(
        "a corpus of --earlier that is now several (or has another name: OLD=NEW)", [], metavar="OLD=A:SHARE,B:SHARE"
    )
    screen: str | None = option("n-gram losses of launch.screen: they help where proxies are few", None, metavar="DIR")
    phases: str | None = option(
        "mixture with a second phase to write, where runs with two mixtures support one (columns CORPUS@2, second_phase)",
        None,
        metavar="FILE",
    )
    output: str | None = option("mixture.yml to write", None)
    language: str = option("of the report", "en", among=("en", "ja"), flags=("--language", "--lang"))
    json: bool = option("print the document as JSON", False)


@dataclass(frozen=True, kw_only=True)
class DesignOptions(LimitOptions):
    """What `mixer.design` can be told."""

    corpora: str | None = option("names separated by commas, when there is no supply table", None)
    runs: int = count("mixtures to train for the fit", 32, most=MOST_RUNS)
    held_out: int = option("further ones that only judge the fit", 0, least=0, most=MOST_RUNS)
    floor: float = option(
        "smallest weight of a corpus in any of them: what is never seen gives only noise", FLOOR, least=0, most=1
    )
    history: str | None = option("ratios.csv of runs already trained; new ones keep away from them", None)
    history_metrics: str | None = option(
        "their metrics.csv: new runs go around the optimum they say (--objective)", None, metavar="METRICS"
    )
    objective: list[str] = again(ObjectiveOptions, "objective", default=[])
    maximise: list[str] = again(ObjectiveOptions, "maximise")
    minimise: list[str] = again(ObjectiveOptions, "minimise")
    ceilings: dict[str, str] = again(ObjectiveOptions, "ceilings")
    standardise: bool = again(ObjectiveOptions, "standardise")
    append: bool = option("write the runs of --history too, before the new ones", False)
    seed: int = seed()
    output: str = option("ratios.csv to write")
    json: bool = option("print what was written as JSON", False)


@dataclass(frozen=True, kw_only=True)
class PlanningOptions(Options):
    """What `mixer.budget` can be told."""

    hours: float = amount("hours of one device (a core, a GPU) for all proxies together")
    rates: list[str] = option(
        "rates.csv, metrics.csv of launch.proxies, or launch.plan's JSON", nargs="+", metavar="[MODEL=]FILE"
    )
    supply: str | None = again(LimitOptions, "supply")
    corpora: str | None = again(DesignOptions, "corpora")
    target_size: float | None = amount("parameters of the target run", None)
    target_tokens: float | None = again(LimitOptions, "target_tokens", doc="tokens of the target run")
    held_out: int = again(DesignOptions, "held_out", default=4)
    ratios: str | None = option("a pilot's ratios.csv", None)
    metrics: str | None = option("a pilot's metrics.csv: noise, and how hard the objective is", None)
    objective: list[str] = again(ObjectiveOptions, "objective", default=[])
    maximise: list[str] = again(ObjectiveOptions, "maximise")
    rows: int = few("alternatives shown", 10)
    write_rates: str | None = option("rates.csv to write: all rates that were read", None, metavar="FILE")
    output: str | None = option("plan.yml to write: the chosen split as keys of a run file", None)
    json: bool = option("print the plan as JSON", False)


@dataclass(frozen=True, kw_only=True)
class ReportOptions(Options):
    """What `mixer.report` can be told."""

    mixture: str = option("mixture.yml", positional=True)
    language: str = again(SearchOptions, "language")
    figures: str | None = again(RecommendOptions, "figures")
    html: str | None = option("write it as a web page, with the mixer to play with", None, metavar="PAGE")
    markdown: bool = option("for a page instead of a terminal", False)
    json: bool = option("the document as JSON", False)
