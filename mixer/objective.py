"""What is wanted: a weighted sum of metrics to lower (or raise), and limits on how bad other metrics may get."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np

from haigo.cli import HaigoError
from mixer.arrays import Array
from mixer.proxies import find, short_names
from mixer.report_card import rank_correlation

_SCORE_LIKE = re.compile(r"(^|[_/\-.])(acc|acc_norm|accuracy|f1|em|exact|exact_match|score|bleu|rouge\w*)($|[_/\-.,])")
_LOSS_LIKE = re.compile(r"(^|[_/\-.])(bpb|loss|ppl|perplexity|nll|nats|error)($|[_/\-.,])")
_RELATIVE = re.compile(r"^\s*([+-]?\d+(?:\.\d+)?)\s*%\s*$")


@dataclass(frozen=True, kw_only=True)
class Objective:
    """A weighted sum of metrics, each with a direction, and ceilings on any metric."""

    weights: Mapping[str, float]
    """Metric -> how much it counts (> 0)."""
    direction: Mapping[str, str] = field(default_factory=dict)
    """Metric -> "min" (what is not named) or "max"."""
    ceilings: Mapping[str, float | str] = field(default_factory=dict)
    """Metric -> how bad it may be predicted: a number, or "+5%": no more than 5 % worse than at token share."""
    standardise: bool = True
    """Divide each metric by its standard deviation over the proxies, so that none drowns the others."""

    items: Mapping[str, int] = field(default_factory=dict)
    """Metric -> number of items a score is the mean of; the score then has at least the noise sqrt(p (1 - p) / n), and
    higher is better unless `direction` says otherwise."""
    chance: Mapping[str, float] = field(default_factory=dict)
    """Metric -> what guessing scores, in the metric's own unit."""
    paired: Mapping[str, float] = field(default_factory=dict)
    """Metric -> what its items leave of noise in a comparison of runs that had the same ones (`mixer.items`), where it was
    measured: a standard deviation of one run in the metric's own unit."""

    def __post_init__(self) -> None:
        for name, count in self.items.items():
            if not count >= 1:
                raise HaigoError(f"the score '{name}' is said to have {count} items.", "give the number of its items")
        if not self.weights:
            raise HaigoError("the objective names no metric.", "give at least one, e.g. --objective news_bpb")
        for name, weight in self.weights.items():
            if not 0 < float(weight) < np.inf:
                raise HaigoError(f"the objective gives '{name}' the weight {weight}.", "give a number above 0")
        for name, way in self.direction.items():
            if way not in ("min", "max"):
                raise HaigoError(f"the direction of '{name}' is '{way}'.", 'it is "min" or "max"')

    def metrics(self) -> list[str]:
        """Every metric that is named, as the user names it."""
        return [*self.weights, *self.ceilings, *self.direction]

    def resolve(self, metrics: Sequence[str], source: str) -> Objective:
        """The same with full metric names, wildcards spread out; what is named counts more than what is like something.

        Raises:
            HaigoError: an unknown metric, or a score that would be minimised without having been asked to.
        """

        def full(name: str) -> str:
            return find(name, metrics, "metric", source)

        def spread(given: Mapping[str, Any]) -> dict[str, Any]:
            # what is named wins over wildcards, wherever they stand
            made: dict[str, Any] = {}
            for name, value in sorted(given.items(), key=lambda item: "*" not in item[0]):
                hits = [m for m in metrics if fnmatch.fnmatchcase(m, name)] if "*" in name else [full(name)]
                if not hits:
                    raise HaigoError(f"no metric of {source} is like '{name}'.", f"it has: {', '.join(metrics[:30])}")
                made |= dict.fromkeys(hits, value)
            return made

        named = {full(name) for name in self.weights if "*" not in name}
        weights: dict[str, float] = {}
        for name, weight in self.weights.items():
            for hit in spread({name: weight}):
                if "*" not in name or hit not in named:
                    weights[hit] = weights.get(hit, 0.0) + float(weight)
        items = {full(name): int(count) for name, count in self.items.items()}
        chance = {full(name): float(level) for name, level in self.chance.items()}
        direction = {**dict.fromkeys(items, "max"), **spread(self.direction)}
        limited = {full(name) for name in self.ceilings if "*" not in name}
        ceilings: dict[str, float | str] = {
            name: limit for name, limit in spread(self.ceilings).items() if name in limited or name not in weights
        }
        for name in [*weights, *ceilings]:
            if name not in direction and _SCORE_LIKE.search(name.lower()):
                raise HaigoError(
                    f"'{name}' looks like a score, where higher is better, and would be minimised.",
                    f"say which is meant: --maximise {name} or --minimise {name}",
                )
        for name, way in direction.items():
            if way == "max" and _LOSS_LIKE.search(name.lower()):
                raise HaigoError(
                    f"'{name}' looks like a loss, where lower is better, and would be maximised.",
                    "leave --maximise away, or rename the column if it is a score",
                )
        return Objective(
            weights=weights,
            direction=direction,
            ceilings=ceilings,
            standardise=self.standardise,
            items=items,
            chance=chance,
            paired={name: value for name, value in self.paired.items() if name in metrics},
        )

    def check_values(self, metrics: Sequence[str], values: Array, runs: Sequence[str], source: str) -> None:
        """Make sure that no loss is below 0 and nothing that is always below 0 is taken for a loss.

        Args:
            values: (runs, metrics) as the file gives them.

        Raises:
            HaigoError: there is one, and no direction was given for it.
        """
        for name in [*self.weights, *self.ceilings]:
            below = values[:, metrics.index(name)] < 0
            if name in self.direction or not below.any():
                continue
            if _LOSS_LIKE.search(name.lower()) and below.all():
                raise HaigoError(
                    f"{source}: '{name}' is below 0 in every run, which no loss is: it was negated.",
                    f"give the losses themselves, or say --minimise {name} where lower is better all the same",
                )
            if _LOSS_LIKE.search(name.lower()):
                first = int(below.argmax())
                raise HaigoError(
                    f"{source}: '{name}' is {values[first, metrics.index(name)]:g} in the run '{runs[first]}' and below 0 in "
                    f"{below.sum()} run(s), which no loss is.",
                    f"drop those runs, or say --minimise {name} where such a value is meant",
                )
            if below.all():
                raise HaigoError(
                    f"{source}: '{name}' is below 0 in every run, as log-likelihoods are, where higher is better, and would "
                    "be minimised.",
                    f"say which is meant: --maximise {name} or --minimise {name}",
                )

    def wrong_way(
        self, metrics: Sequence[str], values: Array, corpora: Sequence[str], weights: Array, source: str
    ) -> list[str]:
        """A sentence on every metric that its own corpus makes worse although its direction was said.

        Args:
            values: (runs, metrics), lower is better.
            weights: (runs, corpora).

        Raises:
            HaigoError: there is such a metric, and no direction was given for it.
        """
        short, known = short_names(metrics, "metric"), short_names(corpora, "corpus")
        made = []
        for name in [*self.weights, *self.ceilings]:
            own = [j for j, corpus in enumerate(corpora) if f"{short[name]}_".startswith(f"{known[corpus]}_")]
            if not own:
                continue
            j = max(own, key=lambda number: len(known[corpora[number]]))
            rho = rank_correlation(weights[:, j], values[:, metrics.index(name)])
            if rho > 0.3 and rho * np.sqrt(len(values) - 1) > 3.3:
                way = "raised" if self.direction.get(name) == "max" else "lowered"
                said = f"'{name}' gets worse the more of '{corpora[j]}' a run has (rank correlation {rho:.2f})"
                if name not in self.direction:
                    raise HaigoError(
                        f"{source}: {said}: its direction is the wrong one, or its column.",
                        f"say which is meant: --maximise {name}, or --minimise {name} where it is right all the same",
                    )
                made.append(f"{said}: check that it is meant to be {way}.")
        return made

    def item_noise(self, metrics: Sequence[str], values: Array) -> Array:
        """Least standard deviation of one run's score, (metrics,): as measured (`paired`), else sqrt(p (1 - p) / n) at the mean
        of the proxies; 0 for losses of no items.

        Args:
            values: (runs, metrics), as measured or sign-adjusted; scores in 0..1 or 0..100.

        Raises:
            HaigoError: a score with items is outside 0..100.
        """
        made = np.zeros(len(metrics))
        for j, name in enumerate(metrics):
            if name in self.paired:
                made[j] = self.paired[name]
            elif name in self.items:
                p, unit = _share_right(np.abs(values[:, j]), name)
                made[j] = unit * float(np.sqrt(max(p.mean() * (1.0 - p.mean()), 0.0) / self.items[name]))
        return made

    def paired_noise(self, metrics: Sequence[str]) -> Array:
        """`paired` in the order of the metrics, (metrics,); 0 where it was not measured."""
        return np.array([self.paired.get(name, 0.0) for name in metrics])

    def bounds(self, metrics: Sequence[str], values: Array) -> Array:
        """What a metric can be, (metrics, 2): a score 0 to 1 (or 100), a loss nothing below 0; infinite where it is not known.

        Args:
            values: (runs, metrics) as measured.
        """
        made = np.tile([-np.inf, np.inf], (len(metrics), 1))
        for j, name in enumerate(metrics):
            low, high = float(values[:, j].min()), float(values[:, j].max())
            score = name in self.items or _SCORE_LIKE.search(name.lower())
            if low >= 0 and (score or _LOSS_LIKE.search(name.lower())):
                made[j, 0] = 0.0
                if score and high <= 100.0:
                    made[j, 1] = 100.0 if high > 1.0 else 1.0
        return made

    def doubts(self, metrics: Sequence[str], values: Array, source: str) -> list[str]:
        """What must be said about scores of few items or near chance, one sentence each."""
        made = []
        noise = self.item_noise(metrics, values)
        for j, name in enumerate(metrics):
            if name not in self.items or not (name in self.weights or name in self.ceilings):
                continue
            column, count = values[:, j], self.items[name]
            spread = float(column.std())
            signal = max(0.0, 1.0 - float(noise[j] ** 2) / max(spread**2, 1e-300))
            if signal < 0.5:
                made.append(
                    f"{source}: {name} varies by {spread:.3g} over the proxies, of which {count} items alone explain "
                    f"{noise[j]:.3g}; a loss on the same task says more."
                )
            level = self.chance.get(name)
            if level is not None and abs(float(column.mean()) - level) < 2.0 * float(noise[j]):
                made.append(
                    f"{source}: {name} is at chance ({level:g}) for most proxies: larger proxies, or a loss on the same "
                    "task, are needed."
                )
        return made

    def check_ceilings(self, probability: float = 0.5) -> None:
        """Make sure that every ceiling is a limit, and that there is one where they are to hold with more than even odds.

        Raises:
            HaigoError: one is not, or there is none.
        """
        if probability > 0.5 and not self.ceilings:
            problem = f"ceilings are to hold with probability {probability:g}, and there is none."
            raise HaigoError(problem, "name the ceilings, or leave the probability out", option="ceiling_probability")
        for name, limit in self.ceilings.items():
            limit_value(limit, 1.0, 1.0, name)

    def signs(self, metrics: Sequence[str]) -> Array:
        """+1 for metrics to lower, -1 for metrics to raise, (metrics,)."""
        return np.array([-1.0 if self.direction.get(name) == "max" else 1.0 for name in metrics])

    def coefficients(self, metrics: Sequence[str], spread: Array) -> Array:
        """What each (sign-adjusted) metric counts in the sum, (metrics,); the weights are scaled to sum to 1."""
        total = sum(self.weights.values())
        made = np.array([self.weights.get(name, 0.0) / total for name in metrics])
        return made / np.where(spread > 0, spread, 1.0) if self.standardise else made

    def as_dict(self) -> dict[str, object]:
        return {
            "weights": {name: float(value) for name, value in self.weights.items()},
            "direction": {name: self.direction.get(name, "min") for name in self.weights},
            "ceilings": dict(self.ceilings),
            "standardise": self.standardise,
            **({"items": dict(self.items)} if self.items else {}),
            **({"chance": dict(self.chance)} if self.chance else {}),
        }


def _share_right(values: Array, name: str) -> tuple[Array, float]:
    """Scores as shares 0..1, and the unit they came in (1 or 100)."""
    top = float(values.max())
    if top > 100.0:
        raise HaigoError(
            f"'{name}' reaches {top:g}, which is no share of right items.", "give scores of 0..1 or 0..100"
        )
    unit = 100.0 if top > 1.0 else 1.0
    return values / unit, unit


def limit_value(limit: float | str, reference: float, sign: float, name: str) -> float:
    """A ceiling as a number on the sign-adjusted metric.

    Args:
        limit: a number on the metric itself, or `+5%` (worse than the reference by no more than that).
        reference: the sign-adjusted prediction at the reference mixture.
        sign: +1 lower is better, -1 higher is better.
    """
    if isinstance(limit, str):
        match = _RELATIVE.match(limit)
        if match:
            return reference + abs(reference) * float(match[1]) / 100.0
        if limit.strip().startswith("+"):
            raise HaigoError(
                f"the ceiling of '{name}' is '{limit}', which has a sign and no %.",
                f"write {limit.strip()}% against token share, or {limit.strip()[1:]} for the value itself",
                option="ceilings",
            )
        try:
            limit = float(limit)
        except ValueError:
            raise HaigoError(
                f"the ceiling of '{name}' is '{limit}'.", "give a number, or +5% against token share"
            ) from None
    if not np.isfinite(limit):
        raise HaigoError(f"the ceiling of '{name}' is {limit}.", "give a finite number")
    return sign * float(limit)


def parse(
    words: Sequence[str],
    ceilings: Mapping[str, float | str] = MappingProxyType({}),
    maximise: Sequence[str] = (),
    minimise: Sequence[str] = (),
    standardise: bool = True,
    scores: Sequence[str] = (),
) -> Objective:
    """An objective from the command line: `news_bpb=1.0,other_bpb=0.5`, scores `qa_acc=1119:0.2`."""
    weights: dict[str, float] = {}
    for word in ",".join(words).split(","):
        name, _, value = word.strip().rpartition("=") if "=" in word else (word.strip(), "", "1")
        if not name:
            continue
        if name.strip() in weights:
            raise HaigoError(f"--objective names '{name.strip()}' twice.", "give each metric once", option="objective")
        try:
            weights[name.strip()] = float(value)
        except ValueError:
            raise HaigoError(f"--objective {word}: '{value}' is no number.", "write METRIC=WEIGHT") from None
    both = sorted({*minimise} & {*maximise})
    if both:
        raise HaigoError(
            f"'{both[0]}' stands in --maximise and in --minimise.", "give it to one of them", option="maximise"
        )
    ways = {**dict.fromkeys(minimise, "min"), **dict.fromkeys(maximise, "max")}
    items: dict[str, int] = {}
    chance: dict[str, float] = {}
    for word in scores:
        name, equals, value = word.strip().rpartition("=")
        count, colon, level = value.partition(":")
        if name in items:
            raise HaigoError(f"--score names '{name}' twice.", "give each score once", option="scores")
        try:
            items[name] = int(count)
            if colon:
                chance[name] = float(level)
        except ValueError:
            equals = ""
        if not equals or not name:
            raise HaigoError(f"--score {word} is not METRIC=ITEMS[:CHANCE].", "write e.g. --score qa_acc=1119:0.2")
    return Objective(
        weights=weights, direction=ways, ceilings=dict(ceilings), standardise=standardise, items=items, chance=chance
    )
