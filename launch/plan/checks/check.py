"""The answer of one check of `launch.preflight`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    """The answer of one check."""

    name: str
    status: str
    """`ok`, `warn` or `fail`."""
    found: str
    fix: str = ""
