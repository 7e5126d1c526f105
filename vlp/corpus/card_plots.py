"""Plots of the data card: counts as bars, and a sheet of example images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import cv2
import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from anonymize.files import open_atomic
from vlp.corpus.codec import encode
from vlp.corpus.frame import Square, to_square
from vlp.study import SPLITS

Counts = dict[str, Counter[str]]
"""For each bar its parts, by split or under ``ALL``."""
ALL = "all"
_COLOURS = {"train": "#4477aa", "validation": "#ccbb44", "test": "#ee6677", ALL: "#777777"}
_MOST = 24  # bars; more than these cannot be read
_TILE = 160  # pixels of an example


def count(pairs: Iterable[tuple[str, str]], order: Sequence[str] = ()) -> Counts:
    """Pairs of bar and part, counted: bars first as in ``order``, then by size; empty ones left out."""
    found: Counts = {name: Counter() for name in order}
    for name, part in pairs:
        found.setdefault(name, Counter())[part] += 1
    rest = sorted((n for n in found if n not in order), key=lambda n: (-found[n].total(), n))
    return {name: found[name] for name in (*order, *rest) if found[name]}


def bars(path: Path, title: str, counts: Mapping[str, Counter[str]]) -> None:
    """Write a PNG with one bar for each of ``counts``, its total beside it; beyond 24 the rest is one bar."""
    names = list(counts)
    shown = dict(counts)
    if len(names) > _MOST:
        rest = Counter[str]()
        for name in names[_MOST - 1 :]:
            rest += counts[name]
        shown = {name: counts[name] for name in names[: _MOST - 1]} | {f"{len(names) - _MOST + 1} others": rest}
    figure = Figure(figsize=(6.4, 0.85 + 0.24 * len(shown)), dpi=110, layout="constrained")
    axes = figure.subplots()
    start = np.zeros(len(shown), np.int64)
    for part in (*SPLITS, ALL):
        values = np.array([counter[part] for counter in shown.values()])
        if values.any():
            axes.barh(list(shown), values, left=start, color=_COLOURS[part], label=part, height=0.72)
            start += values
    for row, total in enumerate(start.tolist()):
        axes.annotate(f"{total:,}", (total, row), (3, 0), textcoords="offset points", va="center", fontsize=7)
    axes.set_xlim(0, max(1, int(start.max())) * 1.1)
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.set_title(title, fontsize=10, loc="left")
    axes.tick_params(labelsize=8, length=2)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.spines[["top", "right"]].set_visible(False)
    if any(counter[split] for counter in shown.values() for split in SPLITS):
        figure.legend(loc="outside upper right", ncols=3, fontsize=7, frameon=False, handlelength=1)
    with open_atomic(path) as stream:
        figure.savefig(stream, format="png", metadata={"Software": None})


def sheet(path: Path, images: Sequence[npt.NDArray[np.uint8]], columns: int = 6) -> None:
    """Write a PNG of ``images``, uint8 [H, W] each, side by side."""
    square = Square(_TILE, "pad")
    tiles: list[Any] = [
        cv2.copyMakeBorder(to_square(i, square), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=90) for i in images
    ]
    tiles += [np.full((_TILE + 2, _TILE + 2), 255, np.uint8)] * (-len(tiles) % columns)
    rows = [np.hstack(tiles[at : at + columns]) for at in range(0, len(tiles), columns)]
    with open_atomic(path) as stream:
        stream.write(encode(np.vstack(rows), "png"))
