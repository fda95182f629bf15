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

# bytes a character (Japanese; English and code take a third less) and bytes whatever the text
_BYTES = {"unigram": (50.0, 60e6), "bpe": (90.0, 120e6)}
# CPU seconds at a million characters and the power by which they grow: (from, to)
_SECONDS = {"unigram": ((2.5, 1.3), (11.0, 1.45)), "bpe": ((1.0, 1.0), (2.2, 1.05))}
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
    each, base = _BYTES[model_type]
    low, high = (first * millions**power for first, power in _SECONDS[model_type])
    return Cost(base + each * characters, (low, high))


def require(characters: int, model_type: str, *, force: bool = False) -> Cost:
    """The estimate, when it fits.

    Raises:
        Refused: it needs more memory than the machine has left, and `force` does not say to try all the same.
    """
    cost, there = estimate(characters, model_type), memory.available() * _SHARE_OF_MEMORY
    if cost.memory > there and not force:
        each, base = _BYTES[model_type]
        fits = max(0, int((there - base) / each / 1e6)) * 1_000_000
        raise Refused(
            f"training a {model_type} tokenizer on {characters:,} characters takes {cost}, and this machine has "
            f"{there / 1e9:.1f} GB to give.",
            f"train on {fits:,} characters or fewer (preprocess.sample --characters), use a larger machine, or try all the "
            "same with --force",
            option=("characters", "force"),
        )
    return cost
