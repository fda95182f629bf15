"""mixture.yml: `weights:` with one number a corpus, not negative, summing to 1. Also a bare `corpus: weight` mapping, and a
blend of Megatron-LM in a shell script (`blend`)."""

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

_EXACT = 1e-9  # a sum this near to 1 is left as it stands


def read(path: str | os.PathLike[str], corpora: Sequence[str] | None = None) -> dict[str, Any]:
    """Read a mixture.yml.

    Args:
        corpora: when given, the weights must name exactly these.

    Returns:
        the document, `weights` being corpus -> float, summing to 1.

    Raises:
        HaigoError: no such file, not a mixture, a key given twice, or weights that `check` refuses.
    """
    document = {"weights": blend.read(path).weights()} if blend.is_blend(path) else yamlfile.read(path)
    if not isinstance(document, dict) or not document:
        raise HaigoError(f"{path} holds no weights.", "write `weights: {CORPUS: WEIGHT, ...}`, or run mixer.search")
    if "weights" not in document:
        document = {"weights": document}
    return {**document, "weights": check(document["weights"], str(path), corpora)}


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
