"""Causes first: the facts of one examination, from which both its images and its report are made.

Everything downstream (labels, boxes, wording) is derived from these, so text and image agree by construction.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Fracture:
    """One fracture of a long bone."""

    bone: str  # radius, ulna, tibia, fibula, metacarpal ...
    third: str  # proximal, middle, distal
    kind: str  # transverse, oblique, spiral, comminuted, greenstick, buckle
    displacement_mm: float
    angulation_deg: float
    line_width_mm: float
    callus: float = 0.0  # 0 fresh to 1 healed


@dataclass(frozen=True)
class Knee:
    """One knee. Grade after Kellgren & Lawrence 1957; spaces are joint-space widths at the narrowest point."""

    kl: int  # 0-4, the true grade
    kl_read: int  # the grade that the reader wrote
    medial_mm: float
    lateral_mm: float
    osteophytes: tuple[str, ...]  # places: medial_tibia, lateral_tibia, medial_femur, lateral_femur, tibial_spines
    osteophyte_mm: float
    sclerosis: float  # 0-1
    varus_deg: float  # deformity, negative is valgus
    prosthesis: bool = False


@dataclass(frozen=True)
class Chest:
    """Chest findings. Sides are the patient's."""

    effusion: dict[str, float] = field(default_factory=dict)  # side -> 0-1 of the hemithorax
    consolidation: tuple[str, ...] = ()  # right_upper, right_lower, left_upper, left_lower
    cardiothoracic_ratio: float = 0.45  # above 0.5 is cardiomegaly
    pneumothorax: dict[str, float] = field(default_factory=dict)  # side -> 0-1
    device: tuple[str, ...] = ()  # pacemaker, central_line, ecg_wires


@dataclass(frozen=True)
class View:
    """One exposure of an examination."""

    projection: str  # PA, AP, LAT, OBL
    side: str  # R, L, B (both on one film) or ""
    seed: int


@dataclass(frozen=True)
class Exam:
    """One examination of one patient on one day."""

    exam_id: str
    patient: int  # index of the patient in the population
    anatomy: str  # hand, knee, forearm, wrist, lower_leg, ankle, chest
    age_months: int
    sex: str  # F, M
    body_scale: float  # 1 is the mean adult or mean child of that age
    body_mass: float  # 1 is the mean; thickness of soft tissue follows
    side: str  # R, L, B or ""
    views: tuple[View, ...]
    device: str  # key of vlp.phantom.devices.DEVICES
    level: str  # easy, hard
    bone_age_months: float | None = None  # true maturity (hand only)
    bone_age_read: float | None = None  # what the reader wrote
    knees: dict[str, Knee] = field(default_factory=dict)  # "R" / "L"
    fractures: tuple[Fracture, ...] = ()
    cast: bool = False
    hardware: bool = False  # plate, screws or nail
    foreign_bodies: tuple[str, ...] = ()  # ring, button, necklace, coin, electrode
    mimics: tuple[str, ...] = ()  # hard negatives: nutrient_canal, mach_line, skin_fold, growth_plate
    chest: Chest | None = None
    contrast: float = 1.0  # below 1 in a group that a planted subgroup gap makes harder
    build_seed: int = 0  # what stays the same in a patient's body from visit to visit
    planted_marker: str = ""  # a marker shape tied to a label, where a shortcut is planted


@dataclass(frozen=True)
class TrueObject:
    """One object with known place: box ``x0, y0, x1, y1`` in pixels, mask [H, W] bool or None."""

    name: str  # fracture, osteophyte, effusion, consolidation, pneumothorax, heart, cast, hardware, foreign_body ...
    box: tuple[float, float, float, float]
    mask: npt.NDArray[np.bool_] | None = None


@dataclass(frozen=True)
class Scene:
    """What the rays cross: four [H, W] float32 maps of path length in millimetres, and where things are.

    ``soft_mm`` is water-equivalent (lung counts by its density), ``bone_mm`` is cortical-bone-equivalent.
    Row 0 is the top of the film as it is read, column 0 its left edge (the patient's right side in a PA/AP film).
    """

    soft_mm: npt.NDArray[np.float32]
    bone_mm: npt.NDArray[np.float32]
    metal_mm: npt.NDArray[np.float32]
    plaster_mm: npt.NDArray[np.float32]
    spacing_mm: float
    objects: tuple[TrueObject, ...] = ()


@dataclass(frozen=True)
class Radiograph:
    """A finished film as a detector stores it, before it is written as DICOM."""

    pixels: npt.NDArray[np.uint16]  # [H, W], MONOCHROME2 sense: larger is brighter (more attenuation)
    bits: int  # 10-16, stored in the low bits
    spacing_mm: float
    window: tuple[float, float]  # centre, width in stored values
    objects: tuple[TrueObject, ...]
    burned_in: tuple[str, ...] = ()  # identifying lines drawn into the pixels
    markers: tuple[str, ...] = ()  # side and view marks drawn into the pixels
