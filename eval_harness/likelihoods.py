"""How likely a model finds the right answer: finer than whether it is the likeliest, where small models are at chance.

Accuracy counts documents whose right answer comes first, and says nothing of how near the others came. These figures move
before it does (per character: DataDecide, Magnusson and others 2025, whose small runs ranked corpora by them):

- `answer_nll`: bits that the right answer costs, a byte of UTF-8; lower is better.
- `choice_nll`: bits that the choice of the right answer among the others costs, with log-likelihoods a byte; lower is better.
- `margin_score`: how many bits a byte the wrong answers cost more, in their mean, than the right one; higher is better.
- `probability_score`: probability of the right answer among the others, with log-likelihoods a byte; higher is better.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from eval_harness import metrics

FIGURES = ("answer_nll", "choice_nll", "margin_score", "probability_score")
HIGHER_IS_BETTER = ("margin_score", "probability_score")


def of_document(row: Mapping[str, Any]) -> dict[str, float]:
    """The figures of one document.

    Args:
        row: as a task judged it: `choices` with `text` and `loglikelihood` (nats), and `target`, the right one's number.
    """
    bits = [-c["loglikelihood"] / math.log(2) / len(str(c["text"]).encode()) for c in row["choices"]]
    right = bits[row["target"]]
    wrong = [each for number, each in enumerate(bits) if number != row["target"]]
    least = min(bits)
    choice = right - least + math.log2(sum(2.0 ** (least - each) for each in bits))
    return {
        "answer_nll": right,
        "choice_nll": choice,
        "margin_score": metrics.mean(wrong) - right if wrong else 0.0,
        "probability_score": 2.0**-choice,
    }


def of_rows(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float | None]] | None:
    """Figure -> its mean over documents (`value`), the standard deviation from document to document (`item_noise`) and the
    standard error of the mean (`stderr`); None of a task whose answers are not choices."""
    if not rows or not all("choices" in row for row in rows):
        return None
    each = [of_document(row) for row in rows]
    made: dict[str, dict[str, float | None]] = {}
    for figure in FIGURES:
        values = [one[figure] for one in each]
        error = metrics.mean_stderr(values)
        noise = None if error is None else error * math.sqrt(len(values))
        made[figure] = {"value": metrics.mean(values), "item_noise": noise, "stderr": error}
    return made
