"""What training a tokenizer will take, told before it starts, and a refusal when the machine has not got it.

The figures are measured (benchmarks/tokenizer_cost.py): peak memory grows linearly with the characters of the training text,
CPU time somewhat faster than linearly. The estimate of memory is on the safe side; that of time is a range, since it is
carried far beyond what was measured.
"""

from __future__ import annotations

import dataclasses

from haigo import memory
from haigo.cli import Refused
from haigo.progress import clock

# bytes a character and a constant; the constant holds Python, the model and SentencePiece's tables
_BYTES = {"unigram": 55.0, "bpe": 125.0}
_BASE_BYTES = 150e6
# CPU seconds for a million characters at a million, and the power by which they grow from there
_SECONDS = {"unigram": 16.0, "bpe": 2.2}
_GROWTH = {"unigram": (1.0, 1.35), "bpe": (1.0, 1.1)}
_SHARE_OF_MEMORY = 0.9


@dataclasses.dataclass(frozen=True, slots=True)
class Cost:
    """Memory in bytes, CPU time in seconds (from, to)."""

    memory: float
    seconds: tuple[float, float]

    def __str__(self) -> str:
        low, high = self.seconds
        return f"about {self.memory / 1e9:.1f} GB of memory and {clock(low)} to {clock(high)} of CPU time"


def estimate(characters: int, model_type: str = "unigram") -> Cost:
    """What training on `characters` characters takes."""
    millions = max(0.1, characters / 1e6)
    first, (low, high) = _SECONDS[model_type], _GROWTH[model_type]
    return Cost(
        _BASE_BYTES + _BYTES[model_type] * characters,
        (0.7 * first * millions**low, 1.5 * first * millions ** (high if millions > 1 else 1.0)),
    )


def require(characters: int, model_type: str, *, force: bool = False) -> Cost:
    """The estimate, when it fits.

    Raises:
        Refused: it needs more memory than the machine has left, and `force` does not say to try all the same.
    """
    cost, there = estimate(characters, model_type), memory.available() * _SHARE_OF_MEMORY
    if cost.memory > there and not force:
        fits = max(0, int((there - _BASE_BYTES) / _BYTES[model_type] / 1e6)) * 1_000_000
        raise Refused(
            f"training a {model_type} tokenizer on {characters:,} characters takes {cost}, and this machine has "
            f"{there / 1e9:.1f} GB to give.",
            f"train on {fits:,} characters or fewer (preprocess.sample --characters), use a larger machine, or try all the "
            "same with --force",
        )
    return cost
