"""Figures, for the run report's page and for files: how a mixture was chosen, what it costs, how models learn.

In SVG text stays text (the reader's own fonts draw it, Japanese included), and the same data give the same bytes.
"""

from __future__ import annotations

import csv
import io
import os
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from haigo import files, page

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_FONTS = ["DejaVu Sans", "Noto Sans CJK JP", "IPAexGothic", "IPAGothic", "TakaoGothic", "Hiragino Sans", "Yu Gothic"]
_MOST = 60  # corpora in one figure
Say = Callable[..., str]
"""What says a label in the language of a figure: `page.speaker`."""
_ENGLISH: Say = page.speaker("en")
INK, MUTED, GRID = "#17212b", "#5d6975", "#e2e7ec"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00")
"""Okabe and Ito's, which colour-blind readers tell apart; the pages' own are darker or lighter ones of these."""


def weights(
    chosen: Mapping[str, float],
    interval: Mapping[str, Sequence[float]],
    share: Mapping[str, float],
    say: Say = _ENGLISH,
) -> Figure:
    """Bars of the chosen weights with their 90 % intervals, and the token share as a mark."""
    names = _most(chosen)
    figure = _figure(7.2, 0.42 * len(names) + 0.9)
    axes = figure.subplots()
    rows = np.arange(len(names))[::-1]
    axes.barh(rows, [chosen[name] for name in names], height=0.6, color=COLOURS[0], label=say("chosen"))
    for row, name in zip(rows, names, strict=True):
        low, high = interval.get(name, (chosen[name], chosen[name]))
        axes.plot([low, high], [row, row], color=INK, linewidth=1.4, solid_capstyle="butt")
        for end in (low, high):
            axes.plot([end, end], [row - 0.12, row + 0.12], color=INK, linewidth=1.4)
    if share:
        axes.plot([share[name] for name in names], rows, "D", color=COLOURS[1], markersize=5, label=say("token share"))
    axes.set_yticks(rows, names)
    axes.set_xlim(left=0)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    _plain(axes, "x")
    axes.set_ylim(-0.8, len(names) - 0.2)
    if len(names) < len(chosen):
        title = say("the {n} heaviest of {all} corpora", n=len(names), all=len(chosen))
        axes.set_title(title, fontsize=9, color=INK)
    axes.legend(loc="lower right", frameon=False, fontsize=9)
    return figure


def _most(values: Mapping[str, float]) -> list[str]:
    """The names to draw, in their order: all, or the largest where there are too many to read."""
    kept = sorted(values, key=lambda name: -values[name])[:_MOST]
    return [name for name in values if name in kept]


def fit(panels: Mapping[str, Mapping[str, Sequence[float]]], say: Say = _ENGLISH) -> Figure:
    """Predicted against measured loss of proxies that the fit never saw; metric -> {"measured", "predicted"}, and where
    there are such "std" and, of a second set of runs, "held_measured", "held_predicted"."""
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
            color=COLOURS[0],
            ecolor=GRID,
            markersize=4,
            elinewidth=1.2,
            alpha=0.7,
            label=say("left out"),
        )
        if "held_measured" in points:
            axes.plot(
                points["held_predicted"],
                points["held_measured"],
                "D",
                color=COLOURS[1],
                markersize=4,
                label=say("held out"),
            )
        axes.set_title(name if len(name) < 30 else f"{name[:28]}…", fontsize=9, color=INK)
        unit = page.unit(name)
        axes.set_xlabel(f"{say('predicted')} ({say(unit)})", fontsize=8)
        axes.set_ylabel(f"{say('measured')} ({say(unit)})", fontsize=8)
        axes.locator_params(nbins=4)
        _plain(axes, "both")
    if len(grid[0].get_legend_handles_labels()[1]) > 1:
        grid[0].legend(frameon=False, fontsize=8)
    for axes in grid[len(panels) :]:
        axes.set_visible(False)
    return figure


def skill(cards: Mapping[str, Mapping[str, Mapping[str, float]]], say: Say = _ENGLISH) -> Figure:
    """How well left-out runs are predicted: how ("leave-one-out", "held-out runs") -> metric -> {"spearman", "r2"}."""
    metrics = list(next(iter(cards.values())))
    figure = _figure(7.2, 0.34 * len(metrics) + 1.1)
    rows = np.arange(len(metrics))[::-1]
    for axes, (key, title) in zip(
        figure.subplots(1, 2, sharey=True),
        (("spearman", say("Spearman")), ("r2", say("R²"))),
        strict=True,
    ):
        for (how, card), colour, mark in zip(cards.items(), COLOURS, "oD", strict=False):
            axes.plot(
                [max(card[m][key], 0.0) for m in metrics],
                rows,
                mark,
                color=colour,
                markersize=6,
                label=say(how),
                alpha=0.8,
            )
        least = min(card[m][key] for card in cards.values() for m in metrics)
        axes.set_yticks(rows, [say(m) if m == "objective" else m for m in metrics])
        axes.set_xlim(max(-0.04, least - 0.06), 1.02)
        axes.set_title(title, fontsize=9, color=INK)
        _plain(axes, "both")
    figure.axes[0].legend(loc="lower left", frameon=False, fontsize=8)
    return figure


def _counted(metric: str, say: Say) -> str:
    """A metric with its unit, as far as its name says."""
    known = page.unit(metric)
    return metric if known == "score" else f"{metric} ({say(known)})"


def trade_off(
    names: tuple[str, str],
    curve: Sequence[Sequence[float]],
    marks: Mapping[str, Sequence[float]],
    runs: Sequence[Sequence[float]],
    say: Say = _ENGLISH,
) -> Figure:
    """What is given up of one metric for another.

    Args:
        names: of the metrics, horizontal and vertical.
        curve: (points, 2) predicted at the best mixtures, from one metric alone to the other.
        marks: mixtures by name -> predicted pair.
        runs: (runs, 2) as measured.
    """
    figure = _figure(5.6, 4.4)
    axes = figure.subplots()
    best, measured = np.asarray(curve), np.asarray(runs)
    axes.plot(
        best[:, 0],
        best[:, 1],
        "o-",
        color=COLOURS[0],
        markersize=4,
        linewidth=1.6,
        label=say("best mixtures, predicted"),
    )
    points = [best, *[np.asarray(pair)[None] for pair in marks.values()]]
    for (name, pair), colour, mark in zip(marks.items(), (COLOURS[1], COLOURS[3], COLOURS[4]), "*Ds", strict=False):
        axes.plot(*pair, mark, color=colour, markersize=13 if mark == "*" else 7, label=say(name), linestyle="none")
    low, high = np.vstack(points).min(axis=0), np.vstack(points).max(axis=0)
    low = np.minimum(low, np.quantile(measured, 0.0, axis=0))
    high = np.maximum(high, np.quantile(measured, 0.6, axis=0))
    pad = 0.06 * np.maximum(high - low, 1e-9)
    axes.plot(measured[:, 0], measured[:, 1], ".", color=MUTED, markersize=5, zorder=0, label=say("proxies, measured"))
    axes.set_xlim(low[0] - pad[0], high[0] + pad[0])
    axes.set_ylim(low[1] - pad[1], high[1] + pad[1])
    axes.set_xlabel(_counted(names[0], say), fontsize=9)
    axes.set_ylabel(_counted(names[1], say), fontsize=9)
    _plain(axes, "both")
    axes.legend(frameon=False, fontsize=8)
    return figure


def transfer(rows: Mapping[str, Mapping[str, float]]) -> Figure:
    """Which corpus helps which metric: metric -> corpus -> part, rows summing to 1, as a heat map."""
    from matplotlib.colors import LinearSegmentedColormap

    metrics = list(rows)
    corpora = _most({corpus: sum(row[corpus] for row in rows.values()) for corpus in next(iter(rows.values()))})
    values = np.array([[rows[metric][corpus] for corpus in corpora] for metric in metrics])
    figure = _figure(min(2.4 + 0.42 * len(corpora), 40.0), min(1.6 + 0.3 * len(metrics), 40.0))
    axes = figure.subplots()
    image = axes.imshow(
        values,
        aspect="auto",
        vmin=0.0,
        vmax=max(float(values.max()), 1e-9),
        cmap=LinearSegmentedColormap.from_list("", ["#ffffff", COLOURS[0]]),
    )
    axes.set_xticks(np.arange(len(corpora)), corpora, rotation=60, ha="right", rotation_mode="anchor")
    axes.set_yticks(np.arange(len(metrics)), metrics)
    _plain(axes, "both")
    axes.grid(False)
    if values.size <= 400:
        dark = 0.6 * float(values.max())
        for (i, j), value in np.ndenumerate(values):
            if value >= 0.005:
                axes.text(
                    j, i, f"{value:.0%}", ha="center", va="center", fontsize=7, color="white" if value > dark else INK
                )
    scale = figure.colorbar(image, ax=axes, fraction=0.03, pad=0.02, format=lambda value, _: f"{value:.0%}")
    scale.outline.set_visible(False)
    scale.ax.tick_params(colors=MUTED, labelsize=8, length=0)
    return figure


def ceilings(
    unit: str,
    lines: Mapping[str, Sequence[tuple[float, float | None]]],
    given: Mapping[str, float],
    say: Say = _ENGLISH,
) -> Figure:
    """What each ceiling costs: metric -> [(ceiling, objective lost against none on it; None where it cannot be met)], ceilings
    in % worse than the reference.

    Args:
        unit: of the objective.
        given: the ceilings asked for, in % worse than the prediction at the reference.
    """
    figure = _figure(5.8, 3.8)
    axes = figure.subplots()
    for (metric, points), colour in zip(lines.items(), COLOURS * (len(lines) // len(COLOURS) + 1), strict=False):
        known = [(level, lost) for level, lost in points if lost is not None]
        axes.plot(
            [level for level, _ in known],
            [lost for _, lost in known],
            "o-",
            color=colour,
            markersize=3,
            linewidth=1.5,
            label=metric,
        )
        near = min(known, key=lambda point: abs(point[0] - given[metric]))
        axes.plot(*near, "*", color=colour, markersize=12)
    axes.set_xlabel(say("ceiling, % worse than the reference (star: the one asked for)"), fontsize=9)
    lost = say("lost in the objective (weighted sum)") if unit == "sum" else say("lost in {x}", x=_counted(unit, say))
    axes.set_ylabel(lost, fontsize=9)
    axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
    _plain(axes, "both")
    axes.legend(frameon=False, fontsize=8)
    return figure


def curves(panels: Mapping[str, Mapping[str, Sequence[tuple[float, float]]]], say: Say = _ENGLISH) -> Figure:
    """Learning curves: metric -> model -> [(tokens, bits per byte)]."""
    columns = min(3, max(1, len(panels)))
    rows = -(-len(panels) // columns)
    figure = _figure(3.3 * columns, 2.7 * rows)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, (name, models) in zip(grid, panels.items(), strict=False):
        for colour, (model, points) in zip(COLOURS, models.items(), strict=False):
            tokens = [tokens / 1e6 for tokens, _ in points]
            axes.plot(
                tokens,
                [value for _, value in points],
                "o-",
                color=colour,
                markersize=3,
                linewidth=1.5,
                label=say(model),
            )
        axes.set_title(name, fontsize=9, color=INK)
        axes.set_xlabel(say("million tokens"), fontsize=8)
        axes.set_ylabel(say("bits per byte"), fontsize=8)
        _plain(axes, "both")
    grid[0].legend(frameon=False, fontsize=8)
    for axes in grid[len(panels) :]:
        axes.set_visible(False)
    return figure


def changes(rows: Sequence[Mapping[str, Any]], say: Say = _ENGLISH) -> Figure:
    """By how much every metric differs between two models: `metric`, `change` (a share; below 0 is better) and `half` of its
    interval, None where that is not known."""
    figure = _figure(6.4, 0.34 * len(rows) + 0.9)
    axes, at = figure.subplots(), np.arange(len(rows))[::-1]
    values = [100 * row["change"] for row in rows]
    axes.barh(at, values, height=0.6, color=[COLOURS[0] if value < 0 else COLOURS[1] for value in values])
    for place, value, row in zip(at, values, rows, strict=True):
        if row["half"] is not None:
            axes.plot([value - 100 * row["half"], value + 100 * row["half"]], [place, place], color=INK, linewidth=1.4)
    axes.axvline(0.0, color=MUTED, linewidth=1.0)
    axes.set_yticks(at, [row["metric"] for row in rows])
    axes.set_xlabel(say("% bits per byte against token share (left is better)"), fontsize=9)
    _plain(axes, "x")
    return figure


def scores(
    panels: Mapping[str, Mapping[str, Sequence[tuple[float, float, float, float]]]],
    chance: Mapping[str, float],
    say: Say = _ENGLISH,
) -> Figure:
    """Scores over training: task -> run -> [(tokens, percent, low, high)]; task -> percent of who answers by chance."""
    columns = min(3, max(1, len(panels)))
    rows = -(-len(panels) // columns)
    figure = _figure(3.3 * columns, 2.7 * rows)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    most = max(point[0] for runs in panels.values() for points in runs.values() for point in points)
    unit, word = (1e9, say("billion tokens")) if most >= 1e9 else (1e6, say("million tokens"))
    for axes, (name, runs) in zip(grid, panels.items(), strict=False):
        for colour, (run, points) in zip(COLOURS, runs.items(), strict=False):
            tokens, percent, low, high = np.array(points, dtype=float).T
            axes.plot(tokens / unit, percent, "o-", color=colour, markersize=3, linewidth=1.5, label=run)
            axes.vlines(tokens / unit, low, high, color=colour, linewidth=1.0)
            axes.fill_between(tokens / unit, low, high, color=colour, alpha=0.15, linewidth=0)
        if name in chance:
            axes.axhline(chance[name], color=MUTED, linewidth=1.0, linestyle=":")
        least = min(point[0] for points in runs.values() for point in points)
        if least > 0 and most / least >= 30:
            axes.set_xscale("log")
        axes.set_title(name if len(name) < 40 else f"{name[:38]}…", fontsize=9, color=INK)
        axes.set_xlabel(word, fontsize=8)
        axes.set_ylabel("%", fontsize=8)
        _plain(axes, "both")
    grid[0].legend(frameon=False, fontsize=8)
    for axes in grid[len(panels) :]:
        axes.set_visible(False)
    return figure


def _figure(width: float, height: float) -> Figure:
    # matplotlib writes a font cache on first use: not into the user's home unless the user says so
    os.environ.setdefault("MPLCONFIGDIR", os.path.join(tempfile.gettempdir(), f"haigo-matplotlib-{os.getuid()}"))
    import logging

    import matplotlib
    from matplotlib.figure import Figure as MakeFigure

    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)
    matplotlib.rcParams["svg.fonttype"] = "none"
    matplotlib.rcParams["svg.hashsalt"] = "haigo"
    matplotlib.rcParams["font.family"] = _FONTS  # the first that has a sign draws it
    matplotlib.rcParams["text.parse_math"] = False  # a name with two $ is no formula
    return MakeFigure(figsize=(width, height), layout="constrained")


def _plain(axes: Any, grid: str) -> None:
    for side in ("top", "right", "left", "bottom"):
        axes.spines[side].set_visible(False)
    axes.grid(True, axis=grid, color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=MUTED, labelsize=8, length=0)


def svg(figure: Figure) -> str:
    """A figure for a page: an `<svg>` element."""
    buffer = io.StringIO()
    _save(figure, buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]


Rows = tuple[Sequence[str], Sequence[Sequence[Any]]]
"""Heading and rows of a table."""


def write(
    folder: Path,
    name: str,
    draw: Callable[[Say], Figure],
    table: Rows | None = None,
    language: str = "en",
) -> list[Path]:
    """Write NAME.svg and NAME.png into a folder, and NAME.csv with the numbers that are drawn; their paths.

    Args:
        draw: a figure with its labels as it is told to say them.
        language: of the labels. Where this machine has no Japanese font those of the PNG are English; in the SVG the
            reader's fonts draw them.
    """
    made = [folder / f"{name}.svg", folder / f"{name}.png"]
    figure = draw(page.speaker(language))
    files.write_text(made[0], f'<?xml version="1.0" encoding="utf-8"?>\n{svg(figure)}')
    if language == "ja" and not has_japanese():
        figure = draw(_ENGLISH)
    with files.create(made[1], "wb") as handle:
        _save(figure, handle, format="png", dpi=120, facecolor="white", metadata={"Software": None})
    if table is not None:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([table[0], *table[1]])
        made.append(folder / f"{name}.csv")
        files.write_text(made[-1], text.getvalue())
    return made


@cache
def has_japanese() -> bool:
    """Whether a font of this machine draws Japanese; says so once where none does."""
    from matplotlib import font_manager

    found = not set(_FONTS[1:]).isdisjoint(font_manager.get_font_names())
    if not found:
        problem = (
            "haigo: there is no Japanese font here: labels in the PNG files are English (those in the SVG are Japanese)"
        )
        print(f"{problem}; install one (Debian, Ubuntu: apt install fonts-noto-cjk).", file=sys.stderr)
    return found


def _save(figure: Figure, handle: Any, **how: Any) -> None:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of signs that no font here has: boxes in a PNG, and text in an SVG
        figure.savefig(handle, **how)
    figure.set_layout_engine("none")  # it is found once, for all formats
