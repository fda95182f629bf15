"""The array type and the shape checks that every law and search function shares."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from haigo.cli import HaigoError

Array = npt.NDArray[np.float64]

Numbers = npt.NDArray[np.signedinteger[Any]]
"""Numbers of rows or columns."""
Flags = npt.NDArray[np.bool_]

MIN_RUNS = 4
"""Fewer proxies than this fit no law."""


def as_matrix(values: Any, name: str) -> Array:
    """`values` as a finite (n, columns) float array; a vector becomes one column.

    Raises:
        HaigoError: not numbers, more than two axes, or a value that is not finite (says which row).
    """
    try:
        made = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise HaigoError(f"{name} holds something that is not a number.", "give an array of numbers") from None
    if made.ndim == 1:
        made = made[:, None]
    if made.ndim != 2:
        raise HaigoError(f"{name} has {made.ndim} axes.", "give an array of (runs, columns)")
    bad = np.argwhere(~np.isfinite(made))
    if len(bad):
        raise HaigoError(f"{name} row {bad[0][0]}, column {bad[0][1]} is not finite.", "leave that run out or mend it")
    return np.ascontiguousarray(made)


def check_runs(runs: int, source: str) -> None:
    """Refuse a table that no law can be fitted to."""
    if runs < MIN_RUNS:
        raise HaigoError(f"{source} has {runs} usable run(s).", f"at least {MIN_RUNS} are needed; 16 or more are wise")
