"""Simulated worlds for judging a search: smooth and rough regressions of RegMix's 768 public runs at 1M parameters.

Each world says 13 losses for any mixture of the Pile's 17 corpora. None of them has the form of a mixing law of `mixer`,
and none is convex by construction: a Gaussian process over sqrt(w), one over log(w + 0.01), extremely random trees, a
local ridge regression, small neural networks, and boosted trees on top of a ridge. They are surrogates: what is right
in them is only as right as a regression of 768 runs can be, and far from the runs they say the mean or the nearest.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np
from _public_runs import table

from mixer.arrays import Array
from mixer.design import candidates
from mixer.limits import project_box
from mixer.supply import Constraints, FullRepetition

NAMES = ("gp", "trees", "networks", "gplog", "ridge", "boosted", "gp60")
"""The first three were looked at while the search was improved; the others only confirm. gp60: the 256 runs at 60M."""

CHOSEN_ON = NAMES[:3]

# Tokens of each corpus as a part of the Pile, as RegMix lists them.
_SHARE = {
    "arxiv": 0.113285273, "freelaw": 0.079608651, "nih_exporter": 0.003913491, "pubmed_central": 0.185375901,
    "wikipedia_en": 0.051081359, "dm_mathematics": 0.015962925, "github": 0.101750772, "philpapers": 0.003707518,
    "stackexchange": 0.066529351, "enron_emails": 0.001750772, "gutenberg_pg_19": 0.027085479,
    "pile_cc": 0.236869207, "ubuntu_irc": 0.01184346, "europarl": 0.007929969, "hackernews": 0.008032956,
    "pubmed_abstracts": 0.038825953, "uspto_backgrounds": 0.046446962,
}  # fmt: skip

Losses = Callable[[Array, Any], Array]
"""weights (n, corpora), numbers of the losses wanted (m,) -> losses (n, m)."""


@dataclass(kw_only=True)
class World:
    """A simulated laboratory: what a proxy of any mixture would measure."""

    name: str
    corpora: list[str]
    metrics: list[str]
    share: Array
    """(corpora,) token share."""
    function: Losses
    noise: Array
    """(13,) standard deviation of one run around its mean."""
    best: dict[str, float] = field(default_factory=dict)
    limits: Constraints | None = None
    """Of a table that brings its own."""

    def losses(self, weights: Array) -> Array:
        """All losses without noise, (n, 13)."""
        return self.function(weights, np.arange(len(self.metrics)))

    def value(self, weights: Array, coefficients: Array) -> Array:
        """The weighted sum of losses, (n,)."""
        which = np.flatnonzero(coefficients)
        return np.asarray(self.function(weights, which) @ coefficients[which])

    @property
    def constraints(self) -> Constraints:
        """No corpus above four times its token share (four epochs over everything there is), all tokens counted."""
        if self.limits is not None:
            return self.limits
        tokens = self.share * 1e12
        return Constraints(
            corpora=self.corpora, supply=tokens, target_tokens=1e12, max_epochs=4.0, repetition=FullRepetition()
        )

    def proxies(self, n: int, seed: int, mixtures: Array | None = None) -> tuple[Array, Array]:
        """Mixtures (n, corpora), random within the caps unless given, and their losses with noise."""
        rng = np.random.default_rng([seed, 77])
        w = candidates(self.constraints, n, rng) if mixtures is None else mixtures
        return w, self.losses(w) + self.noise * rng.standard_normal((len(w), len(self.noise)))

    def grouped(self, groups: int, seed: int, times: float) -> World:
        """The same with its corpora joined at random into few, none above so many times its token share."""
        rng, corpora = np.random.default_rng([seed, 41]), len(self.share)
        while True:
            member = np.eye(groups)[rng.permutation(np.arange(corpora) % groups)]
            share = self.share @ member
            if share.min() > 0.02 and share.max() < 0.6:
                break
        within = (member * self.share[:, None] / share).T
        names = [f"g{i}" for i in range(groups)]
        limits = Constraints(
            corpora=names, supply=share * 1e12, target_tokens=1e12, max_epochs=times, repetition=FullRepetition()
        )
        return replace(
            self,
            corpora=names,
            share=share,
            function=lambda w, which: self.function(w @ within, which),
            best={},
            limits=limits,
        )

    def regret(self, weights: Array, coefficients: Array) -> float:
        """0 at the best mixture there is, 1 at token share."""
        key = coefficients.tobytes().hex()
        if key not in self.best:
            self.best[key] = least(self, coefficients)
        share, here = (float(self.value(w[None], coefficients)[0]) for w in (self.share, weights))
        return (here - self.best[key]) / (share - self.best[key])


def least(world: World, coefficients: Array, seed: int = 0) -> float:
    """The least value of a sum of losses within the caps: 8,000 random mixtures, then a long evolution of the best."""
    rng = np.random.default_rng(seed)
    upper = world.constraints.limits().upper
    lower = np.zeros_like(upper)
    pool = np.vstack([candidates(world.constraints, 8_000, rng), world.share[None]])
    value = world.value(pool, coefficients)
    keep = np.argsort(value)[:40]
    pool, value = pool[keep], value[keep]
    for round_ in range(80):
        parents = rng.integers(0, len(pool), 250)
        others = rng.integers(0, len(pool), 250)
        size = 10.0 ** rng.uniform(-3.0, -0.5 - 1.0 * round_ / 80, (250, 1))
        child = pool[parents] + rng.uniform(0, 1, (250, 1)) * (pool[others] - pool[parents]) * (size > 0.03)
        some = rng.random((250, len(upper))) < 0.3
        child = child + size * rng.standard_normal(child.shape) * some * np.maximum(np.sqrt(upper), 0.1)
        child = project_box(child, lower, upper)
        both, values = np.vstack([pool, child]), np.r_[value, world.value(child, coefficients)]
        keep = np.argsort(values, kind="stable")[:40]
        pool, value = both[keep], values[keep]
    return float(value[0])


@lru_cache(maxsize=2)
def _runs(size: str = "1m") -> tuple[list[str], list[str], Array, Array]:
    halves = ("train", "test") if size == "1m" else ("test",)
    parts = [table(half, size, others=True) for half in halves]
    corpora = [name.removeprefix("train_the_pile_") for name in parts[0].corpora]
    metrics = [name.removeprefix("metric/the_pile_").removesuffix("_val_loss") for name in parts[0].metrics]
    return corpora, metrics, np.vstack([p.weights for p in parts]), np.vstack([p.losses for p in parts])


def world(name: str) -> World:
    """Fit one of `NAMES`; seconds to a minute of one core."""
    corpora, metrics, w, y = _runs("60m" if name == "gp60" else "1m")
    share = np.array([_SHARE[c] for c in corpora])
    fit = {
        "gp": lambda: _process(w, y, np.sqrt, 2.5),
        "gp60": lambda: _process(w, y, np.sqrt, 2.5),
        "gplog": lambda: _process(w, y, lambda x: np.log(x + 0.01) / 3.0, 1.5),
        "trees": lambda: _trees(w, y),
        "networks": lambda: _networks(w, y),
        "ridge": lambda: _local_ridge(w, y),
        "boosted": lambda: _boosted(w, y),
    }[name]
    # what is left over is an upper bound of a run's noise; surrogates that fit their runs exactly leave too little
    noise = np.full(len(metrics), 0.02)
    return World(name=name, corpora=corpora, metrics=metrics, share=share / share.sum(), function=fit(), noise=noise)


def _process(w: Array, y: Array, change: Callable[[Array], Array], smoothness: float) -> Losses:
    """A Gaussian process with one length a corpus (by likelihood on 256 runs), conditioned on all runs."""
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

    x, some = change(w), np.random.default_rng(0).permutation(len(w))[:256]
    mean, unit = y.mean(0), y.std(0)
    made: list[Any] = []
    for j in range(y.shape[1]):
        z = (y[:, j] - mean[j]) / unit[j]
        first = Matern(np.ones(x.shape[1]), (0.05, 50.0), nu=smoothness)
        kernel = ConstantKernel(2.0, (0.1, 30.0)) * first + WhiteKernel(0.01, (1e-4, 0.3))
        with warnings.catch_warnings():  # a corpus that does not matter drives its length to the bound
            warnings.simplefilter("ignore")
            part = GaussianProcessRegressor(kernel, alpha=1e-8, random_state=0).fit(x[some], z[some])
        made.append(GaussianProcessRegressor(part.kernel_, alpha=1e-8, optimizer=None).fit(x, z))

    def losses(weights: Array, which: Array) -> Array:
        points = change(weights)
        out = np.empty((len(points), len(which)))
        for first in range(0, len(points), 2500):
            part = points[first : first + 2500]
            for i, j in enumerate(which):
                out[first : first + 2500, i] = made[j].kernel_.k1(part, x) @ made[j].alpha_
        return out * unit[which] + mean[which]

    return losses


def _trees(w: Array, y: Array) -> Losses:
    from sklearn.ensemble import ExtraTreesRegressor

    unit = y.std(0)
    model = ExtraTreesRegressor(200, min_samples_leaf=2, max_features=0.7, random_state=0, n_jobs=1).fit(w, y / unit)
    return lambda weights, which: (model.predict(weights) * unit)[:, which]


def _networks(w: Array, y: Array) -> Losses:
    from sklearn.neural_network import MLPRegressor

    mean, unit = y.mean(0), y.std(0)

    def features(weights: Array) -> Array:
        return np.hstack([3.0 * np.sqrt(weights), np.log(weights + 0.01) + 3.0])

    models = [
        MLPRegressor(
            hidden_layer_sizes=(64, 32), activation="tanh", alpha=0.05, solver="lbfgs", max_iter=400, random_state=seed
        ).fit(features(w), (y - mean) / unit)
        for seed in range(4)
    ]
    return lambda weights, which: (np.mean([m.predict(features(weights)) for m in models], axis=0) * unit + mean)[
        :, which
    ]


def _local_ridge(w: Array, y: Array) -> Losses:
    """At every point a ridge regression on sqrt(w) of the nearest runs, near ones counting more."""
    root = np.sqrt(w)

    def losses(weights: Array, which: Array) -> Array:
        out = np.empty((len(weights), y.shape[1]))
        for first in range(0, len(weights), 500):
            points = np.sqrt(weights[first : first + 500])
            square = np.maximum(2.0 - 2.0 * points @ root.T, 0.0)  # sqrt(w) has length 1
            near = np.argpartition(square, 120, axis=1)[:, :120]
            away = np.take_along_axis(square, near, axis=1)
            count = np.exp(-2.0 * away / away.max(1, keepdims=True))
            x = root[near] - points[:, None]
            total = count.sum(1)[:, None]
            x_mean = np.einsum("nk,nkc->nc", count, x) / total
            y_mean = np.einsum("nk,nkt->nt", count, y[near]) / total
            x, z = x - x_mean[:, None], y[near] - y_mean[:, None]
            weighted = x * count[:, :, None]
            matrix = np.matmul(weighted.transpose(0, 2, 1), x) + 0.15 * np.eye(x.shape[2])
            slope = np.linalg.solve(matrix, np.matmul(weighted.transpose(0, 2, 1), z))
            out[first : first + 500] = y_mean - np.einsum("nc,nct->nt", x_mean, slope)
        return out[:, which]

    return losses


def _boosted(w: Array, y: Array) -> Losses:
    """Ridge on log weights, and boosted trees on what it leaves: kinks and steps on a smooth slope."""
    import lightgbm

    def features(weights: Array) -> Array:
        logs = np.log(weights + 0.005)
        return np.hstack([logs, np.sqrt(weights), np.ones((len(weights), 1))])

    x = features(w)
    slope = np.linalg.solve(x.T @ x + 1.0 * np.eye(x.shape[1]), x.T @ y)
    rest = y - x @ slope
    options: dict[str, Any] = {"n_estimators": 400, "learning_rate": 0.03, "num_leaves": 12, "min_child_samples": 8}
    options |= {"subsample": 0.7, "subsample_freq": 1, "colsample_bytree": 0.6, "n_jobs": 1, "verbose": -1}
    models = [lightgbm.LGBMRegressor(**options, random_state=0).fit(w, column).booster_ for column in rest.T]

    def losses(weights: Array, which: Array) -> Array:
        steps = np.stack([models[j].predict(weights, num_threads=1) for j in which], axis=1)
        return features(weights) @ slope[:, which] + steps

    return losses
