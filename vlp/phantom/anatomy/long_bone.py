"""Forearm, wrist, lower leg and ankle, antero-posterior and lateral, of children and adults."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import replace
from typing import cast

import cv2
import numpy as np
from scipy.special import expit

from vlp.phantom.anatomy import bone_shapes as shapes
from vlp.phantom.anatomy.breaks import Break, buckle_bulge, callus, fragments, place
from vlp.phantom.anatomy.implants import implant
from vlp.phantom.anatomy.limb import Affine, Layout, Panel, Pose, add_cast, compose, lay_out, soft_tissue
from vlp.phantom.facts import Exam, Scene, TrueObject, View
from vlp.phantom.outline import Film, Map, band_noise, box_of, shell

HEALED = 0.9
"""From this callus on a fracture is old: its object is called ``healed_fracture``."""

_FUSION_YEARS = {"F": 14.8, "M": 16.6}
# bone: (u at its proximal end, u at its distal end, s of its proximal end) in the limb's frame
_PLACES: dict[tuple[str, str], dict[str, tuple[float, float, float]]] = {
    ("arm", "AP"): {"radius": (-13, -11, 0), "ulna": (12, 15, -17)},
    ("arm", "LAT"): {"radius": (5, 2, 0), "ulna": (-3, -1, -17)},
    ("leg", "AP"): {"tibia": (4, 4, 0), "fibula": (-35, -24, 0)},
    ("leg", "LAT"): {"fibula": (-24, -9, 0), "tibia": (2, 2, 0)},
}
_NEIGHBOURS: dict[tuple[str, str], tuple[tuple[tuple[shapes.Neighbour, ...], float, float], ...]] = {
    ("arm", "AP"): ((shapes.ELBOW, 0, -2), (shapes.CARPUS, -5, 241), (shapes.METACARPALS, -5, 241)),
    ("arm", "LAT"): ((shapes.ELBOW_LAT, 0, -2), (shapes.CARPUS_LAT, 0, 242), (shapes.METACARPALS_LAT, 0, 242)),
    ("leg", "AP"): ((shapes.KNEE_END, 4, -2), (shapes.ANKLE_END, 0, 360)),
    ("leg", "LAT"): ((shapes.KNEE_END_LAT, 0, -2), (shapes.ANKLE_END_LAT, 2, 359)),
}


def scene(exam: Exam, view: View, size: int, rng: np.random.Generator) -> Scene:
    """What the rays cross in a film of forearm, wrist, lower leg or ankle.

    Objects: ``fracture`` (or ``healed_fracture``), ``cast``, ``hardware``, each with box and mask. PA counts as AP.
    """
    pose_stream, tissue, bone_stream, extra = rng.spawn(4)
    limb = "arm" if exam.anatomy in ("forearm", "wrist") else "leg"
    projection = "LAT" if view.projection == "LAT" else "AP"
    film, pose, layout = lay_out(exam, view.side or exam.side, projection, size, pose_stream)
    foot = limb == "leg" and projection == "LAT"
    panel, signed, half = soft_tissue(film, pose, layout, exam, foot, tissue)
    objects: list[TrueObject] = []
    for group, u, s in _NEIGHBOURS[limb, projection]:
        _neighbours(film, pose, layout, group, (u, s), exam, bone_stream)
    streams = dict(zip(_PLACES[limb, projection], bone_stream.spawn(2), strict=True))
    for name, where in _PLACES[limb, projection].items():
        _long_bone(film, pose, exam, name, projection, where, streams[name], objects)
    if exam.cast:
        cover = add_cast(film, pose, layout, panel, signed, half, extra)
        _note(objects, "cast", cover > 0.5)
    _mimics(film, pose, exam, panel, extra)
    return Scene(film.soft, film.bone, film.metal, film.plaster, film.spacing_mm, tuple(objects))


def _long_bone(
    film: Film,
    pose: Pose,
    exam: Exam,
    name: str,
    projection: str,
    where: tuple[float, float, float],
    rng: np.random.Generator,
    objects: list[TrueObject],
) -> None:
    shape = shapes.SHAPES[name, projection]
    top, bottom, start = where
    lean = float(np.rad2deg(np.arctan2(bottom - top, shape.length)))
    to_limb = cast(Affine, cv2.getRotationMatrix2D((0.0, 0.0), lean, 1.0))
    to_limb[:, 2] += top, start
    window = (max(-14.0, pose.window[0] - start), min(shape.length + 14.0, pose.window[1] - start))
    if window[1] - window[0] < 10:
        return
    widest = max(abs(u) for u, _ in shape.outline) + 12
    panel = Panel((-widest, widest), window, 0.8 * film.spacing_mm / pose.scale)
    near_joint = exam.anatomy in ("wrist", "ankle")
    hardware = exam.hardware and name == _operated(exam, projection)
    breaks = [
        _set_bone(place(f, exam, shape.length, projection, near_joint), hardware)
        for f in exam.fractures
        if f.bone == name
    ]
    values, half_at = bone_map(panel, shape, exam, breaks, rng)
    pieces: list[tuple[Map, Affine]] = [(values, np.eye(2, 3))]
    for broken in breaks[:1]:  # one line a bone
        width = half_at(broken.at)
        pieces = fragments(values, panel.s, panel.u, broken, width, film.spacing_mm, shape.length)
        growth = callus(panel.s, panel.u, broken, width)
        if growth.any():
            cloud = band_noise(panel.shape, 0.8 / panel.pitch, 3.0 / panel.pitch, rng)
            pieces.append((growth * np.maximum(1 + 0.25 * cloud, 0.2), np.eye(2, 3)))
        _note(objects, _name(broken), _fracture_mask(film, pose, panel, broken, width, to_limb, pieces))
    for part, motion in pieces:
        film.bone += np.maximum(panel.onto(film, part, pose, compose(to_limb, motion)), 0) * np.float32(pose.scale)
    if hardware:
        at = breaks[0].at if breaks else shape.length * (0.9 if near_joint else 0.5)
        kind = _implant_kind(exam, name)
        metal = implant(panel, kind, at, half_at(at), shape.length, projection == "LAT", rng)
        seen = panel.onto(film, metal, pose, to_limb)
        film.metal = np.maximum(film.metal, seen)
        _note(objects, "hardware", seen > 0.5)


def _name(broken: Break) -> str:
    return "healed_fracture" if broken.fracture.callus >= HEALED else "fracture"


def _set_bone(broken: Break, hardware: bool) -> Break:
    """Surgery, reduction and remodelling bring the fragments back: a healed bone is thick where it broke, not stepped."""
    rest = 0.2 if hardware else 1.0 - 0.9 * min(1.0, broken.fracture.callus)
    return replace(broken, sideways=broken.sideways * rest, angle_deg=broken.angle_deg * rest)


def _operated(exam: Exam, projection: str) -> str:
    """The bone that carries the implant: the first fractured one, else the larger one."""
    known = [f.bone for f in exam.fractures if (f.bone, projection) in shapes.SHAPES]
    fallback = {"forearm": "radius", "wrist": "radius", "lower_leg": "tibia", "ankle": "fibula"}
    return known[0] if known else fallback[exam.anatomy]


def _implant_kind(exam: Exam, name: str) -> str:
    roll = zlib.crc32(f"{exam.build_seed}/{name}".encode()) % 100
    if exam.age_months < 12 * 12:
        return "wires"
    if name == "tibia" and exam.anatomy == "lower_leg" and roll < 60:
        return "nail"
    return "wires" if exam.anatomy == "wrist" and roll < 25 else "plate"


def bone_map(
    panel: Panel, shape: shapes.BoneShape, exam: Exam, breaks: list[Break], rng: np.random.Generator
) -> tuple[Map, Callable[[float], float]]:
    """Cortical-equivalent mm of an unbroken bone on its panel, and a function s → half-width in mm."""
    stout = float(np.exp(rng.normal(0, 0.05)))
    age = exam.age_months / 12
    bend = rng.normal(0, 1.2)
    curve = [(u * stout + bend * np.sin(np.pi * np.clip(s / shape.length, 0, 1)), s) for u, s in shape.outline]
    rim = panel.inside(curve)
    rows = panel.s[:, 0]
    widths = cv2.GaussianBlur(rim.max(1)[:, None], (1, 0), sigmaX=0.01, sigmaY=2.5 / panel.pitch).ravel()
    for broken in breaks:
        if broken.fracture.kind == "buckle":
            rim += (rim > 0) * buckle_bulge(panel.s, broken, _at(rows, widths, broken.at))
            rim = np.maximum(rim, _bulge_outside(panel, curve, broken, _at(rows, widths, broken.at)))
            widths = widths + buckle_bulge(panel.s, broken, _at(rows, widths, broken.at)).ravel()
    rim, bright = _growth_plates(panel, rim, shape, exam, rng)
    half = np.minimum(np.maximum(widths, 1.0), shape.half_depth)[:, None].astype(np.float32)
    t = np.clip(panel.s / shape.length, 0, 1)
    shaft = np.clip(np.minimum(t, 1 - t) / 0.24, 0, 1) ** 0.8
    cortex = (0.7 + (shape.cortex - 0.7) * shaft) * (0.85 if age < 8 else 1.0) * rng.uniform(0.9, 1.15)
    grain = band_noise(panel.shape, 0.25 / panel.pitch + 0.3, 1.1 / panel.pitch + 0.5, rng, stretch=2.2)
    spongy = (0.05 + 0.20 * (1 - shaft)) * (1 + 0.15 * grain) * rng.uniform(0.85, 1.15)
    values = shell(rim, half, np.minimum(cortex, 0.75 * half).astype(np.float32), np.maximum(spongy, 0.01))
    values *= 1 + bright
    for broken in breaks:
        if broken.fracture.kind == "buckle":  # the crumpled cortex is denser
            values *= 1 + 0.35 * np.exp(-(((panel.s - broken.at) / 1.6) ** 2)).astype(np.float32)
    return values.astype(np.float32), lambda s: _at(rows, widths, s)


def _at(rows: np.ndarray, widths: np.ndarray, s: float) -> float:
    return max(2.0, float(np.interp(s, rows, widths)))


def _bulge_outside(panel: Panel, curve: list[tuple[float, float]], broken: Break, width: float) -> Map:
    """Rim distance of the outline pushed outwards at a torus fracture."""
    knots = np.array(curve)
    dense = np.vstack(
        [np.linspace(a, b, 12, endpoint=False) for a, b in zip(knots, np.roll(knots, -1, 0), strict=True)]
    )
    extra = buckle_bulge(dense[:, 1:2].astype(np.float32), broken, width).ravel()
    side = np.sign(dense[:, 0])
    one_sided = np.where(side == broken.open_side, 1.0, 0.55)
    return panel.inside(np.column_stack([dense[:, 0] + side * extra * one_sided, dense[:, 1]]), smooth=False)


def _growth_plates(
    panel: Panel, rim: Map, shape: shapes.BoneShape, exam: Exam, rng: np.random.Generator
) -> tuple[Map, Map]:
    """Take out the cartilage of the growth plates; returns rim distance and relative extra density."""
    age = exam.age_months / 12
    bright = np.zeros(panel.shape, np.float32)
    for at, appears in shape.growth:
        fusion = _FUSION_YEARS[exam.sex] + rng.normal(0, 0.6)
        wave = 1.3 * np.sin(panel.u / rng.uniform(3.5, 6) + rng.uniform(0, 6)) - 0.0012 * panel.u**2 * rng.uniform(
            -1, 2
        )
        off = panel.s - np.float32(at) - wave.astype(np.float32)
        if age >= fusion:
            faint = 0.35 * np.exp(-(age - fusion) / 4) + (0.3 if "growth_plate" in exam.mimics else 0.0)
            bright += np.float32(faint) * np.exp(-((off / 0.7) ** 2)) * (rim > 0.5)
            continue
        gap = float(np.interp(age, (1, 6, fusion - 2, fusion), (4.2, 2.4, 1.5, 0.4)))
        beyond = (off < 0) if at < shape.length / 2 else (off > 0)
        grown = np.clip((age - appears) / 6.5, 0, 1) ** 0.7 if age > appears else 0.0
        lack = np.float32((1 - grown) * 0.75 * rim[np.abs(panel.s[:, 0] - at) < 4].max(initial=1.0))
        cartilage = np.clip(gap / 2 - np.abs(off), 0, None)
        rim = np.where(beyond, np.maximum(rim - lack, 0) if grown > 0 else 0, rim)
        rim = np.where(cartilage > 0, 0, rim).astype(np.float32)
        bright += 0.35 * np.exp(-(((np.abs(off) - gap / 2 - 0.4) / 0.6) ** 2)) * (rim > 0)
    return rim, bright


def _fracture_mask(
    film: Film, pose: Pose, panel: Panel, broken: Break, width: float, to_limb: Affine, pieces: list[tuple[Map, Affine]]
) -> np.ndarray:
    """Where a reader would point: the line with both broken ends, on the film."""
    reach = 2.5 + broken.fracture.line_width_mm + (3.0 if broken.fracture.kind == "buckle" else 0.0)
    off = np.abs(panel.s - broken.at - broken.slope * panel.u)
    if broken.fracture.kind == "spiral":
        off = np.minimum(off, np.abs(panel.s - broken.at + broken.slope * panel.u))
    if broken.fracture.kind == "comminuted":
        reach += 0.8 * width
    near = ((off < reach) & (np.abs(panel.u) < width + 2)).astype(np.float32)
    seen = np.zeros(film.shape, np.float32)
    for _, motion in pieces[:2]:
        seen = np.maximum(seen, panel.onto(film, near, pose, compose(to_limb, motion)))
    return seen > 0.5


def _neighbours(
    film: Film,
    pose: Pose,
    layout: Layout,
    group: tuple[shapes.Neighbour, ...],
    origin: tuple[float, float],
    exam: Exam,
    rng: np.random.Generator,
) -> None:
    age = exam.age_months / 12
    half = 0.8 * layout.width
    panel = Panel((layout.centre - half, layout.centre + half), pose.window, film.spacing_mm / pose.scale)
    grain = band_noise(panel.shape, 0.25 / panel.pitch + 0.3, 1.0 / panel.pitch + 0.5, rng)
    total = np.zeros(panel.shape, np.float32)
    for _, outline, depth, cortex, starts in group:
        jitter = rng.normal(0, 0.5, (len(outline), 2))
        if starts >= 0 and age < starts:
            continue
        grown = 1.0 if starts < 0 else float(np.clip(0.3 + 0.7 * (age - starts) / (12.5 - min(starts, 8)), 0.3, 1))
        points = np.array(outline) + jitter
        centre = points.mean(0)
        rim = panel.inside(centre + (points - centre) * grown + origin)
        total += shell(rim, depth * grown, cortex, np.maximum(0.17 * (1 + 0.13 * grain), 0.02))
    film.bone += np.maximum(panel.onto(film, total, pose), 0) * np.float32(pose.scale)


def _mimics(film: Film, pose: Pose, exam: Exam, panel: Panel, rng: np.random.Generator) -> None:
    """Lines that are no fractures: nutrient canal, skin fold, Mach line."""
    low, high = np.quantile(panel.s, (0.3, 0.7))
    at = float(rng.uniform(low, high))
    tilt = rng.uniform(-0.35, 0.35)
    off = panel.s - at - tilt * panel.u
    if "nutrient_canal" in exam.mimics:  # short, oblique along the shaft, within one cortex, fading out
        u0 = rng.uniform(-8, 8)
        along, across = (panel.s - at) / 9.0, (panel.u - u0 - 0.12 * (panel.s - at)) / 0.7
        canal = np.exp(-(along**4) - across**2).astype(np.float32)
        film.bone *= 1 - np.float32(0.30) * panel.onto(film, canal, pose)
    if "skin_fold" in exam.mimics:
        fold = (rng.uniform(3, 7) * np.exp(off / 7.0) * (off < 0)).astype(np.float32)
        film.soft += panel.onto(film, fold, pose) * (film.soft > 1)
    if "mach_line" in exam.mimics:  # a soft-tissue edge across bone and beyond it
        edge = (rng.uniform(2.0, 4.5) * expit(off / 0.6)).astype(np.float32) * (np.abs(off) < 40)
        line = (1.8 * np.exp(-((off / 0.8) ** 2))).astype(np.float32)
        film.soft += (panel.onto(film, edge.astype(np.float32), pose) - panel.onto(film, line, pose)) * (film.soft > 8)


def _note(objects: list[TrueObject], name: str, mask: np.ndarray) -> None:
    box = box_of(mask)
    if box is not None:
        objects.append(TrueObject(name, box, mask))
