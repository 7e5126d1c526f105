"""Findings of the chest: effusion, consolidation, pneumothorax, and what is implanted or stuck on."""

from __future__ import annotations

from typing import cast

import cv2
import numpy as np
import numpy.typing as npt

from vlp.phantom.anatomy.chest_body import SIGN, Thorax, lung_outline
from vlp.phantom.outline import Film, Map, band_noise, inside_mm


def effusion(film: Film, thorax: Thorax, side: str, size: float, depth: Map, rng: np.random.Generator) -> Map:
    """Share of the lung's depth that fluid fills, [H, W] float32 in 0-1.

    ``size`` is the height of the fluid as a share of the hemithorax; the meniscus climbs along the lateral wall
    (Damoiseau's curve) and a little along the mediastinum.
    """
    x, y = thorax.coordinates(film)
    height = thorax.dome[side] - thorax.apex
    floor = thorax.dome[side] + 0.17 * height
    outward = SIGN[side] * x
    wall = thorax.half_width - outward
    lateral = (rng.uniform(0.10, 0.18) * height * (0.5 + min(size, 0.5))) * np.exp(-np.maximum(wall, 0) / 17.0)
    medial = 0.04 * height * np.exp(-np.maximum(outward - 0.15 * thorax.half_width, 0) / 14.0)
    level = floor - size * 1.08 * height - lateral - medial
    wave = rng.uniform(1.5, 4.0) * np.sin(x / rng.uniform(25, 45) + rng.uniform(0, 6))
    below = np.maximum(y - level - wave, 0)
    share = 1 - np.exp(-below / rng.uniform(10, 16))
    return (np.clip(1.12 * share, 0, 1) * (depth > 0)).astype(np.float32)


_LOBES = {"right_upper": ("R", 0.24), "right_lower": ("R", 0.86), "left_upper": ("L", 0.24), "left_lower": ("L", 0.86)}


def consolidation(film: Film, thorax: Thorax, lobe: str, depth: Map, rng: np.random.Generator) -> Map:
    """Share of the lung's depth that is airless, [H, W] float32 in 0-1: fuzzy patches with air bronchograms.

    Raises ``ValueError`` for an unknown lobe.
    """
    if lobe not in _LOBES:
        raise ValueError(f"unknown lobe '{lobe}'; there are {', '.join(_LOBES)}")
    side, level = _LOBES[lobe]
    x, y = thorax.coordinates(film)
    height = thorax.dome[side] - thorax.apex
    cx = SIGN[side] * thorax.half_width * rng.uniform(0.45, 0.72)
    cy = thorax.apex + height * (level + rng.uniform(-0.07, 0.07))
    rx, ry = rng.uniform(30, 52), rng.uniform(28, 46)
    field = np.exp(-0.5 * (((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2))
    noise = band_noise(film.shape, 4.0 / film.spacing_mm, 16.0 / film.spacing_mm, rng)
    share = 1 / (1 + np.exp(-(field - 0.5 + 0.09 * noise) / rng.uniform(0.07, 0.12)))
    share *= rng.uniform(0.55, 0.85) * (depth > 0)
    return (share * (1 - 0.55 * _bronchogram(film, thorax, side, (cx, cy), rng))).astype(np.float32)


def _bronchogram(film: Film, thorax: Thorax, side: str, centre: tuple[float, float], rng: np.random.Generator) -> Map:
    """Open airways within a consolidation, 0-1."""
    layer = np.zeros(film.shape, np.uint8)
    hilum = np.array([SIGN[side] * 0.27 * thorax.half_width, thorax.apex + 0.5 * (thorax.dome[side] - thorax.apex)])
    for _ in range(5):
        end = np.array(centre) + rng.normal(0, 20, 2)
        middle = (hilum + end) / 2 + rng.normal(0, 6, 2)
        pixels = thorax.on_film(np.array([hilum, middle, end])) / film.spacing_mm
        width = max(1, round(rng.uniform(1.5, 2.6) / film.spacing_mm))
        cv2.polylines(layer, [np.round(pixels * 16).astype(np.int32)], False, 255, width, cv2.LINE_AA, 4)
    return cv2.GaussianBlur(layer, (0, 0), 0.8).astype(np.float32) / 255.0


def pneumothorax(film: Film, thorax: Thorax, side: str, size: float, depth: Map) -> tuple[Map, Map]:
    """Pleural air (0 or 1, softened) and the visceral line (0-1), [H, W] float32 each.

    The lung keeps ``1 - size`` of its area and shrinks towards its hilum, apex and lateral border first.
    """
    curve = lung_outline(thorax, side)
    height = thorax.dome[side] - thorax.apex
    hilum = np.array([SIGN[side] * 0.2 * thorax.half_width, thorax.apex + 0.62 * height])
    keep = np.sqrt(1 - min(size, 0.9))
    shrunk = hilum + (curve - hilum) * (keep, keep)
    low = curve[:, 1] > hilum[1]
    shrunk[low, 1] = hilum[1] + (curve[low, 1] - hilum[1]) * (0.35 + 0.65 * keep)
    inside = inside_mm(thorax.on_film(shrunk), film.shape, film.spacing_mm)
    air = ((inside <= 0) & (depth > 0)).astype(np.float32)
    line = np.exp(-(((inside - 0.8) / 0.9) ** 2)) * (inside > 0) * (depth > 8)
    soft = max(0.5, 0.5 / film.spacing_mm)
    edge = cast(Map, cv2.GaussianBlur(line.astype(np.float32), (0, 0), soft))
    return cv2.GaussianBlur(air, (0, 0), soft) * (depth > 0), edge


def device_layer(film: Film, thorax: Thorax, name: str, rng: np.random.Generator) -> Map:
    """Metal path of a device in mm: pacemaker, central_line, ecg_wires. Unknown names raise ``ValueError``."""
    layer = np.zeros(film.shape, np.uint8)
    top, h, r = thorax.apex, thorax.dome["R"] - thorax.apex, thorax.rotation

    def stroke(points: list[tuple[float, float]], width: float, value: float) -> None:
        knots = np.asarray(points, np.float64)
        fine = np.linspace(0, len(knots) - 1, 12 * len(knots))
        path = np.stack([_smooth(fine, knots[:, axis]) for axis in (0, 1)], 1)
        pixels = np.round(thorax.on_film(path) / film.spacing_mm * 16).astype(np.int32)
        thickness = max(1, round(width / film.spacing_mm))
        faint = min(1.0, width / film.spacing_mm)
        cv2.polylines(layer, [pixels], False, value * 30 * faint, thickness, cv2.LINE_AA, 4)

    if name == "pacemaker":
        x, y = rng.uniform(92, 118), top + rng.uniform(48, 72)
        base = max(thorax.dome.values())
        stroke([(x, y), (x - 35, y - 30), (20, y - 8), (-16 + r, top + 0.40 * h), (-20 + r, top + 0.75 * h),
                (25 + r, base - 12)], 2.0, 1.5)  # fmt: skip
        turn = np.linspace(0, 2 * np.pi, 40)
        round_off = [
            (np.sign(np.cos(t)) * abs(np.cos(t)) ** 0.6, np.sign(np.sin(t)) * abs(np.sin(t)) ** 0.6) for t in turn
        ]
        case = [(x + 24 * a, y + 20 * b) for a, b in round_off]
        pixels = np.round(thorax.on_film(case) / film.spacing_mm * 16).astype(np.int32)
        cv2.fillPoly(layer, [pixels], 230, cv2.LINE_AA, 4)
    elif name == "central_line":
        stroke(
            [(-48, top - 60), (-42, top - 5), (-24 + r, top + 0.18 * h), (-22 + r, top + rng.uniform(0.4, 0.55) * h)],
            1.8,
            1.1,
        )
    elif name == "ecg_wires":
        for x, y in ((-95, 30), (98, 26), (80, 190)):
            x, y = x + rng.normal(0, 12), top + y + rng.normal(0, 14)
            stroke(
                [(x, y), (x + rng.normal(0, 30), y + 60), (rng.normal(0, 40), y + 140), (rng.normal(20, 40), 460)],
                1.5,
                0.8,
            )
            spot = np.round(thorax.on_film([(x, y)])[0] / film.spacing_mm).astype(int)
            cv2.circle(layer, spot.tolist(), max(1, int(5 / film.spacing_mm)), 55, -1, cv2.LINE_AA)
    else:
        raise ValueError(f"unknown chest device '{name}'; there are pacemaker, central_line, ecg_wires")
    return layer.astype(np.float32) / 30.0


def _smooth(at: npt.NDArray[np.float64], values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Catmull-Rom through ``values`` at integer knots."""
    padded = np.concatenate([[2 * values[0] - values[1]], values, [2 * values[-1] - values[-2]]])
    knot = np.minimum(at.astype(int), len(values) - 2)
    t = at - knot
    a, b, c, d = (padded[knot + k] for k in range(4))
    return 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
