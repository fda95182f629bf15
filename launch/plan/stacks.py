"""The software that a plan is for: GPT-NeoX with and without flash attention, and FSDP with flash attention for comparison.

A plan is only as good as what it knows of the software. Three stacks have published figures on A100 cards; each is the
same roofline (`plan_speed`) times the shares of it that were seen.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from launch.neox import checkout


@dataclass(frozen=True)
class Stack:
    """One way to train, with what of the roofline it reaches."""

    name: str
    neox: bool
    """GPT-NeoX on DeepSpeed: `launch.configs` can write it."""
    flash: bool
    """Attention by a flash kernel."""
    low: float
    high: float
    """Share of the roofline: what stock software showed, and the best seen. Their ratio stays below 2."""
    source: str


_FOUND = (
    Stack(
        "gpt-neox",
        True,
        False,
        0.55,
        1.05,
        "no published table; as with flash attention, and s x s matrices that travel",
    ),
    # the best of any stack is 1
    Stack(
        "gpt-neox-flash",
        True,
        True,
        0.55,
        1.05,
        "Pythia's GPU hours (Biderman et al. 2023) are .74 to .80 of the roofline",
    ),
    Stack("fsdp-flash", False, True, 0.75, 1.3, "llm-foundry's 78 published rows on A100-40GB"),
)
STACKS = {stack.name: stack for stack in _FOUND}


def of_attention(attention: str) -> Stack:
    """GPT-NeoX with `global` or `flash` attention."""
    return STACKS["gpt-neox-flash" if attention == "flash" else "gpt-neox"]


def here() -> Stack:
    """GPT-NeoX as its environment (GPT_NEOX_PYTHON) is: with flash attention where that has all that GPT-NeoX imports of it."""
    python = os.environ.get("GPT_NEOX_PYTHON")
    there = checkout.flash_attention(python) if python else None
    return of_attention("flash" if there is not None and not there.missing else "global")
