"""What all parametric mixing laws have in common: the fit, left-out runs, the bootstrap, and gradients for the search.

A law is a curve L(w; theta) with a prior on theta. This module holds the statistics; `laws_share` and `laws_exp` hold
the curves. Every target is fitted by itself, all of them side by side (`least_squares`).
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Protocol, Self

import numpy as np

from haigo.cli import HaigoError
from mixer import least_squares
from mixer.arrays import MIN_RUNS, Array, as_matrix
from mixer.frames import by_name, columns, pair
from mixer.least_squares import Problems

_LEAVE_ONE_OUT_UP_TO = 64

Sloped = Callable[[Array], tuple[Array, Array]]
"""weights (n, k) -> losses (problems, n), gradients (problems, n, k)."""


class Screen(Protocol):
    """Losses of n-gram models that take part in a fit (`mixer.screened`)."""

    @property
    def weights(self) -> Array: ...

    def anchors(self, measured: Array, keep: Array | None = None) -> tuple[Array, Array]: ...


class CurveLaw(ABC):
    """Base of the parametric laws, with scikit-learn's habits: plain parameters, `fit`, then attributes ending in `_`.

    Args:
        starts: starting points of the fit; the first is the prior's centre.
        seed: decides the other starts and the bootstrap.
        bootstrap: draws behind `predict_std`.

    Attributes:
        theta_: (targets, p) fitted parameters.
        draws_: (draws, targets, p) of the last `bootstrap` call.
        noise_: (targets,) standard deviation of a run's loss around the law.
    """

    iterations, tolerance = 80, 1e-6
    """Of the first fit; left-out runs and draws start from its answer and need fewer."""

    tick: Callable[[float], None] | None = None
    """Told how much of a fit, of the left-out runs or of the draws is done (parts of 1), for a progress line."""

    moved: Array | None = None
    """(draws, n, targets) that the losses of each draw are above those fitted: what is not known of them beyond noise."""

    own_parameters = 1
    """Parameters a corpus; they come first in a parameter vector."""

    def __init__(self, starts: int = 3, seed: int = 0, bootstrap: int = 50) -> None:
        self.starts, self.seed, self.n_bootstrap = starts, seed, bootstrap

    # --- what a curve must say ---------------------------------------------------------------------------------------
    @abstractmethod
    def features(self, weights: Array) -> Array:
        """What the curve reads of the weights, computed once; (n, k)."""

    @abstractmethod
    def curve(self, theta: Array, features: Array, scale: Array) -> tuple[Array, Array]:
        """Losses (problems, n) and Jacobian (problems, n, p)."""

    @abstractmethod
    def values(self, theta: Array, features: Array, scale: Array) -> Array:
        """Losses only, (problems, n)."""

    @abstractmethod
    def slopes(self, theta: Array, weights: Array, scale: Array) -> tuple[Array, Array]:
        """Losses (problems, n) and their gradient in the weights (problems, n, k)."""

    def at(self, theta: Array, scale: Array) -> Sloped:
        """`slopes` of these parameters as a function of the weights alone, for a search that asks it often."""
        return lambda weights: self.slopes(theta, weights, scale)

    @abstractmethod
    def curvature(self, theta: Array, weights: Array, scale: Array) -> tuple[Array, Array]:
        """Second derivatives at one mixture (1, k): diagonals (problems, k) and ratios (problems,).

        Each is diag(diagonal) + ratio times the outer product of the law's gradient with itself.
        """

    def bends(self, theta: Array, weights: Array, scale: Array) -> Array:
        """What second derivatives at one mixture (1, k) have beside `curvature`: the outer products of these columns with
        themselves, (problems, k, r)."""
        return np.zeros((len(theta), weights.shape[1], 0))

    @abstractmethod
    def prior(self, corpora: int, runs: int) -> tuple[Array, Array, float]:
        """Centre (p,), standard deviation (p,), expected residual variance relative to the losses' variance."""

    @abstractmethod
    def transfer(self) -> Array:
        """How much each corpus helps each loss, (targets, corpora), rows summing to 1."""

    @abstractmethod
    def named(self, theta: Array, scale: Array) -> dict[str, Array]:
        """What the curve's formula is made of, by the names it has in the law's docstring, (problems,) or (problems, n) each:
        for a program of another language (`mixer.law_file`)."""

    def own(self) -> int:
        """How many parameters belong to corpora; they come first in a parameter vector."""
        return self.corpora_ * self.own_parameters

    # --- fitting -----------------------------------------------------------------------------------------------------
    def fit(self, weights: Any, losses: Any, counts: Any = None, screen: Screen | None = None) -> CurveLaw:
        """Fit every target.

        Args:
            weights: (n, corpora), rows summing to 1.
            losses: (n,) or (n, targets), lower is better.
            counts: (n,) or (n, targets) how much each run counts; all 1 when None.
            screen: losses of n-gram models that help where runs are few; they take part in the fit and in nothing else.

        Raises:
            HaigoError: fewer than 4 runs, shapes that do not match, a value that is not finite.
        """
        weights, losses = pair(weights, losses)
        self.columns_ = columns(weights)
        w, y = as_matrix(weights, "weights"), as_matrix(losses, "losses")
        self.flat_ = np.ndim(losses) == 1
        if len(w) != len(y):
            raise HaigoError(f"{len(w)} rows of weights and {len(y)} rows of losses.", "give one of each a run")
        if len(w) < MIN_RUNS:
            raise HaigoError(f"{len(w)} proxy runs are too few to fit a law.", f"give at least {MIN_RUNS}")
        self.weights_, self.losses_ = w, y
        self.runs_, self.corpora_ = w.shape
        self.targets_ = y.shape[1]
        one = np.ones(len(w)) if counts is None else np.asarray(counts, dtype=np.float64)
        self.counts_ = np.tile(one, (self.targets_, 1)) if one.ndim == 1 else np.ascontiguousarray(one.T)
        self._left_out: tuple[int, Array, str] | None = None
        self.screen_ = screen
        self._anchors, self._anchor_counts = self._anchored(None)
        everything = np.vstack([y, self._anchors])
        self._features = self.features(w if screen is None else np.vstack([w, screen.weights]))
        spread = everything.std(axis=0)
        self.unit_ = np.where(spread > 1e-12 * np.abs(y).max(0) + 1e-300, spread, 1.0)
        self.scale_ = self._scales(everything)
        self._centre, self._sd, expected = self.prior(self.corpora_, self.runs_)
        self._pull = expected / self.runs_ / self._sd**2
        rng = np.random.default_rng(self.seed)
        t, p = self.targets_, len(self._centre)
        theta = np.tile(self._centre, (self.starts, t, 1))
        # the same starts for all targets, corpus by corpus alike: a permutation of corpora stays a permutation
        own = self.own()
        shift = rng.normal(size=(self.starts, 1, p - own)) * 0.7
        theta[1:, :, own:] += shift[1:] * self._sd[own:]
        both = (np.tile(each, (self.starts, 1)) for each in (self.losses_.T, self.counts_))
        stack = self._problems(*self._with_anchors(*both))
        theta, score = self._solve(theta.reshape(-1, p), stack, self.iterations, self.tolerance)
        chosen = score.reshape(self.starts, t).argmin(axis=0)
        self.theta_ = theta.reshape(self.starts, t, p)[chosen, np.arange(t)]
        self.noise_ = self._noise()
        self.draws_: Array | None = None
        return self

    def recount(self, counts: Array) -> float:
        """Let the runs count otherwise, (n, targets), and go on from the fit there is; the largest change of a count."""
        new = np.ascontiguousarray(counts.T)
        change = float(np.abs(new - self.counts_).max())
        self.counts_, self._left_out, self.draws_ = new, None, None
        stack = self._problems(*self._with_anchors(self.losses_.T, self.counts_))
        self.theta_, _ = self._solve(self.theta_, stack, iterations=30, tolerance=1e-4)
        self.noise_ = self._noise()
        return change

    def _anchored(self, keep: Array | None) -> tuple[Array, Array]:
        """Losses and counts of the screened mixtures, (mixtures, targets) each, with the runs in `keep` (all when None)."""
        if self.screen_ is None:
            return np.empty((0, self.targets_)), np.empty((0, self.targets_))
        return self.screen_.anchors(self.losses_, keep)

    def _with_anchors(
        self, targets: Array, counts: Array, losses: Array | None = None, anchor_counts: Array | None = None
    ) -> tuple[Array, Array]:
        """Losses and counts of the runs (problems, n), followed by those of the screened mixtures.

        Args:
            losses, anchor_counts: (problems, mixtures) of the screen; those of the whole fit, for each repeat, when None.
        """
        if not len(self._anchors):
            return targets, counts
        repeat = len(targets) // self.targets_
        more = np.tile(self._anchors.T, (repeat, 1)) if losses is None else losses
        much = np.tile(self._anchor_counts.T, (repeat, 1)) if anchor_counts is None else anchor_counts
        return np.hstack([targets, more]), np.hstack([counts, much])

    def _scales(self, losses: Array) -> Array:
        """(targets, 3): lowest and highest floor c, unit of b.

        A loss cannot fall below 0, a score turned round can; and no floor is sought further down than ten standard
        deviations, so that losses that vary by little of their level (as 1.20 +- 0.02) are fitted as well as others.
        """
        low, mean, spread = losses.min(0), losses.mean(0), self.unit_
        floor = np.maximum(low - 10 * spread, np.where(low > 0, 0.0, -np.inf))
        return np.stack([floor, low, mean - floor], axis=1)

    def _problems(self, targets: Array, counts: Array, centre: Array | None = None) -> Problems:
        repeat = len(targets) // self.targets_
        unit = np.tile(self.unit_, repeat)
        total = np.tile(self.counts_.sum(1), repeat)
        shape = (len(targets), len(self._centre))
        return Problems(
            targets,
            counts / total[:, None] / (unit**2)[:, None],
            np.tile(self.scale_, (repeat, 1)),
            np.broadcast_to(self._centre, shape) if centre is None else centre,
            np.broadcast_to(self._pull, shape),
        )

    def _solve(self, theta: Array, stack: Problems, iterations: int, tolerance: float = 1e-6) -> tuple[Array, Array]:
        return least_squares.solve(
            lambda point, scale: self.curve(point, self._features, scale),
            theta,
            stack,
            iterations,
            tolerance,
            self.tick,
        )

    def _noise(self) -> Array:
        """Residual standard deviation with the effective number of parameters taken off, (targets,)."""
        value, jacobian = self.curve(self.theta_, self._features, self.scale_)
        n = self.runs_
        _, counts = self._with_anchors(self.losses_.T, self.counts_)
        weighted = jacobian * (counts / self.counts_.sum(1)[:, None])[:, :, None] / (self.unit_**2)[:, None, None]
        hessian = np.matmul(weighted[:, :n].transpose(0, 2, 1), jacobian[:, :n])
        whole = hessian + np.matmul(weighted[:, n:].transpose(0, 2, 1), jacobian[:, n:])
        whole[:, np.arange(len(self._centre)), np.arange(len(self._centre))] += self._pull
        used = np.trace(np.linalg.solve(whole, hessian), axis1=1, axis2=2)
        free = np.maximum(self.runs_ - used, 0.15 * self.runs_)
        return np.asarray(np.sqrt(((value[:, :n] - self.losses_.T) ** 2).sum(1) / free))

    def leverage(self) -> Array:
        """How much of each run's own loss is in the law's value there, 0 to 1, (n, targets)."""
        _, jacobian = self.curve(self.theta_, self._features, self.scale_)
        _, counts = self._with_anchors(self.losses_.T, self.counts_)
        precision = counts / self.counts_.sum(1)[:, None] / (self.unit_**2)[:, None]
        hessian = np.matmul((jacobian * precision[:, :, None]).transpose(0, 2, 1), jacobian)
        hessian[:, np.arange(len(self._centre)), np.arange(len(self._centre))] += self._pull
        own, n = jacobian[:, : self.runs_], self.runs_
        spread = (np.linalg.solve(hessian, own.transpose(0, 2, 1)).transpose(0, 2, 1) * own).sum(2)
        return np.asarray((spread * precision[:, :n]).T)

    def as_if_repeated(self, times: float) -> Self:
        """A copy that draws as if every run had been trained `times` times: the data pull harder, their noise averages out."""
        made = copy.copy(self)
        made.noise_, made._pull = self.noise_ / np.sqrt(times), self._pull / times
        return made

    # --- using a fit -------------------------------------------------------------------------------------------------
    def predict(self, weights: Any) -> Array:
        """Losses (n,) or (n, targets), as `fit` was given them."""
        w = as_matrix(by_name(weights, self.columns_, "weights"), "weights")
        made = self.values(self.theta_, self.features(w), self.scale_).T
        return made[:, 0] if self.flat_ else made

    def left_out(self, folds: Array | None = None) -> Array:
        """Predictions for each run by a law fitted without it, (n, targets).

        Args:
            folds: (n,) fold number of each run; every run is its own fold when None.
        """
        place = np.arange(self.runs_) if folds is None else np.asarray(folds)
        numbers = np.unique(place)
        t = self.targets_
        keep = (place[None, :] != numbers[:, None])[:, None, :] * self.counts_
        losses = counts = None
        if self.screen_ is not None:  # its line to the runs is fitted anew, without those left out
            each = [self._anchored(place != number) for number in numbers]
            losses, counts = (np.vstack([pair[i].T for pair in each]) for i in range(2))
        runs = np.tile(self.losses_.T, (len(numbers), 1)), keep.reshape(-1, self.runs_)
        stack = self._problems(*self._with_anchors(*runs, losses, counts))
        theta, _ = self._solve(np.tile(self.theta_, (len(numbers), 1)), stack, iterations=40, tolerance=1e-5)
        value = self.values(theta, self._features[: self.runs_], stack.scale).reshape(len(numbers), t, self.runs_)
        return np.asarray(value[np.searchsorted(numbers, place), :, np.arange(self.runs_)])

    def bootstrap(self, draws: int, seed: int | None = None) -> Array:
        """Refit to perturbed losses around perturbed priors, warm-started; (draws, targets, p), kept in `draws_`.

        Each draw adds noise of the estimated size to the losses and moves the prior's centre by its own spread
        (randomise-then-optimise). A plain resampling of runs would call directions that no run speaks about certain.
        """
        rng = np.random.default_rng(self.seed + 1 if seed is None else seed)
        t, p = self.targets_, len(self._centre)
        noise = rng.standard_normal((draws, t, self.runs_)) * self.noise_[None, :, None]
        centre = self._centre + rng.standard_normal((draws, t, p)) * self._sd
        if self.moved is not None:
            noise += self.moved[np.arange(draws) % len(self.moved)].transpose(0, 2, 1)
        targets = (self.losses_.T[None] + noise).reshape(draws * t, -1)
        more = None
        if len(self._anchors):  # a mixture that counts a hundredth of a run is ten times as uncertain
            size = self.noise_[:, None] / np.sqrt(np.maximum(self._anchor_counts.T, 1e-6))
            moved = self._anchors.T + rng.standard_normal((draws, t, len(self._anchors))) * size
            more = moved.reshape(draws * t, -1)
        runs = self._with_anchors(targets, np.tile(self.counts_, (draws, 1)), more)
        stack = self._problems(*runs, centre.reshape(-1, p))
        theta, _ = self._solve(np.tile(self.theta_, (draws, 1)), stack, iterations=25, tolerance=1e-3)
        self.draws_ = theta.reshape(draws, t, p)
        return self.draws_

    def predict_draws(self, weights: Any) -> Array:
        """What each bootstrap draw predicts, (draws, n, targets)."""
        draws = self.draws_ if self.draws_ is not None else self.bootstrap(self.n_bootstrap)
        x = self.features(as_matrix(weights, "weights"))
        scale = np.tile(self.scale_, (len(draws), 1))
        made = self.values(draws.reshape(-1, draws.shape[2]), x, scale)
        return np.asarray(made.reshape(len(draws), self.targets_, -1).transpose(0, 2, 1))

    def predict_std(self, weights: Any) -> Array:
        """Standard deviation of a new run's loss around `predict`: that of the law and that of one run."""
        made = np.sqrt(self.predict_draws(weights).var(axis=0) + self.noise_**2)
        return np.asarray(made[:, 0] if self.flat_ else made)


def folds(runs: int, count: int, seed: int) -> Array:
    """A random fold number for each run, (runs,), folds as equal as can be."""
    return np.asarray(np.random.default_rng(seed).permutation(runs) % count, dtype=np.float64)


def left_out_of(law: CurveLaw, seed: int = 0) -> tuple[Array, str]:
    """Left-out predictions of a fitted law, (n, targets), and how: leave-one-out up to 64 runs, else ten folds."""
    if law._left_out is None or law._left_out[0] != seed:
        one_by_one = law.runs_ <= _LEAVE_ONE_OUT_UP_TO
        place = None if one_by_one else folds(law.runs_, 10, seed)
        law._left_out = seed, law.left_out(place), "leave-one-out" if one_by_one else "10-fold"
    return law._left_out[1:]
