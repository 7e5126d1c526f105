"""The chest without disease, postero-anterior: trunk, lungs, mediastinum, vessels, skeleton, abdomen.

Anatomical millimetres: x to the patient's left (right on the film) from the spine, y downwards from the film's top.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import cv2
import numpy as np
import numpy.typing as npt

from vlp.phantom.facts import Exam
from vlp.phantom.outline import Film, Map, Points, band_noise, chord, closed_curve, inside_mm, shell

AIR = 0.74  # share of a healthy lung's depth that is air
SIGN = {"R": -1.0, "L": 1.0}


@dataclass(frozen=True)
class Thorax:
    """A patient's frame and pose on the film. Lengths in mm."""

    half_width: float  # inner half-width of the rib cage
    apex: float  # y of the lung apices
    dome: dict[str, float]  # y of the top of each hemidiaphragm
    half_depth: float  # of the trunk
    mass: float
    rotation: float  # shift of the mediastinum to the left by turning the trunk, mm
    tilt_deg: float
    centre: tuple[float, float]  # film mm of anatomical (0, 200)

    def on_film(self, points: Points | list[tuple[float, float]]) -> Points:
        """Anatomical to film millimetres, [n, 2]."""
        angle = np.deg2rad(self.tilt_deg)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        return (np.asarray(points, np.float64) - (0, 200)) @ turn.T + self.centre

    def coordinates(self, film: Film) -> tuple[Map, Map]:
        """Anatomical x and y of each pixel, [H, W] float32 each."""
        angle = np.float32(np.deg2rad(self.tilt_deg))
        dx, dy = film.x - np.float32(self.centre[0]), film.y - np.float32(self.centre[1])
        return np.cos(angle) * dx + np.sin(angle) * dy, -np.sin(angle) * dx + np.cos(angle) * dy + np.float32(200)


def draw_thorax(exam: Exam, film: Film, rng: np.random.Generator) -> Thorax:
    """A patient's frame: independent of the findings, wide in variation where they could otherwise be read from it."""
    strength = 1.0 if exam.level == "hard" else 0.75
    frame = exam.body_scale * (1.03 if exam.sex == "M" else 0.96)
    half_width = 145 * frame * np.exp(rng.normal(0, 0.05))
    apex = 44 + rng.normal(0, 9) * strength
    height = 218 * frame * np.exp(rng.normal(0.0, 0.10 * strength))  # inspiration varies much
    dome = {"R": apex + height, "L": apex + height + rng.normal(10, 6)}
    mass = exam.body_mass * np.exp(rng.normal(0, 0.08))
    return Thorax(
        half_width=float(half_width),
        apex=float(apex),
        dome=dome,
        half_depth=float(98 * frame * mass**0.6),
        mass=float(mass),
        rotation=float(rng.normal(0, 5) * strength),
        tilt_deg=float(rng.normal(0, 1.6) * strength),
        centre=(
            film.width * film.spacing_mm / 2 + float(rng.normal(0, 8)) * strength,
            200 + float(rng.normal(0, 9)) * strength,
        ),
    )


def lung_outline(thorax: Thorax, side: str) -> Points:
    """One lung with its costophrenic sulcus, anatomical mm, [n, 2]; its medial border lies behind the mediastinum."""
    sign, w, top, dome = SIGN[side], thorax.half_width, thorax.apex, thorax.dome[side]
    h = dome - top
    angle = dome + 0.17 * h  # the costophrenic angle
    shape = [
        (0.36, top), (0.60, top + 0.06 * h), (0.80, top + 0.24 * h), (0.93, top + 0.50 * h), (0.985, top + 0.76 * h),
        (1.0, top + h), (0.985, angle - 2), (0.93, angle - 0.03 * h), (0.78, dome + 0.045 * h), (0.52, dome),
        (0.30, dome + 0.03 * h), (0.15, dome + 0.10 * h), (0.13, dome - 0.20 * h), (0.13, top + 0.45 * h),
        (0.15, top + 0.15 * h), (0.22, top + 0.03 * h),
    ]  # fmt: skip
    return closed_curve([(sign * x * w, y) for x, y in shape])


def lung_depth(film: Film, thorax: Thorax, side: str) -> Map:
    """Depth of one lung along the ray in mm, air and tissue together."""
    distance = inside_mm(thorax.on_film(lung_outline(thorax, side)), film.shape, film.spacing_mm)
    return chord(distance, 0.70 * thorax.half_depth)


def heart_outline(thorax: Thorax, ratio: float, apex_drop: float) -> Points:
    """The heart's silhouette for a cardiothoracic ratio (greatest widths; Danzer 1919), anatomical mm."""
    width = 2 * thorax.half_width * ratio
    right, left = -0.34 * width, 0.66 * width
    base = max(thorax.dome["R"], thorax.dome["L"] - 8)
    top = base - 0.60 * (base - thorax.apex)
    h = base - top
    shape = [
        (0.55 * right, top + 0.30 * h), (0.95 * right, top + 0.58 * h), (right, top + 0.75 * h),
        (0.9 * right, top + 0.96 * h), (0.45 * right, base + 8), (0.3 * left, base + 14),
        (0.75 * left, base + 12 + apex_drop), (0.97 * left, base - 4 + apex_drop), (left, top + 0.84 * h),
        (0.88 * left, top + 0.66 * h), (0.62 * left, top + 0.40 * h), (0.40 * left, top + 0.18 * h), (10, top - 4),
    ]  # fmt: skip
    return closed_curve([(x + thorax.rotation, y) for x, y in shape])


def mediastinum(film: Film, thorax: Thorax, rng: np.random.Generator) -> tuple[Map, Map]:
    """Soft tissue between the lungs (mm) and the airway's air (mm): great vessels, aortic knob, trachea, bronchi."""
    top, low = thorax.apex, max(thorax.dome.values())
    h = low - top
    r, width = thorax.rotation, 24 * rng.uniform(0.85, 1.25)
    knob = rng.uniform(30, 43)
    pedicle = [
        (-width * 0.8, -20), (-width * 0.9, top), (-width * 1.05 + r, top + 0.30 * h),
        (-width * 1.2 + r, top + 0.55 * h), (-width + r, low + 20), (width + r, low + 20),
        (width * 1.2 + r, top + 0.6 * h),
        (knob - 4 + r, top + 0.40 * h), (knob + r, top + 0.31 * h), (knob - 7 + r, top + 0.23 * h),
        (width + r, top + 0.14 * h), (width * 0.8, -20),
    ]  # fmt: skip
    tissue = chord(inside_mm(thorax.on_film(closed_curve(pedicle)), film.shape, film.spacing_mm), 34.0)
    air = np.zeros(film.shape, np.uint8)
    carina = top + 0.37 * h
    bend = rng.normal(2, 3)
    _strokes(
        air,
        film,
        thorax,
        [
            ([(0, -10), (0.4 * bend - 2 + r, top + 0.15 * h), (bend + r, carina)], 17.0, 17.0),
            ([(bend + r, carina), (-18 + r, carina + 22), (-34 + r, carina + 40)], 12.0, 10.0),
            ([(bend + r, carina), (20 + r, carina + 20), (44 + r, carina + 34)], 11.0, 9.0),
        ],
    )
    airway = cv2.GaussianBlur(air, (0, 0), max(0.6, 1.5 / film.spacing_mm)).astype(np.float32) / 10.0
    return tissue, airway


def _strokes(
    layer: npt.NDArray[np.uint8],
    film: Film,
    thorax: Thorax,
    strokes: list[tuple[list[tuple[float, float]], float, float]],
) -> None:
    """Draw lines with (points, width mm, value × 10) into an 8-bit layer."""
    for points, width, value in strokes:
        pixels = thorax.on_film(points) / film.spacing_mm
        thickness = max(1, round(width / film.spacing_mm))
        cv2.polylines(layer, [np.round(pixels * 16).astype(np.int32)], False, value * 10, thickness, cv2.LINE_AA, 4)


def vessels(film: Film, thorax: Thorax, side: str, rng: np.random.Generator) -> Map:
    """Path through the pulmonary vessels of one side in mm: a tree from the hilum, wider downwards than upwards."""
    layer = np.zeros(film.shape, np.uint8)
    h = thorax.dome[side] - thorax.apex
    hilum = np.array(
        [SIGN[side] * 0.27 * thorax.half_width + thorax.rotation, thorax.apex + (0.51, 0.47)[side == "L"] * h]
    )
    fullness = rng.uniform(0.8, 1.25)
    branches: list[tuple[npt.NDArray[np.float64], float, float, float]] = []
    for angle in np.linspace(-82, 96, 12) + rng.normal(0, 11, 12):
        down = 0.5 + 0.5 * np.sin(np.deg2rad(angle))
        branches.append((hilum + rng.normal(0, 5, 2), float(angle), (3.6 + 3.4 * down) * fullness, 0.20 * h))
    scale = 16 / film.spacing_mm
    while branches:
        start, angle, width, length = branches.pop()
        steps = []
        place, heading = start, angle
        for _ in range(3):
            heading += rng.normal(0, 11)
            turn = np.deg2rad(heading)
            place = place + length / 3 * np.array([SIGN[side] * np.cos(turn), np.sin(turn)])
            steps.append(place)
        pixels = np.round(thorax.on_film(np.array([start, *steps])) * scale).astype(np.int32)
        value = min(255.0, 26.0 * width * min(1.0, width / film.spacing_mm))
        cv2.polylines(layer, [pixels], False, value, max(1, round(width / film.spacing_mm)), cv2.LINE_AA, 4)
        if width > 0.75:
            for fork in (rng.uniform(8, 30), -rng.uniform(8, 30)):
                branches.append(
                    (place, heading + fork, width * rng.uniform(0.60, 0.80), length * rng.uniform(0.6, 0.9))
                )
    hilar = np.zeros(film.shape, np.uint8)
    spot = thorax.on_film([tuple(hilum)])[0] * scale
    axes = (int(rng.uniform(9, 13) * scale), int(rng.uniform(17, 24) * scale))
    cv2.ellipse(
        hilar, tuple(np.round(spot).astype(int).tolist()), axes, SIGN[side] * -15, 0, 360, 110, -1, cv2.LINE_AA, 4
    )
    tree = cv2.GaussianBlur(layer, (0, 0), max(0.4, 0.5 / film.spacing_mm)).astype(np.float32) / 26.0
    return cast(Map, tree + cv2.GaussianBlur(hilar, (0, 0), 6.0 / film.spacing_mm).astype(np.float32) / 10.0)


def trunk(film: Film, thorax: Thorax, exam: Exam, rng: np.random.Generator) -> Map:
    """Water-equivalent path through trunk, neck, shoulders and breasts in mm, the lungs still solid."""
    wall = thorax.half_width + 16 + 14 * thorax.mass
    top, low = thorax.apex, thorax.dome["R"]
    neck, shoulder = 52 + 8 * thorax.mass, wall + rng.uniform(30, 55)
    half = [
        (neck, -60), (neck + 2, top - 42), (neck + 38, top - 22), (shoulder - 30, top + 2), (shoulder, top + 35),
        (shoulder + 6, top + 90), (wall + 14, top + 112), (wall - 1, low - 40), (wall + 2, low + 60),
        (wall + 6, low + 260),
    ]  # fmt: skip
    outline = closed_curve(half + [(-x, y) for x, y in reversed(half)])
    distance = inside_mm(thorax.on_film(outline), film.shape, film.spacing_mm)
    _x, y = thorax.coordinates(film)
    neckness = 1 / (1 + np.exp((y - (top + 5)) / 18))
    total = chord(distance, np.float32(thorax.half_depth) * (1 - 0.42 * neckness))
    belly = 1 / (1 + np.exp(-(y - (low + 45)) / 22))
    total *= 1 + np.float32(0.22 * thorax.mass) * belly
    for side in "RL":  # arms hang beside the trunk
        sign = SIGN[side]
        arm_x = shoulder + rng.uniform(-6, 26)
        arm = [(arm_x - 28, top + 40), (arm_x + 30, top + 55), (arm_x + 50, top + 420), (arm_x + 2, top + 420)]
        distance = inside_mm(thorax.on_film(closed_curve([(sign * a, b) for a, b in arm])), film.shape, film.spacing_mm)
        total = np.maximum(total, chord(distance, 42.0 * thorax.mass**0.5))
    return total + _breasts(film, thorax, exam, rng)


def _breasts(film: Film, thorax: Thorax, exam: Exam, rng: np.random.Generator) -> Map:
    """Breast or pectoral shadows: sharp lower edge, fading upwards."""
    x, y = thorax.coordinates(film)
    female = exam.sex == "F" and exam.age_months > 13 * 12
    depth = (rng.uniform(14, 40) if female else rng.uniform(2, 12)) * thorax.mass
    radius = rng.uniform(58, 82) * (1 if female else 0.85) * thorax.mass**0.3
    bottom = thorax.apex + rng.uniform(0.80, 1.08) * (thorax.dome["R"] - thorax.apex)
    total = np.zeros(film.shape, np.float32)
    for side in "RL":
        cx = SIGN[side] * (0.62 * thorax.half_width + rng.normal(0, 5))
        cy = bottom - 0.72 * radius + rng.normal(0, 6)
        square = ((x - cx) / radius) ** 2 + ((y - cy) / (0.78 * radius)) ** 2
        rim = np.sqrt(np.clip(1 - square, 0, 1))
        fade = 1 / (1 + np.exp(-(y - (cy - 0.1 * radius)) / (0.22 * radius)))
        total += (depth * rim * (0.25 + 0.75 * fade)).astype(np.float32)
    return total


def abdomen_gas(film: Film, thorax: Thorax, rng: np.random.Generator) -> Map:
    """Gas under the left dome and in the bowel, mm of air."""
    gas = np.zeros(film.shape, np.float32)
    bubbles = []
    if rng.random() < 0.75:
        bubbles.append(
            (rng.uniform(45, 85), thorax.dome["L"] + rng.uniform(22, 34), rng.uniform(16, 34), rng.uniform(8, 15))
        )
    for _ in range(int(rng.integers(0, 5))):
        bubbles.append((rng.uniform(-20, 110), thorax.dome["L"] + rng.uniform(45, 110), *rng.uniform(7, 22, 2)))
    for x, y, a, b in bubbles:
        angles = np.linspace(0, 2 * np.pi, 12, endpoint=False)
        wobble = rng.uniform(0.8, 1.15, 12)
        ring = [(x + a * k * np.cos(t), y + b * k * np.sin(t)) for t, k in zip(angles, wobble, strict=True)]
        inside = inside_mm(thorax.on_film(closed_curve(ring)), film.shape, film.spacing_mm)
        gas = np.maximum(gas, chord(inside, 18.0))
    return gas


def skeleton(film: Film, thorax: Thorax, rng: np.random.Generator) -> Map:
    """Cortical-equivalent path of ribs, spine, clavicles, scapulae and humeral heads, mm."""
    bone = _ribs(film, thorax, rng) + _spine(film, thorax, rng)
    for side in "RL":
        sign = SIGN[side]
        top, w = thorax.apex, thorax.half_width
        lift = rng.normal(0, 6)
        clavicle = [
            (16 + sign * thorax.rotation, top + 26), (45, top + 20 + 0.3 * lift), (85, top + 2 + lift),
            (120, top - 8 + lift), (0.98 * w + 8, top - 6 + lift),
            (0.98 * w + 10, top + 4 + lift), (118, top + 4 + lift), (82, top + 13 + lift), (44, top + 33 + 0.3 * lift),
            (18 + sign * thorax.rotation, top + 40),
        ]  # fmt: skip
        bone += 1.2 * _hollow(film, thorax, [(sign * x, y) for x, y in clavicle], 6.0, 1.8, 0.2)
        out = w + rng.uniform(-4, 18)
        blade = [
            (out + 8, top + 6), (out + 18, top + 30), (out + 2, top + 70), (out - 14, top + 128), (out - 20, top + 142),
            (out - 30, top + 128), (out - 36, top + 80), (out - 34, top + 34), (out - 16, top + 16),
        ]  # fmt: skip
        bone += 0.55 * _hollow(film, thorax, [(sign * x, y) for x, y in blade], 3.0, 1.2, 0.12)
        hx, hy = out + 34, top + 22
        humerus = [
            (hx - 20, hy - 14), (hx - 2, hy - 25), (hx + 20, hy - 17), (hx + 27, hy + 4), (hx + 24, hy + 40),
            (hx + 34, hy + 330), (hx + 12, hy + 330), (hx + 2, hy + 45), (hx - 16, hy + 16), (hx - 24, hy + 2),
        ]  # fmt: skip
        bone += _hollow(film, thorax, [(sign * x, y) for x, y in humerus], 14.0, 2.2, 0.10)
    return bone


def _hollow(
    film: Film, thorax: Thorax, points: list[tuple[float, float]], half_depth: float, cortex: float, marrow: float
) -> Map:
    curve = thorax.on_film(closed_curve(points))
    return shell(inside_mm(curve, film.shape, film.spacing_mm), half_depth, cortex, marrow)


def _ribs(film: Film, thorax: Thorax, rng: np.random.Generator) -> Map:
    """Ten pairs: posterior arcs from the spine to the wall, then thinner anterior arcs down to the cartilage."""
    wide, narrow = np.zeros(film.shape, np.uint8), np.zeros(film.shape, np.uint8)
    front_wide, front_narrow = np.zeros_like(wide), np.zeros_like(wide)
    top, h = thorax.apex, thorax.dome["R"] - thorax.apex
    pitch, first = 0.112 * h * rng.uniform(0.94, 1.06), top - 0.02 * h
    slope, width = rng.uniform(0.22, 0.42), rng.uniform(9.5, 12.0)
    for side in "RL":
        for number in range(10):
            y0 = first + number * pitch
            level = np.clip((y0 + 0.1 * h - top) / h, 0, 1)
            reach = thorax.half_width * (1.015 * min(1.0, 0.50 + 0.85 * level**0.62))
            angle = np.linspace(0.03, 0.5, 16) * np.pi
            rise = -8 * np.sin(np.linspace(0, np.pi, 16))
            back = np.stack([SIGN[side] * reach * np.sin(angle), y0 + rise + slope * reach * (angle / np.pi - 0.03)], 1)
            angle = np.linspace(0.5, 0.86 - 0.012 * number, 12) * np.pi
            drop = slope * reach * 0.47 + (0.62 + 0.25 * level) * reach * (angle / np.pi - 0.5) * 1.2
            front = np.stack([SIGN[side] * reach * np.sin(angle), y0 + drop], 1)
            for layer, path, mm in (
                (wide, back, width), (narrow, back, width - 4), (front_wide, front, width + 1.5),
                (front_narrow, front, width - 2),
            ):  # fmt: skip
                pixels = np.round(thorax.on_film(path) / film.spacing_mm * 16).astype(np.int32)
                cv2.polylines(layer, [pixels], False, 255, max(1, round(mm / film.spacing_mm)), cv2.LINE_AA, 4)

    def soften(layer: npt.NDArray[np.uint8], mm: float) -> Map:
        return cv2.GaussianBlur(layer, (0, 0), max(0.5, mm / film.spacing_mm)).astype(np.float32) / 255.0

    back_mm = 4.2 * soften(wide, 0.7) - 1.7 * soften(narrow, 1.2)
    front_mm = 2.4 * soften(front_wide, 0.9) - 0.9 * soften(front_narrow, 1.5)
    return cast(Map, back_mm + front_mm)


def _spine(film: Film, thorax: Thorax, rng: np.random.Generator) -> Map:
    """Vertebral bodies with end plates, pedicles and spinous processes, mostly hidden by the mediastinum."""
    total = np.zeros(film.shape, np.float32)
    y, curve = thorax.apex - 60.0, rng.normal(0, 4)
    number = 0
    while y < thorax.dome["L"] + 190:
        height = 16 + 0.62 * number
        half = 14 + 0.45 * number
        cx = curve * np.sin(number / 4.0)
        body = [(cx - half, y), (cx, y + 1.2), (cx + half, y), (cx + 0.9 * half, y + height / 2),
                (cx + half, y + height), (cx, y + height - 1.2), (cx - half, y + height),
                (cx - 0.9 * half, y + height / 2)]  # fmt: skip
        total += 0.26 * _hollow(film, thorax, body, 15.0, 1.4, 0.16)
        for sign in (-1, 1):
            px, py = cx + sign * 0.62 * half, y + 0.35 * height
            ring = [(px + 3 * np.cos(t), py + 4.5 * np.sin(t)) for t in np.linspace(0, 2 * np.pi, 9)[:-1]]
            total += 0.28 * _hollow(film, thorax, ring, 5.0, 1.5, 0.1)
        px, py = cx + 0.6 * thorax.rotation, y + 0.85 * height
        ring = [(px + 3 * np.cos(t), py + 6 * np.sin(t)) for t in np.linspace(0, 2 * np.pi, 9)[:-1]]
        total += 0.28 * _hollow(film, thorax, ring, 6.0, 1.5, 0.1)
        y += height + 4.5
        number += 1
    return total


def lung_texture(film: Film, rng: np.random.Generator) -> Map:
    """Interstitium too fine to draw: relative density, unit variance."""
    scale = film.spacing_mm
    fine = band_noise(film.shape, max(0.8, 1.2 / scale), 4.0 / scale, rng)
    return cast(Map, 0.5 * fine + 0.5 * band_noise(film.shape, 6.0 / scale, 20.0 / scale, rng))
