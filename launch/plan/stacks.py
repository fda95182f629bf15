"""The software that a plan is for: GPT-NeoX with and without flash attention, and FSDP with flash attention for comparison.

A plan is only as good as what it knows of the software. Three stacks have published figures on A100 cards; each is the
same roofline (`plan_speed`) times the shares of it that were seen.
"""

from __future__ import annotations

from dataclasses import dataclass

from haigo.cli import HaigoError, nearest


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


STACKS = {
    stack.name: stack
    for stack in (
        Stack(
            "gpt-neox",
            neox=True,
            flash=False,
            low=0.55,
            high=1.05,
            source="no published table; as with flash attention, plus the traffic of the s x s matrices",
        ),
        Stack(
            "gpt-neox-flash",
            neox=True,
            flash=True,
            low=0.55,
            high=1.05,
            source="Pythia's GPU hours (Biderman et al. 2023) are .51 to .79 of the roofline; the best of any stack is 1",
        ),
        Stack(
            "fsdp-flash",
            neox=False,
            flash=True,
            low=0.75,
            high=1.3,
            source="llm-foundry's 78 published rows on A100-40GB",
        ),
    )
}


def find(name: str) -> Stack:
    """A stack by its name.

    Raises:
        HaigoError: there is none of that name.
    """
    if name not in STACKS:
        raise HaigoError(f"there is no stack '{name}'.{nearest(name, STACKS)}", f"choose one of {', '.join(STACKS)}")
    return STACKS[name]


def of_attention(attention: str) -> Stack:
    """GPT-NeoX with `global` or `flash` attention.

    Raises:
        HaigoError: neither.
    """
    if attention not in ("global", "flash"):
        raise HaigoError(f"there is no attention '{attention}'.", "choose global or flash")
    return STACKS["gpt-neox-flash" if attention == "flash" else "gpt-neox"]
