"""The chest seen from its side, the patient facing the left of the film.

Millimetres: x to the front from the middle of the trunk, y downwards. Both lungs lie over each other, so a finding of
one side takes its share of the depth.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import cv2
import numpy as np

from vlp.phantom.anatomy import chest_body as body
from vlp.phantom.facts import Chest, Exam, Scene, TrueObject
from vlp.phantom.outline import Film, Map, band_noise, box_of, chord, closed_curve, inside_mm, shell

_FILM_MM = (320.0, 404.0)  # width and height of the exposed part of the cassette
_CENTRES = {"upper": (22.0, 0.30), "lower": (-42.0, 0.86)}  # of a consolidation: x in mm, share of the lung's height


def lateral_scene(exam: Exam, size: int, rng: np.random.Generator) -> Scene:
    """What the rays cross in a lateral chest film; objects as in the frontal film, the lungs as one ``lungs``."""
    facts = exam.chest or Chest()
    frame, organs, disease = rng.spawn(3)
    long_mm = _FILM_MM[1] * exam.body_scale * frame.uniform(0.96, 1.04)
    film = Film(size, round(size * _FILM_MM[0] / _FILM_MM[1] * frame.uniform(0.9, 1.0)), long_mm / size)
    thorax = body.draw_thorax(exam, film, frame)
    depth = thorax.half_depth * 1.04
    top, low = thorax.apex, thorax.dome["R"]
    lungs = chord(_inside(film, thorax, _lung(depth, top, low)), 0.80 * thorax.half_width)
    total = chord(_inside(film, thorax, _trunk(depth, top, low, exam, thorax.mass)), 1.12 * thorax.half_width)
    total = np.maximum(total, _shoulder(film, thorax, top))
    texture = body.lung_texture(film, organs)
    air = lungs * np.float32(body.AIR) * (1 + 0.03 * texture)
    air -= np.minimum(_vessels(film, thorax, depth, top, low, organs), 0.5 * air)
    objects: list[TrueObject] = []
    _note(objects, "lungs", lungs > 4.0)
    solid = _disease(film, thorax, facts, depth, lungs, disease, objects)
    heart_rim = _inside(film, thorax, _heart(depth, top, low, facts.cardiothoracic_ratio))
    heart = chord(heart_rim, 40.0) + 0.8 * chord(_inside(film, thorax, _aorta(depth, top, low)), 14.0)
    room = 1 - np.clip(heart / np.maximum(lungs, 1.0), 0, 0.92)
    total = total - air * (1 - solid) * room + 0.08 * heart
    total -= 12 * np.exp(-((_line_distance(film, thorax, [(6, -20), (2, top + 60), (-6, top + 88)]) / 6.0) ** 2))
    _note(objects, "heart", heart_rim > 0)
    bone = _skeleton(film, thorax, depth, top, low, organs) * (total > 1)
    metal = np.zeros(film.shape, np.float32)
    if "pacemaker" in facts.device:
        metal = _pacemaker(film, thorax, depth, top, low)
        _note(objects, "pacemaker", metal > 0.15)
    return Scene(
        np.maximum(total, 0).astype(np.float32),
        bone.astype(np.float32),
        metal,
        film.plaster,
        film.spacing_mm,
        tuple(objects),
    )


def _inside(film: Film, thorax: body.Thorax, points: Sequence[tuple[float, float]]) -> Map:
    curve = thorax.on_film(closed_curve([(-x, y) for x, y in points]))
    return inside_mm(curve, film.shape, film.spacing_mm)


def _lung(d: float, top: float, low: float) -> list[tuple[float, float]]:
    h = low - top
    return [
        (0.02 * d, top), (0.30 * d, top + 0.08 * h), (0.52 * d, top + 0.22 * h), (0.72 * d, top + 0.45 * h),
        (0.84 * d, top + 0.75 * h), (0.84 * d, low + 0.02 * h), (0.72 * d, low - 0.01 * h), (0.35 * d, low - 0.02 * h),
        (-0.10 * d, low + 0.03 * h), (-0.50 * d, low + 0.14 * h), (-0.78 * d, low + 0.30 * h),
        (-0.87 * d, low + 0.27 * h),
        (-0.88 * d, low - 0.05 * h), (-0.86 * d, top + 0.55 * h), (-0.72 * d, top + 0.25 * h),
        (-0.42 * d, top + 0.06 * h),
    ]  # fmt: skip


def _trunk(d: float, top: float, low: float, exam: Exam, mass: float) -> list[tuple[float, float]]:
    fat = 8 + 12 * mass
    bust = (22 if exam.sex == "F" and exam.age_months > 156 else 6) * mass
    h = low - top
    return [
        (48, -70), (46, top - 30), (0.55 * d + fat, top + 0.06 * h), (0.86 * d + fat, top + 0.40 * h),
        (0.93 * d + fat + bust, top + 0.72 * h), (0.95 * d + fat + 0.3 * bust, low), (0.98 * d + fat, low + 90),
        (0.98 * d + fat, 520), (-0.98 * d - fat, 520), (-0.97 * d - fat, low + 60), (-1.04 * d - fat, top + 0.55 * h),
        (-0.95 * d - fat, top + 0.15 * h), (-0.62 * d, top - 25), (-58, -70),
    ]  # fmt: skip


def _shoulder(film: Film, thorax: body.Thorax, top: float) -> Map:
    """Raised arms cover the apices."""
    points = [(-62, top - 70), (55, top - 70), (48, top + 20), (8, top + 52), (-48, top + 40)]
    return chord(_inside(film, thorax, points), 1.25 * thorax.half_width)


def _heart(d: float, top: float, low: float, ratio: float) -> list[tuple[float, float]]:
    h, grown = low - top, (ratio - 0.45) / 0.2
    back = (0.22 + 0.30 * grown) * d
    return [
        (0.74 * d, low - 0.02 * h), (0.70 * d, low - 0.22 * h), (0.52 * d, low - 0.35 * h), (0.28 * d, low - 0.45 * h),
        (0.05 * d, low - 0.45 * h), (-0.6 * back, low - 0.34 * h), (-back, low - 0.20 * h),
        (-0.75 * back, low + 0.02 * h),
        (0.3 * d, low + 0.05 * h),
    ]  # fmt: skip


def _aorta(d: float, top: float, low: float) -> list[tuple[float, float]]:
    h = low - top
    return [
        (0.36 * d, top + 0.50 * h), (0.28 * d, top + 0.34 * h), (0.05 * d, top + 0.27 * h), (-0.28 * d, top + 0.34 * h),
        (-0.44 * d, top + 0.6 * h), (-0.46 * d, low + 0.2 * h), (-0.62 * d, low + 0.2 * h), (-0.60 * d, top + 0.5 * h),
        (-0.42 * d, top + 0.24 * h), (0.05 * d, top + 0.16 * h), (0.46 * d, top + 0.30 * h), (0.52 * d, top + 0.5 * h),
    ]  # fmt: skip


def _line_distance(film: Film, thorax: body.Thorax, points: list[tuple[float, float]]) -> Map:
    """Distance in mm of each pixel to a polyline."""
    layer = np.full(film.shape, 255, np.uint8)
    pixels = np.round(thorax.on_film([(-x, y) for x, y in points]) / film.spacing_mm * 16).astype(np.int32)
    cv2.polylines(layer, [pixels], False, 0, 1, cv2.LINE_8, 4)
    return cv2.distanceTransform(layer, cv2.DIST_L2, 3) * np.float32(film.spacing_mm)


def _vessels(film: Film, thorax: body.Thorax, d: float, top: float, low: float, rng: np.random.Generator) -> Map:
    """Hilar and lung vessels of both sides in mm of water."""
    layer = np.zeros(film.shape, np.uint8)
    hilum = np.array([0.02 * d, top + 0.47 * (low - top)])
    stack = [(hilum + rng.normal(0, 4, 2), float(a), rng.uniform(3.5, 7.0), 34.0) for a in np.linspace(0, 360, 18)[:-1]]
    while stack:
        start, angle, width, length = stack.pop()
        heading = np.deg2rad(angle + rng.normal(0, 10))
        end = start + length * np.array([np.cos(heading), np.sin(heading)])
        pixels = thorax.on_film([(-start[0], start[1]), (-end[0], end[1])]) / film.spacing_mm * 16
        value = min(255.0, 22.0 * width * min(1.0, width / film.spacing_mm))
        thickness = max(1, round(width / film.spacing_mm))
        cv2.polylines(layer, [np.round(pixels).astype(np.int32)], False, value, thickness, cv2.LINE_AA, 4)
        if width > 1.3:
            for fork in (rng.uniform(8, 35), -rng.uniform(8, 35)):
                stack.append((end, angle + fork, width * rng.uniform(0.55, 0.75), length * rng.uniform(0.6, 0.9)))
    return cv2.GaussianBlur(layer, (0, 0), max(0.4, 0.6 / film.spacing_mm)).astype(np.float32) / 10.0


def _disease(
    film: Film,
    thorax: body.Thorax,
    facts: Chest,
    d: float,
    lungs: Map,
    rng: np.random.Generator,
    objects: list[TrueObject],
) -> Map:
    """Airless share of the lungs' depth, 0-1. Fluid gathers behind first; free air shows in front and at the top."""
    x, y = thorax.coordinates(film)
    x = -x
    top, low = thorax.apex, thorax.dome["R"]
    h = low - top
    solid = np.zeros(film.shape, np.float32)
    for size in facts.effusion.values():
        behind = 0.10 * h * np.exp(-np.maximum(x + 0.85 * d, 0) / 22.0)
        level = low + 0.30 * h - (0.08 + size * 1.2) * h - behind
        share = 0.72 * (1 - np.exp(-np.maximum(y - level, 0) / 12.0)) * (lungs > 0)
        _note(objects, "effusion", (share > 0.3) & (lungs > 2.0))
        solid = np.maximum(solid, share.astype(np.float32))
    for lobe in facts.consolidation:
        cx, level = _CENTRES["upper" if lobe.endswith("upper") else "lower"]
        cx, cy = cx + rng.normal(0, 6), top + h * (level + rng.uniform(-0.06, 0.06))
        noise = band_noise(film.shape, 4.0 / film.spacing_mm, 16.0 / film.spacing_mm, rng)
        field = np.exp(-0.5 * (((x - cx) / 30.0) ** 2 + ((y - cy) / 32.0) ** 2))
        share = 0.5 / (1 + np.exp(-(field - 0.5 + 0.09 * noise) / 0.09)) * (lungs > 0)
        _note(objects, "consolidation", (share > 0.22) & (lungs > 4.0))
        solid = np.maximum(solid, share.astype(np.float32))
    for size in facts.pneumothorax.values():
        rim = (np.clip(1 - (lungs / max(float(lungs.max()), 1.0)), 0, 1) * (y < top + 0.5 * h)).astype(np.float32)
        solid -= np.float32(0.16 * min(1.0, 0.4 + size)) * rim * (lungs > 0)
    return solid


def _skeleton(film: Film, thorax: body.Thorax, d: float, top: float, low: float, rng: np.random.Generator) -> Map:
    """Vertebrae, sternum and both sides' ribs, cortical-equivalent mm."""
    total = np.zeros(film.shape, np.float32)
    y, number = top - 75.0, 0
    while y < low + 190:
        height, half = 15 + 0.65 * number, 13 + 0.5 * number
        bow = -0.58 * d - 0.16 * d * np.sin(np.clip((y - top) / (low - top), -0.3, 1.3) * np.pi)
        corners = [(bow - half, y), (bow, y + 1), (bow + half, y), (bow + 0.9 * half, y + height / 2),
                   (bow + half, y + height), (bow, y + height - 1), (bow - half, y + height)]  # fmt: skip
        total += 0.6 * shell(_inside(film, thorax, corners), 16.0, 1.4, 0.15)
        y, number = y + height + 4.0, number + 1
    h = low - top
    sternum = [(0.50 * d, top + 0.14 * h), (0.60 * d, top + 0.16 * h), (0.93 * d, top + 0.70 * h),
    (0.90 * d, top + 0.76 * h),
               (0.83 * d, top + 0.68 * h)]  # fmt: skip
    total += shell(_inside(film, thorax, sternum), 16.0, 1.2, 0.08)
    layer = np.zeros(film.shape, np.uint8)
    slope, width = rng.uniform(0.25, 0.4), max(1, round(8 / film.spacing_mm))
    for start in np.linspace(top - 10, low + 30, 11):
        for shift in (0.0, rng.uniform(3, 9)):
            across = np.linspace(-0.92 * d, 0.45 * d, 12)
            drop = start + shift + slope * (across + 0.92 * d) + 10 * np.sin(np.linspace(0, np.pi, 12))
            pixels = np.round(thorax.on_film(np.stack([-across, drop], 1)) / film.spacing_mm * 16).astype(np.int32)
            fresh = np.zeros_like(layer)
            cv2.polylines(fresh, [pixels], False, 42, width, cv2.LINE_AA, 4)
            layer = cv2.add(layer, fresh)
    ribs = cv2.GaussianBlur(layer, (0, 0), max(0.5, 0.8 / film.spacing_mm)).astype(np.float32) / 30.0
    return cast(Map, total + ribs)


def _pacemaker(film: Film, thorax: body.Thorax, d: float, top: float, low: float) -> Map:
    h = low - top
    case = [
        (0.62 * d, top + 0.2 * h),
        (0.70 * d, top + 0.22 * h),
        (0.80 * d, top + 0.40 * h),
        (0.72 * d, top + 0.4 * h),
    ]
    metal = 6.0 * (_inside(film, thorax, case) > 0).astype(np.float32)
    lead = _line_distance(film, thorax, [(0.62 * d, top + 0.2 * h), (0.1 * d, top + 0.2 * h), (0.05 * d, low - 0.3 * h),
                                         (0.5 * d, low - 0.06 * h)])  # fmt: skip
    return np.maximum(metal, 1.4 * np.exp(-((lead / 1.0) ** 2))).astype(np.float32)


def _note(objects: list[TrueObject], name: str, mask: np.ndarray) -> None:
    box = box_of(mask)
    if box is not None:
        objects.append(TrueObject(name, box, mask))
