"""Boxes around text: padded, joined, carried from the working size to the frame."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

Box = tuple[int, int, int, int]  # x0, y0, x1, y1; x1 and y1 excluded

LEAST_PAD = 8  # px around a line
CHARACTER = 0.9  # width of a character in heights


@dataclass(frozen=True)
class Region:
    """One place that holds text, or may hold it."""

    box: Box  # pixels
    score: float  # 0-1: how sure the engine is
    engine: str  # detector, lines, ocr, template
    doubtful: bool = False  # in the doubtful band of the score: a person should look


def pad(box: Box, shape: tuple[int, ...], height: float, along: float = CHARACTER) -> Box:
    """For letters ``height`` px high: wider by ``along`` heights at both ends (by default a character: I and l are easily
    missed), and by half a line up and down (accents, tails).
    """
    across, down = max(LEAST_PAD, int(along * height)), max(LEAST_PAD, int(0.4 * height) + 2)
    if box[3] - box[1] > box[2] - box[0]:  # a line that runs upwards
        across, down = down, across
    return max(0, box[0] - across), max(0, box[1] - down), min(shape[1], box[2] + across), min(shape[0], box[3] + down)


def merge(regions: Iterable[Region]) -> list[Region]:
    """Regions that mostly cover each other become one; others stay apart, so that a fill does not grow over the film.

    A joined region has the better score, and is doubtful only where all its parts are.
    """
    merged: list[Region] = []
    for region in sorted(regions, key=lambda r: (r.box[0] - r.box[2]) * (r.box[3] - r.box[1])):
        box = region.box
        for index, other in enumerate(merged):
            across = min(box[2], other.box[2]) - max(box[0], other.box[0])
            down = min(box[3], other.box[3]) - max(box[1], other.box[1])
            if across > 0 and down > 0.5 * min(box[3] - box[1], other.box[3] - other.box[1]):
                better = region if region.score > other.score else other
                merged[index] = replace(better, box=hull(box, other.box), doubtful=region.doubtful and other.doubtful)
                break
        else:
            merged.append(region)
    return sorted(merged, key=lambda r: r.box)


def hull(one: Box, other: Box) -> Box:
    """The smallest box that holds both."""
    return min(one[0], other[0]), min(one[1], other[1]), max(one[2], other[2]), max(one[3], other[3])


def inside(box: Box, other: Box, share: float = 0.8) -> bool:
    """Whether ``share`` of the area of ``box`` lies in ``other``."""
    across = max(0, min(box[2], other[2]) - max(box[0], other[0]))
    down = max(0, min(box[3], other[3]) - max(box[1], other[1]))
    return across * down >= share * (box[2] - box[0]) * (box[3] - box[1])


def scaled(box: Box, scale: float, shape: tuple[int, ...]) -> Box:
    """A box of the working size in pixels of the frame of ``shape``, rounded outwards."""
    return (
        int(box[0] / scale),
        int(box[1] / scale),
        min(shape[1], int(np.ceil(box[2] / scale))),
        min(shape[0], int(np.ceil(box[3] / scale))),
    )
