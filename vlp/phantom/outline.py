"""Bones and organs from their outlines: a closed curve in millimetres, filled, and its depth along the ray.

The distance of a pixel to the outline gives the path through a rounded solid in closed form: a body of half-depth
``w`` has the chord ``2 sqrt(d (2 w - d))`` at distance ``d < w`` from its rim, and ``2 w`` further in. Cortex is the
outer chord minus the chord of the marrow space. One distance transform serves any shape: no mesh, no ray tracing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

Map = npt.NDArray[np.float32]
Points = npt.NDArray[np.float64]


def closed_curve(points: Sequence[tuple[float, float]] | Points, samples: int = 8) -> Points:
    """A closed Catmull-Rom curve through ``points`` [n, 2], ``samples`` points a span, [n * samples, 2]."""
    knots = np.asarray(points, np.float64)
    before, after, beyond = np.roll(knots, 1, 0), np.roll(knots, -1, 0), np.roll(knots, -2, 0)
    t = (np.arange(samples) / samples)[None, :, None]
    a, b, c, d = before[:, None], knots[:, None], after[:, None], beyond[:, None]
    spans = 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
    return spans.reshape(-1, 2)


def inside_mm(curve: Points, shape: tuple[int, int], spacing_mm: float, origin: tuple[float, float] = (0, 0)) -> Map:
    """Distance to the rim inside a closed curve, [H, W] float32 in mm, 0 outside.

    ``curve`` is [n, 2] (x, y) in mm; pixel (row, column) lies at ``origin + spacing * (column, row)``.
    """
    pixels = (curve - np.asarray(origin)) / spacing_mm
    low = np.floor(pixels.min(0)).astype(int) - 2
    high = np.ceil(pixels.max(0)).astype(int) + 3
    x0, y0 = np.maximum(low, 0)
    x1, y1 = min(high[0], shape[1]), min(high[1], shape[0])
    distance = np.zeros(shape, np.float32)
    if x1 <= x0 or y1 <= y0:
        return distance
    window = np.zeros((y1 - y0, x1 - x0), np.uint8)  # its edge is no rim: an outline may go on beyond the map
    cv2.fillPoly(window, [np.round((pixels - (x0, y0)) * 16).astype(np.int32)], 255, cv2.LINE_8, 4)
    part = cv2.distanceTransform(window, cv2.DIST_L2, cv2.DIST_MASK_5)
    part = np.minimum(part, np.float32(sum(shape)))  # OpenCV's answer without any rim is the largest float
    distance[y0:y1, x0:x1] = np.maximum(part - 0.4 * (part > 0), 0) * np.float32(spacing_mm)
    return distance


def chord(distance_mm: Map, half_depth_mm: npt.NDArray[np.floating] | float) -> Map:
    """Path through a solid with rounded rim, in mm, from the distance to its outline and its half-depth."""
    half = np.maximum(np.asarray(half_depth_mm, np.float32), np.float32(1e-3))
    reach = np.minimum(distance_mm, half)
    return 2 * np.sqrt(np.maximum(reach * (2 * half - reach), 0))


def shell(
    distance_mm: Map,
    half_depth_mm: Map | float,
    cortex_mm: Map | float,
    marrow: Map | float,
) -> Map:
    """Cortical-equivalent path of a hollow bone in mm: cortex all round, and ``marrow`` (0-1 of cortical) within."""
    outer = chord(distance_mm, half_depth_mm)
    inner = chord(np.maximum(distance_mm - cortex_mm, 0), np.maximum(np.subtract(half_depth_mm, cortex_mm), 1e-3))
    inner = np.where(distance_mm > cortex_mm, np.minimum(inner, outer), 0)
    return (outer - inner + np.asarray(marrow, np.float32) * inner).astype(np.float32)


def band_noise(
    shape: tuple[int, int], low_px: float, high_px: float, rng: np.random.Generator, stretch: float = 1.0
) -> Map:
    """Band-pass noise of unit variance, [H, W] float32: structures between two scales (standard deviations in pixels).

    ``stretch`` > 1 draws the structures out along rows (trabeculae along the stress lines).
    """
    white = rng.standard_normal(shape, dtype=np.float32)
    fine = cv2.GaussianBlur(white, (0, 0), sigmaX=low_px, sigmaY=low_px * stretch)
    coarse = cv2.GaussianBlur(white, (0, 0), sigmaX=high_px, sigmaY=high_px * stretch)
    band = fine - coarse
    return band / np.float32(max(float(band.std()), 1e-6))


@dataclass
class Film:
    """The four maps of a scene while it is built, with millimetre coordinates of each pixel centre."""

    height: int
    width: int
    spacing_mm: float

    def __post_init__(self) -> None:
        self.soft, self.bone, self.metal, self.plaster = (
            np.zeros((self.height, self.width), np.float32) for _ in range(4)
        )
        self.x = (np.arange(self.width, dtype=np.float32) * np.float32(self.spacing_mm))[None, :]
        self.y = (np.arange(self.height, dtype=np.float32) * np.float32(self.spacing_mm))[:, None]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return (self.height, self.width)

    def inside(self, points: Sequence[tuple[float, float]] | Points, smooth: bool = True) -> Map:
        """Distance to the rim (mm, 0 outside) of the outline through ``points`` in film millimetres."""
        curve = closed_curve(points) if smooth else np.asarray(points, np.float64)
        return inside_mm(curve, self.shape, self.spacing_mm)


def box_of(mask: npt.NDArray[np.bool_]) -> tuple[float, float, float, float] | None:
    """The box ``x0, y0, x1, y1`` around a mask (end exclusive), or None where it is empty."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return None
    return (float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1))
