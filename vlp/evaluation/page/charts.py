"""Small inline SVG charts: loss curves and intervals. Colours come from the page's CSS variables."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from markupsafe import Markup, escape

WIDTH, HEIGHT = 460, 220
LEFT, RIGHT, TOP, BOTTOM = 48, 12, 12, 34


def line_chart(series: Mapping[str, Sequence[tuple[float, float]]], x_label: str, y_label: str) -> Markup:
    """Lines of (x, y) points on shared axes, with a legend; an empty string where no series has two finite points."""
    kept = {name: [p for p in points if math.isfinite(p[1])] for name, points in series.items()}
    kept = {name: points for name, points in kept.items() if len(points) > 1}
    if not kept:
        return Markup("")
    xs = [x for points in kept.values() for x, _ in points]
    ys = [y for points in kept.values() for _, y in points]
    x_low, x_high = min(xs), max(xs)
    y_ticks = _ticks(min(ys), max(ys))
    y_low, y_high = min(y_ticks[0], min(ys)), max(y_ticks[-1], max(ys))

    def place(x: float, y: float) -> tuple[float, float]:
        across = (x - x_low) / ((x_high - x_low) or 1) * (WIDTH - LEFT - RIGHT) + LEFT
        up = (1 - (y - y_low) / ((y_high - y_low) or 1)) * (HEIGHT - TOP - BOTTOM) + TOP
        return round(across, 1), round(up, 1)

    parts: list[str] = []
    for tick in y_ticks:
        _, y = place(x_low, tick)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4}" text-anchor="end">{tick:g}</text>')
    for tick in _ticks(x_low, x_high, 5):
        if x_low <= tick <= x_high:
            x, _ = place(tick, y_low)
            parts.append(f'<text x="{x}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{tick:g}</text>')
    for number, (_name, points) in enumerate(kept.items()):
        path = " ".join(f"{x},{y}" for x, y in (place(*p) for p in _thin(points)))
        parts.append(f'<polyline class="line c{number % 5}" points="{path}"/>')
    label = escape(f"{y_label} over {x_label}: " + ", ".join(kept))
    axis = f'<text x="{(WIDTH + LEFT) / 2}" y="{HEIGHT - 4}" text-anchor="middle">{escape(x_label)}</text>'
    legend = "".join(f'<span><i class="key c{n % 5}"></i>{escape(name)}</span>' for n, name in enumerate(kept))
    svg = f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">{"".join(parts)}{axis}</svg>'
    return Markup(
        f'<figure class="chart"><figcaption>{escape(y_label)}</figcaption>{svg}<p class="legend">{legend}</p></figure>'
    )


def interval_bar(value: float, low: float, high: float, axis: tuple[float, float], chance: float | None) -> Markup:
    """A value with its interval on an axis, and a tick at chance level; an empty string for what is not finite."""
    if not all(map(math.isfinite, (value, low, high))) or axis[1] <= axis[0]:
        return Markup("")

    def x(v: float) -> float:
        return round(4 + 112 * min(1.0, max(0.0, (v - axis[0]) / (axis[1] - axis[0]))), 1)

    mark = "" if chance is None else f'<line class="chance" x1="{x(chance)}" x2="{x(chance)}" y1="2" y2="18"/>'
    return Markup(
        '<svg class="interval" viewBox="0 0 120 20" aria-hidden="true">'
        f'<line class="grid" x1="4" x2="116" y1="10" y2="10"/>{mark}'
        f'<line class="whisker" x1="{x(low)}" x2="{x(high)}" y1="10" y2="10"/>'
        f'<circle cx="{x(value)}" cy="10" r="4"/></svg>'
    )


def _thin(points: Sequence[tuple[float, float]], most: int = 240) -> list[tuple[float, float]]:
    """At most ``most`` points, each the mean of its neighbours."""
    step = math.ceil(len(points) / most)
    blocks = [points[i : i + step] for i in range(0, len(points), step)]
    return [(sum(p[0] for p in b) / len(b), sum(p[1] for p in b) / len(b)) for b in blocks]


def _ticks(low: float, high: float, count: int = 4) -> list[float]:
    """Round numbers that span ``low`` to ``high``."""
    if high <= low:
        return [low]
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * m for m in (1, 2, 2.5, 5, 10) if power * m >= raw * 0.999)
    first = math.floor(low / step)
    return [round(i * step, 10) for i in range(first, math.ceil(high / step) + 1)]
