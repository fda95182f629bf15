"""The figures of a run's report as files: PNG and SVG for slides, CSV for one's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from haigo import figures, files
from launch.pipeline import ledger
from mixer import figures as mixture_figures

FOLDER = ledger.FIGURES
NAMES = (*mixture_figures.NAMES, "curves", "changes")


def check(root: Path) -> None:
    """Refuse a run folder with files of somebody else under the figures' names."""
    files.check_output(root / FOLDER, names=[f"{name}.{kind}" for name in NAMES for kind in ("svg", "png", "csv")])


def write(
    folder: Path,
    mixture: Mapping[str, Any],
    law: Mapping[str, Any] | None,
    searched: Mapping[str, Any] | None,
    curves: Mapping[str, Mapping[str, Sequence[tuple[float, float]]]],
    changes: Sequence[Mapping[str, Any]],
    language: str,
) -> list[Path]:
    """Draw all of them; the paths.

    Args:
        searched: `curves.json` of the search.
        language: of the labels.
    """
    shown = dict(searched or {}) | ({"fit": mixture_figures.fit_of(law)} if law is not None else {})
    made = mixture_figures.write(folder, mixture, shown or None, False, language)
    if curves:
        rows = [
            (metric, model, tokens, value)
            for metric, lines in curves.items()
            for model, points in lines.items()
            for tokens, value in points
        ]
        head = ("metric", "model", "tokens", "bits per byte")
        made += figures.write(folder, "curves", partial(figures.curves, curves), (head, rows), language)
    if changes:
        keys = ("metric", "change", "ours", "theirs", "half")
        titles = (
            "metric",
            "change",
            "chosen mixture (bits per byte)",
            "token share (bits per byte)",
            "half of the 90 % interval",
        )
        table = titles, [tuple(row[key] for key in keys) for row in changes]
        made += figures.write(folder, "changes", partial(figures.changes, changes), table, language)
    return made
