"""Small figures of a page as SVG: points, lines and intervals between two axes. Colours and fonts are the page's own, so that
they follow its scheme; a point says its name when it is pointed at. For files there is `haigo.figures`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from haigo import shown

if TYPE_CHECKING:
    from markupsafe import Markup

_LEFT, _RIGHT, _TOP, _BOTTOM = 50.0, 12.0, 12.0, 40.0


def ticks(low: float, high: float, count: int = 4) -> list[float]:
    """Round numbers between two ends, some `count` of them."""
    span = high - low
    if not span > 0:
        return [low]
    rough = span / count
    unit = 10.0 ** math.floor(math.log10(rough))
    step = unit * min((1.0, 2.0, 2.5, 5.0, 10.0), key=lambda factor: abs(factor * unit - rough))
    first = math.ceil(low / step - 1e-9)
    return [float(f"{number * step:.10g}") for number in range(first, math.floor(high / step + 1e-9) + 1)]


def _range(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    pad = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
    return low - pad, high + pad


def panel(
    series: Sequence[Mapping[str, Any]], x: str, y: str, same: bool = False, width: float = 320, height: float = 232
) -> Markup:
    """A figure.

    Args:
        series: each with `points`, a list of (x, y) or (x, y, name); and as they apply `name`, `kind` (0 to 4: its colour and
            mark), `line`, and `ends`, a list of (low, high) around each y.
        x, y: what the axes show, with unit.
        same: both axes run over the same values, with the diagonal on which they are equal.
    """
    from markupsafe import Markup

    xs = [point[0] for each in series for point in each["points"]]
    ys = [point[1] for each in series for point in each["points"]]
    ys += [end for each in series for pair in each.get("ends", []) for end in pair]
    across, up = (_range([*xs, *ys]),) * 2 if same else (_range(xs), _range(ys))

    def at_x(value: float) -> float:
        return _LEFT + (width - _LEFT - _RIGHT) * (value - across[0]) / (across[1] - across[0])

    def at_y(value: float) -> float:
        return height - _BOTTOM - (height - _TOP - _BOTTOM) * (value - up[0]) / (up[1] - up[0])

    right, bottom = width - _RIGHT, height - _BOTTOM
    drawn = [f'<svg class="chart" viewBox="0 0 {width:g} {height:g}" role="img">']
    for tick in ticks(*across):
        place = at_x(tick)
        drawn.append(f'<path class="grid" d="M{place:.1f} {_TOP}V{bottom}"/>')
        drawn.append(f'<text x="{place:.1f}" y="{bottom + 15}" text-anchor="middle">{tick:g}</text>')
    for tick in ticks(*up):
        place = at_y(tick)
        drawn.append(f'<path class="grid" d="M{_LEFT} {place:.1f}H{right}"/>')
        drawn.append(f'<text x="{_LEFT - 6}" y="{place + 3.5:.1f}" text-anchor="end">{tick:g}</text>')
    if same:
        drawn.append(f'<path class="even" d="M{_LEFT} {bottom}L{right} {_TOP}"/>')
    for each in series:
        drawn += _series(each, at_x, at_y)
    middle = (_LEFT + right) / 2
    drawn.append(f'<text class="axis" x="{middle:g}" y="{height - 6}" text-anchor="middle">{shown.html(x)}</text>')
    upwards = f'x="{-(_TOP + bottom) / 2:g}" y="12" transform="rotate(-90)" text-anchor="middle"'
    drawn.append(f'<text class="axis" {upwards}>{shown.html(y)}</text></svg>')
    return Markup("".join(drawn))


def _series(each: Mapping[str, Any], at_x: Any, at_y: Any) -> list[str]:
    kind, points = each.get("kind", 0), each["points"]
    drawn = [f'<g class="k{kind}">']
    if each.get("line"):
        path = "L".join(f"{at_x(point[0]):.1f} {at_y(point[1]):.1f}" for point in points)
        drawn.append(f'<path class="line" d="M{path}"/>')
    for point, (low, high) in zip(points, each.get("ends", []), strict=False):
        drawn.append(f'<path class="ends" d="M{at_x(point[0]):.1f} {at_y(low):.1f}V{at_y(high):.1f}"/>')
    for point in points:
        mark = _mark(kind, at_x(point[0]), at_y(point[1]), 2.0 if each.get("line") else 3.6)
        said = f"{point[2]}: {point[0]:.4g}, {point[1]:.4g}" if len(point) > 2 else f"{point[0]:.4g}, {point[1]:.4g}"
        drawn.append(f"{mark}<title>{shown.html(said)}</title></path>")
    return [*drawn, "</g>"]


def _mark(kind: int, x: float, y: float, size: float) -> str:
    """A disc, diamond, square, triangle or cross: series differ without their colours too."""
    s = size
    paths = (
        f"M{x - s:.1f} {y:.1f}a{s} {s} 0 1 0 {2 * s:g} 0a{s} {s} 0 1 0 {-2 * s:g} 0",
        f"M{x:.1f} {y - 1.3 * s:.1f}l{1.3 * s:.2f} {1.3 * s:.2f}l{-1.3 * s:.2f} {1.3 * s:.2f}l{-1.3 * s:.2f} {-1.3 * s:.2f}z",
        f"M{x - s:.1f} {y - s:.1f}h{2 * s:g}v{2 * s:g}h{-2 * s:g}z",
        f"M{x:.1f} {y - 1.2 * s:.1f}l{1.2 * s:.2f} {2.1 * s:.2f}h{-2.4 * s:.2f}z",
        f"M{x - s:.1f} {y - 0.4 * s:.1f}h{2 * s:g}v{0.8 * s:g}h{-2 * s:g}z",
    )
    return f'<path class="mark" d="{paths[kind % len(paths)]}">'
