"""Osteosynthesis: plates, screws, nails and wires in a bone's own frame, millimetres of metal."""

from __future__ import annotations

import cv2
import numpy as np

from vlp.phantom.anatomy.limb import Panel
from vlp.phantom.outline import Map


def implant(
    panel: Panel, kind: str, at: float, half_width: float, length: float, face_on: bool, rng: np.random.Generator
) -> Map:
    """Metal path in mm on a bone's panel, [H, W] float32. ``kind``: plate, nail or wires.

    ``at`` is the middle of the implant along the bone, ``face_on`` shows a plate from its broad side.
    Raises ``ValueError`` for another kind.
    """
    if kind == "plate":
        return _plate(panel, at, half_width, length, face_on, rng)
    if kind == "nail":
        return _nail(panel, half_width, length, rng)
    if kind == "wires":
        return _wires(panel, at, half_width, rng)
    raise ValueError(f"unknown implant '{kind}'; there are plate, nail, wires")


def _draw(panel: Panel, points: list[tuple[float, float]], width: float) -> Map:
    layer = np.zeros(panel.shape, np.uint8)
    thickness = max(1, round(width / panel.pitch))
    cv2.polylines(layer, [panel.pixels(points)], False, 255, thickness, cv2.LINE_AA, 4)
    return layer.astype(np.float32) / 255.0 * np.float32(min(1.0, width / panel.pitch))


def _plate(panel: Panel, at: float, half_width: float, length: float, face_on: bool, rng: np.random.Generator) -> Map:
    holes, pitch = int(rng.integers(5, 9)), rng.uniform(9.0, 13.0)
    reach = holes * pitch / 2
    first = float(np.clip(at - reach, 6, length - 6 - 2 * reach))
    places = [first + (k + 0.5) * pitch for k in range(holes)]
    side = float(rng.choice([-1.0, 1.0]))
    metal = np.zeros(panel.shape, np.float32)
    used = [abs(s - at) > 0.6 * pitch and rng.random() < 0.9 for s in places]
    if face_on:
        metal += 3.2 * _draw(panel, [(0.0, first), (0.0, first + 2 * reach)], 9.0)
        for s, screwed in zip(places, used, strict=True):
            hole = _draw(panel, [(0.0, s - 0.6), (0.0, s + 0.6)], 4.2)
            metal = metal * (1 - hole) + (14.0 * hole if screwed else 0)
        return metal
    edge = side * (half_width + 1.2)
    metal += 9.0 * _draw(panel, [(edge, first), (edge, first + 2 * reach)], 3.2)
    for s, screwed in zip(places, used, strict=True):
        if screwed:
            tilt = rng.normal(0, 0.6)
            metal += 3.2 * _draw(panel, [(edge, s), (-side * (half_width + 1.5), s + tilt)], 3.4)
    return metal


def _nail(panel: Panel, half_width: float, length: float, rng: np.random.Generator) -> Map:
    radius = min(10.0, 0.8 * half_width)
    top, low = rng.uniform(6, 14), length * rng.uniform(0.84, 0.91)
    metal = 6.5 * _draw(panel, [(3.0, top), (0.0, top + 45), (0.0, low)], radius)
    for s in (top + 22, top + 38, low - 12, low - 26):
        reach = 0.9 * half_width + (9 if s < length / 2 else 6)
        metal += 4.0 * _draw(panel, [(-reach, s), (reach, s)], 4.2)
    return metal


def _wires(panel: Panel, at: float, half_width: float, rng: np.random.Generator) -> Map:
    metal = np.zeros(panel.shape, np.float32)
    for side in (-1.0, 1.0):
        start, end = (
            (side * half_width * 0.9, at + rng.uniform(16, 24)),
            (-side * half_width * 0.8, at - rng.uniform(18, 32)),
        )
        metal += 1.8 * _draw(panel, [start, end], 1.7)
    return metal
