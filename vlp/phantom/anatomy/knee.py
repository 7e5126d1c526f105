"""Knees, standing antero-posterior on one film (one or both) and lateral, of adults.

Drawn in the knee's own frame: ``u`` across, towards the patient's midline; ``s`` along the leg from proximal to
distal with
0 at the tibial plateau; millimetres of a mean adult. Signs of osteoarthritis follow Kellgren & Lawrence 1957 and the
atlas
of Altman & Gold 2007: joint-space narrowing by compartment, osteophytes at named margins, subchondral sclerosis,
deformity.
"""

from __future__ import annotations

from typing import cast

import cv2
import numpy as np

from vlp.phantom.anatomy import bone_shapes as shapes
from vlp.phantom.anatomy.limb import Layout, Panel, Pose, soft_tissue
from vlp.phantom.facts import Exam, Knee, Scene, TrueObject, View
from vlp.phantom.outline import Film, Map, band_noise, box_of, chord, closed_curve, shell
from vlp.phantom.shapes import rim_distance

WINDOW = (-98.0, 98.0)  # s that a film shows
WIDTH = 158.0  # of a film of one knee
_APART = 190.0  # between the knees' centres on a film of both
_SKIN = ((-160, -82, 80), (-100, -74, 72), (-60, -66, 66), (-25, -60, 60), (10, -57, 57), (45, -55, 56),
         (90, -56, 58), (160, -54, 56))  # fmt: skip
_SKIN_LATERAL = ((-160, -78, 66), (-90, -66, 64), (-50, -62, 66), (-20, -58, 64), (10, -54, 52), (45, -58, 42),
                 (90, -64, 36), (160, -64, 34))  # fmt: skip
_HEALTHY_MM = 5.2
# margins where osteophytes grow: (u, s relative to the joint line of that bone, direction of growth)
_MARGINS = {
    "medial_tibia": (36.0, 4.0, (1.0, -0.45)),
    "lateral_tibia": (-36.0, 4.0, (-1.0, -0.45)),
    "medial_femur": (38.5, -11.0, (1.0, 0.45)),
    "lateral_femur": (-38.5, -11.0, (-1.0, 0.45)),
}


def scene(exam: Exam, view: View, size: int, rng: np.random.Generator) -> Scene:
    """What the rays cross in a film of one knee or both.

    Objects: ``knee_right`` / ``knee_left`` (box of the joint), ``osteophyte``, ``hardware`` for a prosthesis.
    """
    side = view.side or exam.side or "R"
    streams = rng.spawn(5)
    strength = 1.0 if exam.level == "hard" else 0.6
    lateral = view.projection == "LAT"
    sides = ("R", "L") if side == "B" and not lateral else (side if side in ("R", "L") else "R",)
    scale = exam.body_scale * (1.05 if exam.sex == "M" else 0.95) * float(np.exp(streams[0].normal(0, 0.03)))
    zoom = 1 + strength * streams[0].uniform(-0.10, 0.14)
    long_mm = (WINDOW[1] - WINDOW[0]) * scale * zoom
    across_mm = (WIDTH + (_APART if len(sides) == 2 else 0)) * scale * (1 + strength * streams[0].uniform(0, 0.15))
    spacing = max(long_mm, across_mm) / size
    film = Film(round(long_mm / spacing), round(across_mm / spacing), spacing)
    objects: list[TrueObject] = []
    for number, name in enumerate(sides):
        offset = (number - 0.5) * _APART * scale if len(sides) == 2 else 0.0
        pose = _pose(film, name, offset, scale, strength, lateral, streams[1])
        knee = exam.knees.get(name) or Knee(0, 0, _HEALTHY_MM, _HEALTHY_MM, (), 0.0, 0.0, 0.0)
        skin = _SKIN_LATERAL if lateral else _SKIN
        soft_tissue(film, pose, Layout(WINDOW, 2 * WIDTH, 0, skin, (0, 0)), exam, False, streams[2])
        if lateral:
            _lateral(film, pose, knee, streams[3])
        else:
            _frontal(film, pose, knee, name, objects, streams[3])
    return Scene(film.soft, film.bone, film.metal, film.plaster, film.spacing_mm, tuple(objects))


def _pose(
    film: Film, side: str, offset: float, scale: float, strength: float, lateral: bool, rng: np.random.Generator
) -> Pose:
    """The patient's right knee lies on the left of a film of both, its inner side towards the middle."""
    mirror = -1.0 if (side == "L") != (lateral and rng.random() < 0.2) else 1.0
    turn = np.deg2rad(rng.normal(0, 3.0) * strength)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    linear = rotation @ np.diag([mirror, 1.0]) * scale / film.spacing_mm
    shift = rng.normal(0, 0.02, 2) * strength * min(film.height, film.width)
    centre = np.array([film.width / 2 + offset / film.spacing_mm, film.height / 2]) + shift
    return Pose(np.column_stack([linear, centre]), scale, (WINDOW[0] - 40, WINDOW[1] + 40))


def _frontal(
    film: Film, pose: Pose, knee: Knee, side: str, objects: list[TrueObject], rng: np.random.Generator
) -> None:
    panel = Panel((-70, 70), (-135, 135), 0.8 * film.spacing_mm / pose.scale)
    grain = band_noise(panel.shape, 0.25 / panel.pitch + 0.3, 1.0 / panel.pitch + 0.6, rng, stretch=3.0)
    stout = float(np.exp(rng.normal(0, 0.03)))
    lean = np.tan(np.deg2rad(knee.varus_deg / 2))
    tibia_points = _tibia(knee, stout, rng)
    femur = _bend(_fitted_femur(knee, tibia_points, stout, pose.scale, rng), -lean, -30.0)
    tibia = _bend(tibia_points, lean, 25.0)
    if knee.prosthesis:
        femur, tibia = femur[femur[:, 1] < -14], tibia[tibia[:, 1] > 9]
    curves = [outline if knee.prosthesis else closed_curve(outline) for outline in (femur, tibia)]
    rims = [rim_distance([curve], panel.shape, panel.pitch, panel.origin, refine=2) for curve in curves]
    spurs: list[Map] = []
    for place in knee.osteophytes if not knee.prosthesis else ():
        spur = _osteophyte(panel, knee, place, rng)
        rims[0 if place.endswith("femur") else 1] = np.maximum(rims[0 if place.endswith("femur") else 1], spur)
        spurs.append(spur)
    total = np.zeros(panel.shape, np.float32)
    for rim, depth in zip(rims, (26.0, 24.0), strict=True):
        total += _spongy_bone(panel, rim, depth, grain, rng)
    if not knee.prosthesis:
        total += _notch(panel, knee)
        total *= 1 + _subchondral(panel, rims, knee)
    fibula = _bend(np.array([(-46, 40), (-45, 24), (-39, 13), (-31, 17), (-29, 28), (-33, 42), (-35, 75), (-34, 150),
                             (-43, 150), (-43, 75)], float) + rng.normal(0, 0.8, 2), lean, 25.0)  # fmt: skip
    total += _spongy_bone(panel, panel.inside(fibula), 6.5, grain, rng)
    total += _patella(panel, rng)
    film.bone += np.maximum(panel.onto(film, total, pose), 0) * np.float32(pose.scale)
    if knee.prosthesis:
        metal = panel.onto(film, _prosthesis(panel, stout), pose)
        film.metal = np.maximum(film.metal, metal)
        _note(objects, "hardware", metal > 0.5)
    for spur in spurs:
        _note(objects, "osteophyte", panel.onto(film, (spur > 0).astype(np.float32), pose) > 0.5)
    joint = ((np.abs(panel.s) < 42) & (np.abs(panel.u) < 52)).astype(np.float32)
    _note(objects, "knee_right" if side == "R" else "knee_left", panel.onto(film, joint, pose) > 0.5)


def _fitted_femur(knee: Knee, tibia: np.ndarray, stout: float, scale: float, rng: np.random.Generator) -> np.ndarray:
    """The femur whose condyles leave the facts' joint spaces, each at its narrowest point (error below 0.05 mm).

    The facts are millimetres of this patient, the outlines of a mean adult: ``scale`` is between them.
    """
    wanted = np.array([knee.medial_mm, knee.lateral_mm], np.float64) / scale
    noise = rng.normal(0, 0.5, (27, 2))
    spaces = wanted.copy()
    femur = _femur(spaces, stout, noise)
    for _ in range(6):  # the curve through the points bulges, so its spaces are measured and corrected
        spaces += wanted - joint_spaces(femur, tibia, stout)
        femur = _femur(spaces, stout, noise)
    return femur


def joint_spaces(femur: np.ndarray, tibia: np.ndarray, stout: float = 1.0) -> np.ndarray:
    """Least distance along ``s`` between the outlines in the medial and the lateral compartment, [2] mm."""
    lower, upper = closed_curve(femur), closed_curve(tibia)
    lower, upper = lower[lower[:, 1] > -13], upper[upper[:, 1] < 5]
    found = []
    for sign in (1.0, -1.0):
        across = np.linspace(11, 33, 45) * stout
        edges = []
        for curve in (lower, upper):
            side = curve[curve[:, 0] * sign > 5]
            side = side[np.argsort(side[:, 0] * sign)]
            edges.append(np.interp(across, side[:, 0] * sign, side[:, 1]))
        found.append(float((edges[1] - edges[0]).min()))
    return np.array(found)


def _femur(spaces: np.ndarray, stout: float, noise: np.ndarray) -> np.ndarray:
    """Distal femur; the condyles end ``spaces`` (medial, lateral) above the plateau, about."""
    medial, lateral = -spaces
    points = np.array([
        (-15, -170), (-16, -110), (-18, -85), (-24, -66), (-33, -51), (-38, -38), (-38.5, -24), (-37, -11),
        (-31, lateral - 1.6),
        (-21, lateral), (-12, lateral - 0.8), (-7, lateral - 5), (-4, -13), (0, -16), (4, -13), (8, medial - 5),
        (13, medial - 0.8), (22, medial), (32, medial - 1.8), (38, -12), (40.5, -25), (40, -38), (37, -50), (26, -64),
        (19, -85), (16, -110), (15, -170),
    ])  # fmt: skip
    points[:, 0] *= stout
    free = (points[:, 1] < -9) | (np.abs(points[:, 0]) < 6)
    points[free] += noise[free]
    return points


def _tibia(knee: Knee, stout: float, rng: np.random.Generator) -> np.ndarray:
    """Proximal tibia with its plateau at s = 0; spines sharpen with osteophytes."""
    peak = 6.5 + (0.9 * knee.osteophyte_mm if "tibial_spines" in knee.osteophytes else 0.0)
    worn_medial, worn_lateral = (max(0.0, 1.2 - mm) * 1.2 for mm in (knee.medial_mm, knee.lateral_mm))
    points = np.array([
        (-14, 170), (-15, 110), (-18, 70), (-25, 42), (-33, 26), (-37, 14), (-37.5, 5), (-34, 0.4),
        (-27, 0.2 - worn_lateral),
        (-17, 0.2), (-9, -0.6), (-6, -peak), (-3.5, -peak * 0.8), (0, -1.8), (3, -peak * 0.9), (5.5, -peak - 0.8),
        (9, -0.8),
        (17, 0.2), (27, 0.2 - worn_medial), (34, 0.4), (37.5, 5), (37, 14), (32, 27), (24, 44), (17, 72), (14, 110),
        (13, 170),
    ])  # fmt: skip
    points[:, 0] *= stout
    free = points[:, 1] > 3
    points[free] += rng.normal(0, 0.5, (int(free.sum()), 2))
    return points


def _bend(points: np.ndarray, slope: float, start: float) -> np.ndarray:
    """Lean a bone sideways beyond ``start``, away from the joint, which stays as it is."""
    away = points[:, 1] - start
    beyond = np.minimum(away, 0) if start < 0 else np.maximum(away, 0)
    return np.column_stack([points[:, 0] + slope * beyond, points[:, 1]])


def _spongy_bone(panel: Panel, rim: Map, depth: float, grain: Map, rng: np.random.Generator) -> Map:
    """Metaphysis: a thin cortex and much trabecular bone; the cortex thickens towards the shaft."""
    rows = np.maximum(rim.max(1, keepdims=True), 1.0)
    half = np.minimum(cv2.GaussianBlur(rows, (1, 0), sigmaX=0.01, sigmaY=4 / panel.pitch).reshape(-1, 1), depth)
    shaft = np.clip((np.abs(panel.s) - 45) / 45, 0, 1)
    cortex = ((0.75 + 3.0 * shaft) * rng.uniform(0.9, 1.2)).astype(np.float32)
    spongy = (0.185 - 0.12 * shaft) * (1 + 0.09 * grain) * rng.uniform(0.9, 1.1)
    return shell(
        rim, half.astype(np.float32), np.minimum(cortex, 0.7 * half), np.maximum(spongy, 0.01).astype(np.float32)
    )


def _notch(panel: Panel, knee: Knee) -> Map:
    """The intercondylar roof: a bright arch (Blumensaat's line seen from the front) over a paler fossa."""
    u, s = panel.u / 12.0, panel.s
    arch = -30 + 15 * np.abs(u) ** 2.2
    line = 2.0 * np.exp(-(((s - arch) / 1.1) ** 2)) * (np.abs(u) < 1.15)
    fossa = -3.4 * ((s > arch) & (s < -13) & (np.abs(u) < 1)).astype(np.float32)
    return cast(Map, cv2.GaussianBlur((line + fossa).astype(np.float32), (0, 0), 0.8 / panel.pitch))


def _subchondral(panel: Panel, rims: list[Map], knee: Knee) -> Map:
    """Relative extra density along the joint: the healthy plate, and sclerosis of the worn compartment."""
    extra = np.zeros(panel.shape, np.float32)
    medial = np.clip(panel.u / 5 + 0.5, 0, 1) * (panel.u < 34)
    for compartment, width in ((medial, knee.medial_mm), ((1 - medial) * (panel.u > -34), knee.lateral_mm)):
        worn = knee.sclerosis * float(np.clip((5.0 - width) / 3.0, 0.1, 1.0))
        for rim, line in ((rims[1], panel.s), (rims[0], -(panel.s + width))):
            depth = np.maximum(line, 0)
            plate = 1.1 * np.exp(-((depth / 1.2) ** 2)) * (line > -2.5)
            band = worn * 1.3 * np.exp(-depth / 4.5) * (line > -2.5)
            extra += (compartment * (plate + band) * (rim > 0)).astype(np.float32)
    return extra


def _osteophyte(panel: Panel, knee: Knee, place: str, rng: np.random.Generator) -> Map:
    """Rim distance of a spur at a margin; its size is the fact's, within a fifth."""
    if place == "tibial_spines":
        height = 6.5 + 0.9 * knee.osteophyte_mm
        return panel.inside([(3, -2), (5, -height - 1.2), (6.4, -height - 1.2), (9, -2)], smooth=False)
    u, s, (across, along) = _MARGINS[place]
    if place.endswith("femur"):
        s -= 0.5 * (knee.medial_mm if place.startswith("medial") else knee.lateral_mm)
    size = 1.6 * knee.osteophyte_mm * rng.uniform(0.85, 1.2)
    tip = (u + across * size, s + along * size)
    sign = np.sign(along)
    base = [(u - across * 4, s + sign * 3.0), (u - across * 2, s - sign * (5.0 + size))]
    return panel.inside([base[0], tip, (tip[0] - across * 0.3, tip[1] - sign * 0.25 * size), base[1]])


def _patella(panel: Panel, rng: np.random.Generator) -> Map:
    """The kneecap in front of the femur: a faint disc with a rim."""
    u, s, r = rng.normal(-1, 2.5), rng.normal(-42, 5), rng.uniform(19, 22)
    angles = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    outline = np.column_stack([u + r * np.cos(angles), s + 1.08 * r * np.sin(angles)]) + rng.normal(0, 0.6, (12, 2))
    return (0.28 * shell(panel.inside(outline), 9.0, 1.0, 0.22)).astype(np.float32)


def _prosthesis(panel: Panel, stout: float) -> Map:
    """Total knee replacement: femoral shell, tibial tray and stem; the insert between them is not seen."""
    femoral = [(-36, -30), (-36, -10), (-28, -5), (-10, -5), (-6, -12), (6, -12), (10, -5), (28, -5), (36, -10),
    (36, -30),
               (31, -30), (30, -16), (-30, -16), (-31, -30)]  # fmt: skip
    tray = [(-37, 5), (37, 5), (37, 10), (7, 11), (6, 48), (-6, 48), (-7, 11), (-37, 10)]
    total = np.zeros(panel.shape, np.float32)
    for outline, half in ((femoral, 14.0), (tray, 12.0)):
        points = np.array(outline, float) * (stout, 1)
        total += 0.55 * chord(panel.inside(points, smooth=False), half)
    return total


def _lateral(film: Film, pose: Pose, knee: Knee, rng: np.random.Generator) -> None:
    """Side view, slightly bent: femoral condyles over each other, patella in front, tibia and fibula."""
    panel = Panel((-90, 90), (-150, 150), 0.8 * film.spacing_mm / pose.scale)
    grain = band_noise(panel.shape, 0.4 / panel.pitch + 0.3, 1.5 / panel.pitch + 0.6, rng, stretch=2.0)
    space = (knee.medial_mm + knee.lateral_mm) / 2 - 4.0
    total = np.zeros(panel.shape, np.float32)
    for name, outline, depth, _, _ in shapes.KNEE_END_LAT:
        shift = (2.0, -space) if name == "femur" else (4.0, -space + rng.normal(0, 4))
        points = np.array(outline, float) + shift + rng.normal(0, 0.5, (len(outline), 2))
        total += _spongy_bone(panel, panel.inside(points), min(depth, 26), grain, rng) * (
            0.8 if name == "femur" else 0.6
        )
    for name in ("fibula", "tibia"):
        shape = shapes.SHAPES[name, "LAT"]
        points = np.array(shape.outline, float) + ((-24, 0) if name == "fibula" else (2, 0))
        total += _spongy_bone(panel, panel.inside(points), shape.half_depth, grain, rng)
    if knee.prosthesis:
        shield = [(30, -34), (26, -10), (8, -1), (-16, -3), (-30, -18), (-30, -28), (-24, -18), (-14, -9), (6, -7),
        (20, -14),
                  (25, -34)]  # fmt: skip
        film.metal = np.maximum(film.metal, panel.onto(film, 0.5 * chord(panel.inside(shield), 14.0), pose))
    film.bone += np.maximum(panel.onto(film, total, pose), 0) * np.float32(pose.scale)


def _note(objects: list[TrueObject], name: str, mask: np.ndarray) -> None:
    box = box_of(mask)
    if box is not None:
        objects.append(TrueObject(name, box, mask))
