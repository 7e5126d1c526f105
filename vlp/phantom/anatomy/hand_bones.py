"""The bones of hand and distal forearm in PA projection: adult shapes in millimetres, drawn at any state of growth.

Coordinates are local (s, r): ``s`` towards the fingertips, ``r`` towards the thumb, origin at the base of the third
metacarpal. Lengths after Garn et al. 1972 (Radiology 105: metacarpals and phalanges of adults), shapes after Gray's
Anatomy (41st ed., chapter on the wrist and hand).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt
from scipy.ndimage import convolve1d

from vlp.phantom.anatomy.hand_growth import Stage
from vlp.phantom.outline import Film, Map, Points, closed_curve
from vlp.phantom.shapes import Frame, Patch, Texture, add_bone, add_ridge, cut, grow, shaft, soften

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Kind:
    """Profile of a class of tubular bones: half-width over the base's, and how its ends are made."""

    profile: tuple[tuple[float, float], ...]  # share of the length, share of the base's half-width
    zone: float  # share of the length that the epiphysis makes
    at_head: bool  # the growth plate is at the head (metacarpals 2-5), else at the base
    caps: tuple[float, float]  # rounding of base and head over the base's half-width
    dents: tuple[float, float]  # over the base's half-width
    cortex: float  # at mid-shaft, over the base's half-width


KINDS = {
    "proximal": Kind(
        ((0, 0.95), (0.05, 1.0), (0.12, 0.95), (0.25, 0.74), (0.42, 0.59), (0.6, 0.55), (0.76, 0.60), (0.87, 0.74),
         (0.95, 0.80), (1, 0.77)), 0.135, False, (0.14, 0.36), (0.10, 0.10), 0.24,
    ),
    "middle": Kind(
        ((0, 0.96), (0.06, 1.0), (0.15, 0.90), (0.3, 0.68), (0.5, 0.56), (0.68, 0.56), (0.82, 0.69), (0.93, 0.79),
         (1, 0.76)), 0.15, False, (0.15, 0.36), (-0.06, 0.11), 0.22,
    ),
    "distal": Kind(
        ((0, 0.95), (0.08, 1.0), (0.18, 0.88), (0.32, 0.60), (0.5, 0.42), (0.66, 0.42), (0.78, 0.56), (0.90, 0.66),
         (1, 0.60)), 0.20, False, (0.16, 0.42), (-0.05, -0.04), 0.17,
    ),
    "metacarpal": Kind(
        ((0, 0.78), (0.05, 0.86), (0.12, 0.82), (0.24, 0.63), (0.42, 0.51), (0.58, 0.50), (0.74, 0.65), (0.85, 0.87),
         (0.92, 0.96), (1, 0.90)), 0.17, True, (0.22, 0.85), (0.06, -0.02), 0.27,
    ),
    "thumb": Kind(
        ((0, 0.90), (0.06, 1.0), (0.15, 0.96), (0.3, 0.74), (0.48, 0.62), (0.64, 0.62), (0.8, 0.76), (0.92, 0.90),
         (1, 0.84)), 0.14, False, (0.24, 0.45), (-0.08, 0.04), 0.24,
    ),
}  # fmt: skip

TUBULAR: dict[str, tuple[str, float, float]] = {  # kind, length, half-width of the base; adult man, mm
    "metacarpal_1": ("thumb", 46.5, 8.2),
    "metacarpal_2": ("metacarpal", 70.0, 8.4),
    "metacarpal_3": ("metacarpal", 67.0, 8.2),
    "metacarpal_4": ("metacarpal", 59.5, 7.2),
    "metacarpal_5": ("metacarpal", 55.0, 7.4),
    "proximal_1": ("proximal", 33.0, 7.6),
    "proximal_2": ("proximal", 41.0, 7.7),
    "proximal_3": ("proximal", 45.5, 8.0),
    "proximal_4": ("proximal", 43.0, 7.6),
    "proximal_5": ("proximal", 33.5, 6.9),
    "middle_2": ("middle", 24.5, 6.5),
    "middle_3": ("middle", 29.5, 6.9),
    "middle_4": ("middle", 28.0, 6.6),
    "middle_5": ("middle", 20.0, 5.7),
    "distal_1": ("distal", 23.5, 6.9),
    "distal_2": ("distal", 17.5, 5.4),
    "distal_3": ("distal", 18.5, 5.7),
    "distal_4": ("distal", 19.0, 5.6),
    "distal_5": ("distal", 17.0, 4.9),
}

# Outlines below are (r, s); the functions turn them round.
CARPAL_OUTLINES: dict[str, tuple[tuple[float, float], ...]] = {
    "capitate": ((-6, -2.5), (0, -1.5), (6.2, -2.5), (6.8, -8), (5.2, -13), (5.6, -18), (3.8, -23), (0, -25),
    (-4.5, -23.5),
                 (-6.8, -17), (-6.3, -9)),
    "hamate": ((-8, -3.5), (-14, -3), (-20, -5.5), (-20.8, -10), (-17, -14.5), (-12, -20.5), (-9.3, -22.5), (-8.6, -16),
               (-8, -9)),
    "triquetrum": ((-11.5, -25), (-15, -18.5), (-20.5, -14.5), (-25, -17), (-25, -22), (-20, -27), (-14.5, -29)),
    "lunate": ((-9.5, -27.5), (-5, -26.5), (0, -27.5), (3.6, -27.5), (4.8, -32), (2, -36.8), (-4, -38), (-9.5, -36),
               (-11, -31)),
    "scaphoid": ((6.2, -28), (7.5, -21), (10, -16.5), (14, -13.2), (19, -13.8), (20.8, -18), (18.5, -24), (15, -29.5),
                 (10.5, -34), (7, -34.5)),
    "trapezium": ((16, -4.5), (20, -1.5), (25.5, -3), (27.5, -8), (24, -12.5), (18.5, -11.5), (15.5, -9)),
    "trapezoid": ((8, -3.5), (13.5, -3), (15, -6), (13.5, -11), (9.7, -12.5), (7.8, -8)),
    "pisiform": ((-15.5, -21), (-19, -17.5), (-23.5, -19), (-24.5, -24), (-21, -28), (-16.5, -26.5)),
}  # fmt: skip

FOREARM: dict[str, tuple[tuple[tuple[float, float], ...], float, float]] = {  # outline, plate's s, half-depth
    "radius": (
        ((-5, -41.5), (2, -40.5), (9, -38), (15, -34.5), (19.5, -29.5), (22, -31), (22.8, -37), (21.5, -46), (19, -56),
         (17, -72), (15.5, -100), (15, -190), (0.5, -190), (0.5, -100), (-0.5, -72), (-3.5, -57),
         (-5.5, -48)), -48.5, 10.0,
    ),
    "ulna": (
        ((-8, -46), (-11, -43.5), (-17, -43.8), (-21, -40.5), (-23.5, -37.5), (-25, -40), (-24.6, -49), (-22.5, -57),
         (-21, -78), (-20.5, -190), (-10, -190), (-10.5, -78), (-9.8, -59), (-8, -51)), -50.5, 7.0,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Ink:
    """What all bones of a hand share: its texture and its quality."""

    texture: Texture
    density: float  # of cancellous bone over the mean
    cortex: float  # thickness over the mean
    robust: float  # width over the mean


def draw_tubular(
    film: Film, frame: Frame, name: str, stage: Stage, ink: Ink, stretch: float, seed: float
) -> Patch | None:
    """One metacarpal or phalanx, its base at the origin of ``frame``; returns where its shaft lies.

    ``stretch`` is the bone's own length over the table's.
    """
    kind_name, length, base = TUBULAR[name]
    kind, length, base = KINDS[kind_name], length * stretch, base * ink.robust
    share, widths = (np.array(column) for column in zip(*kind.profile, strict=True))
    thumb_skew = 1.6 if name.endswith("_1") else 0.0  # the thumb lies oblique: one side's profile runs ahead

    def width(s: Floats) -> Floats:
        return base * np.interp(s / length, share, widths)

    grid = np.linspace(-2, length + 2, 96)
    kernel = np.hanning(11)[1:-1]
    smooth = convolve1d(width(grid), kernel / kernel.sum(), mode="nearest")

    def even(s: npt.NDArray[np.floating]) -> Floats:
        return np.interp(s, grid, smooth)

    def middle(s: Map) -> Map:
        return np.exp(-((np.abs(s / length - 0.5) / 0.34) ** 4))

    def thickness(s: Map, r: Map) -> Map:
        return (0.055 * base + 0.12 + (kind.cortex * base - 0.055 * base) * middle(s)) * ink.cortex

    def marrow(s: Map, r: Map) -> Map:
        return (0.27 - 0.16 * middle(s)) * ink.density

    def depth(s: Map, r: Map) -> Map:
        return 0.86 * even(s).astype(np.float32)

    def rim(s: Map, r: Map) -> Map:
        return even(s).astype(np.float32)

    def draw(outline: Points, weight: float) -> Patch | None:
        return add_bone(
            film, frame, outline, half_depth=depth, rim=rim, cortex=thickness, marrow=marrow, texture=ink.texture,
            roughness=0.22, weight=weight, seed=seed,
        )  # fmt: skip

    caps, dents = [c * base for c in kind.caps], [d * base for d in kind.dents]
    whole = shaft(
        even, 0, length, caps=(caps[0], caps[1]), squareness=(4, 2.4), dents=(dents[0], dents[1]), skew=thumb_skew
    )
    fused = stage.fusion**2 * (3 - 2 * stage.fusion)
    patch = draw(whole, fused) if fused > 0 else None
    zone = kind.zone * length * (1.0 + 0.45 * (1 - stage.height) * (1 - fused))
    gap = (0.65 + 1.1 * (1 - stage.height)) * (1 - 0.6 * fused)
    if fused < 1:
        corner = 0.16 * base
        if kind.at_head:
            diaphysis = shaft(even, 0, length - zone, caps=(caps[0], corner), squareness=(4, 3.4), dents=(dents[0],
            -0.05 * base),
                              skew=thumb_skew)  # fmt: skip
            model = shaft(even, length - zone + gap, length, caps=(0.2 * base, 0.8 * base), squareness=(3, 2.2))
        else:
            diaphysis = shaft(even, zone, length, caps=(corner, caps[1]), squareness=(3.4, 2.4), dents=(-0.04 * base,
            dents[1]),
                              skew=thumb_skew)  # fmt: skip
            model = shaft(
                even, 0.3, zone - gap, caps=(0.16 * base, 0.18 * base), squareness=(3, 3), dents=(dents[0], 0.0)
            )
        patch = draw(diaphysis, 1 - fused) or patch
        if stage.present > 0:
            centre = grow(model, stage.width, stage.height)
            near = 0.35 * (1 - stage.height) * float(np.ptp(model[:, 0]))  # it starts near the metaphysis
            draw(centre + np.array([-near if kind.at_head else near, 0.0]), stage.present * (1 - fused))
    if stage.scar > 0:
        s = length - zone if kind.at_head else zone
        half = 0.8 * float(even(np.array([s]))[0])
        across = np.linspace(-half, half, 9)
        line = np.column_stack([s + 0.06 * base * np.cos(across / half * 4.0), across])
        add_ridge(film, frame, line, 1.1 * stage.scar * frame.scale, 0.28 * frame.scale, fade=0.3)
    return patch


def draw_forearm_bone(film: Film, frame: Frame, name: str, stage: Stage, ink: Ink, seed: float) -> Patch | None:
    """Distal radius or ulna with its epiphysis."""
    outline, plate, half_depth = FOREARM[name]
    knots = np.asarray(outline, np.float64)[:, ::-1]
    knots[:, 1] = knots[:, 1].mean() + (knots[:, 1] - knots[:, 1].mean()) * (0.5 + 0.5 * ink.robust)
    whole = closed_curve(knots)
    shaft_mm = 3.0 if name == "radius" else 2.6

    def bump(s: Map) -> Map:
        return cast(Map, 1 / (1 + np.exp((s + 78) / 9)))

    def thickness(s: Map, r: Map) -> Map:
        return (0.75 + shaft_mm * bump(s)) * ink.cortex

    def marrow(s: Map, r: Map) -> Map:
        return (0.27 - 0.15 * bump(s)) * ink.density

    def draw(points: Points, weight: float) -> Patch | None:
        return add_bone(
            film, frame, points, half_depth=half_depth * (0.9 + 0.1 * ink.robust), rim=7.0, cortex=thickness,
            marrow=marrow,
            texture=ink.texture, roughness=0.20, weight=weight, seed=seed,
        )  # fmt: skip

    fused = stage.fusion**2 * (3 - 2 * stage.fusion)
    patch = draw(whole, fused) if fused > 0 else None
    gap = (1.0 + 1.3 * (1 - stage.height)) * (1 - 0.6 * fused)
    drop = 3.0 * (1 - stage.height) * (1 - fused)  # the cartilage of a small child is higher
    middle = float(knots[:6, 1].mean())
    if fused < 1:
        metaphysis = cut(whole, lambda r: plate - drop - gap / 2 - 0.0036 * (r - middle) ** 2, above=False)
        model = cut(whole, lambda r: plate - drop + gap / 2 + 0 * r, above=True)
        patch = draw(soften(metaphysis, 1.6), 1 - fused) or patch
        if stage.present > 0:
            draw(soften(grow(soften(model, 2.0), stage.width, stage.height, 2.4), 1.2), stage.present * (1 - fused))
    if stage.scar > 0:
        low, high = knots[:, 1][knots[:, 0] > plate - 12].min() + 2, knots[:, 1][knots[:, 0] > plate - 12].max() - 2
        across = np.linspace(low, high, 12)
        line = np.column_stack([plate + 0.5 * np.sin(across * 0.5 + seed), across])
        add_ridge(film, frame, line, 2.0 * stage.scar * frame.scale, 0.4 * frame.scale, fade=0.2)
    return patch


def draw_carpal(film: Film, frame: Frame, name: str, size: float, ink: Ink, seed: float) -> Patch | None:
    """One carpal at ``size`` (0-1) of its cartilage model."""
    model = closed_curve(np.asarray(CARPAL_OUTLINES[name], np.float64)[:, ::-1], 6)
    half_depth = 5.0 if name == "pisiform" else 7.5
    return add_bone(
        film, frame, soften(grow(model, size, size), 1.2 * size), half_depth=half_depth * (0.25 + 0.75 * size),
        rim=5.5 * size,
        cortex=(0.40 + 0.25 * size) * ink.cortex, marrow=0.34 * ink.density, texture=ink.texture, roughness=0.20,
        seed=seed,
    )  # fmt: skip
