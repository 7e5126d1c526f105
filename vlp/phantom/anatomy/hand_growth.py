"""Ossification of hand and wrist: when centres appear, when they have grown, when they fuse.

Ages at appearance are medians of Garn, Rohmann & Silverman 1967 (Med. Radiogr. Photogr. 43) for the postnatal centres;
pisiform, epiphyseal width, capping and fusion follow the standards of Greulich & Pyle 1959 and Gilsanz & Ratib (Hand
Bone
Age, 2nd ed. 2012). Ages are skeletal ages in years, (girls, boys).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Pair = tuple[float, float]  # girls, boys


@dataclass(frozen=True)
class Plate:
    """One epiphysis and its growth plate, skeletal ages in years (girls, boys)."""

    appears: Pair
    wide: Pair  # as wide as the metaphysis
    capped: Pair
    fuses: Pair  # begins
    fused: Pair  # complete; the scar fades in the two years after


_PROXIMAL = ((7.5, 9.5), (11.0, 13.2), (13.6, 15.4), (15.0, 17.0))
_MIDDLE = ((8.2, 10.3), (11.3, 13.5), (13.7, 15.5), (15.0, 17.0))
_DISTAL = ((7.6, 9.8), (10.8, 13.0), (12.9, 14.9), (14.0, 15.9))
_METACARPAL = ((8.0, 10.5), (11.5, 13.6), (13.9, 15.7), (15.2, 17.0))

PLATES: dict[str, Plate] = {
    "metacarpal_1": Plate((1.6, 2.6), *_METACARPAL[:2], (13.6, 15.4), (14.8, 16.6)),
    "metacarpal_2": Plate((1.0, 1.6), *_METACARPAL),
    "metacarpal_3": Plate((1.1, 1.75), *_METACARPAL),
    "metacarpal_4": Plate((1.3, 2.0), *_METACARPAL),
    "metacarpal_5": Plate((1.4, 2.2), *_METACARPAL),
    "proximal_1": Plate((1.7, 3.0), *_PROXIMAL),
    "proximal_2": Plate((0.85, 1.4), *_PROXIMAL),
    "proximal_3": Plate((0.8, 1.35), *_PROXIMAL),
    "proximal_4": Plate((0.9, 1.5), *_PROXIMAL),
    "proximal_5": Plate((1.2, 1.8), *_PROXIMAL),
    "middle_2": Plate((1.4, 2.2), *_MIDDLE),
    "middle_3": Plate((1.3, 2.0), *_MIDDLE),
    "middle_4": Plate((1.25, 2.05), *_MIDDLE),
    "middle_5": Plate((1.8, 3.4), *_MIDDLE),
    "distal_1": Plate((1.0, 1.5), *_DISTAL),
    "distal_2": Plate((2.5, 3.2), *_DISTAL),
    "distal_3": Plate((1.5, 2.4), *_DISTAL),
    "distal_4": Plate((1.5, 2.4), *_DISTAL),
    "distal_5": Plate((2.0, 3.1), *_DISTAL),
    "radius": Plate((0.85, 1.1), (8.5, 10.5), (12.0, 14.0), (14.8, 16.4), (17.0, 18.4)),
    "ulna": Plate((5.5, 6.8), (10.0, 12.3), (12.5, 14.5), (14.5, 16.2), (16.4, 17.7)),
}

CARPALS: dict[str, Pair] = {
    "capitate": (0.17, 0.25),
    "hamate": (0.2, 0.33),
    "triquetrum": (1.7, 2.4),
    "lunate": (2.6, 4.1),
    "scaphoid": (4.1, 5.6),
    "trapezium": (4.15, 5.9),
    "trapezoid": (4.2, 6.2),
    "pisiform": (9.0, 10.8),
}
"""Age at appearance, in the order of appearance."""
CARPALS_GROWN: Pair = (11.5, 13.5)
SESAMOID: Pair = (10.9, 12.8)  # of the adductor pollicis


@dataclass(frozen=True)
class Stage:
    """State of one epiphysis, each 0-1."""

    present: float  # 0 before it appears; fades in over a quarter of a year
    width: float  # of the metaphysis's width; may pass 1 when it caps
    height: float  # of the room it will fill
    fusion: float
    scar: float  # of the line that stays for a while after fusion


def _ramp(age: float, start: float, end: float) -> float:
    return float(np.clip((age - start) / max(end - start, 1e-6), 0.0, 1.0))


def _of(sex: str) -> int:
    return 0 if sex == "F" else 1


def stage(plate: Plate, skeletal_years: float, sex: str) -> Stage:
    """The state of an epiphysis at a skeletal age (years) in a girl (``F``) or boy (``M``)."""
    appears, wide, capped, fuses, fused = (
        pair[_of(sex)] for pair in (plate.appears, plate.wide, plate.capped, plate.fuses, plate.fused)
    )
    grown = _ramp(skeletal_years, appears, wide) ** 0.62
    fusion = _ramp(skeletal_years, fuses, fused)
    return Stage(
        present=_ramp(skeletal_years, appears - 0.05, appears + 0.2),
        width=0.2 + 0.76 * grown + 0.08 * _ramp(skeletal_years, wide, capped),
        height=0.3 + 0.5 * grown + 0.2 * _ramp(skeletal_years, wide, capped),
        fusion=fusion,
        scar=(1.0 - _ramp(skeletal_years, fused, fused + 2.0)) if fusion >= 1 else fusion,
    )


def carpal_size(name: str, skeletal_years: float, sex: str) -> float:
    """Diameter of a carpal centre over that of its cartilage model, 0 (not there) to 1."""
    appears = CARPALS[name][_of(sex)]
    if skeletal_years < appears:
        return 0.0
    grown = CARPALS_GROWN[_of(sex)] + (1.0 if name == "pisiform" else 0.0)
    return 0.26 + 0.74 * _ramp(skeletal_years, appears, grown) ** 0.45


def sesamoid_size(skeletal_years: float, sex: str) -> float:
    """Size of the adductor sesamoid, 0 (not there) to 1 (adult)."""
    appears = SESAMOID[_of(sex)]
    return 0.0 if skeletal_years < appears else 0.35 + 0.65 * _ramp(skeletal_years, appears, appears + 2.5)


def carpals_visible(maturity_months: float, sex: str) -> int:
    """How many of the eight carpals have begun to ossify at a skeletal age in months."""
    return sum(carpal_size(name, maturity_months / 12, sex) > 0 for name in CARPALS)
