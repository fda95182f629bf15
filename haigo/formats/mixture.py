"""mixture.yml: `weights:` with one number a corpus, not negative, summing to 1. Also a bare `corpus: weight` mapping, and a
blend of Megatron-LM in a shell script (`blend`).

A run that changes its mixture on the way has phases; `weights` is then their mean over the tokens, and may be left out:

    phases:
      - {tokens: 18e9, weights: {web: 0.8, news: 0.2}}
      - {tokens: 2e9, weights: {web: 0.3, news: 0.7}, schedule: decay}

`schedule` is `constant` (the peak rate, after the warmup) or, of the last phase, `decay` (from the peak to 0); where
no phase says it, the run's one schedule goes through all of them.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

from haigo import yamlfile
from haigo.cli import HaigoError, nearest
from haigo.formats import blend

TOLERANCE = 1e-3
"""How far from 1 weights may sum that were written with a few digits; they are scaled. Further off nobody trained with them."""

_KEYS = ("tokens", "weights", "schedule")
SCHEDULES = ("constant", "decay")
_PHASE = "write each as `{tokens: 2e9, weights: {CORPUS: WEIGHT, ...}}`"
_EXACT = 1e-9  # a sum this near to 1 is left as it stands


def read(path: str | os.PathLike[str], corpora: Sequence[str] | None = None) -> dict[str, Any]:
    """Read a mixture.yml.

    Args:
        corpora: when given, the weights must name exactly these.

    Returns:
        the document, `weights` being corpus -> float, summing to 1; of `phases`, where it has them, each with tokens, weights
        and schedule (None or one of `SCHEDULES`).

    Raises:
        HaigoError: no such file, not a mixture, a key given twice, weights that `check` refuses, or phases of another form.
    """
    document = {"weights": blend.read(path).weights()} if blend.is_blend(path) else yamlfile.read(path)
    if not isinstance(document, dict) or not document:
        raise HaigoError(f"{path} holds no weights.", "write `weights: {CORPUS: WEIGHT, ...}`, or run mixer.search")
    if document.get("phases") is not None:
        return _with_phases(document, str(path), corpora)
    if "weights" not in document:
        document = {"weights": document}
    return {**document, "weights": check(document["weights"], str(path), corpora)}


def _with_phases(document: Mapping[str, Any], path: str, corpora: Sequence[str] | None) -> dict[str, Any]:
    """The document with whole phases (tokens, weights of all corpora that any phase names, schedule) and their mean.

    Raises:
        HaigoError: there are fewer than two, one has another form, or `weights` is not their mean.
    """
    rows = document["phases"]
    if not isinstance(rows, list) or len(rows) < 2 or not all(isinstance(row, Mapping) for row in rows):
        raise HaigoError(f"{path}: `phases` is no list of two phases or more.", _PHASE)
    names = list(
        dict.fromkeys(name for row in rows if isinstance(row.get("weights"), Mapping) for name in row["weights"])
    )
    phases = []
    for number, row in enumerate(rows, 1):
        what = f"{path}: phase {number}"
        if wrong := [key for key in row if key not in _KEYS]:
            raise HaigoError(f"{what} has an unknown key '{wrong[0]}'.{nearest(str(wrong[0]), _KEYS)}", _PHASE)
        tokens = row.get("tokens")
        if isinstance(tokens, bool) or not isinstance(tokens, int | float) or not 0 < tokens < 1e18:
            raise HaigoError(f"{what}: tokens is {tokens!r:.40}.", "give the number of tokens that it trains on")
        weights = check(row.get("weights"), what)
        schedule = row.get("schedule")
        if schedule not in (None, *SCHEDULES):
            raise HaigoError(f"{what}: schedule is {schedule!r:.40}.", f"write {' or '.join(SCHEDULES)}")
        if schedule == "decay" and number < len(rows):
            raise HaigoError(f"{what} decays the learning rate, and another phase follows.", "decay in the last phase")
        of_all = check({name: weights.get(name, 0.0) for name in names}, what, corpora)
        phases.append({"tokens": float(tokens), "weights": of_all, "schedule": schedule})
    if any(phase["schedule"] for phase in phases):
        phases = [{**phase, "schedule": phase["schedule"] or "constant"} for phase in phases]
    total = math.fsum(phase["tokens"] for phase in phases)
    mean = {
        name: math.fsum(phase["tokens"] * phase["weights"][name] for phase in phases) / total
        for name in phases[0]["weights"]
    }
    given = document.get("weights")
    stated = mean if given is None else check(given, path, list(mean))
    if far := [name for name in mean if abs(stated[name] - mean[name]) > TOLERANCE]:
        raise HaigoError(
            f"{path}: the weight of '{far[0]}' is {stated[far[0]]:.4g}, and its phases come to {mean[far[0]]:.4g}.",
            "leave `weights` out: it is the mean of the phases over their tokens",
        )
    return {**document, "weights": mean, "phases": phases}


def check(weights: Any, source: str = "the mixture", corpora: Sequence[str] | None = None) -> dict[str, float]:
    """Corpus -> weight as a mixture, scaled to sum to 1 where it is off by no more than `TOLERANCE`.

    Args:
        source: the file, for messages.
        corpora: when given, exactly these must be named.

    Raises:
        HaigoError: no mapping, a name that is no text, a weight that is no number of at least 0, unknown or missing
            corpora, or another sum than 1.
    """
    if not isinstance(weights, Mapping) or not weights:
        raise HaigoError(f"{source} holds no weights.", "write `weights: {CORPUS: WEIGHT, ...}`, or run mixer.search")
    numbers: dict[str, float] = {}
    for name, value in weights.items():
        if not isinstance(name, str) or not name.strip():
            raise HaigoError(f"{source}: the corpus name {name!r} is not text.", f"put it in quotes: '{name}': {value}")
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise HaigoError(
                f"{source}: the weight of '{name}' is not a number: {value!r:.40}.", "give one from 0 to 1"
            )
        if not 0 <= value < 1e9:  # NaN too; a whole number of 400 digits is no float
            raise HaigoError(f"{source}: the weight of '{name}' is {value!s:.40}.", "give a number from 0 to 1")
        numbers[name] = float(value)
    for name in numbers:
        if corpora is not None and name not in corpora:
            raise HaigoError(
                f"{source} gives a weight to '{name}', which is not known.{nearest(name, corpora)}",
                f"known corpora: {', '.join(corpora)}",
            )
    missing = [name for name in corpora or () if name not in numbers]
    if missing:
        raise HaigoError(f"{source} gives no weight for {', '.join(missing)}.", "add them; 0 leaves a corpus out")
    total = math.fsum(numbers.values())
    if abs(total - 1) > TOLERANCE:
        raise HaigoError(f"{source}: the weights do not sum to 1: they sum to {total:.4g}.", "divide each by the sum")
    return numbers if abs(total - 1) <= _EXACT else {name: weight / total for name, weight in numbers.items()}
