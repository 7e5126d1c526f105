"""Hand and wrist, PA, 1-18 years: the film from which bone age is read.

Maturity (which centres are there, how wide, how fused) follows
``exam.bone_age_months``; size follows chronological age.
"""

from __future__ import annotations

import numpy as np

from vlp.phantom.anatomy import hand_bones as bones
from vlp.phantom.anatomy.hand_growth import CARPALS, PLATES, carpal_size, sesamoid_size, stage
from vlp.phantom.anatomy.limb import stature
from vlp.phantom.facts import Exam, Scene, TrueObject, View
from vlp.phantom.outline import Film, box_of
from vlp.phantom.shapes import Frame, Texture, add_bone, add_capsule, blob

_BASES = {
    1: (-1.5, 25.5),
    2: (-0.5, 10.5),
    3: (0.5, 0.0),
    4: (-1.5, -9.7),
    5: (-4.5, -18.2),
}  # of the metacarpals (s, r)
_METACARPAL_DEG = {1: 40.0, 2: 10.5, 3: 0.5, 4: -8.5, 5: -18.5}
_FINGER_DEG = {1: -4.0, 2: 0.0, 3: 1.0, 4: 1.0, 5: -2.0}  # turn at the metacarpophalangeal joint, plus the spread
_SPREAD_DEG = {1: 4.0, 2: 8.0, 3: 0.0, 4: -7.0, 5: -16.0}
_JOINT_MM = {"metacarpal": 1.7, "proximal": 1.3, "middle": 1.1}
MATURITY_SD_YEARS = 0.28  # of one bone against the child's skeletal age


def scene(exam: Exam, view: View, size: int, rng: np.random.Generator) -> Scene:
    """What the rays cross in a PA film of a hand; other projections are drawn as PA.

    Args:
        exam: ``bone_age_months`` is the maturity (chronological age where it is None); ``age_months`` drives size.
        view: its ``side`` (the exam's where empty); a left hand's thumb is on the right of the film, R is mirrored.
        size: rows of the film before collimation.

    Returns:
        Maps in mm of path, with objects ``carpal`` and ``sesamoid`` (boxes of the ossified centres).
    """
    person = np.random.default_rng([exam.build_seed, 411])  # what stays the same from visit to visit
    skeletal = (exam.age_months if exam.bone_age_months is None else exam.bone_age_months) / 12
    right = (view.side or exam.side) == "R"
    film, frame = _lay(exam, right, size, person, rng)
    youth = float(np.clip(1 - exam.age_months / 200, 0, 1))
    ink = bones.Ink(
        texture=Texture(film.spacing_mm, rng),
        density=float(np.exp(person.normal(0, 0.10))),
        cortex=float((1.0 - 0.30 * youth) * np.exp(person.normal(0, 0.10))),
        robust=float((1.0 + 0.10 * youth) * np.exp(person.normal(0, 0.04))),
    )
    tempo = {
        row: rng.normal(0, 0.6 * MATURITY_SD_YEARS)
        for row in ("metacarpal", "proximal", "middle", "distal", "carpal", "arm")
    }

    def age(row: str) -> float:
        spread = MATURITY_SD_YEARS * (0.4 + 0.6 * min(1.0, skeletal / 8))
        return max(0.0, skeletal + (tempo[row] + rng.normal(0, 0.8 * MATURITY_SD_YEARS)) * spread / MATURITY_SD_YEARS)

    objects: list[TrueObject] = []
    for n, name in enumerate(CARPALS):
        patch = None
        extent = carpal_size(name, age("carpal"), exam.sex)
        if extent > 0:
            patch = bones.draw_carpal(film, frame, name, extent, ink, n + 0.5)
        box = None if patch is None else box_of(patch.mask(film.shape))
        if box is not None:
            objects.append(TrueObject("carpal", box))
    for n, name in enumerate(("radius", "ulna")):
        bones.draw_forearm_bone(film, frame, name, stage(PLATES[name], age("arm"), exam.sex), ink, 11.0 + n)
    spread = rng.uniform(0.4, 1.7)
    chubby = (1 + 0.26 * float(np.clip(1 - exam.age_months / 108, 0, 1))) * (0.8 + 0.2 * exam.body_mass)
    for finger in (1, 2, 3, 4, 5):
        turn = np.deg2rad(_METACARPAL_DEG[finger] + person.normal(0, 1.2) + (rng.normal(0, 4) if finger == 1 else 0))
        joint = frame.at(_BASES[finger], float(turn))
        rows = ("metacarpal", "proximal", "distal") if finger == 1 else ("metacarpal", "proximal", "middle", "distal")
        joints = [joint]
        for row in rows:
            name = f"{row}_{finger}"
            stretch = float(np.exp(person.normal(0, 0.022)))
            bones.draw_tubular(
                film,
                joint,
                name,
                stage(PLATES[name], age(row), exam.sex),
                ink,
                stretch,
                20.0 + finger + 7 * len(joints),
            )
            if name == "metacarpal_1":
                box = _sesamoid(film, joint, stretch, sesamoid_size(age("metacarpal"), exam.sex), ink)
                if box is not None:
                    objects.append(TrueObject("sesamoid", box))
            bend = rng.normal(0, 2.2)
            if row == "metacarpal":
                bend += _FINGER_DEG[finger] + _SPREAD_DEG[finger] * (spread - (0.5 if finger > 1 else 1.0))
            length = bones.TUBULAR[name][1] * stretch + _JOINT_MM.get(row, 0.0) * (1.0 + 0.8 * youth)
            joint = joint.at((length, 0.0), float(np.deg2rad(bend)))
            joints.append(joint)
        _finger_flesh(film, joints, finger, chubby)
    _palm_flesh(film, frame, chubby)
    film.soft *= np.float32(0.97)
    return Scene(film.soft, film.bone, film.metal, film.plaster, film.spacing_mm, tuple(objects))


def _lay(
    exam: Exam, right: bool, size: int, person: np.random.Generator, rng: np.random.Generator
) -> tuple[Film, Frame]:
    """An empty film and the hand's frame on it. The film is collimated to the hand, so a child's fills it too."""
    strength = 1.0 if exam.level == "hard" else 0.55
    adult = 1.0 if exam.sex == "M" else 0.925
    scale = stature(exam.age_months, exam.sex) * adult * exam.body_scale * float(np.exp(person.normal(0, 0.03)))
    zoom = 1.02 + strength * rng.uniform(0.0, 0.22)
    tall = 252.0 * scale * zoom
    film = Film(size, round(size * rng.uniform(0.78, 0.86)), tall / size)
    tilt = np.deg2rad(rng.normal(0, 4.5) * strength)
    x = film.width * film.spacing_mm * (0.5 + strength * rng.normal(0, 0.015)) - (-8.0 if right else 8.0) * scale
    wrist = (177.0 + rng.uniform(-1, 4) + strength * rng.uniform(-3, 14)) * scale  # distance from the upper edge
    return film, Frame(float(x), float(wrist), float(tilt), -1.0 if right else 1.0, float(scale))


def _sesamoid(
    film: Film, joint: Frame, stretch: float, size: float, ink: bones.Ink
) -> tuple[float, float, float, float] | None:
    if size <= 0:
        return None
    length = bones.TUBULAR["metacarpal_1"][1] * stretch
    outline = blob([2.9 * size, 2.3 * size, 2.5 * size, 2.2 * size])
    spot = joint.at((length - 3.5, -5.6))
    patch = add_bone(film, spot, outline, half_depth=2.0 * size, rim=1.8 * size, cortex=0.6, marrow=0.35 * ink.density)
    return None if patch is None else box_of(patch.mask(film.shape))


def _finger_flesh(film: Film, joints: list[Frame], finger: int, chubby: float) -> None:
    size = joints[0].scale * chubby * {1: 1.12, 2: 1.0, 3: 1.03, 4: 0.98, 5: 0.88}[finger]
    radii = (13.5, 10.6, 9.0, 6.6) if finger == 1 else (13.0, 10.4, 9.2, 8.2, 6.2)
    points = [(joint.x, joint.y) for joint in joints]
    for n in range(len(points) - 1):
        middle = tuple(0.5 * (np.array(points[n]) + np.array(points[n + 1])))
        waist = 0.965 * (radii[n] + radii[n + 1]) / 2  # fingers are a little thinner between their joints
        add_capsule(film, film.soft, points[n], middle, radii[n] * size, waist * size, 0.95)
        add_capsule(film, film.soft, middle, points[n + 1], waist * size, radii[n + 1] * size, 0.95)


def _palm_flesh(film: Film, frame: Frame, chubby: float) -> None:
    size = frame.scale * chubby
    parts = (  # (s, r) of both ends, radii, depth over width
        ((52, 2), (8, -2), 30, 30, 0.50),
        ((40, 17), (-10, 12), 17, 21, 0.75),
        ((30, -22), (-12, -11), 13, 17, 0.85),
        ((32, 38), (0, 20), 13, 19, 0.85),
        ((-8, 1), (-40, 0), 30, 29, 0.60),
        ((-40, 0), (-110, -1), 30, 33, 0.76),
        ((-110, -1), (-220, -2), 33, 37, 0.80),
    )
    for start, end, r0, r1, depth in parts:
        ends = frame.place([start, end])
        add_capsule(film, film.soft, tuple(ends[0]), tuple(ends[1]), r0 * size, r1 * size, depth)
