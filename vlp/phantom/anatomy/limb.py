"""A limb's frame, its soft tissue, its cast, and the layout of films of forearm and leg.

Everything is drawn upright in the limb's own frame (``u`` across, ``s`` from proximal to distal, millimetres of an
adult, scaled by growth) on a :class:`Panel`, and carried onto the film by one affine map.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from typing import cast

import cv2
import numpy as np
import numpy.typing as npt
from scipy.special import expit

from vlp.phantom.facts import Exam
from vlp.phantom.outline import Film, Map, band_noise, chord, closed_curve, inside_mm

Affine = npt.NDArray[np.float64]  # 2 x 3


@dataclass(frozen=True)
class Layout:
    """What part of a limb a film shows, in adult millimetres."""

    window: tuple[float, float]  # s, from and to
    width: float  # of the film before collimation
    centre: float  # u in the middle of the film
    skin: tuple[tuple[float, float, float], ...]  # s, u of the two skin borders
    cast: tuple[float, float]  # s, from and to


LAYOUTS: dict[tuple[str, str], Layout] = {
    ("forearm", "AP"): Layout(
        (-52, 292), 190, 0,
        ((-140, -47, 47), (-50, -46, 46), (0, -45, 46), (50, -46, 45), (120, -39, 38), (200, -33, 31), (240, -32, 29),
         (270, -41, 37), (300, -52, 45), (340, -58, 47), (420, -50, 44)), (20, 282),
    ),
    ("forearm", "LAT"): Layout(
        (-52, 292), 180, 2,
        ((-140, -45, 44), (-50, -40, 45), (-12, -30, 46), (5, -24, 44), (50, -33, 44), (120, -31, 36), (200, -24, 25),
         (240, -22, 22), (270, -23, 24), (300, -22, 27), (340, -20, 28), (420, -18, 25)), (20, 282),
    ),
    ("lower_leg", "AP"): Layout(
        (-48, 428), 230, 0,
        ((-180, -80, 80), (-50, -62, 62), (0, -56, 58), (60, -60, 56), (110, -62, 56), (170, -54, 50), (250, -41, 40),
         (320, -36, 38), (365, -40, 42), (395, -40, 38), (440, -36, 34), (500, -36, 34)), (30, 420),
    ),
    ("lower_leg", "LAT"): Layout(
        (-48, 428), 240, -8,
        ((-180, -75, 75), (-50, -62, 60), (0, -54, 50), (60, -68, 40), (110, -70, 33), (170, -60, 28), (250, -42, 23),
         (320, -34, 25), (365, -36, 32), (395, -50, 50), (432, -52, 60), (500, -40, 60)), (30, 420),
    ),
}  # fmt: skip
_FOREARM_AP, _FOREARM_LAT = LAYOUTS["forearm", "AP"], LAYOUTS["forearm", "LAT"]
_LEG_AP, _LEG_LAT = LAYOUTS["lower_leg", "AP"], LAYOUTS["lower_leg", "LAT"]
LAYOUTS |= {
    ("wrist", "AP"): Layout((158, 314), 120, -5, _FOREARM_AP.skin, (110, 296)),
    ("wrist", "LAT"): Layout((158, 314), 112, 2, _FOREARM_LAT.skin, (110, 296)),
    ("ankle", "AP"): Layout((258, 436), 140, -2, _LEG_AP.skin, (200, 432)),
    ("ankle", "LAT"): Layout((262, 442), 205, 32, _LEG_LAT.skin, (200, 425)),
}
_FOOT = ((-40, 370), (-54, 400), (-54, 425), (-46, 437), (0, 436), (60, 428), (120, 428), (160, 430), (160, 396),
         (110, 382), (60, 362), (30, 340), (10, 330), (-20, 340))  # fmt: skip


def stature(age_months: int, sex: str) -> float:
    """Mean height over an adult's of the same sex, 0.4-1 (WHO growth standards, rounded)."""
    years = age_months / 12
    ages = (0, 1, 2, 4, 6, 8, 10, 12, 14, 16, 18)
    girls = (50, 74, 86, 102, 115, 127, 138, 151, 160, 163, 164)
    boys = (50, 76, 87, 103, 116, 128, 138, 149, 163, 173, 177)
    table = girls if sex == "F" else boys
    return float(np.interp(years, ages, table)) / table[-1]


@dataclass(frozen=True)
class Pose:
    """How the limb lies: ``matrix`` maps limb mm (u, s) to film pixels; ``scale`` is growth."""

    matrix: Affine
    scale: float
    window: tuple[float, float]  # of s that may be on the film, with a margin


class Panel:
    """An upright raster of the limb's frame, rows along ``s``, columns along ``u``, adult mm."""

    def __init__(self, u: tuple[float, float], s: tuple[float, float], pitch_mm: float) -> None:
        self.pitch, self.origin = pitch_mm, (u[0], s[0])
        self.shape = (max(4, int((s[1] - s[0]) / pitch_mm) + 1), max(4, int((u[1] - u[0]) / pitch_mm) + 1))
        self.u = (np.float32(u[0]) + np.float32(pitch_mm) * np.arange(self.shape[1], dtype=np.float32))[None, :]
        self.s = (np.float32(s[0]) + np.float32(pitch_mm) * np.arange(self.shape[0], dtype=np.float32))[:, None]

    def inside(self, points: npt.ArrayLike, smooth: bool = True) -> Map:
        """Distance to the rim inside an outline of (u, s) points, mm."""
        knots = np.asarray(points, np.float64)
        return inside_mm(closed_curve(knots) if smooth else knots, self.shape, self.pitch, self.origin)

    def pixels(self, points: npt.ArrayLike) -> npt.NDArray[np.int32]:
        """(u, s) points as panel pixels × 16, for OpenCV drawing with ``shift=4``."""
        return np.round((np.asarray(points, np.float64) - self.origin) / self.pitch * 16).astype(np.int32)

    def onto(self, film: Film, values: Map, pose: Pose, motion: Affine | None = None) -> Map:
        """The panel's map as seen on the film, [H, W]; ``motion`` moves it within the frame first (mm)."""
        raster = np.array([[self.pitch, 0, self.origin[0]], [0, self.pitch, self.origin[1]], [0, 0, 1]])
        total = _square(pose.matrix) @ (_square(motion) if motion is not None else np.eye(3)) @ raster
        return cast(Map, cv2.warpAffine(values, total[:2], (film.width, film.height), flags=cv2.INTER_LINEAR))


def _square(matrix: Affine) -> Affine:
    return np.vstack([matrix, [0.0, 0.0, 1.0]])


def compose(outer: Affine, inner: Affine) -> Affine:
    """The affine map that applies ``inner`` first, 2 × 3."""
    return (_square(outer) @ _square(inner))[:2]


def lay_out(exam: Exam, side: str, projection: str, size: int, rng: np.random.Generator) -> tuple[Film, Pose, Layout]:
    """An empty film and the limb's pose on it. Growth scales limb and film alike, as a technician collimates."""
    layout = _framed(LAYOUTS[exam.anatomy, "LAT" if projection == "LAT" else "AP"], exam)
    strength = 1.0 if exam.level == "hard" else 0.6
    scale = stature(exam.age_months, exam.sex) * exam.body_scale * (1.03 if exam.sex == "M" else 0.97)
    length = layout.window[1] - layout.window[0]
    zoom = 1.0 + strength * rng.uniform(-0.06, 0.12)
    long_mm, across_mm = length * scale * zoom, layout.width * scale * (1 + strength * rng.uniform(0.0, 0.25))
    if across_mm > long_mm:
        long_mm, across_mm = across_mm, long_mm
        film = Film(round(size * across_mm / long_mm), size, long_mm / size)
    else:
        film = Film(size, round(size * across_mm / long_mm), long_mm / size)
    flip_s = exam.anatomy == "wrist" or (exam.anatomy == "forearm" and rng.random() < 0.5)
    mirror = (rng.random() < 0.5) if projection == "LAT" else side == "L"
    turn = np.deg2rad(rng.normal(0, 4.0) * strength)
    shift = rng.normal(0, 0.02, 2) * strength * size
    basis = np.diag([-1.0 if mirror else 1.0, -1.0 if flip_s else 1.0]) * scale / film.spacing_mm
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    linear = rotation @ basis
    middle = np.array([layout.centre, sum(layout.window) / 2])
    offset = np.array([film.width / 2, film.height / 2]) + shift - linear @ middle
    margin = 0.25 * length
    pose = Pose(np.column_stack([linear, offset]), scale, (layout.window[0] - margin, layout.window[1] + margin))
    return film, pose, layout


def _framed(layout: Layout, exam: Exam) -> Layout:
    """Forearm and leg films often show one joint only. The choice follows the exam, and where it hurts in a patient
    with a fracture, in the same proportions as in those without."""
    if exam.anatomy not in ("forearm", "lower_leg"):
        return layout
    rng = np.random.default_rng(zlib.crc32(f"{exam.exam_id}/frame".encode()))
    whole, upper = rng.random() < (0.15 if exam.level == "easy" else 0.5), rng.random() < 0.43
    thirds = {fracture.third for fracture in exam.fractures}
    if whole or {"proximal", "distal"} <= thirds:
        return layout
    if "proximal" in thirds or "distal" in thirds:
        upper = "proximal" in thirds
    first, last = layout.window
    length = rng.uniform(0.63, 0.70) * (last - first)
    return replace(layout, window=(first, first + length) if upper else (last - length, last))


def soft_tissue(
    film: Film, pose: Pose, layout: Layout, exam: Exam, foot: bool, rng: np.random.Generator
) -> tuple[Panel, Map, Map]:
    """Adds skin, fat and muscle to the film. Returns the panel, the limb's signed rim distance and its half-depth."""
    pitch = film.spacing_mm / pose.scale
    panel = Panel((layout.centre - 0.75 * layout.width, layout.centre + 0.75 * layout.width), pose.window, pitch)
    girth = 0.62 + 0.38 * exam.body_mass * float(np.exp(rng.normal(0, 0.07)))
    baby = 1.0 + 0.18 * float(np.clip(1 - exam.age_months / 60, 0, 1))
    left = [(u0 * girth * baby, s) for s, u0, _ in layout.skin]
    right = [(u1 * girth * baby, s) for s, _, u1 in layout.skin]
    outline = closed_curve(right + left[::-1])
    canvas = np.zeros(panel.shape, np.uint8)
    cv2.fillPoly(canvas, [panel.pixels(outline)], 255, cv2.LINE_8, 4)
    if foot:
        cv2.fillPoly(canvas, [panel.pixels(closed_curve(_FOOT))], 255, cv2.LINE_8, 4)
    signed = (
        cv2.distanceTransform(canvas, cv2.DIST_L2, 5) - cv2.distanceTransform(255 - canvas, cv2.DIST_L2, 5)
    ) * np.float32(pitch)
    half = _half_depth(signed, pitch)
    fat = (2.0 + 4.5 * exam.body_mass) * rng.uniform(0.7, 1.3)
    outer = chord(np.maximum(signed, 0), half)
    muscle = chord(np.maximum(signed - fat, 0), np.maximum(half - fat, 1.0))
    streaks = band_noise(panel.shape, 1.5 / pitch, 6.0 / pitch, rng, stretch=5.0)
    water = 0.90 * outer + 0.14 * muscle * (1 + 0.10 * streaks)
    film.soft += np.maximum(panel.onto(film, water.astype(np.float32), pose), 0) * np.float32(pose.scale)
    return panel, signed, half


def _half_depth(signed: Map, pitch: float) -> Map:
    """Half-depth of the limb by height: a little less than its half-width, smooth along the limb, [H, 1]."""
    widest = np.maximum(signed.max(1, keepdims=True), 4.0)
    return (0.92 * cv2.GaussianBlur(widest, (1, 0), sigmaX=0.01, sigmaY=12.0 / pitch)).reshape(-1, 1).astype(np.float32)


def add_cast(
    film: Film, pose: Pose, layout: Layout, panel: Panel, signed: Map, half: Map, rng: np.random.Generator
) -> Map:
    """A plaster cast round the limb, added to the film in mm; returns its coverage on the film, [H, W] in 0-1."""
    pad, wall = rng.uniform(2.5, 6.0), rng.uniform(5.0, 10.0)
    outer = chord(np.maximum(signed + pad + wall, 0), half + pad + wall)
    inner = chord(np.maximum(signed + pad, 0), half + pad)
    first, last = layout.cast[0] + rng.uniform(-12, 12), layout.cast[1] + rng.uniform(-12, 12)
    ragged = 4.0 * np.sin(panel.u / rng.uniform(7, 14) + rng.uniform(0, 6))
    within = expit((panel.s - first - ragged) / 1.5) * expit((last + ragged - panel.s) / 1.5)
    lumps = band_noise(panel.shape, 1.2 / panel.pitch, 9.0 / panel.pitch, rng)
    slant = rng.uniform(0.25, 0.6)
    wraps = np.sin((panel.s + slant * panel.u) / rng.uniform(7, 12)) > 0.55
    plaster = (outer - inner) * within * (1 + 0.10 * lumps + 0.14 * wraps)
    cover = ((outer > 0.5) * within).astype(np.float32)
    film.plaster += np.maximum(panel.onto(film, plaster.astype(np.float32), pose), 0) * np.float32(pose.scale)
    return panel.onto(film, cover, pose)
