"""Simulated sources that were parted into domains: what training on any mixture of the domains would show.

None has the form of a law in `mixer`. `sources`: the domains of a source are nearly as good as each other (a logarithm of sums
of what saturates). `topics`: what counts is the topic, wherever it comes from. `process`: a smooth random function of sources
and domains, not convex. `flat`: every domain has an effect and a power of its own, so that groups say nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mixer.limits import project_box
from mixer.supply import Constraints, FullRepetition

Array = npt.NDArray[Any]

NAMES = ("sources", "topics", "process")
SOURCES, PARTS, LOSSES = 7, 4, 6


@dataclass(kw_only=True)
class World:
    """A laboratory; losses are lower the better."""

    share: Array
    """(28,) of all tokens."""
    place: Array
    """(28,) the source of each domain."""
    function: Callable[[Array], Array]
    """(n, 28) -> (n, losses)"""
    counted: Callable[[Array], Array]
    """The same of n-gram models: another function, whose effects of domains and sources go with the true ones (about .8)."""

    def __post_init__(self) -> None:
        self.of_source: Array = np.bincount(self.place, self.share)
        self.inside = self.share / self.of_source[self.place]
        rng = np.random.default_rng(1)
        some = np.vstack([rng.dirichlet(3 * 28 * self.share, 200), rng.dirichlet(np.ones(28), 200)])
        values = self.function(some)
        self.noise, self.unit = 0.05 * values.std(axis=0), values.std(axis=0)

    def domains(self, grouped: bool = True) -> Constraints:
        names = [f"s{g}.t{i % PARTS}" for i, g in enumerate(self.place)]
        groups = {f"s{g}": ([names[j] for j in np.flatnonzero(self.place == g)], 0.0, 1.0) for g in range(SOURCES)}
        return Constraints(
            corpora=names, supply=self.share * 1e12, target_tokens=1e12, repetition=FullRepetition(),
            groups=groups if grouped else {},
        )  # fmt: skip

    def sources(self) -> Constraints:
        return Constraints(
            corpora=[f"s{g}" for g in range(SOURCES)], supply=self.of_source * 1e12, target_tokens=1e12,
            repetition=FullRepetition(),
        )  # fmt: skip

    def parted(self, sources: Array) -> Array:
        """(n, sources) -> (n, domains), each source as it comes."""
        return sources[:, self.place] * self.inside

    def runs(self, weights: Array, seed: int) -> Array:
        """Losses of runs, with noise."""
        values = self.function(weights)
        return values + np.random.default_rng([seed, 7]).normal(size=values.shape) * self.noise

    def value(self, weights: Array, goal: Array) -> Array:
        """(n,) of the objective `goal` (losses,), each loss in its spread over mixtures."""
        return np.asarray((self.function(np.atleast_2d(weights)) / self.unit) @ goal)

    def best(self, limits: Constraints, goal: Array, parted: bool, seed: int = 0) -> float:
        """The least value within the limits, by random steps from many mixtures."""
        from mixer.methods import searched

        def value(points: Array) -> Array:
            return self.value(self.parted(points) if parted else points, goal)

        return float(min(value(searched(value, limits, s, 4000)[None])[0] for s in range(seed, seed + 3)))


def world(name: str, seed: int) -> World:
    rng = np.random.default_rng([seed, NAMES.index(name) if name in NAMES else 9])
    share = (rng.dirichlet(np.full(SOURCES, 2.5))[:, None] * rng.dirichlet(np.full(PARTS, 4.0), SOURCES)).ravel()
    share = np.maximum(share, 0.004)
    place = np.repeat(np.arange(SOURCES), PARTS)
    share /= share.sum()
    made = {"sources": _sources, "topics": _topics, "process": _process, "flat": _flat}[name]
    true, counted = made(rng, share, place)
    return World(share=share, place=place, function=true, counted=counted)


Pair = tuple[Callable[[Array], Array], Callable[[Array], Array]]
_SAME = 0.8


def _near(values: Array, rng: np.random.Generator) -> Array:
    """Numbers of the same spread that go with these, by a correlation of _SAME."""
    other = rng.normal(size=values.shape) * values.std(axis=-1, keepdims=True)
    return _SAME * values + np.sqrt(1 - _SAME**2) * other


def _sources(rng: np.random.Generator, share: Array, place: Array) -> Pair:
    big, own = rng.normal(0, 1.2, (LOSSES, SOURCES)), rng.normal(0, 0.35, (LOSSES, len(place)))
    big[np.arange(LOSSES), rng.permutation(SOURCES)[:LOSSES]] += 1.4
    member = np.eye(SOURCES)[place]

    def made(big: Array, own: Array, bend: float) -> Callable[[Array], Array]:
        def losses(w: Array) -> Array:
            each = []
            for a, q in zip(np.exp(big), np.exp(own), strict=True):
                used = (q * share * 3.0 * np.log1p(w / (3.0 * share))) @ member
                each.append(3.0 - 0.4 * np.log(0.3 + np.log1p(bend * used) @ a))
            return np.stack(each, axis=1)

        return losses

    return made(big, own, 15.0), made(_near(big, rng), _near(own, rng), 5.0)


def _topics(rng: np.random.Generator, share: Array, place: Array) -> Pair:
    of_topic, of_source = np.eye(PARTS)[np.tile(np.arange(PARTS), SOURCES)], np.eye(SOURCES)[place]
    quality, by_topic = rng.normal(0, 0.3, (LOSSES, SOURCES)), rng.normal(0, 1.0, (LOSSES, PARTS))
    rest = rng.normal(0, 1.0, (LOSSES, SOURCES))

    def made(quality: Array, by_topic: Array, rest: Array, power: float) -> Callable[[Array], Array]:
        def losses(w: Array) -> Array:
            each = []
            for q, a, b in zip(np.exp(quality[:, place]), np.exp(by_topic), 0.3 * np.exp(rest), strict=True):
                sums = np.sqrt((q * w) @ of_topic) @ a + np.sqrt(w @ of_source) @ b
                each.append(1.5 + 1.5 * (0.1 + sums) ** -power)
            return np.stack(each, axis=1)

        return losses

    return made(quality, by_topic, rest, 0.6), made(_near(quality, rng), _near(by_topic, rng), _near(rest, rng), 0.3)


def _process(rng: np.random.Generator, share: Array, place: Array) -> Pair:
    member, waves = np.eye(SOURCES)[place], 300
    seen = np.r_[np.full(SOURCES, 1.0 / 0.6), np.full(len(place), 0.5 / 0.5)]
    way = rng.normal(size=(LOSSES, waves, len(seen))) * seen
    phase, height = rng.uniform(0, 2 * np.pi, (LOSSES, waves)), rng.normal(size=(LOSSES, waves)) * np.sqrt(2 / waves)
    slope = rng.normal(0, 1.0, (LOSSES, SOURCES))

    def made(height: Array, slope: Array) -> Callable[[Array], Array]:
        trend = np.exp(slope) / np.exp(slope).mean()

        def losses(w: Array) -> Array:
            x = np.sqrt(np.hstack([w @ member, w]))
            smooth = np.stack([np.cos(x @ k.T + p) @ h for k, p, h in zip(way, phase, height, strict=True)], axis=1)
            return 3.0 + 0.15 * smooth - 0.2 * x[:, :SOURCES] @ trend.T

        return losses

    return made(height, slope), made(_near(height, rng), _near(slope, rng))


def _flat(rng: np.random.Generator, share: Array, place: Array) -> Pair:
    effect, power = rng.normal(0, 1.2, (LOSSES, len(place))), rng.uniform(0.4, 0.8, (LOSSES, len(place)))

    def made(effect: Array) -> Callable[[Array], Array]:
        def losses(w: Array) -> Array:
            each = zip(np.exp(effect), power, strict=True)
            return np.stack([1.5 + 1.5 * (0.3 + (a * w**g).sum(axis=1)) ** -0.4 for a, g in each], axis=1)

        return losses

    return made(effect), made(_near(effect, rng))


def within(weights: Array, limits: Constraints) -> Array:
    made = limits.limits()
    return np.asarray(project_box(weights, made.lower, made.upper))
