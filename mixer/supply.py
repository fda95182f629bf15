"""What there is of each corpus and what may be used: tokens, epochs, limits, and what a repeated token is worth.

supply.csv has one row a corpus: `corpus`, and any of `tokens`, `min`, `max` (weights), `max_epochs`, `group`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from haigo.cli import HaigoError, nearest
from haigo.formats.tables import read_supply
from mixer.arrays import Array
from mixer.limits import Limit, Limits
from mixer.mixture import DIGITS
from mixer.options import MAX_EPOCHS, LimitOptions

__all__ = [
    "Constraints",
    "FullRepetition",
    "Repetition",
    "SoftRepetition",
    "constraints_from",
    "read_supply",
    "within_tested",
]


class Repetition(Protocol):
    """What a repeated token is worth: how many weights' worth of new tokens a weight gives."""

    def effective(self, weights: Array, tokens: Array, target_tokens: float) -> tuple[Array, Array]:
        """Effective weights and their slope d effective / d weight, both shaped as `weights` (..., corpora)."""
        ...


@dataclass(frozen=True)
class SoftRepetition:
    """D' = U + U R* (1 - exp(-R / R*)), U unique tokens, R = epochs - 1 (Muennighoff et al. 2023).

    Concave and rising in the weight, so a convex law of the effective weights stays convex in the weights.
    """

    r_star: float = 15.39

    def effective(self, weights: Array, tokens: Array, target_tokens: float) -> tuple[Array, Array]:
        whole = tokens / target_tokens  # the weight that is one epoch
        unique = np.minimum(weights, whole)
        repeats = np.maximum(weights / np.maximum(whole, 1e-300) - 1.0, 0.0)
        fade = np.exp(-repeats / self.r_star)
        made = unique + whole * self.r_star * (1.0 - fade)
        return made, np.where(weights <= whole, 1.0, fade)


@dataclass(frozen=True)
class FullRepetition:
    """A repeated token is worth as much as a new one."""

    def effective(self, weights: Array, tokens: Array, target_tokens: float) -> tuple[Array, Array]:
        return weights, np.ones_like(weights)


@dataclass(frozen=True, kw_only=True)
class Constraints:
    """What a mixture of these corpora must satisfy. Arrays are (corpora,), in the order of `corpora`."""

    corpora: Sequence[str]
    lower: Array | None = None
    """Smallest weights; 0 when None."""
    upper: Array | None = None
    """Largest weights; 1 when None. Equal lower and upper fix a corpus."""
    groups: Mapping[str, tuple[Sequence[str], float, float]] = field(default_factory=dict)
    """Name -> (members, smallest, largest sum of their weights); with 0 and 1 they are only told to belong together."""
    supply: Array | None = None
    """Tokens of each corpus."""
    target_tokens: float | None = None
    """Tokens the target run will see; without it the supply sets no cap."""
    max_epochs: Array | float = MAX_EPOCHS
    """How often a corpus may be repeated at most."""
    prior: Array | None = None
    """Where to stay near; token share when None and the supply is known, else uniform."""
    tested: Array | None = None
    """Least weight each corpus had in any proxy; a law says nothing sure below it. 0 when None."""
    kl: float | None = None
    """Strength of the pull to the prior; the search's default when None."""
    repetition: Repetition = field(default_factory=SoftRepetition)

    def __post_init__(self) -> None:
        k = len(self.corpora)
        if len(set(self.corpora)) != k or k < 1:
            raise HaigoError("corpora must be named, each once.", "check the list of corpora")
        for name in ("lower", "upper", "supply", "prior", "tested"):
            value = getattr(self, name)
            if value is None:
                continue
            made = np.asarray(value, dtype=np.float64)
            if made.shape != (k,):
                raise HaigoError(f"`{name}` has {made.size} values for {k} corpora.", "give one a corpus")
            for j in map(int, np.flatnonzero(~np.isfinite(made) | (made < 0))):
                raise HaigoError(f"`{name}` of '{self.corpora[j]}' is {made[j]:g}.", "give a finite number >= 0")
            object.__setattr__(self, name, made)
        epochs = np.broadcast_to(np.asarray(self.max_epochs, dtype=np.float64), (k,)).copy()
        if not (epochs > 0).all():
            raise HaigoError("max_epochs must be above 0.", "give how often a corpus may be repeated, e.g. 4")
        object.__setattr__(self, "max_epochs", epochs)
        if self.supply is not None:
            for j in map(int, np.flatnonzero(self.supply <= 0)):
                raise HaigoError(f"the supply of '{self.corpora[j]}' is 0 tokens.", "drop that corpus from all tables")
        if self.target_tokens is not None and not 0 < float(self.target_tokens) < np.inf:
            raise HaigoError(f"target_tokens is {self.target_tokens}.", "give the tokens of the target run, e.g. 20e9")
        if self.kl is not None and not 0 <= float(self.kl) <= 1e6:
            raise HaigoError(f"the pull to the prior (kl) is {self.kl}.", "give a number from 0 to 1e6, e.g. 0.003")
        for name, (members, low, high) in self.groups.items():
            for member in members:
                if member not in self.corpora:
                    raise HaigoError(
                        f"group '{name}' names '{member}', which is no corpus.{nearest(member, self.corpora)}",
                        f"corpora: {', '.join(self.corpora)}",
                    )
            if not 0 <= low <= high:
                raise HaigoError(f"group '{name}' has the limits {low:g} to {high:g}.", "give 0 <= smallest <= largest")
        if self.prior is not None:
            if not self.prior.sum() > 0:
                raise HaigoError("the prior's weights are all 0.", "give a mixture")
            object.__setattr__(self, "prior", self.prior / self.prior.sum())

    @property
    def token_share(self) -> Array | None:
        """Weights in proportion to the supply; None when it is not known."""
        return None if self.supply is None else self.supply / self.supply.sum()

    @property
    def reference(self) -> Array:
        """The prior, else token share, else uniform: what a recommendation is compared with."""
        if self.prior is not None:
            return self.prior
        share = self.token_share
        return np.full(len(self.corpora), 1.0 / len(self.corpora)) if share is None else share

    @property
    def reference_name(self) -> str:
        """What `reference` is, in words."""
        return "prior" if self.prior is not None else "uniform" if self.supply is None else "token share"

    def caps(self) -> Array | None:
        """Largest weight the supply allows, max_epochs * tokens / target_tokens; None without both numbers."""
        if self.supply is None or self.target_tokens is None:
            return None
        return np.asarray(self.max_epochs * self.supply / self.target_tokens)

    def epochs(self, weights: Any) -> Array | None:
        """How often each corpus is passed over at these weights; None when that is not known."""
        if self.supply is None or self.target_tokens is None:
            return None
        return np.asarray(np.asarray(weights) * self.target_tokens / self.supply)

    def effective(self, weights: Array) -> tuple[Array, Array]:
        """Weights as the law sees them (repetition discounted) and the slope, both (..., corpora)."""
        if self.supply is None or self.target_tokens is None:
            return weights, np.ones_like(weights)
        return self.repetition.effective(weights, self.supply, float(self.target_tokens))

    def limits(self) -> Limits:
        """All limits as linear inequalities, each with the words a person would use for it."""
        made: list[Limit] = []
        k = len(self.corpora)
        caps = self.caps()
        for j, name in enumerate(self.corpora):
            row = np.eye(k)[j]
            if self.lower is not None and self.lower[j] > 0:
                made.append(Limit(f"{name} >= {self.lower[j]:.4g}", -row, -float(self.lower[j]), "min", name))
            if self.upper is not None and self.upper[j] < 1:
                made.append(Limit(f"{name} <= {self.upper[j]:.4g}", row, float(self.upper[j]), "max", name))
            if caps is not None and caps[j] < 1:
                passes = np.asarray(self.max_epochs)[j]
                words = f"{name} at most {passes:g} epochs (weight <= {caps[j]:.4g})"
                made.append(Limit(words, row, float(caps[j]), "epochs", name))
        if self.tested is not None:
            room = Limits(list(self.corpora), made)
            for j, name in enumerate(self.corpora):
                least = float(min(self.tested[j], room.upper[j]))
                if least > room.lower[j]:
                    words = f"{name} >= {least:.4g} (least weight of any proxy)"
                    made.append(Limit(words, -np.eye(k)[j], -least, "min", name))
        for name, (members, low, high) in self.groups.items():
            row = np.isin(np.asarray(self.corpora), list(members)).astype(float)
            if low > 0:
                made.append(Limit(f"group {name} >= {low:.4g}", -row, -float(low), "group min", name))
            if high < 1:
                made.append(Limit(f"group {name} <= {high:.4g}", row, float(high), "group max", name))
        return Limits(list(self.corpora), made)

    def with_floor(self, floor: float | Array) -> Constraints:
        """The same with every weight at least `floor` (or its cap, where that is smaller)."""
        low = np.zeros(len(self.corpora)) if self.lower is None else self.lower
        top = self.limits().upper
        return replace(self, lower=np.maximum(low, np.minimum(floor, top)))


def constraints_from(
    supply: Mapping[str, Mapping[str, Any]] | None,
    corpora: Sequence[str] | None = None,
    options: LimitOptions | None = None,
    **more: Any,
) -> Constraints:
    """Constraints from a supply table.

    Args:
        supply: as `read_supply` gives it; None when nothing is known.
        corpora: order of the corpora; must be the same set as the table's. The table's order when None.
        options: target_tokens, max_epochs, groups (limits on those that the table's `group` column names), and the table's
            name for messages.
        more: passed to `Constraints` (prior, kl, repetition).
    """
    options = options or LimitOptions()
    source, target_tokens, max_epochs = options.supply or "the supply table", options.target_tokens, options.max_epochs
    finite = target_tokens is not None and target_tokens < np.inf  # of other numbers `Constraints` says what is wrong
    if finite and not any("tokens" in row for row in (supply or {}).values()):
        problem = "--target-tokens sets epochs and caps, and nothing says how many tokens there are of each corpus"
        fix = f"fill in the column `tokens` of {source}" if supply else "give --supply with a column `tokens`"
        raise HaigoError(f"{problem}.", fix, option=("target_tokens", "supply"))
    if supply is None:
        if corpora is None:
            raise HaigoError("no corpora are named.", "give a supply table")
        if options.groups:
            raise HaigoError(
                "group limits need a supply table with a `group` column.", "give --supply", option="supply"
            )
        return Constraints(corpora=list(corpora), target_tokens=target_tokens, max_epochs=max_epochs, **more)
    names = list(supply) if corpora is None else list(corpora)
    for name in names:
        if name not in supply:
            raise HaigoError(f"{source} has no row for the corpus '{name}'.{nearest(name, supply)}", "add it")
    for name in supply:
        if name not in names:
            raise HaigoError(f"{source} has the corpus '{name}', which no proxy table names.{nearest(name, names)}",
                             "drop it, or train proxies with it")  # fmt: skip
    counted = [name for name in names if "tokens" in supply[name]]
    if counted and len(counted) < len(names):
        lacking = next(name for name in names if name not in counted)
        raise HaigoError(f"{source} gives no tokens for '{lacking}'.", "give tokens for all corpora or for none")
    members: dict[str, list[str]] = {}
    for name in names:
        if "group" in supply[name]:
            members.setdefault(supply[name]["group"], []).append(name)
    grouped = {group: (inside, 0.0, 1.0) for group, inside in members.items() if len(inside) > 1}
    for group, (low, high) in options.groups.items():
        if group not in members:
            raise HaigoError(f"{source} has no group '{group}'.{nearest(group, members)}", "check its `group` column")
        grouped[group] = (members[group], low, high)
    return Constraints(
        corpora=names,
        lower=np.array([supply[name].get("min", 0.0) for name in names]),
        upper=np.array([supply[name].get("max", 1.0) for name in names]),
        groups=grouped,
        supply=np.array([supply[name]["tokens"] for name in names]) if counted else None,
        target_tokens=target_tokens,
        max_epochs=np.array([supply[name].get("max_epochs", max_epochs) for name in names]),
        **more,
    )


def within_tested(constraints: Constraints, w: Array, notes: list[str]) -> Constraints:
    """The constraints with the least weights of the proxies as limits, unless the caller's own limits forbid that."""
    least = np.floor(w.min(axis=0) * 10**DIGITS + 1e-6) / 10**DIGITS
    if not (least > 0).any():
        return constraints
    made = replace(constraints, tested=least)
    try:
        made.limits().check()
    except HaigoError:
        notes.append("The limits ask for less of a corpus than any proxy had: the prediction there is extrapolation.")
        return constraints
    return made
