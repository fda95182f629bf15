"""One law for runs of all sizes and token counts: how a loss falls with mixture, parameters N and tokens D together.

    L(w; N, D) = c + sum_x A_x phi(psi_x) + b prod_x exp(beta_x psi_x) (e + sum_j a_j exp(sum_x kappa_jx psi_x) w_j^g_j)^-alpha

psi_x is the logarithm of N, or of D, over that of the base scale, phi(psi) = (1 - exp(-gamma psi)) / gamma. At the base scale
this is `mixer.laws_share`; what grows with the scale is the level (A), the spread over mixtures (beta) and what each corpus is
worth (kappa). All metrics are fitted side by side by `least_squares`; what moves with the scale is pooled over them: each
parameter's centre and spread come from all metrics (a few rounds of expectation and maximisation), and that centre is
drawn to "no change" where the runs say nothing. At every scale the law is convex in the weights, as it is at the base.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mixer import least_squares
from mixer.arrays import Array, as_matrix
from mixer.laws_share import EffectiveShareLaw, _sigmoid
from mixer.least_squares import Problems

_LEVEL, _GAMMA, _SPREAD, _WORTH = range(4)  # of an axis; the last is one a corpus
_GAMMA_CENTRE = float(np.log(0.3))
_SHARED = (3.0, 0.5, 0.2, 0.1)
"""How far from "no change" the centre of all metrics may be, per factor e of size or tokens (levels in standard deviations
over the base runs, gamma on a log scale)."""
_OWN = (1.0, 0.3, 0.1, 0.08)
"""How far a metric may be from that centre, before the runs say."""
_STILL = 1e-3  # of these, for a law that does not move
_ROUNDS, _WEIGHT = 4, 10.0  # of pooling; numbers that the value above counts as, beside the runs' own


class ScaleLaw:
    """The law above; `fit`, then attributes ending in `_`.

    Args:
        seed: decides the draws.
        moving: whether what each corpus is worth may change with the scale, and a metric's spread otherwise than all others';
            if not, the order of mixtures is the same at every scale.

    Attributes:
        theta_: (metrics, p) parameters.
        noise_: (metrics,) standard deviation of a base run around the law.
    """

    def __init__(self, seed: int = 0, moving: bool = True) -> None:
        self.seed, self.moving, self.base = seed, moving, EffectiveShareLaw(seed=seed)

    def fit(self, weights: Any, losses: Any, at: Any, counts: Any = None) -> ScaleLaw:
        """Fit all runs at once.

        Args:
            weights: (n, corpora).
            losses: (n, metrics), lower is better.
            at: (n, axes) logarithms of size or tokens over those of the base scale; base runs are all 0, and at least 4.
            counts: (n,) how much each run counts; all 1 when None.

        Raises:
            HaigoError: as of `CurveLaw.fit`, for the base runs.
        """
        w, y, self.at_ = as_matrix(weights, "weights"), as_matrix(losses, "losses"), np.asarray(at, dtype=np.float64)
        one = np.ones(len(w)) if counts is None else np.asarray(counts, dtype=np.float64)
        at_base = ~self.at_.any(axis=1)
        self.base.fit(w[at_base], y[at_base], one[at_base])
        self.corpora_, self.axes_, self.losses_ = w.shape[1], self.at_.shape[1], y
        self.unit_, self.scale_ = self.base.unit_, self.base.scale_
        self._logs, self._counts = self.base.features(w), one
        k, metrics = self.corpora_, y.shape[1]
        self._start, self._width = 2 * k + 5, 3 + k
        free = np.array([1.0, 1.0, 1.0, 1.0] if self.moving else [1.0, 1.0, _STILL, _STILL])
        each = [
            np.r_[sds[:_WORTH], np.full(k, sds[_WORTH])]
            for sds in (_OWN * free, _SHARED * np.r_[1.0, 1.0, 1.0, free[_WORTH]])
        ]
        centre, sd, _ = self.base.prior(k, len(w))
        rest = np.tile(np.r_[0.0, _GAMMA_CENTRE, np.zeros(1 + k)], self.axes_)
        self._none, self._own_sd, self._shared_sd = rest, *(np.tile(sds, self.axes_) for sds in each)
        self._centre, self._sd = np.r_[centre, rest], np.r_[sd, self._own_sd]
        self.theta_ = np.c_[self.base.theta_, np.tile(rest, (metrics, 1))]
        self._settle()
        self.noise_ = self._noise()
        self.draws_: Array | None = None
        return self

    # --- the curve ---------------------------------------------------------------------------------------------------
    def _axis(self, theta: Array, x: int) -> Array:
        first = self._start + x * self._width
        return theta[:, first : first + self._width]

    def _parts(self, theta: Array, scale: Array, logs: Array, at: Array) -> tuple[Array, ...]:
        """Shares (problems, n, k), their sum (problems, n), b sum^-alpha, alpha, g, c + levels."""
        k = logs.shape[1]
        g = self.base._exponents(theta, k)
        power = g[:, None, :] * logs + theta[:, None, :k]
        spread, level = np.zeros((len(theta), len(at))), np.zeros((len(theta), len(at)))
        for x, psi in enumerate(at.T):
            own = self._axis(theta, x)
            power = power + psi[None, :, None] * own[:, None, _WORTH:]
            spread += psi * own[:, _SPREAD, None]
            level += own[:, _LEVEL, None] * _phi(np.exp(own[:, _GAMMA, None]), psi)[0]
        share = np.exp(power)
        inner = np.exp(theta[:, 2 * k])[:, None] + share.sum(2)
        c, pull, alpha, _ = self.base._power(theta[:, : self._start], inner, scale, k)
        return share, inner, pull * np.exp(spread), alpha, g, c[:, None] + scale[:, 3:4] * level

    def _curve(self, theta: Array, scale: Array, logs: Array, at: Array) -> tuple[Array, Array]:
        """Losses (problems, n) and Jacobian (problems, n, p)."""
        k, p = logs.shape[1], self._start
        share, inner, pull, alpha, g, level = self._parts(theta, scale, logs, at)
        slope = -alpha[:, None] * pull / inner
        made = np.empty((len(theta), len(at), theta.shape[1]))
        by_a, by_g = made[:, :, :k], made[:, :, k : 2 * k]
        np.multiply(share, slope[:, :, None], out=by_a)
        np.multiply(by_a * logs[None], (g * (1 - g))[:, None, :], out=by_g)
        s = _sigmoid(theta[:, 2 * k + 4])
        made[:, :, 2 * k] = slope * np.exp(theta[:, 2 * k])[:, None]
        made[:, :, 2 * k + 1] = by_g.sum(2)
        made[:, :, 2 * k + 2] = -pull * alpha[:, None] * np.log(inner)
        made[:, :, 2 * k + 3] = pull
        made[:, :, p - 1] = ((scale[:, 1] - scale[:, 0]) * s * (1 - s))[:, None]
        for x, psi in enumerate(at.T):
            own, block = self._axis(theta, x), made[:, :, p + x * self._width : p + (x + 1) * self._width]
            phi, bent = _phi(np.exp(own[:, _GAMMA, None]), psi)
            block[:, :, _LEVEL] = scale[:, 3:4] * phi
            block[:, :, _GAMMA] = scale[:, 3:4] * own[:, _LEVEL, None] * bent
            block[:, :, _SPREAD] = pull * psi
            block[:, :, _WORTH:] = by_a * psi[None, :, None]
        return level + pull, made

    # --- fitting -----------------------------------------------------------------------------------------------------
    def _problems(self, targets: Array, centre: Array, unequal: Array) -> Problems:
        """Squared errors in units of what a good law leaves over, and the prior, of (problems, n) losses."""
        repeat = len(targets) // len(self.unit_)
        unit = np.tile(np.sqrt(self.base.share_prior.noise) * self.unit_, repeat)
        scale = np.tile(np.c_[self.scale_, self.unit_], (repeat, 1))
        precision = self._counts / unequal**2 / (unit**2)[:, None]
        return Problems(targets, precision, scale, np.broadcast_to(centre, (len(targets), centre.shape[-1])),
                        np.broadcast_to(1.0 / self._sd**2, (len(targets), len(self._sd))))  # fmt: skip

    def _solve(self, theta: Array, stack: Problems, iterations: int) -> Array:
        return least_squares.solve(
            lambda point, scale: self._curve(point, scale, self._logs, self.at_), theta, stack, iterations, 1e-4
        )[0]

    def _settle(self) -> None:
        """Fit, and pool what moves with the scale over metrics; `_centre` and `_sd` are those of all metrics then."""
        first = self._start
        for turn in range(_ROUNDS):
            stack = self._problems(self.losses_.T, self._centre, self.relative(self.at_))
            self.theta_ = self._solve(self.theta_, stack, 40 if turn == 0 else 15)
            self._hessian = self._information(stack)
            open_ = np.linalg.inv(self._hessian)[:, np.arange(first, len(self._sd)), np.arange(first, len(self._sd))]
            if turn == _ROUNDS - 1:
                break
            own, sd = self.theta_[:, first:], self._sd[first:]
            metrics = len(own)
            self._centre[first:] = self._none + (own - self._none).sum(0) / (metrics + (sd / self._shared_sd) ** 2)
            square = ((own - self._centre[first:]) ** 2 + open_).reshape(metrics, self.axes_, self._width)
            for x in range(self.axes_):
                for part in (slice(0, 1), slice(1, 2), slice(2, 3), slice(3, None)):
                    value = square[:, x, part]
                    prior = self._own_sd[x * self._width :][part][0]
                    new = np.sqrt((value.sum() + _WEIGHT * prior**2) / (value.size + _WEIGHT))
                    self._sd[first + x * self._width :][part] = np.clip(new, 0.1 * prior, 2.0 * prior)

    def _information(self, stack: Problems) -> Array:
        """Second derivatives of the objective (metrics, p, p), halved."""
        value, jacobian = self._curve(self.theta_, stack.scale, self._logs, self.at_)
        self._rest, self._precision = value - stack.target, stack.precision
        made = np.matmul((jacobian * stack.precision[:, :, None]).transpose(0, 2, 1), jacobian)
        self._seen = made.copy()
        made[:, np.arange(len(self._sd)), np.arange(len(self._sd))] += stack.pull
        return np.asarray(made)

    def _noise(self) -> Array:
        """Residual standard deviation with the effective number of parameters taken off."""
        used = np.trace(np.linalg.solve(self._hessian, self._seen), axis1=1, axis2=2)
        n = float(self._counts.sum())
        free = np.maximum(n - used, 0.15 * n)
        size = self._rest**2 * self._precision  # in units of the expected noise
        return np.asarray(np.sqrt(size.sum(1) / free * self.base.share_prior.noise) * self.unit_)

    # --- using a fit -------------------------------------------------------------------------------------------------
    def relative(self, at: Array) -> Array:
        """How large noise and spread are there in units of those at the base scale, (n,)."""
        slope = [self._centre[self._start + x * self._width + _SPREAD] for x in range(self.axes_)]
        return np.asarray(np.exp(np.clip(at @ np.array(slope), -1.0, 0.5)))

    def slope(self, at: Array) -> Array:
        """By what factor each loss' differences between mixtures grow from the base scale to (n, axes), (n, metrics)."""
        steps = np.stack([self._axis(self.theta_, x)[:, _SPREAD] for x in range(self.axes_)])
        return np.asarray(np.exp(np.clip(at @ steps, -3.0, 3.0)))

    def predict(self, weights: Any, at: Any) -> Array:
        """Losses of mixtures (n, corpora) at scales (n, axes) or (axes,), (n, metrics)."""
        return self._values(self.theta_, weights, at).T

    def _values(self, theta: Array, weights: Any, at: Any) -> Array:
        w = as_matrix(weights, "weights")
        place = np.broadcast_to(np.asarray(at, dtype=np.float64), (len(w), self.axes_))
        scale = np.tile(np.c_[self.scale_, self.unit_], (len(theta) // len(self.unit_), 1))
        _, _, pull, _, _, level = self._parts(theta, scale, self.base.features(w), place)
        return np.asarray(level + pull)

    def bootstrap(self, draws: int) -> ScaleLaw:
        """Refit to perturbed losses around perturbed priors, shared ones perturbed alike for all metrics; kept in `draws_`."""
        rng = np.random.default_rng([self.seed, 6])
        metrics, p = self.theta_.shape
        unequal = self.relative(self.at_)
        moved = rng.standard_normal((draws, metrics, len(self.at_))) * self.noise_[:, None] * unequal
        centre = self._centre + rng.standard_normal((draws, metrics, p)) * self._sd
        # what all metrics have in common is known as well as that many metrics say it
        common = 1.0 / np.sqrt(1.0 / self._shared_sd**2 + metrics / self._sd[self._start :] ** 2)
        centre[:, :, self._start :] += (rng.standard_normal((draws, p - self._start)) * common)[:, None]
        targets = (self.losses_.T[None] + moved).reshape(draws * metrics, -1)
        stack = self._problems(targets, centre.reshape(-1, p), unequal)
        self.draws_ = self._solve(np.tile(self.theta_, (draws, 1)), stack, 12).reshape(draws, metrics, p)
        return self

    def predict_draws(self, weights: Any, at: Any) -> Array:
        """What each draw predicts, (draws, n, metrics)."""
        assert self.draws_ is not None
        made = self._values(self.draws_.reshape(-1, self.draws_.shape[2]), weights, at)
        return np.asarray(made.reshape(*self.draws_.shape[:2], -1).transpose(0, 2, 1))


def _phi(gamma: Array, psi: Array) -> tuple[Array, Array]:
    """phi(psi) and its derivative by log gamma, for gamma (problems, 1) and psi (n,)."""
    fall = np.exp(-np.clip(gamma * psi, -30.0, 30.0))
    phi = (1.0 - fall) / gamma
    return phi, psi * fall - phi
