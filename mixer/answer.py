"""What `mixer.search` answers: weights with everything a reader needs to trust or doubt them. Data only."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mixer.arrays import Array
from mixer.mixture import DIGITS
from mixer.objective import Objective
from mixer.report_card import ReportCard


@dataclass(kw_only=True)
class Recommendation:
    """The answer. All metrics are in their own units and directions."""

    corpora: list[str]
    metrics: list[str]
    weights: Array
    """(corpora,), `mixture.DIGITS` decimals, meets every limit."""
    interval: Array
    """(corpora, 2): 5 % and 95 % of the optima of the bootstrap draws."""
    near_optimal: Array
    """(corpora, 2): the range of each weight among mixtures the proxies cannot tell from the best."""
    near_optimal_within: float
    """How much worse (in units of the objective) a mixture may be to count as near-optimal."""
    reference: Array
    """(corpora,) token share (or the prior, or uniform) brought within the limits; what is compared with."""
    reference_name: str
    token_share: Array | None
    epochs: Array | None
    prediction: dict[str, dict[str, Any]]
    """Metric -> mean, interval (90 %, of a new run), and token_share, token_share_interval: the same at `reference`."""
    gain: dict[str, Any]
    """Objective at the reference minus at the answer: mean, interval, probability that it is above 0, unit."""
    expected_regret: float
    """Objective lost, on average, by not knowing the law exactly and by its being wrong (`mixer.promise`)."""
    more_proxies: int | None
    """How many more proxies of the same kind would halve what not knowing the law exactly loses; None when 16 times as
    many would not."""
    binding: list[dict[str, Any]]
    transfer: Array
    """(metrics, corpora), rows summing to 1: which corpus helps which metric."""
    card: ReportCard
    """Cross-validated, metrics and last the `objective`."""
    held_out: ReportCard | None
    objective: Objective
    method: str
    seed: int
    bootstrap: int
    kl: float
    ceilings: dict[str, dict[str, float]] = field(default_factory=dict)
    """Metric -> limit, and probability that a run at `weights` is below it."""
    groups: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Group of corpora -> weight, 90 % interval, corpora, and token share where it is known (`mixer.nested`)."""
    notes: list[str] = field(default_factory=list)
    repetition: dict[str, Any] | None = None
    """What was learnt of repetition (`mixer.repetition`), where the runs repeat their corpora."""
    compared: list[dict[str, Any]] | None = None
    curves: dict[str, Any] | None = None
    """What the figures show beyond the document (`mixer.tradeoffs`), where they were asked for."""
    law: dict[str, Any] | None = None
    """What predicts any other mixture (`mixer.law_file`); None where no level of a loss is said."""
    scale: dict[str, Any] | None = None
    """Where the target is of another scale than the proxies: how far beyond all runs, whether the weights moved with the
    scale, the weights that the small runs alone would choose, and what moving is worth there."""
    held_out_predictions: dict[str, Any] | None = None
    """Run names, and per metric the measured and predicted values of the held-out runs."""

    def frame(self) -> Any:
        """The mixture as a DataFrame: a row a corpus; weight, low and high of the interval and of the near-optimal range."""
        import pandas as pd

        columns = ["weight", "low", "high", "near_low", "near_high"]
        return pd.DataFrame(np.c_[self.weights, self.interval, self.near_optimal], index=self.corpora, columns=columns)

    def document(self, provenance: dict[str, Any] | None = None) -> dict[str, Any]:
        """What mixture.yml holds."""
        made: dict[str, Any] = {
            "weights": dict(zip(self.corpora, self.weights.tolist(), strict=True)),
            "interval": {c: decimals(r) for c, r in zip(self.corpora, self.interval, strict=True)},
            "near_optimal": {c: decimals(r) for c, r in zip(self.corpora, self.near_optimal, strict=True)},
        }
        if self.groups:
            made["groups"] = self.groups
        if self.epochs is not None:
            made["epochs"] = {c: significant(e) for c, e in zip(self.corpora, self.epochs, strict=True)}
        if self.token_share is not None:
            made["token_share"] = dict(zip(self.corpora, decimals(self.token_share, DIGITS), strict=True))
        made |= {
            "reference": {
                "name": self.reference_name,
                "weights": dict(zip(self.corpora, decimals(self.reference, DIGITS), strict=True)),
            },
            "prediction": self.prediction,
            **({"ceilings": self.ceilings} if self.ceilings else {}),
            "gain": self.gain,
            "expected_regret": significant(self.expected_regret),
            "proxies_to_halve_regret": self.more_proxies,
            "binding": self.binding,
            "objective": self.objective.as_dict(),
            "transfer": {
                m: dict(zip(self.corpora, decimals(row), strict=True))
                for m, row in zip(self.metrics, self.transfer, strict=True)
            },
            "fit": {
                "method": self.method,
                "cross_validation": self.card.as_dict(),
                **({"held_out": self.held_out.as_dict()} if self.held_out else {}),
            },
            **({"repetition": self.repetition} if self.repetition else {}),
            "notes": self.notes,
        }
        if self.scale:
            made["scale"] = self.scale
        if self.compared:
            # a file is the same of the same table, so it tells no seconds
            made["compared"] = self.compared if provenance is None else list(map(_timeless, self.compared))
        made["provenance"] = {"seed": self.seed, "bootstrap": self.bootstrap, "kl": self.kl, **(provenance or {})}
        return made


def _timeless(row: dict[str, Any]) -> dict[str, Any]:
    if "contest" not in row:
        return row
    return {**row, "contest": {name: value for name, value in row["contest"].items() if name != "seconds"}}


def sure(probability: float) -> str:
    """A probability that was counted in draws, in words: never certain."""
    return "<0.01" if probability < 0.005 else ">0.99" if probability >= 0.995 else f"{probability:.2f}"


def significant(value: float) -> float:
    """Five significant digits."""
    return float(f"{value:.5g}")


def decimals(values: Array, digits: int = 4) -> list[float]:
    """A plain list, rounded."""
    return [round(float(value), digits) for value in values]
