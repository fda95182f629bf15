"""The report's figures as inline SVG: weights with intervals, predicted against measured losses, learning curves.

Text stays text (the reader's own fonts draw it, Japanese included), and the same data give the same bytes.
"""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK, MUTED, GRID = "#1f2933", "#7b8794", "#e4e7eb"
COLOURS = ("#0b6e4f", "#d1495b", "#edae49", "#30638e", "#8d6a9f")


def weights(chosen: Mapping[str, float], interval: Mapping[str, Sequence[float]], share: Mapping[str, float]) -> str:
    """Bars of the chosen weights with their 90 % intervals, and the token share as a mark."""
    names = list(chosen)
    figure = _figure(7.2, 0.42 * len(names) + 0.9)
    axes = figure.subplots()
    rows = np.arange(len(names))[::-1]
    axes.barh(rows, [chosen[name] for name in names], height=0.6, color=COLOURS[0], label="chosen")
    for row, name in zip(rows, names, strict=True):
        low, high = interval.get(name, (chosen[name], chosen[name]))
        axes.plot([low, high], [row, row], color=INK, linewidth=1.4, solid_capstyle="butt")
        for end in (low, high):
            axes.plot([end, end], [row - 0.12, row + 0.12], color=INK, linewidth=1.4)
    axes.plot([share[name] for name in names], rows, "D", color=COLOURS[1], markersize=5, label="token share")
    axes.set_yticks(rows, names)
    axes.set_xlim(left=0)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    _plain(axes, "x")
    axes.legend(loc="lower right", frameon=False, fontsize=9)
    return _svg(figure)


def fit(panels: Mapping[str, Mapping[str, Sequence[float]]]) -> str:
    """Predicted against measured loss of proxies that the fit never saw; metric -> {"measured", "predicted", "std"}."""
    columns = min(4, max(1, len(panels)))
    rows = -(-len(panels) // columns)
    figure = _figure(2.5 * columns, 2.45 * rows)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, (name, points) in zip(grid, panels.items(), strict=False):
        measured, predicted = np.asarray(points["measured"]), np.asarray(points["predicted"])
        low, high = min(measured.min(), predicted.min()), max(measured.max(), predicted.max())
        pad = 0.08 * (high - low or 1.0)
        axes.plot([low - pad, high + pad], [low - pad, high + pad], color=GRID, linewidth=1.2, zorder=0)
        axes.errorbar(
            predicted,
            measured,
            xerr=points.get("std"),
            fmt="o",
            color=COLOURS[3],
            ecolor=GRID,
            markersize=4,
            elinewidth=1.2,
        )
        axes.set_title(name, fontsize=9, color=INK)
        axes.set_xlabel("predicted", fontsize=8)
        axes.set_ylabel("measured", fontsize=8)
        axes.locator_params(nbins=4)
        _plain(axes, "both")
    for axes in grid[len(panels) :]:
        axes.set_visible(False)
    return _svg(figure)


def curves(panels: Mapping[str, Mapping[str, Sequence[tuple[float, float]]]]) -> str:
    """Learning curves: metric -> model -> [(tokens, bits per byte)]."""
    columns = min(3, max(1, len(panels)))
    rows = -(-len(panels) // columns)
    figure = _figure(3.3 * columns, 2.7 * rows)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, (name, models) in zip(grid, panels.items(), strict=False):
        for colour, (model, points) in zip(COLOURS, models.items(), strict=False):
            tokens = [tokens / 1e6 for tokens, _ in points]
            axes.plot(
                tokens, [value for _, value in points], "o-", color=colour, markersize=3, linewidth=1.5, label=model
            )
        axes.set_title(name, fontsize=9, color=INK)
        axes.set_xlabel("million tokens", fontsize=8)
        axes.set_ylabel("bits per byte", fontsize=8)
        _plain(axes, "both")
    grid[0].legend(frameon=False, fontsize=8)
    for axes in grid[len(panels) :]:
        axes.set_visible(False)
    return _svg(figure)


def _figure(width: float, height: float) -> Figure:
    # matplotlib writes a font cache on first use: not into the user's home unless the user says so
    os.environ.setdefault("MPLCONFIGDIR", os.path.join(tempfile.gettempdir(), f"haigo-matplotlib-{os.getuid()}"))
    import logging

    import matplotlib
    from matplotlib.figure import Figure as MakeFigure

    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)
    matplotlib.rcParams["svg.fonttype"] = "none"
    matplotlib.rcParams["svg.hashsalt"] = "haigo"
    matplotlib.rcParams["font.family"] = "sans-serif"
    matplotlib.rcParams["text.parse_math"] = False  # a name with two $ is no formula
    return MakeFigure(figsize=(width, height), layout="constrained")


def _plain(axes: Any, grid: str) -> None:
    for side in ("top", "right", "left", "bottom"):
        axes.spines[side].set_visible(False)
    axes.grid(True, axis=grid, color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=MUTED, labelsize=8, length=0)


def _svg(figure: Figure) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]
