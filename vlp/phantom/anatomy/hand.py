"""Hand and wrist, postero-anterior, from one year to adult, for bone age.

Drawn in the hand's own frame: ``u`` across (negative towards the thumb), ``s`` along from the wrist (0 at the radiocarpal
joint) to the fingertips, millimetres of an adult. Maturity follows ``exam.bone_age_months`` by the tables of
:mod:`vlp.phantom.anatomy.hand_growth`; size follows the chronological age.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from vlp.phantom.anatomy import bone_shapes as shapes
from vlp.phantom.anatomy.hand_growth import SESAMOID, carpal_growth, epiphysis_growth
from vlp.phantom.anatomy.limb import Panel, Pose, stature
from vlp.phantom.facts import Exam, Scene, View
from vlp.phantom.outline import Film, Map, band_noise, chord, closed_curve, inside_mm, shell

Point = npt.NDArray[np.float64]

LENGTHS = {  # mm of metacarpal, proximal, middle, distal phalanx, adult (after Greulich & Pyle's adult standards)
    1: (45.0, 31.0, 0.0, 22.0),
    2: (67.0, 40.0, 23.5, 17.0),
    3: (65.0, 44.0, 28.0, 18.0),
    4: (58.0, 41.0, 26.5, 18.0),
    5: (53.5, 33.0, 19.5, 16.0),
}
BASES = {1: (-25.0, 31.0), 2: (-14.0, 36.0), 3: (-2.0, 37.0), 4: (8.5, 36.0), 5: (17.5, 34.0)}
_SPLAY = {1: -42.0, 2: -9.0, 3: -1.0, 4: 6.5, 5: 15.0}  # degrees from the long axis
_FAN = {1: 0.0, 2: -3.0, 3: 0.0, 4: 3.0, 5: 8.0}  # further splay of the finger beyond its metacarpal
# half-widths along a bone from base to head, as (t, mm)
PROFILES: dict[str, tuple[tuple[float, float], ...]] = {
    "metacarpal": ((0, 6.2), (0.06, 6.8), (0.18, 5.0), (0.4, 3.9), (0.62, 4.0), (0.8, 5.6), (0.92, 6.9), (1, 5.2)),
    "proximal": ((0, 6.6), (0.07, 7.2), (0.2, 5.6), (0.45, 4.2), (0.7, 3.9), (0.88, 5.1), (0.96, 5.3), (1, 4.2)),
    "middle": ((0, 5.6), (0.08, 6.3), (0.22, 4.6), (0.5, 3.5), (0.72, 3.3), (0.9, 4.4), (0.97, 4.5), (1, 3.6)),
    "distal": ((0, 4.6), (0.1, 5.3), (0.25, 3.6), (0.5, 2.3), (0.72, 2.2), (0.86, 3.4), (0.95, 3.3), (1, 2.0)),
}
_CORTEX = {"metacarpal": 1.9, "proximal": 1.5, "middle": 1.2, "distal": 0.9, "radius": 2.2, "ulna": 1.9}
_JOINT_MM = 1.7
_WINDOW = (-52.0, 198.0)
_WIDTH = 168.0


@dataclass(frozen=True)
class _Tube:
    """A tubular bone on its axis from ``start`` to ``end`` (u, s)."""

    name: str
    start: Point
    end: Point
    group: str
    plate_at_head: bool  # metacarpals 2-5 grow at their head, all others at their base


def scene(exam: Exam, view: View, size: int, rng: np.random.Generator) -> Scene:
    """What the rays cross in a film of a hand. Views other than PA are drawn as PA, turned a little."""
    pose_stream, tissue, bone_stream = rng.spawn(3)
    maturity = float(exam.bone_age_months if exam.bone_age_months is not None else exam.age_months)
    film, pose = _lay_out(exam, view, size, pose_stream)
    panel = Panel((-100, 100), (-75, 215), film.spacing_mm / pose.scale)
    oblique = view.projection not in ("PA", "AP")
    bones = _skeleton(bone_stream, maturity, exam.sex, oblique)
    soft = _soft_tissue(panel, bones, exam, tissue)
    film.soft += np.maximum(panel.onto(film, soft, pose), 0) * np.float32(pose.scale)
    canvas = _Canvas(panel, bone_stream)
    _forearm(canvas, maturity, exam.sex, bone_stream)
    _carpus(canvas, maturity, exam.sex, bone_stream)
    for bone in bones:
        _tube(canvas, bone, maturity, exam.sex, bone_stream)
    _sesamoid(canvas, bones, maturity, exam.sex, bone_stream)
    film.bone += np.maximum(panel.onto(film, canvas.total, pose), 0) * np.float32(pose.scale)
    return Scene(film.soft, film.bone, film.metal, film.plaster, film.spacing_mm)


def _lay_out(exam: Exam, view: View, size: int, rng: np.random.Generator) -> tuple[Film, Pose]:
    """The film is collimated to the hand, so that a child's hand fills it as an adult's does; only the spacing differs."""
    strength = 1.0 if exam.level == "hard" else 0.6
    scale = stature(exam.age_months, exam.sex) ** 0.95 * exam.body_scale * (1.05 if exam.sex == "M" else 0.97)
    scale *= float(np.exp(rng.normal(0, 0.03)))
    zoom = 1 + strength * rng.uniform(-0.05, 0.22)
    long_mm = (_WINDOW[1] - _WINDOW[0]) * scale * zoom
    across_mm = _WIDTH * scale * (zoom + strength * rng.uniform(0, 0.15))
    spacing = long_mm / size
    film = Film(size, round(across_mm / spacing), spacing)
    mirror = 1.0 if (view.side or exam.side) == "R" else -1.0  # seen from behind, a left thumb points to the right
    turn = np.deg2rad(rng.normal(0, 5) * strength)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    linear = rotation @ np.diag([mirror, -1.0]) * scale / spacing
    middle = np.array([-10.0, sum(_WINDOW) / 2])
    centre = np.array([film.width / 2, film.height / 2]) + rng.normal(0, 0.015, 2) * strength * size
    return film, Pose(np.column_stack([linear, centre - linear @ middle]), scale, (-75.0, 215.0))


def _skeleton(rng: np.random.Generator, maturity: float, sex: str, oblique: bool) -> list[_Tube]:
    """The nineteen tubular bones of a hand in its own pose."""
    spread = rng.uniform(0.75, 1.7)
    young = float(np.clip(1 - maturity / 84, 0, 1))  # cartilage takes more of a small child's hand
    bones: list[_Tube] = []
    for ray, lengths in LENGTHS.items():
        base = np.array(BASES[ray]) * (1.0, 1.0 - 0.06 * young) + rng.normal(0, 0.4, 2)
        splay = _SPLAY[ray] * (1.0 if ray == 1 else 1.0 + 0.12 * (spread - 1)) + rng.normal(0, 1.0)
        if ray == 1:
            splay += rng.normal(0, 8)
        if oblique:
            base, splay = base * (0.8, 1), splay * 0.6
        at = base
        for group, length in zip(("metacarpal", "proximal", "middle", "distal"), lengths, strict=True):
            if not length:
                continue
            if group == "proximal":
                splay += _FAN[ray] * spread + rng.normal(0, 2.0) + (rng.uniform(-4, 14) if ray == 1 else 0)
            elif group != "metacarpal":
                splay += rng.normal(0, 1.2)
            length *= float(np.exp(rng.normal(0, 0.02)))
            axis = np.array([np.sin(np.deg2rad(splay)), np.cos(np.deg2rad(splay))])
            end = at + axis * length
            bones.append(_Tube(f"{group}_{ray}", at, end, group, group == "metacarpal" and ray > 1))
            at = end + axis * _JOINT_MM
    return bones


class _Canvas:
    """Sums bones into one map; each is computed in a window of its own."""

    def __init__(self, panel: Panel, rng: np.random.Generator) -> None:
        self.panel = panel
        self.total = np.zeros(panel.shape, np.float32)
        self.grain = band_noise(panel.shape, 0.2 / panel.pitch + 0.3, 0.8 / panel.pitch + 0.5, rng, stretch=1.6)
        self.density = float(rng.uniform(0.9, 1.12))

    def add(self, outline: Point, half_depth: float, cortex: float, spongy: float, smooth: bool = True) -> None:
        """Add a rounded hollow bone by its outline of (u, s) points."""
        curve = closed_curve(outline) if smooth else np.asarray(outline, np.float64)
        pitch, (u0, s0) = self.panel.pitch, self.panel.origin
        low = np.floor((curve.min(0) - (u0, s0)) / pitch).astype(int) - 2
        high = np.ceil((curve.max(0) - (u0, s0)) / pitch).astype(int) + 3
        x0, y0 = np.maximum(low, 0)
        x1, y1 = min(high[0], self.panel.shape[1]), min(high[1], self.panel.shape[0])
        if x1 - x0 < 3 or y1 - y0 < 3:
            return
        rim = inside_mm(curve, (y1 - y0, x1 - x0), pitch, (u0 + x0 * pitch, s0 + y0 * pitch))
        half = min(half_depth, float(rim.max()) + 0.3)
        grain = self.grain[y0:y1, x0:x1]
        marrow = np.maximum(spongy * (1 + 0.12 * grain), 0.01).astype(np.float32)
        self.total[y0:y1, x0:x1] += self.density * shell(rim, half, min(cortex, 0.55 * half), marrow)


def _tube(canvas: _Canvas, bone: _Tube, maturity: float, sex: str, rng: np.random.Generator) -> None:
    """Shaft, growth plate and epiphysis of one tubular bone."""
    own = maturity + rng.normal(0, 2.0 + 0.03 * maturity)
    width, fusion = epiphysis_growth(bone.name, own, sex)
    axis = bone.end - bone.start
    length = float(np.hypot(*axis))
    axis = axis / length
    across = np.array([axis[1], -axis[0]])
    slim = (0.86 + 0.14 * min(1.0, maturity / 150)) * float(np.exp(rng.normal(0, 0.03)))
    slim *= 1.12 if bone.name == "metacarpal_1" else 1.0
    profile = np.array(PROFILES[bone.group]) * (1, slim)
    thick = {"metacarpal": 0.17, "proximal": 0.15, "middle": 0.17, "distal": 0.19}[bone.group] * length
    thick = min(thick, 8.0)
    plate = (length - thick) if bone.plate_at_head else thick
    gap = float(np.interp(own, (12, 60, 120, 170), (2.4, 1.9, 1.4, 0.9))) * (1 - fusion)
    t = np.concatenate([np.linspace(0, 0.12, 5), np.linspace(0.2, 0.8, 9), np.linspace(0.88, 1, 5)])

    def outline(low: float, high: float) -> Point:
        where = low + (high - low) * t
        half = np.interp(where / length, profile[:, 0], profile[:, 1])
        bow = 0.35 * np.sin(np.pi * where / length)
        left = bone.start + where[:, None] * axis + (half + bow)[:, None] * across
        right = bone.start + where[:, None] * axis - (half - bow)[:, None] * across
        return np.vstack([left, right[::-1]])

    cortex = _CORTEX[bone.group] * (0.72 + 0.28 * min(1.0, maturity / 160))
    depth = 0.95 * float(profile[:, 1].max())
    if fusion >= 1:
        canvas.add(outline(0, length), depth, cortex, 0.14)
        return
    lack = 1.6 if width == 0 else 0.0
    low, high = (0.0, plate - gap / 2 - lack) if bone.plate_at_head else (plate + gap / 2 + lack, length)
    canvas.add(outline(low, high), depth, cortex, 0.13)
    if width == 0:
        return
    end = float(np.interp(plate / length, profile[:, 0], profile[:, 1]))
    free = thick - gap / 2 - 0.3
    body = free * float(np.interp(width, (0.22, 1.0), (0.35, 0.92)))
    middle = plate + (gap / 2 + body / 2) * (1 if bone.plate_at_head else -1)
    centre = bone.start + middle * axis
    angles = np.linspace(0, 2 * np.pi, 14, endpoint=False)
    power = float(np.interp(width, (0.22, 1.0), (1.0, 0.62)))  # from a dot to a plate with square ends
    x = np.sign(np.cos(angles)) * np.abs(np.cos(angles)) ** power * max(1.2, end * width * 1.04)
    y = np.sign(np.sin(angles)) * np.abs(np.sin(angles)) ** power * max(1.0, body / 2)
    canvas.add(centre + x[:, None] * across + y[:, None] * axis, depth, 0.7, 0.2)


def _carpus(canvas: _Canvas, maturity: float, sex: str, rng: np.random.Generator) -> None:
    for name, outline, depth, cortex, _ in shapes.CARPUS:
        own = maturity + rng.normal(0, 2.5 + 0.04 * maturity)
        grown = carpal_growth(name, own, sex)
        adult = np.array(outline, np.float64) + rng.normal(0, 0.4, (len(outline), 2))
        jitter = rng.normal(0, 0.5, 2)
        if grown <= 0:
            continue
        centre = adult.mean(0)
        arms = adult - centre
        radius = float(np.sqrt((arms**2).sum(1)).mean())
        round_arms = arms / np.maximum(np.hypot(arms[:, 0], arms[:, 1])[:, None], 1e-6) * radius
        shape = grown * arms + (1 - grown) * round_arms
        size = 0.22 + 0.76 * grown
        canvas.add(centre * (1, 1) + jitter + shape * size, depth * size, cortex * 0.9, 0.2)


def _forearm(canvas: _Canvas, maturity: float, sex: str, rng: np.random.Generator) -> None:
    """Distal radius and ulna with their growth plates."""
    for name, (u, s), plate, thick in (("radius", (-7.0, -243.5), -12.0, 9.0), ("ulna", (19.0, -261.5), -13.0, 6.0)):
        adult = np.array(shapes.SHAPES[name, "AP"].outline, np.float64) + (u, s)
        own = maturity + rng.normal(0, 2.0 + 0.03 * maturity)
        width, fusion = epiphysis_growth(name, own, sex)
        curve = closed_curve(adult)
        curve = curve[curve[:, 1] > -110]
        if fusion >= 1:
            canvas.add(curve, 10.0, _CORTEX[name], 0.15, smooth=False)
            continue
        gap = float(np.interp(own, (12, 60, 140, 200), (3.0, 2.2, 1.6, 0.8))) * (1 - fusion)
        tilt = 0.06 if name == "radius" else 0.0
        line = plate + tilt * (curve[:, 0] - curve[:, 0].mean())
        shaft = curve[curve[:, 1] < line - gap / 2]
        canvas.add(shaft, 10.0, _CORTEX[name] * (0.7 + 0.3 * min(1.0, maturity / 160)), 0.15, smooth=False)
        if width == 0:
            continue
        near = curve[np.abs(curve[:, 1] - plate) < 3]
        low, high = float(near[:, 0].min()), float(near[:, 0].max())
        centre_u, half = (low + high) / 2, (high - low) / 2 * min(width * 1.02, 1.05)
        body = thick * float(np.interp(width, (0.22, 1.0), (0.45, 0.95)))
        angles = np.linspace(0, 2 * np.pi, 16, endpoint=False)
        power = float(np.interp(width, (0.22, 1.0), (1.0, 0.65)))
        x = np.sign(np.cos(angles)) * np.abs(np.cos(angles)) ** power * max(1.5, half)
        y = np.sign(np.sin(angles)) * np.abs(np.sin(angles)) ** power * body / 2
        if name == "radius":  # the styloid: thicker towards the thumb
            y *= 1 - 0.25 * x / max(half, 1.0)
        middle = plate + gap / 2 + body / 2
        canvas.add(np.column_stack([centre_u + x, middle + y + tilt * x]), 9.0, 0.9, 0.2)


def _sesamoid(canvas: _Canvas, bones: list[_Tube], maturity: float, sex: str, rng: np.random.Generator) -> None:
    """The adductor sesamoid of the thumb, a sign of the growth spurt."""
    if maturity + rng.normal(0, 6) < (SESAMOID[0] if sex == "F" else SESAMOID[1]):
        return
    thumb = next(b for b in bones if b.name == "metacarpal_1")
    axis = (thumb.end - thumb.start) / np.hypot(*(thumb.end - thumb.start))
    centre = thumb.end - 2.0 * axis + 6.0 * np.array([axis[1], -axis[0]])
    angles = np.linspace(0, 2 * np.pi, 8, endpoint=False)
    canvas.add(centre + np.column_stack([2.1 * np.cos(angles), 2.7 * np.sin(angles)]), 2.0, 0.5, 0.25)


def _soft_tissue(panel: Panel, bones: list[_Tube], exam: Exam, rng: np.random.Generator) -> Map:
    """Skin outline round the fingers, palm and wrist, and the path through it in mm of water."""
    girth = (0.86 + 0.14 * exam.body_mass) * float(np.exp(rng.normal(0, 0.05)))
    girth *= 1.0 + 0.22 * float(np.clip(1 - exam.age_months / 84, 0, 1))
    mask = np.zeros(panel.shape, np.uint8)
    depth = np.zeros(panel.shape, np.float32)
    radius = {"metacarpal": 11.0, "proximal": 9.6, "middle": 8.6, "distal": 7.8}
    for bone in bones:
        wide = radius[bone.group] * girth * (1.12 if bone.name.endswith("_1") else 1.0)
        tip = bone.end + (bone.end - bone.start) / np.hypot(*(bone.end - bone.start)) * (2.0 if bone.group == "distal" else 0)
        points = panel.pixels([bone.start, tip])
        for canvas, value in ((mask, 255), (depth, wide)):
            cv2.line(canvas, tuple(points[0]), tuple(points[1]), value, max(1, round(2 * wide / panel.pitch)), cv2.LINE_AA, 4)  # type: ignore[call-overload]
    heads = {b.name: b for b in bones}
    palm = [heads["metacarpal_2"].end + (-9 * girth, 4), heads["metacarpal_3"].end + (0, 10), heads["metacarpal_4"].end + (2, 9),
            heads["metacarpal_5"].end + (9 * girth, 2), (36 * girth, 45), (33 * girth, 15), (31 * girth, -10), (31 * girth, -110),
            (-29 * girth, -110), (-30 * girth, -10), (-32 * girth, 14), heads["metacarpal_1"].end + (-2, 4), (-33 * girth, 84)]  # fmt: skip
    cv2.fillPoly(mask, [panel.pixels(closed_curve(np.array(palm, np.float64)))], 255, cv2.LINE_AA, 4)
    rim = cv2.distanceTransform((mask > 127).astype(np.uint8), cv2.DIST_L2, 5) * np.float32(panel.pitch)
    inner = np.zeros(panel.shape, np.float32)
    cv2.fillPoly(inner, [panel.pixels(closed_curve(np.array(palm, np.float64)))], 14.5 * girth, cv2.LINE_AA, 4)
    half = np.maximum(cv2.GaussianBlur(np.maximum(depth * 0.9, inner), (0, 0), 5.0 / panel.pitch), 4.0)
    outer = chord(rim, half)
    fat = (1.2 + 1.6 * exam.body_mass) * rng.uniform(0.8, 1.2)
    muscle = chord(np.maximum(rim - fat, 0), np.maximum(half - fat, 1.0))
    folds = band_noise(panel.shape, 2.0 / panel.pitch, 7.0 / panel.pitch, rng)
    return (0.9 * outer + 0.14 * muscle * (1 + 0.12 * folds)).astype(np.float32)
