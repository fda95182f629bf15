"""Is one model better than another on the same documents? A paired test, from the samples files of two results.

Two models that were asked the same questions fail on much the same ones, so the difference is far surer than the two standard
errors by themselves say. Right-or-wrong figures: the exact McNemar test (McNemar 1947) on the documents where only one is
right. Others: the mean difference over its standard error, against the normal distribution.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from eval_harness.metrics import mean, mean_stderr
from eval_harness.result import samples_name
from haigo.cli import HaigoError


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """Second model minus first, on the documents of both."""

    points: float
    """In percent."""
    error: float | None
    p: float
    test: str
    documents: int

    def __str__(self) -> str:
        error = "" if self.error is None else f" \u00b1{self.error:.2f}"
        verdict = "a difference" if self.p < 0.05 else "no sure difference"
        return (
            f"{self.points:+.2f}{error} points, p = {self.p:.2g} ({self.test}, {self.documents:,} documents): {verdict}"
        )


def paired(first: Sequence[float], second: Sequence[float]) -> Difference:
    """The difference of two models' figures on the same documents, in the same order."""
    gaps = [b - a for a, b in zip(first, second, strict=True)]
    error = mean_stderr(gaps)
    if {*first, *second} <= {0.0, 1.0}:
        p, test = mcnemar(sum(gap > 0 for gap in gaps), sum(gap < 0 for gap in gaps)), "exact McNemar test"
    elif not error:
        p, test = float(not any(gaps)), "equal differences"
    else:
        p, test = math.erfc(abs(mean(gaps)) / error / math.sqrt(2)), "paired z test"
    return Difference(
        points=100 * mean(gaps),
        error=None if error is None else 100 * error,
        p=p,
        test=test,
        documents=len(gaps),
    )


def mcnemar(gained: int, lost: int) -> float:
    """Two-sided probability of a split as uneven as this one, or more, were both models equally good."""
    from scipy.stats import binomtest

    return float(binomtest(gained, gained + lost).pvalue) if gained != lost else 1.0


def figures(path: Path, metric: str) -> dict[str, float]:
    """Document -> figure, from a samples file; documents are told apart by place and id, so that other draws do not match.

    Raises:
        HaigoError: not a samples file of this metric.
    """
    found = {}
    with open(path, "rb") as handle:
        for number, line in enumerate(handle, start=1):
            try:
                row = json.loads(line)
                figure = found[f"{row['doc_id']} {row['id']}"] = float(row[metric])
                if not math.isfinite(figure):
                    raise ValueError
            except (ValueError, KeyError, TypeError, RecursionError):
                raise HaigoError(
                    f"{path} line {number} is no sample with '{metric}'.", "score the model again"
                ) from None
    return found


def between(first: Path, second: Path, task: str, metric: str) -> Difference | None:
    """The difference on one task of two results; None where samples are missing or the documents are not the same.

    Args:
        first, second: folders with `samples_TASK.jsonl`.
    """
    paths = [folder / samples_name(task) for folder in (first, second)]
    if not all(path.is_file() for path in paths):
        return None
    one, other = (figures(path, metric) for path in paths)
    if not one or one.keys() != other.keys():
        return None
    return paired(list(one.values()), [other[name] for name in one])
